"""What is said at the control point of Polar's measurement service: requests, answers, settings; both directions.

Pure.  Used by `polar_dialogue`, which knows the order of things, and by simulated sensors::

    settings_request(MeasurementType.ECG)                            # 01 00
    decode_control(chunk.data)                                   # Features | Response | Stopped | Rejected

Source: polar-ble-sdk (``PmdControlPointResponse``, ``PmdSetting``) and a dialogue captured from an H10; the byte
strings stand in ``tests/acquisition/gatt/test_polar_control.py``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from edge.acquisition.gatt.polar_frames import MeasurementType
from edge.acquisition.gatt.rejected import Rejected

SERVICE = "fb005c80-02e7-f387-1cad-8acd2d8df0c8"
CONTROL = "fb005c81-02e7-f387-1cad-8acd2d8df0c8"
"""Control point: read gives the features, written are requests, indicated are answers."""
DATA = "fb005c82-02e7-f387-1cad-8acd2d8df0c8"

_FEATURES = 0x0F
_RESPONSE = 0xF0
_STOPPED = 0x01
_TYPE_MASK = 0x3F
_N_FEATURE_BITS = 16
_SHORT_ERROR = 4  # F0, two bytes in either order, error


class Operation(IntEnum):
    """What can be asked."""

    GET_SETTINGS = 1
    START = 2
    STOP = 3


class ControlError(IntEnum):
    """Why the sensor declines."""

    SUCCESS = 0
    BAD_OPERATION = 1
    BAD_TYPE = 2
    NOT_SUPPORTED = 3
    BAD_LENGTH = 4
    BAD_PARAMETER = 5
    ALREADY_IN_STATE = 6
    BAD_RESOLUTION = 7
    BAD_SAMPLE_RATE = 8
    BAD_RANGE = 9
    MTU_TOO_SMALL = 10
    BAD_CHANNELS = 11
    INVALID_STATE = 12
    IN_CHARGER = 13
    DISK_FULL = 14
    UNKNOWN = 255
    """A number that this list does not have."""


_KNOWN_ERRORS = {int(error): error for error in ControlError}


class Setting(IntEnum):
    """What of a stream can be chosen."""

    SAMPLE_RATE = 0
    """Hz."""
    RESOLUTION = 1
    """Bits."""
    RANGE = 2
    """Largest value, in the unit of the measurement: g, degrees per second."""
    RANGE_MILLIUNIT = 3
    CHANNELS = 4
    FACTOR = 5
    """What a count is worth, as float32; said by the sensor, never asked for."""
    SECURITY = 6


_SETTING_BYTES = {
    Setting.SAMPLE_RATE: 2,
    Setting.RESOLUTION: 2,
    Setting.RANGE: 2,
    Setting.RANGE_MILLIUNIT: 4,
    Setting.CHANNELS: 1,
    Setting.FACTOR: 4,
    Setting.SECURITY: 16,
}

Offered = Mapping[Setting, tuple[int, ...]]
"""Values to choose from, in the order sent."""
Chosen = Mapping[Setting, int]
"""One value each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What the sensor can measure."""

    numbers: frozenset[int]
    """Numbers of the measurements, those that `MeasurementType` does not name included."""

    def __contains__(self, measurement: int) -> bool:
        return measurement in self.numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The answer to one request."""

    operation: int
    measurement: int
    error: ControlError
    has_more: bool = False
    """Another answer with the rest of the settings follows."""
    parameters: bytes = b""
    is_short: bool = False
    """Four bytes: then operation and measurement may stand in either order, as an H10 answers before the MTU was
    exchanged (``F0 00 01 0A`` to ``01 00``)."""

    def answers(self, operation: int, measurement: int) -> bool:
        """Return whether this answers such a request."""
        said = (self.operation, self.measurement)
        return said == (operation, measurement) or (self.is_short and said == (measurement, operation))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The sensor stopped measuring without being asked."""

    measurements: tuple[int, ...]


ControlMessage = Features | Response | Stopped | Rejected


def decode_control(data: bytes) -> ControlMessage:
    """Return what was read from or indicated by the control point; never raises."""
    if len(data) < 2:
        return Rejected("length")
    if data[0] == _FEATURES:
        bits = int.from_bytes(data[1 : 1 + _N_FEATURE_BITS // 8], "little")
        return Features(numbers=frozenset(k for k in range(_N_FEATURE_BITS) if bits >> k & 1))
    if data[0] == _STOPPED:
        return Stopped(measurements=tuple(number & _TYPE_MASK for number in data[1:]))
    if data[0] != _RESPONSE:
        return Rejected("opcode")
    if len(data) < _SHORT_ERROR:
        return Rejected("length")
    error = _KNOWN_ERRORS.get(data[3], ControlError.UNKNOWN)
    succeeded = error is ControlError.SUCCESS
    return Response(
        operation=data[1],
        measurement=data[2] & _TYPE_MASK,
        error=error,
        has_more=succeeded and len(data) > _SHORT_ERROR and data[4] != 0,
        parameters=data[5:] if succeeded else b"",
        is_short=len(data) == _SHORT_ERROR and not succeeded,
    )


def decode_settings(parameters: bytes) -> Offered | Rejected:
    """Return the settings in the answers to a request; never raises.

    Examples
    --------
    >>> decode_settings(bytes.fromhex("00018200 01010e00"))
    {<Setting.SAMPLE_RATE: 0>: (130,), <Setting.RESOLUTION: 1>: (14,)}
    """
    offered: dict[Setting, tuple[int, ...]] = {}
    at = 0
    while at < len(parameters):
        if len(parameters) - at < 2:
            return Rejected("length")
        number, count = parameters[at], parameters[at + 1]
        at += 2
        if number >= len(_SETTING_BYTES):
            return Rejected("setting")  # of unknown size, so what follows cannot be read either
        setting = Setting(number)
        n_bytes = _SETTING_BYTES[setting]
        end = at + count * n_bytes
        if end > len(parameters):
            return Rejected("length")
        values = tuple(int.from_bytes(parameters[k : k + n_bytes], "little") for k in range(at, end, n_bytes))
        offered[setting] = offered.get(setting, ()) + values
        at = end
    return offered


def factor_of(offered: Offered) -> float | None:
    """Return what a count is worth; None where the sensor does not say or says nonsense."""
    bits = offered.get(Setting.FACTOR, ())
    if not bits:
        return None
    factor = float(struct.unpack("<f", struct.pack("<I", bits[0]))[0])
    return factor if math.isfinite(factor) and factor > 0 else None


# --- requests -----------------------------------------------------------------------------------------------


def settings_request(measurement: MeasurementType) -> bytes:
    """Return the question what can be chosen for `measurement`."""
    return bytes((Operation.GET_SETTINGS, measurement))


def start_request(measurement: MeasurementType, chosen: Chosen) -> bytes:
    """Return the request to begin `measurement`.

    Examples
    --------
    >>> start_request(MeasurementType.ECG, {Setting.SAMPLE_RATE: 130, Setting.RESOLUTION: 14}).hex(" ")
    '02 00 00 01 82 00 01 01 0e 00'
    """
    settings = settings_bytes({setting: (value,) for setting, value in chosen.items() if setting < Setting.FACTOR})
    return bytes((Operation.START, measurement)) + settings


def stop_request(measurement: MeasurementType) -> bytes:
    """Return the request to end `measurement`."""
    return bytes((Operation.STOP, measurement))


# --- what a sensor says, for simulated ones -------------------------------------------------------------------


def features_bytes(measurements: frozenset[int]) -> bytes:
    """Return what reading the control point gives."""
    bits = sum(1 << number for number in measurements)
    return bytes((_FEATURES,)) + bits.to_bytes(_N_FEATURE_BITS // 8, "little") + bytes(14)


def settings_bytes(offered: Offered) -> bytes:
    """Return `offered` as it stands in requests and answers."""
    return b"".join(
        bytes((setting, len(values))) + b"".join(value.to_bytes(_SETTING_BYTES[setting], "little") for value in values)
        for setting, values in offered.items()
    )


def factor_bits(factor: float) -> int:
    """Return `factor` as the value of `Setting.FACTOR`."""
    return int(struct.unpack("<I", struct.pack("<f", factor))[0])


def response_bytes(
    operation: int,
    measurement: int,
    error: int = ControlError.SUCCESS,
    parameters: bytes = b"",
    *,
    has_more: bool = False,
) -> bytes:
    """Return the answer to a request, in the long form."""
    return bytes((_RESPONSE, operation, measurement, error, has_more)) + parameters


def stopped_bytes(measurements: tuple[int, ...]) -> bytes:
    """Return the indication that the sensor stopped by itself."""
    return bytes((_STOPPED, *measurements))
