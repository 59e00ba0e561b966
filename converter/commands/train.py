"""``train``: recordings (or pictures) to a trained network, its calibration and a report."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from converter.console import EXIT_DONE, add_json_option, note, say
from converter.keras_backend import require_tensorflow
from converter.recipes import find_recipe, recipe_names, settings_file
from converter.recipes.settings import load_settings
from converter.trained import FACTS, REPORT
from edge.errors import EdgeError

_N_SHOWN = 8


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = verbs.add_parser(
        "train",
        help="train a recipe on a folder of data",
        description="Train a recipe: examples from the runtime's own stages, patients held out, calibration, a report.",
        epilog="recipes: " + ", ".join(recipe_names()) + ". Their settings are converter/recipes/RECIPE.toml.",
    )
    parser.add_argument("recipe", metavar="RECIPE", help="which recipe")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder with the recordings or pictures"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the network and its report")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one setting of the recipe, such as fit.epochs=3; may be repeated",
    )
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="train with the seeds 1 to N (default 1)")
    parser.add_argument(
        "--cross-validate", action="store_true", help="hold every fold out in turn, not only one; takes as much longer"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="processes; 0 for one on each processor (default 1)"
    )
    parser.add_argument("--alerts", type=Path, metavar="DIR", help="archive of alerts that clinicians have judged")
    parser.add_argument(
        "--false-alerts",
        action="append",
        default=[],
        metavar="SAID=WAS",
        help="class of the windows of a false alert, such as V=N; without it they teach nothing; may be repeated",
    )
    parser.add_argument("--alert-weight", type=float, default=1.0, metavar="W", help="how much they count (default 1)")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train and tell what came of it."""
    from converter.train import TrainJob, train  # scipy and the runtime's stages: not needed for --help

    if args.seeds < 1:
        raise EdgeError(f"--seeds: expected at least 1, got {args.seeds}")
    recipe = find_recipe(args.recipe)
    settings = load_settings(settings_file(args.recipe), args.overrides)
    require_tensorflow()
    job = TrainJob(
        data=args.data,
        out=args.out,
        seeds=tuple(range(1, args.seeds + 1)),
        is_cross_validated=args.cross_validate,
        jobs=args.jobs,
        alerts=args.alerts,
        when_false=_pairs(args.false_alerts),
        alert_weight=args.alert_weight,
    )
    trained = train(recipe, settings, job, told=partial(note))
    figures = [
        f"  {name:<12}{mean:.4f}" + (f" ± {trained.spread[name]:.4f}" if len(trained.seeds) > 1 else "")
        for name, mean in list(trained.metrics.items())[:_N_SHOWN]
    ]
    text = "\n".join(
        [
            (
                f"{recipe.name}: {sum(trained.n_examples.values())} examples of {trained.n_groups} patients, "
                f"{trained.duration_s:.0f} s; on patients not trained on:"
            ),
            *figures,
            f"report: {args.out / REPORT / 'README.md'}",
            f"next: vitaledge-convert quantize {args.out}",
        ]
    )
    facts = {
        "recipe": recipe.name,
        "out": str(args.out),
        "facts": str(args.out / FACTS),
        "report": str(args.out / REPORT / "README.md"),
        "metrics": dict(trained.metrics),
        "spread": dict(trained.spread),
        "seeds": list(trained.seeds),
        "n_folds": trained.n_folds,
        "duration_s": trained.duration_s,
    }
    say(text, facts, as_json=args.json)
    return EXIT_DONE


def _pairs(texts: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        said, equals, was = text.partition("=")
        if not (said and equals and was):
            raise EdgeError(f"--false-alerts: expected SAID=WAS, got {text!r}", hint="such as V=N")
        found[said] = was
    return found
