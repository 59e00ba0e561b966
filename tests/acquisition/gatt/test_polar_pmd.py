"""A Polar sensor's notifications become blocks, readings and intervals in the units of the rest of VitalEdge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acquisition.gatt.plan import assigned
from edge.acquisition.gatt.polar_control import CONTROL, DATA, ControlError, Setting, response_bytes, stopped_bytes
from edge.acquisition.gatt.polar_frames import (
    UNSET_CLOCK_NS,
    MeasurementType,
    PulseInterval,
    frame_bytes,
    interval_frame_bytes,
)
from edge.acquisition.gatt.polar_pmd import POLAR_PLAN, PolarDecoder, PolarSettings
from edge.conditioning.timeline import Timeline
from edge.messages import (
    ChannelKind,
    Chunk,
    Corrupt,
    DeviceBlock,
    Gap,
    Reading,
    RrIntervals,
    SampleBlock,
    SensorIdentity,
    SensorStatus,
)
from tests.acquisition.gatt.polar_sensor import (
    H10_OFFERS,
    VERITY_OFFERS,
    SimulatedPolar,
    control,
    ecg_frame,
    heart_rate,
    notification,
)

NS_PER_S = 1_000_000_000
G = 9.80665


def of_kind(kind, items):
    return [item for item in items if isinstance(item, kind)]


def started(sensor: SimulatedPolar | None = None, **settings) -> PolarDecoder:
    decoder = PolarDecoder(PolarSettings(sensor="chest", **settings))
    decoder.greeting()
    (sensor or SimulatedPolar()).start(decoder)
    return decoder


def pushed(decoder: PolarDecoder, chunks: list[Chunk]) -> list:
    return [item for chunk in chunks for item in decoder.push(chunk)]


def test_the_plan_finds_a_sensor_that_does_not_advertise_its_service():
    """A Polar sensor advertises the heart rate; it is told from other straps by its name."""
    assert POLAR_PLAN.name_prefix == "Polar "
    assert POLAR_PLAN.required == (CONTROL, DATA)
    assert assigned(0x2A37) in POLAR_PLAN.subscribe
    assert CONTROL in POLAR_PLAN.read
    assert all(uuid == uuid.lower() and len(uuid) == 36 for uuid in (*POLAR_PLAN.subscribe, *POLAR_PLAN.read))
    assert not POLAR_PLAN.needs_bond


def test_ecg_comes_in_millivolts():
    """The first samples of a captured H10: 122, 103, 131, 172 microvolts."""
    decoder = started(streams=("ecg",))

    (block,) = decoder.push(notification(bytes.fromhex("00 91F770AA30495208 00 7A0000 670000 830000 AC0000"), 77))

    assert isinstance(block, DeviceBlock)
    assert (block.sensor, block.stream, block.nominal_rate_hz) == ("chest", "ecg", 130.0)
    assert block.values.ravel() == pytest.approx([0.122, 0.103, 0.131, 0.172])
    assert [(each.kind, each.unit) for each in block.channels] == [(ChannelKind.ECG, "mV")]
    assert block.received_at_ns == 77
    assert block.device_time_ns == 599_622_173_760_485_265 - round(3 / 130 * NS_PER_S)


def test_acceleration_comes_in_metres_per_second_squared():
    """Frame type 1 counts thousandths of g; the limits are those of the range asked for."""
    decoder = started(streams=("acc",))

    line = frame_bytes(MeasurementType.ACC, NS_PER_S, np.array([[-9, -1, 999], [-8, -2, 997]]), frame_type=1)
    (block,) = decoder.push(notification(line))

    assert block.values == pytest.approx(np.array([[-9, -1, 999], [-8, -2, 997]]) * 1e-3 * G)
    assert block.nominal_rate_hz == 50.0
    assert [each.kind for each in block.channels] == [
        ChannelKind.ACCELERATION_X,
        ChannelKind.ACCELERATION_Y,
        ChannelKind.ACCELERATION_Z,
    ]
    assert [(each.unit, each.maximum) for each in block.channels] == [("m/s2", pytest.approx(8 * G))] * 3


def test_compressed_acceleration_needs_the_factor_of_the_start():
    """Type 0 counts pieces of g; without the sensor's word what they are worth there is no value."""
    line = frame_bytes(MeasurementType.ACC, NS_PER_S, np.array([[1905, 27376, -29282]]), is_compressed=True)

    told = started(SimulatedPolar(offers=dict(VERITY_OFFERS), factor=2.44e-4), streams=("acc",))
    (block,) = told.push(notification(line))
    untold = started(SimulatedPolar(offers=dict(VERITY_OFFERS)), streams=("acc",))
    refused = untold.push(notification(line))

    assert block.values / G == pytest.approx(np.array([[0.4648, 6.6797, -7.1448]]), abs=1e-4)
    assert [(item.reason, item.n_bytes) for item in refused] == [("no-factor", len(line))]
    assert untold.counters.n_corrupt == {"no-factor": 1}


