"""The samples of light, breathing and acceleration: quality and events of each, values once a second.

One chain a kind, all of the same shape, so that `signal_chain` treats every stream alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edge.conditioning.ppg_quality import PpgQuality, PpgQualitySettings
from edge.conditioning.respiration_quality import RespirationQuality, RespirationQualitySettings
from edge.features.activity import ActivitySettings, ActivityStage
from edge.features.breaths import BreathDetector, BreathSettings
from edge.features.oximetry import Oximetry, OximetrySettings
from edge.features.pulse_beats import PulseBeats, PulseBeatsSettings
from edge.features.pulse_rate import PulseRate, PulseRateSettings
from edge.messages import Activity, Breath, Estimate, Gap, Pulse, Quality, SampleBlock, SensorStatus, Tick


@dataclass(frozen=True, slots=True, kw_only=True)
class LightChainSettings:
    """The settings of the stages of one photoplethysmogram."""

    quality: PpgQualitySettings = field(default_factory=PpgQualitySettings)
    pulses: PulseBeatsSettings = field(default_factory=PulseBeatsSettings)
    rate: PulseRateSettings = field(default_factory=PulseRateSettings)
    oximetry: OximetrySettings = field(default_factory=OximetrySettings)


class LightChain:
    """Everything that is done with the light of one sensor.

    Parameters
    ----------
    settings : LightChainSettings
        Settings of every stage.
    """

    def __init__(self, settings: LightChainSettings) -> None:
        self._quality = PpgQuality(settings.quality)
        self._pulses = PulseBeats(settings.pulses)
        self._rate = PulseRate(settings.rate)
        self._oximetry = Oximetry(settings.oximetry)

    def push(self, block: SampleBlock) -> list[Quality | Pulse | Estimate]:
        """Return the verdicts and the pulses that `block` led to."""
        out: list[Quality | Pulse | Estimate] = []
        for quality in self._quality.push(block):
            out += [quality, *self._pulses.push(quality), *self._rate.push(quality), *self._oximetry.push(quality)]
        out += self._oximetry.push(block)
        return [*out, *self._count(self._pulses.push(block))]

    def observe(self, item: SensorStatus | Activity) -> None:
        """Let the device's own word and the movement of its wearer count in the signal quality."""
        self._quality.push(item)

    def tick(self, tick: Tick) -> list[Estimate]:
        """Return the values of this second."""
        return [*self._rate.push(tick), *self._oximetry.push(tick)]

    def flush(self) -> list[Quality | Pulse | Estimate]:
        """Return what is still held back, at the end of the stream or before a gap."""
        return self._count(self._pulses.flush())

    def gap(self, gap: Gap) -> None:
        """Forget the signal before a hole; the values keep what they know and see the hole as such."""
        self._quality.reset(gap.reason)
        self._pulses.reset(gap.reason)
        self._rate.push(gap)
        self._oximetry.push(gap)

    def reset(self, reason: str) -> None:
        """Forget everything so far."""
        self._quality.reset(reason)
        self._pulses.reset(reason)
        self._rate.reset(reason)
        self._oximetry.reset(reason)

    def _count(self, pulses: list[Pulse]) -> list[Quality | Pulse | Estimate]:
        out: list[Quality | Pulse | Estimate] = []
        for pulse in pulses:
            out += [pulse, *self._rate.push(pulse), *self._oximetry.push(pulse)]
        return out


class BreathChain:
    """Everything that is done with a breathing signal."""

    def __init__(self, quality: RespirationQualitySettings, breaths: BreathSettings) -> None:
        self._quality = RespirationQuality(quality)
        self._breaths = BreathDetector(breaths)

    def push(self, block: SampleBlock) -> list[Quality | Breath]:
        """Return the verdicts and the breaths that `block` led to."""
        out: list[Quality | Breath] = []
        for quality in self._quality.push(block):
            out += [quality, *self._breaths.push(quality)]
        return [*out, *self._breaths.push(block)]

    def observe(self, item: SensorStatus | Activity) -> None:
        """Let the device's own word and the movement of its wearer count in the signal quality."""
        self._quality.push(item)

    def tick(self, tick: Tick) -> list[Estimate]:  # noqa: ARG002 - the rate joins several signals: see `body`
        """Return nothing: breaths are events."""
        return []

    def flush(self) -> list[Quality | Breath]:
        """Return what is still held back."""
        return []

    def gap(self, gap: Gap) -> None:
        """Forget the signal before a hole."""
        self.reset(gap.reason)

    def reset(self, reason: str) -> None:
        """Forget the signal so far."""
        self._quality.reset(reason)
        self._breaths.reset(reason)


class MotionChain:
    """Everything that is done with an acceleration alone."""

    def __init__(self, settings: ActivitySettings) -> None:
        self._activity = ActivityStage(settings)

    def push(self, block: SampleBlock) -> list[Activity]:
        """Return what the seconds that `block` completed were like."""
        return self._activity.push(block)

    def observe(self, item: SensorStatus | Activity) -> None:
        """Nothing that others say changes how a sensor moved."""

    def tick(self, tick: Tick) -> list[Estimate]:  # noqa: ARG002 - the shape of a chain
        """Return nothing: what moves is said as it happens."""
        return []

    def flush(self) -> list[Activity]:
        """Return nothing: an unfinished second is not judged."""
        return []

    def gap(self, gap: Gap) -> None:
        """Forget the signal before a hole."""
        self.reset(gap.reason)

    def reset(self, reason: str) -> None:
        """Forget the movement so far."""
        self._activity.reset(reason)
