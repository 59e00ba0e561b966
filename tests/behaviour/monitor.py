"""A bedside monitor without a screen: signals go through the real `Pipeline`, and what it shows can be asked for."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from edge.messages import (
    Alert,
    AlertState,
    Beat,
    Channel,
    ChannelKind,
    Quality,
    Reading,
    SampleBlock,
    SensorStatus,
    Vitals,
)
from edge.pipeline import Pipeline, PipelineSettings
from firmware_bridge.virtual.monitor_waveforms import RANGE_MV, Waveform
from firmware_bridge.virtual.patient import CHANNELS, VirtualPatient
from firmware_bridge.virtual.scenario import Scenario

NS_PER_S = 1_000_000_000
BLOCK_S = 0.2
ECG = (
    Channel(
        name="II", kind=ChannelKind.ECG, unit="mV", minimum=-RANGE_MV, maximum=RANGE_MV, resolution=RANGE_MV / 2**15
    ),
)


class Monitor:
    """What the pipeline said of one person."""

    def __init__(self, items: Iterable[SampleBlock | SensorStatus | Reading], settings: PipelineSettings | None = None):
        numbers = itertools.count(1)
        pipeline = Pipeline(settings or PipelineSettings(), new_id=lambda: f"a-{next(numbers)}")
        self.findings = [finding for item in items for finding in pipeline.push(item)]
        self._vitals = {each.at_ns // NS_PER_S: each for each in self.all(Vitals)}

    def all(self, kind):
        """Return every finding of one kind, in order."""
        return [finding for finding in self.findings if isinstance(finding, kind)]

    def measurement(self, measure, at_s):
        """Return a vital sign as it was shown at a second; None where it was not even named."""
        return self._vitals[at_s].measurements.get(measure)

    def value(self, measure, at_s):
        """Return the number shown at a second; None where there was none."""
        shown = self.measurement(measure, at_s)
        return None if shown is None else shown.value

    def values(self, measure, from_s, to_s):
        """Return the numbers shown from one second to another, both included."""
        return [self.value(measure, at_s) for at_s in range(from_s, to_s + 1)]

    def rates(self, from_s, to_s):
        """Return the heart rates shown from one second to another."""
        return self.values("heart_rate_bpm", from_s, to_s)

    def beats_s(self):
        """Return the instants of all beats that count."""
        return np.array([beat.at_ns / NS_PER_S for beat in self.all(Beat) if not beat.is_noise_suspect])

    def unlike(self, true_s, from_s, to_s, tolerance_s=0.1):
        """Return the true beats that were missed and the beats that are none, between two instants."""
        found_s, true_s = self.beats_s(), np.asarray(true_s)
        missed = [s for s in true_s if from_s < s < to_s and not (np.abs(found_s - s) <= tolerance_s).any()]
        extra = [s for s in found_s if from_s < s < to_s and (np.abs(true_s - s) <= tolerance_s).sum() != 1]
        return missed, extra

    def raised_s(self, condition):
        """Return when alerts of a condition were raised; a condition with a colon may be named without what follows."""
        return [
            alert.at_ns / NS_PER_S
            for alert in self.all(Alert)
            if alert.state is AlertState.RAISED
            and alert.revision == 1
            and condition in {alert.condition, alert.condition.split(":")[0]}
        ]

    def ended_s(self, condition):
        """Return when a condition was found to be over, acknowledged or not."""
        ended = {AlertState.CLEARED_UNACKNOWLEDGED, AlertState.CLOSED}
        return [
            alert.at_ns / NS_PER_S
            for alert in self.all(Alert)
            if alert.state in ended and condition in {alert.condition, alert.condition.split(":")[0]}
        ]

    def conditions(self):
        """Return everything that an alert was raised for."""
        return {alert.condition for alert in self.all(Alert)}

    def usable_share(self, from_s, to_s):
        """Return the share of seconds whose ECG was usable."""
        verdicts = [
            q.is_usable for q in self.all(Quality) if q.kind is ChannelKind.ECG and from_s < q.at_ns / NS_PER_S <= to_s
        ]
        return sum(verdicts) / len(verdicts)


def watch(wave: Waveform, *, block_s: float = BLOCK_S, status: Iterable[SensorStatus] = ()) -> Monitor:
    """Return what the monitor says of a test waveform on one lead."""
    blocks = _blocks("ecg", ECG, wave.values_mv[:, None], wave.rate_hz, block_s)
    return Monitor(_in_time(blocks, ((each.at_ns, each) for each in status)))


def nurse(
    scenario: Scenario,
    duration_s: float,
    *,
    status: Iterable[SensorStatus] = (),
    readings: Iterable[Reading] = (),
    settings: PipelineSettings | None = None,
):
    """Return what the monitor says of a virtual patient with all its signals, and the truth about it."""
    signals = VirtualPatient(scenario).take(duration_s)
    streams = {
        "ecg": (signals.ecg_mv, signals.ecg_rate_hz),
        "ppg": (signals.ppg, signals.ppg_rate_hz),
        "respiration": (signals.respiration_ohm, signals.respiration_rate_hz),
        "acceleration": (signals.acceleration_mps2, signals.acceleration_rate_hz),
    }
    blocks = [
        _blocks(name, CHANNELS[name], *streams[name], BLOCK_S) for name in streams if name in scenario.sensor.streams
    ]
    extra = [((each.at_ns, each) for each in status), ((each.measured_at_ns, each) for each in readings)]
    return Monitor(_in_time(*blocks, *extra), settings), signals.truth


def _blocks(stream, channels, values, rate_hz, block_s) -> Iterator[tuple[int, SampleBlock]]:
    """Yield blocks with the instant at which each is complete, quantised and limited as by the converter."""
    step = np.array([channel.resolution for channel in channels])
    low, high = np.array([c.minimum for c in channels]), np.array([c.maximum for c in channels])
    counts = np.clip(np.rint(values / step) * step, low, high)
    n_block = max(1, round(block_s * rate_hz))
    for at in range(0, len(counts), n_block):
        block = SampleBlock(
            sensor="bed",
            stream=stream,
            channels=channels,
            values=counts[at : at + n_block],
            rate_hz=rate_hz,
            start_ns=round(at * NS_PER_S / rate_hz),
            sequence=at,
        )
        yield block.end_ns, block


def _in_time(*sources):
    """Yield the items of all sources in order of time; of two at once the earlier source comes first."""
    for _, item in heapq.merge(*sources, key=lambda pair: pair[0]):
        yield item
