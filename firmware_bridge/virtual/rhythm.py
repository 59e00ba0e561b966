"""From the patient's state to a sequence of heart beats: when each comes, where it begins, how strong it is.

A new state is taken up at the first beat after it was ordered, as a heart does; asystole and fibrillation have
no beats and end at once.  Beats are drawn one after the other, so the sequence does not depend on how far ahead
somebody asks for it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.messages import BeatKind
from firmware_bridge.virtual.respiration import Respiration
from firmware_bridge.virtual.scenario import Conduction, Origin, PatientState, Premature, Rhythm
from firmware_bridge.virtual.trajectory import Trajectory
from firmware_bridge.virtual.waves import BeatForm, Morphology

RATE_TIME_CONSTANT_S = 4.0
MINIMUM_RR_S = 0.2
"""No ventricle follows faster than about 300 /min."""

BEATLESS = frozenset({Rhythm.ASYSTOLE, Rhythm.VENTRICULAR_FIBRILLATION})
_WIDE = frozenset({Rhythm.VENTRICULAR_TACHYCARDIA, Rhythm.VENTRICULAR_ESCAPE})
SINUS_LIKE = frozenset({Rhythm.SINUS, Rhythm.SINUS_BRADYCARDIA, Rhythm.SINUS_TACHYCARDIA})
LABELS = {
    Rhythm.SINUS: "N",
    Rhythm.SINUS_BRADYCARDIA: "SBR",
    Rhythm.SINUS_TACHYCARDIA: "ST",
    Rhythm.SUPRAVENTRICULAR_TACHYCARDIA: "SVTA",
    Rhythm.ATRIAL_FIBRILLATION: "AFIB",
    Rhythm.VENTRICULAR_TACHYCARDIA: "VT",
    Rhythm.VENTRICULAR_FIBRILLATION: "VF",
    Rhythm.ASYSTOLE: "ASYS",
    Rhythm.PACED: "P",
    Rhythm.JUNCTIONAL_ESCAPE: "NOD",
    Rhythm.VENTRICULAR_ESCAPE: "IVR",
}
"""WFDB rhythm names; ``ST`` (sinus tachycardia), ``VF`` and ``ASYS`` are in the same spirit, WFDB has none."""
SHORTEST_VT_BEATS = 3
"""A run of at least three premature ventricular beats is called ventricular tachycardia."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartBeat:
    """One beat of the virtual heart."""

    at_s: float
    """Instant of the R peak (of the main deflection where there is no R)."""
    rr_s: float | None
    """Interval to the beat before; None for the first beat of the story."""
    cycle_s: float
    """Mean interval of the rhythm at this time, which the QT interval follows."""
    kind: BeatKind
    """AAMI class; paced beats are Q, as EC57 has it."""
    morphology: Morphology
    size_ratio: float
    """Amplitude relative to the patient's usual beat."""
    pulse_ratio: float
    """Strength of the pulse wave it makes, 1 for a well filled sinus beat."""
    form: BeatForm = field(default_factory=BeatForm)
    """What the scenario orders of its shape."""
    is_premature: bool = False
    """It came before the sinus beat that was due, alone or in a run."""
    is_after_compensatory_pause: bool = False
    """It ends the full pause after a single premature ventricular beat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RhythmStart:
    """From this instant on the rhythm has another name."""

    at_s: float
    label: str
    rhythm: Rhythm


@dataclass(frozen=True, slots=True)
class _Plan:
    at_s: float
    morphology: Morphology
    kind: BeatKind
    is_premature: bool = False
    is_after_compensatory_pause: bool = False


class BeatSequence:
    """The heart: beats and rhythm changes, in order of time, as far ahead as asked for.

    Parameters
    ----------
    states : sequence of PatientState
        Time line, the first at 0 s.
    respiration : Respiration
        Modulates sinus rhythm.
    rng : numpy.random.Generator
        The only source of chance.
    age_years : float
        Respiratory variability shrinks with age.
    breath_rr_ratio : float, optional
        Half the swing of the rate with breathing, relative to the rate, instead of what is usual at this age.
    """

    def __init__(
        self,
        states: Sequence[PatientState],
        respiration: Respiration,
        rng: np.random.Generator,
        *,
        age_years: float,
        breath_rr_ratio: float | None = None,
    ) -> None:
        self._states = tuple(states)
        self._forms = [_form(state) for state in self._states]
        self._respiration = respiration
        self._rng = rng
        # About +-4 % of the rate at rest when young, halving every 40 years; the 0.1 Hz wave likewise.
        usual_ratio = 0.05 * 0.5 ** (age_years / 40.0)
        self._variability_ratio = usual_ratio if breath_rr_ratio is None else breath_rr_ratio
        self._slow_phase = float(rng.uniform(0, 2 * np.pi))
        self._trajectories = _rate_trajectories(self._states)
        self._state_index: int | None = None
        self._now_s = 0.0
        self._last_beat_s: float | None = None
        self._plans: deque[_Plan] = deque()
        self._n_since_premature = 0
        self._premature_due_s = math.inf
        self._beats: list[HeartBeat] = []
        self._starts: list[RhythmStart] = []

    def until(self, end_s: float) -> tuple[list[HeartBeat], list[RhythmStart]]:
        """Return the beats and rhythm changes not returned yet, up to at least `end_s` as far as there are any."""
        while self._now_s <= end_s:
            self._enter_current_state()
            state = self._state
            if state.rhythm in BEATLESS and not self._plans:
                # Stop exactly at the next order, so that the state is taken up then however far was asked for.
                self._now_s = min(self._next_change_s(), math.nextafter(end_s, math.inf))
                continue
            if not self._plans:
                self._plan(state)
            self._emit(self._plans.popleft())
        beats, self._beats = self._beats, []
        starts, self._starts = self._starts, []
        return beats, starts

    @property
    def _state(self) -> PatientState:
        assert self._state_index is not None
        return self._states[self._state_index]

    def _next_change_s(self) -> float:
        assert self._state_index is not None
        later = self._states[self._state_index + 1 :]
        return later[0].at_s if later else math.inf

    def _enter_current_state(self) -> None:
        """Take up the state in force now, unless beats of the old one are still planned."""
        index = max(k for k, state in enumerate(self._states) if state.at_s <= self._now_s)
        if index == self._state_index or self._plans:
            return
        before = None if self._state_index is None else self._state
        self._state_index = index
        state = self._state
        if before is None or _label(before) != _label(state):
            start_s = self._now_s
            if self._last_beat_s is not None and self._last_beat_s == self._now_s:
                # The old rhythm's last beat ends with its T wave; the new rhythm begins after it.
                start_s += 0.4 if state.rhythm in BEATLESS else 0.05
            self._starts.append(RhythmStart(at_s=start_s, label=_label(state), rhythm=state.rhythm))
        self._n_since_premature = 0
        # The first one comes after half the usual time, so that even a short phase shows what it is about.
        self._premature_due_s = self._now_s + 0.5 * self._premature_wait_s(state)

    def _premature_wait_s(self, state: PatientState) -> float:
        """Return the time to the next premature beat or run: irregular, but as often as asked."""
        if state.premature_per_min <= 0:
            return math.inf
        return 60.0 / state.premature_per_min * float(self._rng.uniform(0.65, 1.35))

    def _cycle_s(self) -> float:
        """Return the mean interval of the rhythm now."""
        trajectory = self._trajectories[self._state_index or 0]
        return 60.0 / max(1.0, float(trajectory.at(np.array([self._now_s]))[0]))

    def _plan(self, state: PatientState) -> None:
        """Decide on the next beat, or the next few where a premature beat brings its pause along."""
        now_s = self._now_s
        interval_s = self._interval_s(state)
        if self._last_beat_s is None or self._last_beat_s < now_s:
            interval_s *= 0.6  # the first beat after a standstill or at the beginning
        rhythm = state.rhythm
        if rhythm in SINUS_LIKE:
            self._plan_sinus(state, now_s, interval_s)
        elif rhythm in _WIDE:
            self._plans.append(_Plan(now_s + interval_s, Morphology.VENTRICULAR, BeatKind.VENTRICULAR))
        elif rhythm is Rhythm.SUPRAVENTRICULAR_TACHYCARDIA:
            self._plans.append(_Plan(now_s + interval_s, Morphology.NO_P, BeatKind.SUPRAVENTRICULAR))
        elif rhythm is Rhythm.PACED:
            self._plans.append(_Plan(now_s + interval_s, Morphology.PACED, BeatKind.UNKNOWN))
        else:
            self._plans.append(_Plan(now_s + interval_s, Morphology.NO_P, BeatKind.NORMAL))

    def _interval_s(self, state: PatientState) -> float:
        """Return the time to the next regular beat of the rhythm."""
        cycle_s = self._cycle_s()
        if state.rhythm is Rhythm.ATRIAL_FIBRILLATION:
            # The node is refractory for a varying time and then passes the first of the impulses that arrive
            # at random (Corino et al. 2011, doi:10.1109/TBME.2011.2166262): coefficient of variation 0.25.
            ratio = self._rng.uniform(0.55, 1.05) + self._rng.exponential(0.2)
            return max(MINIMUM_RR_S + 0.08, cycle_s * float(ratio))
        noise = float(self._rng.standard_normal())
        if state.rhythm in SINUS_LIKE:
            breath = float(self._respiration.wave(np.array([self._now_s]))[0])
            slow = math.sin(2 * math.pi * 0.1 * self._now_s + self._slow_phase)
            return float(cycle_s / (1.0 + self._variability_ratio * (breath + 0.6 * slow) + 0.004 * noise))
        spread = {Rhythm.PACED: 0.0005}.get(state.rhythm, 0.012)
        return max(MINIMUM_RR_S, cycle_s * (1.0 + spread * noise))

    def _plan_sinus(self, state: PatientState, now_s: float, interval_s: float) -> None:
        self._n_since_premature += 1
        if not self._is_premature_due(state):
            self._plans.append(_Plan(now_s + interval_s, self._conducted(state), BeatKind.NORMAL))
            return
        self._n_since_premature = 0
        self._premature_due_s = now_s + self._premature_wait_s(state)
        early_s = now_s + interval_s * float(self._rng.uniform(0.55, 0.68))
        if state.premature_origin is Origin.ATRIAL:
            # It resets the sinus node: the pause is less than compensatory.
            early_s = now_s + interval_s * float(self._rng.uniform(0.6, 0.72))
            is_normal = state.conduction is Conduction.NORMAL
            early = Morphology.ATRIAL_PREMATURE if is_normal else Morphology.ABERRANT_PREMATURE
            self._plans.append(_Plan(early_s, early, BeatKind.SUPRAVENTRICULAR, is_premature=True))
            self._plans.append(_Plan(early_s + 1.1 * interval_s, self._conducted(state), BeatKind.NORMAL))
            return
        n_beats = state.premature_run_beats if state.premature is Premature.RUN else 1
        at_s = early_s
        for k in range(n_beats):
            if k:
                at_s += 60.0 / state.premature_run_bpm * (1.0 + 0.02 * float(self._rng.standard_normal()))
            self._plans.append(_Plan(at_s, Morphology.VENTRICULAR, BeatKind.VENTRICULAR, is_premature=True))
        # The sinus node keeps its beat and the one that falls into the refractory period is lost: after a
        # single beat the pause is fully compensatory, after a run the next free sinus beat comes.
        n_cycles = math.ceil((at_s - now_s) / interval_s + 0.75)
        resume_s = now_s + n_cycles * interval_s
        if n_beats >= SHORTEST_VT_BEATS:
            self._starts.append(RhythmStart(at_s=early_s - 0.05, label="VT", rhythm=Rhythm.VENTRICULAR_TACHYCARDIA))
            self._starts.append(RhythmStart(at_s=at_s + 0.35, label=_label(state), rhythm=state.rhythm))
        self._plans.append(
            _Plan(resume_s, self._conducted(state), BeatKind.NORMAL, is_after_compensatory_pause=n_beats == 1)
        )

    @staticmethod
    def _conducted(state: PatientState) -> Morphology:
        is_blocked = state.conduction is Conduction.BUNDLE_BRANCH_BLOCK
        return Morphology.ABERRANT if is_blocked else Morphology.CONDUCTED

    def _is_premature_due(self, state: PatientState) -> bool:
        if state.premature is Premature.NONE or self._last_beat_s is None:
            return False
        if state.premature is Premature.BIGEMINY:
            return True  # every plan is one premature beat and the sinus beat after its pause
        if state.premature is Premature.TRIGEMINY:
            return self._n_since_premature >= 2
        return self._now_s >= self._premature_due_s

    def _emit(self, plan: _Plan) -> None:
        last_s = self._last_beat_s
        at_s = plan.at_s if last_s is None else max(plan.at_s, last_s + MINIMUM_RR_S)
        rr_s = None if last_s is None else at_s - last_s
        cycle_s = self._cycle_s()
        self._beats.append(
            HeartBeat(
                at_s=at_s,
                rr_s=rr_s,
                cycle_s=cycle_s,
                kind=plan.kind,
                morphology=plan.morphology,
                size_ratio=1.0 + 0.02 * float(self._rng.standard_normal()),
                pulse_ratio=_pulse_ratio(rr_s, plan.morphology),
                form=self._forms[self._state_index or 0],
                is_premature=plan.is_premature,
                is_after_compensatory_pause=plan.is_after_compensatory_pause,
            )
        )
        self._last_beat_s = self._now_s = at_s


def _form(state: PatientState) -> BeatForm:
    """Return what a state orders of the shape of beats."""
    return BeatForm(pr_ms=state.pr_ms, qrs_ms=state.qrs_ms, qtc_ms=state.qtc_ms, qrs_mv=state.qrs_mv, t_mv=state.t_mv)


def _label(state: PatientState) -> str:
    """Return the WFDB name of the rhythm; sinus beats in a fixed pattern with ventricular ones have their own."""
    if state.rhythm in SINUS_LIKE and state.premature_origin is Origin.VENTRICULAR:
        pattern = {Premature.BIGEMINY: "B", Premature.TRIGEMINY: "T"}.get(state.premature)
        if pattern is not None:
            return pattern
    return LABELS[state.rhythm]


def _pulse_ratio(rr_s: float | None, morphology: Morphology) -> float:
    """Return the strength of the pulse: a heart that had less time to fill ejects less."""
    filling = 1.0 if rr_s is None else 1.0 - math.exp(-max(0.0, rr_s - 0.2) / 0.2)
    # A wide beat contracts out of step; in ventricular tachycardia both factors together leave about a quarter.
    return min(1.0, filling / 0.95) * (0.55 if morphology is Morphology.VENTRICULAR else 1.0)


def _rate_trajectories(states: Sequence[PatientState]) -> list[Trajectory]:
    """Return the rate to follow in each state: gliding within one rhythm, at once where the rhythm changes."""
    trajectories: list[Trajectory] = []
    targets: list[tuple[float, float]] = []
    for k, state in enumerate(states):
        if k and states[k - 1].rhythm is not state.rhythm:
            targets = []
        targets = [*targets, (state.at_s, state.heart_rate_bpm)]
        trajectories.append(Trajectory(targets, time_constant_s=RATE_TIME_CONSTANT_S))
    return trajectories
