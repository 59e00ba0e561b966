"""``compare``: what a setting of a recipe brings, over equal folds and seeds, clean and in noise."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from converter.console import EXIT_DONE, add_json_option, note, say
from converter.keras_backend import require_tensorflow
from converter.recipes import find_recipe, settings_file
from converter.recipes.settings import load_settings
from edge.errors import EdgeError


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = verbs.add_parser(
        "compare",
        help="measure what a setting brings",
        description="Cross-validate a recipe as it stands and with each --try, on the same folds and seeds; a difference "
        "within two standard errors over the seeds is called chance.",
        epilog="example: vitaledge-convert compare beat --data D --seeds 5 --try fit.adversarial_step=0.05 "
        "--try augment.noise_ratio=0.5 --stress 12 --stress 6",
    )
    parser.add_argument("recipe", metavar="RECIPE", help="which recipe")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder with the recordings or pictures"
    )
    parser.add_argument(
        "--try",
        dest="trials",
        action="append",
        default=[],
        metavar="KEY=VALUE[;KEY=VALUE…]",
        help="settings of one variant; may be repeated",
    )
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="of all variants"
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="train with the seeds 1 to N (default 3)")
    parser.add_argument(
        "--stress",
        type=float,
        action="append",
        default=[],
        metavar="DB",
        help="judge in synthetic noise of this ratio too",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes; 0 for one on each processor")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare and print the table."""
    from converter.compare import compare, table

    if args.seeds < 1 or not args.trials:
        raise EdgeError("expected at least one --try and --seeds from 1", hint="vitaledge-convert compare --help")
    if any(part.strip().startswith("data.") for trial in args.trials for part in trial.split(";")):
        raise EdgeError("--try: data.* changes the examples themselves", hint="use --set and compare two runs of train")
    recipe = find_recipe(args.recipe)
    file = settings_file(args.recipe)
    base = load_settings(file, args.overrides)
    variants = [("as it stands", base)]
    variants += [(trial, load_settings(file, [*args.overrides, *trial.split(";")])) for trial in args.trials]
    require_tensorflow()
    examples = recipe.examples(args.data, base, jobs=args.jobs)
    found = compare(
        recipe,
        variants,
        examples,
        range(1, args.seeds + 1),
        args.data,
        stress_db=args.stress,
        jobs=args.jobs,
        told=partial(note),
    )
    facts = {"metric": found[0].metric, "variants": {each.name: each.scores for each in found}}
    say(table(found), facts, as_json=args.json)
    return EXIT_DONE
