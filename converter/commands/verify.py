"""``verify``: is a bundle what it says, and does its model decide as the trained one did, on every runtime?"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from converter.console import EXIT_DONE, EXIT_FAILED, add_json_option, say
from converter.trained import EXAMPLES, FACTS, FLOAT_TFLITE


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = verbs.add_parser(
        "verify",
        help="check a bundle, and its model against the float one and on every runtime",
        description="Checks every file of a bundle and its golden vectors, then compares int8 with float and the runtimes "
        "that are installed with each other; fails where a stated limit is broken.",
    )
    parser.add_argument("bundle", type=Path, help="folder or zip of the bundle")
    parser.add_argument(
        "--trained", type=Path, metavar="DIR", help="what train and quantize wrote: its examples and its float model"
    )
    parser.add_argument(
        "--examples", type=Path, metavar="NPZ", help="examples with raw features (default: of --trained)"
    )
    parser.add_argument("--float", dest="floating", type=Path, metavar="TFLITE", help="the float model to compare with")
    parser.add_argument("--backend", action="append", metavar="NAME", help="only these runtimes; may be repeated")
    parser.add_argument("--trust", type=Path, action="append", default=[], metavar="FILE", help="further trusted keys")
    parser.add_argument("--min-agreement", type=float, metavar="SHARE", help="least share of equal decisions (0.99)")
    parser.add_argument("--max-f1-loss", type=float, metavar="SHARE", help="largest loss of macro F1 (0.005)")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Verify and tell what was found; 1 where a limit is broken."""
    from converter.examples import load_examples
    from converter.verify import BACKENDS, VerifyLimits, verify
    from converter.verify_text import report_text
    from edge.inference.bundle import load_bundle, trusted_keys
    from edge.inference.interpreter import Interpreter
    from edge.inference.predictor import Predictor

    bundle = load_bundle(args.bundle, trusted_keys(args.trust), allow_unsigned=True)
    Predictor(bundle.card, Interpreter(bundle.model)).verify(bundle.golden)
    examples, floating = args.examples, args.floating
    if args.trained is not None and (args.trained / FACTS).is_file():
        examples = examples or args.trained / EXAMPLES
        beside = args.trained / FLOAT_TFLITE
        floating = floating or (beside if beside.is_file() else None)
    limits = VerifyLimits()
    if args.min_agreement is not None:
        limits = replace(limits, min_agreement=args.min_agreement)
    if args.max_f1_loss is not None:
        limits = replace(limits, max_macro_f1_loss=args.max_f1_loss)
    report = verify(
        bundle,
        load_examples(examples) if examples else None,
        floating=floating,
        limits=limits,
        backends=tuple(args.backend) if args.backend else BACKENDS,
    )
    signed = "signed" if bundle.signed_by is not None else "not signed"
    text = f"{bundle.card.title}: every file is as released, {len(bundle.golden)} golden vectors answered; {signed}\n\n"
    facts = {"valid": True, "signed": bundle.signed_by is not None, "n_golden": len(bundle.golden)} | report.as_json()
    say(text + report_text(report), facts, as_json=args.json)
    if not report.passed:
        sys.stderr.writelines(f"vitaledge-convert: {failure}\n" for failure in report.failures)
    return EXIT_DONE if report.passed else EXIT_FAILED
