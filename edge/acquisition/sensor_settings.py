"""How one sensor's link is supervised, and what happened on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge.acquisition.backoff import BackoffSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorSettings:
    """How one link is supervised.

    Raises
    ------
    ValueError
        Unless 0 < `max_silence_s` <= `reconnect_after_s`.
    """

    sensor: str
    """Id of the sensor in the configuration."""
    max_silence_s: float = 5.0
    """Longest pause without data that is normal; then SILENT.  Bridge devices send blocks several times a second."""
    reconnect_after_s: float | None = None
    """Pause after which the link is closed and opened again; None for three times `max_silence_s`."""
    open_timeout_s: float = 20.0
    """Then an attempt to open has failed.  A BLE connection needs up to this long (bleak-retry-connector's value)."""
    remedy_timeout_s: float = 20.0
    """Then a remedy has not helped, and the next one gets its turn: as long as an attempt to open."""
    farewell_timeout_s: float = 1.0
    """Longest that the device's farewell may hold up an ordered end."""
    is_occasional: bool = False
    """Whether the sensor is switched on for each measurement (a cuff, a scale, a glucose meter): away is normal."""
    occasional_wait_s: float = 5.0
    """Longest wait before looking for an occasional sensor again: a cuff can be reached for about a minute."""
    tick_s: float = 0.25
    """How often age and requests are looked at: a silence is noticed at most this late."""
    backoff: BackoffSettings = BackoffSettings()  # noqa: RUF009 - frozen, so sharing the default is safe
    """Waits between attempts."""

    def __post_init__(self) -> None:
        if not 0 < self.max_silence_s <= self.silence_limit_s:
            raise ValueError(
                f"expected 0 < max_silence_s <= reconnect_after_s, got {self.max_silence_s} and {self.reconnect_after_s}"
            )

    @property
    def silence_limit_s(self) -> float:
        """`reconnect_after_s` or its default."""
        return 3 * self.max_silence_s if self.reconnect_after_s is None else self.reconnect_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorCounters:
    """What happened on the link since the runtime started."""

    n_connects: int
    n_failures: int
    """Attempts that failed and links that were lost."""
    n_lates: int
    """Times the data was older than half of `max_silence_s`."""
    n_silences: int
    """Times the link was closed because it was silent for too long."""
    n_remedies: Mapping[str, int]
    """What was tried against silence and failures, by the name of the remedy; ``refused-…`` where it could not be."""
    n_chunks: int
    n_bytes: int
    n_dropped_bytes: int
    """Received, but not read in time by us."""
    n_write_timeouts: int
    n_writes_refused: int
    n_corrupt: Mapping[str, int]
    """Dropped pieces of the byte stream, by reason."""
