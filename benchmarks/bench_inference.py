"""What one decision of a model costs: in which runtime, int8 or float, with what memory, and what our own code adds.

Four questions, for every bundle (default: the two that come with this software), on one core and one thread:

* Latency of the model alone, int8 and float, in LiteRT, tflite-runtime and ONNX Runtime: p50 and p99 of the best of
  ``--repeat`` runs over ``--examples`` examples made from the golden vectors.
* What the runtime's own code adds to the model: scaling, normalising, quantizing, calibrating, deciding.
* Memory above that of numpy alone, each in a fresh process.
* Whether the answers agree.

The float model is the ``.float.tflite`` that ``vitaledge-convert quantize`` leaves beside the int8 one.  The other
runtimes live in environments of their own (``requirements/tflite.txt``, ``requirements/onnx.txt``) and are named where
they are missing.

    python benchmarks/bench_inference.py --float beat=beat.float.tflite --float rhythm=rhythm.float.tflite
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from machine import heading
from numpy.typing import NDArray

from converter.backends import BackendMissingError, Runs, run_model
from converter.graph import read_graph
from converter.verify import integers_of, prepare
from edge.errors import EdgeError
from edge.inference.bundle import Bundle, load_bundle
from edge.inference.card import FeaturesInput, SamplesInput
from edge.inference.classifier import Classifier
from edge.inference.interpreter import Interpreter
from edge.inference.predictor import Predictor
from edge.messages import Window

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("numpy", "ai-edge-litert", "tflite-micro", "pydantic", "cryptography")
ONNX_VENV = Path(".venv-onnx/bin/python")
MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A bundle, its float original, and examples for both."""

    bundle: Bundle
    path: Path
    floating: bytes | None
    raw: Mapping[str, NDArray[np.float64]]
    prepared: Mapping[str, NDArray[np.float32]]
    integers: Mapping[str, NDArray[np.int8]]

    @property
    def name(self) -> str:
        """Name and version."""
        return self.bundle.card.title


def read_model(path: Path, floating: Path | None, n_examples: int) -> Model:
    """Return a bundle with examples: its golden vectors over and over, each time a little changed."""
    bundle = load_bundle(path, allow_unsigned=True)
    rng = np.random.default_rng(0)
    raw = {}
    for each in bundle.card.inputs:
        golden = np.stack([case.inputs[each.name] for case in bundle.golden])
        rows = np.resize(golden, (n_examples, *golden.shape[1:]))
        spread = np.nanstd(golden) if not isinstance(each, FeaturesInput) else 0.0
        raw[each.name] = rows + 0.02 * spread * rng.standard_normal(rows.shape)
    prepared, _ = prepare(bundle.card, raw)
    return Model(
        bundle=bundle,
        path=path,
        floating=None if floating is None else floating.read_bytes(),
        raw=raw,
        prepared=prepared,
        integers=integers_of(read_graph(bundle.model), prepared),
    )


# --- latency of the model alone ---------------------------------------------------------------------------


def best_run(backend: str, model: bytes, inputs: Mapping[str, NDArray[np.generic]], n_repeats: int) -> Runs | None:
    """Return the run with the lowest median of several processes; None where the runtime is missing."""
    try:
        runs = [run_model(backend, model, inputs) for _ in range(n_repeats)]  # type: ignore[arg-type]
    except BackendMissingError as missing:
        print(f"{backend}: {missing}", file=sys.stderr)
        return None
    return min(runs, key=lambda each: float(np.median(each.latency_us)))


