"""Annotated clinical recordings (WFDB, EDF, BDF, CSV) read from disk in pieces, as if they were a sensor.

`open_record` is the way in: it looks at the file and chooses the reader.

The only file that imports ``wfdb`` or ``edfio`` (`edge.annotation_file` writes with the module that `load_wfdb`
gives it).  Both are an optional extra: they are imported when the first recording is opened.

Formats: WFDB header(5) and signal(5), https://physionet.org/physiotools/wag/ ; EDF+ (Kemp & Olivan 2003,
doi:10.1016/S1388-2457(03)00123-8).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from edge.acquisition.capture import MAGIC as CAPTURE_MAGIC
from edge.acquisition.csv_file import CsvSource
from edge.acquisition.edf_file import EdfSource
from edge.acquisition.folder_source import MEMBERS, FolderSource
from edge.acquisition.record_blocks import (
    PIECE_SAMPLES,
    TRUNCATED,
    Hole,
    Piece,
    RecordInfo,
    RecordSource,
    arrange,
    cut,
    plan_streams,
    require_channels,
    require_rate,
    wall_ns,
)
from edge.acquisition.record_columns import Column, ColumnError, choose, describe, parse_kinds
from edge.acquisition.wfdb_format import converter_range, frames_held
from edge.errors import EdgeError, RecordingError
from edge.messages import ChannelKind, Gap, SampleBlock

__all__ = ["RecordInfo", "RecordSource", "WfdbSource", "load_wfdb", "open_record", "quiet"]

NO_SEGMENT = "no-segment"
"""Reason of a gap that the recording itself declares (the null segment ``~`` of WFDB)."""
_SIGNAL_SUFFIXES = frozenset({".dat", ".mat", ".d16", ".d212"})
_HINT = "install the extra: pip install 'vitaledge[records]'"
# What the readers of both libraries raise on damaged input, found by fuzzing them.
_READ_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    OSError,
    RuntimeError,  # libsndfile, for the compressed formats
    UnboundLocalError,
)


def open_record(
    path: str | Path,
    columns: Mapping[str, str] | None = None,
    rate_hz: float | None = None,
    *,
    sensor: str = "record",
) -> RecordSource:
    """Return the recording at `path`, whichever of the formats it is in.

    Parameters
    ----------
    path : str or Path
        WFDB record with or without extension (``mitdb/101``, ``101.hea``, ``101.dat``), an EDF, BDF or CSV file, or
        the folder of an Empatica E4 session.
    columns : mapping, optional
        Column name to kind, ``{"II": "ecg", "AX": "acc_x"}``; the others are known by their usual names.
    rate_hz : float, optional
        Sampling rate of a CSV file without a time column.
    sensor : str
        Name that the blocks and gaps carry.

    Raises
    ------
    RecordingError
        If there is no such file, it is no recording, or it is damaged beyond counting what is missing.
    EdgeError
        If the format needs a package that is not installed.
    """
    path = Path(path)
    try:
        return _open(path, parse_kinds(columns or {}), rate_hz, sensor)
    except ColumnError as error:
        raise RecordingError(f"{path}: {error}") from error
    except OSError as error:
        if isinstance(error, EdgeError):
            raise
        raise RecordingError(f"{path}: cannot be read: {error.strerror or error}") from error


def _open(path: Path, columns: Mapping[str, ChannelKind], rate_hz: float | None, sensor: str) -> RecordSource:
    base = _wfdb_base(path)
    if base is not None:
        return WfdbSource(base, columns, sensor)
    if path.is_dir():
        parts = [path / f"{member}.csv" for member in MEMBERS if (path / f"{member}.csv").is_file()]
        if not parts:
            raise RecordingError(f"{path}: a folder, not a recording", hint="name one record in it")
        return FolderSource(path.resolve().name, [_csv(part, columns, None, sensor) for part in parts])
    if not path.is_file():
        raise RecordingError(f"{path}: no such file, and no WFDB header {path.name}.hea beside it")
    with path.open("rb") as file:
        start = file.read(len(CAPTURE_MAGIC))
    if start == CAPTURE_MAGIC:
        raise RecordingError(
            f"{path}: a raw capture: bytes of a device, not samples", hint="it needs the device's codec"
        )
    if start[:8] in {b"0       ", b"\xffBIOSEMI"}:
        return _open_edf(path, columns, sensor)
    if path.suffix.lower() in {".edf", ".bdf", ".rec"}:
        raise RecordingError(f"{path}: not an EDF or BDF file: it begins with {start[:8]!r}")
    if path.suffix.lower() in _SIGNAL_SUFFIXES:
        raise RecordingError(f"{path}: its WFDB header {path.stem}.hea is missing", hint="fetch it to the same folder")
    return _csv(path, columns, rate_hz, sensor)


def _csv(path: Path, columns: Mapping[str, ChannelKind], rate_hz: float | None, sensor: str) -> CsvSource:
    return CsvSource(lambda: _lines(path), name=path.stem, columns=columns, rate_hz=rate_hz, sensor=sensor)


def _wfdb_base(path: Path) -> Path | None:
    """Return the record without extension if `path` names a WFDB record."""
    if path.with_name(path.name + ".hea").is_file():
        return path
    is_part = path.suffix.lower() in {".hea", *_SIGNAL_SUFFIXES} or not path.suffix
    return path.with_suffix("") if is_part and path.with_suffix(".hea").is_file() else None


def _lines(path: Path) -> Iterator[str]:
    # utf-8-sig: spreadsheets put a byte-order mark before the first name; newline="" keeps the line ends
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from file


def load_wfdb() -> ModuleType:
    """Return the ``wfdb`` package.

    Raises
    ------
    EdgeError
        If it is not installed; the hint names the extra.
    """
    try:
        with quiet():
            import wfdb
    except ImportError as error:
        raise EdgeError(f"reading and writing WFDB files needs the package wfdb: {error}", hint=_HINT) from error
    module: ModuleType = wfdb
    return module


def quiet() -> warnings.catch_warnings[None]:
    """Return a context in which the libraries' own deprecation warnings do not reach the user.

    wfdb 4.3 calls pandas in ways that pandas 3.1 warns of, on import and on writing.
    """
    return warnings.catch_warnings(action="ignore")


class WfdbSource:
    """One WFDB record: plain, multi-frequency or multi-segment.

    Parameters
    ----------
    base : Path
        The record without extension; ``base.hea`` exists.
    columns : mapping
        Kinds that override the usual names (`record_columns.parse_columns`).
    sensor : str
        Name that the blocks carry.

    Raises
    ------
    RecordingError
        If the header cannot be understood, has no channels or no rate, or a signal file is missing.
    """

    def __init__(self, base: Path, columns: Mapping[str, ChannelKind], sensor: str) -> None:
        self._wfdb = load_wfdb()
        self._sensor = sensor
        header = self._header(base)
        self._segments = self._find_segments(base, header)
        layout = self._layout(base, header)
        require_channels(base.name, layout.sig_name)
        self._names: list[str] = list(layout.sig_name)
        rate_hz = require_rate(base.name, header.fs)
        n_frames = sum(segment.n_frames for segment in self._segments)
        described = [_wfdb_column(layout, k, kind) for k, kind in enumerate(choose(self._names, columns))]
        self._per_frame = [n or 1 for n in layout.samps_per_frame]
        self._plans = plan_streams(described, self._per_frame, rate_hz, n_frames)
        self._info = RecordInfo(
            name=base.name,
            streams=tuple(plan.stream for plan in self._plans),
            start_wall_ns=wall_ns(header.base_date, header.base_time),
        )

    @property
    def info(self) -> RecordInfo:
        """What the recording holds."""
        return self._info

    @property
    def losses(self) -> Mapping[str, int]:
        """Always empty: what a WFDB record lacks is a gap or NaN."""
        return {}

    def blocks(self, block_samples: int) -> Iterator[SampleBlock | Gap]:
        """Yield the record from its start (`RecordSource.blocks`)."""
        return cut(self._sensor, self._plans, self._items(), block_samples)

    def _items(self) -> Iterator[Piece | Hole]:
        for segment in self._segments:
            if segment.base is None:
                yield Hole(n_frames=segment.n_frames, reason=NO_SEGMENT)
                continue
            yield from self._pieces(segment)
            if segment.n_missing:
                yield Hole(n_frames=segment.n_missing, reason=TRUNCATED)

    def _pieces(self, segment: _Segment) -> Iterator[Piece]:
        n_present = segment.n_frames - segment.n_missing
        step = n_present if segment.is_whole else max(1, PIECE_SAMPLES // sum(self._per_frame))
        for start in range(0, n_present, max(1, step)):
            stop = min(start + step, n_present)
            try:
                with quiet():
                    record = self._wfdb.rdrecord(
                        str(segment.base), start, stop if segment.has_length else None, smooth_frames=False
                    )
            except _READ_ERRORS as error:
                raise RecordingError(f"{segment.base}: samples {start} to {stop} cannot be read: {error}") from error
            by_name = dict(zip(record.sig_name, record.e_p_signal, strict=True))
            signals = [by_name.get(name) for name in self._names]
            ends = [(stop - start) * per_frame for per_frame in self._per_frame]
            yield arrange(
                self._plans,
                [None if signal is None else signal[:end] for signal, end in zip(signals, ends, strict=True)],
                stop - start,
            )

    def _header(self, base: Path) -> Any:
        try:
            _check_record_line(base)
            with quiet():
                header = self._wfdb.rdheader(str(base))
        except FileNotFoundError as error:
            raise RecordingError(f"{base}.hea: no such header file") from error
        except RecordingError:
            raise
        except _READ_ERRORS as error:
            raise RecordingError(f"{base}.hea: not a WFDB header: {error}") from error
        return header

    def _find_segments(self, base: Path, header: Any) -> list[_Segment]:
        if not isinstance(header, self._wfdb.MultiRecord):
            return [_segment(base, header, header.sig_len)]
        first = 1 if header.layout == "variable" else 0  # the layout header of a variable record has no samples
        segments = []
        for name, n_frames in zip(header.seg_name[first:], header.seg_len[first:], strict=True):
            if name == "~":
                segments.append(_Segment(None, n_frames))
            else:
                path = base.parent / name
                segments.append(_segment(path, self._header(path), n_frames))
        return segments

    def _layout(self, base: Path, header: Any) -> Any:
        """Return the header that names the channels: the first with signals and, where it can be, with files."""
        if not isinstance(header, self._wfdb.MultiRecord):
            return header
        names = [name for name in header.seg_name if name != "~"]
        if not names:
            raise RecordingError(f"{base}.hea: a record of null segments only has no channels")
        return self._header(base.parent / names[0])


@dataclass(frozen=True, slots=True)
class _Segment:
    """One stretch of a record with its own signal files."""

    base: Path | None
    """None for a null segment."""
    n_frames: int
    n_missing: int = 0
    """Frames at the end that are not in the files."""
    is_whole: bool = False
    """Can only be read in one go."""
    has_length: bool = True
    """The segment's own header says how long it is."""


