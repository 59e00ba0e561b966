"""Light at the wrist (or finger) and acceleration of the same sensor -> pulse rate that holds while the body moves.

Once a second a window of both is compared (`wrist_spectrum`) and a belief over pulse rates goes on from there
(`wrist_belief`).  A value is given while the belief is confident; steps at the pulse's own rate make it uncertain, and
then the answer is ``motion``, not the cadence.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edge.features.activity import GRAVITY_MPS2, acceleration_columns, unit_mps2
from edge.features.wrist_belief import BeliefSettings, RateBelief
from edge.features.wrist_spectrum import (
    GRID_BPM,
    Evidence,
    SpectrumSettings,
    equalised,
    line_spectrum,
    weigh,
)
from edge.features.wrist_stream import BandHistory
from edge.messages import ChannelKind, Estimate, Gap, SampleBlock, Tick

_NS_PER_S = 1_000_000_000
_LIGHTS = (ChannelKind.PPG, ChannelKind.PPG_INFRARED, ChannelKind.PPG_RED)
_RATES_HZ = (16.0, 4000.0)
"""Below, the second harmonic of a fast pulse cannot be seen."""
_LEAST_RATIO = 1e-6
"""A smaller share of the steady light is what the filter's arithmetic leaves, not a pulse: the weakest perfusion that
oximeters state is 0.02 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WristRateSettings:
    """How the pulse rate is found, and when it is given."""

    window_s: float = 8.0
    """Length of the window: the usual one since TROIKA (Zhang 2015, doi:10.1109/TBME.2014.2359372), and that of
    PPG-DaLiA's reference."""
    latency_s: float = 1.0
    """At an instant the window ended this long ago: by then the samples of all streams are there."""
    band_hz: tuple[float, float] = (0.4, 8.0)
    """From below 30 bpm to the second harmonic of 240 bpm."""
    fewest_present_ratio: float = 0.75
    """Share of the window's samples without which it says nothing (own choice)."""
    least_confidence: float = 0.6
    """Probability of being within 5 bpm below which no value is given.  On 217 stretches made from the development
    recordings (`benchmarks/bench_wrist.py`: moving light added to resting light, walking, running) 98 of 100 values
    given were within 5 bpm; of those with a confidence of 0.6-0.7, 92 of 100."""
    motion_memory_s: float = 60.0
    """A sensor that has shown its acceleration is not believed without it for this long: a lost stream must not turn
    steps into a pulse.  Afterwards its light is judged alone, as that of a sensor without acceleration (own choice)."""
    spectrum: SpectrumSettings = field(default_factory=SpectrumSettings)
    belief: BeliefSettings = field(default_factory=BeliefSettings)

    def __post_init__(self) -> None:
        if not (self.window_s >= 2.0 and self.latency_s >= 0.0):
            raise ValueError(f"expected window_s >= 2 and latency_s >= 0, got {self.window_s} and {self.latency_s}")
        low, high = self.belief.range_bpm
        if low < GRID_BPM[0] or 2 * high > GRID_BPM[-1]:
            raise ValueError(f"expected range_bpm within {GRID_BPM[0]} and {GRID_BPM[-1] // 2}, got {low} and {high}")


