"""A Polar sensor that answers its control point and sends frames: no radio, no clock of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edge.acquisition.gatt.plan import assigned
from edge.acquisition.gatt.polar_control import (
    CONTROL,
    DATA,
    ControlError,
    Operation,
    Setting,
    factor_bits,
    features_bytes,
    response_bytes,
    settings_bytes,
)
from edge.acquisition.gatt.polar_frames import UNSET_CLOCK_NS, MeasurementType, frame_bytes
from edge.messages import Chunk

NS_PER_S = 1_000_000_000

H10_OFFERS = {
    MeasurementType.ECG: {Setting.SAMPLE_RATE: (130,), Setting.RESOLUTION: (14,)},
    MeasurementType.ACC: {
        Setting.SAMPLE_RATE: (200, 100, 50, 25),
        Setting.RESOLUTION: (16,),
        Setting.RANGE: (8, 4, 2),
    },
}
VERITY_OFFERS = {
    MeasurementType.PPG: {Setting.SAMPLE_RATE: (55,), Setting.RESOLUTION: (22,), Setting.CHANNELS: (4,)},
    MeasurementType.ACC: {Setting.SAMPLE_RATE: (52,), Setting.RESOLUTION: (16,), Setting.RANGE: (8,)},
    MeasurementType.PPI: {},
}


@dataclass
class SimulatedPolar:
    """What is true of the sensor, and what it says."""

    offers: dict = field(default_factory=lambda: dict(H10_OFFERS))
    factor: float | None = None
    running: set[int] = field(default_factory=set)

    def features(self, at_ns: int = 0) -> Chunk:
        return control(features_bytes(frozenset(self.offers)), at_ns)

    def answer(self, request: bytes, at_ns: int = 0) -> Chunk:
        """Return the indication that follows `request`."""
        operation, measurement = request[:2]
        if measurement not in self.offers:
            return control(response_bytes(operation, measurement, ControlError.NOT_SUPPORTED), at_ns)
        if operation == Operation.GET_SETTINGS:
            offered = settings_bytes(self.offers[measurement])
            return control(response_bytes(operation, measurement, parameters=offered), at_ns)
        if (operation == Operation.START) == (measurement in self.running):
            return control(response_bytes(operation, measurement, ControlError.ALREADY_IN_STATE), at_ns)
        self.running ^= {measurement}
        told = {Setting.FACTOR: (factor_bits(self.factor),)} if self.factor and operation == Operation.START else {}
        return control(response_bytes(operation, measurement, parameters=settings_bytes(told) or b"\x00"), at_ns)

    def start(self, decoder, at_ns: int = 0) -> list:
        """Carry the dialogue with `decoder` on until it asks no more; return what it said."""
        out = list(decoder.push(self.features(at_ns)))
        while asked := decoder.requests(at_ns):
            assert [each.channel for each in asked] == [CONTROL]
            out += decoder.push(self.answer(asked[0].data, at_ns))
        return out


def control(data: bytes, at_ns: int = 0) -> Chunk:
    return Chunk(data=data, received_at_ns=at_ns, channel=CONTROL)


def notification(data: bytes, at_ns: int = 0) -> Chunk:
    return Chunk(data=data, received_at_ns=at_ns, channel=DATA)


def heart_rate(data: str, at_ns: int = 0) -> Chunk:
    return Chunk(data=bytes.fromhex(data), received_at_ns=at_ns, channel=assigned(0x2A37))


def ecg_frame(
    k: int, *, n_samples: int = 73, rate_hz: float = 130.0, delay_s: float = 0.02, base_ns=UNSET_CLOCK_NS
) -> Chunk:
    """Return the k-th frame of an ECG that counts its samples in microvolts."""
    first = k * n_samples
    counts = np.arange(first, first + n_samples, dtype=np.int64)[:, None] % 4000
    last_s = (first + n_samples - 1) / rate_hz
    line = frame_bytes(MeasurementType.ECG, base_ns + round(last_s * NS_PER_S), counts)
    return notification(line, round((last_s + delay_s) * NS_PER_S))
