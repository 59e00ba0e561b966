"""Received chunks between the vendor library's callback and the reader of a transport.

Wiring, for one event loop.  Overflow policy: the oldest chunks are dropped and their bytes counted, because the newest
are the ones that matter at a bed.
"""

from __future__ import annotations

import asyncio
from collections import deque

from edge.errors import TransportError
from edge.messages import Chunk


class ChunkBuffer:
    """Chunks of one open link, in order, with the end of the link behind the last.

    Parameters
    ----------
    max_chunks : int
        More are never kept; at least 1.
    """

    def __init__(self, max_chunks: int) -> None:
        if max_chunks < 1:
            raise ValueError(f"expected max_chunks >= 1, got {max_chunks}")
        self.n_dropped_bytes = 0
        self._chunks: deque[Chunk] = deque()
        self._max_chunks = max_chunks
        self._error: TransportError | None = None
        self._is_closed = False
        self._is_ready = asyncio.Event()

    @property
    def is_failed(self) -> bool:
        """Whether the link has ended by itself: nothing more will come."""
        return self._error is not None

    def put(self, chunk: Chunk) -> int:
        """Keep `chunk`; return how many bytes had to go for it."""
        n_bytes = 0
        self._chunks.append(chunk)
        while len(self._chunks) > self._max_chunks:
            n_bytes += len(self._chunks.popleft().data)
        self.n_dropped_bytes += n_bytes
        self._is_ready.set()
        return n_bytes

    def fail(self, error: TransportError) -> None:
        """Let the reader have `error` after the last chunk; the first error counts."""
        if self._error is None:
            self._error = error
        self._is_ready.set()

    def close(self) -> None:
        """Let the reader end at once and without an error."""
        self._is_closed = True
        self._is_ready.set()

    async def next(self) -> Chunk | None:
        """Return the oldest chunk once there is one; None after `close`.

        Raises
        ------
        TransportError
            As given to `fail`, every time, once no chunk is left.
        """
        while not self._is_closed:
            if self._chunks:
                return self._chunks.popleft()
            if self._error is not None:
                raise self._error
            self._is_ready.clear()
            await self._is_ready.wait()
        return None