class WristRate:
    """Give the pulse rate of every stream of light once a second.

    Push the blocks of all streams; acceleration is used for the light of the same sensor.  Of several kinds of light
    in a stream green (or the only one) comes before infrared and red.  Answers come with a `Tick`, for the instant
    `latency_s` before it, one per stream of light known so far: a value, or why there is none: ``settling`` (the window
    is not full yet), ``no-signal`` (samples are missing or do not change), ``motion``, ``motion-unknown`` (the
    sensor's acceleration is missing) or ``noise``.

    The method is ``spectral-motion`` where acceleration was used and ``spectral`` where there is none: then steps as
    large as the pulse cannot be told from it, and a walking person's cadence may be given as the pulse rate.

    Parameters
    ----------
    settings : WristRateSettings
        How the rate is found.
    """

    def __init__(self, settings: WristRateSettings = WristRateSettings()) -> None:
        self._settings = settings
        self._lights: dict[tuple[str, str], _Light] = {}
        self._motions: dict[str, BandHistory] = {}
        self._motion_units: dict[str, float | None] = {}
        self._motion_seen_ns: dict[str, int] = {}
        self._last_at_ns: int | None = None

    def push(self, item: SampleBlock | Gap | Tick) -> list[Estimate]:
        """Return the pulse rates of the instant that `item` completed; nothing but after a tick."""
        if isinstance(item, Tick):
            return self._tick(item.at_ns)
        if isinstance(item, SampleBlock) and not item.is_backfill:
            self._take(item)
        # A gap needs nothing: the samples after it come with a jump of their index, those that never come are missing.
        return []

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget all streams and the rate so far."""
        self._lights = {}
        self._motions = {}
        self._motion_units = {}
        self._motion_seen_ns = {}
        self._last_at_ns = None

    def _take(self, block: SampleBlock) -> None:
        if block.n_samples == 0 or not _RATES_HZ[0] <= block.rate_hz <= _RATES_HZ[1]:
            return
        kinds = [channel.kind for channel in block.channels]
        light = next((kinds.index(kind) for kind in _LIGHTS if kind in kinds), None)
        if light is not None:
            self._light(_columns(block, [light]))
        axes = acceleration_columns(block.channels)
        if axes:
            self._motion(_columns(block, axes))

    def _light(self, block: SampleBlock) -> None:
        key = (block.sensor, block.stream)
        known = self._lights.get(key)
        if known is None or not known.samples.fits(block):
            known = self._lights[key] = _Light(self._settings, block)
        known.samples.add(block)

    def _motion(self, block: SampleBlock) -> None:
        known = self._motions.get(block.sensor)
        if known is None or not known.fits(block):
            known = self._motions[block.sensor] = self._history(block)
            units = {unit_mps2(channel.unit) for channel in block.channels}
            self._motion_units[block.sensor] = units.pop() if len(units) == 1 else None
        known.add(block)

    def _history(self, block: SampleBlock) -> BandHistory:
        return BandHistory(block, self._settings.band_hz, 2.0 * self._settings.window_s + self._settings.latency_s)

    def _tick(self, at_ns: int) -> list[Estimate]:
        if self._last_at_ns is not None and at_ns <= self._last_at_ns:
            return []
        n_passed = 1 if self._last_at_ns is None else max(1, round((at_ns - self._last_at_ns) / _NS_PER_S))
        self._last_at_ns = at_ns
        end_ns = at_ns - round(self._settings.latency_s * _NS_PER_S)
        motions: dict[str, NDArray[np.float64] | None] = {}
        out = []
        for (sensor, _), light in self._lights.items():
            if sensor not in motions:
                motions[sensor] = self._motion_lines(sensor, end_ns)
                if motions[sensor] is not None:
                    self._motion_seen_ns[sensor] = end_ns
            is_blind = motions[sensor] is None and self._is_remembered(sensor, end_ns)
            out.append(light.estimate(end_ns, n_passed, motions[sensor], is_blind=is_blind))
        return out

    def _is_remembered(self, sensor: str, at_ns: int) -> bool:
        """Return whether the sensor's acceleration was there not long ago."""
        seen_ns = self._motion_seen_ns.get(sensor)
        return seen_ns is not None and at_ns - seen_ns <= self._settings.motion_memory_s * _NS_PER_S

    def _motion_lines(self, sensor: str, end_ns: int) -> NDArray[np.float64] | None:
        """Return the spectra of the sensor's axes; None where nothing is known of its motion."""
        motion = self._motions.get(sensor)
        if motion is None:
            return None
        rows = motion.window(end_ns, self._settings.window_s)
        is_present: NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(axis=1))
        if np.count_nonzero(is_present) < self._settings.fewest_present_ratio * len(rows):
            return None
        scale = self._motion_units[sensor]
        if scale is None:
            gravity = float(rows[is_present, -1].mean())
            scale = GRAVITY_MPS2 / gravity if gravity > 0.0 else 0.0
        values = np.where(is_present[:, None], rows[:, :-1], 0.0) * scale
        return line_spectrum(values, motion.rate_hz)


class _Light:
    """One stream of light and what is believed of its pulse."""

    def __init__(self, settings: WristRateSettings, first: SampleBlock) -> None:
        self.samples = BandHistory(first, settings.band_hz, 2.0 * settings.window_s + settings.latency_s)
        self._settings = settings
        self._belief = RateBelief(settings.belief)
        self._sensor = first.sensor
        self._stream = first.stream
        self._has_begun = False

    def estimate(self, end_ns: int, n_passed: int, motion: NDArray[np.float64] | None, *, is_blind: bool) -> Estimate:
        """Return the pulse rate in the window that ended at `end_ns`, or why there is none."""
        if self._has_begun:
            self._belief.pass_time(n_passed)
        light, level = self.samples.window(end_ns, self._settings.window_s).T
        is_present = np.isfinite(light)
        method = "spectral" if motion is None else "spectral-motion"
        if np.count_nonzero(is_present) < self._settings.fewest_present_ratio * len(light):
            return self._answer(end_ns, method, None, "no-signal" if self._has_begun else "settling", 0.0)
        self._has_begun = True
        if is_blind:
            return self._answer(end_ns, method, None, "motion-unknown", 0.0)
        evidence = self._evidence(np.where(is_present, light, 0.0), float(np.nanmax(level)), motion)
        if evidence is None:
            return self._answer(end_ns, method, None, "no-signal", 0.0)
        self._belief.learn(evidence.explained, 1.0 - evidence.motion_ratio)
        rate_bpm, confidence = self._belief.best()
        if confidence >= self._settings.least_confidence:
            return self._answer(end_ns, method, rate_bpm, None, confidence)
        return self._answer(end_ns, method, None, "motion" if evidence.motion_ratio >= 0.5 else "noise", 0.0)

    def _evidence(
        self, light: NDArray[np.float64], level: float, motion: NDArray[np.float64] | None
    ) -> Evidence | None:
        settings = self._settings.spectrum
        if not float(np.abs(light).max()) > _LEAST_RATIO * level:
            return None
        even = equalised(light, round(settings.equalise_s * self.samples.rate_hz))
        return weigh(
            line_spectrum(even, self.samples.rate_hz),
            motion,
            self._belief.rates_bpm,
            self._settings.window_s,
            settings,
        )

    def _answer(self, at_ns: int, method: str, value: float | None, absent: str | None, quality: float) -> Estimate:
        return Estimate(
            sensor=self._sensor,
            stream=self._stream,
            measure="pulse_rate_bpm",
            value=value,
            unit="/min",
            at_ns=at_ns,
            quality=quality,
            method=method,
            absent=absent,
        )


def _columns(block: SampleBlock, columns: list[int]) -> SampleBlock:
    if columns == list(range(len(block.channels))):
        return block
    return replace(block, channels=tuple(block.channels[k] for k in columns), values=block.values[:, columns])
