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
"""Over 5 s of deliveries every 16 ms that are late by up to 100 ms, the error is below 0.5 % in 99 of 100 runs
(measured); 125 and 128 are 2.4 % apart."""
MIN_MEASURE_S, MIN_POINTS, MIN_RATE_HZ = 0.9, 5, 10.0
"""With less, the default is more likely to be right than what was measured."""
MAX_FRAMES = 4000
"""Then frames come faster than any board sends: a file is played back, and arrivals say nothing."""
_SNAP_RATIO = 0.03
_STEP_HZ = 0.5


class RateMeter:
    """Frames and their arrivals, until they tell the rate: the slope of the number of frames against time.

    Each delivery is one point, with all frames up to it; what waited in a buffer on connecting is in the first one
    and moves the line, not its slope.
    """

    def __init__(self) -> None:
        self._first_ns: int | None = None
        self._last_ns = 0
        self._n_frames = 0
        self._n_points = 0
        self._span_s = 0.0
        self._sums = (0.0, 0.0, 0.0, 0.0)  # of time, frames, time squared, time x frames

    @property
    def is_done(self) -> bool:
        """Whether more frames would not make it better."""
        return self._span_s >= MEASURE_S or self._n_frames >= MAX_FRAMES

    def add(self, at_ns: int) -> None:
        """Note the arrival of a frame."""
        if self._first_ns is None:
            self._first_ns = self._last_ns = at_ns
        if at_ns > self._last_ns:  # all frames of the delivery before are in
            self._span_s = (self._last_ns - self._first_ns) / NS_PER_S
            time_s, n_frames = self._span_s, float(self._n_frames)
            added = (time_s, n_frames, time_s * time_s, time_s * n_frames)
            self._sums = (
                self._sums[0] + added[0],
                self._sums[1] + added[1],
                self._sums[2] + added[2],
                self._sums[3] + added[3],
            )
            self._n_points += 1
            self._last_ns = at_ns
        self._n_frames += 1

    def rate_hz(self) -> float:
        """Return the rate: a known one if the measured one is near it, else the measured one, else the default."""
        measured_hz = self._slope_hz()
        if measured_hz is None:
            return DEFAULT_RATE_HZ
        nearest_hz = min(KNOWN_RATES_HZ, key=lambda known_hz: abs(math.log(known_hz / measured_hz)))
        if abs(measured_hz / nearest_hz - 1) <= _SNAP_RATIO:
            return nearest_hz
        return round(measured_hz / _STEP_HZ) * _STEP_HZ

    def _slope_hz(self) -> float | None:
        """Return frames a second by least squares; None where too little is known."""
        is_enough = self._n_points >= MIN_POINTS and self._span_s >= MIN_MEASURE_S
        if not is_enough or self._n_frames >= MAX_FRAMES:
            return None
        time_s, n_frames, time_2, time_n = self._sums
        slope_hz = (self._n_points * time_n - time_s * n_frames) / (self._n_points * time_2 - time_s * time_s)
        return slope_hz if slope_hz >= MIN_RATE_HZ else None
