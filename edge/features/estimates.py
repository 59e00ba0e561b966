"""What the stages computed from samples -> one measurement per measure: the most direct way that has a value.

Several stages may find the same measure: a pulse rate comes from counted pulses or, when the wrist moves, from a
spectrum.  Nothing is averaged: a number stands for one way of finding it, and says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge.messages import Estimate, Measurement

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class EstimatesSettings:
    """Which way of finding a value is taken."""

    direct_first: tuple[str, ...] = ("pulses", "calibrated", "fusion")
    """Methods in order of preference, by the first part of their name; the others follow.  Counted pulses are beat by
    beat, a spectrum is an average over 8 s."""
    inferred: tuple[str, ...] = ("respiratory_rate_bpm",)
    """Measures that are shown but not alarmed on unless `witness` is part of the method: the best of 314 algorithms that
    take breathing from an ECG scatter by 4.7 breaths a minute (Charlton 2016, doi:10.1088/0967-3334/37/4/610), while the
    lower alarm limit lies 4 below a normal rate."""
    witness: str = "impedance"
    """The way of finding it that sees the chest move."""
    switch_margin: float = 0.2
    """Another source of the same method is taken when its quality is this much better (own choice)."""


class Estimates:
    """The latest estimate of every measure, stream and method.

    Parameters
    ----------
    settings : EstimatesSettings
        Which way of finding a value is taken.
    """

    def __init__(self, settings: EstimatesSettings = EstimatesSettings()) -> None:
        self._settings = settings
        self._latest: dict[tuple[str, str, str, str], Estimate] = {}
        self._in_use: dict[str, tuple[str, str, str, str]] = {}

    def add(self, estimate: Estimate) -> None:
        """Keep `estimate` unless a newer one of the same stream and method is known."""
        # The sources of a fusion change from second to second; it is one way nevertheless.
        key = (estimate.measure, estimate.sensor, estimate.stream, estimate.method.partition(":")[0])
        before = self._latest.get(key)
        if before is None or estimate.at_ns >= before.at_ns:
            self._latest[key] = estimate

    def measurements(self, at_ns: int) -> Mapping[str, Measurement]:
        """Return what may be shown at `at_ns`, by measure."""
        out: dict[str, Measurement] = {}
        for measure in dict.fromkeys(key[0] for key in self._latest):
            key = self._choose(measure, at_ns)
            self._in_use[measure] = key
            estimate = self._latest[key]
            absent = _absent(estimate, at_ns)
            out[measure] = Measurement(
                value=None if absent is not None else estimate.value,
                unit=estimate.unit,
                absent=absent,
                quality=None if absent is not None else estimate.quality,
                source=f"{estimate.sensor}/{estimate.stream}",
                method=estimate.method,
                is_alarmed=measure not in self._settings.inferred or self._settings.witness in estimate.method,
            )
        return out

    def _choose(self, measure: str, at_ns: int) -> tuple[str, str, str, str]:
        keys = [key for key in self._latest if key[0] == measure]
        valued = [key for key in keys if _absent(self._latest[key], at_ns) is None]
        in_use = self._in_use.get(measure)
        if not valued:  # the reason of the way that was followed is the one to give
            return in_use if in_use is not None else min(keys, key=self._rank)

        def order(key: tuple[str, str, str, str]) -> tuple[int, float, tuple[str, str, str, str]]:
            margin = self._settings.switch_margin if key == in_use else 0.0
            return self._rank(key), -(self._latest[key].quality + margin), key

        return min(valued, key=order)

    def _rank(self, key: tuple[str, str, str, str]) -> int:
        first = self._settings.direct_first
        return first.index(key[3]) if key[3] in first else len(first)


def _absent(estimate: Estimate, at_ns: int) -> str | None:
    """Return why the estimate may not be shown at `at_ns`; None when it may."""
    if at_ns - estimate.at_ns > estimate.valid_for_s * _NS_PER_S:
        return "stale"
    if estimate.value is None:
        return estimate.absent or "no-value"
    return estimate.absent
