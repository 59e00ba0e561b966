"""What the runtime says about itself: one event a line, to standard error.

A call reads ``_LOG.info("sensor.connected sensor=%s port=%s", sensor, port)``: the event first, then key=value.  The
first argument names who it is about.  Nothing is set up at import; the entry point calls `configure_logging` once.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import TextIO

from edge.clock import NS_PER_S, Clock, SystemClock

BURST = 10
PERIOD_S = 60.0
_MAX_KINDS = 1000
"""Kinds of event that are counted apart; a message that was formatted too early must not fill the memory."""

_KEY = re.compile(r"(?:^| )([a-z_][a-z0-9_.]*)=")
# Peers choose some of the words in a line, such as a device's name: they must not write lines of their own.
_CONTROL: Mapping[int, str] = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in b"\t\n\r"
} | {9: "\\t", 10: "\\n", 13: "\\r", 0x2028: "\\u2028", 0x2029: "\\u2029"}
# sd-daemon(3): journald reads the level from this prefix of a line.
_SYSLOG_LEVEL: Mapping[int, int] = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}

EventKind = tuple[str, int, str, str]
"""Logger, level, unformatted message, and whom it is about."""


class RepeatLimit:
    """Lets the first events of a kind through, counts the rest of a period, and says how many they were.

    Parameters
    ----------
    burst : int
        Events of one kind that pass in a period.  Default: enough to see that something repeats.
    period_s : float
        Length of a period, from its first event on, s.
    """

    def __init__(self, burst: int = BURST, period_s: float = PERIOD_S) -> None:
        if burst < 1 or not period_s > 0:
            raise ValueError(f"expected burst >= 1 and period_s > 0, got {burst} and {period_s}")
        self._burst = burst
        self._period_ns = int(period_s * NS_PER_S)
        self._seen: dict[EventKind, tuple[int, int]] = {}

    def admits(self, kind: EventKind, now_ns: int) -> bool:
        """Return whether this event is to be written; call `finished` before."""
        start_ns, n_seen = self._seen.get(kind, (now_ns, 0))
        self._seen[kind] = (start_ns, n_seen + 1)
        return n_seen < self._burst

    def finished(self, now_ns: int | None = None) -> list[tuple[EventKind, int]]:
        """Return the kinds whose period is over and how many of each were held back, where any were.

        Parameters
        ----------
        now_ns : int, optional
            Monotonic time; without it every period is over.
        """
        over = [
            kind
            for kind, (start_ns, _) in self._seen.items()
            if now_ns is None or now_ns - start_ns >= self._period_ns or len(self._seen) > _MAX_KINDS
        ]
        counts = [(kind, self._seen.pop(kind)[1] - self._burst) for kind in over]
        return [(kind, n_held_back) for kind, n_held_back in counts if n_held_back > 0]


class TextFormatter(logging.Formatter):
    """One line of text: time, level, logger, event; under journald its level prefix instead of the time."""

    def __init__(self, *, is_journald: bool = False) -> None:
        super().__init__()
        self._is_journald = is_journald

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text; the lines of a traceback follow indented."""
        lines = [f"{record.levelname} {record.name} {_message(record)}"]
        lines += ["  " + line.translate(_CONTROL) for line in _traceback(self, record)]
        if self._is_journald:
            prefix = f"<{_SYSLOG_LEVEL.get(record.levelno, 2)}>"
            return "\n".join(prefix + line for line in lines)
        return f"{_iso_time(record)} " + "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; what peers could influence stands under ``fields``, so it cannot replace the rest."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one JSON object."""
        message = _message(record)
        keys = list(_KEY.finditer(message))
        ends = [*(key.start() for key in keys[1:]), len(message)]
        fields: dict[str, str] = {}
        for key, end in zip(keys, ends, strict=True):
            fields.setdefault(key[1], message[key.end() : end])
        line: dict[str, object] = {
            "time": _iso_time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": message[: keys[0].start()] if keys else message,
            "fields": fields,
        }
        traceback = _traceback(self, record)
        return json.dumps(line | ({"traceback": traceback} if traceback else {}), ensure_ascii=False)


def _message(record: logging.LogRecord) -> str:
    return record.getMessage().translate(_CONTROL)


def _iso_time(record: logging.LogRecord) -> str:
    moment = dt.datetime.fromtimestamp(record.created, tz=dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    if not record.exc_info:
        return []
    return formatter.formatException(record.exc_info).splitlines()


class EventHandler(logging.StreamHandler[TextIO]):
    """Writes events; those that repeat are counted instead, and the count is written when their period is over.

    DEBUG is never held back: whoever turned it on wants to see everything.
    """

    def __init__(self, stream: TextIO, clock: Clock, limit: RepeatLimit) -> None:
        super().__init__(stream)
        self._clock = clock
        self._limit = limit

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it; a line about an earlier repetition may come first."""
        now_ns = self._clock.monotonic_ns()
        self._write_counts(now_ns)
        about = record.args[0] if isinstance(record.args, tuple) and record.args else ""
        kind = (record.name, record.levelno, str(record.msg), about if isinstance(about, str) else "")
        if record.levelno < logging.INFO or self._limit.admits(kind, now_ns):
            super().emit(record)

    def close(self) -> None:
        """Write the counts that are still open, then close."""
        self.acquire()
        try:
            self._write_counts(None)
        finally:
            self.release()
        super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- the name that logging calls
        """Say where a log call is wrong; a log that cannot be written stops nothing."""
        fault = sys.exc_info()[1]
        where = f"{os.path.basename(record.pathname)}:{record.lineno}"  # noqa: PTH119 -- a name, no file
        with contextlib.suppress(OSError, ValueError):  # the reader of the pipe is gone, or the stream is closed
            self.stream.write(f"ERROR {__name__} log.malformed logger={record.name} where={where} error={fault!r}\n")

    def _write_counts(self, now_ns: int | None) -> None:
        for (logger, level, message, about), n_held_back in self._limit.finished(now_ns):
            event = message.split(" ", 1)[0]
            text = "log.repeated event=%s about=%s n_not_written=%d"
            super().emit(logging.LogRecord(logger, level, __file__, 0, text, (event, about, n_held_back), None))


