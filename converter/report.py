"""The report of a training: a page of Markdown and its pictures, in one folder that stands alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converter import plots
from converter.calibration import Calibration, coverage_curve, reliability
from converter.cross_validation import CrossValidation, Judged
from converter.fitting import Fitted
from converter.scoring import class_scores, confusion
from converter.trained import Trained
from edge.inference.card_inputs import FeaturesInput, SamplesInput, TensorInput
from edge.messages import Json

PAGE = "README.md"
_N_WORST = 9
_N_PATIENTS = 60


def write_report(folder: Path, trained: Trained, judged: CrossValidation, fitted: Fitted) -> Path:
    """Write the report of one training into `folder` and return its page.

    Pictures and tables of single decisions are those of the first seed; metrics are means over all seeds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    units = judged.judged(trained.seeds[0])
    calibration = trained.calibration
    plain = replace(calibration, thresholds=(), min_energy=None, max_outside=None)
    decided = plain.decide(units.logits)
    chances = calibration.probabilities(units.logits)
    plots.learning_curves(folder / "learning.svg", [run.history for run in judged.runs] or [fitted.history])
    plots.confusion_matrix(
        folder / "confusion.svg", confusion(units.labels, decided, len(trained.classes)), trained.classes
    )
    after = reliability(chances, units.labels)
    plots.reliability_diagram(
        folder / "calibration.svg",
        reliability(Calibration(bias=calibration.bias).probabilities(units.logits), units.labels),
        after,
        coverage_curve(chances.max(axis=1), decided == units.labels),
    )
    names, shares, n = _by_patient(units, decided)
    plots.patient_results(folder / "patients.svg", names, shares, n)
    n_wrong = _draw_worst(folder / "worst.svg", trained, judged, units, chances)
    page = folder / PAGE
    page.write_text(_page(trained, judged, units, decided, n_wrong), encoding="utf-8")
    return page


def _page(trained: Trained, judged: CrossValidation, units: Judged, decided: NDArray[np.int64], n_wrong: int) -> str:
    unit = "recordings" if judged.examples.bags is not None else "examples"
    parts = [
        f"# Training of `{trained.recipe}`, {trained.created:%Y-%m-%d}",
        (
            f"{sum(trained.n_examples.values())} examples of {trained.n_groups} patients "
            f"({', '.join(f'{name} {n}' for name, n in trained.n_examples.items())}); {trained.n_folds} of "
            f"{_of(trained.settings, 'validation', 'n_folds')} folds held out in turn, whole patients; seeds "
            f"{', '.join(map(str, trained.seeds))}; {trained.duration_s:.0f} s. Every figure is of patients that the network "
            "was not trained on."
        ),
        "## Metrics",
        _metrics(trained),
        "![confusion matrix](confusion.svg)",
        f"Decisions before abstention on {len(units.labels)} {unit}, seed {trained.seeds[0]}"
        + (", with the biases that are shipped." if trained.calibration.bias else "."),
        "## Calibration and abstention",
        _calibration(trained, units, judged),
        "![reliability, and error against coverage](calibration.svg)",
        "## Learning",
        "![learning curves](learning.svg)",
        "## Patients",
        "![right decisions by patient](patients.svg)",
        _patients(trained, units, decided),
        "## Worst",
        f"![examples taken for another class](worst.svg)\n\nThe {n_wrong} surest of the wrong decisions; dark the first channel, light the second."
        if n_wrong
        else "No decision was wrong.",
        "## Inputs",
        _inputs(trained),
        "## Settings",
        _table(("setting", "value"), _flat(trained.settings)),
        "## Versions",
        _table(("package", "version"), list(trained.versions.items())),
    ]
    return "\n\n".join(parts) + "\n"


def _metrics(trained: Trained) -> str:
    rows = [
        (f"`{name}`", f"{mean:.4f}", f"± {trained.spread[name]:.4f}" if len(trained.seeds) > 1 else "one seed")
        for name, mean in trained.metrics.items()
    ]
    return _table(("metric", "mean", "deviation over seeds"), rows)


