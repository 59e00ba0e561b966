"""What a cardiac monitor must do (IEC 60601-2-27 as makers disclose it), seen from outside, with our own numbers."""

from __future__ import annotations

import numpy as np
import pytest

from edge.messages import SensorStatus, Vitals
from firmware_bridge.virtual import monitor_waveforms as waveforms
from firmware_bridge.virtual.monitor_waveforms import Complex
from firmware_bridge.virtual.scenario import Fault, FaultKind, PatientSettings, Rhythm, Scenario, SensorSettings, Step
from tests.behaviour.monitor import NS_PER_S, nurse, watch


def n_counted(monitor, from_s, to_s):
    beats_s = monitor.beats_s()
    return int(((beats_s > from_s) & (beats_s < to_s)).sum())


def short(heart_rate_bpm, qrs_ms=80.0):
    """Return a complex that fits the cycle at any rate: 80 ms of QRS, T as the cycle allows."""
    t_ms = min(180.0, 0.5 * 60_000 / heart_rate_bpm)
    return Complex(qrs_ms=qrs_ms, t_ms=t_ms, qt_ms=min(350.0, qrs_ms + t_ms + 10.0))


# --- heart rate --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heart_rate_bpm", [30, 40, 60, 80, 120, 160, 200, 240, 270])
def test_the_rate_is_right_within_one_beat_a_minute(heart_rate_bpm):
    """From 30 to 270 a minute, at every second from the twelfth on; every QRS complex is counted once."""
    wave = waveforms.regular(heart_rate_bpm, 40.0, shape=short(heart_rate_bpm))

    monitor = watch(wave)

    assert monitor.rates(12, 39) == pytest.approx([heart_rate_bpm] * 28, abs=1.0)
    assert monitor.unlike(wave.beats_s, 5.0, 39.0, tolerance_s=0.08) == ([], [])


@pytest.mark.parametrize("rate_hz", [125.0, 360.0, 1000.0])
def test_the_rate_does_not_depend_on_the_sampling(rate_hz):
    """The same 80 a minute at the rates of chest straps, Holter recorders and bedside monitors."""
    monitor = watch(waveforms.regular(80.0, 20.0, rate_hz=rate_hz))

    assert monitor.rates(10, 19) == pytest.approx([80.0] * 10, abs=1.0)


@pytest.mark.parametrize(("to_bpm", "disclosed_s"), [(120.0, 10), (40.0, 10)])
def test_a_step_of_the_rate_is_shown_within_ten_seconds(to_bpm, disclosed_s):
    """From 80 to 120 and from 80 to 40: the new rate within one beat a minute, and it stays there."""
    wave = waveforms.rate_step(80.0, to_bpm, 90.0, at_s=60.0)
    step_s = next(b for a, b in zip(wave.beats_s, wave.beats_s[1:], strict=False) if abs((b - a) - 0.75) > 0.01)
    step_s -= 60.0 / to_bpm  # the last beat of the old rate

    monitor = watch(wave)

    shown_from_s = int(np.ceil(step_s + disclosed_s))
    assert monitor.rates(50, 59) == pytest.approx([80.0] * 10, abs=1.0)
    assert monitor.rates(shown_from_s, 88) == pytest.approx([to_bpm] * (89 - shown_from_s), abs=1.0)


@pytest.mark.parametrize(
    ("make", "rate_bpm", "tolerance_bpm"),
    [
        (waveforms.ventricular_bigeminy, 80, 1),
        (waveforms.slow_alternating_bigeminy, 60, 1),
        (waveforms.rapid_alternating_bigeminy, 120, 1),
        (waveforms.bidirectional_systoles, 90, 2),
    ],
)
def test_irregular_rhythms_show_the_rate_of_all_their_beats(make, rate_bpm, tolerance_bpm):
    """Disclosed: every QRS complex counts, after 20 s the mean of twelve intervals is shown, without the extremes."""
    wave = make(60.0)

    monitor = watch(wave)

    assert monitor.rates(21, 58) == pytest.approx([rate_bpm] * 38, abs=tolerance_bpm)
    assert monitor.unlike(wave.beats_s, 5.0, 59.0) == ([], [])


