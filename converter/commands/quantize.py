"""``quantize``: a trained network to an int8 TFLite file."""

from __future__ import annotations

import argparse
from pathlib import Path

from converter.console import EXIT_DONE, add_json_option, say
from converter.trained import FACTS, MODEL, REPRESENTATIVE, TFLITE
from edge.errors import EdgeError


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = verbs.add_parser(
        "quantize",
        help="make an int8 TFLite file of a trained network",
        description="Full int8, inputs and output included; refuses what keeps floating point inside.",
    )
    parser.add_argument("model", type=Path, help="folder that train wrote, a Keras 3 file, or a SavedModel directory")
    parser.add_argument(
        "--representative",
        type=Path,
        metavar="NPZ",
        help="examples as the network sees them, which set the ranges (default: what train wrote beside it)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"file to write (default: {TFLITE} in the folder)")
    parser.add_argument("--n-representative", type=int, metavar="N", help="at most so many of them set the ranges")
    parser.add_argument("--seed", type=int, default=0, help="of the choice among them (default 0)")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert and tell what came of it."""
    from converter.quantize import N_REPRESENTATIVE, quantize

    is_folder = (args.model / FACTS).is_file()
    model = args.model / MODEL if is_folder else args.model
    representative = args.representative or (args.model / REPRESENTATIVE if is_folder else None)
    if representative is None:
        raise EdgeError(
            f"{args.model}: not a folder that train wrote, so nothing says what the network sees",
            hint="give --representative FILE.npz with one array for each input",
        )
    out = args.out or (args.model / TFLITE if is_folder else args.model.with_suffix(".tflite"))
    n = N_REPRESENTATIVE if args.n_representative is None else args.n_representative
    report = quantize(model, representative, out, n_representative=n, seed=args.seed)
    inputs = ", ".join(f"{tensor.name} {tuple(tensor.shape)}" for tensor in report.inputs)
    text = "\n".join(
        [
            f"{report.path}: {report.n_bytes} bytes, int8 throughout (sha256 {report.sha256})",
            f"  inputs {inputs}; output {report.output.name} {tuple(report.output.shape)}",
            f"  ranges set by {report.n_used} examples, {report.n_rejected} outliers left out",
            *(
                [f"next: vitaledge-convert bundle {args.model} --version 1.0.0 --release 1 --out DIR"]
                if is_folder
                else []
            ),
        ]
    )
    say(text, report.as_json(), as_json=args.json)
    return EXIT_DONE
