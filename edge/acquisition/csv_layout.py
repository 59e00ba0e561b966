"""The first rows of a CSV file -> what its columns are, how fast it was sampled, where its samples begin.

Pure.  Fed by `csv_file`.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from edge.acquisition.record_columns import Column, choose, describe
from edge.errors import RecordingError
from edge.messages import ChannelKind

HEAD_ROWS = 1000
"""Rows from which the layout and the rate are found: at least four seconds at 250 Hz."""

SNAP = 1e-3
"""A rate found from time stamps is taken as a whole number of hertz when within this share of it.

Stamps rounded to milliseconds leave 0.04 % over 1000 rows at 360 Hz.
"""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_UNIT_IN_NAME = re.compile(r"^(?P<name>.*?)\s*[\[(](?P<unit>[^\])]*)[\])]$")
_TIME_NAME = re.compile(
    r"(elapsed[ _]?)?(time|timestamp|t|datetime|date[ _]?time)([ _]?stamp)?([_ ](?P<unit>s|ms|us|ns))?"
)
_TIME_UNITS: Mapping[str, float] = {
    "s": 1.0,
    "sec": 1.0,
    "seconds": 1.0,
    "ms": 1e-3,
    "milliseconds": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
    "min": 60.0,
}
_COUNTER_NAMES = frozenset({"", "sample", "sample #", "samples", "sample number", "sample_number", "index", "n"})
# Columns of the Empatica E4 by file name (its info.txt): name and unit of each column.
_E4: Mapping[str, tuple[tuple[str, ...], str]] = {
    "BVP": (("BVP",), ""),
    "ACC": (("ACC_X", "ACC_Y", "ACC_Z"), "1/64 g"),
    "EDA": (("EDA",), "uS"),
    "TEMP": (("TEMP",), "degC"),
    "HR": (("HR",), "bpm"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    number: int
    """Line in the file, counted from 1."""
    cells: Sequence[str]
    is_cut_off: bool
    """The line has no end: it is the last one, and maybe incomplete."""
    delimiter: str = ","


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvLayout:
    """How to read the rows."""

    columns: tuple[Column, ...]
    picks: tuple[int, ...]
    """Cell of each column."""
    n_cells: int
    n_head_rows: int
    """Rows before the first sample."""
    rate_hz: float
    time_cell: int | None
    """Cell with the time or the sample counter; None without one."""
    samples_per_unit: float
    """What one unit of that cell is, in samples."""
    tolerance_samples: float
    """A larger step than this between two rows is a gap."""
    has_decimal_comma: bool
    start_wall_ns: int | None

    def position(self, row: Row) -> float | None:
        """Return where the row lies, in samples from an arbitrary zero; None without a (readable) time."""
        if self.time_cell is None or self.time_cell >= len(row.cells):
            return None
        at = parse_time(row.cells[self.time_cell], has_decimal_comma=self.has_decimal_comma)
        return None if at is None else at * self.samples_per_unit


def parse_time(cell: str, *, has_decimal_comma: bool = False) -> float | None:
    """Return a number as it is, ``h:mm:ss.fff`` and ISO 8601 in seconds; None for anything else.

    Examples
    --------
    >>> parse_time("1:02.5")
    62.5
    >>> parse_time("1970-01-01T00:01:00Z")
    60.0
    """
    text = cell.strip().strip("'[]").strip()
    if has_decimal_comma:
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        pass
    else:
        return value if math.isfinite(value) else None
    try:
        if re.fullmatch(r"(\d+:){1,2}\d+(\.\d*)?", text):
            seconds = 0.0
            for part in text.split(":"):
                seconds = seconds * 60 + float(part)
            return seconds
        instant = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=dt.UTC)
    return (instant - _EPOCH).total_seconds()


def find_layout(
    name: str,
    head: Sequence[Row],
    columns: Mapping[str, ChannelKind],
    rate_hz: float | None,
) -> CsvLayout:
    """Return how the file whose first rows are `head` is laid out.

    Raises
    ------
    RecordingError
        If it is no table of samples, has no channels, or nothing tells its rate; the message names the line.
    """
    if not head:
        raise RecordingError(f"{name}: the file is empty")
    if rate_hz is not None and not 0 < rate_hz < math.inf:
        raise RecordingError(f"{name}: expected a sampling rate > 0, got {rate_hz}")
    has_decimal_comma = head[0].delimiter == ";"
    n_cells = len(head[0].cells)
    e4 = _e4_start(head)
    if e4 is not None:
        return _e4_layout(name, n_cells, e4, columns, rate_hz)
    if all(_is_number(cell, has_decimal_comma=has_decimal_comma) for cell in head[0].cells):
        raise RecordingError(
            f"{name}: line {head[0].number}: expected a row with the names of the columns, got numbers",
            hint="put a first line such as: time [s],II [mV]",
        )
    names, units, n_head_rows = _names_and_units(head)
    time_cell = _time_cell(names)
    picks = tuple(k for k, column in enumerate(names) if k != time_cell and column)
    if not picks:
        raise RecordingError(f"{name}: line {head[0].number}: the table has no channels besides the time")
    if len(head) <= n_head_rows:
        raise RecordingError(f"{name}: the file has no samples, only a header")
    timing = _find_timing(
        name, head[n_head_rows:], names, units, time_cell, rate_hz, has_decimal_comma=has_decimal_comma
    )
    return CsvLayout(
        columns=_described([names[k] for k in picks], [units[k] for k in picks], columns),
        picks=picks,
        n_cells=n_cells,
        n_head_rows=n_head_rows,
        rate_hz=timing.rate_hz,
        time_cell=time_cell,
        samples_per_unit=timing.samples_per_unit,
        tolerance_samples=timing.tolerance_samples,
        has_decimal_comma=has_decimal_comma,
        start_wall_ns=timing.start_wall_ns,
    )


def _described(names: Sequence[str], units: Sequence[str], columns: Mapping[str, ChannelKind]) -> tuple[Column, ...]:
    kinds = choose(names, columns)
    return tuple(describe(*column) for column in zip(names, kinds, units, strict=True))


def _is_number(cell: str, *, has_decimal_comma: bool) -> bool:
    try:
        float(cell.replace(",", ".") if has_decimal_comma else cell)
    except ValueError:
        return False
    return True


def _names_and_units(head: Sequence[Row]) -> tuple[list[str], list[str], int]:
    """Return the columns' names and units, and how many rows they take."""
    names, units = [], []
    for cell in head[0].cells:
        plain = cell.strip().strip("'\"").strip()
        match = _UNIT_IN_NAME.match(plain)
        names.append(match["name"] if match else plain)
        units.append(match["unit"].strip() if match else "")
    if len(head) > 1:
        second = [cell.strip().strip("'\"").strip() for cell in head[1].cells]
        if len(second) == len(names) and all(
            cell and not any(map(str.isdigit, cell.replace("m/s2", ""))) for cell in second
        ):
            return names, second, 2
    return names, units, 1


