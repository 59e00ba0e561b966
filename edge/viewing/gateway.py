"""What a person at the bed needs to know of the gateway itself: links, outbox, broker, model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayView:
    """One moment of the gateway, as plain words and counts."""

    title: str
    clock_s: float
    """Seconds since the runtime started, on its own clock."""
    broker: str
    """``mosquitto on 127.0.0.1:1883, connected``, or why there is none."""
    is_connected: bool
    n_waiting: Mapping[str, int] = field(default_factory=dict)
    """Records in the outbox, by lane."""
    n_sent: int = 0
    """Records the broker has confirmed."""
    n_heard: int | None = None
    """Messages a subscriber in the demo has received; None where nobody listens in."""
    n_corrupt: int = 0
    n_lost_samples: int = 0
    model: str = ""
    phase: str = ""
    """What the scenario is playing; empty outside the demo."""
    phase_detail: str = ""
