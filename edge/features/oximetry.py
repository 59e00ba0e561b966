"""Red and infrared light -> oxygen saturation, once a second, by the ratio of ratios.

::

    R = (AC/DC of red) / (AC/DC of infrared)      SpO2 = calibration(R), falling in R

Red light is absorbed by haemoglobin without oxygen, infrared rather by that with it: the fuller the blood, the smaller R.
R is found for every pulse, from foot to foot, by regression of the red on the infrared wave after a straight line through
both feet is taken off, so that breathing and wander, which move both alike and pull R towards 1, do not count.

How R becomes a saturation depends on the wavelengths and the housing of the sensor.  With a table of the sensor's maker the
measure is ``spo2_pct``; without one it is ``spo2_uncalibrated_pct``, another name, so that no limit ever sees it.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np

from edge.conditioning.ppg_low_pass import LARGEST_VALUE, PulseLowPass
from edge.features.history import History
from edge.features.pulse_signal import PulseSignal, PulseSignalSettings
from edge.messages import ChannelKind, Estimate, Gap, Pulse, Quality, SampleBlock, Tick

NS_PER_S = 1_000_000_000

GENERIC_CURVE: tuple[tuple[float, float], ...] = ((0.4, 100.0), (1.6, 70.0))
"""SpO2 = 110 - 25 R, the usual first approximation (Webster 1997, Design of Pulse Oximeters, chapter 10; firmware of the
HealthyPi 5, valid 70-100 %)."""

_KEPT_S = 12.0
_SHORTEST_CYCLE_S = 0.2
_LONGEST_CYCLE_S = 2.5


@dataclass(frozen=True, kw_only=True, slots=True)
class OximetrySettings:
    """How light becomes a saturation."""

    calibration: tuple[tuple[float, float], ...] | None = None
    """Pairs (R, SpO2 in percent) of this sensor, R rising, SpO2 falling, straight lines between; None where the maker
    gives none.  Outside of the table there is no value."""
    signal: PulseSignalSettings = field(default_factory=PulseSignalSettings)
    """When pulses may be used."""
    fewest_pulses: int = 3
    """With fewer there is no value: three let the median outvote one error."""
    least_perfusion_pct: float = 0.3
    """Below this AC/DC of the infrared light there is no value (firmware of the HealthyPi 5: PI >= 0.30 %)."""
    least_correlation: float = 0.95
    """A pulse counts when its red and infrared waves agree at least so well; on the virtual patient 99 % do so by 0.97 at
    a perfusion of 0.32 %."""
    perfusion_factor: float = 2.0
    """A pulse counts when it is at most so many times larger or smaller than the usual one (own choice)."""
    most_spread_ratio: float = 0.1
    """Half of the pulses must give R within this share of their median: noise at a perfusion of 0.32 % leaves 0.1 in 99 %
    of the time, 0.02 at 2 %.  Movement that shakes both colours alike pulls R towards 1 and may stay below; only an
    accelerometer sees that."""
    edge_pct: float = 1.0
    """So far beyond the ends of the table, in percent SpO2 along its last line, R still gives the value at the end: a
    healthy person lies on the upper end, with noise to both sides."""

    def __post_init__(self) -> None:
        if self.calibration is None:
            return
        if len(self.calibration) < 2:
            raise ValueError(f"expected at least two pairs (R, SpO2), got {len(self.calibration)}")
        for (ratio, spo2_pct), (next_ratio, next_spo2_pct) in itertools.pairwise(self.calibration):
            if not (ratio < next_ratio and spo2_pct > next_spo2_pct):
                raise ValueError(
                    f"expected R rising and SpO2 falling, got ({ratio}, {spo2_pct}) before ({next_ratio}, {next_spo2_pct})"
                )
        if not all(0 <= ratio < math.inf and 0 <= spo2_pct <= 100 for ratio, spo2_pct in self.calibration):
            raise ValueError(f"expected R >= 0 and SpO2 from 0 to 100 %, got {self.calibration}")


def saturation_pct(ratio: float, table: tuple[tuple[float, float], ...], edge_pct: float = 0.0) -> float | None:
    """Return the SpO2 that `table` gives for R; None outside of it.

    Examples
    --------
    >>> saturation_pct(1.0, GENERIC_CURVE)
    85.0
    >>> saturation_pct(2.0, GENERIC_CURVE) is None
    True
    """
    ratios = [pair[0] for pair in table]
    values = [pair[1] for pair in table]
    low = ratios[0] - edge_pct * (ratios[1] - ratios[0]) / (values[0] - values[1])
    high = ratios[-1] + edge_pct * (ratios[-1] - ratios[-2]) / (values[-2] - values[-1])
    if not low <= ratio <= high:
        return None
    return float(np.interp(ratio, ratios, values))


class Oximetry:
    """Say once a second how full of oxygen the blood is, for every stream with red and infrared light.

    Push blocks of a few seconds at most, in order with the pulses found in them, verdicts and gaps; a `Tick` gives
    ``spo2_pct`` (or ``spo2_uncalibrated_pct``) and ``r_ratio`` of every such stream.

    Parameters
    ----------
    settings : OximetrySettings
        How light becomes a saturation.
    """

    def __init__(self, settings: OximetrySettings = OximetrySettings()) -> None:
        self._settings = settings
        self._streams: dict[tuple[str, str], _Stream] = {}

    def push(self, item: SampleBlock | Pulse | Quality | Gap | Tick) -> list[Estimate]:
        """Return the numbers at a `Tick`, nothing for anything else."""
        if isinstance(item, Tick):
            return [estimate for stream in self._streams.values() for estimate in stream.estimates(item.at_ns)]
        key = (item.sensor, item.stream)
        if isinstance(item, SampleBlock):
            kinds = [channel.kind for channel in item.channels]
            if ChannelKind.PPG_RED not in kinds or ChannelKind.PPG_INFRARED not in kinds:
                return []
            if key not in self._streams:
                self._streams[key] = _Stream(self._settings, item.sensor, item.stream)
            self._streams[key].add_block(item)
        elif key in self._streams:
            self._streams[key].add(item)
        return []

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget everything, as for another person."""
        self._streams = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cycle:
    """One pulse in both colours."""

    at_ns: int
    ratio: float
    perfusion_pct: float
    correlation: float


