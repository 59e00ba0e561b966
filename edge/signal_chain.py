"""The samples of one stream, each channel given to the chain of its kind: ECG, light, breathing, acceleration.

Fed by `pipeline` with blocks on the fixed grid.  A channel of another kind passes nobody and leads to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from edge.conditioning.respiration_quality import RespirationQualitySettings
from edge.ecg_chain import EcgChain, EcgChainSettings
from edge.features.activity import ActivitySettings, Placement
from edge.features.breaths import BreathSettings
from edge.inference.window_stage import WindowStage
from edge.messages import (
    Activity,
    Beat,
    Breath,
    Channel,
    ChannelKind,
    Estimate,
    Gap,
    Prediction,
    Pulse,
    Quality,
    SampleBlock,
    SensorStatus,
    Tick,
    Window,
)
from edge.other_chains import BreathChain, LightChain, LightChainSettings, MotionChain

ChainOutput = Quality | Beat | Pulse | Breath | Activity | Estimate | Window | Prediction | SampleBlock

ECG_KINDS = (ChannelKind.ECG,)
LIGHT_KINDS = (ChannelKind.PPG, ChannelKind.PPG_RED, ChannelKind.PPG_INFRARED)
BREATH_KINDS = (ChannelKind.RESPIRATION,)
MOTION_KINDS = (ChannelKind.ACCELERATION_X, ChannelKind.ACCELERATION_Y, ChannelKind.ACCELERATION_Z)


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorTraits:
    """What the configuration knows of one sensor and its samples do not say."""

    placement: Placement | None = None
    """Where it is worn; None where nobody said."""
    spo2_calibration: tuple[tuple[float, float], ...] = ()
    """Ratio of ratios and saturation, %, of this kind of sensor; empty for an uncalibrated one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalChainSettings:
    """The settings of the stages of one stream, by what it carries."""

    ecg: EcgChainSettings = field(default_factory=EcgChainSettings)
    light: LightChainSettings = field(default_factory=LightChainSettings)
    breath_quality: RespirationQualitySettings = field(default_factory=RespirationQualitySettings)
    breaths: BreathSettings = field(default_factory=BreathSettings)
    activity: ActivitySettings = field(default_factory=ActivitySettings)

    def of_sensor(self, traits: SensorTraits) -> SignalChainSettings:
        """Return the settings for a sensor with these traits."""
        oximetry = replace(self.light.oximetry, calibration=traits.spo2_calibration or None)
        return replace(
            self,
            light=replace(self.light, oximetry=oximetry),
            activity=replace(self.activity, placement=traits.placement),
        )


def select(block: SampleBlock, kinds: Sequence[ChannelKind]) -> SampleBlock | None:
    """Return the channels of `block` that are of one of `kinds`; None where there is none."""
    keep = [k for k, channel in enumerate(block.channels) if channel.kind in kinds]
    if not keep:
        return None
    if len(keep) == len(block.channels):
        return block
    return replace(block, channels=tuple(block.channels[k] for k in keep), values=block.values[:, keep])


class SignalChain:
    """Everything that is done with the samples of one stream.

    Parameters
    ----------
    settings : SignalChainSettings
        Settings of every stage.
    classifiers : mapping, optional
        What looks at the windows of an ECG, by the name of the model.
    """

    def __init__(self, settings: SignalChainSettings, classifiers: Mapping[str, WindowStage] | None = None) -> None:
        self._settings = settings
        self._classifiers = classifiers or {}
        self._parts: Mapping[Sequence[ChannelKind], EcgChain | LightChain | BreathChain | MotionChain] = {}
        self._channels: tuple[Channel, ...] = ()
        self._observed: list[SensorStatus] = []

    def push(self, block: SampleBlock) -> list[ChainOutput]:
        """Return what one block on the fixed grid led to, kind by kind."""
        if block.channels != self._channels:
            self._begin(block.channels)
        out: list[ChainOutput] = []
        for kinds, part in self._parts.items():
            selected = select(block, kinds)
            if selected is not None:
                out += part.push(selected)
        return out

    def observe(self, item: SensorStatus | Activity) -> None:
        """Let the device's own word, and the movement of its wearer, count in the signal quality."""
        if isinstance(item, SensorStatus):
            self._observed = [
                *(old for old in self._observed if (old.condition, old.stream) != (item.condition, item.stream)),
                item,
            ]
        for part in self._parts.values():
            part.observe(item)

    def tick(self, tick: Tick) -> list[Estimate | Window | Prediction]:
        """Return the values that are due at `tick`, and answers of the models."""
        return [value for part in self._parts.values() for value in part.tick(tick)]

    def flush(self) -> list[ChainOutput]:
        """Return what is still held back, at the end of the stream or before a gap."""
        out: list[ChainOutput] = []
        for part in self._parts.values():
            out += part.flush()
        return out

    def gap(self, gap: Gap) -> None:
        """Forget the signal before a hole."""
        for part in self._parts.values():
            part.gap(gap)

    def reset(self, reason: str) -> None:
        """Forget the signal so far."""
        for part in self._parts.values():
            part.reset(reason)

    def _begin(self, channels: tuple[Channel, ...]) -> None:
        """Make the chains that these channels need; one that is there already goes on."""
        kinds = {channel.kind for channel in channels}
        parts = dict(self._parts)
        for family in (ECG_KINDS, LIGHT_KINDS, BREATH_KINDS, MOTION_KINDS):
            if kinds.intersection(family) and family not in parts:
                parts[family] = self._make(family)
                for status in self._observed:
                    parts[family].observe(status)
        self._parts = parts
        self._channels = channels

    def _make(self, family: Sequence[ChannelKind]) -> EcgChain | LightChain | BreathChain | MotionChain:
        settings = self._settings
        if family == ECG_KINDS:
            return EcgChain(settings.ecg, self._classifiers)
        if family == LIGHT_KINDS:
            return LightChain(settings.light)
        if family == BREATH_KINDS:
            return BreathChain(settings.breath_quality, settings.breaths)
        return MotionChain(settings.activity)
