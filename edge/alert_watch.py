"""Watches one bed's findings and, when an alert is raised, takes down what it was decided from.

The last minute and a half of clean ECG, beats, windows and predictions is kept in memory, and nothing of it leaves
the gateway: `evidence` goes into the published alert as numbers and words, samples only where the privacy level of the
session allows them.  Pure: whoever makes it says where records go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from edge.alert_record import AlertRecord
from edge.messages import (
    Alert,
    AlertKind,
    AlertState,
    Beat,
    ChannelKind,
    ClassifiedBeat,
    Json,
    Prediction,
    Quality,
    SampleBlock,
    Vitals,
    Window,
)
from edge.pipeline import Finding
from edge.recent_signal import PENDING, RecentSignal, integers

NS_PER_S = 1_000_000_000

_MOST_WAITING = 20
"""Alerts whose records wait for the seconds after them; further ones are written once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertWatchSettings:
    """How much is kept and written."""

    memory_s: float = 90.0
    """Signal, beats and windows kept in memory, s: the minute on which fibrillation is told, and its window before."""
    before_s: float = 12.0
    """Strip before the alert, s: a rhythm strip of ten seconds, and a little more."""
    after_s: float = 3.0
    """Strip after the alert, s: whether a run went on (own choice).  The record is written at once, and again then."""
    patience_s: float = 10.0
    """After this long without further signal the record stays as it is, s."""
    rhythm_span_s: float = 60.0
    """Windows before the deciding one that are kept of a rhythm, s: the longest span that its model may look over."""
    publish_samples: bool = False
    """Whether the strip's samples may stand in the published evidence: off at the privacy level ``numerics``."""


class AlertWatch:
    """Give every alert its evidence, and hand a record of it to `save`.

    Parameters
    ----------
    bed : str
        Name of the bed, for the record.
    to_wall_ns : callable
        Turns an instant into nanoseconds since 1970.
    save : callable
        Takes each record: once when the alert is raised, and once more with the seconds after it.
    note : callable
        Takes each later revision of an alert.
    settings : AlertWatchSettings
        How much is kept.
    """

    def __init__(
        self,
        bed: str,
        to_wall_ns: Callable[[int], int],
        save: Callable[[AlertRecord], None],
        note: Callable[[Alert], None] = lambda _: None,
        settings: AlertWatchSettings = AlertWatchSettings(),
    ) -> None:
        self._bed = bed
        self._to_wall_ns = to_wall_ns
        self._save = save
        self._note = note
        self._settings = settings
        self._streams: dict[tuple[str, str], RecentSignal] = {}
        self._beating: tuple[str, str] | None = None
        self._added: dict[str, dict[str, Json]] = {}
        self._waiting: dict[str, _Waiting] = {}

    def observe(self, finding: Finding | ClassifiedBeat) -> Finding | ClassifiedBeat:
        """Return the finding; an alert with what is added to its evidence."""
        match finding:
            case Alert():
                return self._alert(finding)
            case SampleBlock() if not finding.is_backfill:
                self._block(finding)
            case Beat():
                self._beating = (finding.sensor, finding.stream)
                self._memory(finding).add_beat(ClassifiedBeat(beat=finding, source=PENDING))
            case ClassifiedBeat():
                self._memory(finding.beat).add_beat(finding)
            case Window():
                self._memory(finding).windows.append(finding)
            case Prediction():
                self._memory(finding).predictions.append(finding)
            case Quality() if finding.kind is ChannelKind.ECG:
                self._memory(finding).qualities.append(finding)
            case Vitals():
                self._time_passed(finding.at_ns)
            case _:
                pass
        return finding

    def finish(self) -> None:
        """Write the records that wait for more signal: there will be none."""
        for alert_id in [*self._waiting]:
            self._complete(alert_id)

    def _memory(self, item: Beat | Window | Prediction | Quality | SampleBlock) -> RecentSignal:
        return self._streams.setdefault((item.sensor, item.stream), RecentSignal(self._settings.memory_s))

    def _block(self, block: SampleBlock) -> None:
        columns = [k for k, channel in enumerate(block.channels) if channel.kind is ChannelKind.ECG]
        if not columns:
            return
        if len(columns) < len(block.channels):
            channels = tuple(block.channels[k] for k in columns)
            block = replace(block, channels=channels, values=block.values[:, columns])
        self._memory(block).add_block(block)
        for alert_id, waiting in [*self._waiting.items()]:
            if waiting.stream == (block.sensor, block.stream) and block.end_ns >= waiting.until_ns:
                self._complete(alert_id)

    def _time_passed(self, at_ns: int) -> None:
        patience_ns = round(self._settings.patience_s * NS_PER_S)
        for alert_id, waiting in [*self._waiting.items()]:
            if at_ns - waiting.until_ns >= patience_ns:
                self._complete(alert_id)

    def _alert(self, alert: Alert) -> Alert:
        if alert.kind is not AlertKind.PHYSIOLOGICAL:
            return alert
        is_new = alert.revision == 1 and alert.id not in self._added
        if is_new:
            self._raise(alert)
        added = self._added.get(alert.id)
        if added is not None:
            alert = replace(alert, evidence={**alert.evidence, **added})
        if not is_new:
            self._note(alert)
        if alert.state is AlertState.CLOSED:
            self._added.pop(alert.id, None)
        return alert

    def _raise(self, alert: Alert) -> None:
        stream = self._stream_of(alert)
        record = self._record(alert, stream)
        self._added[alert.id] = evidence(record, with_samples=self._settings.publish_samples)
        self._save(record)
        if stream is not None and len(self._waiting) < _MOST_WAITING:
            until_ns = alert.at_ns + round(self._settings.after_s * NS_PER_S)
            self._waiting[alert.id] = _Waiting(alert, stream, until_ns)

    def _complete(self, alert_id: str) -> None:
        waiting = self._waiting.pop(alert_id)
        record = self._record(waiting.alert, waiting.stream)
        # Not at once with the alert, which must not wait for an average of a minute and a half.
        self._save(replace(record, usual=self._streams[waiting.stream].usual_beat()))

    def _stream_of(self, alert: Alert) -> tuple[str, str] | None:
        """Return the ECG that the alert speaks of; where it does not say, the one with the last beat."""
        decision = alert.evidence.get("decision")
        for source in (decision, dict(alert.evidence)):
            if isinstance(source, dict):
                named = (source.get("sensor"), source.get("stream"))
                if isinstance(named[0], str) and isinstance(named[1], str) and named in self._streams:
                    return named[0], named[1]
        if self._beating is not None:
            return self._beating
        return next((key for key, memory in self._streams.items() if memory.blocks), None)

    def _record(self, alert: Alert, stream: tuple[str, str] | None) -> AlertRecord:
        decision = alert.evidence.get("decision")
        record = AlertRecord(
            bed=self._bed,
            wall_offset_ns=self._to_wall_ns(alert.at_ns) - alert.at_ns,
            alert=alert,
            decision=decision if isinstance(decision, dict) else None,
        )
        if stream is None:
            return record
        memory = self._streams[stream]
        start_ns = alert.at_ns - round(self._settings.before_s * NS_PER_S)
        end_ns = alert.at_ns + round(self._settings.after_s * NS_PER_S)
        windows: tuple[Window, ...] = ()
        if record.decision is not None:
            windows = memory.deciding(record.decision, round(self._settings.rhythm_span_s * NS_PER_S))
        shown = {(window.model, window.sequence) for window in windows}
        return replace(
            record,
            windows=windows,
            predictions=tuple(item for item in memory.predictions if (item.model, item.sequence) in shown),
            strip=memory.strip(start_ns, end_ns),
            beats=tuple(item for item in memory.beats.values() if item.beat.at_ns <= end_ns),
            qualities=tuple(item for item in memory.qualities if start_ns < item.at_ns <= end_ns + NS_PER_S),
        )