class _Stream:
    """One sensor with red and infrared light."""

    def __init__(self, settings: OximetrySettings, sensor: str, stream: str) -> None:
        self._settings = settings
        self._sensor = sensor
        self._stream = stream
        self._signal = PulseSignal(settings.signal)
        self._light: _Light | None = None
        self._last: Pulse | None = None
        self._cycles: deque[_Cycle] = deque(maxlen=64)

    def add_block(self, item: SampleBlock) -> None:
        if item.n_samples == 0:
            return
        if self._light is None or not self._light.continues_with(item):
            self._light = _Light(item)
            self._last = None
        self._light.add(item)

    def add(self, item: Pulse | Quality | Gap) -> None:
        self._signal.add(item)
        if isinstance(item, Gap):
            self._last = None
        if not isinstance(item, Pulse) or self._light is None:
            return
        last, self._last = self._last, item
        if self._cycles and item.at_ns < self._cycles[-1].at_ns:
            self._cycles.clear()
        if last is not None and item.interval_ms is not None:
            cycle = self._light.cycle(last.sequence, item.sequence, item.at_ns)
            if cycle is not None:
                self._cycles.append(cycle)

    def estimates(self, at_ns: int) -> list[Estimate]:
        settings = self._settings
        used = self._signal.pulses(at_ns)
        absent = self._signal.absent(at_ns) or self._signal.lacking(at_ns, used)
        instants = {pulse.at_ns for pulse in used}
        cycles = [cycle for cycle in self._cycles if cycle.at_ns in instants]
        if absent is None and len(cycles) < settings.fewest_pulses:
            absent = "too-few-pulses"
        usual_pct = median(cycle.perfusion_pct for cycle in cycles) if cycles else 0.0
        if absent is None and usual_pct < settings.least_perfusion_pct:
            absent = "low-perfusion"
        clean = [cycle.ratio for cycle in cycles if self._is_clean(cycle, usual_pct)]
        ratio = median(clean) if clean else None
        if absent is None and (ratio is None or self._is_unsure(clean, ratio, len(cycles))):
            absent = "motion"
        ratio = None if absent is not None else ratio
        table = settings.calibration or GENERIC_CURVE
        spo2_pct = None if ratio is None else saturation_pct(ratio, table, settings.edge_pct)
        no_spo2 = absent or ("out-of-calibration" if spo2_pct is None else None)
        share = len(clean) / len(cycles) if cycles else 0.0
        method = "uncalibrated" if settings.calibration is None else "calibrated"
        measure = "spo2_uncalibrated_pct" if settings.calibration is None else "spo2_pct"
        base = Estimate(
            sensor=self._sensor,
            stream=self._stream,
            measure=measure,
            value=spo2_pct,
            unit="%",
            at_ns=at_ns,
            quality=0.0 if no_spo2 is not None else self._signal.index(at_ns) * share,
            method=method,
            absent=no_spo2,
        )
        quality = 0.0 if absent is not None else self._signal.index(at_ns) * share
        return [base, replace(base, measure="r_ratio", value=ratio, unit="1", quality=quality, absent=absent)]

    def _is_clean(self, cycle: _Cycle, usual_pct: float) -> bool:
        factor = self._settings.perfusion_factor
        is_usual = usual_pct / factor <= cycle.perfusion_pct <= usual_pct * factor
        return is_usual and cycle.correlation >= self._settings.least_correlation

    def _is_unsure(self, clean: Sequence[float], ratio: float, n_cycles: int) -> bool:
        """Say whether too few pulses are clean, or those that are disagree."""
        settings = self._settings
        if len(clean) < max(settings.fewest_pulses, n_cycles / 2):
            return True
        return median(abs(each - ratio) for each in clean) > settings.most_spread_ratio * ratio


