"""Resampled ECG blocks, beats and verdicts -> ten-second windows for the rhythm model, with the evidence of a minute.

::

    SampleBlock ─▶ the last minute of every lead ─┬─▶ the newest 10 s of one lead ──────────────────▶ Window.values
    Beat, Quality ─▶ the last minute of each ─────┴─▶ rhythm_evidence, atrial_evidence, quality ────▶ Window.features

A window is given every hop, counted from the beginning of a stretch, and once more where the stretch ends; a stretch
shorter than a window gives one window with zeros before it.  Nothing behind a window's end counts in it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.sample_times import SampleTimes
from edge.features.atrial_evidence import (
    ATRIAL_FEATURES,
    SHAPE_FEATURES,
    SIGNAL_FEATURES,
    TEMPLATE_FEATURES,
    atrial_evidence,
    cut_beats,
    shape_evidence,
    signal_evidence,
)
from edge.features.history import History, Rows
from edge.features.rhythm_evidence import BEAT_FEATURES, RR_FEATURES, beat_evidence, intervals_s, rr_evidence, unknown
from edge.messages import Beat, Json, Quality, SampleBlock, Window

STAGE = "rhythm-windows/1"
"""Name and version of what this stage computes; a model's card must name the same."""

NS_PER_S = 1_000_000_000

QUALITY_FEATURES = ("quality_mean", "quality_low", "unusable_share")
"""Names of what the verdicts on the signal give."""

FEATURES = (
    "signal_s",
    *RR_FEATURES,
    *BEAT_FEATURES,
    *SHAPE_FEATURES,
    *ATRIAL_FEATURES,
    *TEMPLATE_FEATURES,
    *SIGNAL_FEATURES,
    *QUALITY_FEATURES,
)
"""Names of all features of a window, in their order."""

# Ten beats a second for twice the longest evidence; bounds memory where no window comes about.
_MOST_KEPT = 1200
# Nothing a body or an electrode gives reaches this, in any unit.
_LARGEST_VALUE = 1e9
_TO_MV = {"mV": 1.0, "uV": 1e-3, "V": 1e3, "nV": 1e-6}
_SETTLING = "settling"


@dataclass(frozen=True, kw_only=True, slots=True)
class RhythmWindowsSettings:
    """How windows lie on the stream, and how far back their evidence reaches."""

    rate_hz: float = 125.0
    """Rate the model was trained at; the stream must have it.  The band of the clean ECG ends at 40 Hz."""
    window_s: float = 10.0
    """Length of a window: the length of a routine ECG strip."""
    hop_s: float = 5.0
    """Distance from one window to the next (own choice)."""
    evidence_s: float = 60.0
    """How far back the features look; the longest recordings of the training data last as long."""
    beat_wait_s: float = 1.0
    """A window is given out this much later than its end, so that its last beats are known (`EcgBeats`: 0.57 s)."""
    least_s: float = 5.0
    """The shortest stretch that gives a window, with zeros before it: a handful of beats."""

    def __post_init__(self) -> None:
        if not 0 < self.hop_s <= self.window_s <= self.evidence_s:
            raise ValueError(f"expected 0 < hop_s <= window_s <= evidence_s, got {self}")
        if not self.rate_hz > 0 or self.beat_wait_s < 0 or not 0 < self.least_s <= self.window_s:
            raise ValueError(f"expected rate_hz > 0, beat_wait_s >= 0, 0 < least_s <= window_s, got {self}")

    def describe(self) -> dict[str, Json]:
        """Return what a model's card must say of its preprocessing to be fed by this stage."""
        return {"stage": STAGE, **asdict(self)}