def evidence(record: AlertRecord, *, with_samples: bool = False) -> dict[str, Json]:
    """Return what is added to the evidence of the published alert.

    Parameters
    ----------
    record : AlertRecord
        Of the alert, as it was raised.
    with_samples : bool
        Whether the samples of the strip may leave the gateway.

    Returns
    -------
    dict
        ``window`` (seconds before and after the alert that decided), ``quality`` (lowest index of the signal in the
        strip), ``contributions`` (what spoke for the decision, where the model was asked), ``strip`` (where to look).
    """
    added: dict[str, Json] = {}
    alert = record.alert
    if record.windows:
        start_ns = min(window.start_ns for window in record.windows)
        ends_ns = [w.start_ns + round(len(w.values) * NS_PER_S / w.rate_hz) for w in record.windows if w.rate_hz > 0]
        added["window"] = {
            "from_s": round((start_ns - alert.at_ns) / NS_PER_S, 2),
            "to_s": round((max(ends_ns, default=start_ns) - alert.at_ns) / NS_PER_S, 2),
        }
    if record.qualities:
        added["quality"] = round(min(quality.index for quality in record.qualities), 3)
    contributions = _contributions(record)
    if contributions:
        added["contributions"] = contributions
    if record.strip is not None:
        strip = record.strip
        shown: dict[str, Json] = {
            "alert": alert.id,
            "sensor": strip.sensor,
            "stream": strip.stream,
            "from_s": round((strip.start_ns - alert.at_ns) / NS_PER_S, 3),
            "duration_s": round(len(strip.values_uv) / strip.rate_hz, 3),
        }
        if with_samples:
            columns = np.where(np.isfinite(strip.values_uv), strip.values_uv, np.nan).T.tolist()
            shown["rate_hz"] = strip.rate_hz
            shown["channels"] = list(strip.channels)
            shown["values_uv"] = [[None if v != v else round(v) for v in column] for column in columns]  # noqa: PLR0124
        added["strip"] = shown
    return added


def without_samples(given: Mapping[str, Json]) -> dict[str, Json]:
    """Return evidence that may leave the gateway at the privacy level ``numerics``: no samples in it."""
    strip = given.get("strip")
    if not isinstance(strip, dict):
        return dict(given)
    return {**given, "strip": {name: value for name, value in strip.items() if name != "values_uv"}}


def _contributions(record: AlertRecord) -> dict[str, Json]:
    """Return the mean of what the deciding predictions say spoke for their label."""
    sequences = integers((record.decision or {}).get("window_sequences"))
    label = (record.decision or {}).get("label")
    sums: dict[str, list[float]] = {}
    for prediction in record.predictions:
        given = prediction.evidence.get("contributions")
        if prediction.sequence not in sequences or prediction.label != label or not isinstance(given, dict):
            continue
        for name, value in given.items():
            if isinstance(value, int | float):
                sums.setdefault(name, []).append(float(value))
    return {name: round(sum(values) / len(values), 3) for name, values in sorted(sums.items())}


@dataclass(frozen=True, slots=True)
class _Waiting:
    alert: Alert
    stream: tuple[str, str]
    until_ns: int
