"""Which leads of an ECG show beats too weakly to stand alone.

A clean signal is not enough: in a lead that lies across the heart's axis beats may be smaller than its T waves, and
where only such a lead is left, silence says nothing of the heart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, replace

from edge.messages import Quality


@dataclass(frozen=True, kw_only=True, slots=True)
class WeakLeadSettings:
    """When a lead counts as weak; all are own choices."""

    n_seconds: int = 60
    """Seconds that are remembered: leads change their look when a person turns over."""
    n_fewest: int = 10
    """Seconds after which something can be said; the first beats are learned by then."""
    min_share: float = 0.5
    """A lead that showed clear beats in less than this share of them is weak."""
    least_index_ratio: float = 0.5
    """The index of a second seen by weak leads alone is this share of what it would be: below every sensible limit."""


class WeakLeads:
    """Remember in which leads beats stood out, and withdraw verdicts that rest on the others.

    Parameters
    ----------
    settings : WeakLeadSettings
        When a lead counts as weak.
    """

    def __init__(self, settings: WeakLeadSettings = WeakLeadSettings()) -> None:
        self._settings = settings
        self._clear: deque[frozenset[str]] = deque(maxlen=settings.n_seconds)

    def push(self, quality: Quality, *, usable: Collection[str], clear: frozenset[str]) -> list[Quality]:
        """Return the verdict on one second, unusable with the reason ``weak-lead`` where only weak leads are usable.

        Parameters
        ----------
        quality : Quality
            The verdict on the signal.
        usable : collection of str
            Channels whose signal is usable.
        clear : frozenset of str
            Channels in which beats stand out now; empty where that is unknown.
        """
        if clear:
            self._clear.append(clear)
        if not quality.is_usable or any(not self.is_weak(channel) for channel in usable):
            return [quality]
        return [
            replace(
                quality,
                index=quality.index * self._settings.least_index_ratio,
                is_usable=False,
                reasons=("weak-lead", *quality.reasons),
            )
        ]

    def is_weak(self, channel: str) -> bool:
        """Return whether beats stood out in other channels for most of the recent past, and not in this one."""
        n_seen = len(self._clear)
        n_clear = sum(channel in clear for clear in self._clear)
        return n_seen >= self._settings.n_fewest and n_clear < self._settings.min_share * n_seen

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget what the leads looked like."""
        self._clear.clear()
