"""Which port a name means right now, and why it cannot be opened.

Wiring.  A port has up to three names::

    /dev/ttyUSB0                                  the kernel's: the next one free, another one after a replug
    /dev/serial/by-id/usb-FTDI_…_A1B2-if00-port0  a link by the adapter's serial number, kept up by udev
    usb:0403:6001:A1B2                            vendor:product[:serial] in hex, looked up here at every open

The third needs no udev and follows the adapter from socket to socket.  Without a serial number in it, exactly one
adapter of that kind may be plugged in.

Notes
-----
Identities that adapters and boards of supported sensors are known to have; another firmware may say otherwise:

=========  ==========================================================================================
0403:6001  FTDI FT232R [1]_; Nonin Xpod 3012LP USB [2]_
0403:6015  FTDI FT230X, FT231X and others of the X series [1]_
067b:2303  Prolific PL2303 [1]_
10c4:ea60  Silicon Labs CP210x [1]_; the cable of the Contec CMS50D+ [3]_
1a86:7523  WCH CH340 [1]_; has no serial number, so two of them are told apart by their sockets only
1915:520f  Nordic, the CDC port of nRF52840 examples [4]_
2341:0043  Arduino Uno R3 [1]_
303a:1001  Espressif, the USB port inside ESP32-C3, -S3 and later [5]_
=========  ==========================================================================================

References
----------
.. [1] systemd's ``hwdb.d/20-usb-vendor-model.hwdb`` (release 252), which is made from usb.ids
.. [2] github.com/agricolab/app-nonin, which looks for this number
.. [3] atbrask.dk/?p=244: a CP2102 in the cable, seen by the kernel even without the oximeter
.. [4] tables of known boards and USB examples of several public firmware projects, which agree
.. [5] the port lists of editors for microcontroller boards: "built-in USB-to-serial"
"""

from __future__ import annotations

import errno
import re
import stat
import termios
from collections.abc import Sequence
from pathlib import Path

from edge.acquisition.udev import BY_SOCKET, USB_PREFIX, PortInfo, PortRoots, UsbIdentity, group_of, list_ports
from edge.errors import TransportError, TransportFault

_IDENTITY = re.compile(r"([0-9a-fA-F]{4}):([0-9a-fA-F]{4})(?::(.+))?")
_FAULTS = {
    errno.ENOENT: TransportFault.MISSING,
    errno.ENODEV: TransportFault.MISSING,
    errno.ENXIO: TransportFault.MISSING,
    errno.ENOTDIR: TransportFault.MISSING,
    errno.EIO: TransportFault.MISSING,
    errno.EACCES: TransportFault.PERMISSION,
    errno.EPERM: TransportFault.PERMISSION,
    errno.EBUSY: TransportFault.BUSY,
    errno.EWOULDBLOCK: TransportFault.BUSY,
}


def parse_usb(port: str) -> UsbIdentity | None:
    """Return the USB identity that `port` names; None if it is a path.

    Raises
    ------
    ValueError
        If `port` begins as an identity and is none.

    Examples
    --------
    >>> parse_usb("usb:0403:6001:A1B2").serial
    'A1B2'
    >>> parse_usb("/dev/ttyUSB0") is None
    True
    """
    if not port.startswith(USB_PREFIX):
        return None
    found = _IDENTITY.fullmatch(port.removeprefix(USB_PREFIX))
    if found is None:
        raise ValueError(f"expected usb:VID:PID or usb:VID:PID:SERIAL with four hex digits each, got {port!r}")
    return UsbIdentity(vendor_id=int(found[1], 16), product_id=int(found[2], 16), serial=found[3] or "")


