"""One stream of a bridge device: raw counts to physical values, wrapped counters to endless ones.  Used by `bridge`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.acquisition.packets import CHANNEL_KINDS, UNITS, ChannelDescriptor, SamplesPacket, StreamDescriptor
from edge.acquisition.unrolling import DeviceClock, MissingSamples, unroll
from edge.messages import Channel, ChannelKind, DeviceBlock, Samples

UNIT_CONVERSIONS: dict[str, tuple[str, float]] = {"uV": ("mV", 1e-3), "[g]": ("m/s2", 9.80665)}
"""Units brought to the ones that the rest of VitalEdge works in; standard gravity is exact by definition."""

_CONSISTENT_SHARE = 0.05
"""Sequence and ticks agree when they differ by less than this share of the time between: more than any oscillator."""


def channel_of(descriptor: ChannelDescriptor) -> Channel:
    """Return the channel as the rest of VitalEdge knows it, limits in physical units.

    Examples
    --------
    >>> descriptor = ChannelDescriptor(
    ...     name="II", kind_code=1, unit_code=2, resolution_bits=12, gain_numerator=5, gain_denominator=1,
    ...     minimum_counts=-2048, maximum_counts=2047)
    >>> channel_of(descriptor).unit, channel_of(descriptor).maximum
    ('mV', 10.235)
    """
    unit = UNITS.get(descriptor.unit_code, f"{{unit-{descriptor.unit_code}}}")
    unit, _ = UNIT_CONVERSIONS.get(unit, (unit, 1.0))
    limits = np.array([[descriptor.minimum_counts], [descriptor.maximum_counts]])
    low, high = sorted(physical(limits, (descriptor,))[:, 0].tolist())
    n_steps = descriptor.maximum_counts - descriptor.minimum_counts
    return Channel(
        name=descriptor.name,
        kind=CHANNEL_KINDS.get(descriptor.kind_code, ChannelKind.OTHER),
        unit=unit,
        minimum=low,
        maximum=high,
        resolution=(high - low) / n_steps,
    )


def physical(counts: NDArray[np.integer], channels: tuple[ChannelDescriptor, ...]) -> Samples:
    """Return `counts` of shape (n_samples, n_channels) in the units that `channel_of` names."""
    offsets = np.array([channel.offset_counts for channel in channels], dtype=np.float64)
    numerators = np.array([channel.gain_numerator * _factor(channel) for channel in channels], dtype=np.float64)
    denominators = np.array([channel.gain_denominator for channel in channels], dtype=np.float64)
    return (counts - offsets) * numerators / denominators


def _factor(channel: ChannelDescriptor) -> float:
    return UNIT_CONVERSIONS.get(UNITS.get(channel.unit_code, ""), ("", 1.0))[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOutcome:
    """What a packet of samples led to."""

    blocks: tuple[DeviceBlock, ...] = ()
    n_repeated_samples: int = 0
    """Samples in the packet that had already come."""
    n_lost_samples: int = 0
    """Samples skipped before this packet."""
    is_from_another_boot: bool = False
    """Counters went back: the device restarted and its hello was lost.  Nothing was taken."""


class BridgeStream:
    """What is known of one stream within one boot of the device."""

    def __init__(
        self, sensor: str, descriptor: StreamDescriptor, *, repeat_window_s: float, max_missing_ranges: int
    ) -> None:
        self._sensor = sensor
        self._repeat_window_s = repeat_window_s
        self._missing = MissingSamples(max_missing_ranges)
        self._next_sequence: int | None = None
        self._newest: tuple[int, int] | None = None  # sequence and ticks of a block, both unrolled
        self._received_at_ns: int | None = None
        self._descriptor = descriptor
        self._channels = tuple(channel_of(channel) for channel in descriptor.channels)

    def describe(self, descriptor: StreamDescriptor) -> None:
        """Take another hello of the same boot: gain or rate may have changed, the counters go on."""
        self._descriptor = descriptor
        self._channels = tuple(channel_of(channel) for channel in descriptor.channels)

    @property
    def name(self) -> str:
        """As the hello says."""
        return self._descriptor.name

    @property
    def channels(self) -> tuple[Channel, ...]:
        """As the hello says, in physical units."""
        return self._channels

    @property
    def rate_hz(self) -> float:
        """Nominal rate."""
        return self._descriptor.rate_mhz / 1000

    @property
    def received_at_ns(self) -> int | None:
        """When the newest block came; None before the first."""
        return self._received_at_ns

    def take(self, packet: SamplesPacket, received_at_ns: int, clock: DeviceClock) -> StreamOutcome:
        """Return the samples of `packet` that had not come before; its channels must match the hello."""
        if packet.is_backfill:
            sequence, ticks = self._place_stored(packet, received_at_ns, clock)
            return self._deliver(packet, sequence, ticks, received_at_ns, clock)
        ticks = clock.unroll(packet.ticks, received_at_ns)
        sequence = packet.sequence
        if self._newest is not None:
            newest_sequence, newest_ticks = self._newest
            sequence = unroll(packet.sequence, newest_sequence + self._n_samples(ticks - newest_ticks, clock))
            if self._is_from_another_boot(sequence, ticks, clock):
                return StreamOutcome(is_from_another_boot=True)
        clock.observe(ticks + self._n_ticks(packet.n_samples, clock), received_at_ns)
        return self._deliver(packet, sequence, ticks, received_at_ns, clock)

    def _place_stored(self, packet: SamplesPacket, received_at_ns: int, clock: DeviceClock) -> tuple[int, int]:
        """Unroll counters of the past: the sample counter wraps the later of the two, so it leads."""
        if self._newest is None:
            return packet.sequence, clock.unroll(packet.ticks, received_at_ns)
        newest_sequence, newest_ticks = self._newest
        sequence = unroll(packet.sequence, newest_sequence)
        return sequence, unroll(packet.ticks, newest_ticks + self._n_ticks(sequence - newest_sequence, clock))

    def _is_from_another_boot(self, sequence: int, ticks: int, clock: DeviceClock) -> bool:
        """Whether counters went back further than a late repeat explains.

        Ticks that jump forward are taken as they are: `timeline` sees that they contradict the sample counter.
        """
        if self._newest is None:
            return False
        back_s = (self._newest[1] - ticks) / clock.tick_rate_hz
        expected_ticks = self._n_ticks(sequence - self._newest[0], clock)
        disagreement_s = abs(ticks - self._newest[1] - expected_ticks) / clock.tick_rate_hz
        is_back = back_s > 0 or sequence < self._newest[0]
        is_late_repeat = back_s <= self._repeat_window_s and disagreement_s <= 1 + _CONSISTENT_SHARE * abs(back_s)
        return is_back and not is_late_repeat

    def _deliver(
        self, packet: SamplesPacket, sequence: int, ticks: int, received_at_ns: int, clock: DeviceClock
    ) -> StreamOutcome:
        n_samples = packet.n_samples
        values = physical(packet.counts(), self._descriptor.channels)
        live_from = sequence if self._next_sequence is None else self._next_sequence
        n_lost = 0 if packet.is_backfill else max(0, sequence - live_from)
        blocks = []
        for start, end in self._missing.take(sequence, sequence + n_samples):
            is_backfill = packet.is_backfill or start < live_from  # a late frame: its gap is announced already
            blocks.append(
                DeviceBlock(
                    sensor=self._sensor,
                    stream=self._descriptor.name,
                    channels=self._channels,
                    values=values[start - sequence : end - sequence],
                    nominal_rate_hz=self.rate_hz,
                    sequence=start,
                    device_time_ns=clock.device_ns(ticks + self._n_ticks(start - sequence, clock)),
                    received_at_ns=received_at_ns,
                    is_backfill=is_backfill,
                )
            )
        if not packet.is_backfill:
            self._next_sequence = max(live_from, sequence + n_samples)
            if self._newest is None or sequence >= self._newest[0]:
                self._newest = (sequence, ticks)
                self._received_at_ns = received_at_ns
        n_taken = sum(len(block.values) for block in blocks)
        return StreamOutcome(blocks=tuple(blocks), n_repeated_samples=n_samples - n_taken, n_lost_samples=n_lost)

    def _n_ticks(self, n_samples: int, clock: DeviceClock) -> int:
        return n_samples * clock.tick_rate_hz * 1000 // self._descriptor.rate_mhz

    def _n_samples(self, ticks: int, clock: DeviceClock) -> int:
        return ticks * self._descriptor.rate_mhz // (clock.tick_rate_hz * 1000)
