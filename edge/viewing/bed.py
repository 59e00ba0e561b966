"""What a person at the bed needs to see, kept up to date from the pipeline's findings.

Fed by `app`, `replay` and `demo`; read by the terminal view.  Pure: it draws nothing and asks for no time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.messages import (
    Alert,
    AlertState,
    Beat,
    ChannelKind,
    LinkChange,
    LinkState,
    Priority,
    Quality,
    RhythmChange,
    SampleBlock,
    Summary,
    Vitals,
)

RHYTHM_NAMES = {
    "N": "sinus or regular",
    "SBR": "slow (bradycardia)",
    "T": "trigeminy",
    "SVTA": "fast, narrow beats",
    "B": "bigeminy",
    "AFIB": "irregular (AF suspected)",
    "O": "another rhythm",
    "VT": "ventricular tachycardia?",
    "VF": "VENTRICULAR FIBRILLATION?",
    "ASYS": "NO BEATS",
    "NOISE": "cannot tell",
}
"""WFDB rhythm label to words a person reads in passing."""

_PRIORITY_ORDER = {Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2}
_TRACE_S = 6.0


@dataclass(frozen=True, slots=True)
class AlertLine:
    """One line of the alert history."""

    at_ns: int
    priority: Priority
    state: AlertState
    sentence: str


class BedState:
    """The latest of everything about one person.

    Parameters
    ----------
    subject : str
        Pseudonym shown on the screen.
    history_lines : int
        How many alert transitions are kept for display.
    """

    def __init__(self, subject: str, history_lines: int = 12) -> None:
        self.subject = subject
        self.now_ns = 0
        self.vitals: Vitals | None = None
        self.quality: Quality | None = None
        self.rhythm: str | None = None
        self.links: dict[str, LinkChange] = {}
        self.summary: Summary | None = None
        self.last_beat: Beat | None = None
        self.n_beats = 0
        self.history: deque[AlertLine] = deque(maxlen=history_lines)
        self._open: dict[str, Alert] = {}
        self._trace: deque[SampleBlock] = deque()

    def observe(self, finding: object) -> None:
        """Take note of one finding; anything a person does not look at is ignored."""
        match finding:
            case Vitals():
                self.vitals = finding
                self.now_ns = max(self.now_ns, finding.at_ns)
            case Quality():
                self._note_quality(finding)
            case Beat():
                self.last_beat = finding
                self.n_beats += 1
            case RhythmChange():
                self.rhythm = finding.label
            case LinkChange():
                self.links[finding.sensor] = finding
                if finding.state is LinkState.LOST:
                    self._trace.clear()
            case Alert():
                self._note_alert(finding)
            case Summary():
                self.summary = finding
            case SampleBlock():
                self._note_samples(finding)
            case _:
                pass

    def open_alerts(self) -> list[Alert]:
        """Return the alerts that are not closed: highest priority first, newest first within one."""
        return sorted(self._open.values(), key=lambda alert: (_PRIORITY_ORDER[alert.priority], -alert.onset_at_ns))

    def trace(self, duration_s: float = _TRACE_S) -> NDArray[np.float64]:
        """Return the latest clean ECG, shape (n_samples,) mV, at most `duration_s` seconds; empty without one."""
        blocks = list(self._trace)
        if not blocks:
            return np.empty(0)
        joined = np.concatenate([block.values[:, 0] for block in blocks])
        return joined[-round(duration_s * blocks[-1].rate_hz) :]

    def _note_alert(self, alert: Alert) -> None:
        if alert.state is AlertState.CLOSED:
            self._open.pop(alert.id, None)
        else:
            self._open[alert.id] = alert
        self.history.append(
            AlertLine(at_ns=alert.at_ns, priority=alert.priority, state=alert.state, sentence=alert.sentence)
        )

    def _note_quality(self, quality: Quality) -> None:
        """Keep the verdict on the trace that is drawn: the ECG where there is one."""
        if self.quality is None or quality.kind is ChannelKind.ECG or self.quality.kind is not ChannelKind.ECG:
            self.quality = quality

    def _note_samples(self, block: SampleBlock) -> None:
        if block.channels[0].kind is not ChannelKind.ECG or block.is_backfill:
            return
        if self._trace and self._trace[-1].sequence + self._trace[-1].n_samples != block.sequence:
            self._trace.clear()
        self._trace.append(block)
        n_samples = sum(item.n_samples for item in self._trace)
        while n_samples - self._trace[0].n_samples >= _TRACE_S * block.rate_hz:
            n_samples -= self._trace.popleft().n_samples


def braille_trace(values: NDArray[np.float64], width: int, height: int) -> list[str]:
    """Return `values` drawn in `height` lines of `width` braille cells (2 × 4 dots each).

    Parameters
    ----------
    values : ndarray, shape (n_samples,)
        Any unit; the vertical scale fits the range, at least 0.5 so that noise is not blown up.
    width, height : int
        Size in characters, both at least 1.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return [" " * width] * height
    n_columns, n_rows = 2 * width, 4 * height
    edges = np.linspace(0, values.size, n_columns + 1).astype(int)
    low, high = float(finite.min()), float(finite.max())
    middle, span = high / 2 + low / 2, max(high - low, 0.5)
    cells = np.zeros((height, width), dtype=int)
    # Unicode braille: bit numbers of the dots, column by column from the top.
    bits = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
    last_level: float | None = None
    for column in range(n_columns):
        piece = values[edges[column] : max(edges[column + 1], edges[column] + 1)]
        piece = piece[np.isfinite(piece)]
        if not piece.size or not np.isfinite(span):
            last_level = None
            continue
        # Joined to the column before, so that a steep slope is one line and not two dots.
        joined = piece if last_level is None else np.append(piece, last_level)
        last_level = float(piece[-1])
        rows = [round((0.5 - (float(level) - middle) / span) * (n_rows - 1)) for level in (joined.max(), joined.min())]
        for row in range(max(0, rows[0]), min(n_rows - 1, rows[1]) + 1):
            cells[row // 4, column // 2] |= bits[column % 2][row % 4]
    return ["".join(chr(0x2800 + int(cell)) for cell in line) for line in cells]


def open_alert_words(alerts: Iterable[Alert]) -> str:
    """Return one plain sentence that counts `alerts` by priority."""
    counts = dict.fromkeys(Priority, 0)
    for alert in alerts:
        counts[alert.priority] += 1
    words = [f"{n} {priority.value}" for priority, n in counts.items() if n]
    return ", ".join(words) if words else "none"
