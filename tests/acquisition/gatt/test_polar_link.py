"""A supervised Polar strap comes to send by itself: on connect, after a stall, after a hang-up; and rests at the end."""

from __future__ import annotations

from random import Random

from edge.acquisition.gatt.polar_control import CONTROL, DATA, stopped_bytes
from edge.acquisition.gatt.polar_frames import UNSET_CLOCK_NS, MeasurementType
from edge.acquisition.gatt.polar_pmd import PolarDecoder, PolarSettings
from edge.acquisition.sensor import Sensor
from edge.acquisition.sensor_settings import SensorSettings
from edge.acquisition.transport import Remedy
from edge.clock import ManualClock
from edge.messages import DeviceBlock, LinkChange, LinkState
from tests.acquisition.gatt.polar_sensor import H10_OFFERS, SimulatedPolar, ecg_frame, heart_rate
from tests.fakes.scripted_transport import ScriptedTransport
from tests.fakes.sensor_bench import Played

NS_PER_S = 1_000_000_000


class StrapTransport(ScriptedTransport):
    """A link to a strap: it reads the features on opening, as `ble` does by the plan, and the strap answers."""

    def __init__(self, clock: ManualClock, strap: SimulatedPolar) -> None:
        super().__init__(clock)
        self.strap = strap
        self.is_mute = False
        self.remedies = (Remedy.RESUBSCRIBE,)

    async def open(self) -> None:
        await super().open()
        self.feed(self.strap.features().data, CONTROL)

    async def write(self, data: bytes, channel: str = "") -> None:
        await super().write(data, channel)
        if channel == CONTROL and not self.is_mute:
            self.feed(self.strap.answer(data).data, CONTROL)


class Bench(Played):
    """A supervised strap on a clock of the test's."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.strap = SimulatedPolar(offers={MeasurementType.ECG: H10_OFFERS[MeasurementType.ECG]})
        self.decoder = PolarDecoder(PolarSettings(sensor="chest", streams=("ecg",)))
        self.items: list = []
        self.lines: list[StrapTransport] = []
        settings = SensorSettings(sensor="chest")
        self.sensor = Sensor(settings, self._transport, self.decoder, self.clock, Random(1))
        self._n_sent = 0

    def _transport(self) -> StrapTransport:
        self.lines.append(StrapTransport(self.clock, self.strap))
        return self.lines[-1]

    @property
    def blocks(self) -> list[DeviceBlock]:
        return [item for item in self.items if isinstance(item, DeviceBlock)]

    def said(self, line: int = -1) -> list[str]:
        return [data.hex(" ") for data in self.lines[line].written]

    async def pass_time(self, duration_s: float, *, rate: bool = False, data: bool = True) -> None:
        """Let the strap send what it runs, a frame each half second."""
        for k in range(round(duration_s / 0.25)):
            line = self.lines[-1]
            if k % 2 and line.is_open:
                at_s = self.clock.monotonic_ns() / NS_PER_S
                if MeasurementType.ECG in self.strap.running and data:
                    line.feed(ecg_frame(0, base_ns=UNSET_CLOCK_NS + round(at_s * NS_PER_S), n_samples=65).data, DATA)
                if rate:
                    line.feed(heart_rate("00 3C").data, heart_rate("00 3C").channel)
            await self.settle()
            self.clock.advance(0.25)
            await self.settle()


START = ["01 00", "02 00 00 01 82 00 01 01 0e 00"]


def test_strap_sends_within_a_second_and_is_stopped_at_the_end():
    """Two requests bring it to send; an ordered end takes it back."""

    async def story(bench):
        await bench.pass_time(3)
        assert bench.said() == START

    bench = Bench()
    bench.play(story)

    assert len(bench.blocks) >= 4
    assert bench.said() == [*START, "03 00"]
    assert bench.strap.running == set()


def test_strap_whose_data_stop_is_asked_anew_on_the_same_link():
    """Connected and silent: the subscription is renewed, and the stream stopped and started; no new connection."""

    async def story(bench):
        await bench.pass_time(3)
        n_blocks = len(bench.blocks)
        await bench.pass_time(10.5, data=False)
        assert bench.lines[0].healed == [Remedy.RESUBSCRIBE]
        await bench.pass_time(4)
        assert len(bench.blocks) >= n_blocks + 4

    bench = Bench()
    bench.play(story)

    assert len(bench.lines) == 1
    assert bench.said()[2:-1] == ["03 00", *START]
    changes = [item.state for item in bench.items if isinstance(item, LinkChange)]
    assert changes[-2:] == [LinkState.CONNECTED, LinkState.STOPPED]


def test_ecg_that_stops_while_the_heart_rate_goes_on_is_started_again():
    """The link is not silent, so nobody else would: the dialogue sees that its stream is."""

    async def story(bench):
        await bench.pass_time(3, rate=True)
        bench.strap.running.clear()  # without a word
        await bench.pass_time(20, rate=True)

    bench = Bench()
    bench.play(story)

    assert bench.lines[0].healed == []
    assert bench.said()[2:-1] == ["03 00", START[1]]
    assert bench.blocks[-1].received_at_ns > 22 * NS_PER_S


def test_strap_that_stops_by_itself_is_started_again():
    """It says so: a second later it is asked again."""

    async def story(bench):
        await bench.pass_time(3, rate=True)
        bench.strap.running.clear()
        bench.lines[0].feed(stopped_bytes((0,)), CONTROL)
        await bench.pass_time(3, rate=True)

    bench = Bench()
    bench.play(story)

    assert bench.said()[2:-1] == [START[1]]
    assert bench.blocks[-1].received_at_ns > 5 * NS_PER_S


def test_new_connection_begins_from_the_features():
    """The strap forgot its streams with the link, or did not: both end in data."""
    for forgets in (True, False):

        async def story(bench, forgets=forgets):
            await bench.pass_time(3)
            if forgets:
                bench.strap.running.clear()
            bench.lines[0].hang_up()
            await bench.pass_time(8)

        bench = Bench()
        bench.play(story)

        assert len(bench.lines) == 2
        restart = START if forgets else [*START, "03 00", START[1]]
        assert bench.said(1)[:-1] == restart
        assert bench.blocks[-1].received_at_ns > 10 * NS_PER_S


def test_strap_that_does_not_answer_is_asked_again_and_again():
    """The control point is mute at first: every five seconds the same question, and then data."""

    async def story(bench):
        bench.lines[0].is_mute = True
        await bench.pass_time(11, rate=True)
        assert bench.said() == ["01 00"] * 3
        bench.lines[0].is_mute = False
        await bench.pass_time(8, rate=True)

    bench = Bench()
    bench.play(story)

    assert bench.said()[-3:-1] == START
    assert bench.blocks
