"""From the configuration to the settings of every stage: each object gets its own branch, never the tree."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.conditioning.filters import FilterSettings
from edge.conditioning.quality import QualitySettings
from edge.conditioning.resample import ResampleSettings
from edge.config import Config, read_secret, secret_path
from edge.config_sections import Sensor
from edge.ecg_chain import EcgChainSettings
from edge.errors import ModelContractError
from edge.features.activity import Placement
from edge.features.windows import WindowSettings
from edge.inference.classifier import ClassifierSettings, NoModel
from edge.inference.lifecycle import WindowStage, open_classifier
from edge.monitoring.limits import DEFAULT_LIMITS, Limit, LimitSettings
from edge.monitoring.summaries import SummarySettings
from edge.pipeline import PipelineSettings
from edge.publishing.mqtt import MqttSettings, Protocol, TlsSettings
from edge.signal_chain import SensorTraits, SignalChainSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInUse:
    """The model that looks at windows, or why there is none; monitoring by rule goes on either way."""

    status: str = "no model configured"
    """What ``health`` says."""
    rate_hz: float | None = None
    """Rate of its windows; None without a model."""
    windows: WindowSettings | None = None
    make: Callable[[], WindowStage] = NoModel
    """Gives each stream its own classifier with its own interpreter."""
    deadline_s: float | None = None
    """Seconds after which an answer is late; None without a model."""


def model_in_use(config: Config) -> ModelInUse:
    """Return the configured model, verified and tried on its golden windows.

    A bundle that is not what its card says is refused with the reason as status; it never stops the monitoring.
    """
    if not config.model:
        return ModelInUse()
    if len(config.model) > 1:
        names = ", ".join(sorted(config.model))
        return ModelInUse(status=f"refused: one model at a time so far, {len(config.model)} configured ({names})")
    (settings,) = config.model.values()
    judging = ClassifierSettings(min_quality=config.ecg.min_quality)
    try:
        first = open_classifier(Path(settings.bundle), backend=settings.backend, settings=judging)
    except ModelContractError as error:
        return ModelInUse(status=f"refused: {error}")
    card = first.card.input
    if not math.isclose(card.n_samples / card.rate_hz, settings.window_s, rel_tol=1e-6):
        return ModelInUse(
            status=f"refused: window_s = {settings.window_s:g} configured, "
            f"the model wants {card.n_samples / card.rate_hz:g}"
        )
    return ModelInUse(
        status=first.status(),
        rate_hz=card.rate_hz,
        windows=WindowSettings(window_s=settings.window_s, hop_s=settings.hop_s, rate_hz=card.rate_hz),
        deadline_s=settings.deadline_s,
        make=lambda: open_classifier(Path(settings.bundle), backend=settings.backend, settings=judging),
    )


def pipeline_settings(config: Config, model: ModelInUse | None = None) -> PipelineSettings:
    """Return the settings of one person's pipeline.

    Notes
    -----
    The limits that a configuration gives for a measure replace the built-in ones for that measure; the others stay.
    """
    model = model or ModelInUse()
    return PipelineSettings(
        signal=SignalChainSettings(
            ecg=EcgChainSettings(
                quality=QualitySettings(min_quality=config.ecg.min_quality),
                filters=FilterSettings(band_hz=config.ecg.band_hz, mains_hz=float(config.ecg.mains_hz)),
                resample=ResampleSettings(rate_hz=model.rate_hz) if model.rate_hz else None,
                windows=model.windows,
            )
        ),
        traits={sensor.id: sensor_traits(sensor) for sensor in config.sensor},
        limits=LimitSettings(limits=alarm_limits(config)),
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
