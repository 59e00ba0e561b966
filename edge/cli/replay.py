"""``vitaledge replay RECORD``: a recording through the very same pipeline."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from edge.alert_keeper import AlertKeeper
from edge.alert_watch import AlertWatch
from edge.annotation_file import AnnotationWriter
from edge.cli.options import (
    EXIT_DONE,
    EXIT_ENVIRONMENT,
    add_config_options,
    add_json_option,
    loaded_config,
    option_error,
    positive,
)
from edge.messages import Alert, AlertState, ClassifiedBeat, Pulse, Quality, RhythmChange, Vitals
from edge.numerics_file import NumericsWriter
from edge.pipeline import Finding
from edge.replay import DEFAULT_BLOCK_SAMPLES, Replay
from edge.replay_report import ReplayReport


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "replay",
        help="a recording (WFDB, EDF, CSV or raw capture) through the pipeline",
        description="Runs a recording through the same pipeline as a live sensor, and says what it found.",
    )
    parser.add_argument(
        "record", metavar="RECORD", help="WFDB record with or without extension, EDF, CSV or raw capture"
    )
    parser.add_argument("--speed", default="max", metavar="X|max", help="times real time, or max (default)")
    parser.add_argument(
        "--annotate", type=Path, metavar="DIR", help="write beats, rhythm and quality to DIR/RECORD.vte"
    )
    parser.add_argument(
        "--numerics", type=Path, metavar="FILE.csv", help="write one row a second: every vital or empty"
    )
    parser.add_argument(
        "--alerts", type=Path, metavar="DIR", help="keep in DIR what every alert was decided from (vitaledge alerts)"
    )
    parser.add_argument(
        "--columns", default="", metavar="NAME=KIND,…", help="what is what: II=ecg,PLETH=ppg,AX=acc_x …"
    )
    parser.add_argument("--rate", type=float, metavar="HZ", help="sampling rate of a CSV without a time column")
    parser.add_argument(
        "--block-samples",
        type=int,
        default=DEFAULT_BLOCK_SAMPLES,
        metavar="N",
        help="samples handed over at once; any number gives the same findings (default %(default)s)",
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="publish to the configured broker (--set mqtt.host=…) through the outbox; "
        "what the broker does not take stays there, and if it takes nothing the exit code is 3",
    )
    add_config_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay, write what was asked for, and say what was found."""
    loaded = loaded_config(args)
    replay = Replay(
        args.record,
        config=loaded.config,
        columns=parse_columns(args.columns),
        rate_hz=args.rate,
        block_samples=at_least_one(args.block_samples, "--block-samples"),
        speed_ratio=parse_speed(args.speed),
    )
    with contextlib.ExitStack() as stack:
        sinks = _Sinks(args, replay, stack)
        playing = replay.publish(sinks.take, environ=os.environ) if args.publish else replay.play(sinks.take)
        report = asyncio.run(playing)
        if sinks.annotations is not None:
            sinks.annotations.close()
    print(json.dumps(report.as_json()) if args.json else "\n".join(report_lines(report, sinks.files)))
    if report.is_undelivered:
        print(f"vitaledge: nothing was delivered: {report.undelivered_text}", file=sys.stderr)
        return EXIT_ENVIRONMENT
    return EXIT_DONE


class _Sinks:
    """Where the findings go besides the pipeline's own way."""

    def __init__(self, args: argparse.Namespace, replay: Replay, stack: contextlib.ExitStack) -> None:
        self.annotations: AnnotationWriter | None = None
        self._numerics: NumericsWriter | None = None
        self.files: list[Path] = []
        self._tells = not args.json
        self._watch: AlertWatch | None = None
        if args.alerts is not None:
            keeper = AlertKeeper(replay.config, args.alerts)
            self._watch = keeper.watch(replay.name, replay.to_wall_ns)
            stack.callback(keeper.stop)
            stack.callback(self._watch.finish)
            self.files.append(args.alerts)
        if args.annotate is not None:
            try:  # now, and not after an hour of replay
                args.annotate.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise option_error("--annotate", f"{args.annotate}: {error.strerror}") from error
            self.annotations = AnnotationWriter(args.annotate, replay.name, replay.rate_hz, stream=replay.stream)
            self.files.append(self.annotations.path)
        if args.numerics is not None:
            self._numerics = stack.enter_context(NumericsWriter(args.numerics))
            self.files.append(args.numerics)

    def take(self, finding: Finding) -> None:
        """Write one finding down."""
        if self._watch is not None:
            self._watch.observe(finding)
        match finding:
            case ClassifiedBeat() | Pulse() | RhythmChange() | Quality() if self.annotations is not None:
                self.annotations.add(finding)
            case Vitals() if self._numerics is not None:
                self._numerics.write(finding)
            case Alert() if self._tells and finding.state is AlertState.RAISED and finding.revision == 1:
                at_s = finding.at_ns / 1e9
                print(f"{at_s:9.1f} s  {finding.priority.value:<6}  {finding.sentence}", file=sys.stderr)
            case _:
                pass


def report_lines(report: ReplayReport, files: Iterable[Path]) -> Iterable[str]:
    """Return the closing words of a replay."""
    yield f"{report.record}: {report.duration_s:.1f} s replayed in {report.processing_s:.2f} s"
    yield f"  beats {report.n_beats}, heart rate known in {report.coverage_text} of the time"
    alerts = ", ".join(f"{condition} {n}" for condition, n in sorted(report.alerts.items())) or "none"
    yield f"  alerts raised: {alerts}"
    if report.has_ecg:
        yield f"  rhythm of the whole recording: {report.rhythm_text}"
    for name, words in report.models.items():
        yield f"  {name} model: {words}"
    yield f"  gaps {report.n_gaps} ({report.n_missing_samples} samples missing)"
    if report.losses:
        yield "  lost in the file itself: " + ", ".join(f"{what} {n}" for what, n in sorted(report.losses.items()))
    if not report.has_ecg:
        yield "  no ECG among its signals, so no heart rate and no rhythm: name one with --columns NAME=ecg"
    if report.delivery is not None:
        yield "  " + report.delivery_text
    for path in files:
        yield f"  wrote {path}"


def parse_columns(text: str) -> dict[str, str]:
    """Return ``NAME=KIND,…`` as a mapping, blanks around names left out.

    Raises
    ------
    ConfigError
        If a part has no ``=`` or no name, or a column is named twice.
    """
    columns: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, kind = part.partition("=")
        if not equals or not name.strip() or not kind.strip():
            raise option_error("--columns", f"expected NAME=KIND, got {part!r}")
        if name.strip() in columns:
            raise option_error("--columns", f"expected each column once, got {name.strip()!r} again")
        columns[name.strip()] = kind.strip()
    return columns


def parse_speed(text: str) -> float | None:
    """Return times real time; None for ``max``.

    Raises
    ------
    ConfigError
        If it is neither a positive number nor ``max``.
    """
    if text == "max":
        return None
    try:
        return positive(float(text), "--speed")
    except ValueError:
        raise option_error("--speed", f"expected a number above 0 or max, got {text!r}") from None


def at_least_one(number: int, option: str) -> int:
    """Return `number` if it is at least 1.

    Raises
    ------
    ConfigError
        Otherwise.
    """
    if number < 1:
        raise option_error(option, f"expected at least 1, got {number}")
    return number
