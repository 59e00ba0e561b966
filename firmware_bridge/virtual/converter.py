"""The sensor's analogue-to-digital converter: physical values to counts, and the description a hello needs."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from edge.acquisition.packets import CHANNEL_KINDS, UNITS, ChannelDescriptor, StreamDescriptor
from edge.messages import Channel, Samples, StreamInfo

_KIND_CODES = {kind: code for code, kind in CHANNEL_KINDS.items()}
_UNIT_CODES = {unit: code for code, unit in UNITS.items()}
_MAXIMUM_24_BIT = 2**23 - 1
_HEADROOM_RATIO = 64.0
"""Room above the first values seen of a channel whose range nobody states; 17 of 24 bits are left for the signal."""


class StreamConverter:
    """Converts one stream's values to what goes on the wire.

    Parameters
    ----------
    stream : StreamInfo
        A channel without a resolution gets one that fits `sample`.
    stream_id : int
        Its number on the wire.
    sample : ndarray, shape (n_samples, n_channels)
        Some first values; only used for channels that do not state a resolution.
    """

    def __init__(self, stream: StreamInfo, stream_id: int, sample: Samples) -> None:
        self.stream = stream
        self.stream_id = stream_id
        self._gains = [_gain(channel, sample[:, k]) for k, channel in enumerate(stream.channels)]
        self._step = np.array([float(gain) for gain in self._gains])
        limits = [_limits(channel, float(gain)) for channel, gain in zip(stream.channels, self._gains, strict=True)]
        self._low = np.array([low for low, _ in limits])
        self._high = np.array([high for _, high in limits])
        self.bytes_per_value = 2 if self._low.min() >= -0x8000 and self._high.max() <= 0x7FFF else 3

    def counts(self, values: Samples) -> NDArray[np.int32]:
        """Return finite or infinite `values` as counts, cut off at the ends of the range as a converter does."""
        return np.asarray(np.clip(np.rint(values / self._step), self._low, self._high).astype(np.int32))

    def descriptor(self, *, is_running: bool) -> StreamDescriptor:
        """Return what the hello says of the stream."""
        channels = tuple(
            ChannelDescriptor(
                name=_short(channel.name),
                kind_code=_KIND_CODES[channel.kind],
                unit_code=_UNIT_CODES.get(channel.unit, 0),
                resolution_bits=max(1, math.ceil(math.log2(int(self._high[k]) - int(self._low[k]) + 1))),
                gain_numerator=self._gains[k].numerator,
                gain_denominator=self._gains[k].denominator,
                minimum_counts=int(self._low[k]),
                maximum_counts=int(self._high[k]),
            )
            for k, channel in enumerate(self.stream.channels)
        )
        return StreamDescriptor(
            stream_id=self.stream_id,
            name=_short(self.stream.name),
            rate_mhz=round(self.stream.nominal_rate_hz * 1000),
            channels=channels,
            is_running=is_running,
        )


def _gain(channel: Channel, values: NDArray[np.float64]) -> Fraction:
    """Return the physical size of one count as a fraction that fits the wire."""
    step = channel.resolution
    if step is None:
        finite = np.abs(values[np.isfinite(values)])
        largest = float(finite.max()) if finite.size else 0.0
        step = 2.0 ** math.ceil(math.log2(max(largest, 1e-3) * _HEADROOM_RATIO / _MAXIMUM_24_BIT))
    # Exact for decimal gains such as 1/200 mV, so that a played record comes out as it went in.
    return max(Fraction(step).limit_denominator(2**32 - 1), Fraction(1, 2**32 - 1))


def _limits(channel: Channel, step: float) -> tuple[int, int]:
    """Return the smallest and largest count, by the channel's range where it states one."""
    low = -_MAXIMUM_24_BIT if channel.minimum is None else round(channel.minimum / step)
    high = _MAXIMUM_24_BIT if channel.maximum is None else round(channel.maximum / step)
    return max(low, -_MAXIMUM_24_BIT), min(high, _MAXIMUM_24_BIT)


def _short(name: str) -> str:
    """Return `name` cut to the 12 bytes that a descriptor has for it, without half characters."""
    return name.replace("\0", "").encode()[:12].decode(errors="ignore")
