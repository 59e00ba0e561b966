"""Apnoea: no breath while the respiration signal is readable.

The same thoughts as for an asystole (`edge.monitoring.rates`): time in an unusable signal proves nothing, so a detached
electrode, a lost link or a moving body never raises it, and the technical alarm stands in its place; only breaths end
it.  Two things are different.  A chest that stands still is moved by the heart, and more so when the heart is slow [1]_:
waves at the heart rate that are smaller than this person's breaths are no breaths.  And a rate that some other method
still shows (from beats or pulses, over half a minute) is no breath either.

References
----------
.. [1] Southall et al. (1980), An explanation for failure of impedance apnoea alarm systems, doi:10.1136/adc.55.1.63
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

from edge.messages import (
    Beat,
    Breath,
    ChannelKind,
    Condition,
    Estimate,
    Gap,
    Priority,
    Quality,
    SensorIdentity,
    SensorStatus,
    Tick,
)
from edge.monitoring.claims import Claim
from edge.monitoring.usable_time import UsableTime

_NS_PER_S = 1_000_000_000
_UNREADABLE = ("lead-off", "sensor-off", "saturated")
"""Conditions of the sensor during which there is no respiration signal, whatever the quality index says."""
_SHORTEST_S, _LONGEST_S = 10.0, 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApnoeaSettings:
    """When breathing has stopped."""

    apnoea_s: float = 20.0
    """Usable signal without a breath.  20 s is the default of bedside monitors (GE CARESCAPE modular monitors, apnoea
    limit) and the usual definition; 10 to 40 s can be set."""
    first_breath_s: float = 30.0
    """The same before the first breath of a session: a detector needs to learn what a breath looks like (own choice:
    the 10 s that `BreathSettings.learn_s` takes are added)."""
    latency_s: float = 2.0
    """A breath is known at the latest this long after it began; absence is judged this long ago.  The detector smooths
    over 1.2 s, so it needs 0.7 s, and a rise of a quarter of the swing: under a second at 10/min."""
    min_breath_quality: float = 0.5
    """A breath below it is not believed; `RespirationQualitySettings.min_quality`."""
    n_recovery_breaths: int = 3
    """Breaths in a row that end an apnoea: one gasp is no breathing (own choice)."""
    recovery_gap_s: float = 15.0
    """They are in a row when they follow each other within this: 4/min."""
    recovery_ratio: float = 0.2
    """They must reach this share of the swing that was usual before (own choice; `BreathSettings.swing_ratio` minus its
    tolerance)."""
    cardiac_ratio: float = 0.1
    """Waves whose interval is within this of the heart's last intervals may be the heart (GE CARESCAPE compares rates
    within 5 %; single intervals need more)."""
    small_ratio: float = 0.5
    """They are the heart if they are also smaller than this share of the usual swing (own choice).  A first small wave
    waits for the next one: what follows it at the heart's interval makes it cardiac as well."""
    n_usual: int = 16
    """The usual swing is the median of this many breaths (own choice: a minute)."""
    n_cardiac: int = 8
    """As long as nothing is usual yet, so many breaths in a row at the heart rate are the heart (own choice)."""
    stale_beat_s: float = 5.0
    """An older heart rate is none."""

    def __post_init__(self) -> None:
        if not _SHORTEST_S <= self.apnoea_s <= _LONGEST_S:
            raise ValueError(f"expected {_SHORTEST_S:g} <= apnoea_s <= {_LONGEST_S:g}, got {self.apnoea_s}")


