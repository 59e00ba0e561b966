"""The bridge decoder's own promises, beyond what the golden vectors show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acquisition.bridge import BridgeDecoder, BridgeSettings
from edge.acquisition.bridge_values import TimePair
from edge.acquisition.framing import FrameDecoder
from edge.acquisition.packets import (
    ChannelDescriptor,
    Command,
    CommandAck,
    CommandCode,
    CommandResult,
    EventPacket,
    Hello,
    ReadingPacket,
    SamplesPacket,
    StreamDescriptor,
    TimeRequest,
    TimeResponse,
    decode_packet,
    pack_counts,
    packet_line,
)
from edge.acquisition.unrolling import MissingSamples, unroll
from edge.conditioning.timeline import Timeline
from edge.messages import ChannelKind, Chunk, Corrupt, DeviceBlock, Gap, Reading, SensorIdentity, SensorStatus

NS_PER_S = 1_000_000_000
ECG = ChannelDescriptor(
    name="II",
    kind_code=1,
    unit_code=2,
    resolution_bits=12,
    gain_numerator=5,
    gain_denominator=2,
    offset_counts=1024,
    minimum_counts=0,
    maximum_counts=4095,
)
ACCELERATION = replace(ECG, name="Z", kind_code=8, unit_code=4, gain_numerator=1, gain_denominator=1000)
STREAMS = (
    StreamDescriptor(stream_id=1, name="ecg", rate_mhz=250_000, channels=(ECG,)),
    StreamDescriptor(stream_id=2, name="acc", rate_mhz=50_000, channels=(ACCELERATION, replace(ECG, unit_code=99))),
)
HELLO = Hello(boot_id=1, tick_rate_hz=1000, ticks=0, device_id="VE-1", model="bedside", firmware="1", streams=STREAMS)


class Device:
    """A scripted device with its own frame counter, and the host listening to it."""

    def __init__(self, **settings):
        self.decoder = BridgeDecoder(BridgeSettings(sensor="bed", **settings))
        self.n_frames = 0

    def say(self, packet, *, at_s=0.0):
        line = packet_line(packet, sequence=self.n_frames % 65536)
        self.n_frames += 1
        return self.decoder.push(Chunk(data=line, received_at_ns=round(at_s * NS_PER_S)))

    def samples(self, sequence, *, at_s=None, n_samples=10, ticks=None, is_backfill=False, counts=None):
        """Ten samples of the ECG; their ticks agree with their sequence unless told otherwise."""
        counts = np.arange(1, n_samples + 1)[:, None] if counts is None else counts
        packet = SamplesPacket(
            stream_id=1,
            sequence=sequence % (1 << 32),
            ticks=(sequence * 4 if ticks is None else ticks) % (1 << 32),
            n_channels=1,
            bytes_per_value=2,
            data=pack_counts(counts, 2),
            is_backfill=is_backfill,
        )
        return self.say(packet, at_s=(sequence + n_samples) / 250 if at_s is None else at_s)


def reasons(items):
    return [item.reason for item in items if isinstance(item, Corrupt)]


@pytest.fixture
def device():
    device = Device()
    device.say(HELLO)
    return device


def test_values_are_physical(device):
    """Counts become millivolts by offset, gain and unit."""
    (block,) = device.samples(0, counts=np.array([[1024], [1424], [0]]), n_samples=3)

    assert block.values.ravel() == pytest.approx([0.0, 1.0, -2.56])
    assert block.values.dtype == np.float64
    (channel,) = block.channels
    assert (channel.kind, channel.unit) == (ChannelKind.ECG, "mV")
    assert (channel.minimum, channel.maximum) == pytest.approx((-2.56, 7.6775))
    assert channel.resolution == pytest.approx(0.0025)


def test_acceleration_comes_in_metres_per_second_squared(device):
    """One standard gravity is 9.80665 m/s²; a unit code without a name stays recognisable."""
    packet = SamplesPacket(
        stream_id=2, sequence=0, ticks=0, n_channels=2, bytes_per_value=2, data=pack_counts(np.array([[2024, 0]]), 2)
    )

    (block,) = device.say(packet)

    assert block.values[0, 0] == pytest.approx(9.80665)
    assert [channel.unit for channel in block.channels] == ["m/s2", "{unit-99}"]


def test_identity_names_streams_and_rates():
    """The first hello says who is there."""
    (identity,) = Device().say(HELLO, at_s=3)

    assert isinstance(identity, SensorIdentity)
    assert (identity.device_id, identity.boot_id, identity.at_ns) == ("VE-1", 1, 3 * NS_PER_S)
    assert [(stream.name, stream.nominal_rate_hz) for stream in identity.streams] == [("ecg", 250.0), ("acc", 50.0)]


def test_new_rate_is_announced_and_the_counters_go_on(device):
    """A hello of the same boot with another rate is no reset."""
    device.samples(0)

    out = device.say(replace(HELLO, ticks=50, streams=(replace(STREAMS[0], rate_mhz=500_000), STREAMS[1])), at_s=0.05)
    (block,) = device.samples(10, ticks=60, at_s=0.08)

    assert [type(item) for item in out] == [SensorIdentity]
    assert (block.nominal_rate_hz, block.sequence) == (500.0, 10)
    assert device.decoder.counters.n_device_resets == 0


def test_clock_cannot_change_its_rate_within_a_boot(device):
    """Ticks of two kinds in one boot would bend time."""
    assert reasons(device.say(replace(HELLO, tick_rate_hz=2000))) == ["value"]


@given(
    st.integers(0, (1 << 34)),
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 1 << 33)), min_size=1, max_size=12),
    st.floats(-0.01, 0.01),
)
def test_any_loss_is_counted_exactly(start, steps, rate_error):
    """Invariant: whatever is lost, whole counter ranges included, and with a rate 1 % off, sequences are exact."""
    device = Device()
    device.say(replace(HELLO, ticks=round(start * 4 / (1 + rate_error)) % (1 << 32)))
    sequence, lost = start, 0
    first = None
    for n_samples, skipped in steps:
        if first is not None:
            sequence += skipped
            lost += skipped
        ticks = round(sequence * 4 / (1 + rate_error))
        out = device.samples(sequence, n_samples=n_samples, ticks=ticks, at_s=(ticks - start * 4) / 1000 + 1)
        (block,) = [item for item in out if isinstance(item, DeviceBlock)]
        first = block.sequence - sequence if first is None else first

        assert block.sequence - sequence == first
        sequence += n_samples
    assert device.decoder.counters.n_lost_samples == lost


def test_device_time_is_unrolled_over_a_silence_of_days(device):
    """Ticks that wrapped several times unseen are told by the host's elapsed time."""
    device.samples(0)
    days_s = 200 * 86_400

    (block,) = device.samples(days_s * 250, ticks=days_s * 1000, at_s=days_s + 0.04)

    assert block.device_time_ns == days_s * NS_PER_S


