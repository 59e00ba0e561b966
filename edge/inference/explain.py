"""Why a model decided as it did, in figures, in time, and in sentences for whoever stands at the bed.

Pure and repeatable: the same bundle and the same windows give the same explanation.  A model costs about ten inferences
per beat and some hundreds for a minute of rhythm (`occlusion`); what an alert states at once is made by
`explained_classifier`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from edge.inference.card import FeatureCard
from edge.inference.decision import Calibration
from edge.inference.explain_words import Said, decision_sentences, fact_sentence
from edge.inference.feature_words import BEAT_GROUPS, RHYTHM_GROUPS, TECHNICAL, value_words, words_of
from edge.inference.occlusion import (
    LEAST_SHARE,
    Effect,
    Part,
    Questioned,
    beat_parts,
    effects,
    label_logits,
    r_sample,
    rhythm_parts,
    rhythm_stretches,
)
from edge.messages import Json, Window

NS_PER_S = 1_000_000_000

_MOST_FACTS = 5
_FACTS_PER_QUESTION = 2
_SPEAKS = 0.1
"""A question that changes the logarithm of the probability by less (a tenth of it) is not spoken of."""
_STANDS_OUT = 0.5
"""On the scale of -1 to 1 (`scaling`): beyond it lies the outer half of the training population."""
_UNIMPORTANT = 0.15
"""Stretches below this share of the strongest one are not shaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What one question did for the decision."""

    name: str
    """Group of features and the stretch of the curve that belongs to it (`feature_words`)."""
    words: str
    drop: float
    """By how much the logarithm of the label's probability falls without it: positive speaks for the label."""
    probability_without: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One measured figure beside what is typical."""

    feature: str
    group: str
    value: float
    typical: float
    """Median of the population that the model learned from."""
    unit: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Highlight:
    """A stretch of time that carried the decision."""

    start_ns: int
    end_ns: int
    weight: float
    """0 to 1, of the strongest."""
    name: str
    """The question that it belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a model said what it said."""

    model: str
    """``beat`` or ``rhythm``."""
    title: str
    """Name and version of the model."""
    bundle_sha256: str
    label: str
    probability: float
    """Calibrated, of `label`; of several beats the geometric mean."""
    threshold: float
    n_windows: int
    contributions: tuple[Contribution, ...]
    """Strongest first."""
    facts: tuple[Fact, ...]
    highlights: tuple[Highlight, ...]
    sentences: tuple[str, ...]

    def as_json(self) -> dict[str, Json]:
        """Return everything as JSON knows it; instants in nanoseconds of the record."""
        return {
            "model": self.model,
            "title": self.title,
            "bundle_sha256": self.bundle_sha256,
            "label": self.label,
            "probability": round(self.probability, 4),
            "threshold": self.threshold,
            "n_windows": self.n_windows,
            "contributions": [
                {
                    "name": each.name,
                    "words": each.words,
                    "drop": round(each.drop, 4),
                    "probability_without": round(each.probability_without, 4),
                }
                for each in self.contributions
            ],
            "facts": [
                {
                    "feature": each.feature,
                    "group": each.group,
                    "value": each.value,
                    "typical": each.typical,
                    "unit": each.unit,
                    "sentence": each.sentence,
                }
                for each in self.facts
            ],
            "highlights": [
                {
                    "start_ns": each.start_ns,
                    "end_ns": each.end_ns,
                    "weight": round(each.weight, 3),
                    "name": each.name,
                }
                for each in self.highlights
            ],
            "sentences": list(self.sentences),
        }


def explain(
    model: Questioned,
    windows: Sequence[Window],
    label: str,
    *,
    bundle_sha256: str = "",
    condition: str = "",
) -> Explanation | None:
    """Return why `model` says `label` of these windows; None where it answers none of them.

    Parameters
    ----------
    model : Questioned
        The model that decided.
    windows : sequence of Window
        Of beats: each beat that was decided on.  Of a rhythm: the windows whose mean was.
    label : str
        What it decided.
    bundle_sha256 : str
        Names the model in the explanation.
    condition : str
        Code of the alert's condition.

    Raises
    ------
    ValueError
        If the label is none of the model's.
    """
    card = model.card
    if label not in card.output.labels:
        raise ValueError(f"expected one of {', '.join(card.output.labels)}, got {label!r}")
    is_beat = card.task == "beat"
    decisions = [[window] for window in windows] if is_beat else [list(windows)]
    answered = [(group, logits) for group in decisions if (logits := label_logits(model, group)) is not None]
    if not answered:
        return None
    calibration = Calibration(card.output)
    probability = _geometric_mean([calibration.probabilities(logits)[label] for _, logits in answered])
    found = [
        effects(model, group, label, beat_parts(card, group[0]) if is_beat else rhythm_parts(card, group))
        for group, _ in answered
    ]
    shown = [group[0] for group, _ in answered] if is_beat else list(answered[-1][0])
    if is_beat:
        highlights = [each for window, own in zip(shown, found, strict=True) for each in _beat_highlights(window, own)]
    else:
        highlights = _rhythm_highlights(effects(model, shown, label, rhythm_stretches(shown)))
    contributions = _merged(found, BEAT_GROUPS if is_beat else RHYTHM_GROUPS)
    described = shown if is_beat else shown[-1:]
    asked = [group for group, _ in answered]
    values = _medians(described)
    facts = _facts(model, asked, label, values, contributions)
    said = Said(
        task=card.task,
        title=card.title,
        label=label,
        probability=probability,
        threshold=card.output.thresholds[label],
        n=len(shown),
        span_s=_span_s(shown),
        contributions=[(each.words, each.drop, each.probability_without) for each in contributions],
        facts=[fact.sentence for fact in facts],
        features=values,
        condition=condition,
    )
    return Explanation(
        model=card.task,
        title=card.title,
        bundle_sha256=bundle_sha256,
        label=label,
        probability=probability,
        threshold=card.output.thresholds[label],
        n_windows=len(shown),
        contributions=contributions,
        facts=facts,
        highlights=tuple(_scaled(highlights)),
        sentences=decision_sentences(said),
    )


# --- parts ------------------------------------------------------------------------------------------------


def _merged(found: Sequence[Sequence[Effect]], groups: Mapping[str, str]) -> tuple[Contribution, ...]:
    """Return the mean of each question over the decisions, strongest first."""
    by_name: dict[str, list[Effect]] = {}
    for own in found:
        for effect in own:
            by_name.setdefault(effect.part.name, []).append(effect)
    merged = [
        Contribution(
            name=name,
            words=groups.get(name, name),
            drop=sum(each.drop for each in own) / len(own),
            probability_without=_geometric_mean([each.probability for each in own]),
        )
        for name, own in by_name.items()
    ]
    return tuple(sorted(merged, key=lambda each: (-each.drop, each.name)))


def _facts(
    model: Questioned,
    decisions: Sequence[Sequence[Window]],
    label: str,
    values: Mapping[str, float],
    contributions: Sequence[Contribution],
) -> tuple[Fact, ...]:
    """Return figures that stand out, of the questions which spoke for the decision, and that speak for it themselves.

    A figure may stand out and yet speak against, such as a usual shape among other signs of an odd beat; so each one is
    taken away by itself, and told only if the decision becomes less likely.
    """
    facts: list[Fact] = []
    for contribution in contributions:
        if contribution.drop < _SPEAKS or len(facts) >= _MOST_FACTS:
            break
        n_told = 0
        for card in _telling(model.card.features, values, contribution.name):
            alone = Part(name=card.name, samples={}, features=frozenset({card.name}))
            drop = sum(each.drop for windows in decisions for each in effects(model, windows, label, [alone]))
            if drop > 0:
                facts.append(_fact(card, values))
                n_told += 1
            if n_told == _FACTS_PER_QUESTION:
                break
    return tuple(facts[:_MOST_FACTS])


def _telling(features: Sequence[FeatureCard], values: Mapping[str, float], group: str) -> list[FeatureCard]:
    """Return the features of a group that can be told and stand out, the plainest first."""
    known = [
        each
        for each in features
        if words_of(each.name).group == group and math.isfinite(values.get(each.name, math.nan))
    ]
    ranked = sorted(
        ((words_of(each.name).rank, -abs(_place(each, values[each.name])), each.name, each) for each in known),
        key=lambda item: item[:3],
    )
    return [each for rank, place, _, each in ranked if rank < TECHNICAL and -place >= _STANDS_OUT]


def _fact(card: FeatureCard, values: Mapping[str, float]) -> Fact:
    words = words_of(card.name)
    value = values[card.name]
    typical = float(np.interp(0.0, np.linspace(-1.0, 1.0, len(card.knots)), card.knots))
    return Fact(
        feature=card.name,
        group=words.group,
        value=value,
        typical=typical,
        unit=words.unit,
        sentence=fact_sentence(card.name, values, value_words(typical, words.unit)),
    )


def _place(card: FeatureCard, value: float) -> float:
    """Return where a value lies among the training population, -1 to 1."""
    return float(np.interp(value, card.knots, np.linspace(-1.0, 1.0, len(card.knots))))


def _medians(windows: Sequence[Window]) -> dict[str, float]:
    """Return the middle of each feature over the windows that know it; of beats also interval and width, ms."""
    rows = [{**window.features, **_own(window)} for window in windows]
    found = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        known = [value for row in rows if math.isfinite(value := row.get(name, math.nan))]
        found[name] = float(median(known)) if known else math.nan
    return found


def _own(window: Window) -> dict[str, float]:
    """Return what the detector measured of the beat that a window is about."""
    if window.model != "beat" or len(window.beats) != 1:
        return {}
    (beat,) = window.beats
    measured = {"rr_ms": beat.rr_ms, "width_ms": beat.width_ms}
    return {name: value for name, value in measured.items() if value is not None}


def _beat_highlights(window: Window, own: Sequence[Effect]) -> list[Highlight]:
    """Return the waves of one beat, and the interval before it, as far as they spoke for the decision."""
    found = []
    r = r_sample(window)
    for effect in own:
        if effect.drop < _SPEAKS:
            continue
        if effect.part.name == "timing" and r is not None and window.beats[0].rr_ms is not None:
            at_ns = window.beats[0].at_ns
            start_ns = at_ns - round(window.beats[0].rr_ms * 1e6)
            found.append(Highlight(start_ns=start_ns, end_ns=at_ns, weight=effect.drop, name="timing"))
        for stretch in effect.part.samples.get(window.sequence, ()) if effect.part.name != "rest" else ():
            start_ns, end_ns = (window.start_ns + round(at * NS_PER_S / window.rate_hz) for at in stretch)
            found.append(Highlight(start_ns=start_ns, end_ns=end_ns, weight=effect.drop, name=effect.part.name))
    return found


def _rhythm_highlights(own: Sequence[Effect]) -> list[Highlight]:
    return [
        Highlight(
            start_ns=effect.part.start_ns or 0,
            end_ns=effect.part.end_ns or 0,
            weight=effect.drop,
            name=effect.part.name,
        )
        for effect in own
        if effect.drop > 0
    ]


def _scaled(highlights: Sequence[Highlight]) -> list[Highlight]:
    """Return weights as shares of the strongest; faint ones are left out."""
    strongest = max((each.weight for each in highlights), default=0.0)
    if not strongest > 0:
        return []
    return [
        replace(each, weight=each.weight / strongest) for each in highlights if each.weight >= _UNIMPORTANT * strongest
    ]


def _geometric_mean(shares: Sequence[float]) -> float:
    return math.exp(sum(math.log(max(each, LEAST_SHARE)) for each in shares) / len(shares))


def _span_s(windows: Sequence[Window]) -> float:
    ends_ns = [window.start_ns + round(len(window.values) * NS_PER_S / window.rate_hz) for window in windows]
    return (max(ends_ns) - min(window.start_ns for window in windows)) / NS_PER_S
