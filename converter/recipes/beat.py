"""The AAMI class of one beat: normal, supraventricular, ventricular or fusion, from one lead and what is known of the patient.

::

    beat (144, 2) ─▶ convolutions ─▶ hidden ──────────────▶ N, V, F ─┐
    shape  ─▶ ridge regression, ventricular against the rest ─▶ V ───┼─▶ logits N S V F
    timing ─▶ ridge regression, supraventricular or normal ─▶ N, S ──┘

A supraventricular beat is a normal beat that comes early, so what the curve says of N is divided between N and S by the
intervals and the P wave alone; the convolutions, which would learn the few patients with S beats by heart, have no say in that.  Both regressions are
solved exactly; the convolutions are trained by themselves, and the logits of both are averaged.  All of it becomes one
network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from converter.augment import augment
from converter.datasets.recordings import WindowTensors, beat_examples
from converter.examples import Examples
from converter.fitting import Fitted, set_seed
from converter.keras_backend import load_keras
from converter.recipes.base import Fold, InputPlan, Recipe
from converter.recipes.settings import RecipeSettings
from converter.scoring import confusion
from edge.ecg_chain import EcgChainSettings
from edge.features.beat_windows import BeatWindows, BeatWindowsSettings
from edge.inference.card_inputs import FeatureCard, FeaturesInput, SamplesInput
from edge.messages import Json
from edge.model_windows import ModelWindowsSettings

CLASSES = ("N", "S", "V", "F")
"""AAMI EC57.  Q, of which the 22 records hold six beats, is what the runtime calls a beat that it abstains on."""
SAMPLES, SHAPE, TIMING = "beat", "shape", "timing"
"""Names of the inputs."""
N, S, V, F = range(4)

# MDC (ISO/IEEE 11073-10101, partition 10, ECG beat annotations) is not certain for all four: none is given.
_CODES: Mapping[str, Mapping[str, str]] = {}
_AIMS = {"se_V": 0.94, "ppv_V_ec57": 0.91, "se_S": 0.75, "ppv_S": 0.55}
_L2 = 5e-4
_NEWTON_STEPS = 12


class Beat(Recipe):
    """Which class a beat has."""

    name = "beat"
    task = "beat"

    def examples(self, data: Path, settings: RecipeSettings, *, jobs: int) -> Examples:
        """Return the beats that the runtime finds in the records, with the class of the annotation beside them."""
        cache = settings.data["cache"]
        folder = data / settings.data["folder"]
        folder = folder if folder.is_dir() else data
        names = (*settings.data["shape"], *settings.data["timing"])
        both = beat_examples(
            folder,
            settings.data["records"],
            EcgChainSettings(models=ModelWindowsSettings(beat=BeatWindowsSettings())),
            WindowTensors(samples=SAMPLES, features=SHAPE, feature_names=names),
            CLASSES,
            cache=Path(cache) if cache else None,
            jobs=jobs,
        )
        n_shape = len(settings.data["shape"])
        numbers = both.inputs[SHAPE]
        inputs = {SAMPLES: both.inputs[SAMPLES], SHAPE: numbers[:, :n_shape], TIMING: numbers[:, n_shape:]}
        return both.with_inputs(inputs)

    def inputs(self, settings: RecipeSettings, examples: Examples) -> tuple[InputPlan, ...]:  # noqa: ARG002 - the protocol
        """Return the samples in units of the usual beat, and features on fixed scales (`data.shape`, `data.timing`)."""
        stage = BeatWindowsSettings()
        samples = SamplesInput(
            name=SAMPLES,
            n_samples=round((stage.before_s + stage.after_s) * stage.rate_hz),
            channels=("ecg", "ecg-difference"),
            rate_hz=stage.rate_hz,
            unit="1",
        )
        # Fixed knots, not quantiles: early and wide beats are a few per cent, and quantiles would squeeze them together.
        scales = (
            FeaturesInput(
                name=name,
                features=tuple(
                    FeatureCard(name=feature, knots=tuple(map(float, knots)))
                    for feature, knots in settings.data[name].items()
                ),
            )
            for name in (SHAPE, TIMING)
        )
        return cast("tuple[InputPlan, ...]", (samples, *scales))

    def build(self, settings: RecipeSettings, examples: Examples) -> Any:
        """Return the network, its regressions still empty."""
        keras = load_keras()
        layers, model = keras.layers, settings.model
        ridge = keras.regularizers.L2(_L2)
        beat, shape, timing = (
            keras.Input(examples.inputs[name].shape[1:], name=name) for name in (SAMPLES, SHAPE, TIMING)
        )
        seen = beat
        for n_channels, kernel, stride in model["convolutions"]:
            convolution = layers.Conv1D(
                n_channels, kernel, strides=stride, padding="same", use_bias=False, kernel_regularizer=ridge
            )
            seen = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(convolution(seen)))
            seen = layers.SpatialDropout1D(model["channel_dropout"])(seen)
        seen = layers.Dropout(model["dropout"])(layers.Flatten()(seen))
        seen = layers.Dense(model["hidden"], activation="relu", kernel_regularizer=ridge)(seen)
        nvf = layers.Dense(3, kernel_regularizer=ridge, name="seen")(layers.Dropout(model["dropout"])(seen))
        # Solved or set, not trained; the columns of S are those of N, which the curve alone does not tell apart.
        spread = layers.Dense(4, use_bias=False, trainable=False, name="spread")(nvf)
        hinges = [layers.ReLU()(layers.Rescaling(1.0, offset=-place)(shape)) for place in model["hinges"]]
        wide = layers.Dense(4, trainable=False, name="wide")(layers.Concatenate()([shape, *hinges]))
        early = layers.Dense(2, activation="relu", trainable=False, name="early")(timing)
        divided = layers.Dense(4, use_bias=False, trainable=False, name="divided")(early)
        network = keras.Model([beat, shape, timing], layers.Add(name="logits")([spread, wide, divided]))
        share = 1.0 - model["regression_share"]
        network.get_layer("spread").set_weights(
            [share * np.array([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], np.float32)]
        )
        network.get_layer("divided").set_weights([np.array([[-1, 0, 0, 0], [0, -1, 0, 0]], np.float32)])
        return network

    def fit(self, settings: RecipeSettings, fold: Fold) -> Fitted:
        """Return the network: the regressions solved, the convolutions trained by themselves on beats drawn evenly."""
        set_seed(fold.seed)
        train = fold.train.labelled()
        network = self.build(settings, train)
        self._regress(settings, train, network)
        keras = load_keras()
        seeing = keras.Model(network.get_layer(SAMPLES).output, network.get_layer("seen").output)
        odds, rng, fit = _odds(train, settings), np.random.default_rng(fold.seed), settings.fit
        n_drawn = int(settings.data["n_drawn"]) // fit.batch_size * fit.batch_size
        rate = keras.optimizers.schedules.CosineDecay(fit.learning_rate, fit.epochs * n_drawn // fit.batch_size)
        seeing.compile(
            keras.optimizers.AdamW(rate, weight_decay=fit.weight_decay),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        losses = []
        for epoch in range(1, fit.epochs + 1):
            drawn = rng.choice(len(train), n_drawn, p=odds)
            beats = augment(
                train.inputs[SAMPLES][drawn],
                settings.augment,
                fold.noise,
                rng,
                rate_hz=BeatWindowsSettings().rate_hz,
            )
            nvf = np.array([0, 0, 1, 2])[train.labels[drawn]]
            done = seeing.fit(beats, nvf, batch_size=fit.batch_size, epochs=1, verbose=0, shuffle=False)
            losses.append(float(done.history["loss"][0]))
            fold.on_epoch(epoch, {"loss": losses[-1]})
        return Fitted(model=network, history={"loss": tuple(losses)}, best_epoch=fit.epochs)

    def card(self, settings: RecipeSettings) -> Mapping[str, Json]:
        """Return what the bundle says of the windows, the labels and where they come from."""
        return {
            "preprocessing": BeatWindows().describe(),
            "codes": {label: dict(codes) for label, codes in _CODES.items()},
            "aggregation": None,
            "training_data": settings.data["statement"],
            "licence": settings.data["licence"],
        }

    def score(
        self, labels: NDArray[np.int64], decided: NDArray[np.int64], classes: tuple[str, ...]
    ) -> dict[str, float]:
        """Return sensitivity and predictivity of V (VEB) and S (SVEB), gross over all beats, as EC57 has them.

        ``balance`` falls with what these four lack of `_AIMS`, a little above what is to be reached.  Beats of the detector that nobody annotated
        are not among the examples; `converter.evaluate` counts them, and the missed ones.  ``ppv_V`` counts a fusion
        beat called V as false, ``ppv_V_ec57`` leaves it out as EC57 does.
        """
        counts = confusion(labels, decided, len(classes))
        found: dict[str, float] = {}
        for name in ("V", "S", "N", "F"):
            k = classes.index(name)
            found[f"se_{name}"] = float(counts[k, k] / max(1, counts[k].sum()))
            found[f"ppv_{name}"] = float(counts[k, k] / max(1, counts[:, k].sum()))
        v, f = classes.index("V"), classes.index("F")
        found["ppv_V_ec57"] = float(counts[v, v] / max(1, counts[:, v].sum() - counts[f, v]))
        short = sum(min(0.0, found[name] - aim) for name, aim in _AIMS.items())
        return {"balance": 1.0 + short + 0.1 * float(np.mean([found[name] for name in _AIMS])), **found}

    def _regress(self, settings: RecipeSettings, train: Examples, network: Any) -> None:
        """Solve both regressions and put them into the network."""
        share = settings.model["regression_share"]
        weights = _odds(train, settings) * settings.data["n_drawn"]
        keep = train.labels != F
        numbers = train.inputs[SHAPE]
        hinges = [np.maximum(0.0, numbers - place) for place in settings.model["hinges"]]
        shape = ridge_logistic(
            np.concatenate([numbers, *hinges], axis=1)[keep],
            train.labels[keep] == V,
            weights[keep],
            settings.model["shape_ridge"],
        )
        pair = (train.labels == N) | (train.labels == S)
        timing = ridge_logistic(
            train.inputs[TIMING][pair], train.labels[pair] == S, weights[pair], settings.model["timing_ridge"]
        )
        network.get_layer("wide").set_weights(_column(shape, V, share))
        # For a sum x the logit of N falls by max(x, 0) and that of S by max(-x, 0): the larger of both is N's own, so that
        # a beat that is ventricular by its shape is not made supraventricular by coming early.
        both = np.stack([timing, -timing], axis=1).astype(np.float32)
        network.get_layer("early").set_weights([both[:-1], both[-1]])


def ridge_logistic(
    x: NDArray[np.float32], is_positive: NDArray[np.bool_], weights: NDArray[np.float64], ridge: float
) -> NDArray[np.float64]:
    """Return the coefficients of a logistic regression, the intercept last, by Newton's method.

    Parameters
    ----------
    x : ndarray, shape (n, k)
        Scaled features.
    is_positive : ndarray of bool, shape (n,)
        The class that is looked for.
    weights : ndarray, shape (n,)
        How much each row counts.
    ridge : float
        Penalty on half the square of each coefficient but the intercept.
    """
    rows = np.column_stack([x.astype(np.float64), np.ones(len(x))])
    beta = np.zeros(rows.shape[1])
    penalty = np.diag([ridge] * x.shape[1] + [1e-6])
    for _ in range(_NEWTON_STEPS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(rows @ beta, -30.0, 30.0)))
        slope = rows.T @ (weights * (chance - is_positive)) + penalty @ beta
        bend = (rows * (weights * chance * (1.0 - chance))[:, None]).T @ rows + penalty
        beta -= np.linalg.solve(bend, slope)
    return beta


def _column(beta: NDArray[np.float64], column: int, share: float) -> list[NDArray[np.float32]]:
    """Return kernel and bias of a layer with four outputs of which one is the regression."""
    kernel = np.zeros((len(beta) - 1, 4), np.float32)
    bias = np.zeros(4, np.float32)
    kernel[:, column], bias[column] = share * beta[:-1], share * beta[-1]
    return [kernel, bias]


def _odds(train: Examples, settings: RecipeSettings) -> NDArray[np.float64]:
    """Return how often each example is drawn: classes as the settings say, patients by the root of what they bring."""
    odds = np.zeros(len(train))
    for label, share in enumerate(settings.data["class_shares"]):
        of_class = train.labels == label
        if not of_class.any():
            continue
        _, patients, counts = np.unique(train.groups[of_class], return_inverse=True, return_counts=True)
        each = counts[patients] ** -0.5
        odds[of_class] = share * each / each.sum()
    return np.asarray(odds / odds.sum())


RECIPE = Beat()
"""The recipe, for `converter.recipes.find_recipe`."""