def test_partly_repeated_block_gives_only_what_is_new(device):
    """An overlap is cut away, counted, and device time moves with the cut."""
    device.samples(0)

    block, dropped = device.samples(5)

    assert (block.sequence, len(block.values), block.device_time_ns) == (10, 5, 40_000_000)
    assert dropped.reason == "duplicate"


def test_late_frame_fills_its_gap_as_history(device):
    """A frame overtaken by the next is not lost, but its gap was announced already."""
    device.samples(0)
    device.samples(20)

    (late,) = device.samples(10, at_s=0.13)

    assert (late.sequence, late.is_backfill) == (10, True)


def test_backfill_of_hours_ago_finds_its_time(device):
    """Stored samples keep the device time at which they were taken, also before a wrap of the ticks."""
    device.samples(0)
    hours_s = 60 * 86_400
    device.samples(hours_s * 250, ticks=hours_s * 1000, at_s=hours_s)

    (stored,) = device.samples(1000, is_backfill=True, at_s=hours_s + 1)

    assert (stored.sequence, stored.device_time_ns) == (1000, 4 * NS_PER_S)
    assert device.decoder.counters.n_backfilled_samples == 10


def test_backfill_before_the_first_live_block_is_taken_once(device):
    """History from before we listened is history, too."""
    first = device.samples(0, is_backfill=True, at_s=100)
    again = device.samples(0, is_backfill=True, at_s=101)
    device.samples(25_000)

    assert [block.is_backfill for block in first] == [True]
    assert reasons(again) == ["duplicate"]
    assert device.decoder.counters.n_lost_samples == 0


