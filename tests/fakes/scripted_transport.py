"""A transport whose peer is the test: it feeds bytes, hangs up, refuses to open, and sees what was written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from edge.acquisition.transport import Remedy
from edge.clock import Clock
from edge.errors import TransportError, TransportFault
from edge.messages import Chunk


class ScriptedTransport:
    """Obeys the contract of `edge.acquisition.transport` (it passes the battery)."""

    def __init__(self, clock: Clock, *, refuses: TransportError | None = None) -> None:
        self.written: list[bytes] = []
        self.channels: list[str] = []
        self.remedies: tuple[Remedy, ...] = ()
        self.healed: list[Remedy] = []
        self.refuses_healing: TransportError | None = None
        self.n_dropped_bytes = 0
        self.is_open = False
        self.refuses = refuses
        self.refuses_writing: TransportError | None = None
        self._clock = clock
        self._queue: asyncio.Queue[Chunk | None] = asyncio.Queue()
        self._is_hung_up = False

    def describe(self) -> str:
        return "a scripted transport"

    async def open(self) -> None:
        if self.is_open:
            raise RuntimeError("already open")
        await asyncio.sleep(0)
        if self.refuses is not None:
            raise self.refuses
        self.is_open = True
        self._is_hung_up = False
        self._queue = asyncio.Queue()

    async def chunks(self) -> AsyncIterator[Chunk]:
        self._require_open()
        while not (self._is_hung_up and self._queue.empty()) and (chunk := await self._queue.get()) is not None:
            yield chunk
        if self._is_hung_up:
            raise TransportError("the script hung up", reason=TransportFault.DISCONNECTED)

    async def heal(self, remedy: Remedy) -> None:
        if self.refuses_healing is not None:
            raise self.refuses_healing
        self.healed.append(remedy)

    async def write(self, data: bytes, channel: str = "") -> None:
        self._require_open()
        if self._is_hung_up:
            raise TransportError("the script hung up", reason=TransportFault.DISCONNECTED)
        if self.refuses_writing is not None:
            raise self.refuses_writing
        self.written.append(data)
        self.channels.append(channel)

    async def close(self) -> None:
        self.is_open = False
        self._is_hung_up = False
        self._queue.put_nowait(None)

    def feed(self, data: bytes, channel: str = "") -> None:
        self._queue.put_nowait(Chunk(data=data, received_at_ns=self._clock.monotonic_ns(), channel=channel))

    def hang_up(self) -> None:
        self._is_hung_up = True
        self._queue.put_nowait(None)

    def _require_open(self) -> None:
        if not self.is_open:
            raise TransportError("not open", reason=TransportFault.DISCONNECTED)
