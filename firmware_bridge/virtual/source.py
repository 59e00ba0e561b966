"""What the virtual sensor samples: a generated patient or a recording, behind one small interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge.messages import Samples, StreamInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceVitals:
    """What the sensor's own computer would show at one instant; None is "cannot be measured"."""

    heart_rate_bpm: float | None = None
    pulse_rate_bpm: float | None = None
    respiratory_rate_bpm: float | None = None
    spo2_pct: float | None = None
    temperature_c: float | None = None
    systolic_mmhg: float | None = None
    diastolic_mmhg: float | None = None

    @property
    def mean_mmhg(self) -> float | None:
        """Mean arterial pressure by the usual rule of thirds; None without a cuff value."""
        if self.systolic_mmhg is None or self.diastolic_mmhg is None:
            return None
        return self.diastolic_mmhg + (self.systolic_mmhg - self.diastolic_mmhg) / 3.0


class Source(Protocol):
    """A patient, or the recording of one, with a time line that begins at 0 s."""

    @property
    def streams(self) -> tuple[StreamInfo, ...]:
        """The signals there are."""
        ...

    def read(self, stream: str, n_samples: int) -> Samples:
        """Return the next samples of a stream; fewer than asked for only at the end of a recording."""
        ...

    def vitals_at(self, at_s: float) -> SourceVitals:
        """Return the values at an instant that is not before the last one asked for."""
        ...
