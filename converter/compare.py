"""What a setting brings: the same recipe with and without it, on equal folds and seeds, clean and in noise.

A difference smaller than that between two seeds is none.  So each variant is trained with every seed, and differences are
taken seed by seed: mean and deviation of them, not of the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converter.calibration import Calibration
from converter.cross_validation import CrossValidation, cross_validate
from converter.examples import Examples
from converter.fitting import bag_logits, first_of_bags
from converter.noise_bank import noise_bank
from converter.recipes.base import Recipe
from converter.recipes.settings import RecipeSettings
from edge.inference.card_inputs import SamplesInput

CLEAN = "clean"
_CHANCE = 2.0
"""A mean difference counts from so many of its standard errors on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to set a recipe, and how it did."""

    name: str
    metric: str
    scores: dict[str, tuple[float, ...]]
    """One score a seed, by condition: ``clean``, ``6 dB`` …"""

    def difference(self, other: Variant, condition: str) -> tuple[float, float]:
        """Return mean and standard error over the seeds of this variant's score minus that of `other`."""
        values = np.array(self.scores[condition]) - np.array(other.scores[condition])
        error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
        return float(values.mean()), error


def compare(
    recipe: Recipe,
    variants: Sequence[tuple[str, RecipeSettings]],
    examples: Examples,
    seeds: Sequence[int],
    data: Path,
    *,
    stress_db: Sequence[float] = (),
    jobs: int = 1,
    told: Callable[[str], None] = lambda _: None,
) -> list[Variant]:
    """Return how each variant did; the metric is the first of the recipe's score.

    Parameters
    ----------
    recipe : Recipe
        What is learned.
    variants : sequence of (name, settings)
        The first is what the others are compared with.  Their settings of data must be equal: the examples are.
    examples : Examples
        Raw.
    seeds : sequence of int
        Each trains every fold of every variant.
    data : Path
        Where recorded noise is looked for.
    stress_db : sequence of float
        Signal-to-noise ratios at which the held-out windows are judged besides.
    jobs : int
        Processes.
    told : callable
        Called with a line for each network.
    """
    found = []
    for name, settings in variants:
        told(f"{name}:")
        rates_hz = [p.rate_hz for p in recipe.inputs(settings, examples) if isinstance(p, SamplesInput)]
        noise = noise_bank(settings.augment, data, rates_hz[0]) if rates_hz else {}
        done = cross_validate(
            recipe,
            settings,
            examples,
            seeds,
            noise=noise,
            jobs=jobs,
            stress_db=stress_db if rates_hz else (),
            told=told,
        )
        found.append(_variant(name, recipe, done, stress_db if rates_hz else ()))
    return found


def table(variants: Sequence[Variant]) -> str:
    """Return the comparison as Markdown: mean and deviation over the seeds, and what is more than chance."""
    first = variants[0]
    conditions = list(first.scores)
    lines = [
        f"| {first.metric} | " + " | ".join(conditions) + " |",
        "|" + " --- |" * (len(conditions) + 1),
    ]
    for variant in variants:
        cells = []
        for condition in conditions:
            values = np.array(variant.scores[condition])
            deviation = f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else ""
            cell = f"{values.mean():.4f}{deviation}"
            if variant is not first:
                mean, error = variant.difference(first, condition)
                is_real = abs(mean) > _CHANCE * error  # never of one seed, whose error is not known
                cell += f" ({mean:+.4f}{'' if is_real else ', within chance'})"
            cells.append(cell)
        lines.append(f"| {variant.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _variant(name: str, recipe: Recipe, done: CrossValidation, stress_db: Sequence[float]) -> Variant:
    metric = next(iter(done.metrics[done.seeds[0]]))
    scores = {CLEAN: tuple(done.metrics[seed][metric] for seed in done.seeds)}
    for level, snr_db in enumerate(stress_db):
        scores[f"{snr_db:g} dB"] = tuple(
            recipe.score(
                first_of_bags(done.examples.labels, done.examples.bags),
                Calibration().decide(bag_logits(_stressed(done, seed, level), done.examples.bags)),
                done.examples.classes,
            )[metric]
            for seed in done.seeds
        )
    return Variant(name=name, metric=metric, scores=scores)


def _stressed(done: CrossValidation, seed: int, level: int) -> NDArray[np.float32]:
    logits = np.zeros((len(done.examples), len(done.examples.classes)), np.float32)
    for run in done.runs:
        if run.seed == seed:
            logits[done.fold_of == run.fold] = run.stressed[level]
    return logits
