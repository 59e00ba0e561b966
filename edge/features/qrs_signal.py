"""ECG samples -> places where a QRS complex may be, with all that is needed to judge them.

::

    raw ─▶ ~120 Hz ─▶ 5-20 Hz ─▶ slope ─▶ RMS over 100 ms: energy of a lead ─┐
                                                     (every lead) ───────────┴▶ fused energy ─▶ its maxima

The band is that of XQRS and close to Pan and Tompkins 1985 (doi:10.1109/TBME.1985.325532); the root keeps the energy in
proportion to amplitude, and a triangular QRS complex of 1 mV and 80 ms has about 1.  Nothing above 20 Hz is used, so all
of it happens at a rate of 100 to 200 Hz.

Leads are fused as evidence is: the energy of each lead is measured in units of its own beats, and the weighted mean is
that of the logarithms, so that an artefact in one lead is no beat where another lead, which shows the heart well, is
quiet.  The weight of a lead is how far its beats stand out of what lies between them.

Every value belongs to a sample and depends on samples before it and a fixed number after it: any split of the input into
blocks gives the same candidates, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from edge.features.qrs_likeness import N_SHIFT

Rows = NDArray[np.float64]
"""Shape (n_leads, n_samples) unless said otherwise."""

_LOWEST_RATE_HZ = 100.0
_SLOPE_S = 0.012
_ENERGY_S = 0.1
# Slope energy of a 1 mV, 80 ms triangle in the 5-20 Hz band, computed at 360 Hz (0.20 +- 10 % for 250-1000 Hz).
_UNIT_ENERGY = 0.2
# Below this a maximum cannot become a beat, so it is not handed on; a fifth of the detection floor.
_LEAST_HEIGHT_MV = 0.03
_REFRACTORY_S = 0.18
# The maxima of two leads lie this close to each other in one complex.
_TOGETHER_S = 0.045
# Where P waves lie, before the maximum of the energy: a complex of 100 ms begins to raise it 0.14 s before.
_BEFORE_S = (0.30, 0.14)
# The quietest third of the last second tells the noise: QRS complexes and T waves take no more than the other two.
_FLOOR_S = 1.0
_FLOOR_SHARE = 0.35
# A step of the baseline moves from one level to another; a complex comes back.
_STEP_S = 0.13
_STEP_ENDS_S = 0.04
_STEP_RATIO = 0.95
# Most of a step is over in 40 ms; the flank of a wide ventricular complex is not.
_STEP_QUICK_RATIO = 0.8
# Half the length of the curve that is compared with the usual complex.
_SHAPE_S = 0.08
# What is left of the energy of a step.
_STEP_LEFT = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class FusionSettings:
    """How several leads become one detection signal."""

    memory_s: int = 8
    """A lead's beats are known from the largest energies of the last seconds: 8 beats at 60 bpm, as the detector's."""
    least_level_mv: float = 0.05
    """Beats of a lead are never taken for smaller: a third of what must not be counted (IEC 60601-2-27)."""
    least_ratio: float = 0.05
    """A lead says no more against a beat than with this share of its usual energy."""
    silent_ratio: tuple[float, float] = (0.1, 0.3)
    """A lead whose largest energy of two seconds is below the first share of its beats has lost the heart and loses its
    weight; above the second it has not."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Maxima of the fused energy, in order of time: lists of equal length, and by lead where it says so."""

    at: list[int]
    """Position, in samples of the detector's own rate; it lies `QrsSignal.delay` behind the middle of the complex."""
    fused: list[float]
    """Fused energy there; about the QRS amplitude in mV."""
    heights: list[list[float]]
    """Energy, by lead."""
    slopes: list[list[float]]
    """Largest slope in the 100 ms before, by lead, in the same unit."""
    before: list[list[float]]
    """Largest energy where a P wave would lie, by lead."""
    weights: list[list[float]]
    """What the leads count, by lead; the sum is 1."""
    floors: list[float]
    """Fused energy of the quietest third of the second before."""
    shapes: NDArray[np.float64]
    """The band-passed leads around the candidates, shape (n_candidates, n_leads, n_samples)."""