def _segment(base: Path, header: Any, n_frames: int | None) -> _Segment:
    """Return how much of a segment is on the disk, compared with what its header promises."""
    require_channels(base.name, header.sig_name)
    held: list[int | None] = []
    for name in dict.fromkeys(header.file_name):
        path = base.parent / name
        if not path.is_file():
            raise RecordingError(f"{base}.hea: its signal file {name} is missing", hint="fetch it to the same folder")
        mine = [k for k, other in enumerate(header.file_name) if other == name]
        n_bytes = path.stat().st_size - (header.byte_offset[mine[0]] or 0)
        held.append(frames_held(header.fmt[mine[0]], n_bytes, sum(header.samps_per_frame[k] or 1 for k in mine)))
    n_present = min((n for n in held if n is not None), default=None)
    # Format 8 stores differences, and wfdb finds out a length that the header leaves open only for a whole record.
    is_whole = "8" in header.fmt or not header.sig_len
    n_frames = n_frames or n_present or 0
    n_missing = 0 if n_present is None else max(0, n_frames - n_present)
    return _Segment(base, n_frames, n_missing, is_whole, bool(header.sig_len))


def _check_record_line(base: Path) -> None:
    """Raise RecordingError if the header's sampling rate is none: wfdb would quietly read 250 Hz instead."""
    with Path(f"{base}.hea").open(encoding="ascii", errors="replace") as file:
        lines = [line.split() for line in file if line.strip() and not line.lstrip().startswith("#")]
    if not lines or len(lines[0]) < 2:
        raise RecordingError(f"{base}.hea: not a WFDB header: it has no record line")
    if len(lines[0]) > 2:
        require_rate(base.name, float(re.split(r"[/(]", lines[0][2])[0]))


