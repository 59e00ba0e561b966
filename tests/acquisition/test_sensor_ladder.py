"""A link that says "connected" and sends nothing is healed step by step, and each step is told."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from edge.acquisition.sensor import Sensor
from edge.acquisition.sensor_settings import SensorSettings
from edge.acquisition.transport import Remedy
from edge.errors import TransportError, TransportFault
from edge.messages import Chunk, Reading, ReadingStatus
from tests.fakes.scripted_transport import ScriptedTransport
from tests.fakes.sensor_bench import ASLEEP, CONNECTED, CONNECTING, SILENT, STOPPED, Bench, LineDecoder, refusal

ALL = (Remedy.RESUBSCRIBE, Remedy.REDISCOVER, Remedy.POWER_CYCLE)


def remedies_of(bench) -> list[tuple[str, int]]:
    """What each transport was healed with, and how many bytes of greeting it got."""
    return [(remedy.value, k) for k, transport in enumerate(bench.transports) for remedy in transport.healed]


def test_zombie_link_climbs_the_ladder_to_its_top():
    """A link that says connected and sends nothing: each remedy in its turn, told with its reason and counted."""

    async def story(bench):
        await bench.pass_time(1, sending=b"D")
        await bench.pass_time(9.5)
        assert remedies_of(bench) == []
        await bench.pass_time(1)
        assert remedies_of(bench) == [("resubscribe", 0)]
        assert bench.transports[0].written == [b"hello?", b"hello?"]
        await bench.pass_time(150)

    bench = Bench(max_silence_s=5.0)
    bench.remedies = ALL
    bench.play(story)

    # The adapter's turn comes on the link that was opened after the sensor was looked for anew.
    assert remedies_of(bench)[:3] == [("resubscribe", 0), ("rediscover", 1), ("power-cycle", 2)]
    counts = bench.sensor.counters.n_remedies
    assert set(counts) == {"resubscribe", "reconnect", "rediscover", "power-cycle"}
    assert counts["resubscribe"] == 1
    assert bench.states == [CONNECTING, CONNECTED, SILENT, STOPPED]
    assert [reason for reason in bench.reasons if reason.startswith("no data")][:4] == [
        "no data for 5 s",
        "no data for 10 s: subscribing again",
        "no data for 15 s: connecting again",
        "no data for 5 s: looking for the sensor anew",
    ]


@pytest.mark.parametrize("helps", ["resubscribe", "reconnect", "rediscover", "power-cycle"])
def test_data_takes_the_ladder_back_to_its_foot(helps):
    """Whichever remedy helps, nothing stronger is tried, and the next silence begins with the mildest."""

    async def story(bench):
        await bench.pass_time(1, sending=b"D")
        while not bench.sensor.counters.n_remedies.get(helps):
            await bench.pass_time(0.25)
        while not bench.line.is_open:
            await bench.pass_time(0.25)
        await bench.pass_time(2, sending=b"D")
        first = dict(bench.sensor.counters.n_remedies)
        await bench.pass_time(11)
        assert list(first)[-1] == helps
        assert bench.sensor.counters.n_remedies == first | {"resubscribe": 2}

    bench = Bench(max_silence_s=5.0)
    bench.remedies = ALL
    bench.play(story)

    assert bench.states == [CONNECTING, CONNECTED, SILENT, CONNECTED, SILENT, STOPPED]


def test_refused_remedy_is_counted_and_the_link_goes_on():
    """An adapter that others use is not switched off; the sensor is tried again all the same."""

    async def story(bench):
        await bench.pass_time(30)
        for transport in bench.transports:
            transport.refuses_healing = TransportError("others use it", reason=TransportFault.BUSY)
        await bench.pass_time(60)
        await bench.pass_time(31, sending=b"D")
        assert bench.states[-1] is CONNECTED

    bench = Bench(max_silence_s=5.0)
    bench.remedies = (Remedy.POWER_CYCLE,)
    bench.play(story)

    assert bench.sensor.counters.n_remedies["refused-power-cycle"] >= 1


def test_remedy_that_hangs_gives_way_to_the_next():
    """A system that never answers holds the ladder up for as long as an opening, not for ever."""

    class Hanging(ScriptedTransport):
        async def heal(self, remedy: Remedy) -> None:
            self.healed.append(remedy)
            await asyncio.Event().wait()

    bench = Bench(max_silence_s=5.0)

    def transport():
        bench.transports.append(Hanging(bench.clock))
        bench.transports[-1].remedies = ALL
        return bench.transports[-1]

    bench.sensor = Sensor(SensorSettings(sensor="s"), transport, bench.decoder, bench.clock, Random(1))

    async def story(bench):
        await bench.pass_time(120)

    bench.play(story)

    assert [remedy for remedy, _ in remedies_of(bench)][:3] == ["resubscribe", "rediscover", "power-cycle"]
    assert bench.sensor.counters.n_remedies["refused-resubscribe"] == 1


def test_failures_of_a_stuck_system_climb_too_and_those_of_an_absent_sensor_do_not():
    """Six openings that time out end in a power cycle; a sensor out of reach never costs the others their adapter."""

    def after(reason):
        async def story(bench):
            await bench.pass_time(60)

        bench = Bench(*[TransportError("no", reason=reason) for _ in range(200)], max_silence_s=5.0)
        bench.remedies = ALL
        bench.play(story)
        return [remedy for remedy, _ in remedies_of(bench)]

    assert after(TransportFault.TIMEOUT)[:2] == ["rediscover", "power-cycle"]
    assert after(TransportFault.MISSING) == []
    assert after(TransportFault.ADAPTER) == []


def test_occasional_sensor_is_asleep_and_not_lost():
    """A cuff that is off between two measurements raises nothing, is looked for often, and is never silent."""

    async def story(bench):
        await bench.pass_time(20)
        bench.refusals.clear()
        await bench.pass_time(6)
        assert bench.states[-1] is CONNECTED
        await bench.pass_time(1, sending=b"D")
        await bench.pass_time(60)
        assert bench.states[-1] is CONNECTED
        bench.line.hang_up()
        bench.refusals = [refusal()] * 100
        await bench.pass_time(10)
        assert bench.states[-1] is ASLEEP

    bench = Bench(*[refusal()] * 100, max_silence_s=5.0, is_occasional=True)
    bench.play(story)

    assert bench.states == [CONNECTING, ASLEEP, CONNECTED, ASLEEP, STOPPED]


def test_late_data_is_counted_and_no_state():
    """Half of what is silence: shown as late, no alarm."""

    async def story(bench):
        await bench.pass_time(1, sending=b"D")
        await bench.pass_time(3)
        assert bench.sensor.is_late
        await bench.pass_time(1, sending=b"D")
        assert not bench.sensor.is_late

    bench = Bench(max_silence_s=5.0)
    bench.play(story)

    assert bench.sensor.counters.n_lates == 1
    assert bench.states == [CONNECTING, CONNECTED, STOPPED]


def test_device_is_told_goodbye_when_stopped_on_purpose():
    """A strap that streams until told to stop empties its battery; a link that was lost needs no farewell."""

    async def story(bench):
        bench.decoder.says_goodbye = True
        await bench.pass_time(1, sending=b"D")
        bench.line.hang_up()
        await bench.pass_time(5)

    bench = Bench(max_silence_s=60.0)
    bench.play(story)

    assert b"bye" not in bench.transports[0].written
    assert bench.line.written[-1] == b"bye"


def test_battery_level_is_no_sign_that_a_sensor_measures():
    """A mute sensor answers for its battery on every connect: the ladder goes on to its top all the same."""

    class BatteryDecoder(LineDecoder):
        def push(self, item: Chunk):
            return [
                Reading(
                    sensor="s", measure="battery_pct", value=80.0, unit="%", measured_at_ns=item.received_at_ns,
                    status=ReadingStatus.VALID,
                )
            ]  # fmt: skip

    async def story(bench):
        for _ in range(40):
            await bench.pass_time(2)
            if bench.line.is_open:
                bench.line.feed(b"battery")
        await bench.settle()

    bench = Bench(max_silence_s=5.0)
    bench.remedies = ALL
    bench.decoder = BatteryDecoder()
    bench.sensor = Sensor(SensorSettings(sensor="s"), bench._transport, bench.decoder, bench.clock, Random(1))
    bench.play(story)

    assert {"resubscribe", "reconnect", "rediscover"} <= set(bench.sensor.counters.n_remedies)
    assert SILENT in bench.states
