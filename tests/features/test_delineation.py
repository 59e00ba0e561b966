"""PR, QRS, QT and QTc once a minute: against waves whose edges are known, and where there must be no value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.features.delineation import Delineation, _agreed
from edge.messages import Beat, Channel, ChannelKind, Quality, SampleBlock, Tick
from tests.features.average_beats import train, waves

S = 1_000_000_000
MEASURES = ["pr_ms", "qrs_ms", "qt_ms", "qtc_ms"]


def beats_at(peaks_s, rate_hz, **fields):
    """The beats that a detector would find."""
    out = []
    for k, at_s in enumerate(peaks_s):
        rr_ms = None if k == 0 else 1000.0 * (at_s - peaks_s[k - 1])
        beat = Beat(
            sensor="s",
            stream="ecg",
            at_ns=round(at_s * S),
            sequence=round(at_s * rate_hz),
            rr_ms=rr_ms,
            quality=0.9,
            similarity=0.99,
        )
        out.append(replace(beat, **fields))
    return out


def seconds(values, rate_hz, beats, *, extra=(), names=("II",), kind=ChannelKind.ECG, unit="mV"):
    """Blocks of 0.2 s, each beat half a second late, whatever `extra` at its second, a tick every second."""
    values = values[:, None] if values.ndim == 1 else values
    channels = tuple(Channel(name=name, kind=kind, unit=unit) for name in names)
    n_block = round(0.2 * rate_hz)
    waiting = sorted([*((beat.at_ns + S // 2, beat) for beat in beats), *extra], key=lambda pair: pair[0])
    items, at_tick = [], S
    for at in range(0, len(values), n_block):
        block = SampleBlock(
            sensor="s",
            stream="ecg",
            channels=channels,
            values=values[at : at + n_block].copy(),
            rate_hz=rate_hz,
            start_ns=round(at * S / rate_hz),
            sequence=at,
        )
        items.append(block)
        while waiting and waiting[0][0] <= block.end_ns:
            items.append(waiting.pop(0)[1])
        while at_tick <= block.end_ns:
            items.append(Tick(at_ns=at_tick))
            at_tick += S
    return items


def run(items):
    stage = Delineation()
    return [estimate for item in items for estimate in stage.push(item)]


def minute(*, rate_hz=250.0, rr_s=0.85, jitter_s=0.02, beat_waves=None, change=None, extra=(), **disturbance):
    """The four intervals of one minute of a train of beats."""
    n = int(66 / rr_s)
    peaks_s = 0.8 + rr_s * np.arange(n) + jitter_s * np.random.default_rng(0).standard_normal(n)
    values = train(beat_waves or waves(), peaks_s, 66, rate_hz, **disturbance)
    beats = beats_at(peaks_s, rate_hz)
    items = seconds(values, rate_hz, change(beats) if change else beats, extra=extra)
    return {estimate.measure: estimate for estimate in run(items)}


def values_of(estimates):
    return {measure: estimate.value for measure, estimate in estimates.items()}


def reasons_of(estimates):
    return {measure: estimate.absent for measure, estimate in estimates.items()}


@pytest.mark.parametrize("rate_hz", [125.0, 250.0, 360.0, 500.0, 1000.0])
@pytest.mark.parametrize(("pr_ms", "qrs_ms", "qt_ms"), [(160, 91, 400), (120, 75, 350), (220, 105, 440)])
def test_known_edges_are_found_at_every_sampling_rate(rate_hz, pr_ms, qrs_ms, qt_ms):
    """Within 8 ms of the truth, from 125 to 1000 samples a second."""
    found = values_of(minute(rate_hz=rate_hz, beat_waves=waves(pr_ms=pr_ms, qrs_ms=qrs_ms, qt_ms=qt_ms)))

    assert found["pr_ms"] == pytest.approx(pr_ms, abs=8)
    assert found["qrs_ms"] == pytest.approx(qrs_ms, abs=8)
    assert found["qt_ms"] == pytest.approx(qt_ms, abs=8)


@pytest.mark.parametrize("rr_s", [1.4, 1.0, 0.6])
def test_the_correction_is_fridericias(rr_s):
    """QT over the cube root of the mean interval in seconds."""
    found = minute(rr_s=rr_s, beat_waves=waves(qt_ms=340))

    assert found["qtc_ms"].method == "fridericia"
    assert found["qtc_ms"].value == pytest.approx(found["qt_ms"].value / rr_s ** (1 / 3), rel=0.003)


@pytest.mark.parametrize(
    "disturbance",
    [{"noise_mv": 0.05}, {"wander_mv": 0.5}, {"mains_mv": 0.05}],
    ids=["noise", "wander", "mains"],
)
def test_disturbances_move_no_edge_far(disturbance):
    """The average keeps the edges within 12 ms."""
    found = values_of(minute(**disturbance))

    assert found["pr_ms"] == pytest.approx(160, abs=12)
    assert found["qrs_ms"] == pytest.approx(91, abs=12)
    assert found["qt_ms"] == pytest.approx(400, abs=12)


@pytest.mark.parametrize("mains_mv", [0.1, 0.2])
def test_mains_in_step_with_the_heart_moves_no_edge(mains_mv):
    """Every cycle is a whole number of mains periods, so that averaging takes nothing of it away."""
    found = values_of(minute(rr_s=0.84, jitter_s=0.0, mains_mv=mains_mv))

    assert found["pr_ms"] == pytest.approx(160, abs=8)
    assert found["qrs_ms"] == pytest.approx(91, abs=8)
    assert found["qt_ms"] == pytest.approx(400, abs=8)


def test_an_inverted_lead_reads_the_same():
    """Electrodes that are swapped turn every wave over."""
    upright = values_of(minute())
    inverted = values_of(minute(beat_waves=[(at, rise, fall, -height) for at, rise, fall, height in waves()]))

    assert inverted == pytest.approx(upright, abs=4)


def test_peaks_that_are_timed_badly_are_aligned():
    """The detector is up to 8 ms off: the average does not smear."""
    rng = np.random.default_rng(1)

    found = values_of(
        minute(change=lambda beats: [replace(b, sequence=b.sequence + int(rng.integers(-2, 3))) for b in beats])
    )

    assert found["qrs_ms"] == pytest.approx(91, abs=4)
    assert found["pr_ms"] == pytest.approx(160, abs=8)


def test_without_p_waves_there_is_no_pr():
    """A junctional rhythm: the other intervals stay."""
    found = minute(beat_waves=waves(p_mv=0.0))

    assert reasons_of(found) == {"pr_ms": "no-p-wave", "qrs_ms": None, "qt_ms": None, "qtc_ms": None}


def test_fibrillation_has_no_pr_and_no_qt():
    """Intervals without order: only the QRS complex is measured."""
    rng = np.random.default_rng(2)
    peaks_s = 0.8 + np.cumsum(rng.gamma(16, 0.045, 80))
    peaks_s = peaks_s[peaks_s < 65]
    values = train(waves(p_mv=0.0), peaks_s, 66, 250.0)
    values += 0.06 * np.sin(2 * np.pi * 6.1 * np.arange(len(values)) / 250.0)

    found = {e.measure: e for e in run(seconds(values, 250.0, beats_at(peaks_s, 250.0)))}

    assert reasons_of(found) == {"pr_ms": "irregular", "qrs_ms": None, "qt_ms": "irregular", "qtc_ms": "irregular"}


def test_a_flat_t_wave_has_no_end():
    """Lower than 50 uV: no QT rather than a guess."""
    found = minute(beat_waves=waves(t_mv=0.02))

    assert reasons_of(found) == {"pr_ms": None, "qrs_ms": None, "qt_ms": "low-t-wave", "qtc_ms": "low-t-wave"}


def test_a_wide_complex_with_a_p_wave_has_no_qtc():
    """A bundle branch block prolongs QT by itself."""
    found = minute(beat_waves=waves(qrs_ms=150, qt_ms=460), rr_s=1.0)

    assert found["qrs_ms"].value == pytest.approx(150, abs=10)
    assert found["qt_ms"].value == pytest.approx(460, abs=12)
    assert reasons_of(found)["qtc_ms"] == "wide-qrs"


def test_a_wide_complex_without_a_p_wave_has_no_value():
    """It may be ventricular or paced."""
    found = minute(beat_waves=waves(qrs_ms=150, qt_ms=460, p_mv=0.0), rr_s=1.0)

    assert set(reasons_of(found).values()) == {"wide-qrs"}


def test_a_fast_heart_has_a_qrs_alone():
    """At 150 /min P lies on T."""
    found = minute(rr_s=0.4, jitter_s=0.005, beat_waves=waves(pr_ms=120, qt_ms=270))

    assert found["qrs_ms"].value == pytest.approx(91, abs=12)
    assert reasons_of(found)["qtc_ms"] == reasons_of(found)["pr_ms"] == "rate-out-of-range"


def test_intervals_that_alternate_have_no_qt():
    """Each differs from the one before by a fifth: T waves of two cycles are no average."""
    peaks_s = 0.8 + np.cumsum([0.8, 0.95] * 37)

    found = {e.measure: e for e in run(seconds(train(waves(), peaks_s, 66, 250.0), 250.0, beats_at(peaks_s, 250.0)))}

    assert reasons_of(found) == {"pr_ms": "irregular", "qrs_ms": None, "qt_ms": "irregular", "qtc_ms": "irregular"}


def test_two_rates_in_a_minute_have_no_qt():
    """Half a minute at 100 /min and half at 60: each regular, but not the minute."""
    peaks_s = 0.8 + np.cumsum([0.6] * 50 + [1.0] * 34)

    found = {e.measure: e for e in run(seconds(train(waves(), peaks_s, 66, 250.0), 250.0, beats_at(peaks_s, 250.0)))}

    assert reasons_of(found) == {"pr_ms": "irregular", "qrs_ms": None, "qt_ms": "irregular", "qtc_ms": "irregular"}


def test_t_waves_that_alternate_have_no_qt():
    """Every other T ends 90 ms later: the two half averages disagree."""
    peaks_s = np.arange(0.8, 65.0, 0.9)
    values = train(waves(qt_ms=350), peaks_s[::2], 66, 250.0)
    values += train(waves(qt_ms=440), peaks_s[1::2], 66, 250.0, noise_mv=0.0, wander_mv=0.0)

    found = {e.measure: e for e in run(seconds(values, 250.0, beats_at(peaks_s, 250.0)))}

    assert (found["qt_ms"].value, found["qtc_ms"].value) == (None, None)
    assert found["qrs_ms"].value is not None


@pytest.mark.parametrize(
    ("halves", "expected"),
    [([95.0, 110.0], 100.0), ([95.0, 121.0], "poor-signal"), ([79.0, 100.0], "poor-signal"), ([95.0, None], "low")],
)
def test_both_halves_must_agree_with_the_whole(halves, expected):
    """Within 20 ms; a half without the wave is as good as none."""
    assert _agreed(100.0, halves, 20.0, "low") == expected


def test_a_pacing_spike_is_no_complex():
    """Thirty milliseconds are too short for ventricles."""
    assert set(reasons_of(minute(beat_waves=waves(qrs_ms=30))).values()) == {"narrow-qrs"}


def test_an_impossible_qt_is_withheld():
    """Beyond 600 ms, corrected, it is something else than T."""
    found = minute(rr_s=1.0, beat_waves=waves(qt_ms=630))

    assert reasons_of(found) == {"pr_ms": None, "qrs_ms": None, "qt_ms": "poor-signal", "qtc_ms": "poor-signal"}


def test_a_missing_sample_costs_one_beat():
    """NaN does not get into the average."""
    peaks_s = np.arange(0.8, 65.0, 0.85)
    values = train(waves(), peaks_s, 66, 250.0)
    values[round(30.3 * 250)] = np.nan

    found = {e.measure: e for e in run(seconds(values, 250.0, beats_at(peaks_s, 250.0)))}

    assert found["qt_ms"].value == pytest.approx(400, abs=8)


def test_trigeminy_has_no_normal_beats_with_normal_neighbours():
    """Each has an odd one before or after it."""
    found = minute(change=lambda beats: [replace(b, similarity=0.3) if k % 3 == 2 else b for k, b in enumerate(beats)])

    assert set(reasons_of(found).values()) == {"too-few-normal-beats"}


def test_strong_noise_has_no_value():
    """The averages of every other beat and of the rest disagree."""
    found = minute(noise_mv=1.5)

    assert not [value for value in values_of(found).values() if value is not None]


@pytest.mark.parametrize(
    "fields",
    [{"is_premature": True}, {"similarity": 0.5}, {"is_noise_suspect": True}],
    ids=lambda fields: next(iter(fields)),
)
def test_beats_that_are_not_normal_do_not_count(fields):
    """Every other beat is odd: no normal one has normal neighbours."""
    found = minute(change=lambda beats: [replace(b, **fields) if k % 2 else b for k, b in enumerate(beats)])

    assert set(reasons_of(found).values()) == {"too-few-normal-beats"}


def test_beats_in_seconds_found_unusable_afterwards_do_not_count():
    """The verdict on a second comes after its beats."""
    verdicts = [
        (
            k * S,
            Quality(sensor="s", stream="ecg", at_ns=k * S, index=0.1, is_usable=False, reasons=("noise",)),
        )
        for k in range(1, 66, 2)
    ]

    assert set(reasons_of(minute(extra=verdicts)).values()) == {"too-few-normal-beats"}


def test_a_slow_stream_has_no_value():
    """Below 100 samples a second a QRS complex has no edges."""
    assert set(reasons_of(minute(rate_hz=80.0)).values()) == {"bad-band"}


def test_one_answer_a_minute():
    """Four estimates for every minute of the stream, four seconds after its end."""
    peaks_s = np.arange(0.8, 189.0, 0.85)
    items = seconds(train(waves(), peaks_s, 189, 250.0), 250.0, beats_at(peaks_s, 250.0))
    stage, answered_at_s, estimates = Delineation(), [], []

    for item in items:
        out = stage.push(item)
        if out:
            answered_at_s.append(item.at_ns / S)
            estimates += out

    assert answered_at_s == [64.0, 124.0, 184.0]
    assert [e.measure for e in estimates] == MEASURES * 3
    assert [e.at_ns / S for e in estimates[::4]] == [60.0, 120.0, 180.0]
    assert all(e.value is not None and e.unit == "ms" and e.quality == pytest.approx(0.9) for e in estimates)


def test_minutes_are_counted_from_the_first_sample():
    """The stream begins between two ticks, and so does every minute."""
    peaks_s = np.arange(0.8, 129.0, 0.85)
    items = seconds(train(waves(), peaks_s, 130, 250.0), 250.0, beats_at(peaks_s, 250.0))
    late = []
    for item in items:
        if isinstance(item, SampleBlock):
            late.append(replace(item, start_ns=item.start_ns + 300_000_000))
        else:
            late.append(replace(item, at_ns=item.at_ns + (300_000_000 if isinstance(item, Beat) else S)))

    assert [e.at_ns / S for e in run(late)[::4]] == [60.3, 120.3]


def test_after_a_silence_the_minutes_begin_anew():
    """Ten minutes without anything are one answer, not ten."""
    peaks_s = np.arange(0.8, 65.0, 0.85)
    stage = Delineation()
    for item in seconds(train(waves(), peaks_s, 66, 250.0), 250.0, beats_at(peaks_s, 250.0)):
        stage.push(item)

    answers = [len(stage.push(Tick(at_ns=second * S))) for second in range(670, 740)]

    assert [k for k, n in enumerate(answers) if n] == [0, 60]


def test_the_lead_with_most_beats_is_measured():
    """The detector changed its lead for a while: averages of two leads are not mixed."""
    n = 77
    peaks_s = 0.8 + 0.85 * np.arange(n)
    two = np.column_stack(
        [train(waves(qrs_ms=140), peaks_s, 66, 250.0), train(waves(pr_ms=200, qrs_ms=80), peaks_s, 66, 250.0)]
    )
    beats = [replace(b, channel="V1" if k > 20 else "II") for k, b in enumerate(beats_at(peaks_s, 250.0))]

    found = {e.measure: e for e in run(seconds(two, 250.0, beats, names=("II", "V1")))}

    assert found["qrs_ms"].value == pytest.approx(80, abs=8)
    assert found["pr_ms"].value == pytest.approx(200, abs=8)


def test_microvolts_are_understood():
    """The limits on low waves hold in the channel's own unit."""
    peaks_s = np.arange(0.8, 65.0, 0.85)
    values = train(waves(t_mv=0.02), peaks_s, 66, 250.0)

    found = {e.measure: e for e in run(seconds(1000 * values, 250.0, beats_at(peaks_s, 250.0), unit="uV"))}

    assert reasons_of(found)["qt_ms"] == "low-t-wave"


