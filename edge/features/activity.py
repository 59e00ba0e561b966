"""Acceleration -> once a second: how much a person moves, whether they walk, how they lie, whether something hit.

Everything is decided from whole seconds of the sample grid, so it does not depend on how the link cut the data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.sample_times import SampleTimes
from edge.features.history import History
from edge.features.posture import posture_of
from edge.messages import Activity, ActivityLevel, Channel, ChannelKind, SampleBlock

GRAVITY_MPS2 = 9.80665
AXES = (ChannelKind.ACCELERATION_X, ChannelKind.ACCELERATION_Y, ChannelKind.ACCELERATION_Z)

_PER_UNIT_MPS2 = {
    "m/s2": 1.0,
    "cm/s2": 0.01,
    "[g]": GRAVITY_MPS2,
    "g": GRAVITY_MPS2,
    "m[g]": GRAVITY_MPS2 / 1000,
    "mg": GRAVITY_MPS2 / 1000,
    "[g]/64": GRAVITY_MPS2 / 64,
    "1/64 g": GRAVITY_MPS2 / 64,
    "1/64 [g]": GRAVITY_MPS2 / 64,
}
_LEAST_RATE_HZ = 6.0
"""A cadence of 2.8 Hz cannot be seen below twice that."""
_MOST_RATE_HZ = 10_000.0
_IMPOSSIBLE_G = 1000.0
"""Nothing a person survives; such a value is a fault."""
_FEWEST_PRESENT_RATIO = 0.8
"""Share of a second's samples without which nothing is said of it (own choice)."""


class Placement(StrEnum):
    """Where the sensor is worn; see `posture` for the axes."""

    CHEST = "chest"
    WAIST = "waist"
    WRIST = "wrist"


TRUNK = (Placement.CHEST, Placement.WAIST)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivitySettings:
    """What counts as still, as walking, as an impact."""

    placement: Placement | None = None
    """Where the sensor is worn; None where nobody said.  Posture is told only at chest and waist."""
    still_mps2: float = 0.3
    """Largest standard deviation of the acceleration vector over a still second.  Just above 13 mg on each of three
    axes (0.22 m/s2), below which van Hees 2013 calls a sensor not even worn, doi:10.1371/journal.pone.0061691; in the
    development recordings of a wrist wearable half to three quarters of the seconds of seated people lie below."""
    cadence_hz: tuple[float, float] = (1.2, 2.8)
    """Steps a second.  1.4-2.3 Hz covers ordinary walking (Straczkiewicz 2023, doi:10.1038/s41746-022-00745-z); wider
    for slow patients and for jogging."""
    cadence_window_s: float = 4.0
    """Steps are looked for over this long: five at the slowest cadence; Straczkiewicz 2023 asks for at least 3 s."""
    walking_mps2: float = 1.0
    """Least standard deviation of the magnitude while walking: a sine of 0.3 g from peak to peak, the least amplitude
    in Straczkiewicz 2023."""
    regularity: float = 0.5
    """Least autocorrelation at the step (unbiased, as in Moe-Nilssen 2004, doi:10.1016/S0021-9290(03)00233-1).  Own
    choice: half of the movement repeats from step to step."""
    impact_g: float = 2.5
    """Least peak of an impact; falls begin at 2 g (Kangas 2008, doi:10.1016/j.gaitpost.2008.01.003), hard steps and
    sitting down end there."""
    free_fall_g: float = 0.6
    """At the trunk an impact follows a magnitude below this within a second (Kangas 2008: the start of a fall)."""
    hard_impact_g: float = 3.5
    """At the trunk a peak above this is an impact without free fall too (Bourke 2007: 3.52 g at the trunk,
    doi:10.1016/j.gaitpost.2006.09.012)."""
    descent_mps: float = 1.3
    """Elsewhere an impact follows a drop that reached this speed: Bourke 2008 tells falls from other movements by it,
    doi:10.1016/j.medengphy.2007.12.003.  A hand that is put down passes the rule for the trunk: in 3.8 h of four seated
    people with a wrist wearable that one saw three falls, this one none."""

    def __post_init__(self) -> None:
        if not 0 < self.cadence_hz[0] < self.cadence_hz[1]:
            raise ValueError(f"expected 0 < low < high cadence_hz, got {self.cadence_hz}")
        if not (self.still_mps2 > 0 and self.cadence_window_s > 0):
            raise ValueError("expected still_mps2 and cadence_window_s > 0")


