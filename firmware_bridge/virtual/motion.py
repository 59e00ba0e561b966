"""How the patient lies and moves: three axes of acceleration at the chest, in m/s2."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from firmware_bridge.virtual.respiration import Respiration
from firmware_bridge.virtual.scenario import Activity, Event, PatientState, Posture
from firmware_bridge.virtual.trajectory import FloatArray, Trajectory
from firmware_bridge.virtual.truth import TrueEvent, TrueMotion

STANDARD_GRAVITY_MPS2 = 9.80665
TURN_TIME_CONSTANT_S = 0.6
STEP_RATE_HZ = 1.8
"""Usual cadence of an adult, about 108 steps a minute."""
STEP_TIME_CONSTANT_S = 1.0

GRAVITY: Mapping[Posture, tuple[float, float, float]] = MappingProxyType(
    {
        Posture.SUPINE: (0.0, 0.0, 1.0),
        Posture.PRONE: (0.0, 0.0, -1.0),
        Posture.LEFT: (1.0, 0.0, 0.0),
        Posture.RIGHT: (-1.0, 0.0, 0.0),
        Posture.SITTING: (0.0, math.sin(math.radians(70)), math.cos(math.radians(70))),
        Posture.STANDING: (0.0, 1.0, 0.0),
    }
)
"""What an accelerometer at rest shows, in g: x to the patient's right, y to the head, z out of the chest."""


