"""Which remedy is due while a link says "connected" and sends nothing: subscribe again, connect again, look anew …

Pure: `sensor` measures the age of the data and applies what is due.  Each step is milder than the next, gets its time,
and data takes the ladder back to its foot::

    data ─▶ late ─▶ SILENT ─▶ resubscribe ─▶ reconnect ─▶ rediscover ─▶ power-cycle ─▶ reconnect ─▶ …
            ½ max    max       halfway        reconnect     max_silence_s after every opening that brought no data
            silence  silence   between        _after_s

Attempts to connect that fail climb it too, since a system's Bluetooth stack may be stuck with a peer that is there:
the third failure in a row looks for the peer anew and the sixth switches the adapter off and on, where the peer or
the system failed and not the reach (a sensor that is simply away must not cost the others their adapter).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.acquisition.transport import Remedy
from edge.errors import TransportFault

_STUCK = {TransportFault.TIMEOUT, TransportFault.BUSY, TransportFault.OTHER, TransportFault.DISCONNECTED}
"""Failures to open that a stuck stack gives; a peer that is away, locked or not permitted is none of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderSettings:
    """When each step is due.

    Raises
    ------
    ValueError
        Unless 0 < `max_silence_s` <= `reconnect_after_s` and the failures are positive and rising.
    """

    max_silence_s: float = 5.0
    """Age of the data, s, at which the link is silent; half of it is late."""
    reconnect_after_s: float = 15.0
    """Age of the data, s, at which the link is closed and opened again."""
    rediscover_after_failures: int = 3
    """Failures to open in a row; two may be the peer's own restart."""
    power_cycle_after_failures: int = 6
    """With full-jitter back-off from 0.5 s, six failures have lasted half a minute on average."""

    def __post_init__(self) -> None:
        if not 0 < self.max_silence_s <= self.reconnect_after_s:
            raise ValueError(
                "expected 0 < max_silence_s <= reconnect_after_s, "
                f"got {self.max_silence_s} and {self.reconnect_after_s}"
            )
        if not 0 < self.rediscover_after_failures < self.power_cycle_after_failures:
            raise ValueError(
                "expected 0 < rediscover_after_failures < power_cycle_after_failures, "
                f"got {self.rediscover_after_failures} and {self.power_cycle_after_failures}"
            )

    @property
    def late_s(self) -> float:
        """Age of the data, s, at which it is late: counted and shown, and no alarm yet."""
        return self.max_silence_s / 2


class Ladder:
    """Remembers how far up a link is.

    Examples
    --------
    >>> ladder = Ladder(LadderSettings())
    >>> rungs = (Remedy.RESUBSCRIBE, Remedy.REDISCOVER)
    >>> [ladder.due(age_s, rungs) for age_s in (9.0, 10.0, 12.0, 15.0)]
    [None, <Remedy.RESUBSCRIBE: 'resubscribe'>, None, <Remedy.RECONNECT: 'reconnect'>]
    """

    def __init__(self, settings: LadderSettings) -> None:
        self._settings = settings
        self._applied: list[Remedy] = []  # since the last data
        self._n_failures = 0

    @property
    def applied(self) -> tuple[Remedy, ...]:
        """What was tried since the last data, in order."""
        return tuple(self._applied)

    def heard(self) -> None:
        """Go back to the foot: data came."""
        self._applied.clear()
        self._n_failures = 0

    def due(self, age_s: float, remedies: Sequence[Remedy]) -> Remedy | None:
        """Return what to do on an open link whose data is `age_s` old, once for each rung.

        Parameters
        ----------
        age_s : float
            Seconds since the last data, or since the opening where none has come.
        remedies : sequence of Remedy
            What the transport can do beyond closing and opening again.
        """
        settings = self._settings
        has_reconnected = Remedy.RECONNECT in self._applied
        if not has_reconnected and Remedy.RESUBSCRIBE in remedies and Remedy.RESUBSCRIBE not in self._applied:
            halfway_s = (settings.max_silence_s + settings.reconnect_after_s) / 2
            return self._apply(Remedy.RESUBSCRIBE) if age_s >= halfway_s else None
        further = [rung for rung in (Remedy.REDISCOVER, Remedy.POWER_CYCLE) if rung in remedies]
        if has_reconnected and further:
            if age_s < settings.max_silence_s:
                return None
            untried = [rung for rung in further if rung not in self._applied]
            if untried:
                return self._apply(untried[0])
            self._applied.clear()  # the whole round again, one rung at a time
            return self._apply(Remedy.RECONNECT)
        return self._apply(Remedy.RECONNECT) if age_s >= settings.reconnect_after_s else None

    def failed(self, reason: TransportFault, remedies: Sequence[Remedy]) -> Remedy | None:
        """Return what to do before the next attempt, after one that ended for `reason` without any data."""
        if reason not in _STUCK:
            self._n_failures = 0
            return None
        self._n_failures += 1
        if self._n_failures == self._settings.rediscover_after_failures and Remedy.REDISCOVER in remedies:
            return self._apply(Remedy.REDISCOVER)
        if self._n_failures >= self._settings.power_cycle_after_failures:
            self._n_failures = 0
            return self._apply(Remedy.POWER_CYCLE) if Remedy.POWER_CYCLE in remedies else None
        return None

    def _apply(self, remedy: Remedy) -> Remedy:
        if self._applied[-1:] != [remedy]:
            self._applied.append(remedy)
        return remedy
