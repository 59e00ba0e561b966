"""The TFLite runtimes behind one class; the only file that imports one.

Measured: one interpreter per thread, `get_input_details` costs as much as a small model (so it is called once), and
``tflite-runtime`` imports under numpy 2 but fails at the first interpreter (so a runtime counts as present only once it
has built one).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelContractError
from edge.inference.quantization import Quantization, TensorSpec

_MODULES: Mapping[str, str] = {"litert": "ai_edge_litert.interpreter", "tflite": "tflite_runtime.interpreter"}
_HINT = "pip install 'vitaledge[litert]'"
# What a runtime that does not fit the installed numpy raises when it builds its first interpreter.
_BROKEN_RUNTIME = (ImportError, AttributeError, SystemError)


class Interpreter:
    """One int8 model with one input and one output, ready to run.

    Parameters
    ----------
    model : bytes
        The TFLite file, already verified: a damaged one can crash a runtime.
    backend : str
        ``litert``, ``tflite``, or ``auto`` for the first that works.
    n_threads : int
        Threads of the kernels.  Default: one; the models are too small to gain from more.

    Raises
    ------
    ModelContractError
        If no runtime works, or the model is not int8 throughout, or has not one input and one output.
    """

    def __init__(self, model: bytes, *, backend: str = "auto", n_threads: int = 1) -> None:
        if backend != "auto" and backend not in _MODULES:
            raise ValueError(f"expected backend auto, {', '.join(_MODULES)}; got {backend!r}")
        self._backend, self._runtime = _build(model, tuple(_MODULES) if backend == "auto" else (backend,), n_threads)
        _refuse_float(self._runtime)
        self._input_index, self._input = _only("input", self._runtime.get_input_details())
        self._output_index, self._output = _only("output", self._runtime.get_output_details())

    @property
    def backend(self) -> str:
        """The runtime in use: ``litert`` or ``tflite``."""
        return self._backend

    @property
    def input(self) -> TensorSpec:
        """What `run` takes."""
        return self._input

    @property
    def output(self) -> TensorSpec:
        """What `run` gives."""
        return self._output

    def run(self, values: NDArray[np.int8]) -> NDArray[np.int8]:
        """Return the model's answer to one input.

        Parameters
        ----------
        values : ndarray of int8
            Of exactly the input's shape.

        Raises
        ------
        ValueError
            If type or shape differ.
        ModelContractError
            If the runtime cannot run the model.
        """
        if values.dtype != np.int8 or values.shape != self._input.shape:
            raise ValueError(f"expected int8 of shape {self._input.shape}, got {values.dtype} of {values.shape}")
        try:
            self._runtime.set_tensor(self._input_index, values)
            self._runtime.invoke()
            answer: NDArray[np.int8] = self._runtime.get_tensor(self._output_index)
        except (RuntimeError, ValueError) as error:
            raise ModelContractError(f"the model cannot be run with {self._backend}: {_first_line(error)}") from error
        return answer


def _build(model: bytes, backends: tuple[str, ...], n_threads: int) -> tuple[str, Any]:
    """Return the first runtime that builds an interpreter, with it."""
    faults = []
    for backend in backends:
        try:
            module: Any = importlib.import_module(_MODULES[backend])
            runtime = module.Interpreter(model_content=model, num_threads=n_threads)
            runtime.allocate_tensors()
        except ModuleNotFoundError:
            faults.append(f"{backend}: not installed")
        except _BROKEN_RUNTIME as error:
            remedy = "; it needs numpy<2" if backend == "tflite" else ""
            faults.append(f"{backend}: {_first_line(error)}{remedy}")
        except (RuntimeError, ValueError) as error:
            raise ModelContractError(f"no model that {backend} can load: {_first_line(error)}") from error
        else:
            return backend, runtime
    raise ModelContractError(f"no TFLite runtime works ({'; '.join(faults)})", hint=_HINT)


def _refuse_float(runtime: Any) -> None:
    """Refuse a model that computes in floating point anywhere: a converter may leave such a part without a word."""
    floats = [detail["name"] for detail in runtime.get_tensor_details() if np.issubdtype(detail["dtype"], np.floating)]
    if floats:
        shown = ", ".join(repr(name) for name in floats[:3]) + (" …" if len(floats) > 3 else "")
        message = f"expected an int8 model throughout, got {len(floats)} float tensors: {shown}"
        raise ModelContractError(message, hint="convert it with full integer quantization, inputs and outputs included")


def _only(role: str, details: list[Mapping[str, Any]]) -> tuple[int, TensorSpec]:
    if len(details) != 1:
        raise ModelContractError(f"expected a model with one {role}, got {len(details)}")
    (detail,) = details
    name, scales = str(detail["name"]), detail["quantization_parameters"]["scales"]
    if detail["dtype"] is not np.int8 or len(scales) != 1:
        given = f"{np.dtype(detail['dtype'])} with {len(scales)} scales"
        raise ModelContractError(f"{role} {name!r}: expected int8 with one scale, got {given}")
    zero_point = int(detail["quantization_parameters"]["zero_points"][0])
    try:
        quantization = Quantization(scale=float(scales[0]), zero_point=zero_point)
    except ValueError as error:
        raise ModelContractError(f"{role} {name!r}: {error}") from error
    shape = tuple(int(length) for length in detail["shape"])
    return int(detail["index"]), TensorSpec(name=name, shape=shape, quantization=quantization)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