def _time_cell(names: Sequence[str]) -> int | None:
    """Return which column is the time, else which is the sample counter (only the first may be)."""
    for k, name in enumerate(names):
        if _TIME_NAME.fullmatch(name.casefold()):
            return k
    return 0 if len(names) > 1 and names[0].casefold() in _COUNTER_NAMES else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timing:
    rate_hz: float
    samples_per_unit: float
    tolerance_samples: float
    start_wall_ns: int | None


def _find_timing(
    name: str,
    rows: Sequence[Row],
    names: Sequence[str],
    units: Sequence[str],
    time_cell: int | None,
    rate_hz: float | None,
    *,
    has_decimal_comma: bool,
) -> _Timing:
    ask = RecordingError(f"{name}: nothing in the file tells its sampling rate", hint="give it: --rate HZ")
    if time_cell is None or names[time_cell].casefold() in _COUNTER_NAMES:
        if rate_hz is None:
            raise ask
        return _Timing(rate_hz=rate_hz, samples_per_unit=1.0, tolerance_samples=1.5, start_wall_ns=None)
    parsed = [
        parse_time(row.cells[time_cell], has_decimal_comma=has_decimal_comma)
        for row in rows
        if time_cell < len(row.cells)
    ]
    times = [at for at in parsed if at is not None]
    if not times:
        raise RecordingError(f"{name}: line {rows[0].number}: column {names[time_cell]!r} holds no times")
    scale_s = _time_unit_s(names[time_cell], units[time_cell], times[0])
    steps = [(b - a) * scale_s for a, b in pairwise(times)]
    typical = median(steps) if steps else 0.0
    found_hz: float | None = None
    is_regular = False
    if typical > 0:
        n_steps = sum(round(step / typical) for step in steps)
        found_hz = n_steps / sum(steps) if n_steps > 0 and sum(steps) > 0 else None
        # Stamped on arrival, rows come in bunches: then only long silences can be told from jitter.
        is_regular = sum(0.5 <= step / typical <= 1.5 for step in steps) >= 0.9 * len(steps)
    if found_hz is not None and abs(found_hz - round(found_hz)) <= SNAP * found_hz:
        found_hz = float(round(found_hz))
    if rate_hz is None and not is_regular:
        raise ask
    if rate_hz is not None and is_regular and found_hz is not None and abs(rate_hz - found_hz) > 0.01 * found_hz:
        raise RecordingError(f"{name}: the time column says {found_hz:g} Hz, the option says {rate_hz:g} Hz")
    rate = rate_hz or found_hz
    if rate is None:
        raise ask
    return _Timing(
        rate_hz=rate,
        samples_per_unit=scale_s * rate,
        tolerance_samples=1.5 if is_regular else max(1.5, rate),
        start_wall_ns=round(times[0] * scale_s * 1e9) if times[0] * scale_s > 1e9 else None,
    )


