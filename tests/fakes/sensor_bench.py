"""A supervised sensor whose transports, decoder and clock are the test's."""

from __future__ import annotations

import asyncio
from itertools import groupby
from random import Random

import numpy as np
import pytest

from edge.acquisition.sensor import Sensor
from edge.acquisition.sensor_settings import SensorSettings
from edge.acquisition.transport import Remedy
from edge.clock import ManualClock
from edge.errors import TransportError, TransportFault
from edge.messages import Channel, ChannelKind, Chunk, Corrupt, DeviceBlock, LinkChange, LinkState, Outgoing
from tests.fakes.scripted_transport import ScriptedTransport

CONNECTING, CONNECTED, SILENT, LOST, ASLEEP, STOPPED = LinkState
ECG = (Channel(name="II", kind=ChannelKind.ECG, unit="mV"),)


class LineDecoder:
    """Frames are single bytes: ``D`` a block of data, ``?`` corrupt, ``.`` half a frame, anything else nothing."""

    def __init__(self) -> None:
        self.resets: list[str] = []
        self.asks: list[Outgoing] = []
        self.says_goodbye = False
        self._is_half = False

    def push(self, item: Chunk):
        out = []
        for k, byte in enumerate(item.data):
            self._is_half = byte == ord(".")
            if byte == ord("D"):
                out.append(block(item.received_at_ns))
            elif byte == ord("?"):
                out.append(Corrupt(reason="crc", offset=k, n_bytes=1))
        return out

    def flush(self):
        return [Corrupt(reason="half", offset=0, n_bytes=1)] if self._is_half else []

    def reset(self, reason: str) -> None:
        self._is_half = False
        self.resets.append(reason)

    def greeting(self) -> list[Outgoing]:
        return [Outgoing(data=b"hello?")]

    def requests(self, now_ns: int) -> list[Outgoing]:
        return self.asks

    def farewell(self) -> list[Outgoing]:
        return [Outgoing(data=b"bye")] if self.says_goodbye else []


def block(at_ns: int) -> DeviceBlock:
    return DeviceBlock(
        sensor="s", stream="ecg", channels=ECG, values=np.zeros((1, 1)), nominal_rate_hz=250.0,
        sequence=0, device_time_ns=0, received_at_ns=at_ns,
    )  # fmt: skip


class Played:
    """A sensor under a manual clock, run beside a story; a subclass gives `sensor` and `items`."""

    async def settle(self) -> None:
        """Let every task run as far as it can without time passing."""
        for _ in range(30):
            await asyncio.sleep(0)

    def play(self, story) -> None:
        """Run `story(bench)` beside the sensor, then stop the sensor as the runtime would."""

        async def scenario():
            async with asyncio.timeout(20):
                running = asyncio.create_task(self.sensor.run(self.items.append))
                await self.settle()
                await story(self)
                running.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await running

        asyncio.run(scenario())


class Bench(Played):
    """A sensor whose transports, decoder and clock are the test's."""

    def __init__(self, *refusals: TransportError, **settings) -> None:
        self.clock = ManualClock()
        self.decoder = LineDecoder()
        self.items: list = []
        self.transports: list[ScriptedTransport] = []
        self.refusals = list(refusals)
        self.remedies: tuple[Remedy, ...] = ()
        self.sensor = Sensor(
            SensorSettings(sensor="s", **settings), self._transport, self.decoder, self.clock, Random(1)
        )

    def _transport(self) -> ScriptedTransport:
        refusal = self.refusals.pop(0) if self.refusals else None
        self.transports.append(ScriptedTransport(self.clock, refuses=refusal))
        self.transports[-1].remedies = self.remedies
        return self.transports[-1]

    @property
    def line(self) -> ScriptedTransport:
        """The latest transport."""
        return self.transports[-1]

    @property
    def states(self) -> list[LinkState]:
        """The states in order, each once until the next: remedies are told as the same state with another reason."""
        said = [item.state for item in self.items if isinstance(item, LinkChange)]
        return [state for state, _ in groupby(said)]

    @property
    def reasons(self) -> list[str]:
        return [item.reason for item in self.items if isinstance(item, LinkChange)]

    async def pass_time(self, duration_s: float, *, sending: bytes = b"") -> None:
        """Advance in quarters of a second; `sending` arrives in each of them."""
        for _ in range(round(duration_s / 0.25)):
            if sending and self.line.is_open:
                self.line.feed(sending)
            await self.settle()
            self.clock.advance(0.25)
            await self.settle()


def refusal(reason: TransportFault = TransportFault.MISSING, hint: str = "") -> TransportError:
    return TransportError("no port", reason=reason, hint=hint)
