"""The same inputs through every runtime that is to be had here, each in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converter import runtime_worker
from converter.graph import read_graph
from edge.errors import EdgeError

TFLITE_PYTHON = "VITALEDGE_TFLITE_PYTHON"
"""Environment variable with the interpreter of an environment that holds numpy<2 and tflite-runtime."""
TFLITE_VENV = Path(".venv-tflite/bin/python")
"""Where it is looked for otherwise."""
TIMEOUT_S = 600.0

_ARENA = re.compile(r"Arena allocation total (\d+) bytes")


class BackendMissingError(EdgeError):
    """A runtime is not installed here; the message says what was looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """What one runtime answered."""

    backend: str
    version: str
    output: NDArray[np.int8] | NDArray[np.float32]
    """Shape (n_examples, n_labels)."""
    latency_us: NDArray[np.float64]
    """Of each ``invoke``, on one thread."""
    arena_bytes: int | None = None
    """Working memory of TFLite Micro in a build for 64 bits; a microcontroller's pointers are half as long."""


def run_model(
    backend: str, model: bytes, inputs: Mapping[str, NDArray[np.int8]] | Mapping[str, NDArray[np.float32]]
) -> Runs:
    """Return what a model answers to every example, one at a time.

    Parameters
    ----------
    backend : str
        ``litert``, ``litert-reference``, ``tflite`` or ``tflm``.
    model : bytes
        A TFLite file, int8 or float.
    inputs : mapping of str to ndarray
        By name; the first axis counts examples, type and shape are those of the tensors.

    Raises
    ------
    BackendMissingError
        If the runtime is not installed.
    EdgeError
        If it cannot run the model.
    """
    python, script, names = _program(backend, model)
    with tempfile.TemporaryDirectory(prefix="vitaledge-") as folder:
        at = Path(folder)
        (at / "model.tflite").write_bytes(model)
        np.savez(at / "inputs.npz", allow_pickle=False, **inputs)
        files = [str(at / name) for name in ("model.tflite", "inputs.npz", "out.npz")]
        words = [] if backend == "tflm" else [backend]
        # -I: this folder has modules whose names others have too.
        done = _call([python, "-I", "-W", "ignore", str(script), *words, *files, *names], backend)
        if "ModuleNotFoundError" in done.stderr:
            raise BackendMissingError(f"{backend} is not installed for {python}: {_last_line(done)}")
        if done.returncode:
            raise EdgeError(f"{backend} cannot run the model: {_last_line(done)}")
        with np.load(at / "out.npz", allow_pickle=False) as file:
            output, latency_ns, version = file["output"], file["latency_ns"], str(file["version"])
    arena = _ARENA.search(done.stderr)
    return Runs(
        backend=backend,
        version=version,
        output=output,
        latency_us=latency_ns / 1000.0,
        arena_bytes=int(arena.group(1)) if arena else None,
    )


def tflite_python() -> str:
    """Return the interpreter of an environment with tflite-runtime.

    Raises
    ------
    BackendMissingError
        If there is none.
    """
    named = os.environ.get(TFLITE_PYTHON)
    if named:
        if not Path(named).exists():
            raise BackendMissingError(f"{TFLITE_PYTHON} names {named}, which does not exist")
        return named
    if TFLITE_VENV.exists():
        return str(TFLITE_VENV)
    if importlib.util.find_spec("tflite_runtime") is not None:
        return sys.executable
    raise BackendMissingError(
        f"tflite-runtime is not installed, and neither {TFLITE_PYTHON} nor {TFLITE_VENV} names an environment with it",
        hint="python3.11 -m venv .venv-tflite && .venv-tflite/bin/pip install tflite-runtime==2.14.0 'numpy<2'",
    )


def _program(backend: str, model: bytes) -> tuple[str, Path, list[str]]:
    """Return interpreter, script and further arguments."""
    here = Path(__file__).resolve().parent
    if backend == "tflm":
        if importlib.util.find_spec("tflite_micro") is None:
            raise BackendMissingError("tflite-micro is not installed", hint="pip install tflite-micro")
        graph = read_graph(model)
        names = [runtime_worker.plain_name(graph.tensors[index].name) for index in graph.inputs]
        return sys.executable, here / "tflm.py", names
    if backend == "tflite":
        return tflite_python(), here / "runtime_worker.py", []
    if backend not in runtime_worker.MODULES:
        raise ValueError(f"expected litert, litert-reference, tflite or tflm, got {backend!r}")
    if importlib.util.find_spec("ai_edge_litert") is None:
        raise BackendMissingError("LiteRT is not installed", hint="pip install 'vitaledge[litert]'")
    return sys.executable, here / "runtime_worker.py", []


def _call(command: list[str], backend: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise EdgeError(f"{backend} was still running after {TIMEOUT_S:g} s") from error
    except OSError as error:
        raise BackendMissingError(f"{command[0]} cannot be run: {error.strerror}") from error


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    how = f"the process ended by signal {-done.returncode}" if done.returncode < 0 else ""
    return ": ".join(filter(None, [how, lines[-1][:300] if lines else ""])) or f"exit code {done.returncode}"
