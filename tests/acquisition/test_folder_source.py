"""The files of one wearable session become one recording."""

import os
from pathlib import Path

import numpy as np
import pytest

from edge.acquisition.wfdb_file import open_record
from edge.errors import RecordingError
from edge.messages import ChannelKind, SampleBlock
from edge.replay import replay

DATA = Path(os.environ.get("VITALEDGE_DATA", Path(__file__).parents[2] / "../shared/data"))


def session(folder: Path, *, bvp_s: float = 10.0, acc_s: float = 10.0, acc_late_s: float = 0.0) -> Path:
    start_s = 1_644_226_061
    bvp = [f"{start_s}", "64", *(f"{k % 64}" for k in range(round(64 * bvp_s)))]
    acc = [
        ", ".join([f"{start_s + acc_late_s:f}"] * 3),
        "32.0, 32.0, 32.0",
        *("-2,43,43" for _ in range(round(32 * acc_s))),
    ]
    folder.mkdir()
    (folder / "BVP.csv").write_text("\n".join(bvp) + "\n")
    (folder / "ACC.csv").write_text("\n".join(acc) + "\n")
    (folder / "HR.csv").write_text(f"{start_s}\n1.0\n70.0\n")
    return folder


def test_light_and_acceleration_come_on_one_time_line(tmp_path):
    """A file that begins two seconds later begins two seconds later; the device's own heart rate is no signal."""
    source = open_record(session(tmp_path / "S01", acc_late_s=2.0))

    blocks = [item for item in source.blocks(64) if isinstance(item, SampleBlock)]
    first = {block.stream: block.start_ns for block in reversed(blocks)}

    assert source.info.name == "S01"
    assert first == {"ppg": 0, "acc": 2_000_000_000}
    assert {channel.kind for channel in source.info.channels} == {
        ChannelKind.PPG,
        ChannelKind.ACCELERATION_X,
        ChannelKind.ACCELERATION_Y,
        ChannelKind.ACCELERATION_Z,
    }


@pytest.mark.parametrize("n", [1, 64, 1000])
def test_blocks_come_in_order_of_time_and_lose_nothing(tmp_path, n):
    """No stream runs ahead of the other, whatever the block length, and every sample comes once."""
    blocks = list(open_record(session(tmp_path / "S01", acc_late_s=1.0)).blocks(n))

    ends = [block.end_ns for block in blocks]
    assert ends == sorted(ends)
    light = np.concatenate([block.values[:, 0] for block in blocks if block.stream == "ppg"])
    assert light.tolist() == [k % 64 for k in range(640)]
    assert sum(block.n_samples for block in blocks if block.stream == "acc") == 320


def test_acceleration_is_in_metres_per_square_second(tmp_path):
    """The wearable counts 1/64 g."""
    (acc, *_) = (block for block in open_record(session(tmp_path / "S01")).blocks(64) if block.stream == "acc")

    assert acc.values[0] == pytest.approx(np.array([-2, 43, 43]) / 64 * 9.80665)


def test_one_file_alone_is_a_session_too(tmp_path):
    """Where the acceleration was not exported the light is read by itself."""
    (session(tmp_path / "S01") / "ACC.csv").unlink()

    assert [stream.name for stream in open_record(tmp_path / "S01").info.streams] == ["ppg"]


def test_a_folder_of_something_else_is_a_clear_error(tmp_path):
    """A folder without such files is not guessed at."""
    with pytest.raises(RecordingError, match="a folder, not a recording"):
        open_record(tmp_path)


def test_files_without_a_start_time_are_refused(tmp_path):
    """Nothing tells how two plain tables lie to each other in time."""
    folder = tmp_path / "S02"
    folder.mkdir()
    (folder / "BVP.csv").write_text("t,ppg\n0,1\n0.01,2\n0.02,3\n")

    with pytest.raises(RecordingError, match="start time"):
        open_record(folder)


def test_the_findings_of_a_session_do_not_depend_on_the_blocks(tmp_path):
    """A session read in pieces of 10 or 1000 samples says the same (chunk law over two files)."""
    folder = session(tmp_path / "S01", bvp_s=30, acc_s=28, acc_late_s=1.0)

    found = [[repr(item) for item in replay(folder, block_samples=n)] for n in (10, 1000)]

    assert found[0] == found[1]
    assert found[0]


@pytest.mark.skipif(not (DATA / "stress-predict" / "S01").is_dir(), reason="needs stress-predict in VITALEDGE_DATA")
def test_a_real_session_is_read_whole():
    """Every sample of the two files arrives."""
    folder = DATA / "stress-predict" / "S01"
    source = open_record(folder)

    n_found = sum(block.n_samples for block in source.blocks(6400) if block.stream == "ppg")

    assert n_found == len((folder / "BVP.csv").read_text().split()) - 2
