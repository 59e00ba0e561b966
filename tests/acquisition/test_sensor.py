"""A sensor's link is kept alive, and its state is always the truth about the data."""

from __future__ import annotations

import asyncio
import threading
from random import Random

import pytest

from edge.acquisition.backoff import BackoffSettings
from edge.acquisition.sensor import Sensor
from edge.acquisition.sensor_settings import SensorSettings
from edge.acquisition.serial_port import SerialPort, SerialPortSettings
from edge.clock import SystemClock
from edge.errors import TransportError, TransportFault
from edge.messages import (
    Corrupt,
    DeviceBlock,
    LinkChange,
    LinkState,
    Outgoing,
)
from tests.conformance.transport_battery import run
from tests.fakes.pty_port import Pty
from tests.fakes.scripted_transport import ScriptedTransport
from tests.fakes.sensor_bench import (
    CONNECTED,
    CONNECTING,
    LOST,
    SILENT,
    STOPPED,
    Bench,
    LineDecoder,
    refusal,
)


def test_connects_greets_and_delivers():
    """A healthy link: greeting written, data delivered, stopped cleanly."""

    async def story(bench):
        await bench.pass_time(3, sending=b"D")
        assert bench.line.written == [b"hello?"]
        assert bench.line.is_open

    bench = Bench()
    bench.play(story)

    assert bench.states == [CONNECTING, CONNECTED, STOPPED]
    assert sum(isinstance(item, DeviceBlock) for item in bench.items) == 12
    assert not bench.line.is_open
    assert bench.decoder.resets == ["stopped"]


def test_refused_opening_is_retried_until_it_succeeds():
    """Three failures are one LOST with its reason; the fourth attempt connects."""

    async def story(bench):
        await bench.pass_time(10)
        assert len(bench.transports) == 4

    bench = Bench(refusal(), refusal(), refusal(), max_silence_s=60.0)
    bench.play(story)

    assert bench.states == [CONNECTING, LOST, CONNECTED, STOPPED]
    assert bench.reasons[1] == "missing: no port"
    assert bench.sensor.counters.n_failures == 3


def test_another_reason_is_told():
    """The operator sees when the obstacle changes: first missing, then without permission, with the remedy."""
    second = refusal(TransportFault.PERMISSION, hint="add the user to group dialout")

    async def story(bench):
        await bench.pass_time(2)

    bench = Bench(refusal(), second, max_silence_s=60.0)
    bench.play(story)

    assert bench.states == [CONNECTING, LOST, STOPPED]
    assert bench.reasons[2] == "permission: no port; add the user to group dialout"


def test_missing_permission_is_retried_slowly():
    """Only a person can mend it: one attempt per cap, not a burst."""
    n = 50

    async def story(bench):
        await bench.pass_time(95)
        assert len(bench.transports) == 4  # at 0, 30, 60 and 90 s

    bench = Bench(*[refusal(TransportFault.PERMISSION)] * n)
    bench.play(story)

    assert bench.states == [CONNECTING, LOST, STOPPED]


def test_waits_grow_to_their_cap():
    """A port that stays away is looked for ever more rarely, yet at least every half minute on average."""

    async def story(bench):
        await bench.pass_time(600)

    bench = Bench(*[refusal()] * 1000, backoff=BackoffSettings(base_s=0.5, cap_s=30.0))
    bench.play(story)

    assert 20 < len(bench.transports) < 80


def test_silent_link_is_announced_then_opened_again():
    """Connected without data: SILENT after max_silence_s; later reopened without pretending to be connected."""

    async def story(bench):
        await bench.pass_time(2, sending=b"D")  # the last at 1.75 s
        await bench.pass_time(4.75)
        assert bench.states[-1] is CONNECTED
        await bench.pass_time(0.5)
        assert bench.states[-1] is SILENT
        assert len(bench.transports) == 1
        await bench.pass_time(30)
        assert len(bench.transports) > 1
        assert not bench.transports[0].is_open
        assert bench.states[-1] is SILENT
        await bench.pass_time(1, sending=b"D")
        assert bench.states[-1] is CONNECTED

    bench = Bench(max_silence_s=5.0)
    bench.play(story)

    assert bench.states == [CONNECTING, CONNECTED, SILENT, CONNECTED, STOPPED]
    assert bench.sensor.counters.n_silences >= 1


