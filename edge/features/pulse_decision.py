"""Upstrokes -> pulses: which rises of the photoplethysmogram are heart beats, and which dicrotic waves, ripple or wander.

Everything is relative to the pulses before: an upstroke counts when it is strong enough for the time that has passed
since the last pulse.  Dicrotic waves come early and are weak; a pulse after a change of contact is weak but due.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

from edge.features.pulse_upstrokes import Upstroke

# Strength of the typical pulse: the third strongest of the last eight, so that neither two artefacts nor five dicrotic
# waves that were taken for pulses move it.
_N_STRENGTHS = 8
_N_STRONGER = 2
_N_INTERVALS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class PulseDecisionSettings:
    """Which upstrokes are pulses.  Shares are of the typical pulse's strength or interval."""

    shortest_s: float = 0.23
    """Pulses are at least this far apart: 240 /min with room for the jitter of a sample."""
    learning_s: float = 3.0
    """The first pulses are named after this time: with 30 /min it contains one for certain."""
    early_until: float = 0.6
    """Before this share of the typical interval an upstroke is early: dicrotic waves lie at 0.3 to 0.5."""
    early_s: float = 0.45
    """Later than this after a pulse an upstroke is no dicrotic wave, however long the interval usually is."""
    early_min: float = 0.6
    """Least strength of an early pulse."""
    usual_min: float = 0.45
    """Least strength of a pulse in its time."""
    late_from: float = 1.5
    """From this share of the typical interval on a pulse is overdue, and the strongest upstroke passed over is taken."""
    late_min: float = 0.2
    """Least strength of an overdue pulse."""
    forget_s: float = 2.5
    """After this time without a pulse (and two typical intervals) its strength is learned anew."""


@dataclass(slots=True)
class _Typical:
    strengths: deque[float]
    intervals: deque[int]

    def strength(self) -> float:
        ordered = sorted(self.strengths)
        return ordered[max(0, len(ordered) - 1 - min(_N_STRONGER, len(ordered) // 2))]

    def interval(self) -> float | None:
        return median(self.intervals) if len(self.intervals) >= 2 else None


class PulseDecision:
    """Choose the pulses among the upstrokes of one stretch.

    Parameters
    ----------
    settings : PulseDecisionSettings
        Which upstrokes are pulses.
    rate_hz : float
        Sampling rate.
    """

    def __init__(self, settings: PulseDecisionSettings, rate_hz: float) -> None:
        self._settings = settings
        self._rate_hz = rate_hz
        self._typical = _Typical(deque(maxlen=_N_STRENGTHS), deque(maxlen=_N_INTERVALS))
        self._passed_over: list[Upstroke] = []
        self._begin: int | None = None
        self._last: Upstroke | None = None

    def decide(self, upstroke: Upstroke) -> list[Upstroke]:
        """Return the pulses that `upstroke` decided: often itself, sometimes one passed over before it."""
        if self._begin is None:
            self._begin = upstroke.begin
        if not self._typical.strengths:
            self._passed_over.append(upstroke)
            is_known = upstroke.peak - self._begin >= self._settings.learning_s * self._rate_hz
            return self._learn() if is_known else []
        out = self._judge(upstroke)
        since = self._begin if self._last is None else self._last.steepest
        if not out and upstroke.peak - since > self._patience():
            self._typical.strengths.clear()
            out = self._learn()
        return out

    def flush(self) -> list[Upstroke]:
        """Return the pulses of a stretch that ended while they were being learned."""
        return [] if self._typical.strengths else self._learn()

    def _patience(self) -> float:
        interval = self._typical.interval()
        return max(self._settings.forget_s * self._rate_hz, 0.0 if interval is None else 2.0 * interval)

    def _learn(self) -> list[Upstroke]:
        """Take the strongest upstrokes so far as typical, and judge all of them by it."""
        upstrokes, self._passed_over = self._passed_over, []
        strengths = [upstroke.strength for upstroke in upstrokes]
        strongest = max(strengths, default=0.0)
        if not strongest > 0:
            self._begin = None
            return []
        typical = median(strength for strength in strengths if strength >= 0.5 * strongest)
        self._typical.strengths.append(typical)
        out: list[Upstroke] = []
        for upstroke in upstrokes:
            out += self._judge(upstroke)
        return out

    def _judge(self, upstroke: Upstroke) -> list[Upstroke]:
        """Return the pulses that `upstroke` decides: itself, or one passed over before it."""
        settings = self._settings
        out: list[Upstroke] = []
        typical = self._typical.strength()
        interval = self._typical.interval()
        passed = self._overdue(upstroke, interval, typical)
        if passed is not None:
            out.append(self._accept(passed))
        share = self._share(upstroke, interval)
        least = settings.usual_min
        if self._is_early(upstroke, share):
            least = settings.early_min
        elif share is not None and share > settings.late_from:
            least = settings.late_min
        is_apart = self._last is None or (
            upstroke.steepest - self._last.steepest >= settings.shortest_s * self._rate_hz
        )
        if is_apart and upstroke.strength >= least * typical:
            out.append(self._accept(upstroke))
        else:
            self._passed_over.append(upstroke)
        return out

    def _is_early(self, upstroke: Upstroke, share: float | None) -> bool:
        """Say whether `upstroke` comes when dicrotic waves do."""
        if self._last is None or share is None:
            return False
        return (
            share < self._settings.early_until
            and upstroke.steepest - self._last.steepest < self._settings.early_s * self._rate_hz
        )

    def _share(self, upstroke: Upstroke, interval: float | None) -> float | None:
        """Return the time since the last pulse as a share of the typical interval."""
        if self._last is None or interval is None:
            return None
        return (upstroke.steepest - self._last.steepest) / interval

    def _overdue(self, upstroke: Upstroke, interval: float | None, typical: float) -> Upstroke | None:
        """Return the strongest upstroke passed over in a pause that `upstroke` ends."""
        share = self._share(upstroke, interval)
        if share is None or interval is None or share <= self._settings.late_from:
            return None
        passed = [
            other
            for other in self._passed_over
            if (self._share(other, interval) or 0.0) >= self._settings.early_until
            and upstroke.steepest - other.steepest >= self._settings.early_until * interval
            and other.strength >= self._settings.late_min * typical
        ]
        return max(passed, key=lambda other: other.strength, default=None)

    def _accept(self, upstroke: Upstroke) -> Upstroke:
        if self._last is not None:
            interval = upstroke.steepest - self._last.steepest
            if interval <= self._settings.forget_s * self._rate_hz:
                self._typical.intervals.append(interval)
        self._typical.strengths.append(upstroke.strength)
        self._last = upstroke
        self._passed_over = [other for other in self._passed_over if other.steepest > upstroke.steepest]
        return upstroke
