"""The shapes of the ECG, measured as a reader of paper would."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from firmware_bridge.virtual import patient as patient_module
from firmware_bridge.virtual.ecg import presence
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import PatientSettings, Premature, Rhythm, Scenario, SensorSettings, Step

RATE_HZ = 1000
SEEDS = range(1, 6)


def quiet_lead_ii(monkeypatch, rhythm="sinus", duration_s=30.0, seed=1, **step):
    """Return lead II at 1 kHz without amplifier noise, and the truth."""
    monkeypatch.setattr(patient_module, "NOISE_RMS", dict.fromkeys(patient_module.NOISE_RMS, 0.0))
    scenario = Scenario(
        patient=PatientSettings(seed=seed),
        sensor=SensorSettings(ecg_rate_hz=RATE_HZ),
        steps=(Step(at_s=0.0, rhythm=Rhythm(rhythm), **step),),
    )
    signals = VirtualPatient(scenario).take(duration_s)
    return signals.ecg_mv, signals.truth


def average_beat(signal, truth, before_s=0.4, after_s=0.6):
    """Return the mean beat with its baseline, the median of the stretch before the P wave, at zero."""
    beats = [
        signal[round((b.at_s - before_s) * RATE_HZ) :][: round((before_s + after_s) * RATE_HZ)]
        for b in truth.beats[2:-2]
    ]
    mean = np.mean(beats, axis=0)
    return mean - np.median(mean[100:180])


def width_s(qrs, threshold_mv):
    """Return the time over which the rectified signal is above a threshold around its peak."""
    above = np.flatnonzero(np.abs(qrs) > threshold_mv)
    return (above[-1] - above[0]) / RATE_HZ


@pytest.mark.parametrize("seed", SEEDS)
def test_sinus_beat_has_the_proportions_of_the_textbook(monkeypatch, seed):
    """Lead II: P 0.1–0.2 mV about 160 ms before R, R about 1 mV, QRS 70–110 ms, T 0.2–0.4 mV, QT 340–440 ms."""
    signal, truth = quiet_lead_ii(monkeypatch, heart_rate_bpm=60.0, seed=seed)

    beat = average_beat(signal[:, 0], truth)

    p, qrs, t = beat[180:320], beat[340:460], beat[500:800]
    assert 0.08 < p.max() < 0.22
    assert 0.13 < 0.4 - (180 + p.argmax()) / RATE_HZ < 0.18
    assert 0.75 < qrs.max() < 1.35
    assert abs(int(qrs.argmax()) - 60) <= 3
    assert 0.070 < width_s(qrs, 0.05) < 0.110
    assert 0.2 < t.max() < 0.4
    t_end = 500 + t.argmax() + np.flatnonzero(t[t.argmax() :] < 0.05 * t.max())[0]
    q_onset = 340 + np.flatnonzero(np.abs(qrs) > 0.03)[0]
    assert 0.34 < (t_end - q_onset) / RATE_HZ < 0.44


def test_v1_is_mostly_negative(monkeypatch):
    """V1 shows a small r and a deep S."""
    signal, truth = quiet_lead_ii(monkeypatch)

    beat = average_beat(signal[:, 1], truth)

    assert 0.05 < beat[340:460].max() < 0.35
    assert -1.2 < beat[340:460].min() < -0.5


def test_qt_shortens_with_the_rate(monkeypatch):
    """The T wave comes earlier at 120 than at 60, by about the square root of the interval."""
    peaks_s = []
    for bpm in (60.0, 120.0):
        signal, truth = quiet_lead_ii(monkeypatch, heart_rate_bpm=bpm)
        beat = average_beat(signal[:, 0], truth)
        window = beat[400 + 120 : 400 + 350]
        peaks_s.append(0.12 + int(window.argmax()) / RATE_HZ)

    assert peaks_s[1] / peaks_s[0] == pytest.approx(np.sqrt(0.5), abs=0.06)


@pytest.mark.parametrize("seed", SEEDS)
def test_ventricular_beats_are_wide_without_p_and_with_discordant_t(monkeypatch, seed):
    """QRS at least 120 ms, nothing before it, T against it."""
    signal, truth = quiet_lead_ii(monkeypatch, premature=Premature.SINGLE, duration_s=120.0, seed=seed)
    wide = [b for b in truth.beats if b.kind == "V"][1:-1]

    beats = [signal[round((b.at_s - 0.2) * RATE_HZ) :][:800, 0] for b in wide]
    beat = np.mean(beats, axis=0)

    assert 0.120 <= width_s(beat[100:320], 0.15 * np.abs(beat).max()) < 0.20
    assert beat[100:320].max() > 0.9
    assert beat[400:700].min() < -0.25


def test_paced_beats_have_a_spike_before_a_wide_qrs(monkeypatch):
    """A deflection of a few milliseconds stands about 95 ms before the main one."""
    signal, truth = quiet_lead_ii(monkeypatch, "paced")

    beat = average_beat(signal[:, 0], truth)

    spike = np.abs(np.diff(beat[280:330]))
    assert spike.max() > 0.2
    assert np.abs(np.diff(beat[330:800])).max() < 0.06
    assert beat[350:450].min() < -0.7
    assert width_s(beat[320:480], 0.1) >= 0.12


def test_atrial_fibrillation_has_no_p_but_fibrillatory_waves(monkeypatch):
    """Averaged on R nothing is left before the QRS; between beats V1 swings at 4–9 Hz."""
    signal, truth = quiet_lead_ii(monkeypatch, "atrial-fibrillation", duration_s=180.0, heart_rate_bpm=70.0)
    sinus, sinus_truth = quiet_lead_ii(monkeypatch, duration_s=180.0, heart_rate_bpm=70.0)

    def before_qrs(lead, beats):
        # Only after a long interval, so that the T wave of the beat before is over.
        late = [b.at_s for a, b in itertools.pairwise(beats) if b.at_s - a.at_s > 0.75]
        return np.ptp(np.mean([lead[round((at_s - 0.22) * RATE_HZ) :][:160] for at_s in late], axis=0))

    assert before_qrs(signal[:, 0], truth.beats) < 0.3 * before_qrs(sinus[:, 0], sinus_truth.beats)
    pauses = [
        signal[round((a.at_s + 0.42) * RATE_HZ) : round((b.at_s - 0.08) * RATE_HZ), 1]
        for a, b in itertools.pairwise(truth.beats)
        if b.at_s - a.at_s > 0.9
    ]
    assert pauses
    rates_hz = [np.abs(np.diff(np.sign(p - np.median(p)))).sum() / 4 / (len(p) / RATE_HZ) for p in pauses]
    assert 3.0 < np.mean(rates_hz) < 12.0


@pytest.mark.parametrize("seed", SEEDS)
def test_ventricular_fibrillation_is_a_band_without_qrs(monkeypatch, seed):
    """90 % of the power lies between 3 and 8 Hz, coarse amplitude, and no peak stands out."""
    signal, _ = quiet_lead_ii(monkeypatch, "ventricular-fibrillation", duration_s=60.0, seed=seed)

    lead = signal[5 * RATE_HZ :, 0]
    power = np.abs(np.fft.rfft(lead - lead.mean())) ** 2
    rate_hz = np.fft.rfftfreq(len(lead), 1 / RATE_HZ)
    assert power[(rate_hz > 3) & (rate_hz < 8)].sum() > 0.9 * power.sum()
    assert 0.25 < lead.std() < 0.8
    assert np.abs(lead).max() < 4.5 * lead.std()


def test_asystole_is_flat_but_for_slow_wander(monkeypatch):
    """Less than 0.3 mV from top to bottom in a minute and nothing faster than breathing."""
    signal, _ = quiet_lead_ii(monkeypatch, "asystole", duration_s=60.0)

    lead = signal[2 * RATE_HZ :, 0]

    assert np.ptp(lead) < 0.3
    assert np.ptp(np.diff(lead[::100])) < 0.05


@pytest.mark.parametrize("rhythm", [rhythm.value for rhythm in Rhythm])
@pytest.mark.parametrize("after", ["asystole", "ventricular-fibrillation", "sinus"])
def test_no_rhythm_change_makes_a_jump(monkeypatch, rhythm, after):
    """From one millisecond to the next nothing moves faster than a QRS or a pacing spike does."""
    monkeypatch.setattr(patient_module, "NOISE_RMS", dict.fromkeys(patient_module.NOISE_RMS, 0.0))
    scenario = Scenario(
        sensor=SensorSettings(ecg_rate_hz=RATE_HZ),
        steps=(Step(at_s=0.0, rhythm=Rhythm(rhythm)), Step(at_s=5.3, rhythm=Rhythm(after))),
    )

    signal = VirtualPatient(scenario).take(9.0).ecg_mv

    assert np.abs(np.diff(signal, axis=0)).max() < (0.45 if rhythm == "paced" else 0.12)


def test_presence_is_smooth_and_bounded():
    """Fibrillatory waves come in 0.3 s after the start and are gone 0.3 s after the end."""
    at_s = np.array([0.9, 1.0, 1.15, 1.3, 2.0, 3.0, 3.15, 3.3, 9.0])

    assert presence(at_s, 1.0, 3.0) == pytest.approx([0, 0, 0.5, 1, 1, 1, 0.5, 0, 0])
    assert presence(at_s, 1.0, np.inf)[-1] == 1.0
