"""What happens to the virtual patient and to its sensor, and when: the typed form of a scenario file.

A scenario is a time line of `Step` (the patient's state changes) and `Fault` (something goes wrong between
skin and host).  It is plain data; `scenario_file` reads it from TOML, `patient` and `device` act it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from firmware_bridge.virtual.fault_kinds import FAULT_PARAMETERS, FAULT_STREAMS, Fault, FaultKind

__all__ = [
    "DEFAULT_HEART_RATE_BPM",
    "FAULT_PARAMETERS",
    "FAULT_STREAMS",
    "Activity",
    "Conduction",
    "Event",
    "Fault",
    "FaultKind",
    "Origin",
    "PatientSettings",
    "PatientState",
    "Posture",
    "Premature",
    "Rhythm",
    "Scenario",
    "SensorSettings",
    "Step",
]


class Rhythm(StrEnum):
    """What the heart does."""

    SINUS = "sinus"
    SINUS_BRADYCARDIA = "sinus-bradycardia"
    SINUS_TACHYCARDIA = "sinus-tachycardia"
    SUPRAVENTRICULAR_TACHYCARDIA = "supraventricular-tachycardia"
    ATRIAL_FIBRILLATION = "atrial-fibrillation"
    VENTRICULAR_TACHYCARDIA = "ventricular-tachycardia"
    VENTRICULAR_FIBRILLATION = "ventricular-fibrillation"
    ASYSTOLE = "asystole"
    PACED = "paced"
    JUNCTIONAL_ESCAPE = "junctional-escape"
    VENTRICULAR_ESCAPE = "ventricular-escape"


DEFAULT_HEART_RATE_BPM: Mapping[Rhythm, float] = MappingProxyType(
    {
        Rhythm.SINUS: 70.0,
        Rhythm.SINUS_BRADYCARDIA: 42.0,
        Rhythm.SINUS_TACHYCARDIA: 125.0,
        Rhythm.SUPRAVENTRICULAR_TACHYCARDIA: 175.0,
        Rhythm.ATRIAL_FIBRILLATION: 110.0,
        Rhythm.VENTRICULAR_TACHYCARDIA: 180.0,
        Rhythm.VENTRICULAR_FIBRILLATION: 0.0,
        Rhythm.ASYSTOLE: 0.0,
        Rhythm.PACED: 60.0,
        Rhythm.JUNCTIONAL_ESCAPE: 46.0,
        Rhythm.VENTRICULAR_ESCAPE: 34.0,
    }
)
"""Rate of a rhythm where the scenario names none: the middle of what is usual for it."""


class Premature(StrEnum):
    """The pattern in which premature beats interrupt sinus rhythm."""

    NONE = "none"
    SINGLE = "single"
    BIGEMINY = "bigeminy"
    TRIGEMINY = "trigeminy"
    RUN = "run"


class Origin(StrEnum):
    """Where a premature beat begins."""

    VENTRICULAR = "ventricular"
    ATRIAL = "atrial"


class Conduction(StrEnum):
    """How beats from above spread over the ventricles."""

    NORMAL = "normal"
    BUNDLE_BRANCH_BLOCK = "bundle-branch-block"
    """Every such beat is wide (right bundle branch block)."""
    ABERRANT_PREMATURE = "aberrant-premature"
    """Only premature atrial beats are wide: they find one bundle branch still refractory."""


class Event(StrEnum):
    """Something that the patient does once; who falls or drops into a chair is still after it, unless a step says more."""

    NONE = "none"
    FALL = "fall"
    JUMP = "jump"
    SIT_DOWN_HARD = "sit-down-hard"


class Posture(StrEnum):
    """Which way gravity pulls on a sensor worn on the chest."""

    SUPINE = "supine"
    PRONE = "prone"
    LEFT = "left"
    RIGHT = "right"
    SITTING = "sitting"
    STANDING = "standing"


class Activity(StrEnum):
    """How much the patient moves."""

    REST = "rest"
    RESTLESS = "restless"
    WALKING = "walking"


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientState:
    """Everything that is true of the patient from ``at_s`` on; numbers are approached, not jumped to."""

    at_s: float = 0.0
    rhythm: Rhythm = Rhythm.SINUS
    heart_rate_bpm: float = 70.0
    premature: Premature = Premature.NONE
    premature_origin: Origin = Origin.VENTRICULAR
    premature_per_min: float = 6.0
    """How often a single premature beat or a run begins; without meaning for bigeminy and trigeminy."""
    premature_run_beats: int = 5
    """Beats in one run."""
    premature_run_bpm: float = 150.0
    """Rate within a run."""
    conduction: Conduction = Conduction.NORMAL
    qrs_mv: float | None = None
    """Height of the usual beat in lead II, +-2 % from beat to beat; None is the patient's own, as in the next four."""
    qrs_ms: float | None = None
    """Duration of beats from above the ventricles."""
    pr_ms: float | None = None
    qtc_ms: float | None = None
    """QT of beats from above the ventricles at 60 /min; it follows the square root of the cycle (Bazett)."""
    t_mv: float | None = None
    """Height of their T wave in lead II; negative is inverted."""
    respiratory_rate_bpm: float = 14.0
    """0 is apnoea: central, without any effort."""
    respiratory_depth_ratio: float = 1.0
    """Depth of a breath relative to the usual one: 0.3 is shallow."""
    spo2_pct: float = 97.0
    perfusion_pct: float = 2.0
    """Pulsatile share of the infrared light (perfusion index)."""
    temperature_c: float = 36.8
    systolic_mmhg: float = 122.0
    diastolic_mmhg: float = 78.0
    posture: Posture = Posture.SUPINE
    activity: Activity = Activity.REST
    step_rate_hz: float = 1.8
    """Cadence while walking; 1.8 Hz is usual for an adult, about 108 steps a minute."""
    event: Event = Event.NONE
    """What happens at ``at_s``, once."""
    note: str = ""
    """What a person should know of this phase; shown by `simulate`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A change of the patient's state; what is None stays as it was."""

    at_s: float
    rhythm: Rhythm | None = None
    heart_rate_bpm: float | None = None
    """None keeps the rate, or takes the rhythm's usual one where the rhythm changes."""
    premature: Premature | None = None
    premature_origin: Origin | None = None
    premature_per_min: float | None = None
    premature_run_beats: int | None = None
    premature_run_bpm: float | None = None
    conduction: Conduction | None = None
    qrs_mv: float | None = None
    qrs_ms: float | None = None
    pr_ms: float | None = None
    qtc_ms: float | None = None
    t_mv: float | None = None
    respiratory_rate_bpm: float | None = None
    respiratory_depth_ratio: float | None = None
    spo2_pct: float | None = None
    perfusion_pct: float | None = None
    temperature_c: float | None = None
    systolic_mmhg: float | None = None
    diastolic_mmhg: float | None = None
    posture: Posture | None = None
    activity: Activity | None = None
    step_rate_hz: float | None = None
    event: Event | None = None
    note: str | None = None

    def after(self, state: PatientState) -> PatientState:
        """Return `state` with this change made."""
        changes = {name: getattr(self, name) for name in self.__slots__ if getattr(self, name) is not None}
        if self.rhythm is not None and self.rhythm != state.rhythm:
            changes.setdefault("heart_rate_bpm", DEFAULT_HEART_RATE_BPM[self.rhythm])
        if self.event is Event.FALL:
            changes.setdefault("posture", Posture.RIGHT)
        if self.event is Event.SIT_DOWN_HARD:
            changes.setdefault("posture", Posture.SITTING)
        if self.event in {Event.FALL, Event.SIT_DOWN_HARD}:
            changes.setdefault("activity", Activity.REST)
        # Both belong to this one step.
        changes.setdefault("note", "")
        changes.setdefault("event", Event.NONE)
        return replace(state, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientSettings:
    """Who the patient is; two seeds are two people."""

    seed: int = 1
    age_years: float = 60.0
    """Older hearts vary less with breathing."""
    breath_ecg_ratio: float = 0.05
    """Half the swing of the R wave's height with breathing, relative to it."""
    breath_baseline_mv: float = 0.03
    """Half the swing of the ECG's baseline with breathing."""
    breath_rr_ratio: float | None = None
    """Half the swing of the heart rate with breathing, relative to it; None is what is usual at this age."""
    breath_pulse_ratio: float = 0.0
    """Half the swing of the pulse's height in the light with breathing, relative to it."""
    breath_light_ratio: float = 0.003
    """Half the swing of the steady light with breathing, relative to it."""
    pulse_transit_ms: float | None = None
    """From the R peak to the moment at which the light begins to change; None draws one between 180 and 240 ms."""
    dicrotic_ratio: float | None = None
    """Height of the dicrotic wave relative to the systolic one; None draws one between 0.25 and 0.45."""
    cardiac_impedance_ohm: float = 0.0
    """How far each beat moves the impedance of the chest; breathing moves it by +-0.8 Ohm."""
    motion_light_ratio: float = 0.02
    """By how much 1 g of movement changes the light, relative to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorSettings:
    """What the virtual sensor offers."""

    device_id: str = "virtual-1"
    streams: tuple[str, ...] = ("ecg", "ppg", "respiration", "acceleration")
    ecg_rate_hz: int = 250
    ppg_rate_hz: int = 100
    respiration_rate_hz: int = 25
    acceleration_rate_hz: int = 50
    wrist_rate_hz: int = 64
    """Green light; 64 Hz and 32 Hz are those of a common wearable for research (Empatica E4)."""
    wrist_motion_rate_hz: int = 32
    packet_ms: int = 100
    """Signal time in one packet."""
    reading_period_s: float = 1.0
    """How often SpO2 and pulse rate are sent."""
    temperature_period_s: float = 10.0
    cuff_period_s: float = 120.0
    """How often the cuff measures; 0 switches it off."""
    hello_period_s: float = 10.0
    """How often the sensor says who it is, for a host that only listens; 0 says it only when asked."""
    storage_s: float = 60.0
    """How much of each stream the sensor keeps, to be asked for after a broken link; 0 keeps nothing."""
    start_ticks_before_wrap_s: float | None = None
    """Starts the tick counter that long before it rolls over; None starts it at zero."""

    def rate_hz(self, stream: str) -> int:
        """Return the nominal rate of a stream."""
        return {
            "ecg": self.ecg_rate_hz,
            "ppg": self.ppg_rate_hz,
            "respiration": self.respiration_rate_hz,
            "acceleration": self.acceleration_rate_hz,
            "wrist": self.wrist_rate_hz,
            "wrist-motion": self.wrist_motion_rate_hz,
        }[stream]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A whole story: who, with what sensor, and what happens when."""

    name: str = "unnamed"
    title: str = ""
    duration_s: float | None = None
    """When the story ends; None goes on for ever in its last state."""
    patient: PatientSettings = PatientSettings()
    sensor: SensorSettings = SensorSettings()
    steps: tuple[Step, ...] = ()
    """In order of time."""
    faults: tuple[Fault, ...] = ()

    @classmethod
    def simple(
        cls,
        *,
        rhythm: str = "sinus",
        heart_rate_bpm: float | None = None,
        premature: str = "none",
        seed: int = 1,
        faults: tuple[Fault, ...] = (),
    ) -> Scenario:
        """Return a story in which one state lasts for ever, the shortest way to a signal for a test."""
        step = Step(at_s=0.0, rhythm=Rhythm(rhythm), heart_rate_bpm=heart_rate_bpm, premature=Premature(premature))
        return cls(name=rhythm, patient=PatientSettings(seed=seed), steps=(step,), faults=faults)

    def state_at(self, at_s: float) -> PatientState:
        """Return the state that was ordered for an instant."""
        return [state for state in self.states() if state.at_s <= max(0.0, at_s)][-1]

    def states(self) -> tuple[PatientState, ...]:
        """Return the complete state after each step, the first one at 0 s, in order of time."""
        states = [PatientState()]
        for step in sorted(self.steps, key=lambda step: step.at_s):
            state = step.after(states[-1])
            if state.at_s <= 0:
                states[-1] = replace(state, at_s=0.0)
            else:
                states.append(state)
        return tuple(states)