@pytest.mark.parametrize("noise", [b"?", b"x", b".", b"?????"])
def test_bytes_without_data_are_silence(noise):
    """Garbage, however much of it, does not keep a link alive."""

    async def story(bench):
        await bench.pass_time(6, sending=noise)
        assert bench.states[-1] is SILENT

    bench = Bench(max_silence_s=5.0, reconnect_after_s=600.0)
    bench.play(story)

    assert bench.states == [CONNECTING, CONNECTED, SILENT, STOPPED]


def test_corrupt_pieces_are_delivered_and_counted():
    """What the decoder drops is passed on and counted by reason, the half frame at the end of a link included."""

    async def story(bench):
        bench.line.feed(b"D?D?.")
        await bench.pass_time(0.5)
        bench.line.hang_up()
        await bench.settle()

    bench = Bench()
    bench.play(story)

    assert bench.sensor.counters.n_corrupt == {"crc": 2, "half": 1}
    assert sum(isinstance(item, Corrupt) for item in bench.items) == 3


def test_hang_up_and_replug_recover_without_help():
    """A pulled cable is LOST at once; the decoder begins anew; data flows again after the replug."""

    async def story(bench):
        await bench.pass_time(2, sending=b"D")
        bench.refusals = [refusal() for _ in range(3)]
        bench.line.hang_up()
        await bench.settle()
        assert bench.states[-1] is LOST
        assert bench.decoder.resets == ["link-lost"]
        await bench.pass_time(20)
        await bench.pass_time(2, sending=b"D")

    bench = Bench(max_silence_s=60.0)
    bench.play(story)

    assert bench.states == [CONNECTING, CONNECTED, LOST, CONNECTED, STOPPED]
    assert [reason.split(":")[0] for reason in bench.reasons[2:4]] == ["disconnected", "missing"]
    assert not any(transport.is_open for transport in bench.transports)


@pytest.mark.parametrize(("sending", "is_quick"), [(b"D", True), (b"", False)])
def test_only_data_makes_the_next_attempt_quick_again(sending, is_quick):
    """A port that opens and gives nothing is no success: the waits go on growing; after data they begin anew."""

    async def story(bench):
        while bench.refusals:
            await bench.pass_time(1)
        while not bench.line.is_open:
            await bench.pass_time(1)
        await bench.pass_time(1, sending=sending)
        bench.line.hang_up()
        await bench.settle()
        assert (bench.sensor._backoff.bound_s() <= 1.0) == is_quick

    Bench(*[refusal() for _ in range(6)], max_silence_s=60.0).play(story)


def test_data_before_the_hang_up_is_delivered_before_the_loss_is_told():
    """The last samples belong to the time before the gap."""

    async def story(bench):
        bench.line.feed(b"D")
        bench.line.hang_up()
        await bench.settle()

    bench = Bench()
    bench.play(story)

    kinds = [item.state if isinstance(item, LinkChange) else "data" for item in bench.items]
    assert kinds[:4] == [CONNECTING, CONNECTED, "data", LOST]


def test_requests_are_written_as_the_decoder_asks():
    """Each tick the decoder may ask; nothing is written when it does not."""

    async def story(bench):
        await bench.pass_time(1, sending=b"D")
        bench.decoder.asks = [Outgoing(data=b"time?")]
        await bench.pass_time(0.5, sending=b"D")
        bench.decoder.asks = []
        await bench.pass_time(1, sending=b"D")
        assert bench.line.written == [b"hello?", b"time?", b"time?"]

    Bench().play(story)


def test_device_that_takes_no_bytes_keeps_its_link_while_it_sends():
    """A time-out of writing is counted; data still comes, so the link stays."""

    async def story(bench):
        bench.line.refuses_writing = TransportError("full", reason=TransportFault.TIMEOUT)
        bench.decoder.asks = [Outgoing(data=b"time?")]
        await bench.pass_time(2, sending=b"D")
        assert bench.states == [CONNECTING, CONNECTED]

    bench = Bench()
    bench.play(story)

    assert bench.sensor.counters.n_write_timeouts == 8


def test_broken_write_ends_the_link():
    """A write that says disconnected is a lost link, even before the reader notices."""

    async def story(bench):
        bench.line.refuses_writing = TransportError("gone", reason=TransportFault.DISCONNECTED)
        bench.decoder.asks = [Outgoing(data=b"time?")]
        await bench.pass_time(0.25)
        assert LOST in bench.states

    Bench().play(story)


def test_bytes_dropped_by_the_transport_are_announced_where_they_are_missing():
    """An overflow between two chunks is a located Corrupt before what follows it."""

    async def story(bench):
        bench.line.feed(b"DD")
        await bench.settle()
        bench.line.n_dropped_bytes = 100
        bench.line.feed(b"D")
        await bench.settle()

    bench = Bench()
    bench.play(story)

    data = [item for item in bench.items if not isinstance(item, LinkChange)]
    assert data[2] == Corrupt(reason="overflow", offset=2, n_bytes=100)
    assert bench.sensor.counters.n_dropped_bytes == 100


