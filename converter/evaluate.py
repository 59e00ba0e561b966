"""``vitaledge-convert evaluate``: a model in the runtime's own pipeline, over a folder of annotated records.

The pipeline that monitors a patient is given the samples and nothing else: it finds its own beats, asks the models and
says what it says at the bed.  Only then are the annotations read, and beats, rhythms and labels counted against them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from converter.evaluation.matching import LEARNING_S
from converter.evaluation.parallel import score_all
from converter.evaluation.report import Report, report_of
from converter.evaluation.tables import as_json, csv_text, markdown, summary_lines
from converter.evaluation.truth import Folder, choose, open_folder, read_patients
from converter.evaluation.work import BEAT, RHYTHM, TASKS, Job
from edge.config import Config
from edge.config_sections import Model, Models
from edge.errors import EdgeError
from edge.inference.bundle import BUILTIN, Bundle, builtin_bundle, load_bundle, trusted_keys
from edge.model_assembly import models_in_use

RULES = "rules"
"""What the command line says instead of a bundle for no model at all."""

EXIT_DONE, EXIT_FAILED, EXIT_INCOMPLETE = 0, 1, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSettings:
    """What is scored, and how."""

    data: Path
    """Folder of annotated records (`converter.evaluation.truth`)."""
    bundles: tuple[str, ...] = ()
    """Directories or zips of bundles, ``builtin`` for those that came with the software; none: rules alone."""
    records: tuple[str, ...] = ()
    """Names of records; none: all of the folder."""
    every: int = 1
    """Only every so many-th of them, for a quick look."""
    tasks: tuple[str, ...] = TASKS
    from_s: float = 0.0
    """What lies before is not counted; EC57 leaves out 300 s."""
    extension: str = "atr"
    """Annotator whose files are the reference."""
    patients: Path | None = None
    """CSV of ``record,patient``, where several records are of one patient; default: each is of its own."""
    annotations: Path | None = None
    """Folder with annotation files that ``vitaledge replay --annotate`` wrote, to score instead of running anything."""
    annotations_extension: str = "vte"
    trusted_keys: tuple[Path, ...] = ()
    """Files of further public keys whose bundles are accepted."""
    allow_unsigned: bool = False
    """Whether a bundle that nobody has signed yet is run."""
    backend: Literal["auto", "litert", "tflite"] = "auto"
    n_processes: int = 1
    dask: str | None = None
    n_draws: int = 1000
    """Draws of the bootstrap; 0 for no intervals."""
    seed: int = 0


def evaluate(settings: EvaluateSettings) -> Report:
    """Return how well the runtime with these bundles does on annotated records.

    Raises
    ------
    EdgeError
        If the folder holds nothing annotated, a bundle is refused, or a way to run in parallel is not there.  A record
        that cannot be scored is no error: it is named in the report.
    """
    folder = open_folder(settings.data, extension=settings.extension)
    if folder.has_labels and RHYTHM not in settings.tasks:
        raise EdgeError(
            f"{settings.data}: has one label a record and no annotated beats", hint="--task rhythm, or another folder"
        )
    patients = {} if settings.patients is None else read_patients(settings.patients)
    names = choose(folder.records, settings.records, settings.every)
    bundles = {} if settings.annotations else open_bundles(settings)
    config = runtime_config(settings, bundles)
    _require_models(config)
    jobs = [
        Job(
            record=name,
            patient=patients.get(name, name),
            folder=folder.only(name),
            config=config,
            tasks=settings.tasks,
            from_s=settings.from_s,
            annotations=settings.annotations,
            extension=settings.annotations_extension,
        )
        for name in names
    ]
    results = score_all(jobs, n_processes=settings.n_processes, dask=settings.dask)
    heading = _heading(settings, folder, {task: bundle for task, (_, bundle) in bundles.items()})
    report = report_of(results, heading, n_draws=settings.n_draws, seed=settings.seed)
    return replace(report, warnings=tuple(_silent_models(bundles, report)))


def _silent_models(bundles: Mapping[str, object], report: Report) -> Iterator[str]:
    """Yield a sentence for each model that decided nothing: what was scored then is the rules."""
    if BEAT in bundles and report.beats is not None and report.decided is None:
        yield "The beat model decided on no beat: the classes scored here are those of the rules alone."
    is_silent = report.labels is not None and not any(result.answer for result in report.results)
    if RHYTHM in bundles and is_silent:
        yield "The rhythm model answered for no record."


def open_bundles(settings: EvaluateSettings) -> dict[str, tuple[Path, Bundle]]:
    """Return the bundle of each task, verified as the runtime will.

    Raises
    ------
    ModelContractError
        If one is refused.
    EdgeError
        If two are for one task.
    """
    paths: list[Path] = []
    for name in settings.bundles:
        paths += [builtin_bundle(task) for task in TASKS] if name == BUILTIN else [Path(name)]
    trust = trusted_keys(settings.trusted_keys)
    found: dict[str, tuple[Path, Bundle]] = {}
    for path in paths:
        bundle = load_bundle(path, trust, allow_unsigned=settings.allow_unsigned)
        task = bundle.card.task
        if task not in TASKS:
            raise EdgeError(
                f"{path}: a model for {task}", hint=f"only models for {' and '.join(TASKS)} can be evaluated"
            )
        if task in found:
            raise EdgeError(
                f"{path} and {found[task][0]} are both for {task}", hint="evaluate them one after the other"
            )
        found[task] = (path, bundle)
    return found


def runtime_config(settings: EvaluateSettings, bundles: Mapping[str, tuple[Path, Bundle]]) -> Config:
    """Return the configuration of the runtime that is evaluated: the built-in one, with these models and no other."""
    return Config(
        model={
            task: Model(bundle=str(bundles[task][0].resolve()) if task in bundles else "none", backend=settings.backend)
            for task in TASKS
        },
        models=Models(
            trusted_keys=tuple(str(file) for file in settings.trusted_keys), allow_unsigned=settings.allow_unsigned
        ),
    )


def _require_models(config: Config) -> None:
    """Raise EdgeError where the runtime would refuse a model and go on by rules: that would be scored as the model."""
    for name, refused in models_in_use(config).refused.items():
        raise EdgeError(f"the runtime refuses the {name} model: {refused.why}", hint=refused.hint)


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write ``evaluation.md``, ``evaluation.json`` and ``records.csv`` and return their paths.

    Raises
    ------
    EdgeError
        If the folder cannot be written.
    """
    texts = {
        "evaluation.md": markdown(report),
        "evaluation.json": json.dumps(as_json(report), indent=1) + "\n",
        "records.csv": csv_text(report),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise EdgeError(
            f"{folder}: cannot be written: {error.strerror}", hint="--out names a folder of yours"
        ) from error
    return [folder / name for name in texts]


def _heading(settings: EvaluateSettings, folder: Folder, bundles: Mapping[str, Bundle]) -> dict[str, str]:
    models = {
        f"{task} model": f"{bundle.card.title}, release {bundle.card.release}, sha256 {bundle.sha256[:16]}…"
        for task, bundle in bundles.items()
    }
    if settings.annotations is not None:
        models = {"annotations": f"*.{settings.annotations_extension} in {settings.annotations.name}"}
    return {
        **(models or {"models": "none: rules alone"}),
        "data": folder.path.resolve().name,
        "scored from": f"{settings.from_s:g} s",
        "match window": "150 ms",
        "bootstrap": f"{settings.n_draws} draws of patients, seed {settings.seed}" if settings.n_draws else "none",
    }


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = verbs.add_parser(
        "evaluate",
        help="score models on annotated records, through the runtime's own pipeline",
        description="Runs the pipeline of the device over annotated records, from samples, and scores what it says: "
        "classes of beats (AAMI EC57), episodes of atrial fibrillation, the rhythm of whole records (CinC 2017).",
        epilog="exit codes: 0 all records scored, 1 nothing could be done, 4 some records could not be scored",
    )
    parser.add_argument(
        "bundles",
        nargs="*",
        metavar="BUNDLE",
        help=f"directory or zip; `{BUILTIN}` for the models of this version, `{RULES}` for no model",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of annotated WFDB records")
    parser.add_argument("--records", default="", metavar="NAME,…", help="only these records")
    parser.add_argument("--every", type=_at_least_one, default=1, metavar="N", help="only every N-th of them")
    parser.add_argument("--task", choices=TASKS, help="only this (default: whatever is annotated)")
    parser.add_argument("--ec57", action="store_true", help="leave the first five minutes out, as EC57 does")
    parser.add_argument("--reference", default="atr", metavar="EXT", help="annotator that is right (default: atr)")
    parser.add_argument("--patients", type=Path, metavar="CSV", help="record,patient where patients have several")
    parser.add_argument(
        "--annotations",
        type=Path,
        metavar="DIR",
        help="score what `vitaledge replay --annotate DIR` wrote, run nothing",
    )
    parser.add_argument("--annotator", default="vte", metavar="EXT", help="extension of those files (default: vte)")
    parser.add_argument("--trust", type=Path, action="append", default=[], metavar="FILE", help="further trusted keys")
    parser.add_argument("--allow-unsigned", action="store_true", help="run a bundle that is not signed yet")
    parser.add_argument("--backend", choices=("auto", "litert", "tflite"), default="auto", help="TFLite runtime")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="processes; 0 for one a processor (default: 1)"
    )
    parser.add_argument("--dask", metavar="tcp://…", help="work on a Dask cluster, whose workers see the same folders")
    parser.add_argument(
        "--bootstrap", type=_at_least_zero, default=1000, metavar="N", help="draws for intervals, 0 for none"
    )
    parser.add_argument("--seed", type=_at_least_zero, default=0, metavar="N", help="of the draws (default: 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write evaluation.md, evaluation.json and records.csv")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate, print and write what was asked for; return the exit code."""
    if not args.bundles and args.annotations is None:
        raise EdgeError("nothing to evaluate", hint=f"name bundles, or `{BUILTIN}`, `{RULES}`, or --annotations DIR")
    if RULES in args.bundles and len(args.bundles) > 1:
        raise EdgeError(f"`{RULES}` means no model, and {len(args.bundles) - 1} are named beside it")
    report = evaluate(
        EvaluateSettings(
            data=args.data,
            bundles=tuple(name for name in args.bundles if name != RULES),
            records=tuple(filter(None, (name.strip() for name in args.records.split(",")))),
            every=args.every,
            tasks=TASKS if args.task is None else (args.task,),
            from_s=LEARNING_S if args.ec57 else 0.0,
            extension=args.reference,
            patients=args.patients,
            annotations=args.annotations,
            annotations_extension=args.annotator,
            trusted_keys=tuple(args.trust),
            allow_unsigned=args.allow_unsigned,
            backend=args.backend,
            n_processes=args.jobs,
            dask=args.dask,
            n_draws=args.bootstrap,
            seed=args.seed,
        )
    )
    written = write_report(report, args.out) if args.out is not None else []
    sys.stdout.write((json.dumps(as_json(report)) if args.json else "\n".join(summary_lines(report))) + "\n")
    sys.stderr.writelines(f"wrote {path}\n" for path in written)
    return _exit_code(report)


def _exit_code(report: Report) -> int:
    if not report.n_scored:
        return EXIT_FAILED
    return EXIT_INCOMPLETE if report.failures else EXIT_DONE


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


def _at_least_zero(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected at least 0, got {number}")
    return number
