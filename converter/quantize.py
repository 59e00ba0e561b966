"""A trained model to an int8 TFLite file: int8 in and out, one scale per channel, nothing left in floating point.

TensorFlow runs in a process of its own (`quantize_worker`): its converter aborts on some models, and that has to be an
error that says so.  What comes out is judged here from the file itself, without TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converter.examples import Examples
from converter.graph import Graph, TensorFacts, read_graph, with_names
from converter.representative import OUTLIER_RATIO, outliers, stratified_sample
from edge.errors import EdgeError

__all__ = ["ConversionError", "Converted", "QuantizeReport", "quantize", "quantize_keras", "stratified_sample"]

TIMEOUT_S = 900.0
"""After this long a conversion is given up; the largest model of this project takes less than a minute."""
N_REPRESENTATIVE = 200
"""Examples that set the ranges.  Default: 20 or more gave the same accuracy; 200 hold every class and patient."""
MIN_REPRESENTATIVE = 20
"""Fewer set ranges by chance."""


class ConversionError(EdgeError, ValueError):
    """A model cannot be made an int8 TFLite file; ``hint`` says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A converted model."""

    int8: bytes
    """The int8 file, its tensors named as the inputs and the output of the model."""
    floating: bytes
    """The same model in floating point, for comparison only; never shipped."""
    n_used: int
    """Examples that set the ranges."""
    n_rejected: int
    """Examples that were outliers."""
    batch: int | None
    """None where the file takes any batch; 1 where it had to be fixed (dilated convolutions)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeReport:
    """What `quantize` made."""

    path: Path
    n_bytes: int
    sha256: str
    inputs: tuple[TensorFacts, ...]
    output: TensorFacts
    operators: Mapping[str, int]
    n_used: int
    n_rejected: int
    batch: int | None

    def as_json(self) -> dict[str, object]:
        """Return the report as plain values."""
        return {
            "path": str(self.path),
            "n_bytes": self.n_bytes,
            "sha256": self.sha256,
            "inputs": [_plain(tensor) for tensor in self.inputs],
            "output": _plain(self.output),
            "operators": dict(self.operators),
            "n_representative": self.n_used,
            "n_outliers": self.n_rejected,
            "batch": self.batch,
        }