def test_equal_frames_long_apart_are_no_repeat(device):
    """A restarted or very regular device may send equal frames; only a relay does so within seconds."""
    event = packet_line(EventPacket(ticks=0, condition_code=1, is_active=True), sequence=7)

    found = [device.decoder.push(Chunk(data=event, received_at_ns=at_s * NS_PER_S))[0] for at_s in (1, 2, 10)]

    assert [type(item) for item in found] == [SensorStatus, Corrupt, SensorStatus]


def test_reading_is_timed_by_the_device(device):
    """A cuff pressure that took half a minute is as old as the device says."""
    device.samples(25_000 - 10, at_s=100)

    (reading,) = device.say(ReadingPacket(ticks=70_000, measure_code=150021, mantissa=120), at_s=100.5)

    assert reading.measured_at_ns == 70 * NS_PER_S
    assert (reading.measure, reading.value, reading.unit) == ("systolic_mmhg", 120.0, "mm[Hg]")


def test_reading_is_never_from_the_future(device):
    """Ticks ahead of everything heard so far mean now."""
    (reading,) = device.say(ReadingPacket(ticks=90_000, measure_code=150456, mantissa=97), at_s=5)

    assert reading.measured_at_ns == 5 * NS_PER_S


@pytest.mark.parametrize(
    ("status_code", "absent_code", "absent"),
    [(2, 0, "invalid"), (0, 3, "signal-poor"), (77, 0, "invalid"), (0, 99, "device-reason-99")],
)
def test_reading_without_a_sound_value_has_none(device, status_code, absent_code, absent):
    """Invalid, absent or of unknown status: no number is passed on, the reason is."""
    (reading,) = device.say(
        ReadingPacket(ticks=0, measure_code=150456, mantissa=97, status_code=status_code, absent_code=absent_code)
    )

    assert (reading.value, reading.absent, reading.status.value) == (None, absent, "invalid")


def test_events_and_readings_come_before_a_hello_too():
    """An electrode that is off is worth saying even if we do not know yet whose it is."""
    device = Device()

    out = device.say(EventPacket(ticks=9, condition_code=1, is_active=True, stream_id=1), at_s=2)
    out += device.say(ReadingPacket(ticks=9, measure_code=150456, mantissa=97, valid_for_s=0), at_s=3)

    assert isinstance(out[0], SensorStatus)
    assert (out[0].stream, out[0].condition, out[0].at_ns) == (None, "lead-off", 2 * NS_PER_S)
    assert isinstance(out[1], Reading)
    assert (out[1].measured_at_ns, out[1].valid_for_s) == (3 * NS_PER_S, 15.0)


def joined(wanted):
    return b"".join(each.data for each in wanted)


def sent(line):
    return [decode_packet(frame) for frame in FrameDecoder().push(Chunk(data=line, received_at_ns=0))]


def test_host_asks_for_a_hello_until_it_comes():
    """On connecting, then once a second, then no more."""
    device = Device()

    (greeting,) = sent(joined(device.decoder.greeting()))
    asked = [sent(joined(device.decoder.requests(round(at_s * NS_PER_S)))) for at_s in (0, 0.5, 1.0)]
    device.say(HELLO)
    (after,) = sent(joined(device.decoder.requests(2 * NS_PER_S)))

    assert greeting.code == CommandCode.IDENTIFY
    assert [[packet.code for packet in packets] for packets in asked] == [[1], [], [1]]
    assert after == TimeRequest(host_ns=2 * NS_PER_S)


def test_clock_is_asked_for_every_ten_seconds(device):
    """Requests are spaced; each answer counts once and only if it was asked for."""
    assert sent(joined(device.decoder.requests(0))) == [TimeRequest(host_ns=0)]
    assert device.decoder.requests(9 * NS_PER_S) == []
    assert sent(joined(device.decoder.requests(10 * NS_PER_S))) == [TimeRequest(host_ns=10 * NS_PER_S)]
    answer = TimeResponse(host_ns=10 * NS_PER_S, received_ticks=4003, sent_ticks=4004)

    (pair,) = device.say(answer, at_s=10.007)
    second = device.say(answer, at_s=10.008)

    assert isinstance(pair, TimePair)
    assert (pair.round_trip_ns, pair.offset_ns) == (6_000_000, 6 * NS_PER_S)
    assert reasons(second) == ["unasked"]


def test_commands_name_streams_and_count(device):
    """A stream is named as the device names it; an unknown name is a mistake said at once."""
    line = device.decoder.command(CommandCode.SET_RATE, stream="acc", argument=100_000)

    assert sent(line) == [Command(command_id=1, code=4, stream_id=2, argument=100_000)]
    with pytest.raises(ValueError, match="acc"):
        device.decoder.command(CommandCode.STOP, stream="emg")


