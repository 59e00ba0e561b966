"""What a device says of itself many times a second, told when it changes; used by the devices of this folder."""

from __future__ import annotations

from dataclasses import dataclass

from edge.messages import Reading, ReadingStatus, SensorStatus

UNITS: dict[str, str] = {
    "heart_rate_bpm": "/min",
    "pulse_rate_bpm": "/min",
    "respiratory_rate_bpm": "/min",
    "spo2_pct": "%",
    "perfusion_index_pct": "%",
    "body_temperature_c": "Cel",
}
"""UCUM code of every measure that these devices compute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value of a frame, judged."""

    measure: str
    value: float | None
    absent: str | None = None
    """Why there is none; None exactly when there is one."""
    is_questionable: bool = False
    valid_for_s: float = 15.0


class Reports:
    """Readings at every change and at least once a period; conditions when they begin and end.

    Parameters
    ----------
    sensor : str
        Id of the sensor.
    period_frames : int
        An unchanged value is told again after so many frames, for it would go stale.
    agreeing_frames : int
        A change is believed once so many frames in a row say the same.  1 where a checksum vouches for each; else
        a broken bit would be a value that nobody measured.
    """

    def __init__(self, sensor: str, period_frames: int, *, agreeing_frames: int = 1) -> None:
        self._sensor = sensor
        self._period_frames = period_frames
        self._agreeing_frames = agreeing_frames
        self._n_frames = 0
        self._told: dict[str, tuple[Value, int]] = {}
        self._conditions: dict[tuple[str, str | None], bool] = {}
        self._seen: dict[object, tuple[object, int]] = {}  # by what is reported: what the last frames said, how often

    def frame(self) -> None:
        """Note that a frame came."""
        self._n_frames += 1

    def readings(self, values: list[Value], at_ns: int) -> list[Reading]:
        """Return those of `values` that are new or due."""
        out = []
        for value in values:
            if not self._is_agreed(value.measure, value):
                continue
            told = self._told.get(value.measure)
            if told is not None and told[0] == value and self._n_frames - told[1] < self._period_frames:
                continue
            self._told[value.measure] = (value, self._n_frames)
            out.append(self._reading(value, at_ns))
        return out

    def condition(
        self, condition: str, *, is_active: bool, at_ns: int, stream: str | None = None, detail: str = ""
    ) -> list[SensorStatus]:
        """Return the condition if it is another one than before, or was not known yet.

        The first word on a link is told even when all is well: what was wrong when the last link broke is over.
        """
        key = (condition, stream)
        if not self._is_agreed(key, is_active):
            return []
        if self._conditions.get(key) is is_active:
            return []
        self._conditions[key] = is_active
        status = SensorStatus(
            sensor=self._sensor,
            stream=stream,
            condition=condition,
            is_active=is_active,
            at_ns=at_ns,
            detail=detail if is_active else "",
        )
        return [status]

    def reset(self) -> None:
        """Forget the link."""
        self._n_frames = 0
        self._told = {}
        self._conditions = {}
        self._seen = {}

    def _is_agreed(self, key: object, said: object) -> bool:
        before, n_times = self._seen.get(key, (None, 0))
        n_times = n_times + 1 if said == before else 1
        self._seen[key] = (said, n_times)
        return n_times >= self._agreeing_frames

    def _reading(self, value: Value, at_ns: int) -> Reading:
        status = ReadingStatus.QUESTIONABLE if value.is_questionable else ReadingStatus.VALID
        return Reading(
            sensor=self._sensor,
            measure=value.measure,
            value=value.value,
            unit=UNITS[value.measure],
            measured_at_ns=at_ns,
            status=ReadingStatus.INVALID if value.absent else status,
            absent=value.absent,
            valid_for_s=value.valid_for_s,
        )


def judged(
    measure: str, raw: float, *, low: float, high: float, missing: tuple[float, ...] = (0.0,), absent: str | None = None
) -> Value:
    """Return `raw` if it is one of the device's values and a possible one.

    Parameters
    ----------
    measure : str
        One of `UNITS`.
    raw : float
        As the device sent it, in the measure's unit.
    low, high : float
        Smallest and largest value that a device of this kind can mean; outside is ``out-of-range``.
    missing : tuple of float
        What the device sends when it has no value: ``not-measured``.
    absent : str, optional
        A reason from the frame's flags that leaves no value whatever `raw` says.
    """
    if absent is None and raw in missing:
        absent = "not-measured"
    if absent is None and not low <= raw <= high:
        absent = "out-of-range"
    return Value(measure=measure, value=None if absent else float(raw), absent=absent)
