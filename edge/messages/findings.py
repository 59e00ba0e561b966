"""What the runtime makes of the samples: the values from quality and beats to alerts and summaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from edge.messages.signals import ChannelKind, Samples

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""What may stand in a published body."""


# --- conditioning and features ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How far one stream can be trusted over one second that ends at ``at_ns``."""

    sensor: str
    stream: str
    at_ns: int
    index: float
    """0 (useless) to 1 (clean); a value is shown only at or above the configured minimum."""
    is_usable: bool
    reasons: tuple[str, ...]
    """``lead-off``, ``flat``, ``saturated``, ``mains``, ``baseline``, ``motion``, ``noise``, ``detector-disagreement``,
    ``weak-lead``, ``waves``, ``low-perfusion``, ``settling`` …; empty when clean."""
    channel: str | None = None
    """The best channel, where the stream has several."""
    sequence: int = 0
    """Index of the sample at ``at_ns``."""
    kind: ChannelKind = ChannelKind.ECG
    """What the judged channels measure."""


class BeatKind(StrEnum):
    """AAMI EC57 beat classes."""

    NORMAL = "N"
    SUPRAVENTRICULAR = "S"
    VENTRICULAR = "V"
    FUSION = "F"
    UNKNOWN = "Q"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """One heart beat, at its R peak (ECG) or pulse foot (PPG)."""

    sensor: str
    stream: str
    at_ns: int
    sequence: int
    """Sample index of the peak in its stream."""
    rr_ms: float | None
    """Interval to the previous beat; None after a gap or at the start."""
    quality: float
    """Signal-quality index 0–1 around the beat."""
    kind: BeatKind = BeatKind.NORMAL
    amplitude_mv: float | None = None
    width_ms: float | None = None
    """Duration of the QRS complex."""
    similarity: float | None = None
    """Correlation −1…1 with this patient's dominant beat; None until one is learned."""
    is_premature: bool = False
    is_late: bool = False
    """Found by search-back, so emitted later than usual."""
    is_noise_suspect: bool = False
    """Detected while the signal was below the quality threshold: kept out of every rate."""
    channel: str | None = None
    """The lead in which it was timed and described."""
    is_after_compensatory_pause: bool = False
    """It ends the full pause after a premature beat: the two intervals together are two usual ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """One pulse wave in a photoplethysmogram (PPG), at its foot: where the blood volume begins to rise."""

    sensor: str
    stream: str
    channel: str
    at_ns: int
    sequence: int
    """Sample index of the foot in its stream."""
    interval_ms: float | None
    """Interval to the previous pulse; None after a gap or at the start."""
    amplitude: float
    """Rise from foot to peak, in the channel's unit."""
    baseline: float
    """Raw level at the foot, in the channel's unit: the non-pulsatile part."""
    quality: float
    """Signal-quality index 0–1 around the pulse."""
    is_noise_suspect: bool = False
    """Found while the signal was below the quality threshold or the body moved: kept out of every rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breath:
    """One breath, at the beginning of its inspiration."""

    sensor: str
    stream: str
    at_ns: int
    interval_s: float | None
    """Time since the breath before; None after a gap or at the start."""
    amplitude: float
    """Swing of the breath in the channel's unit."""
    quality: float
    """Signal-quality index 0–1 around the breath."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value that a stage computed from samples for one instant, or why it could not; `vitals` chooses among them."""

    sensor: str
    stream: str
    measure: str
    """Name with unit: ``pulse_rate_bpm``, ``respiratory_rate_bpm``, ``qtc_ms`` …"""
    value: float | None
    unit: str
    """UCUM code."""
    at_ns: int
    quality: float
    """How far it can be trusted, 0–1; 0 where there is no value."""
    method: str
    """A short stable word for the way it was found: ``impedance``, ``ppg-amplitude``, ``fridericia`` …"""
    absent: str | None = None
    """Why there is no value; None exactly when there is one."""
    valid_for_s: float = 5.0
    """After this age the value is stale: neither shown nor scored."""


