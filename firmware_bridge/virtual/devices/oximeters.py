"""Virtual finger oximeters: Contec of both generations, and Nonin in the data formats 2 and 7."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from firmware_bridge.virtual.devices.line_device import PulseWave, VirtualLineDevice, whole
from firmware_bridge.virtual.scenario import FaultKind, Scenario
from firmware_bridge.virtual.source import SourceVitals

CONTEC_RATE_HZ = 60
NONIN_RATE_HZ = 75
NONIN_PACKET_FRAMES = 25
_PULSE_FRAMES = 12
"""For so many frames the quality of a pulse is shown."""


def contec_5byte_frame(
    *, pleth: int, pulse_rate_bpm: int, spo2_pct: int, strength: int = 5, is_finger_out: bool = False
) -> bytes:
    """Return a frame of the older Contec oximeters.

    Examples
    --------
    >>> contec_5byte_frame(pleth=64, pulse_rate_bpm=150, spo2_pct=96).hex(" ")
    '85 40 40 16 60'
    """
    state = (0x40 if pulse_rate_bpm & 0x80 else 0) | (0x20 if is_finger_out else 0)
    flags = 0x80 | strength & 0x0F | (0x10 if is_finger_out else 0)
    return bytes((flags, pleth & 0x7F, state, pulse_rate_bpm & 0x7F, spo2_pct & 0x7F))


def contec_v7_packet(packet_type: int, payload: bytes) -> bytes:
    """Return a packet of Contec's protocol 7.0.

    Examples
    --------
    >>> contec_v7_packet(0x01, bytes((5, 51, 22, 150, 97, 255, 255))).hex(" ")
    '01 e8 85 b3 96 96 e1 ff ff'
    """
    high_bits = 0
    body = bytearray()
    for k, byte in enumerate(payload):
        high_bits |= (byte >> 7) << k
        body.append(byte | 0x80)
    return bytes((packet_type, 0x80 | high_bits)) + bytes(body)


def nonin_frame(status: int, pleth: int, data: int, *, data_format: int = 2) -> bytes:
    """Return one frame with its checksum.

    Examples
    --------
    >>> nonin_frame(0x81, 1, 0).hex(" ")
    '01 81 01 00 83'
    """
    if data_format == 2:
        body = bytes((0x01, status, pleth & 0xFF, data))
    else:
        body = bytes((status, pleth >> 8 & 0xFF, pleth & 0xFF, data))
    return body + bytes((sum(body) & 0xFF,))


def nonin_data(pulse_rate_bpm: int, spo2_pct: int, *, revision: int = 48, status_2: int = 0) -> list[int]:
    """Return the 25 data bytes of a packet."""
    data = [0] * NONIN_PACKET_FRAMES
    for at in (0, 13, 19, 21):  # four kinds of average, alike here
        data[at], data[at + 1] = pulse_rate_bpm >> 7 & 0x03, pulse_rate_bpm & 0x7F
    for at in (2, 8, 9, 10, 15, 16):
        data[at] = spo2_pct
    data[3], data[7] = revision, status_2
    return data


class VirtualContec5Byte(VirtualLineDevice):
    """Contec CMS50D+ up to firmware 4.5: it streams as soon as it has power, and listens to nobody."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario, rate_hz=CONTEC_RATE_HZ, streams=("ppg",))
        self._wave = PulseWave(127)

    def _switch_on(self) -> None:
        self._is_streaming = True

    def _hear(self, data: bytes) -> None:
        self.heard.append(data)

    def _frame(self, index: int, rows: Mapping[str, np.ndarray], vitals: SourceVitals) -> bytes:
        del index
        if self.is_finger_out:
            return contec_5byte_frame(pleth=0, pulse_rate_bpm=127, spo2_pct=127, strength=0, is_finger_out=True)
        return contec_5byte_frame(
            pleth=self._wave.sample(rows["ppg"][1]),
            pulse_rate_bpm=whole(vitals.pulse_rate_bpm, 255),
            spo2_pct=whole(vitals.spo2_pct, 127, most=100),
        )


