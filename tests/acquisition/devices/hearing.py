"""Short ways to feed a decoder and to look at what it said."""

from __future__ import annotations

import numpy as np

from edge.messages import Chunk, Corrupt, DeviceBlock, Gap, Reading, SensorIdentity, SensorStatus

NS_PER_S = 1_000_000_000
KINDS = {
    "blocks": DeviceBlock,
    "gaps": Gap,
    "readings": Reading,
    "statuses": SensorStatus,
    "identities": SensorIdentity,
    "corrupt": Corrupt,
}


class Heard(list):
    """Everything that a decoder said."""

    def __getattr__(self, name):
        return [item for item in self if isinstance(item, KINDS[name])]

    def samples(self, stream, column=0):
        """All values of one channel, end to end."""
        return [float(row[column]) for block in self.blocks if block.stream == stream for row in block.values]

    def sequences(self, stream):
        """The index of every sample."""
        return [
            number
            for block in self.blocks
            if block.stream == stream
            for number in range(block.sequence, block.sequence + len(block.values))
        ]

    def values(self, measure):
        """Value or the reason for none, of every reading of a measure."""
        return [item.absent or item.value for item in self.readings if item.measure == measure]

    def conditions(self):
        return [(item.condition, item.is_active) for item in self.statuses]

    def reasons(self):
        return [item.reason for item in self.corrupt]


def hear(decoder, data, *, at_s=0.0, flush=True):
    """Everything that a decoder says of bytes that come at once."""
    out = Heard(decoder.push(Chunk(data=data, received_at_ns=round(at_s * NS_PER_S))))
    return Heard([*out, *decoder.flush()]) if flush else out


def hear_in_time(decoder, frames, *, rate_hz, start_s=0.0, flush=True):
    """Everything that a decoder says of frames that come one by one at their rate; empty ones are lost."""
    out = Heard()
    for k, frame in enumerate(frames):
        at_ns = round((start_s + k / rate_hz) * NS_PER_S)
        out += decoder.push(Chunk(data=frame, received_at_ns=at_ns)) if frame else []
    return Heard([*out, *decoder.flush()]) if flush else out


def plain(items):
    """Items in a form that can be compared, without arrivals."""
    out = []
    for item in items:
        if isinstance(item, DeviceBlock):
            out.append((item.stream, item.sequence, np.asarray(item.values).tobytes()))
        elif isinstance(item, Corrupt):
            out.append((item.reason, item.offset, item.n_bytes))
        elif isinstance(item, Reading):
            out.append((item.measure, item.value, item.absent, item.status))
        elif isinstance(item, SensorStatus):
            out.append((item.condition, item.stream, item.is_active, item.detail))
        else:
            out.append((type(item).__name__, getattr(item, "reason", None), getattr(item, "firmware", None)))
    return out
