"""Messages in, outbox entries out: what the care centre will read, made here and nowhere else.

`Payloads` is used by the composition root, one per subject and one for the gateway itself.  Everything that can
be known is written at once; `seal` adds the rest at the moment of sending.  A number that is not finite never
becomes JSON: the value is then null with a reason.
"""

from __future__ import annotations

import collections
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from edge.messages import (
    Alert,
    AlertState,
    ClockState,
    Gap,
    Json,
    LinkChange,
    Measurement,
    Reading,
    ReadingStatus,
    Statistic,
    Summary,
)
from edge.outbox.record import Entry, Lane, Loss, Record
from edge.publishing import bodies
from edge.publishing.codes import Code, code_of
from edge.publishing.json_values import clean, finite, wall_time
from edge.publishing.topics import Topics, measure_segment

_RECORD_IDS = uuid.UUID("7c3a4a86-6f0e-4f0e-9d2c-2f1f6f0b7f5a")
"""Name space of record identifiers: `uuid5` of gateway, epoch and sequence."""
_STATUS_EXPIRY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeSettings:
    """What stands in every message of one gateway and subject."""

    gateway: str
    site: str
    boot: str
    """Boot id of the outbox, ``b-41``."""
    root: str = "vitaledge"
    """First part of every topic."""
    mode: bodies.Mode = "real"
    subject: str | None = None
    """Pseudonym; None for the gateway's own messages and for sensors that nobody is bound to."""
    config_hash: str = "sha256:unknown"
    """Hash of the effective configuration, the ``source.pipeline`` of every message."""
    summary_period_s: float = 60.0
    """Length of a whole interval, which names the topic; the first and the last interval of a run are shorter."""
    health_interval_s: float = 60.0
    """Health expires after twice this; contract.md §3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A retained message that is published on every connect without passing the outbox."""

    topic: str
    body: bytes