def _time_unit_s(name: str, unit: str, first: float) -> float:
    """Return what one unit of the time column is in seconds."""
    match = _TIME_NAME.fullmatch(name.casefold())
    unit = (unit or (match["unit"] if match else "") or "").casefold()
    if unit in _TIME_UNITS:
        return _TIME_UNITS[unit]
    # Unix time without a unit: any date of this century tells seconds from ms, µs and ns by its size.
    for size, scale_s in ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3)):
        if first >= size:
            return scale_s
    return 1.0


def _e4_start(head: Sequence[Row]) -> tuple[float, float] | None:
    """Return start time and rate of an Empatica E4 file: two rows of one repeated number each, a date and a rate."""
    if len(head) < 3 or len(head[0].cells) != len(head[1].cells):
        return None
    found = []
    for row in head[:2]:
        values = {parse_time(cell) for cell in row.cells}
        value = values.pop()
        if values or value is None:
            return None
        found.append(value)
    start_s, rate_hz = found
    return (start_s, rate_hz) if 1e9 <= start_s < 1e10 and 0 < rate_hz <= 10_000 else None


def _e4_layout(
    name: str,
    n_cells: int,
    start: tuple[float, float],
    columns: Mapping[str, ChannelKind],
    rate_hz: float | None,
) -> CsvLayout:
    start_s, found_hz = start
    if rate_hz is not None and rate_hz != found_hz:
        raise RecordingError(f"{name}: the file says {found_hz:g} Hz, the option says {rate_hz:g} Hz")
    names, unit = _E4.get(name.upper(), ((), ""))
    if len(names) != n_cells:
        names, unit = tuple(f"{name} {k + 1}" for k in range(n_cells)), ""
    return CsvLayout(
        columns=_described(names, [unit] * n_cells, columns),
        picks=tuple(range(n_cells)),
        n_cells=n_cells,
        n_head_rows=2,
        rate_hz=found_hz,
        time_cell=None,
        samples_per_unit=1.0,
        tolerance_samples=1.5,
        has_decimal_comma=False,
        start_wall_ns=round(start_s * 1e9),
    )
