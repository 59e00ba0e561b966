"""The virtual sensor: a byte stream that any host can read, with faults that repeat exactly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.acquisition.framing import Frame, FrameDecoder
from edge.acquisition.packets import (
    CONDITIONS,
    MEASURES,
    Command,
    CommandAck,
    CommandCode,
    CommandResult,
    EventPacket,
    Hello,
    ReadingPacket,
    SamplesPacket,
    TimeRequest,
    TimeResponse,
    decode_packet,
    packet_line,
)
from edge.messages import Chunk, Corrupt
from firmware_bridge.virtual.device import VirtualSensor, story_time_ns
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import Fault, FaultKind, Scenario, SensorSettings

S = 1_000_000_000


def decoded(data):
    """Return what a host makes of a byte stream: packets and whatever was broken."""
    items = FrameDecoder().push(Chunk(data=data, received_at_ns=0))
    return [decode_packet(item) if isinstance(item, Frame) else item for item in items]


def frames(data):
    return [item for item in FrameDecoder().push(Chunk(data=data, received_at_ns=0)) if isinstance(item, Frame)]


def of_type(items, cls):
    return [item for item in items if isinstance(item, cls)]


def stream(items, stream_id=1):
    return [item for item in items if isinstance(item, SamplesPacket) and item.stream_id == stream_id]


def sensor_with(*faults, **sensor):
    return VirtualSensor(Scenario(faults=faults, sensor=SensorSettings(**sensor)))


def fault(kind, at_s, duration_s=10.0, stream=None, **parameters):
    return Fault(kind=FaultKind(kind), at_s=at_s, duration_s=duration_s, stream=stream, parameters=parameters)


ALL_LINE_FAULTS = (
    fault("frame-loss", 1, 4, probability=0.3),
    fault("corruption", 2, 4, probability=0.3),
    fault("duplicate", 3, 3, probability=0.3),
    fault("jitter", 4, 4, max_delay_s=0.7),
    fault("lead-off", 2, 3),
    fault("disconnect", 8, 1),
    fault("firmware-reset", 10, restart_s=1),
    fault("clock-drift", 0, 30, drift_ppm=900),
)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(min_value=0, max_value=3 * S), min_size=1, max_size=12))
def test_bytes_do_not_depend_on_the_steps_of_time(steps):
    """Invariant: advancing in any steps gives the same bytes as advancing at once, under every fault."""
    at_once = VirtualSensor(Scenario(faults=ALL_LINE_FAULTS))
    in_steps = VirtualSensor(Scenario(faults=ALL_LINE_FAULTS))

    whole = at_once.advance(sum(steps))
    pieces = b"".join(in_steps.advance(sum(steps[: k + 1])) for k in range(len(steps)))

    assert pieces == whole


def test_first_word_is_a_hello_that_describes_the_streams():
    """A host that connects learns identity, streams and the size of a count before the first sample."""
    first = decoded(sensor_with().advance(1 * S))[0]

    assert isinstance(first, Hello)
    assert [(s.name, s.rate_mhz, len(s.channels)) for s in first.streams] == [
        ("ecg", 250_000, 2),
        ("ppg", 100_000, 2),
        ("respiration", 25_000, 1),
        ("acceleration", 50_000, 3),
    ]


def test_samples_on_the_wire_are_the_patients():
    """Counts times gain are the patient's values within half a count, gapless and with the right ticks."""
    items = decoded(sensor_with().advance(20 * S))
    hello = of_type(items, Hello)[0]
    patient = VirtualPatient(Scenario())

    for descriptor in hello.streams:
        packets = stream(items, descriptor.stream_id)
        gain = np.array([c.gain_numerator / c.gain_denominator for c in descriptor.channels])
        counts = np.concatenate([packet.counts() for packet in packets])
        values = patient.read(descriptor.name, len(counts))
        assert np.abs(counts * gain - values).max() <= 0.5000001 * gain.max()
        assert len(counts) >= 19.8 * descriptor.rate_mhz / 1000
        n_sent = 0
        for packet in packets:
            assert packet.sequence == n_sent
            assert packet.ticks == round(n_sent * 1e9 / descriptor.rate_mhz)
            n_sent += packet.n_samples


def test_a_sample_is_not_sent_before_it_was_taken():
    """A packet leaves when its last sample has been converted, not earlier."""
    sensor = sensor_with()

    before = decoded(sensor.advance(95_999_999))
    after = decoded(sensor.advance(96_000_000))

    assert not stream(before)
    assert stream(after)[0].n_samples == 25


