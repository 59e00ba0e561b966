"""The transport that other tests are played on obeys the same contract as the real ones."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from edge.clock import ManualClock
from tests.conformance.transport_battery import TransportBattery
from tests.fakes.scripted_transport import ScriptedTransport


class ScriptedRig:
    def __init__(self, pieces: list[bytes], *, hangs_up: bool) -> None:
        self.transport = ScriptedTransport(ManualClock())
        self._pieces = pieces
        self._hangs_up = hangs_up

    async def play(self) -> None:
        for piece in self._pieces:
            self.transport.feed(piece)
            await asyncio.sleep(0)
        if self._hangs_up:
            self.transport.hang_up()


class TestScriptedTransport(TransportBattery):
    @asynccontextmanager
    async def rig(self, pieces, *, hangs_up):
        yield ScriptedRig(pieces, hangs_up=hangs_up)
