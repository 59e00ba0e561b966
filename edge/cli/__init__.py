"""The command line: one module per verb (contract: exit 0 done, 1 failed, 2 wrong usage, 3 environment not usable)."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import edge.cli.alerts as alerts_verb
import edge.cli.config as config_verb
import edge.cli.demo as demo_verb
import edge.cli.firmware as firmware_verb
import edge.cli.model as model_verb
import edge.cli.record as record_verb
import edge.cli.replay as replay_verb
import edge.cli.run as run_verb
import edge.cli.scan as scan_verb
import edge.cli.sensors as sensors_verb
import edge.cli.simulate as simulate_verb
from edge.cli.options import EXIT_DONE, EXIT_ENVIRONMENT, EXIT_FAILED, EXIT_USAGE
from edge.errors import ConfigError, EdgeError, OutboxError, PublishError, RecordingError, TransportError

DISCLAIMER = "Research and engineering software. Not a medical device."


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="vitaledge",
        description="Reads sensors, finds beats and alarms, publishes alerts and summaries over MQTT. " + DISCLAIMER,
    )
    parser.add_argument("--version", action="version", version=f"vitaledge {installed_version()}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    for module in (
        demo_verb,
        run_verb,
        replay_verb,
        record_verb,
        scan_verb,
        sensors_verb,
        simulate_verb,
        model_verb,
        config_verb,
        alerts_verb,
        firmware_verb,
    ):
        module.add_parser(verbs)
    return parser


def installed_version() -> str:
    """Return the version of the installed distribution."""
    try:
        return version("vitaledge")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+source"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors are told with what to do about them."""
    args = build_parser().parse_args(argv)
    try:
        return int(args.run(args))
    except EdgeError as error:
        tell(error, as_json=getattr(args, "json", False))
        return exit_code(error)
    except ExceptionGroup as group:  # what a task said, wrapped by its task group
        errors = edge_errors(group)
        if not errors:
            raise
        tell(errors[0], as_json=getattr(args, "json", False))
        return exit_code(errors[0])
    except KeyboardInterrupt:
        return EXIT_FAILED
    except BrokenPipeError:  # `vitaledge … | head` closed the pipe: what was asked for has been given
        sys.stderr.close()
        return EXIT_DONE


def edge_errors(group: ExceptionGroup[Exception]) -> list[EdgeError]:
    """Return what an operator can act on in `group`; nothing if it holds anything else besides."""
    found: list[EdgeError] = []
    for error in group.exceptions:
        inner = edge_errors(error) if isinstance(error, ExceptionGroup) else [error]
        found += [each for each in inner if isinstance(each, EdgeError)]
        if not inner or not all(isinstance(each, EdgeError) for each in inner):
            return []
    return found


def exit_code(error: EdgeError) -> int:
    """Return the exit code that the contract gives to `error`."""
    match error:
        case ConfigError() | RecordingError():
            return EXIT_USAGE
        case TransportError() | PublishError() | OutboxError():
            return EXIT_ENVIRONMENT
        case _:
            return EXIT_FAILED


def tell(error: EdgeError, *, as_json: bool) -> None:
    """Print `error` and its hint: to stderr for people, as one object to stdout with ``--json``."""
    print(f"vitaledge: {error}", file=sys.stderr)
    if error.hint:
        print(f"  what to do: {error.hint}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": str(error), "kind": type(error).__name__, "hint": error.hint}))
