"""A made-up machine with serial ports: its sysfs, ``/dev`` and ``/proc`` in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from edge.acquisition.udev import PortRoots


class PortTree:
    """Sockets into which a test plugs adapters; laid out as Linux lays them out."""

    def __init__(self, folder: Path) -> None:
        self.roots = PortRoots(sys_dir=folder / "sys", dev_dir=folder / "dev", proc_dir=folder / "proc")
        (self.roots.sys_dir / "class/tty").mkdir(parents=True)
        self.roots.dev_dir.mkdir()
        self.roots.proc_dir.mkdir()

    def plug(
        self,
        name: str,
        usb: str,
        *,
        serial: str = "",
        socket: str = "1-1",
        interface: str = "00",
        target: Path | None = None,
        words: tuple[str, str] = ("", ""),
        links: tuple[str, ...] = (),
    ) -> Path:
        """Plug a USB adapter in and return its device node, which leads to `target` (a pty) where one is given."""
        device = self.roots.sys_dir / "devices/usb1" / socket
        under = device / f"{socket}:1.{int(interface, 16)}"
        port = under / name if name.startswith("ttyUSB") else under  # usb-serial has a level of its own; ACM has none
        vendor, _, product = usb.partition(":")
        (port / "tty" / name).mkdir(parents=True)
        (device.parent / "idVendor").write_text("1d6b\n")  # the hub above, which must not be taken for the adapter
        (device.parent / "idProduct").write_text("0002\n")
        for file, text in (("idVendor", vendor), ("idProduct", product), ("manufacturer", words[0])):
            (device / file).write_text(f"{text}\n")
        (device / "product").write_text(f"{words[1]}\n")
        if serial:
            (device / "serial").write_text(f"{serial}\n")
        (under / "bInterfaceNumber").write_text(f"{interface}\n")
        (port / "tty" / name / "device").symlink_to(port)
        (self.roots.sys_dir / "class/tty" / name).symlink_to(port / "tty" / name)
        return self._node(name, target, links)

    def solder(self, name: str, *, uart: str = "4", console: str = "N") -> Path:
        """Add a port of the board itself; `uart` is what the kernel found behind it, ``0`` for nothing."""
        port = self.roots.sys_dir / "devices/platform" / name
        (port / "tty" / name).mkdir(parents=True)
        (port / "tty" / name / "type").write_text(f"{uart}\n")
        (port / "tty" / name / "console").write_text(f"{console}\n")
        (port / "tty" / name / "device").symlink_to(port)
        (self.roots.sys_dir / "class/tty" / name).symlink_to(port / "tty" / name)
        return self._node(name, None, ())

    def unplug(self, name: str) -> None:
        """Take an adapter out: its node, its links and its entry vanish."""
        node = self.roots.dev_dir / name
        for folder in ("serial/by-id", "serial/by-path", "vitaledge"):
            for link in (self.roots.dev_dir / folder).glob("*"):
                if link.readlink() == node:
                    link.unlink()
        (self.roots.sys_dir / "class/tty" / name).unlink()
        node.unlink()

    def open_by(self, pid: int, name: str, path: Path) -> None:
        """Let a process hold `path` open."""
        process = self.roots.proc_dir / str(pid)
        (process / "fd").mkdir(parents=True)
        (process / "comm").write_text(f"{name}\n")
        (process / "fd" / "3").symlink_to(os.path.realpath(path))

    def _node(self, name: str, target: Path | None, links: tuple[str, ...]) -> Path:
        node = self.roots.dev_dir / name
        if target is None:
            node.write_text("")
        else:
            node.symlink_to(target)
        for link in links:
            place = self.roots.dev_dir / link
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)  # two adapters with one serial number: the later link wins, as with udev
            place.symlink_to(node)
        return node