def test_frame_counter_wraps_without_a_step():
    """Frames are numbered modulo 65536."""
    sensor = sensor_with()
    sensor._frame_sequence = 65_530  # half an hour of frames later

    numbers = [frame.sequence for frame in frames(sensor.advance(2 * S))]

    assert numbers[:8] == [65_530, 65_531, 65_532, 65_533, 65_534, 65_535, 0, 1]
    assert (np.diff(numbers) % 65_536 == 1).all()


def test_ticks_can_start_just_before_they_roll_over():
    """With the option the tick counter rolls over early in the story and goes on from zero."""
    items = decoded(sensor_with(start_ticks_before_wrap_s=2).advance(5 * S))

    ticks = np.array([packet.ticks for packet in stream(items)], dtype=np.uint64)

    assert ticks[0] == (1 << 32) - 2_000_000
    assert (ticks[1:] < ticks[:-1]).sum() == 1
    assert (np.diff(ticks) % (1 << 32) == 100_000).all()


def test_lead_off_is_announced_and_drives_the_signal_to_the_rail():
    """The event names the stream, the samples are at the end of the range, breathing has no value; then all is well."""
    sensor = sensor_with(fault("lead-off", 2, 3))

    items = decoded(sensor.advance(8 * S))

    events = [(CONDITIONS[e.condition_code], e.stream_id, e.is_active, e.ticks) for e in of_type(items, EventPacket)]
    assert events == [("lead-off", 1, True, 2_000_000), ("lead-off", 1, False, 5_000_000)]
    counts = np.concatenate([packet.counts() for packet in stream(items)])
    assert (counts[500:1250] == 0x7FFF).all()
    assert (counts[1250:] < 0x7FFF).all()
    breathing = [r for r in of_type(items, ReadingPacket) if MEASURES[r.measure_code][0] == "respiratory_rate_bpm"]
    assert [r.absent_code for r in breathing[1:5]] == [2, 2, 2, 0]


