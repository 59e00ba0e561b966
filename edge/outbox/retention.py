"""Which records must go when room or time runs out: rules only, `store` carries them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge.outbox.record import Lane

_DAY_S = 86_400.0


def _default_keep_s() -> Mapping[Lane, float | None]:
    return {Lane.ALERT: None, Lane.SUMMARY: 30 * _DAY_S, Lane.READING: 7 * _DAY_S}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """How much the outbox may hold and for how long."""

    max_bytes: int = 2_000_000_000
    """Quota of the database file; contract.md §2, ``max_mb = 2000``.

    It must be below the size of the file system: once that is full, not even the deletes that would free
    the database commit any more.
    """
    keep_s: Mapping[Lane, float | None] = field(default_factory=_default_keep_s)
    """Longest time in the outbox by lane, None for ever; contract.md §2: alert for ever, summary 30 d, reading 7 d."""
    n_drop_at_once: int = 64
    """Records given up together at the quota, so that each append does not pay for its own delete."""

    def __post_init__(self) -> None:
        if self.max_bytes < 65_536:
            raise ValueError(f"expected max_bytes >= 65536, got {self.max_bytes}")
        if self.n_drop_at_once < 1:
            raise ValueError(f"expected n_drop_at_once >= 1, got {self.n_drop_at_once}")
        if self.keep_s.get(Lane.ALERT) is not None:
            raise ValueError("alerts are kept until the far end has them; they have no age limit")


def victims(depth: Mapping[Lane, int], n_wanted: int) -> list[tuple[Lane, int]]:
    """Return how many of the oldest records to give up from which lane, the least important lane first.

    Parameters
    ----------
    depth : mapping of Lane to int
        Records that may be dropped, by lane.
    n_wanted : int
        Records to give up; fewer are named when fewer exist.

    Examples
    --------
    >>> victims({Lane.ALERT: 5, Lane.SUMMARY: 3, Lane.READING: 2}, 4)
    [(<Lane.READING: 2>, 2), (<Lane.SUMMARY: 1>, 2)]
    """
    plan = []
    for lane in sorted(Lane, reverse=True):
        n_here = min(n_wanted, depth.get(lane, 0))
        if n_here > 0:
            plan.append((lane, n_here))
            n_wanted -= n_here
    return plan
