"""Every vital sign once a second, as a CSV file for spreadsheets and scoring scripts.

The columns are fixed when the file is opened, so that a reader never meets a row of another shape.  A cell is
empty where there is no value: never a zero, never the last value again.
"""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from edge.errors import RecordingError
from edge.messages import Vitals

log = logging.getLogger(__name__)

MEASURES = (
    "heart_rate_bpm",
    "rmssd_ms",
    "sdnn_ms",
    "pnn50_pct",
    "rmssd_5min_ms",
    "sdnn_1min_ms",
    "pnn50_1min_pct",
    "pr_ms",
    "qrs_ms",
    "qt_ms",
    "qtc_ms",
    "pulse_rate_bpm",
    "spo2_pct",
    "spo2_uncalibrated_pct",
    "perfusion_index_pct",
    "pulse_transit_ms",
    "respiratory_rate_bpm",
    "body_temperature_c",
    "systolic_mmhg",
    "diastolic_mmhg",
    "mean_pressure_mmhg",
)
"""Columns by default, in this order."""

_NS_PER_S = 1_000_000_000


class NumericsWriter:
    """Writes ``time_s``, every measure, ``quality`` and ``coverage_pct``, one row per `Vitals`.

    Parameters
    ----------
    path : Path
        The file; replaced if it exists.  Its folder is made if it is not there.
    measures : sequence of str
        Columns between time and quality.

    Raises
    ------
    RecordingError
        If the file cannot be written.
    """

    def __init__(self, path: str | Path, measures: Sequence[str] = MEASURES) -> None:
        self._path = Path(path)
        self._measures = tuple(measures)
        self._unknown: Counter[str] = Counter()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w", encoding="ascii", newline="")
        except OSError as error:
            raise self._unwritable(error) from error
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._add("time_s", *self._measures, "quality", "coverage_pct")

    @property
    def unknown(self) -> Mapping[str, int]:
        """Values left out because they have no column, by measure."""
        return dict(self._unknown)

    def write(self, vitals: Vitals) -> None:
        """Write one row.

        Raises
        ------
        RecordingError
            If the file can no longer be written: a full disk must not look like a whole file.
        """
        known = vitals.measurements
        for measure in known.keys() - set(self._measures):
            if measure not in self._unknown:
                log.warning("numerics.no_column measure=%s", measure)
            self._unknown[measure] += 1
        values = [known[measure].value if measure in known else None for measure in self._measures]
        time_s = f"{vitals.at_ns / _NS_PER_S:.3f}"
        self._add(time_s, *map(_cell, values), _cell(vitals.quality), _cell(vitals.coverage_pct))

    def close(self) -> None:
        """Close the file; writing after it raises ValueError.

        Raises
        ------
        RecordingError
            If the last rows could not be written.
        """
        try:
            self._file.close()
        except OSError as error:
            raise self._unwritable(error) from error

    def _add(self, *cells: str) -> None:
        try:
            self._rows.writerow(cells)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> RecordingError:
        return RecordingError(f"{self._path}: cannot be written: {error.strerror}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
