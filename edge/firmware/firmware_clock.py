"""A device's clock against the host's: drift, jitter, round trip.  Used by `firmware_check`; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from edge.acquisition.unrolling import NS_PER_S
from edge.firmware.firmware_watch import TimeAnswer

_LEAST_POINTS = 4
_LEAST_SPAN_S = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockLine:
    """The device's clock as a straight line over the host's."""

    ticks_per_s: float
    ticks_at_zero: float
    """At the host's zero."""
    drift_ppm: float
    """How much faster than it says the device counts; positive: fast."""
    uncertainty_ppm: float
    """Half the shortest round trip over the time between the first and last answer: what delay can hide."""
    jitter_ms: float
    """Standard deviation of the answers around the line."""
    least_round_trip_ms: float | None
    """Without the time that the device took between receiving and answering; None without time requests."""
    usual_round_trip_ms: float | None
    """Median."""

    def ticks(self, at_ns: int) -> float:
        """Return the device's clock at an instant of the host's."""
        return self.ticks_at_zero + self.ticks_per_s * at_ns / NS_PER_S


def clock_line(answers: Sequence[TimeAnswer], hellos: Sequence[tuple[int, int]], tick_rate_hz: int) -> ClockLine | None:
    """Return the device's clock, from its answers to time requests or, without them, from its hellos.

    Parameters
    ----------
    answers : sequence of TimeAnswer
        Those with a short round trip decide.
    hellos : sequence of (ticks, at_ns)
        Unrolled ticks and when they were heard.
    tick_rate_hz : int
        As the hello says.

    Returns
    -------
    ClockLine or None
        None below four points or four seconds.
    """
    trips_s = [
        (each.heard_at_ns - each.asked_at_ns) / NS_PER_S - (each.sent_ticks - each.received_ticks) / tick_rate_hz
        for each in answers
    ]
    if len(answers) >= _LEAST_POINTS:
        usual_s, least_s = median(trips_s), min(trips_s)
        points = [
            ((each.asked_at_ns + each.heard_at_ns) / 2, (each.received_ticks + each.sent_ticks) / 2)
            for each, trip_s in zip(answers, trips_s, strict=True)
            if trip_s <= usual_s
        ]
        hidden_s = max(least_s, 1e-4) / 2
        round_trips_ms: tuple[float | None, float | None] = (1000 * least_s, 1000 * usual_s)
    else:
        points = [(float(at_ns), float(ticks)) for ticks, at_ns in hellos]
        hidden_s = 0.02  # a hello travels one way, after whatever else the line carried
        round_trips_ms = (None, None)
    return _fitted(points, tick_rate_hz, hidden_s, round_trips_ms)


def _fitted(
    points: Sequence[tuple[float, float]],
    tick_rate_hz: int,
    hidden_s: float,
    round_trips_ms: tuple[float | None, float | None],
) -> ClockLine | None:
    if len(points) < _LEAST_POINTS - 1:
        return None
    at_ns, ticks = np.array(points, dtype=np.float64).T
    span_s = float(np.ptp(at_ns)) / NS_PER_S
    if span_s < _LEAST_SPAN_S:
        return None
    # Around the middle: monotonic nanoseconds are too large for the sums of a fit in double precision.
    middle_s, middle_ticks = float(at_ns.mean()) / NS_PER_S, float(ticks.mean())
    slope, rest = np.polyfit(at_ns / NS_PER_S - middle_s, ticks - middle_ticks, 1)
    off = ticks - middle_ticks - (slope * (at_ns / NS_PER_S - middle_s) + rest)
    return ClockLine(
        ticks_per_s=float(slope),
        ticks_at_zero=float(middle_ticks + rest - slope * middle_s),
        drift_ppm=1e6 * (float(slope) / tick_rate_hz - 1),
        uncertainty_ppm=1e6 * 2 * hidden_s / span_s,
        jitter_ms=1000 * float(off.std()) / tick_rate_hz,
        least_round_trip_ms=round_trips_ms[0],
        usual_round_trip_ms=round_trips_ms[1],
    )
