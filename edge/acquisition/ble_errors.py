"""Why a Bluetooth call failed, in the words of `errors.TransportFault`, with what the operator can do.

Pure, and without the vendor's classes: an error is judged by the name of its class, its D-Bus name and its words.
All of them were read in bleak 3.1 (``exc.py``, ``backends/bluezdbus``) and in BlueZ (``src/error.h``, ``doc/``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edge.errors import TransportError, TransportFault

_ADAPTER, _BUSY, _DISCONNECTED = TransportFault.ADAPTER, TransportFault.BUSY, TransportFault.DISCONNECTED
_MISSING, _OTHER, _PAIRING = TransportFault.MISSING, TransportFault.OTHER, TransportFault.PAIRING
_PERMISSION, _REFUSED, _TIMEOUT = TransportFault.PERMISSION, TransportFault.REFUSED, TransportFault.TIMEOUT

_DBUS_NAMES = {
    "org.bluez.Error.NotReady": _ADAPTER,
    "org.bluez.Error.Blocked": _ADAPTER,
    "org.bluez.Error.InProgress": _BUSY,
    "org.bluez.Error.AlreadyConnected": _BUSY,
    "org.bluez.Error.NotAvailable": _BUSY,
    "org.bluez.Error.NotConnected": _DISCONNECTED,
    "org.bluez.Error.AuthenticationCanceled": _PAIRING,
    "org.bluez.Error.AuthenticationFailed": _PAIRING,
    "org.bluez.Error.AuthenticationRejected": _PAIRING,
    "org.bluez.Error.AuthenticationTimeout": _PAIRING,
    "org.bluez.Error.AgentNotAvailable": _PAIRING,
    "org.bluez.Error.NotAuthorized": _PAIRING,
    "org.bluez.Error.ConnectionAttemptFailed": _TIMEOUT,
    "org.bluez.Error.DoesNotExist": _MISSING,
    "org.bluez.Error.NotSupported": _REFUSED,
    "org.bluez.Error.InvalidArguments": _REFUSED,
    "org.bluez.Error.NotPermitted": _REFUSED,
    "org.freedesktop.DBus.Error.AccessDenied": _PERMISSION,
    "org.freedesktop.DBus.Error.AuthFailed": _PERMISSION,
    "org.freedesktop.DBus.Error.ServiceUnknown": _ADAPTER,
    "org.freedesktop.DBus.Error.NameHasNoOwner": _ADAPTER,
    "org.freedesktop.DBus.Error.NoReply": _TIMEOUT,
    "org.freedesktop.DBus.Error.Timeout": _TIMEOUT,
    "org.freedesktop.DBus.Error.TimedOut": _TIMEOUT,
}
_VANISHED = ("DBus.Error.UnknownObject", "DBus.Error.UnknownMethod", "DBus.Error.UnknownInterface")
"""The object that was called is gone: the peripheral's before it is connected, the link's afterwards."""

_CLASSES = {
    "BleakBluetoothNotAvailableError": _ADAPTER,
    "BleakDeviceNotFoundError": _MISSING,
    "BleakCharacteristicNotFoundError": _REFUSED,
    "AuthError": _PERMISSION,  # of dbus-fast: the bus does not let this user in
    "TimeoutError": _TIMEOUT,
    "PermissionError": _PERMISSION,
    "EOFError": _ADAPTER,  # the bus closed the connection
    "InvalidAddressError": _ADAPTER,
    "ConnectionError": _ADAPTER,
    "FileNotFoundError": _ADAPTER,  # no bus where the bus should be
}
_WORDS = (
    ("not paired", _PAIRING),
    ("key-missing", _PAIRING),
    ("not bonded", _PAIRING),
    ("rf-kill", _ADAPTER),
    ("rfkill", _ADAPTER),
    ("adapter-not-powered", _ADAPTER),
    ("adapter '", _ADAPTER),  # bleak: "adapter 'hci1' not found"
    ("concurrent-connection-limit", _BUSY),
    ("memory-allocation", _BUSY),
    ("too many connections", _BUSY),
    ("limited resources", _BUSY),
    ("already in progress", _BUSY),
    ("in progress", _BUSY),
    ("-busy", _BUSY),
    ("abort-by", _TIMEOUT),
    ("aborted-by", _TIMEOUT),
    ("timeout", _TIMEOUT),
    ("timed out", _TIMEOUT),
    ("host is down", _TIMEOUT),
    ("canceled", _TIMEOUT),
    ("connection abort", _TIMEOUT),
    ("device disconnected", _DISCONNECTED),
    ("not connected", _DISCONNECTED),
    ("connection-refused", _REFUSED),
)
_BONDING_ATT_CODES = frozenset({0x05, 0x08, 0x0C, 0x0F})
"""Insufficient authentication, authorization, key size, encryption (Core 5.4, Vol 3 Part F, 3.4.1.1)."""

_HINTS = {
    _ADAPTER: "see: bluetoothctl list; rfkill unblock bluetooth; systemctl start bluetooth; or plug the adapter in",
    _BUSY: "it is tried again; if it stays so, fewer sensors per adapter, or: bluetoothctl disconnect ADDRESS",
    _MISSING: "is it worn, switched on, near, and not connected to a phone?  see: vitaledge scan",
    _PAIRING: "put the sensor into pairing mode and set bond = true; if it was bonded before: bluetoothctl remove ADDRESS",
    _PERMISSION: "add the user to group bluetooth: sudo usermod -aG bluetooth USER, then log in again",
}


def hint_for(fault: TransportFault) -> str:
    """Return what the operator can do about `fault` of a Bluetooth link; empty where waiting is all."""
    return _HINTS.get(fault, "")


def fault_of(error: BaseException, *, is_connected: bool) -> TransportFault:
    """Return which fault `error` is.

    Parameters
    ----------
    error : BaseException
        What the Bluetooth library raised.
    is_connected : bool
        Whether the link was up when the call was made.
    """
    classes = {kind.__name__ for kind in type(error).__mro__}
    if "BleakGATTProtocolError" in classes:
        return _PAIRING if error.args and error.args[0] in _BONDING_ATT_CODES else _REFUSED
    if "BleakBluetoothNotAvailableError" in classes and "DENIED" in str(error.args):
        return _PERMISSION
    name = getattr(error, "dbus_error", "")
    if name.endswith(_VANISHED):
        return _DISCONNECTED if is_connected else _MISSING
    words = " ".join(str(arg) for arg in error.args).lower()
    by_words = next((fault for word, fault in _WORDS if word in words), None)
    if name == "org.bluez.Error.NotPermitted" and by_words is not None:  # "Not paired" hides behind it
        return by_words
    by_name = _DBUS_NAMES.get(name) or next((_CLASSES[kind] for kind in _CLASSES if kind in classes), None)
    return by_name or by_words or _OTHER


def transport_error(place: str, error: BaseException, *, is_connected: bool) -> TransportError:
    """Return `error` as the `TransportError` that a transport raises.

    Parameters
    ----------
    place : str
        What the call was about: the sensor, and what was done with it.
    error : BaseException
        What the Bluetooth library raised.
    is_connected : bool
        Whether the link was up when the call was made.
    """
    fault = fault_of(error, is_connected=is_connected)
    words = "it took too long" if isinstance(error, TimeoutError) else (_words_of(error) or type(error).__name__)
    return TransportError(f"{place}: {words}", reason=fault, hint=hint_for(fault))


@contextmanager
def as_transport_errors(place: str, *, is_connected: bool) -> Iterator[None]:
    """Turn what the Bluetooth library raises inside into a `TransportError`.

    Raises
    ------
    TransportError
        For every exception; one that is a `TransportError` already passes as it is.
    """
    try:
        yield
    except TransportError:
        raise
    except Exception as error:  # bleak lets KeyError, EOFError and AssertionError out when an object vanishes under it
        raise transport_error(place, error, is_connected=is_connected) from error


def _words_of(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "this machine has no D-Bus system bus, over which Bluetooth is reached"
    details = [str(arg) for arg in error.args if isinstance(arg, str) and arg]
    return ": ".join(details) if details else str(error)
