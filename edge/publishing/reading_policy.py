"""Which vital signs are published now: often enough that a shown value never goes stale, seldom enough not to flood.

Fed once a second by `features.vitals`; what it returns goes to ``reading/{measure}``.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.messages import Measurement, Vitals

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingPolicySettings:
    """How often one measure is published."""

    interval_s: float = 5.0
    """A steady value is repeated this often: three chances within the 15 s of the contract's ``valid_until``."""
    changed_ratio: float = 0.1
    """A value that differs this much from the last one published goes at once (own choice)."""

    def __post_init__(self) -> None:
        if not (self.interval_s > 0 and self.changed_ratio > 0):
            raise ValueError(f"expected interval_s > 0 and changed_ratio > 0, got {self}")


@dataclass(frozen=True, slots=True)
class DueReading:
    """One value, or its absence, that is due."""

    measure: str
    measurement: Measurement
    at_ns: int


class ReadingPolicy:
    """Chooses among the vital signs of one person."""

    def __init__(self, settings: ReadingPolicySettings = ReadingPolicySettings()) -> None:
        self._settings = settings
        self._last: dict[str, DueReading] = {}

    def push(self, item: Vitals) -> list[DueReading]:
        """Return what is due: a value that appeared, vanished, changed its reason, moved far, or was last told long ago.

        A measure that is no longer mentioned at all is told once more, as absent: nobody may go on showing it.
        """
        due = [
            DueReading(measure, measurement, item.at_ns)
            for measure, measurement in item.measurements.items()
            if self._is_due(measure, measurement, item.at_ns)
        ]
        for measure in self._last.keys() - item.measurements.keys():
            gone = self._last.pop(measure)
            if gone.measurement.value is not None:
                absent = Measurement(value=None, unit=gone.measurement.unit, absent="no-source")
                due.append(DueReading(measure, absent, item.at_ns))
        self._last.update({each.measure: each for each in due if each.measure in item.measurements})
        return due

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape
        """Forget what was told: everything is due again."""
        self._last.clear()

    def _is_due(self, measure: str, now: Measurement, at_ns: int) -> bool:
        last = self._last.get(measure)
        if last is None or at_ns - last.at_ns >= self._settings.interval_s * _NS_PER_S:
            return True
        before = last.measurement
        if now.value is None or before.value is None:
            return (now.value is None) != (before.value is None) or now.absent != before.absent
        return abs(now.value - before.value) >= self._settings.changed_ratio * abs(before.value)
