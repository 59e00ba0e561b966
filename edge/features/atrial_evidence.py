"""The lead's samples around the R peaks of the last minute -> named figures on P waves, fibrillatory waves and shape.

Averaging many beats on their R peaks keeps what goes with the ventricles and lowers the rest: a P wave that belongs to
every beat stays, fibrillatory waves do not.  What is left of the signal when the average is taken away from every beat
is looked at for waves of 4 to 10 Hz.  Pure functions; a figure that the signal does not give is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.features.rhythm_evidence import unknown

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

ATRIAL_FEATURES = (
    "p_amplitude_ratio",
    "p_over_noise_ratio",
    "p_consistency",
    "p_to_r_ms",
    "p_inverted_ratio",
    "pr_level_ratio",
    "t_amplitude_ratio",
    "t_consistency",
    "r_to_t_ms",
    "st_level_ratio",
    "s_amplitude_ratio",
    "q_amplitude_ratio",
    "average_width_ms",
    "residual_ratio",
    "residual_quiet_ratio",
    "fibrillatory_share",
    "flutter_share",
    "residual_peak_hz",
    "residual_peak_share",
)
"""Names of what `atrial_evidence` gives."""

SHAPE_FEATURES = (
    "likeness_median",
    "likeness_low",
    "odd_share",
    "odd_early_share",
    "odd_late_share",
    "early_like_share",
    "second_shape_share",
    "odd_size_ratio",
    "early_p_likeness",
)
"""Names of what `shape_evidence` gives."""

SIGNAL_FEATURES = (
    "low_power_share",
    "qrs_power_share",
    "high_power_share",
    "kurtosis",
    "flat_share",
    "large_share",
    "r_over_residual_ratio",
)
"""Names of what `signal_evidence` gives."""

N_TEMPLATE = 24
TEMPLATE_FEATURES = tuple(f"average_{k:02d}" for k in range(N_TEMPLATE))
"""The averaged beat itself, from 0.28 s before the R peak to 0.40 s after it, over its own largest value."""

_BEFORE_S, _AFTER_S = 0.32, 0.44
_FEWEST = 4


def cut_beats(curve: Floats, peaks: Sequence[int], rate_hz: float) -> tuple[Floats, Places, Places]:
    """Return the stretches around `peaks` that lie inside `curve` and are whole, where their peaks are, and which.

    Each is moved by up to 24 ms onto the average of all, so that the R peaks of one shape lie on each other.
    """
    n_before, n_after = round(_BEFORE_S * rate_hz), round(_AFTER_S * rate_hz)
    n_slack = 3
    at = np.asarray(peaks, dtype=np.int64)
    kept = np.flatnonzero((at >= n_before + n_slack) & (at < len(curve) - n_after - n_slack))
    at = at[kept]
    if len(at) == 0:
        return np.empty((0, n_before + n_after + 1)), at, kept
    offsets = np.arange(-n_before, n_after + 1)
    wide = curve[at[:, None] + np.arange(-n_before - n_slack, n_after + n_slack + 1)]
    is_whole = np.isfinite(wide).all(axis=1)
    at, wide, kept = at[is_whole], wide[is_whole], kept[is_whole]
    if len(at) < 2:
        return curve[at[:, None] + offsets], at, kept
    core = slice(n_before - round(0.06 * rate_hz), n_before + round(0.08 * rate_hz) + 1)
    middle = np.median(wide[:, n_slack:-n_slack], axis=0)[core]
    middle = middle - middle.mean()
    shifts = range(2 * n_slack + 1)
    products = np.stack([wide[:, s + core.start : s + core.stop] @ middle for s in shifts])
    at = at + products.argmax(axis=0) - n_slack
    return curve[at[:, None] + offsets], at, kept


def atrial_evidence(curve: Floats, beats: Floats, at: Places, rate_hz: float) -> dict[str, float]:
    """Return the figures named in `ATRIAL_FEATURES` and `TEMPLATE_FEATURES`.

    Parameters
    ----------
    curve : ndarray, shape (n_samples,)
        The lead, mV; NaN where a sample is missing.
    beats, at : ndarray
        What `cut_beats` gave.
    rate_hz : float
        Sampling rate.
    """
    out = unknown(ATRIAL_FEATURES + TEMPLATE_FEATURES)
    if len(beats) < _FEWEST:
        return out
    r = round(_BEFORE_S * rate_hz)
    average = np.median(beats, axis=0)
    like = _likeness(beats, average, slice(r - round(0.08 * rate_hz), r + round(0.12 * rate_hz) + 1))
    usual = beats[like >= min(0.8, float(np.median(like)))]
    average = usual.mean(axis=0)
    size = float(np.abs(average[r - round(0.05 * rate_hz) : r + round(0.06 * rate_hz) + 1]).max())
    if not size > 1e-6 or len(usual) < _FEWEST:
        return out
    turn = 1.0 if average[r - 1 : r + 2].sum() >= 0 else -1.0  # an inverted lead reads like an upright one
    average, usual = turn * average / size, turn * usual / size
    where = np.linspace(r - 0.28 * rate_hz, r + 0.40 * rate_hz, N_TEMPLATE)
    out |= dict(zip(TEMPLATE_FEATURES, np.interp(where, np.arange(len(average)), average).tolist(), strict=True))
    out |= _p_wave(usual, average, r, rate_hz)
    out |= _qrs_t(usual, average, r, rate_hz)
    return out | _residual(curve * (turn / size), average, at, r, rate_hz)


def shape_evidence(beats: Floats, early: Floats, rate_hz: float) -> dict[str, float]:
    """Return the figures named in `SHAPE_FEATURES`: how many beats look unlike the usual one, and when they come.

    Parameters
    ----------
    beats : ndarray, shape (n_beats, n_samples)
        What `cut_beats` gave.
    early : ndarray, shape (n_beats,)
        Interval before each over the usual interval; NaN where unknown.
    rate_hz : float
        Sampling rate.
    """
    out = unknown(SHAPE_FEATURES)
    if len(beats) < _FEWEST:
        return out
    r = round(_BEFORE_S * rate_hz)
    core = slice(r - round(0.1 * rate_hz), r + round(0.16 * rate_hz) + 1)
    like = _likeness(beats, np.median(beats, axis=0), core)
    odd = like < 0.8
    out |= {
        "likeness_median": float(np.median(like)),
        "likeness_low": float(np.percentile(like, 10)),
        "odd_share": float(odd.mean()),
        "odd_early_share": float((odd & (early < 0.87)).mean()),
        "odd_late_share": float((odd & (early > 1.15)).mean()),
        "early_like_share": float((~odd & (early < 0.87)).mean()),
        "second_shape_share": 0.0,
    }
    is_early = ~odd & (early < 0.9)
    if is_early.sum() >= 2:
        before = slice(r - round(0.28 * rate_hz), r - round(0.07 * rate_hz))
        out["early_p_likeness"] = float(_likeness(beats[is_early], np.median(beats, axis=0), before).mean())
    others = beats[odd]
    if len(others):
        out["odd_size_ratio"] = float(np.median(np.ptp(others[:, core], axis=1)) / np.median(np.ptp(beats, axis=1)))
    if len(others) >= 2:  # odd beats that look like each other come from one focus; noise does not repeat itself
        again = _likeness(others, np.median(others, axis=0), core)
        out["second_shape_share"] = float((again > 0.9).sum()) / len(beats)
    return out


def signal_evidence(curve: Floats, rate_hz: float) -> dict[str, float]:
    """Return the figures named in `SIGNAL_FEATURES`: where the power lies, and whether it looks like a heart at all."""
    out = unknown(SIGNAL_FEATURES)
    known = curve[np.isfinite(curve)]
    if len(known) < 4 * rate_hz:
        return out
    centred = known - known.mean()
    power = float((centred**2).mean())
    if not power > 1e-12:
        return out
    spectrum, frequency_hz = _spectrum(centred, rate_hz)
    total = float(spectrum.sum())
    for name, low_hz, high_hz in (("low", 0.5, 4.0), ("qrs", 5.0, 15.0), ("high", 20.0, 40.0)):
        band = (frequency_hz >= low_hz) & (frequency_hz < high_hz)
        out[f"{name}_power_share"] = float(spectrum[band].sum()) / max(total, 1e-12)
    out["kurtosis"] = float((centred**4).mean()) / power**2
    seconds = centred[: len(centred) // round(rate_hz) * round(rate_hz)].reshape(-1, round(rate_hz))
    swing = np.ptp(seconds, axis=1)
    usual = float(np.median(swing))
    out["flat_share"] = float((swing < 0.2 * usual).mean())
    out["large_share"] = float((swing > 2.0 * usual).mean())
    quiet = np.percentile(np.abs(np.diff(seconds, axis=1)), 50, axis=1)
    out["r_over_residual_ratio"] = usual / max(float(np.median(quiet)), 1e-6)
    return out


# --- parts ------------------------------------------------------------------------------------------------


def _likeness(beats: Floats, pattern: Floats, part: slice) -> Floats:
    """Return Pearson's correlation of each beat with `pattern` in a part of it; 0 where one is flat."""
    shapes = beats[:, part] - beats[:, part].mean(axis=1, keepdims=True)
    model = pattern[part] - pattern[part].mean()
    norm = np.sqrt((shapes**2).sum(axis=1) * (model**2).sum())
    return np.asarray(np.where(norm > 1e-9, shapes @ model / np.maximum(norm, 1e-9), 0.0))