class RhythmWindows:
    """Cut overlapping windows of one lead and say what the minute before each tells of the rhythm.

    Push resampled blocks with all ECG leads, and the beats and verdicts on the signal as they come.  The lead is that
    of most beats in the window, else the one named by the last verdict, else the first; one with a missing sample in
    the window is passed over, and where every lead has one there is no window.

    Parameters
    ----------
    settings : RhythmWindowsSettings
        How windows lie on the stream.
    """

    def __init__(self, settings: RhythmWindowsSettings = RhythmWindowsSettings()) -> None:
        self._settings = settings
        self._n_window = round(settings.window_s * settings.rate_hz)
        self._n_hop = max(1, round(settings.hop_s * settings.rate_hz))
        self._n_wait = round(settings.beat_wait_s * settings.rate_hz)
        self._n_evidence = round(settings.evidence_s * settings.rate_hz)
        self._n_least = round(settings.least_s * settings.rate_hz)
        self._run: _Run | None = None
        self._beats: deque[Beat] = deque(maxlen=_MOST_KEPT)
        self._verdicts: deque[Quality] = deque(maxlen=_MOST_KEPT)

    def describe(self) -> dict[str, Json]:
        """Return what a model's card must say of its preprocessing to be fed by this stage."""
        return self._settings.describe()

    def push(self, item: SampleBlock | Beat | Quality) -> list[Window]:
        """Return the windows that `item` completed.

        Raises
        ------
        ValueError
            If the block's rate is not the one of the settings.
        """
        if isinstance(item, Beat):
            self._beats.append(item)
            return []
        if isinstance(item, Quality):
            self._verdicts.append(item)
            return []
        if item.rate_hz != self._settings.rate_hz:
            raise ValueError(f"expected blocks at {self._settings.rate_hz} Hz, got {item.rate_hz} Hz")
        out: list[Window] = []
        at = 0
        while at < item.n_samples:  # pieces that end on the grid, so that windows fall due one by one
            if self._run is None or not self._run.fits(item, at):
                out += self.flush()
                n_kept = self._n_evidence + self._n_wait + 2 * self._n_hop
                self._run = _Run(item, item.sequence + at, n_kept, self._settings.rate_hz)
            run = self._run
            n_part = min(item.n_samples - at, self._n_hop - (run.end - run.first - self._n_wait) % self._n_hop)
            start_ns = item.start_ns + round(at * NS_PER_S / item.rate_hz)
            run.add(item.values[at : at + n_part], start_ns)
            at += n_part
            due = run.end - self._n_wait
            if (due - run.first) % self._n_hop == 0 and due - run.first >= self._n_window:
                out += self._cut(run, due)
        return out

    def flush(self) -> list[Window]:
        """Return the window that ends with the stretch, where the last one left something out."""
        run = self._run
        if run is None or run.end == run.cut_until or run.end - run.first < self._n_least:
            return []
        return self._cut(run, run.end)

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget the samples, beats and verdicts so far."""
        self._run = None
        self._beats.clear()
        self._verdicts.clear()

    def _cut(self, run: _Run, end: int) -> list[Window]:
        """Return the window up to `end`, from what was known of that time."""
        run.cut_until = end
        first = max(run.first, end - self._n_window)
        begin = max(run.first, end - self._n_evidence)
        begin_ns, first_ns, end_ns = (run.times.at_ns(sequence) for sequence in (begin, first, end))
        self._forget(begin_ns)
        known = [beat for beat in self._beats if begin_ns <= beat.at_ns < end_ns]
        beats = sorted(known, key=lambda beat: beat.at_ns)  # one found by search-back may come behind a later one
        verdicts = [verdict for verdict in self._verdicts if begin_ns < verdict.at_ns <= end_ns]
        inside = tuple(beat for beat in beats if beat.at_ns >= first_ns)
        lead = self._choose(run, first, end, inside, verdicts)
        if lead is None:
            return []
        curve = run.history.rows(begin, end)[:, lead] * run.scales[lead]
        values = np.zeros((self._n_window, 1))
        values[self._n_window - (end - first) :, 0] = curve[first - begin :]
        values.setflags(write=False)
        late = [verdict.index for verdict in verdicts if verdict.at_ns > first_ns]
        return [
            Window(
                sensor=run.form.sensor,
                stream=run.form.stream,
                values=values,
                rate_hz=self._settings.rate_hz,
                start_ns=end_ns - round(self._n_window * NS_PER_S / self._settings.rate_hz),
                sequence=end - self._n_window,
                quality=min(late, default=1.0),
                beats=inside,
                model="rhythm",
                features=self._features(curve, beats, verdicts, begin_ns),
                channel=run.form.channels[lead].name,
            )
        ]

    def _choose(self, run: _Run, first: int, end: int, beats: tuple[Beat, ...], verdicts: list[Quality]) -> int | None:
        """Return the lead to look at; None where none is whole."""
        rows = run.history.rows(first, end)
        names = [channel.name for channel in run.form.channels]
        votes = [sum(beat.channel == name for beat in beats) for name in names]
        named = verdicts[-1].channel if verdicts else None
        order = sorted(range(len(names)), key=lambda k: (-votes[k], names[k] != named, k))
        return next((k for k in order if np.isfinite(rows[:, k]).all()), None)

    def _features(
        self, curve: NDArray[np.float64], beats: list[Beat], verdicts: list[Quality], begin_ns: int
    ) -> dict[str, float]:
        rate_hz = self._settings.rate_hz
        rr_s = intervals_s(beats)
        peaks = [round((beat.at_ns - begin_ns) * rate_hz / NS_PER_S) for beat in beats]
        # What is in doubt is no part of an average; where all is, it is all there is.
        trusted = [k for k, beat in enumerate(beats) if not beat.is_noise_suspect]
        shown = trusted if len(trusted) >= len(beats) // 2 else list(range(len(beats)))
        early = rr_s / float(np.nanmedian(rr_s)) if np.isfinite(rr_s).any() else rr_s
        with np.errstate(all="ignore"):
            cut, at, kept = cut_beats(curve, [peaks[k] for k in shown], rate_hz)
            out = {
                "signal_s": len(curve) / rate_hz,
                **rr_evidence(rr_s),
                **beat_evidence(beats),
                **shape_evidence(cut, early[np.asarray(shown, dtype=np.int64)][kept], rate_hz),
                **atrial_evidence(curve, cut, at, rate_hz),
                **signal_evidence(curve, rate_hz),
                **quality_evidence(verdicts),
            }
        return {name: value if np.isfinite(value) else float("nan") for name, value in out.items()}

    def _forget(self, before_ns: int) -> None:
        while self._beats and self._beats[0].at_ns < before_ns:
            self._beats.popleft()
        while self._verdicts and self._verdicts[0].at_ns <= before_ns:
            self._verdicts.popleft()


def quality_evidence(verdicts: list[Quality]) -> dict[str, float]:
    """Return the figures named in `QUALITY_FEATURES`; the seconds in which the index was settling say nothing."""
    index = np.array([v.index for v in verdicts if _SETTLING not in v.reasons], dtype=np.float64)
    if len(index) == 0:
        return unknown(QUALITY_FEATURES)
    usable = [v.is_usable for v in verdicts if _SETTLING not in v.reasons]
    return {
        "quality_mean": float(index.mean()),
        "quality_low": float(np.percentile(index, 20)),
        "unusable_share": 1.0 - float(np.mean(usable)),
    }


class _Run:
    """One stretch without holes."""

    def __init__(self, form: SampleBlock, sequence: int, n_kept: int, rate_hz: float) -> None:
        self.form = form
        self.first = sequence
        self.cut_until = sequence
        self.history = History(len(form.channels), n_kept, sequence)
        self.times = SampleTimes(rate_hz)
        self.scales = [_TO_MV.get(channel.unit, 1.0) for channel in form.channels]

    @property
    def end(self) -> int:
        """Sample index that comes next."""
        return self.history.end

    def fits(self, item: SampleBlock, at: int) -> bool:
        """Return whether `item` goes on with this stretch, from its sample `at` on."""
        is_same = item.channels == self.form.channels and item.stream == self.form.stream
        return is_same and item.sensor == self.form.sensor and item.sequence + at == self.end

    def add(self, values: Rows, start_ns: int) -> None:
        """Take in samples that follow those before."""
        self.times.add(self.history.end, start_ns)
        self.history.append(np.where(np.abs(values) <= _LARGEST_VALUE, values, np.nan))