def test_reset_of_one_device_closes_each_stream_that_had_samples(device):
    """A stream that never sent anything has no gap."""
    device.samples(0)

    *gaps, identity = device.say(replace(HELLO, boot_id=2), at_s=9)

    assert [(gap.stream, gap.start_ns, gap.end_ns, gap.n_missing) for gap in gaps if isinstance(gap, Gap)] == [
        ("ecg", 40_000_000, 9 * NS_PER_S, None)
    ]
    assert identity.boot_id == 2


def test_counters_survive_a_reset(device):
    """What was lost stays counted for health, whatever happens to the link."""
    device.samples(0)
    device.samples(100)

    device.decoder.reset("other device")

    assert device.decoder.counters.n_lost_samples == 90
    assert reasons(device.samples(110)) == ["no-hello"]


def test_link_that_comes_back_goes_on_counting(device):
    """After a pulled cable the loss is exact and ticks that wrapped meanwhile are unrolled, once a hello came."""
    device.samples(0)
    days_s = 100 * 86_400
    device.decoder.reset("cable pulled")

    before_hello = device.samples(days_s * 250, at_s=days_s)
    (identity,) = device.say(replace(HELLO, ticks=(days_s * 1000) % (1 << 32)), at_s=days_s)
    (block,) = device.samples(days_s * 250 + 10, at_s=days_s + 0.08)

    assert reasons(before_hello) == ["no-hello"]
    assert isinstance(identity, SensorIdentity)
    assert block.sequence == days_s * 250 + 10
    assert block.device_time_ns == (days_s * 250 + 10) * 4_000_000
    assert device.decoder.counters.n_lost_samples == days_s * 250


@pytest.mark.parametrize("changes", [{"boot_id": 2}, {"device_id": "VE-2"}, {"tick_rate_hz": 2000}])
def test_another_device_after_the_link_begins_anew(device, changes):
    """What was known of one device is never used for another, nor for another boot."""
    device.samples(0)
    device.decoder.reset("cable pulled")

    device.say(replace(HELLO, **changes), at_s=9)
    (block,) = device.samples(0, at_s=9.1)

    assert (block.sequence, block.is_backfill) == (0, False)
    assert device.decoder.counters.n_lost_samples == 0


def lose(device):
    """Lose samples 10 to 30 and take the time request out of the way."""
    device.samples(0)
    device.samples(30)
    device.decoder.requests(0)


def test_lost_samples_are_asked_for_once(device):
    """A device may have stored what the link lost."""
    lose(device)

    (asked,) = sent(joined(device.decoder.requests(NS_PER_S)))

    assert asked == Command(command_id=1, code=CommandCode.BACKFILL, stream_id=1, argument=10, count=20)
    assert device.decoder.requests(3 * NS_PER_S) == []


def test_lost_samples_are_asked_for_one_loss_at_a_time(device):
    """A link that just came back is not flooded with requests."""
    lose(device)
    device.samples(50)

    asked = [sent(joined(device.decoder.requests(round(at_s * NS_PER_S)))) for at_s in (1, 1.5, 2)]

    assert [[packet.argument for packet in packets] for packets in asked] == [[10], [], [40]]


@pytest.mark.parametrize(
    ("result", "again"),
    [(CommandResult.DONE, 0), (CommandResult.BUSY, 1), (CommandResult.NOT_SUPPORTED, 0), (CommandResult.FAILED, 0)],
)
def test_busy_device_is_asked_again(device, result, again):
    """Busy is the only answer after which asking again can help."""
    lose(device)
    device.decoder.requests(NS_PER_S)

    device.say(CommandAck(command_id=1, code=CommandCode.BACKFILL, result_code=result))

    assert len(sent(joined(device.decoder.requests(2 * NS_PER_S)))) == again


def test_device_that_stores_nothing_is_not_asked_again(device):
    """Not supported holds until the device restarts."""
    lose(device)
    device.decoder.requests(NS_PER_S)
    device.say(CommandAck(command_id=1, code=CommandCode.BACKFILL, result_code=CommandResult.NOT_SUPPORTED))

    device.samples(60)

    assert device.decoder.requests(2 * NS_PER_S) == []


