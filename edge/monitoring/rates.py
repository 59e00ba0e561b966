"""Rules on the beats alone: no beat, too few, too many, a pause.

Definitions of the PhysioNet/CinC Challenge 2015 [1]_, which follow ANSI/AAMI EC13: asystole is no QRS complex for
4 s, extreme bradycardia less than 40/min over 5 beats, extreme tachycardia more than 140/min over 17 beats.

References
----------
.. [1] Clifford et al. (2015), doi:10.1109/CIC.2015.7408639
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import median

from edge.messages import Beat, Condition, Priority
from edge.monitoring.claims import Claim
from edge.monitoring.usable_time import UsableTime

_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000
_T_WAVE_NS = 500_000_000
"""A T wave ends this long after its R peak: the usual upper limit of QT, 0.45-0.46 s, rounded up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSettings:
    """When the beats are too few or too many."""

    asystole_s: float = 4.0
    """Usable signal without a beat (CinC 2015)."""
    first_beat_s: float = 10.0
    """The same before the first beat of a session: a detector needs to learn what a beat looks like.  Own choice."""
    silent_ratio: float = 0.5
    """A second is silent when its largest wave is below this share of what is usual with beats (own choice)."""
    silent_mv: float = 0.15
    """A smaller wave is silent in any case: the least that a monitor may count (IEC 60601-2-27)."""
    latency_s: float = 1.0
    """A beat is known at the latest this long after it happened; absence is judged this long ago.  Own choice: the
    beat detector holds a beat back for 0.3 s, filters and blocks for about as long."""
    n_recovery_beats: int = 5
    """Beats that end an asystole (project default)."""
    bradycardia_bpm: float = 40.0
    """Extreme bradycardia over 5 beats (CinC 2015)."""
    tachycardia_bpm: float = 140.0
    """Extreme tachycardia over 17 beats (CinC 2015)."""
    inside_s: float = 10.0
    """How long the rate must be back before an extreme rate is over (project default)."""
    pause_s: float = 3.0
    """Interval between two beats that is a pause: 3 s, the length at which ACC/AHA/HRS 2018 call a sinus pause
    significant, doi:10.1016/j.jacc.2018.10.044."""
    pause_off_s: float = 10.0
    """How long a pause is shown after it (own choice)."""
    max_interruption_s: float = 10.0
    """Intervals further apart than this are not of one episode (own choice)."""


