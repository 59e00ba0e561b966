"""How patient the uplink is, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge.errors import PublishFault
from edge.publishing.window import DeliveryRule, WindowSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwarderSettings:
    """How patient the forwarder is."""

    window: WindowSettings = field(default_factory=WindowSettings)
    reconnect_first_s: float = 1.0
    """Longest wait before the first attempt after a failure; doubles, with full jitter."""
    reconnect_last_s: float = 60.0
    """Longest wait at all; a broker that comes back is found within a minute."""
    hist_after_s: float = 60.0
    """A message that is sent later than this after it was written is history."""
    ack_timeout_s: float = 30.0
    """Real seconds after which an unacknowledged message condemns the connection: MQTT 5 §4.4 allows a repetition only
    on a new one, and a broker that loses an acknowledgement would hold the message's place for ever."""
    settle_s: float = 2.0
    """Real seconds that the connection must outlive an acknowledgement before the record leaves the disk.

    A broker acknowledges before it has passed the message on or saved it: killed under load,
    mosquitto lost an acknowledged message in 10 of 20 runs of three kills each; with these seconds in none of 20.  A disconnect within them
    repeats the messages."""
    stop_timeout_s: float = 3.0
    """Real seconds that an ordered stop may take per step; then the rest stays on disk."""
    delivery: DeliveryRule = DeliveryRule.PUBACK
    """When a record may leave the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwarderStats:
    """The uplink at one moment."""

    is_connected: bool = False
    reason: str = "not started"
    """Why it is not connected; empty while it is."""
    fault: PublishFault | None = None
    protocol: str | None = None
    delivery: DeliveryRule = DeliveryRule.PUBACK
    n_sent: int = 0
    n_acknowledged: int = 0
    n_unheard: int = 0
    """Readings that nobody had subscribed to when they expired."""
    n_nobody: int = 0
    """Times that the broker had nobody for an alert, summary or gap, which is therefore kept."""
    n_refused: Mapping[str, int] = field(default_factory=dict)
    """Refusals by reason code, ``0x87``."""
    n_in_flight: int = 0
    n_settling: int = 0
    """Acknowledged, but not yet removed."""
    n_paused: int = 0
    """Families of topics that wait for another try."""
    n_connects: int = 0
    n_failed_connects: int = 0
