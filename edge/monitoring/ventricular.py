"""Rules on ventricular beats: tachycardia, runs, frequent premature beats, bigeminy and trigeminy.

Which beats are ventricular is decided by `beat_classes`: by the beat model, or by shape where it has no opinion.  A run,
a pattern and a count need that class.  For a tachycardia, which must not be missed, a beat of ventricular shape counts
too unless the model is sure that it is none.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from edge.messages import Beat, BeatKind, ClassifiedBeat, Condition, Json, Priority
from edge.monitoring.beat_classes import MODEL, BeatShapes, ShapeSettings
from edge.monitoring.claims import Claim

_NS_PER_S = 1_000_000_000
_BY_MODEL, _BY_RULE = "model", "rule"
_MOST_NAMED = 20
"""Beats of a run whose windows an alert names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VentricularSettings:
    """When ventricular beats are too many or too fast."""

    shape: ShapeSettings = field(default_factory=ShapeSettings)
    """When a beat is wide, and when unlike the usual one."""
    sure_ratio: float = 0.05
    """Probability of class V below which the model is sure that a beat of ventricular shape is none (own choice)."""
    n_tachycardia: int = 5
    """Consecutive ventricular beats that are a tachycardia (CinC 2015, doi:10.1109/CIC.2015.7408639)."""
    tachycardia_bpm: float = 100.0
    """Their rate above which it is one (CinC 2015)."""
    n_run: int = 3
    """Consecutive ventricular beats that are a run (ANSI/AAMI EC57)."""
    largest_interval_s: float = 2.0
    """Ventricular beats further apart are not consecutive (own choice: 30/min, slower than any escape run)."""
    steady_ratio: float = 1.5
    """Longest over shortest interval among the last five beats up to which a run is steady: a tachycardia has one
    cycle, artefacts come when they like.  Own choice; measured: 1.0-1.5 in the annotated runs of MIT-BIH 205, 207 and
    223, above 1.5 in 110 of 129 false runs with muscle noise or electrode motion at 6 dB.  Fibrillation is not steady:
    `fibrillation` sees its waveform."""
    n_unsteady: int = 15
    """So many ventricular beats in a row are a tachycardia whatever their intervals (own choice)."""
    n_recovery_beats: int = 5
    """Other beats in a row that end a tachycardia (own choice: as many as begin it)."""
    run_off_s: float = 60.0
    """How long a run is shown after it (own choice)."""
    n_frequent_per_min: int = 10
    """More ventricular beats than this in a minute are frequent: the usual default of bedside monitors."""


