"""Which of the once-a-second vital signs are worth a message.

At one message a second and measure, 600 bytes each, a bed would send 50 MB a day per measure.  A receiver needs
less: a number whose age it knows, a change at once when it matters, and at once that there is no number any more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from edge.messages import Measurement, Vitals
from edge.publishing.topics import measure_segment

_NS_PER_S = 1_000_000_000


def _slow_measures() -> frozenset[str]:
    variability = ("rmssd", "rmssd-5min", "sdnn", "sdnn-1min", "pnn50", "pnn50-1min")
    occasional = ("body-mass", "height", "bmi", "glucose")
    return frozenset({*variability, *occasional, "pr", "qrs", "qt", "qtc", "pulse-transit"})


def _default_steps() -> Mapping[str, float]:
    return MappingProxyType({"body-temperature": 0.1, "perfusion-index": 0.1})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingPolicySettings:
    """When a vital sign is published."""

    shortest_s: float = 1.0
    """Never more often than this, whatever happens, except when a value disappears."""
    calm_s: float = 5.0
    """A small change waits until this long after the last message."""
    longest_s: float = 10.0
    """An unchanged value, or absence, is repeated after this: before ``valid_until`` (15 s, contract.md §4) passes."""
    jump_ratio: float = 0.1
    """A change by more than this share of the last value does not wait for `calm_s`."""
    step: Mapping[str, float] = field(default_factory=_default_steps)
    """Smallest change worth a message, by topic segment of the measure, in its unit; 1 for all others: what a monitor shows."""

    valid_for_s: float = 15.0
    """How long a published value may be used (contract.md §4, the example's ``valid_until``)."""
    slow: frozenset[str] = field(default_factory=_slow_measures)
    """Topic segments of measures taken over a minute or more, or once in hours: nobody acts on their last second."""
    slow_ratio: float = 6.0
    """All times are this much longer for them: repeated once a minute, valid for one and a half."""

    def __post_init__(self) -> None:
        if not 0 < self.shortest_s <= self.calm_s <= self.longest_s:
            raise ValueError("expected 0 < shortest_s <= calm_s <= longest_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One vital sign to be published."""

    measure: str
    measurement: Measurement
    at_ns: int
    valid_for_s: float


class ReadingPolicy:
    """Thins the vital signs of one subject.

    Parameters
    ----------
    settings : ReadingPolicySettings
        Intervals and steps.
    """

    def __init__(self, settings: ReadingPolicySettings | None = None) -> None:
        self._settings = settings or ReadingPolicySettings()
        self._last: dict[str, Publication] = {}

    def push(self, vitals: Vitals) -> list[Publication]:
        """Return what of `vitals` is to be published now, in the order of its measures."""
        due = []
        for measure, measurement in vitals.measurements.items():
            publication = Publication(
                measure=measure,
                measurement=measurement,
                at_ns=vitals.at_ns,
                valid_for_s=self._settings.valid_for_s * self._slowness(measure),
            )
            last = self._last.get(measure)
            if last is None or self._is_due(last, publication):
                self._last[measure] = publication
                due.append(publication)
        return due

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage's shape; nothing is counted here
        """Forget what was published: everything is published again."""
        self._last.clear()

    def _is_due(self, last: Publication, new: Publication) -> bool:
        settings = self._settings
        elapsed_s = (new.at_ns - last.at_ns) / _NS_PER_S / self._slowness(new.measure)
        if elapsed_s < 0 or elapsed_s >= settings.longest_s:
            return True
        before, after = last.measurement.value, new.measurement.value
        if after is None and before is not None:
            return True  # a number that is no longer true must not stand
        if after is None or before is None:
            is_changed = after is not None or new.measurement.absent != last.measurement.absent
            return is_changed and elapsed_s >= settings.shortest_s
        change = abs(after - before)
        if not math.isfinite(change):
            return elapsed_s >= settings.shortest_s
        if change > settings.jump_ratio * abs(before) and elapsed_s >= settings.shortest_s:
            return True
        return change >= settings.step.get(measure_segment(new.measure), 1.0) and elapsed_s >= settings.calm_s

    def _slowness(self, measure: str) -> float:
        return self._settings.slow_ratio if measure_segment(measure) in self._settings.slow else 1.0
