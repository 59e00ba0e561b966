"""What `train` leaves in its folder, and `quantize` and `bundle` take up.

::

    model.keras          the network in floating point; logits out
    model.tflite         the same in int8, once `quantize` was run
    trained.json         `Trained`: recipe, inputs with their knots, calibration, metrics, settings, versions
    examples.npz         a sample of the examples, raw, every class and patient in it: for golden vectors
    representative.npz   the same examples scaled, as the network sees them: they set the ranges of the int8 model
    out_of_fold.npz      labels, patients and logits of every example, by networks that never saw its patient
    report/              README.md with its plots
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import JsonValue, TypeAdapter, ValidationError

from converter.calibration import Calibration
from edge.errors import EdgeError
from edge.inference.card_inputs import InputCard

MODEL = "model.keras"
TFLITE = "model.tflite"
FLOAT_TFLITE = "model.float.tflite"
"""The same in floating point, which `quantize` leaves beside it for comparison."""
FACTS = "trained.json"
EXAMPLES = "examples.npz"
REPRESENTATIVE = "representative.npz"
OUT_OF_FOLD = "out_of_fold.npz"
REPORT = "report"

_PACKAGES = ("vitaledge", "tensorflow", "tensorflow-cpu", "keras", "numpy", "scipy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Everything that is known of a trained network."""

    recipe: str
    task: str
    classes: tuple[str, ...]
    inputs: tuple[InputCard, ...]
    calibration: Calibration
    card: Mapping[str, JsonValue]
    """What the recipe says (`converter.recipes.base.Recipe.card`)."""
    metrics: Mapping[str, float]
    """Out of fold, mean over the seeds."""
    spread: Mapping[str, float]
    """Standard deviation of each over the seeds."""
    n_examples: Mapping[str, int]
    """By class."""
    n_groups: int
    """Patients."""
    seeds: tuple[int, ...]
    n_folds: int
    """Folds that were held out."""
    label_shares: Mapping[str, float]
    """Share of each class among the out-of-fold decisions before abstention: what drift is measured against."""
    abstained: float
    """Share of the judged examples (or bags) on which it abstains."""
    energy_quantiles: tuple[float, ...]
    """Energy of the judged logits at equally spaced quantiles."""
    outside_mean: float | None
    """Mean share of features outside their knots; None without features."""
    n_judged: int
    settings: Mapping[str, JsonValue]
    versions: Mapping[str, str]
    created: date
    duration_s: float


def library_versions() -> dict[str, str]:
    """Return the versions of what a training depends on."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_trained(folder: Path, trained: Trained) -> None:
    """Write ``trained.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FACTS).write_bytes(TypeAdapter(Trained).dump_json(trained, indent=1) + b"\n")


def read_trained(folder: Path) -> Trained:
    """Return what `train` wrote of itself.

    Raises
    ------
    EdgeError
        If the folder is not one that `train` made.
    """
    path = folder / FACTS
    try:
        return TypeAdapter(Trained).validate_json(path.read_bytes())
    except OSError as error:
        raise EdgeError(
            f"{path}: cannot be read: {error.strerror}", hint="make it with: vitaledge-convert train"
        ) from error
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:5])
        raise EdgeError(f"{path}: {found}", hint="train again with this version") from error
