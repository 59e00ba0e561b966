"""The samples of a device that sends them one at a time, gathered into blocks; used by the devices of this folder.

None of these devices has a clock that it tells.  Device time is therefore counted from the samples: the first one of
a link is put at its arrival, every further one a nominal period later.  `timeline` then learns from the arrivals how
fast the device's crystal really is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.messages import Channel, DeviceBlock, Gap, StreamInfo

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleStreamSettings:
    """One stream of a device."""

    sensor: str
    stream: str
    channels: tuple[Channel, ...]
    rate_hz: float
    """Nominal rate of the samples."""
    block_samples: int
    """Samples in one block: a few blocks a second."""

    @property
    def info(self) -> StreamInfo:
        """The stream as an identity names it."""
        return StreamInfo(name=self.stream, channels=self.channels, nominal_rate_hz=self.rate_hz)


class SampleStream:
    """Samples to blocks on a grid that depends on nothing but the samples."""

    def __init__(self, settings: SampleStreamSettings) -> None:
        self._settings = settings
        self._rows: list[Sequence[float]] = []
        self._sequence = 0  # of the next sample
        self._anchor: tuple[int, int] | None = None  # sequence of a sample and its device time
        self._block_time_ns: int | None = None  # of the first waiting sample, where the caller knows it
        self._received_at_ns: int | None = None
        self._n_lost_samples = 0

    @property
    def info(self) -> StreamInfo:
        """The stream as an identity names it."""
        return self._settings.info

    @property
    def sequence(self) -> int:
        """Index of the next sample, lost ones included."""
        return self._sequence

    @property
    def received_at_ns(self) -> int | None:
        """When the newest sample came; None before the first."""
        return self._received_at_ns

    @property
    def n_lost_samples(self) -> int:
        """Samples known to be missing since the stream was made."""
        return self._n_lost_samples

    def device_time_ns(self, sequence: int) -> int:
        """Return the device time of a sample of this stretch; 0 before its first."""
        if self._anchor is None:
            return 0
        anchor_sequence, anchor_ns = self._anchor
        return anchor_ns + round((sequence - anchor_sequence) * NS_PER_S / self._settings.rate_hz)

    def add(self, row: Sequence[float], received_at_ns: int, *, device_time_ns: int | None = None) -> list[DeviceBlock]:
        """Take one sample of every channel; return the block that it completes.

        Parameters
        ----------
        row : sequence of float
            One value for each channel.
        received_at_ns : int
            When its frame came.
        device_time_ns : int, optional
            When it was taken, where a better clock than the number of samples tells it.
        """
        if self._anchor is None:
            self._anchor = (self._sequence, received_at_ns)
        if not self._rows:
            self._block_time_ns = device_time_ns
        self._rows.append(row)
        self._sequence += 1
        self._received_at_ns = received_at_ns
        return self.close() if len(self._rows) >= self._settings.block_samples else []

    def skip(self, n_samples: int) -> list[DeviceBlock]:
        """Leave out `n_samples` that were lost: the next block's sequence tells it."""
        if n_samples <= 0:
            return []
        out = self.close()
        self._sequence += n_samples
        if self._anchor is not None:
            self._n_lost_samples += n_samples
        return out

    def gap(self, reason: str, received_at_ns: int) -> list[DeviceBlock | Gap]:
        """End the stretch with a hole of unknown size; the next sample begins another one at its own arrival."""
        out: list[DeviceBlock | Gap] = [*self.close()]
        if self._received_at_ns is not None:
            start_ns = self._received_at_ns
            out.append(
                Gap(
                    sensor=self._settings.sensor,
                    stream=self._settings.stream,
                    start_ns=start_ns,
                    end_ns=max(start_ns, received_at_ns),
                    n_missing=None,
                    reason=reason,
                )
            )
        self._anchor = None
        self._received_at_ns = None
        return out

    def close(self) -> list[DeviceBlock]:
        """Return the samples that wait for their block to fill, as a shorter one."""
        rows, self._rows = self._rows, []
        if not rows or self._anchor is None or self._received_at_ns is None:
            return []
        settings = self._settings
        sequence = self._sequence - len(rows)
        time_ns = self._block_time_ns
        block = DeviceBlock(
            sensor=settings.sensor,
            stream=settings.stream,
            channels=settings.channels,
            values=np.array(rows, dtype=np.float64).reshape(len(rows), len(settings.channels)),
            nominal_rate_hz=settings.rate_hz,
            sequence=sequence,
            device_time_ns=self.device_time_ns(sequence) if time_ns is None else time_ns,
            received_at_ns=self._received_at_ns,
        )
        return [block]

    def reset(self) -> None:
        """Forget the link: the next sample is number 0."""
        self._rows = []
        self._sequence = 0
        self._anchor = None
        self._received_at_ns = None
