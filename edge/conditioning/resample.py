"""SampleBlock -> SampleBlock at another rate: a rational polyphase low-pass whose state is carried over block borders.

Every output sample is the same dot product over the same input samples however they were cut, so pieces equal the whole
bit for bit.  The filter is linear-phase; its delay is taken out of the times, not only stated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from edge.conditioning.sample_times import SampleTimes
from edge.messages import Channel, SampleBlock

NS_PER_S = 1_000_000_000

_LARGEST_TERM = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class ResampleSettings:
    """Which rate is made."""

    rate_hz: float = 250.0
    """Rate of the output; 250 Hz is the usual rate of ECG models and monitors."""
    n_zero_crossings: int = 10
    """Length of the filter, in zero crossings of its sinc on each side (scipy's `resample_poly` uses 10)."""
    kaiser_beta: float = 5.0
    """Kaiser window of the filter (scipy's `resample_poly` uses 5: ripple of about 0.5 %)."""

    def __post_init__(self) -> None:
        if not self.rate_hz > 0 or self.n_zero_crossings < 1:
            raise ValueError(
                f"expected rate_hz > 0, n_zero_crossings >= 1, got {self.rate_hz}, {self.n_zero_crossings}"
            )


def ratio(from_hz: float, to_hz: float) -> Fraction:
    """Return ``to_hz / from_hz`` in lowest terms; rates are taken as the nearest fraction with a small denominator.

    Raises
    ------
    ValueError
        If the ratio needs a term above 1000: the filter would be absurdly long.
    """
    exact = Fraction(to_hz).limit_denominator(1000) / Fraction(from_hz).limit_denominator(1000)
    near = exact.limit_denominator(_LARGEST_TERM)
    if near != exact or near.numerator > _LARGEST_TERM or near == 0:
        raise ValueError(f"expected rates with a simple ratio, got {from_hz} -> {to_hz} Hz = {exact}")
    return near


class Resampler:
    """Bring a stream to another rate.

    The output lies on a grid counted from the stream's start: output sample ``m`` is the input at
    ``m * from_rate / to_rate``.  It comes later than its time by half the filter's length; its time is right.
    A missing input (NaN) makes the outputs within half a filter length of it NaN.  Where the input begins, and where
    it ends in a hole, the first and last half length is left out rather than invented.  Equal rates pass through.

    Parameters
    ----------
    settings : ResampleSettings
        Which rate is made.
    """

    def __init__(self, settings: ResampleSettings = ResampleSettings()) -> None:
        self._settings = settings
        self._run: _Run | None = None

    def push(self, item: SampleBlock) -> list[SampleBlock]:
        """Return the output samples that `item` made certain.

        Raises
        ------
        ValueError
            If the rate or the channels changed without a `reset`, or the ratio of the rates is not simple.
        """
        if item.n_samples == 0:
            return []
        if item.rate_hz == self._settings.rate_hz:
            return [item]
        if self._run is not None and (item.rate_hz != self._run.rate_hz or item.channels != self._run.channels):
            raise ValueError(f"expected {self._run.rate_hz} Hz and the same channels, got {item.rate_hz} Hz")
        if self._run is None or item.sequence != self._run.end:
            self._run = _Run(self._settings, item)
        return self._run.add(item)

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget the samples that the filter still holds."""
        self._run = None


class _Run:
    """One stretch without holes."""

    def __init__(self, settings: ResampleSettings, first: SampleBlock) -> None:
        self.rate_hz = first.rate_hz
        self.channels: tuple[Channel, ...] = first.channels
        self.end = first.sequence
        """Input sample index that comes next."""
        self._to_hz = settings.rate_hz
        step = ratio(first.rate_hz, settings.rate_hz)
        self._up, self._down = step.numerator, step.denominator
        self._phases, self._n_half = _phases(settings, self._up, self._down)
        self._times = SampleTimes(first.rate_hz)
        self._held = np.empty((0, len(first.channels)))
        self._held_from = first.sequence
        # First output whose filter lies wholly inside the input.
        self._next = -((-(first.sequence + self._n_half) * self._up) // self._down)

    def add(self, item: SampleBlock) -> list[SampleBlock]:
        """Return the output samples that `item` made certain."""
        self._times.add(item.sequence, item.start_ns)
        values = np.where(np.abs(item.values) < 1e12, item.values, np.nan)
        self._held = np.concatenate([self._held, values])
        self.end = item.sequence + item.n_samples
        # Output m needs the inputs floor(m * down / up) - n_half + 1 ... + n_half.
        last = ((self.end - self._n_half) * self._up - 1) // self._down
        if last < self._next:
            return []
        outputs = np.arange(self._next, last + 1)
        position = outputs * self._down
        base, phase = position // self._up, position % self._up
        first = base - self._n_half + 1 - self._held_from
        taps = first[:, None] + np.arange(2 * self._n_half)
        # An explicit sum in a fixed order: the same bits for every split.
        resampled = np.einsum("mk,mkc->mc", self._phases[phase], self._held[taps], optimize=False)
        block = self._block(item, resampled)
        self._next = last + 1
        self._drop((self._next * self._down) // self._up - self._n_half + 1)
        return [block]

    def _block(self, item: SampleBlock, values: NDArray[np.float64]) -> SampleBlock:
        base, rest = divmod(self._next * self._down, self._up)
        start_ns = self._times.at_ns(base) + round(rest / self._up * NS_PER_S / self.rate_hz)
        return replace(item, values=values, rate_hz=self._to_hz, start_ns=start_ns, sequence=self._next)

    def _drop(self, before: int) -> None:
        n_old = max(0, min(before - self._held_from, len(self._held)))
        self._held = self._held[n_old:]
        self._held_from += n_old


def _phases(settings: ResampleSettings, up: int, down: int) -> tuple[NDArray[np.float64], int]:
    """Return the filter of every phase, shape (up, 2 * n_half), each with unit gain at 0 Hz, and ``n_half``."""
    widest = max(up, down)
    n_half = -(-settings.n_zero_crossings * widest // up)
    n_taps = 2 * n_half * up + 1
    taps = signal.firwin(n_taps, 1.0 / widest, window=("kaiser", settings.kaiser_beta)) * up
    middle = n_half * up
    # Output m at input position base + phase / up weighs input base + k with the tap at (k - phase / up) * up.
    offsets = np.arange(-n_half + 1, n_half + 1)
    phases = np.stack([taps[middle + phase - offsets * up] for phase in range(up)])
    return phases / phases.sum(axis=1, keepdims=True), n_half
