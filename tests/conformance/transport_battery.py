"""What every transport obeys (edge/acquisition/transport.py); a test module subclasses `TransportBattery` per transport.

A *rig* is a transport with a peer that plays a script: it sends the given pieces once the transport is open and
then hangs up or stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import pytest

from edge.acquisition.transport import Transport
from edge.errors import TransportError, TransportFault

GUARD_S = 20.0
"""A broken transport hangs; this ends the test.  No test waits for it to pass."""


class Rig(Protocol):
    """A transport and its peer."""

    transport: Transport

    async def play(self) -> None:
        """Let the peer send its script; returns once it is sent (or will be, without further help)."""
        ...


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    async def guarded() -> Any:
        async with asyncio.timeout(GUARD_S):
            return await coroutine

    return asyncio.run(guarded())


async def read_exactly(transport: Transport, n_bytes: int) -> bytes:
    """Return the next `n_bytes` at least, whole chunks; raises what the transport raises."""
    data = b""
    async for chunk in transport.chunks():
        data += chunk.data
        if len(data) >= n_bytes:
            break
    return data


async def read_to_end(transport: Transport) -> tuple[bytes, TransportError | None]:
    """Return all bytes, and the error with which they ended."""
    data = b""
    try:
        async for chunk in transport.chunks():
            data += chunk.data
    except TransportError as error:
        return data, error
    return data, None


class TransportBattery:
    """Subclasses say how to make the rig."""

    has_live_peer = True
    """False for a replay, whose peer can neither stay nor be written to."""

    def rig(self, pieces: list[bytes], *, hangs_up: bool) -> AbstractAsyncContextManager[Rig]:
        raise NotImplementedError

    def test_bytes_arrive_complete_and_in_order(self):
        """Whatever the pieces, the bytes come as they were sent, then DISCONNECTED."""
        pieces = [bytes([k % 256]) * (1 + 37 * k % 211) for k in range(300)]

        async def scenario():
            async with self.rig(pieces, hangs_up=False) as rig:
                await rig.transport.open()
                playing = asyncio.create_task(rig.play())
                data = await read_exactly(rig.transport, sum(map(len, pieces)))
                await playing
                await rig.transport.close()
                return data, rig.transport.n_dropped_bytes

        data, n_dropped = run(scenario())

        assert data == b"".join(pieces)
        assert n_dropped == 0

    def test_times_of_chunks_never_go_back(self):
        """Each chunk is stamped, none earlier than the one before."""
        pieces = [b"x" * 100] * 20

        async def scenario():
            stamps = []
            async with self.rig(pieces, hangs_up=False) as rig:
                await rig.transport.open()
                playing = asyncio.create_task(rig.play())
                n_bytes = 0
                async for chunk in rig.transport.chunks():
                    stamps.append(chunk.received_at_ns)
                    n_bytes += len(chunk.data)
                    if n_bytes == 2000:
                        break
                await playing
                await rig.transport.close()
            return stamps

        stamps = run(scenario())

        assert stamps == sorted(stamps)

    def test_hang_up_is_disconnected_after_the_last_byte(self):
        """What came before the hang-up is delivered first; only then is the link lost."""

        async def scenario():
            async with self.rig([b"last", b" words"], hangs_up=True) as rig:
                await rig.transport.open()
                await rig.play()
                data, error = await read_to_end(rig.transport)
                await rig.transport.close()
                return data, error

        data, error = run(scenario())

        assert data == b"last words"
        assert error is not None
        assert error.reason is TransportFault.DISCONNECTED

    def test_reading_again_after_a_hang_up_says_it_again(self):
        """The loss of the link is a state, not an event that is told once."""

        async def scenario():
            async with self.rig([b"x"], hangs_up=True) as rig:
                await rig.transport.open()
                await rig.play()
                await read_to_end(rig.transport)
                data, error = await read_to_end(rig.transport)
                await rig.transport.close()
                return data, error

        data, error = run(scenario())

        assert data == b""
        assert error is not None
        assert error.reason is TransportFault.DISCONNECTED

    def test_opening_twice_is_misuse(self):
        """An open transport cannot be opened."""

        async def scenario():
            async with self.rig([], hangs_up=False) as rig:
                await rig.transport.open()
                with pytest.raises(RuntimeError):
                    await rig.transport.open()
                await rig.transport.close()

        run(scenario())

    def test_closing_is_always_possible(self):
        """Before opening, after it, twice: close never fails."""

        async def scenario():
            async with self.rig([], hangs_up=False) as rig:
                await rig.transport.close()
                await rig.transport.open()
                await rig.transport.close()
                await rig.transport.close()

        run(scenario())

    def test_a_closed_transport_neither_reads_nor_writes(self):
        """Before opening and after closing there is no link: DISCONNECTED, not silence."""

        async def scenario():
            reasons = []
            async with self.rig([b"x"], hangs_up=False) as rig:
                for is_reopened in (True, False):
                    for use in (rig.transport.write(b"hello"), read_exactly(rig.transport, 1)):
                        with pytest.raises(TransportError) as caught:
                            await use
                        reasons.append(caught.value.reason)
                    if is_reopened:
                        await rig.transport.open()
                        await rig.transport.close()
            return reasons

        assert run(scenario()) == [TransportFault.DISCONNECTED] * 4

    def test_close_ends_a_waiting_reader(self):
        """A reader in the middle of waiting ends without an error when we close."""
        if not self.has_live_peer:
            pytest.skip("a replay never waits for its peer")

        async def scenario():
            async with self.rig([], hangs_up=False) as rig:
                await rig.transport.open()
                reading = asyncio.create_task(read_to_end(rig.transport))
                await asyncio.sleep(0)
                await rig.transport.close()
                return await reading

        assert run(scenario()) == (b"", None)

    def test_closed_transport_can_be_opened_again(self):
        """Reconnecting uses the same object."""

        async def scenario():
            async with self.rig([b"again"], hangs_up=False) as rig:
                await rig.transport.open()
                await rig.transport.close()
                await rig.transport.open()
                await rig.play()
                data = await read_exactly(rig.transport, 5)
                await rig.transport.close()
                return data

        assert run(scenario()) == b"again"

    def test_transport_says_what_it_is(self):
        """`describe` is one short line for people."""

        async def scenario():
            async with self.rig([], hangs_up=False) as rig:
                return rig.transport.describe()

        text = run(scenario())

        assert text
        assert "\n" not in text
