"""Tables of samples come as blocks; what is missing or wrong in them is counted, announced or refused by line."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.acquisition.csv_layout import parse_time
from edge.acquisition.wfdb_file import open_record
from edge.errors import RecordingError
from edge.messages import ChannelKind, Gap, SampleBlock
from tests.fakes.record_files import real_recording


def table(tmp_path, text: str, name: str = "t.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def timed(rate_hz: float, n_rows: int, *, digits: int = 3, header: str = "Time [s], II", skip: tuple[int, ...] = ()):
    rows = [f"{k / rate_hz:.{digits}f}, {k}" for k in range(n_rows) if k not in skip]
    return "\n".join([header, *rows]) + "\n"


def values(items, stream: str = "ecg") -> np.ndarray:
    return np.concatenate([b.values for b in items if isinstance(b, SampleBlock) and b.stream == stream])


# --- what it holds ----------------------------------------------------------------------------------------


def test_names_are_matched_without_blanks_and_quotes(tmp_path):
    """`` II`` and ``'PLETH'`` are II and PLETH, as BIDMC and rdsamp write them."""
    path = table(tmp_path, "Time [s], \"II\", 'PLETH' ,RESP\n0,1,2,3\n0.008,4,5,6\n0.016,7,8,9\n")

    source = open_record(path)

    assert [(c.name, c.kind) for c in source.info.channels] == [
        ("II", ChannelKind.ECG), ("PLETH", ChannelKind.PPG), ("RESP", ChannelKind.RESPIRATION),
    ]  # fmt: skip
    assert source.info.rate_hz == 125
    assert values(source.blocks(2)).ravel().tolist() == [1, 4, 7]


@pytest.mark.parametrize(("rate_hz", "digits"), [(125, 3), (360, 3), (250, 6), (62.5, 4), (1000, 3), (0.5, 1)])
def test_rate_is_found_from_rounded_times(tmp_path, rate_hz, digits):
    """Times rounded to what the writer printed still give the true rate."""
    source = open_record(table(tmp_path, timed(rate_hz, 1500, digits=digits)))

    assert source.info.rate_hz == pytest.approx(rate_hz, rel=1e-6)
    assert source.info.n_samples == 1500
    assert not [item for item in source.blocks(100) if isinstance(item, Gap)]


@pytest.mark.parametrize(
    "header", ["time_ms,II", "Time (ms),II", "timestamp [milliseconds],II", "'Elapsed time','II'\n'ms','mV'"]
)
def test_time_in_milliseconds_is_understood(tmp_path, header):
    """The unit of the time stands in its name or in a second row."""
    source = open_record(table(tmp_path, header + "\n" + "".join(f"{4 * k},0\n" for k in range(20))))

    assert source.info.rate_hz == 250


def test_units_row_tells_the_units_of_the_channels(tmp_path):
    """A second row of units, as rdsamp writes it, is no sample; µV becomes mV."""
    path = table(tmp_path, "'Elapsed time','MLII','AX'\n'seconds','uV','g'\n0.00,500,1\n0.01,600,0\n0.02,-,1\n")

    source = open_record(path)
    items = list(source.blocks(10))

    assert {c.name: c.unit for c in source.info.channels} == {"MLII": "mV", "AX": "m/s2"}
    assert values(items)[:2, 0].tolist() == [0.5, 0.6]
    assert values(items, "acc")[0, 0] == 9.80665


@pytest.mark.parametrize(("first", "step"), [("1700000000", 0.01), ("1700000000000", 10), ("1700000000000000", 10_000)])
def test_unix_times_give_start_and_rate(tmp_path, first, step):
    """Unix time in s, ms or µs: its size tells the unit, and the recording knows when it began."""
    text = "timestamp,II\n" + "".join(f"{int(first) + k * step:.2f},0\n" for k in range(50))

    info = open_record(table(tmp_path, text)).info

    assert info.rate_hz == pytest.approx(100)
    assert info.start_wall_ns == 1_700_000_000 * 10**9


def test_semicolons_with_decimal_commas_are_read(tmp_path):
    """A spreadsheet's export in a country of decimal commas."""
    path = table(tmp_path, "Time [s];II\n0,00;1,5\n0,01;2,5\n0,02;-3,5\n")

    assert values(open_record(path).blocks(9)).ravel().tolist() == [1.5, 2.5, -3.5]


