"""``vitaledge alerts list|show|explain|label``: what was alarmed about, why, and what a clinician says of it."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.alert_archive import AlertArchive, ArchivedAlert, Damaged
from edge.alert_log import AlertSummary, Verdict, decided_by
from edge.alert_picture import wall_words
from edge.cli.alert_drawing import NOT_A_DEVICE, draw
from edge.cli.options import EXIT_DONE, EXIT_FAILED, add_config_options, add_json_option, loaded_config, option_error
from edge.clock import SystemClock
from edge.errors import EdgeError, OutboxError
from edge.inference.bundle import MANIFEST
from edge.inference.classifier import Classifier, ClassifierSettings
from edge.inference.explain import Explanation, explain
from edge.inference.explain_words import rule_sentences
from edge.inference.interpreter import Interpreter
from edge.inference.manifest import checked_contents, read_card
from edge.inference.reproduce import Reproduction, deciding_windows, decisions, reproduce
from edge.messages import Json

_ID = "the alert's identifier as `alerts list` names it, its beginning, or last for the newest"


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "alerts",
        help="past alerts: list them, show and explain one, say whether it was true",
        description="Alerts that this gateway has kept with the signal and the model's answers that led to them.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = _action(actions, "list", "all alerts that are kept, oldest first", run_list)
    listing.add_argument("--last", type=int, metavar="N", help="only the newest N")
    show = _action(actions, "show", "everything that is kept of one alert", run_show)
    why = _action(actions, "explain", "why it was raised: asks the model again, in words and as a picture", run_explain)
    why.add_argument(
        "--models",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder in which to look for the model that decided, besides built-in and promoted ones; may be repeated",
    )
    why.add_argument("--backend", choices=("auto", "litert", "tflite"), default="auto", help="which TFLite runtime")
    for one in (show, why):
        one.add_argument("id", metavar="ID", help=_ID)
        one.add_argument("--svg", type=Path, metavar="FILE", help="draw the ECG strip to FILE")
        one.add_argument("--png", type=Path, metavar="FILE", help="the same as a PNG (needs rsvg-convert)")
    label = _action(actions, "label", "write down whether an alert was true; training reads it", run_label)
    label.add_argument("id", metavar="ID", help=_ID)
    label.add_argument("verdict", choices=[each.value for each in Verdict], help="was it as the alert says?")
    label.add_argument("--by", required=True, metavar="NAME", help="who says so (a role or pseudonym will do)")


def run_list(args: argparse.Namespace) -> int:
    """List the alerts; damaged files are named on stderr and make the exit code 1."""
    if args.last is not None and args.last < 1:
        raise option_error("--last", f"expected at least 1, got {args.last}")
    archive = _archive(args)
    found = list(archive.summaries())
    damaged = [each for each in found if isinstance(each, Damaged)]
    alerts = [each for each in found if isinstance(each, AlertSummary)]
    shown = alerts[-args.last :] if args.last else alerts
    if args.json:
        bad: list[Json] = [{"file": str(each.path), "reason": each.reason} for each in damaged]
        print(json.dumps({"alerts": [_as_json(each) for each in shown], "damaged": bad}))
    else:
        _print_table(shown, archive.folder)
    for each in damaged:
        print(f"vitaledge: {each.path}: {each.reason}", file=sys.stderr)
    return EXIT_FAILED if damaged else EXIT_DONE


def run_show(args: argparse.Namespace) -> int:
    """Show one alert."""
    archive = _archive(args)
    archived = archive.load(archive.resolve(args.id))
    words = _words_of_rule(archived)
    files = draw(args, archived, None, words)
    if args.json:
        print(json.dumps({**_as_json(archived.summary), "record": _details(archived), "files": files}))
        return EXIT_DONE
    _print_alert(archived)
    for name, value in archived.record.alert.evidence.items():
        print(f"  {name}: {_short(value)}")
    _print_files(files)
    return EXIT_DONE


def run_explain(args: argparse.Namespace) -> int:
    """Explain one alert; a decision that does not come out the same again makes the exit code 1."""
    archive = _archive(args)
    archived = archive.load(archive.resolve(args.id))
    explained = _explained(archived, [*args.models, _models(args)], args.backend)
    if explained is None:
        sentences, explanation, repeated = _words_of_rule(archived), None, None
    else:
        explanation, repeated = explained
        sentences = (*explanation.sentences, _words_of_reproduction(repeated))
    files = draw(args, archived, explanation, sentences)
    if args.json:
        body: dict[str, Any] = {
            **_as_json(archived.summary),
            "explanation": None if explanation is None else explanation.as_json(),
            "sentences": list(sentences),
            "reproduced": None if repeated is None else _reproduction_json(repeated),
            "files": files,
        }
        print(json.dumps(body))
    else:
        _print_alert(archived)
        for sentence in sentences:
            print(textwrap.fill(sentence, 100, initial_indent="  ", subsequent_indent="    "))
        print(f"  {NOT_A_DEVICE}")
        _print_files(files)
        if not files:
            print(f"  to see it: vitaledge alerts explain {args.id} --svg FILE.svg")
    return EXIT_DONE if repeated is None or repeated.is_exact else EXIT_FAILED


def run_label(args: argparse.Namespace) -> int:
    """Write a verdict down."""
    if not args.by.strip():
        raise option_error("--by", "expected who says so, got nothing")
    verdict = Verdict(args.verdict)
    archive = _archive(args)
    alert_id = archive.resolve(args.id)
    label = archive.label(alert_id, verdict, by=args.by, wall_ns=SystemClock().wall_ns())
    if args.json:
        at = wall_words(label.wall_ns)
        print(json.dumps({"id": alert_id, "label": label.verdict.value, "by": label.by, "at": at}))
    else:
        print(f"alert {alert_id}: {label.verdict.value}, says {label.by}")
    return EXIT_DONE


# --- the model --------------------------------------------------------------------------------------------


def find_bundle(sha256: str, folders: Iterable[Path]) -> Path | None:
    """Return the bundle whose manifest has this hash: a folder, or one up to three levels below one of `folders`."""
    for folder in folders:
        for pattern in ("", "*/", "*/*/", "*/*/*/"):
            for manifest in sorted(folder.glob(f"{pattern}{MANIFEST}")):
                try:
                    if hashlib.sha256(manifest.read_bytes()).hexdigest() == sha256:
                        return manifest.parent
                except OSError:
                    continue
    return None


def _explained(archived: ArchivedAlert, folders: list[Path], backend: str) -> tuple[Explanation, Reproduction] | None:
    """Return why the model decided and whether it does so again; None where no model was asked.

    Raises
    ------
    EdgeError
        If the model that decided is not here, or what it saw was not kept: another one is never asked in its place.
    """
    record = archived.record
    decision = record.decision
    if decision is None:
        return None
    wanted = _Wanted.of(decision)
    classifier = _classifier(wanted.sha256, folders, backend)
    windows = deciding_windows(record.windows, record.predictions, wanted.sequences)
    if not windows or not {window.sequence for window in windows} & set(wanted.sequences):
        raise EdgeError(
            f"alert {record.alert.id}: the windows that the model saw were not kept",
            hint=f"the strip is there: vitaledge alerts show {record.alert.id} --svg FILE",
        )
    repeated = reproduce(classifier, windows, record.predictions, wanted.sequences)
    explanation = explain(
        classifier,
        windows,
        wanted.label,
        bundle_sha256=wanted.sha256,
        condition=record.alert.condition,
    )
    if explanation is None:
        raise EdgeError(f"alert {record.alert.id}: the model gives no answer to what it saw")
    return explanation, repeated


@dataclass(frozen=True, slots=True)
class _Wanted:
    sha256: str
    label: str
    sequences: list[int]

    @staticmethod
    def of(decision: Any) -> _Wanted:
        sequences = decision.get("window_sequences")
        named = [each for each in sequences if isinstance(each, int)] if isinstance(sequences, list) else []
        decided = decisions(str(decision.get("model", "")), named)
        return _Wanted(str(decision.get("bundle_sha256", "")), str(decision.get("label", "")), decided)


def _classifier(sha256: str, folders: list[Path], backend: str) -> Classifier:
    builtin = Path(__file__).parent.parent / "models"
    path = find_bundle(sha256, [*folders, builtin])
    if path is None:
        raise EdgeError(
            f"the model that decided (sha256 {sha256[:12]}) is neither built in nor below {', '.join(map(str, folders))}",
            hint="give the folder that has it with --models DIR; another model would explain another decision",
        )
    # The hash of its manifest is the one that the decision names, and the manifest has those of all its files: it is the
    # bundle that decided.  Whether it was vouched for was judged when it was taken into use.
    card = read_card(_read(path, MANIFEST) or b"", str(path / MANIFEST))
    model, _ = checked_contents(card, lambda name, _most: _read(path, name), str(path))
    # Whether the signal was good enough was decided then.
    settings = ClassifierSettings(min_quality=float("-inf"))
    return Classifier(card, sha256, Interpreter(model, backend=backend), settings)


def _read(folder: Path, name: str) -> bytes | None:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EdgeError(f"{folder / name}: {error.strerror or error}", hint="may this user read it?") from error


# --- words ------------------------------------------------------------------------------------------------


def _words_of_rule(archived: ArchivedAlert) -> tuple[str, ...]:
    alert = archived.record.alert
    if archived.record.decision is not None:
        return ()
    return rule_sentences(str(alert.evidence.get("rule", "")), alert.evidence, alert.condition)


def _words_of_reproduction(repeated: Reproduction) -> str:
    if repeated.is_exact:
        n = repeated.n_compared
        return f"Asked again, the same model gives the same answer, bit for bit ({n} window{'s' if n > 1 else ''})."
    if repeated.n_compared == 0 or repeated.n_decisions == 0:
        return "The model's answers of then were not kept, so whether it would give them again is not known."
    return (
        f"Attention: asked again, the model does not give the same answer: {repeated.n_same} of {repeated.n_compared} "
        f"windows are equal, the largest difference is {repeated.largest_lsb} of 255 steps, "
        f"{repeated.n_decisions_same} of {repeated.n_decisions} decisions come out the same. "
        "Another TFLite runtime than then is the usual reason (--backend)."
    )


def _reproduction_json(repeated: Reproduction) -> dict[str, Json]:
    return {
        "exact": repeated.is_exact,
        "windows": repeated.n_compared,
        "windows_same": repeated.n_same,
        "largest_lsb": repeated.largest_lsb,
        "decisions": repeated.n_decisions,
        "decisions_same": repeated.n_decisions_same,
    }


def _as_json(alert: AlertSummary) -> dict[str, Json]:
    label = alert.label
    return {
        "id": alert.id,
        "at": wall_words(alert.wall_ns),
        "wall_ns": alert.wall_ns,
        "bed": alert.bed,
        "priority": alert.priority,
        "condition": alert.condition,
        "sentence": alert.sentence,
        "state": alert.state,
        "decided_by": alert.decided_by,
        "label": None if label is None else {"label": label.verdict.value, "by": label.by, "wall_ns": label.wall_ns},
        "file": str(alert.path),
    }


def _details(archived: ArchivedAlert) -> dict[str, Json]:
    record = archived.record
    events: list[Json] = [
        {"wall_ns": each.wall_ns, "revision": each.revision, "state": each.state, "by": each.by}
        for each in archived.events
    ]
    return {
        "evidence": dict(record.alert.evidence),
        "decision": None if record.decision is None else dict(record.decision),
        "n_windows": len(record.windows),
        "n_beats": len(record.beats),
        "strip_s": 0.0 if record.strip is None else round(len(record.strip.values_uv) / record.strip.rate_hz, 2),
        "events": events,
    }


def _print_table(alerts: list[AlertSummary], folder: Path) -> None:
    if not alerts:
        print(f"no alerts are kept in {folder}")
        return
    head = ("time", "priority", "condition", "state", "decided by", "label", "id")
    rows = [head, *(_row(each) for each in alerts)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(alert: AlertSummary) -> tuple[str, ...]:
    return (
        wall_words(alert.wall_ns).removesuffix(" UTC"),
        alert.priority,
        alert.condition,
        alert.state,
        alert.decided_by,
        "-" if alert.label is None else alert.label.verdict.value,
        alert.id,
    )


def _print_alert(archived: ArchivedAlert) -> None:
    record, alert = archived.record, archived.record.alert
    print(alert.sentence)
    print(f"  {wall_words(alert.at_ns + record.wall_offset_ns)}, {record.bed}, priority {alert.priority.value}")
    print(f"  state: {archived.state}; decided by: {decided_by(record.decision)}")
    if archived.label is not None:
        print(f"  label: {archived.label.verdict.value}, says {archived.label.by}")


def _print_files(files: list[str]) -> None:
    for each in files:
        print(f"  wrote {each}")


def _short(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    return textwrap.shorten(text, 160, placeholder=" …")


# --- options ----------------------------------------------------------------------------------------------


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, words: str, run: Any
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".")
    parser.add_argument(
        "--store", type=Path, metavar="DIR", help="folder with the alerts (default: alerts/ beside the outbox)"
    )
    add_config_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)
    return parser


def _models(args: argparse.Namespace) -> Path:
    """Return where this gateway keeps the models that were promoted."""
    config = loaded_config(args).config
    return Path(config.models.path or Path(config.outbox.path).parent / "models")


def _archive(args: argparse.Namespace) -> AlertArchive:
    folder = args.store
    if folder is None:
        config = loaded_config(args).config
        folder = Path(config.alerts.path or Path(config.outbox.path).parent / "alerts")
    elif not folder.is_dir():
        what = "a file" if folder.exists() else "nothing there"
        raise option_error("--store", f"{folder}: expected a folder with alerts, got {what}")
    try:
        next(iter(folder.glob("*.json")), None)
    except OSError as error:
        raise OutboxError(f"{folder}: {error.strerror or error}", hint="may this user read it?") from error
    return AlertArchive(folder)
