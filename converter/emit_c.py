"""A bundle as C99 source for watch firmware: the model, what it wants to see, how it decides, and its golden vectors.

The code that uses these constants is `firmware_bridge/ports/tflm`; it is copied beside them, so that the folder builds by
itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converter.backends import BackendMissingError, Runs, run_model
from converter.c_source import Emission, golden_source, header, model_source
from converter.graph import Graph, read_graph
from converter.verify import integers_of, prepare
from edge.errors import EdgeError
from edge.inference.bundle import Bundle

PORT_FILES = ("fb_model.h", "fb_model.c", "fb_model_tflm.h", "fb_model_tflm.cc")
EXAMPLE = "example.cc"
"""For the rhythm model; written with the names of the model at hand."""
MOST_LABELS = 32
"""`FB_MODEL_LABELS_MAX` of ``fb_model.h``."""
_ARENA_STEP_BYTES = 1024

RESOLVER_METHODS: Mapping[str, str] = {
    "ABS": "AddAbs",
    "ADD": "AddAdd",
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "CONCATENATION": "AddConcatenation",
    "CONV_2D": "AddConv2D",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "EXPAND_DIMS": "AddExpandDims",
    "FULLY_CONNECTED": "AddFullyConnected",
    "HARD_SWISH": "AddHardSwish",
    "LEAKY_RELU": "AddLeakyRelu",
    "LOGISTIC": "AddLogistic",
    "MAXIMUM": "AddMaximum",
    "MAX_POOL_2D": "AddMaxPool2D",
    "MEAN": "AddMean",
    "MINIMUM": "AddMinimum",
    "MUL": "AddMul",
    "PACK": "AddPack",
    "PAD": "AddPad",
    "PRELU": "AddPrelu",
    "QUANTIZE": "AddQuantize",
    "REDUCE_MAX": "AddReduceMax",
    "RELU": "AddRelu",
    "RELU6": "AddRelu6",
    "RESHAPE": "AddReshape",
    "SHAPE": "AddShape",
    "SOFTMAX": "AddSoftmax",
    "SQUEEZE": "AddSqueeze",
    "STRIDED_SLICE": "AddStridedSlice",
    "SUB": "AddSub",
    "TANH": "AddTanh",
    "TRANSPOSE": "AddTranspose",
    "TRANSPOSE_CONV": "AddTransposeConv",
}
"""How TensorFlow Lite Micro's `MicroMutableOpResolver` is told of each operator, as far as its kernels were seen to
answer within 5 steps of LiteRT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmitReport:
    """What `emit_c` wrote, and how TensorFlow Lite Micro compares with the gateway on the golden vectors."""

    folder: Path
    symbol: str
    """Name of the `fb_model_t`."""
    files: tuple[str, ...]
    n_model_bytes: int
    n_golden: int
    n_exact: int | None
    """Golden vectors on which TFLM's answer is the gateway's, byte for byte; None where TFLM was not run."""
    largest_lsb: int | None
    arena_bytes: int | None
    """Working memory with 64-bit pointers, rounded up; on a microcontroller less is used."""
    skipped: str | None
    """Why TFLM was not run."""

    def as_json(self) -> dict[str, object]:
        """Return the report as plain values."""
        return {name: str(value) if name == "folder" else value for name, value in _fields(self).items()}


def emit_c(bundle: Bundle, out_dir: Path) -> EmitReport:
    """Write a bundle as C source, with the code that uses it.

    Parameters
    ----------
    bundle : Bundle
        Verified.
    out_dir : Path
        Made where it is missing; files of the same names are replaced.

    Raises
    ------
    EdgeError
        If TensorFlow Lite Micro has no kernel for an operator of the model, or computes something else.
    """
    graph = read_graph(bundle.model)
    unknown = sorted(set(graph.operators) - set(RESOLVER_METHODS))
    if unknown:
        raise EdgeError(
            f"TensorFlow Lite Micro is not known to compute {', '.join(unknown)} as the gateway does",
            hint="build the model from convolutions, pooling, dense layers, sums and products",
        )
    if len(bundle.card.output.labels) > MOST_LABELS:
        raise EdgeError(f"expected at most {MOST_LABELS} labels, got {len(bundle.card.output.labels)}")
    integers = golden_integers(bundle, graph)
    micro, skipped = _micro(bundle.model, integers)
    differences = None
    if micro is not None:
        gateway = np.stack([case.output for case in bundle.golden])
        differences = np.abs(micro.output.astype(np.int32) - gateway).max(axis=1)
    arena_bytes = None if micro is None or micro.arena_bytes is None else _rounded_up(micro.arena_bytes)
    emission = Emission(
        symbol=f"fb_{_slug(bundle.card.name)}",
        stem=_slug(bundle.card.name),
        bundle=bundle,
        graph=graph,
        operators=tuple(RESOLVER_METHODS[name] for name in sorted(graph.operators)),
        golden=integers,
        micro=None if micro is None else micro.output.astype(np.int8),
        arena_bytes=arena_bytes or 0,
    )
    contents = {
        f"{emission.stem}_model.h": header(emission),
        f"{emission.stem}_model.c": model_source(emission),
        f"{emission.stem}_golden.c": golden_source(emission),
        **{name: _port_file(name) for name in PORT_FILES},
        EXAMPLE: _renamed(_port_file(EXAMPLE), emission.stem),
    }
    out_dir.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (out_dir / name).write_text(content, encoding="utf-8")
    return EmitReport(
        folder=out_dir,
        symbol=emission.symbol,
        files=tuple(contents),
        n_model_bytes=len(bundle.model),
        n_golden=len(bundle.golden),
        n_exact=None if differences is None else int((differences == 0).sum()),
        largest_lsb=None if differences is None else int(differences.max()),
        arena_bytes=arena_bytes,
        skipped=skipped,
    )


def golden_integers(bundle: Bundle, graph: Graph) -> dict[str, NDArray[np.int8]]:
    """Return what the model sees of the golden vectors, by input.

    Raises
    ------
    EdgeError
        If a golden vector cannot be shown to the model.
    """
    raw = {each.name: np.stack([case.inputs[each.name] for case in bundle.golden]) for each in bundle.card.inputs}
    prepared, usable = prepare(bundle.card, raw)
    if not usable.all():
        raise EdgeError(f"expected golden vectors with a signal, got {int((~usable).sum())} without")
    return integers_of(graph, prepared)


def _micro(model: bytes, integers: Mapping[str, NDArray[np.int8]]) -> tuple[Runs | None, str | None]:
    try:
        return run_model("tflm", model, integers), None
    except BackendMissingError as error:
        return None, str(error)


def _rounded_up(n_bytes: int) -> int:
    """Return some room above what was used: kernels of a microcontroller may want other scratch memory."""
    return (n_bytes // _ARENA_STEP_BYTES + 2) * _ARENA_STEP_BYTES


def _slug(name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return slug if slug and not slug[0].isdigit() else f"model_{slug}".rstrip("_")


def _renamed(example: str, stem: str) -> str:
    example = example.replace("RHYTHM", stem.upper()).replace("rhythm_model", f"{stem}_model")
    return example.replace("fb_rhythm", f"fb_{stem}").replace("The rhythm model", f"The model {stem}")


def _port_file(name: str) -> str:
    return (resources.files("firmware_bridge") / "ports" / "tflm" / name).read_text(encoding="utf-8")


def _fields(report: EmitReport) -> dict[str, object]:
    return {name: getattr(report, name) for name in EmitReport.__slots__}
