"""Polar Measurement Data: an ECG strap with an accelerometer, its control dialogue, frames and quirks.

Written from captures of real dialogues: 73 ECG samples of 24 bits in a frame of 229 bytes, a true rate that differs from
the 130 Hz it states (130.0452 Hz over two hours of one H10), timestamps of the last sample that count from 2000 and
begin in 2019 while nobody has set the clock, and a short answer with error 10 until the MTU is large enough.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import CharacteristicValue, Service

from firmware_bridge.virtual.ble.body import Body, Signal
from firmware_bridge.virtual.ble.services import INDICATE, NOTIFY, READ, WRITE, Part, Wearing, characteristic
from firmware_bridge.virtual.motion import STANDARD_GRAVITY_MPS2

SERVICE = "FB005C80-02E7-F387-1CAD-8ACD2D8DF0C8"
CONTROL = "FB005C81-02E7-F387-1CAD-8ACD2D8DF0C8"
DATA = "FB005C82-02E7-F387-1CAD-8ACD2D8DF0C8"

UNSET_CLOCK_NS = 599_616_000_000_000_000
"""1 January 2019 in nanoseconds since 2000."""
TRUE_ECG_RATE_HZ = 130.0452
NOMINAL_ECG_RATE_HZ = 130
ECG_PER_FRAME = 73
ACCELERATION_PER_FRAME = 36
NEEDED_MTU = 232
"""A frame of 229 bytes and the three of a notification."""

_ECG, _ACCELERATION = 0x00, 0x02
_SETTINGS, _START, _STOP = 0x01, 0x02, 0x03
_RESPONSE = 0xF0
_SUCCESS, _BAD_OPCODE, _NOT_SUPPORTED, _BAD_PARAMETER, _ALREADY, _BAD_MTU = 0, 1, 3, 5, 6, 10
_ECG_SETTINGS = bytes.fromhex("00018200 01010e00")
_ACCELERATION_RATES_HZ = (25, 50, 100, 200)
_ACCELERATION_SETTINGS = bytes.fromhex("0004 1900 3200 6400 c800 0101 1000 0203 0200 0400 0800")
_FEATURES = bytes([0x0F, 0x05]) + bytes(15)
_MOST_24_BIT = 2**23 - 1
_UV_PER_MV = 1000.0


@dataclass(slots=True)
class _Running:
    """A measurement that was started."""

    start_s: float
    rate_hz: float
    n_per_frame: int
    n_frames: int = 0

    @property
    def due_s(self) -> float:
        """When the next frame is full."""
        return self.start_s + (self.n_frames + 1) * self.n_per_frame / self.rate_hz


class PolarData(Part):
    """The Polar Measurement Data service.

    Parameters
    ----------
    body, wearing
        Who wears it and how; the body needs the streams ``ecg`` and ``acceleration``.
    ecg_rate_hz : float
        What the crystal makes of 130 Hz; the accelerometer is off by the same factor.
    clock_ppm : float
        By how much the device's timestamps run fast against true time.
    """

    def __init__(
        self, body: Body, wearing: Wearing, *, ecg_rate_hz: float = TRUE_ECG_RATE_HZ, clock_ppm: float = 0.0
    ) -> None:
        self._body, self._wearing = body, wearing
        self._ecg_rate_hz, self._clock_ratio = ecg_rate_hz, 1.0 + clock_ppm * 1e-6
        self._running: dict[int, _Running] = {}
        self._control = characteristic(
            CONTROL, READ | WRITE | INDICATE, CharacteristicValue(read=lambda _: _FEATURES, write=self._asked)
        )
        self._data = characteristic(DATA, NOTIFY)
        self.services = (Service(UUID(SERVICE), [self._control, self._data]),)
        self.due_s = 1.0

    def act(self, at_s: float) -> None:
        """Send the frames that are full; pass over signal that nobody wants."""
        for kind, name in ((_ECG, "ecg"), (_ACCELERATION, "acceleration")):
            running = self._running.get(kind)
            while running is not None and running.due_s <= at_s:
                self._send_frame(kind, running, self._body.signal(name))
            if running is None:
                self._body.signal(name).skip_to(at_s)
        self._plan(at_s)

    def connection_ended(self) -> None:
        """Stop all measurements, as the strap does."""
        self._running.clear()

    def stop_by_itself(self) -> None:
        """End every measurement and say so, as a strap does that is put into its charger."""
        kinds = bytes(sorted(self._running))
        self._running.clear()
        self._send(self._control, b"\x01" + kinds, 0)

    def _plan(self, at_s: float) -> None:
        self.due_s = min([at_s + 1.0, *(running.due_s for running in self._running.values())])

    def _asked(self, connection: Connection, value: bytes) -> None:
        """Answer a request on the control point."""
        code, kind = value[0] if value else 0, value[1] if len(value) > 1 else 0xFF
        if code in {_SETTINGS, _START} and connection.att_mtu < NEEDED_MTU:
            # The short form, with its fields in another order, is what an H10 really says here.
            self._send(self._control, bytes([_RESPONSE, kind, code, _BAD_MTU]), 0)
            return
        error, parameters = self._result(code, kind, value[2:])
        is_last_part = b"\0"
        self._send(self._control, bytes([_RESPONSE, code, kind, error]) + is_last_part + parameters, 0)

    def _result(self, code: int, kind: int, settings: bytes) -> tuple[int, bytes]:
        if code not in {_SETTINGS, _START, _STOP}:
            return _BAD_OPCODE, b""
        if kind not in {_ECG, _ACCELERATION}:
            return _NOT_SUPPORTED, b""
        if code == _SETTINGS:
            return _SUCCESS, _ECG_SETTINGS if kind == _ECG else _ACCELERATION_SETTINGS
        if code == _STOP:
            return (_SUCCESS if self._running.pop(kind, None) else _ALREADY), b""
        return self._start(kind, settings)

    def _start(self, kind: int, settings: bytes) -> tuple[int, bytes]:
        if kind in self._running:
            return _ALREADY, b""
        nominal_hz = _rate_asked(kind, settings)
        if nominal_hz is None:
            return _BAD_PARAMETER, b""
        n_per_frame = ECG_PER_FRAME if kind == _ECG else ACCELERATION_PER_FRAME
        rate_hz = nominal_hz * self._ecg_rate_hz / NOMINAL_ECG_RATE_HZ
        now_s = self._now_s()
        self._running[kind] = _Running(now_s, rate_hz, n_per_frame)
        self._plan(now_s)
        return _SUCCESS, b"\0"  # one more byte, as an H10 has it

    def _send_frame(self, kind: int, running: _Running, signal: Signal) -> None:
        first = running.n_frames * running.n_per_frame
        at_s = running.start_s + (first + 1 + np.arange(running.n_per_frame)) / running.rate_hz
        running.n_frames += 1
        values = signal.at(at_s)
        stamp_ns = UNSET_CLOCK_NS + round(float(at_s[-1]) * self._clock_ratio * 1e9)
        if kind == _ECG:
            frame_type, payload = 0, _packed_ecg(values[:, 0], is_off=self._wearing.is_taken_off)
        else:
            frame_type, payload = 1, _packed_acceleration(values)
        self._send(self._data, struct.pack("<BQB", kind, stamp_ns, frame_type) + payload, running.n_per_frame)


def _rate_asked(kind: int, settings: bytes) -> int | None:
    """Return the rate that a start command asks for, None where its settings are not ones that were offered."""
    asked: dict[int, int] = {}
    while len(settings) >= 4 and settings[1] == 1:
        asked[settings[0]] = int.from_bytes(settings[2:4], "little")
        settings = settings[4:]
    if settings or not {0, 1} <= set(asked):
        return None
    rate_hz = asked[0]
    if kind == _ECG:
        return rate_hz if (rate_hz, asked[1]) == (NOMINAL_ECG_RATE_HZ, 14) else None
    is_offered = rate_hz in _ACCELERATION_RATES_HZ and asked[1] == 16 and asked.get(2, 8) in {2, 4, 8}
    return rate_hz if is_offered else None


def _packed_ecg(values_mv: np.ndarray, *, is_off: bool) -> bytes:
    """Return samples in microvolts of 24 bits; a strap in the hand picks up nothing but a drifting offset."""
    uv = np.zeros(len(values_mv)) if is_off else values_mv * _UV_PER_MV
    counts = np.clip(np.rint(uv), -_MOST_24_BIT - 1, _MOST_24_BIT).astype("<i4")
    return counts.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def _packed_acceleration(values_mps2: np.ndarray) -> bytes:
    """Return three axes in thousandths of standard gravity, 16 bits each."""
    milli_g = np.clip(np.rint(values_mps2 / STANDARD_GRAVITY_MPS2 * 1000.0), -0x8000, 0x7FFF)
    return milli_g.astype("<i2").tobytes()
