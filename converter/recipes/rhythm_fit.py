"""How the rhythm network is fitted: on soft targets, and on mixtures of recordings.

A label is certain, a recording often is not.  So part of each target is what boosted trees say of the recording from its
features, trees that were grown on other recordings of the training part [1]_; and recordings are blended in pairs,
signal, features and targets alike [2]_.

References
----------
.. [1] Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network. 2015, arXiv:1503.02531.
.. [2] Zhang et al.: mixup: Beyond Empirical Risk Minimization. ICLR 2018, arXiv:1710.09412.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converter.examples import Examples
from converter.fitting import Change, FitSettings, Fitted, OnEpoch, class_weights
from converter.keras_backend import load_keras, load_tensorflow
from edge.errors import EdgeError

Floats = NDArray[np.float32]
Inputs = Mapping[str, Floats]

_N_INNER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Bags:
    """Where the windows of each recording stand, and what they shall be taken for."""

    order: NDArray[np.int64]
    """Examples, those of one recording together."""
    starts: NDArray[np.int64]
    """Place of each recording's first in `order`; one more at the end."""
    labels: NDArray[np.int64]
    targets: Floats
    """Shape (n_bags, n_classes)."""
    weights: Floats


def bags_of(train: Examples, settings: FitSettings) -> Bags:
    """Return the recordings of `train` with plain targets, smoothed as the settings say."""
    numbers = np.arange(len(train)) if train.bags is None else np.unique(train.bags, return_inverse=True)[1]
    order = np.argsort(numbers, kind="stable").astype(np.int64)
    starts = np.searchsorted(numbers[order], np.arange(int(numbers.max()) + 2)).astype(np.int64)
    first = order[starts[:-1]]
    labels, n_classes = train.labels[first], len(train.classes)
    plain = np.eye(n_classes, dtype=np.float32)[labels]
    smooth = settings.label_smoothing
    balance = class_weights(labels, n_classes, settings.balance_power)[labels]
    return Bags(
        order=order,
        starts=starts,
        labels=labels,
        targets=(plain * (1.0 - smooth) + smooth / n_classes).astype(np.float32),
        weights=(train.weights[first] * (balance if settings.balance == "weights" else 1.0)).astype(np.float32),
    )


def taught(bags: Bags, numbers: Floats, share: float, *, seed: int) -> Floats:
    """Return targets of which a share is what boosted trees say that never saw the recording.

    Parameters
    ----------
    bags : Bags
        The recordings.
    numbers : ndarray, shape (n_examples, n_features)
        Features; the last window of a recording has seen all of it.
    share : float
        Of the trees in the target.
    seed : int
        Of the division and the trees.

    Raises
    ------
    EdgeError
        If scikit-learn is not installed.
    """
    if not share:
        return bags.targets
    try:
        ensemble = importlib.import_module("sklearn.ensemble")
    except ImportError as error:
        raise EdgeError(f"teaching needs scikit-learn: {error}", hint="--set model.teacher_share=0.0") from error
    rows = numbers[bags.order[bags.starts[1:] - 1]]
    rng = np.random.default_rng(seed)
    fold_of = np.empty(len(rows), np.int64)
    for label in np.unique(bags.labels):
        mine = rng.permutation(np.flatnonzero(bags.labels == label))
        fold_of[mine] = np.arange(len(mine)) % _N_INNER
    told = np.zeros_like(bags.targets)
    for fold in range(_N_INNER):
        held = fold_of == fold
        trees = ensemble.HistGradientBoostingClassifier(
            max_iter=160, learning_rate=0.07, max_leaf_nodes=12, min_samples_leaf=15, l2_regularization=3.0,
            max_features=0.3, random_state=seed,
        )  # fmt: skip
        trees.fit(rows[~held], bags.labels[~held], sample_weight=bags.weights[~held])
        told[np.ix_(held, trees.classes_)] = trees.predict_proba(rows[held])
    return ((1.0 - share) * bags.targets + share * told).astype(np.float32)


