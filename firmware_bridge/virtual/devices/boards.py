"""Virtual boards with electrodes: HealthyPi with its OpenView frames, and the OpenBCI Cyton."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from firmware_bridge.virtual.devices.line_device import VirtualLineDevice, whole
from firmware_bridge.virtual.scenario import FaultKind, Scenario
from firmware_bridge.virtual.source import SourceVitals

OPENVIEW_RATE_HZ = 128
HEALTHYPI_4_RATE_HZ = 125
CYTON_RATE_HZ = 250
BANNER = (
    b"OpenBCI V3 8-16 channel\r\nOn Board ADS1299 Device ID: 0x3E\r\nLIS3DH Device ID: 0x33\r\nFirmware: v3.1.2\r\n$$$"
)
_RESET_NS = 1_500_000_000
_ECG_COUNTS_PER_MV = 2**17 * 20 / 1000
_ECG_4_COUNTS_PER_MV = 2**16 * 12 / 2 / 2420
_CYTON_COUNTS_PER_MV = 24 * (2**23 - 1) / 4500
_COUNTS_PER_MPS2 = 16 / 0.002 / 9.80665


def openview_frame(payload: bytes) -> bytes:
    """Return `payload` between the start and the stop bytes."""
    return b"\x0a\xfa" + struct.pack("<H", len(payload)) + b"\x02" + payload + b"\x00\x0b"


def healthypi_5_payload(
    *,
    ecg: int,
    bioz: int,
    red: int,
    infrared: int,
    temperature_c: float = 0.0,
    spo2_pct: int = 0,
    heart_rate_bpm: int = 0,
    respiratory_rate_bpm: int = 0,
    is_bioz_old: bool = False,
) -> bytes:
    """Return the 22 bytes that a HealthyPi 5 sends for one sample."""
    return struct.pack(
        "<iiBiihBBB",
        ecg,
        bioz,
        0xFF if is_bioz_old else 0,
        red,
        infrared,
        round(temperature_c * 100),
        spo2_pct,
        heart_rate_bpm,
        respiratory_rate_bpm,
    )


def healthypi_4_payload(
    *,
    ecg: int,
    respiration: int,
    red: int,
    infrared: int,
    temperature_c: float = 0.0,
    spo2_pct: int = 0,
    heart_rate_bpm: int = 0,
    respiratory_rate_bpm: int = 0,
    leads_off: int = 0,
) -> bytes:
    """Return the 20 bytes that a HealthyPi v4 sends for one sample; its blood pressure is always 120 over 80."""
    return struct.pack(
        "<hhiiHBBBBBB",
        ecg,
        respiration,
        infrared,
        red,
        round(temperature_c * 100),
        respiratory_rate_bpm,
        spo2_pct,
        heart_rate_bpm,
        80,
        120,
        leads_off,
    )


def cyton_frame(number: int, counts: tuple[int, ...], axes: tuple[int, int, int] = (0, 0, 0)) -> bytes:
    """Return one frame of 33 bytes.

    Examples
    --------
    >>> cyton_frame(7, (1, -1, 0, 0, 0, 0, 0, 0)).hex()[:16]
    'a007000001ffffff'
    """
    channels = b"".join(value.to_bytes(3, "big", signed=True) for value in counts)
    return bytes((0xA0, number % 256)) + channels + struct.pack(">hhh", *axes) + b"\xc0"


class VirtualHealthyPi5(VirtualLineDevice):
    """HealthyPi 5: streams as soon as it has power; without a sample it sends zeros, as with a loose electrode."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario, rate_hz=OPENVIEW_RATE_HZ, streams=("ecg", "respiration", "ppg"))

    def _switch_on(self) -> None:
        self._is_streaming = True

    def _hear(self, data: bytes) -> None:
        self.heard.append(data)

    def _frame(self, index: int, rows: Mapping[str, np.ndarray], vitals: SourceVitals) -> bytes:
        is_off = self.is_faulty(FaultKind.LEAD_OFF, "ecg")
        payload = healthypi_5_payload(
            ecg=0 if is_off else round(float(rows["ecg"][0]) * _ECG_COUNTS_PER_MV),
            bioz=0 if is_off else 20_000 + round(float(rows["respiration"][0]) * 1000),
            is_bioz_old=index % 2 == 1,
            red=round(float(rows["ppg"][0])),
            infrared=round(float(rows["ppg"][1])),
            temperature_c=0.0 if vitals.temperature_c is None else vitals.temperature_c,
            spo2_pct=0 if self.is_finger_out else whole(vitals.spo2_pct, 0, most=100),
            heart_rate_bpm=0 if is_off else whole(vitals.heart_rate_bpm, 0),
            respiratory_rate_bpm=0 if is_off else whole(vitals.respiratory_rate_bpm, 0),
        )
        return openview_frame(payload)


