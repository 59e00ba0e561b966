"""What Bluetooth errors mean: every way bleak, the bus and bluetoothd say no has its fault and its hint."""

from __future__ import annotations

import pytest
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakDBusError,
    BleakDeviceNotFoundError,
    BleakError,
    BleakGATTProtocolError,
)
from dbus_fast.errors import AuthError

from edge.acquisition.ble_errors import as_transport_errors, fault_of, transport_error
from edge.acquisition.bluez import BluezError
from edge.errors import TransportError, TransportFault

WHY = BleakBluetoothNotAvailableReason


def bluez(name: str, text: str = "") -> BleakDBusError:
    return BleakDBusError(f"org.bluez.Error.{name}", [text])


CONNECTING = [
    (BleakBluetoothNotAvailableError("No Bluetooth adapters found.", WHY.NO_BLUETOOTH), "adapter"),
    (BleakBluetoothNotAvailableError("No powered Bluetooth adapters found.", WHY.POWERED_OFF), "adapter"),
    (BleakBluetoothNotAvailableError("rejected", WHY.DENIED_BY_SYSTEM), "permission"),
    (BleakError("adapter 'hci1' not found"), "adapter"),
    (bluez("NotReady", "Resource Not Ready"), "adapter"),
    (bluez("Failed", "Blocked through rfkill"), "adapter"),
    (bluez("Blocked"), "adapter"),
    (bluez("Failed", "le-connection-adapter-not-powered"), "adapter"),
    (BleakDBusError("org.freedesktop.DBus.Error.ServiceUnknown", ["not provided by any .service files"]), "adapter"),
    (FileNotFoundError(2, "No such file or directory"), "adapter"),
    (ConnectionRefusedError(111, "Connection refused"), "adapter"),
    (EOFError(), "adapter"),
    (BleakDBusError("org.freedesktop.DBus.Error.AccessDenied", ["Rejected send message"]), "permission"),
    (AuthError("authentication failed: REJECTED"), "permission"),
    (PermissionError(13, "Permission denied"), "permission"),
    (BleakDeviceNotFoundError("AA:BB", "Device with address AA:BB was not found."), "missing"),
    (BleakDBusError("org.freedesktop.DBus.Error.UnknownObject", ["no such object"]), "missing"),
    (bluez("DoesNotExist", "Does Not Exist"), "missing"),
    (bluez("InProgress", "Operation already in progress"), "busy"),
    (bluez("Failed", "Operation already in progress"), "busy"),
    (bluez("Failed", "le-connection-concurrent-connection-limit"), "busy"),
    (bluez("Failed", "Too many connections"), "busy"),
    (bluez("Failed", "le-connection-abort-by-local"), "timeout"),
    (bluez("Failed", "br-connection-canceled"), "timeout"),
    (bluez("Failed", "Software caused connection abort"), "timeout"),
    (bluez("Failed", "Host is down"), "timeout"),
    (bluez("ConnectionAttemptFailed", "Page Timeout"), "timeout"),
    (BleakDBusError("org.freedesktop.DBus.Error.NoReply", ["Did not receive a reply."]), "timeout"),
    (TimeoutError(), "timeout"),
    (BleakError("failed to discover services, device disconnected"), "disconnected"),
    (bluez("AuthenticationFailed", "Authentication Failed"), "pairing"),
    (bluez("AuthenticationCanceled"), "pairing"),
    (bluez("AuthenticationTimeout"), "pairing"),
    (bluez("Failed", "le-connection-key-missing"), "pairing"),
    (BluezError("org.bluez.Error.AuthenticationFailed", "paired, but not bonded: no keys stored"), "pairing"),
    (bluez("Failed", "something nobody has seen before"), "other"),
    (KeyError("/org/bluez/hci0"), "other"),
]
CONNECTED = [
    (BleakError("Not connected"), "disconnected"),
    (bluez("NotConnected", "Not Connected"), "disconnected"),
    (BleakDBusError("org.freedesktop.DBus.Error.UnknownObject", ["no such object"]), "disconnected"),
    (
        BleakDBusError("org.freedesktop.DBus.Error.UnknownMethod", ['Method "StartNotify" … doesn\'t exist']),
        "disconnected",
    ),
    (BleakGATTProtocolError(0x03), "refused"),
    (BleakGATTProtocolError(0x80), "refused"),
    (BleakGATTProtocolError(0x0D), "refused"),
    (BleakGATTProtocolError(0x05), "pairing"),
    (BleakGATTProtocolError(0x08), "pairing"),
    (BleakGATTProtocolError(0x0C), "pairing"),
    (BleakGATTProtocolError(0x0F), "pairing"),
    (bluez("NotPermitted", "Not paired"), "pairing"),
    (bluez("NotPermitted", "Notify acquired"), "refused"),
    (bluez("NotSupported", "Operation is not supported"), "refused"),
    (bluez("InProgress", "In Progress"), "busy"),
]


@pytest.mark.parametrize(("error", "fault"), CONNECTING, ids=lambda each: str(each)[:60])
def test_errors_before_the_link_is_up(error, fault):
    """Each has the one fault that says what to do."""
    assert fault_of(error, is_connected=False) == TransportFault(fault)


@pytest.mark.parametrize(("error", "fault"), CONNECTED, ids=lambda each: str(each)[:60])
def test_errors_on_a_link(error, fault):
    """An object that is gone means that the link is gone; an answer of the peer leaves the link alone."""
    assert fault_of(error, is_connected=True) == TransportFault(fault)


def test_operator_is_told_what_to_do_about_the_adapter():
    """Blocked, without its service, or unplugged: the three commands stand in the hint."""
    error = transport_error("hci0, scanning", bluez("NotReady", "Resource Not Ready"), is_connected=False)

    assert error.reason is TransportFault.ADAPTER
    assert "rfkill unblock bluetooth" in error.hint
    assert "systemctl start bluetooth" in error.hint
    assert str(error) == "hci0, scanning: org.bluez.Error.NotReady: Resource Not Ready"


def test_whatever_the_library_raises_becomes_one_kind_of_error():
    """A KeyError out of the depths of the library must not end the runtime."""
    with (
        pytest.raises(TransportError, match="strap, reading: vanished") as caught,
        as_transport_errors("strap, reading", is_connected=True),
    ):
        raise KeyError("vanished")

    assert caught.value.reason is TransportFault.OTHER
    assert isinstance(caught.value.__cause__, KeyError)


def test_transport_errors_pass_as_they_are():
    """What is classified already is not classified again."""
    told = TransportError("asleep", reason=TransportFault.MISSING)

    with pytest.raises(TransportError) as caught, as_transport_errors("strap", is_connected=True):
        raise told

    assert caught.value is told


def test_error_without_words_is_told_by_its_class():
    """An empty message helps nobody."""
    assert str(transport_error("strap", EOFError(), is_connected=True)) == "strap: EOFError"
    assert str(transport_error("strap", TimeoutError(), is_connected=True)) == "strap: it took too long"


def test_machine_without_a_system_bus_is_told_so():
    """ "No such file or directory" would send the operator looking for a file."""
    error = transport_error("the first adapter", FileNotFoundError(2, "No such file or directory"), is_connected=False)

    assert "no D-Bus system bus" in str(error)
    assert "systemctl start bluetooth" in error.hint