def resolve_port(port: str, roots: PortRoots = PortRoots()) -> str:  # noqa: B008 - frozen
    """Return the path to open for `port`, looked up now: a path is itself, a USB identity is where it is plugged in.

    Raises
    ------
    TransportError
        ``MISSING`` if no such device is plugged in, ``OTHER`` if it could be any of several.
    ValueError
        If `port` is a malformed identity.
    """
    wanted = parse_usb(port)
    if wanted is None:
        return port
    listed = list_ports(roots)
    found = [each for each in listed if each.usb is not None and wanted.covers(each.usb)]
    if len(found) == 1:
        return found[0].path
    if not found:
        raise TransportError(
            f"there is no serial port {port}", reason=TransportFault.MISSING, hint=_what_is_there(listed)
        )
    candidates = ", ".join(f"{each.path} ({_told_apart(each, found)})" for each in found)
    raise TransportError(
        f"{port} could be any of {len(found)} ports: {candidates}",
        reason=TransportFault.OTHER,
        hint="name one of them: " + ", ".join(lasting_name(each, listed) for each in found),
    )


def lasting_name(port: PortInfo, among: Sequence[PortInfo]) -> str:
    """Return the name to put into a configuration, which means `port` and none other of `among` after a replug too.

    A link by serial number; where two devices have the same one, as CP2102 adapters often do, the link by socket; a USB
    identity where there is no udev; the kernel's name where nothing else tells it apart.
    """
    by_socket = [link for link in port.links if BY_SOCKET in link]
    by_serial = [link for link in port.links if BY_SOCKET not in link]
    n_alike = sum((each.usb, each.interface) == (port.usb, port.interface) for each in among)
    n_same_device = sum(each.usb == port.usb for each in among)
    if by_serial and (port.usb is None or n_alike == 1):
        return by_serial[0]
    if by_socket:
        return by_socket[0]
    return str(port.usb) if port.usb is not None and n_same_device == 1 else port.path


def open_error(port: str, error: BaseException) -> TransportError:
    """Return why `port` could not be opened, with the remedy.

    Parameters
    ----------
    port : str
        As given to the operating system.
    error : BaseException
        What opening raised; its errno, or that of the error behind it, decides.
    """
    number = _errno(error)
    reason = _FAULTS.get(number, TransportFault.OTHER) if number is not None else TransportFault.OTHER
    if reason is TransportFault.MISSING:
        return TransportError(
            f"there is no serial port {port}", reason=reason, hint="plug it in, or see: vitaledge scan --serial"
        )
    if reason is TransportFault.PERMISSION:
        return TransportError(f"{port} may not be opened by this user", reason=reason, hint=_permission_hint(port))
    if reason is TransportFault.BUSY:
        return TransportError(
            f"{port} is used by another process", reason=reason, hint=f"find and end it: fuser -v {port}"
        )
    if number == errno.ENOTTY:
        return TransportError(f"{port} is not a serial port", reason=reason, hint="see: vitaledge scan --serial")
    return TransportError(f"{port} cannot be opened: {error}", reason=reason)


def _permission_hint(port: str) -> str:
    """Return who may open the port, looked up from the file itself: it is dialout on Debian, uucp on Arch."""
    try:
        status = Path(port).stat()
    except OSError:
        return f"see who may reach it: namei -l {port}"
    if not status.st_mode & stat.S_IRGRP or not status.st_mode & stat.S_IWGRP:
        return f"its group may not use it either: chmod g+rw {port}, or install the udev rule"
    group = group_of(Path(port))
    return f"add the user to group {group}: sudo usermod -aG {group} USER, then log in again"


def _errno(error: BaseException) -> int | None:
    """Return the error number, also where pyserial put only its text into the message."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, termios.error) and error.args and isinstance(error.args[0], int):
        return error.args[0]
    return _errno(error.__context__) if error.__context__ is not None else None


def _what_is_there(listed: list[PortInfo]) -> str:
    on_usb = [f"{each.usb} at {each.path}" for each in listed if each.usb is not None]
    if not on_usb:
        return "plug it in: no USB serial port is there at all; see: vitaledge scan --serial"
    return "plug it in, or name one that is there: " + ", ".join(on_usb)


def _told_apart(port: PortInfo, among: list[PortInfo]) -> str:
    """Return what sets `port` off: its serial number, or which port of its device it is."""
    serials = [each.usb.serial for each in among if each.usb is not None]
    if port.usb is not None and port.usb.serial and len(set(serials)) == len(serials):
        return f"serial number {port.usb.serial}"
    return f"interface {port.interface}" if port.interface else "no serial number"
