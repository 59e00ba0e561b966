"""Alerts on disk: found again, bounded, whole after a crash, and judged by clinicians."""

from __future__ import annotations

import json
import os

import pytest

from edge.alert_archive import (
    AlertArchive,
    ArchivedAlert,
    ArchiveSettings,
    Damaged,
    UnknownAlertError,
)
from edge.alert_log import Verdict
from edge.alert_record import AlertRecordError, encode
from edge.errors import OutboxError
from edge.messages import Acknowledgement, AlertState
from tests.fakes.alert_records import alert, record


@pytest.fixture(scope="module")
def records():
    return [record(20.0 + k, alert_id=f"a-{k}") for k in range(5)]


@pytest.fixture
def archive(tmp_path):
    return AlertArchive(tmp_path / "alerts")


def ids(archive) -> list[str]:
    return [each.record.alert.id for each in archive.entries() if isinstance(each, ArchivedAlert)]


def test_a_saved_alert_is_found_by_its_identifier(archive, records):
    """With its contents, in a file whose name begins with the time."""
    path = archive.save(records[1])

    found = archive.load("a-1")

    assert encode(found.record) == encode(records[1])
    assert path.name == "20231114T221341000-a-1.json"
    assert found.state == "raised"
    assert found.label is None


def test_identifiers_that_end_alike_are_told_apart(archive, records):
    """`1` is not `a-1`, and a part of a name is no name."""
    archive.save(records[1])

    for wrong in ("1", "-1", "a", "", "*", "a-*", "000-a-1"):
        with pytest.raises(UnknownAlertError):
            archive.load(wrong)


@pytest.mark.parametrize("odd", ["../../etc/passwd", "a/b", "ä", "x" * 300, "\x00", "\udcff", ".."])
def test_an_identifier_never_leads_out_of_the_folder(archive, odd):
    """Whatever it is made of, it is found again."""
    path = archive.save(record(alert_id=odd))

    assert path.parent == archive.folder
    assert archive.load(odd).record.alert.id == odd
    assert len(list(archive.folder.parent.iterdir())) == 1


def test_saving_again_replaces_the_evidence_and_keeps_the_log(archive, records):
    """The record is written once more with the seconds after the alert."""
    archive.save(records[0])
    archive.note(alert(alert_id="a-0", revision=2, state=AlertState.CLOSED), 5)

    archive.save(records[0])

    assert ids(archive) == ["a-0"]
    assert archive.load("a-0").state == "closed"


def test_an_identifier_that_was_given_again_means_the_newest(archive):
    """Every replay counts its alerts from one."""
    archive.save(record(20.0))
    archive.save(record(50.0))

    archive.note(alert(revision=2, state=AlertState.CLOSED), 5)

    assert archive.load("a-1").record.alert.at_ns == 50 * 10**9
    assert [each.state for each in archive.entries()] == ["raised", "closed"]


def test_later_revisions_change_the_state_and_not_the_evidence(archive, records):
    """The file of the evidence is not touched."""
    path = archive.save(records[0])
    before = path.read_bytes()
    acknowledged = Acknowledgement(by="nurse-4", at_ns=1, via="console")

    archive.note(alert(alert_id="a-0", revision=2, state=AlertState.ACKNOWLEDGED, acknowledged=acknowledged), 11)
    archive.note(alert(alert_id="a-0", revision=3, state=AlertState.CLOSED), 12)

    found = archive.load("a-0")
    assert [(each.revision, each.state, each.by) for each in found.events] == [
        (2, "acknowledged", "nurse-4"),
        (3, "closed", ""),
    ]
    assert found.state == "closed"
    assert path.read_bytes() == before


def test_a_revision_of_an_unknown_alert_is_passed_over(archive, records):
    """An alert that was open before the archive began, say."""
    archive.save(records[0])

    archive.note(alert(alert_id="other", revision=2), 11)

    assert sorted(path.name for path in archive.folder.iterdir()) == [
        "20231114T221340000-a-0.json",
        "20231114T221340000-a-0.log",
    ]


