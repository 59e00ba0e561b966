"""A device on the other end of a pseudo-terminal: talks by itself or when asked, at its own speed."""

from __future__ import annotations

import os
import select
import termios
import threading
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Self

_STEP_S = 0.002
_GARBAGE = b"\x00\xf8\x80\x1e\x00\xfe\x66" * 64


class SerialDevice:
    """Use as a context; `path` is the terminal to open, `received` what was written to the device.

    Parameters
    ----------
    says : bytes
        Sent again and again; nothing for a device that waits to be asked.
    baud : int, optional
        The only speed at which it is understood; at another one, garbage comes.  None for any.
    answers : callable, optional
        Given all that was received so far, returns what to send now.
    """

    def __init__(
        self, says: bytes = b"", *, baud: int | None = None, answers: Callable[[bytes], bytes] = lambda _: b""
    ) -> None:
        self.received = b""
        self._says = says
        self._speed = None if baud is None else getattr(termios, f"B{baud}")
        self._answers = answers
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = Path(os.ttyname(self._slave))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, name="serial-device", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    def unplug(self) -> None:
        """Pull the cable."""
        if not self._ended.is_set():
            self._ended.set()
            self._thread.join()
            os.close(self._slave)
            os.close(self._master)

    def _live(self) -> None:
        while not self._ended.wait(_STEP_S):
            readable, writable, _ = select.select([self._master], [self._master], [], 0)
            if readable:
                self.received += os.read(self._master, 4096)
                self._send(self._answers(self.received))
            if writable and self._says:
                is_understood = self._speed in {None, termios.tcgetattr(self._slave)[4]}
                self._send(self._says if is_understood else _GARBAGE)

    def _send(self, data: bytes) -> None:
        try:
            os.write(self._master, data)
        except BlockingIOError:  # nobody reads: a device does not wait
            return
