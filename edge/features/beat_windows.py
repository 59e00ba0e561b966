"""Resampled blocks and beats -> one window for the beat model per beat, with what it needs to know of this patient.

A beat is judged against the patient's own usual beat and usual interval, from what came before it and from the one
beat after it; never from what lies further ahead.  Its window is given out once the next beat is known or is late.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import asdict, dataclass, field
from statistics import median

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.sample_times import SampleTimes
from edge.features import beat_intervals, beat_likeness
from edge.features.beat_forms import BeatForms, BeatFormsSettings, Match
from edge.features.beat_intervals import Intervals
from edge.features.beat_likeness import Waves, compare
from edge.features.history import History
from edge.messages import Beat, Json, Quality, SampleBlock, Window

STAGE = "beat-windows/1"
"""Name and version of this preprocessing, as a model's card states it."""

NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000

FORM_NAMES = (
    "form_share",
    "form_interval_ratio",
    "form_is_usual",
    "form_spread_ratio",
    "similarity",
    "width_ratio",
)
HABIT_NAMES = (
    "qrs_difference_excess",
    "p_difference_excess",
    "t_difference_excess",
    "usual_qrs_likeness",
    "usual_p_likeness",
    "p_likeness_drop",
    "early_p_change",
)
FEATURES = (*beat_intervals.NAMES, *beat_likeness.NAMES, *FORM_NAMES, *HABIT_NAMES)
"""Names of the features of every window, in this order."""

# Many more than can wait for their samples; bounds memory where no samples come.
_MOST_WAITING = 1000
_FEWEST = 3
_LONGEST_MS = 100_000.0
_LARGEST = 1e6
_SMALLEST = 1e-6
# Added to a typical difference, so that a clean record does not make a hair's breadth of a difference large.
_LEAST_DIFFERENCE = 0.01
# A beat is moved to fit the template only where it is like it at all.
_LEAST_LIKENESS = 0.6
_REMEMBERED = ("qrs_difference", "p_difference", "t_difference", "p_likeness", "qrs_likeness")
# Rounds an instant half-way between two samples up, whatever the rounding of its nanoseconds.
_HALF = 0.51


@dataclass(frozen=True, kw_only=True, slots=True)
class BeatWindowsSettings:
    """What a window of one beat contains."""

    rate_hz: float = 125.0
    """Rate of the samples: the band ends at 40 Hz."""
    before_s: float = 0.48
    """Samples before the R peak: the P wave at any PR interval, and the T wave of the beat before."""
    after_s: float = 0.672
    """Samples from the R peak on: the T wave up to a heart rate of 40/min."""
    p_s: tuple[float, float] = (-0.24, -0.064)
    """Where the P wave lies against the R peak: PR intervals of 120-220 ms (AHA/ACCF/HRS 2009)."""
    qrs_s: tuple[float, float] = (-0.088, 0.112)
    """Where the QRS complex lies: up to 200 ms."""
    t_s: tuple[float, float] = (0.12, 0.4)
    """Where the ST segment and the T wave lie."""
    longest_next_s: float = 1.8
    """A beat further away than this is no next beat: a pause, seen as such by the next beat's own interval."""
    decision_s: float = 0.8
    """A beat is known at the latest this much after its R peak, unless it is found by search-back (`EcgBeats`: 0.57 s
    and its hop of 0.2 s)."""
    history_s: float = 12.0
    """Samples that are kept: a search-back finds beats up to 4 s old (`DecisionSettings.search_back_reach_s`)."""
    largest: float = 4.0
    """Samples are cut off at so many times the usual peak-to-peak amplitude; more is no heart beat."""
    warm_up_beats: int = 8
    """So many beats are learned from before any is described; the rules decide on those alone.  Measured on 150 normal
    hand-held records: of the first four beats 90 % were called S, of the next four 20 %, of those after that 2 %."""
    forms: BeatFormsSettings = field(default_factory=BeatFormsSettings)
    """How beats are sorted into forms."""

    def __post_init__(self) -> None:
        ends = (*self.p_s, *self.qrs_s, *self.t_s)
        if not self.rate_hz > 0 or not all(-self.before_s <= end <= self.after_s for end in ends):
            raise ValueError(f"expected rate_hz > 0 and every wave inside the window, got {self}")


