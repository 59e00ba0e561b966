"""The folder that `train` and `quantize` filled -> an unsigned bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converter.bundle_writer import write_bundle
from converter.examples import load_examples, spread_sample
from converter.inputs import scale
from converter.trained import EXAMPLES, TFLITE, Trained, read_trained
from edge.errors import EdgeError
from edge.inference.card import AbstentionCard, AggregationCard, OutputCard, ReferenceCard

N_GOLDEN = 16
"""Golden vectors: some of every class, of many patients."""
N_GOLDEN_LEAST = 4
MOST_GOLDEN_VALUES = 500_000
"""Numbers in ``golden.json``, which is text: pictures are large, and four of them prove the arithmetic too."""


def bundle_trained(
    folder: Path,
    out: Path,
    *,
    version: str,
    release: int,
    name: str | None = None,
    notes: str = "",
    metrics: Mapping[str, float] | None = None,
) -> Path:
    """Write the bundle of a trained and quantized network and return its folder.

    Parameters
    ----------
    folder : Path
        What `train` wrote and `quantize` was run on.
    out : Path
        Folder of the bundle.
    version, release
        See `edge.inference.card.ModelCard`.
    name : str, optional
        Of the model; that of the recipe by default.
    notes : str
        Markdown for the model card.
    metrics : mapping, optional
        Figures of the int8 model; by default those of the float network, out of fold, named so.

    Raises
    ------
    EdgeError
        If something is missing, or the model is not what was trained.
    """
    trained = read_trained(folder)
    try:
        model = (folder / TFLITE).read_bytes()
    except OSError as error:
        raise EdgeError(f"{folder / TFLITE}: cannot be read: {error.strerror}", hint="run quantize first") from error
    card: Mapping[str, Any] = trained.card
    examples = load_examples(folder / EXAMPLES)
    n_values = sum(values[0].size for values in examples.inputs.values())
    n_golden = min(N_GOLDEN, max(N_GOLDEN_LEAST, MOST_GOLDEN_VALUES // n_values))
    sample = spread_sample(examples, n_golden, seed=release)
    # A flat window shows nothing; the device does not show it to the model either.
    moving = np.ones(len(sample), bool)
    for values in scale(sample, trained.inputs).inputs.values():
        moving &= np.ptp(values.reshape(len(values), -1), axis=1) > 0
    golden: dict[str, NDArray[np.floating]] = dict(sample.select(moving).inputs)
    aggregation = card.get("aggregation")
    return write_bundle(
        out,
        name=name or trained.recipe,
        version=version,
        release=release,
        task=trained.task,
        created=trained.created,
        preprocessing=card["preprocessing"],
        inputs=trained.inputs,
        output=_output(trained, card.get("codes") or {}),
        training_data=card["training_data"],
        licence=card["licence"],
        metrics=metrics or {f"out_of_fold_float.{name}": value for name, value in trained.metrics.items()},
        model=model,
        golden=golden,
        aggregation=AggregationCard(**aggregation) if aggregation else None,
        abstention=AbstentionCard(
            min_energy=trained.calibration.min_energy,
            max_outside=trained.calibration.max_outside,
            judges_noise=bool(card.get("judges_noise", False)),
        ),
        reference=ReferenceCard(
            labels=trained.label_shares,
            n_windows=trained.n_judged,
            abstained=trained.abstained,
            energy=trained.energy_quantiles,
            outside=trained.outside_mean,
        ),
        notes=notes,
    )


def _output(trained: Trained, codes: Mapping[str, Mapping[str, str]]) -> OutputCard:
    calibration = trained.calibration
    thresholds = calibration.thresholds or (0.0,) * len(trained.classes)
    return OutputCard(
        name="logits",
        labels=trained.classes,
        thresholds=dict(zip(trained.classes, thresholds, strict=True)),
        codes=codes,
        temperature=calibration.temperature,
        bias=dict(zip(trained.classes, calibration.bias, strict=True)) if calibration.bias else {},
    )
