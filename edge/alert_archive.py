"""Alert records on disk: one file per alert, and what happened to it since, so that it can be questioned later.

::

    20261122T190255123-0197f0c2….json     the evidence (`edge/alert_record.py`), written atomically, never changed after
    20261122T190255123-0197f0c2….log      one line per event (`edge/alert_log.py`), appended: revisions, a clinician's label

The name begins with the instant at which the alert was raised, in UTC, so that names sort by time.  Lists are made from
the logs, which are small.  A ``.json`` that is no record, or was altered, is named by whoever lists or reads, and never
deleted for that.

`labelled` gives what clinicians have judged: the training set that ``vitaledge-convert train`` reads back.  Of each
record ``windows`` are what the model saw and ``beats`` what it made of them; ``label`` says whether the alert was true.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge.alert_log import AlertEvent, AlertSummary, Label, Verdict, append, raised, read_events, summary
from edge.alert_record import FORMAT, AlertRecord, AlertRecordError, decode, encode
from edge.errors import EdgeError, OutboxError
from edge.messages import Alert

_LOG = logging.getLogger(__name__)

_NS_PER_S = 1_000_000_000
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,80}\Z")
# Characters of the instant with which a name begins.
_STAMP = 18
_LAST = "last"
_LEAST_PREFIX = 4
_HEAD = f'{{"format": "{FORMAT}", '.encode()
_HINT_DISK = "is the folder writable by this user, and is there room on the disk?"


class UnknownAlertError(EdgeError, LookupError):
    """There is no record of such an alert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedAlert:
    """One alert as it stands on disk."""

    record: AlertRecord
    path: Path
    events: tuple[AlertEvent, ...] = ()
    label: Label | None = None

    @property
    def state(self) -> str:
        """The last state that was written down."""
        return self.events[-1].state if self.events else self.record.alert.state.value

    @property
    def summary(self) -> AlertSummary:
        """What a list shows of it."""
        return AlertSummary(path=self.path, state=self.state, label=self.label, **raised(self.record))


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """A file that is no alert record, or a damaged one."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSettings:
    """How much may stay on disk."""

    max_alerts: int = 1000
    """Records kept.  Default: six weeks at one alert an hour."""
    max_mb: float = 100.0
    """Size of all records together, MB (10⁶ bytes).  Default: 700 of the 0.14 MB that a run in MIT-BIH 207 took (two
    leads at 360 Hz, 15 s of strip)."""

    def __post_init__(self) -> None:
        if self.max_alerts < 1 or not self.max_mb > 0:
            raise ValueError(f"expected max_alerts >= 1 and max_mb > 0, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveCounts:
    """What became of the alerts since the start."""

    n_written: int = 0
    n_removed: int = 0
    """Oldest ones that made room."""
    n_failed: int = 0
    """Not written: the disk is full or gone."""


class AlertArchive:
    """The folder with the records.

    Parameters
    ----------
    folder : Path
        Made when the first record is written.
    settings : ArchiveSettings
        How much may stay.
    """

    def __init__(self, folder: Path, settings: ArchiveSettings = ArchiveSettings()) -> None:
        self._folder = folder
        self._settings = settings
        self._n_written = self._n_removed = self._n_failed = 0

    @property
    def folder(self) -> Path:
        """Where the records are."""
        return self._folder

    def counts(self) -> ArchiveCounts:
        """Return what became of the alerts since the start."""
        return ArchiveCounts(n_written=self._n_written, n_removed=self._n_removed, n_failed=self._n_failed)

    def save(self, record: AlertRecord) -> Path | None:
        """Write the record in place of an earlier one of the same alert and return its path; None where there is none.

        What could not be written is counted and logged: an alert must never fail over its archive.
        """
        path = self._folder / f"{_stem(record)}.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_whole(path, encode(record))
            if not path.with_suffix(".log").exists():
                append(path.with_suffix(".log"), {"event": "raised", **raised(record)})
            self._n_written += 1
            self._make_room(path)
        except OSError as error:
            self._n_failed += 1
            _LOG.error("archive.failed alert=%s error=%s", record.alert.id, error.strerror or error)
        return path if path.exists() else None

    def note(self, alert: Alert, wall_ns: int) -> None:
        """Append a later revision of an alert; one that is not in the archive is passed over."""
        path = self._path_of(alert.id)
        if path is None:
            return
        by = "" if alert.acknowledged is None else alert.acknowledged.by
        event = {
            "event": "state",
            "wall_ns": wall_ns,
            "revision": alert.revision,
            "state": alert.state.value,
            "priority": alert.priority.value,
            "sentence": alert.sentence,
            "by": by,
        }
        try:
            append(path.with_suffix(".log"), event)
        except OSError as error:
            self._n_failed += 1
            _LOG.error("archive.failed alert=%s error=%s", alert.id, error.strerror or error)

    def label(self, alert_id: str, verdict: Verdict, *, by: str, wall_ns: int) -> Label:
        """Write down a clinician's verdict and return it; the last one holds.

        Raises
        ------
        UnknownAlertError
            If there is no such record.
        OutboxError
            If it cannot be written.
        """
        path = self._path_of(alert_id)
        if path is None:
            raise self._unknown(alert_id)
        if not by.strip():
            raise ValueError("expected who says so, got nothing")
        label = Label(verdict=verdict, by=by.strip(), wall_ns=wall_ns)
        event = {"event": "label", "wall_ns": wall_ns, "label": verdict.value, "by": label.by}
        try:
            append(path.with_suffix(".log"), event)
        except OSError as error:
            raise OutboxError(f"{path.with_suffix('.log')}: {error.strerror or error}", hint=_HINT_DISK) from error
        return label

    def resolve(self, text: str) -> str:
        """Return the identifier that a person means: itself, the beginning of just one (4 characters), or ``last``.

        Raises
        ------
        UnknownAlertError
            If it is none, or the beginning of several.
        """
        if self._path_of(text) is not None:
            return text
        # Identifiers that are no plain names are in the files only.
        known = [each.id for each in self.summaries() if isinstance(each, AlertSummary)]
        if text == _LAST and known:
            return known[-1]
        meant = [each for each in known if each.startswith(text)] if len(text) >= _LEAST_PREFIX else []
        if len(meant) > 1:
            several = ", ".join(meant[:3])
            raise UnknownAlertError(
                f"{text!r} is the beginning of {len(meant)} alerts: {several}", hint="give more of it"
            )
        if not meant:
            raise self._unknown(text)
        return meant[0]

    def load(self, alert_id: str) -> ArchivedAlert:
        """Return one alert.

        Raises
        ------
        UnknownAlertError
            If there is no such record.
        AlertRecordError
            If its file is damaged.
        """
        path = self._path_of(alert_id)
        if path is None:
            raise self._unknown(alert_id)
        found = _read(path)
        if isinstance(found, Damaged):
            raise AlertRecordError(f"{path}: {found.reason}", hint="the file is kept; other alerts are not affected")
        return found

    def entries(self) -> Iterator[ArchivedAlert | Damaged]:
        """Return every record, oldest first; one that cannot be read as `Damaged`."""
        for path in self._files():
            yield _read(path)

    def summaries(self) -> Iterator[AlertSummary | Damaged]:
        """Return what a list shows of every record, oldest first, without reading the signals.

        Of damage only what the size and the ends of a file show is noticed here.
        """
        for path in self._files():
            damage = _visible_damage(path)
            if damage:
                yield Damaged(path=path, reason=damage)
                continue
            found = summary(path)
            if found is None:
                read = _read(path)
                yield read if isinstance(read, Damaged) else read.summary
            else:
                yield found

    def labelled(self) -> Iterator[ArchivedAlert]:
        """Return the records that a clinician has judged, oldest first; damaged ones are logged and skipped."""
        for path in self._files():
            if read_events(path.with_suffix(".log"))[1] is None:
                continue
            found = _read(path)
            if isinstance(found, Damaged):
                _LOG.warning("archive.damaged file=%s reason=%s", found.path.name, found.reason)
                continue
            yield found

    def _files(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*.json") if path.is_file())

    def _path_of(self, alert_id: str) -> Path | None:
        """Return the record of an alert; the newest, should a replay have given its identifier again."""
        end = f"-{_safe(alert_id)}.json"
        fitting = [path for path in self._files() if path.name.endswith(end) and len(path.name) == _STAMP + len(end)]
        return fitting[-1] if fitting else None

    def _unknown(self, alert_id: str) -> UnknownAlertError:
        n = len(self._files())
        return UnknownAlertError(
            f"{self._folder}: no record of alert {alert_id!r} among {n}",
            hint="see `vitaledge alerts list`; the oldest records make room for new ones"
            if n
            else "no alert has been recorded there yet; is it the folder of this gateway?",
        )

    def _make_room(self, newest: Path) -> None:
        """Remove the oldest records beyond the limits, those without a clinician's verdict first."""
        for left in self._folder.glob("*.partial"):
            left.unlink(missing_ok=True)  # of a crash while it was being written
        sizes = {path: _size(path) + _size(path.with_suffix(".log")) for path in self._files()}
        too_large = self._settings.max_mb * 1e6
        if len(sizes) <= self._settings.max_alerts and sum(sizes.values()) <= too_large:
            return
        others = [path for path in sizes if path != newest]
        judged = {path for path in others if read_events(path.with_suffix(".log"))[1] is not None}
        for path in sorted(others, key=lambda each: (each in judged, each.name)):
            if len(sizes) <= self._settings.max_alerts and sum(sizes.values()) <= too_large:
                return
            path.unlink(missing_ok=True)
            path.with_suffix(".log").unlink(missing_ok=True)
            del sizes[path]
            self._n_removed += 1
            _LOG.info("archive.removed file=%s reason=%s", path.name, "room")


