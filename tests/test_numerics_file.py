"""One row a second, always of the same shape."""

from __future__ import annotations

import csv
import logging

import pytest

from edge.errors import RecordingError
from edge.messages import Measurement, Vitals
from edge.numerics_file import MEASURES, NumericsWriter


def vitals(at_s: float, quality: float | None = 0.9, **values: float | None) -> Vitals:
    measurements = {
        name: Measurement(value=value, unit="1", absent=None if value is not None else "signal-poor")
        for name, value in values.items()
    }
    return Vitals(at_ns=int(at_s * 1e9), measurements=measurements, coverage_pct=97.5, quality=quality)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_row_holds_every_value_and_empty_where_there_is_none(tmp_path):
    """Absent, unknown and not measured are all an empty cell, never a zero."""
    path = tmp_path / "new" / "n.csv"
    with NumericsWriter(path) as writer:
        writer.write(vitals(1, heart_rate_bpm=71.25, spo2_pct=None))
        writer.write(vitals(2, quality=None))

    first, second = rows(path)

    assert list(first) == ["time_s", *MEASURES, "quality", "coverage_pct"]
    assert (first["time_s"], first["heart_rate_bpm"], first["spo2_pct"]) == ("1.000", "71.25", "")
    assert (first["quality"], first["coverage_pct"]) == ("0.9", "97.5")
    assert set(second.values()) == {"2.000", "", "97.5"}


def test_zero_is_written_as_zero(tmp_path):
    """A measured zero (breathing rate in apnoea) is not mistaken for absence."""
    path = tmp_path / "n.csv"
    with NumericsWriter(path) as writer:
        writer.write(vitals(1, respiratory_rate_bpm=0.0))

    assert rows(path)[0]["respiratory_rate_bpm"] == "0"


def test_measure_without_column_is_counted_and_said_once(tmp_path, caplog):
    """The columns are fixed; a value that has none is counted, not squeezed in."""
    with caplog.at_level(logging.WARNING), NumericsWriter(tmp_path / "n.csv") as writer:
        for at_s in (1, 2, 3):
            writer.write(vitals(at_s, mood_pct=50.0))

    assert writer.unknown == {"mood_pct": 3}
    assert [record.getMessage() for record in caplog.records] == ["numerics.no_column measure=mood_pct"]
    assert len(rows(tmp_path / "n.csv")) == 3


def test_path_that_cannot_be_written_is_a_clear_error(tmp_path):
    """The error names the file."""
    with pytest.raises(RecordingError, match=tmp_path.name):
        NumericsWriter(tmp_path)
