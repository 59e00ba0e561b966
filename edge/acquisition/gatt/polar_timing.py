"""Where the samples of one stream lie in the device's time, and how many are missing between two frames.

Pure.  Used by `polar_streams`.  Polar's frames carry no number, only the device time of their last sample, so a lost
notification shows as a step of time that is too long for the samples that came.  What makes that hard, and the answer:

* the true rate differs from the nominal one by up to 1 % (measured in two sessions of an H10: +348 and +1285 ppm), which over a few
  frames is as much as a sample: the period is learnt from the frames themselves;
* until it is learnt, what is lost is taken to be whole frames, which is how Bluetooth loses: a multiple of the frame's
  size within what the period's error allows;
* the device's clock can be set while it measures (from 2019-01-01 to today): such a step is told from a loss by the
  host's clock, for a frame cannot arrive before it was measured.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

NS_PER_S = 1_000_000_000

_FIRST_ERROR = 0.015
"""Of the nominal period: the maker states 1 %; half of that again for safety."""
_STAMP_ERROR_NS = 500_000
"""By which the stamps of frames deviate from an even grid: 0.43 ms peak to peak in two hours of an H10."""
_LEAST_ERROR = 2e-5
"""A crystal moves that much while it warms up."""
_ANCHOR_S = 60.0
"""The period is read over one to two times this: short against the warming of a crystal."""
_MAX_RATE_ERROR = 0.1
_RECENT_FRAMES = 64
_MAX_HOLES = 64
_EARLY_NS = NS_PER_S
"""A frame that arrives this much sooner after its stamp than any before has a clock that was set forward."""
_LATE_NS = 5 * NS_PER_S
"""A stream started anew whose frames arrive this much later after their stamps than before has a clock that began anew:
what had been queued for the last link is gone."""
_HOST_ERROR = 0.005
"""By which host and device may disagree about the time between two frames: crystals by a fiftieth of this."""
_MAX_OVERLAP = 0.5
"""A frame whose time covers less than this share of its samples has a clock that was set back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where the samples of one frame lie."""

    sequence: int
    """Of the first sample, lost ones counted."""
    first_ns: int
    """Device time of the first sample."""
    n_lost_samples: int = 0
    n_lost_frames: int = 0
    is_jump: bool = False
    """The device's clock was set since the frame before: how many samples are missing cannot be known."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A frame that is not to be used."""

    reason: str
    """``duplicate``: came already; ``late``: counted as lost before it came."""


