"""``vitaledge-convert``: the commands of the workstation side, and which of them this version has."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge.errors import ModelContractError
from edge.inference.bundle import load_bundle
from edge.inference.classifier import Classifier
from edge.inference.interpreter import Interpreter

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2

PRESENT: Mapping[str, str] = {
    "verify": "check every file of a bundle and run its golden windows here",
}
LATER: Mapping[str, str] = {
    "train": "recordings to a trained model",
    "quantize": "a trained model to an int8 TFLite file",
    "emit-c": "a model as C source for firmware",
    "sign": "sign a bundle",
    "evaluate": "score a bundle on recordings",
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; its help says which commands are still to come."""
    later = "\n".join(f"  {name:<10}{what}" for name, what in LATER.items())
    parser = argparse.ArgumentParser(
        prog="vitaledge-convert",
        description="From recordings to a model bundle for the device.",
        epilog=f"not in this version:\n{later}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND")
    verify = verbs.add_parser("verify", help=PRESENT["verify"])
    verify.add_argument("bundle", type=Path, help="directory of the bundle")
    verify.add_argument("--backend", choices=("auto", "litert", "tflite"), default="auto", help="TFLite runtime")
    verify.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 wrong usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if arguments and arguments[0] in LATER:  # a plain sentence instead of "invalid choice"
        print(
            f"vitaledge-convert: {arguments[0]} is not in this version; it has: {', '.join(PRESENT)}", file=sys.stderr
        )
        return EXIT_USAGE
    args = parser.parse_args(arguments)
    if args.verb is None:
        parser.print_help()
        return EXIT_USAGE
    return verify_bundle(args.bundle, backend=args.backend, as_json=args.json)


def verify_bundle(path: Path, *, backend: str, as_json: bool) -> int:
    """Print whether a bundle is what it says and computes here what it computed where it was made."""
    try:
        bundle = load_bundle(path)
        interpreter = Interpreter(bundle.model, backend=backend)
        worst_lsb = Classifier(bundle.card, bundle.sha256, interpreter).verify(bundle.golden)
    except ModelContractError as error:
        print(f"vitaledge-convert: {error}" + (f"\n  what to do: {error.hint}" if error.hint else ""), file=sys.stderr)
        if as_json:
            print(json.dumps({"valid": False, "error": str(error), "hint": error.hint}))
        return EXIT_FAILED
    facts = {
        "valid": True,
        "model": bundle.card.title,
        "sha256": bundle.sha256,
        "signed": bundle.card.signature is not None,
        "backend": interpreter.backend,
        "n_golden": len(bundle.golden),
        "golden_difference_lsb": worst_lsb,
    }
    if as_json:
        print(json.dumps(facts))
        return EXIT_DONE
    print(f"{bundle.card.title}: every file is as released (sha256 {bundle.sha256}); the bundle is not signed")
    print(f"{len(bundle.golden)} golden windows on {interpreter.backend}: at most {worst_lsb} steps from the answer")
    return EXIT_DONE
