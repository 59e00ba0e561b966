"""A recipe, trained: examples, cross-validation, calibration, the network that is shipped, and a report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from converter.augment import NoiseBank
from converter.calibration import (
    Calibration,
    class_thresholds,
    energy,
    fit_bias,
    fit_temperature,
    lowest_energy,
    most_outside,
)
from converter.cross_validation import CrossValidation, cross_validate, fit_on, metric_of
from converter.datasets.alerts import with_alerts
from converter.examples import Examples, save_examples, spread_sample
from converter.fitting import Fitted
from converter.inputs import Card, learn_inputs, scale
from converter.noise_bank import noise_bank
from converter.progress import epoch_line
from converter.recipes.base import Recipe
from converter.recipes.settings import RecipeSettings
from converter.report import write_report
from converter.trained import (
    EXAMPLES,
    FLOAT_TFLITE,
    MODEL,
    OUT_OF_FOLD,
    REPORT,
    REPRESENTATIVE,
    TFLITE,
    Trained,
    library_versions,
    write_trained,
)
from edge.errors import EdgeError
from edge.inference.card_inputs import FeaturesInput, SamplesInput

N_SAMPLE = 2000
"""Examples that are kept beside the network."""
MOST_SAMPLE_BYTES = 100_000_000
"""Of these examples together: pictures are large; 200 are kept all the same."""
N_SAMPLE_LEAST = 200
_N_QUANTILES = 33


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """One call of `train`."""

    data: Path
    out: Path
    seeds: Sequence[int] = (1,)
    """Each trains every fold; the shipped network is trained with the first."""
    is_cross_validated: bool = False
    """All folds are held out in turn; else one, which is enough to see whether a recipe works."""
    jobs: int = 1
    alerts: Path | None = None
    """Archive of alerts that clinicians have judged; None for none."""
    when_false: Mapping[str, str] = field(default_factory=dict)
    """What the windows of a false alert were, by what the model had called them."""
    alert_weight: float = 1.0
    """How much a window of a judged alert counts beside one of a recording."""


def train(
    recipe: Recipe, settings: RecipeSettings, job: TrainJob, *, told: Callable[[str], None] = lambda _: None
) -> Trained:
    """Train a recipe and write everything below ``job.out``.

    Parameters
    ----------
    recipe : Recipe
        What is learned.
    settings : RecipeSettings
        How.
    job : TrainJob
        From which data, with which seeds, whereto.
    told : callable
        Called with a line for each step.

    Raises
    ------
    EdgeError
        If there is nothing to learn from, or TensorFlow is not installed.
    """
    begun = time.monotonic()
    examples = recipe.examples(job.data, settings, jobs=job.jobs)
    if job.alerts is not None:
        n_before = len(examples.labelled())
        examples = with_alerts(
            examples,
            job.alerts,
            recipe.inputs(settings, examples),
            recipe.task,
            when_false=job.when_false,
            weight=job.alert_weight,
        )
        told(f"{len(examples.labelled()) - n_before} windows of judged alerts")
    known = examples.labelled()
    _require_enough(known, settings.validation.n_folds)
    if settings.validation.bias_metric:
        metric_of(
            recipe, settings.validation.bias_metric, known.classes
        )  # a wrong name is told before hours of training
    n_groups = len(np.unique(known.groups))
    told(f"{len(known)} examples of {n_groups} patients: " + _counted(known.counts()))
    plans = recipe.inputs(settings, known)
    rates_hz = [plan.rate_hz for plan in plans if isinstance(plan, SamplesInput)]
    noise = noise_bank(settings.augment, job.data, rates_hz[0]) if rates_hz else {}
    judged = cross_validate(
        recipe,
        settings,
        known,
        job.seeds,
        noise=noise,
        jobs=job.jobs,
        n_held=None if job.is_cross_validated else 1,
        told=told,
    )
    calibration = calibrate(recipe, settings, judged)
    cards = learn_inputs(plans, known)
    told("the network that is kept, on all examples")
    fitted = _fit_all(recipe, settings, scale(known, cards), job.seeds[0], judged, noise)
    trained = _facts(recipe, settings, known, cards, judged, calibration, time.monotonic() - begun)
    _write(job.out, trained, fitted, known, cards, judged)
    write_report(job.out / REPORT, trained, judged, fitted)
    return trained


def calibrate(recipe: Recipe, settings: RecipeSettings, judged: CrossValidation) -> Calibration:
    """Return temperature, biases and limits of abstention, from the out-of-fold predictions of all seeds.

    Limits are those of single networks: the mean of several would be surer than the one that is shipped.
    """
    units = [judged.judged(seed) for seed in judged.seeds]
    logits = np.concatenate([unit.logits for unit in units])
    labels = np.concatenate([unit.labels for unit in units])
    weights = np.concatenate([unit.weights for unit in units])
    bias: tuple[float, ...] = ()
    if settings.validation.bias_metric:
        metric = metric_of(recipe, settings.validation.bias_metric, judged.examples.classes)
        bias = fit_bias(logits, labels, metric)
    temperature = fit_temperature(logits, labels, bias=bias, weights=weights)
    plain = Calibration(temperature=temperature, bias=bias)
    return replace(
        plain,
        thresholds=class_thresholds(plain.probabilities(logits), labels, target_error=settings.validation.target_error),
        min_energy=lowest_energy(logits),
        max_outside=most_outside(judged.outside) if judged.outside.any() else None,
    )


def _fit_all(
    recipe: Recipe,
    settings: RecipeSettings,
    scaled: Examples,
    seed: int,
    judged: CrossValidation,
    noise: NoiseBank,
) -> Fitted:
    """Return the network that is kept: all patients train it, for as many epochs as were best when some were held."""
    if settings.validation.stop_ratio:
        settings = replace(settings, fit=replace(settings.fit, epochs=judged.best_epoch))
    line = epoch_line("all patients", settings.fit.epochs)
    return fit_on(recipe, settings, scaled, seed=seed, noise=noise, is_stopped=False, on_epoch=line)


def _facts(
    recipe: Recipe,
    settings: RecipeSettings,
    examples: Examples,
    cards: tuple[Card, ...],
    judged: CrossValidation,
    calibration: Calibration,
    duration_s: float,
) -> Trained:
    spread = judged.spread()
    units = [judged.judged(seed) for seed in judged.seeds]
    logits = np.concatenate([unit.logits for unit in units])
    likeliest = replace(calibration, thresholds=(), min_energy=None, max_outside=None).decide(logits)
    shares = np.bincount(likeliest, minlength=len(examples.classes)) / len(likeliest)
    return Trained(
        recipe=recipe.name,
        task=recipe.task,
        classes=examples.classes,
        inputs=cards,
        calibration=calibration,
        card=recipe.card(settings),
        metrics={name: mean for name, (mean, _) in spread.items()},
        spread={name: deviation for name, (_, deviation) in spread.items()},
        n_examples=examples.counts(),
        n_groups=len(np.unique(examples.groups)),
        seeds=tuple(judged.seeds),
        n_folds=len({run.fold for run in judged.runs}),
        label_shares=dict(zip(examples.classes, shares.tolist(), strict=True)),
        abstained=float((calibration.decide(logits) < 0).mean()),
        energy_quantiles=tuple(np.quantile(energy(logits), np.linspace(0, 1, _N_QUANTILES)).tolist()),
        outside_mean=float(judged.outside.mean()) if any(isinstance(card, FeaturesInput) for card in cards) else None,
        n_judged=len(logits),
        settings=settings.as_json(),
        versions=library_versions(),
        created=datetime.now(UTC).date(),
        duration_s=round(duration_s, 1),
    )


def _write(
    out: Path,
    trained: Trained,
    fitted: Fitted,
    examples: Examples,
    cards: tuple[Card, ...],
    judged: CrossValidation,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    fitted.model.save(out / MODEL)
    for stale in (TFLITE, FLOAT_TFLITE):
        (out / stale).unlink(missing_ok=True)  # of an earlier network: bundled with this one's card it would lie
    n_bytes = sum(values[0].nbytes for values in examples.inputs.values())
    n_sample = min(N_SAMPLE, max(N_SAMPLE_LEAST, MOST_SAMPLE_BYTES // n_bytes))
    sample = spread_sample(examples, n_sample, seed=trained.seeds[0])
    save_examples(out / EXAMPLES, sample)
    save_examples(out / REPRESENTATIVE, scale(sample, cards))
    units = [judged.judged(seed) for seed in judged.seeds]
    with (out / OUT_OF_FOLD).open("wb") as file:
        np.savez_compressed(
            file,
            labels=units[0].labels,
            groups=units[0].groups,
            folds=units[0].fold_of,
            seeds=np.array(judged.seeds),
            logits=np.stack([unit.logits for unit in units]),
        )
    write_trained(out, trained)


def _require_enough(examples: Examples, n_folds: int) -> None:
    present = [name for name, n in examples.counts().items() if n]
    if len(present) < 2:
        raise EdgeError(
            f"expected labelled examples of at least two classes, got {_counted(examples.counts())}",
            hint="look at --data and at the recipe's settings under [data]",
        )
    n_groups = len(np.unique(examples.groups))
    if n_groups < n_folds:
        raise EdgeError(
            f"expected at least {n_folds} patients for {n_folds} folds, got {n_groups}",
            hint="more recordings, or --set validation.n_folds=2",
        )


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())
