"""The forms that the beats of one person take in one lead: the usual one, and the others with their habits.

Beats are sorted as they come into a handful of forms by the correlation of their QRS complexes.  The usual form is the
one that is seen most and does not come early; it gives the template that a beat is compared with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]
"""One beat in one lead."""

# Below this a curve is flat, and resembles nothing.
_LEAST_NORM = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class BeatFormsSettings:
    """How beats are sorted into forms."""

    n_forms: int = 6
    """Forms remembered at once: two or three foci, noise, and the usual one (own choice)."""
    likeness: float = 0.9
    """Correlation of the QRS complexes from which two beats have one form: half of what separates it from 0.8 turns
    between the beats of one form and of two in MIT-BIH (see `beat_shape`)."""
    largest_ratio: float = 1.8
    """Peak-to-peak amplitudes of one form differ by no more than this factor (own choice)."""
    memory_beats: float = 200.0
    """Over how many beats a form is forgotten to 1/e: three minutes, so that a run does not become the usual form."""
    n_learned: int = 12
    """A template is the mean of its first so many beats, then follows with this time constant (own choice)."""
    early_ratio: float = 0.85
    """A form whose beats come before this share of the usual interval is ectopic whatever its number."""
    early_weight: float = 0.35
    """What such a form counts on the way to being the usual one: in bigeminy both forms are equally frequent."""
    merge_likeness: float = 0.94
    """Forms that have come to be as like as this are one."""
    wide_ratio: float = 1.35
    """A form whose slopes are spread over this much more time than those of another common one is wide."""
    wide_weight: float = 0.5
    """What a wide form counts on the way to being the usual one: conduction through the ventricles alone is slow."""
    common_share: float = 0.15
    """Share of the beats from which a form is common."""
    stay_weight: float = 1.3
    """The usual form stays until another one counts this much more."""
    n_shift: int = 3
    """Beats are moved by up to so many samples to fit a template: the R peak of another lead, or of a notch."""


class Form:
    """Beats that look alike: their mean, and how they come."""

    __slots__ = ("interval_ratio", "n_seen", "norm", "pattern", "spread", "swing", "template", "weight")

    def __init__(self, template: Curve, qrs: slice) -> None:
        self.template = template
        self.weight = 1.0
        self.n_seen = 1
        self.interval_ratio: float | None = None
        """Mean of the RR intervals before its beats against the usual interval; None where none was known."""
        self.renew(qrs)

    def renew(self, qrs: slice) -> None:
        """Work out the zero-mean QRS pattern of the template."""
        part = self.template[qrs]
        self.pattern = part - part.mean()
        self.norm = math.sqrt(float(self.pattern.dot(self.pattern)))
        self.swing = float(np.ptp(part))
        self.spread = slope_spread(part)
        """Over how many samples the slopes of the QRS complex are spread."""


@dataclass(frozen=True, slots=True)
class Match:
    """How one beat fits the forms known before it."""

    usual: Form | None
    """The usual form; None before the first beat."""
    usual_likeness: float
    usual_shift: int
    """Samples by which the beat has to be moved to fit the usual form."""
    nearest: Form | None
    """The form it is most like, where it is like any."""
    nearest_likeness: float
    nearest_share: float
    """Share of the nearest form among the beats remembered, 0 for a new form."""
    usual_share: float


class BeatForms:
    """Sort the beats of one lead.

    Parameters
    ----------
    settings : BeatFormsSettings
        How beats are sorted.
    qrs : slice
        Where the QRS complex lies in a curve.
    """

    def __init__(self, settings: BeatFormsSettings, qrs: slice) -> None:
        self._settings = settings
        self._qrs = qrs
        self._forms: list[Form] = []
        self._usual: Form | None = None
        self._decay = math.exp(-1.0 / settings.memory_beats)

    def match(self, curve: Curve) -> Match:
        """Return how `curve`, with ``n_shift`` extra samples on both sides, fits what is known."""
        forms = self._forms
        if not forms:
            return Match(None, math.nan, 0, None, math.nan, 0.0, math.nan)
        likeness, shifts = self._likeness(curve)
        weights = [form.weight for form in forms]
        total = sum(weights)
        usual = forms.index(self._choose())
        near = int(np.argmax(likeness))
        is_like = likeness[near] >= self._settings.likeness and self._is_as_large(curve, forms[near])
        return Match(
            forms[usual],
            float(likeness[usual]),
            int(shifts[usual]),
            forms[near] if is_like else None,
            float(likeness[near]),
            weights[near] / total if is_like else 0.0,
            weights[usual] / total,
        )

    def learn(self, curve: Curve, match: Match, interval_ratio: float | None) -> None:
        """Take a beat, matched before, into its form or make it a new one."""
        settings = self._settings
        for each in self._forms:
            each.weight *= self._decay
        n_shift = settings.n_shift
        if match.nearest is None:
            form = Form(curve[n_shift : len(curve) - n_shift].copy(), self._qrs)
            if len(self._forms) >= settings.n_forms:
                self._forms.remove(min(self._forms, key=lambda each: each.weight))
            self._forms.append(form)
        else:
            form = match.nearest
            shift = match.usual_shift if form is match.usual else self._shift(curve, form)
            part = curve[n_shift + shift : len(curve) - n_shift + shift]
            form.n_seen += 1
            form.weight += 1.0
            form.template += (part - form.template) / min(form.n_seen, settings.n_learned)
            form.renew(self._qrs)
        if interval_ratio is not None:
            old = form.interval_ratio
            share = 1.0 / min(form.n_seen, settings.n_learned)
            form.interval_ratio = interval_ratio if old is None else old + share * (interval_ratio - old)
        self._merge(form)

    def _choose(self) -> Form:
        """Return the usual form, which changes only for a good reason."""
        total = sum(form.weight for form in self._forms)
        narrowest = min((f.spread for f in self._forms if f.weight >= self._settings.common_share * total), default=0.0)
        before = self._usual if self._usual in self._forms else None
        best, most = self._forms[0], -1.0
        for form in self._forms:
            standing = self._standing(form, narrowest) * (self._settings.stay_weight if form is before else 1.0)
            if standing > most:
                best, most = form, standing
        self._usual = best
        return best

    def _standing(self, form: Form, narrowest: float) -> float:
        """Return how much a form counts on the way to being the usual one."""
        settings, ratio = self._settings, form.interval_ratio
        is_early = ratio is not None and ratio < settings.early_ratio
        is_wide = 0.0 < settings.wide_ratio * narrowest < form.spread
        return form.weight * (settings.early_weight if is_early else 1.0) * (settings.wide_weight if is_wide else 1.0)

    def _merge(self, changed: Form) -> None:
        """Make one of `changed` and a form that it has come to resemble."""
        for other in self._forms:
            if other is changed or other.norm * changed.norm <= _LEAST_NORM:
                continue
            likeness = float(other.pattern.dot(changed.pattern)) / (other.norm * changed.norm)
            ratio, largest = other.swing / max(changed.swing, _LEAST_NORM), self._settings.largest_ratio
            if likeness >= self._settings.merge_likeness and 1.0 / largest <= ratio <= largest:
                into, gone = (changed, other) if changed.weight >= other.weight else (other, changed)
                into.weight += gone.weight
                into.n_seen += gone.n_seen
                self._forms.remove(gone)
                if self._usual is gone:
                    self._usual = into
                return

    def _is_as_large(self, curve: Curve, form: Form) -> bool:
        n_shift = self._settings.n_shift
        qrs = slice(self._qrs.start + n_shift, self._qrs.stop + n_shift)
        swing, largest = float(np.ptp(curve[qrs])), self._settings.largest_ratio
        return form.swing <= largest * swing and swing <= largest * form.swing

    def _parts(self, curve: Curve) -> Curve:
        """Return the QRS complex at every shift, without its level; shape (2 n_shift + 1, n_qrs)."""
        n_shift = self._settings.n_shift
        first = self._qrs.start
        n = self._qrs.stop - first
        parts = np.lib.stride_tricks.sliding_window_view(curve[first : first + n + 2 * n_shift], n)
        return np.asarray(parts - parts.mean(axis=1, keepdims=True))

    def _likeness(self, curve: Curve) -> tuple[Curve, NDArray[np.int64]]:
        parts = self._parts(curve)
        norms = np.sqrt(np.einsum("sk,sk->s", parts, parts))
        patterns = np.stack([form.pattern for form in self._forms])
        scale = np.outer(norms, [form.norm for form in self._forms])
        products = np.einsum("sk,fk->sf", parts, patterns)
        correlations = np.where(scale > _LEAST_NORM, products / np.maximum(scale, _LEAST_NORM), 0.0)
        best = np.argmax(correlations, axis=0)
        return correlations[best, np.arange(len(self._forms))], best - self._settings.n_shift

    def _shift(self, curve: Curve, form: Form) -> int:
        parts = self._parts(curve)
        norms = np.sqrt(np.einsum("sk,sk->s", parts, parts))
        scores = np.einsum("sk,k->s", parts, form.pattern) / np.maximum(norms, _LEAST_NORM)
        return int(np.argmax(scores)) - self._settings.n_shift


def slope_spread(qrs: Curve) -> float:
    """Return the spread of the slope's energy over time, in samples: wide complexes have it spread."""
    energy = np.diff(qrs) ** 2
    total = float(energy.sum())
    if total <= _LEAST_NORM:
        return 0.0
    at = np.arange(len(energy))
    middle = float(energy.dot(at)) / total
    return math.sqrt(float(energy.dot((at - middle) ** 2)) / total)
