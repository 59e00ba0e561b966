"""Rhythm by rule from the beats of one ECG: what alarms, and the name of the rhythm for the record.

Fed by `features.ecg_beats` (`Beat`), `conditioning.quality` (`Quality`), the sensor (`SensorStatus`, `Gap`) and the
pipeline's `Tick`; anything else is ignored.

Three rules hold for every condition here:

* Time in an unusable signal proves nothing: it neither begins nor ends a condition.  The technical alarm on the
  signal stands beside it.  A condition ends only on beats that show that it is over.
* A beat found while the signal was below the quality threshold (`Beat.is_noise_suspect`) makes no interval with its
  neighbours and counts in no rate, but it forgets nothing: the intervals before it stay for `max_interruption_s`.
* Ventricular fibrillation has no beats to count.  Until a model sees its waveform it shows as asystole (the detector
  finds nothing) or as extreme tachycardia (it counts the waves): never as a normal rhythm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from edge.messages import Beat, Condition, Gap, Quality, RhythmChange, SensorIdentity, SensorStatus, Tick
from edge.monitoring.rates import AsystoleRule, RateRules, RateSettings
from edge.monitoring.usable_time import UsableTime

_NS_PER_S = 1_000_000_000
_UNREADABLE = ("lead-off", "saturated", "sensor-off")
"""Conditions of the sensor during which its signal is no ECG, whatever the quality index says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RhythmSettings:
    """How rhythms are told apart."""

    stream: str = "ecg"
    """Name of the streams that carry an ECG; beats of others (a pulse wave) are left to the limits."""
    switch_s: float = 10.0
    """A second ECG takes over when the first has been unusable for this long (own choice)."""
    rates: RateSettings = field(default_factory=RateSettings)
    """No beat, too few, too many."""


class RhythmRules:
    """Conditions and rhythm names of one subject.

    Notes
    -----
    With several ECG sensors one is followed at a time: the first that is usable, until it has been unusable for
    ``switch_s`` while another is usable.  A gap is an item here, not a `reset`: an emergency does not end because
    samples are missing.
    """

    def __init__(self, settings: RhythmSettings = RhythmSettings()) -> None:
        self._settings = settings
        self.reset("start")

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape
        """Forget everything, as for a new session."""
        rates = self._settings.rates
        self._usable = UsableTime(restart_ns=round(rates.asystole_s * _NS_PER_S))
        self._asystole = AsystoleRule(rates, self._usable)
        self._rates = RateRules(rates, self._usable)
        self._source: str | None = None
        self._source_usable_at_ns: int | None = None
        self._unreadable: set[tuple[str, str]] = set()
        self._boots: dict[str, int] = {}
        self._last: Beat | None = None

    def push(self, item: object) -> list[Condition | RhythmChange]:
        """Return the conditions and rhythm changes that `item` led to, oldest first."""
        match item:
            case Beat() if item.stream == self._settings.stream and item.sensor == self._source:
                return self._beat(item)
            case Quality() if item.stream == self._settings.stream:
                self._assess(item)
            case SensorStatus() if item.stream in {None, self._settings.stream} and item.condition in _UNREADABLE:
                self._note_status(item)
            case SensorIdentity():
                self._note_identity(item)
            case Gap() if item.stream == self._settings.stream and item.sensor == self._source:
                self._last = None
            case Tick():
                return [*self._asystole.time_passed(item.at_ns), *self._rates.time_passed(item.at_ns)]
            case _:
                pass
        return []

    def _assess(self, quality: Quality) -> None:
        is_usable = quality.is_usable and not any(sensor == quality.sensor for sensor, _ in self._unreadable)
        if self._source is None and is_usable:
            self._source = quality.sensor
        if quality.sensor != self._source:
            if not is_usable or self._source_usable_at_ns is None:
                return
            if quality.at_ns - self._source_usable_at_ns < self._settings.switch_s * _NS_PER_S:
                return
            self._source = quality.sensor
            self._last = None
        if is_usable:
            self._source_usable_at_ns = quality.at_ns
        self._usable.add(quality.at_ns, is_usable=is_usable)

    def _note_status(self, status: SensorStatus) -> None:
        key = (status.sensor, status.condition)
        if status.is_active:
            self._unreadable.add(key)
        else:
            self._unreadable.discard(key)

    def _note_identity(self, identity: SensorIdentity) -> None:
        """Withdraw what a device reported before it restarted: it says again what still holds."""
        before = self._boots.get(identity.sensor)
        self._boots[identity.sensor] = identity.boot_id
        if before not in {None, identity.boot_id}:
            self._unreadable = {key for key in self._unreadable if key[0] != identity.sensor}

    def _beat(self, beat: Beat) -> list[Condition | RhythmChange]:
        outputs: list[Condition | RhythmChange] = [*self._asystole.beat(beat)]
        if self._last is not None and beat.at_ns <= self._last.at_ns:
            return outputs
        previous, self._last = self._last, beat
        if beat.is_noise_suspect:
            return outputs
        rr_ms = self._interval_ms(previous, beat)
        return [*outputs, *self._rates.beat(beat, rr_ms)]

    def _interval_ms(self, previous: Beat | None, beat: Beat) -> float | None:
        """Return the interval before `beat`; None where it is not certain that nothing is missing in it."""
        if previous is None or previous.is_noise_suspect or beat.rr_ms is None:
            return None
        if not (math.isfinite(beat.rr_ms) and beat.rr_ms > 0):
            return None
        return beat.rr_ms if self._usable.is_whole(previous.at_ns, beat.at_ns) else None
