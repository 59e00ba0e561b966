"""How many frames a second an OpenView board sends, measured on connecting.  Used by `openview`.

Nothing in a frame tells it, and it differs: 128 on a HealthyPi 5, 125 where the ADS1292R is set to that, 250 in newer
firmware whose timer runs every 4 ms.  Samples timed at half their rate would be a heart at twice its own.
"""

from __future__ import annotations

import math

from edge.acquisition.devices.sampling import NS_PER_S

KNOWN_RATES_HZ = (100.0, 125.0, 128.0, 200.0, 250.0, 256.0, 500.0)
"""What firmware of these boards, or the converters on them, can be set to."""
DEFAULT_RATE_HZ = 128.0
"""Taken where nothing could be measured: a recording without arrivals, a link that broke at once."""
MEASURE_S = 5.0
"""Over 5 s, 50 ms of jitter are 1 %: enough to tell 125 from 128 as a rule, and 128 from 250 always."""
MIN_MEASURE_S, MIN_FRAMES = 0.9, 32
"""With less, the default is more likely to be right than what was measured."""
MAX_FRAMES = 4000
"""Then frames come faster than any board sends: a file is played back, and arrivals say nothing."""
_SNAP_RATIO = 0.03
_STEP_HZ = 0.5


class RateMeter:
    """Frames and their arrivals, until they tell the rate."""

    def __init__(self) -> None:
        self._first_ns: int | None = None
        self._last_ns = 0
        self._n_frames = 0
        self._n_first = 0  # frames that came with the first: they may have waited in a buffer, and do not count
        self._whole: tuple[int, int] = (0, 0)  # frames until an arrival all of whose frames are in, and that arrival

    @property
    def is_done(self) -> bool:
        """Whether more frames would not make it better."""
        return self._span_s >= MEASURE_S or self._n_frames >= MAX_FRAMES

    def add(self, at_ns: int) -> None:
        """Note the arrival of a frame."""
        if self._first_ns is None:
            self._first_ns = self._last_ns = at_ns
        if at_ns > self._last_ns:
            self._n_first = self._n_first or self._n_frames
            self._whole = (self._n_frames, self._last_ns)
            self._last_ns = at_ns
        self._n_frames += 1

    def rate_hz(self) -> float:
        """Return the rate: a known one if the measured one is near it, else the measured one, else the default."""
        n_counted = self._whole[0] - self._n_first
        if self._span_s < MIN_MEASURE_S or n_counted < MIN_FRAMES or self._n_frames >= MAX_FRAMES:
            return DEFAULT_RATE_HZ
        measured_hz = n_counted / self._span_s
        nearest_hz = min(KNOWN_RATES_HZ, key=lambda known_hz: abs(math.log(known_hz / measured_hz)))
        if abs(measured_hz / nearest_hz - 1) <= _SNAP_RATIO:
            return nearest_hz
        return max(_STEP_HZ, round(measured_hz / _STEP_HZ) * _STEP_HZ)

    @property
    def _span_s(self) -> float:
        return 0.0 if self._first_ns is None else max(0, self._whole[1] - self._first_ns) / NS_PER_S
