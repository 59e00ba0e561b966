"""Float against int8, and every runtime against every other: does the shipped model decide as the trained one did?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converter.backends import BackendMissingError, Runs, run_model
from converter.calibration import expected_calibration_error
from converter.comparison import Logits, bag_means, difference
from converter.examples import UNLABELLED, Examples
from converter.graph import Graph, read_graph
from converter.scoring import class_scores
from edge.errors import EdgeError
from edge.inference.bundle import Bundle
from edge.inference.card import FeaturesInput, ModelCard, SamplesInput
from edge.inference.decision import logits_of, probabilities
from edge.inference.interpreter import plain_name
from edge.inference.predictor import z_score
from edge.inference.quantization import Quantization, quantize
from edge.inference.scaling import scale_matrix

BACKENDS = ("litert", "litert-reference", "tflite", "tflm")
Arrays = Mapping[str, NDArray[np.floating]]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyLimits:
    """What a shipped model must keep to."""

    min_agreement: float = 0.99
    """Share of examples on which int8 and float have the same likeliest label."""
    max_macro_f1_loss: float = 0.005
    """How much the mean F1 over the classes may fall from float to int8: half a point of a hundred."""
    max_backend_lsb: int = 8
    """Largest difference between two runtimes, in steps of the output."""
    min_backend_agreement: float = 0.995
    """Share of examples on which two runtimes have the same likeliest label."""
    min_examples: int = 200
    """With fewer, shares are told but not judged: one borderline example would decide.  Default: half a per cent is one
    example."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendReport:
    """One runtime beside the first."""

    backend: str
    version: str = ""
    agreement: float | None = None
    """With the first runtime; None for the first itself and for one that is missing."""
    exact: float | None = None
    """Share of answers that are the same bytes."""
    largest_lsb: int | None = None
    p50_us: float | None = None
    p99_us: float | None = None
    arena_bytes: int | None = None
    skipped: str | None = None
    """Why it was not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstWindow:
    """The example on which float and int8 are farthest apart."""

    index: int
    group: str
    label: str | None
    difference: float
    """Of one logit."""
    float_logits: tuple[float, ...]
    int8_logits: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatReport:
    """The int8 model beside the float one; values are shares, 0 to 1."""

    agreement: float
    worst: WorstWindow
    scores_float: Mapping[str, float] = field(default_factory=dict)
    """``macro_f1``, ``f1_N`` … of the labelled examples (of records, where the model decides on means over them)."""
    scores_int8: Mapping[str, float] = field(default_factory=dict)
    calibration_error_float: float | None = None
    calibration_error_int8: float | None = None
    p50_us: float | None = None
    n_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What `verify` found."""

    model: str
    sha256: str
    n_bytes: int
    n_examples: int
    n_unusable: int
    """Examples with nothing to show: not finite, or flat where they are normalised."""
    operators: Mapping[str, int]
    floating: FloatReport | None
    backends: tuple[BackendReport, ...]
    failures: tuple[str, ...]
    """Which limits are broken; empty where the model may be shipped."""
    not_judged: tuple[str, ...]
    """What could not be held against a limit, and why."""

    @property
    def passed(self) -> bool:
        """Whether no limit is broken."""
        return not self.failures

    def as_json(self) -> dict[str, object]:
        """Return the report as plain values."""
        return asdict(self) | {"passed": self.passed}


