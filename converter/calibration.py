"""From logits to probabilities that can be believed, and to "cannot tell" where they cannot.

The device computes ``probabilities = softmax((logits + bias) / temperature)``, takes the class of the largest, and
abstains where that is below the class's threshold, where the energy of the logits is low or where too many features lie
outside the training population.  Everything here finds those numbers, from predictions for patients that the network
was not trained on (out-of-fold); numbers found on the training patients would promise too much.

References
----------
.. [1] Guo et al.: On Calibration of Modern Neural Networks. ICML 2017, arXiv:1706.04599 (temperature, ECE).
.. [2] Liu et al.: Energy-based Out-of-distribution Detection. NeurIPS 2020, arXiv:2010.03759.
.. [3] Geifman, El-Yaniv: Selective Classification for Deep Neural Networks. NeurIPS 2017, arXiv:1705.08500.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from scipy.stats import beta

Logits = NDArray[np.float32]
"""Shape (n, n_classes)."""
Labels = NDArray[np.int64]
Metric = Callable[[Labels, Labels], float]
"""True classes and decisions -> a number, the larger the better."""

_MOST_TEMPERATURE = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What stands between a network's logits and a decision."""

    temperature: float = 1.0
    bias: tuple[float, ...] = ()
    """Added to the logits, one a class; empty for none."""
    thresholds: tuple[float, ...] = ()
    """Least probability of each class's decision; empty for none."""
    min_energy: float | None = None
    """Least energy of the logits; None accepts any."""
    max_outside: float | None = None
    """Largest share of features outside their knots; None accepts any."""

    def probabilities(self, logits: Logits) -> NDArray[np.float64]:
        """Return the probability of each class, shape (n, n_classes)."""
        shifted = np.asarray(logits, dtype=np.float64) + (np.array(self.bias) if self.bias else 0.0)
        return softmax(shifted / self.temperature)

    def decide(self, logits: Logits, outside: NDArray[np.float64] | None = None) -> Labels:
        """Return the class of each row, -1 where it is to abstain.

        Parameters
        ----------
        logits : ndarray, shape (n, n_classes)
            As the network gives them.
        outside : ndarray, shape (n,), optional
            Share of each example's features outside their knots.
        """
        found = self.probabilities(logits)
        decided = found.argmax(axis=1).astype(np.int64)
        accepted = np.ones(len(decided), bool)
        if self.thresholds:
            accepted &= found.max(axis=1) >= np.array(self.thresholds)[decided]
        if self.min_energy is not None:
            accepted &= energy(logits) >= self.min_energy
        if self.max_outside is not None and outside is not None:
            accepted &= outside <= self.max_outside
        return np.where(accepted, decided, -1)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows that add up to 1."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), dtype=np.float64)


def energy(logits: Logits) -> NDArray[np.float64]:
    """Return ``log(sum(exp(logits)))`` of each row: low where the network has seen nothing alike [2]."""
    return np.asarray(logsumexp(np.asarray(logits, dtype=np.float64), axis=1), dtype=np.float64)


def log_loss(probabilities: NDArray[np.float64], labels: Labels, weights: NDArray[np.float32] | None = None) -> float:
    """Return the mean cross-entropy, in nats."""
    each = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12))
    return float(np.average(each, weights=weights))


def fit_temperature(
    logits: Logits,
    labels: Labels,
    *,
    bias: Sequence[float] = (),
    weights: NDArray[np.float32] | None = None,
) -> float:
    """Return the temperature with the least cross-entropy, between 1/20 and 20.

    Parameters
    ----------
    logits : ndarray, shape (n, n_classes)
        Of patients that the network was not trained on.
    labels : ndarray of int, shape (n,)
        Their classes; -1 is left out.
    bias : sequence of float
        Added to the logits first, one a class.
    weights : ndarray, shape (n,), optional
        How much each example counts.
    """
    known = labels >= 0
    if not known.any():
        return 1.0
    counted = None if weights is None else weights[known]

    def loss(log_temperature: float) -> float:
        calibration = Calibration(temperature=float(np.exp(log_temperature)), bias=tuple(bias))
        return log_loss(calibration.probabilities(logits[known]), labels[known], counted)

    limit = float(np.log(_MOST_TEMPERATURE))
    return float(np.exp(minimize_scalar(loss, bounds=(-limit, limit), method="bounded").x))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How often decisions of a certain confidence are right."""

    edges: NDArray[np.float64]
    """Of the bins of confidence, one more than bins."""
    n: NDArray[np.int64]
    confidence: NDArray[np.float64]
    """Mean of each bin, NaN where it is empty."""
    accuracy: NDArray[np.float64]
    """Share that is right, NaN where it is empty."""

    @property
    def expected_error(self) -> float:
        """Expected calibration error: mean distance of accuracy and confidence, by number in the bin [1]."""
        filled = self.n > 0
        distance = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float((distance * self.n[filled]).sum() / max(1, int(self.n.sum())))


def reliability(probabilities: NDArray[np.float64], labels: Labels, *, n_bins: int = 15) -> Reliability:
    """Return the reliability of decisions in bins of equal width; unlabelled examples are left out."""
    known = labels >= 0
    confidence = probabilities[known].max(axis=1)
    right = probabilities[known].argmax(axis=1) == labels[known]
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    bins = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, n_bins - 1)
    n = np.bincount(bins, minlength=n_bins).astype(np.int64)
    with np.errstate(invalid="ignore"):
        return Reliability(
            edges=edges,
            n=n,
            confidence=np.bincount(bins, weights=confidence, minlength=n_bins) / n,
            accuracy=np.bincount(bins, weights=right.astype(np.float64), minlength=n_bins) / n,
        )


def expected_calibration_error(probabilities: NDArray[np.float64], labels: Labels, *, n_bins: int = 15) -> float:
    """Return the mean distance between how sure decisions are and how often they are right."""
    return reliability(probabilities, labels, n_bins=n_bins).expected_error


def coverage_curve(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return what accepting only the surest decisions brings, shape (n, 2): coverage, error among accepted [3]."""
    order = np.argsort(-confidence, kind="stable")
    accepted = np.arange(1, len(order) + 1)
    errors = np.cumsum(~right[order])
    return np.stack([accepted / max(1, len(order)), errors / accepted], axis=1)