class BeatWindows:
    """Cut one window per beat and describe the beat.

    Push resampled blocks with all leads, and the beats as they come.  The window shows the lead in which the beat was
    timed: first the beat against its level in units of the patient's usual peak-to-peak amplitude, then the same minus
    the template of the usual beat.  A beat whose samples are not all there, and the first few, get no window.

    Parameters
    ----------
    settings : BeatWindowsSettings
        What a window contains.
    """

    def __init__(self, settings: BeatWindowsSettings = BeatWindowsSettings()) -> None:
        self._settings = settings
        rate = settings.rate_hz
        self._n_before = round(settings.before_s * rate)
        self._n_after = round(settings.after_s * rate)
        self._n_latest = round((settings.longest_next_s + settings.decision_s) * rate)
        self._n_kept = round(settings.history_s * rate)
        self._n_piece = max(1, round(0.5 * rate))
        p, qrs, t = (
            slice(*(self._n_before + round(end * rate) for end in ends))
            for ends in (settings.p_s, settings.qrs_s, settings.t_s)
        )
        self._waves = Waves(p, qrs, t, rate)
        self._format: SampleBlock | None = None
        self._history: History | None = None
        self._times = SampleTimes(rate)
        self._waiting: deque[Beat] = deque(maxlen=_MOST_WAITING)
        self._patient = _Patient(settings, self._waves)

    @property
    def stage(self) -> str:
        """Name and version of this preprocessing."""
        return STAGE

    def describe(self) -> dict[str, Json]:
        """Return the stage's name and settings, as a model's card states them."""
        return {"stage": STAGE, **_as_json(asdict(self._settings))}

    def push(self, item: SampleBlock | Beat | Quality) -> list[Window]:
        """Return the windows that `item` completed, in the order of their beats.

        Raises
        ------
        ValueError
            If the block's rate is not the one of the settings.
        """
        if isinstance(item, Quality):
            return []
        if isinstance(item, Beat):
            self._waiting.append(item)
            return self._cut(is_end=False)
        if item.rate_hz != self._settings.rate_hz:
            raise ValueError(f"expected blocks at {self._settings.rate_hz} Hz, got {item.rate_hz} Hz")
        out: list[Window] = []
        if item.n_samples and not self._goes_on_with(item):
            if self._format is not None:
                self.reset("discontinuity")
            self._history = History(item.values.shape[1], self._n_kept, item.sequence)
        for at in range(0, item.n_samples, self._n_piece):  # so that the samples of waiting beats are not forgotten
            assert self._history is not None
            values = item.values[at : at + self._n_piece]
            start_ns = item.start_ns + round(at * NS_PER_S / item.rate_hz)
            self._times.add(self._history.end, start_ns)
            self._history.append(values)
            self._format = item
            out += self._cut(is_end=False)
        return out

    def flush(self) -> list[Window]:
        """Return the windows of the beats that still wait for the next one."""
        return self._cut(is_end=True)

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget the samples and beats so far, and what was learned from them."""
        self._format = None
        self._history = None
        self._times = SampleTimes(self._settings.rate_hz)
        self._waiting.clear()
        self._patient = _Patient(self._settings, self._waves)

    def _goes_on_with(self, block: SampleBlock) -> bool:
        before = self._format
        return (
            before is not None
            and self._history is not None
            and block.sequence == self._history.end
            and block.channels == before.channels
            and block.values.shape[1] == before.values.shape[1]
        )

    def _cut(self, *, is_end: bool) -> list[Window]:
        """Return the windows of the beats at the head of the queue that are ready."""
        out: list[Window] = []
        history = self._history
        while self._waiting and history is not None:
            beat = self._waiting[0]
            at = self._index(beat.at_ns, history.end)
            if at + self._n_after + self._settings.forms.n_shift > history.end:
                if not is_end:
                    break
            elif len(self._waiting) == 1 and not is_end and at + self._n_latest > history.end:
                break
            self._waiting.popleft()
            following = self._waiting[0] if self._waiting else None
            window = self._window(beat, at, following, history)
            if window is not None:
                out.append(window)
        return out

    def _index(self, at_ns: int, near: int) -> int:
        """Return the sample nearest to an instant, whatever `near` it is looked for."""
        rate = self._settings.rate_hz
        guess = near + math.floor((at_ns - self._times.at_ns(near)) * rate / NS_PER_S)
        return guess + math.floor((at_ns - self._times.at_ns(guess)) * rate / NS_PER_S + _HALF)

    def _window(self, beat: Beat, at: int, following: Beat | None, history: History) -> Window | None:
        """Return the window of a beat at sample `at`, and learn from the beat; None where samples are missing."""
        block = self._format
        assert block is not None
        names = [channel.name for channel in block.channels]
        lead = names.index(beat.channel) if beat.channel in names else 0
        n_shift = self._settings.forms.n_shift
        first, end = at - self._n_before - n_shift, at + self._n_after + n_shift
        is_there = history.first <= first and end <= history.end
        curve = history.rows(first, end)[:, lead].copy() if is_there else np.empty(0)
        seen = self._patient.see(beat, lead, curve, self._next_ms(beat, following))
        if seen is None:
            return None
        values, features = seen
        np.clip(values, -self._settings.largest, self._settings.largest, out=values)
        values.setflags(write=False)
        return Window(
            sensor=beat.sensor,
            stream=beat.stream,
            values=values,
            rate_hz=self._settings.rate_hz,
            start_ns=self._times.at_ns(at - self._n_before),
            sequence=at - self._n_before,
            quality=beat.quality,
            beats=(beat,),
            model="beat",
            features=features,
            channel=names[lead],
        )

    def _next_ms(self, beat: Beat, following: Beat | None) -> float:
        """Return the interval to the next beat; NaN where it is not known in time."""
        if following is None or following.is_late:
            return math.nan
        interval_ms = (following.at_ns - beat.at_ns) / _NS_PER_MS
        return interval_ms if 0 < interval_ms <= 1000 * self._settings.longest_next_s else math.nan


class _Patient:
    """What is known of one patient since the stream began."""

    def __init__(self, settings: BeatWindowsSettings, waves: Waves) -> None:
        self._settings = settings.forms
        self._n_warm_up = settings.warm_up_beats
        self._n_seen = 0
        self._waves = waves
        self._forms: dict[int, BeatForms] = {}
        self._intervals = Intervals()
        self._widths_ms: deque[float] = deque(maxlen=32)
        self._differences: deque[tuple[float, ...]] = deque(maxlen=48)

    def see(
        self, beat: Beat, lead: int, curve: NDArray[np.float64], next_ms: float
    ) -> tuple[NDArray[np.float64], dict[str, float]] | None:
        """Return the two channels and the features of a beat, then learn it; None where its samples are no beat."""
        rr_ms = math.nan if beat.rr_ms is None or not 0 < beat.rr_ms < _LONGEST_MS else beat.rr_ms
        n_shift = self._settings.n_shift
        middle = curve[n_shift : len(curve) - n_shift]
        # Comparison is false for NaN; larger than any voltage at a body is no ECG.
        if len(curve) == 0 or not np.abs(curve).max() < _LARGEST or not np.ptp(middle[self._waves.qrs]) > _SMALLEST:
            self._intervals.learn(rr_ms)
            return None
        forms = self._forms.setdefault(lead, BeatForms(self._settings, self._waves.qrs))
        match = forms.match(curve)
        values, shape = self._compare(curve, match)
        features = self._intervals.describe(rr_ms, next_ms)
        features |= shape
        features |= self._describe_form(beat, match)
        features |= self._habits(shape, features["rr_earliness"])
        self._learn(beat, forms, curve, match, rr_ms)
        self._n_seen += 1
        return (values, features) if self._n_seen > self._n_warm_up else None

    def _compare(self, curve: NDArray[np.float64], match: Match) -> tuple[NDArray[np.float64], dict[str, float]]:
        n_shift = self._settings.n_shift
        n = len(curve) - 2 * n_shift
        beat = curve[n_shift : n_shift + n]
        if match.usual is None:
            scale = float(np.ptp(beat[self._waves.qrs]))
            level = beat - np.median(beat)
            return np.stack([level / scale, np.zeros(n)], axis=1), dict.fromkeys(beat_likeness.NAMES, math.nan)
        shift = match.usual_shift if match.usual_likeness > _LEAST_LIKENESS else 0
        aligned = curve[n_shift + shift : n_shift + shift + n]
        template = match.usual.template
        scale = max(match.usual.swing, 1e-9)
        level = aligned - np.median(aligned)
        values = np.stack([level, level - (template - np.median(template))], axis=1) / scale
        return values, compare(aligned, template, self._waves)

    def _describe_form(self, beat: Beat, match: Match) -> dict[str, float]:
        nearest, usual = match.nearest, match.usual
        width = _number(beat.width_ms)
        usual_width = median(self._widths_ms) if len(self._widths_ms) >= _FEWEST else math.nan
        usual_spread = usual.spread if usual else 0.0
        return {
            "form_share": match.nearest_share,
            "form_interval_ratio": _number(nearest.interval_ratio if nearest else None),
            "form_is_usual": math.nan if usual is None else float(nearest is usual),
            "form_spread_ratio": nearest.spread / usual_spread if nearest and usual_spread > 0 else math.nan,
            "similarity": _number(beat.similarity),
            "width_ratio": width / usual_width if usual_width > 0 else math.nan,
        }

    def _habits(self, shape: dict[str, float], earliness: float) -> dict[str, float]:
        """Return how a beat differs from the template against how this patient's beats do, and remember it."""
        here = tuple(shape[name] for name in _REMEMBERED)
        known = np.array(self._differences)
        n_names = len(_REMEMBERED)
        typical = np.median(known, axis=0) if len(known) >= _FEWEST else np.full(n_names, math.nan)
        if math.isfinite(here[0]):
            self._differences.append(here)
        qrs, p, t, p_likeness, qrs_likeness = typical.tolist()
        drop = p_likeness - here[3]
        return {
            "qrs_difference_excess": here[0] / (qrs + _LEAST_DIFFERENCE),
            "p_difference_excess": here[1] / (p + _LEAST_DIFFERENCE),
            "t_difference_excess": here[2] / (t + _LEAST_DIFFERENCE),
            "usual_qrs_likeness": qrs_likeness,
            "usual_p_likeness": p_likeness,
            "p_likeness_drop": drop,
            "early_p_change": drop * min(max(earliness - 1.0, 0.0), 1.0),
        }

    def _learn(self, beat: Beat, forms: BeatForms, curve: NDArray[np.float64], match: Match, rr_ms: float) -> None:
        if beat.is_noise_suspect and match.usual is not None:
            return  # noise is neither a form of this heart nor an interval of it
        ratio = self._intervals.ratio(rr_ms)
        forms.learn(curve, match, ratio if math.isfinite(ratio) else None)
        self._intervals.learn(rr_ms)
        if beat.width_ms is not None and match.usual is not None and match.nearest is match.usual:
            self._widths_ms.append(beat.width_ms)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _as_json(settings: dict[str, Json]) -> dict[str, Json]:
    return {name: _json(value) for name, value in settings.items()}


def _json(value: object) -> Json:
    if isinstance(value, dict):
        return {str(name): _json(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [_json(each) for each in value]
    assert value is None or isinstance(value, bool | int | float | str)
    return value