def test_loss_longer_than_any_store_is_not_asked_for(device):
    """Half the counter's range could not be told from its other half."""
    device.samples(0)
    device.samples((1 << 31) + 10, at_s=(1 << 31) / 250)
    device.decoder.requests(0)

    assert device.decoder.requests(NS_PER_S) == []


@given(st.lists(st.tuples(st.integers(-300, 300), st.integers(1, 60)), max_size=40))
def test_every_sample_is_taken_once(ranges):
    """Invariant: each number is handed out at most once, and all that was asked for is."""
    missing, taken = MissingSamples(max_ranges=1000), set()

    for start, length in ranges:
        for low, high in missing.take(start, start + length):
            fresh = set(range(low, high))
            assert not fresh & taken
            taken |= fresh

    assert taken == {number for start, length in ranges for number in range(start, start + length)}


def test_only_so_many_losses_are_remembered():
    """A link that loses every other frame for weeks costs no memory; the oldest loss is given up."""
    missing = MissingSamples(max_ranges=3)
    for start in range(0, 100, 10):
        missing.take(start, start + 5)

    assert missing.take(5, 10) == []
    assert missing.take(85, 90) == [(85, 90)]


@given(st.integers(-(1 << 70), 1 << 70), st.integers(-(1 << 31) + 1, (1 << 31) - 1))
def test_unrolling_finds_the_nearest(near, step):
    """Invariant: a counter that moved by less than half its range is found."""
    assert unroll((near + step) % (1 << 32), near) == near + step


any_u32 = st.sampled_from([0, 1, 1000, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]) | st.integers(0, (1 << 32) - 1)
any_packet = st.one_of(
    st.builds(
        SamplesPacket,
        stream_id=st.integers(0, 3),
        sequence=any_u32,
        ticks=any_u32,
        n_channels=st.integers(1, 2),
        bytes_per_value=st.sampled_from([2, 3]),
        data=st.just(bytes(range(12))),
        is_backfill=st.booleans(),
    ),
    st.builds(
        Hello,
        boot_id=st.integers(1, 2),
        tick_rate_hz=st.sampled_from([1000, 32768, 1_000_000]),
        ticks=any_u32,
        device_id=st.sampled_from(["VE-1", "VE-2", ""]),
        model=st.just(""),
        firmware=st.just(""),
        streams=st.sampled_from([STREAMS, STREAMS[:1], (replace(STREAMS[0], rate_mhz=1),), ()]),
    ),
    st.builds(
        ReadingPacket,
        ticks=any_u32,
        measure_code=st.sampled_from([150456, 1]),
        mantissa=st.integers(-(1 << 31), (1 << 31) - 1),
        exponent=st.integers(-128, 127),
        status_code=st.integers(0, 4),
    ),
    st.builds(EventPacket, ticks=any_u32, condition_code=st.integers(0, 9), is_active=st.booleans()),
    st.builds(TimeResponse, host_ns=st.integers(0, 3), received_ticks=any_u32, sent_ticks=any_u32),
    st.builds(CommandAck, command_id=st.integers(0, 3), code=st.integers(0, 6), result_code=st.integers(0, 7)),
)


@given(st.lists(st.tuples(any_packet, st.integers(0, 65535), st.integers(-(1 << 40), 1 << 62)), max_size=40))
def test_any_story_gives_finite_values_or_counted_drops(story):
    """Invariant: no order of packets, counters and times raises; sequences of live blocks rise within a boot."""
    decoder, timelines, newest = BridgeDecoder(BridgeSettings(sensor="bed")), {}, {}

    for packet, sequence, at_ns in story:
        for item in decoder.push(Chunk(data=packet_line(packet, sequence=sequence), received_at_ns=at_ns)):
            if isinstance(item, Gap):
                newest.pop(item.stream, None)
            elif isinstance(item, SensorIdentity):
                newest.clear()
            elif isinstance(item, Reading):
                assert (item.value is None) == (item.absent is not None)
                assert item.value is None or np.isfinite(item.value)
                assert item.measured_at_ns <= at_ns
            elif isinstance(item, DeviceBlock):
                assert np.isfinite(item.values).all()
                timelines.setdefault(item.stream, Timeline()).push(item)
                if not item.is_backfill:
                    assert item.sequence > newest.get(item.stream, -1 << 90)
                    newest[item.stream] = item.sequence
        decoder.requests(max(0, at_ns))
    assert decoder.counters.n_frames == len(story)
