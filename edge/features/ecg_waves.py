"""ECG samples -> what the waveform looks like once a second, without asking where the beats are.

Two figures per lead, both from 1-15 Hz, where P, T and fibrillatory waves lie and little of mains and muscle:

* *Leakage* of the fibrillation filter [1]_: the signal is added to itself half a mean period later.  Of a sine wave
  nothing is left (0), of beats with rest between them almost everything (1).
* The *largest* deflection of the last second: whether anything as large as a beat has moved at all.

References
----------
.. [1] Kuo and Dillman (1978), Computer detection of ventricular fibrillation; as restated, with its threshold, by
   Amann, Tratnig and Unterkofler (2005), doi:10.1186/1475-925X-4-60.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.filters import FilterChain, FilterSettings
from edge.conditioning.sample_times import SampleTimes
from edge.features.history import History
from edge.messages import ChannelKind, SampleBlock

_LEAST_RATE_HZ = 40.0
"""Below this nothing of 15 Hz is left to look at."""
_TO_MV = {"mV": 1.0, "uV": 1e-3, "V": 1e3, "nV": 1e-6}


@dataclass(frozen=True, slots=True, kw_only=True)
class EcgWavesSettings:
    """What is looked at."""

    band_hz: tuple[float, float] = (1.0, 15.0)
    """Fibrillation has its power between 3 and 9 Hz; a second harmonic of it still counts (own choice)."""
    window_s: float = 4.0
    """Leakage is taken over this long (4 s in the usual comparisons of such detectors, Figuera 2016)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadWaves:
    """One lead."""

    name: str
    leakage: float | None
    """0 (a sine wave) to 1 (beats with rest between them); None before the window is full."""
    size_mv: float
    """95th percentile of the magnitude in the window."""
    largest_mv: float
    """Largest magnitude in the last second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waves:
    """What the ECG of one sensor looked like up to ``at_ns``."""

    sensor: str
    stream: str
    at_ns: int
    sequence: int
    """Index of the sample at ``at_ns``."""
    leads: tuple[LeadWaves, ...]


class EcgWaves:
    """Describe the waveform once a second of the sample grid.

    A hole in the stream (a jump of ``sequence``), another rate or other channels start it anew; a lead with a missing
    sample in the window has no leakage.

    Parameters
    ----------
    settings : EcgWavesSettings
        What is looked at.
    """

    def __init__(self, settings: EcgWavesSettings = EcgWavesSettings()) -> None:
        self._settings = settings
        self._run: _Run | None = None

    def push(self, item: SampleBlock) -> list[Waves]:
        """Return the seconds that `item` completed."""
        leads = [k for k, channel in enumerate(item.channels) if channel.kind is ChannelKind.ECG]
        if not leads or item.n_samples == 0 or item.rate_hz < _LEAST_RATE_HZ:
            return []
        channels = tuple(item.channels[k] for k in leads)
        block = replace(item, channels=channels, values=item.values[:, leads])
        if self._run is None or not self._run.fits(block):
            self._run = _Run(self._settings, block)
        return self._run.add(block)

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget the signal so far."""
        self._run = None


class _Run:
    """One stretch without holes."""

    def __init__(self, settings: EcgWavesSettings, first: SampleBlock) -> None:
        self._first = first
        self._n_second = max(1, round(first.rate_hz))
        self._n_window = round(settings.window_s * first.rate_hz)
        self._scales = np.array([_TO_MV.get(channel.unit, 1.0) for channel in first.channels])
        self._filter = FilterChain(FilterSettings(band_hz=settings.band_hz))
        self._signal = History(len(first.channels), self._n_window + self._n_second, first.sequence)
        self._times = SampleTimes(first.rate_hz)

    def fits(self, block: SampleBlock) -> bool:
        """Return whether `block` goes on with this stretch."""
        is_same = block.rate_hz == self._first.rate_hz and block.channels == self._first.channels
        return is_same and block.sequence == self._signal.end

    def add(self, block: SampleBlock) -> list[Waves]:
        """Return the seconds that `block` completed."""
        self._times.add(block.sequence, block.start_ns)
        values = self._filter.push(block)[0].values * self._scales
        out: list[Waves] = []
        at = 0
        while at < len(values):
            n_part = min(len(values) - at, self._n_second - (block.sequence + at) % self._n_second)
            self._signal.append(values[at : at + n_part])
            at += n_part
            if (block.sequence + at) % self._n_second == 0:
                out.append(self._second(block.sequence + at))
        return out

    def _second(self, end: int) -> Waves:
        window = self._signal.rows(end - self._n_window, end)
        is_full = len(window) == self._n_window
        leads = tuple(
            self._lead(channel.name, window[:, k], is_full=is_full) for k, channel in enumerate(self._first.channels)
        )
        first = self._first
        return Waves(sensor=first.sensor, stream=first.stream, at_ns=self._times.at_ns(end), sequence=end, leads=leads)

    def _lead(self, name: str, window: NDArray[np.float64], *, is_full: bool) -> LeadWaves:
        sizes = np.abs(np.where(np.isnan(window), 0.0, window))
        is_whole = is_full and not np.isnan(window).any()
        return LeadWaves(
            name=name,
            leakage=leakage(window) if is_whole else None,
            size_mv=float(np.percentile(sizes, 95)),
            largest_mv=float(sizes[-self._n_second :].max(initial=0.0)),
        )


def leakage(curve: NDArray[np.float64]) -> float:
    """Return what is left of `curve` when it is added to itself half its mean period later; 1 for a flat one."""
    curve = curve - curve.mean()
    path = float(np.abs(np.diff(curve)).sum())
    if path == 0.0:
        return 1.0
    # The mean period of a sine wave follows from its mean magnitude and its mean slope.
    n_half = round(np.pi * float(np.abs(curve).sum()) / path)
    if not 1 <= n_half < len(curve) // 2:
        return 1.0
    late, early = curve[n_half:], curve[:-n_half]
    return float(np.abs(late + early).sum() / max(float(np.abs(late).sum() + np.abs(early).sum()), 1e-12))
