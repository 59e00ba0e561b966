"""The buffer of a link: in order, bounded, and with the end of the link behind the last chunk."""

from __future__ import annotations

import asyncio

import pytest

from edge.acquisition.chunk_buffer import ChunkBuffer
from edge.errors import TransportError, TransportFault
from edge.messages import Chunk
from tests.conformance.transport_battery import run

GONE = TransportError("gone", reason=TransportFault.DISCONNECTED)


def chunk(data: bytes) -> Chunk:
    return Chunk(data=data, received_at_ns=0)


def test_chunks_come_out_in_order_and_the_error_after_the_last():
    """Nothing that came before the hang-up is lost, and the hang-up is a state."""

    async def scenario():
        buffer = ChunkBuffer(4)
        buffer.put(chunk(b"a"))
        buffer.put(chunk(b"b"))
        buffer.fail(GONE)
        data = [(await buffer.next()).data, (await buffer.next()).data]
        for _ in range(2):
            with pytest.raises(TransportError, match="gone"):
                await buffer.next()
        return data

    assert run(scenario()) == [b"a", b"b"]


def test_oldest_chunks_go_when_it_is_full_and_are_counted():
    """The newest bytes matter most; what is lost is known to the byte."""

    async def scenario():
        buffer = ChunkBuffer(2)
        dropped = [buffer.put(chunk(data)) for data in (b"12345", b"678", b"9", b"0")]
        return dropped, buffer.n_dropped_bytes, [(await buffer.next()).data for _ in range(2)]

    assert run(scenario()) == ([0, 0, 5, 3], 8, [b"9", b"0"])


def test_reader_waits_until_something_comes():
    """No polling, and nothing is missed between looking and waiting."""

    async def scenario():
        buffer = ChunkBuffer(2)
        reading = asyncio.create_task(buffer.next())
        await asyncio.sleep(0)
        is_waiting = not reading.done()
        buffer.put(chunk(b"x"))
        return is_waiting, (await reading).data

    assert run(scenario()) == (True, b"x")


def test_closing_ends_the_reader_without_an_error():
    """Whoever closes a link wants no error for it, and no old chunks."""

    async def scenario():
        buffer = ChunkBuffer(2)
        reading = asyncio.create_task(buffer.next())
        await asyncio.sleep(0)
        buffer.close()
        first = await reading
        buffer.put(chunk(b"late"))
        buffer.fail(GONE)
        return first, await buffer.next()

    assert run(scenario()) == (None, None)


def test_first_error_counts():
    """What ended the link is what is told, not what followed from it."""

    async def scenario():
        buffer = ChunkBuffer(1)
        buffer.fail(GONE)
        buffer.fail(TransportError("because of that", reason=TransportFault.OTHER))
        with pytest.raises(TransportError, match="gone"):
            await buffer.next()

    run(scenario())


def test_it_holds_at_least_one():
    """A buffer for nothing is misuse."""
    with pytest.raises(ValueError, match="max_chunks >= 1"):
        ChunkBuffer(0)
