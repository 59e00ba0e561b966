"""Writes alert records beside the event loop: a slow disk must not hold up monitoring."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from edge.alert_archive import AlertArchive, ArchiveCounts
from edge.alert_record import AlertRecord
from edge.messages import Alert

_LOG = logging.getLogger(__name__)

_MOST_WAITING = 64
"""Writes that may wait: far more than alerts of a minute; beyond it the oldest is given up, counted."""


class ArchiveThread:
    """The same as `AlertArchive`, in a thread of its own.

    Parameters
    ----------
    archive : AlertArchive
        Used in the thread only, but for `counts`.
    """

    def __init__(self, archive: AlertArchive) -> None:
        self._archive = archive
        self._changed = threading.Condition()
        self._waiting: deque[Callable[[], object]] = deque()
        self._is_stopping = False
        self._n_given_up = 0
        # A daemon: a disk that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="alert-archive", daemon=True)
        self._thread.start()

    def save(self, record: AlertRecord) -> None:
        """Hand a record over and return at once."""
        self._hand_over(partial(self._archive.save, record))

    def note(self, alert: Alert, wall_ns: int) -> None:
        """Hand a later revision of an alert over and return at once."""
        self._hand_over(partial(self._archive.note, alert, wall_ns))

    def counts(self) -> ArchiveCounts:
        """Return what became of the alerts; what the thread could not take counts as failed."""
        counts = self._archive.counts()
        return ArchiveCounts(
            n_written=counts.n_written, n_removed=counts.n_removed, n_failed=counts.n_failed + self._n_given_up
        )

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Write what waits and return whether that was done within `timeout_s` seconds; nothing is taken any more."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _hand_over(self, write: Callable[[], object]) -> None:
        is_too_many = False
        with self._changed:
            if self._is_stopping:
                self._n_given_up += 1
                return
            if len(self._waiting) >= _MOST_WAITING:
                self._waiting.popleft()
                self._n_given_up += 1
                is_too_many = True
            self._waiting.append(write)
            self._changed.notify_all()
        if is_too_many:
            _LOG.warning("archive.given_up reason=%s n_waiting=%d", "disk-too-slow", _MOST_WAITING)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_stopping or bool(self._waiting))
                if not self._waiting:
                    return
                write = self._waiting.popleft()
            try:
                write()
            except Exception:  # noqa: BLE001 - task boundary: a record that cannot be written must not end the thread
                self._n_given_up += 1
                _LOG.exception("archive.failed")