def is_journald(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Return whether `stream` goes to the journal, which adds the time itself.

    References
    ----------
    .. [1] systemd.exec(5), ``$JOURNAL_STREAM``: device and inode number of the stream.
    """
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def configure_logging(
    *,
    level: str = "info",
    as_json: bool = False,
    environ: Mapping[str, str] | None = None,
    stream: TextIO | None = None,
    clock: Clock | None = None,
) -> EventHandler:
    """Send all events to `stream` and return the handler, which is to be closed at the end.

    Parameters
    ----------
    level : str
        ``debug``, ``info``, ``warning`` or ``error``: the least important of our events that is written.  Libraries
        speak from INFO on at most, so that ``debug`` shows our protocol and not theirs.
    as_json : bool
        One JSON object a line instead of text.
    environ : mapping of str to str, optional
        The environment, to see whether the journal reads the stream.
    stream : text stream, optional
        Standard error if not given.
    clock : Clock, optional
        For counting repetitions; the system's if not given.

    Raises
    ------
    ValueError
        If the level is none of the four.
    """
    number = {
        "debug": logging.DEBUG,
        "info": logging.INFO,
        "warning": logging.WARNING,
        "error": logging.ERROR,
    }.get(level)
    if number is None:
        raise ValueError(f"expected level debug, info, warning or error, got {level!r}")
    target = stream if stream is not None else sys.stderr
    handler = EventHandler(target, clock or SystemClock(), RepeatLimit())
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter(is_journald=is_journald(environ or {}, target)))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, EventHandler)]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(max(number, logging.INFO))
    for package in ("edge", "firmware_bridge"):
        logging.getLogger(package).setLevel(number)
    logging.getLogger("bleak").setLevel(logging.ERROR)  # its warnings name whole addresses, which tell a wearer apart
    logging.captureWarnings(capture=True)
    return handler
