"""The figures of the runtime, for ``health``, ``birth`` and the screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from edge.clock import NS_PER_S, Clock
from edge.drivers import max_silence_s
from edge.messages import Channel, Json

if TYPE_CHECKING:  # the composition root imports this module
    from edge.app import Runtime
    from edge.delivery import DeliveryView
    from edge.drivers import AttachedSensor


def health_metrics(runtime: Runtime, delivery: DeliveryView, clock: Clock, started_at_ns: int) -> dict[str, Json]:
    """Return the body of one ``health`` message.

    Parameters
    ----------
    runtime : Runtime
        Its sensors, beds and models.
    delivery : DeliveryView
        Outbox and connection.
    clock : Clock
        Now, and how good the wall clock is.
    started_at_ns : int
        Monotonic instant of the start.
    """
    state = clock.state()
    return {
        "uptime_s": round((clock.monotonic_ns() - started_at_ns) / NS_PER_S, 1),
        "clock": {"sync": state.sync.value, "error_ms": state.error_ms, "epoch": state.epoch},
        "models": runtime.model_service.health(),
        "sensors": {sensor.section.id: sensor_metrics(sensor) for sensor in runtime.sensors},
        "unassigned_sensors": [*sorted(runtime.unassigned)],
        "alerts_open": sum(len(bed.state.open_alerts()) for bed in runtime.all_beds()),
        "alert_records": runtime.alert_records(),
        "delivery": delivery.as_json(),
    }


def sensor_metrics(sensor: AttachedSensor) -> dict[str, Json]:
    """Return the figures of one sensor's link and decoder."""
    link, counters, decoded = sensor.link.link, sensor.link.counters, sensor.decoder.counters
    corrupt = Counter(decoded.n_corrupt) | Counter(counters.n_corrupt)
    return {
        "state": link.state.value if link else "not started",
        "reason": link.reason if link else "",
        "connects": counters.n_connects,
        "failures": counters.n_failures,
        "late": sensor.link.is_late,
        "silences": counters.n_silences,
        "remedies": dict(counters.n_remedies),
        "bytes": counters.n_bytes,
        "frames": decoded.n_frames,
        "lost_frames": decoded.n_lost_frames,
        "lost_samples": decoded.n_lost_samples,
        "backfilled_samples": decoded.n_backfilled_samples,
        "device_resets": decoded.n_device_resets,
        "corrupt": dict(corrupt),
        "unknown_packets": {str(number): n for number, n in decoded.n_unknown_types.items()},
    }


def birth_sensors(runtime: Runtime) -> list[dict[str, Json]]:
    """Return what every configured sensor is, and what it said it can send."""
    sensors: list[dict[str, Json]] = []
    for sensor in runtime.sensors:
        section = sensor.section
        identity = runtime.bed_of(section.id).identities.get(section.id)
        body: dict[str, Json] = {
            "id": section.id,
            "driver": section.driver,
            "max_silence_s": max_silence_s(section),
            "streams": [],
        }
        if identity is not None:
            body |= {"model": identity.model, "firmware": identity.firmware}
            body["streams"] = [
                {"name": stream.name, "rate_hz": stream.nominal_rate_hz, "channels": channels_json(stream.channels)}
                for stream in identity.streams
            ]
        sensors.append(body)
    return sensors


def channels_json(channels: Sequence[Channel]) -> list[Json]:
    """Return name, kind and unit of every channel."""
    return [{"name": channel.name, "kind": channel.kind.value, "unit": channel.unit} for channel in channels]


def versions() -> dict[str, str]:
    """Return the versions that matter to who reads a message."""
    found: dict[str, str] = {}
    for name in ("vitaledge", "numpy", "scipy", "paho-mqtt", "ai-edge-litert"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # an extra that this device does without
            continue
    return found