class FrameClock:
    """Places the frames of one stream.

    Parameters
    ----------
    nominal_rate_hz : float
        Positive; within 10 % of the truth.
    sequence : int
        Number of the first sample, so that a stream that changes its rate goes on counting.
    """

    def __init__(self, nominal_rate_hz: float, sequence: int = 0) -> None:
        self._nominal_ns = NS_PER_S / nominal_rate_hz
        self._period_ns = self._nominal_ns
        self._period_error = _FIRST_ERROR
        self._next_sequence = sequence
        self._last_ns: int | None = None  # device time of the newest sample
        self._received_at_ns = 0
        self._frame_size: int | None = None  # of all frames, as long as they agree
        self._anchor: tuple[int, int] = (0, 0)  # device time and number of a sample to measure the period from
        self._middle: tuple[int, int] = (0, 0)  # the next anchor
        self._stamps: deque[int] = deque(maxlen=_RECENT_FRAMES)
        self._delays_ns: deque[int] = deque(maxlen=_RECENT_FRAMES)
        self._holes: deque[tuple[int, int]] = deque(maxlen=_MAX_HOLES)

    @property
    def next_sequence(self) -> int:
        """Number of the sample after the newest."""
        return self._next_sequence

    def place(self, time_ns: int, n_samples: int, received_at_ns: int, *, is_restart: bool = False) -> Placed | Dropped:
        """Return where a frame's samples lie.

        Parameters
        ----------
        time_ns : int
            The frame's stamp: device time of its last sample.
        n_samples : int
            At least 1.
        is_restart : bool
            The stream was started anew before this frame: what is missing need not be whole frames.
        """
        last_ns = self._last_ns
        if last_ns is None:
            first_ns = time_ns - round((n_samples - 1) * self._period_ns)
            self._frame_size = n_samples
            return self._begin(
                Placed(sequence=self._next_sequence, first_ns=first_ns), time_ns, n_samples, received_at_ns
            )
        if time_ns in self._stamps:
            return Dropped("duplicate")
        if any(low <= time_ns <= high for low, high in self._holes):
            return Dropped("late")
        step_ns = time_ns - last_ns
        if self._is_jump(step_ns, received_at_ns - time_ns, n_samples, received_at_ns, is_restart=is_restart):
            first_ns = time_ns - round((n_samples - 1) * self._period_ns)
            placed = Placed(sequence=self._next_sequence, first_ns=first_ns, is_jump=True)
            return self._begin(placed, time_ns, n_samples, received_at_ns)
        if n_samples != self._frame_size:
            self._frame_size = None
        n_lost = self._n_lost(step_ns, n_samples, is_restart=is_restart)
        if n_lost:
            first_ns = time_ns - round((n_samples - 1) * self._period_ns)
            self._holes.append((last_ns + 1, first_ns - 1))
        else:
            first_ns = last_ns + round(step_ns / n_samples)
        placed = Placed(
            sequence=self._next_sequence + n_lost,
            first_ns=first_ns,
            n_lost_samples=n_lost,
            n_lost_frames=0 if is_restart else -(-n_lost // n_samples),
        )
        self._take(placed, time_ns, n_samples, received_at_ns)
        if is_restart:  # its samples lie on another grid
            self._anchor = self._middle = (time_ns, self._next_sequence)
        else:
            self._learn_period(time_ns)
        return placed

    def _begin(self, placed: Placed, time_ns: int, n_samples: int, received_at_ns: int) -> Placed:
        """Start from `placed` what is measured between frames; the period is kept."""
        self._stamps.clear()
        self._delays_ns.clear()
        self._holes.clear()
        self._take(placed, time_ns, n_samples, received_at_ns)
        self._anchor = self._middle = (time_ns, self._next_sequence)
        return placed

    def _take(self, placed: Placed, time_ns: int, n_samples: int, received_at_ns: int) -> None:
        self._next_sequence = placed.sequence + n_samples
        self._last_ns = time_ns
        self._received_at_ns = received_at_ns
        self._stamps.append(time_ns)
        self._delays_ns.append(received_at_ns - time_ns)

    def _is_jump(self, step_ns: int, delay_ns: int, n_samples: int, received_at_ns: int, *, is_restart: bool) -> bool:
        if step_ns < _MAX_OVERLAP * n_samples * self._period_ns:
            return True
        unsure_ns = _HOST_ERROR * max(0, received_at_ns - self._received_at_ns)
        is_early = delay_ns < min(self._delays_ns) - _EARLY_NS - unsure_ns
        return is_early or (is_restart and delay_ns > max(self._delays_ns) + _LATE_NS + unsure_ns)

    def _n_lost(self, step_ns: int, n_samples: int, *, is_restart: bool) -> int:
        expected = step_ns / self._period_ns
        n_missing = expected - n_samples
        error = self._period_error * expected + 0.5
        size = self._frame_size
        if size is not None and not is_restart:
            n_whole = size * max(0, round(n_missing / size))
            if abs(n_missing - n_whole) <= min(error + 1, size / 4):
                return n_whole
        return round(n_missing) if n_missing >= error else 0

    def _learn_period(self, time_ns: int) -> None:
        anchor_ns, anchor_sequence = self._anchor
        span_ns = time_ns - anchor_ns
        error = max(_STAMP_ERROR_NS / span_ns, _LEAST_ERROR)
        if error <= 2 * self._period_error:
            period_ns = span_ns / (self._next_sequence - anchor_sequence)
            if abs(period_ns / self._nominal_ns - 1) <= _MAX_RATE_ERROR:
                self._period_ns, self._period_error = period_ns, error
        if time_ns - self._middle[0] > _ANCHOR_S * NS_PER_S:
            self._anchor, self._middle = self._middle, (time_ns, self._next_sequence)
