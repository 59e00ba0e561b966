"""Quantization-aware fine-tuning and pruning: tried, measured on held-out examples, kept only where they help."""

from __future__ import annotations

import json
import shutil
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converter.backends import run_model
from converter.comparison import bag_means
from converter.examples import UNLABELLED, Examples
from converter.graph import read_graph
from converter.quantize import Converted, convert, run_worker
from converter.scoring import class_scores
from edge.inference.quantization import Quantization, dequantize, quantize


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneSettings:
    """How the network is taught, and what counts as help."""

    epochs: int = 3
    learning_rate: float = 1e-4
    """Default: a tenth of what such networks are trained with; they are to stay where they are."""
    batch_size: int = 256
    sparsity: float | None = None
    """Share of the weights of each layer that pruning holds at zero; None: no pruning is tried."""
    min_gain: float = 0.001
    """How much macro-F1 must rise for quantization-aware training to be kept: what another seed changes too is no gain.
    Without labels, how much the share of decisions equal to those in floating point must rise."""
    max_loss: float = 0.001
    """How much macro-F1 may fall for pruning to be kept."""
    min_saving: float = 0.1
    """How much smaller the compressed file must be for pruning to be kept; TFLite stores zeros like other numbers."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to the int8 model, measured on the held-out examples."""

    way: str
    """``plain``, ``quantization-aware`` or ``pruned``."""
    agreement: float
    """Share of examples (records, where these have bags) decided as by the float network that was given."""
    macro_f1: float | None
    """None without labels."""
    error: float
    """Root mean square of the difference between its logits and the float ones, relative to their spread."""
    n_bytes: int
    n_compressed_bytes: int
    is_kept: bool
    why: str
    """The figures that decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuned:
    """What `fine_tune` chose."""

    way: str
    candidates: tuple[Candidate, ...]
    model: bytes = field(repr=False)
    """The int8 file of the way that is kept."""
    floating: bytes = field(repr=False)
    """The float file of the network as it was given: what int8 is compared with."""

    def text(self) -> str:
        """Return one line a candidate."""
        return "\n".join(
            f"{each.way}: {'kept' if each.is_kept else 'not kept'}: {each.why}" for each in self.candidates
        )

    def as_json(self) -> dict[str, object]:
        """Return the choice as plain values."""
        return {"way": self.way, "candidates": [asdict(each) for each in self.candidates]}


def fine_tune(
    model: Path,
    train: Mapping[str, NDArray[np.float32]],
    held_out: Examples,
    representative: Mapping[str, NDArray[np.float32]],
    *,
    settings: FineTuneSettings = FineTuneSettings(),
    keep_network: Path | None = None,
) -> FineTuned:
    """Return the best int8 file of a network: plainly quantized, taught to live with int8, or pruned.

    Parameters
    ----------
    model : Path
        A Keras 3 file.
    train : mapping of str to ndarray
        What the model sees, by input: examples to learn from; no labels are needed.
    held_out : Examples
        Examples **as the model sees them** (features scaled), of other patients, which decide.
    representative : mapping of str to ndarray
        What sets the ranges.
    settings : FineTuneSettings
        How to teach, and what counts as help.
    keep_network : Path, optional
        Where the chosen network is written.

    Raises
    ------
    ConversionError
        If a network cannot be trained or converted.
    """
    plain = convert(model, representative, seed=settings.seed)
    wanted = _float_logits(plain, held_out)
    ways: list[tuple[str, Path, Converted]] = [("plain", model, plain)]
    candidates = [_measured("plain", plain, held_out, wanted, is_kept=True, why="")]
    modes = [("quantization-aware", "round")] + ([("pruned", "prune")] if settings.sparsity else [])
    with tempfile.TemporaryDirectory(prefix="vitaledge-") as folder:
        for way, mode in modes:
            tuned = Path(folder) / f"{mode}.keras"
            _teach(Path(folder), ways[-1][1], tuned, train, mode, settings)
            made = convert(tuned, representative, seed=settings.seed)
            found = _measured(way, made, held_out, wanted, is_kept=False, why="")
            best = next(each for each in reversed(candidates) if each.is_kept)
            is_kept, why = _judged(found, best, settings)
            candidates.append(_with(found, is_kept=is_kept, why=why))
            if is_kept:
                ways.append((way, tuned, made))
        way, network, chosen = ways[-1]
        if keep_network is not None:
            shutil.copyfile(network, keep_network)
    first = candidates[0]
    candidates[0] = _with(first, is_kept=way == "plain", why=_figures(first))
    return FineTuned(way=way, candidates=tuple(candidates), model=chosen.int8, floating=plain.floating)


def _teach(
    folder: Path,
    model: Path,
    out: Path,
    train: Mapping[str, NDArray[np.float32]],
    mode: str,
    settings: FineTuneSettings,
) -> None:
    np.savez(folder / "train.npz", allow_pickle=False, **train)
    request = folder / f"{mode}.json"
    request.write_text(
        json.dumps(
            {
                "model": str(model.resolve()),
                "examples": str(folder / "train.npz"),
                "out": str(out),
                "mode": mode,
                "epochs": settings.epochs,
                "learning_rate": settings.learning_rate,
                "batch_size": settings.batch_size,
                "sparsity": settings.sparsity or 0.0,
                "seed": settings.seed,
            }
        )
    )
    run_worker("converter.finetune_worker", request)


# --- measuring and deciding -------------------------------------------------------------------------------


def _float_logits(made: Converted, held_out: Examples) -> NDArray[np.float64]:
    logits = run_model("litert", made.floating, held_out.inputs).output.astype(np.float64)
    return logits if held_out.bags is None else bag_means(logits, held_out.bags)[0]


def _measured(
    way: str, made: Converted, held_out: Examples, wanted: NDArray[np.float64], *, is_kept: bool, why: str
) -> Candidate:
    graph = read_graph(made.int8)
    integers = {}
    for index in graph.inputs:
        tensor = graph.tensors[index]
        quantization = Quantization(scale=tensor.scales[0], zero_point=tensor.zero_points[0])
        integers[tensor.name] = quantize(held_out.inputs[tensor.name], quantization)
    answer = graph.tensors[graph.outputs[0]]
    output = run_model("litert", made.int8, integers).output.astype(np.int8)
    logits = dequantize(output, Quantization(scale=answer.scales[0], zero_point=answer.zero_points[0]))
    labels = held_out.labels
    if held_out.bags is not None:
        logits, first = bag_means(logits, held_out.bags)
        labels = labels[first]
    decided = logits.argmax(axis=1)
    macro_f1 = class_scores(labels, decided, held_out.classes)["macro_f1"] if (labels != UNLABELLED).any() else None
    return Candidate(
        way=way,
        agreement=float((decided == wanted.argmax(axis=1)).mean()),
        macro_f1=macro_f1,
        error=float(np.sqrt(np.square(logits - wanted).mean()) / max(float(wanted.std()), 1e-9)),
        n_bytes=len(made.int8),
        n_compressed_bytes=len(zlib.compress(made.int8, 9)),
        is_kept=is_kept,
        why=why,
    )


def _judged(found: Candidate, best: Candidate, settings: FineTuneSettings) -> tuple[bool, str]:
    """Return whether a candidate is better than the best so far, and the figures that say so."""
    if found.macro_f1 is not None and best.macro_f1 is not None:
        gain, measure = found.macro_f1 - best.macro_f1, "macro-F1"
    else:
        gain, measure = found.agreement - best.agreement, "agreement with float"
    change = f"{measure} {100 * gain:+.2f} points against {best.way}; {_figures(found)}"
    if found.way != "pruned":
        return gain >= settings.min_gain, f"{change}; {100 * settings.min_gain:g} wanted"
    saving = 1 - found.n_compressed_bytes / best.n_compressed_bytes
    is_kept = gain >= -settings.max_loss and saving >= settings.min_saving
    return is_kept, f"{change}; compressed file {saving:.0%} smaller, {settings.min_saving:.0%} wanted"


def _figures(found: Candidate) -> str:
    f1 = "" if found.macro_f1 is None else f"macro-F1 {found.macro_f1:.4f}, "
    return f"{f1}decides as float in {found.agreement:.2%}, error {found.error:.3f}, {found.n_compressed_bytes} bytes compressed"


def _with(candidate: Candidate, *, is_kept: bool, why: str) -> Candidate:
    return Candidate(**{**asdict(candidate), "is_kept": is_kept, "why": why})