def _stem(record: AlertRecord) -> str:
    wall_ns = record.alert.at_ns + record.wall_offset_ns
    at = datetime.fromtimestamp(wall_ns // _NS_PER_S, UTC) if wall_ns >= 0 else datetime.fromtimestamp(0, UTC)
    return f"{at:%Y%m%dT%H%M%S}{max(0, wall_ns) // 1_000_000 % 1000:03d}-{_safe(record.alert.id)}"


def _safe(alert_id: str) -> str:
    """Return a file name for an identifier: itself where it is plain, else a hash of it."""
    if _PLAIN_ID.match(alert_id):
        return alert_id
    return hashlib.sha256(alert_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that after a crash there is either the old one or the new one, whole."""
    partial = path.with_suffix(".partial")
    # What is in it is about a person: nobody else on the machine needs to read it.
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(text.encode("utf-8", "surrogatepass"))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # the new name is on disk, not only the contents
    finally:
        os.close(descriptor)


def _read(path: Path) -> ArchivedAlert | Damaged:
    try:
        record = decode(path.read_text(encoding="utf-8", errors="surrogatepass"))
    except OSError as error:
        return Damaged(path=path, reason=str(error.strerror or error))
    except (AlertRecordError, UnicodeDecodeError) as error:
        return Damaged(path=path, reason=str(error))
    events, label = read_events(path.with_suffix(".log"))
    return ArchivedAlert(record=record, path=path, events=events, label=label)


def _visible_damage(path: Path) -> str:
    """Return what the ends of a file show to be wrong with it; empty where they look sound."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_HEAD))
            file.seek(-min(2, os.fstat(file.fileno()).st_size), os.SEEK_END)
            tail = file.read()
    except OSError as error:
        return str(error.strerror or error)
    if head != _HEAD:
        return f"expected {FORMAT}, got something else"
    return "" if tail == b"}}" else "is cut short"
