"""The file in which the running service says what its links are doing: whole, typed, and honest about its age."""

from __future__ import annotations

import json
import os
import threading

import pytest

from edge.links_file import (
    LinksFault,
    LinksFileError,
    LinkView,
    StreamView,
    links_path,
    read_links,
    write_links,
)

NOW_NS = 1_790_000_000_000_000_000
S = 1_000_000_000


def view(sensor: str = "bed", **changed) -> LinkView:
    known = {
        "id": sensor,
        "driver": "bridge_serial",
        "link": "/dev/ttyUSB0 at 115200 baud",
        "state": "connected",
        "reason": "data again",
        "in_state_s": 12.5,
        "max_silence_s": 5.0,
        "data_age_s": 0.2,
    }
    return LinkView(**{**known, **changed})


FULL = view(
    is_late=True,
    n_connects=3,
    n_failures=2,
    n_lates=7,
    n_silences=1,
    n_remedies={"resubscribe": 2, "power-cycle": 1},
    n_lost_samples=480,
    n_dropped_bytes=9,
    n_corrupt={"crc": 4},
    battery_pct=81.0,
    streams=(StreamView(name="ecg", nominal_rate_hz=250.0, true_rate_hz=250.01, drift_ppm=-40.0),),
)


def refusal(path) -> LinksFileError:
    with pytest.raises(LinksFileError) as caught:
        read_links(path)
    return caught.value


def test_what_was_written_is_read(tmp_path):
    """Every field comes back, in the order of the sensors."""
    path = tmp_path / "links.json"

    write_links(path, [FULL, view("finger", data_age_s=None)], NOW_NS)
    file = read_links(path)

    assert file.written_at_ns == NOW_NS
    assert file.links == (FULL, view("finger", data_age_s=None))


def test_file_stands_beside_the_outbox(tmp_path):
    """Service and command find it by the same configuration."""
    assert links_path(tmp_path / "state/outbox.db") == tmp_path / "state/links.json"


def test_writing_leaves_nothing_else_behind(tmp_path):
    """The folder is the outbox's: one file, however often it is written."""
    path = tmp_path / "links.json"

    for n in range(3):
        write_links(path, [FULL], NOW_NS + n)

    assert [each.name for each in tmp_path.iterdir()] == ["links.json"]


def test_reader_never_sees_half_a_file(tmp_path):
    """While the service writes as fast as it can, every look finds a whole file."""
    path = tmp_path / "links.json"
    write_links(path, [FULL], NOW_NS)
    ended = threading.Event()

    def write() -> None:
        n = 0
        while not ended.is_set():
            n += 1
            write_links(path, [FULL] * (1 + n % 40), NOW_NS + n)

    writer = threading.Thread(target=write)
    writer.start()
    seen = [read_links(path) for _ in range(200)]
    ended.set()
    writer.join()

    assert all(len(file.links) == 1 + (file.written_at_ns - NOW_NS) % 40 for file in seen)


def test_failed_write_leaves_the_old_file(tmp_path):
    """A full disk, or a folder that is gone: an error that says so, and the last picture stays."""
    path = tmp_path / "links.json"
    write_links(path, [FULL], NOW_NS)
    (tmp_path / "links.json.new").mkdir()  # in the way

    with pytest.raises(LinksFileError) as caught:
        write_links(path, [], NOW_NS + 1)

    assert "links.json" in str(caught.value)
    assert caught.value.hint
    assert read_links(path).links == (FULL,)


def test_number_that_is_none_is_written_as_absent(tmp_path):
    """JSON has no not-a-number: such a rate is not known."""
    path = tmp_path / "links.json"
    stream = StreamView(name="ecg", nominal_rate_hz=250.0, true_rate_hz=float("nan"))

    write_links(path, [view(streams=(stream,))], NOW_NS)

    assert read_links(path).links[0].streams[0].true_rate_hz is None
    json.loads(path.read_text())


def test_age_tells_whether_a_service_keeps_the_file(tmp_path):
    """Half a minute is three missed writings."""
    write_links(tmp_path / "l", [], NOW_NS)
    file = read_links(tmp_path / "l")

    assert file.is_current(NOW_NS + 29 * S)
    assert not file.is_current(NOW_NS + 31 * S)
    assert file.age_s(NOW_NS + 31 * S) == 31


def test_file_from_the_future_is_not_of_now(tmp_path):
    """The clock was set back: a service that runs would have written anew, so this one is left over."""
    write_links(tmp_path / "l", [], NOW_NS)

    assert not read_links(tmp_path / "l").is_current(NOW_NS - 3600 * S)


def test_missing_file_is_told_from_the_others(tmp_path):
    """No service has run; also where the whole folder is not there."""
    assert refusal(tmp_path / "links.json").reason is LinksFault.MISSING
    assert refusal(tmp_path / "no/links.json").reason is LinksFault.MISSING
    assert "vitaledge run" in refusal(tmp_path / "links.json").hint


def test_file_that_may_not_be_read_is_told(tmp_path):
    """The service keeps its state to itself: ask as its user."""
    path = tmp_path / "links.json"
    write_links(path, [FULL], NOW_NS)
    path.chmod(0)
    was = os.geteuid()
    if was == 0:  # root may read everything
        os.seteuid(65534)
    try:
        error = refusal(path)
    finally:
        os.seteuid(was)

    assert error.reason is LinksFault.PERMISSION
    assert error.hint


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"schema": "links/2", "written_at_ns": 1, "links": []}',
        b'{"schema": "links/1", "written_at_ns": "soon", "links": []}',
        b'{"schema": "links/1", "written_at_ns": 1, "links": [{"id": "bed"}]}',
        b'{"schema": "links/1", "written_at_ns": 1, "links": ' + b"[" * 100_000,
        b"\xff\xfe" * 50,
        b" " * (2 << 20),
    ],
)
def test_file_of_another_kind_is_refused_in_words(tmp_path, content):
    """Empty, torn, of another version, or no such file at all: one reason, and never a traceback."""
    path = tmp_path / "links.json"
    path.write_bytes(content)

    error = refusal(path)

    assert error.reason is LinksFault.FORMAT
    assert "links.json" in str(error)


def test_field_of_a_newer_service_is_passed_over(tmp_path):
    """A service that says more than this command knows is still understood."""
    path = tmp_path / "links.json"
    write_links(path, [FULL], NOW_NS)
    body = json.loads(path.read_text())
    body["links"][0]["rssi_dbm"] = -60
    path.write_text(json.dumps(body))

    assert read_links(path).links == (FULL,)
