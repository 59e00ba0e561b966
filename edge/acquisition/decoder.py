"""What `sensor` needs of a codec: bytes of one kind of device in, the vocabulary of `edge.messages` out.

Pure.  `bridge.BridgeDecoder`, the serial devices in ``devices/`` and the Bluetooth profiles in ``gatt/`` have this
shape::

    write(decoder.greeting())                        # on every connect
    for item in decoder.push(chunk):                 # DeviceBlock, Reading, SensorStatus, Gap, Corrupt ...
        pipeline.push(item)
    write(decoder.requests(now_ns))                  # a few times a second; often nothing
    decoder.flush(); decoder.reset("link-lost")      # when the link ended
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from edge.messages import Chunk, Outgoing

Item_co = TypeVar("Item_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderCounters:
    """What a decoder has seen since it was made; a reset does not clear it."""

    n_frames: int = 0
    """Whole and valid units of the device's protocol: frames, packets, notifications."""
    n_corrupt: Mapping[str, int] = field(default_factory=dict)
    """Everything dropped, by reason, from the bytes up."""
    n_unknown_types: Mapping[int, int] = field(default_factory=dict)
    """Units skipped because their type is newer than we are."""
    n_lost_frames: int = 0
    """Units missing between two that came, where the device numbers them."""
    n_lost_samples: int = 0
    """Samples missing between two blocks that came, summed over streams; not reduced by back-fill."""
    n_backfilled_samples: int = 0
    n_device_resets: int = 0


class Decoder(Protocol[Item_co]):
    """A codec with the state of one link."""

    @property
    def counters(self) -> DecoderCounters:
        """What was seen so far."""
        ...

    def push(self, item: Chunk) -> Sequence[Item_co]:
        """Return what `item` completed."""
        ...

    def flush(self) -> Sequence[Item_co]:
        """Return what is left at the end of the link, such as half a frame as `Corrupt`."""
        ...

    def reset(self, reason: str) -> None:
        """Forget the device: the link ended."""
        ...

    def greeting(self) -> list[Outgoing]:
        """Return what to write on every connect; often nothing."""
        ...

    def requests(self, now_ns: int) -> list[Outgoing]:
        """Return what is due to be written at `now_ns`: asked a few times a second; mostly nothing."""
        ...

    def farewell(self) -> list[Outgoing]:
        """Return what to write before the link is closed on purpose, so that the device may rest; often nothing."""
        ...
