"""What only several signals of one person together can tell: breathing rate, pulse transit, pulse rate in motion.

Fed by `pipeline` with raw blocks and with what the chains of single streams found.  At a `Tick` these stages use only
what is certain to have come from every stream, so the order in which streams arrive does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edge.features.pulse_transit import PulseTransit, PulseTransitSettings
from edge.features.respiration import RespirationSettings, RespirationStage
from edge.features.signal_state import OFF_CONDITIONS
from edge.features.wrist_rate import WristRate, WristRateSettings
from edge.messages import (
    Activity,
    Beat,
    Breath,
    ChannelKind,
    Estimate,
    Gap,
    Pulse,
    Quality,
    SampleBlock,
    SensorStatus,
    Tick,
)

BodyItem = SampleBlock | Beat | Pulse | Breath | Quality | Gap | SensorStatus | Activity | Tick

_WRIST_KINDS = frozenset(
    {
        ChannelKind.PPG,
        ChannelKind.PPG_RED,
        ChannelKind.PPG_INFRARED,
        ChannelKind.ACCELERATION_X,
        ChannelKind.ACCELERATION_Y,
        ChannelKind.ACCELERATION_Z,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BodySettings:
    """The settings of the stages that join signals."""

    respiration: RespirationSettings = field(default_factory=RespirationSettings)
    transit: PulseTransitSettings = field(default_factory=PulseTransitSettings)
    wrist: WristRateSettings = field(default_factory=WristRateSettings)


class Body:
    """The stages of one person that need more than one stream.

    Parameters
    ----------
    settings : BodySettings
        Settings of every stage.
    """

    def __init__(self, settings: BodySettings) -> None:
        self._settings = settings
        self._respiration = RespirationStage(settings.respiration)
        self._transit = PulseTransit(settings.transit)
        self._wrists: dict[str, WristRate] = {}
        self._off: set[tuple[str, str | None]] = set()

    def push(self, item: BodyItem) -> list[Estimate]:
        """Return the values that became due with `item`."""
        out = list(self._respiration.push(item))
        if isinstance(item, Beat | Pulse | Gap | Tick):
            out += self._transit.push(item)
        if isinstance(item, Tick):
            for wrist in self._wrists.values():
                out += [self._if_worn(estimate) for estimate in wrist.push(item)]
        elif isinstance(item, SensorStatus) and item.condition in OFF_CONDITIONS:
            (self._off.add if item.is_active else self._off.discard)((item.sensor, item.stream))
        elif isinstance(item, Gap) and item.sensor in self._wrists:
            out += self._wrists[item.sensor].push(item)
        elif isinstance(item, SampleBlock) and any(channel.kind in _WRIST_KINDS for channel in item.channels):
            out += self._wrist(item.sensor).push(item)
        return out

    def _if_worn(self, estimate: Estimate) -> Estimate:
        """Return `estimate`, or that there is none because the device says that its sensor is off."""
        if (estimate.sensor, estimate.stream) not in self._off and (estimate.sensor, None) not in self._off:
            return estimate
        return replace(estimate, value=None, absent="lead-off", quality=0.0)

    def _wrist(self, sensor: str) -> WristRate:
        if sensor not in self._wrists:
            self._wrists[sensor] = WristRate(self._settings.wrist)
        return self._wrists[sensor]
