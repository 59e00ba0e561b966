"""The shape of beats: where the R peak is, how wide the QRS complex is, how much it resembles this person's usual beat.

All beats of a call are described together; what is learned (polarity, lead, usual beat) goes from beat to beat.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Curves = NDArray[np.float64]
"""Beats in one lead, shape (n_beats, n_samples), in mV."""

# The complex ends where the slope stays below this share of its largest value for 15 ms to both sides, which bridges
# the peak itself and notches; chosen on synthetic triangles and on the medians of normal, bundle-branch and ventricular
# beats (see the tests): 0.06 to 0.1 read alike but for notches and T waves.
_EDGE_SLOPE_RATIO = 0.1
_BRIDGE_S = 0.015
# The edge lies above the slopes before the complex, P wave and noise, but never above this share of the largest slope.
_OVER_NOISE = 1.5
_LARGEST_EDGE_RATIO = 0.3
# Below this a curve is flat, and resembles nothing.
_LEAST_NORM = 1e-9
# No complex reaches further from its R peak.
_HALF_WIDTH_S = 0.12
# A lead that moves less around a beat does not show it.
_FLAT_MV = 0.05


@dataclass(frozen=True, slots=True)
class Shape:
    """What one beat looks like in one lead."""

    peak: int
    """Sample index of the R peak in the filtered signal."""
    lead: int
    amplitude_mv: float
    width_ms: float
    similarity: float | None


class BeatShapes:
    """Describe the beats of one stretch without holes.

    Parameters
    ----------
    rate_hz : float
        Sampling rate.
    n_leads : int
        Number of leads.
    peak_search_s : float
        The R peak is looked for this far from the middle of the energy.
    """

    def __init__(self, rate_hz: float, n_leads: int, peak_search_s: float) -> None:
        self._rate_hz = rate_hz
        self._n_search = round(peak_search_s * rate_hz)
        self._n_shift = max(1, round(0.01 * rate_hz))
        self._lead: int | None = None
        self._is_upright: list[bool | None] = [None] * n_leads
        self._usual = [UsualBeat() for _ in range(n_leads)]

    def describe(
        self, filtered: NDArray[np.float64], first: int, middles: Sequence[int], leads: Sequence[tuple[list[int], int]]
    ) -> list[Shape]:
        """Return the shapes of the beats around `middles`.

        Parameters
        ----------
        filtered : ndarray
            Shape (n_leads, n_samples), in mV; its first column has sample index `first`.
        middles : sequence of int
            Sample indices of the middle of the complexes.
        leads : sequence
            For each beat the leads that show beats clearly, and the one to take if there is none.
        """
        n_search = self._n_search
        at = np.asarray(middles) - first
        last = filtered.shape[1] - 1
        around = filtered[:, _clipped(at[:, None] + np.arange(-2 * n_search, 2 * n_search + 1), last)]
        half = 2 * n_search
        level = np.partition(around, half, axis=2)[:, :, half]
        near = around[:, :, n_search : 3 * n_search + 1]
        tops, bottoms = near.argmax(axis=2), near.argmin(axis=2)
        ups = (near.max(axis=2) - level).tolist()
        downs = (level - near.min(axis=2)).tolist()
        chosen, peaks = [], []
        for k, (clear, usual) in enumerate(leads):
            lead = self._choose_lead(clear, usual, [ups[j][k] + downs[j][k] for j in range(len(ups))])
            places = tops if self._points_up(lead, ups[lead][k], downs[lead][k]) else bottoms
            chosen.append(lead)
            peaks.append(middles[k] - n_search + int(places[lead, k]))
        return self._shapes(filtered, first, peaks, chosen)

    def _choose_lead(self, clear: list[int], usual: int, swings: list[float]) -> int:
        """Return the lead in which the beat is timed and described: as far as possible always the same.

        R peaks of different leads lie tens of milliseconds apart and have different shapes, so a change of lead would
        look like an irregular, odd beat.  The lead in use stays while its beats are clear; else the first clear one.
        """
        if self._lead is None or self._lead not in clear or swings[self._lead] < _FLAT_MV:
            self._lead = next((lead for lead in clear if swings[lead] >= _FLAT_MV), None)
        return usual if self._lead is None else self._lead

    def _points_up(self, lead: int, up: float, down: float) -> bool:
        """Return whether the largest deflection is upwards.

        The polarity of the beats before is kept unless the other one is clearly larger, so that an RS complex with
        equal halves does not make the RR interval jump.
        """
        before = self._is_upright[lead]
        is_upright = up >= down if before is None else (up >= 0.7 * down if before else up * 0.7 > down)
        self._is_upright[lead] = is_upright
        return is_upright

    def _shapes(self, filtered: NDArray[np.float64], first: int, peaks: list[int], leads: list[int]) -> list[Shape]:
        rate = self._rate_hz
        n_before, n_after = round(0.16 * rate), round(0.2 * rate)
        columns = np.asarray(peaks)[:, None] - first + np.arange(-n_before, n_after + 1)
        curves = filtered[np.asarray(leads)[:, None], _clipped(columns, filtered.shape[1] - 1)]
        n_quiet = max(1, round(0.06 * rate))
        early = n_before - round(0.12 * rate)
        quiet = np.partition(curves[:, early : early + n_quiet], n_quiet // 2, axis=1)[:, n_quiet // 2]
        amplitudes = (curves[:, n_before] - quiet).tolist()
        widths = qrs_widths_ms(curves, n_before, rate)
        margin = self._n_shift
        shape = curves[:, n_before - round(0.1 * rate) - margin : n_before + round(0.15 * rate) + margin + 1]
        similarities = [self._usual[lead].similarity(shape[k], margin) for k, lead in enumerate(leads)]
        return [Shape(*each) for each in zip(peaks, leads, amplitudes, widths, similarities, strict=True)]


def qrs_widths_ms(curves: Curves, peak: int, rate_hz: float) -> list[float]:
    """Return the duration of the QRS complexes around index `peak`, from where the slope rises and dies away.

    An estimate from one lead behind a 40 Hz low-pass: some 10 ms more than a triangle has, and less than the widest of
    twelve leads would show.
    """
    slope = np.abs(curves[:, 2:] - curves[:, :-2])  # column k belongs to sample k + 1
    n_bridge = max(1, round(_BRIDGE_S * rate_hz))
    bridged = ndimage.maximum_filter1d(slope, 2 * n_bridge + 1, axis=1)
    n_near, n_quiet, n_half = round(0.06 * rate_hz), round(0.06 * rate_hz), round(_HALF_WIDTH_S * rate_hz) + n_bridge
    largest = slope[:, peak - n_near - 1 : peak + n_near].max(axis=1)
    noise = np.partition(bridged[:, :n_quiet], n_quiet // 2, axis=1)[:, n_quiet // 2]
    edge = np.maximum(_EDGE_SLOPE_RATIO * largest, np.minimum(_OVER_NOISE * noise, _LARGEST_EDGE_RATIO * largest))
    is_flat = bridged <= edge[:, None]
    is_flat[:, [max(0, peak - 1 - n_half), min(is_flat.shape[1] - 1, peak - 1 + n_half)]] = True
    n_before = is_flat[:, peak - 1 :: -1].argmax(axis=1)
    n_after = is_flat[:, peak - 1 :].argmax(axis=1)
    widths = 1000.0 / rate_hz * np.maximum(0, n_before + n_after - 2 * n_bridge - 1)
    return list(widths.tolist())


class UsualBeat:
    """The usual beat of one person in one lead, learned from the first eight and following slow changes."""

    _N_LEARNED = 8
    _SIMILAR = 0.9  # what is averaged into the template
    _RATE = 0.1  # share of a new beat: the template follows over about ten beats
    _N_REMEMBERED = 60  # about a minute
    _FEWEST_SIMILAR = 0.5

    def __init__(self) -> None:
        self._template: Curves | None = None
        self._pattern: Curves = np.zeros(0)
        self._norm = 0.0
        self._examples: list[Curves] = []
        self._recent: deque[bool] = deque(maxlen=self._N_REMEMBERED)

    def similarity(self, curve: Curves, n_shift: int) -> float | None:
        """Return the correlation of `curve` with the usual beat, and learn from it; None until one is known.

        Parameters
        ----------
        curve : ndarray
            The beat with `n_shift` extra samples on both sides, for the error of its R peak; always of one length.
        """
        if self._template is None:
            self._learn(curve[n_shift : len(curve) - n_shift])
            return None
        products = np.correlate(curve, self._pattern)  # the pattern's mean is 0, so that the level does not matter
        shift = int(products.argmax())
        n = len(self._pattern)
        part = curve[shift : shift + n]
        total = float(np.add.reduce(part))
        norm = math.sqrt(max(0.0, float(part.dot(part)) - total * total / n)) * self._norm
        result = float(products[shift]) / norm if norm > _LEAST_NORM else 0.0
        self._follow(part, result)
        return result

    def _learn(self, curve: Curves) -> None:
        self._examples.append(curve)
        if len(self._examples) < self._N_LEARNED:
            return
        examples = np.stack(self._examples)
        likeness = np.stack([_correlations(examples, example) for example in examples])
        typical = likeness[int(np.argmax(np.median(likeness, axis=1)))]
        self._set(examples[typical >= min(self._SIMILAR, float(np.median(typical)))].mean(axis=0))
        self._examples = []
        self._recent.clear()

    def _set(self, template: Curves) -> None:
        self._template = template
        self._pattern = template - float(np.add.reduce(template)) / len(template)
        self._norm = math.sqrt(float(self._pattern.dot(self._pattern)))

    def _follow(self, curve: Curves, correlation: float) -> None:
        assert self._template is not None
        is_similar = correlation > self._SIMILAR
        self._recent.append(is_similar)
        if is_similar:
            self._set(self._template + self._RATE * (curve - self._template))
        elif len(self._recent) == self._N_REMEMBERED and sum(self._recent) < self._FEWEST_SIMILAR * len(self._recent):
            self._template = None  # the usual beat has changed: learn the new one


def _clipped(columns: NDArray[np.int64], last: int) -> NDArray[np.int64]:
    """Return the columns with those outside replaced by the edge ones, where a stretch begins or ends."""
    return np.minimum(np.maximum(columns, 0), last)


def _correlations(curves: Curves, template: Curves) -> Curves:
    """Return Pearson's correlation of every row with `template`; 0 where a row is flat."""
    n = len(template)
    pattern = template - np.add.reduce(template) / n
    products = np.add.reduce(curves * pattern, axis=1)
    sums = np.add.reduce(curves, axis=1)
    energies = np.add.reduce(curves * curves, axis=1) - sums * sums / n
    norm = np.sqrt(np.maximum(energies, 0.0) * np.add.reduce(pattern * pattern))
    return np.asarray(np.where(norm > _LEAST_NORM, products / np.maximum(norm, _LEAST_NORM), 0.0))