class ActivityStage:
    """Say once a second how much the wearer moves.

    A hole in the stream (a jump of ``sequence``), another rate or other channels start it anew.  Of a second in which
    more than a fifth of the samples is missing nothing is said.  The first cadence comes once the window is full.

    Parameters
    ----------
    settings : ActivitySettings
        What counts as what.
    """

    def __init__(self, settings: ActivitySettings = ActivitySettings()) -> None:
        self._settings = settings
        self._run: _Run | None = None

    def push(self, item: SampleBlock) -> list[Activity]:
        """Return the seconds that `item` completed; nothing for a block without acceleration."""
        axes = acceleration_columns(item.channels)
        if not axes or item.n_samples == 0 or not _LEAST_RATE_HZ <= item.rate_hz <= _MOST_RATE_HZ:
            return []
        block = item
        if axes != list(range(len(item.channels))):
            block = replace(item, channels=tuple(item.channels[k] for k in axes), values=item.values[:, axes])
        if self._run is None or not self._run.fits(block):
            self._run = _Run(self._settings, block)
        return self._run.add(block)

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget the movement so far."""
        self._run = None


def acceleration_columns(channels: Sequence[Channel]) -> list[int]:
    """Return the columns of x, y and z in this order, those of them that are there; the first of each kind."""
    kinds = [channel.kind for channel in channels]
    return [kinds.index(axis) for axis in AXES if axis in kinds]


def unit_mps2(unit: str) -> float | None:
    """Return what one `unit` of acceleration is in m/s2; None for a unit that nobody knows.

    Examples
    --------
    >>> unit_mps2("[g]")
    9.80665
    """
    return _PER_UNIT_MPS2.get(unit)


class _Run:
    """One stretch without holes."""

    def __init__(self, settings: ActivitySettings, first: SampleBlock) -> None:
        self._settings = settings
        self._first = first
        self._n_second = max(1, round(first.rate_hz))
        self._n_window = max(self._n_second, round(settings.cadence_window_s * first.rate_hz))
        self._samples = History(len(first.channels), self._n_window + self._n_second, first.sequence)
        self._times = SampleTimes(first.rate_hz)
        scales = [unit_mps2(channel.unit) for channel in first.channels]
        self._scale = scales[0] if len(set(scales)) == 1 else None
        # Gravity in an unknown unit: what a minute of seconds shows on average, moving or not.
        self._gravities: deque[float] = deque(maxlen=60)
        self._rails = _rails(first.channels)

    def fits(self, block: SampleBlock) -> bool:
        """Return whether `block` goes on with this stretch."""
        first = self._first
        is_same = block.rate_hz == first.rate_hz and block.channels == first.channels
        is_same = is_same and block.sensor == first.sensor and block.stream == first.stream
        return is_same and block.sequence == self._samples.end

    def add(self, block: SampleBlock) -> list[Activity]:
        """Return the seconds that `block` completed."""
        self._times.add(block.sequence, block.start_ns)
        out: list[Activity] = []
        at = 0
        while at < block.n_samples:
            n_part = min(block.n_samples - at, self._n_second - (block.sequence + at) % self._n_second)
            self._samples.append(block.values[at : at + n_part])
            at += n_part
            if (block.sequence + at) % self._n_second == 0:
                out += self._second(block.sequence + at)
        return out

    def _second(self, end: int) -> list[Activity]:
        raw = self._samples.rows(end - self._n_window, end)
        if len(raw) < self._n_second:
            return []
        is_present: NDArray[np.bool_] = np.asarray(np.isfinite(raw).all(axis=1))
        values = np.where(is_present[:, None], raw, 0.0)
        is_present &= np.abs(values).max(axis=1) < _IMPOSSIBLE_G * GRAVITY_MPS2 / (self._scale or 1e-6)
        if np.count_nonzero(is_present[-self._n_second :]) < _FEWEST_PRESENT_RATIO * self._n_second:
            return []
        scale = self._scale_mps2(values[-self._n_second :][is_present[-self._n_second :]])
        if scale is None:
            return []
        return [self._judged(end, values * scale, is_present, self._is_clipped(values))]

    def _judged(
        self, end: int, values: NDArray[np.float64], is_present: NDArray[np.bool_], is_clipped: NDArray[np.bool_]
    ) -> Activity:
        settings = self._settings
        magnitude = np.sqrt(np.einsum("ij,ij->i", values, values))
        is_now = is_present[-self._n_second :]
        now = values[-self._n_second :][is_now]
        dispersion = float(np.sqrt(now.var(axis=0).sum()))
        level = ActivityLevel.STILL if dispersion < settings.still_mps2 else ActivityLevel.MOVING
        cadence_hz = None
        if level is ActivityLevel.MOVING and len(values) == self._n_window:
            whole = np.where(is_present, magnitude, magnitude[is_present].mean())
            cadence_hz = find_cadence_hz(whole, self._first.rate_hz, settings)
            level = ActivityLevel.MOVING if cadence_hz is None else ActivityLevel.WALKING
        posture = None
        if level is ActivityLevel.STILL and settings.placement in TRUNK and now.shape[1] == len(AXES):
            posture = posture_of(now.mean(axis=0))
        return Activity(
            sensor=self._first.sensor,
            stream=self._first.stream,
            at_ns=self._times.at_ns(end),
            level=level,
            intensity_mps2=float(magnitude[-self._n_second :][is_now].std()),
            cadence_hz=cadence_hz,
            posture=posture,
            impact_mps2=self._impact_mps2(magnitude, is_present, is_clipped) if now.shape[1] == len(AXES) else None,
        )

    def _scale_mps2(self, now: NDArray[np.float64]) -> float | None:
        """Return what one unit of the samples is; where the unit says nothing, gravity does."""
        if self._scale is not None:
            return self._scale
        if now.shape[1] < len(AXES):
            return None
        with np.errstate(over="ignore"):
            gravity = float(np.sqrt(np.einsum("ij,ij->i", now, now)).mean())
        if not 0.0 < gravity < np.inf:
            return None
        self._gravities.append(gravity)
        return GRAVITY_MPS2 / median(self._gravities)

    def _is_clipped(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        if self._rails is None:
            return np.zeros(len(values), dtype=bool)
        return np.asarray(((values <= self._rails[0]) | (values >= self._rails[1])).any(axis=1))

    def _impact_mps2(
        self, magnitude: NDArray[np.float64], is_present: NDArray[np.bool_], is_clipped: NDArray[np.bool_]
    ) -> float | None:
        settings = self._settings
        n_second = self._n_second
        size_g = np.where(is_present, magnitude, GRAVITY_MPS2) / GRAVITY_MPS2
        at = len(size_g) - n_second + int(np.argmax(size_g[-n_second:]))
        peak_g = float(size_g[at])
        # At the converter's limit the true peak is larger than what is seen: 2 g are enough (Kangas 2008).
        is_large = peak_g >= settings.impact_g or (peak_g >= 2.0 and bool(is_clipped[-n_second:].any()))
        if not is_large:
            return None
        before_g = size_g[max(0, at - n_second) : at]
        if settings.placement in TRUNK:
            is_fall = peak_g >= settings.hard_impact_g or bool(before_g.min(initial=1.0) < settings.free_fall_g)
        else:
            is_fall = descent_mps(before_g, self._first.rate_hz) >= settings.descent_mps
        return peak_g * GRAVITY_MPS2 if is_fall else None


def descent_mps(size_g: NDArray[np.float64], rate_hz: float) -> float:
    """Return how fast something fell at the end of a stretch: the weight that was missing, summed up.

    Parameters
    ----------
    size_g : ndarray, shape (n_samples,)
        Magnitude of the acceleration in g, up to an impact.
    rate_hz : float
        Sampling rate.

    Notes
    -----
    A lower bound, since turning adds to the magnitude.  Swinging up and down cancels out.

    Examples
    --------
    >>> round(descent_mps(np.zeros(10), 50.0), 2)
    1.96
    """
    missing_g = 1.0 - size_g
    falling = np.flatnonzero(missing_g > 0.0)
    if len(falling) == 0:
        return 0.0
    speeds = np.cumsum(missing_g[falling[-1] :: -1])
    return float(speeds.max()) * GRAVITY_MPS2 / rate_hz


def find_cadence_hz(
    magnitude: NDArray[np.float64], rate_hz: float, settings: ActivitySettings = ActivitySettings()
) -> float | None:
    """Return the steps a second in a stretch of acceleration magnitude; None where nobody walks.

    Parameters
    ----------
    magnitude : ndarray, shape (n_samples,)
        In m/s2, finite, a few seconds long.
    rate_hz : float
        Sampling rate.
    settings : ActivitySettings
        The range of cadences, the least movement and the least regularity.

    Notes
    -----
    Unbiased autocorrelation of the movement between 0.5 and 10 Hz, so that neither a change of posture nor vibration
    counts.  Of several lags that repeat nearly as well the shortest is the step, the others are multiples of it.
    """
    n = len(magnitude)
    n_fft = 1 << (2 * n - 1).bit_length()
    power = np.abs(np.fft.rfft(magnitude - magnitude.mean(), n_fft)) ** 2
    frequency_hz = np.arange(len(power)) * (rate_hz / n_fft)
    power[(frequency_hz < 0.5) | (frequency_hz > 10.0)] = 0.0
    correlation = np.fft.irfft(power, n_fft)[:n] / np.arange(n, 0, -1)
    variance = float(correlation[0])
    if not np.sqrt(max(variance, 0.0)) >= settings.walking_mps2:
        return None
    first = max(1, int(rate_hz / settings.cadence_hz[1]))
    last = min(n - 2, int(np.ceil(rate_hz / settings.cadence_hz[0])))
    lags = np.arange(first, last + 1)
    here = correlation[lags] / variance
    is_peak = (here >= correlation[lags - 1] / variance) & (here > correlation[lags + 1] / variance)
    good = lags[is_peak & (here >= max(settings.regularity, 0.8 * here.max(initial=0.0)))]
    if len(good) == 0:
        return None
    lag = float(good[0]) + _vertex(correlation[good[0] - 1 : good[0] + 2])
    return min(settings.cadence_hz[1], max(settings.cadence_hz[0], rate_hz / lag))


def _vertex(three: NDArray[np.float64]) -> float:
    """Return where the parabola through three neighbouring values has its top, from the middle one."""
    curvature = float(three[0] - 2 * three[1] + three[2])
    return 0.0 if curvature >= 0.0 else float(three[0] - three[2]) / (2 * curvature)


def _rails(channels: tuple[Channel, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the smallest and largest value that each converter gives; None where none of them is known."""
    low = [-np.inf if channel.minimum is None else channel.minimum for channel in channels]
    high = [np.inf if channel.maximum is None else channel.maximum for channel in channels]
    if not np.isfinite([*low, *high]).any():
        return None
    return np.array(low), np.array(high)
