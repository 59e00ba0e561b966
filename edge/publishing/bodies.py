"""The bodies of all messages, field by field: the contract that `schemas` turns into JSON Schema.

`Seal` is what is known only when a message is sent; everything else stands from the moment it was written to
the outbox.  Times are RFC 3339 in UTC with milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

Mode = Literal["real", "test", "demo"]
Time = str
Open = object
"""Any JSON value; not spelled out, because a recursive type has no finite schema."""
LIMITS_OF_USE = (
    "Research and engineering software. Not a medical device; must not be used for diagnosis, treatment or as the "
    "only means of monitoring."
)


class Described:
    """Base of all bodies: the sentences under the fields become the descriptions in the schema."""

    __slots__ = ()
    __pydantic_config__: ClassVar[Mapping[str, bool]] = {"use_attribute_docstrings": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockBody(Described):
    """How far the times of this message can be trusted."""

    sync: Literal["ntp", "holdover", "unsynchronised", "unknown"]
    error_ms: float | None
    """Largest error the clock source admits."""
    epoch: int
    """Goes up whenever the wall clock was stepped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceBody(Described):
    """What computed the value."""

    pipeline: str
    """Hash of program and configuration, or the sensor and stream it came from."""
    model: str | None
    """Hash of the model bundle; null where no model took part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityBody(Described):
    """How good the value is."""

    valid: bool
    index: float | None
    """Signal-quality index 0 to 1."""
    reasons: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeBody(Described):
    """The quantity in MDC (the key) and LOINC (an annotation)."""

    mdc: int | None
    loinc: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal(Described):
    """What is added at the moment of sending; the same message sent twice differs in ``published_at`` at most."""

    id: str
    """UUID of the record, the same however often it is sent: de-duplicate by it."""
    seq: int | None
    """Order within ``(epoch)``; null for what does not pass the outbox (birth)."""
    epoch: str | None
    """Name of the outbox database; a new one begins its own sequence."""
    published_at: Time
    hist: bool
    """History: sent late.  Never alarm on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope(Described):
    """What every message carries."""

    SCHEMA: ClassVar[str] = ""

    schema: str
    gateway: str
    boot: str
    """Start of the runtime; order by ``(boot, seq)``, never by arrival."""
    stream_seq: int
    """Runs without holes within one boot, topic and subject; a hole is a loss."""
    session: str | None
    subject: str | None
    """Pseudonym of the person; null for what concerns the gateway, or a sensor that nobody is bound to."""
    device: str | None
    """Identifier of the sensor in the configuration."""
    mode: Mode
    measured_at: Time
    device_time: int | str | None
    """The device's own time: nanoseconds of its counter, or its wall clock without a zone as ``2025-03-14T09:30:00``;
    null where it has none."""
    clock: ClockBody
    valid_until: Time | None
    source: SourceBody


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingBody(Envelope):
    """One value, or why there is none."""

    SCHEMA: ClassVar[str] = "reading/1"

    measure: str
    """Name with unit, as in summaries and limits: ``heart_rate_bpm``."""
    code: CodeBody
    value: float | None
    absent: str | None
    """Why there is no value; null exactly when there is one."""
    unit: str
    """UCUM."""
    quality: QualityBody
    method: str | None
    """How it was found, where there are several ways: ``device``, ``pulses``, ``fusion:impedance+ecg``; else null."""
    trend_per_h: float | None
    """Change per hour over the recent past, for what changes slowly; null where that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticBody(Described):
    """What one measure did over the interval."""

    unit: str
    n: int
    min: float | None
    median: float | None
    max: float | None
    coverage_pct: float | None
    code: CodeBody


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryBody(Envelope):
    """Aggregates of one interval."""

    SCHEMA: ClassVar[str] = "summary/1"

    start_at: Time
    end_at: Time
    duration_s: float
    statistics: Mapping[str, StatisticBody]
    n_beats: int
    coverage_pct: float | None
    quality: QualityBody
    losses: Mapping[str, int]
    alerts: Mapping[str, int]
    rhythm_s: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionBody(Described):
    """What is wrong, as a key and as a sentence."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AcknowledgedBody(Described):
    """Who took note."""

    by: str
    at: Time
    via: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertBody(Envelope):
    """One alert at one point of its life; acknowledge it by ``alert_id`` and ``revision``."""

    SCHEMA: ClassVar[str] = "alert/1"

    alert_id: str
    revision: int
    episode: int
    kind: Literal["physiological", "technical"]
    priority: Literal["high", "medium", "low"]
    condition: ConditionBody
    state: Literal["raised", "acknowledged", "cleared_unacknowledged", "closed"]
    latched: bool
    onset_at: Time
    acknowledged: AcknowledgedBody | None
    silenced_until: Time | None
    limits: Mapping[str, Open] | None
    """The limits in force, where a limit was crossed."""
    evidence: Mapping[str, Open]
    receipt: None = None
    """Machine receipt; null until consumers acknowledge end to end."""
    limits_of_use: str = LIMITS_OF_USE


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorStatusBody(Envelope):
    """State of one sensor's link."""

    SCHEMA: ClassVar[str] = "sensor-status/1"

    state: Literal["connecting", "connected", "silent", "lost", "asleep", "stopped"]
    reason: str
    max_silence_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GapBody(Envelope):
    """A range that will never come."""

    SCHEMA: ClassVar[str] = "gap/1"

    stream: str
    """Sensor and stream of lost samples, ``chest/ecg``; the topic of lost messages."""
    kind: Literal["samples", "messages"]
    reason: str
    start_at: Time
    end_at: Time
    n_missing: int | None
    """Null where it cannot be known."""
    first_seq: int | None = None
    """Sequence range of lost messages; null where they never got one."""
    last_seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthBody(Envelope):
    """Figures of the runtime; ``metrics`` may grow, what is there keeps its meaning."""

    SCHEMA: ClassVar[str] = "health/1"

    metrics: Mapping[str, Open]


@dataclass(frozen=True, slots=True, kw_only=True)
class BirthBody(Envelope):
    """What the gateway is made of; retained, sent on every connect."""

    SCHEMA: ClassVar[str] = "birth/1"

    versions: Mapping[str, str]
    config_hash: str
    models: Mapping[str, str]
    sensors: list[dict[str, Open]]
    """Per sensor: ``id``, ``driver``, ``max_silence_s``, and its streams with channels, unit and rate."""
    details: Mapping[str, Open] = field(default_factory=dict)
    schema_url: str | None = None
    limits_of_use: str = LIMITS_OF_USE


BODIES: tuple[type[Envelope], ...] = (
    ReadingBody,
    SummaryBody,
    AlertBody,
    SensorStatusBody,
    GapBody,
    HealthBody,
    BirthBody,
)