class VentricularRules:
    """Conditions of ventricular beats, and the rhythm names that come from them."""

    def __init__(self, settings: VentricularSettings) -> None:
        self._settings = settings
        self._tachycardia = Claim("ventricular-tachycardia", Priority.HIGH, is_latching=True)
        self._run_claim = Claim("ventricular-run", Priority.MEDIUM)
        self._frequent = Claim("frequent-ventricular-beats", Priority.LOW)
        self._run: deque[ClassifiedBeat] = deque(maxlen=256)
        self._run_at_ns: int | None = None
        self._n_certain = 0
        self._n_other = 0
        self._shapes = BeatShapes(settings.shape)
        self._minute_ns: deque[int] = deque(maxlen=512)
        self._pattern: deque[tuple[Beat, bool]] = deque(maxlen=9)

    @property
    def is_tachycardia(self) -> bool:
        """Whether a ventricular tachycardia is present."""
        return self._tachycardia.is_active

    def is_ectopic(self, beat: Beat) -> bool:
        """Return whether `beat` may be of ventricular origin: unlike the dominant beat is enough for a doubt."""
        is_unlike = beat.similarity is not None and beat.similarity < self._settings.shape.likeness
        return is_unlike or beat.kind in {BeatKind.VENTRICULAR, BeatKind.FUSION}

    def beat(self, item: ClassifiedBeat, *, is_near_noise: bool = False) -> list[Condition]:
        """Return what a beat, which is no noise suspect, began or ended.

        Parameters
        ----------
        item : ClassifiedBeat
            The beat with its class.
        is_near_noise : bool
            Whether the signal was unusable shortly before: an odd beat there is more likely noise than a heart beat, so
            it counts for a tachycardia only.
        """
        beat = item.beat
        is_certain = beat.kind is BeatKind.VENTRICULAR or (self._tachycardia.is_active and self._goes_on(beat))
        is_ventricular = is_certain or self._may_be_ventricular(item)
        outputs = self._break_run(beat.at_ns) if self._is_late(beat.at_ns) else []
        self._pattern.append((beat, beat.kind is BeatKind.VENTRICULAR))
        if not is_ventricular and not self._tachycardia.is_active:
            self._shapes.learn(beat)
        if not is_ventricular:
            self._n_other += 1
            outputs += self._break_run(beat.at_ns)
            if self._n_other >= self._settings.n_recovery_beats:
                outputs += self._tachycardia.end(beat.at_ns, f"{self._n_other} beats in a row are not ventricular.")
            return outputs
        self._n_other = 0
        self._run.append(item)
        if is_certain and not is_near_noise:
            self._minute_ns.append(beat.at_ns)
            self._n_certain += 1
        if len(self._run) >= self._settings.n_tachycardia:
            outputs += self._long_run(beat)
        return [*outputs, *self._count(beat.at_ns)]

    def time_passed(self, at_ns: int, known_until_ns: int | None = None) -> list[Condition]:
        """Return what is over by `at_ns`.

        Parameters
        ----------
        at_ns : int
            Now.
        known_until_ns : int, optional
            Up to when the classes of all beats are known, where beats wait for theirs: a run that nobody has looked at
            is not broken, however long a model takes.
        """
        seen_ns = at_ns - _NS_PER_S if known_until_ns is None else min(at_ns - _NS_PER_S, known_until_ns)
        outputs = self._break_run(at_ns) if self._is_late(seen_ns) else []
        if self._run_at_ns is not None and at_ns - self._run_at_ns >= self._settings.run_off_s * _NS_PER_S:
            self._run_at_ns = None
            outputs += self._run_claim.end(at_ns, f"No further run for {self._settings.run_off_s:.0f} s.")
        return [*outputs, *self._count(at_ns)]

    def tachycardia_onset(self) -> Beat | None:
        """Return the first beat of a run that goes on and is fast enough to be named ``VT``; else None."""
        if len(self._run) < self._settings.n_run or self._rate_bpm(len(self._run)) <= self._settings.tachycardia_bpm:
            return None
        return self._run[0].beat if self._tachycardia.is_active or self._is_steady() else None

    def pattern(self) -> tuple[str, Beat] | None:
        """Return ``B`` (every second beat ventricular) or ``T`` (every third) and its first beat; else None."""
        beats = list(self._pattern)
        for label, period in (("B", 2), ("T", 3)):
            recent = beats[-3 * period :]
            flags = [is_ventricular for _, is_ventricular in recent]
            if len(flags) == 3 * period and sum(flags[:period]) == 1 and flags == flags[:period] * 3:
                return label, recent[0][0]
        return None

    def _may_be_ventricular(self, item: ClassifiedBeat) -> bool:
        """Return whether a beat that is called otherwise may be ventricular: by its shape, and the model is not sure."""
        is_sure = item.probabilities.get(BeatKind.VENTRICULAR, 0.0) < self._settings.sure_ratio
        return item.source == _BY_MODEL and not is_sure and self._shapes.is_ventricular(item.beat)

    def _goes_on(self, beat: Beat) -> bool:
        """Return whether `beat` goes on with a tachycardia that is there: as fast as one, and wide.

        Its likeness no longer counts: a tachycardia of half a minute *becomes* the dominant beat of the detector.
        """
        if beat.rr_ms is None:
            return False
        return beat.rr_ms < 60_000 / self._settings.tachycardia_bpm and self._shapes.is_wide(beat)

    def _is_late(self, at_ns: int) -> bool:
        return bool(self._run) and at_ns - self._run[-1].beat.at_ns > self._settings.largest_interval_s * _NS_PER_S

    def _long_run(self, beat: Beat) -> list[Condition]:
        rate_bpm = self._rate_bpm(self._settings.n_tachycardia)
        if rate_bpm <= self._settings.tachycardia_bpm:
            return self._name_run(beat.at_ns) if self._n_certain >= self._settings.n_run else []
        if not (self._is_steady() or len(self._run) >= self._settings.n_unsteady):
            return []
        return self._tachycardia.begin(
            beat.at_ns,
            self._run[0].beat.at_ns,
            f"Ventricular tachycardia suspected: {len(self._run)} wide beats in a row at {rate_bpm:.0f}/min.",
            rule="consecutive ventricular beats",
            n_beats=len(self._run),
            value=round(rate_bpm, 1),
            unit="/min",
            limit=self._settings.tachycardia_bpm,
            **self._decision(),
        )

    def _break_run(self, at_ns: int) -> list[Condition]:
        outputs = []
        is_run = self._n_certain >= self._settings.n_run and self._is_steady()
        if is_run and not self._tachycardia.is_active:
            outputs = self._name_run(at_ns)
        self._run.clear()
        self._n_certain = 0
        return outputs

    def _name_run(self, at_ns: int) -> list[Condition]:
        rate_bpm = self._rate_bpm(len(self._run))
        if rate_bpm <= self._settings.tachycardia_bpm and all(each.source == _BY_RULE for each in self._run):
            return []  # at the rate of the sinus, shape alone may be posture or a passing block
        self._run_at_ns = at_ns
        return self._run_claim.begin(
            at_ns,
            self._run[0].beat.at_ns,
            f"Run of {len(self._run)} ventricular beats at {rate_bpm:.0f}/min.",
            rule="consecutive ventricular beats",
            n_beats=len(self._run),
            value=round(rate_bpm, 1),
            unit="/min",
            **self._decision(),
        )

    def _decision(self) -> dict[str, Json]:
        """Return who called the beats of the run ventricular, for whoever explains it; empty where it was the rule."""
        by_model = [each for each in self._run if each.source == _BY_MODEL and each.bundle_sha256 is not None]
        if not by_model:
            return {}
        last = by_model[-1]
        return {
            "decision": {
                "model": MODEL,
                "bundle_sha256": last.bundle_sha256,
                "sensor": last.beat.sensor,
                "stream": last.beat.stream,
                "window_sequences": [each.window_sequence for each in by_model[-_MOST_NAMED:]],
                "label": last.beat.kind.value,
                "probabilities": {label: round(value, 4) for label, value in last.probabilities.items()},
            }
        }

    def _is_steady(self) -> bool:
        """Return whether the last beats of the run, up to as many as make a tachycardia, follow one cycle."""
        recent = list(self._run)[1:][1 - self._settings.n_tachycardia :]
        # Of each beat its own interval: a doubtful beat between two of the run is not in the run.
        intervals_ms = [each.beat.rr_ms for each in recent if each.beat.rr_ms is not None]
        return not intervals_ms or max(intervals_ms) <= self._settings.steady_ratio * min(intervals_ms)

    def _count(self, at_ns: int) -> list[Condition]:
        while self._minute_ns and at_ns - self._minute_ns[0] >= 60 * _NS_PER_S:
            self._minute_ns.popleft()
        n, limit = len(self._minute_ns), self._settings.n_frequent_per_min
        if n > limit:
            return self._frequent.begin(
                at_ns,
                self._minute_ns[0],
                f"{n} ventricular beats in a minute: more than {limit}.",
                rule="ventricular beats in 60 s",
                value=n,
                limit=limit,
                **self._decision(),
            )
        # Half as many as began it, so that a count near the limit does not flap.
        return self._frequent.end(at_ns, f"{n} ventricular beats in a minute.") if n <= limit // 2 else []

    def _rate_bpm(self, n_beats: int) -> float:
        first, last = self._run[-n_beats].beat.at_ns, self._run[-1].beat.at_ns
        return 60 * _NS_PER_S * (n_beats - 1) / (last - first) if last > first else 0.0
