"""What can be configured: one frozen section per TOML table, one documented field per key.

The docstrings here are the documentation: JSON Schema and ``vitaledge config init`` are made from them, so each says
its unit and where its default comes from.  `edge.config` fills the tree and `edge.app` hands every object its own
branch, never the whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, with_config

from edge.config_sensor import Sensor
from edge.config_types import (
    DURATION,
    GRADE,
    PATTERN_WORDS,
    STRICT,
    Duration,
    Identifier,
    Name,
    NotNegative,
    Positive,
    Text,
)
from edge.messages import Priority

_UNIT_S: Mapping[str, int] = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def duration_s(text: str) -> float | None:
    """Return a duration such as ``30d`` in seconds; None for ``forever``.

    Raises
    ------
    ValueError
        If the text is no duration.

    Examples
    --------
    >>> duration_s("30d")
    2592000.0
    """
    if re.fullmatch(DURATION, text) is None:
        raise ValueError(f"expected {PATTERN_WORDS[DURATION]}, got {text!r}")
    if text == "forever":
        return None
    unit = text.lstrip("0123456789")
    return float(int(text.removesuffix(unit)) * _UNIT_S[unit])


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReference:
    """Where a secret is kept; the secret itself never stands in a configuration."""

    credential: Text | None = None
    """Name of a systemd credential (``LoadCredential=``), a file in ``$CREDENTIALS_DIRECTORY``."""
    file: Text | None = None
    """Path of a file that holds nothing else; a line break at its end is left out."""
    env: Text | None = None
    """Name of an environment variable; the weakest way, since child processes inherit it."""

    def __post_init__(self) -> None:
        given = [name for name in ("credential", "file", "env") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected exactly one of credential, file, env; got {' and '.join(given) or 'none'}")
        if self.credential is not None and ("/" in self.credential or self.credential in {".", ".."}):
            raise ValueError("expected the name of a credential, got a path; use file for a path")


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Who this device is; both names stand in every topic."""

    id: Identifier = "gateway"
    """Name of this device, unique at the broker; no patient, bed or staff identifier.  Default: a single device."""
    site: Identifier = "home"
    """Place that the device belongs to, such as a ward or a house.  Default: a single device."""


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One monitored person and the sensors that are on this person."""

    id: Annotated[Identifier, Field(examples=["p-9c1e"])]
    """Pseudonym; never a name, a bed or a hospital number."""
    sensors: Annotated[tuple[Identifier, ...], Field(examples=[["bed"]])] = ()
    """Ids of the sensors; a sensor belongs to one subject at most, and one that belongs to none says so."""


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Ecg:
    """How the electrocardiogram is cleaned and judged."""

    mains_hz: Literal[50, 60] = 50
    """Frequency of the mains, Hz: 50 in most of the world, 60 in the Americas and in part of Japan."""
    band_hz: tuple[Positive, Positive] = (0.5, 40.0)
    """Pass band, low and high edge, Hz.  Default: the usual band of bedside monitors."""
    min_quality: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Signal-quality index 0–1 below which no value is given.  Default: a round figure somewhat above
    the middle; the index itself is documented with the quality stage."""

    def __post_init__(self) -> None:
        low_hz, high_hz = self.band_hz
        if not low_hz < high_hz:
            raise ValueError(f"expected band_hz = [low, high] with low < high, got [{low_hz:g}, {high_hz:g}]")


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model that looks at windows of the signal: ``beat`` and ``rhythm`` are the runtime's own, any other is yours."""

    bundle: Annotated[Text, Field(examples=["auto"])] = "auto"
    """Which model: ``auto`` for the one promoted with ``vitaledge model promote``, else the one that came with this
    software (``beat`` and ``rhythm`` only); ``builtin`` for that one whatever was promoted; ``none`` for none, so that
    the rules decide alone; or the directory or zip of a bundle."""
    window_s: Positive = 10.0
    """Length of a window, s, of a model of your own; ``beat`` and ``rhythm`` have windows of their own.  Default: the
    length of a standard resting ECG."""
    hop_s: Positive = 2.0
    """Time from one window to the next, s, of a model of your own; at most ``window_s``, so that nothing goes unseen.
    Default: a fifth of it, so that every beat is judged five times."""
    backend: Literal["auto", "litert", "tflite"] = "auto"
    """Which TFLite runtime; ``auto`` takes the first that can build an interpreter."""
    deadline_s: Positive = 2.0
    """Seconds after which an inference counts as late, s.  Default: the rules wait 4 s for the class of a beat."""

    def __post_init__(self) -> None:
        if self.hop_s > self.window_s:
            raise ValueError(f"expected hop_s <= window_s, got {self.hop_s:g} > {self.window_s:g}")


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Where models are kept, and whose are trusted."""

    path: Annotated[Text | None, Field(examples=["/var/lib/vitaledge/models"])] = None
    """Directory of the models that were staged and promoted; none means ``models`` beside the outbox."""
    trusted_keys: Annotated[tuple[Text, ...], Field(examples=[["/etc/vitaledge/model-keys.json"]])] = ()
    """Files of further public keys whose bundles are accepted; the project's own key is always trusted."""
    allow_unsigned: bool = False
    """Whether a bundle without a signature is used.  Default: nobody vouches for one; for work on a desk only."""


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """What is kept on this machine to explain an alert."""

    path: Annotated[Text | None, Field(examples=["/var/lib/vitaledge/alerts"])] = None
    """Directory with one file per alert: its signal, what the models saw and said; none means ``alerts`` beside the
    outbox."""
    max_mb: Annotated[int, Field(ge=1)] = 100
    """Largest size of it, MB; the oldest go first.  Default: some thousand alerts."""
    publish_strip: bool = False
    """Whether the strip of the signal leaves the gateway in the alert's evidence.  Default: only numbers do."""


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One alarm limit of one vital sign, in that sign's unit."""

    measure: Annotated[Name, Field(examples=["spo2_pct"])]
    """Vital sign, as in the contract: ``heart_rate_bpm``, ``spo2_pct`` …; its limits replace the built-in ones."""
    grade: Annotated[str, Field(pattern=GRADE, examples=["extreme"])] = ""
    """Tells several limits of one measure apart, such as ``extreme`` for a second, further one."""
    low: Annotated[float | None, Field(examples=[90])] = None
    """Alarm below this value."""
    high: Annotated[float | None, Field(examples=[100])] = None
    """Alarm above this value."""
    hysteresis: NotNegative = 0.0
    """How far back inside a limit the value must come to end the alarm.  Default: none, the limit itself."""
    on_delay_s: NotNegative = 10.0
    """Seconds for which the value must be outside before the alarm.  Default: long enough for a cough or a
    turn in bed; disclosed delays of bedside devices are 10 to 30 s."""
    off_delay_s: NotNegative = 15.0
    """Seconds for which the value must be inside before the end.  Default: longer than ``on_delay_s``, so that
    a value that hovers at the limit is one alarm."""
    priority: Priority = Priority.MEDIUM
    """How quickly somebody must act (IEC 60601-1-8)."""
    latching: bool = False
    """Whether the alarm stays until somebody has acknowledged it, even when the value is inside again."""

    def __post_init__(self) -> None:
        if self.low is None and self.high is None:
            raise ValueError("expected low, high or both; got neither")
        if self.low is not None and self.high is not None:
            if not self.low < self.high:
                raise ValueError(f"expected low < high, got low = {self.low:g} and high = {self.high:g}")
            if not 2 * self.hysteresis < self.high - self.low:  # else an alarm could never end
                raise ValueError(
                    f"expected hysteresis < half of high - low = {(self.high - self.low) / 2:g}, "
                    f"got {self.hysteresis:g}"
                )


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxKeep:
    """How long what nobody has fetched is kept, by lane."""

    alert: Literal["forever"] = "forever"
    """Alerts: an alert is never thrown away, so nothing else can be set."""
    summary: Duration = "30d"
    """Summaries.  Default: outlasts a broker that is away over a holiday."""
    reading: Duration = "7d"
    """Single readings.  Default: a week, after which the summaries tell the story."""


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """The durable store between the pipeline and the broker."""

    path: Text = "/var/lib/vitaledge/outbox.db"
    """Database file.  Default: the state directory of the systemd unit."""
    max_mb: Annotated[int, Field(ge=10)] = 2000
    """Largest size on disk, MB (10⁶ bytes); beyond it readings go first and alerts never.  Default: a small
    part of the 16 GB card or flash that such devices have."""
    keep: OutboxKeep = field(default_factory=OutboxKeep)


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Mqtt:
    """The connection to the broker."""

    host: Annotated[Text | None, Field(examples=["broker.example"])] = None
    """Name or address of the broker; none means that everything is kept in the outbox."""
    port: Annotated[Annotated[int, Field(ge=1, le=65535)] | None, Field(examples=[8883])] = None
    """TCP port; none means 8883 with TLS and 1883 without (IANA)."""
    embedded: bool = False
    """Whether to start a broker on this machine's loopback when no host is given: mosquitto, else the nats-server
    wheel.  For a single bed; default: a broker is the site's choice."""
    tls: bool = True
    """Whether the connection is encrypted.  Default: what leaves the device is about a person."""
    ca: Annotated[Text | None, Field(examples=["/etc/vitaledge/ca.pem"])] = None
    """File with the certificates (PEM) that the broker's is checked against; none means the system's."""
    cert: Annotated[Text | None, Field(examples=["/etc/vitaledge/device.pem"])] = None
    """File with this device's certificate (PEM)."""
    key: Annotated[SecretReference | None, Field(examples=[{"credential": "mqtt-key"}])] = None
    """Private key (PEM) of ``cert``; a credential or a file, since the TLS library reads it by path."""
    username: Annotated[Text | None, Field(examples=["gw-7f3a"])] = None
    """User name at the broker."""
    password: Annotated[SecretReference | None, Field(examples=[{"credential": "mqtt-password"}])] = None
    """Password at the broker."""
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    """MQTT version; ``auto`` tries 5 and falls back."""
    root: Identifier = "vitaledge"
    """First part of every topic."""
    keepalive_s: Annotated[int, Field(ge=5, le=65535)] = 15
    """Seconds between signs of life, s; a silent peer was noticed after twice this time when measured,
    so 15 s keeps that within half a minute."""
    client_id: Annotated[Text | None, Field(examples=["vitaledge-gw-7f3a"])] = None
    """Client identifier, unique at the broker; none means ``vitaledge-`` and the gateway's id."""

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ValueError("expected cert and key together, got only " + ("key" if self.cert is None else "cert"))
        if self.key is not None and self.key.env is not None:
            raise ValueError('expected key = { credential = "…" } or { file = "…" }, got env: TLS reads keys by path')
        if self.embedded and self.host is not None:
            raise ValueError(f"expected host or embedded = true, got both (host = {self.host!r})")
        if self.password is not None and self.username is None:
            raise ValueError("expected a username with the password, got none")
        if not self.tls and (self.ca is not None or self.cert is not None):
            raise ValueError("expected tls = true where ca or cert is given, got tls = false")

    @property
    def effective_port(self) -> int:
        """The TCP port to connect to."""
        return self.port if self.port is not None else (8883 if self.tls else 1883)


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Summaries:
    """The aggregates that are always published."""

    period_s: Annotated[int, Field(ge=10, le=86400)] = 60
    """Length of an interval, s.  Default: one a minute."""


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What the runtime writes about itself, to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least important event that is written; health values appear only at ``debug``."""
    format: Literal["text", "json"] = "text"
    """``text`` is one line of key=value, ``json`` one object a line."""


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be configured."""

    config_version: Annotated[int, Field(ge=1, le=1)] = 1
    """Version of this format; a file of a newer version is refused."""
    gateway: Gateway = field(default_factory=Gateway)
    sensor: tuple[Sensor, ...] = ()
    subject: tuple[Subject, ...] = ()
    ecg: Ecg = field(default_factory=Ecg)
    model: Mapping[Name, Model] = field(default_factory=dict)
    models: Models = field(default_factory=Models)
    alerts: Alerts = field(default_factory=Alerts)
    limit: tuple[Limit, ...] = ()
    outbox: Outbox = field(default_factory=Outbox)
    mqtt: Mqtt = field(default_factory=Mqtt)
    summary: Summaries = field(default_factory=Summaries)
    log: Log = field(default_factory=Log)

    def subject_of(self, sensor_id: str) -> str | None:
        """Return the pseudonym that a sensor is bound to; None for an unassigned sensor."""
        return next((subject.id for subject in self.subject if sensor_id in subject.sensors), None)
