"""Is what the model sees and says still like what it was trained on?  Counted here, told in ``health``.

A feature's knots are quantiles of the training set, so in the training population every stretch between two knots is
equally likely, and any other distribution shows as a population-stability index above zero.

**One patient is not a population.**  A single heart fills a narrow part of every feature's range and says mostly one
label.  Each of the 22 records of DS1 of the MIT-BIH Arrhythmia Database against the 21 others (63 features of beats, 33
quantiles) had a median index of 0.15 to 1.73, and a third to nearly all of its features above 0.25, which is customary
as the limit for populations.  So index and label shares are shown, for the engineer who looks at many beds, and raise
nothing.  What is *unusual*, and worth a word at the bed, is something else: the model abstains on most of a clean
signal, or its features lie outside of the training range.  In those 22 records 0.7 % of them did at most; in 24 records of
that database against CinC 2017, another device altogether (124 features of rhythm windows), 1.2 to 2.7 %.  Either says
that the model is of little use here, and neither that it is wrong, so drift alone never changes the model.

The counts begin anew with every start of the service; a report stands on the last 24 to 48 hours.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge.inference.card import ModelCard
from edge.inference.window_stage import UNANSWERED
from edge.messages import Json, Prediction, Window

_NS_PER_S = 1_000_000_000
_LEAST_SHARE = 0.001
_LONGEST_STEP_NS = 10 * _NS_PER_S
_N_STREAMS = 100
_MOST_STRETCHES = 10
NOT_ITS_OWN = UNANSWERED | {"low-quality", "missing-samples", "flat", "window-mismatch"}
"""Abstentions that say something of the signal or the machine, and nothing of the model."""
_NO_LABEL = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReference:
    """What the model was trained on."""

    knots: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Ascending quantiles of each feature over the training set, least and greatest value included."""
    label_ratios: Mapping[str, float] = field(default_factory=dict)
    """Share of each label among the predictions on the training set."""
    abstention_ratio: float = 0.0
    """Share of abstentions on the training set."""
    outside_ratio: float = 0.0
    """Mean share of features outside of their range on the validated population."""

    def __post_init__(self) -> None:
        for name, knots in self.knots.items():
            if len(knots) < 2:
                raise ValueError(f"{name}: expected at least two knots, got {len(knots)}")

    @staticmethod
    def of_card(card: ModelCard) -> DriftReference:
        """Return what a card says of the training set."""
        reference = card.reference
        return DriftReference(
            knots={feature.name: feature.knots for feature in card.features},
            label_ratios={} if reference is None else reference.labels,
            abstention_ratio=0.0 if reference is None else reference.abstained,
            outside_ratio=0.0 if reference is None else reference.outside or 0.0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSettings:
    """From when on, and from where on, drift is told."""

    report_s: float = 900.0
    """Time of evidence from one report to the next (own choice: nothing here changes faster)."""
    min_duration_s: float = 2 * 3600.0
    """Evidence that a verdict needs (own choice: longer than a meal, a nap or a change of electrodes)."""
    span_s: float = 24 * 3600.0
    """Older evidence than this span and the one before is forgotten.  Default: a day has a night in it."""
    max_more_abstention_ratio: float = 0.5
    """How much oftener than on its training set the model may abstain on a clean signal before that is unusual."""
    max_more_outside_ratio: float = 0.05
    """How much oftener than on its validated population features may lie outside of the training range.  Default: twice
    what another device brought about, and seven times the most of 22 patients on the same one (see above)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """One feature against the training set."""

    name: str
    psi: float
    """Population-stability index: 0 is the training set itself; one patient among many lies far above the 0.25 that is
    customary for populations."""
    outside_pct: float
    """Share below the least or above the greatest value of the training set."""
    unknown_pct: float
    """Share of windows in which it had no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """What one model has seen and said, against its card."""

    at_ns: int
    n_windows: int
    duration_h: float
    """Time of evidence."""
    features: tuple[FeatureDrift, ...]
    """The one that differs most first."""
    label_pct: Mapping[str, float]
    """Share of each label among the windows with one."""
    label_psi: float | None
    """Population-stability index of the labels; None without a reference or a label."""
    abstention_pct: float | None
    """Share of abstentions among the windows of clean signal."""
    outside_pct: float | None
    """Share of all features of all windows that lie outside of the training range."""
    unusual: str
    """Why the model is of no use here, in words; empty where nothing is unusual or the evidence too short."""

    def as_json(self) -> dict[str, Json]:
        """Return the figures for ``health``: the five features that differ most."""
        return {
            "n_windows": self.n_windows,
            "duration_h": round(self.duration_h, 2),
            "abstention_pct": self.abstention_pct,
            "outside_pct": self.outside_pct,
            "label_pct": {**self.label_pct},
            "label_psi": self.label_psi,
            "unusual": self.unusual or None,
            "features": [
                {
                    "name": each.name,
                    "psi": each.psi,
                    "outside_pct": each.outside_pct,
                    "unknown_pct": each.unknown_pct,
                }
                for each in self.features[:5]
            ],
        }


class _Counts:
    """What was seen and said over one span."""

    def __init__(self, reference: DriftReference) -> None:
        # Per feature: below, in each stretch of the training range, above, unknown.
        self.features = {name: [0] * (_n_stretches(knots) + 3) for name, knots in reference.knots.items()}
        self.labels: dict[str, int] = {}
        self.n_windows = 0
        self.duration_ns = 0


class _Evidence:
    """Everything that was counted since the start."""

    def __init__(self, reference: DriftReference) -> None:
        self.before: _Counts | None = None
        self.present = _Counts(reference)
        self.past_ns = 0
        self.n_reports = 0
        self.last_ns: dict[tuple[str, str], int] = {}
        self.report: DriftReport | None = None

    @property
    def duration_ns(self) -> int:
        return self.past_ns + self.present.duration_ns


class Drift:
    """Counts the windows and predictions of one model and reports on them on a fixed grid of evidence.

    Parameters
    ----------
    reference : DriftReference
        What it was trained on.
    settings : DriftSettings
        When and from where on.
    """

    def __init__(self, reference: DriftReference, settings: DriftSettings = DriftSettings()) -> None:
        self._reference = reference
        self._settings = settings
        self._evidence = _Evidence(reference)

    @property
    def report(self) -> DriftReport | None:
        """The latest report; None before the first."""
        return self._evidence.report

    def push(self, item: Window | Prediction) -> list[DriftReport]:
        """Return the report that an item made due, if any."""
        if isinstance(item, Window):
            self._saw(item)
            return []
        self._said(item)
        evidence = self._evidence
        if evidence.duration_ns < (evidence.n_reports + 1) * self._settings.report_s * _NS_PER_S:
            return []
        evidence.n_reports += 1
        report = evidence.report = self._reported(item.at_ns)
        if evidence.present.duration_ns >= self._settings.span_s * _NS_PER_S:
            evidence.past_ns += evidence.present.duration_ns
            evidence.before, evidence.present = evidence.present, _Counts(self._reference)
        return [report]

    def reset(self, reason: str) -> None:  # noqa: ARG002 -- the shape of a stage
        """Forget everything, as for another patient; never called at a gap."""
        self._evidence = _Evidence(self._reference)

    def _saw(self, window: Window) -> None:
        present = self._evidence.present
        for name, knots in self._reference.knots.items():
            value = window.features.get(name, math.nan)
            present.features[name][-1 if math.isnan(value) else _stretch(value, knots)] += 1

    def _said(self, prediction: Prediction) -> None:
        evidence, present = self._evidence, self._evidence.present
        present.n_windows += 1
        stream = (prediction.sensor, prediction.stream)
        step_ns = prediction.at_ns - evidence.last_ns.get(stream, prediction.at_ns)
        if stream in evidence.last_ns or len(evidence.last_ns) < _N_STREAMS:
            evidence.last_ns[stream] = prediction.at_ns
        present.duration_ns += step_ns if 0 < step_ns <= _LONGEST_STEP_NS else 0
        if prediction.label is None and prediction.absent in NOT_ITS_OWN:
            return
        label = prediction.label or _NO_LABEL
        if label in present.labels or len(present.labels) < _N_STREAMS:
            present.labels[label] = present.labels.get(label, 0) + 1

    def _reported(self, at_ns: int) -> DriftReport:
        evidence = self._evidence
        spans = [evidence.present] if evidence.before is None else [evidence.before, evidence.present]
        labels: dict[str, int] = {}
        for span in spans:
            for label, number in span.labels.items():
                labels[label] = labels.get(label, 0) + number
        n_clean = sum(labels.values())
        n_absent = labels.pop(_NO_LABEL, 0)
        duration_s = sum(span.duration_ns for span in spans) / _NS_PER_S
        abstention_ratio = n_absent / n_clean if n_clean else None
        by_name = {
            name: [sum(counts) for counts in zip(*(span.features[name] for span in spans), strict=True)]
            for name in self._reference.knots
        }
        features = [_feature_drift(name, counts) for name, counts in by_name.items()]
        n_known = sum(sum(counts[:-1]) for counts in by_name.values())
        n_outside = sum(counts[0] + counts[-2] for counts in by_name.values())
        outside_ratio = n_outside / n_known if n_known else None
        return DriftReport(
            at_ns=at_ns,
            n_windows=sum(span.n_windows for span in spans),
            duration_h=duration_s / 3600.0,
            features=tuple(sorted(features, key=lambda each: (-each.psi, each.name))),
            label_pct={label: _pct(number, n_clean - n_absent) for label, number in sorted(labels.items())},
            label_psi=self._label_psi(labels),
            abstention_pct=None if abstention_ratio is None else round(100.0 * abstention_ratio, 1),
            outside_pct=None if outside_ratio is None else round(100.0 * outside_ratio, 1),
            unusual=self._unusual(duration_s, abstention_ratio, outside_ratio),
        )

    def _unusual(self, duration_s: float, abstention_ratio: float | None, outside_ratio: float | None) -> str:
        settings = self._settings
        if duration_s < settings.min_duration_s:
            return ""
        limit_ratio = self._reference.outside_ratio + settings.max_more_outside_ratio
        if outside_ratio is not None and outside_ratio > limit_ratio:
            return f"{100 * outside_ratio:.0f} % of its features are outside of everything that it was trained on"
        limit_ratio = self._reference.abstention_ratio + settings.max_more_abstention_ratio
        if abstention_ratio is not None and abstention_ratio > limit_ratio:
            return f"it cannot tell on {100 * abstention_ratio:.0f} % of a clean signal"
        return ""

    def _label_psi(self, labels: Mapping[str, int]) -> float | None:
        expected = self._reference.label_ratios
        total = sum(expected.values())
        n_labels = sum(labels.get(label, 0) for label in expected)
        if not n_labels or not (math.isfinite(total) and total > 0):
            return None
        shares = [(labels.get(label, 0) / n_labels, ratio / total) for label, ratio in expected.items()]
        return round(stability_index(shares), 3)


def stability_index(shares: list[tuple[float, float]]) -> float:
    """Return the population-stability index of pairs of shares (found, expected).

    The sum of ``(found - expected) * ln(found / expected)``; a share below 0.001 counts as that, so that an empty
    class does not make it infinite.

    Examples
    --------
    >>> stability_index([(0.5, 0.5), (0.5, 0.5)])
    0.0
    >>> round(stability_index([(0.9, 0.5), (0.1, 0.5)]), 2)
    0.88
    """
    floored = [(max(found, _LEAST_SHARE), max(expected, _LEAST_SHARE)) for found, expected in shares]
    return sum((found - expected) * math.log(found / expected) for found, expected in floored)


def _n_stretches(knots: tuple[float, ...]) -> int:
    return min(_MOST_STRETCHES, len(knots) - 1)


def _stretch(value: float, knots: tuple[float, ...]) -> int:
    """Return where a value lies: 0 below the training range, then its equally likely stretches, then above."""
    n_stretches = _n_stretches(knots)
    if value < knots[0]:
        return 0
    if value > knots[-1]:
        return n_stretches + 1
    gap = min(bisect_right(knots, value), len(knots) - 1) - 1
    low, high = knots[gap], knots[gap + 1]
    rank = (gap + (value - low) / (high - low)) / (len(knots) - 1)
    return 1 + min(int(rank * n_stretches), n_stretches - 1)


def _feature_drift(name: str, counts: list[int]) -> FeatureDrift:
    *known, n_unknown = counts
    n_known = sum(known)
    psi = 0.0
    if n_known:
        # What is outside of the training range belongs to its outermost stretch.
        inner = [*known[1:-1]]
        inner[0] += known[0]
        inner[-1] += known[-1]
        psi = stability_index([(number / n_known, 1.0 / len(inner)) for number in inner])
    return FeatureDrift(
        name=name,
        psi=round(psi, 3),
        outside_pct=_pct(known[0] + known[-1], n_known),
        unknown_pct=_pct(n_unknown, n_known + n_unknown),
    )


def _pct(number: int, total: int) -> float:
    return round(100.0 * number / total, 1) if total else 0.0
