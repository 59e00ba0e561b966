"""Which record goes next and what an acknowledgement means: the forwarder's rules, without connection or clock.

::

    fetched from disk ─▶ ready (per lane) ─▶ in flight (at most the window) ─▶ delivered: may be removed
                              ▲                     │
                              └── rewind ◀── pause ◀┘ refused, or nobody heard it

Alerts go first and have slots of their own.  A *family* of topics (all alerts, one measure) that was refused or
unheard is paused as a whole; its oldest record is the probe that is tried again, later and later.  Everything
else of the family stays on disk, so memory is bounded however long a broker refuses.  A retained topic has
never two messages under way, so that a repetition cannot overtake its successor.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from edge.outbox.record import Batch, Lane, Record

NO_MATCHING_SUBSCRIBERS = 0x10
_FIRST_FAILURE = 0x80


class DeliveryRule(StrEnum):
    """When a record may leave the disk; shown in health."""

    PUBACK = "puback"
    """After the broker's acknowledgement with a success code."""
    END_TO_END = "end-to-end"
    """After the consumer's own acknowledgement covers it; no consumer acknowledges yet."""


class Outcome(StrEnum):
    """What became of one message."""

    DELIVERED = "delivered"
    UNHEARD = "unheard"
    """The broker had nobody to give it to and it is too old to be of use: removed and counted."""
    NOBODY = "nobody"
    """The broker had nobody to give it to: kept and tried again."""
    REFUSED = "refused"
    """The broker refused it: kept and tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettings:
    """How much may be under way, and how patient a refused record is."""

    max_in_flight: int = 20
    """Unacknowledged messages; an alert during a drain of 100 000 rows waited p99 15 ms at 20, 108 ms at 100."""
    alert_share: float = 0.2
    """Share of the window that only alerts may use."""
    n_ready: int = 64
    """Records read ahead per lane."""
    retry_first_s: float = 1.0
    """Longest wait before a refused family is tried again; doubles up to `retry_last_s`."""
    retry_last_s: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.max_in_flight <= 65_535:
            raise ValueError(f"expected 1 <= max_in_flight <= 65535, got {self.max_in_flight}")


@dataclass(slots=True)
class _Pause:
    """A family that waits; not frozen, its probe and its patience change."""

    probe: Record
    retry_at_ns: int
    n_attempts: int
    oldest_sequence: int
    """Oldest record of the family that was passed over meanwhile; reading begins there again."""
    is_probing: bool = False


def judge(record: Record, reason_code: int, *, is_expired: bool, rule: DeliveryRule = DeliveryRule.PUBACK) -> Outcome:
    """Return what the broker's acknowledgement means for `record`.

    References
    ----------
    .. [1] MQTT 5.0 §3.4.2.1: PUBACK reason codes; 0x10 says that nobody has subscribed and is a success code.
    """
    if rule is not DeliveryRule.PUBACK:
        raise NotImplementedError(f"expected rule puback, got {rule}")
    if reason_code >= _FIRST_FAILURE:
        return Outcome.REFUSED
    # The broker keeps a retained message for whoever comes later, and there is nobody to hear an empty one.
    if reason_code == NO_MATCHING_SUBSCRIBERS and not record.is_retained:
        return Outcome.UNHEARD if record.lane is Lane.READING and is_expired else Outcome.NOBODY
    return Outcome.DELIVERED


def backoff_s(n_attempts: int, first_s: float, last_s: float, jitter: float) -> float:
    """Return the wait before attempt `n_attempts` (from 0), with full jitter.

    Full jitter keeps a ward of gateways from coming back in step after a broker's restart.

    Parameters
    ----------
    jitter : float
        A random number in [0, 1).

    References
    ----------
    .. [1] M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015.
    """
    longest_s = min(last_s, first_s * 2.0 ** min(n_attempts, 30))
    # Never nothing at all: a peer that refuses at once must not be asked in a tight loop.
    return max(0.05 * longest_s, jitter * longest_s)


def family(record: Record) -> tuple[Lane, str]:
    """Return what is paused together: one topic, or all retained topics beside each other (all alerts)."""
    return record.lane, record.topic.rsplit("/", 1)[0] if record.is_retained else record.topic


class Window:
    """What is ready, under way and paused.

    Parameters
    ----------
    settings : WindowSettings
        Sizes and patience.
    random : callable
        Returns a number in [0, 1) for the jitter.
    """

    def __init__(self, settings: WindowSettings, random: Callable[[], float]) -> None:
        self._settings = settings
        self._random = random
        self._limit = settings.max_in_flight
        self._epoch: str | None = None
        self._ready: dict[Lane, collections.deque[Record]] = {lane: collections.deque() for lane in Lane}
        self._cursor: dict[Lane, int] = dict.fromkeys(Lane, 0)
        self._is_exhausted: dict[Lane, bool] = dict.fromkeys(Lane, False)
        self._in_flight: dict[int, Record | None] = {}
        self._flying: set[int] = set()
        self._flying_topics: set[str] = set()
        self._pauses: dict[tuple[Lane, str], _Pause] = {}

    @property
    def n_in_flight(self) -> int:
        """Messages that wait for their acknowledgement."""
        return len(self._in_flight)

    @property
    def is_full(self) -> bool:
        """Not one message more is allowed."""
        return len(self._in_flight) >= self._limit

    @property
    def n_paused(self) -> int:
        """Families that the broker refused or nobody heard."""
        return len(self._pauses)

    def begin(self, receive_maximum: int) -> None:
        """Start over on a new connection that allows `receive_maximum` unacknowledged messages."""
        self._limit = max(1, min(self._settings.max_in_flight, receive_maximum))
        self._in_flight.clear()
        self._flying.clear()
        self._flying_topics.clear()
        self._pauses.clear()
        for lane in Lane:
            self._rewind(lane, 0)

    def news(self) -> None:
        """Note that something was committed."""
        self._is_exhausted = dict.fromkeys(Lane, False)

    def wanted(self, lane: Lane) -> int | None:
        """Return after which sequence to read on, None if enough of `lane` is at hand."""
        if self._is_exhausted[lane] or len(self._ready[lane]) >= self._settings.n_ready // 2:
            return None
        return self._cursor[lane]

    @property
    def n_ready(self) -> int:
        """How many records to read at once."""
        return self._settings.n_ready

    def absorb(self, lane: Lane, batch: Batch) -> None:
        """Take what was read from disk; a batch of another database begins everything anew."""
        if batch.epoch != self._epoch:
            is_first = self._epoch is None
            self._epoch = batch.epoch
            if not is_first:
                self._pauses.clear()
                self._flying.clear()
                self._flying_topics.clear()
                for each in Lane:
                    self._rewind(each, 0)
                return
        self._is_exhausted[lane] = batch.is_last
        self._cursor[lane] = batch.last_sequence
        self._ready[lane].extend(record for record in batch.records if record.sequence not in self._flying)

    def next(self, now_ns: int) -> Record | None:
        """Return the record to send now, None if there is none or the window is full."""
        reserved = min(self._limit - 1, max(1, round(self._limit * self._settings.alert_share)))
        for lane in Lane:
            if self.n_in_flight >= (self._limit if lane is Lane.ALERT else self._limit - reserved):
                return None
            record = self._due_probe(lane, now_ns) or self._next_ready(lane)
            if record is not None:
                return record
        return None

    def sent(self, packet_id: int, record: Record | None) -> None:
        """Note that `record` is under way; None for a message that did not come from the outbox."""
        self._in_flight[packet_id] = record
        if record is not None:
            self._flying.add(record.sequence)
            if record.is_retained:
                self._flying_topics.add(record.topic)

    def record_of(self, packet_id: int) -> Record | None:
        """Return the record under way as `packet_id`."""
        return self._in_flight.get(packet_id)

    def settle(self, packet_id: int, outcome: Outcome, now_ns: int) -> None:
        """Take the message out of the window and draw the consequence for its family."""
        record = self._in_flight.pop(packet_id, None)
        if record is None:
            return
        self._flying_topics.discard(record.topic)
        if outcome in {Outcome.DELIVERED, Outcome.UNHEARD}:
            self._resume(record)
        else:
            self._flying.discard(record.sequence)
            self._pause(record, now_ns)

    def forget(self, records: Iterable[Record]) -> None:
        """Note that delivered records are leaving the disk; until then they must not be read and sent again."""
        self._flying.difference_update(record.sequence for record in records)

    def next_retry_ns(self) -> int | None:
        """Return when the first paused family may be tried again, None if none is."""
        return min((pause.retry_at_ns for pause in self._pauses.values() if not pause.is_probing), default=None)

    def _due_probe(self, lane: Lane, now_ns: int) -> Record | None:
        for (pause_lane, _), pause in self._pauses.items():
            if pause_lane is lane and not pause.is_probing and pause.retry_at_ns <= now_ns:
                pause.is_probing = True
                return pause.probe
        return None

    def _next_ready(self, lane: Lane) -> Record | None:
        held: list[Record] = []
        found = None
        ready = self._ready[lane]
        while ready and found is None:
            record = ready.popleft()
            pause = self._pauses.get(family(record))
            if pause is not None:  # stays on disk; the rewind after the pause finds it again
                pause.oldest_sequence = min(pause.oldest_sequence, record.sequence)
                continue
            if record.is_retained and record.topic in self._flying_topics:
                held.append(record)
            else:
                found = record
        ready.extendleft(reversed(held))
        return found

    def _pause(self, record: Record, now_ns: int) -> None:
        pause = self._pauses.get(family(record))
        if pause is not None and pause.is_probing and pause.probe.sequence != record.sequence:
            pause.oldest_sequence = min(pause.oldest_sequence, record.sequence)
            return  # the probe is under way and decides
        n_attempts = 0 if pause is None else pause.n_attempts + int(pause.probe.sequence == record.sequence)
        wait_s = backoff_s(n_attempts, self._settings.retry_first_s, self._settings.retry_last_s, self._random())
        self._pauses[family(record)] = _Pause(
            probe=record if pause is None or record.sequence < pause.probe.sequence else pause.probe,
            retry_at_ns=now_ns + round(wait_s * 1e9),
            n_attempts=n_attempts,
            oldest_sequence=record.sequence if pause is None else min(record.sequence, pause.oldest_sequence),
        )

    def _resume(self, record: Record) -> None:
        pause = self._pauses.get(family(record))
        if pause is not None and pause.probe.sequence == record.sequence:
            del self._pauses[family(record)]
            self._rewind(record.lane, pause.oldest_sequence - 1)

    def _rewind(self, lane: Lane, to_sequence: int) -> None:
        """Read `lane` again from behind `to_sequence`, or from the oldest record at hand if that is older."""
        oldest = min((record.sequence - 1 for record in self._ready[lane]), default=to_sequence)
        self._cursor[lane] = min(self._cursor[lane], to_sequence, oldest)
        self._ready[lane].clear()
        self._is_exhausted[lane] = False