def quantize(
    model: Path,
    representative: Mapping[str, NDArray[np.float32]] | Examples | Path,
    out: Path,
    *,
    n_representative: int = N_REPRESENTATIVE,
    seed: int = 0,
) -> QuantizeReport:
    """Write the int8 TFLite file of a model, and beside it ``….float.tflite`` for comparison.

    Parameters
    ----------
    model : Path
        A Keras 3 file (``.keras``) or a SavedModel directory.
    representative : Mapping, Examples or Path
        What the model sees, by input, as arrays whose first axis counts examples; or such arrays in an ``.npz`` file, as
        `converter.examples.save_examples` writes it or with one array per input.  Features must already be scaled.
    out : Path
        The file to write.
    n_representative : int
        At most so many examples set the ranges, of every class, patient and amplitude.
    seed : int
        Of the choice among them.  The same seed gives the same bytes.

    Raises
    ------
    ConversionError
        If the model cannot be made int8 throughout.
    EdgeError
        If a file cannot be read.
    """
    given = _read(representative) if isinstance(representative, Path) else representative
    if isinstance(given, Examples):
        chosen = stratified_sample(given, n_representative, seed)
        examples = {name: values[chosen] for name, values in given.inputs.items()}
        n_unusable = int(outliers({name: values for name, values in given.inputs.items() if values.ndim > 2}).sum())
    else:
        examples, n_unusable = dict(given), 0
    converted = convert(model, examples, seed=seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(converted.int8)
    out.with_suffix(".float.tflite").write_bytes(converted.floating)
    graph = read_graph(converted.int8)
    return QuantizeReport(
        path=out,
        n_bytes=len(converted.int8),
        sha256=hashlib.sha256(converted.int8).hexdigest(),
        inputs=tuple(graph.tensors[index] for index in graph.inputs),
        output=graph.tensors[graph.outputs[0]],
        operators=dict(graph.operators),
        n_used=converted.n_used,
        n_rejected=converted.n_rejected + n_unusable,
        batch=converted.batch,
    )


def quantize_keras(model_path: Path, representative: Mapping[str, NDArray[np.float32]], *, seed: int = 0) -> bytes:
    """Return the int8 TFLite file of a Keras 3 file; its tensors bear the names of the model's inputs and output.

    Parameters
    ----------
    model_path : Path
        The ``.keras`` file.
    representative : Mapping of str to ndarray
        What the model sees (features scaled, samples normalised), by input; outliers among them are left out.
    seed : int
        The same seed gives the same bytes.

    Raises
    ------
    ConversionError
        If the model cannot be made int8 throughout.
    """
    return convert(model_path, representative, seed=seed).int8


def convert(
    model: Path,
    representative: Mapping[str, NDArray[np.float32]],
    *,
    seed: int = 0,
    outlier_ratio: float = OUTLIER_RATIO,
) -> Converted:
    """Return a model as int8 and as float TFLite files.

    Parameters
    ----------
    outlier_ratio : float
        How many times the usual large value makes an example an outlier; infinite keeps all that are finite.

    Raises
    ------
    ConversionError
        If there are too few examples, the converter fails, or floating point is left.
    """
    if not model.exists():
        raise ConversionError(f"{model}: no such file", hint="train the model first: vitaledge-convert train")
    lengths = {len(values) for values in representative.values()}
    if len(lengths) != 1:
        raise ConversionError(f"expected as many examples for every input, got {sorted(lengths)}")
    keep = ~outliers(representative, ratio=outlier_ratio)
    if keep.sum() < MIN_REPRESENTATIVE:
        raise ConversionError(
            f"expected at least {MIN_REPRESENTATIVE} representative examples, got {int(keep.sum())} "
            f"and {int((~keep).sum())} that are outliers or not finite"
        )
    used = {name: np.ascontiguousarray(values[keep], dtype=np.float32) for name, values in representative.items()}
    with tempfile.TemporaryDirectory(prefix="vitaledge-") as folder:
        made = _run_worker(Path(folder), model, used, seed)
    graph = read_graph(made.int8)
    _refuse_float(graph)
    return Converted(
        int8=_plainly_named(made.int8, made.names),
        floating=_plainly_named(made.floating, made.names),
        n_used=int(keep.sum()),
        n_rejected=int((~keep).sum()),
        batch=made.batch,
    )


# --- the other process ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    int8: bytes
    floating: bytes
    names: Mapping[str, list[str]]
    batch: int | None


def _run_worker(folder: Path, model: Path, used: Mapping[str, NDArray[np.float32]], seed: int) -> _Made:
    np.savez(folder / "representative.npz", allow_pickle=False, **used)
    request = folder / "request.json"
    request.write_text(
        json.dumps(
            {
                "model": str(model.resolve()),
                "representative": str(folder / "representative.npz"),
                "out": str(folder),
                "seed": seed,
            }
        )
    )
    run_worker("converter.quantize_worker", request)
    facts = json.loads((folder / "names.json").read_text())
    return _Made(
        int8=(folder / "model.tflite").read_bytes(),
        floating=(folder / "float.tflite").read_bytes(),
        names={"inputs": facts["inputs"], "outputs": facts["outputs"]},
        batch=facts["batch"],
    )


def run_worker(module: str, request: Path, *, timeout_s: float = TIMEOUT_S) -> None:
    """Run a module with TensorFlow in its own process, on one thread; an abort becomes an error that says so.

    Raises
    ------
    ConversionError
        If the process fails, aborts or does not end.
    """
    root = Path(__file__).resolve().parent.parent
    environment = os.environ | {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",  # the same sums in the same order on every processor
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONHASHSEED": "0",
        "PYTHONWARNINGS": "ignore",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")])),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, str(request)],
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConversionError(f"the converter was still running after {timeout_s:g} s") from error
    if done.returncode:
        raise ConversionError(_fault(done), hint=_hint(done.stderr))


def _fault(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    telling = [line for line in lines if "rror" in line] or lines or ["it said nothing"]
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return f"the converter aborted ({name}): {telling[0][:300]}"
    return f"the converter failed: {lines[-1][:500] if lines else telling[0]}"


def _hint(stderr: str) -> str:
    if "No module named 'tensorflow'" in stderr or "No module named 'keras'" in stderr:
        return "pip install 'vitaledge[convert]'"
    if "TensorList" in stderr or "while" in stderr.lower():
        return "recurrent layers convert only with unroll=True"
    return ""


# --- judging what came out --------------------------------------------------------------------------------


def _refuse_float(graph: Graph) -> None:
    if graph.floats:
        shown = ", ".join(repr(name[-60:]) for name in graph.floats[:3]) + (" …" if len(graph.floats) > 3 else "")
        raise ConversionError(
            f"expected int8 throughout, got {len(graph.floats)} tensors in floating point: {shown}",
            hint="layer normalisation, attention, square and square root do so; use batch normalisation and products",
        )
    outer = [graph.tensors[index] for index in (*graph.inputs, *graph.outputs)]
    for tensor in outer:
        if tensor.type_name != "int8" or len(tensor.scales) != 1:
            given = f"{tensor.type_name} with {len(tensor.scales)} scales"
            raise ConversionError(f"{tensor.name!r}: expected int8 with one scale, got {given}")


def _plainly_named(model: bytes, names: Mapping[str, list[str]]) -> bytes:
    """Return the file with its tensors named as in the model: a bundle's card binds them by these names."""
    graph = read_graph(model)
    if len(graph.outputs) != 1 or len(names["outputs"]) != 1:
        raise ConversionError(f"expected a model with one output, got {len(graph.outputs)}")
    inside = [graph.tensors[index].name for index in graph.inputs]
    plain = {}
    for name in names["inputs"]:
        found = [each for each in inside if each.removeprefix("serving_default_").split(":")[0] == name]
        if len(found) != 1:
            raise ConversionError(f"expected an input for {name!r} in the converted file, got {', '.join(inside)}")
        plain[found[0]] = name
    plain[graph.tensors[graph.outputs[0]].name] = names["outputs"][0]
    try:
        return with_names(model, {old: new for old, new in plain.items() if old != new})
    except ValueError as error:
        raise ConversionError(
            f"the tensors cannot be named as in the model: {error}", hint="use shorter names"
        ) from error


def _read(path: Path) -> Mapping[str, NDArray[np.float32]] | Examples:
    from converter.examples import load_examples

    try:
        with np.load(path, allow_pickle=False) as file:
            if not any(name.startswith("input/") for name in file.files):
                return {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise EdgeError(f"{path}: cannot be read: {error}", hint="an .npz file with one array per input") from error
    return load_examples(path)


def _plain(tensor: TensorFacts) -> dict[str, object]:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "scale": tensor.scales[0],
        "zero_point": tensor.zero_points[0],
    }
