"""Minute by minute what a person's data were like: values with their coverage, losses, alerts, rhythm.

Fed by everything the pipeline finds; what is not summarised is ignored.  An item belongs to the interval in which it
was measured, not in which it arrived: an interval is closed `SummarySettings.grace_s` after its end, and what comes
later still is counted in the next one rather than nowhere.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import fmean, median

from edge.messages import (
    Alert,
    AlertState,
    Beat,
    Corrupt,
    Gap,
    Quality,
    RhythmChange,
    Statistic,
    Summary,
    Tick,
    Vitals,
)

_NS_PER_S = 1_000_000_000
_LARGEST_JUMP = 10
"""Periods without a tick after which the time line is taken to have jumped: nothing is summarised in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SummarySettings:
    """How often, and how late."""

    period_s: int = 60
    """Length of an interval; intervals end at whole multiples of it on the time line."""
    grace_s: float = 2.0
    """How long after its end an interval waits for what was measured in it.  Own choice: twice the beat latency."""
    primary_stream: str = "ecg"
    """Streams of this name decide coverage and quality; without one, any stream does."""

    def __post_init__(self) -> None:
        if not (self.period_s > 0 and self.grace_s >= 0):
            raise ValueError(f"expected period_s > 0 and grace_s >= 0, got {self.period_s} and {self.grace_s}")


