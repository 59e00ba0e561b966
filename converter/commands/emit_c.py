"""``emit-c``: a bundle as C source for watch firmware."""

from __future__ import annotations

import argparse
from pathlib import Path

from converter.console import EXIT_DONE, add_json_option, say


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = verbs.add_parser(
        "emit-c",
        help="write a bundle as C source for watch firmware",
        description="Writes the model, its card and its golden vectors as C99, with the code that uses them on "
        "TensorFlow Lite Micro; says how that answers the golden vectors beside the gateway.",
    )
    parser.add_argument("bundle", type=Path, help="folder or zip of the bundle")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    parser.add_argument("--trust", type=Path, action="append", default=[], metavar="FILE", help="further trusted keys")
    parser.add_argument("--allow-unsigned", action="store_true", help="take a bundle that nobody vouches for")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the source and tell what came of it."""
    from converter.emit_c import emit_c
    from edge.inference.bundle import load_bundle
    from edge.inference.trust import TrustedKeys

    trust = None
    if args.trust:
        trust = TrustedKeys().joined(TrustedKeys.parse(path.read_bytes(), str(path)) for path in args.trust)
    report = emit_c(load_bundle(args.bundle, trust, allow_unsigned=args.allow_unsigned), args.out)
    if report.n_exact is None:
        compared = f"TensorFlow Lite Micro was not run: {report.skipped}"
    else:
        compared = (
            f"TensorFlow Lite Micro answers {report.n_exact} of {report.n_golden} golden vectors as the gateway, byte for "
            f"byte; the others are at most {report.largest_lsb} steps apart"
        )
    lines = [
        f"{report.folder}: {report.symbol}_model, {report.n_model_bytes} bytes, in {', '.join(report.files)}",
        compared,
    ]
    if report.arena_bytes is not None:
        lines.append(f"working memory: {report.arena_bytes} bytes with 64-bit pointers, less on a microcontroller")
    say("\n".join(lines), report.as_json(), as_json=args.json)
    return EXIT_DONE