class AsystoleRule:
    """No beat while the ECG is usable.

    Time in an unusable signal does not count and a detached lead never raises it; as soon as the signal is usable
    again the clock goes on.  A beat found in a second that was judged unusable does not stop the clock (it may be
    noise), one in a usable second does.  Only beats end it.  A second in which something as large as a beat moves although
    no beat was found may be motion: it counts half, so that an asystole under artefacts is late but not lost.
    """

    def __init__(self, settings: RateSettings, usable: UsableTime) -> None:
        self._settings = settings
        self._usable = usable
        self._claim = Claim("asystole", Priority.HIGH, is_latching=True)
        self._last: Beat | None = None
        self._suspects: deque[int] = deque(maxlen=16)
        self._largest_mv: deque[float] = deque(maxlen=30)
        self._restless_ns: deque[int] = deque(maxlen=64)
        self._n_beats = 0
        self._first: Beat | None = None

    @property
    def is_active(self) -> bool:
        """Whether there is an asystole."""
        return self._claim.is_active

    @property
    def last_beat(self) -> Beat | None:
        """The last certain beat; None before the first."""
        return self._last

    @property
    def first_beat(self) -> Beat | None:
        """The beat with which the heart began again, once an asystole is over."""
        return self._first

    def second(self, at_ns: int, largest_mv: float) -> None:
        """Note the largest wave of the usable second that ends at `at_ns`; call it before the tick of the next one."""
        usual_mv = median(self._largest_mv) if self._largest_mv else math.inf
        if largest_mv >= max(self._settings.silent_mv, self._settings.silent_ratio * usual_mv):
            self._restless_ns.append(at_ns)
        if not self._claim.is_active:
            self._largest_mv.append(largest_mv)

    def beat(self, beat: Beat, rr_ms: float | None) -> list[Condition]:
        """Return the asystole that `beat` ended before a tick could tell, or the end of one that it is the last for.

        Parameters
        ----------
        beat : Beat
            Any beat, a noise suspect too.
        rr_ms : float or None
            Interval to the beat before it, where nothing is missing in it.
        """
        if self._last is not None and beat.at_ns <= self._last.at_ns:
            return []
        if beat.is_noise_suspect:
            self._suspects.append(beat.at_ns)
            return []
        outputs: list[Condition] = []
        if rr_ms is not None:
            since_ns = beat.at_ns - round(rr_ms * _NS_PER_MS)
            silent_s = rr_ms / 1000 - self._restless_s(since_ns, beat.at_ns) / 2
            if silent_s >= self._settings.asystole_s:
                outputs = self._begin(beat.at_ns, since_ns, silent_s)
        self._last = beat
        if not self._claim.is_active:
            return outputs
        if self._n_beats == 0:
            self._first = beat
        self._n_beats += 1
        if self._n_beats < self._settings.n_recovery_beats:
            return outputs
        self._n_beats = 0
        return self._claim.end(beat.at_ns, f"Heart beats again: {self._settings.n_recovery_beats} beats seen.")

    def time_passed(self, at_ns: int) -> list[Condition]:
        """Return the asystole that has become certain by `at_ns`."""
        last_ns = self._last_certain_ns()
        since_ns = self._usable.begins_at_ns if last_ns is None else last_ns
        if since_ns is None:
            return []
        until_ns = at_ns - round(self._settings.latency_s * _NS_PER_S)
        silent_s = self._usable.between(since_ns, until_ns) / _NS_PER_S
        if last_ns is not None:
            silent_s -= self._restless_s(since_ns, until_ns) / 2
        needed_s = self._settings.first_beat_s if last_ns is None else self._settings.asystole_s
        return self._begin(at_ns, since_ns, silent_s) if silent_s >= needed_s else []

    def _begin(self, at_ns: int, since_ns: int, silent_s: float) -> list[Condition]:
        self._n_beats = 0
        return self._claim.begin(
            at_ns,
            since_ns,
            f"No heart beat for {silent_s:.1f} s while the ECG is readable.",
            rule="no QRS complex while the ECG is usable",
            silent_s=round(silent_s, 2),
            limit_s=self._settings.asystole_s,
        )

    def _restless_s(self, from_ns: int, to_ns: int) -> int:
        """Return how many seconds between the T wave of a beat and an instant were not silent."""
        first_ns = from_ns + _T_WAVE_NS + _NS_PER_S
        return sum(first_ns <= at_ns <= to_ns for at_ns in self._restless_ns)

    def _last_certain_ns(self) -> int | None:
        suspects = [at_ns for at_ns in self._suspects if self._usable.covers(at_ns)]
        return max([*suspects, *([] if self._last is None else [self._last.at_ns])], default=None)