def verify(
    bundle: Bundle,
    examples: Examples | None = None,
    *,
    floating: Path | None = None,
    limits: VerifyLimits = VerifyLimits(),
    backends: tuple[str, ...] = BACKENDS,
) -> VerifyReport:
    """Return how an int8 model compares with its float original and with itself on other runtimes.

    Parameters
    ----------
    bundle : Bundle
        The model and its card.
    examples : Examples, optional
        Held-out examples with raw features.  Default: the bundle's golden vectors, which are too few for shares.
    floating : Path, optional
        The float model: the ``.float.tflite`` that `quantize` wrote.
    limits : VerifyLimits
        What must be kept.
    backends : tuple of str
        Runtimes, the first of which is what the others are compared with.

    Raises
    ------
    EdgeError
        If a runtime that is installed cannot run the model, or nothing can be shown to it.
    """
    raw, labels, groups, bags = _given(bundle, examples)
    prepared, usable = prepare(bundle.card, raw)
    if not usable.any():
        raise EdgeError("expected examples that can be shown to the model, got none")
    prepared = {name: values[usable] for name, values in prepared.items()}
    labels, groups = labels[usable], groups[usable]
    bags = bags[usable] if bags is not None and bundle.card.aggregation is not None else None
    graph = read_graph(bundle.model)
    integers = integers_of(graph, prepared)
    runs, skipped = _run_all(backends, bundle.model, integers)
    failures: list[str] = []
    not_judged = [f"{name}: {why}" for name, why in skipped.items()]
    is_enough = len(labels) >= limits.min_examples
    if not is_enough:
        not_judged.append(f"shares: {len(labels)} examples, at least {limits.min_examples} are needed")
    bias = [bundle.card.output.bias.get(label, 0.0) for label in bundle.card.output.labels]
    logits = _logits(bundle.card, graph, runs[0].output)
    compared = _compared(bundle.card, graph, runs, bias)
    failures += _backend_failures(compared, limits, is_enough=is_enough)
    against = None
    if floating is None:
        not_judged.append("float against int8: no float model was given")
    else:
        against = _against_float(bundle.card, floating, prepared, logits, labels, groups, bags)
        failures += _float_failures(against, limits, is_enough=is_enough)
        if not against.scores_float:
            not_judged.append("macro-F1: no labelled examples")
    return VerifyReport(
        model=bundle.card.title,
        sha256=bundle.sha256,
        n_bytes=len(bundle.model),
        n_examples=len(labels),
        n_unusable=int((~usable).sum()),
        operators=dict(graph.operators),
        floating=against,
        backends=(*compared, *(BackendReport(backend=name, skipped=why) for name, why in skipped.items())),
        failures=tuple(failures),
        not_judged=tuple(not_judged),
    )


# --- what the model is shown ------------------------------------------------------------------------------


def prepare(card: ModelCard, raw: Arrays) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.bool_]]:
    """Return what the tensors are to hold, and which examples can be shown at all.

    Parameters
    ----------
    card : ModelCard
        How features are scaled and samples normalised.
    raw : mapping of str to ndarray
        By name of the input, first axis the examples: samples as measured, features unscaled with NaN unknown.
    """
    usable = np.ones(len(next(iter(raw.values()))), dtype=np.bool_)
    found: dict[str, NDArray[np.float32]] = {}
    for each in card.inputs:
        values = np.asarray(raw[each.name])
        if isinstance(each, FeaturesInput):
            found[each.name] = scale_matrix(values, [feature.knots for feature in each.features])
            continue
        usable &= np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if isinstance(each, SamplesInput) and each.normalise == "z-score":
            rows = [z_score(row.astype(np.float64)) for row in values]
            usable &= np.array([row is not None for row in rows])
            values = np.stack([np.zeros(each.shape) if row is None else row for row in rows])
        found[each.name] = values.astype(np.float32)
    return found, usable


def integers_of(graph: Graph, prepared: Arrays) -> dict[str, NDArray[np.int8]]:
    """Return prepared values as the int8 inputs of a model, by name."""
    found = {}
    for index in graph.inputs:
        tensor = graph.tensors[index]
        quantization = Quantization(scale=tensor.scales[0], zero_point=tensor.zero_points[0])
        name = plain_name(tensor.name)
        found[name] = quantize(prepared[name], quantization)
    return found


def _given(
    bundle: Bundle, examples: Examples | None
) -> tuple[Arrays, NDArray[np.int64], NDArray[np.str_], NDArray[np.int64] | None]:
    names = [each.name for each in bundle.card.inputs]
    if examples is None:
        raw = {name: np.stack([case.inputs[name] for case in bundle.golden]) for name in names}
        n_golden = len(bundle.golden)
        return raw, np.full(n_golden, UNLABELLED), np.array([f"golden {k}" for k in range(n_golden)]), None
    missing = set(names) - set(examples.inputs)
    if missing:
        raise EdgeError(f"expected examples with the inputs {', '.join(names)}, got {', '.join(examples.inputs)}")
    place = {label: k for k, label in enumerate(bundle.card.output.labels)}
    known = np.array([place.get(name, UNLABELLED) for name in examples.classes] + [UNLABELLED])  # -1 is the last
    return {name: examples.inputs[name] for name in names}, known[examples.labels], examples.groups, examples.bags


# --- comparing --------------------------------------------------------------------------------------------


def _run_all(
    backends: tuple[str, ...], model: bytes, integers: Mapping[str, NDArray[np.int8]]
) -> tuple[list[Runs], dict[str, str]]:
    runs, skipped = [], {}
    for backend in backends:
        try:
            runs.append(run_model(backend, model, integers))
        except BackendMissingError as error:
            skipped[backend] = str(error)
    if not runs:
        raise EdgeError("no TFLite runtime is installed here", hint="pip install 'vitaledge[litert]'")
    return runs, skipped


