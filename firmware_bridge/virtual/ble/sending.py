"""What a virtual sensor sent, and what became of it: the truth that a test compares with what arrived."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Fate(StrEnum):
    """What became of one value."""

    SENT = "sent"
    """It went out on the link."""
    DROPPED = "dropped"
    """Lost on purpose; nobody was told."""
    SILENCED = "silenced"
    """The sensor pretends to be alive and sends nothing."""
    REPEATED = "repeated"
    """A copy of the value before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentValue:
    """One value of one characteristic."""

    at_s: float
    """Instant of the story at which it was made."""
    channel: str
    """UUID of the characteristic, 36 lower-case letters."""
    data: bytes
    fate: Fate
    n_samples: int = 0
    """Samples of a signal that it carries."""


class SentLog:
    """Everything one sensor made for somebody who had subscribed."""

    def __init__(self) -> None:
        self._values: list[SentValue] = []
        self._counts: Counter[Fate] = Counter()
        self._samples: Counter[Fate] = Counter()

    def __iter__(self) -> Iterator[SentValue]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def fates(self) -> tuple[Fate, ...]:
        """Every fate there is, whether it befell a value or not."""
        return tuple(Fate)

    def add(self, value: SentValue) -> None:
        """Take down one value."""
        self._values.append(value)
        self._counts[value.fate] += 1
        self._samples[value.fate] += value.n_samples

    def of(self, channel: str, *fates: Fate) -> list[bytes]:
        """Return the bytes of one characteristic in order; without fates those that went out, copies included."""
        wanted = fates or (Fate.SENT, Fate.REPEATED)
        return [value.data for value in self._values if value.channel == channel and value.fate in wanted]

    def count(self, fate: Fate) -> int:
        """Return how many values had this fate."""
        return self._counts[fate]

    def n_samples(self, fate: Fate) -> int:
        """Return how many samples had this fate."""
        return self._samples[fate]

    def forget(self) -> None:
        """Drop the values and keep the counts, for a sensor that runs for days."""
        self._values.clear()
