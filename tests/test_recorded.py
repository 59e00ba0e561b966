"""What may be replayed, and what is refused with a sentence instead of a hang or a stack trace."""

from __future__ import annotations

import os

import numpy as np
import pytest

from edge.cli import main
from edge.errors import RecordingError
from edge.pipeline import Pipeline, PipelineSettings
from edge.recorded import open_recorded
from edge.replay import counted_ids
from tests.conformance.case import block


def csv(folder, *, header="II", n_rows=1000, name="r.csv"):
    path = folder / name
    path.write_text(header + "\n" + "\n".join(f"{np.sin(k / 10):.4f}" for k in range(n_rows)) + "\n")
    return path


@pytest.mark.parametrize("rate_hz", [1e-9, 10.0, 49.0, 1e9])
def test_an_ecg_at_a_rate_that_no_sensor_has_is_refused(tmp_path, rate_hz):
    """A slip in a header or an option: the filters cannot be made, or the memory does not suffice."""
    with pytest.raises(RecordingError, match="ECG of 50 to 20000 Hz"):
        open_recorded(csv(tmp_path), rate_hz=rate_hz)


@pytest.mark.parametrize("rate_hz", [1e-9, 1e9])
def test_any_stream_at_an_impossible_rate_is_refused(tmp_path, rate_hz):
    """A second of the time line is cheap, thirty years of them are not."""
    with pytest.raises(RecordingError, match="stream 'other'"):
        open_recorded(csv(tmp_path, header="what"), rate_hz=rate_hz)


def test_a_slow_stream_that_is_no_ecg_is_fine(tmp_path):
    """A wristband gives its skin temperature four times a second."""
    assert open_recorded(csv(tmp_path, header="TEMP"), rate_hz=4.0).duration_s == 250.0


def test_a_sensor_with_too_slow_an_ecg_does_not_stop_the_pipeline():
    """No recording is needed for that: a device may say what it likes of its rate."""
    pipeline = Pipeline(PipelineSettings(), new_id=counted_ids("a"))

    findings = [
        f
        for k in range(20)
        for f in pipeline.push(block(np.zeros((10, 1)), rate_hz=10.0, start_ns=k * 10**9, sequence=10 * k))
    ]

    assert findings


def test_a_pipe_is_refused_before_it_is_opened(tmp_path):
    """Opening a pipe that nobody writes to would wait for ever."""
    os.mkfifo(tmp_path / "pipe.csv")

    with pytest.raises(RecordingError, match="a pipe or a device"):
        open_recorded(tmp_path / "pipe.csv")


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_a_name_that_names_nothing_is_refused(name):
    """An empty shell variable is a usual slip."""
    with pytest.raises(RecordingError):
        open_recorded(name)


def test_a_recording_without_ecg_says_why_there_is_no_heart_rate(tmp_path, capsys):
    """Not a bare 0 %."""
    assert main(["replay", str(csv(tmp_path, header="BVP")), "--rate", "64"]) == 0

    assert "no ECG among its signals" in capsys.readouterr().out


def test_cells_that_are_no_numbers_are_told(tmp_path, capsys):
    """What the file itself lacks is part of the closing words."""
    path = tmp_path / "r.csv"
    path.write_text("II\n" + "\n".join("?" if k % 500 == 7 else "0.1" for k in range(2000)) + "\n")

    assert main(["replay", str(path), "--rate", "250"]) == 0

    assert "lost in the file itself: " in capsys.readouterr().out


def test_a_column_named_twice_is_refused(tmp_path, capsys):
    """Otherwise the last word wins and nobody knows."""
    assert main(["replay", str(csv(tmp_path)), "--rate", "250", "--columns", "II=ecg,II=ppg"]) == 2

    assert "each column once, got 'II' again" in capsys.readouterr().err


def test_numerics_on_a_full_disk_are_an_error_and_no_stack_trace(tmp_path, capsys):
    """The exit code says that the file is not whole."""
    assert main(["replay", str(csv(tmp_path)), "--rate", "250", "--numerics", "/dev/full"]) == 2

    assert "/dev/full: cannot be written: No space left on device" in capsys.readouterr().err