class VirtualContecV7(VirtualLineDevice):
    """Contec CMS50D+ from firmware 4.6: live data for half a minute after each request.

    Parameters
    ----------
    scenario : Scenario
    live_s : float
        How long a request is good for.
    """

    def __init__(self, scenario: Scenario, *, live_s: float = 30.0) -> None:
        super().__init__(scenario, rate_hz=CONTEC_RATE_HZ, streams=("ppg",))
        self._live_s = live_s
        self._asked_ns: int | None = None
        self._wave = PulseWave(127)
        self._pending = b""

    def _switch_on(self) -> None:
        self._is_streaming = False
        self._asked_ns = None
        self._pending = b""

    def _hear(self, data: bytes) -> None:
        self._pending += data
        while (at := self._pending.find(b"\x7d")) >= 0 and len(self._pending) >= at + 9:
            packet, self._pending = self._pending[at : at + 9], self._pending[at + 9 :]
            command = packet[2] & 0x7F | (packet[1] & 0x01) << 7
            self.heard.append(bytes((command,)))
            if command == 0xA1:
                self._asked_ns = self._now_ns
                self._is_streaming = True
            elif command == 0xA2:
                self._is_streaming = False
                self._send(contec_v7_packet(0x0C, b""))
            elif command != 0xAF:
                self._send(contec_v7_packet(0x0B, bytes((command, 5))))

    def _frame(self, index: int, rows: Mapping[str, np.ndarray], vitals: SourceVitals) -> bytes:
        del index
        if self._asked_ns is None or self._now_ns - self._asked_ns > self._live_s * 1e9:
            self._is_streaming = False
            return contec_v7_packet(0x0D, b"\x00")
        if self.is_finger_out:
            return contec_v7_packet(0x01, bytes((0x80, 0x40, 0x10, 0xFF, 0x7F, 0xFF, 0xFF)))
        pulse = self._wave.sample(rows["ppg"][1])
        rate, spo2 = whole(vitals.pulse_rate_bpm, 255), whole(vitals.spo2_pct, 127, most=100)
        return contec_v7_packet(0x01, bytes((5, pulse, 0x10 | pulse >> 3 & 0x0F, rate, spo2, 0xFF, 0xFF)))


class VirtualNonin(VirtualLineDevice):
    """A Nonin module: it streams its first format at once, and another one when asked.

    Parameters
    ----------
    scenario : Scenario
    data_format : int
        Format after power-on.
    formats : tuple of int
        Formats that it can be asked for; others are declined.
    """

    def __init__(self, scenario: Scenario, *, data_format: int = 2, formats: tuple[int, ...] = (2, 7)) -> None:
        super().__init__(scenario, rate_hz=NONIN_RATE_HZ, streams=("ppg",))
        self._first_format = data_format
        self._format = data_format
        self._formats = formats
        self._place = 0
        self._data = nonin_data(511, 127)
        self._pending = b""
        self._waves = {2: PulseWave(255), 7: PulseWave(65_535)}
        self._is_between_pulses = True
        self._n_pulse_frames = 0

    def _switch_on(self) -> None:
        self._is_streaming = True
        self._format = self._first_format
        self._place = 0
        self._pending = b""

    def _hear(self, data: bytes) -> None:
        self._pending += data
        while (at := self._pending.find(b"\x02\x70")) >= 0 and len(self._pending) >= at + 8:
            packet, self._pending = self._pending[at : at + 8], self._pending[at + 8 :]
            self.heard.append(packet)
            is_sound = sum(packet[1:6]) & 0xFF == packet[6] and packet[7] == 0x03
            if is_sound and packet[4] in self._formats:
                self._send(b"\x06")
                self._format = packet[4]
                self._place = 0
            else:
                self._send(b"\x15")

    def _frame(self, index: int, rows: Mapping[str, np.ndarray], vitals: SourceVitals) -> bytes:
        del index
        if self._place == 0:
            status_2 = 0x01 if self.is_faulty(FaultKind.BATTERY_LOW) else 0
            has_finger = not self.is_finger_out
            rate = whole(vitals.pulse_rate_bpm if has_finger else None, 511, most=321)
            spo2 = whole(vitals.spo2_pct if has_finger else None, 127, most=100)
            self._data = nonin_data(rate, spo2, status_2=status_2)
        wave = self._waves[self._format]
        pleth = wave.sample(rows["ppg"][1])
        status = 0x80 | (0x01 if self._place == 0 else 0)
        status |= 0x48 if self.is_finger_out else self._pulse_bits(pleth / wave.full_scale)
        frame = nonin_frame(status, pleth, self._data[self._place], data_format=self._format)
        self._place = (self._place + 1) % NONIN_PACKET_FRAMES
        return frame

    def _pulse_bits(self, height: float) -> int:
        """Return what is said of a pulse while it goes on: green, or an artifact while the patient moves."""
        if self._is_between_pulses and height > 0.6:
            self._is_between_pulses = False
            self._n_pulse_frames = _PULSE_FRAMES
        elif height < 0.5:
            self._is_between_pulses = True
        if not self._n_pulse_frames:
            return 0
        self._n_pulse_frames -= 1
        return 0x20 if self.is_faulty(FaultKind.MOTION) else 0x02
