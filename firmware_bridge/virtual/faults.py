"""What spoils a signal between the skin and the converter: noise, wander, motion, mains, loose electrodes.

Every disturbance is a function of the sample's index and the scenario's seed alone, so that it does not depend
on the blocks in which somebody reads, and two runs of a scenario are alike to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.messages import ChannelKind, Samples, StreamInfo
from firmware_bridge.virtual.scenario import Fault, FaultKind
from firmware_bridge.virtual.trajectory import FloatArray

FAMILY_OF = {
    ChannelKind.ECG: "ecg",
    ChannelKind.PPG: "ppg",
    ChannelKind.PPG_RED: "ppg",
    ChannelKind.PPG_INFRARED: "ppg",
    ChannelKind.RESPIRATION: "respiration",
    ChannelKind.ACCELERATION_X: "acceleration",
    ChannelKind.ACCELERATION_Y: "acceleration",
    ChannelKind.ACCELERATION_Z: "acceleration",
}
"""The kind of signal a channel belongs to, which decides what a fault does to it."""

_EDGE_S = 0.5
"""Time in which wander and motion begin and end; a loose electrode needs none."""
_MOTION_MV = 0.5
_MOTION_LIGHT_RATIO = 0.03
_MOTION_MPS2 = 3.0
_MOTION_OHM = 0.6
LIGHT_WITHOUT_FINGER = 1500.0
"""Stray light in counts when no finger sends any back; a finger gives about 100,000."""


def family_of(stream: StreamInfo) -> str:
    """Return ``ecg``, ``ppg``, ``respiration``, ``acceleration`` or ``other`` for a stream."""
    return FAMILY_OF.get(stream.channels[0].kind, "other")


class FrontEnd:
    """The way from the skin to the converter, with everything that goes wrong on it.

    Parameters
    ----------
    faults : sequence of Fault
        Those that concern signals are acted out, the others ignored.
    seed : int
        Of the scenario.
    """

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        self._faults = tuple((k, fault) for k, fault in enumerate(faults) if fault.kind in _EFFECTS)
        self._seed = seed

    def apply(self, stream: StreamInfo, first_index: int, values: Samples) -> Samples:
        """Return the samples as the converter sees them, kept within the channels' ranges.

        Parameters
        ----------
        stream : StreamInfo
            What the samples are.
        first_index : int
            Index of the first sample since the story began.
        values : ndarray, shape (n_samples, n_channels)
            Undisturbed; not changed.
        """
        rate_hz = stream.nominal_rate_hz
        start_s, end_s = first_index / rate_hz, (first_index + len(values)) / rate_hz
        for k, fault in self._faults:
            if fault.at_s >= end_s or fault.end_s <= start_s:
                continue
            disturbance = _Disturbance(fault, k, self._seed, stream)
            values = disturbance.on(first_index, values)
        low = [-np.inf if channel.minimum is None else channel.minimum for channel in stream.channels]
        high = [np.inf if channel.maximum is None else channel.maximum for channel in stream.channels]
        return np.clip(values, low, high)


class _Disturbance:
    """One fault acting on one stream."""

    def __init__(self, fault: Fault, fault_index: int, seed: int, stream: StreamInfo) -> None:
        self.fault = fault
        self.stream = stream
        self.family = family_of(stream)
        self._key = (seed, 977, fault_index)

    def on(self, first_index: int, values: Samples) -> Samples:
        """Return `values` with the disturbance where it is active."""
        index = first_index + np.arange(len(values))
        at_s = index / self.stream.nominal_rate_hz
        is_active = (at_s >= self.fault.at_s) & (at_s < self.fault.end_s)
        disturbed = _EFFECTS[self.fault.kind](self, index, at_s, values)
        return np.asarray(np.where(is_active[:, None], disturbed, values))

    def onset(self, at_s: FloatArray) -> FloatArray:
        """Return 0 at the borders of the fault and 1 inside, shape (n_samples, 1)."""
        inside_s = np.minimum(at_s - self.fault.at_s, self.fault.end_s - at_s)
        return np.clip(inside_s / _EDGE_S, 0.0, 1.0)[:, None]

    def sway(self, at_s: FloatArray, n_columns: int) -> FloatArray:
        """Return an irregular movement of about unit size between 0.5 and 6 Hz, shape (n_samples, n_columns)."""
        rng = np.random.default_rng(self._key)
        rate_hz = rng.uniform(0.5, 6.0, size=(1, 8))
        phase = rng.uniform(0, 2 * np.pi, size=(3, 8))[:n_columns]
        burst = 0.6 + 0.4 * np.sin(2 * np.pi * 0.23 * at_s + phase[0, 0])
        return np.asarray(0.5 * np.sin(2 * np.pi * rate_hz * at_s[:, None, None] + phase).sum(axis=2) * burst[:, None])

    def white(self, index: np.ndarray, n_columns: int) -> FloatArray:
        """Return unit white noise that belongs to the sample indices, shape (n_samples, n_columns)."""
        n_frame = max(1, round(self.stream.nominal_rate_hz))
        frames = range(int(index[0]) // n_frame, int(index[-1]) // n_frame + 1)
        stream_key = sum(ord(letter) for letter in self.stream.name)
        noise = np.concatenate(
            [np.random.default_rng((*self._key, stream_key, k)).standard_normal((n_frame, n_columns)) for k in frames]
        )
        first = int(index[0]) - frames[0] * n_frame
        return noise[first : first + len(index)]


def _noise(self: _Disturbance, index: np.ndarray, at_s: FloatArray, values: Samples) -> Samples:
    del at_s
    if self.family != "ecg":
        return values
    return values + self.fault.parameter("rms_mv") * self.white(index, values.shape[1])


def _baseline_wander(self: _Disturbance, index: np.ndarray, at_s: FloatArray, values: Samples) -> Samples:
    del index
    if self.family != "ecg":
        return values
    angle = 2 * np.pi * self.fault.parameter("frequency_hz") * (at_s - self.fault.at_s)
    wander = np.sin(angle) + 0.4 * np.sin(0.37 * angle + 1.0)
    return values + self.fault.parameter("amplitude_mv") * wander[:, None] * self.onset(at_s)


def _motion(self: _Disturbance, index: np.ndarray, at_s: FloatArray, values: Samples) -> Samples:
    del index
    movement = self.fault.parameter("intensity_ratio") * self.onset(at_s) * self.sway(at_s, 3)
    n_columns = values.shape[1]
    if self.family == "acceleration":
        return values + _MOTION_MPS2 * movement[:, :n_columns]
    if self.family == "ppg":
        return values * (1.0 + _MOTION_LIGHT_RATIO * movement[:, :1])
    size = {"ecg": _MOTION_MV, "respiration": _MOTION_OHM}.get(self.family, 0.0)
    # Electrodes move with the chest but not alike: a different mixture of the axes on each channel.
    return values + size * np.column_stack([movement.sum(axis=1) * (1.0 - 0.3 * k) for k in range(n_columns)])


def _lead_off(self: _Disturbance, index: np.ndarray, at_s: FloatArray, values: Samples) -> Samples:
    del at_s
    if self.fault.target == "ecg" and self.family in {"ecg", "respiration"}:
        # Breathing is measured through the same electrodes.  The current that tests the contact drives the open input to the end of the range, as in the ADS129x
        # and MAX3000x front ends.
        return np.full_like(values, np.inf)
    if self.family != self.fault.target:
        return values
    return LIGHT_WITHOUT_FINGER + 30.0 * self.white(index, values.shape[1])


def _saturation(self: _Disturbance, index: np.ndarray, at_s: FloatArray, values: Samples) -> Samples:
    del index, at_s
    if self.family != self.fault.target:
        return values
    if self.family == "ecg":
        # An electrode offset has eaten the range: every QRS hits the ceiling.
        tops = np.array([5.0 if channel.maximum is None else channel.maximum for channel in self.stream.channels])
        return np.asarray(values * 4.0 + 0.8 * tops)
    return np.full_like(values, np.inf)


def _mains(self: _Disturbance, index: np.ndarray, at_s: FloatArray, values: Samples) -> Samples:
    del index
    if self.family != "ecg":
        return values
    angle = 2 * np.pi * self.fault.parameter("frequency_hz") * at_s
    hum = np.sin(angle) + 0.1 * np.sin(3 * angle + 0.5)
    hum *= 1.0 + 0.2 * np.sin(2 * np.pi * 0.07 * at_s)
    share = np.array([1.0 / (1.0 + 0.4 * k) for k in range(values.shape[1])])
    return np.asarray(values + self.fault.parameter("amplitude_mv") * hum[:, None] * share)


def _ambient_light(self: _Disturbance, index: np.ndarray, at_s: FloatArray, values: Samples) -> Samples:
    """Add the same stray light to both colours: the ratio of their pulses to their steady light comes out wrong."""
    del index
    if self.family != "ppg":
        return values
    return values + self.fault.parameter("light_counts") * self.onset(at_s)


_EFFECTS = {
    FaultKind.NOISE: _noise,
    FaultKind.BASELINE_WANDER: _baseline_wander,
    FaultKind.MOTION: _motion,
    FaultKind.LEAD_OFF: _lead_off,
    FaultKind.SATURATION: _saturation,
    FaultKind.MAINS: _mains,
    FaultKind.AMBIENT_LIGHT: _ambient_light,
}
