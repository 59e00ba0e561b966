"""A table of samples (CSV) read row by row, as if it were a sensor.

Pure: the lines come from whoever opened the file (`wfdb_file.open_record`).  Understood are

* a header row with names (blanks and quotes around them are dropped), a comma, semicolon or tab between cells;
* a second row with units, as PhysioNet's ``rdsamp -c`` writes it, or units in the names: ``II [mV]``;
* a time column (seconds, ``[ms]``, ``h:mm:ss.fff``, ISO 8601 or Unix time) or a sample counter; jumps in it are gaps;
* the Empatica E4's files: start time, rate, then values.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import islice

import numpy as np

from edge.acquisition.csv_layout import HEAD_ROWS, CsvLayout, Row, find_layout
from edge.acquisition.record_blocks import TRUNCATED, Hole, Piece, RecordInfo, arrange, cut, plan_streams
from edge.errors import RecordingError
from edge.messages import ChannelKind, Gap, SampleBlock, Samples

Lines = Callable[[], Iterator[str]]
"""Starts reading the text again from its first line, line ends included."""

PIECE_ROWS = 4096
MISSING_ROWS = "missing-rows"
"""Reason of a gap where the time column jumps."""

_ABSENT = frozenset({"", "nan", "na", "n/a", "-", "null", "none"})


class CsvSource:
    """One CSV file.

    Parameters
    ----------
    lines : callable
        Starts reading the file's text from the top.
    name : str
        The file's name without folder and extension; tells what an Empatica E4 file holds.
    columns : mapping
        Kinds that override the usual names.
    rate_hz : float, optional
        Sampling rate; needed where the file has no time column.
    sensor : str
        Name that the blocks carry.

    Raises
    ------
    RecordingError
        If the file is no table of samples, or nothing tells its rate.
    """

    def __init__(
        self,
        lines: Lines,
        *,
        name: str,
        columns: Mapping[str, ChannelKind],
        rate_hz: float | None,
        sensor: str,
    ) -> None:
        self._lines = lines
        self._name = name
        self._sensor = sensor
        head = list(islice(self._rows(), HEAD_ROWS))
        self._layout: CsvLayout = find_layout(name, head, columns, rate_hz)
        self._plans = plan_streams(
            self._layout.columns,
            [1] * len(self._layout.columns),
            Fraction(self._layout.rate_hz),
            self._count_samples(),
        )
        self._losses: Counter[str] = Counter()
        self._info = RecordInfo(
            name=name,
            streams=tuple(plan.stream for plan in self._plans),
            start_wall_ns=self._layout.start_wall_ns,
        )

    @property
    def info(self) -> RecordInfo:
        """What the recording holds."""
        return self._info

    @property
    def losses(self) -> Mapping[str, int]:
        """Cells that became NaN: ``missing-cell`` (empty or NaN) and ``bad-cell`` (no number)."""
        return dict(self._losses)

    def blocks(self, block_samples: int) -> Iterator[SampleBlock | Gap]:
        """Yield the recording from its start (`RecordSource.blocks`)."""
        self._losses.clear()
        return cut(self._sensor, self._plans, self._items(), block_samples)

    def _count_samples(self) -> int:
        """Return how many samples the file spans, by its time column where it has one."""
        n_rows = 0
        first: Row | None = None
        last: Row | None = None
        for row in self._data_rows():
            n_rows += 1
            first = first or row
            last = row
        if first is None or last is None:
            raise RecordingError(f"{self._name}: the file has no samples, only a header")
        start, end = self._layout.position(first), self._layout.position(last)
        if start is not None and end is not None:
            return max(n_rows, round(end - start) + 1)
        return n_rows

    def _items(self) -> Iterator[Piece | Hole]:
        held: list[list[float]] = []
        before: float | None = None
        for row in self._data_rows():
            if len(row.cells) != self._layout.n_cells:
                if row.is_cut_off:
                    yield self._piece(held)
                    self._losses["cut-off-row"] += 1
                    yield Hole(n_frames=None, reason=TRUNCATED)
                    return
                raise RecordingError(
                    f"{self._name}: line {row.number}: expected {self._layout.n_cells} cells, got {len(row.cells)}"
                )
            position = self._layout.position(row)
            n_missing = self._n_missing(before, position, row.number)
            if n_missing:
                yield self._piece(held)
                held = []
                yield Hole(n_frames=n_missing, reason=MISSING_ROWS)
            before = position if position is not None else before
            held.append([self._number(row.cells[k]) for k in self._layout.picks])
            if len(held) >= PIECE_ROWS:
                yield self._piece(held)
                held = []
        yield self._piece(held)

    def _piece(self, held: list[list[float]]) -> Piece:
        values: Samples = np.array(held, dtype=np.float64).reshape(len(held), len(self._layout.picks))
        return arrange(self._plans, list(values.T), len(held))

    def _n_missing(self, before: float | None, position: float | None, number: int) -> int:
        """Return how many rows are missing between two positions, counted in samples."""
        if before is None or position is None:
            return 0
        step = position - before
        if step < -self._layout.tolerance_samples:
            raise RecordingError(
                f"{self._name}: line {number}: time goes back by {-step / self._layout.rate_hz:g} s",
                hint="sort the rows by time, or drop the time column and give --rate",
            )
        return round(step) - 1 if step > self._layout.tolerance_samples else 0

    def _number(self, cell: str) -> float:
        try:
            value = float(cell.replace(",", ".") if self._layout.has_decimal_comma else cell)
        except ValueError:
            self._losses["missing-cell" if cell.strip().casefold() in _ABSENT else "bad-cell"] += 1
            return math.nan
        if not math.isfinite(value):
            self._losses["missing-cell" if math.isnan(value) else "bad-cell"] += 1
            return math.nan
        return value

    def _data_rows(self) -> Iterator[Row]:
        return islice(self._rows(), self._layout.n_head_rows, None)

    def _rows(self) -> Iterator[Row]:
        """Yield every row that is neither blank nor a comment."""
        delimiter: str | None = None
        number = 0
        try:
            for number, line in enumerate(self._lines(), start=1):
                if "\0" in line:
                    raise RecordingError(f"{self._name}: line {number}: binary data, not a table")
                if not line.strip() or line.lstrip().startswith("#"):
                    continue
                delimiter = delimiter or _delimiter(line)
                cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
                yield Row(number=number, cells=cells, is_cut_off=not line.endswith(("\n", "\r")), delimiter=delimiter)
        except (UnicodeDecodeError, csv.Error) as error:
            raise RecordingError(f"{self._name}: after line {number}: not a text table: {error}") from error


def _delimiter(line: str) -> str:
    """Return what stands between the cells of the first line: a semicolon or tab wins over commas in numbers."""
    counts: Sequence[tuple[int, str]] = [(line.count(mark), mark) for mark in ("\t", ";")]
    n_most, mark = max(counts)
    return mark if n_most else ","