def _logits(card: ModelCard, graph: Graph, output: NDArray[np.int8] | NDArray[np.float32]) -> Logits:
    if output.dtype == np.int8:
        tensor = graph.tensors[graph.outputs[0]]
        quantization = Quantization(scale=tensor.scales[0], zero_point=tensor.zero_points[0])
        return logits_of(output.astype(np.int8), quantization, card.output.activation)
    real = output.astype(np.float64)
    return real if card.output.activation == "none" else np.log(np.maximum(real, 1 / 512))


def _compared(card: ModelCard, graph: Graph, runs: list[Runs], bias: list[float]) -> tuple[BackendReport, ...]:
    found = []
    first = _logits(card, graph, runs[0].output)
    for run in runs:
        p50_us, p99_us = (float(value) for value in np.quantile(run.latency_us, [0.5, 0.99]))
        same = difference(first, _logits(card, graph, run.output), bias)
        apart = np.abs(runs[0].output.astype(np.int32) - run.output.astype(np.int32))
        is_first = run is runs[0]
        found.append(
            BackendReport(
                backend=run.backend,
                version=run.version,
                agreement=None if is_first else same.agreement,
                exact=None if is_first else float((apart.max(axis=1) == 0).mean()),
                largest_lsb=None if is_first else int(apart.max()),
                p50_us=p50_us,
                p99_us=p99_us,
                arena_bytes=run.arena_bytes,
            )
        )
    return tuple(found)


def _against_float(
    card: ModelCard,
    floating: Path,
    prepared: Arrays,
    int8: Logits,
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    bags: NDArray[np.int64] | None,
) -> FloatReport:
    try:
        content = floating.read_bytes()
        graph = read_graph(content)
    except (OSError, ValueError) as error:
        raise EdgeError(f"{floating}: cannot be read as a float model: {error}") from error
    if not graph.floats:
        raise EdgeError(f"{floating}: expected the float model, got one without a float tensor")
    run = run_model("litert", content, prepared)
    real = _logits(card, graph, run.output)
    output = card.output
    bias = [output.bias.get(label, 0.0) for label in output.labels]
    apart = difference(real, int8, bias)
    worst = WorstWindow(
        index=apart.worst,
        group=str(groups[apart.worst]),
        label=output.labels[labels[apart.worst]] if labels[apart.worst] != UNLABELLED else None,
        difference=apart.largest,
        float_logits=tuple(real[apart.worst].tolist()),
        int8_logits=tuple(int8[apart.worst].tolist()),
    )
    report = FloatReport(
        agreement=apart.agreement, worst=worst, p50_us=float(np.median(run.latency_us)), n_bytes=len(content)
    )
    if bags is not None:
        (real, first), (int8, _) = bag_means(real, bags), bag_means(int8, bags)
        labels = labels[first]
    if not (labels != UNLABELLED).any():
        return report
    scores, errors = [], []
    for logits in (real, int8):
        decided = (logits + np.asarray(bias)).argmax(axis=1)
        scores.append(class_scores(labels, decided, output.labels))
        shares = probabilities(logits, temperature=output.temperature, bias=bias)
        errors.append(expected_calibration_error(shares, labels))
    return FloatReport(
        agreement=report.agreement,
        worst=worst,
        p50_us=report.p50_us,
        n_bytes=report.n_bytes,
        scores_float=scores[0],
        scores_int8=scores[1],
        calibration_error_float=errors[0],
        calibration_error_int8=errors[1],
    )


def _backend_failures(compared: tuple[BackendReport, ...], limits: VerifyLimits, *, is_enough: bool) -> list[str]:
    failures = []
    for each in compared:
        if each.largest_lsb is not None and each.largest_lsb > limits.max_backend_lsb:
            failures.append(
                f"{each.backend}: {each.largest_lsb} steps from {compared[0].backend}, "
                f"at most {limits.max_backend_lsb} are allowed"
            )
        if is_enough and each.agreement is not None and each.agreement < limits.min_backend_agreement:
            failures.append(
                f"{each.backend}: decides as {compared[0].backend} in {each.agreement:.2%}, "
                f"at least {limits.min_backend_agreement:.2%} is required"
            )
    return failures


def _float_failures(report: FloatReport, limits: VerifyLimits, *, is_enough: bool) -> list[str]:
    if not is_enough:
        return []
    failures = []
    if report.agreement < limits.min_agreement:
        failures.append(
            f"int8 decides as float in {report.agreement:.2%}, at least {limits.min_agreement:.2%} is required"
        )
    if report.scores_float:
        loss = report.scores_float["macro_f1"] - report.scores_int8["macro_f1"]
        if loss > limits.max_macro_f1_loss:
            failures.append(
                f"int8 loses {100 * loss:.2f} points of macro-F1, at most {100 * limits.max_macro_f1_loss:.2f} is allowed"
            )
    return failures
