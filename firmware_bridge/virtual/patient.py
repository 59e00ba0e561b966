"""A virtual patient: seeded, coupled signals of one body, and the truth about them.

The shortest way to a signal with known beats::

    from firmware_bridge.virtual.patient import VirtualPatient
    from firmware_bridge.virtual.scenario import Scenario

    patient = VirtualPatient(Scenario.simple(rhythm="atrial-fibrillation", heart_rate_bpm=110, seed=1))
    signals = patient.take(60.0)                # the next 60 s
    signals.ecg_mv                              # (15000, 2): leads II and V1 at signals.ecg_rate_hz = 250
    signals.ppg                                 # (6000, 2): red and infrared, upright, at 100 Hz
    signals.respiration_ohm                     # (1500, 1) at 25 Hz
    signals.acceleration_mps2                   # (3000, 3) at 50 Hz
    [(beat.at_s, beat.kind) for beat in signals.truth.beats]    # R peaks, AAMI classes N S V Q
    signals.truth.rhythms                       # spans with WFDB names: N SBR AFIB VT B T ...
    signals.truth.beats[0].waves.pr_ms          # where P, QRS and T begin and end, beat by beat
    signals.truth.pulses, .breaths, .apnoeas, .motions, .events     # see `truth.Truth`
    patient.vitals_at(60.0).spo2_pct            # what a perfect oximeter shows at 60 s

`load_scenario("demo")` of `scenario_file` gives a whole story instead of one state.  Two patients with the same
scenario are alike to the last bit, in whatever pieces they are read: signals are made in whole seconds.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from edge.messages import Channel, ChannelKind, Samples, StreamInfo
from firmware_bridge.virtual import ecg, pulse
from firmware_bridge.virtual.faults import FrontEnd
from firmware_bridge.virtual.motion import STANDARD_GRAVITY_MPS2, Motion
from firmware_bridge.virtual.respiration import Respiration
from firmware_bridge.virtual.rhythm import BeatSequence, HeartBeat, RhythmStart
from firmware_bridge.virtual.scenario import PatientState, Rhythm, Scenario, SensorSettings
from firmware_bridge.virtual.source import SourceVitals
from firmware_bridge.virtual.trajectory import FloatArray, Trajectory
from firmware_bridge.virtual.truth import RhythmSpan, TrueBeat, Truth

ECG_RANGE_MV = 5.0
"""IEC 60601-2-27 asks a monitor for at least +-5 mV."""
PPG_FULL_SCALE = 2.0**18 - 1
RESPIRATION_RANGE_OHM = 8.0
ACCELERATION_RANGE_MPS2 = 4.0 * STANDARD_GRAVITY_MPS2

PULSE_WINDOW_S = 8.0
"""Oximeters average over about this time (ISO 80601-2-61 asks to state it; 8 s is a common setting)."""
WEAKEST_PULSE_RATIO = 0.15
"""Pulses weaker than this are not counted by an oximeter."""
LIGHT_LAG_S = 0.06
LIGHT_PER_AXIS = np.array([0.5, 1.0, 0.7])
"""How much each axis counts in the motion of the light; own choice."""
WRIST_MOTION_RATIO = 2.5
"""A watch slides where a finger clip holds: so much more of the movement is in its light.  Own choice."""
_MEMORY_S = 12.0


def _signed_16_bit(name: str, kind: ChannelKind, unit: str, full_scale: float) -> Channel:
    """Return a channel that is converted to 16 bits, so that its counts are -32768 to 32767."""
    step = full_scale / 2**15
    return Channel(name=name, kind=kind, unit=unit, minimum=-full_scale, maximum=full_scale - step, resolution=step)


def _light(name: str, kind: ChannelKind) -> Channel:
    """Return a channel whose values are the counts of an 18-bit front end."""
    return Channel(name=name, kind=kind, unit="1", minimum=0.0, maximum=PPG_FULL_SCALE, resolution=1.0)


def _axes() -> tuple[Channel, ...]:
    """Return the three axes of an accelerometer."""
    return tuple(
        _signed_16_bit(f"A{kind.value[-1].upper()}", kind, "m/s2", ACCELERATION_RANGE_MPS2)
        for kind in (ChannelKind.ACCELERATION_X, ChannelKind.ACCELERATION_Y, ChannelKind.ACCELERATION_Z)
    )


CHANNELS: Mapping[str, tuple[Channel, ...]] = MappingProxyType(
    {
        "ecg": tuple(_signed_16_bit(lead, ChannelKind.ECG, "mV", ECG_RANGE_MV) for lead in ecg.LEADS),
        "ppg": (_light("RED", ChannelKind.PPG_RED), _light("IR", ChannelKind.PPG_INFRARED)),
        "respiration": (_signed_16_bit("RESP", ChannelKind.RESPIRATION, "Ohm", RESPIRATION_RANGE_OHM),),
        "acceleration": _axes(),
        "wrist": (_light("GREEN", ChannelKind.PPG),),
        "wrist-motion": _axes(),
    }
)
"""Channels of every stream, with the range and the step of the converter."""
STREAMS = SensorSettings().streams
"""What a chest strap with a finger clip has; the two of the wrist are there for those who ask for them."""

NOISE_RMS: Mapping[str, float] = MappingProxyType(
    {"ecg": 0.008, "ppg": 25.0, "respiration": 0.01, "acceleration": 0.02, "wrist": 12.0, "wrist-motion": 0.02}
)
"""White noise of a good front end, in the unit of the stream: 8 uV on the ECG."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """A stretch of all signals, and the truth about it."""

    start_s: float
    ecg_mv: Samples
    """Leads II and V1, shape (n_samples, 2)."""
    ecg_rate_hz: float
    ppg: Samples
    """Red and infrared light, upright, shape (n_samples, 2)."""
    ppg_rate_hz: float
    respiration_ohm: Samples
    """Shape (n_samples, 1)."""
    respiration_rate_hz: float
    acceleration_mps2: Samples
    """Axes x, y, z, shape (n_samples, 3)."""
    acceleration_rate_hz: float
    truth: Truth
    wrist_light: Samples | None = None
    """Green light, upright, shape (n_samples, 1); None unless the patient was made with the stream ``wrist``."""
    wrist_acceleration_mps2: Samples | None = None
    """Axes x, y, z, shape (n_samples, 3); None unless it was made with ``wrist-motion``."""


class VirtualPatient:
    """One body that is advanced in time and read stream by stream.

    Parameters
    ----------
    scenario : Scenario
        Who the patient is and what happens to them.
    history_s : float
        How long beats and rhythms are remembered for `truth`; a sensor that runs for days gives a bound.
    streams : sequence of str
        The signals that will be read, in step with each other: the slowest one decides what is remembered.
    """

    def __init__(self, scenario: Scenario, *, history_s: float = math.inf, streams: Sequence[str] = STREAMS) -> None:
        states = scenario.states()
        seeds = np.random.SeedSequence(scenario.patient.seed).spawn(5)
        heart, breath, skin, finger, body = (np.random.default_rng(seed) for seed in seeds)
        self._scenario = scenario
        self._person = scenario.patient
        self._history_s = history_s
        self._respiration = Respiration(states, breath)
        self._sequence = BeatSequence(
            states,
            self._respiration,
            heart,
            age_years=self._person.age_years,
            breath_rr_ratio=self._person.breath_rr_ratio,
        )
        self._ecg = ecg.Electrocardiogram(skin, self._respiration, self._person)
        self._spo2_pct = _follow(states, "spo2_pct", time_constant_s=12.0)
        self._temperature_c = _follow(states, "temperature_c", time_constant_s=300.0)
        self._systolic_mmhg = _follow(states, "systolic_mmhg", time_constant_s=20.0)
        self._diastolic_mmhg = _follow(states, "diastolic_mmhg", time_constant_s=20.0)
        self._ppg = pulse.Photoplethysmogram(states, self._spo2_pct, self._respiration, finger, self._person)
        self._motion = Motion(states, self._respiration, body)
        self._streams = tuple(
            StreamInfo(name=name, channels=CHANNELS[name], nominal_rate_hz=float(scenario.sensor.rate_hz(name)))
            for name in CHANNELS
            if name in streams
        )
        self._beats: deque[HeartBeat] = deque()
        # What signals and vital signs still need; kept apart so that a long history costs nothing per frame.
        self._recent: list[HeartBeat] = []
        self._starts: deque[RhythmStart] = deque()
        self._known_until_s = -math.inf
        self._n_read = {info.name: 0 for info in self._streams}
        self._frames: dict[str, tuple[int, Samples]] = {}

    @property
    def streams(self) -> tuple[StreamInfo, ...]:
        """All signals of the patient, undisturbed."""
        return self._streams

    def read(self, stream: str, n_samples: int) -> Samples:
        """Return the next `n_samples` of a stream, shape (n_samples, n_channels), without the scenario's faults."""
        rate_hz = self._scenario.sensor.rate_hz(stream)
        parts = [np.empty((0, len(CHANNELS[stream])))]
        while n_samples > 0:
            frame_index, offset = divmod(self._n_read[stream], rate_hz)
            part = self._frame(stream, frame_index)[offset : offset + n_samples]
            self._n_read[stream] += len(part)
            n_samples -= len(part)
            parts.append(part)
        return np.concatenate(parts)

    def take(self, duration_s: float, *, with_faults: bool = True) -> Signals:
        """Return the next `duration_s` seconds of every signal as the converter sees them, with the truth.

        The faults of the scenario that concern signals are acted out unless `with_faults` is False.

        Raises
        ------
        ValueError
            If the patient was made for some of the streams only.
        """
        if not set(STREAMS) <= set(self._n_read):
            raise ValueError(f"expected a patient with the streams {', '.join(STREAMS)}, got {[*self._n_read]}")
        rates_hz = {info.name: info.nominal_rate_hz for info in self._streams}
        start_s = self._n_read["ecg"] / rates_hz["ecg"]
        front_end = FrontEnd(self._scenario.faults if with_faults else (), self._scenario.patient.seed)
        values = {}
        for info in self._streams:
            first = self._n_read[info.name]
            n_samples = round((start_s + duration_s) * info.nominal_rate_hz) - first
            values[info.name] = front_end.apply(info, first, self.read(info.name, n_samples))
        return Signals(
            start_s=start_s,
            ecg_mv=values["ecg"],
            ecg_rate_hz=rates_hz["ecg"],
            ppg=values["ppg"],
            ppg_rate_hz=rates_hz["ppg"],
            respiration_ohm=values["respiration"],
            respiration_rate_hz=rates_hz["respiration"],
            acceleration_mps2=values["acceleration"],
            acceleration_rate_hz=rates_hz["acceleration"],
            truth=self.truth(start_s, start_s + duration_s),
            wrist_light=values.get("wrist"),
            wrist_acceleration_mps2=values.get("wrist-motion"),
        )

    def samples(self, from_s: float, to_s: float, *, with_faults: bool = True) -> Signals:
        """Return all signals between two instants; what lies before `from_s` is passed over.

        Raises
        ------
        ValueError
            If `from_s` was already read: a patient does not go back.
        """
        position_s = self._n_read["ecg"] / self._scenario.sensor.ecg_rate_hz
        if from_s < position_s or to_s < from_s:
            raise ValueError(f"expected {position_s} <= from_s <= to_s, got {from_s} and {to_s}")
        if from_s > position_s:
            self.take(from_s - position_s, with_faults=False)
        return self.take(to_s - from_s, with_faults=with_faults)

    def truth(self, from_s: float, to_s: float) -> Truth:
        """Return what really happens between two instants; beats and pulses as far back as the history goes."""
        self._know_until(to_s)
        spans = tuple(
            RhythmSpan(start_s=max(from_s, start.at_s), end_s=min(to_s, end_s), label=start.label)
            for start, end_s in self._spans()
            if start.at_s < to_s and end_s > from_s and end_s > start.at_s
        )
        pulses = (self._ppg.pulse(beat) for beat in self._beats if from_s - 1.0 <= beat.at_s < to_s)
        return Truth(
            beats=tuple(self._true_beat(beat) for beat in self._beats if from_s <= beat.at_s < to_s),
            rhythms=spans,
            pulses=tuple(each for each in pulses if from_s <= each.foot_s < to_s),
            breaths=self._respiration.breaths(from_s, to_s),
            apnoeas=self._respiration.apnoeas(from_s, to_s),
            motions=self._motion.motions(from_s, to_s),
            events=self._motion.events(from_s, to_s),
        )

    def _true_beat(self, beat: HeartBeat) -> TrueBeat:
        return TrueBeat(
            at_s=beat.at_s,
            kind=beat.kind,
            pulse_ratio=beat.pulse_ratio,
            rr_s=beat.rr_s,
            morphology=beat.morphology,
            is_premature=beat.is_premature,
            is_after_compensatory_pause=beat.is_after_compensatory_pause,
            height_mv=self._ecg.height_mv(beat),
            waves=self._ecg.wave_times(beat),
        )

    def vitals_at(self, at_s: float) -> SourceVitals:
        """Return what perfect instruments show at an instant; without a pulse there is no saturation and no pressure."""
        self._know_until(at_s)
        instant = np.array([at_s])
        recent = [beat for beat in self._recent if at_s - PULSE_WINDOW_S < beat.at_s <= at_s]
        # Beats of fibrillation are none; a last beat far in the past makes no rate either.
        pulses = [beat for beat in recent if beat.pulse_ratio >= WEAKEST_PULSE_RATIO]
        pulse_rate_bpm = _rate_bpm(pulses)
        has_pulse = pulse_rate_bpm is not None and at_s - pulses[-1].at_s < 4.0
        return SourceVitals(
            heart_rate_bpm=_rate_bpm(recent) if recent and at_s - recent[-1].at_s < 4.0 else None,
            pulse_rate_bpm=pulse_rate_bpm if has_pulse else None,
            respiratory_rate_bpm=float(self._respiration.rate_bpm(instant)[0]),
            spo2_pct=float(self._spo2_pct.at(instant)[0]) if has_pulse else None,
            temperature_c=float(self._temperature_c.at(instant)[0]),
            systolic_mmhg=float(self._systolic_mmhg.at(instant)[0]) if has_pulse else None,
            diastolic_mmhg=float(self._diastolic_mmhg.at(instant)[0]) if has_pulse else None,
        )

    def _frame(self, stream: str, index: int) -> Samples:
        """Return one whole second of a stream; making whole seconds is what makes the output independent of steps."""
        cached = self._frames.get(stream)
        if cached is not None and cached[0] == index:
            return cached[1]
        rate_hz = self._scenario.sensor.rate_hz(stream)
        at_s = (index * rate_hz + np.arange(rate_hz)) / rate_hz
        self._know_until(index + 1.0 + ecg.REACH_BEFORE_S)
        first = bisect_right(self._recent, index - pulse.REACH_AFTER_S, key=_instant)
        beats = self._recent[first : bisect_left(self._recent, index + 2.0, key=_instant)]
        values = self._signal(stream, at_s, beats)
        # Noise belongs to the second it is in, not to the order in which seconds are made.
        key = (self._scenario.patient.seed, 71, list(CHANNELS).index(stream), index)
        values = values + NOISE_RMS[stream] * np.random.default_rng(key).standard_normal(values.shape)
        self._frames[stream] = (index, values)
        return values

    def _signal(self, stream: str, at_s: FloatArray, beats: list[HeartBeat]) -> Samples:
        if stream == "ecg":
            rhythms: list[tuple[float, float, Rhythm]] = [
                (start.at_s, end_s, start.rhythm)
                for start, end_s in self._spans()
                if start.at_s <= at_s[-1] and end_s >= at_s[0] - ecg.RAMP_S
            ]
            return self._ecg.at(at_s, beats, rhythms)
        if stream == "ppg":
            light = self._ppg.at(at_s, beats)
            return light * (1.0 + self.light_motion(at_s)[:, None]) if self._motion.is_ever_moving else light
        if stream == "respiration":
            return self._impedance(at_s, beats)[:, None]
        if stream == "wrist":
            return self._ppg.wrist(at_s, beats)[:, None] * (1.0 + self._wrist_artefact(at_s))[:, None]
        return self._motion.at(at_s) if stream == "acceleration" else self._motion.wrist(at_s)

    def light_motion(self, at_s: FloatArray) -> FloatArray:
        """Return by how much movement changes the light, relative to it: the artefact in both colours of the PPG.

        Tissue is pressed and blood sloshes a little later than the chest is accelerated.
        """
        movement = self._motion.movement(at_s - LIGHT_LAG_S)
        return np.asarray(self._person.motion_light_ratio * movement @ LIGHT_PER_AXIS)

    def _wrist_artefact(self, at_s: FloatArray) -> FloatArray:
        movement = self._motion.wrist_movement(at_s - LIGHT_LAG_S)
        return np.asarray(WRIST_MOTION_RATIO * self._person.motion_light_ratio * movement @ LIGHT_PER_AXIS)

    def _impedance(self, at_s: FloatArray, beats: list[HeartBeat]) -> FloatArray:
        """Return the impedance of the chest: more air, more Ohm; more blood, less."""
        impedance = 0.8 * self._respiration.wave(at_s)
        size_ohm = self._person.cardiac_impedance_ohm
        if size_ohm > 0:
            for beat in beats:
                since_s = at_s - beat.at_s
                # Blood leaves the chest within 0.15 s and comes back more slowly; the mean of a beat is zero.
                stroke = np.exp(-0.5 * ((since_s - 0.15) / 0.06) ** 2)
                stroke -= 0.5 * np.exp(-0.5 * ((since_s - 0.40) / 0.12) ** 2)
                impedance = impedance - size_ohm * beat.pulse_ratio * stroke
        return np.asarray(impedance)

    def _spans(self) -> list[tuple[RhythmStart, float]]:
        starts = list(self._starts)
        ends_s = [start.at_s for start in starts[1:]] + [math.inf]
        return list(zip(starts, ends_s, strict=True))

    def _know_until(self, end_s: float) -> None:
        """Draw beats up to `end_s` and forget those that nothing can need any more."""
        if end_s <= self._known_until_s:
            return
        self._known_until_s = end_s
        beats, starts = self._sequence.until(end_s)
        self._beats.extend(beats)
        self._recent.extend(beats)
        self._starts.extend(starts)
        read_s = [self._n_read[info.name] / info.nominal_rate_hz for info in self._streams]
        slowest_s = min([end_s, *read_s])
        del self._recent[: bisect_left(self._recent, slowest_s - _MEMORY_S, key=_instant)]
        oldest_s = end_s - max(self._history_s, _MEMORY_S)
        while self._beats and self._beats[0].at_s < oldest_s:
            self._beats.popleft()
        while len(self._starts) > 1 and self._starts[1].at_s < oldest_s:
            self._starts.popleft()


def _follow(states: Sequence[PatientState], name: str, *, time_constant_s: float) -> Trajectory:
    """Return the trajectory of one number of the state."""
    return Trajectory([(state.at_s, float(getattr(state, name))) for state in states], time_constant_s=time_constant_s)


def _instant(beat: HeartBeat) -> float:
    return beat.at_s


def _rate_bpm(beats: list[HeartBeat]) -> float | None:
    """Return the mean rate of at least three beats, None for fewer."""
    if len(beats) < 3:
        return None
    return 60.0 * (len(beats) - 1) / (beats[-1].at_s - beats[0].at_s)