class RateRules:
    """Extreme bradycardia, extreme tachycardia and pauses, from intervals between certain beats."""

    def __init__(self, settings: RateSettings, usable: UsableTime) -> None:
        self._settings = settings
        self._usable = usable
        self._slow = Claim("extreme-bradycardia", Priority.HIGH, is_latching=True)
        self._fast = Claim("extreme-tachycardia", Priority.HIGH, is_latching=True)
        self._pause = Claim("pause", Priority.MEDIUM)
        self._beats: deque[Beat] = deque(maxlen=17)
        self._rr_ms: deque[float] = deque(maxlen=16)
        self._slow_limit_ms = 60_000 / settings.bradycardia_bpm
        self._fast_limit_ms = 60_000 / settings.tachycardia_bpm
        self._not_slow_since_ns: int | None = None
        self._not_fast_since_ns: int | None = None
        self._pause_at_ns: int | None = None

    def beat(self, beat: Beat, rr_ms: float | None) -> list[Condition]:
        """Return what the interval before `beat` began or ended.

        Parameters
        ----------
        beat : Beat
            A beat that is no noise suspect.
        rr_ms : float or None
            Interval to the beat before it, where both are certain and the signal between them was usable.
        """
        interruption_ns = self._settings.max_interruption_s * _NS_PER_S
        if self._beats and beat.at_ns - self._beats[-1].at_ns > interruption_ns:
            self._rr_ms.clear()
            self._not_slow_since_ns = self._not_fast_since_ns = None
        self._beats.append(beat)
        if rr_ms is None or rr_ms >= self._settings.asystole_s * 1000:
            return []  # that long an interval is an asystole, not a rate
        self._rr_ms.append(rr_ms)
        return [*self._slow_rate(beat), *self._fast_rate(beat), *self._long_interval(beat, rr_ms)]

    def time_passed(self, at_ns: int) -> list[Condition]:
        """Return the bradycardia that is certain before its next beat, and the end of a pause."""
        outputs = []
        if self._pause_at_ns is not None and at_ns - self._pause_at_ns >= self._settings.pause_off_s * _NS_PER_S:
            outputs += self._pause.end(at_ns, f"No further pause for {self._settings.pause_off_s:.0f} s.")
            self._pause_at_ns = None
        if self._beats and len(self._rr_ms) >= 3 and not self._slow.is_active:
            last_ns = self._beats[-1].at_ns
            until_ns = at_ns - round(self._settings.latency_s * _NS_PER_S)
            elapsed_ms = self._usable.between(last_ns, until_ns) / _NS_PER_MS
            if self._usable.is_whole(last_ns, until_ns):
                outputs += self._begin_slow(at_ns, [*list(self._rr_ms)[-3:], elapsed_ms])
        return outputs

    def _slow_rate(self, beat: Beat) -> list[Condition]:
        if len(self._rr_ms) < 4:
            return []
        recent = list(self._rr_ms)[-4:]
        if not self._slow.is_active:
            return self._begin_slow(beat.at_ns, recent)
        if sum(recent) / 4 > self._slow_limit_ms:
            self._not_slow_since_ns = None
            return []
        if self._not_slow_since_ns is None:
            self._not_slow_since_ns = beat.at_ns
        if beat.at_ns - self._not_slow_since_ns < self._settings.inside_s * _NS_PER_S:
            return []
        self._not_slow_since_ns = None
        return self._slow.end(beat.at_ns, _back_sentence(recent, f"not below {self._settings.bradycardia_bpm:g}/min"))

    def _begin_slow(self, at_ns: int, recent_ms: list[float]) -> list[Condition]:
        # The median besides the mean: one long pause among normal beats is a pause, not a slow heart.
        if not (sum(recent_ms) / 4 > self._slow_limit_ms and median(recent_ms) > self._slow_limit_ms):
            return []
        self._not_slow_since_ns = None
        rate_bpm = 4 * 60_000 / sum(recent_ms)
        return self._slow.begin(
            at_ns,
            self._onset_ns(4, at_ns),
            f"Heart rate {rate_bpm:.1f}/min over 5 beats: below {self._settings.bradycardia_bpm:g}/min.",
            rule="mean and median of 4 intervals",
            value=round(rate_bpm, 1),
            unit="/min",
            limit=self._settings.bradycardia_bpm,
            rr_ms=[round(rr) for rr in recent_ms],
        )

    def _fast_rate(self, beat: Beat) -> list[Condition]:
        if self._fast.is_active:
            return self._end_fast(beat)
        if len(self._rr_ms) < 16 or sum(self._rr_ms) / 16 >= self._fast_limit_ms:
            return []
        self._not_fast_since_ns = None
        rate_bpm = 16 * 60_000 / sum(self._rr_ms)
        return self._fast.begin(
            beat.at_ns,
            self._onset_ns(16, beat.at_ns),
            f"Heart rate {rate_bpm:.1f}/min over 17 beats: above {self._settings.tachycardia_bpm:g}/min.",
            rule="mean of 16 intervals",
            value=round(rate_bpm, 1),
            unit="/min",
            limit=self._settings.tachycardia_bpm,
        )

    def _end_fast(self, beat: Beat) -> list[Condition]:
        recent = list(self._rr_ms)[-4:]
        if sum(recent) / len(recent) < self._fast_limit_ms:
            self._not_fast_since_ns = None
            return []
        if self._not_fast_since_ns is None:
            self._not_fast_since_ns = beat.at_ns
        if beat.at_ns - self._not_fast_since_ns < self._settings.inside_s * _NS_PER_S:
            return []
        self._not_fast_since_ns = None
        return self._fast.end(beat.at_ns, _back_sentence(recent, f"not above {self._settings.tachycardia_bpm:g}/min"))

    def _long_interval(self, beat: Beat, rr_ms: float) -> list[Condition]:
        if rr_ms <= self._settings.pause_s * 1000:
            return []
        self._pause_at_ns = beat.at_ns
        return self._pause.begin(
            beat.at_ns,
            beat.at_ns - round(rr_ms * _NS_PER_MS),
            f"Pause of {rr_ms / 1000:.1f} s between two heart beats.",
            rule="interval between two beats",
            value=round(rr_ms / 1000, 2),
            unit="s",
            limit=self._settings.pause_s,
        )

    def _onset_ns(self, n_intervals: int, at_ns: int) -> int:
        """Return the instant of the beat with which the last `n_intervals` began."""
        beats = list(self._beats)
        return beats[-min(n_intervals + 1, len(beats))].at_ns if beats else at_ns


def _back_sentence(recent_ms: list[float], what: str) -> str:
    return f"Heart rate {60_000 * len(recent_ms) / sum(recent_ms):.0f}/min: {what} for 10 s."