class ApnoeaRule:
    """No breath of one person while a respiration signal is usable: high priority, latching.

    Notes
    -----
    With several respiration streams one is followed at a time: the first that is usable, until it has been unusable for
    as long as an apnoea while another one is usable.  A gap is an item here, not a `reset`: an emergency does not end
    because samples are missing.  Noticed ``apnoea_s + latency_s`` after the beginning of the last breath, plus up to a
    second until the next tick.

    Parameters
    ----------
    settings : ApnoeaSettings
        When breathing has stopped.
    """

    def __init__(self, settings: ApnoeaSettings = ApnoeaSettings()) -> None:
        self._settings = settings
        self.reset("start")

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape
        """Forget everything, as for a new session."""
        self._claim = Claim("apnoea", Priority.HIGH, is_latching=True)
        self._follow(None)
        self._unreadable: set[tuple[str, str | None, str]] = set()
        self._boots: dict[str, int] = {}
        self._n_recovered = 0
        self._n_cardiac = 0
        self._rr_ms: deque[float] = deque(maxlen=8)
        self._heart_at_ns: int | None = None

    def push(
        self, item: Breath | Beat | Quality | SensorStatus | SensorIdentity | Gap | Tick | Estimate
    ) -> list[Condition]:
        """Return the apnoea that began or ended with `item`."""
        match item:
            case Breath():
                return self._breath(item)
            case Beat():
                self._beat(item)
            case Quality(kind=ChannelKind.RESPIRATION):
                self._assess(item)
            case SensorStatus() if item.condition in _UNREADABLE:
                key = (item.sensor, item.stream, item.condition)
                (self._unreadable.add if item.is_active else self._unreadable.discard)(key)
            case SensorIdentity():
                self._note_identity(item)
            case Tick():
                return self._time_passed(item.at_ns)
            case _:
                pass
        return []

    def _follow(self, source: tuple[str, str] | None) -> None:
        """Begin to follow a stream: nothing that was seen in another one counts."""
        self._source = source
        self._source_usable_ns: int | None = None
        self._usable = UsableTime(restart_ns=round(self._settings.apnoea_s * _NS_PER_S))
        self._last: Breath | None = None
        self._waiting: Breath | None = None
        self._usual: deque[float] = deque(maxlen=self._settings.n_usual)

    # --- what comes in --------------------------------------------------------------------------------------

    def _beat(self, beat: Beat) -> None:
        if beat.is_noise_suspect or beat.rr_ms is None or not 200.0 < beat.rr_ms < 3000.0:
            return
        self._rr_ms.append(beat.rr_ms)
        self._heart_at_ns = beat.at_ns

    def _note_identity(self, identity: SensorIdentity) -> None:
        """Withdraw what a device reported before it restarted: it says again what still holds."""
        before = self._boots.get(identity.sensor)
        self._boots[identity.sensor] = identity.boot_id
        if before not in {None, identity.boot_id}:
            self._unreadable = {key for key in self._unreadable if key[0] != identity.sensor}

    def _assess(self, quality: Quality) -> None:
        """Follow the first usable stream; note whether its second is usable."""
        key = (quality.sensor, quality.stream)
        is_usable = quality.is_usable and not any(sensor == quality.sensor for sensor, _, _ in self._unreadable)
        if self._source is None and is_usable:
            self._follow(key)
        if key != self._source:
            if not is_usable or self._source_usable_ns is None:
                return
            if quality.at_ns - self._source_usable_ns < self._settings.apnoea_s * _NS_PER_S:
                return
            self._follow(key)
        if is_usable:
            self._source_usable_ns = quality.at_ns
        self._usable.add(quality.at_ns, is_usable=is_usable)

    def _breath(self, breath: Breath) -> list[Condition]:
        if (breath.sensor, breath.stream) != self._source or not breath.quality >= self._settings.min_breath_quality:
            return []
        latest = self._waiting or self._last
        if latest is not None and breath.at_ns <= latest.at_ns:
            return []
        heart_s = self._heart_intervals_s(breath.at_ns)
        if heart_s is None:
            return [*self._release(), *self._accept(breath)]
        is_at_heart_rate = breath.interval_s is not None and heart_s[0] <= breath.interval_s <= heart_s[1]
        self._n_cardiac = self._n_cardiac + 1 if is_at_heart_rate else 0
        if not self._is_small(breath):
            return [*self._release(), *self._accept(breath)]
        if is_at_heart_rate:  # and so was the one before
            self._waiting = None
            return []
        outputs = self._release()
        self._waiting = breath
        return outputs

    def _accept(self, breath: Breath) -> list[Condition]:
        """Return what a breath that is certain began or ended."""
        if self._claim.is_active:
            return self._recover(breath)
        outputs = self._missed(breath)
        self._last = breath
        if not outputs:
            self._usual.append(breath.amplitude)
        return outputs

    def _release(self) -> list[Condition]:
        """Return what the small breath that waited for the next one began or ended: it was no cardiac wave."""
        waiting, self._waiting = self._waiting, None
        return [] if waiting is None else self._accept(waiting)

    def _recover(self, breath: Breath) -> list[Condition]:
        """Return the end of the apnoea, once there is breathing and not a gasp."""
        settings = self._settings
        usual = median(self._usual) if self._usual else 0.0
        if not breath.amplitude >= settings.recovery_ratio * usual:
            return []
        is_next = self._last is not None and breath.at_ns - self._last.at_ns <= settings.recovery_gap_s * _NS_PER_S
        self._n_recovered = self._n_recovered + 1 if is_next and self._n_recovered else 1
        self._last = breath
        if self._n_recovered < settings.n_recovery_breaths:
            return []
        return self._claim.end(breath.at_ns, f"Breathing again: {settings.n_recovery_breaths} breaths seen.")

    # --- what it means --------------------------------------------------------------------------------------

    def _heart_intervals_s(self, at_ns: int) -> tuple[float, float] | None:
        """Return between what intervals the heart's waves come now; None where the heart is not known."""
        if self._heart_at_ns is None or len(self._rr_ms) < 3:
            return None
        if abs(at_ns - self._heart_at_ns) > self._settings.stale_beat_s * _NS_PER_S:
            return None
        ratio = self._settings.cardiac_ratio
        return min(self._rr_ms) / 1000.0 * (1.0 - ratio), max(self._rr_ms) / 1000.0 * (1.0 + ratio)

    def _is_small(self, breath: Breath) -> bool:
        """Return whether a breath may be the heart that moves the chest, going by its size."""
        settings = self._settings
        if len(self._usual) < settings.n_cardiac:  # nobody knows what is usual: a long train is the heart
            return self._n_cardiac >= settings.n_cardiac
        return breath.amplitude < settings.small_ratio * median(self._usual)

    def _missed(self, breath: Breath) -> list[Condition]:
        """Return the apnoea that `breath` ended before a tick could tell."""
        if self._last is None:
            return []
        silent_s = self._usable.between(self._last.at_ns, breath.at_ns) / _NS_PER_S
        return self._begin(breath.at_ns, self._last.at_ns, silent_s) if silent_s >= self._settings.apnoea_s else []

    def _time_passed(self, at_ns: int) -> list[Condition]:
        settings = self._settings
        outputs: list[Condition] = []
        if self._waiting is not None:
            heart_s = self._heart_intervals_s(at_ns)
            due_s = settings.latency_s + (0.0 if heart_s is None else heart_s[1])
            if at_ns - self._waiting.at_ns < due_s * _NS_PER_S:
                return []  # the next wave of the heart may still be under way
            outputs = self._release()
        since_ns = self._usable.begins_at_ns if self._last is None else self._last.at_ns
        if since_ns is None or self._unreadable_now():
            return outputs
        until_ns = at_ns - round(settings.latency_s * _NS_PER_S)
        silent_s = self._usable.between(since_ns, until_ns) / _NS_PER_S
        needed_s = settings.apnoea_s if self._last is not None else settings.first_breath_s
        return [*outputs, *(self._begin(at_ns, since_ns, silent_s) if silent_s >= needed_s else [])]

    def _unreadable_now(self) -> bool:
        return self._source is not None and any(sensor == self._source[0] for sensor, _, _ in self._unreadable)

    def _begin(self, at_ns: int, since_ns: int, silent_s: float) -> list[Condition]:
        self._n_recovered = 0
        return self._claim.begin(
            at_ns,
            since_ns,
            f"No breath for {silent_s:.0f} s while the respiration signal is readable.",
            rule="no breath while the respiration signal is usable",
            silent_s=round(silent_s, 1),
            limit_s=self._settings.apnoea_s,
        )
