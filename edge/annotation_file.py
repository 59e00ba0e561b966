"""What the runtime decided, as a WFDB annotation file that any standard comparer can score.

Adapter for ``wfdb`` (optional extra).  Written are beats (AAMI symbols; pulses where there is no ECG), rhythm changes (``+`` with ``(AFIB`` …)
and changes of signal quality (``~``).  Annotations are collected and written sorted when the writer is closed.

References
----------
.. [1] WFDB Applications Guide, annot(5), and ``ecgcodes.h``.
.. [2] ANSI/AAMI EC57:1998: beat classes, and shutdown (bits 4 and 5 of the subtype of ``~`` set: the detector
   says that it cannot analyse).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Self

import numpy as np

from edge.acquisition.wfdb_file import load_wfdb, quiet
from edge.errors import RecordingError
from edge.messages import BeatKind, ClassifiedBeat, Pulse, Quality, RhythmChange

EXTENSION = "vte"
"""Annotator name of VitalEdge."""

USABLE = 0
UNREADABLE = -1
"""Every bit set: all signals unreadable, which comparers take as shutdown [2]_."""

_MAX_AUX_BYTES = 255  # one length byte in the file
_EMPTY = b"\x00\x00"  # the end mark alone: a valid file without annotations
_BEAT_RANK = 2
_SCRATCH = "vitaledge-part"  # a name that wfdb accepts, whatever the record is called


@dataclass(frozen=True, slots=True, order=True)
class _Annotation:
    """One line of the file; ordered as it is written: by sample, quality and rhythm before the beat they precede."""

    sample: int
    rank: int
    symbol: str
    subtype: int
    aux: str


class AnnotationWriter:
    """Collects findings and writes ``<record>.vte`` on `close`.

    Parameters
    ----------
    folder : Path
        Where the file goes; made if it is not there.
    record_name : str
        Name of the record, path and known extension are dropped: ``mitdb/101.hea`` gives ``101.vte``.
    rate_hz : float
        Samples per second of the record; ``sequence`` of every finding counts them.
    stream : str, optional
        The stream whose beats and quality are written: a comparer expects one beat per beat, not one of the ECG
        and one of the pulse.  None takes all streams.

    Raises
    ------
    EdgeError
        If wfdb is not installed; said now and not after an hour of replay.
    ValueError
        If `rate_hz` is not positive or `record_name` is empty.
    """

    def __init__(self, folder: str | Path, record_name: str, rate_hz: float, *, stream: str | None = None) -> None:
        if not rate_hz > 0:
            raise ValueError(f"expected rate_hz > 0, got {rate_hz}")
        name = Path(record_name).name
        for suffix in (".hea", ".dat", ".mat", ".edf", ".bdf", ".csv"):
            name = name.removesuffix(suffix)
        if not name:
            raise ValueError(f"expected the name of a record, got {record_name!r}")
        self._wfdb: ModuleType = load_wfdb()
        self._path = Path(folder) / f"{name}.{EXTENSION}"
        self._rate_hz = rate_hz
        self._stream = stream
        self._annotations: list[_Annotation] = []
        self._last_quality: tuple[bool, tuple[str, ...]] | None = None
        self._latest: dict[int, _Annotation] = {}
        self._n_outside = 0
        self._is_closed = False

    @property
    def path(self) -> Path:
        """The file that `close` writes."""
        return self._path

    @property
    def n_annotations(self) -> int:
        """Annotations collected so far."""
        return len(self._annotations)

    @property
    def n_outside(self) -> int:
        """Findings before the first sample, which the format cannot hold: left out."""
        return self._n_outside

    def add(self, finding: ClassifiedBeat | Pulse | RhythmChange | Quality) -> None:
        """Take note of `finding`, unless it is of another stream or a quality that repeats the one before.

        Raises
        ------
        ValueError
            If the writer is closed.
        """
        if self._is_closed:
            raise ValueError(f"{self._path} is closed")
        if self._stream is not None and _stream(finding) not in {None, self._stream}:
            return
        if isinstance(finding, ClassifiedBeat):
            annotation = _Annotation(finding.beat.sequence, _BEAT_RANK, finding.beat.kind.value, 0, "")
        elif isinstance(finding, Pulse):
            annotation = _Annotation(finding.sequence, _BEAT_RANK, BeatKind.NORMAL.value, 0, "")
        elif isinstance(finding, RhythmChange):
            annotation = _Annotation(finding.sequence, 1, "+", 0, f"({finding.label}")
        else:
            quality = (finding.is_usable, () if finding.is_usable else finding.reasons)
            if quality == self._last_quality:
                return
            self._last_quality = quality
            subtype = USABLE if finding.is_usable else UNREADABLE
            # The verdict comes at the end of its second and is about the whole of it: it stands at the beginning.
            begin = max(0, finding.sequence - round(self._rate_hz)) if finding.sequence >= 0 else finding.sequence
            annotation = _Annotation(begin, 0, "~", subtype, ",".join(quality[1]))
        if annotation.sample < 0:
            self._n_outside += 1
            return
        self._drop_replaced(annotation)
        self._annotations.append(annotation)

    def _drop_replaced(self, annotation: _Annotation) -> None:
        """Leave out a rhythm or quality of no length: a later word on the same sample replaces it.

        Sorted beside each other they would stand in the order of the alphabet, and the older could win.
        """
        if annotation.rank == _BEAT_RANK:
            return
        latest = self._latest.get(annotation.rank)
        if latest is not None and latest.sample == annotation.sample:
            self._annotations.remove(latest)
        self._latest[annotation.rank] = annotation

    def close(self) -> None:
        """Write the file, whole or not at all; without annotations it holds only its end mark.

        Raises
        ------
        RecordingError
            If the folder cannot be written.
        """
        if self._is_closed:
            return
        self._is_closed = True
        scratch = self._path.with_name(f"{_SCRATCH}.{EXTENSION}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._annotations:
                self._write(scratch)
            else:
                scratch.write_bytes(_EMPTY)
            scratch.replace(self._path)
        except OSError as error:
            raise RecordingError(f"{self._path}: cannot be written: {error.strerror}") from error

    def _write(self, scratch: Path) -> None:
        ordered = sorted(self._annotations)
        with quiet():
            self._wfdb.wrann(
                scratch.stem,
                EXTENSION,
                np.array([each.sample for each in ordered], dtype=np.int64),
                symbol=[each.symbol for each in ordered],
                subtype=np.array([each.subtype for each in ordered], dtype=np.int64),
                aux_note=[_ascii(each.aux) for each in ordered],
                fs=self._rate_hz,
                write_dir=str(scratch.parent),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _stream(finding: ClassifiedBeat | Pulse | RhythmChange | Quality) -> str | None:
    """Return the stream that a finding is of; None for a rhythm, which is of the person."""
    if isinstance(finding, RhythmChange):
        return None
    return finding.beat.stream if isinstance(finding, ClassifiedBeat) else finding.stream


def _ascii(text: str) -> str:
    """Return `text` as the format can hold it: ASCII, at most 255 bytes."""
    return text.encode("ascii", "replace").decode()[:_MAX_AUX_BYTES]