def _p_wave(usual: Floats, average: Floats, r: int, rate_hz: float) -> dict[str, float]:
    begin, end = max(0, r - round(0.28 * rate_hz)), r - round(0.06 * rate_hz)
    # The line from the beginning to the end of the stretch is what the wave stands on.
    parts = usual[:, begin:end]
    lines = np.linspace(0.0, 1.0, end - begin)
    parts = parts - parts[:, :1] - (parts[:, -1:] - parts[:, :1]) * lines
    wave = parts.mean(axis=0)
    flips = np.where(np.arange(len(parts)) % 2 == 0, 1.0, -1.0)
    noise = float((parts * flips[:, None]).mean(axis=0).std())
    top = int(wave.argmax())
    return {
        "p_amplitude_ratio": float(wave.max()),
        "p_inverted_ratio": float(-wave.min()),
        "p_over_noise_ratio": float(np.log(max(float(wave.std()), 1e-4) / max(noise, 1e-4))),
        "p_consistency": _consistency(parts),
        "p_to_r_ms": 1000.0 * (r - begin - top) / rate_hz,
        "pr_level_ratio": float(average[end - 1] - average[begin]),
    }


def _qrs_t(usual: Floats, average: Floats, r: int, rate_hz: float) -> dict[str, float]:
    begin, end = r + round(0.12 * rate_hz), r + round(0.42 * rate_hz)
    level = float(average[r - round(0.06 * rate_hz)])
    tail = average[begin:end] - level
    top = int(np.abs(tail).argmax())
    around = average[r - round(0.1 * rate_hz) : r + round(0.14 * rate_hz) + 1]
    return {
        "t_amplitude_ratio": float(tail[top]),
        "r_to_t_ms": 1000.0 * (begin + top - r) / rate_hz,
        "t_consistency": _consistency(usual[:, begin:end]),
        "st_level_ratio": float(average[r + round(0.1 * rate_hz)] - level),
        "s_amplitude_ratio": float(average[r : r + round(0.1 * rate_hz)].min() - level),
        "q_amplitude_ratio": float(average[r - round(0.06 * rate_hz) : r + 1].min() - level),
        "average_width_ms": 1000.0 / rate_hz * float((np.abs(np.gradient(around)) > 0.04).sum()),
    }


