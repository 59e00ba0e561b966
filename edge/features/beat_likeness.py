"""One beat against the template of the patient's usual beat, wave by wave."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.features.beat_forms import slope_spread

Curve = NDArray[np.float64]

_LEAST_NORM = 1e-9
_MS = 1000.0

NAMES = (
    "qrs_likeness",
    "p_likeness",
    "beat_likeness",
    "qrs_difference",
    "p_difference",
    "t_difference",
    "qrs_swing_ratio",
    "qrs_area_ratio",
    "qrs_spread_ms",
    "qrs_spread_ratio",
    "t_level_difference",
    "p_swing_ratio",
)
"""What `compare` returns, in this order; NaN is unknown."""


@dataclass(frozen=True, slots=True)
class Waves:
    """Where the waves lie in a curve, in samples."""

    p: slice
    qrs: slice
    t: slice
    rate_hz: float


def compare(curve: Curve, template: Curve, waves: Waves) -> dict[str, float]:
    """Return how `curve` differs from `template`; both of one length, aligned, in one unit."""
    level = float(np.median(template))
    beat = curve - float(np.median(curve))
    usual = template - level
    scale = max(float(np.ptp(usual[waves.qrs])), _LEAST_NORM)
    qrs, usual_qrs = beat[waves.qrs], usual[waves.qrs]
    p, usual_p = beat[waves.p], usual[waves.p]
    t, usual_t = beat[waves.t], usual[waves.t]
    spread, usual_spread = _MS * slope_spread(qrs) / waves.rate_hz, _MS * slope_spread(usual_qrs) / waves.rate_hz
    return {
        "qrs_likeness": _correlation(qrs, usual_qrs),
        "p_likeness": _correlation(p, usual_p),
        "beat_likeness": _correlation(beat, usual),
        "qrs_difference": _rms(qrs - usual_qrs) / scale,
        "p_difference": _rms((p - p.mean()) - (usual_p - usual_p.mean())) / scale,
        "t_difference": _rms((t - t.mean()) - (usual_t - usual_t.mean())) / scale,
        "qrs_swing_ratio": float(np.ptp(qrs)) / scale,
        "qrs_area_ratio": float(np.abs(qrs).sum()) / max(float(np.abs(usual_qrs).sum()), _LEAST_NORM),
        "qrs_spread_ms": spread,
        "qrs_spread_ratio": spread / max(usual_spread, 1.0),
        "t_level_difference": float(t.mean() - usual_t.mean()) / scale,
        "p_swing_ratio": float(np.ptp(p)) / max(float(np.ptp(usual_p)), _LEAST_NORM),
    }


def _correlation(a: Curve, b: Curve) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt(float(a.dot(a)) * float(b.dot(b)))
    return float(a.dot(b)) / norm if norm > _LEAST_NORM else 0.0


def _rms(values: Curve) -> float:
    return math.sqrt(float(values.dot(values)) / len(values))
