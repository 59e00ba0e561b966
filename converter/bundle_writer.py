"""A quantized model and what is known of it -> the directory of a bundle; signing it is `sign`.

The golden outputs are computed here, by the runtime that the device has, from inputs as they are written to the file.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue, TypeAdapter, ValidationError

from converter.model_card import model_card_text
from edge.errors import ModelContractError, ModelFault
from edge.inference.bundle import MANIFEST, MODEL_CARD, SIGNATURE
from edge.inference.card import (
    FORMAT_VERSION,
    AbstentionCard,
    AggregationCard,
    FeaturesInput,
    FileEntry,
    InputCard,
    ModelCard,
    OutputCard,
    ReferenceCard,
    SamplesInput,
    TensorInput,
)
from edge.inference.golden import GoldenCase, golden_json
from edge.inference.interpreter import Interpreter
from edge.inference.predictor import Predictor
from edge.inference.trust import validation_words

MODEL = "model.tflite"
GOLDEN = "golden.json"
_DIGITS = 6
"""Significant digits of golden inputs: an int8 model cannot see the seventh, and the file stays small."""

AnyInput = SamplesInput | FeaturesInput | TensorInput


def write_bundle(
    folder: Path,
    *,
    name: str,
    version: str,
    release: int,
    task: str,
    created: date,
    preprocessing: Mapping[str, JsonValue],
    inputs: Sequence[AnyInput],
    output: OutputCard,
    training_data: str,
    licence: str,
    metrics: Mapping[str, float],
    model: bytes,
    golden: Mapping[str, NDArray[np.floating]],
    aggregation: AggregationCard | None = None,
    abstention: AbstentionCard | None = None,
    reference: ReferenceCard | None = None,
    notes: str = "",
    extra: Mapping[str, bytes] | None = None,
) -> Path:
    """Write an unsigned bundle into `folder` and return it; whatever bundle was there is replaced.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    name, version, release, task, created, preprocessing, inputs, training_data, licence, metrics
        See `ModelCard`.
    output : OutputCard
        The name of the tensor is taken from the model file.
    model : bytes
        The int8 TFLite file.
    golden : mapping of str to ndarray
        Inputs by name as measured (features unscaled, NaN unknown), first axis the cases.  A dozen will do: borderline
        ones of every label, loud and quiet ones.
    aggregation, abstention, reference
        See `ModelCard`.
    notes : str
        Markdown for ``MODEL_CARD.md``: what it is for, what it is not for, how it was measured, what it cannot do.
    extra : mapping of str to bytes, optional
        More files, such as the training report.

    Raises
    ------
    ModelContractError
        If the model is not the one described, or a field says what cannot be.
    """
    interpreter = Interpreter(model)
    draft = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "version": version,
        "release": release,
        "task": task,
        "created": created.isoformat(),
        "files": {each: {"n_bytes": 1, "sha256": "0" * 64} for each in (MODEL, GOLDEN)},
        "model": MODEL,
        "golden": GOLDEN,
        "preprocessing": dict(preprocessing),
        "inputs": _plain(inputs),
        "output": _plain(replace(output, name=interpreter.output.name)),
        "aggregation": _plain(aggregation),
        "abstention": _plain(abstention or AbstentionCard()),
        "reference": _plain(reference),
        "training_data": training_data,
        "licence": licence,
        "metrics": dict(metrics),
    }
    card = _checked(draft)
    cases = golden_cases(Predictor(card, interpreter), golden)
    files = {
        MODEL: model,
        GOLDEN: golden_json(cases),
        MODEL_CARD: model_card_text(card, notes, n_model_bytes=len(model)).encode(),
        **(extra or {}),
    }
    entries = {each: _entry(content) for each, content in sorted(files.items())}
    card = _checked(draft | {"files": {each: _plain(entry) for each, entry in entries.items()}})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SIGNATURE).unlink(missing_ok=True)  # it would vouch for another bundle
    for each, content in files.items():
        (folder / each).write_bytes(content)
    (folder / MANIFEST).write_bytes(manifest_bytes(card))
    return folder


def golden_cases(predictor: Predictor, inputs: Mapping[str, NDArray[np.floating]]) -> list[GoldenCase]:
    """Return examples with the answers of a model to them, as the bundle keeps them."""
    rounded = {each.name: _rounded(np.asarray(inputs[each.name], dtype=np.float64)) for each in predictor.card.inputs}
    counts = {len(rows) for rows in rounded.values()}
    if len(counts) != 1 or counts == {0}:
        raise ValueError(f"expected the same number of golden inputs of each kind, at least one; got {sorted(counts)}")
    cases = []
    for number in range(counts.pop()):
        rows = {name: values[number] for name, values in rounded.items()}
        answer = predictor.answer(predictor.named(rows))
        if answer is None:
            raise ValueError(f"golden input {number}: a flat line proves nothing")
        cases.append(GoldenCase(inputs=rows, output=answer.output))
    return cases


def manifest_bytes(card: ModelCard) -> bytes:
    """Return the manifest of a card: the bytes that are hashed and signed."""
    return json.dumps(_plain(card), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def zip_bundle(folder: Path, target: Path) -> Path:
    """Write the files of a bundle as one zip, the same bytes from the same files, and return it."""
    card = _checked(json.loads((folder / MANIFEST).read_bytes()))
    names = [MANIFEST, *([SIGNATURE] if (folder / SIGNATURE).exists() else []), *sorted(card.files)]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for each in names:
            entry = zipfile.ZipInfo(each)  # of 1 January 1980, whenever it is made
            entry.create_system, entry.external_attr = 3, 0o100644 << 16  # as on Linux, wherever it is made
            archive.writestr(entry, (folder / each).read_bytes())
    target.write_bytes(content.getvalue())
    return target


def _checked(values: Mapping[str, object]) -> ModelCard:
    try:
        return TypeAdapter(ModelCard).validate_json(json.dumps(values, allow_nan=True))
    except ValidationError as error:
        raise ModelContractError(f"card: {validation_words(error)}", reason=ModelFault.FORMAT) from error


def _plain(
    value: ModelCard
    | OutputCard
    | AggregationCard
    | AbstentionCard
    | ReferenceCard
    | FileEntry
    | Iterable[InputCard]
    | None,
) -> object:
    if isinstance(value, Sequence):
        return [_plain(each) for each in value]
    return None if value is None else TypeAdapter(type(value)).dump_python(value, mode="json")


def _entry(content: bytes) -> FileEntry:
    return FileEntry(n_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values with so many significant digits, exactly as they come back from the file."""
    flat = [float(f"{value:.{_DIGITS}g}") for value in values.ravel().tolist()]
    return np.array(flat, dtype=np.float64).reshape(values.shape)
