"""Event lines, their two formats, and the limit on repetitions."""

from __future__ import annotations

import ast
import io
import json
import logging
import os
import re
import sys
from pathlib import Path

import pytest

from edge.clock import ManualClock
from edge.log import BURST, PERIOD_S, EventHandler, RepeatLimit, configure_logging, is_journald

EDGE = Path(__file__).parent.parent / "edge"
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
KIND = ("edge.x", logging.INFO, "a.b", "")


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def configured(clock):
    """Configure logging to a string; afterwards everything is as it was."""
    root, handlers = logging.getLogger(), []
    levels = {name: logging.getLogger(name).level for name in (None, "edge", "firmware_bridge")}

    def configure(**options):
        stream = io.StringIO()
        handlers.append(configure_logging(stream=stream, clock=clock, **options))
        return stream

    yield configure
    for handler in handlers:
        root.removeHandler(handler)
        handler.close()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(False)


def lines(stream):
    return stream.getvalue().splitlines()


def test_a_text_line_has_time_level_logger_and_event(configured):
    stream = configured()

    logging.getLogger("edge.acquisition.sensor").info("sensor.connected sensor=%s port=%s", "chest", "/dev/x")

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO edge.acquisition.sensor sensor.connected sensor=chest port=/dev/x\n",
        stream.getvalue(),
    )


def test_a_json_line_has_the_fields_apart(configured):
    stream = configured(as_json=True)

    logging.getLogger("edge.x").warning("sensor.lost sensor=%s reason=%s n_lost=%d", "chest", "no such file", 3)

    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "edge.x",
        "event": "sensor.lost",
        "fields": {"sensor": "chest", "reason": "no such file", "n_lost": "3"},
    }


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("name", ["a\nERROR edge forged.event", "a\r\n\x1b[2J", "a\u2028b\x85c\x00"])
def test_a_peer_cannot_write_a_line_of_its_own(configured, as_json, name):
    """A device's name with line breaks or terminal codes stays one harmless line."""
    stream = configured(as_json=as_json)

    logging.getLogger("edge.x").info("sensor.found name=%s", name)

    assert len(lines(stream)) == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", stream.getvalue())


def test_a_peer_cannot_replace_a_field(configured):
    """The first value of a key counts, and level and logger are out of reach."""
    stream = configured(as_json=True)

    logging.getLogger("edge.x").info("sensor.found sensor=%s name=%s", "bed", "x sensor=other level=error")

    line = json.loads(stream.getvalue())
    assert (line["level"], line["fields"]["sensor"]) == ("info", "bed")


def test_a_traceback_is_indented_text_and_a_json_list(configured):
    def fail(stream):
        try:
            raise OSError("no\nway")
        except OSError:
            logging.getLogger("edge.x").exception("task.failed task=%s", "t")
        return stream

    text, as_json = fail(configured()), fail(configured(as_json=True))

    assert all(line.startswith("  ") for line in lines(text)[1:])
    assert "OSError: no" in text.getvalue()
    assert "OSError: no" in json.loads(as_json.getvalue())["traceback"][-2]


