"""Every patient judged by networks that never saw him: out-of-fold predictions over folds and seeds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from converter.augment import NOISE_KINDS, NoiseBank, add_noise, synthetic_noise
from converter.calibration import Calibration, nested_bias, outside_share
from converter.examples import Examples
from converter.fitting import Fitted, OnEpoch, bag_logits, first_of_bags
from converter.folds import group_folds, stop_split
from converter.inputs import Card, learn_inputs, scale
from converter.progress import epoch_line, progress
from converter.recipes.base import Fold, Recipe
from converter.recipes.settings import RecipeSettings
from edge.errors import EdgeError
from edge.inference.card_inputs import FeaturesInput, SamplesInput

_STRESS_SEED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldRun:
    """One network, and what it says of the patients it never saw."""

    seed: int
    fold: int
    logits: NDArray[np.float32]
    """Of the examples held out, in their order."""
    outside: NDArray[np.float64]
    """Share of each of these examples' features outside the knots."""
    history: Mapping[str, tuple[float, ...]]
    best_epoch: int
    stressed: tuple[NDArray[np.float32], ...] = ()
    """Logits of the same examples with noise in their samples, one for each level that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidation:
    """Out-of-fold predictions, and what they are worth."""

    examples: Examples
    """With raw inputs, every one labelled."""
    fold_of: NDArray[np.int64]
    """Fold in which each example was held out."""
    runs: tuple[FoldRun, ...]
    logits: Mapping[int, NDArray[np.float32]]
    """By seed: of every example, shape (n, n_classes)."""
    outside: NDArray[np.float64]
    """Of every example, shape (n,)."""
    metrics: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    """By seed: the recipe's score of plain decisions, or of biased ones where a bias is tuned."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, ascending."""
        return tuple(sorted(self.logits))

    @property
    def best_epoch(self) -> int:
        """Median of the epochs after which the networks were best."""
        return max(1, round(float(np.median([run.best_epoch for run in self.runs]))))

    def spread(self) -> dict[str, tuple[float, float]]:
        """Return mean and standard deviation over the seeds of each metric; the deviation of one seed is 0."""
        names = next(iter(self.metrics.values()), {})
        found = {}
        for name in names:
            values = np.array([self.metrics[seed][name] for seed in self.seeds])
            found[name] = (float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0)
        return found

    def judged(self, seed: int) -> Judged:
        """Return what is judged of one seed: the bags where there are bags, else the examples."""
        bags = self.examples.bags
        return Judged(
            logits=bag_logits(self.logits[seed], bags),
            labels=first_of_bags(self.examples.labels, bags),
            groups=first_of_bags(self.examples.groups, bags),
            fold_of=first_of_bags(self.fold_of, bags),
            weights=first_of_bags(self.examples.weights, bags),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Predictions and truth of the units that a result counts: examples, or bags of them."""

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    fold_of: NDArray[np.int64]
    weights: NDArray[np.float32]


def cross_validate(
    recipe: Recipe,
    settings: RecipeSettings,
    examples: Examples,
    seeds: Sequence[int],
    *,
    noise: NoiseBank,
    jobs: int = 1,
    n_held: int | None = None,
    stress_db: Sequence[float] = (),
    told: Callable[[str], None] | None = None,
) -> CrossValidation:
    """Return the predictions for every labelled example by networks trained on other patients.

    Parameters
    ----------
    recipe : Recipe
        A recipe of a module; in more than one process it is pickled.
    settings : RecipeSettings
        Of the recipe.
    examples : Examples
        Raw; those without a label are left out.
    seeds : sequence of int
        Each trains every fold once; the folds are the same for all.
    noise : NoiseBank
        For the augmentation.
    jobs : int
        Processes, each with its own TensorFlow.
    n_held : int, optional
        So many of the folds are held out, and only their examples are judged; all by default.
    stress_db : sequence of float
        Signal-to-noise ratios at which the held-out examples are judged once more (`FoldRun.stressed`).
    told : callable, optional
        Called with a line for each network that is ready.
    """
    examples = examples.labelled()
    masks = group_folds(examples, settings.validation.n_folds, seed=settings.validation.fold_seed)
    work = [(seed, fold) for seed in seeds for fold in range(len(masks))[:n_held]]
    runs = []
    job = _Job(recipe, settings, examples, masks, noise, tuple(stress_db))
    for run in progress(_runs(job, work, jobs), total=len(work), what="networks"):
        runs.append(run)
        if told is not None:
            last = ", ".join(f"{name} {values[-1]:.4f}" for name, values in run.history.items())
            told(f"seed {run.seed} fold {run.fold + 1}/{len(masks)}: {last}")
    n_classes = len(examples.classes)
    logits = {seed: np.zeros((len(examples), n_classes), np.float32) for seed in seeds}
    outside = np.zeros(len(examples))
    for run in runs:
        logits[run.seed][masks[run.fold]] = run.logits
        outside[masks[run.fold]] = run.outside
    judged = np.any(masks[:n_held], axis=0)
    done = CrossValidation(
        examples=examples.select(judged),
        fold_of=np.stack(masks).argmax(axis=0).astype(np.int64)[judged],
        runs=tuple(runs),
        logits={seed: values[judged] for seed, values in logits.items()},
        outside=outside[judged],
    )
    return replace(done, metrics={seed: _score(recipe, settings, done, seed) for seed in seeds})


def metric_of(recipe: Recipe, name: str, classes: tuple[str, ...]) -> Callable[..., float]:
    """Return one metric of the recipe's score as a function of labels and decisions.

    Raises
    ------
    EdgeError
        If the recipe has no such metric.
    """
    known = recipe.score(np.zeros(1, np.int64), np.zeros(1, np.int64), classes)
    if name not in known:
        raise EdgeError(f"validation.bias_metric: expected one of {', '.join(known)}; got {name!r}")
    return lambda labels, decided: recipe.score(labels, decided, classes)[name]


@dataclass(frozen=True, slots=True)
class _Job:
    """What all networks of one cross-validation share."""

    recipe: Recipe
    settings: RecipeSettings
    examples: Examples
    masks: list[NDArray[np.bool_]]
    noise: NoiseBank
    stress_db: tuple[float, ...]


def _run_fold(job: _Job, seed: int, fold: int, on_epoch: OnEpoch | None = None) -> FoldRun:
    """Return the predictions for the examples that a fold holds out by a network trained on the others."""
    plans = job.recipe.inputs(job.settings, job.examples)
    held = job.masks[fold]
    train, test = job.examples.select(~held), job.examples.select(held)
    cards = learn_inputs(plans, train)
    fitted = fit_on(job.recipe, job.settings, scale(train, cards), seed=seed, noise=job.noise, on_epoch=on_epoch)
    return FoldRun(
        seed=seed,
        fold=fold,
        logits=job.recipe.predict(fitted, scale(test, cards).inputs),
        outside=outside_of(test, cards),
        history=fitted.history,
        best_epoch=fitted.best_epoch,
        stressed=tuple(
            job.recipe.predict(fitted, scale(with_noise(test, cards, snr_db, fold), cards).inputs)
            for snr_db in job.stress_db
        ),
    )


def with_noise(examples: Examples, cards: Sequence[Card], snr_db: float, seed: int) -> Examples:
    """Return raw examples with synthetic noise of all kinds in their samples; the features are left as they were.

    The noise is another than the one of training, and the same for every network that is judged by it.
    """
    changed = dict(examples.inputs)
    for card in cards:
        if isinstance(card, SamplesInput):
            rng = np.random.default_rng([_STRESS_SEED, seed])
            bank = synthetic_noise(card.rate_hz, seed=_STRESS_SEED)
            kinds = rng.choice(np.array(NOISE_KINDS), len(examples))
            levels = np.full(len(examples), snr_db)
            changed[card.name] = add_noise(changed[card.name], bank, kinds, levels, rng)
    return examples.with_inputs(changed)


def outside_of(examples: Examples, cards: Sequence[Card]) -> NDArray[np.float64]:
    """Return the share of each raw example's features, of all its inputs, outside the training population."""
    inputs = [card for card in cards if isinstance(card, FeaturesInput)]
    if not inputs:
        return np.zeros(len(examples))
    columns = np.concatenate([examples.inputs[card.name] for card in inputs], axis=1)
    return outside_share(columns, [each.knots for card in inputs for each in card.features])


def fit_on(
    recipe: Recipe,
    settings: RecipeSettings,
    scaled: Examples,
    *,
    seed: int,
    noise: NoiseBank,
    is_stopped: bool = True,
    on_epoch: OnEpoch | None = None,
) -> Fitted:
    """Return a network fitted to scaled examples, some of whose patients may decide when to stop."""
    stop = stop_split(scaled, settings.validation.stop_ratio, seed=seed) if is_stopped else None
    fold = Fold(
        train=scaled if stop is None else scaled.select(~stop),
        held=None if stop is None else scaled.select(stop),
        seed=seed,
        inputs=recipe.inputs(settings, scaled),
        noise=noise,
    )
    return recipe.fit(settings, fold if on_epoch is None else replace(fold, on_epoch=on_epoch))


def _score(recipe: Recipe, settings: RecipeSettings, done: CrossValidation, seed: int) -> dict[str, float]:
    judged = done.judged(seed)
    name = settings.validation.bias_metric
    if name and len(np.unique(judged.fold_of)) > 1:
        metric = metric_of(recipe, name, done.examples.classes)
        decided, _ = nested_bias(judged.logits, judged.labels, judged.fold_of, metric)
    else:
        decided = Calibration().decide(judged.logits)
    return recipe.score(judged.labels, decided, done.examples.classes)


def _runs(job: _Job, work: list[tuple[int, int]], jobs: int) -> Iterator[FoldRun]:
    jobs = jobs if jobs > 0 else os.cpu_count() or 1
    if jobs == 1:
        for seed, fold in work:
            line = epoch_line(f"seed {seed} fold {fold + 1}/{len(job.masks)}", job.settings.fit.epochs)
            yield _run_fold(job, seed, fold, line)
        return
    try:
        from joblib import Parallel, delayed
    except ImportError as error:
        raise EdgeError(f"training in {jobs} processes needs joblib: {error}", hint="--jobs 1") from error
    yield from Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_in_process)(job, seed, fold) for seed, fold in work
    )


def _in_process(job: _Job, seed: int, fold: int) -> FoldRun:
    """`_run_fold` in a process of its own; TensorFlow takes one thread, because its neighbours want the others."""
    for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    return _run_fold(job, seed, fold)