def _calibration(trained: Trained, units: Judged, judged: CrossValidation) -> str:
    calibration = trained.calibration
    plain = replace(calibration, thresholds=(), min_energy=None, max_outside=None)
    rows = []
    for name, each in (
        ("every decision", plain),
        ("above the thresholds", replace(plain, thresholds=calibration.thresholds)),
        ("and familiar", calibration),
    ):
        # Features are of examples, a decision may be of a bag: there the energy alone is judged here.
        outside = judged.outside if judged.examples.bags is None else None
        scores = class_scores(units.labels, each.decide(units.logits, outside), trained.classes)
        rows.append((name, f"{100 * scores['coverage']:.1f} %", f"{100 * (1 - scores['accuracy']):.2f} %"))
    accepted = replace(plain, thresholds=calibration.thresholds).decide(units.logits)
    limits = []
    for index, name in enumerate(trained.classes):
        mine = accepted == index
        wrong = f"{100 * (units.labels[mine] != index).mean():.1f} %" if mine.any() else "–"
        numbers = (_number(calibration.bias, index), _number(calibration.thresholds, index))
        limits.append((name, *numbers, str(int(mine.sum())), wrong))
    return "\n\n".join(
        [
            (
                f"Temperature {calibration.temperature:.3f}; least energy {_shown(calibration.min_energy)}; most features "
                f"outside the training population {_shown(calibration.max_outside)}."
            ),
            _table(("class", "bias", "least probability", "decisions accepted", "wrong among them"), limits),
            _table(("accepted", "share", "wrong among them"), rows),
        ]
    )


def _patients(trained: Trained, units: Judged, decided: NDArray[np.int64]) -> str:
    names, shares, n = _by_patient(units, decided)
    order = np.argsort(shares, kind="stable")[:_N_PATIENTS]
    rows = []
    for k in order:
        mine = units.groups == names[k]
        scores = class_scores(units.labels[mine], decided[mine], trained.classes)
        present = [index for index in range(len(trained.classes)) if (units.labels[mine] == index).any()]
        sensitivities = ", ".join(
            f"{trained.classes[index]} {100 * scores[f'se_{trained.classes[index]}']:.1f}" for index in present
        )
        rows.append((names[k], str(n[k]), f"{100 * shares[k]:.1f}", sensitivities))
    more = f"\n\nThe worst {_N_PATIENTS} of {len(names)}." if len(names) > _N_PATIENTS else ""
    return _table(("patient", "n", "right / %", "Se by class / %"), rows) + more


def _inputs(trained: Trained) -> str:
    rows = []
    for card in trained.inputs:
        match card:
            case SamplesInput():
                what = f"{card.n_samples} samples of {', '.join(card.channels)} at {card.rate_hz:g} Hz, {card.unit}"
            case FeaturesInput():
                what = ", ".join(f"`{feature.name}`" for feature in card.features)
            case TensorInput():
                what = " × ".join(map(str, card.shape))
        rows.append((f"`{card.name}`", what))
    return _table(("input", "what"), rows)


def _by_patient(units: Judged, decided: NDArray[np.int64]) -> tuple[list[str], NDArray[np.float64], NDArray[np.int64]]:
    """Return the patients, the share of right decisions of each and how many there were."""
    names, codes = np.unique(units.groups, return_inverse=True)
    n = np.bincount(codes)
    right = np.bincount(codes, weights=(decided == units.labels).astype(np.float64))
    return [str(name) for name in names], right / n, n.astype(np.int64)


def _draw_worst(
    path: Path, trained: Trained, judged: CrossValidation, units: Judged, chances: NDArray[np.float64]
) -> int:
    """Draw the surest wrong decisions and return how many; of a bag, its first window."""
    shown = [card for card in trained.inputs if not isinstance(card, FeaturesInput)]
    said = chances.argmax(axis=1)
    wrong = np.flatnonzero(said != units.labels)
    worst = wrong[np.argsort(-chances[wrong].max(axis=1), kind="stable")][:_N_WORST]
    if not shown or not len(worst):
        return 0
    card = shown[0]
    bags = judged.examples.bags
    places = worst if bags is None else np.unique(bags, return_index=True)[1][worst]
    titles = [
        f"{units.groups[k]}: {trained.classes[units.labels[k]]}, said {trained.classes[said[k]]} {chances[k].max():.2f}"
        for k in worst
    ]
    values = judged.examples.inputs[card.name][places]
    rate_hz, unit = (card.rate_hz, card.unit) if isinstance(card, SamplesInput) else (None, "")
    plots.worst_examples(path, values, titles, rate_hz, unit)
    return len(worst)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _flat(tree: Mapping[str, Json], before: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in tree.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{before}{name}.")
        else:
            rows.append((f"`{before}{name}`", ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows


def _of(settings: Mapping[str, Json], section: str, name: str) -> Json:
    part = settings.get(section)
    return part.get(name) if isinstance(part, dict) else None


def _number(values: Sequence[float], index: int) -> str:
    return f"{values[index]:.3f}" if values else "–"


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
