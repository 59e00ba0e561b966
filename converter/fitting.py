"""One network, fitted: weighted loss over examples or bags, early stopping, noise-robust and adversarial training.

The loop is written out rather than left to ``keras.Model.fit`` because two things are needed that it does not have: a
loss on the mean logit of a bag (the windows of one record, whose label is that of the record), and a step in the
direction that hurts most (FGSM).

References
----------
.. [1] Goodfellow, Shlens, Szegedy: Explaining and Harnessing Adversarial Examples. ICLR 2015, arXiv:1412.6572.
.. [2] Loshchilov, Hutter: Decoupled Weight Decay Regularization. ICLR 2019, arXiv:1711.05101.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from converter.examples import Examples
from converter.keras_backend import load_keras, load_tensorflow
from edge.errors import EdgeError

Inputs = Mapping[str, NDArray[np.float32]]
Change = Callable[[Inputs, np.random.Generator], Inputs]
OnEpoch = Callable[[int, Mapping[str, float]], None]

_PREDICT_BATCH = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """How a network is fitted."""

    epochs: int = 30
    """Times that every example is seen, at most."""
    batch_size: int = 64
    """Examples (or bags) in one step."""
    bag_most: int = 6
    """Examples of one bag that are drawn for a step; all of them count when the bag is judged."""
    learning_rate: float = 1e-3
    """Of AdamW at its highest; it rises over `warm_up` and falls to nothing as half a cosine."""
    warm_up: float = 0.05
    """Share of the steps in which the rate rises."""
    weight_decay: float = 1e-4
    """Of AdamW."""
    label_smoothing: float = 0.0
    """Share of each target that is spread over all classes."""
    balance: Literal["none", "weights", "sampling"] = "none"
    """Against rare classes: count them more in the loss, or draw them more often."""
    balance_power: float = 0.5
    """How far: a class of a share p counts p ** -power; 1 makes all classes equal, 0.5 goes half the way."""
    clip_norm: float = 1.0
    """Largest norm of a step's gradient; 0 for any."""
    patience: int = 0
    """Epochs without a better loss on the held patients until training stops; 0 for all epochs.  The best epoch's
    weights are kept.  Only where there are held patients (``validation.stop_ratio``)."""
    average_decay: float = 0.0
    """Weights are averaged over the steps with this memory, 0.99 for the last 100 or so; 0 for none."""
    adversarial_step: float = 0.0
    """FGSM [1]: how far each sample (of inputs of three axes or more) is moved, in its own unit; 0 for none."""
    adversarial_share: float = 0.5
    """Share of the loss on the moved samples."""

    def __post_init__(self) -> None:
        counts = (self.epochs, self.batch_size, self.bag_most)
        if min(counts) < 1 or not self.learning_rate > 0 or self.patience < 0 or self.clip_norm < 0:
            raise ValueError(f"expected epochs, batch_size, bag_most >= 1 and learning_rate > 0, got {self}")
        shares = (self.warm_up, self.label_smoothing, self.average_decay, self.adversarial_share)
        if not all(0 <= share < 1 for share in shares) or min(self.adversarial_step, self.weight_decay) < 0:
            raise ValueError(
                "expected warm_up, label_smoothing, average_decay, adversarial_share from 0 to below 1, "
                f"adversarial_step and weight_decay >= 0, got {self}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A trained network and how it came about."""

    model: Any
    """A keras model that gives logits; what is saved, quantized and shipped."""
    history: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Figures by name, one an epoch: ``loss``, ``held_loss``, ``held_accuracy``."""
    best_epoch: int = 0
    """Epoch, from 1, whose weights it has."""


def fit_network(
    model: Any,
    train: Examples,
    held: Examples | None,
    settings: FitSettings,
    *,
    seed: int,
    change: Change | None = None,
    on_epoch: OnEpoch | None = None,
) -> Fitted:
    """Return `model` fitted to `train`.

    Parameters
    ----------
    model : keras.Model
        Fresh; its inputs are named as those of the examples, its one output is the logits.
    train : Examples
        Scaled; examples without a label are left out.
    held : Examples or None
        Of other patients, to stop by.
    settings : FitSettings
        How.
    seed : int
        Of the order, the balance and `change`.  Set keras' own seed before the model is built (`set_seed`).
    change : callable, optional
        What augments a batch.
    on_epoch : callable, optional
        Called after each epoch.

    Raises
    ------
    EdgeError
        If nothing is labelled, or the loss ceases to be a number.
    """
    train = train.labelled()
    if not len(train):
        raise EdgeError("expected examples with labels to train on, got none")
    rng = np.random.default_rng(seed)
    batches = _Batches(train, settings)
    step = _Step(model, settings, n_steps=settings.epochs * batches.n_batches)
    history: dict[str, list[float]] = {}
    best_loss, best_epoch, best_weights = np.inf, settings.epochs, None
    for epoch in range(1, settings.epochs + 1):
        figures = {"loss": _mean([step.run(batch, change, rng) for batch in batches.draw(rng)])}
        if not np.isfinite(figures["loss"]):
            raise EdgeError(
                f"the loss is {figures['loss']} in epoch {epoch}",
                hint="lower fit.learning_rate, or look for wrong inputs",
            )
        if held is not None:
            figures |= _judged(model, held.labelled(), step)
            if figures["held_loss"] < best_loss:
                best_loss, best_epoch = figures["held_loss"], epoch
                best_weights = step.weights() if settings.patience else None
        for name, value in figures.items():
            history.setdefault(name, []).append(value)
        if on_epoch is not None:
            on_epoch(epoch, figures)
        if held is not None and settings.patience and epoch - best_epoch >= settings.patience:
            break
    model.set_weights(step.weights() if best_weights is None else best_weights)
    return Fitted(
        model=model,
        history={name: tuple(values) for name, values in history.items()},
        best_epoch=best_epoch if best_weights is not None else len(history["loss"]),
    )


def predict_logits(model: Any, inputs: Inputs) -> NDArray[np.float32]:
    """Return what a keras model says of scaled inputs, shape (n, n_classes)."""
    n = len(next(iter(inputs.values())))
    parts = []
    for at in range(0, n, _PREDICT_BATCH):
        batch = {name: values[at : at + _PREDICT_BATCH] for name, values in inputs.items()}
        parts.append(np.asarray(model(_arranged(model, batch), training=False)))
    return np.concatenate(parts).astype(np.float32) if parts else np.empty((0, 0), np.float32)


def set_seed(seed: int) -> None:
    """Make everything random that keras, TensorFlow, numpy and Python draw from now on follow from `seed`."""
    keras = load_keras()
    keras.utils.set_random_seed(seed)
    load_tensorflow().config.experimental.enable_op_determinism()


def bag_logits(logits: NDArray[np.float32], bags: NDArray[np.int64] | None) -> NDArray[np.float32]:
    """Return the mean logits of every bag, in the order of their numbers; without bags, the logits as they are."""
    if bags is None:
        return logits
    numbers, codes = np.unique(bags, return_inverse=True)
    total = np.zeros((len(numbers), logits.shape[1]), np.float64)
    np.add.at(total, codes, logits)
    return np.asarray(total / np.bincount(codes)[:, None], dtype=np.float32)


def first_of_bags(values: NDArray[Any], bags: NDArray[np.int64] | None) -> NDArray[Any]:
    """Return the label, group or weight of every bag (that of its first example), in the order of their numbers."""
    return values if bags is None else values[np.unique(bags, return_index=True)[1]]


def class_weights(labels: NDArray[np.int64], n_classes: int, power: float) -> NDArray[np.float32]:
    """Return a weight for each class, ``share ** -power``, with a mean of 1 over the examples; 0 for an absent class."""
    shares = np.bincount(labels, minlength=n_classes) / max(1, len(labels))
    weights = np.where(shares > 0, np.maximum(shares, 1e-12) ** -power, 0.0)
    return np.asarray(weights / (weights * shares).sum(), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class _Batch:
    inputs: Inputs
    bags: NDArray[np.int32]
    """Place of each example's bag in `labels`."""
    labels: NDArray[np.int64]
    weights: NDArray[np.float32]


class _Batches:
    """Draws the batches of an epoch; a unit is a bag, or an example where there are no bags."""

    def __init__(self, train: Examples, settings: FitSettings) -> None:
        self._train = train
        self._settings = settings
        n = len(train)
        bags = np.arange(n) if train.bags is None else np.unique(train.bags, return_inverse=True)[1]
        self._order = np.argsort(bags, kind="stable")
        self._starts = np.searchsorted(bags[self._order], np.arange(bags.max() + 2))
        first = self._order[self._starts[:-1]]
        self._labels, weights = train.labels[first], train.weights[first].astype(np.float64)
        balance = class_weights(self._labels, len(train.classes), settings.balance_power)[self._labels]
        self._weights = weights * (balance if settings.balance == "weights" else 1.0)
        self._odds = balance / balance.sum() if settings.balance == "sampling" else None
        self.n_batches = -(-len(self._labels) // settings.batch_size)

    def draw(self, rng: np.random.Generator) -> Iterator[_Batch]:
        """Yield the batches of one epoch."""
        n = len(self._labels)
        units = rng.permutation(n) if self._odds is None else rng.choice(n, n, p=self._odds)
        for at in range(0, n, self._settings.batch_size):
            yield self._batch(units[at : at + self._settings.batch_size], rng)

    def _batch(self, units: NDArray[np.int64], rng: np.random.Generator) -> _Batch:
        if self._train.bags is None:
            members, places = self._order[self._starts[units]], np.arange(len(units))
        else:
            drawn = []
            for unit in units:
                of_bag = self._order[self._starts[unit] : self._starts[unit + 1]]
                most = self._settings.bag_most
                drawn.append(of_bag if len(of_bag) <= most else rng.choice(of_bag, most, replace=False))
            members = np.concatenate(drawn)
            places = np.repeat(np.arange(len(units)), [len(each) for each in drawn])
        inputs = {name: values[members] for name, values in self._train.inputs.items()}
        return _Batch(inputs, places.astype(np.int32), self._labels[units], self._weights[units].astype(np.float32))


class _Step:
    """One step of AdamW, compiled once."""

    def __init__(self, model: Any, settings: FitSettings, *, n_steps: int) -> None:
        keras, tf = load_keras(), load_tensorflow()
        n_warm = max(1, round(settings.warm_up * n_steps))
        rate = keras.optimizers.schedules.CosineDecay(
            settings.learning_rate * 0.01, max(1, n_steps - n_warm), warmup_target=settings.learning_rate,
            warmup_steps=n_warm,
        )  # fmt: skip
        self._tf = tf
        self._model = model
        self._settings = settings
        self._optimizer = keras.optimizers.AdamW(
            rate, weight_decay=settings.weight_decay, global_clipnorm=settings.clip_norm or None
        )
        self._optimizer.build(model.trainable_variables)
        self._average: list[NDArray[np.float32]] | None = None
        self._n_done = 0
        self._run = tf.function(self._graph, reduce_retracing=True)

    def run(self, batch: _Batch, change: Change | None, rng: np.random.Generator) -> float:
        """Return the loss of a batch before the step it led to."""
        inputs = batch.inputs if change is None else change(batch.inputs, rng)
        tensors = {name: self._tf.constant(values) for name, values in inputs.items()}
        loss = float(self._run(tensors, batch.bags, batch.labels, batch.weights))
        self._n_done += 1
        if self._settings.average_decay:
            self._remember()
        return loss

    def weights(self) -> list[NDArray[np.float32]]:
        """Return the weights so far, averaged where the settings say so."""
        current: list[NDArray[np.float32]] = self._model.get_weights()
        return current if self._average is None else [each.copy() for each in self._average]

    def loss(self, logits: NDArray[np.float32], labels: NDArray[np.int64], weights: NDArray[np.float32]) -> float:
        """Return the weighted cross-entropy of logits that are at hand."""
        shifted = logits - logits.max(axis=1, keepdims=True)
        each = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
        return float((each * weights).sum() / max(float(weights.sum()), 1e-12))

    def _remember(self) -> None:
        # Early steps get a shorter memory, so that the first weights do not weigh on the mean.
        decay = min(self._settings.average_decay, self._n_done / (self._n_done + 10.0))
        current: list[NDArray[np.float32]] = self._model.get_weights()
        if self._average is None:
            self._average = [each.copy() for each in current]
            return
        for mean, new in zip(self._average, current, strict=True):
            np.add(mean, (1.0 - decay) * (new - mean), out=mean)

    def _graph(self, inputs: Any, bags: Any, labels: Any, weights: Any) -> Any:
        tf, settings = self._tf, self._settings
        attacked = {name: value for name, value in inputs.items() if len(value.shape) >= 3}
        with tf.GradientTape() as tape:
            if settings.adversarial_step and attacked:
                with tf.GradientTape(watch_accessed_variables=False) as inner:
                    inner.watch(attacked)
                    loss = self._loss(inputs, bags, labels, weights)
                slopes = inner.gradient(loss, attacked)
                moved = {
                    name: tf.stop_gradient(value + settings.adversarial_step * tf.sign(slopes[name]))
                    for name, value in attacked.items()
                }
                share = settings.adversarial_share
                loss = (1.0 - share) * loss + share * self._loss({**inputs, **moved}, bags, labels, weights)
            else:
                loss = self._loss(inputs, bags, labels, weights)
            total = loss + tf.add_n(self._model.losses) if self._model.losses else loss
        gradients = tape.gradient(total, self._model.trainable_variables)
        self._optimizer.apply(gradients, self._model.trainable_variables)
        return loss

    def _loss(self, inputs: Any, bags: Any, labels: Any, weights: Any) -> Any:
        tf = self._tf
        logits = tf.math.segment_mean(self._model(_arranged(self._model, inputs), training=True), bags)
        n_classes = logits.shape[-1]
        target = tf.one_hot(labels, n_classes)
        smooth = self._settings.label_smoothing
        target = target * (1.0 - smooth) + smooth / n_classes
        each = tf.nn.softmax_cross_entropy_with_logits(target, logits)
        return tf.reduce_sum(each * weights) / tf.maximum(tf.reduce_sum(weights), 1e-6)


def _judged(model: Any, held: Examples, step: _Step) -> dict[str, float]:
    """Return the loss and accuracy of the held examples, judged with the weights that would be kept."""
    now = model.get_weights()
    model.set_weights(step.weights())
    logits = bag_logits(predict_logits(model, held.inputs), held.bags)
    model.set_weights(now)
    labels = first_of_bags(held.labels, held.bags)
    weights = first_of_bags(held.weights, held.bags)
    return {
        "held_loss": step.loss(logits, labels, weights),
        "held_accuracy": float((logits.argmax(axis=1) == labels).mean()),
    }


def _arranged(model: Any, inputs: Mapping[str, Any]) -> Any:
    """Return inputs by name in the structure that the model was built with: one, a list or a mapping."""
    return load_keras().tree.map_structure(lambda tensor: inputs[tensor.name], model.input)


def _mean(values: list[float]) -> float:
    return float(np.mean(values))