@pytest.mark.parametrize(("heart_rate_bpm", "t_mv"), [(80.0, 0.0), (80.0, 0.6), (80.0, 1.2), (60.0, 1.2)])
def test_tall_t_waves_are_not_counted(heart_rate_bpm, t_mv):
    """T up to 1.2 mV beside a QRS of 1 mV (100 ms, QT 350 ms, T 180 ms): the rate is that of the QRS complexes."""
    monitor = watch(waveforms.regular(heart_rate_bpm, 40.0, shape=Complex(t_mv=t_mv)))

    assert monitor.rates(10, 39) == pytest.approx([heart_rate_bpm] * 30, abs=1.0)


@pytest.mark.parametrize(
    ("qrs_mv", "qrs_ms", "heart_rate_bpm"),
    [
        (0.5, 40.0, 30.0),
        (0.5, 40.0, 200.0),
        (0.5, 120.0, 30.0),
        (0.5, 120.0, 80.0),
        (1.0, 80.0, 200.0),
        (1.0, 120.0, 200.0),
        (5.0, 40.0, 80.0),
        (5.0, 40.0, 200.0),
        (5.0, 80.0, 30.0),
        (5.0, 120.0, 80.0),
    ],
)
def test_beats_of_every_size_and_width_are_counted(qrs_mv, qrs_ms, heart_rate_bpm):
    """QRS complexes of 0.5 to 5 mV and 40 to 120 ms (IEC 60601-2-27): all of them, and nothing else."""
    shape = Complex(qrs_mv=qrs_mv, qrs_ms=qrs_ms, t_mv=0.2 * qrs_mv, t_ms=120.0, qt_ms=min(350.0, qrs_ms + 150.0))
    wave = waveforms.regular(heart_rate_bpm, 30.0, shape=shape)

    monitor = watch(wave)

    assert monitor.rates(12, 28) == pytest.approx([heart_rate_bpm] * 17, abs=1.0)
    assert monitor.unlike(wave.beats_s, 5.0, 29.0) == ([], [])


@pytest.mark.parametrize("qrs_mv", [0.05, 0.10, 0.14])
def test_complexes_below_the_least_are_none(qrs_mv):
    """Below 0.15 mV nothing counts, also after beats of the usual size: no rate, and the standstill is told."""
    usual = waveforms.standstill(80.0, 40.0, at_s=15.0)
    small_s = np.arange(15.5, 40.0, 0.75).tolist()
    small = waveforms.triangles(small_s, 40.0, shapes=(Complex(qrs_mv=qrs_mv, t_mv=0.0),), noise_mv=0.0)
    wave = waveforms.Waveform(values_mv=usual.values_mv + small.values_mv, rate_hz=250.0, beats_s=usual.beats_s)

    monitor = watch(wave)

    assert n_counted(monitor, 15.2, 39.0) == 0
    assert monitor.rates(22, 39) == [None] * 18
    assert monitor.raised_s("asystole")


@pytest.mark.parametrize(("mains_hz", "swing_mv"), [(50.0, 0.1), (60.0, 0.1), (50.0, 0.5)])
def test_mains_hum_makes_no_beat_and_hides_none(mains_hz, swing_mv):
    """Hum of 0.1 mV from end to end (EC13), and five times that."""
    monitor = watch(waveforms.with_mains(waveforms.regular(80.0, 30.0), mains_hz, swing_mv))

    assert monitor.rates(12, 29) == pytest.approx([80.0] * 18, abs=1.0)


def test_a_drifting_baseline_makes_no_beat_and_hides_none():
    """A triangle of 4 mV from end to end at 0.1 Hz under beats of 0.5 mV (EC13)."""
    wave = waveforms.with_drift(waveforms.regular(80.0, 40.0, shape=Complex(qrs_mv=0.5, t_mv=0.1)), 4.0)

    monitor = watch(wave)

    assert monitor.rates(12, 39) == pytest.approx([80.0] * 28, abs=1.0)


