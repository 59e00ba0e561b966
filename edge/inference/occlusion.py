"""What a decision of a model rests on: take a part of what it saw away, ask again, and see how much less it says so.

A part is a question that a person can ask ("the P wave", "when the beat came"): the stretch of the curve *and* the
features that describe it, since a model that lost only one of the two would read it from the other.  Samples of a beat
are replaced by this patient's usual beat, others by a straight line; features become unknown, which is the middle of
the population that the model learned from.  The same int8 model answers, so the same windows give the same figures.

References
----------
.. [1] Zeiler and Fergus (2014), doi:10.1007/978-3-319-10590-1_53 (occlusion of parts of the input)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.inference.card import ModelCard
from edge.inference.decision import Calibration
from edge.inference.feature_words import words_of
from edge.inference.predictor import Answer
from edge.messages import Window

NS_PER_S = 1_000_000_000

_RAMP_S = 0.024
"""The edges of a replaced stretch are blended over so long, so that no step is made that the model could see."""
_BEFORE_QRS_S = (-0.28, -0.06)
"""Where the P wave, or the flicker in its place, lies before an R peak (`atrial_evidence`)."""
_SEGMENT_S = 1.0
"""Length of the stretches of a rhythm that are taken away one by one: about one beat."""
LEAST_SHARE = 1e-6
"""Probabilities below it are taken for it, so that logarithms stay finite."""


class Questioned(Protocol):
    """What is needed of a model: `Classifier` has it."""

    @property
    def card(self) -> ModelCard:
        """What the bundle says of its model."""
        ...

    def answer(self, window: Window, /) -> Answer | None:
        """Return what the model says to one window by itself."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is taken away at once."""

    name: str
    """Its question: a group of `feature_words`; of a stretch of a rhythm ``curve``."""
    samples: Mapping[int, tuple[tuple[int, int], ...]]
    """By sequence of the window: first and last sample (excluded) of each stretch."""
    features: frozenset[str] = frozenset()
    start_ns: int | None = None
    """Of a stretch of a rhythm: where it lies."""
    end_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What taking one part away does."""

    part: Part
    drop: float
    """By how much the logarithm of the label's probability falls: positive where the part spoke for the label."""
    probability: float
    """Of the label without it."""


def label_logits(model: Questioned, windows: Sequence[Window]) -> tuple[float, ...] | None:
    """Return the mean of the logits over `windows`; None where the model answers none of them."""
    answers = [model.answer(window) for window in windows]
    rows = [answer.logits for answer in answers if answer is not None]
    return tuple(sum(column) / len(rows) for column in zip(*rows, strict=True)) if rows else None


def effects(model: Questioned, windows: Sequence[Window], label: str, parts: Iterable[Part]) -> list[Effect]:
    """Return what each part did for `label`, in the order of `parts`.

    Parameters
    ----------
    model : Questioned
        The very model that decided.
    windows : sequence of Window
        Those that one decision was made from: one beat, or the windows of a rhythm.
    label : str
        Whose probability is looked at.
    parts : iterable of Part
        What to take away.  Costs one inference for every window that a part touches.
    """
    calibration = Calibration(model.card.output)
    answers = {window.sequence: model.answer(window) for window in windows}
    rows = {sequence: answer.logits for sequence, answer in answers.items() if answer is not None}
    if not rows:
        return []
    whole = _share(calibration, rows.values(), label)
    known = frozenset(each.name for each in model.card.features)
    found = []
    for part in parts:
        changed = dict(rows)
        for window in windows:
            stretches = part.samples.get(window.sequence, ())
            if window.sequence not in rows or not (stretches or part.features & known):
                continue
            answer = model.answer(without(window, stretches, part.features))
            if answer is not None:
                changed[window.sequence] = answer.logits
        share = _share(calibration, changed.values(), label)
        found.append(Effect(part=part, drop=math.log(whole) - math.log(share), probability=share))
    return found


def without(window: Window, stretches: Iterable[tuple[int, int]], features: Iterable[str]) -> Window:
    """Return the window with stretches of its samples made usual and some of its features unknown."""
    values = np.array(window.values, dtype=np.float64)
    n_ramp = max(1, round(_RAMP_S * window.rate_hz)) if window.rate_hz > 0 else 1
    for first, end in stretches:
        _make_usual(values, max(0, first), min(end, len(values)), n_ramp, is_beat=window.model == "beat")
    values.setflags(write=False)
    gone = set(features)
    known = {name: math.nan if name in gone else value for name, value in window.features.items()}
    return replace(window, values=values, features=known)


def beat_parts(card: ModelCard, window: Window) -> list[Part]:
    """Return the questions about one beat: its waves, its timing, its neighbours, its like."""
    names = [each.name for each in card.features]
    settings = card.preprocessing
    stretches = _beat_stretches(settings, window)
    groups = [*stretches, *(words_of(name).group for name in names)]
    return [
        Part(
            name=group,
            samples={window.sequence: stretches[group]} if group in stretches else {},
            features=frozenset(name for name in names if words_of(name).group == group),
        )
        for group in dict.fromkeys(groups)
    ]


