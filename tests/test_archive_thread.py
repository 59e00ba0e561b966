"""Alert records are written beside the event loop, in order, and never for ever."""

from __future__ import annotations

import threading

import pytest

from edge.alert_archive import AlertArchive, ArchivedAlert
from edge.archive_thread import ArchiveThread
from edge.messages import AlertState
from tests.fakes.alert_records import alert, record


class SlowArchive(AlertArchive):
    """A disk that does nothing until it is let go."""

    def __init__(self, folder) -> None:
        super().__init__(folder)
        self.go_on = threading.Event()
        self.begun = threading.Event()

    def save(self, given):
        self.begun.set()
        assert self.go_on.wait(10)
        return super().save(given)


def test_records_and_revisions_are_written_in_order_before_the_end(tmp_path):
    """A revision finds the record that it belongs to."""
    thread = ArchiveThread(AlertArchive(tmp_path))

    for k in range(5):
        thread.save(record(alert_id=f"a-{k}"))
        thread.note(alert(alert_id=f"a-{k}", revision=2, state=AlertState.CLOSED), 7)

    assert thread.stop()
    found = [each for each in AlertArchive(tmp_path).entries() if isinstance(each, ArchivedAlert)]
    assert [each.state for each in found] == ["closed"] * 5
    assert thread.counts().n_written == 5


def test_a_slow_disk_holds_nobody_up_and_what_is_given_up_is_counted(tmp_path):
    """The newest are kept."""
    archive = SlowArchive(tmp_path)
    thread = ArchiveThread(archive)
    given = record()
    thread.save(given)
    assert archive.begun.wait(10)

    for _ in range(70):
        thread.save(given)

    assert thread.counts().n_failed == 6
    archive.go_on.set()
    assert thread.stop()
    assert thread.counts().n_written == 65


def test_a_disk_that_hangs_does_not_keep_the_service_from_stopping(tmp_path):
    """The thread is left behind."""
    archive = SlowArchive(tmp_path)
    thread = ArchiveThread(archive)
    thread.save(record())

    assert not thread.stop(0.05)
    archive.go_on.set()


def test_a_record_that_cannot_be_written_does_not_end_the_thread(tmp_path):
    """What is no record raises in the thread; the next one is written."""
    thread = ArchiveThread(AlertArchive(tmp_path))

    thread.save(None)
    thread.save(record())

    assert thread.stop()
    assert (thread.counts().n_written, thread.counts().n_failed) == (1, 1)


def test_nothing_is_taken_after_the_end(tmp_path):
    """It is counted instead."""
    thread = ArchiveThread(AlertArchive(tmp_path))
    thread.stop()

    thread.save(record())

    assert thread.counts().n_failed == 1


@pytest.mark.parametrize("again", [1, 2])
def test_stopping_twice_is_no_error(tmp_path, again):
    """Nor is stopping without work."""
    thread = ArchiveThread(AlertArchive(tmp_path))

    assert all(thread.stop() for _ in range(again))
