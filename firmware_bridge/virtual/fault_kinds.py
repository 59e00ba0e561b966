"""What can go wrong between skin and host, and what each fault can be told: part of a scenario, plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class FaultKind(StrEnum):
    """What goes wrong between skin and host."""

    NOISE = "noise"
    BASELINE_WANDER = "baseline-wander"
    MOTION = "motion"
    LEAD_OFF = "lead-off"
    SATURATION = "saturation"
    MAINS = "mains"
    BATTERY_LOW = "battery-low"
    CLOCK_DRIFT = "clock-drift"
    FIRMWARE_RESET = "firmware-reset"
    FRAME_LOSS = "frame-loss"
    CORRUPTION = "corruption"
    DUPLICATE = "duplicate"
    JITTER = "jitter"
    DISCONNECT = "disconnect"
    AMBIENT_LIGHT = "ambient-light"
    # Those of a radio; a sensor on a cable has none of them.
    LINK_DROP = "link-drop"
    """The sensor ends its link, once."""
    SILENCE = "silence"
    """Connected, and nothing comes until the host has tried the right remedy, or the fault is over."""
    STALL = "stall"
    """Values are held back and come at once at the end."""
    CONNECTION_REFUSAL = "connection-refusal"
    """Links end as soon as they stand."""
    WRITE_REFUSAL = "write-refusal"
    """Every write is answered with an error."""


FAULT_PARAMETERS: Mapping[FaultKind, Mapping[str, float]] = MappingProxyType(
    {
        FaultKind.NOISE: {"rms_mv": 0.1},
        FaultKind.BASELINE_WANDER: {"amplitude_mv": 1.0, "frequency_hz": 0.3},
        FaultKind.MOTION: {"intensity_ratio": 1.0},
        FaultKind.LEAD_OFF: {},
        FaultKind.SATURATION: {},
        FaultKind.MAINS: {"amplitude_mv": 0.3, "frequency_hz": 50.0},
        FaultKind.BATTERY_LOW: {"battery_pct": 8.0},
        FaultKind.CLOCK_DRIFT: {"drift_ppm": 200.0},
        FaultKind.FIRMWARE_RESET: {"restart_s": 1.0},
        FaultKind.FRAME_LOSS: {"probability": 0.1},
        FaultKind.CORRUPTION: {"probability": 0.1},
        FaultKind.DUPLICATE: {"probability": 0.1},
        FaultKind.JITTER: {"max_delay_s": 0.5},
        FaultKind.DISCONNECT: {},
        FaultKind.AMBIENT_LIGHT: {"light_counts": 20_000.0},
        FaultKind.LINK_DROP: {},
        # 1 subscribing again, 2 connecting again, 3 finding anew, 4 switching the adapter off and on.
        FaultKind.SILENCE: {"remedy_step": 2.0},
        FaultKind.STALL: {},
        FaultKind.CONNECTION_REFUSAL: {},
        FaultKind.WRITE_REFUSAL: {"att_error": 128.0},
    }
)
"""What each fault can be told, with its default."""

FAULT_STREAMS: Mapping[FaultKind, tuple[str, ...]] = MappingProxyType(
    {
        FaultKind.LEAD_OFF: ("ecg", "ppg"),
        FaultKind.SATURATION: ("ecg", "ppg"),
    }
)
"""Streams that a fault can be aimed at; the first one is meant where the scenario names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong, from ``at_s`` for ``duration_s``.

    Raises
    ------
    ValueError
        If the parameters or the stream are not ones of this kind of fault.
    """

    kind: FaultKind
    at_s: float
    duration_s: float = 10.0
    stream: str | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = set(self.parameters) - set(FAULT_PARAMETERS[self.kind])
        if unknown:
            known = ", ".join(FAULT_PARAMETERS[self.kind]) or "none"
            raise ValueError(f"{self.kind} takes the parameters {known}, got {', '.join(sorted(unknown))}")
        streams = FAULT_STREAMS.get(self.kind, ())
        if self.stream is not None and self.stream not in streams:
            raise ValueError(f"{self.kind} can be aimed at {', '.join(streams) or 'no stream'}, got {self.stream!r}")

    @property
    def end_s(self) -> float:
        """When it is over."""
        return self.at_s + self.duration_s

    @property
    def target(self) -> str | None:
        """The stream it concerns, None for the whole device."""
        streams = FAULT_STREAMS.get(self.kind)
        return self.stream or (streams[0] if streams else None)

    def parameter(self, name: str) -> float:
        """Return the given value of a parameter, else its default."""
        return self.parameters.get(name, FAULT_PARAMETERS[self.kind][name])

    def is_active(self, at_s: float) -> bool:
        """Whether it holds at `at_s`; the end is not included."""
        return self.at_s <= at_s < self.end_s
