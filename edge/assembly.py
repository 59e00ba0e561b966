"""From the configuration to the settings of every stage: each object gets its own branch, never the tree."""

from __future__ import annotations

from collections.abc import Mapping

from edge.conditioning.filters import FilterSettings
from edge.conditioning.quality import QualitySettings
from edge.config import Config, duration_s, read_secret, secret_path
from edge.config_sensor import Sensor
from edge.ecg_chain import EcgChainSettings
from edge.features.activity import Placement
from edge.model_assembly import ModelsInUse
from edge.monitoring.beat_classes import BeatClassSettings
from edge.monitoring.limits import DEFAULT_LIMITS, Limit, LimitSettings
from edge.monitoring.summaries import SummarySettings
from edge.outbox.record import Lane
from edge.outbox.retention import RetentionSettings
from edge.pipeline import PipelineSettings
from edge.publishing.mqtt import MqttSettings, Protocol, TlsSettings
from edge.signal_chain import SensorTraits, SignalChainSettings


def pipeline_settings(config: Config, models: ModelsInUse | None = None) -> PipelineSettings:
    """Return the settings of one person's pipeline, with the windows that `models` want.

    Notes
    -----
    The limits that a configuration gives for a measure replace the built-in ones for that measure; the others stay.
    """
    models = models or ModelsInUse()
    return PipelineSettings(
        signal=SignalChainSettings(
            ecg=EcgChainSettings(
                quality=QualitySettings(min_quality=config.ecg.min_quality),
                filters=FilterSettings(band_hz=config.ecg.band_hz, mains_hz=float(config.ecg.mains_hz)),
                models=models.windows,
            )
        ),
        traits={sensor.id: sensor_traits(sensor) for sensor in config.sensor},
        limits=LimitSettings(limits=alarm_limits(config)),
        classes=BeatClassSettings(waits_for_model="beat" in models.used),
        summary=SummarySettings(period_s=config.summary.period_s),
    )


def sensor_traits(sensor: Sensor) -> SensorTraits:
    """Return what the configuration says of a sensor and its samples do not."""
    placement = Placement(sensor.placement) if sensor.placement in set(Placement) else None
    return SensorTraits(placement=placement, spo2_calibration=sensor.spo2_calibration)


def alarm_limits(config: Config) -> tuple[Limit, ...]:
    """Return the limits in force: the configured ones, and the built-in ones of every other measure."""
    configured = tuple(
        Limit(
            measure=limit.measure,
            low=limit.low,
            high=limit.high,
            hysteresis=limit.hysteresis,
            on_delay_s=limit.on_delay_s,
            off_delay_s=limit.off_delay_s,
            priority=limit.priority,
            is_latching=limit.latching,
            grade=limit.grade,
        )
        for limit in config.limit
    )
    measures = {limit.measure for limit in configured}
    return configured + tuple(limit for limit in DEFAULT_LIMITS if limit.measure not in measures)


def mqtt_settings(config: Config, environ: Mapping[str, str] | None = None) -> MqttSettings | None:
    """Return the broker to connect to, secrets resolved; None where none is configured.

    Parameters
    ----------
    config : Config
        Its ``[mqtt]`` section.
    environ : mapping, optional
        Where secrets by environment variable or systemd credential are looked up.

    Raises
    ------
    ConfigError
        If a secret cannot be read.
    """
    section, environ = config.mqtt, environ or {}
    if section.host is None:
        return None
    password = None
    if section.password is not None:
        password = read_secret(section.password, environ, key="mqtt.password").reveal()
    tls = None
    if section.tls:
        key_file = None if section.key is None else str(secret_path(section.key, environ, key="mqtt.key"))
        tls = TlsSettings(ca_file=section.ca, cert_file=section.cert, key_file=key_file)
    return MqttSettings(
        host=section.host,
        port=section.effective_port,
        client_id=section.client_id or f"vitaledge-{config.gateway.id}",
        protocol=Protocol(section.protocol),
        username=section.username,
        password=password,
        tls=tls,
        keepalive_s=section.keepalive_s,
    )


def broker_words(config: Config) -> str:
    """Return the broker in words for people."""
    section = config.mqtt
    if section.host is None and section.embedded:
        return "one of this machine's own, started by this service"
    if section.host is None:
        return "no broker configured: everything is kept in the outbox"
    return f"{section.host}:{section.effective_port}" + (" with TLS" if section.tls else "")


def retention_settings(config: Config) -> RetentionSettings:
    """Return quota and ages of the outbox."""
    keep = config.outbox.keep
    return RetentionSettings(
        max_bytes=config.outbox.max_mb * 1_000_000,
        keep_s={
            Lane.ALERT: None,  # an alert is kept until the far end has it; the configuration allows nothing else
            Lane.SUMMARY: duration_s(keep.summary),
            Lane.READING: duration_s(keep.reading),
        },
    )
