"""Verdicts on one stream's signal -> whether anything can be said from it now, and how much of the last minute counts.

Shared by the ECG's vital signs and by those of every other stream, so that *usable* means the same everywhere.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from edge.messages import Quality, SensorStatus

_NS_PER_S = 1_000_000_000
OFF_CONDITIONS = frozenset({"lead-off", "probe-off", "sensor-off"})
"""What a device reports when its electrodes or its light are not on the patient."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SignalStateSettings:
    """When a stream counts as usable."""

    signal_age_s: float = 2.5
    """Older verdicts on the signal count as no signal: they come every second, at most a block late."""
    recent_s: float = 5.0
    """The share of usable seconds is taken over this time (own choice)."""
    min_recent_ratio: float = 0.5
    """With less of it usable nothing is shown (own choice)."""
    coverage_s: float = 60.0
    """Time over which coverage is stated."""


class SignalState:
    """What the verdicts on one stream amount to.

    Parameters
    ----------
    settings : SignalStateSettings
        When a stream counts as usable.
    """

    def __init__(self, settings: SignalStateSettings) -> None:
        self._settings = settings
        self._qualities: deque[Quality] = deque()
        self._first_at_ns: int | None = None
        self._usable_since_ns: int | None = None
        self._off: dict[str, int] = {}

    @property
    def latest(self) -> Quality | None:
        """The last verdict; None before the first."""
        return self._qualities[-1] if self._qualities else None

    @property
    def usable_since_ns(self) -> int | None:
        """Since when every second was usable; None while the last one was not."""
        return self._usable_since_ns

    def add(self, quality: Quality) -> None:
        """Keep the verdict on one second."""
        if self._first_at_ns is None:
            self._first_at_ns = quality.at_ns - _NS_PER_S
        if not quality.is_usable:
            self._usable_since_ns = None
        elif self._usable_since_ns is None or quality.at_ns - self._qualities[-1].at_ns > 1.5 * _NS_PER_S:
            self._usable_since_ns = quality.at_ns - _NS_PER_S
        self._qualities.append(quality)
        while self._qualities[0].at_ns < quality.at_ns - round(self._settings.coverage_s * _NS_PER_S) - _NS_PER_S:
            self._qualities.popleft()

    def note(self, status: SensorStatus) -> None:
        """Keep what the device says of its electrodes or its probe; anything else is ignored."""
        if status.condition not in OFF_CONDITIONS:
            return
        if status.is_active:
            self._off.setdefault(status.condition, status.at_ns)
        else:
            self._off.pop(status.condition, None)

    def is_doubted(self, at_ns: int) -> bool:
        """Return whether the second of `at_ns` has already been called unusable."""
        for quality in reversed(self._qualities):
            if quality.at_ns < at_ns:
                break
            if not quality.is_usable and at_ns > quality.at_ns - _NS_PER_S:
                return True
        return False

    def absent(self, at_ns: int) -> str | None:
        """Return why nothing can be said from this stream now; None when something can.

        One unusable second among good ones does not withhold anything.
        """
        if self._off:
            return min(self._off, key=lambda condition: (self._off[condition], condition))
        if not self._is_fresh(at_ns):
            return "no-signal"
        latest = list(self._qualities)[-2:]
        is_enough = self._usable_ratio(at_ns, self._settings.recent_s) >= self._settings.min_recent_ratio
        if is_enough and any(quality.is_usable for quality in latest):
            return None
        unusable = next((quality for quality in reversed(self._qualities) if not quality.is_usable), None)
        return "no-signal" if unusable is None else (*unusable.reasons, "poor-signal")[0]

    def quality(self, at_ns: int) -> float | None:
        """Return the index of the last second; None where that is too long ago."""
        return self._qualities[-1].index if self._is_fresh(at_ns) else None

    def reasons(self, at_ns: int) -> tuple[str, ...]:
        """Return what is wrong with the signal now, the reason for withholding first; empty when nothing is."""
        absent = self.absent(at_ns)
        if not self._is_fresh(at_ns):
            return (absent,) if absent else ()
        named = self._qualities[-1].reasons
        return named if absent is None or absent in named else (absent, *named)

    def coverage_pct(self, at_ns: int) -> float:
        """Return the share of the last minute, or of the time since the start, that was usable."""
        if self._first_at_ns is None:
            return 0.0
        elapsed_s = (at_ns - self._first_at_ns) / _NS_PER_S
        return 100.0 * self._usable_ratio(at_ns, max(1.0, min(self._settings.coverage_s, elapsed_s)))

    def _is_fresh(self, at_ns: int) -> bool:
        age_ns = round(self._settings.signal_age_s * _NS_PER_S)
        return bool(self._qualities) and at_ns - self._qualities[-1].at_ns <= age_ns

    def _usable_ratio(self, at_ns: int, span_s: float) -> float:
        """Return the share of the last `span_s` seconds, up to the latest verdict, that was usable."""
        if not self._qualities:
            return 0.0
        # The verdict on the running second is still to come: that is no loss.
        until_ns = max(self._qualities[-1].at_ns, at_ns - _NS_PER_S)
        from_ns = until_ns - round(span_s * _NS_PER_S)
        n_usable = sum(1 for quality in self._qualities if quality.is_usable and quality.at_ns > from_ns)
        return min(1.0, n_usable / max(1.0, round(span_s)))