WRIST_GRAVITY: Mapping[Posture, tuple[float, float, float]] = MappingProxyType(
    {Posture.STANDING: (-1.0, 0.0, 0.0), Posture.SITTING: (-0.26, 0.0, 0.97)}
)
"""The same at the wrist: hanging while standing, on the lap while sitting, else flat beside the body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """How one event goes, in g and in seconds after its beginning."""

    push_g: float = 0.0
    """Hump of the vertical axis before support is lost."""
    push_s: float = 0.0
    flight_s: float
    """How long support is lost."""
    lightness_ratio: float
    """Share of gravity that is gone meanwhile; 1 is free fall."""
    impact_g: float
    impact_width_s: float
    direction: tuple[float, float, float]
    """Of the impact, at the chest."""

    @property
    def impact_s(self) -> float:
        """When the impact is hardest."""
        return self.push_s + self.flight_s + 0.5 * self.impact_width_s


_RINGING_HZ = 11.0
_RINGING_TIME_CONSTANT_S = 0.07
_RINGING_RATIO = 0.25
_EVENT_END_S = 1.5
# Own choice within what is published for falls of volunteers at the trunk: 0.3-0.5 s of less than 0.6 g, an impact of
# 2.5-5 g within a tenth of a second (Kangas et al. 2008, doi:10.1016/j.gaitpost.2008.01.003; Bourke et al. 2007,
# doi:10.1016/j.gaitpost.2006.09.012).  A jump flies as long as a fall and lands as hard, but the person stays upright.
_COURSES: Mapping[Event, _Course] = MappingProxyType(
    {
        Event.FALL: _Course(
            flight_s=0.45, lightness_ratio=0.85, impact_g=3.2, impact_width_s=0.09, direction=(0.5, 0.3, 0.81)
        ),
        Event.JUMP: _Course(
            push_g=0.9,
            push_s=0.3,
            flight_s=0.35,
            lightness_ratio=0.95,
            impact_g=2.4,
            impact_width_s=0.09,
            direction=(0.05, 0.99, 0.1),
        ),
        Event.SIT_DOWN_HARD: _Course(
            flight_s=0.35, lightness_ratio=0.35, impact_g=1.3, impact_width_s=0.09, direction=(0.0, 0.95, 0.3)
        ),
    }
)


class Motion:
    """Acceleration at the chest as a function of time.

    Parameters
    ----------
    states : sequence of PatientState
        Time line; posture and activity are read.
    respiration : Respiration
        Lifts the chest.
    rng : numpy.random.Generator
        Phases of the patient's movements.
    """

    def __init__(self, states: Sequence[PatientState], respiration: Respiration, rng: np.random.Generator) -> None:
        self._respiration = respiration
        self._gravity = [
            Trajectory(
                [(state.at_s, GRAVITY[state.posture][axis]) for state in states], time_constant_s=TURN_TIME_CONSTANT_S
            )
            for axis in range(3)
        ]
        self._wrist_gravity = [
            Trajectory(
                [(state.at_s, WRIST_GRAVITY.get(state.posture, (0.0, 0.0, 1.0))[axis]) for state in states],
                time_constant_s=TURN_TIME_CONSTANT_S,
            )
            for axis in range(3)
        ]
        self._amount = {
            activity: Trajectory(
                [(state.at_s, 1.0 if state.activity is activity else 0.0) for state in states], time_constant_s=1.0
            )
            for activity in (Activity.RESTLESS, Activity.WALKING)
        }
        self._steps = Trajectory(
            [(state.at_s, state.step_rate_hz) for state in states], time_constant_s=STEP_TIME_CONSTANT_S
        )
        self._fidget_hz = rng.uniform(0.3, 4.0, size=(3, 8))
        self._fidget_phase = rng.uniform(0, 2 * np.pi, size=(3, 8))
        self._states = tuple(states)
        self._events = tuple((state.at_s, _COURSES[state.event]) for state in states if state.event in _COURSES)
        self.is_ever_moving = bool(self._events) or any(state.activity is not Activity.REST for state in states)
        """Whether there is anything but breathing and turning in the whole story."""

    def at(self, at_s: FloatArray) -> FloatArray:
        """Return x, y and z at each instant, shape (n_samples, 3), in m/s2."""
        gravity = np.column_stack([axis.at(at_s) for axis in self._gravity])
        breath = self._respiration.wave(at_s)
        # Breathing tilts the sensor by about a degree: 0.02 g across the chest.
        still = gravity + breath[:, None] * np.array([0.0, 0.01, 0.02])
        moving = self.movement(at_s) if self.is_ever_moving else 0.0
        return np.asarray(STANDARD_GRAVITY_MPS2 * (still + moving))

    def movement(self, at_s: FloatArray) -> FloatArray:
        """Return what walking, restlessness and events add to gravity, in g, shape (n_samples, 3)."""
        moving = self._walking(at_s) * self._amount[Activity.WALKING].at(at_s)[:, None]
        moving += self.fidgeting(at_s) * self._amount[Activity.RESTLESS].at(at_s)[:, None]
        for start_s, course in self._events:
            if at_s[-1] >= start_s and at_s[0] < start_s + _EVENT_END_S:
                moving += self._event(at_s, start_s, course)
        return moving

    def wrist(self, at_s: FloatArray) -> FloatArray:
        """Return x, y and z at the wrist, shape (n_samples, 3), in m/s2: x along the forearm, z out of its back."""
        gravity = np.column_stack([axis.at(at_s) for axis in self._wrist_gravity])
        return np.asarray(STANDARD_GRAVITY_MPS2 * (gravity + self.wrist_movement(at_s)))

    def wrist_movement(self, at_s: FloatArray) -> FloatArray:
        """Return what moves the wrist, in g, shape (n_samples, 3): the arm swings once every two steps."""
        if not self.is_ever_moving:
            return np.zeros((len(at_s), 3))
        angle = 2 * np.pi * self._steps.integral(at_s)
        swing = np.column_stack(
            [
                0.30 * np.sin(angle / 2) + 0.18 * np.sin(angle + 0.4),
                0.22 * np.sin(angle / 2 + 0.8) + 0.10 * np.sin(angle + 1.1),
                0.12 * np.sin(angle + 2.0) + 0.06 * np.sin(2 * angle),
            ]
        )
        moving = swing * self._amount[Activity.WALKING].at(at_s)[:, None]
        # Hands fidget more than a chest, and not in step with it.
        restless = 2.0 * self.fidgeting(at_s + 100.0)[:, ::-1]
        return np.asarray(moving + restless * self._amount[Activity.RESTLESS].at(at_s)[:, None])

    def motions(self, from_s: float, to_s: float) -> tuple[TrueMotion, ...]:
        """Return the postures and activities between two instants."""
        ends_s = [state.at_s for state in self._states[1:]] + [math.inf]
        found: list[TrueMotion] = []
        for state, end_s in zip(self._states, ends_s, strict=True):
            if state.at_s >= to_s or end_s <= from_s:
                continue
            span = TrueMotion(
                start_s=max(from_s, state.at_s),
                end_s=min(to_s, end_s),
                posture=state.posture,
                activity=state.activity,
                step_rate_hz=state.step_rate_hz if state.activity is Activity.WALKING else None,
            )
            before = found[-1] if found else None
            if before is not None and _is_alike(before, span):
                found[-1] = replace(before, end_s=span.end_s)
            else:
                found.append(span)
        return tuple(found)

    def events(self, from_s: float, to_s: float) -> tuple[TrueEvent, ...]:
        """Return the events that begin between two instants."""
        return tuple(
            TrueEvent(
                event=state.event,
                start_s=state.at_s,
                impact_s=state.at_s + _COURSES[state.event].impact_s,
                end_s=state.at_s + _EVENT_END_S,
            )
            for state in self._states
            if state.event in _COURSES and from_s <= state.at_s < to_s
        )

    def fidgeting(self, at_s: FloatArray) -> FloatArray:
        """Return restless movement in g, shape (n_samples, 3): bursts of a few seconds."""
        angle = 2 * np.pi * self._fidget_hz * at_s[:, None, None] + self._fidget_phase
        burst = np.clip(np.sin(2 * np.pi * 0.11 * at_s + self._fidget_phase[0, 0]) + 0.2, 0.0, None)
        return np.asarray(0.08 * np.sin(angle).sum(axis=2) * burst[:, None])

    def _walking(self, at_s: FloatArray) -> FloatArray:
        angle = 2 * np.pi * self._steps.integral(at_s)
        vertical = 0.25 * np.sin(angle) + 0.12 * np.sin(2 * angle + 0.7)
        return np.column_stack([0.10 * np.sin(angle / 2), vertical, 0.12 * np.sin(angle + 1.2)])

    def _event(self, at_s: FloatArray, start_s: float, course: _Course) -> FloatArray:
        """Return what an event adds, in g: push, loss of weight, impact and ringing."""
        since_s = at_s - start_s
        gravity = np.column_stack([axis.at(at_s) for axis in self._gravity])
        fall_s = since_s - course.push_s
        flight = _hump(fall_s, course.flight_s) ** 0.25  # a plateau with short flanks
        moving = -course.lightness_ratio * flight[:, None] * gravity
        moving[:, 1] += course.push_g * _hump(since_s, course.push_s)
        landing_s = fall_s - course.flight_s
        after_s = np.maximum(0.0, landing_s - course.impact_width_s)
        ringing = (
            _RINGING_RATIO * np.sin(2 * np.pi * _RINGING_HZ * after_s) * np.exp(-after_s / _RINGING_TIME_CONSTANT_S)
        )
        impact = course.impact_g * (_hump(landing_s, course.impact_width_s) + ringing)
        return np.asarray(moving + impact[:, None] * np.array(course.direction))


def _hump(since_s: FloatArray, width_s: float) -> FloatArray:
    """Return half a sine that begins at 0 and is `width_s` wide."""
    if width_s <= 0:
        return np.zeros(len(since_s))
    return np.asarray(np.where((since_s > 0) & (since_s < width_s), np.sin(np.pi * since_s / width_s), 0.0).clip(0.0))


def _is_alike(before: TrueMotion, span: TrueMotion) -> bool:
    return (before.posture, before.activity, before.step_rate_hz) == (span.posture, span.activity, span.step_rate_hz)
