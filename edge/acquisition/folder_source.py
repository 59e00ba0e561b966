"""The files of one session of a wrist wearable (Empatica E4) as one recording: light and acceleration on one time line.

Pure: `wfdb_file.open_record` opens the files.  Each file has its own start and rate; the first sample of the earliest
stands at 0 ns.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from edge.acquisition.record_blocks import RecordInfo, RecordSource
from edge.errors import RecordingError
from edge.messages import Gap, SampleBlock

MEMBERS = ("BVP", "ACC")
"""Files that are read, the one that leads the others first.  Heart rate and intervals (``HR``, ``IBI``) are the device's
own conclusions; skin conductance and skin temperature are no vital signs here."""


class FolderSource:
    """Several recordings of one session, merged in time.

    Parameters
    ----------
    name : str
        The session's name.
    parts : sequence of RecordSource
        At least one, each with one stream and a start time.

    Raises
    ------
    RecordingError
        If a part does not say when it begins, so that nothing tells how the parts lie to each other.
    """

    def __init__(self, name: str, parts: Sequence[RecordSource]) -> None:
        self._parts = tuple(parts)
        starts_ns = [part.info.start_wall_ns for part in parts]
        known_ns = [start_ns for start_ns in starts_ns if start_ns is not None]
        if len(known_ns) < len(parts) or not parts:
            raise RecordingError(f"{name}: expected files that begin with their start time and rate")
        self._offsets_ns = [start_ns - min(known_ns) for start_ns in known_ns]
        self._info = RecordInfo(
            name=name,
            streams=tuple(stream for part in parts for stream in part.info.streams),
            start_wall_ns=min(known_ns),
        )

    @property
    def info(self) -> RecordInfo:
        """What the session holds."""
        return self._info

    @property
    def losses(self) -> Mapping[str, int]:
        """Cells lost in the last reading, of all parts together."""
        total: Counter[str] = Counter()
        for part in self._parts:
            total.update(part.losses)
        return dict(total)

    def blocks(self, block_samples: int) -> Iterator[SampleBlock | Gap]:
        """Yield the blocks of all parts, ordered by the instant at which they end (`RecordSource.blocks`)."""
        lead_hz = self._info.rate_hz
        shifted = [
            self._shifted(part, offset_ns, max(1, round(block_samples * part.info.rate_hz / lead_hz)))
            for part, offset_ns in zip(self._parts, self._offsets_ns, strict=True)
        ]
        return heapq.merge(*shifted, key=_end_ns)

    @staticmethod
    def _shifted(part: RecordSource, offset_ns: int, block_samples: int) -> Iterator[SampleBlock | Gap]:
        for item in part.blocks(block_samples):
            if isinstance(item, Gap):
                yield replace(item, start_ns=item.start_ns + offset_ns, end_ns=item.end_ns + offset_ns)
            else:
                yield replace(item, start_ns=item.start_ns + offset_ns)


def _end_ns(item: SampleBlock | Gap) -> int:
    return item.end_ns
