"""Beats, estimates, quality and device readings -> all vital signs of one person, each with a value or a reason.

A value is never held silently: without usable signal, after four seconds without a beat, or past its time of validity
it becomes absent, and says why.  Where several know a measure, the first that has a value is shown: what the ECG
gives, what a device computed itself, what the runtime made of its samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edge.features.ecg_vitals import EcgVitals, EcgVitalsSettings
from edge.features.estimates import Estimates, EstimatesSettings
from edge.features.readings import DeviceReadings, ReadingsSettings
from edge.features.signal_state import SignalState, SignalStateSettings
from edge.messages import (
    Beat,
    ChannelKind,
    ClassifiedBeat,
    Estimate,
    Gap,
    LinkChange,
    LinkState,
    Measurement,
    Quality,
    Reading,
    SensorStatus,
    Tick,
    Vitals,
)

_Key = tuple[str, str]
"""Sensor and stream."""
_SATURATIONS = ("spo2_pct", "spo2_uncalibrated_pct")


@dataclass(frozen=True, kw_only=True, slots=True)
class VitalsSettings:
    """When a value may be shown."""

    signal: SignalStateSettings = field(default_factory=SignalStateSettings)
    """When a stream counts as usable."""
    ecg: EcgVitalsSettings = field(default_factory=EcgVitalsSettings)
    """Heart rate and variability."""
    readings: ReadingsSettings = field(default_factory=ReadingsSettings)
    """What devices may say."""
    estimates: EstimatesSettings = field(default_factory=EstimatesSettings)
    """Which of several ways to a value is taken."""


class VitalsStage:
    """Keep what is known of one person, and say it at every tick.

    Push beats, verdicts on the signal, estimates, readings, gaps and device reports as they come; a `Tick` gives one
    `Vitals`.  With several ECG streams the one shown stays until it is unusable and another is usable.

    Parameters
    ----------
    settings : VitalsSettings
        When a value may be shown.
    """

    def __init__(self, settings: VitalsSettings = VitalsSettings()) -> None:
        self._settings = settings
        self._ecgs: dict[_Key, EcgVitals] = {}
        self._signals: dict[_Key, SignalState] = {}
        self._primary: _Key | None = None
        self._readings = DeviceReadings(settings.readings)
        self._estimates = Estimates(settings.estimates)

    def push(
        self,
        item: Beat | ClassifiedBeat | Quality | Estimate | Reading | Gap | SensorStatus | LinkChange | Tick,
    ) -> list[Vitals]:
        """Return the vital signs at a `Tick`, nothing for anything else."""
        match item:
            case Tick():
                return [self._vitals(item.at_ns)]
            case Beat():
                self._ecg((item.sensor, item.stream)).add_beat(item)
            case ClassifiedBeat():
                self._ecg((item.beat.sensor, item.beat.stream)).add_class(item.beat)
            case Quality():
                self._judge(item)
            case Estimate():
                self._estimates.add(item)
            case Gap():
                if (item.sensor, item.stream) in self._ecgs:
                    self._ecgs[item.sensor, item.stream].add_gap(item)
            case SensorStatus() | LinkChange():
                self._note(item)
            case Reading():
                self._readings.add(item)
        return []

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget everything, as for another person."""
        self._ecgs = {}
        self._signals = {}
        self._primary = None
        self._readings = DeviceReadings(self._settings.readings)
        self._estimates = Estimates(self._settings.estimates)

    def _ecg(self, key: _Key) -> EcgVitals:
        if key not in self._ecgs:
            self._ecgs[key] = EcgVitals(self._settings.ecg, self._settings.signal, "/".join(key))
        return self._ecgs[key]

    def _judge(self, quality: Quality) -> None:
        key = (quality.sensor, quality.stream)
        if quality.kind is ChannelKind.ECG:
            self._ecg(key).add_quality(quality)
            return
        if key not in self._signals:
            self._signals[key] = SignalState(self._settings.signal)
        self._signals[key].add(quality)

    def _note(self, status: SensorStatus | LinkChange) -> None:
        """Let the device's word count for the stream it names, or for the ECG where it names none."""
        if isinstance(status, LinkChange):
            if status.state in {LinkState.SILENT, LinkState.LOST}:
                self._readings.lose(status.sensor, f"link-{status.state.value}")
            return
        for (sensor, stream), ecg in self._ecgs.items():
            if sensor == status.sensor and status.stream in {None, stream}:
                ecg.signal.note(status)
        for key, signal in self._signals.items():
            if key == (status.sensor, status.stream):
                signal.note(status)

    def _vitals(self, at_ns: int) -> Vitals:
        measurements = _first_with_value(self._readings.measurements(at_ns), self._estimates.measurements(at_ns))
        ecg = self._choose(at_ns)
        if ecg is not None:
            measurements = _first_with_value(ecg.measurements(at_ns), measurements)
        measurements = _without_rough_saturation(measurements)
        signal = ecg.signal if ecg is not None else self._other_signal(at_ns)
        if signal is None:
            return Vitals(at_ns=at_ns, measurements=measurements, coverage_pct=0.0, quality=None)
        return Vitals(
            at_ns=at_ns,
            measurements=measurements,
            coverage_pct=signal.coverage_pct(at_ns),
            quality=signal.quality(at_ns),
            reasons=signal.reasons(at_ns),
        )

    def _choose(self, at_ns: int) -> EcgVitals | None:
        """Return the ECG to show: the one shown before, unless only another is usable."""
        if self._primary is None or self._ecgs[self._primary].signal.absent(at_ns) is not None:
            usable = [key for key, ecg in self._ecgs.items() if ecg.signal.absent(at_ns) is None]
            self._primary = next(iter(usable or ([self._primary] if self._primary else self._ecgs)), None)
        return self._ecgs[self._primary] if self._primary is not None else None

    def _other_signal(self, at_ns: int) -> SignalState | None:
        """Return the most usable stream of a person without an ECG."""
        return max(self._signals.values(), key=lambda signal: signal.coverage_pct(at_ns), default=None)


def _first_with_value(
    preferred: Mapping[str, Measurement], others: Mapping[str, Measurement]
) -> dict[str, Measurement]:
    """Return `preferred` where it has a value, else what the others have; without any, the preferred one's reason."""
    merged = dict(preferred)
    for measure, measurement in others.items():
        own = merged.get(measure)
        if own is None or (own.value is None and measurement.value is not None):
            merged[measure] = measurement
    return merged


def _without_rough_saturation(measurements: dict[str, Measurement]) -> dict[str, Measurement]:
    """Withhold the uncalibrated saturation beside a calibrated one: two would be read as two opinions."""
    calibrated, rough = (measurements.get(measure) for measure in _SATURATIONS)
    if calibrated is None or calibrated.value is None or rough is None:
        return measurements
    withheld = replace(rough, value=None, absent="calibrated-elsewhere", quality=None)
    return measurements | {_SATURATIONS[1]: withheld}