def class_thresholds(
    probabilities: NDArray[np.float64], labels: Labels, *, target_error: float, level: float = 0.9
) -> tuple[float, ...]:
    """Return for each class the lowest probability from which on its decisions err less often than `target_error`.

    The error is not the one counted but an upper limit of it (Clopper–Pearson, one-sided): ten right decisions of ten do
    not prove an error below 5 %.  A class that never gets there has the threshold at which the limit is lowest.

    Parameters
    ----------
    probabilities : ndarray, shape (n, n_classes)
        Calibrated, of patients not trained on.
    labels : ndarray of int, shape (n,)
        Their classes; -1 is left out.
    target_error : float
        Share of wrong decisions among accepted ones.
    level : float
        Confidence of the limit.
    """
    known = labels >= 0
    probabilities, labels = probabilities[known], labels[known]
    decided, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    found = []
    for index in range(probabilities.shape[1]):
        mine = decided == index
        order = np.argsort(-confidence[mine], kind="stable")
        sure = confidence[mine][order]
        n = np.arange(1, len(order) + 1)
        n_wrong = np.cumsum(labels[mine][order] != index)
        limits = np.asarray(beta.ppf(level, n_wrong + 1, np.maximum(n - n_wrong, 1e-9)))
        is_last = np.append(np.diff(sure) < 0, True)[: len(sure)]  # equal confidences are accepted together
        good = np.flatnonzero((limits <= target_error) & is_last)
        if not len(order):
            found.append(0.0)
        elif len(good):
            # All of them: no threshold at all, so that a slightly less sure one at the bed is no abstention.
            found.append(0.0 if good[-1] == len(order) - 1 else float(sure[good[-1]]))
        else:
            found.append(float(sure[int(np.argmin(np.where(is_last, limits, np.inf)))]))
    return tuple(found)


def lowest_energy(logits: Logits, *, share: float = 0.005) -> float:
    """Return the energy below which lie `share` of what the network was made for."""
    return float(np.quantile(energy(logits), share))


def most_outside(outside: NDArray[np.float64], *, share: float = 0.005) -> float:
    """Return the share of features outside their knots that `share` of held-out examples exceed."""
    return float(np.quantile(outside, 1.0 - share, method="higher"))


def outside_share(features: NDArray[np.float32], knots: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Return the share of each row's features that lie outside the first and last of their knots, shape (n,).

    As `edge.inference.predictor.Predictor.outside_ratio`: unknown ones are not outside.
    """
    low, high = (np.array([each[end] for each in knots]) for end in (0, -1))
    return np.asarray(((features < low) | (features > high)).mean(axis=1), dtype=np.float64)


def fit_bias(
    logits: Logits, labels: Labels, metric: Metric, *, reach: float = 2.0, rounds: int = 3, n_steps: int = 17
) -> tuple[float, ...]:
    """Return what added to the logits makes `metric` best: a search along one class after another.

    A network trained for the least cross-entropy knows nothing of F1; the bias moves its borders where the metric wants
    them.  Their mean is 0.  Tune it on other patients than it is judged on: see `nested_bias`.

    Parameters
    ----------
    logits, labels : ndarray
        Of patients not trained on; labels of -1 are left out.
    metric : callable
        Of labels and decisions.
    reach : float
        How far a bias may go either way.
    rounds, n_steps : int
        Times over all classes; values tried between minus and plus `reach`, which shrinks to a third every round.
    """
    known = labels >= 0
    logits, labels = logits[known], labels[known]
    n_classes = logits.shape[1]
    bias = np.zeros(n_classes)
    if not len(labels):
        return tuple(bias.tolist())
    best = metric(labels, logits.argmax(axis=1).astype(np.int64))
    for turn in range(rounds):
        for index in range(n_classes):
            start = bias[index]
            gains: list[tuple[float, float]] = []
            for step in np.linspace(-1.0, 1.0, n_steps) * reach / 3.0**turn:
                bias[index] = start + step
                gains.append((metric(labels, (logits + bias).argmax(axis=1).astype(np.int64)), bias[index]))
            top = max(gain for gain, _ in gains)
            # In the middle of the plateau: the border value would be the first to fail on other patients.
            tied = [value for gain, value in gains if gain >= top - 1e-12]
            bias[index] = tied[len(tied) // 2] if top > best + 1e-12 else start
            best = max(best, top)
    return tuple((bias - bias.mean()).tolist())


def nested_bias(
    logits: Logits, labels: Labels, fold_of: NDArray[np.int64], metric: Metric
) -> tuple[Labels, tuple[float, ...]]:
    """Return decisions whose bias was tuned on the other folds only, and the mean bias, which is the one to ship."""
    decided = np.full(len(labels), -1, np.int64)
    found = []
    for fold in np.unique(fold_of):
        mine = fold_of == fold
        bias = np.array(fit_bias(logits[~mine], labels[~mine], metric))
        decided[mine] = (logits[mine] + bias).argmax(axis=1)
        found.append(bias)
    return decided, tuple(np.mean(found, axis=0).tolist())
