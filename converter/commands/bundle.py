"""``bundle``: a trained and quantized network to the directory that a device takes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from converter.console import EXIT_DONE, add_json_option, say
from edge.errors import EdgeError


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = verbs.add_parser(
        "bundle",
        help="put a quantized network and all that is known of it into a bundle",
        description="Write the (unsigned) bundle: model, manifest, golden vectors, model card.",
    )
    parser.add_argument("trained", type=Path, help="folder that train wrote and quantize was run on")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the bundle")
    parser.add_argument("--version", required=True, help="for people, such as 1.2.0")
    parser.add_argument("--release", type=int, required=True, metavar="N", help="only ever goes up")
    parser.add_argument("--name", help="of the model (default: that of the recipe)")
    parser.add_argument(
        "--notes", type=Path, metavar="MD", help="Markdown for the model card: how it was measured, limits"
    )
    parser.add_argument(
        "--metrics", type=Path, metavar="JSON", help="figures of the int8 model, name to number, in place of train's"
    )
    parser.add_argument("--zip", type=Path, metavar="FILE", help="write a zip of it too")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the bundle."""
    from converter.bundle_writer import zip_bundle
    from converter.bundling import bundle_trained
    from edge.inference.bundle import load_bundle

    metrics = _metrics(args.metrics) if args.metrics else None
    notes = args.notes.read_text(encoding="utf-8") if args.notes else ""
    folder = bundle_trained(
        args.trained,
        args.out,
        name=args.name,
        version=args.version,
        release=args.release,
        notes=notes,
        metrics=metrics,
    )
    bundle = load_bundle(folder, allow_unsigned=True)
    if args.zip:
        zip_bundle(folder, args.zip)
    text = f"{folder}: {bundle.card.title} (sha256 {bundle.sha256}), unsigned\nnext: vitaledge-convert sign {folder} --key KEY"
    say(text, {"bundle": str(folder), "model": bundle.card.title, "sha256": bundle.sha256}, as_json=args.json)
    return EXIT_DONE


def _metrics(path: Path) -> dict[str, float]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in found.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise EdgeError(f"{path}: expected a JSON object of numbers: {error}") from error