def rhythm_parts(card: ModelCard, windows: Sequence[Window]) -> list[Part]:
    """Return the questions about a rhythm: intervals, early beats, what lies between the beats, shapes, quality."""
    names = [each.name for each in card.features]
    before_qrs = {window.sequence: _before_beats(window) for window in windows}
    groups = [words_of(name).group for name in names]
    return [
        Part(
            name=group,
            samples=before_qrs if group == "atria" else {},
            features=frozenset(name for name in names if words_of(name).group == group),
        )
        for group in dict.fromkeys(["atria", *groups])
    ]


def rhythm_stretches(windows: Sequence[Window]) -> list[Part]:
    """Return the seconds of a rhythm, each to be taken away from every window that shows it."""
    if not windows:
        return []
    ends_ns = [window.start_ns + round(len(window.values) * NS_PER_S / window.rate_hz) for window in windows]
    step_ns = round(_SEGMENT_S * NS_PER_S)
    first_ns, end_ns = min(window.start_ns for window in windows), max(ends_ns)
    found = []
    for start_ns in range(first_ns, end_ns, step_ns):
        samples = {}
        for window in windows:
            first = round((start_ns - window.start_ns) * window.rate_hz / NS_PER_S)
            end = round((start_ns + step_ns - window.start_ns) * window.rate_hz / NS_PER_S)
            if end > 0 and first < len(window.values):
                samples[window.sequence] = ((max(0, first), min(end, len(window.values))),)
        if samples:
            found.append(Part(name="curve", samples=samples, start_ns=start_ns, end_ns=start_ns + step_ns))
    return found


def r_sample(window: Window) -> int | None:
    """Return the index of the R peak in the window of one beat; None where the window names no beat."""
    if len(window.beats) != 1:
        return None
    return round((window.beats[0].at_ns - window.start_ns) * window.rate_hz / NS_PER_S)


def _beat_stretches(settings: Mapping[str, object], window: Window) -> dict[str, tuple[tuple[int, int], ...]]:
    """Return where the waves of a beat lie in its window, as the stage that cut it says; nothing where it does not."""
    r = r_sample(window)
    waves = {name: _pair(settings.get(f"{name}_s")) for name in ("p", "qrs", "t")}
    if r is None or not all(waves.values()):
        return {}
    rate, n = window.rate_hz, len(window.values)
    (p_start, _), (qrs_start, qrs_end), (_, t_end) = (pair for pair in waves.values() if pair)
    at = [r + round(second * rate) for second in (p_start, qrs_start, qrs_end, t_end)]
    return {
        "p": ((at[0], at[1]),),
        "qrs": ((at[1], at[2]),),
        "t": ((at[2], at[3]),),
        "rest": ((0, at[0]), (at[3], n)),
    }


def _before_beats(window: Window) -> tuple[tuple[int, int], ...]:
    places = [(beat.at_ns - window.start_ns) * window.rate_hz / NS_PER_S for beat in window.beats]
    low, high = (second * window.rate_hz for second in _BEFORE_QRS_S)
    found = [(round(at + low), round(at + high)) for at in places]
    return tuple((max(0, first), end) for first, end in found if end > 0 and first < len(window.values))


def _make_usual(values: NDArray[np.float64], first: int, end: int, n_ramp: int, *, is_beat: bool) -> None:
    """Replace a stretch in place: by the patient's usual beat where the window has it, else by a straight line."""
    n = end - first
    if n <= 0:
        return
    place = np.arange(n)
    weight = np.minimum(1.0, (np.minimum(place, place[::-1]) + 1) / (n_ramp + 1))[:, None]
    if first == 0:
        weight[: n // 2] = 1.0
    if end == len(values):
        weight[n // 2 :] = 1.0
    piece = values[first:end]
    if is_beat and values.shape[1] == _N_BEAT_CHANNELS and np.any(values[:, 1]):
        # The second channel is the beat minus the usual one: taken off, the usual one is left.
        usual = np.stack([piece[:, 0] - piece[:, 1], np.zeros(n)], axis=1)
    else:
        ends = (
            values[max(0, first - 1)] if first else values[min(end, len(values) - 1)],
            values[min(end, len(values) - 1)],
        )
        usual = ends[0] + (ends[1] - ends[0]) * ((place + 1) / (n + 1))[:, None]
    values[first:end] = piece + weight * (usual - piece)


_N_BEAT_CHANNELS = 2


def _pair(value: object) -> tuple[float, float] | None:
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(each, int | float) for each in value):
        return float(value[0]), float(value[1])
    return None


def _share(calibration: Calibration, rows: Iterable[Sequence[float]], label: str) -> float:
    kept = list(rows)
    mean = [sum(column) / len(kept) for column in zip(*kept, strict=True)]
    return max(LEAST_SHARE, calibration.probabilities(mean)[label])
