"""A serial device that exists only as bytes: one frame per sample, driven by the virtual patient.

The caller owns time and bytes, as with `virtual.device.VirtualSensor`::

    device = VirtualNonin(Scenario.simple(heart_rate_bpm=72))
    line_out = device.advance(elapsed_ns)      # bytes for the host, up to this time since switching on
    line_out = device.receive(line_in)         # bytes from the host, answered at once

Acted out of a scenario are the patient, and the faults ``disconnect`` (the cable is pulled: a device that the cable
feeds forgets what it was told), ``firmware-reset``, ``lead-off`` of the ECG or the finger, ``battery-low``,
``frame-loss``, ``corruption``, ``duplicate``, ``jitter``, ``clock-drift``, and everything that spoils a signal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edge.messages import Samples, StreamInfo
from firmware_bridge.virtual.device import story_time_ns
from firmware_bridge.virtual.faults import FrontEnd
from firmware_bridge.virtual.line import NS_PER_S, FaultyLine
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import FaultKind, Scenario
from firmware_bridge.virtual.source import SourceVitals


class VirtualLineDevice(ABC):
    """What the virtual devices of this folder have in common.

    Parameters
    ----------
    scenario : Scenario
        The patient, the faults and the length of the story; its sensor settings are replaced by the device's.
    rate_hz : int
        Frames a second; every signal is sampled once for each.
    streams : sequence of str
        Signals of the patient that the device measures: ``ecg``, ``ppg``, ``respiration``, ``acceleration``.
    """

    def __init__(self, scenario: Scenario, *, rate_hz: int, streams: tuple[str, ...]) -> None:
        sensor = replace(
            scenario.sensor,
            streams=streams,
            ecg_rate_hz=rate_hz,
            ppg_rate_hz=rate_hz,
            respiration_rate_hz=rate_hz,
            acceleration_rate_hz=rate_hz,
        )
        self._scenario = replace(scenario, sensor=sensor)
        self._rate_hz = rate_hz
        self._patient = VirtualPatient(self._scenario, history_s=60.0, streams=streams)
        self._infos: Mapping[str, StreamInfo] = {info.name: info for info in self._patient.streams}
        self._front_end = FrontEnd(scenario.faults, scenario.patient.seed)
        self._line = FaultyLine(scenario.faults, scenario.patient.seed)
        self._signals: dict[str, Samples] = {}
        self._n_sampled = 0
        self._elapsed_ns = 0
        self._now_ns = 0
        self._is_streaming = False
        self._was_up = True
        self._was_connected = True
        self._is_switched_on = False
        self._shown: SourceVitals | None = None
        self.heard: list[bytes] = []
        """Every command that the host wrote, as the device understood it."""

    @property
    def scenario(self) -> Scenario:
        """What is acted out."""
        return self._scenario

    @property
    def story_ns(self) -> int:
        """Where in the story the device is."""
        return self._now_ns

    @property
    def is_connected(self) -> bool:
        """Whether the cable is in; while it is not, nothing goes either way."""
        return self._line.is_connected(self._now_ns)

    @property
    def is_finished(self) -> bool:
        """Whether the story is over."""
        duration_s = self._scenario.duration_s
        return duration_s is not None and self._now_ns >= duration_s * NS_PER_S

    @property
    def is_streaming(self) -> bool:
        """Whether frames are sent at present."""
        return self._is_streaming

    def advance(self, to_ns: int) -> bytes:
        """Return the bytes that reach the host until `to_ns` after switching on.

        Raises
        ------
        ValueError
            If `to_ns` is earlier than before: time does not go back.
        """
        if to_ns < self._elapsed_ns:
            raise ValueError(f"expected to_ns >= {self._elapsed_ns}, got {to_ns}")
        self._elapsed_ns = to_ns
        until_ns = story_time_ns(to_ns, self._scenario.faults)
        while (at_ns := self._n_sampled * NS_PER_S // self._rate_hz) <= until_ns:
            self._now_ns = max(self._now_ns, at_ns)
            self._look_at_power(at_ns)
            self._sample(at_ns)
        self._now_ns = max(self._now_ns, until_ns)
        return self._line.collect(self._now_ns)

    def receive(self, data: bytes) -> bytes:
        """Return the answer to bytes from the host, as far as it arrives at once."""
        if self.is_connected and self._is_up(self._now_ns):
            self._hear(data)
        return self._line.collect(self._now_ns)

    def is_faulty(self, kind: FaultKind, target: str | None = None) -> bool:
        """Whether a fault of the scenario holds at present, and concerns `target` if one is named."""
        at_s = self._now_ns / NS_PER_S
        return any(
            fault.kind is kind and fault.is_active(at_s) and target in {None, fault.target}
            for fault in self._scenario.faults
        )

    @property
    def is_finger_out(self) -> bool:
        """Whether the clip is off the finger."""
        return self.is_faulty(FaultKind.LEAD_OFF, "ppg")

    @abstractmethod
    def _switch_on(self) -> None:
        """Begin as after power-on."""

    @abstractmethod
    def _hear(self, data: bytes) -> None:
        """Obey bytes from the host; answers go through `_send`."""

    @abstractmethod
    def _frame(self, index: int, rows: Mapping[str, np.ndarray], vitals: SourceVitals) -> bytes:
        """Return the frame of one sample of every signal."""

    def _send(self, data: bytes) -> None:
        self._line.send(data, self._now_ns)

    def _is_up(self, at_ns: int) -> bool:
        at_s = at_ns / NS_PER_S
        return not any(
            fault.kind is FaultKind.FIRMWARE_RESET and fault.at_s <= at_s < fault.at_s + fault.parameter("restart_s")
            for fault in self._scenario.faults
        )

    def _look_at_power(self, at_ns: int) -> None:
        is_connected, is_up = self._line.is_connected(at_ns), self._is_up(at_ns)
        has_power_again = (is_connected and not self._was_connected) or (is_up and not self._was_up)
        if not is_connected or not is_up:
            self._is_streaming = False
        elif has_power_again or not self._is_switched_on:
            self._is_switched_on = True
            self._switch_on()
        self._was_connected, self._was_up = is_connected, is_up

    def _sample(self, at_ns: int) -> None:
        index = self._n_sampled
        offset = index % self._rate_hz
        if offset == 0:  # a second at a time: the patient is made in whole seconds
            self._signals = {
                name: self._front_end.apply(info, index, self._patient.read(name, self._rate_hz))
                for name, info in self._infos.items()
            }
        self._n_sampled += 1
        if self._is_streaming:
            rows = {name: values[offset] for name, values in self._signals.items()}
            vitals = self._vitals(index, at_ns)
            self._line.send(self._frame(index, rows, vitals), at_ns)

    def _vitals(self, index: int, at_ns: int) -> SourceVitals:
        """Return what the device shows: computed once a second, as such devices do."""
        if index % self._rate_hz == 0 or self._shown is None:
            self._shown = self._patient.vitals_at(at_ns / NS_PER_S)
        return self._shown


class PulseWave:
    """Light to a pleth of few bits, as an oximeter draws it: the steady part removed, the pulse to full height."""

    def __init__(self, full_scale: int) -> None:
        self.full_scale = full_scale
        self._steady: float | None = None

    def sample(self, light: float) -> int:
        """Return the next pleth sample, 0 to full scale."""
        self._steady = light if self._steady is None else self._steady + 0.01 * (light - self._steady)
        share = (light - self._steady) / max(1.0, 0.04 * abs(self._steady))
        return int(np.clip(round((0.5 + share) * self.full_scale), 0, self.full_scale))


def whole(value: float | None, missing: int, *, most: int = 255) -> int:
    """Return a value as the device's integer, or what it sends for want of one."""
    return missing if value is None else int(np.clip(round(value), 0, most))
