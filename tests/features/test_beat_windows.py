"""The window of one beat: what it shows, what it is compared with, and when it is given out."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from edge.features.beat_windows import FEATURES, STAGE, BeatWindows, BeatWindowsSettings
from edge.messages import Beat, Channel, ChannelKind, Quality, SampleBlock

RATE_HZ = 125.0
LEAD = Channel(name="II", kind=ChannelKind.ECG, unit="mV")
OTHER = Channel(name="V1", kind=ChannelKind.ECG, unit="mV")
STEP_NS = 8_000_000


def narrow(at_s: np.ndarray) -> np.ndarray:
    """P wave, QRS complex and T wave around 0 s, in mV."""
    p = 0.15 * np.exp(-0.5 * ((at_s + 0.16) / 0.025) ** 2)
    t = 0.25 * np.exp(-0.5 * ((at_s - 0.26) / 0.05) ** 2)
    return p + np.exp(-0.5 * (at_s / 0.012) ** 2) + t


def wide(at_s: np.ndarray) -> np.ndarray:
    """A wide complex without a P wave, with its T wave the other way."""
    early, late = np.exp(-0.5 * (at_s / 0.04) ** 2), np.exp(-0.5 * ((at_s - 0.07) / 0.03) ** 2)
    return 1.3 * early - 0.6 * late - 0.4 * np.exp(-0.5 * ((at_s - 0.3) / 0.06) ** 2)


def ecg(times_s: list[float], shapes: dict[int, object] | None = None, end_s: float | None = None) -> SampleBlock:
    """One block with a beat at each instant; `shapes` gives those that are not narrow."""
    at_s = np.arange(round((end_s or times_s[-1] + 3.0) * RATE_HZ)) / RATE_HZ
    values = np.zeros(len(at_s))
    for k, time_s in enumerate(times_s):
        shape = (shapes or {}).get(k, narrow)
        values += shape(at_s - time_s)
    return block(values[:, None])


def block(values: np.ndarray, channels: tuple[Channel, ...] = (LEAD,), sequence: int = 0) -> SampleBlock:
    return SampleBlock(
        sensor="s",
        stream="ecg",
        channels=channels,
        values=values,
        rate_hz=RATE_HZ,
        start_ns=sequence * STEP_NS,
        sequence=sequence,
    )


def beats(times_s: list[float], **each: object) -> list[Beat]:
    return [
        Beat(
            sensor="s",
            stream="ecg",
            at_ns=round(time_s * 1e9),
            sequence=k,
            rr_ms=None if k == 0 else 1000 * (time_s - times_s[k - 1]),
            quality=0.9,
            channel="II",
            **each,
        )
        for k, time_s in enumerate(times_s)
    ]


def windows(samples: SampleBlock, found: list[Beat], warm_up_beats: int = 0) -> list:
    stage = BeatWindows(BeatWindowsSettings(warm_up_beats=warm_up_beats))
    out = []
    for beat in found:
        out += stage.push(beat)
    return out + stage.push(samples) + stage.flush()


def steady(n: int) -> list[float]:
    return [1.0 + 0.8 * k for k in range(n)]


def test_every_beat_gets_one_window_in_order():
    """One window a beat, with that beat, its lead, and its R peak where the settings say."""
    times_s = steady(12)

    out = windows(ecg(times_s), beats(times_s))

    assert [w.beats[0].sequence for w in out] == list(range(12))
    assert {(w.model, w.channel, w.values.shape) for w in out} == {("beat", "II", (144, 2))}
    assert all(np.argmax(w.values[:, 0]) == 60 for w in out)
    assert all(w.beats[0].at_ns - w.start_ns == 60 * STEP_NS for w in out)


def test_window_names_every_feature():
    """The features are always the same ones, in one order."""
    times_s = steady(6)

    out = windows(ecg(times_s), beats(times_s))

    assert all(tuple(sorted(w.features)) == tuple(sorted(FEATURES)) for w in out)


def test_usual_beat_differs_from_its_template_by_nothing():
    """After a few equal beats the second channel is empty, and full where an odd beat comes."""
    times_s = steady(20)

    out = windows(ecg(times_s, {15: wide}), beats(times_s))

    assert np.abs(out[13].values[:, 1]).max() < 0.02
    assert np.abs(out[15].values[:, 1]).max() > 0.5
    assert out[13].features["qrs_likeness"] > 0.99
    assert out[15].features["qrs_likeness"] < 0.9
    assert out[15].features["qrs_spread_ratio"] > 1.5


def test_amplitude_of_the_electrode_does_not_matter():
    """Twice the gain gives the same window."""
    times_s = steady(10)
    samples = ecg(times_s)
    louder = block(2.0 * samples.values)

    out, loud = windows(samples, beats(times_s)), windows(louder, beats(times_s))

    assert all(np.allclose(a.values, b.values) for a, b in zip(out, loud, strict=True))


def test_early_beat_is_early_against_the_patients_own_interval():
    """The interval features of a beat at 60 % of the usual interval say so, and the pause after it is known."""
    times_s = steady(20)
    times_s[15] -= 0.32

    features = windows(ecg(times_s), beats(times_s))[15].features

    assert features["rr_to_level"] == pytest.approx(0.6, abs=0.01)
    assert features["rr_earliness"] > 5
    assert features["next_rr_to_level"] == pytest.approx(1.4, abs=0.02)


def test_early_beat_says_nothing_where_no_interval_repeats():
    """In an absolutely irregular rhythm the same interval is no prematurity."""
    rng = np.random.default_rng(1)
    times_s = [1.0]
    for interval_s in rng.uniform(0.5, 1.1, 60):
        times_s.append(times_s[-1] + interval_s)
    times_s.append(times_s[-1] + 0.48)

    features = windows(ecg(times_s), beats(times_s))[-1].features

    assert features["rr_to_level"] < 0.8
    assert features["rr_earliness"] < 2
    assert features["rr_prematurity"] == 0.0


def test_run_of_wide_beats_does_not_become_the_usual_beat():
    """Thirty wide early beats after a minute of narrow ones: narrow remains what beats are compared with."""
    times_s = steady(70)
    shapes = {}
    for k in range(30):
        times_s.append(times_s[-1] + 0.45)
        shapes[70 + k] = wide
    times_s += [times_s[-1] + 0.8 * (k + 1) for k in range(5)]

    out = windows(ecg(times_s, shapes), beats(times_s))

    assert out[99].features["qrs_likeness"] < 0.9
    assert out[103].features["qrs_likeness"] > 0.95


def test_narrow_form_is_the_usual_one_in_bigeminy():
    """Where every second beat is wide and early, the others are the usual ones."""
    times_s, shapes = [1.0], {}
    for k in range(40):
        times_s.append(times_s[-1] + 0.5)
        shapes[2 * k + 1] = wide
        times_s.append(times_s[-1] + 1.1)

    out = windows(ecg(times_s, shapes), beats(times_s))

    assert all(w.features["qrs_likeness"] > 0.95 for w in out[40::2])
    assert all(w.features["qrs_likeness"] < 0.9 for w in out[41::2])


def test_window_waits_for_the_next_beat_but_not_for_ever():
    """It is given out with the next beat; in a pause 2.6 s after the R peak, with the next interval unknown."""
    stage = BeatWindows(BeatWindowsSettings(warm_up_beats=0))
    times_s = [1.0, 1.8]
    samples = ecg(times_s, end_s=8.0)
    first, second = beats(times_s)

    stage.push(first)
    before = stage.push(block(samples.values[:300]))
    with_next = stage.push(second)
    waiting = stage.push(block(samples.values[300:549], sequence=300))
    late = stage.push(block(samples.values[549:560], sequence=549))

    assert before == []
    assert [w.beats[0] for w in with_next] == [first]
    assert waiting == []
    assert [w.beats[0] for w in late] == [second]
    assert math.isnan(late[0].features["next_rr_to_rr"])


def test_beat_without_its_samples_gets_no_window():
    """At the start and the end of a stream, and where the lead is missing, the rules decide alone."""
    times_s = [0.2, *steady(6), 5.9]
    values = ecg(times_s, end_s=6.2).values.copy()
    values[round(4.2 * RATE_HZ)] = np.nan

    out = windows(block(values), beats(times_s))

    assert [w.beats[0].sequence for w in out] == [1, 2, 3, 4, 6]


def test_first_beats_are_learned_from_and_not_described():
    """With the shipped settings the ninth beat is the first with a window, and nothing of it is unknown but likeness."""
    times_s = steady(12)

    out = windows(ecg(times_s), beats(times_s, width_ms=90.0), BeatWindowsSettings().warm_up_beats)

    assert [w.beats[0].sequence for w in out] == [8, 9, 10, 11]
    assert [name for name, value in out[0].features.items() if math.isnan(value)] == ["similarity"]


def test_lead_is_the_one_in_which_the_beat_was_timed():
    """A beat that names the second lead is shown there."""
    times_s = steady(6)
    samples = ecg(times_s)
    two = block(np.hstack([0.0 * samples.values, samples.values]), channels=(OTHER, LEAD))

    out = windows(two, beats(times_s))

    assert all(w.channel == "II" and np.ptp(w.values[:, 0]) > 0.9 for w in out)


def test_noise_is_not_learned():
    """Suspect beats change nothing of what the next beat is compared with."""
    times_s = steady(16)
    found = beats(times_s)
    suspects = [*found[:10], *beats(times_s, is_noise_suspect=True)[10:15], found[15]]

    out = windows(ecg(times_s, dict.fromkeys(range(10, 15), wide)), suspects)

    assert out[15].features["form_share"] == 1.0


def test_settings_are_described_as_json():
    """The card states the stage and every setting."""
    described = BeatWindows().describe()

    assert described["stage"] == STAGE
    assert json.loads(json.dumps(described)) == described
    assert described["forms"]["likeness"] == 0.9


def test_wrong_rate_is_refused_and_quality_is_ignored():
    """A block at another rate is misuse; a verdict on the signal changes nothing."""
    stage = BeatWindows()
    wrong = SampleBlock(
        sensor="s", stream="ecg", channels=(LEAD,), values=np.zeros((10, 1)), rate_hz=250.0, start_ns=0, sequence=0
    )

    assert stage.push(Quality(sensor="s", stream="ecg", at_ns=0, index=1.0, is_usable=True, reasons=())) == []
    with pytest.raises(ValueError, match="125"):
        stage.push(wrong)
    with pytest.raises(ValueError, match="inside the window"):
        BeatWindowsSettings(before_s=0.1)