def fit_bags(
    model: Any,
    train: Examples,
    bags: Bags,
    targets: Floats,
    settings: FitSettings,
    *,
    mixing: float,
    seed: int,
    change: Change,
    on_epoch: OnEpoch,
) -> Fitted:
    """Return `model` fitted to the mean logits of recordings.

    Parameters
    ----------
    model : keras.Model
        Fresh.
    train : Examples
        Scaled.
    bags, targets
        Its recordings and what they are to be taken for.
    settings : FitSettings
        ``bag_most`` windows are drawn from each recording, one from each part of it.
    mixing : float
        Both parameters of the beta distribution of the shares of two recordings; 0 mixes none.
    seed : int
        Of the order, the draw and the mixture.
    change : callable
        What augments a batch.
    on_epoch : callable
        Called after each epoch.
    """
    keras, tf = load_keras(), load_tensorflow()
    rng = np.random.default_rng(seed)
    n_batches = max(1, len(targets) // settings.batch_size)
    n_steps = settings.epochs * n_batches
    n_warm = max(1, round(settings.warm_up * n_steps))
    rate = keras.optimizers.schedules.CosineDecay(
        settings.learning_rate * 0.05, n_steps, alpha=0.01, warmup_target=settings.learning_rate, warmup_steps=n_warm
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay, clipnorm=settings.clip_norm or None)
    optimizer.build(model.trainable_variables)

    def graph(inputs: Any, target: Any, weight: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True)
            logits = tf.reduce_mean(tf.reshape(logits, (-1, settings.bag_most, target.shape[-1])), axis=1)
            loss = tf.reduce_mean(weight * tf.nn.softmax_cross_entropy_with_logits(target, logits))
            total = loss + tf.add_n(model.losses) if model.losses else loss
        optimizer.apply(tape.gradient(total, model.trainable_variables), model.trainable_variables)
        return loss

    step = tf.function(graph, reduce_retracing=True)
    losses: list[float] = []
    for epoch in range(1, settings.epochs + 1):
        found = []
        for inputs, target, weight in _batches(train, bags, targets, settings, mixing, rng, change):
            tensors = {name: tf.constant(values, tf.float32) for name, values in inputs.items()}
            found.append(float(step(tensors, tf.constant(target), tf.constant(weight))))
        losses.append(float(np.mean(found)))
        if not np.isfinite(losses[-1]):
            raise EdgeError(f"the loss is {losses[-1]} in epoch {epoch}", hint="lower fit.learning_rate")
        on_epoch(epoch, {"loss": losses[-1]})
    return Fitted(model=model, history={"loss": tuple(losses)}, best_epoch=settings.epochs)


def _batches(
    train: Examples,
    bags: Bags,
    targets: Floats,
    settings: FitSettings,
    mixing: float,
    rng: np.random.Generator,
    change: Change,
) -> Iterator[tuple[Inputs, Floats, Floats]]:
    """Yield an epoch: inputs with ``bag_most`` windows a recording, targets, weights."""
    n_drawn = settings.bag_most
    lengths = np.diff(bags.starts)
    units = rng.permutation(len(targets))
    size = min(settings.batch_size, len(units))
    for at in range(0, len(units) - size + 1, size):
        chosen = units[at : at + size]
        # One window from each part of a recording: a short one gives the same window more than once.
        part = (np.arange(n_drawn) + rng.random((size, n_drawn))) / n_drawn
        places = bags.starts[chosen][:, None] + np.floor(part * lengths[chosen][:, None]).astype(np.int64)
        members = bags.order[places.ravel()]
        inputs = change({name: values[members] for name, values in train.inputs.items()}, rng)
        target, weight = targets[chosen], bags.weights[chosen]
        if mixing:
            inputs, target, weight = _mixed(inputs, target, weight, mixing, n_drawn, rng)
        yield inputs, target, weight


def _mixed(
    inputs: Inputs, target: Floats, weight: Floats, mixing: float, n_drawn: int, rng: np.random.Generator
) -> tuple[Inputs, Floats, Floats]:
    """Return each recording blended with another of its batch, of which it keeps the larger share."""
    share = rng.beta(mixing, mixing, len(target))
    share = np.maximum(share, 1.0 - share).astype(np.float32)
    other = rng.permutation(len(target))
    windows = (other[:, None] * n_drawn + np.arange(n_drawn)).ravel()
    per_window = np.repeat(share, n_drawn)
    blended = {}
    for name, values in inputs.items():
        kept = per_window.reshape(-1, *[1] * (values.ndim - 1))
        blended[name] = (kept * values + (1.0 - kept) * values[windows]).astype(np.float32)
    rest = 1.0 - share
    blended_target = share[:, None] * target + rest[:, None] * target[other]
    blended_weight = share * weight + rest * weight[other]
    return blended, blended_target.astype(np.float32), blended_weight.astype(np.float32)
