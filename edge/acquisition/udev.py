"""What the kernel and udev say of the serial ports: sysfs and ``/dev`` in, `PortInfo` out.

Wiring: reads files under roots that a test can replace.  Nothing is opened, so no board is reset by being listed.
"""

from __future__ import annotations

import grp
import os
import re
from dataclasses import dataclass
from pathlib import Path

USB_PREFIX = "usb:"
"""How a port begins that is named by its USB identity."""

_NO_UART = "0"  # PORT_UNKNOWN of the kernel's serial_core: a driver's slot with no chip behind it
BY_SOCKET = "serial/by-path"
"""Folder of udev's names by the socket that the plug is in."""
_LINK_FOLDERS = ("serial/by-id", "vitaledge", BY_SOCKET)
_MAX_HOLDERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRoots:
    """Where the system describes its ports; a test gives folders of its own."""

    sys_dir: Path = Path("/sys")
    """The kernel's description of devices."""
    dev_dir: Path = Path("/dev")
    """Device nodes and udev's links to them."""
    proc_dir: Path = Path("/proc")
    """Processes, of which one may have a port open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsbIdentity:
    """What a USB device says it is."""

    vendor_id: int
    product_id: int
    serial: str = ""
    """Empty where the device has none, or where any will do."""

    def __str__(self) -> str:
        """Return it as written in a configuration."""
        serial = f":{self.serial}" if self.serial else ""
        return f"{USB_PREFIX}{self.vendor_id:04x}:{self.product_id:04x}{serial}"

    def covers(self, other: UsbIdentity) -> bool:
        """Return whether `other` is meant: same vendor and product, and the same serial number if one is named."""
        same_kind = (self.vendor_id, self.product_id) == (other.vendor_id, other.product_id)
        return same_kind and self.serial in {"", other.serial}


@dataclass(frozen=True, slots=True, kw_only=True)
class PortInfo:
    """One serial port that is there now."""

    path: str
    """The kernel's name, ``/dev/ttyUSB0``."""
    links: tuple[str, ...]
    """udev's names, the most lasting first; empty without udev."""
    usb: UsbIdentity | None
    """None for a port that is not on USB."""
    interface: str
    """Which of the ports of one USB device, ``00``; empty where there is no such number."""
    manufacturer: str
    product: str
    """Both as the device says; empty where it says nothing."""
    is_console: bool
    """Whether the kernel talks to a terminal there: never to be read as a sensor."""
    group: str
    """Members may open it."""
    is_permitted: bool
    """Whether this process may open it."""
    holders: tuple[str, ...] = ()
    """Processes that have it open, ``vitaledge (812)``; those of other users are seen by root alone."""

    @property
    def words(self) -> str:
        """What it is, for people."""
        named = " ".join(part for part in (self.manufacturer, self.product) if part)
        if self.usb is None:
            return named or "on the board"
        return f"{named} ({self.usb})" if named else str(self.usb)


@dataclass(frozen=True, slots=True)
class _Sysfs:
    """What sysfs says of one port."""

    usb: UsbIdentity | None = None
    interface: str = ""
    manufacturer: str = ""
    product: str = ""
    is_console: bool = False
    is_there: bool = True


def list_ports(roots: PortRoots = PortRoots()) -> list[PortInfo]:
    """Return the serial ports that are there, by name; without the kernel's empty slots and pseudo-terminals."""
    links = _links(roots.dev_dir)
    found = []
    for entry in _entries(roots.sys_dir / "class/tty"):
        described = _described(entry)
        path = roots.dev_dir / entry.name
        if not described.is_there or not _is_there(path):
            continue
        found.append(
            PortInfo(
                path=str(path),
                links=tuple(links.get(os.path.realpath(path), ())),
                usb=described.usb,
                interface=described.interface,
                manufacturer=described.manufacturer,
                product=described.product,
                is_console=described.is_console,
                group=group_of(path),
                is_permitted=os.access(path, os.R_OK | os.W_OK, effective_ids=True),
            )
        )
    return sorted(found, key=lambda port: _natural(port.path))


def holders(path: str, roots: PortRoots = PortRoots()) -> tuple[str, ...]:
    """Return the processes that have `path` open, ``name (pid)``, as far as this user may see."""
    target = os.path.realpath(path)
    found = []
    for process in _entries(roots.proc_dir):
        if process.name.isdigit() and target in _open_files(process):
            found.append(f"{_line(process / 'comm') or '?'} ({process.name})")
            if len(found) == _MAX_HOLDERS:
                break
    return tuple(found)


def group_of(path: Path) -> str:
    """Return the name of the group that owns `path`, its number where it has no name, empty where it is gone."""
    try:
        number = path.stat().st_gid
    except OSError:
        return ""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _described(entry: Path) -> _Sysfs:
    """Return what stands behind one entry of ``/sys/class/tty``; pseudo-terminals and consoles have no device."""
    device = entry / "device"
    if not _is_there(device) or _line(entry / "type") == _NO_UART:
        return _Sysfs(is_there=False)
    is_console = _line(entry / "console") == "Y"
    interface = ""
    behind = Path(os.path.realpath(device))
    for folder in (behind, *behind.parents):  # a USB port lies one or two levels below its device
        interface = interface or _line(folder / "bInterfaceNumber")
        if not _is_there(folder / "idVendor"):  # not the USB device yet
            continue
        try:
            usb = UsbIdentity(
                vendor_id=int(_line(folder / "idVendor"), 16),
                product_id=int(_line(folder / "idProduct"), 16),
                serial=_line(folder / "serial"),
            )
        except ValueError:  # unplugged while we read
            break
        return _Sysfs(
            usb=usb,
            interface=interface,
            manufacturer=_line(folder / "manufacturer"),
            product=_line(folder / "product"),
            is_console=is_console,
        )
    return _Sysfs(is_console=is_console)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # may not be looked at
        return False


def _line(path: Path) -> str:
    """Return the first line of a small file; empty where it cannot be read, as when the device just left."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
    except OSError:
        return ""


def _links(dev_dir: Path) -> dict[str, list[str]]:
    """Return udev's links by the device node they lead to, the most lasting kind first."""
    found: dict[str, list[str]] = {}
    for folder in _LINK_FOLDERS:
        for link in _entries(dev_dir / folder):
            found.setdefault(os.path.realpath(link), []).append(str(link))
    return found


def _open_files(process: Path) -> set[str]:
    names = set()
    for each in _entries(process / "fd"):  # empty for a process of somebody else
        try:
            names.add(str(each.readlink()))
        except OSError:
            continue
    return names


def _natural(path: str) -> list[str | int]:
    """Return a key that sorts ttyUSB10 behind ttyUSB9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path)]