class ActivityLevel(StrEnum):
    """How much a person moves."""

    STILL = "still"
    MOVING = "moving"
    WALKING = "walking"


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What an accelerometer says of one second that ends at ``at_ns``."""

    sensor: str
    stream: str
    at_ns: int
    level: ActivityLevel
    intensity_mps2: float
    """Standard deviation of the acceleration's magnitude over the second."""
    cadence_hz: float | None = None
    """Steps a second while walking."""
    posture: str | None = None
    """``upright``, ``supine``, ``prone``, ``left``, ``right``; None where the placement is not known or the body moves."""
    impact_mps2: float | None = None
    """Largest magnitude of the second, where it was an impact after a phase of free fall or a large swing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One vital sign at one instant, or the reason why there is none."""

    value: float | None
    unit: str
    absent: str | None = None
    quality: float | None = None
    source: str = ""
    """Sensor and stream it was taken from, ``chest/ecg``."""
    method: str = ""
    """How it was found, where there are several ways: ``fusion:impedance+ecg``, ``fridericia``, ``device`` …"""
    measured_at_ns: int | None = None
    """When it was measured, where that is not now: a cuff pressure, a spot temperature."""
    trend_per_h: float | None = None
    """Change per hour over the recent past, in ``unit`` per hour; None where that is not known."""
    is_alarmed: bool = True
    """Whether alarm limits apply; not to what is only inferred from another organ's signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """All vital signs of one subject, once a second."""

    at_ns: int
    measurements: Mapping[str, Measurement]
    """Keyed by measure: ``heart_rate_bpm``, ``rmssd_ms``, ``sdnn_ms``, ``spo2_pct`` …"""
    coverage_pct: float
    """Share of the last minute in which the primary ECG (else any) signal was usable."""
    quality: float | None
    """Signal-quality index of the primary stream; None without a signal."""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of one stream at the model's rate, ready for inference."""

    sensor: str
    stream: str
    values: Samples
    """Shape (n_samples, n_channels), in the order and unit that the model's card names."""
    rate_hz: float
    start_ns: int
    sequence: int
    """Index of the first sample at ``rate_hz``."""
    quality: float
    beats: tuple[Beat, ...] = ()
    """The beats in it; of a beat's own window, that beat alone."""
    model: str = "rhythm"
    """Which model is to look at it: ``beat`` or ``rhythm``."""
    features: Mapping[str, float] = field(default_factory=dict)
    """Named numbers beside the samples, such as an interval against the patient's usual one; NaN is unknown."""
    channel: str | None = None
    """The lead that the samples come from, where one was chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model says of a window, or that it cannot tell."""

    at_ns: int
    """The instant that it is about: of a beat, its R peak; of a rhythm, the end of the window."""
    label: str | None
    """None when the model abstains; ``absent`` then says why."""
    probabilities: Mapping[str, float]
    bundle_sha256: str
    absent: str | None = None
    evidence: Mapping[str, Json] = field(default_factory=dict)
    model: str = "rhythm"
    """Which model it is: ``beat`` or ``rhythm``."""
    sensor: str = ""
    stream: str = ""
    sequence: int = 0
    """Of the window, at the model's rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifiedBeat:
    """A beat with its AAMI class, once it is decided: about one beat after it was found where a model looks at it."""

    beat: Beat
    """Its ``kind`` is the class."""
    source: str
    """Who decided: ``model``; ``rule`` where there is no model, it abstains, or it is late; ``sensor`` where the beat came
    with its class."""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    """Of each class; empty where no model was asked."""
    bundle_sha256: str | None = None
    window_sequence: int | None = None
    """Names the window that the model saw."""


# --- monitoring -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RhythmChange:
    """The rule-based rhythm became another one."""

    at_ns: int
    sequence: int
    label: str
    """WFDB rhythm name without the bracket: ``N``, ``SBR``, ``SVTA``, ``VT``, ``VF``, ``AFIB``, ``ASYS``, ``B``, ``T``."""


class AlertKind(StrEnum):
    """Whose trouble it is (IEC 60601-1-8)."""

    PHYSIOLOGICAL = "physiological"
    TECHNICAL = "technical"


class Priority(StrEnum):
    """How quickly somebody must act (IEC 60601-1-8)."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A rule's claim that something alarming is present, or is over; `alarms` turns it into an alert."""

    code: str
    """Stable key, one life-cycle each: ``asystole``, ``heart_rate_bpm-high``, ``link-lost:chest`` …"""
    kind: AlertKind
    priority: Priority
    is_active: bool
    at_ns: int
    """When the rule decided."""
    onset_at_ns: int
    """When what it saw began."""
    sentence: str
    """One plain sentence for a nurse."""
    is_latching: bool = False
    """Stays until a person has acknowledged it, even when it is over."""
    evidence: Mapping[str, Json] = field(default_factory=dict)


class AlertState(StrEnum):
    """Where an alert is in its life."""

    RAISED = "raised"
    ACKNOWLEDGED = "acknowledged"
    CLEARED_UNACKNOWLEDGED = "cleared_unacknowledged"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Who took note of an alert."""

    by: str
    at_ns: int
    via: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert at one point of its life; a new revision for every transition."""

    id: str
    revision: int
    episode: int
    """How often this condition has been raised since the runtime started, this time included."""
    kind: AlertKind
    priority: Priority
    condition: str
    sentence: str
    state: AlertState
    is_latched: bool
    onset_at_ns: int
    at_ns: int
    """When this transition was decided."""
    acknowledged: Acknowledgement | None = None
    silenced_until_ns: int | None = None
    evidence: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """What one measure did over an interval."""

    unit: str
    n: int
    minimum: float | None
    median: float | None
    maximum: float | None
    coverage_pct: float
    """Share of the interval's seconds that had a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Aggregates of one interval."""

    start_ns: int
    end_ns: int
    statistics: Mapping[str, Statistic]
    n_beats: int
    coverage_pct: float
    quality: float | None
    losses: Mapping[str, int]
    """Samples or frames lost in the interval, by reason."""
    alerts: Mapping[str, int]
    """Alerts raised in the interval, by condition."""
    rhythm_s: Mapping[str, float]
    """Seconds spent in each rhythm label."""
