"""``vitaledge-convert``: from recordings to a signed model bundle, one module of `converter.commands` a verb."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import converter.commands.bundle as bundle_verb
import converter.commands.compare as compare_verb
import converter.commands.emit_c as emit_c_verb
import converter.commands.quantize as quantize_verb
import converter.commands.sign as sign_verb
import converter.commands.train as train_verb
import converter.commands.verify as verify_verb
import converter.evaluate as evaluate_verb
from converter.console import EXIT_DONE, EXIT_ENVIRONMENT, EXIT_FAILED, EXIT_USAGE
from converter.keras_backend import MissingPackageError
from edge.errors import ConfigError, EdgeError, RecordingError

VERBS = (train_verb, compare_verb, quantize_verb, verify_verb, bundle_verb, sign_verb, emit_c_verb, evaluate_verb)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="vitaledge-convert",
        description="From recordings to a signed model bundle for the device.",
        epilog="in this order: train, quantize, bundle, verify, sign, evaluate, emit-c",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND")
    for module in VERBS:
        module.add_parser(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 wrong usage, 3 something is not installed."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.verb is None:
        parser.print_help()
        return EXIT_USAGE
    try:
        return int(args.run(args))
    except EdgeError as error:
        return told(error, as_json=getattr(args, "json", False))
    except OSError as error:  # a full disk, a folder that may not be written
        return told(EdgeError(f"{error.filename or args.verb}: {error.strerror or error}"), as_json=args.json)
    except KeyboardInterrupt:
        return EXIT_FAILED
    except BrokenPipeError:  # `vitaledge-convert … | head` closed the pipe: what was asked for has been given
        sys.stderr.close()
        return EXIT_DONE


def told(error: EdgeError, *, as_json: bool) -> int:
    """Tell an error and what to do about it, and return its exit code."""
    print(f"vitaledge-convert: {error}", file=sys.stderr)
    if error.hint:
        print(f"  what to do: {error.hint}", file=sys.stderr)
    if as_json:
        print(json.dumps({"valid": False, "error": str(error), "kind": type(error).__name__, "hint": error.hint}))
    match error:
        case ConfigError() | RecordingError():
            return EXIT_USAGE
        case MissingPackageError():
            return EXIT_ENVIRONMENT
        case _:
            return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