class Summaries:
    """One `Summary` per interval of the time line, the first and the last possibly shorter."""

    def __init__(self, settings: SummarySettings = SummarySettings()) -> None:
        self._settings = settings
        self._period_ns = settings.period_s * _NS_PER_S
        self._current: _Interval | None = None
        self._next: _Interval | None = None
        self._latest_ns: int | None = None
        self._label: str | None = None
        self._onsets: dict[str, int] = {}

    def push(self, item: object) -> list[Summary]:
        """Return the summaries that are complete, oldest first."""
        match item:
            case Tick():
                return self._time_passed(item.at_ns)
            case Vitals() | Quality():
                # Both speak of the second that ends at their instant.
                self._interval(item.at_ns - 1, first_ns=item.at_ns - _NS_PER_S).add(item)
            case Beat() | Alert():
                if isinstance(item, Beat) or self._is_new(item):
                    self._interval(item.at_ns).add(item)
            case Gap():
                self._interval(item.end_ns - 1).add(item)
            case Corrupt():  # carries no instant: it belongs to now
                if self._latest_ns is not None:
                    self._interval(self._latest_ns).add(item)
            case RhythmChange():
                self._change_rhythm(item)
            case _:
                pass
        return []

    def flush(self) -> list[Summary]:
        """Return the unfinished interval, at the end of a recording or before stopping."""
        outputs = []
        for interval in (self._current, self._next):
            if interval is None or self._latest_ns is None:
                continue
            end_ns = min(interval.end_ns, max(self._latest_ns, interval.latest_ns))
            if end_ns > interval.start_ns:
                outputs.append(interval.close(end_ns, self._settings.primary_stream))
        self.reset("flushed")
        return outputs

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape
        """Forget everything, as for a new session; a gap in a stream is an item here."""
        self._current = None
        self._next = None
        self._latest_ns = None
        self._label = None
        self._onsets.clear()

    def _time_passed(self, at_ns: int) -> list[Summary]:
        current = self._interval(at_ns - 1, first_ns=at_ns)
        self._latest_ns = at_ns if self._latest_ns is None else max(self._latest_ns, at_ns)
        outputs = []
        grace_ns = round(self._settings.grace_s * _NS_PER_S)
        while self._current is not None and at_ns >= self._current.end_ns + grace_ns:
            current = self._current
            following = self._next or self._following(current)
            outputs.append(current.close(current.end_ns, self._settings.primary_stream))
            if at_ns - following.end_ns > _LARGEST_JUMP * self._period_ns:
                following = _Interval(at_ns, self._end_ns(at_ns), self._label)
            self._current, self._next = following, None
        return outputs

    def _interval(self, at_ns: int, first_ns: int | None = None) -> _Interval:
        """Return the interval to which `at_ns` belongs: the open one, or the one after it."""
        if self._current is None:
            start_ns = at_ns if first_ns is None else first_ns
            self._latest_ns = start_ns
            self._current = _Interval(start_ns, self._end_ns(max(at_ns, start_ns)), self._label)
        if at_ns < self._current.end_ns:
            return self._current
        if self._next is None:
            self._next = self._following(self._current)
        return self._next

    def _following(self, interval: _Interval) -> _Interval:
        return _Interval(interval.end_ns, interval.end_ns + self._period_ns, interval.label)

    def _end_ns(self, at_ns: int) -> int:
        return (at_ns // self._period_ns + 1) * self._period_ns

    def _change_rhythm(self, change: RhythmChange) -> None:
        interval = self._interval(change.at_ns)
        interval.change_rhythm(change.label, change.at_ns)
        if interval is self._current and self._next is not None:
            self._next.label = self._next.label if self._next.has_changed else change.label
        self._label = change.label

    def _is_new(self, alert: Alert) -> bool:
        """Return whether this revision raises: the first one, or one with a new onset."""
        before = self._onsets.get(alert.id)
        if alert.state is AlertState.CLOSED:
            self._onsets.pop(alert.id, None)
            return False
        self._onsets[alert.id] = alert.onset_at_ns
        if alert.revision == 1:
            return True
        return alert.state is AlertState.RAISED and before is not None and before != alert.onset_at_ns


class _Interval:
    """What has been measured in one interval so far."""

    def __init__(self, start_ns: int, end_ns: int, label: str | None) -> None:
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.label = label
        self.has_changed = False
        self.latest_ns = start_ns
        self._labelled_at_ns = start_ns
        self._rhythm_ns: Counter[str] = Counter()
        self._values: dict[str, list[float]] = defaultdict(list)
        self._units: dict[str, str] = {}
        self._beats: Counter[tuple[str, str]] = Counter()
        self._usable: Counter[tuple[str, str]] = Counter()
        self._indices: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._losses: Counter[str] = Counter()
        self._alerts: Counter[str] = Counter()

    def add(self, item: Vitals | Quality | Beat | Alert | Gap | Corrupt) -> None:
        """Count `item`."""
        match item:
            case Vitals():
                self._add_vitals(item)
            case Quality():
                self._usable[item.sensor, item.stream] += item.is_usable
                if math.isfinite(item.index):
                    self._indices[item.sensor, item.stream].append(item.index)
            case Beat():
                self._beats[item.sensor, item.stream] += not item.is_noise_suspect
            case Alert():
                self._alerts[item.condition] += 1
            case Gap():
                if item.n_missing is None:
                    self._losses[f"{item.reason}-unknown-length"] += 1
                else:
                    self._losses[item.reason] += item.n_missing
            case Corrupt():
                self._losses[f"frame-{item.reason}"] += 1
        if not isinstance(item, Gap | Corrupt):
            self.latest_ns = min(max(self.latest_ns, item.at_ns), self.end_ns)

    def change_rhythm(self, label: str, at_ns: int) -> None:
        """Note that the rhythm is `label` from `at_ns`; a time before the interval counts from its start."""
        self._count_rhythm(at_ns)
        self.label = label
        self.has_changed = True

    def close(self, end_ns: int, primary_stream: str) -> Summary:
        """Return what the interval was like up to `end_ns`."""
        self._count_rhythm(end_ns)
        n_seconds = max(1, round((end_ns - self.start_ns) / _NS_PER_S))
        source = self._best_source(primary_stream)
        indices = [] if source is None else self._indices[source]
        return Summary(
            start_ns=self.start_ns,
            end_ns=end_ns,
            statistics={name: self._statistic(name, n_seconds) for name in sorted(self._units)},
            n_beats=max(self._beats.values(), default=0),
            coverage_pct=0.0 if source is None else _share_pct(self._usable[source], n_seconds),
            quality=fmean(indices) if indices else None,
            losses=dict(sorted(self._losses.items())),
            alerts=dict(sorted(self._alerts.items())),
            rhythm_s={label: ns / _NS_PER_S for label, ns in sorted(self._rhythm_ns.items())},
        )

    def _count_rhythm(self, until_ns: int) -> None:
        until_ns = min(until_ns, self.end_ns)
        if self.label is not None and until_ns > self._labelled_at_ns:
            self._rhythm_ns[self.label] += until_ns - self._labelled_at_ns
        self._labelled_at_ns = max(self._labelled_at_ns, until_ns)

    def _add_vitals(self, vitals: Vitals) -> None:
        for name, measurement in vitals.measurements.items():
            self._units[name] = measurement.unit
            if measurement.value is not None and math.isfinite(measurement.value):
                self._values[name].append(measurement.value)

    def _statistic(self, name: str, n_seconds: int) -> Statistic:
        values = self._values[name]
        return Statistic(
            unit=self._units[name],
            n=len(values),
            minimum=min(values, default=None),
            median=median(values) if values else None,
            maximum=max(values, default=None),
            coverage_pct=_share_pct(len(values), n_seconds),
        )

    def _best_source(self, primary_stream: str) -> tuple[str, str] | None:
        """Return the stream that was usable longest, of the primary kind if there is one."""
        primary = [source for source in self._usable if source[1] == primary_stream]
        return max(primary or self._usable, key=lambda source: (self._usable[source], source), default=None)


def _share_pct(n: int, n_seconds: int) -> float:
    return min(100.0, 100.0 * n / n_seconds)