class VirtualHealthyPi4(VirtualLineDevice):
    """HealthyPi v4: as its successor, with 125 frames a second, and it says when an electrode is off."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario, rate_hz=HEALTHYPI_4_RATE_HZ, streams=("ecg", "respiration", "ppg"))

    def _switch_on(self) -> None:
        self._is_streaming = True

    def _hear(self, data: bytes) -> None:
        self.heard.append(data)

    def _frame(self, index: int, rows: Mapping[str, np.ndarray], vitals: SourceVitals) -> bytes:
        del index
        is_off = self.is_faulty(FaultKind.LEAD_OFF, "ecg")
        ecg = float(rows["ecg"][0]) * _ECG_4_COUNTS_PER_MV
        payload = healthypi_4_payload(
            ecg=int(np.clip(round(ecg), -(2**15), 2**15 - 1)),
            respiration=round(float(rows["respiration"][0]) * 1000),
            red=round(float(rows["ppg"][0])),
            infrared=round(float(rows["ppg"][1])),
            temperature_c=0.0 if vitals.temperature_c is None else vitals.temperature_c,
            spo2_pct=0 if self.is_finger_out else whole(vitals.spo2_pct, 0, most=100),
            heart_rate_bpm=0 if is_off else whole(vitals.heart_rate_bpm, 0),
            respiratory_rate_bpm=0 if is_off else whole(vitals.respiratory_rate_bpm, 0),
            leads_off=0x0C if is_off else 0,
        )
        return openview_frame(payload)


class VirtualCyton(VirtualLineDevice):
    """OpenBCI Cyton: silent until it is started; a reset stops it, and it says who it is when it is ready.

    Channel 1 is lead II, channel 2 is V1, the others are open.

    Parameters
    ----------
    scenario : Scenario
    banner : bytes
        What it says after a reset.
    """

    def __init__(self, scenario: Scenario, *, banner: bytes = BANNER) -> None:
        super().__init__(scenario, rate_hz=CYTON_RATE_HZ, streams=("ecg", "acceleration"))
        self._banner = banner
        self._number = 0
        self._ready_ns: int | None = None

    def _switch_on(self) -> None:
        self._is_streaming = False
        self._ready_ns = None

    def _hear(self, data: bytes) -> None:
        for command in data:
            self.heard.append(bytes((command,)))
            if command == ord("v"):
                self._is_streaming = False
                self._ready_ns = self._now_ns + _RESET_NS
            elif self._ready_ns is not None:
                continue  # it is busy with itself
            elif command == ord("s"):
                self._is_streaming = False
            elif command == ord("b"):
                self._is_streaming = True
                self._number = 0
            elif command == ord("c"):
                self._send(b"daisy removed$$$")

    def _look_at_power(self, at_ns: int) -> None:
        super()._look_at_power(at_ns)
        if self._ready_ns is not None and at_ns >= self._ready_ns:
            self._ready_ns = None
            self._send(self._banner)

    def _frame(self, index: int, rows: Mapping[str, np.ndarray], vitals: SourceVitals) -> bytes:
        del vitals
        ecg = [round(float(value) * _CYTON_COUNTS_PER_MV) for value in rows["ecg"]]
        counts = (*(int(np.clip(value, -(2**23), 2**23 - 1)) for value in ecg), 0, 0, 0, 0, 0, 0)
        axes = (0, 0, 0)
        if index % 10 == 0:  # the accelerometer has a sample for every tenth frame
            x, y, z = (
                int(np.clip(round(float(value) * _COUNTS_PER_MPS2), -(2**15), 2**15 - 1))
                for value in rows["acceleration"]
            )
            axes = (x, y, z)
        frame = cyton_frame(self._number, counts, axes)
        self._number = (self._number + 1) % 256
        return frame
