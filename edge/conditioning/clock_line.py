"""How device time maps to host time, from when blocks arrived: the lower envelope of their delays.  Used by `timeline`.

A block can arrive late but never early, so the fastest blocks of the last minute lie on the line
``host = device + offset + drift × device`` and all others above it.  The line is the one under all points that lies
closest to them: an edge of their lower convex hull (Moon, Skelly & Towsley 1999).
"""

from __future__ import annotations

from collections import deque

NS_PER_S = 1_000_000_000


class LowerEnvelope:
    """The line under all delays of a sliding window.

    Parameters
    ----------
    window_s : float
        How far back delays count.
    min_span_s : float
        Shortest stretch from which a drift is read; below it the last known drift holds.
    max_drift_ppm : float
        Bound on the drift.
    """

    def __init__(self, window_s: float, min_span_s: float, max_drift_ppm: float) -> None:
        self._window_s = window_s
        self._min_span_s = min_span_s
        self._max_drift = max_drift_ppm * 1e-6
        self._points: deque[tuple[float, float]] = deque()  # lowest delay of each second: device time s, delay s
        self._drift: float | None = None
        self._n_slopes = 0
        self._offset_s = 0.0  # of the line, at device time 0

    @property
    def drift(self) -> float | None:
        """Host seconds gained per device second; None until `min_span_s` was seen."""
        return self._drift

    @property
    def span_s(self) -> float:
        """Stretch of device time that the points cover."""
        return self._points[-1][0] - self._points[0][0] if self._points else 0.0

    def add(self, device_s: float, delay_s: float) -> None:
        """Take the delay of one block; one that is not newer than all before says nothing new and is left out."""
        if self._points and device_s <= self._points[-1][0]:
            return
        is_new_second = not self._points or int(device_s) != int(self._points[-1][0])
        if is_new_second:
            self._points.append((device_s, delay_s))
            while self._points[0][0] < device_s - self._window_s:
                self._points.popleft()
            self._fit()
        elif delay_s - self._tilt(device_s) < self._points[-1][1] - self._tilt(self._points[-1][0]):
            self._points[-1] = (device_s, delay_s)
            self._offset_s = min(self._offset_s, delay_s - self._tilt(device_s))

    def delay_s(self, device_s: float) -> float:
        """Return the least delay that a block of `device_s` can have."""
        return self._offset_s + self._tilt(device_s)

    def _tilt(self, device_s: float) -> float:
        return (self._drift or 0.0) * device_s

    def _fit(self) -> None:
        if self.span_s >= self._min_span_s:
            slope = max(-self._max_drift, min(self._max_drift, self._hull_slope()))
            if self._drift is None:
                self._drift = slope
            self._n_slopes += 1
            self._drift += (slope - self._drift) / min(self._n_slopes, self._window_s)
        self._offset_s = min(delay_s - self._tilt(device_s) for device_s, delay_s in self._points)

    def _hull_slope(self) -> float:
        """Return the slope of the hull's edge below the points' centre: of all lines below, the closest on average."""
        hull: list[tuple[float, float]] = []
        for point in self._points:
            while len(hull) >= 2 and _is_above(hull[-1], hull[-2], point):
                hull.pop()
            hull.append(point)
        centre_s = sum(device_s for device_s, _ in self._points) / len(self._points)
        right = next(k for k, (device_s, _) in enumerate(hull) if device_s >= centre_s)
        (x0, y0), (x1, y1) = hull[max(right - 1, 0)], hull[max(right, 1)]
        return (y1 - y0) / (x1 - x0)


class LongRun:
    """What two clocks show over a long time, when jitter hardly counts any more: for people, not for placing samples.

    Over a minute, 100 ms of jitter leave an uncertainty of about 150 ppm in a drift; over half an hour, 15 ppm (measured
    with frames 0.56 s apart that arrive up to 130 ms late).

    Parameters
    ----------
    settle_s : float
        Beginning that is left out, while places are still being found.
    min_span_s : float
        Shortest stretch that is better than a minute's.
    window_s : float
        Looked back between once and twice as far: long against jitter, short against an oscillator's ageing.
    """

    def __init__(self, settle_s: float = 180.0, min_span_s: float = 600.0, window_s: float = 1800.0) -> None:
        self._settle_s = settle_s
        self._min_span_s = min_span_s
        self._window_s = window_s
        self._begun_ns: int | None = None
        self._anchor: tuple[int, int, int] | None = None  # host ns, device ns, sample
        self._middle: tuple[int, int, int] = (0, 0, 0)  # the next anchor
        self._newest: tuple[int, int, int] = (0, 0, 0)

    def add(self, host_ns: int, device_ns: int, sequence: int) -> None:
        """Take the place of one sample."""
        if self._begun_ns is None:
            self._begun_ns = host_ns
        if host_ns - self._begun_ns < self._settle_s * NS_PER_S:
            return
        self._newest = (host_ns, device_ns, sequence)
        if self._anchor is None:
            self._anchor = self._middle = self._newest
        if host_ns - self._middle[0] > self._window_s * NS_PER_S:
            self._anchor, self._middle = self._middle, self._newest

    @property
    def rate_hz(self) -> float | None:
        """Samples per second of host time; None until enough was seen."""
        host_ns, _, n_samples = self._gone()
        return None if host_ns < self._min_span_s * NS_PER_S else n_samples * NS_PER_S / host_ns

    @property
    def drift(self) -> float | None:
        """Host seconds gained per device second; None until enough was seen."""
        host_ns, device_ns, _ = self._gone()
        return None if host_ns < self._min_span_s * NS_PER_S or not device_ns else host_ns / device_ns - 1

    def _gone(self) -> tuple[int, int, int]:
        if self._anchor is None:
            return (0, 0, 0)
        host_ns, device_ns, sequence = self._newest
        return host_ns - self._anchor[0], device_ns - self._anchor[1], sequence - self._anchor[2]


def _is_above(middle: tuple[float, float], left: tuple[float, float], right: tuple[float, float]) -> bool:
    """Whether `middle` lies on or above the straight line from `left` to `right`."""
    return (middle[1] - left[1]) * (right[0] - left[0]) >= (right[1] - left[1]) * (middle[0] - left[0])
