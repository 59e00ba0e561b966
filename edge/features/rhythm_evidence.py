"""Beats of the last minute -> named figures on how regular they came: evidence for the rhythm model.

Pure functions.  An interval counts where neither of its beats is a noise suspect; two intervals are compared where they
follow each other.  A figure that the beats do not give is NaN, never a guess.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.messages import Beat

Floats = NDArray[np.float64]

RR_FEATURES = (
    "n_intervals",
    "evidence_s",
    "heart_rate_bpm",
    "fastest_bpm",
    "slowest_bpm",
    "rr_shortest_ratio",
    "rr_second_shortest_ratio",
    "rr_longest_ratio",
    "rr_second_longest_ratio",
    "rr_low_ratio",
    "rr_high_ratio",
    "rr_cv_ratio",
    "rmssd_ratio",
    "mad_ratio",
    "largest_step_ratio",
    "high_step_ratio",
    "pnn50_share",
    "pnn10pct_share",
    "pnn20pct_share",
    "rr_skewness",
    "rr_autocorrelation_1",
    "rr_autocorrelation_2",
    "rr_autocorrelation_3",
    "sd_ratio",
    "turning_point_share",
    "sample_entropy",
    "rr_entropy",
    "filtered_rmssd_ratio",
    "pair_difference_share",
    "ectopy_index",
    "lorenz_irregularity",
    "lorenz_origin_share",
    "lorenz_premature_share",
    "short_share",
    "long_share",
    "compensated_share",
    "interpolated_share",
    "alternation_share",
    "mode_count",
    "calmest_mad_ratio",
    "wildest_mad_ratio",
)
"""Names of what `rr_evidence` gives."""

BEAT_FEATURES = (
    "n_beats",
    "all_rmssd_ratio",
    "all_mad_ratio",
    "all_pnn10pct_share",
    "all_shortest_ratio",
    "all_longest_ratio",
    "noise_suspect_share",
    "premature_share",
    "compensatory_share",
    "unlike_share",
    "unlike_premature_share",
    "like_premature_share",
    "similarity_median",
    "similarity_low",
    "width_median_ms",
    "width_high_ms",
    "wide_share",
    "amplitude_cv_ratio",
    "beat_quality_mean",
    "beat_quality_low",
)
"""Names of what `beat_evidence` gives."""

# Intervals outside cannot come from a human heart's conducted beats: a missed or a doubled beat.
_RR_RANGE_S = (0.2, 3.0)
_FEWEST = 4


def unknown(names: Sequence[str]) -> dict[str, float]:
    """Return NaN for every name."""
    return dict.fromkeys(names, float("nan"))


def intervals_s(beats: Sequence[Beat], *, with_doubtful: bool = False) -> Floats:
    """Return the interval before each beat in seconds, NaN where it is unknown or one of its beats is in doubt."""
    rr_s = np.full(len(beats), np.nan)
    for k in range(1, len(beats)):
        beat, before = beats[k], beats[k - 1]
        is_doubtful = beat.is_noise_suspect or before.is_noise_suspect
        if beat.rr_ms is None or (is_doubtful and not with_doubtful):
            continue
        if _RR_RANGE_S[0] <= beat.rr_ms / 1000.0 <= _RR_RANGE_S[1]:
            rr_s[k] = beat.rr_ms / 1000.0
    return rr_s


def rr_evidence(rr_s: Floats) -> dict[str, float]:
    """Return the figures named in `RR_FEATURES`.

    Parameters
    ----------
    rr_s : ndarray, shape (n_beats,)
        Intervals in the order of time, seconds; NaN where one is unknown.

    References
    ----------
    Sample entropy of short series: Lake and Moorman (2011), doi:10.1152/ajpheart.00561.2010.  Pair differences and
    ectopy index: Petrenas et al. (2015), doi:10.1016/j.compbiomed.2015.01.019.  Lorenz plot: Sarkar et al. (2008),
    doi:10.1109/TBME.2007.903707.  Turning points: Dash et al. (2009), doi:10.1007/s10439-009-9740-z.
    """
    known = rr_s[np.isfinite(rr_s)]
    out = unknown(RR_FEATURES)
    out["n_intervals"] = float(len(known))
    out["evidence_s"] = float(known.sum())
    if len(known) < _FEWEST:
        return out
    usual, mean = float(np.median(known)), float(known.mean())
    low, high = np.percentile(known, [10, 90])
    spread = float(known.std())
    ordered = np.sort(known) / usual
    five = np.convolve(known, np.ones(5) / 5, mode="valid") if len(known) >= 5 else np.array([mean])
    out |= {
        "heart_rate_bpm": 60.0 / mean,
        "fastest_bpm": 60.0 / float(five.min()),
        "slowest_bpm": 60.0 / float(five.max()),
        "rr_shortest_ratio": float(ordered[0]),
        "rr_second_shortest_ratio": float(ordered[1]),
        "rr_longest_ratio": float(ordered[-1]),
        "rr_second_longest_ratio": float(ordered[-2]),
        "rr_low_ratio": float(low) / usual,
        "rr_high_ratio": float(high) / usual,
        "rr_cv_ratio": spread / mean,
        "rr_skewness": float(((known - mean) ** 3).mean()) / max(spread, 0.004) ** 3,
        "rr_entropy": _entropy(known, usual),
        "mode_count": _n_modes(known, usual),
    }
    for lag in (1, 2, 3):
        out[f"rr_autocorrelation_{lag}"] = _autocorrelation(rr_s - mean, lag)
    return out | _differences(rr_s, usual, mean) | _patterns(rr_s, usual)


def beat_evidence(beats: Sequence[Beat]) -> dict[str, float]:
    """Return the figures named in `BEAT_FEATURES`: what the detector said of each beat, taken together."""
    out = unknown(BEAT_FEATURES)
    out["n_beats"] = float(len(beats))
    if len(beats) < _FEWEST:
        return out
    out |= _with_doubtful(intervals_s(beats, with_doubtful=True))
    suspect = np.array([beat.is_noise_suspect for beat in beats])
    out["noise_suspect_share"] = float(suspect.mean())
    quality = np.array([beat.quality for beat in beats], dtype=np.float64)
    out["beat_quality_mean"], out["beat_quality_low"] = float(quality.mean()), float(np.percentile(quality, 10))
    premature = np.array([beat.is_premature for beat in beats])
    out["premature_share"] = float(premature.mean())
    out["compensatory_share"] = float(np.mean([beat.is_after_compensatory_pause for beat in beats]))
    like = _known([beat.similarity for beat in beats])
    if np.isfinite(like).sum() >= _FEWEST:
        unlike = like < 0.8
        n_known = float(np.isfinite(like).sum())
        out["unlike_share"] = float(unlike.sum()) / n_known
        out["unlike_premature_share"] = float((unlike & premature).sum()) / n_known
        out["like_premature_share"] = float((~unlike & premature & np.isfinite(like)).sum()) / n_known
        out["similarity_median"] = float(np.nanmedian(like))
        out["similarity_low"] = float(np.nanpercentile(like, 10))
    width = _known([beat.width_ms for beat in beats])
    if np.isfinite(width).sum() >= _FEWEST:
        out["width_median_ms"] = float(np.nanmedian(width))
        out["width_high_ms"] = float(np.nanpercentile(width, 90))
        out["wide_share"] = float((width > 120.0).sum()) / float(np.isfinite(width).sum())
    size = np.abs(_known([beat.amplitude_mv for beat in beats]))
    size = size[np.isfinite(size)]
    if len(size) >= _FEWEST and float(size.mean()) > 0:
        out["amplitude_cv_ratio"] = float(size.std()) / float(size.mean())
    return out


# --- parts ------------------------------------------------------------------------------------------------


def _known(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _with_doubtful(rr_s: Floats) -> dict[str, float]:
    """Return the plainest figures over all intervals, those in doubt too: where all is in doubt, the only ones."""
    known, step = rr_s[np.isfinite(rr_s)], np.abs(np.diff(rr_s))
    step = step[np.isfinite(step)]
    if len(step) < _FEWEST:
        return {}
    usual = float(np.median(known))
    return {
        "all_rmssd_ratio": float(np.sqrt((step**2).mean())) / float(known.mean()),
        "all_mad_ratio": float(np.median(step)) / usual,
        "all_pnn10pct_share": float((step > 0.1 * usual).mean()),
        "all_shortest_ratio": float(known.min()) / usual,
        "all_longest_ratio": float(known.max()) / usual,
    }


def _differences(rr_s: Floats, usual: float, mean: float) -> dict[str, float]:
    """Return how much neighbouring intervals differ, plainly, robustly, and past single ectopic beats."""
    step = np.diff(rr_s)
    known = np.abs(step[np.isfinite(step)])
    if len(known) < _FEWEST:
        return {}
    out = {
        "rmssd_ratio": float(np.sqrt((known**2).mean())) / mean,
        "mad_ratio": float(np.median(known)) / usual,
        "largest_step_ratio": float(known.max()) / usual,
        "high_step_ratio": float(np.percentile(known, 90)) / usual,
        "pnn50_share": float((known > 0.05).mean()),
        "pnn10pct_share": float((known > 0.1 * usual).mean()),
        "pnn20pct_share": float((known > 0.2 * usual).mean()),
        "sample_entropy": _sample_entropy(rr_s, usual),
    }
    pairs = rr_s[1:] + rr_s[:-1]
    across = float(np.nanstd(pairs))
    out["sd_ratio"] = float(step[np.isfinite(step)].std()) / max(across, 0.004)
    turning = step[1:] * step[:-1]
    turning = turning[np.isfinite(turning)]
    if len(turning) >= _FEWEST:
        out["turning_point_share"] = float((turning < 0).mean())
    calm = [float(np.median(known[k : k + 8])) for k in range(max(1, len(known) - 7))]
    out["calmest_mad_ratio"], out["wildest_mad_ratio"] = min(calm) / usual, max(calm) / usual
    return out | _past_ectopy(rr_s, mean) | _lorenz(step)


def _past_ectopy(rr_s: Floats, mean: float) -> dict[str, float]:
    """Return the irregularity that is left behind a median of three, and how much the median took away."""
    known = rr_s[np.isfinite(rr_s)]
    if len(known) < _FEWEST + 2:
        return {}
    middle = np.median(np.stack([known[:-2], known[1:-1], known[2:]]), axis=0)
    step = np.diff(middle)
    shares = [float((np.abs(middle[lag:] - middle[:-lag]) > 0.03).mean()) for lag in range(1, min(8, len(middle)))]
    return {
        "filtered_rmssd_ratio": float(np.sqrt((step**2).mean())) / mean,
        "pair_difference_share": float(np.mean(shares)) if shares else float("nan"),
        "ectopy_index": (float(middle.sum()) / float(known[1:-1].sum()) - 1.0) ** 2,
    }


def _lorenz(step: Floats) -> dict[str, float]:
    """Return how the pairs of successive differences lie in their plane: scattered, at the origin, or as ectopy does."""
    x, y = step[:-1], step[1:]
    is_known = np.isfinite(x) & np.isfinite(y)
    x, y = x[is_known], y[is_known]
    if len(x) < _FEWEST:
        return {}
    is_origin = (np.abs(x) < 0.08) & (np.abs(y) < 0.08)
    far_x, far_y = x[~is_origin], y[~is_origin]
    cells = np.unique(np.round(np.stack([far_x, far_y]) / 0.025), axis=1).shape[1] if len(far_x) else 0
    # A premature beat with its pause: shorter, then longer by about as much, and back.
    is_premature = (x < -0.08) & (y > 0.08)
    return {
        "lorenz_irregularity": cells / len(x),
        "lorenz_origin_share": float(is_origin.mean()),
        "lorenz_premature_share": float(is_premature.mean()),
    }


def _patterns(rr_s: Floats, usual: float) -> dict[str, float]:
    """Return the shares of intervals that look like ectopic beats and their pauses, or go to and fro."""
    before, here, after = rr_s[:-2] / usual, rr_s[1:-1] / usual, rr_s[2:] / usual
    is_known = np.isfinite(before) & np.isfinite(here) & np.isfinite(after)
    if is_known.sum() < _FEWEST:
        return {}
    before, here, after = before[is_known], here[is_known], after[is_known]
    is_short = (here < 0.87) & (here < 0.9 * before)
    is_long = (here > 1.15) & (here > 1.1 * before)
    total = here + after
    there, back = here - before, after - here
    return {
        "short_share": float(is_short.mean()),
        "long_share": float(is_long.mean()),
        "compensated_share": float((is_short & (np.abs(total - 2.0) < 0.16) & (after > 1.08)).mean()),
        "interpolated_share": float((is_short & (np.abs(total - 1.0) < 0.12)).mean()),
        "alternation_share": float(((there * back < 0) & (np.abs(there) > 0.1) & (np.abs(back) > 0.1)).mean()),
    }


def _autocorrelation(centred: Floats, lag: int) -> float:
    early, late = centred[:-lag], centred[lag:]
    is_known = np.isfinite(early) & np.isfinite(late)
    if is_known.sum() < _FEWEST:
        return float("nan")
    early, late = early[is_known], late[is_known]
    # A perfectly regular rhythm has no scatter to correlate: 4 ms is about what the sampling of R peaks leaves.
    size = float(np.sqrt((early**2).sum() * (late**2).sum()))
    return float((early * late).sum()) / max(size, len(early) * 1.6e-5)


def _entropy(known: Floats, usual: float) -> float:
    """Return Shannon's entropy of the intervals in steps of a twentieth of the usual one, nat."""
    _, counts = np.unique(np.round(known / usual * 20.0), return_counts=True)
    share = counts / counts.sum()
    return float(-(share * np.log(share)).sum())


def _n_modes(known: Floats, usual: float) -> float:
    """Return the number of lengths around which the intervals gather."""
    edges = np.arange(0.3, 2.51, 0.05)
    counts = np.histogram(known / usual, edges)[0].astype(np.float64)
    smooth = np.convolve(counts, [0.25, 0.5, 0.25], mode="same")
    peak = (smooth > np.roll(smooth, 1)) & (smooth >= np.roll(smooth, -1)) & (smooth >= 0.08 * len(known))
    return float(peak.sum())


def _sample_entropy(rr_s: Floats, usual: float) -> float:
    """Return the coefficient of sample entropy (m = 1, tolerance 30 ms, less the logarithm of the usual interval)."""
    pairs = np.stack([rr_s[:-1], rr_s[1:]], axis=1)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    n = len(pairs)
    near = np.abs(pairs[:, None, :] - pairs[None, :, :]) < 0.03
    first = (int(near[:, :, 0].sum()) - n) / 2
    both = (int((near[:, :, 0] & near[:, :, 1]).sum()) - n) / 2
    # One match more than seen keeps the logarithm finite.
    return float(np.log((first + 1.0) / (both + 1.0)) + np.log(0.06) - np.log(usual))