def test_pulse_wave_has_three_colours_of_one_kind_and_the_ambient_light():
    """Only what carries a pulse is called one."""
    decoder = started(SimulatedPolar(offers=dict(VERITY_OFFERS)), streams=("ppg",))
    counts = np.array([[-517445, -484483, -476780, -646945], [-517498, -484505, -476823, -646975]])

    items = decoder.push(notification(frame_bytes(MeasurementType.PPG, NS_PER_S, counts, is_compressed=True)))
    items += decoder.flush()

    (block,) = of_kind(DeviceBlock, items)
    assert block.values.tolist() == counts.tolist()
    assert block.nominal_rate_hz == 55.0
    assert [each.kind for each in block.channels] == [ChannelKind.PPG] * 3 + [ChannelKind.OTHER]


def ppg_frame(k: int, rate_hz: float, n_samples: int = 50) -> Chunk:
    """Return the k-th frame of a pulse wave that counts its samples."""
    counts = np.arange(k * n_samples, (k + 1) * n_samples, dtype=np.int64)[:, None] * np.ones(4, dtype=np.int64)
    last_ns = round((k * n_samples + n_samples - 1) / rate_hz * NS_PER_S)
    line = frame_bytes(MeasurementType.PPG, UNSET_CLOCK_NS + last_ns, counts, is_compressed=True)
    return notification(line, last_ns + NS_PER_S // 50)


def verity_that_says(rate_hz: int) -> SimulatedPolar:
    ppg = {**VERITY_OFFERS[MeasurementType.PPG], Setting.SAMPLE_RATE: (rate_hz,)}
    return SimulatedPolar(offers={MeasurementType.PPG: ppg})


@pytest.mark.parametrize(("said_hz", "true_hz"), [(135, 55.0), (130, 135.0), (55, 55.0), (135, 135.0), (55, 28.0)])
@pytest.mark.parametrize("error", [-0.01, 0.0, 0.0013, 0.01])
@pytest.mark.parametrize("missing", [{}, {1}, {2}, {4, 5}])
def test_pulse_wave_has_the_rate_that_it_has_not_the_one_that_is_said(said_hz, true_hz, error, missing):
    """Verity Sense before firmware 2.1 says 135 Hz and sends 55; an OH1 says 130 Hz and sends 135."""
    decoder = started(verity_that_says(said_hz), streams=("ppg",))
    rate_hz = true_hz * (1 + error)

    items = pushed(decoder, [ppg_frame(k, rate_hz) for k in range(30) if k not in missing])

    blocks = of_kind(DeviceBlock, items)
    assert {block.nominal_rate_hz for block in blocks} == {true_hz}
    assert [block.sequence for block in blocks] == [50 * k for k in range(30) if k not in missing]
    assert decoder.counters.n_lost_samples == 50 * len(missing)
    told = [each.streams[0].nominal_rate_hz for each in of_kind(SensorIdentity, items)]
    assert told == ([true_hz] if said_hz != true_hz else [])


def test_first_frames_of_a_pulse_wave_are_not_kept_when_the_link_ends():
    """They wait for their rate to be seen; the end of the link releases them."""
    decoder = started(verity_that_says(55), streams=("ppg",))
    waiting = pushed(decoder, [ppg_frame(0, 55.0), ppg_frame(0, 55.0), ppg_frame(1, 55.0)])

    released = decoder.flush()

    assert of_kind(DeviceBlock, waiting) == []
    assert [block.sequence for block in released] == [0, 50]
    assert decoder.counters.n_corrupt == {"duplicate": 1}


def interval(interval_ms: int, error_ms: int = 5, *, is_blocked: bool = False, has_contact: bool | None = True):
    return PulseInterval(
        pulse_rate_bpm=60, interval_ms=interval_ms, error_ms=error_ms, is_blocked=is_blocked, has_contact=has_contact
    )


def test_pulse_intervals_are_passed_on_with_the_time_of_the_last():
    """Nothing is said of contact: optical sensors report it lying on a table."""
    decoder = started(SimulatedPolar(offers=dict(VERITY_OFFERS)), streams=("ppi",))

    items = decoder.push(notification(interval_frame_bytes(0, (interval(800), interval(810))), 9 * NS_PER_S))

    assert items == [
        RrIntervals(sensor="chest", intervals_ms=(800.0, 810.0), received_at_ns=9 * NS_PER_S, is_worn=None)
    ]


@pytest.mark.parametrize(
    ("doubtful", "reason"),
    [
        (interval(900, is_blocked=True), "blocked"),
        (interval(900, has_contact=False), "blocked"),
        (interval(900, error_ms=31), "interval"),
        (interval(0), "interval"),
    ],
)
def test_interval_that_the_sensor_doubts_leaves_a_hole(doubtful, reason):
    """It is counted and not passed on; its neighbours do not seem to follow each other."""
    decoder = started(SimulatedPolar(offers=dict(VERITY_OFFERS)), streams=("ppi",))

    items = decoder.push(notification(interval_frame_bytes(0, (interval(700), doubtful, interval(800))), 9))

    (found,) = of_kind(RrIntervals, items)
    assert found.intervals_ms == pytest.approx((700.0, float("nan"), 800.0), nan_ok=True)
    assert found.received_at_ns == 9
    assert decoder.counters.n_corrupt == {reason: 1}


def test_intervals_that_are_all_doubted_are_none():
    """While the wearer moves, nothing comes but the count."""
    decoder = started(SimulatedPolar(offers=dict(VERITY_OFFERS)), streams=("ppi",))
    moving = interval(900, is_blocked=True)

    items = decoder.push(notification(interval_frame_bytes(0, (moving, moving))))

    assert of_kind(RrIntervals, items) == []
    assert decoder.counters.n_corrupt == {"blocked": 2}


def test_heart_rate_and_battery_come_besides():
    """What every strap sends: rate and RR intervals, without a word on contact from an H10; and its battery."""
    decoder = started(streams=("ecg",))

    items = pushed(
        decoder,
        [heart_rate("10 3C 00 04", 5), Chunk(data=b"\x5a", received_at_ns=6, channel=assigned(0x2A19))],
    )

    readings = {item.measure: item.value for item in of_kind(Reading, items)}
    assert readings == {"heart_rate_bpm": 60.0, "battery_pct": 90.0}
    assert of_kind(RrIntervals, items) == [
        RrIntervals(sensor="chest", intervals_ms=(1000.0,), received_at_ns=5, is_worn=None)
    ]


def test_identity_names_the_streams_once_they_are_known():
    """Model, number and firmware are read; streams become known as they start; told again only when they change."""
    decoder = PolarDecoder(PolarSettings(sensor="chest"))
    decoder.greeting()
    texts = {0x2A24: b"H10\x00", 0x2A25: b"8AA87D20", 0x2A26: b"3.1.1"}

    items = pushed(decoder, [Chunk(data=text, received_at_ns=1, channel=assigned(k)) for k, text in texts.items()])
    items += SimulatedPolar().start(decoder, 2)
    items += pushed(decoder, [heart_rate("00 3C", 3), heart_rate("00 3D", 4), ecg_frame(0), ecg_frame(1)])

    last = of_kind(SensorIdentity, items)[-1]
    assert (last.device_id, last.model, last.firmware) == ("8AA87D20", "H10", "3.1.1")
    assert [(each.name, each.nominal_rate_hz) for each in last.streams] == [("ecg", 130.0), ("acc", 50.0)]
    assert len(of_kind(SensorIdentity, items)) <= 3


def test_recording_of_a_sensor_is_read_without_asking():
    """A capture holds the answers and not the questions: what was chosen is what would be chosen again."""
    sensor = SimulatedPolar()
    asker = PolarDecoder(PolarSettings(sensor="chest"))
    asker.greeting()
    captured = [sensor.features()]
    asker.push(captured[0])
    while asked := asker.requests(0):
        captured.append(sensor.answer(asked[0].data))
        asker.push(captured[-1])
    acc = frame_bytes(MeasurementType.ACC, NS_PER_S, np.array([[-9, -1, 999]]), frame_type=1)
    captured += [ecg_frame(0), notification(acc), ecg_frame(1), ecg_frame(3)]

    live = pushed(asker, captured[-4:])
    recorded = PolarDecoder(PolarSettings(sensor="chest"))
    replayed = pushed(recorded, captured)

    assert [(item.stream, item.sequence, item.nominal_rate_hz) for item in of_kind(DeviceBlock, replayed)] == [
        (item.stream, item.sequence, item.nominal_rate_hz) for item in of_kind(DeviceBlock, live)
    ]
    assert len(of_kind(DeviceBlock, replayed)) == 4
    assert recorded.counters.n_lost_samples == 73
    assert recorded.counters.n_corrupt == {}


def test_what_a_sensor_declines_is_told_and_taken_back():
    """In its charger a Verity Sense measures nothing; the operator sees why, until it does."""
    sensor = SimulatedPolar(offers={MeasurementType.ECG: H10_OFFERS[MeasurementType.ECG]})
    decoder = PolarDecoder(PolarSettings(sensor="chest", streams=("ecg",)))
    decoder.greeting()
    decoder.push(sensor.features())
    decoder.push(sensor.answer(decoder.requests(0)[0].data))
    decoder.requests(0)

    begun = decoder.push(control(response_bytes(2, 0, ControlError.IN_CHARGER), 5))
    request = decoder.requests(61 * NS_PER_S)
    ended = decoder.push(sensor.answer(request[0].data, 61 * NS_PER_S))

    (status,) = of_kind(SensorStatus, begun)
    assert (status.condition, status.stream, status.is_active) == ("device-error", "ecg", True)
    assert status.detail == "in-charger"
    assert [each.is_active for each in of_kind(SensorStatus, ended)] == [False]


def test_loss_is_counted_and_shows_in_the_numbers():
    """One frame missing, then five in a row: the numbers jump by exactly so many samples."""
    decoder = started(streams=("ecg",))

    blocks = of_kind(
        DeviceBlock, pushed(decoder, [ecg_frame(k, rate_hz=130.167) for k in range(60) if k not in {7, *range(30, 35)}])
    )

    assert decoder.counters.n_lost_samples == 6 * 73
    assert decoder.counters.n_lost_frames == 6
    assert all(block.values[0, 0] == pytest.approx(block.sequence % 4000 / 1000) for block in blocks)


def test_what_is_dropped_is_found_by_its_offset():
    """Counted in the bytes of all characteristics, from the start of the link."""
    decoder = PolarDecoder(PolarSettings(sensor="chest"))
    decoder.greeting()

    items = pushed(decoder, [heart_rate("00 3C"), notification(b"abc"), heart_rate("16"), control(b"z")])

    assert of_kind(Corrupt, items) == [
        Corrupt(reason="length", offset=2, n_bytes=3),
        Corrupt(reason="length", offset=5, n_bytes=1),
        Corrupt(reason="length", offset=6, n_bytes=1),
    ]


def test_copies_and_late_frames_are_dropped_and_counted():
    """No sample comes twice."""
    decoder = started(streams=("ecg",))
    order = [0, 1, 1, 2, 4, 3, 5]

    blocks = of_kind(DeviceBlock, pushed(decoder, [ecg_frame(k) for k in order]))

    assert [block.sequence for block in blocks] == [0, 73, 146, 292, 365]
    assert decoder.counters.n_corrupt == {"duplicate": 1, "late": 1}
    assert decoder.counters.n_lost_samples == 73


def test_setting_the_clock_is_a_gap_of_unknown_size_and_no_loss():
    """From 2019 to 2025 while it measures: one gap, one restart of the time line, and the samples go on."""
    decoder = started(streams=("ecg",))
    timeline = Timeline()
    six_years_ns = 190_000_000 * NS_PER_S
    chunks = [ecg_frame(k) for k in range(13)]
    chunks += [ecg_frame(k, base_ns=599_616_000 * NS_PER_S + six_years_ns) for k in range(13, 100)]

    items = pushed(decoder, chunks)

    (gap,) = of_kind(Gap, items)
    assert (gap.reason, gap.n_missing, gap.stream) == ("device-clock-jump", None, "ecg")
    assert gap.end_ns - gap.start_ns < NS_PER_S
    assert decoder.counters.n_lost_samples == 0
    assert decoder.counters.n_device_resets == 1
    blocks = []
    for item in items:
        if isinstance(item, Gap):
            timeline.reset(item.reason)  # as the pipeline does
        elif isinstance(item, DeviceBlock):
            blocks += of_kind(SampleBlock, timeline.push(item))
    steps_s = np.diff([block.start_ns for block in blocks]) / NS_PER_S
    assert np.abs(steps_s - 73 / 130).max() < 0.03


def test_stream_that_the_sensor_stopped_goes_on_after_a_counted_loss():
    """Three seconds and a half are missing, to the sample: six frames and one sample more."""
    sensor = SimulatedPolar(offers={MeasurementType.ECG: H10_OFFERS[MeasurementType.ECG]})
    decoder = started(sensor, streams=("ecg",))
    pushed(decoder, [ecg_frame(k) for k in range(40)])
    at_ns = ecg_frame(39).received_at_ns

    sensor.running.clear()
    decoder.push(control(stopped_bytes((0,)), at_ns))
    assert decoder.requests(at_ns + NS_PER_S // 2) == []
    (request,) = decoder.requests(at_ns + 2 * NS_PER_S)
    decoder.push(sensor.answer(request.data, at_ns + 2 * NS_PER_S))
    pause_ns = round((6 * 73 + 1) / 130 * NS_PER_S)
    later = ecg_frame(40, base_ns=UNSET_CLOCK_NS + pause_ns, delay_s=0.02 + pause_ns / NS_PER_S)
    (block,) = of_kind(DeviceBlock, decoder.push(later))

    assert block.sequence == 46 * 73 + 1
    assert decoder.counters.n_lost_samples == 6 * 73 + 1


def linked(decoder: PolarDecoder, serial: bytes | None, at_ns: int = 0) -> list:
    """Connect: who the sensor is, its battery, its features, and the dialogue."""
    decoder.greeting()
    texts = [Chunk(data=serial, received_at_ns=at_ns, channel=assigned(0x2A25))] if serial else []
    battery = Chunk(data=b"\x50", received_at_ns=at_ns, channel=assigned(0x2A19))
    return pushed(decoder, [*texts, battery]) + SimulatedPolar().start(decoder, at_ns)


@pytest.mark.parametrize("n_mute_links", [0, 2])
def test_new_link_to_the_same_sensor_goes_on_counting(n_mute_links):
    """Away for 56 s, or connected and mute in between: what was missed is known to the sample, on one time line."""
    decoder = PolarDecoder(PolarSettings(sensor="chest", streams=("ecg",)))
    timeline = Timeline()
    linked(decoder, b"8AA87D20")
    before = of_kind(DeviceBlock, pushed(decoder, [ecg_frame(k, rate_hz=130.167) for k in range(100)]))

    assert decoder.flush() == []
    for _ in range(1 + n_mute_links):
        decoder.reset("link-lost")
        linked(decoder, b"8AA87D20", 90 * NS_PER_S)
    away = ecg_frame(100, rate_hz=130.167, base_ns=UNSET_CLOCK_NS + 56 * NS_PER_S, delay_s=56.02)
    after = of_kind(DeviceBlock, decoder.push(away))

    n_missing = round(56 * 130.167)
    assert after[0].sequence == 7300 + n_missing
    assert decoder.counters.n_lost_samples == n_missing
    out = [item for block in before + after for item in timeline.push(block)]
    assert [(item.reason, item.n_missing) for item in of_kind(Gap, out)] == [("lost-frames", n_missing)]


@pytest.mark.parametrize("serial", [b"other", None])
def test_new_link_to_another_sensor_begins_anew(serial):
    """Or to one that does not say who it is."""
    decoder = PolarDecoder(PolarSettings(sensor="chest", streams=("ecg",)))
    linked(decoder, b"8AA87D20")
    pushed(decoder, [ecg_frame(k) for k in range(100)])

    decoder.reset("link-lost")
    linked(decoder, serial)
    (block,) = of_kind(DeviceBlock, decoder.push(ecg_frame(200)))

    assert block.sequence == 0
    assert decoder.counters.n_lost_samples == 0


def test_sensor_that_was_switched_off_meanwhile_has_lost_count():
    """Its clock began anew in 2019 and happens to show a later time than before: no loss is made up from that."""
    decoder = PolarDecoder(PolarSettings(sensor="chest", streams=("ecg",)))
    linked(decoder, b"8AA87D20")
    pushed(decoder, [ecg_frame(k) for k in range(20)])

    decoder.reset("link-lost")
    linked(decoder, b"8AA87D20", 300 * NS_PER_S)
    items = decoder.push(ecg_frame(40, delay_s=300.0))

    (gap,) = of_kind(Gap, items)
    assert (gap.reason, gap.n_missing) == ("device-clock-jump", None)
    assert decoder.counters.n_lost_samples == 0


def test_frames_newer_than_we_are_are_counted_and_not_fought():
    """A Verity Sense of the future sends another type of frame: it is alive, and starting it again would not help."""
    decoder = started(streams=("ecg",))

    for k in range(60):
        newer = bytes.fromhex("00 0094357700000000 03") + bytes(7)
        assert decoder.push(notification(newer, k * NS_PER_S)) == []
        assert decoder.requests(k * NS_PER_S) == []

    assert decoder.counters.n_unknown_types == {0: 60}


def test_nothing_is_taken_of_a_stream_that_was_not_started():
    """Another program may have started it, with a rate that we do not know."""
    decoder = PolarDecoder(PolarSettings(sensor="chest", streams=("acc",)))
    decoder.greeting()

    (item,) = decoder.push(ecg_frame(0))

    assert item.reason == "not-started"


def test_renewed_subscription_starts_again_on_the_same_link():
    """`greeting` on a link that stays: stop, settings, start; what came meanwhile is still read."""
    sensor = SimulatedPolar(offers={MeasurementType.ECG: H10_OFFERS[MeasurementType.ECG]})
    decoder = started(sensor, streams=("ecg",))
    pushed(decoder, [ecg_frame(k) for k in range(5)])

    assert decoder.greeting() == []
    block = decoder.push(ecg_frame(5))
    said = []
    while asked := decoder.requests(5 * NS_PER_S):
        said.append(asked[0].data.hex(" "))
        decoder.push(sensor.answer(asked[0].data, 5 * NS_PER_S))
    after = of_kind(DeviceBlock, pushed(decoder, [ecg_frame(6), ecg_frame(7)]))

    assert of_kind(DeviceBlock, block)[0].sequence == 5 * 73
    assert said == ["03 00", "01 00", "02 00 00 01 82 00 01 01 0e 00"]
    assert [each.sequence for each in after] == [6 * 73, 7 * 73]


def test_farewell_stops_what_runs():
    """An H10 left streaming empties its battery."""
    decoder = started()

    assert [(each.data.hex(" "), each.channel) for each in decoder.farewell()] == [
        ("03 00", CONTROL),
        ("03 02", CONTROL),
    ]
    decoder.reset("stopped")
    assert decoder.farewell() == []


def test_unknown_stream_in_the_configuration_is_misuse():
    """The error lists what there is."""
    with pytest.raises(ValueError, match="expected streams among"):
        PolarSettings(sensor="chest", streams=("ecg", "eeg"))


@given(
    st.lists(
        st.tuples(st.sampled_from([CONTROL, DATA, assigned(0x2A37), assigned(0x2A19), ""]), st.binary(max_size=60))
    )
)
def test_any_values_on_any_characteristic_are_answers(values):
    """Everything dropped is a counted `Corrupt`; nothing raises."""
    decoder = started()

    items = []
    for k, (channel, data) in enumerate(values):
        items += decoder.push(Chunk(data=data, received_at_ns=k * NS_PER_S, channel=channel))
        decoder.requests(k * NS_PER_S)

    assert len(of_kind(Corrupt, items)) == sum(decoder.counters.n_corrupt.values())


def arrivals_s(last_s: np.ndarray, drift: float, rng: np.random.Generator) -> np.ndarray:
    """Return when frames arrive over a poor link: 100 ms of jitter, 30 ms between connection events, stalls of 0.6 s."""
    late_s = 0.005 + rng.uniform(0, 0.1, len(last_s)) + 0.6 * (rng.random(len(last_s)) < 0.01)
    return np.maximum.accumulate(np.ceil((last_s * (1 + drift) + late_s) / 0.03) * 0.03)


@pytest.mark.parametrize(("rate_hz", "drift"), [(130.0452, -100e-6), (130.167, 50e-6), (131.2, 100e-6)])
def test_an_hour_of_an_h10_is_right_within_50_ms(rate_hz, drift):
    """True rates that two straps had, and one at the edge of the maker's word; our clock off by up to 100 ppm.

    In the first half minute a sample may be off by as much as the first frame came late, 130 ms; nothing is cut.
    """
    rng = np.random.default_rng(1)
    decoder = started(streams=("ecg",))
    timeline = Timeline()
    n_frames = int(3600 * rate_hz / 73)
    last_s = (np.arange(1, n_frames + 1) * 73 - 1) / rate_hz
    arrival_s = arrivals_s(last_s, drift, rng)
    stamps_s = last_s + rng.uniform(-2e-4, 2e-4, n_frames)

    blocks = []
    for k in range(n_frames):
        line = frame_bytes(
            MeasurementType.ECG, UNSET_CLOCK_NS + round(stamps_s[k] * NS_PER_S), np.zeros((73, 1), np.int64)
        )
        for item in decoder.push(notification(line, round(arrival_s[k] * NS_PER_S))):
            blocks += timeline.push(item)

    assert all(isinstance(block, SampleBlock) for block in blocks)
    assert [block.sequence for block in blocks] == list(range(0, 73 * n_frames, 73))
    true_s = np.array([block.sequence for block in blocks]) / rate_hz * (1 + drift)
    errors_ms = 1e3 * (np.array([block.start_ns for block in blocks]) / NS_PER_S - true_s)
    assert np.abs(errors_ms).max() < 131
    assert np.abs(errors_ms[true_s > 30]).max() < 50
    assert timeline.estimate.true_rate_hz == pytest.approx(rate_hz / (1 + drift), rel=30e-6)


@pytest.mark.long
def test_long_streams_of_damaged_notifications_never_raise():
    """Three hundred thousand sound frames, a tenth of them damaged, against one decoder that keeps its state."""
    rng = np.random.default_rng()
    decoder = started()
    lines = [ecg_frame(k).data for k in range(50)]

    for k in range(300_000):
        line = bytearray(lines[rng.integers(len(lines))])
        if rng.random() < 0.1:
            line[rng.integers(len(line))] = rng.integers(256)
        decoder.push(notification(bytes(line), k * NS_PER_S // 2))
