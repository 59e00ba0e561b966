"""Bytes from and to one peer, whatever the wire: what `sensor` needs of a serial port, a BLE link or a capture.

The contract, checked for every transport by ``tests/conformance/transport_battery.py``:

* `open` connects or raises `TransportError` with a reason; opening an open transport is misuse.
* `chunks` yields bytes in the order in which they came and loses none between two chunks.  Bytes that had come
  before the peer hung up are delivered before `TransportError` with ``DISCONNECTED`` is raised.  After `close`
  it ends without an error.
* What a transport must drop, because nobody read for long, it counts in `n_dropped_bytes`.
* What the peer numbers or names (the characteristics of a Bluetooth sensor) stands in `Chunk.channel`; `write` takes
  the same name.  A byte stream has one channel, the empty name.
* `write` returns when the operating system has taken the bytes, or raises `TransportError`.
* `close` may be called at any time and any number of times; a closed transport may be opened again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Protocol

from edge.messages import Chunk


class Remedy(StrEnum):
    """What may bring a link back that says "connected" and sends nothing, mildest first."""

    RESUBSCRIBE = "resubscribe"
    """Ask the connected peer for its data again."""
    RECONNECT = "reconnect"
    """Close and open again; every transport can, so none lists it."""
    REDISCOVER = "rediscover"
    """Make the system forget the peer, and look for it anew."""
    POWER_CYCLE = "power-cycle"
    """Switch the adapter off and on."""


class Transport(Protocol):
    """One link to one peer."""

    @property
    def remedies(self) -> tuple[Remedy, ...]:
        """What `heal` can do beyond closing and opening again, mildest first; empty for a serial port."""
        ...

    @property
    def n_dropped_bytes(self) -> int:
        """Bytes received and dropped since `open`, because they were not read in time."""
        ...

    def describe(self) -> str:
        """Return what the link is, for logs and messages: ``/dev/ttyUSB0 at 115200 baud``."""
        ...

    async def open(self) -> None:
        """Connect.

        Raises
        ------
        TransportError
            If that is not possible; ``reason`` and ``hint`` say why and what to do.
        RuntimeError
            If it is open already.
        """
        ...

    def chunks(self) -> AsyncIterator[Chunk]:
        """Yield what the peer sends until `close`.

        Raises
        ------
        TransportError
            If the transport is not open or the peer hangs up (``DISCONNECTED``).
        """
        ...

    async def write(self, data: bytes, channel: str = "") -> None:
        """Send `data`.

        Raises
        ------
        TransportError
            If the transport is not open, the peer hung up (``DISCONNECTED``), does not take the bytes
            (``TIMEOUT``), or declines them (``REFUSED``; the link stays).
        """
        ...

    async def heal(self, remedy: Remedy) -> None:
        """Apply one of `remedies`: ``RESUBSCRIBE`` while open, the others while closed, before the next `open`.

        Raises
        ------
        TransportError
            If that did not work, or would harm other links of the same adapter (``BUSY``).
        """
        ...

    async def close(self) -> None:
        """Let go of the link, promptly; harmless when it is closed already."""
        ...