def test_finger_clip_off_gives_no_saturation_and_no_pulse_rate():
    """Values of a finger that is not there are absent with a reason, never the last ones."""
    items = decoded(sensor_with(fault("lead-off", 6, 3, stream="ppg")).advance(12 * S))

    spo2 = {r.ticks // 1_000_000: r for r in of_type(items, ReadingPacket) if r.measure_code == 150456}

    assert [(spo2[k].mantissa, spo2[k].status_code, spo2[k].absent_code) for k in (5, 6, 8, 9)] == [
        (97, 0, 0),
        (0, 2, 2),
        (0, 2, 2),
        (97, 0, 0),
    ]


def test_readings_have_their_units_and_periods():
    """Temperature to a tenth every ten seconds, the cuff at its period with all three pressures."""
    items = of_type(decoded(sensor_with(cuff_period_s=60).advance(100 * S)), ReadingPacket)
    by_name = {}
    for reading in items:
        by_name.setdefault(MEASURES[reading.measure_code][0], []).append(reading)

    temperature = by_name["body_temperature_c"]
    assert len(temperature) == 10
    assert (temperature[0].mantissa, temperature[0].exponent) == (368, -1)
    assert [r.ticks for r in by_name["systolic_mmhg"]] == [20_000_000, 80_000_000]
    assert [by_name[k][1].mantissa for k in ("systolic_mmhg", "diastolic_mmhg", "mean_pressure_mmhg")] == [122, 78, 93]


@pytest.mark.parametrize("rhythm", ["asystole", "ventricular-fibrillation"])
def test_no_cuff_value_without_a_pulse(rhythm):
    """The cuff says that it could not measure."""
    sensor = VirtualSensor(Scenario.simple(rhythm=rhythm))

    cuff = [r for r in of_type(decoded(sensor.advance(21 * S)), ReadingPacket) if r.measure_code == 150021]

    assert [(r.status_code, r.absent_code) for r in cuff] == [(2, 3)]


def test_lost_frames_leave_a_hole_in_the_counters():
    """Every frame that the line lost is missing from the numbers of those that came, and nothing else is."""
    sensor = sensor_with(fault("frame-loss", 1, 10, probability=0.25))

    numbers = [frame.sequence for frame in frames(sensor.advance(15 * S))]

    n_missing = numbers[-1] + 1 - len(numbers)
    assert n_missing == sensor.counts["lost"]
    assert 0.1 < n_missing / (10 * 43) < 0.4


def test_corrupted_frames_are_seen_as_corrupt():
    """Damage is found by the host and costs the damaged frames, at most with their neighbours."""
    sensor = sensor_with(fault("corruption", 1, 10, probability=0.2))

    items = decoded(sensor.advance(15 * S))

    n_damaged = sensor.counts["corrupted"]
    assert n_damaged > 40
    assert of_type(items, Corrupt)
    n_whole = len(items) - len(of_type(items, Corrupt))
    assert sensor.counts["sent"] - n_whole <= n_damaged
    assert all(packet.n_samples == 25 for packet in stream(items))


def test_duplicates_are_the_same_frame_twice():
    """A doubled frame comes at once after itself, to the last byte."""
    sensor = sensor_with(fault("duplicate", 1, 5, probability=0.5))

    got = frames(sensor.advance(8 * S))

    pairs = [(a, b) for a, b in itertools.pairwise(got) if a.sequence == b.sequence]
    assert len(pairs) == sensor.counts["duplicated"] > 30
    assert all(a.payload == b.payload for a, b in pairs)


def test_jitter_delays_but_keeps_the_order():
    """Late frames arrive in order, none is lost, and none is later than the scenario allows."""
    sensor = sensor_with(fault("jitter", 1, 5, max_delay_s=0.8))

    arrived = []
    for k in range(1, 1000):
        arrived += [(k * S // 100, frame) for frame in frames(sensor.advance(k * S // 100))]

    assert [frame.sequence for _, frame in arrived] == list(range(len(arrived)))
    delays_s = [
        at_ns / S - (packet.ticks / 1e6 + 0.096)
        for at_ns, frame in arrived
        if isinstance(packet := decode_packet(frame), SamplesPacket) and packet.stream_id == 1
    ]
    assert 0.3 < max(delays_s) <= 0.82
    assert delays_s[-1] < 0.02


def test_a_pulled_cable_loses_what_was_sent_and_the_counters_go_on():
    """Nothing arrives while the cable is out; afterwards the sequence shows how much is missing."""
    sensor = sensor_with(fault("disconnect", 3, 4))

    before = decoded(sensor.advance(3 * S))
    during = sensor.advance(int(6.99 * S))
    was_connected = sensor.is_connected
    after = decoded(sensor.advance(10 * S))

    assert during == b""
    assert not was_connected
    assert sensor.is_connected
    last, first = stream(before)[-1], stream(after)[0]
    assert first.sequence - (last.sequence + last.n_samples) == 1000


def test_a_command_is_not_heard_through_a_pulled_cable():
    """Bytes from the host go nowhere while the cable is out."""
    sensor = sensor_with(fault("disconnect", 0, 4))
    sensor.advance(1 * S)

    answer = sensor.receive(packet_line(Command(command_id=1, code=CommandCode.IDENTIFY), sequence=0))

    assert answer + sensor.advance(3 * S) == b""


def test_a_reset_begins_a_new_boot_with_counters_at_zero():
    """After a restart a hello names another boot, sequences, frame numbers and ticks begin again, the heart goes on."""
    sensor = sensor_with(fault("firmware-reset", 5, restart_s=2))

    items = decoded(sensor.advance(12 * S))
    numbers = [frame.sequence for frame in frames(sensor_with(fault("firmware-reset", 5, restart_s=2)).advance(12 * S))]

    second = next(k for k, item in enumerate(items) if isinstance(item, Hello) and item.boot_id == 2)
    assert items[second].ticks == 0
    assert numbers[second] == 0
    first_after = stream(items[second:])[0]
    assert first_after.sequence == 0
    assert first_after.ticks <= 100_000
    assert max(packet.ticks for packet in stream(items[:second])) < 5_000_000
    n_before = sum(packet.n_samples for packet in stream(items[:second]))
    heart = VirtualPatient(Scenario()).read("ecg", 3000)
    at = round((7 + first_after.ticks / 1e6) * 250)
    counts = first_after.counts()[:, 0] * (5 / 32768)
    assert n_before == 1250
    assert np.abs(counts - heart[at : at + len(counts), 0]).max() < 1e-3


@settings(max_examples=25, deadline=None)
@given(st.floats(1.0, 3.0), st.floats(0.0, 0.4))
def test_after_a_reset_counters_and_ticks_agree(at_s, restart_s):
    """Invariant: whenever a restart falls, sample n of the new boot has the ticks of its instant after power-on."""
    items = decoded(sensor_with(fault("firmware-reset", at_s, restart_s=restart_s)).advance(5 * S))

    second = next(k for k, item in enumerate(items) if isinstance(item, Hello) and item.boot_id == 2)
    for stream_id, period_ticks in ((1, 4_000), (2, 10_000), (3, 40_000), (4, 20_000)):
        packets = stream(items[second:], stream_id)
        first = packets[0]
        assert first.sequence == 0
        assert first.ticks < period_ticks
        for packet in packets:
            assert abs(packet.ticks - first.ticks - packet.sequence * period_ticks) <= 1


def test_a_drifting_crystal_runs_ahead_of_true_time():
    """With 500 ppm the sensor sends one sample in two thousand more than its nominal rate says."""
    exact = sensor_with(streams=("ecg",))
    fast = sensor_with(fault("clock-drift", 0, 1000, drift_ppm=500), streams=("ecg",))

    n_exact = sum(packet.n_samples for packet in stream(decoded(exact.advance(200 * S))))
    n_fast = sum(packet.n_samples for packet in stream(decoded(fast.advance(200 * S))))

    assert n_fast - n_exact == 25
    assert story_time_ns(400 * S, (fault("clock-drift", 0, 1000, drift_ppm=-500),)) == 400 * S - S // 5


def test_time_request_is_answered_with_the_clock():
    """The host's own time comes back with the device's ticks."""
    sensor = sensor_with()
    sensor.advance(int(1.5 * S))

    answer = decoded(sensor.receive(packet_line(TimeRequest(host_ns=77), sequence=0)))

    assert answer == [TimeResponse(host_ns=77, received_ticks=1_500_000, sent_ticks=1_500_000)]


def test_stopped_stream_keeps_counting():
    """Stop silences one stream; when it starts again the counter shows what was not sent."""
    sensor = sensor_with()
    sensor.advance(2 * S)

    stop = sensor.receive(packet_line(Command(command_id=5, code=CommandCode.STOP, stream_id=1), sequence=0))
    silent = decoded(sensor.advance(4 * S))
    sensor.receive(packet_line(Command(command_id=6, code=CommandCode.START, stream_id=1), sequence=1))
    again = decoded(sensor.advance(5 * S))

    ack, hello = decoded(stop)
    assert ack == CommandAck(command_id=5, code=CommandCode.STOP, result_code=CommandResult.DONE)
    assert [descriptor.is_running for descriptor in hello.streams] == [False, True, True, True]
    assert not stream(silent)
    assert stream(silent, 2)
    assert stream(again)[0].sequence == 1000


@pytest.mark.parametrize(
    ("command", "result"),
    [
        (Command(command_id=1, code=CommandCode.STOP, stream_id=9), CommandResult.UNKNOWN_STREAM),
        (Command(command_id=2, code=77), CommandResult.UNKNOWN_COMMAND),
        (Command(command_id=3, code=CommandCode.SET_RATE, stream_id=1, argument=500_000), CommandResult.NOT_SUPPORTED),
        (Command(command_id=4, code=CommandCode.SET_RATE, stream_id=1, argument=250_000), CommandResult.DONE),
        (Command(command_id=6, code=CommandCode.SET_RATE, argument=250_000), CommandResult.BAD_ARGUMENT),
        (Command(command_id=7, code=CommandCode.STOP), CommandResult.DONE),
        (Command(command_id=5, code=CommandCode.IDENTIFY), CommandResult.DONE),
    ],
)
def test_every_command_is_acknowledged_once(command, result):
    """A command gets one answer that says what became of it; a hello follows where there is something new to say."""
    sensor = sensor_with()
    sensor.advance(1 * S)

    answer = decoded(sensor.receive(packet_line(command, sequence=0)))

    acks = of_type(answer, CommandAck)
    assert [(ack.command_id, ack.result_code) for ack in acks] == [(command.command_id, result)]
    assert bool(of_type(answer, Hello)) == (command.code in {CommandCode.IDENTIFY, CommandCode.STOP} and not result)


def test_stored_samples_are_sent_again_when_asked_for():
    """What a pulled cable lost can be had: the same samples with their counters and ticks, flagged."""
    sensor = sensor_with(fault("disconnect", 3, 4))
    before = decoded(sensor.advance(3 * S))
    sensor.advance(7 * S)
    start = stream(before)[-1].sequence + 25
    request = Command(command_id=1, code=CommandCode.BACKFILL, stream_id=1, argument=start, count=1000)

    answer = decoded(sensor.receive(packet_line(request, sequence=0)))
    later = decoded(sensor.advance(10 * S))

    assert answer == [CommandAck(command_id=1, code=CommandCode.BACKFILL, result_code=CommandResult.DONE, value=1000)]
    stored = [packet for packet in stream(later) if packet.is_backfill]
    assert [packet.sequence for packet in stored] == list(range(start, start + 1000, 25))
    assert [packet.ticks for packet in stored] == [packet.sequence * 4000 for packet in stored]
    gain = 5 / 32768
    values = np.concatenate([packet.counts() for packet in stored]) * gain
    truth = VirtualPatient(Scenario()).read("ecg", start + 1000)[start:]
    assert np.abs(values - truth).max() <= 0.5000001 * gain


def test_what_is_too_old_is_not_stored():
    """A sensor keeps what its memory holds; asked for more, it says how much it has."""
    sensor = sensor_with(storage_s=5)
    sensor.advance(60 * S)
    request = Command(command_id=1, code=CommandCode.BACKFILL, stream_id=1, argument=0, count=1 << 31)

    (ack,) = of_type(decoded(sensor.receive(packet_line(request, sequence=0))), CommandAck)

    assert 1200 <= ack.value <= 1275


def test_hello_repeats_conditions_that_a_host_may_have_missed():
    """The end of a lead-off behind a pulled cable is told with the next hello."""
    sensor = sensor_with(fault("lead-off", 2, 4), fault("disconnect", 4, 4), hello_period_s=0)
    sensor.advance(9 * S)

    answer = decoded(sensor.receive(packet_line(Command(command_id=1, code=CommandCode.IDENTIFY), sequence=0)))

    assert [(e.condition_code, e.is_active) for e in of_type(answer, EventPacket)] == [(1, False)]


def test_the_end_of_a_condition_is_not_told_for_ever():
    """An old lead-off is no news: after a minute hellos are silent about it; one that holds is told every time."""
    sensor = sensor_with(fault("lead-off", 2, 4), fault("battery-low", 5, 500), streams=("ecg",))
    sensor.advance(100 * S)

    told = of_type(decoded(sensor.advance(121 * S)), EventPacket)

    assert [(CONDITIONS[e.condition_code], e.is_active, e.value) for e in told] == [("battery-low", True, 8)] * 2


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_from_the_host_are_survived(data):
    """Invariant: whatever the host sends, the sensor goes on sending."""
    sensor = sensor_with(streams=("respiration",))
    sensor.advance(1 * S)

    sensor.receive(data)

    assert stream(decoded(sensor.advance(2 * S)))


@settings(max_examples=50, deadline=None)
@given(
    st.builds(
        Command,
        command_id=st.integers(0, 0xFFFF),
        code=st.integers(0, 6),
        stream_id=st.sampled_from([0, 1, 2, 255]),
        argument=st.integers(0, 0xFFFFFFFF),
        count=st.integers(0, 0xFFFFFFFF),
    )
)
def test_any_command_gets_exactly_one_answer(command):
    """Invariant: every command, however senseless its numbers, is acknowledged once and harms nothing."""
    sensor = sensor_with(streams=("respiration", "acceleration"))
    sensor.advance(3 * S)

    answer = decoded(sensor.receive(packet_line(command, sequence=0)))
    later = decoded(sensor.advance(5 * S))

    assert [ack.command_id for ack in of_type(answer, CommandAck)] == [command.command_id]
    assert of_type(later, ReadingPacket)
    assert not of_type(later, Corrupt)


def test_time_does_not_go_back():
    """Advancing to an earlier time is a mistake of the caller."""
    sensor = sensor_with()
    sensor.advance(2 * S)

    with pytest.raises(ValueError, match="to_ns"):
        sensor.advance(1 * S)


def test_story_has_an_end():
    """The sensor says when its story is over."""
    sensor = VirtualSensor(Scenario(duration_s=2.0))

    sensor.advance(2 * S - 1)
    was_finished = sensor.is_finished
    sensor.advance(2 * S)

    assert not was_finished
    assert sensor.is_finished