def test_the_last_label_holds_and_comes_out_for_training(archive, records):
    """Only what was judged comes out, with who said so."""
    for each in records[:3]:
        archive.save(each)

    archive.label("a-1", Verdict.TRUE, by="nurse-4", wall_ns=1)
    archive.label("a-1", Verdict.FALSE, by=" dr-2 ", wall_ns=2)

    (judged,) = archive.labelled()
    assert judged.record.alert.id == "a-1"
    assert (judged.label.verdict, judged.label.by, judged.label.wall_ns) == (Verdict.FALSE, "dr-2", 2)


def test_a_label_without_a_name_or_an_alert_is_refused(archive, records):
    """Nobody's word is no word."""
    archive.save(records[0])

    with pytest.raises(ValueError, match="who"):
        archive.label("a-0", Verdict.TRUE, by="  ", wall_ns=1)
    with pytest.raises(UnknownAlertError):
        archive.label("a-9", Verdict.TRUE, by="nurse-4", wall_ns=1)


def test_the_oldest_make_room_and_are_counted(tmp_path, records):
    """No more than the limit, the newest always among them."""
    archive = AlertArchive(tmp_path, ArchiveSettings(max_alerts=2))

    for each in records:
        archive.save(each)

    assert ids(archive) == ["a-3", "a-4"]
    assert archive.counts().n_removed == 3
    assert archive.counts().n_written == 5


def test_size_is_bounded_too(tmp_path, records):
    """A limit below one record leaves the newest."""
    archive = AlertArchive(tmp_path, ArchiveSettings(max_mb=0.001))

    for each in records:
        archive.save(each)

    assert ids(archive) == ["a-4"]


def test_what_a_clinician_judged_goes_last(tmp_path, records):
    """A verdict is worth more than another old alert."""
    archive = AlertArchive(tmp_path, ArchiveSettings(max_alerts=2))
    archive.save(records[0])
    archive.label("a-0", Verdict.TRUE, by="nurse-4", wall_ns=1)

    for each in records[1:]:
        archive.save(each)

    assert ids(archive) == ["a-0", "a-4"]


def test_logs_go_with_their_records(tmp_path, records):
    """Nothing is left behind."""
    archive = AlertArchive(tmp_path, ArchiveSettings(max_alerts=1))
    archive.save(records[0])
    archive.note(alert(alert_id="a-0", revision=2), 1)

    archive.save(records[1])

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "20231114T221341000-a-1.json",
        "20231114T221341000-a-1.log",
    ]


@pytest.mark.parametrize("damage", [b"", b"\x00\xff", b"{}", None])
def test_a_damaged_file_is_named_and_the_others_are_read(archive, records, damage):
    """Listing goes on; reading that one says why."""
    path = archive.save(records[0])
    archive.save(records[1])
    path.write_bytes(path.read_bytes()[:-200] if damage is None else damage)

    entries = list(archive.entries())

    assert [type(each) for each in entries] == [Damaged, ArchivedAlert]
    assert entries[0].path == path
    assert entries[0].reason
    with pytest.raises(AlertRecordError, match="a-0"):
        archive.load("a-0")


def test_a_damaged_record_does_not_stop_the_training_set(archive, records):
    """It is skipped, and said so in the log."""
    archive.save(records[0])
    path = archive.save(records[1])
    for name in ("a-0", "a-1"):
        archive.label(name, Verdict.TRUE, by="nurse-4", wall_ns=1)
    path.write_bytes(b"{}")

    assert [each.record.alert.id for each in archive.labelled()] == ["a-0"]


def test_a_torn_line_is_passed_over_and_does_not_tear_the_next(archive, records):
    """What a power cut leaves at the end of a log."""
    path = archive.save(records[0])
    archive.note(alert(alert_id="a-0", revision=2, state=AlertState.ACKNOWLEDGED), 11)
    with path.with_suffix(".log").open("a") as log:
        log.write('{"event": "state", "wall_')

    archive.label("a-0", Verdict.UNCLEAR, by="nurse-4", wall_ns=12)

    found = archive.load("a-0")
    assert found.state == "acknowledged"
    assert found.label.verdict is Verdict.UNCLEAR