def test_a_hole_costs_the_beats_around_it_alone():
    """Samples are missing; the minute goes on."""
    peaks_s = np.arange(0.8, 65.0, 0.85)
    items = seconds(train(waves(), peaks_s, 66, 250.0), 250.0, beats_at(peaks_s, 250.0))
    lost = [k for k, item in enumerate(items) if isinstance(item, SampleBlock) and 30 * S <= item.start_ns < 31 * S]

    found = {e.measure: e for e in run([item for k, item in enumerate(items) if k not in lost])}

    assert found["qt_ms"].value == pytest.approx(400, abs=8)


def test_flush_tells_the_minute_that_was_begun():
    """At the end of a recording of 40 s there are beats enough."""
    peaks_s = np.arange(0.8, 39.0, 0.85)
    stage = Delineation()
    for item in seconds(train(waves(), peaks_s, 40, 250.0), 250.0, beats_at(peaks_s, 250.0)):
        assert not stage.push(item)

    found = {e.measure: e for e in stage.flush()}

    assert found["qrs_ms"].value == pytest.approx(91, abs=8)
    assert not stage.flush()


def test_flush_is_silent_about_a_few_beats():
    """Five seconds are no minute."""
    peaks_s = np.arange(0.8, 4.0, 0.85)
    stage = Delineation()
    for item in seconds(train(waves(), peaks_s, 5, 250.0), 250.0, beats_at(peaks_s, 250.0)):
        stage.push(item)

    assert not stage.flush()


def test_a_stream_without_ecg_is_silent():
    """Nothing is said of other signals."""
    items = seconds(np.zeros(66 * 250), 250.0, [], kind=ChannelKind.PPG)

    assert not run(items)


@settings(max_examples=10, deadline=None)
@given(
    pr_ms=st.floats(110, 280),
    qrs_ms=st.floats(70, 112),
    qt_ms=st.floats(330, 480),
    rate_hz=st.sampled_from([125.0, 128.0, 250.0, 256.0, 500.0]),
)
def test_any_usual_beat_is_measured(pr_ms, qrs_ms, qt_ms, rate_hz):
    """Whatever its intervals, within 10 ms."""
    found = values_of(minute(rr_s=1.0, rate_hz=rate_hz, beat_waves=waves(pr_ms=pr_ms, qrs_ms=qrs_ms, qt_ms=qt_ms)))

    assert found["pr_ms"] == pytest.approx(pr_ms, abs=10)
    assert found["qrs_ms"] == pytest.approx(qrs_ms, abs=10)
    assert found["qt_ms"] == pytest.approx(qt_ms, abs=10)