class Payloads:
    """The encoder of one subject's messages.

    Parameters
    ----------
    settings : EnvelopeSettings
        What stands in every message.
    to_wall_ns : callable
        Turns a monotonic instant into nanoseconds since 1970.
    clock_state : callable
        How far that can be trusted.
    """

    def __init__(
        self, settings: EnvelopeSettings, *, to_wall_ns: Callable[[int], int], clock_state: Callable[[], ClockState]
    ) -> None:
        self._settings = settings
        self._to_wall_ns = to_wall_ns
        self._clock_state = clock_state
        self._stream_seq: collections.Counter[str] = collections.Counter()
        self.topics = Topics(root=settings.root, site=settings.site, gateway=settings.gateway)

    def measurement(
        self,
        measure: str,
        measurement: Measurement,
        at_ns: int,
        *,
        sensor: str | None = None,
        valid_for_s: float = 15.0,
    ) -> Entry:
        """Return the reading of one vital sign as it is shown at `at_ns`; a receiver may use it for `valid_for_s`."""
        index = measurement.quality
        return self._reading(
            measure=measure,
            value=measurement.value,
            unit=measurement.unit,
            absent=measurement.absent,
            quality=index,
            reasons=(),
            at_ns=at_ns,
            device=sensor or measurement.source.split("/")[0] or None,
            valid_for_s=valid_for_s,
            measurement=measurement,
        )

    def reading(self, reading: Reading) -> Entry:
        """Return the reading of a value that the device computed itself; one from its memory is history at once."""
        is_invalid = reading.status is ReadingStatus.INVALID
        return self._reading(
            measure=reading.measure,
            value=None if is_invalid else reading.value,
            unit=reading.unit,
            absent=(reading.absent or "device-says-invalid") if is_invalid else reading.absent,
            quality=None,
            reasons=() if reading.status is ReadingStatus.VALID else (reading.status.value,),
            at_ns=reading.measured_at_ns,
            device=reading.sensor,
            valid_for_s=0.0 if reading.is_stored else reading.valid_for_s,
            device_time=reading.device_time,
        )

    def summary(self, summary: Summary, device: str | None = None) -> Entry:
        """Return the aggregates of one interval."""
        duration_s = (summary.end_ns - summary.start_ns) / 1e9
        topic = self.topics.summary(self._settings.summary_period_s)
        body = bodies.SummaryBody(
            **self._envelope(bodies.SummaryBody, topic, summary.end_ns, device=device),
            start_at=self._time(summary.start_ns),
            end_at=self._time(summary.end_ns),
            duration_s=duration_s,
            statistics={name: _statistic(name, value) for name, value in summary.statistics.items()},
            n_beats=summary.n_beats,
            coverage_pct=finite(summary.coverage_pct),
            quality=_quality(summary.quality, is_valid=summary.coverage_pct > 0, reasons=()),
            losses=dict(summary.losses),
            alerts=dict(summary.alerts),
            rhythm_s={label: finite(duration) for label, duration in summary.rhythm_s.items()},
        )
        return Entry(lane=Lane.SUMMARY, topic=topic, body=_encoded(body))

    def alert(self, alert: Alert) -> tuple[Entry, Entry]:
        """Return the alert's retained state, empty when it is closed, and the entry of its log."""
        state_topic = self.topics.alert(alert.id)
        is_closed = alert.state is AlertState.CLOSED
        state = b"" if is_closed else _encoded(self._alert_body(alert, state_topic))
        log = _encoded(self._alert_body(alert, self.topics.alert_log))
        return (
            Entry(lane=Lane.ALERT, topic=state_topic, body=state, is_retained=True),
            Entry(lane=Lane.ALERT, topic=self.topics.alert_log, body=log),
        )

    def sensor_status(self, change: LinkChange, max_silence_s: float | None = None) -> Entry:
        """Return the retained state of a sensor's link."""
        topic = self.topics.sensor_status(change.sensor)
        body = bodies.SensorStatusBody(
            **self._envelope(bodies.SensorStatusBody, topic, change.at_ns, device=change.sensor),
            state=change.state.value,
            reason=change.reason,
            max_silence_s=max_silence_s,
        )
        return Entry(lane=Lane.SUMMARY, topic=topic, body=_encoded(body), is_retained=True, expiry_s=_STATUS_EXPIRY_S)

    def gap(self, gap: Gap) -> Entry:
        """Return the announcement of samples that will never come."""
        topic = self.topics.gap
        body = bodies.GapBody(
            **self._envelope(bodies.GapBody, topic, gap.end_ns, device=gap.sensor),
            stream=f"{gap.sensor}/{gap.stream}",
            kind="samples",
            reason=gap.reason,
            start_at=self._time(gap.start_ns),
            end_at=self._time(gap.end_ns),
            n_missing=gap.n_missing,
        )
        return Entry(lane=Lane.SUMMARY, topic=topic, body=_encoded(body))

    def loss(self, loss: Loss) -> Entry:
        """Return the announcement of messages that the outbox had to give up (its ``describe_loss``)."""
        topic = self.topics.gap
        last_at = wall_time(loss.last_at_ns)
        body = bodies.GapBody(
            **(self._envelope(bodies.GapBody, topic, 0) | {"measured_at": last_at}),
            stream=loss.topic,
            kind="messages",
            reason=loss.reason.value,
            start_at=wall_time(loss.first_at_ns),
            end_at=last_at,
            n_missing=loss.n_records,
            first_seq=loss.first_sequence,
            last_seq=loss.last_sequence,
        )
        return Entry(lane=Lane.SUMMARY, topic=topic, body=_encoded(body))

    def health(self, metrics: Mapping[str, Json], at_ns: int) -> Entry:
        """Return the figures of the runtime."""
        topic = self.topics.health
        body = bodies.HealthBody(**self._envelope(bodies.HealthBody, topic, at_ns), metrics=metrics)
        expiry_s = 2 * self._settings.health_interval_s
        return Entry(lane=Lane.READING, topic=topic, body=_encoded(body), expiry_s=expiry_s)

    def birth(
        self,
        *,
        at_ns: int,
        versions: Mapping[str, str],
        models: Mapping[str, str],
        sensors: Sequence[Mapping[str, Json]],
        details: Mapping[str, Json] | None = None,
        schema_url: str | None = None,
    ) -> Announcement:
        """Return what the gateway is made of, sealed already: it does not pass the outbox."""
        topic = self.topics.birth
        body = bodies.BirthBody(
            **self._envelope(bodies.BirthBody, topic, at_ns),
            versions=versions,
            config_hash=self._settings.config_hash,
            models=models,
            sensors=[dict(sensor) for sensor in sensors],
            details=details or {},
            schema_url=schema_url,
        )
        name = f"{self._settings.gateway}/{self._settings.boot}/birth/{body.stream_seq}"
        seal = bodies.Seal(
            id=str(uuid.uuid5(_RECORD_IDS, name)), seq=None, epoch=None, published_at=body.measured_at, hist=False
        )
        return Announcement(topic=topic, body=_dumped(clean(asdict(body) | asdict(seal))))

    def _alert_body(self, alert: Alert, topic: str) -> bodies.AlertBody:
        acknowledged = alert.acknowledged
        limits = alert.evidence.get("limits")
        envelope = self._envelope(bodies.AlertBody, topic, alert.at_ns)
        decision = alert.evidence.get("decision")
        if isinstance(decision, dict):  # a model took part
            envelope["source"] = replace(envelope["source"], model=f"sha256:{decision.get('bundle_sha256')}")
        return bodies.AlertBody(
            **envelope,
            alert_id=alert.id,
            revision=alert.revision,
            episode=alert.episode,
            kind=alert.kind.value,
            priority=alert.priority.value,
            condition=bodies.ConditionBody(code=alert.condition, text=alert.sentence),
            state=alert.state.value,
            latched=alert.is_latched,
            onset_at=self._time(alert.onset_at_ns),
            acknowledged=None
            if acknowledged is None
            else bodies.AcknowledgedBody(by=acknowledged.by, at=self._time(acknowledged.at_ns), via=acknowledged.via),
            silenced_until=None if alert.silenced_until_ns is None else self._time(alert.silenced_until_ns),
            limits=limits if isinstance(limits, dict) else None,
            evidence=alert.evidence,
        )

    def _reading(
        self,
        *,
        measure: str,
        value: float | None,
        unit: str,
        absent: str | None,
        quality: float | None,
        reasons: Sequence[str],
        at_ns: int,
        device: str | None,
        valid_for_s: float,
        measurement: Measurement | None = None,
        device_time: str | None = None,
    ) -> Entry:
        topic = self.topics.reading(measure)
        number = finite(value)
        if number is None:
            absent = absent or ("not-a-number" if value is not None else "unknown")
        own_ns = at_ns if measurement is None or measurement.measured_at_ns is None else measurement.measured_at_ns
        envelope = self._envelope(bodies.ReadingBody, topic, own_ns, device=device)
        body = bodies.ReadingBody(
            **(envelope | {"valid_until": self._time(at_ns + round(valid_for_s * 1e9)), "device_time": device_time}),
            measure=measure,
            code=_code(code_of(measure_segment(measure))),
            value=number,
            absent=absent if number is None else None,
            unit=unit,
            quality=_quality(quality, is_valid=number is not None and not reasons, reasons=reasons),
            method="device" if measurement is None else measurement.method or None,
            trend_per_h=None if measurement is None else finite(measurement.trend_per_h),
        )
        # What a device remembered is said once: it waits for somebody to hear it, as a summary does.
        lane = Lane.SUMMARY if valid_for_s == 0 else Lane.READING
        return Entry(lane=lane, topic=topic, body=_encoded(body), expiry_s=valid_for_s)

    def _envelope(
        self, body: type[bodies.Envelope], topic: str, at_ns: int, *, device: str | None = None
    ) -> dict[str, Any]:
        """Return the fields common to all; one dict, because a dataclass cannot be filled in two steps."""
        settings = self._settings
        clock = self._clock_state()
        stream_seq = self._stream_seq[topic]
        self._stream_seq[topic] += 1
        return {
            "schema": body.SCHEMA,
            "gateway": settings.gateway,
            "boot": settings.boot,
            "stream_seq": stream_seq,
            "session": None,
            "subject": settings.subject,
            "device": device,
            "mode": settings.mode,
            "measured_at": self._time(at_ns),
            "device_time": None,
            "clock": bodies.ClockBody(sync=clock.sync.value, error_ms=finite(clock.error_ms), epoch=clock.epoch),
            "valid_until": None,
            "source": bodies.SourceBody(pipeline=settings.config_hash, model=None),
        }

    def _time(self, at_ns: int) -> str:
        return wall_time(self._to_wall_ns(at_ns))