class QrsSignal:
    """The energies of one stretch without holes, and their maxima.

    Parameters
    ----------
    settings : FusionSettings
        How leads are fused.
    rate_hz : float
        Sampling rate.
    n_leads : int
        Rows of the blocks.
    """

    def __init__(self, settings: FusionSettings, rate_hz: float, n_leads: int) -> None:
        self._settings = settings
        self._n_leads = n_leads
        self.n_decimated = max(1, int(rate_hz // _LOWEST_RATE_HZ))
        """Samples of the input for one of the detector's own."""
        rate = rate_hz / self.n_decimated
        self.rate_hz = rate
        """The detector's own rate."""
        # The transfer-function form is safe here, where the band is a good part of the rate: it agrees with second-order
        # sections to 1e-14 (computed at 100 to 200 Hz), costs half, and carries its state as exactly.
        self._filter = signal.butter(2, [5.0, min(20.0, 0.45 * rate)], "bandpass", fs=rate)
        self._state = np.zeros((n_leads, len(self._filter[1]) - 1))
        self._offset: Rows | None = None
        self._n_energy = max(2, round(_ENERGY_S * rate))
        self._scale = _SLOPE_S * rate / _UNIT_ENERGY
        self._n_half = max(2, round(_REFRACTORY_S * rate))
        self._n_second = round(rate)
        self._n_filter = round(_delay(*self._filter, rate))
        self.delay = self._n_filter + self._n_energy / 2 + 0.5
        """Samples, at the detector's rate, by which a maximum lies behind the middle of a complex."""
        self._n_kept = self._n_second + round((_FLOOR_S + _REFRACTORY_S + 0.1) * rate)
        # Rows: raw, band-passed, slope, energy (each by lead), fused energy.
        self._rows = np.zeros((4 * n_leads + 1, self._n_kept))
        self._first = -self._n_kept
        self.end = 0
        """Position that comes next."""
        self.confirmed = 0
        """Position before which every maximum has been returned."""
        self._rest = np.zeros((n_leads, 0))
        self._fusion = _Fusion(settings, n_leads, self._n_second) if n_leads > 1 else None

    def add(self, values: Rows) -> None:
        """Take samples in mV, without holes, that follow those before."""
        raw = self._decimate(values)
        n_new = raw.shape[1]
        if n_new == 0:
            return
        n_leads, n_kept = self._n_leads, self._n_kept
        rows = np.empty((4 * n_leads + 1, n_kept + n_new))
        rows[:, :n_kept] = self._rows[:, -n_kept:]
        rows[:n_leads, n_kept:] = raw
        band, self._state = signal.lfilter(*self._filter, raw, axis=1, zi=self._state)
        rows[n_leads : 2 * n_leads, n_kept:] = band
        band = rows[n_leads : 2 * n_leads]
        slope = rows[2 * n_leads : 3 * n_leads]
        np.subtract(band[:, n_kept:], band[:, n_kept - 1 : -1], out=slope[:, n_kept:])
        slope[:, n_kept:] *= self._scale
        recent = slope[:, n_kept - self._n_energy + 1 :]
        energy = _moving_sum(recent * recent, self._n_energy)
        energy /= self._n_energy
        np.sqrt(energy, out=rows[3 * n_leads : 4 * n_leads, n_kept:])
        if self._fusion is None:
            rows[4, n_kept:] = rows[3, n_kept:]
        else:
            rows[-1, n_kept:] = self._fusion.fuse(rows[3 * n_leads : 4 * n_leads], self.end - n_kept, self.end)
        self._rows = rows
        self.end += n_new
        self._first = self.end - rows.shape[1]

    def finish(self) -> None:
        """Let what follows be silence, so that the last maxima are confirmed."""
        n_leads, n_pad = self._n_leads, self._n_half
        pad = np.zeros((4 * n_leads + 1, n_pad))
        pad[:n_leads] = self._rows[:n_leads, -1:]
        self._rows = np.concatenate([self._rows, pad], axis=1)
        self.end += n_pad

    def largest(self, first: int, end: int) -> float:
        """Return the largest fused energy in ``first <= position < end``; 0 where there is none."""
        part = self._rows[-1, max(0, first - self._first) : max(0, end - self._first)]
        return float(part.max()) if len(part) else 0.0

    def find(self) -> Candidates | None:
        """Return the maxima that have become certain; None where there are none."""
        first, end = self.confirmed, self.end - self._n_half
        if end <= first:
            return None
        low = first - self._first
        n_half = self._n_half
        part = self._rows[-1, low - n_half :]
        peaks = ndimage.maximum_filter1d(part, 2 * n_half + 1, mode="constant")[n_half : n_half + end - first]
        inner = part[n_half : n_half + end - first]
        self.confirmed = end
        at = np.flatnonzero((inner == peaks) & (inner > _LEAST_HEIGHT_MV))
        return self._describe(at + low) if len(at) else None

    def _decimate(self, values: Rows) -> Rows:
        """Return the means of `n_decimated` samples, which mains and muscle noise barely survive."""
        if self._offset is None:
            self._offset = values[:, :1].copy()
        values = values - self._offset
        step = self.n_decimated
        if step == 1:
            return values
        if self._rest.shape[1]:
            values = np.concatenate([self._rest, values], axis=1)
        n_whole = values.shape[1] // step * step
        self._rest = values[:, n_whole:].copy()
        out = values[:, 0:n_whole:step].copy()
        for k in range(1, step):
            out += values[:, k:n_whole:step]
        out /= step
        return out

    def _describe(self, at: NDArray[np.int64]) -> Candidates:
        """Return the candidates at these columns of the buffer."""
        rate = self.rate_hz
        steps = self._is_step(at)
        slopes = self._around(at, 1 - self._n_energy, 1, 2)
        before = self._around(at, -round(_BEFORE_S[0] * rate), -round(_BEFORE_S[1] * rate), 3).max(axis=2)
        fused = self._rows[-1, at]
        if self._fusion is None:
            heights = fused[None].copy()
            weights = [[1.0]] * len(at)
        else:
            n_together = round(_TOGETHER_S * rate)
            heights = self._around(at, -n_together, n_together + 1, 3).max(axis=2)
            weights = self._fusion.weights_at(at + self._first).T.tolist()
        heights[steps] *= _STEP_LEFT
        n_shape = round(_SHAPE_S * rate) + N_SHIFT
        shapes = np.ascontiguousarray(self._around(at - round(self.delay), -n_shape, n_shape + 1, 1).transpose(1, 0, 2))
        n_floor = round(_FLOOR_S * rate)
        quiet = self._rows[-1][at[:, None] + np.arange(1 - n_floor, 1)]
        rank = int(_FLOOR_SHARE * n_floor)
        floors = np.partition(quiet, rank, axis=1)[:, rank]
        return Candidates(
            at=(at + self._first).tolist(),
            fused=fused.tolist(),
            heights=heights.T.tolist(),
            slopes=np.abs(slopes).max(axis=2).T.tolist(),
            before=before.T.tolist(),
            weights=weights,
            floors=floors.tolist(),
            shapes=shapes,
        )

    def _around(self, at: NDArray[np.int64], first: int, end: int, kind: int) -> NDArray[np.float64]:
        """Return windows of one kind of rows, shape (n_leads, n_candidates, end - first)."""
        n_leads = self._n_leads
        return self._rows[kind * n_leads : (kind + 1) * n_leads][:, at[:, None] + np.arange(first, end)]

    def _is_step(self, at: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return, shape (n_leads, n_candidates), where the raw lead goes from one level to another and stays."""
        rate = self.rate_hz
        n_around, n_ends = round(_STEP_S * rate), max(1, round(_STEP_ENDS_S * rate))
        middle = at - round(self.delay)
        raw = self._around(middle, -n_around, n_around + 1, 0)
        swing = raw.max(axis=2) - raw.min(axis=2)
        net = np.abs(np.add.reduce(raw[:, :, -n_ends:] - raw[:, :, :n_ends], axis=2)) / n_ends
        quick = np.abs(raw[:, :, n_ends:] - raw[:, :, :-n_ends]).max(axis=2)
        return np.asarray((net > _STEP_RATIO * swing) & (quick > _STEP_QUICK_RATIO * net))


class _Fusion:
    """How much the leads count, once a second, and the fused energy.

    Between two seconds the weights move in a straight line, so that no step makes a maximum.
    """

    def __init__(self, settings: FusionSettings, n_leads: int, n_second: int) -> None:
        self._settings = settings
        self._n_leads = n_leads
        self._n_second = n_second
        n_memory = settings.memory_s
        self._largest = np.zeros((n_leads, 0))
        self._means = np.zeros((n_leads, 0))
        self._n_memory = n_memory
        # Grid points: weights and levels at the beginning of second k, for k = _first_point and those after it.
        self._first_point = -1
        self._n_seconds = 0
        self._weights = np.full((n_leads, 2), 1.0 / n_leads)
        self._levels = np.ones((n_leads, 2))

    def fuse(self, energies: Rows, first: int, begin: int) -> NDArray[np.float64]:
        """Return the fused energy from position `begin` on; `energies` start at position `first`, before it."""
        end = first + energies.shape[1]
        self._extend(energies, first, end)
        settings = self._settings
        weights, levels = self._lines(np.arange(begin, end))
        logs = np.log(np.maximum(energies[:, begin - first :], 1e-6) / levels)
        # Beyond its usual size a lead counts little more: an artefact is not the more a beat the larger it is.
        logs = np.minimum(logs, 0.25 * logs)
        np.maximum(logs, np.log(settings.least_ratio), out=logs)
        fused = np.exp((weights * logs).sum(axis=0)) * (weights * levels).sum(axis=0)
        fused[energies[:, begin - first :].max(axis=0) < _LEAST_HEIGHT_MV] = 0.0
        return np.asarray(fused)

    def weights_at(self, at: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the weights at these positions, shape (n_leads, n_positions)."""
        return self._lines(at)[0]

    def _lines(self, at: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        second = at // self._n_second
        along = (at - second * self._n_second) / self._n_second
        k = second - self._first_point
        weights = self._weights[:, k - 1] + along * (self._weights[:, k] - self._weights[:, k - 1])
        levels = self._levels[:, k - 1] + along * (self._levels[:, k] - self._levels[:, k - 1])
        return weights, levels

    def _extend(self, energies: Rows, first: int, end: int) -> None:
        """Add the grid points of the seconds that end before `end`."""
        n = self._n_second
        low, high = self._n_seconds, (end - 1) // n  # whole seconds low <= k < high have ended
        if high > low:
            self._n_seconds = high
            whole = energies[:, low * n - first : high * n - first].reshape(self._n_leads, high - low, n)
            self._grow(whole.max(axis=2), whole.mean(axis=2))
        # Keep what candidates not yet confirmed may ask for: the last two seconds and the new ones.
        n_keep = high - low + 4
        n_drop = max(0, self._weights.shape[1] - n_keep)
        self._weights = self._weights[:, n_drop:]
        self._levels = self._levels[:, n_drop:]
        self._first_point += n_drop

    def _grow(self, largest: Rows, means: Rows) -> None:
        n_memory, settings = self._n_memory, self._settings
        if self._largest.shape[1] == 0:  # the first second stands for those before it
            self._largest = np.repeat(largest[:, :1], n_memory, axis=1)
            self._means = np.repeat(means[:, :1], n_memory, axis=1)
        self._largest = np.concatenate([self._largest[:, -n_memory:], largest], axis=1)
        self._means = np.concatenate([self._means[:, -n_memory:], means], axis=1)
        view = np.lib.stride_tricks.sliding_window_view
        tops = view(self._largest, n_memory, axis=1)[:, 1:]
        level = np.median(tops, axis=2)
        usual = np.median(view(self._means, n_memory, axis=1)[:, 1:], axis=2)
        newest = np.maximum(self._largest[:, n_memory:], self._largest[:, n_memory - 1 : -1])
        level = np.maximum(level, settings.least_level_mv)
        weight = np.maximum(level / (usual + 0.01) - 1.0, 0.03) ** 2
        silent, alive = settings.silent_ratio
        weight *= np.clip((newest / level - silent) / (alive - silent), 1e-3, 1.0)
        self._weights = np.concatenate([self._weights, weight / weight.sum(axis=0)], axis=1)
        self._levels = np.concatenate([self._levels, level], axis=1)


def _delay(numerator: NDArray[np.float64], denominator: NDArray[np.float64], rate_hz: float) -> float:
    """Return the group delay at 12 Hz, where a QRS complex has its energy in this band, in samples."""
    _, response = signal.freqz(numerator, denominator, worN=[11.99, 12.01], fs=rate_hz)
    return float(np.angle(response[0] / response[1])) / (2 * np.pi * 0.02) * rate_hz


def _moving_sum(values: Rows, n: int) -> Rows:
    """Return the sums of `n` consecutive columns; the order of additions does not depend on where the rows begin."""
    n_out = values.shape[1] - n + 1
    total: Rows | None = None
    offset, width, part = 0, 1, values
    while True:
        if n & width:
            piece = part[:, offset : offset + n_out]
            total = piece.copy() if total is None else total + piece
            offset += width
        if 2 * width > n:
            assert total is not None
            return total
        part = part[:, width:] + part[:, :-width]
        width *= 2
