"""The records of alerts of one process: a watch for each bed, one archive, one thread that writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from edge.alert_archive import AlertArchive, ArchiveCounts, ArchiveSettings
from edge.alert_watch import AlertWatch, AlertWatchSettings
from edge.archive_thread import ArchiveThread
from edge.config_sections import Config
from edge.messages import Json


class AlertKeeper:
    """Keeps what alerts were decided from.

    Parameters
    ----------
    config : Config
        Where, how much, and what may leave the gateway (``[alerts]``).
    folder : Path, optional
        Wins over the configuration.
    """

    def __init__(self, config: Config, folder: Path | None = None) -> None:
        self._folder = folder or alerts_folder(config)
        self._settings = ArchiveSettings(max_mb=config.alerts.max_mb)
        self._watching = AlertWatchSettings(publish_samples=config.alerts.publish_strip)
        self._thread: ArchiveThread | None = None

    @property
    def folder(self) -> Path:
        """Where the records are."""
        return self._folder

    def watch(self, bed: str, to_wall_ns: Callable[[int], int]) -> AlertWatch:
        """Return the watch of one bed."""
        return AlertWatch(
            bed,
            to_wall_ns,
            lambda record: self._writer().save(record),
            lambda alert: self._writer().note(alert, to_wall_ns(alert.at_ns)),
            self._watching,
        )

    def as_json(self) -> dict[str, Json]:
        """Return what became of the records, for ``health``."""
        counts = ArchiveCounts() if self._thread is None else self._thread.counts()
        return dict(asdict(counts))

    def stop(self) -> None:
        """Write what waits; nothing is taken any more."""
        if self._thread is not None:
            self._thread.stop()

    def _writer(self) -> ArchiveThread:
        """Return the thread that writes; it is made with the first alert."""
        if self._thread is None:
            self._thread = ArchiveThread(AlertArchive(self._folder, self._settings))
        return self._thread


def alerts_folder(config: Config) -> Path:
    """Return where the alerts of this gateway are kept: as configured, or beside the outbox."""
    return Path(config.alerts.path) if config.alerts.path else Path(config.outbox.path).parent / "alerts"
