"""A serial cable made of a pseudo-terminal: it can be pulled and replugged under the same link."""

from __future__ import annotations

import asyncio
import os
import tty


class Pty:
    """The peer's end of a pseudo-terminal under a stable link, as a USB adapter has one."""

    def __init__(self, link) -> None:
        self.link = link
        self._master: int | None = None
        self.plug()

    def plug(self) -> None:
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(slave))
        self._slave = slave  # held open: a pty without any slave reads as hung up

    def unplug(self) -> None:
        if self._master is not None:
            os.close(self._slave)
            os.close(self._master)
            self._master = None
            self.link.unlink()

    async def send(self, data: bytes) -> None:
        """Write everything; blocks (in a thread) while the terminal's buffer is full, so nothing is lost here."""

        def write() -> None:
            at = 0
            while at < len(data):
                at += os.write(self._master, data[at : at + 1024])

        await asyncio.to_thread(write)

    async def receive(self, n_bytes: int) -> bytes:
        def read() -> bytes:
            data = b""
            while len(data) < n_bytes:
                data += os.read(self._master, n_bytes - len(data))
            return data

        return await asyncio.to_thread(read)