def test_the_journal_gets_its_level_prefix_and_no_time(configured, tmp_path, clock):
    """journald adds the time itself and reads the level from the prefix, on every line."""
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        handler = configure_logging(
            stream=stream, clock=clock, environ={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        )
        try:
            logging.getLogger("edge.x").warning("a.b")
            logging.getLogger("edge.x").info("c.d")
        finally:
            logging.getLogger().removeHandler(handler)
            handler.close()
            configured()
        stream.seek(0)
        assert stream.read() == "<4>WARNING edge.x a.b\n<6>INFO edge.x c.d\n"


def test_a_stream_without_a_descriptor_is_not_the_journal():
    assert not is_journald({"JOURNAL_STREAM": "1:2"}, io.StringIO())
    assert not is_journald({}, sys.__stderr__)


def test_levels_are_ours_and_libraries_stay_above_debug(configured):
    """At debug our protocol is shown, not that of every library."""
    stream = configured(level="debug")

    logging.getLogger("edge.x").debug("frame.received")
    logging.getLogger("asyncio").debug("chatter")

    assert [line.split(" ", 1)[1] for line in lines(stream)] == ["DEBUG edge.x frame.received"]


def test_an_unknown_level_is_misuse():
    with pytest.raises(ValueError, match="got 'loud'"):
        configure_logging(level="loud")


def test_configuring_twice_writes_each_event_once(configured):
    """A second call replaces the first."""
    first, second = configured(), configured()

    logging.getLogger("edge.x").info("a.b")

    assert (len(lines(first)), len(lines(second))) == (0, 1)


def test_repetitions_are_counted_and_the_count_is_written(configured, clock):
    """After the burst only the number is told, once the period is over."""
    stream, log = configured(), logging.getLogger("edge.x")
    for offset in range(BURST + 7):
        log.warning("frame.corrupt sensor=%s offset=%d", "bed", offset)
    assert len(lines(stream)) == BURST

    clock.advance(PERIOD_S)
    log.info("other.event")

    assert [line.split(" ", 1)[1] for line in lines(stream)[BURST:]] == [
        "WARNING edge.x log.repeated event=frame.corrupt about=bed n_not_written=7",
        "INFO edge.x other.event",
    ]


def test_one_sensor_that_repeats_does_not_silence_another(configured):
    """The first argument says whom an event is about."""
    stream, log = configured(), logging.getLogger("edge.x")
    for _ in range(BURST + 1):
        log.warning("frame.corrupt sensor=%s", "bed")

    log.warning("frame.corrupt sensor=%s", "chest")

    assert lines(stream)[-1].endswith("frame.corrupt sensor=chest")


def test_debug_is_never_held_back(configured):
    stream = configured(level="debug")

    for _ in range(3 * BURST):
        logging.getLogger("edge.x").debug("frame.received")

    assert len(lines(stream)) == 3 * BURST


def test_what_was_held_back_is_told_at_the_end(configured):
    """Closing loses no count."""
    stream, log = configured(), logging.getLogger("edge.x")
    for _ in range(BURST + 2):
        log.info("a.b")

    configured()  # replaces and closes the first

    assert lines(stream)[-1].endswith("log.repeated event=a.b about= n_not_written=2")


def test_a_wrong_log_call_is_located(configured):
    """One %s too many names the file and line, and stops nothing."""
    stream = configured()
    (handler,) = [handler for handler in logging.getLogger().handlers if isinstance(handler, EventHandler)]
    wrong = logging.LogRecord("edge.x", logging.INFO, __file__, 7, "a.b x=%s y=%s", ("only one",), None)

    handler.handle(wrong)  # not through the logger: pytest's own handler raises
    logging.getLogger("edge.x").info("c.d")

    assert re.search(r"log.malformed logger=edge.x where=test_log.py:7", lines(stream)[0])
    assert lines(stream)[1].endswith("c.d")


def test_a_closed_stream_stops_nothing(configured):
    """The reader of a pipe may go away."""
    stream = configured()
    stream.close()

    logging.getLogger("edge.x").info("a.b")


def test_a_new_period_begins_after_the_old_one():
    limit = RepeatLimit(burst=1, period_s=10)

    first = [limit.admits(KIND, now_ns) for now_ns in (0, 1)]
    counts = limit.finished(10 * 10**9)

    assert (first, counts) == ([True, False], [(KIND, 1)])
    assert limit.admits(KIND, 10 * 10**9)


def test_the_memory_for_kinds_is_bounded():
    """Messages that all differ do not pile up."""
    limit = RepeatLimit()
    for number in range(5000):
        limit.finished(0)
        limit.admits(("edge.x", logging.INFO, f"a.b {number}", ""), 0)

    assert len(limit._seen) < 1100


@pytest.mark.parametrize(("burst", "period_s"), [(0, 1), (1, 0), (1, float("nan"))])
def test_an_impossible_limit_is_misuse(burst, period_s):
    with pytest.raises(ValueError):
        RepeatLimit(burst, period_s)


def log_calls():
    """Yield every log call of the runtime: its place, message and number of arguments."""
    for path in sorted(EDGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if is_call and node.func.attr in LEVELS and "log" in ast.unparse(node.func.value).lower():
                yield f"{path.relative_to(EDGE)}:{node.lineno}", node


def test_every_log_call_formats():
    """Each call has as many arguments as placeholders, so that no fault is hidden by a second one."""
    for place, node in log_calls():
        assert isinstance(node.args[0], ast.Constant), f"{place}: formatted before it is known to be needed"
        message = node.args[0].value
        values = tuple(1 for _ in node.args[1:])

        record = logging.LogRecord("edge", logging.INFO, "", 0, message, values, None)

        assert record.getMessage(), place


def test_importing_the_runtime_configures_no_logging():
    """Only the entry point decides where events go."""
    assert not [
        place for place, node in log_calls() if ast.unparse(node.func) in {"logging.basicConfig", "logging.info"}
    ]
