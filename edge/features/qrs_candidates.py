"""ECG samples -> places where a QRS complex may be: local maxima of the energy of the band-passed slope.

The detection signal of a lead is the root mean square, over 100 ms, of the slope of the lead band-passed to 5-20 Hz,
scaled so that a triangular QRS complex of 1 mV and 80 ms gives about 1.  The band is that of XQRS and close to Pan and
Tompkins 1985 (doi:10.1109/TBME.1985.325532); the root keeps thresholds in proportion to amplitude.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from edge.conditioning.filters import FilterChain, FilterSettings, delay_ms
from edge.features.history import History, Rows
from edge.messages import SampleBlock

_SLOPE_S = 0.012
_ENERGY_S = 0.1
_REFRACTORY_S = 0.18
# Slope energy of a 1 mV, 80 ms triangle in the 5-20 Hz band, computed at 360 Hz (0.20 +- 10 % for 250-1000 Hz).
_UNIT_ENERGY = 0.2
# Below this a maximum cannot become a beat, so it is not handed on; a fifth of the detection floor.
_LEAST_HEIGHT = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One local maximum of a lead's detection signal."""

    sequence: int
    """Sample index of the maximum; it lies about 80 ms after the middle of the complex."""
    lead: int
    """Column of the lead."""
    height: float
    """Detection signal there; about the QRS amplitude in mV."""
    slope: float
    """Largest slope of the band-passed lead in the 100 ms before, in the same scale."""


class QrsCandidates:
    """Detection signals and their maxima, block by block.

    Every lead is treated alike; where a lead has no value (NaN) its detection signal is 0.

    Parameters
    ----------
    rate_hz : float
        Sampling rate.
    n_leads : int
        Columns of the blocks.
    sequence : int
        Sample index of the first sample to come.
    """

    def __init__(self, rate_hz: float, n_leads: int, sequence: int) -> None:
        self._band = FilterSettings(band_hz=(5.0, 20.0), order=2)
        self._filter = FilterChain(self._band)
        self._n_leads = n_leads
        self._n_slope = max(1, round(_SLOPE_S * rate_hz))
        self._slope_scale = _SLOPE_S * rate_hz / self._n_slope / _UNIT_ENERGY
        self._n_energy = max(2, round(_ENERGY_S * rate_hz))
        self._n_half = max(2, round(_REFRACTORY_S * rate_hz))
        n_kept = round(5.0 * rate_hz) + 2 * self._n_half
        self._slopes = History(2 * n_leads, n_kept, sequence)  # band-passed, then slope
        self.heights = History(n_leads, n_kept, sequence)
        """The detection signal of every lead."""
        self._confirmed = sequence
        self.delay_samples = round(delay_ms(self._band, rate_hz, 12.0) * rate_hz / 1000) + self._n_energy // 2
        """Samples by which a maximum of the detection signal lies behind the middle of a QRS complex."""

    @property
    def confirmed(self) -> int:
        """Sample index before which every maximum has been returned."""
        return self._confirmed

    def find(self, block: SampleBlock) -> list[Candidate]:
        """Return the maxima that `block` made certain, oldest first."""
        filtered = self._filter.push(block)[0].values
        is_missing = np.isnan(filtered)
        self._append_slope(np.where(is_missing, 0.0, filtered))
        self._append_height(len(filtered), is_missing)
        return self._maxima()

    def largest_height(self, lead: int, first: int, end: int) -> float:
        """Return the largest value of the detection signal in ``first <= index < end``; 0 where there is none."""
        part = self.heights.rows(first, end)[:, lead]
        return float(part.max()) if len(part) else 0.0

    def _append_slope(self, filtered: Rows) -> None:
        before = self._slopes.rows(self._slopes.end - self._n_slope, self._slopes.end)[:, : self._n_leads]
        n_short = self._n_slope - len(before)
        if n_short:  # at the start the past is as flat as the first sample
            before = np.vstack([np.repeat(filtered[:1], n_short, axis=0), before])
        longer = np.vstack([before, filtered])
        slope = (longer[self._n_slope :] - longer[: len(filtered)]) * self._slope_scale
        self._slopes.append(np.hstack([filtered, slope]))

    def _append_height(self, n_samples: int, is_missing: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
        end = self._slopes.end
        part = self._slopes.rows(end - n_samples - self._n_energy + 1, end)[:, self._n_leads :]
        n_short = n_samples + self._n_energy - 1 - len(part)
        energy = np.vstack([np.zeros((n_short + 1, self._n_leads)), part * part]).cumsum(axis=0)
        mean = (energy[self._n_energy :] - energy[:n_samples]) / self._n_energy
        height = np.sqrt(np.maximum(mean, 0.0))
        height[is_missing] = 0.0
        self.heights.append(height)

    def _maxima(self) -> list[Candidate]:
        n_half = self._n_half
        first, end = self._confirmed, self.heights.end - n_half
        if end <= first:
            return []
        part = self.heights.rows(first - n_half, end + n_half)
        offset = first - (end + n_half - len(part))  # where `first` lies in `part`
        peaks = ndimage.maximum_filter1d(part, 2 * n_half + 1, axis=0, mode="constant")[offset : offset + end - first]
        inner = part[offset : offset + end - first]
        self._confirmed = end
        rows, leads = np.nonzero((inner == peaks) & (inner > _LEAST_HEIGHT))
        return [self._candidate(first + int(row), int(lead)) for row, lead in zip(rows, leads, strict=True)]

    def _candidate(self, sequence: int, lead: int) -> Candidate:
        part = self._slopes.rows(sequence - self._n_energy + 1, sequence + 1)[:, self._n_leads + lead]
        height = self.heights.rows(sequence, sequence + 1)[0, lead]
        return Candidate(sequence=sequence, lead=lead, height=float(height), slope=float(np.abs(part).max()))