def test_option_gives_the_rate_and_the_kinds(tmp_path):
    """A table without times needs --rate; --columns says what unusual names are."""
    path = table(tmp_path, "sample #,chan A,AX\n" + "".join(f"{k},{k},0\n" for k in range(30)))

    source = open_record(path, {"chan A": "ecg"}, 30.0)

    assert [(s.name, s.rate_hz) for s in source.info.streams] == [("ecg", 30), ("acc", 30)]
    with pytest.raises(RecordingError) as caught:
        open_record(path)
    assert "--rate" in caught.value.hint


def test_wearable_files_of_the_e4_are_recognised(tmp_path):
    """Start time, rate, values: the Empatica E4 writes no header row; the file's name says what it holds."""
    path = table(
        tmp_path,
        "1644226061.0, 1644226061.0, 1644226061.0\n32.0, 32.0, 32.0\n" + "64,0,-64\n" * 40,
        "ACC.csv",
    )

    source = open_record(path)

    assert source.info.start_wall_ns == 1_644_226_061 * 10**9
    assert (source.info.rate_hz, source.info.n_samples) == (32, 40)
    assert values(source.blocks(7), "acc")[0].tolist() == pytest.approx([9.80665, 0, -9.80665])


# --- what is missing --------------------------------------------------------------------------------------


def test_bad_and_empty_cells_are_nan_and_counted(tmp_path):
    """A cell that is no number is never a value: NaN, and a count by reason."""
    cells = ["1", "", "NaN", "-", "x9", "inf", "2"]
    path = table(tmp_path, "t,II\n" + "".join(f"{k / 100},{cell}\n" for k, cell in enumerate(cells)))
    source = open_record(path)

    read = [values(source.blocks(3)).ravel() for _ in range(2)]

    assert np.isnan(read[0]).tolist() == [False, True, True, True, True, True, False]
    assert source.losses == {"missing-cell": 3, "bad-cell": 2}  # of the last reading, not of both


def test_jump_in_time_is_a_gap_with_its_count(tmp_path):
    """Rows left out by the recorder are a gap; what follows keeps its true time."""
    source = open_record(table(tmp_path, timed(100, 300, skip=(120, 121, 122, 200))))

    items = list(source.blocks(1000))

    assert [(g.n_missing, g.start_ns, g.reason) for g in items if isinstance(g, Gap)] == [
        (3, 1_200_000_000, "missing-rows"),
        (1, 2_000_000_000, "missing-rows"),
    ]
    for item in items:
        if isinstance(item, SampleBlock):
            assert item.values[0, 0] == item.sequence
    assert source.info.n_samples == 300


def test_rows_stamped_on_arrival_are_no_gaps(tmp_path):
    """A logger that stamps whole notifications bunches its times: with --rate only a silence is a gap."""
    stamps = [0.25 * (k // 25) for k in range(500)] + [60 + 0.25 * (k // 25) for k in range(100)]
    path = table(tmp_path, "time,II\n" + "".join(f"{at:.2f},0\n" for at in stamps))

    gaps = [item for item in open_record(path, rate_hz=100.0).blocks(100) if isinstance(item, Gap)]

    assert len(gaps) == 1
    assert gaps[0].n_missing == pytest.approx(5525, abs=25)


def test_last_line_cut_off_is_a_gap_at_the_end(tmp_path):
    """A recorder that lost power in the middle of a line: the line is dropped and announced."""
    path = table(tmp_path, "Time [s],II,V\n0.00,1,1\n0.01,2,2\n0.02,3")

    source = open_record(path)
    items = list(source.blocks(10))

    assert values(items).tolist() == [[1, 1], [2, 2]]
    assert (items[-1].n_missing, items[-1].reason) == (None, "truncated-recording")
    assert source.losses == {"cut-off-row": 1}


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("\n\n# only a comment\n", "empty"),
        ("Time [s],II\n", "no samples"),
        ("Time [s],II\n0,1\n0.01,2,3\n0.02,3\n", "line 3: expected 2 cells, got 3"),
        ("Time [s],II\n0,1\n\n0.01\n0.02,3\n", "line 4: expected 2 cells, got 1"),
        ("Time [s]\n0\n1\n2\n", "no channels"),
        ("0.1,0.2\n0.3,0.4\n0.5,0.6\n", "line 1: expected a row with the names"),
        ("Time [s],II\nsoon,1\nlater,2\nx1,3\n", "no times"),
        (timed(100, 30) + "0.05,1\n", "line 32: time goes back"),
        ("Time [s],II\n0,1\n0.0\x0001,2\n", "line 3: binary"),
    ],
)
def test_what_is_no_table_is_refused_by_line(tmp_path, text, message):
    """The error says where and what, in words for who made the file."""
    with pytest.raises(RecordingError, match=message):
        list(open_record(table(tmp_path, text)).blocks(10))