def _wfdb_column(layout: Any, k: int, kind: ChannelKind) -> Column:
    """Return the column with the converter's range, which the header gives as resolution, zero and gain."""
    bits, zero, gain, baseline = (
        getattr(layout, field)[k] if getattr(layout, field) else None
        for field in ("adc_res", "adc_zero", "adc_gain", "baseline")
    )
    minimum = maximum = resolution = None
    if gain and baseline is not None:
        resolution = abs(1 / gain)
        if bits and zero is not None:
            minimum, maximum = converter_range(bits, zero, gain, baseline)
    unit = (layout.units[k] if layout.units else None) or ""
    return describe(layout.sig_name[k], kind, unit, minimum=minimum, maximum=maximum, resolution=resolution)


def _open_edf(path: Path, columns: Mapping[str, ChannelKind], sensor: str) -> EdfSource:
    try:
        import edfio
    except ImportError as error:
        raise EdgeError(f"reading EDF files needs the package edfio: {error}", hint=_HINT) from error
    with path.open("rb") as file:
        header = file.read(256)
    read = edfio.read_bdf if header[:1] == b"\xff" else edfio.read_edf
    try:
        with quiet():  # a wrong number of data records is a warning there; here it becomes a gap
            edf = read(path, header_encoding="latin-1")  # many makers write µV so, although the standard says ASCII
            is_continuous = edf.is_continuous
            source = EdfSource(
                path.stem,
                edf.signals,
                record_s=edf.data_record_duration,
                n_present=edf.num_data_records,
                n_promised=_promised_records(header),
                start_wall_ns=_edf_wall_ns(edf),
                columns=columns,
                sensor=sensor,
            )
    except (EdgeError, ColumnError):
        raise
    except _READ_ERRORS as error:
        raise RecordingError(f"{path}: not a readable EDF file: {error}") from error
    if not is_continuous:
        raise RecordingError(
            f"{path}: an interrupted recording (EDF+D) is not supported", hint="split it into continuous EDF+C files"
        )
    return source


def _promised_records(header: bytes) -> int:
    """Return how many data records the header promises; 0 where it leaves that open (−1)."""
    try:
        return max(0, int(header[236:244]))
    except ValueError:
        return 0


def _edf_wall_ns(edf: Any) -> int | None:
    try:
        start = edf.startdatetime
    except _READ_ERRORS:  # an anonymised or impossible date is no reason to refuse the samples
        return None
    return wall_ns(start.date(), start.time())
