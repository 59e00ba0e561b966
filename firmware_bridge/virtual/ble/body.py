"""What one Bluetooth sensor feels of the virtual patient: beats, values and signals, each at any later instant.

Every sensor has a body of its own, made from the same scenario: two of them feel the same heart to the last bit, and
none has to wait for another.  Instants are seconds of the story and may not go back.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from edge.messages import Samples
from firmware_bridge.virtual.faults import FrontEnd
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import Fault, FaultKind, Scenario
from firmware_bridge.virtual.source import SourceVitals
from firmware_bridge.virtual.truth import TrueBeat

ECG_SOURCE_HZ = 520
"""The signal is made at four times the rate of a strap and read between its samples: with a cubic through four samples
a 40 Hz sine comes out within 0.1 %, where a line would lose 3 %."""
ACCELERATION_SOURCE_HZ = 200
_HISTORY_S = 60.0


class Body:
    """The patient under one sensor.

    Parameters
    ----------
    scenario : Scenario
        Who the patient is, what happens to them and to their sensors.
    streams : tuple of str
        Signals that will be read, of ``ecg`` and ``acceleration``.
    """

    def __init__(self, scenario: Scenario, streams: tuple[str, ...] = ()) -> None:
        rates = replace(
            scenario.sensor, ecg_rate_hz=ECG_SOURCE_HZ, acceleration_rate_hz=ACCELERATION_SOURCE_HZ, streams=streams
        )
        self.scenario = replace(scenario, sensor=rates)
        self._patient = VirtualPatient(self.scenario, history_s=_HISTORY_S, streams=streams)
        front_end = FrontEnd(scenario.faults, scenario.patient.seed)
        self._signals = {info.name: Signal(self._patient, info.name, front_end) for info in self._patient.streams}
        self._felt_until_s = 0.0
        self._vitals = (-math.inf, SourceVitals())

    def vitals_at(self, at_s: float) -> SourceVitals:
        """Return what a perfect instrument shows."""
        if at_s > self._vitals[0]:
            self._vitals = (at_s, self._patient.vitals_at(at_s))
        return self._vitals[1]

    def beats_until(self, at_s: float) -> tuple[TrueBeat, ...]:
        """Return the beats since the last call."""
        beats = self._patient.truth(self._felt_until_s, at_s).beats
        self._felt_until_s = max(self._felt_until_s, at_s)
        return beats

    def perfusion_pct(self, at_s: float) -> float:
        """Return the perfusion index ordered for an instant."""
        return self.scenario.state_at(at_s).perfusion_pct

    def fault(self, kind: FaultKind, at_s: float, target: str | None = None) -> Fault | None:
        """Return the fault of this kind that is active, None if there is none; `target` chooses among streams."""
        for fault in self.scenario.faults:
            if fault.kind is kind and fault.is_active(at_s) and target in {None, fault.target}:
                return fault
        return None

    def signal(self, stream: str) -> Signal:
        """Return one of the signals that the body was made with."""
        return self._signals[stream]


class Signal:
    """One signal of the patient, sampled at whatever rate a sensor's crystal really has.

    Parameters
    ----------
    patient : VirtualPatient
        Read from the beginning of the story on.
    stream : str
        Name of the signal.
    front_end : FrontEnd
        Spoils it as the scenario has it.
    """

    def __init__(self, patient: VirtualPatient, stream: str, front_end: FrontEnd) -> None:
        self._patient = patient
        self._info = next(info for info in patient.streams if info.name == stream)
        self._front_end = front_end
        self._first = 0
        self._held: Samples = np.empty((0, len(self._info.channels)))

    def at(self, at_s: np.ndarray) -> Samples:
        """Return the signal at rising instants, shape (n_instants, n_channels); none may lie before the last call's."""
        position = np.asarray(at_s, dtype=float) * self._info.nominal_rate_hz
        self._hold(int(position[0]) - 1, int(position[-1]) + 3)
        k = np.floor(position).astype(int)
        f = (position - k)[:, None]
        p0, p1, p2, p3 = (self._held[np.clip(k + d - self._first, 0, len(self._held) - 1)] for d in (-1, 0, 1, 2))
        # Catmull-Rom: goes through the samples with the slopes of their neighbours.
        bend = 2 * p0 - 5 * p1 + 4 * p2 - p3 + f * (3 * (p1 - p2) + p3 - p0)
        return np.asarray(p1 + 0.5 * f * (p2 - p0 + f * bend))

    def skip_to(self, at_s: float) -> None:
        """Pass over what nobody asked for, so that a sensor that is started late does not have to catch up."""
        until = int(at_s * self._info.nominal_rate_hz) - 2
        if until > self._first + len(self._held):
            self._hold(until, until + 1)

    def _hold(self, first: int, end: int) -> None:
        """Keep the source samples from `first` up to, not including, `end`."""
        first = max(0, first)
        missing = end - (self._first + len(self._held))
        if missing > 0:
            index = self._first + len(self._held)
            fresh = self._front_end.apply(self._info, index, self._patient.read(self._info.name, missing))
            self._held = np.concatenate([self._held, fresh])
        gone = max(0, min(first - self._first, len(self._held)))
        self._held, self._first = self._held[gone:], self._first + gone
