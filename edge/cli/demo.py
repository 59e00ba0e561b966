"""``vitaledge demo``: a virtual patient, a serial pty, a broker, a subscriber and a screen, with no set-up."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from edge.cli.options import add_json_option, option_error, positive
from edge.demo import Demo, DemoReport, Show
from edge.messages import Alert, AlertState, Json, LinkChange
from edge.pipeline import Finding
from edge.viewing.bed import BedState
from edge.viewing.gateway import GatewayView
from firmware_bridge.virtual.scenario_file import bundled_scenarios, load_scenario

DISCLAIMER = "Research and engineering software. Not a medical device."


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "demo",
        help="a scripted night on a virtual bed; no hardware, no broker, no root",
        description="Plays a scripted story on a virtual bed: real serial pty, real wire, real outbox, real MQTT broker.",
    )
    parser.add_argument(
        "scenario", nargs="?", default="demo", help=f"a file, or one of: {', '.join(bundled_scenarios())}"
    )
    parser.add_argument("--speed", type=float, default=10.0, metavar="X", help="times real time (default 10)")
    parser.add_argument("--plain", action="store_true", help="lines instead of a live screen")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Play the story and print what came of it."""
    scenario, speed_ratio = load_scenario(args.scenario), positive(args.speed, "--speed")
    if scenario.duration_s is None:
        raise option_error(
            "scenario", f"{scenario.name} goes on for ever", hint="give it a duration_s, or use simulate"
        )
    logging.getLogger("edge").addHandler(logging.NullHandler())  # the screen shows what the log would say
    logging.getLogger("firmware_bridge").addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory(prefix="vitaledge-demo-") as folder, _screen(args) as (show, tell):
        report = asyncio.run(_play(Demo(scenario, Path(folder), speed_ratio=speed_ratio), show, tell))
    print(json.dumps(report_json(report)) if args.json else "\n".join(report_lines(report)))
    return 0


async def _play(demo: Demo, show: Show, tell: Callable[[Finding], None]) -> DemoReport:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return await demo.play(show, stop, tell)


@contextlib.contextmanager
def _screen(args: argparse.Namespace) -> Iterator[tuple[Show, Callable[[Finding], None]]]:
    """Give a live screen on a terminal with the extra installed, lines of text elsewhere."""
    if not args.json and not args.plain and sys.stdout.isatty():
        with contextlib.suppress(ImportError):
            from edge.viewing.terminal import TerminalView

            with TerminalView() as view:
                yield view.show, lambda _: None
            return
    log = _PlainLog(is_silent=args.json)
    yield log.show, log.tell


class _PlainLog:
    """The demo as lines: one per phase, alert and link change."""

    def __init__(self, *, is_silent: bool) -> None:
        self._is_silent = is_silent
        self._phase = ""
        self._clock_s = 0.0

    def show(self, bed: BedState, gateway: GatewayView) -> None:
        """Print the phase when it changes."""
        self._clock_s = gateway.clock_s
        if gateway.phase != self._phase:
            self._phase = gateway.phase
            rate = bed.vitals.measurements.get("heart_rate_bpm") if bed.vitals else None
            value = "--" if rate is None or rate.value is None else f"{rate.value:.0f}"
            self._print(f"== {gateway.phase}   (heart rate shown: {value}/min, broker: {gateway.broker})")

    def tell(self, finding: Finding) -> None:
        """Print alerts and link changes."""
        match finding:
            case Alert() if finding.state in {AlertState.RAISED, AlertState.CLOSED}:
                self._print(f"   {finding.priority.value:<6} {finding.state.value:<6} {finding.sentence}")
            case LinkChange():
                self._print(f"   link   {finding.state.value:<6} {finding.sensor}: {finding.reason}")
            case _:
                pass

    def _print(self, line: str) -> None:
        if not self._is_silent:
            print(f"{self._clock_s:6.0f} s {line}", flush=True)


def report_lines(report: DemoReport) -> Iterator[str]:
    """Return the closing table."""
    yield ""
    yield f"{report.title}: {report.duration_s:.0f} s played in {report.real_s:.0f} s" + (
        ", interrupted" if report.was_interrupted else ""
    )
    yield ""
    yield f"{'from':>6}  {'what was played':<48}  what the runtime raised (seconds after the beginning)"
    for phase in report.phases:
        raised = [f"{alert.priority.value} {alert.condition} (+{after_s:.0f} s)" for after_s, alert in phase.raised]
        yield f"{phase.at_s:>4.0f} s  {phase.note:<48}  {'; '.join(raised) or '–'}"
    yield ""
    yield (
        f"beats    {report.n_beats_played} played, {report.n_beats_found} found; "
        f"{report.n_beats_hidden} were played with the electrode off or the cable pulled"
    )
    yield f"gaps     {report.n_gaps} in the ECG, {report.n_missing_samples} samples missing"
    view = report.delivery
    yield f"outbox   {view.n_committed} records made durable, {view.n_confirmed} confirmed, {view.n_waiting_total} waiting"
    if report.n_heard is None:
        yield f"broker   {report.broker}"
    else:
        yield f"broker   {report.broker}; a plain subscriber heard {report.n_heard} different records"
        yield f"         and sees {report.open_alerts_heard} alerts still open"
    yield DISCLAIMER


def report_json(report: DemoReport) -> dict[str, Json]:
    """Return the report as one object."""
    return {
        "title": report.title,
        "duration_s": report.duration_s,
        "real_s": round(report.real_s, 1),
        "interrupted": report.was_interrupted,
        "phases": [
            {
                "at_s": phase.at_s,
                "note": phase.note,
                "raised": [
                    {"condition": alert.condition, "priority": alert.priority.value, "after_s": round(after_s, 1)}
                    for after_s, alert in phase.raised
                ],
            }
            for phase in report.phases
        ],
        "beats_played": report.n_beats_played,
        "beats_hidden": report.n_beats_hidden,
        "beats_found": report.n_beats_found,
        "gaps": report.n_gaps,
        "missing_samples": report.n_missing_samples,
        "broker": report.broker,
        "delivery": report.delivery.as_json(),
        "heard": report.n_heard,
        "open_alerts_heard": report.open_alerts_heard,
    }