def seal(record: Record, *, gateway: str, published_ns: int, is_history: bool) -> bytes:
    """Return the bytes to send for `record`; nothing for the message that clears a retained one.

    Parameters
    ----------
    record : Record
        As the outbox gave it back.
    gateway : str
        Part of the name from which the identifier is made, so that it is unique over all gateways.
    published_ns : int
        Wall time of sending.
    is_history : bool
        Whether the message is late; a consumer never alarms from history.
    """
    if not record.body:
        return b""
    name = f"{gateway}/{record.epoch}/{record.sequence}"
    sealed = bodies.Seal(
        id=str(uuid.uuid5(_RECORD_IDS, name)),
        seq=record.sequence,
        epoch=record.epoch,
        published_at=wall_time(published_ns),
        hist=is_history,
    )
    return _dumped(json.loads(record.body) | asdict(sealed))


def schema_of(record: Record) -> str:
    """Return the schema that the record's body names, for the MQTT 5 user property; empty for an empty body."""
    return str(json.loads(record.body)["schema"]) if record.body else ""


def _encoded(body: bodies.Envelope) -> bytes:
    return _dumped(clean(asdict(body)))


def _dumped(body: Json) -> bytes:
    return json.dumps(body, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def _quality(index: float | None, *, is_valid: bool, reasons: Sequence[str]) -> bodies.QualityBody:
    return bodies.QualityBody(valid=is_valid, index=finite(index), reasons=list(reasons))


def _statistic(measure: str, value: Statistic) -> bodies.StatisticBody:
    return bodies.StatisticBody(
        unit=value.unit,
        n=value.n,
        min=finite(value.minimum),
        median=finite(value.median),
        max=finite(value.maximum),
        coverage_pct=finite(value.coverage_pct),
        code=_code(code_of(measure_segment(measure))),
    )


def _code(code: Code) -> bodies.CodeBody:
    return bodies.CodeBody(mdc=code.mdc, loinc=code.loinc)
