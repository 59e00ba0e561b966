"""What each link is doing, in a small file that the running service keeps and ``vitaledge sensors`` reads.

Wiring: writes and reads one file.  It is a picture of the moment, not a record: it is replaced as a whole every few
seconds, is never half there, and is not forced to the disk, since after a power loss it would be of yesterday anyway.

::

    service   write_links(links_path(outbox), [LinkView(...), ...], clock.wall_ns())     # every 10 s and on a change
    command   file = read_links(links_path(outbox)); file.is_current(clock.wall_ns())
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from edge.clock import NS_PER_S
from edge.errors import EdgeError

LINKS_FILE = "links.json"
"""Name of the file beside the outbox's database."""
MAX_AGE_S = 30.0
"""Older than this nobody keeps the file any more: three times the interval at which the service writes it."""
_MAX_BYTES = 1 << 20  # a thousand sensors; whatever is larger is not ours


class LinksFault(StrEnum):
    """Why there is nothing to be told of the links."""

    MISSING = "missing"
    """No such file: no service has run with this configuration."""
    PERMISSION = "permission"
    """The file may not be read, or its folder not be written."""
    FORMAT = "format"
    """Something else, damaged, or of another version."""
    OTHER = "other"
    """Anything else; the message has the operating system's words."""


class LinksFileError(EdgeError, OSError):
    """The file cannot be written or read; ``reason`` says why."""

    def __init__(self, message: str, *, reason: LinksFault, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamView:
    """One stream of a sensor."""

    name: str
    nominal_rate_hz: float
    true_rate_hz: float | None = None
    """Samples per second of this machine's clock; None until it was measured."""
    drift_ppm: float | None = None
    """Host time gained on device time; None until it was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkView:
    """One sensor's link at the moment of writing."""

    id: str
    """Name of the sensor in the configuration."""
    driver: str
    link: str
    """What the link is, in words: ``/dev/ttyUSB0 at 115200 baud``."""
    state: str
    """`messages.LinkState`, or ``not started``."""
    reason: str
    """Why it is in this state, in words that begin with a stable one where a fault is behind it."""
    in_state_s: float
    """For how long."""
    max_silence_s: float
    """Age of the data beyond which the link is silent."""
    data_age_s: float | None = None
    """Age of the newest data; None before the first."""
    is_late: bool = False
    """Whether data is overdue, though not yet silent."""
    n_connects: int = 0
    n_failures: int = 0
    """Attempts that failed and links that were lost."""
    n_lates: int = 0
    """Times data was overdue."""
    n_silences: int = 0
    """Times the link was closed because it was silent for too long."""
    n_remedies: Mapping[str, int] = field(default_factory=dict)
    """What was tried to bring it back, by name."""
    n_lost_samples: int = 0
    n_dropped_bytes: int = 0
    """Received, but not read in time by us."""
    n_corrupt: Mapping[str, int] = field(default_factory=dict)
    """Everything dropped of what came, by reason."""
    battery_pct: float | None = None
    """None where the sensor does not say."""
    streams: tuple[StreamView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinksFile:
    """All links of one service."""

    written_at_ns: int
    """Wall time, ns since 1970."""
    links: tuple[LinkView, ...]
    schema: Literal["links/1"] = "links/1"

    def age_s(self, wall_ns: int) -> float:
        """Return how long ago it was written; below zero after the clock was set back."""
        return (wall_ns - self.written_at_ns) / NS_PER_S

    def is_current(self, wall_ns: int) -> bool:
        """Return whether a service keeps it now.

        A file from the future is none of now either: a running service would have written it anew after the clock
        was set back.
        """
        return abs(self.age_s(wall_ns)) <= MAX_AGE_S


def links_path(outbox: Path) -> Path:
    """Return where the file is for the service whose outbox database is `outbox`."""
    return outbox.parent / LINKS_FILE


def write_links(path: Path, views: Sequence[LinkView], wall_ns: int) -> None:
    """Replace the file at `path` by what `views` say; a reader sees the old one or the new one, whole.

    Raises
    ------
    LinksFileError
        If it cannot be written; the old file, if any, is as it was.
    """
    content = _adapter().dump_json(LinksFile(written_at_ns=wall_ns, links=tuple(views)))
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.write_bytes(content)
        fresh.replace(path)
    except OSError as error:
        raise LinksFileError(
            f"{path}: {error.strerror or error}", reason=_fault(error), hint="may the service write this folder?"
        ) from error


def read_links(path: Path) -> LinksFile:
    """Return what stands in the file at `path`; whether it is of now, `LinksFile.is_current` tells.

    Raises
    ------
    LinksFileError
        If there is none, it may not be read, or it is not such a file.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        fault = _fault(error)
        hint = {
            LinksFault.MISSING: "start the service with: vitaledge run",
            LinksFault.PERMISSION: "ask as the user of the service, or with sudo",
        }.get(fault, "")
        raise LinksFileError(f"{path}: {error.strerror or error}", reason=fault, hint=hint) from error
    try:
        if len(content) > _MAX_BYTES:
            raise ValueError("too long")
        return _adapter().validate_json(content)
    except (ValidationError, ValueError) as error:
        raise LinksFileError(
            f"{path}: not a file of links that this version reads",
            reason=LinksFault.FORMAT,
            hint="are the service and this command of one version?",
        ) from error


@cache
def _adapter() -> TypeAdapter[LinksFile]:
    return TypeAdapter(LinksFile)  # made once: it takes 2.1 ms, writing the file 0.25 ms (measured)


def _fault(error: OSError) -> LinksFault:
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return LinksFault.MISSING
        case PermissionError():
            return LinksFault.PERMISSION
        case _:
            return LinksFault.OTHER
