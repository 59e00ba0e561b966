"""``emit-c``: a bundle as C source for the firmware of a watch."""

from __future__ import annotations

import argparse
from pathlib import Path

from converter.console import EXIT_DONE, add_json_option, say


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = verbs.add_parser(
        "emit-c",
        help="write a bundle as C source for firmware",
        description="Model, card and golden vectors as strict C99, and the code that uses them with TensorFlow Lite Micro.",
    )
    parser.add_argument("bundle", type=Path, help="folder or zip of the bundle")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the sources")
    parser.add_argument("--trust", type=Path, action="append", default=[], metavar="FILE", help="further trusted keys")
    parser.add_argument("--allow-unsigned", action="store_true", help="take a bundle that is not signed yet")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the sources and tell how TensorFlow Lite Micro compares with the gateway."""
    from converter.emit_c import emit_c
    from edge.inference.bundle import load_bundle, trusted_keys

    report = emit_c(load_bundle(args.bundle, trusted_keys(args.trust), allow_unsigned=args.allow_unsigned), args.out)
    if report.n_exact is None:
        compared = f"not compared with TensorFlow Lite Micro: {report.skipped}"
    else:
        compared = (
            f"TensorFlow Lite Micro: {report.n_exact} of {report.n_golden} golden vectors byte for byte, at most "
            f"{report.largest_lsb} steps apart, {report.arena_bytes} bytes of working memory"
        )
    text = f"{report.folder}: {', '.join(report.files)}\n{report.symbol}: {report.n_model_bytes} bytes\n{compared}"
    say(text, report.as_json(), as_json=args.json)
    return EXIT_DONE