def test_opening_that_never_ends_is_given_up():
    """A port that hangs while it is opened is a TIMEOUT, and tried again."""

    class Hanging(ScriptedTransport):
        async def open(self):
            await asyncio.Event().wait()

    async def story(bench):
        await bench.pass_time(5.5)
        assert bench.states == [CONNECTING, LOST]
        assert bench.reasons[-1].startswith("timeout: ")

    bench = Bench(open_timeout_s=5.0)
    bench.sensor._make_transport = lambda: Hanging(bench.clock)
    bench.play(story)


@pytest.mark.parametrize("when", ["opening", "waiting", "connected", "silent"])
def test_stopping_is_clean_at_any_time(when):
    """Cancelled in any state: the transport is closed, STOPPED is said last, no task is left."""
    refusals = [refusal()] * 9 if when == "waiting" else []
    left = []

    async def story(bench):
        if when != "opening":
            await bench.pass_time(7 if when == "silent" else 1)
        left.append(asyncio.current_task())

    async def scenario(bench):
        running = asyncio.create_task(bench.sensor.run(bench.items.append))
        if when != "opening":
            await bench.settle()
        await story(bench)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return asyncio.all_tasks() - {asyncio.current_task()}

    bench = Bench(*refusals, backoff=BackoffSettings(base_s=29.0, cap_s=30.0))
    tasks = asyncio.run(scenario(bench))

    assert not tasks
    if when == "opening":
        assert bench.states == []  # cancelled before its first step: there was nothing to stop
    else:
        assert bench.states[-1] is STOPPED
    assert not any(transport.is_open for transport in bench.transports)


def test_cancellation_is_not_lost_when_the_link_fails_in_the_same_moment():
    """A hang-up together with the stop stops the sensor; it does not reconnect."""

    async def story(bench):
        await bench.pass_time(1, sending=b"D")
        bench.line.hang_up()

    bench = Bench()
    bench.play(story)

    assert bench.states[-1] is STOPPED
    assert len(bench.transports) == 1


def test_flood_does_not_starve_the_supervision():
    """A peer that sends without pause leaves room for requests."""

    async def story(bench):
        for _ in range(500):
            bench.line.feed(b"D")
        for _ in range(20):
            await asyncio.sleep(0)
        assert bench.line.written == [b"hello?"]
        n_seen = sum(isinstance(item, DeviceBlock) for item in bench.items)
        assert 0 < n_seen < 500

    Bench().play(story)


def test_real_port_recovers_from_silence_and_replug(tmp_path):
    """Over a real terminal: data, silence, data, cable pulled, replugged under the same link, data."""
    clock = SystemClock(speed_ratio=20.0)
    pty = Pty(tmp_path / "ttyBED")
    states: list[LinkState] = []

    async def scenario():
        changed = asyncio.Event()
        data_came = asyncio.Event()

        def sink(item):
            if isinstance(item, LinkChange):
                states.append(item.state)
                changed.set()
            else:
                data_came.set()

        async def until(state):
            while not states or states[-1] is not state:
                changed.clear()
                await changed.wait()

        async def data():
            data_came.clear()
            await pty.send(b"D")
            await data_came.wait()

        port = SerialPortSettings(port=str(pty.link))
        limits = SensorSettings(sensor="s", max_silence_s=4.0, reconnect_after_s=600.0)
        sensor = Sensor(limits, lambda: SerialPort(port, clock), LineDecoder(), clock, Random(1))
        running = asyncio.create_task(sensor.run(sink))
        await until(CONNECTED)
        await data()
        await until(SILENT)
        await data()
        await until(CONNECTED)
        pty.unplug()
        await until(LOST)
        pty.plug()
        await until(CONNECTED)
        await data()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return sensor.counters

    counters = run(scenario())
    pty.unplug()

    assert states[:5] == [CONNECTING, CONNECTED, SILENT, CONNECTED, LOST]
    assert states[-2:] == [CONNECTED, STOPPED]
    assert counters.n_bytes == 3
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("serial-")]


@pytest.mark.parametrize("settings", [{"max_silence_s": 0.0}, {"max_silence_s": 5.0, "reconnect_after_s": 4.0}])
def test_impossible_limits_are_refused(settings):
    """The settings check themselves."""
    with pytest.raises(ValueError):
        SensorSettings(sensor="s", **settings)