# --- variability -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean_s", "swing_s", "swing_hz", "sdnn_ms", "rmssd_ms"),
    [(0.8, 0.035, 0.25, 24.76, 29.07), (1.0, 0.070, 0.10, 49.53, 30.53)],
)
def test_variability_of_the_standard_patterns_is_right(mean_s, swing_s, swing_hz, sdnn_ms, rmssd_ms):
    """Intervals that follow a sine (IEC 60601-2-47): SDNN and RMSSD over five minutes within 5 %."""
    monitor = watch(waveforms.sine_intervals(mean_s, swing_s, swing_hz, 310.0), block_s=1.0)

    assert monitor.value("sdnn_ms", 308) == pytest.approx(sdnn_ms, rel=0.05)
    assert monitor.value("rmssd_ms", 308) == pytest.approx(rmssd_ms, rel=0.05)


# --- alarms ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size_ratio", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("make", [waveforms.tachycardia_4a, waveforms.tachycardia_4b])
def test_ventricular_tachycardia_alarms_within_eleven_seconds(make, size_ratio):
    """206 and 195 a minute at half, single and double size, after half a minute of 80: a high alert, and the rate."""
    wave = make(60.0, size_ratio=size_ratio)

    monitor = watch(wave)

    raised_s = [
        at_s
        for condition in ("extreme-tachycardia", "ventricular-tachycardia", "ventricular-fibrillation")
        for at_s in monitor.raised_s(condition)
    ]
    assert min(raised_s) >= 30.0
    assert min(raised_s) - 30.0 <= 11.0
    assert monitor.rates(42, 58) == pytest.approx([60 / np.diff(wave.beats_s)[-1]] * 17, abs=3.0)


@pytest.mark.parametrize(("heart_rate_bpm", "stop_s"), [(40.0, 20.37), (75.0, 20.0), (75.0, 20.81), (120.0, 20.37)])
def test_asystole_is_noticed_six_seconds_after_the_last_beat(heart_rate_bpm, stop_s):
    """Disclosed: 4 s without a QRS complex, 1 s for a beat that may still come, at most 1 s to the next full second."""
    wave = waveforms.standstill(heart_rate_bpm, 35.0, at_s=stop_s)

    monitor = watch(wave)

    (raised_s,) = monitor.raised_s("asystole")
    assert 4.0 < raised_s - wave.beats_s[-1] <= 6.0
    assert monitor.rates(28, 34) == [None] * 7


