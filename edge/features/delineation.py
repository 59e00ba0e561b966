"""Raw ECG and its beats -> PR, QRS, QT and QTc once a minute, from the average of the minute's normal beats.

::

    SampleBlock ─▶ the last seconds ─┐
    Beat, Quality ─▶ normal beats ───┴─▶ AverageBeat (one per lead) ─▶ wave_bounds ─▶ Estimate, once a minute

Raw beats are averaged first and smoothed afterwards, symmetrically in time, so no filter moves an edge.  The QT interval
is corrected for the rate by Fridericia's formula, QT / RR^(1/3): Bazett's square root overcorrects at fast and
undercorrects at slow rates, and varies more from minute to minute in one person (Andršová et al. 2021, PMC8275798).

These are intervals of one lead.  Of twelve leads the earliest beginning and the latest end are taken, so those read longer
by some 10 to 20 ms.  There are no ST values: a monitor's band shifts them.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from edge.features.average_beat import AverageBeat, Curve
from edge.features.normal_beats import is_irregular, is_normal, is_similar
from edge.features.wave_bounds import WaveBounds, wave_bounds
from edge.messages import Beat, ChannelKind, Estimate, Quality, SampleBlock, Tick

NS_PER_S = 1_000_000_000

_TO_MV = {"mV": 1.0, "uV": 1e-3, "V": 1e3, "nV": 1e-6}
# Sum of squares of a beat; nothing a body or an electrode gives reaches it, in any unit.
_LARGEST_POWER = 1e18
# An average reaches from before the longest PR to after the longest QT.
_BEFORE_S = 0.50
_AFTER_S = 0.75
# So much of the signal is kept beyond the lag: a second between ticks, and the beat itself.
_REACH_S = 4.0
_MOST_BEATS = 512
_MEASURES = ("pr_ms", "qrs_ms", "qt_ms", "qtc_ms")
_METHODS = {"pr_ms": "average-beat", "qrs_ms": "average-beat", "qt_ms": "tangent", "qtc_ms": "fridericia"}


@dataclass(frozen=True, kw_only=True, slots=True)
class DelineationSettings:
    """When the waves of a minute are measured, and when that is not possible."""

    window_s: float = 60.0
    """Beats of this long are averaged (own choice: 60 beats leave an eighth of the noise)."""
    lag_s: float = 4.0
    """A beat is taken up this late: by then its own and the next beat are known, and the verdict on their seconds."""
    min_beats: int = 10
    """Fewer say nothing: a 12-lead cardiograph takes its median beat from the ten or so of 10 s."""
    rates_hz: tuple[float, float] = (100.0, 4000.0)
    """Sampling rates: below the lower one a QRS complex has fewer than ten samples."""
    rr_ms: tuple[float, float] = (500.0, 1500.0)
    """Mean intervals (40-120 /min) between which P and T are told apart and QT is measured (own choice: at faster rates
    P lies on the T wave before it)."""
    max_rr_spread_ratio: float = 0.15
    """Standard deviation of the intervals relative to their mean above which T waves of different cycles would be averaged
    (own choice: the rate then changed by a third, or there were runs of another rhythm)."""
    qtc_ms: tuple[float, float] = (300.0, 600.0)
    """Outside this what was found is no T wave: a pacing spike, a P wave, a wandering baseline (own choice; short and long
    QT syndromes lie inside)."""
    min_qrs_ms: float = 45.0
    """Shorter is no depolarisation of the ventricles, but a pacing spike (own choice)."""
    normal_qrs_ms: float = 110.0
    """Longest normal QRS (as for `wide_qrs_ms`): beyond it, and without a P wave, beats may be ventricular or paced."""
    wide_qrs_ms: float = 120.0
    """QRS duration from which conduction is abnormal (AHA/ACCF/HRS 2009, doi:10.1161/CIRCULATIONAHA.108.191095): QT is
    then prolonged by depolarisation, and QTc has no value."""
    max_disagreement_ms: float = 20.0
    """The averages of every other beat and of the rest must agree on QRS and PR within this, on QT within twice this (own
    choice: half a small square of ECG paper)."""


class Delineation:
    """Measure PR, QRS, QT and QTc of one ECG stream, once a minute.

    Push the raw blocks, the beats and verdicts on the signal found in them, and ticks.  Minutes are counted from the
    first block on; each is told at the first `Tick` that is ``lag_s`` later than its end.

    Parameters
    ----------
    settings : DelineationSettings
        When the waves are measured.
    """

    def __init__(self, settings: DelineationSettings = DelineationSettings()) -> None:
        self._settings = settings
        self._run: _Run | None = None
        self._minute: _Minute | None = None

    def push(self, item: SampleBlock | Beat | Quality | Tick) -> list[Estimate]:
        """Return the four intervals, each with a value or a reason, at the end of a minute; nothing else."""
        match item:
            case SampleBlock():
                self._block(item)
            case Beat() if self._run is not None:
                self._run.beats.append(item)
            case Quality(kind=ChannelKind.ECG, is_usable=False) if self._run is not None:
                self._run.unusable_at_ns.append(item.at_ns)
            case Tick():
                return self._tick(item.at_ns)
        return []

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget the minute so far; the next begins with the next block."""
        self._run = None
        self._minute = None

    def flush(self) -> list[Estimate]:
        """Return the intervals of the minute that was begun, where it has beats enough."""
        minute = self._minute
        if self._run is None or minute is None:
            return []
        end_ns = self._run.end_ns
        self._run.take_up(minute, end_ns)
        self._minute = None
        return minute.estimates(end_ns) if minute.n_beats >= self._settings.min_beats else []

    def _block(self, item: SampleBlock) -> None:
        run = self._run
        if run is None or not run.goes_on(item):
            run = self._start(item)
        if run is not None:
            run.add(item)

    def _start(self, item: SampleBlock) -> _Run | None:
        """Begin a stretch with `item`, and a minute where there is none or the leads have changed."""
        self._run = None
        if len(item.values) == 0 or all(channel.kind is not ChannelKind.ECG for channel in item.channels):
            return None
        if self._minute is None or not self._minute.fits(item):
            self._minute = _Minute(self._settings, item, item.start_ns)
        low_hz, high_hz = self._settings.rates_hz
        if low_hz <= item.rate_hz <= high_hz:
            self._run = _Run(self._settings, item)
        return self._run

    def _tick(self, at_ns: int) -> list[Estimate]:
        minute = self._minute
        if minute is None:
            return []
        known_ns = at_ns - round(self._settings.lag_s * NS_PER_S)
        self._take_up(minute, known_ns)
        if known_ns < minute.end_ns:
            return []
        estimates = minute.estimates(minute.end_ns)
        # After a silence the minutes are counted from now on.
        is_next = known_ns < minute.end_ns + NS_PER_S * round(self._settings.window_s)
        self._minute = minute.following(minute.end_ns if is_next else known_ns)
        self._take_up(self._minute, known_ns)
        return estimates

    def _take_up(self, minute: _Minute, known_ns: int) -> None:
        if self._run is not None:
            self._run.take_up(minute, min(known_ns, minute.end_ns))