def onnx_run(model: Model, python: Path, n_repeats: int) -> tuple[str, list[NDArray[np.float64]]] | None:
    """Return ONNX Runtime's version and its latencies in µs, int8 first; None where it is missing."""
    if model.floating is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / name) for name in ("float.tflite", "inputs.npz", "out.npz")]
        Path(files[0]).write_bytes(model.floating)
        np.savez(files[1], allow_pickle=False, **model.prepared)
        worker = Path(__file__).with_name("onnx_worker.py")
        done = subprocess.run(
            [python, "-W", "ignore", worker, *files, str(n_repeats)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
        )
        if done.returncode:
            print(f"ONNX Runtime: {(done.stderr.strip().splitlines() or ['?'])[-1]}", file=sys.stderr)
            return None
        with np.load(files[2], allow_pickle=False) as file:
            apart = np.abs(file["int8_output"].argmax(axis=1) == file["output"].argmax(axis=1)).mean()
            print(f"{model.name}: ONNX Runtime int8 decides as its float in {apart:.1%}", file=sys.stderr)
            return str(file["version"]), [file["int8_ns"] / 1000, file["float_ns"] / 1000]


def print_latency(models: Sequence[Model], onnx_python: Path, n_repeats: int) -> None:
    """Print p50 and p99 of every runtime."""
    print("### Latency of the model alone, µs, p50 (p99)\n")
    print("| model | runtime | int8 | float | int8 ÷ float |\n|---|---|---|---|---|")
    for model in models:
        n_bytes = f"{len(model.bundle.model):,} bytes"
        for backend in ("litert", "tflite"):
            int8 = best_run(backend, model.bundle.model, model.integers, n_repeats)
            if int8 is None:
                print(f"| {model.name} | {backend} is not installed | | | |")
                continue
            floating = None if model.floating is None else best_run(backend, model.floating, model.prepared, n_repeats)
            times = [int8.latency_us, None if floating is None else floating.latency_us]
            print(f"| {model.name}, {n_bytes} | {backend} {int8.version} | {_times(times)} |")
        found = onnx_run(model, onnx_python, n_repeats)
        if found is None:
            print(f"| {model.name} | ONNX Runtime is not installed, or there is no float model | | | |")
        else:
            print(f"| {model.name}, {n_bytes} | ONNX Runtime {found[0]} | {_times(found[1])} |")
    print()


def _times(times_us: Sequence[NDArray[np.float64] | None]) -> str:
    cells = ["–" if each is None else f"{np.median(each):.1f} ({np.quantile(each, 0.99):.1f})" for each in times_us]
    int8, floating = times_us
    ratio = "–" if int8 is None or floating is None else f"**{np.median(int8) / np.median(floating):.2f}**"
    return " | ".join([*cells, ratio])


# --- what our own code adds -------------------------------------------------------------------------------


def windows(model: Model) -> list[Window]:
    """Return the examples as the windows that the runtime's stages make."""
    card = model.bundle.card
    (samples,) = [each for each in card.inputs if isinstance(each, SamplesInput)]
    features = [each for each in card.inputs if isinstance(each, FeaturesInput)]
    step_ns = round(1e9 * samples.n_samples / samples.rate_hz)
    return [
        Window(
            sensor="bench",
            stream="ecg",
            values=values,
            rate_hz=samples.rate_hz,
            start_ns=number * step_ns,
            sequence=number * samples.n_samples,
            quality=1.0,
            model=card.task,
            features={
                feature.name: float(value)
                for each in features
                for feature, value in zip(each.features, model.raw[each.name][number], strict=True)
            },
        )
        for number, values in enumerate(model.raw[samples.name])
    ]


def p50_p99_us(call: Callable[[int], object], n: int, n_repeats: int) -> tuple[float, float]:
    """Return median and 99th percentile of one call, of the run with the lowest median."""
    best = (float("inf"), float("inf"))
    for _ in range(n_repeats):
        times_ns = []
        for number in range(n):
            began_ns = time.perf_counter_ns()
            call(number)
            times_ns.append(time.perf_counter_ns() - began_ns)
        p50, p99 = np.quantile(times_ns, [0.5, 0.99])
        best = min(best, (float(p50) / 1000, float(p99) / 1000))
    return best


def print_overhead(models: Sequence[Model], n_repeats: int) -> None:
    """Print what `Predictor.answer` and `Classifier.push` cost beyond the model itself."""
    print("### What the runtime adds to the model, µs, p50 (p99)\n")
    print("| model | invoke | run: with setting and reading tensors | answer: raw inputs to probabilities | added "
          "| push: a window to a prediction | added |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for model in models:
        interpreter = Interpreter(model.bundle.model, backend="litert")
        predictor = Predictor(model.bundle.card, interpreter)
        classifier = Classifier(model.bundle.card, model.bundle.sha256, interpreter)
        n = len(next(iter(model.raw.values())))
        tensors = [{name: rows[k : k + 1] for name, rows in model.integers.items()} for k in range(n)]
        named = [predictor.named({name: rows[k] for name, rows in model.raw.items()}) for k in range(n)]
        shown = windows(model)
        runtime = interpreter._runtime  # noqa: SLF001 -- the model alone, in the very interpreter that is measured
        interpreter.run(tensors[0])
        invoke = p50_p99_us(lambda _, runtime=runtime: runtime.invoke(), n, n_repeats)
        run = p50_p99_us(lambda k, it=interpreter, rows=tensors: it.run(rows[k]), n, n_repeats)
        answer = p50_p99_us(lambda k, it=predictor, rows=named: it.answer(rows[k]), n, n_repeats)
        push = p50_p99_us(lambda k, it=classifier, rows=shown: it.push(rows[k]), n, n_repeats)
        cells = [f"{p50:.1f} ({p99:.1f})" for p50, p99 in (invoke, run, answer, push)]
        added = [f"**{each[0] - invoke[0]:.1f}**" for each in (answer, push)]
        print(f"| {model.name} | {cells[0]} | {cells[1]} | {cells[2]} | {added[0]} | {cells[3]} | {added[1]} |")
    print()


# --- memory -----------------------------------------------------------------------------------------------

MEASURE = """
import sys
from pathlib import Path
import numpy
def used():
    rows = dict(line.split(":") for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    return [int(rows[key].split()[0]) for key in ("Rss", "Pss", "Private_Dirty")]
{work}
print(*used())
"""
RUNTIME_ONLY = """
from ai_edge_litert.interpreter import Interpreter
for path in {models!r}:
    it = Interpreter(model_path=path, num_threads=1)
    it.allocate_tensors()
    for each in it.get_input_details():
        it.set_tensor(each["index"], numpy.zeros(each["shape"], each["dtype"]))
    it.invoke()
"""
OURS = """
from edge.inference.bundle import load_bundle
from edge.inference.interpreter import Interpreter
from edge.inference.classifier import Classifier
kept = []
for path in {bundles!r}:
    bundle = load_bundle(Path(path), allow_unsigned=True)
    classifier = Classifier(bundle.card, bundle.sha256, Interpreter(bundle.model, backend="litert"))
    classifier.verify(bundle.golden)
    kept.append(classifier)
    del bundle
"""
IMPORTS = "import edge.config, edge.messages, cryptography.hazmat.primitives.asymmetric.ed25519\n"


def memory_kib(work: str) -> list[int]:
    """Return RSS, PSS and private memory in KiB of a fresh process after `work`, the middle of five."""
    found = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", MEASURE.format(work=work)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append([int(word) for word in done.stdout.split()])
    return sorted(found)[2]


def print_memory(models: Sequence[Model]) -> None:
    """Print what inference needs above numpy, alone and in a process that has the rest of the runtime already."""
    print("### Memory of a fresh process, MiB\n")
    print("| | RSS | PSS | private | RSS above the row that it is compared with |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, model in enumerate(models):
            path = Path(folder) / f"{number}.tflite"
            path.write_bytes(model.bundle.model)
            paths.append(str(path))
        ours = OURS.format(bundles=[str(model.path.resolve()) for model in models])
        rows = {
            "numpy": ("", None),
            "numpy, LiteRT, all models run once": (RUNTIME_ONLY.format(models=paths), "numpy"),
            "numpy, configuration and messages of VitalEdge": (IMPORTS, "numpy"),
            "the same, all bundles verified and their golden vectors run": (
                IMPORTS + ours,
                "numpy, configuration and messages of VitalEdge",
            ),
        }
        found: dict[str, list[int]] = {}
        for name, (work, base) in rows.items():
            found[name] = memory_kib(work)
            above = "–" if base is None else f"**{(found[name][0] - found[base][0]) / 1024:.1f}** ({base})"
            cells = " | ".join(f"{kib / 1024:.1f}" for kib in found[name])
            print(f"| {name} | {cells} | {above} |")
    print()


# --- agreement --------------------------------------------------------------------------------------------


def print_agreement(models: Sequence[Model]) -> None:
    """Print how far the runtimes are apart on the same int8 inputs."""
    print("### Other runtimes against LiteRT, the same int8 inputs\n")
    print("| model | runtime | same decision | same bytes | largest difference, steps | arena, KiB |")
    print("|---|---|---|---|---|---|")
    for model in models:
        usual = run_model("litert", model.bundle.model, model.integers)
        for backend in ("litert-reference", "tflite", "tflm"):
            try:
                found = run_model(backend, model.bundle.model, model.integers)
            except BackendMissingError:
                print(f"| {model.name} | {backend} is not installed | | | | |")
                continue
            apart = np.abs(found.output.astype(int) - usual.output.astype(int)).max(axis=1)
            same = (found.output.argmax(axis=1) == usual.output.argmax(axis=1)).mean()
            arena = "–" if found.arena_bytes is None else f"{found.arena_bytes / 1024:.1f}"
            cells = f"{same:.2%} | {(apart == 0).mean():.1%} | {apart.max()} | {arena}"
            print(f"| {model.name} | {backend} {found.version} | {cells} |")
    print()


def main() -> None:
    """Read the command line, measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shipped = [ROOT / "edge" / "models" / name for name in ("beat", "rhythm")]
    parser.add_argument("bundles", type=Path, nargs="*", default=shipped, help="folders of bundles")
    parser.add_argument(
        "--float", dest="floats", action="append", default=[], metavar="NAME=FILE", help="float model of a bundle"
    )
    parser.add_argument("--onnx-python", type=Path, default=ONNX_VENV, help="interpreter with onnxruntime and tf2onnx")
    parser.add_argument("--examples", type=int, default=2000, help="examples of a run")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the best counts")
    parser.add_argument("--only", choices=("latency", "overhead", "memory", "agreement"), help="one part alone")
    options = parser.parse_args()
    floats = {name: Path(path) for name, _, path in (each.partition("=") for each in options.floats)}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core, for this process and its children
    models = [read_model(path, floats.get(path.name), options.examples) for path in options.bundles]
    onnx_python = options.onnx_python if options.onnx_python.exists() else Path(sys.executable)
    print(heading(PACKAGES))
    parts: Mapping[str, Callable[[], None]] = {
        "latency": lambda: print_latency(models, onnx_python, options.repeat),
        "overhead": lambda: print_overhead(
            [each for each in models if each.bundle.card.task != "other"], options.repeat
        ),
        "memory": lambda: print_memory(models),
        "agreement": lambda: print_agreement(models),
    }
    for name, part in parts.items():
        if options.only in {None, name}:
            part()


if __name__ == "__main__":
    try:
        main()
    except EdgeError as error:
        sys.exit(f"{error}\n{error.hint}")
