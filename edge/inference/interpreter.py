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

from edge.errors import ModelContractError, ModelFault
from edge.inference.quantization import Quantization, TensorSpec

BACKENDS: Mapping[str, str] = {"litert": "ai_edge_litert.interpreter", "tflite": "tflite_runtime.interpreter"}
"""Names of the runtimes and the module of each, in the order in which ``auto`` tries them."""
_HINT = "pip install 'vitaledge[litert]'"
# What a runtime that does not fit the installed numpy raises when it builds its first interpreter.
_BROKEN_RUNTIME = (ImportError, AttributeError, SystemError)
# More outputs of a model than that are none of ours; more inputs than a card can name.
_MOST_TENSORS = 16


class Interpreter:
    """One int8 model with inputs bound by name and one output, ready to run.

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
        If no runtime works, or the model is not int8 throughout, or has not one output and inputs whose names differ.

    Notes
    -----
    A converter writes ``serving_default_samples:0`` for what its author called ``samples``; here it is ``samples``.
    """

    def __init__(self, model: bytes, *, backend: str = "auto", n_threads: int = 1) -> None:
        if backend != "auto" and backend not in BACKENDS:
            raise ValueError(f"expected backend auto, {', '.join(BACKENDS)}; got {backend!r}")
        self._backend, self._runtime = _build(model, tuple(BACKENDS) if backend == "auto" else (backend,), n_threads)
        _refuse_float(self._runtime)
        self._inputs, self._indices = _inputs(self._runtime.get_input_details())
        self._output_index, self._output = _output(self._runtime.get_output_details())

    @property
    def backend(self) -> str:
        """The runtime in use: ``litert`` or ``tflite``."""
        return self._backend

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """What `run` takes, by name."""
        return self._inputs

    @property
    def output(self) -> TensorSpec:
        """What `run` gives."""
        return self._output

    def run(self, inputs: Mapping[str, NDArray[np.int8]]) -> NDArray[np.int8]:
        """Return the model's answer to one example.

        Parameters
        ----------
        inputs : mapping of str to ndarray of int8
            Every input by name, each of exactly its tensor's shape.

        Raises
        ------
        ValueError
            If a name, type or shape differs.
        ModelContractError
            If the runtime cannot run the model.
        """
        if inputs.keys() != self._inputs.keys():
            raise ValueError(f"expected the inputs {', '.join(self._inputs)}, got {', '.join(inputs) or 'none'}")
        runtime = self._runtime
        for name, values in inputs.items():
            if values.dtype != np.int8 or values.shape != self._inputs[name].shape:
                shape = self._inputs[name].shape
                raise ValueError(f"{name}: expected int8 of shape {shape}, got {values.dtype} of {values.shape}")
        try:
            for name, values in inputs.items():
                runtime.set_tensor(self._indices[name], values)
            runtime.invoke()
            answer: NDArray[np.int8] = runtime.get_tensor(self._output_index)
        except (RuntimeError, ValueError) as error:
            message = f"the model cannot be run with {self._backend}: {_first_line(error)}"
            raise ModelContractError(message, reason=ModelFault.RUNTIME) from error
        return answer


def plain_name(tensor: str) -> str:
    """Return what the author of a model called a tensor.

    Examples
    --------
    >>> plain_name("serving_default_samples:0"), plain_name("samples")
    ('samples', 'samples')
    """
    return tensor.removeprefix("serving_default_").partition(":")[0]


def _build(model: bytes, backends: tuple[str, ...], n_threads: int) -> tuple[str, Any]:
    """Return the first runtime that builds an interpreter, with it."""
    faults = []
    for backend in backends:
        try:
            module: Any = importlib.import_module(BACKENDS[backend])
            runtime = module.Interpreter(model_content=model, num_threads=n_threads)
            runtime.allocate_tensors()
        except ModuleNotFoundError:
            faults.append(f"{backend}: not installed")
        except _BROKEN_RUNTIME as error:
            remedy = "; it needs numpy<2" if backend == "tflite" else ""
            faults.append(f"{backend}: {_first_line(error)}{remedy}")
        except (RuntimeError, ValueError) as error:
            message = f"no model that {backend} can load: {_first_line(error)}"
            raise ModelContractError(message, reason=ModelFault.RUNTIME) from error
        else:
            return backend, runtime
    message = f"no TFLite runtime works ({'; '.join(faults)})"
    raise ModelContractError(message, reason=ModelFault.RUNTIME, hint=_HINT)


def _refuse_float(runtime: Any) -> None:
    """Refuse a model that computes in floating point anywhere: a converter may leave such a part without a word."""
    floats = [detail["name"] for detail in runtime.get_tensor_details() if np.issubdtype(detail["dtype"], np.floating)]
    if floats:
        shown = ", ".join(repr(name) for name in floats[:3]) + (" …" if len(floats) > 3 else "")
        raise ModelContractError(
            f"expected an int8 model throughout, got {len(floats)} float tensors: {shown}",
            reason=ModelFault.NOT_INT8,
            hint="convert it with full integer quantization, inputs and outputs included",
        )


def _inputs(details: list[Mapping[str, Any]]) -> tuple[dict[str, TensorSpec], dict[str, int]]:
    specs: dict[str, TensorSpec] = {}
    indices: dict[str, int] = {}
    if not 1 <= len(details) <= _MOST_TENSORS:
        message = f"expected a model with 1 to {_MOST_TENSORS} inputs, got {len(details)}"
        raise ModelContractError(message, reason=ModelFault.MISMATCH)
    for detail in details:
        index, spec = _spec("input", detail)
        if spec.name in specs:
            message = f"expected inputs whose names differ, got {spec.name!r} twice"
            raise ModelContractError(message, reason=ModelFault.MISMATCH)
        specs[spec.name], indices[spec.name] = spec, index
    return specs, indices


def _output(details: list[Mapping[str, Any]]) -> tuple[int, TensorSpec]:
    if len(details) != 1:
        message = f"expected a model with one output, got {len(details)}"
        raise ModelContractError(message, reason=ModelFault.MISMATCH)
    return _spec("output", details[0])


def _spec(role: str, detail: Mapping[str, Any]) -> tuple[int, TensorSpec]:
    name, scales = plain_name(str(detail["name"])), detail["quantization_parameters"]["scales"]
    if detail["dtype"] is not np.int8 or len(scales) != 1:
        given = f"{np.dtype(detail['dtype'])} with {len(scales)} scales"
        message = f"{role} {name!r}: expected int8 with one scale, got {given}"
        raise ModelContractError(message, reason=ModelFault.NOT_INT8)
    zero_point = int(detail["quantization_parameters"]["zero_points"][0])
    try:
        quantization = Quantization(scale=float(scales[0]), zero_point=zero_point)
    except ValueError as error:
        raise ModelContractError(f"{role} {name!r}: {error}", reason=ModelFault.MISMATCH) from error
    shape = tuple(int(length) for length in detail["shape"])
    return int(detail["index"]), TensorSpec(name=name, shape=shape, quantization=quantization)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