class _Run:
    """The last seconds of one stretch without holes, and the beats in it that are not taken up yet."""

    def __init__(self, settings: DelineationSettings, first: SampleBlock) -> None:
        self._channels = first.channels
        self._rate_hz = first.rate_hz
        self._n_kept = round((settings.lag_s + _REACH_S) * first.rate_hz)
        self._blocks: deque[SampleBlock] = deque()
        self._end = first.sequence
        self._before: Beat | None = None
        self.beats: deque[Beat] = deque(maxlen=_MOST_BEATS)
        self.unusable_at_ns: deque[int] = deque(maxlen=_MOST_BEATS)

    @property
    def end_ns(self) -> int:
        """Instant just after the newest sample; only asked once there is one."""
        return self._blocks[-1].end_ns

    def goes_on(self, block: SampleBlock) -> bool:
        """Return whether `block` goes on with this stretch."""
        is_same = block.channels is self._channels or block.channels == self._channels
        return is_same and block.sequence == self._end and block.rate_hz == self._rate_hz

    def add(self, block: SampleBlock) -> None:
        """Keep `block` for a few seconds."""
        blocks = self._blocks
        blocks.append(block)
        self._end = block.sequence + len(block.values)
        while len(blocks) > 1 and blocks[1].sequence <= block.sequence - self._n_kept:
            blocks.popleft()

    def take_up(self, minute: _Minute, until_ns: int) -> None:
        """Hand `minute` the beats before `until_ns`, each with its neighbours."""
        while len(self.beats) > 1 and self.beats[0].at_ns < until_ns:
            beat = self.beats.popleft()
            is_certain = self._is_certain(beat)
            minute.note_interval(beat if is_certain and is_similar(beat) else None)
            before, self._before = self._before, beat
            if is_certain and is_normal(beat) and before is not None and is_normal(before) and is_normal(self.beats[0]):
                minute.add(beat, self)

    def lead(self, lead: int, first: int, end: int) -> Curve | None:
        """Return the samples ``first <= index < end`` of one lead; None where they are not all there."""
        parts: list[Curve] = []
        for block in reversed(self._blocks):
            at = block.sequence
            if at < end:
                parts.append(block.values[max(0, first - at) : end - at, lead])
            if at <= first:
                break
        else:
            return None
        curve = np.concatenate(parts[::-1])
        return curve if len(curve) == end - first else None

    def _is_certain(self, beat: Beat) -> bool:
        """Return whether neither the second of `beat` nor its neighbours were unusable."""
        if beat.is_noise_suspect:
            return False
        return not any(-NS_PER_S < at_ns - beat.at_ns < 2 * NS_PER_S for at_ns in self.unusable_at_ns)