def ecg_only(*steps, faults=(), seed=1):
    return Scenario(
        patient=PatientSettings(seed=seed),
        sensor=SensorSettings(streams=("ecg",)),
        steps=(Step(at_s=0.0), *steps),
        faults=faults,
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_a_detached_lead_is_no_asystole(seed):
    """A minute with the electrode off: a technical alert and no rate, but nothing is said about the heart."""
    off = Fault(kind=FaultKind.LEAD_OFF, at_s=30.0, duration_s=60.0)

    monitor, _ = nurse(ecg_only(faults=(off,), seed=seed), 120.0)

    assert not monitor.raised_s("asystole")
    assert not monitor.raised_s("extreme-bradycardia")
    assert not monitor.raised_s("pause")
    assert 30.0 < min([*monitor.raised_s("lead-off"), *monitor.raised_s("saturated")]) < 40.0
    assert monitor.rates(36, 89) == [None] * 54
    assert monitor.rates(105, 119) == pytest.approx([70.0] * 15, abs=5.0)


def test_a_detached_lead_that_hums_is_no_asystole():
    """The device says that an electrode is off while the open input is nearly flat: its word counts."""
    wave = waveforms.standstill(75.0, 90.0, at_s=30.0)
    off = SensorStatus(sensor="bed", condition="lead-off", is_active=True, at_ns=30 * NS_PER_S, stream="ecg", detail="")

    monitor = watch(wave, status=[off])

    assert not monitor.raised_s("asystole")
    assert monitor.rates(36, 89) == [None] * 54


@pytest.mark.parametrize(("noise_mv", "seed"), [(0.0, 1), (0.03, 1), (0.03, 2), (0.05, 1), (0.05, 2)])
def test_an_asystole_behind_a_detached_lead_is_found_when_the_lead_is_back(noise_mv, seed):
    """The heart stops while the electrode is off; it comes back with noise, and the standstill is told within 15 s."""
    faults = [Fault(kind=FaultKind.LEAD_OFF, at_s=30.0, duration_s=20.0)]
    if noise_mv > 0:
        faults.append(Fault(kind=FaultKind.NOISE, at_s=50.0, duration_s=40.0, parameters={"rms_mv": noise_mv}))
    story = ecg_only(Step(at_s=40.0, rhythm=Rhythm.ASYSTOLE), faults=tuple(faults), seed=seed)

    monitor, _ = nurse(story, 90.0)

    (raised_s,) = monitor.raised_s("asystole")
    assert 54.0 <= raised_s <= 65.0
    assert n_counted(monitor, 52.0, 90.0) == 0


@pytest.mark.parametrize("noise_mv", [0.2, 0.4])
def test_a_standstill_under_heavy_noise_is_a_technical_alert(noise_mv):
    """Where nobody could see beats, no rate is shown and the signal itself is called poor after a minute."""
    faults = (
        Fault(kind=FaultKind.LEAD_OFF, at_s=30.0, duration_s=20.0),
        Fault(kind=FaultKind.NOISE, at_s=50.0, duration_s=80.0, parameters={"rms_mv": noise_mv}),
    )

    monitor, _ = nurse(ecg_only(Step(at_s=40.0, rhythm=Rhythm.ASYSTOLE), faults=faults), 130.0)

    assert min(monitor.raised_s("signal-poor")) < 120.0
    assert monitor.rates(56, 129) == [None] * 74


@pytest.mark.parametrize("seed", [1, 2])
def test_a_heart_that_beats_behind_noise_is_no_asystole(seed):
    """Lead off, then heavy noise for half a minute, the heart beating all the time: never an asystole."""
    faults = (
        Fault(kind=FaultKind.LEAD_OFF, at_s=30.0, duration_s=10.0),
        Fault(kind=FaultKind.NOISE, at_s=40.0, duration_s=30.0, parameters={"rms_mv": 0.4}),
    )

    monitor, _ = nurse(ecg_only(faults=faults, seed=seed), 90.0)

    assert not monitor.raised_s("asystole")
    assert monitor.usable_share(42.0, 70.0) < 0.2


@pytest.mark.parametrize(("pulse_mv", "pulse_ms"), [(2.0, 0.1), (-2.0, 0.5)])
def test_small_pacing_pulses_do_not_hide_an_asystole(pulse_mv, pulse_ms):
    """A pacemaker that goes on at 70 a minute after the heart has stopped is not counted."""
    stopped = waveforms.standstill(75.0, 45.0, at_s=20.0, rate_hz=500.0)
    wave = waveforms.with_pacing_pulses(stopped, np.arange(20.5, 45.0, 60 / 70).tolist(), pulse_mv, pulse_ms)

    monitor = watch(wave)

    (raised_s,) = monitor.raised_s("asystole")
    assert raised_s - wave.beats_s[-1] <= 6.0
    assert n_counted(monitor, 20.3, 44.0) == 0


def test_every_second_has_its_vital_signs():
    """One set a second, whatever happens to the signal."""
    off = Fault(kind=FaultKind.LEAD_OFF, at_s=10.0, duration_s=10.0)

    monitor, _ = nurse(ecg_only(faults=(off,)), 30.0)

    assert [each.at_ns // NS_PER_S for each in monitor.all(Vitals)] == list(range(1, 31))