def _consistency(parts: Floats) -> float:
    """Return the mean correlation of each part with the average of all the others."""
    centred = parts - parts.mean(axis=1, keepdims=True)
    others = (centred.sum(axis=0) - centred) / (len(centred) - 1)
    norm = np.sqrt((centred**2).sum(axis=1) * (others**2).sum(axis=1))
    return float(np.where(norm > 1e-9, (centred * others).sum(axis=1) / np.maximum(norm, 1e-9), 0.0).mean())


def _residual(curve: Floats, average: Floats, at: Places, r: int, rate_hz: float) -> dict[str, float]:
    """Return what is left between the QRS complexes when the average beat is taken away from each."""
    rest = curve.copy()
    is_quiet = np.isfinite(curve)
    n_before, n_after = round(0.08 * rate_hz), round(0.12 * rate_hz)
    for k, peak in enumerate(at.tolist()):
        first = peak - r
        until = min(first + len(average), at[k + 1] - r if k + 1 < len(at) else len(curve))
        n = max(0, until - first)
        rest[first:until] -= average[:n]
        is_quiet[peak - n_before : peak + n_after] = False
    inner = slice(int(at[0]), int(at[-1]))
    rest, is_quiet = rest[inner], is_quiet[inner]
    if is_quiet.sum() < 2 * rate_hz:
        return {}
    # Under the complexes, where the difference is of shape and timing, a straight line stands in.
    places = np.arange(len(rest))
    rest = np.interp(places, places[is_quiet], rest[is_quiet])
    if len(rest) < 3 * rate_hz:
        return {}
    spectrum, frequency_hz = _spectrum(rest - rest.mean(), rate_hz)
    near = spectrum[(frequency_hz >= 1.0) & (frequency_hz < 15.0)]
    total = max(float(near.sum()), 1e-12)
    atrial = (frequency_hz >= 3.5) & (frequency_hz < 10.0)
    peak = int(np.argmax(np.where(atrial, spectrum, 0.0)))
    return {
        "residual_ratio": float(rest.std()),
        "residual_quiet_ratio": float(np.median(np.abs(rest - np.median(rest)))),
        "fibrillatory_share": float(spectrum[atrial].sum()) / total,
        "flutter_share": float(spectrum[(frequency_hz >= 3.5) & (frequency_hz < 6.0)].sum()) / total,
        "residual_peak_hz": float(frequency_hz[peak]),
        "residual_peak_share": float(spectrum[max(0, peak - 1) : peak + 2].sum()) / total,
    }


def _spectrum(curve: Floats, rate_hz: float) -> tuple[Floats, Floats]:
    """Return the mean power spectrum of half-overlapping stretches of 2 s, and its frequencies."""
    n = round(2.0 * rate_hz)
    starts = np.arange(0, len(curve) - n + 1, n // 2)
    pieces = curve[starts[:, None] + np.arange(n)] * np.hanning(n)
    power = np.asarray((np.abs(np.fft.rfft(pieces, axis=1)) ** 2).mean(axis=0), dtype=np.float64)
    return power, np.asarray(np.fft.rfftfreq(n, 1.0 / rate_hz), dtype=np.float64)
