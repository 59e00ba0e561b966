"""Rhythm from the beats of one ECG and the opinions of the models: what alarms, and the name of the rhythm.

Fed by `features.ecg_beats` (`Beat`), `beat_classes` (`ClassifiedBeat`), the rhythm model (`Prediction`),
`conditioning.quality` (`Quality`), the sensor (`SensorStatus`, `Gap`) and the pipeline's `Tick`; anything else is ignored.

Who decides (the models see the same signal, and may be absent, abstain or be late):

====================================  ===================================  ==================================  =========================
claim                                 rule                                 model                               without the model
====================================  ===================================  ==================================  =========================
asystole, pause, extreme rates        beats, at once                       never asked                         the same
ventricular fibrillation              waveform                             never asked                         the same
class of a beat                       shape, where the model is silent     beat model                          shape
run, frequent beats, pattern          count, rate, steadiness              class V                             class V by shape
ventricular tachycardia               5 beats above 100/min, steady        V, or V by shape and not ruled out  V by shape
atrial fibrillation, alarm            60 s of irregular intervals          A within the last seconds           the intervals alone
rhythm by name: ``AFIB``, ``O``       rates, patterns, emergencies first   A, O or ~ of the last minute        the intervals alone
====================================  ===================================  ==================================  =========================

Three rules hold for every condition here:

* Time in an unusable signal proves nothing: it neither begins nor ends a condition.  The technical alarm on the
  signal stands beside it.  A condition ends only on beats that show that it is over.
* A beat found while the signal was below the quality threshold (`Beat.is_noise_suspect`) makes no interval with its
  neighbours and counts in no rate, but it forgets nothing: the intervals before it stay for `max_interruption_s`.
* Ventricular fibrillation has no beats to count; it is known by its waveform (`features.ecg_waves`), which is taken
  from the samples in the lead that the quality names.  A silent ECG is silent: a second in which something as large
  as a beat moves counts half towards an asystole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from edge.features.ecg_waves import EcgWaves, LeadWaves, Waves
from edge.messages import (
    Beat,
    BeatKind,
    ClassifiedBeat,
    Condition,
    Gap,
    Prediction,
    Quality,
    RhythmChange,
    SampleBlock,
    SensorIdentity,
    SensorStatus,
    Tick,
)
from edge.monitoring.fibrillation import FibrillationRule, FibrillationSettings
from edge.monitoring.irregularity import IrregularityRule, IrregularitySettings
from edge.monitoring.rates import AsystoleRule, RateRules, RateSettings
from edge.monitoring.rhythm_name import RhythmName, RhythmNameSettings
from edge.monitoring.rhythm_opinion import FIBRILLATION, MODEL, NOISE, OTHER, RhythmOpinion
from edge.monitoring.usable_time import UsableTime
from edge.monitoring.ventricular import VentricularRules, VentricularSettings

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
    near_noise_s: float = 5.0
    """A ventricular beat this soon after unusable signal makes no run and no count, only a tachycardia (own choice)."""
    opinion_s: float = 15.0
    """A word of the rhythm model holds for this long: three of its windows (own choice)."""
    rates: RateSettings = field(default_factory=RateSettings)
    """No beat, too few, too many."""
    ventricular: VentricularSettings = field(default_factory=VentricularSettings)
    """Ventricular beats."""
    fibrillation: FibrillationSettings = field(default_factory=FibrillationSettings)
    """Ventricular fibrillation."""
    irregularity: IrregularitySettings = field(default_factory=IrregularitySettings)
    """Atrial fibrillation."""
    name: RhythmNameSettings = field(default_factory=RhythmNameSettings)
    """Names of rhythms."""


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
        self._ventricular = VentricularRules(self._settings.ventricular)
        self._waves = EcgWaves()
        self._fibrillation = FibrillationRule(self._settings.fibrillation)
        self._opinion = RhythmOpinion(self._settings.opinion_s)
        self._irregularity = IrregularityRule(self._settings.irregularity, self._opinion)
        self._name = RhythmName(self._settings.name)
        self._source: str | None = None
        self._source_usable_at_ns: int | None = None
        self._quality: Quality | None = None
        self._unreadable: set[tuple[str, str]] = set()
        self._sequence = 0
        self._boots: dict[str, int] = {}
        self._last: Beat | None = None
        self._last_classified: Beat | None = None
        self._rule_name: tuple[str, int, int] | None = None
        self._block: SampleBlock | None = None

    def push(self, item: object) -> list[Condition | RhythmChange]:
        """Return the conditions and rhythm changes that `item` led to, oldest first."""
        match item:
            case Quality() if item.stream == self._settings.stream:
                return self._assess(item)
            case SensorStatus() if item.stream in {None, self._settings.stream} and item.condition in _UNREADABLE:
                self._note_status(item)
            case SensorIdentity():
                self._note_identity(item)
            case Tick():
                return self._time_passed(item.at_ns)
            case Beat() if item.stream == self._settings.stream and item.sensor == (self._source or item.sensor):
                self._source = item.sensor
                return self._beat(item)
            case _:
                return self._follow(item)
        return []

    def _follow(self, item: object) -> list[Condition | RhythmChange]:
        """Return what `item` led to, where it is of the ECG that is followed."""
        match item:
            case ClassifiedBeat() if self._is_followed(item.beat.sensor, item.beat.stream):
                return self._classified(item)
            case Prediction() if item.model == MODEL and self._is_followed(item.sensor, item.stream):
                return self._hear(item)
            case SampleBlock() if self._is_followed(item.sensor, item.stream):
                return self._look(item)
            case Gap() if self._is_followed(item.sensor, item.stream):
                self._last = self._last_classified = None
            case _:
                pass
        return []

    def _is_followed(self, sensor: str, stream: str) -> bool:
        return stream == self._settings.stream and sensor == self._source

    def _time_passed(self, at_ns: int) -> list[Condition | RhythmChange]:
        outputs: list[Condition | RhythmChange] = [*self._asystole.time_passed(at_ns)]
        if outputs:
            outputs += self._name_asystole(at_ns)
        ventricular = self._ventricular.time_passed(at_ns, self._known_until_ns())
        return [*outputs, *self._rates.time_passed(at_ns), *ventricular]

    def _known_until_ns(self) -> int | None:
        """Return the instant of the last beat whose class is known, while a later one waits for its own; else None."""
        if self._last is None:
            return None
        known = self._last_classified
        if known is None:
            return self._last.at_ns
        return known.at_ns if known.at_ns < self._last.at_ns else None

    def _name_asystole(self, at_ns: int) -> list[RhythmChange]:
        last = self._asystole.last_beat
        if last is None:  # there never was a beat: it holds from now on
            return self._name.change("ASYS", at_ns, self._sequence)
        return self._name.change("ASYS", last.at_ns, last.sequence)

    def _look(self, block: SampleBlock) -> list[Condition | RhythmChange]:
        self._block = block
        return [out for waves in self._waves.push(block) for out in self._wave(waves)]

    def _assess(self, quality: Quality) -> list[Condition | RhythmChange]:
        is_usable = quality.is_usable and not any(sensor == quality.sensor for sensor, _ in self._unreadable)
        if self._source is None and is_usable:
            self._source = quality.sensor
        if quality.sensor != self._source:
            if not is_usable or self._source_usable_at_ns is None:
                return []
            if quality.at_ns - self._source_usable_at_ns < self._settings.switch_s * _NS_PER_S:
                return []
            self._source = quality.sensor
            self._last = self._last_classified = None
        if is_usable:
            self._source_usable_at_ns = quality.at_ns
        self._sequence = quality.sequence
        self._quality = quality if is_usable else None
        self._usable.add(quality.at_ns, is_usable=is_usable)
        return [*self._name.assess(quality, is_usable=is_usable)]

    def _wave(self, waves: Waves) -> list[Condition | RhythmChange]:
        """Look at the waveform of one second, in the lead that the quality of that second names."""
        lead = self._trusted_lead(waves)
        if lead is None:
            return []
        self._asystole.second(waves.at_ns, lead.largest_mv)
        outputs: list[Condition | RhythmChange] = []
        outputs += self._fibrillation.second(waves, lead, is_known=self._ventricular.is_tachycardia)
        onset = self._fibrillation.onset
        if onset is not None and not self._asystole.is_active:
            outputs += self._name.change("VF", onset.at_ns, onset.sequence)
        return outputs

    def _trusted_lead(self, waves: Waves) -> LeadWaves | None:
        """Return the lead to look at; None where the second is not usable."""
        if self._quality is None or self._quality.sequence != waves.sequence:
            return None
        named = (lead for lead in waves.leads if lead.name == self._quality.channel)
        return next(named, waves.leads[0])

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
        """Apply the rules that must not wait for the class of a beat."""
        if self._last is not None and beat.at_ns <= self._last.at_ns:
            return []
        previous, self._last = self._last, beat
        rr_ms = self._interval_ms(previous, beat)
        outputs: list[Condition | RhythmChange] = [*self._asystole.beat(beat, rr_ms)]
        return outputs if beat.is_noise_suspect else [*outputs, *self._rates.beat(beat, rr_ms)]

    def _classified(self, item: ClassifiedBeat) -> list[Condition | RhythmChange]:
        """Apply the rules that ask for the class of a beat, and name the rhythm."""
        beat = item.beat
        if self._last_classified is not None and beat.at_ns <= self._last_classified.at_ns:
            return []
        previous, self._last_classified = self._last_classified, beat
        if beat.is_noise_suspect:
            return []
        rr_ms = self._interval_ms(previous, beat)
        is_ectopic = any(self._ventricular.is_ectopic(each) for each in (previous, beat) if each is not None)
        from_ns = beat.at_ns - round(self._settings.near_noise_s * _NS_PER_S)
        is_near_noise = not self._usable.is_whole(from_ns, beat.at_ns)
        outputs: list[Condition | RhythmChange] = [*self._ventricular.beat(item, is_near_noise=is_near_noise)]
        outputs += self._irregularity.beat(beat, rr_ms, is_ectopic=is_ectopic)
        if not self._asystole.is_active and self._fibrillation.onset is None:
            label, at_ns, sequence = self._named(beat, rr_ms)
            outputs += self._name.change(label, at_ns, sequence)
        return outputs

    def _hear(self, prediction: Prediction) -> list[Condition | RhythmChange]:
        """Note what the rhythm model says of its last windows; it may change the name without a further beat."""
        self._opinion.note(prediction)
        if self._asystole.is_active or self._fibrillation.onset is not None or not prediction.probabilities:
            return []
        return [*self._name.change(*self._by_model(prediction.at_ns))]

    def _named(self, beat: Beat, rr_ms: float | None) -> tuple[str, int, int]:
        """Return the most urgent name that fits now, and the instant and sample from which it holds."""
        label, onset = self._by_rule(beat, rr_ms)
        self._rule_name = (label, onset.at_ns, onset.sequence)
        return self._by_model(beat.at_ns)

    def _by_model(self, at_ns: int) -> tuple[str, int, int]:
        """Return the name after the rhythm model has been asked: it decides on `AFIB`, and may know another rhythm."""
        by_rule = self._rule_name
        said, since_ns = self._opinion.name(at_ns), self._opinion.since_ns
        if said is None or since_ns is None:
            return by_rule or (self._name.label or "N", at_ns, self._sequence)
        label = "N" if by_rule is None else by_rule[0]
        if label == "VT":
            return by_rule or (label, at_ns, self._sequence)
        named = {FIBRILLATION: "AFIB", NOISE: "NOISE"}.get(said)
        if named is None and by_rule is not None and label not in {"N", "AFIB"}:
            return by_rule
        return named or ("O" if said == OTHER else "N"), since_ns, self._sample_at(since_ns)

    def _sample_at(self, at_ns: int) -> int:
        """Return the sample of the followed stream at `at_ns`."""
        if self._block is None:
            return self._sequence
        ahead_s = (at_ns - self._block.start_ns) / _NS_PER_S
        return max(0, self._block.sequence + round(ahead_s * self._block.rate_hz))

    def _by_rule(self, beat: Beat, rr_ms: float | None) -> tuple[str, Beat]:
        is_ventricular = beat.kind is BeatKind.VENTRICULAR
        rate_label, rate_onset = self._name.rate(beat, rr_ms, is_ventricular=is_ventricular)
        tachycardia = self._ventricular.tachycardia_onset()
        if tachycardia is not None:
            return "VT", tachycardia
        after_asystole = self._asystole.first_beat if self._name.label == "ASYS" else None
        if self._irregularity.onset is not None:
            # Interrupted by a run, a pause or noise it goes on here; otherwise it is dated back to where it began.
            is_interrupted = self._name.label in {"VT", "NOISE", "ASYS"}
            return "AFIB", (after_asystole or beat) if is_interrupted else self._irregularity.onset
        pattern = self._ventricular.pattern()
        if pattern is not None:
            return pattern
        if self._name.label == "AFIB" and self._irregularity.end is not None:
            return rate_label, self._irregularity.end
        if after_asystole is not None:
            return rate_label, after_asystole
        return rate_label, beat if rate_label == "N" or self._name.label == "NOISE" else rate_onset

    def _interval_ms(self, previous: Beat | None, beat: Beat) -> float | None:
        """Return the interval before `beat`; None where it is not certain that nothing is missing in it."""
        if previous is None or previous.is_noise_suspect or beat.is_noise_suspect or beat.rr_ms is None:
            return None
        if not (math.isfinite(beat.rr_ms) and beat.rr_ms > 0):
            return None
        return beat.rr_ms if self._usable.is_whole(previous.at_ns, beat.at_ns) else None
