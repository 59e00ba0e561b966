"""What waits for the disk, and in which order it may go: the rules behind `writer`, without its thread.

`writer` guards it with its lock; nothing here waits or knows the time.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge.errors import OutboxError
from edge.outbox.record import Entry, Lane, Loss, LossReason, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterSettings:
    """How telemetry is grouped and how much of it may wait for the disk."""

    group_s: float = 0.25
    """Longest wait for company, real seconds.  Unbatched, 100 records/s wrote 112 GB a day; by fifties 5.5 GB."""
    group_rows: int = 50
    """A group of this many is committed without waiting; see `group_s`."""
    max_queued: int = 2_000
    """Telemetry that may wait for the disk, about 20 s at 100 records/s; beyond it the oldest reading goes."""
    prune_every_s: float = 60.0
    """How often the ages are looked at; the retention itself is days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Entries that are committed together."""

    entries: tuple[Entry, ...]
    on_done: Callable[[tuple[int, ...] | OutboxError], None] | None
    """Told the sequences or the failure; None for telemetry that nobody waits for, which may be dropped."""

    def answer(self, result: tuple[int, ...] | OutboxError) -> None:
        """Tell whoever waits."""
        if self.on_done is not None:
            self.on_done(result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What one transaction does for telemetry: `removed` go, `appends` come, `losses` are announced."""

    appends: tuple[Append, ...]
    removed: tuple[Record, ...]
    losses: tuple[Loss, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Something to ask the store; answered before telemetry is written."""

    ask: Callable[..., None]
    """Called with the open store."""
    refuse: Callable[[OutboxError], None]
    """Called instead when there is no store any more."""


@dataclass(slots=True)
class Backlog:
    """Appends, removals and questions in the order of their arrival; not frozen, it is the queue itself."""

    max_queued: int
    """Telemetry appends that may wait."""
    group_rows: int
    """A group of this many rows is ripe."""
    is_ripe: bool = False
    """The group has waited long enough."""
    is_alert_held: bool = False
    """The disk refused the first alert; it is tried again after a pause."""
    questions: collections.deque[Question] = field(default_factory=collections.deque)
    alerts: collections.deque[Append] = field(default_factory=collections.deque)
    group: collections.deque[Append] = field(default_factory=collections.deque)
    removals: list[Record] = field(default_factory=list)
    losses: dict[tuple[str, LossReason], Loss] = field(default_factory=dict)
    n_dropped: collections.Counter[str] = field(default_factory=collections.Counter)

    @property
    def is_empty(self) -> bool:
        """Nothing waits at all."""
        return not (self.questions or self.alerts or self.n_grouped)

    @property
    def n_grouped(self) -> int:
        """Rows that the next group would write or remove."""
        return len(self.group) + len(self.removals)

    @property
    def is_due(self) -> bool:
        """Something can be done at once."""
        is_group_due = self.n_grouped >= (1 if self.is_ripe else self.group_rows)
        return bool(self.questions or (self.alerts and not self.is_alert_held) or is_group_due)

    def add(self, append: Append, wall_ns: int) -> None:
        """Take `append`; telemetry beyond `max_queued` pushes out the oldest reading, else the oldest of the rest."""
        if any(entry.lane is Lane.ALERT for entry in append.entries):
            self.alerts.append(append)
            return
        if append.on_done is None and len(self.group) >= self.max_queued:
            self._drop_oldest(wall_ns)
        self.group.append(append)

    def take(self) -> Append | Group | Question | None:
        """Return what is to be done next, None if it may still wait.

        An alert stays at the head until `alert_written`.  A question that comes in between ripens the group, and a
        ripe group goes before the next question, so that many questions cannot put it off for ever.
        """
        if self.alerts and not self.is_alert_held:
            return self.alerts[0]
        if self.questions and not (self.is_ripe and self.n_grouped):
            self.is_ripe = self.n_grouped > 0
            return self.questions.popleft()
        if not self.is_due:
            return None
        taken = Group(appends=tuple(self.group), removed=tuple(self.removals), losses=tuple(self.losses.values()))
        self.group.clear()
        self.removals.clear()
        self.losses.clear()
        self.is_ripe = False
        return taken

    def alert_written(self) -> None:
        """Forget the alert at the head."""
        self.alerts.popleft()

    def ripen(self) -> None:
        """Let what has waited go: its time is up."""
        self.is_ripe = self.n_grouped > 0
        self.is_alert_held = False

    def put_back(self, group: Group) -> None:
        """Take `group` again, in front: it could not be written."""
        self.group.extendleft(reversed(group.appends))
        self.removals[:0] = group.removed
        for loss in group.losses:
            self.note(loss)

    def refuse_all(self, error: OutboxError) -> None:
        """Tell everybody who waits that nothing will be written any more."""
        for append in (*self.alerts, *self.group):
            append.answer(error)
        for question in self.questions:
            question.refuse(error)

    def lose(self, entries: Sequence[Entry], reason: LossReason, wall_ns: int) -> None:
        """Count `entries` that never reached the disk; they are announced with the next group."""
        for entry in entries:
            self.note(
                Loss(
                    topic=entry.topic,
                    reason=reason,
                    n_records=1,
                    first_sequence=None,
                    last_sequence=None,
                    first_at_ns=wall_ns,
                    last_at_ns=wall_ns,
                )
            )
        self.n_dropped[reason] += len(entries)

    def note(self, loss: Loss) -> None:
        """Keep `loss` for the next group, joined with what is kept of its topic already."""
        key = (loss.topic, loss.reason)
        self.losses[key] = self.losses[key].joined(loss) if key in self.losses else loss

    def _drop_oldest(self, wall_ns: int) -> None:
        for lane in (Lane.READING, Lane.SUMMARY):
            for k, append in enumerate(self.group):
                if append.on_done is None and append.entries[0].lane is lane:
                    del self.group[k]
                    self.lose(append.entries, LossReason.QUEUE_FULL, wall_ns)
                    return