def test_binary_file_is_refused(tmp_path):
    """Bytes that are no text are no table."""
    path = tmp_path / "t.csv"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))

    with pytest.raises(RecordingError, match=r"not a text table|binary"):
        open_record(path, rate_hz=100.0)


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, math.nan, math.inf])
def test_impossible_rate_is_refused(tmp_path, rate_hz):
    """The option must be a positive number."""
    with pytest.raises(RecordingError, match="rate > 0"):
        open_record(table(tmp_path, "II\n1\n2\n"), rate_hz=rate_hz)


def test_rate_that_contradicts_the_times_is_refused(tmp_path):
    """Two different rates cannot both be right, and a wrong one makes every heart rate wrong."""
    with pytest.raises(RecordingError, match="says 100 Hz, the option says 125 Hz"):
        open_record(table(tmp_path, timed(100, 50)), rate_hz=125.0)


# --- properties -------------------------------------------------------------------------------------------


@given(
    rows=st.lists(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2), min_size=1, max_size=60),
    size=st.integers(1, 80),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_written_values_are_read_back_exactly(tmp_path, rows, size):
    """Any finite numbers, cut in blocks of any size, come back bit for bit."""
    path = table(tmp_path, "II,V1\n" + "".join(f"{a!r},{b!r}\n" for a, b in rows))

    assert values(open_record(path, rate_hz=100.0).blocks(size)).tolist() == rows


@given(text=st.text(alphabet="0123456789.,;-:\n\t 'IVtime[s]x\x00", max_size=120))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_gives_samples_or_a_recording_error(tmp_path, text):
    """No text crashes the reader, and no sample is infinite."""
    path = tmp_path / "t.csv"
    path.write_text(text)
    try:
        items = list(open_record(path, rate_hz=50.0).blocks(5))
    except RecordingError:
        return
    for item in items:
        if isinstance(item, SampleBlock):
            assert not np.isinf(item.values).any()


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("12.5", 12.5), ("1:02.5", 62.5), ("1:00:00", 3600), ("'0:00.008'", 0.008), ("[00:01]", 1),
        ("1970-01-02", 86400), ("1970-01-01T01:00:00+01:00", 0), ("nan", None), ("noon", None), ("", None),
    ],
)  # fmt: skip
def test_times_are_understood_in_the_usual_ways(cell, seconds):
    """Seconds, clock times and ISO 8601; anything else is no time."""
    assert parse_time(cell) == seconds


def test_intensive_care_table_reads_as_documented():
    """BIDMC record 01: eight minutes at 125 Hz of breathing, pulse and three leads."""
    source = open_record(real_recording("bidmc/bidmc_01_Signals.csv"))

    items = list(source.blocks(1000))

    assert source.info.rate_hz == 125
    assert {s.name: len(s.channels) for s in source.info.streams} == {"ecg": 3, "ppg": 1, "resp": 1}
    assert values(items).shape == (60_001, 3)
    assert values(items)[0].tolist() == [0.52549, 0.30392, 0.72549]
    assert source.losses == {}