class _Light:
    """Both colours, smoothed, over one stretch without holes."""

    def __init__(self, first: SampleBlock) -> None:
        kinds = [channel.kind for channel in first.channels]
        self._columns = [kinds.index(ChannelKind.PPG_RED), kinds.index(ChannelKind.PPG_INFRARED)]
        self._format = first
        self._rate_hz = first.rate_hz
        self._low_pass: PulseLowPass | None = None
        self._rows = History(2, round(_KEPT_S * first.rate_hz) + 1, first.sequence)

    def continues_with(self, item: SampleBlock) -> bool:
        """Say whether `item` follows without a hole, in the same form."""
        same = item.rate_hz == self._rate_hz and item.channels == self._format.channels
        return same and item.sequence == self._rows.end

    def add(self, item: SampleBlock) -> None:
        values = item.values[:, self._columns]
        is_good = np.abs(values) <= LARGEST_VALUE  # False for NaN too
        if not is_good.all():
            values = np.where(is_good, values, np.nan)
            self._low_pass = None
            smooth = values
        else:
            if self._low_pass is None:
                self._low_pass = PulseLowPass(self._rate_hz)
            smooth = self._low_pass.run(values)
        n_most = round(_KEPT_S * self._rate_hz)
        for at in range(0, len(smooth), n_most):
            self._rows.append(smooth[at : at + n_most])

    def cycle(self, foot: int, next_foot: int, at_ns: int) -> _Cycle | None:
        """Return what one pulse says, from foot to foot; None where it is too short, too long, or not all there."""
        n = next_foot - foot
        if not _SHORTEST_CYCLE_S * self._rate_hz <= n <= _LONGEST_CYCLE_S * self._rate_hz:
            return None
        rows = self._rows.rows(foot, next_foot + 1)
        if len(rows) != n + 1 or np.isnan(rows).any():
            return None
        level = rows.mean(axis=0)
        if not (level > 0).all():
            return None
        line = np.linspace(0.0, 1.0, n + 1)[:, None]
        waves = rows - rows[0] - line * (rows[-1] - rows[0])
        waves = (waves - waves.mean(axis=0)) / level
        power = (waves**2).sum(axis=0)
        if not (power > 0).all():
            return None
        both = float(waves[:, 0] @ waves[:, 1])
        return _Cycle(
            at_ns=at_ns,
            ratio=both / float(power[1]),
            perfusion_pct=100.0 * float(np.ptp(waves[:, 1])),
            correlation=both / float(np.sqrt(power[0] * power[1])),
        )