class _Minute:
    """The beats of one minute, averaged lead by lead."""

    def __init__(self, settings: DelineationSettings, first: SampleBlock, start_ns: int) -> None:
        self._settings = settings
        self._first = first
        self._start_ns = start_ns
        self._leads: dict[str | None, int] = {
            channel.name: k for k, channel in enumerate(first.channels) if channel.kind is ChannelKind.ECG
        }
        self._first_lead = next(iter(self._leads.values()))
        self._averages: dict[int, AverageBeat] = {}
        self._rr_ms: list[float | None] = []
        self._nn_ms: list[float] = []
        self._quality = 0.0
        self._is_certain_before = False

    @property
    def end_ns(self) -> int:
        """Instant of its end."""
        return self._start_ns + round(self._settings.window_s * NS_PER_S)

    @property
    def n_beats(self) -> int:
        """Beats in the average that has most."""
        return max((average.n_beats for average in self._averages.values()), default=0)

    def fits(self, block: SampleBlock) -> bool:
        """Return whether `block` has the rate and the leads of this minute."""
        return block.rate_hz == self._first.rate_hz and block.channels == self._first.channels

    def following(self, start_ns: int) -> _Minute:
        """Return the next minute, empty."""
        return _Minute(self._settings, self._first, start_ns)

    def note_interval(self, beat: Beat | None) -> None:
        """Learn of a beat whose interval says something of the rhythm; None for one that does not."""
        is_certain = beat is not None
        rr_ms = beat.rr_ms if beat is not None and self._is_certain_before else None
        self._rr_ms.append(rr_ms if rr_ms is not None and 0 < rr_ms < math.inf else None)
        self._is_certain_before = is_certain

    def add(self, beat: Beat, run: _Run) -> None:
        """Take `beat` into the average of its lead, where all its samples are there."""
        if beat.rr_ms is None or not 0 < beat.rr_ms < math.inf:
            return
        lead = self._leads.get(beat.channel, self._first_lead)
        average = self._averages.get(lead)
        if average is None:
            average = self._averages[lead] = _average(self._first.rate_hz)
        curve = run.lead(lead, beat.sequence - average.n_before, beat.sequence + average.n_after + 1)
        if curve is None or not float(np.dot(curve, curve)) <= _LARGEST_POWER:  # the latter for NaN too
            return
        if average.add(curve):
            self._nn_ms.append(beat.rr_ms)
            self._quality += beat.quality

    def estimates(self, at_ns: int) -> list[Estimate]:
        """Return the four intervals."""
        values = self._values()
        n = max(1, len(self._nn_ms))
        quality = min(1.0, max(0.0, self._quality / n)) if math.isfinite(self._quality) else 0.0
        return [
            Estimate(
                sensor=self._first.sensor,
                stream=self._first.stream,
                measure=measure,
                value=value if isinstance(value, float) else None,
                unit="ms",
                at_ns=at_ns,
                quality=quality if isinstance(value, float) else 0.0,
                method=_METHODS[measure],
                absent=value if isinstance(value, str) else None,
                valid_for_s=self._settings.window_s + 3 * self._settings.lag_s,
            )
            for measure, value in zip(_MEASURES, values, strict=True)
        ]

    def _values(self) -> tuple[float | str, ...]:
        """Return PR, QRS, QT and QTc, a reason standing where there is no value."""
        low_hz, high_hz = self._settings.rates_hz
        if not low_hz <= self._first.rate_hz <= high_hz:
            return ("bad-band",) * 4
        if self.n_beats < self._settings.min_beats:
            return ("too-few-normal-beats",) * 4
        lead = max(self._averages, key=lambda k: self._averages[k].n_beats)
        rr_ms = sum(self._nn_ms) / len(self._nn_ms)
        scale = _TO_MV.get(self._first.channels[lead].unit, 1.0)
        whole, *halves = _bounds(self._averages[lead], scale, self._first.rate_hz, rr_ms)
        if whole is None or any(half is None for half in halves):
            return ("poor-signal",) * 4
        return self._judged(whole, [half for half in halves if half is not None], rr_ms)

    def _judged(self, whole: WaveBounds, halves: list[WaveBounds], rr_ms: float) -> tuple[float | str, ...]:
        """Return what may be said of the waves found."""
        settings = self._settings
        most_ms = settings.max_disagreement_ms
        qrs = _agreed(whole.qrs_ms, [half.qrs_ms for half in halves], most_ms, "poor-signal")
        pr = _agreed(whole.pr_ms, [half.pr_ms for half in halves], most_ms, "no-p-wave")
        qt = _agreed(whole.qt_ms, [half.qt_ms for half in halves], 2 * most_ms, "low-t-wave")
        if isinstance(qrs, str):
            return (qrs,) * 4
        if qrs < settings.min_qrs_ms:
            return ("narrow-qrs",) * 4
        is_slow_enough = settings.rr_ms[0] <= rr_ms <= settings.rr_ms[1]
        if (
            not is_slow_enough
            or is_irregular(self._rr_ms)
            or float(np.std(self._nn_ms)) > settings.max_rr_spread_ratio * rr_ms
        ):
            reason = "rate-out-of-range" if not is_slow_enough else "irregular"
            return (reason, qrs, reason, reason)
        if qrs > settings.normal_qrs_ms and isinstance(pr, str):
            return ("wide-qrs",) * 4
        return (pr, qrs, *self._corrected(qt, rr_ms, is_wide=qrs >= settings.wide_qrs_ms))

    def _corrected(self, qt: float | str, rr_ms: float, *, is_wide: bool) -> tuple[float | str, float | str]:
        """Return QT and QTc, or why there is none."""
        if isinstance(qt, str):
            return qt, qt
        qtc = qt / (rr_ms / 1000.0) ** (1 / 3)
        if not self._settings.qtc_ms[0] <= qtc <= self._settings.qtc_ms[1]:
            return "poor-signal", "poor-signal"
        return qt, "wide-qrs" if is_wide else qtc


def _average(rate_hz: float) -> AverageBeat:
    """Return an empty average that reaches from before the longest PR to after the longest QT."""
    return AverageBeat(
        n_before=round(_BEFORE_S * rate_hz),
        n_after=round(_AFTER_S * rate_hz),
        n_core=max(2, round(0.08 * rate_hz)),
        n_shift=max(1, round(0.01 * rate_hz)),
    )


def _bounds(average: AverageBeat, scale: float, rate_hz: float, rr_ms: float) -> list[WaveBounds | None]:
    """Return the waves in the average of all beats, of every other one and of the rest."""
    first, second = (scale * half for half in average.half_means())
    noise = 0.5 * (first - second)
    return wave_bounds(
        [scale * average.mean(), first, second], noise, peak=round(_BEFORE_S * rate_hz), rate_hz=rate_hz, rr_ms=rr_ms
    )


def _agreed(whole: float | None, halves: list[float | None], most_ms: float, missing: str) -> float | str:
    """Return the value that all beats and both halves agree on, or why there is none."""
    if whole is None or None in halves:
        return missing
    if any(half is not None and abs(half - whole) > most_ms for half in halves):
        return "poor-signal"
    return float(whole)