def test_lines_of_a_later_version_are_passed_over(archive, records):
    """An unknown event, an unknown label, and what is no event at all."""
    path = archive.save(records[0])
    lines = [{"event": "moved", "wall_ns": 1}, {"event": "label", "wall_ns": 1, "label": "maybe", "by": "x"}, 7, None]
    path.with_suffix(".log").write_text("\n".join(map(json.dumps, lines)) + "\n")

    found = archive.load("a-0")

    assert found.events == ()
    assert found.label is None


def test_a_crash_while_writing_leaves_the_old_record(archive, records, monkeypatch):
    """The new one takes its place only when it is whole."""
    archive.save(records[0])
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(5, "Input/output error")))

    archive.save(records[0])

    monkeypatch.undo()
    assert ids(archive) == ["a-0"]
    assert archive.counts().n_failed == 1


def test_a_disk_that_cannot_be_written_is_counted_and_told(tmp_path, records):
    """An alert never fails over its archive; a clinician's label that is lost is told."""
    (tmp_path / "file").write_text("in the way")
    archive = AlertArchive(tmp_path / "file")

    assert archive.save(records[0]) is None
    assert archive.counts().n_failed == 1
    assert list(archive.entries()) == []


def test_a_label_that_cannot_be_written_is_an_error(archive, records):
    """A directory stands where the log should be."""
    path = archive.save(records[0])
    path.with_suffix(".log").unlink()
    path.with_suffix(".log").mkdir()

    with pytest.raises(OutboxError) as raised:
        archive.label("a-0", Verdict.TRUE, by="nurse-4", wall_ns=1)

    assert raised.value.hint


def test_a_run_with_two_leads_takes_a_fifth_of_a_megabyte(archive, records):
    """What the default limits are made for."""
    assert archive.save(records[0]).stat().st_size < 200_000


def test_a_list_says_the_same_with_and_without_the_logs(archive, records):
    """A crash between record and log costs time only."""
    for each in records[:3]:
        archive.save(each)
    archive.note(alert(alert_id="a-1", revision=2, state=AlertState.CLOSED), 7)
    archive.label("a-1", Verdict.TRUE, by="nurse-4", wall_ns=8)
    from_logs = list(archive.summaries())

    assert [(each.id, each.state, each.bed) for each in from_logs] == [
        ("a-0", "raised", "p-1"), ("a-1", "closed", "p-1"), ("a-2", "raised", "p-1"),
    ]  # fmt: skip
    assert from_logs[1].label.by == "nurse-4"
    assert from_logs == [each.summary for each in archive.entries()]
    for path in archive.folder.glob("*.log"):
        path.unlink()
    without = list(archive.summaries())
    assert [each.sentence for each in without] == [each.sentence for each in from_logs]
    assert [each.decided_by for each in without] == [each.decided_by for each in from_logs]


@pytest.mark.parametrize("damage", [b"", b"x", b"\x00\xff", b"{}", None])
def test_a_list_names_what_is_cut_short(archive, records, damage):
    """Without reading the signals of all the others."""
    path = archive.save(records[0])
    archive.save(records[1])
    path.write_bytes(path.read_bytes()[:-200] if damage is None else damage)

    first, second = archive.summaries()

    assert isinstance(first, Damaged)
    assert second.id == "a-1"


def test_nobody_else_on_the_machine_can_read_a_persons_ecg(archive, records):
    """Folder, evidence and log."""
    path = archive.save(records[0])

    modes = [each.stat().st_mode & 0o077 for each in (archive.folder, path, path.with_suffix(".log"))]
    assert modes == [0, 0, 0]


def test_what_a_crash_left_half_written_is_cleared_away(archive, records):
    """With the next record."""
    archive.save(records[0])
    left = archive.folder / "20231114T221300000-a-9.partial"
    left.write_text("half")

    archive.save(records[1])

    assert not left.exists()
    assert ids(archive) == ["a-0", "a-1"]
