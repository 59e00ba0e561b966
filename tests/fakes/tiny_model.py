"""Small int8 TFLite models written by hand, so that tests need no TensorFlow.

`classifier_model` is one fully connected layer and a softmax on a window of one channel; with its weights of +1 and −1
the first label wins exactly when the window's mean is positive.  `linear_answer` computes the same in numpy.
`two_input_model` adds named numbers beside the samples and gives logits, as the shipped models do.

Bundles are signed with a key that is the same in every run and trusted by `TRUST` alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import TypeAdapter

from converter.sign import signature_file, trust_of
from edge.inference.card import ModelCard
from edge.inference.quantization import Quantization, TensorSpec, quantize

N_SAMPLES = 50
RATE_HZ = 25.0
LABELS = ("N", "AFIB")
INPUT = "window"
OUTPUT = "probabilities"
INPUT_SCALE = 0.02
INPUT_ZERO_POINT = -3
WEIGHT_SCALE = 0.05
SUM_SCALE = 0.02
SUM_ZERO_POINT = 4

KEY = Ed25519PrivateKey.from_private_bytes(b"a key for tests, known to all...")
TRUST = trust_of(KEY, "the tests")
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"another key, trusted by nobody..")


def classifier_model(
    *,
    n_samples: int = N_SAMPLES,
    n_labels: int = len(LABELS),
    is_float: bool = False,
    input_name: str = INPUT,
    output_name: str = OUTPUT,
) -> bytes:
    """Return a model of shape (1, n_samples, 1) → (1, n_labels)."""
    from ai_edge_litert import schema_py_generated as schema

    number = schema.TensorType.FLOAT32 if is_float else schema.TensorType.INT8
    weights = np.ones((n_labels, n_samples), dtype=np.float32 if is_float else np.int8)
    weights[1::2] = -1
    builder = _Builder(schema)
    window = builder.tensor(input_name, (1, n_samples, 1), number, INPUT_SCALE, INPUT_ZERO_POINT)
    kernel = builder.tensor("kernel", weights.shape, number, WEIGHT_SCALE, 0, content=weights)
    sums = builder.tensor("sums", (1, n_labels), number, SUM_SCALE, SUM_ZERO_POINT)
    probabilities = builder.tensor(output_name, (1, n_labels), number, 1 / 256, -128)
    builder.operator(
        schema.BuiltinOperator.FULLY_CONNECTED,
        [window, kernel, -1],
        [sums],
        schema.BuiltinOptions.FullyConnectedOptions,
        schema.FullyConnectedOptionsT(),
        version=4,
    )
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    builder.operator(
        schema.BuiltinOperator.SOFTMAX,
        [sums],
        [probabilities],
        schema.BuiltinOptions.SoftmaxOptions,
        softmax,
        version=2,
    )
    return builder.build([window], [probabilities])


def quantize_model(*, n_values: int, scale: float, zero_point: int) -> bytes:
    """Return a model of one QUANTIZE operator, float in and int8 out."""
    from ai_edge_litert import schema_py_generated as schema

    builder = _Builder(schema)
    real = builder.tensor("real", (n_values,), schema.TensorType.FLOAT32)
    integer = builder.tensor("integer", (n_values,), schema.TensorType.INT8, scale, zero_point)
    builder.operator(
        schema.BuiltinOperator.QUANTIZE,
        [real],
        [integer],
        schema.BuiltinOptions.QuantizeOptions,
        schema.QuantizeOptionsT(),
        version=1,
    )
    return builder.build([real], [integer])


FEATURES_INPUT = "features"
N_FEATURES = 3
LOGIT_SCALE = 0.1


def two_input_model(*, n_samples: int = N_SAMPLES, n_features: int = N_FEATURES, n_labels: int = 2) -> bytes:
    """Return a model of samples (1, n_samples, 1) and features (1, n_features) → logits (1, n_labels).

    The logit of the first label is the sum of samples and features, each times its weight; of the second its opposite.
    """
    from ai_edge_litert import schema_py_generated as schema

    builder = _Builder(schema)
    parts = []
    for name, shape, n_values, scale in (
        (INPUT, (1, n_samples, 1), n_samples, INPUT_SCALE),
        (FEATURES_INPUT, (1, n_features), n_features, 1 / 127),
    ):
        weights = np.ones((n_labels, n_values), dtype=np.int8)
        weights[1::2] = -1
        given = builder.tensor(name, shape, schema.TensorType.INT8, scale, INPUT_ZERO_POINT if name == INPUT else 0)
        kernel = builder.tensor(f"kernel_{name}", weights.shape, schema.TensorType.INT8, 0.05, 0, content=weights)
        total = builder.tensor(f"sums_{name}", (1, n_labels), schema.TensorType.INT8, LOGIT_SCALE / 2, 0)
        builder.operator(
            schema.BuiltinOperator.FULLY_CONNECTED,
            [given, kernel, -1],
            [total],
            schema.BuiltinOptions.FullyConnectedOptions,
            schema.FullyConnectedOptionsT(),
            version=4,
        )
        parts.append((given, total))
    logits = builder.tensor("logits", (1, n_labels), schema.TensorType.INT8, LOGIT_SCALE, 0)
    builder.operator(
        schema.BuiltinOperator.ADD,
        [total for _, total in parts],
        [logits],
        schema.BuiltinOptions.AddOptions,
        schema.AddOptionsT(),
        version=2,
    )
    return builder.build([given for given, _ in reversed(parts)], [logits])  # not in the order of the card


def add_model(*names: str) -> bytes:
    """Return a model that adds two int8 inputs."""
    from ai_edge_litert import schema_py_generated as schema

    builder = _Builder(schema)
    first, second, total = (builder.tensor(name, (1, 4), schema.TensorType.INT8, 0.1) for name in (*names, "total"))
    builder.operator(
        schema.BuiltinOperator.ADD,
        [first, second],
        [total],
        schema.BuiltinOptions.AddOptions,
        schema.AddOptionsT(),
        version=2,
    )
    return builder.build([first, second], [total])


def shape_model(*, n_inputs: int = 1, n_outputs: int = 1, scale: float | None = 0.1) -> bytes:
    """Return a model that copies its first input to its outputs; the other inputs lead nowhere."""
    from ai_edge_litert import schema_py_generated as schema

    builder = _Builder(schema)
    inputs = [builder.tensor(f"i{n}", (1, 4), schema.TensorType.INT8, scale) for n in range(n_inputs)]
    outputs = [builder.tensor(f"o{n}", (1, 4), schema.TensorType.INT8, scale) for n in range(n_outputs)]
    for output in outputs:
        builder.operator(
            schema.BuiltinOperator.RESHAPE,
            inputs[:1],
            [output],
            schema.BuiltinOptions.ReshapeOptions,
            reshape_options(schema, (1, 4)),
            version=1,
        )
    return builder.build(inputs, outputs)


def reshape_options(schema, shape):
    options = schema.ReshapeOptionsT()
    options.newShape = list(shape)
    return options


def uint8_model() -> bytes:
    """Return a model with int8 in and uint8 out."""
    from ai_edge_litert import schema_py_generated as schema

    builder = _Builder(schema)
    signed = builder.tensor("signed", (1, 4), schema.TensorType.INT8, 0.1)
    unsigned = builder.tensor("unsigned", (1, 4), schema.TensorType.UINT8, 0.1, 128)
    builder.operator(
        schema.BuiltinOperator.QUANTIZE,
        [signed],
        [unsigned],
        schema.BuiltinOptions.QuantizeOptions,
        schema.QuantizeOptionsT(),
        version=2,
    )
    return builder.build([signed], [unsigned])


def linear_answer(integers: np.ndarray, n_labels: int = len(LABELS)) -> np.ndarray:
    """Return what `classifier_model` answers to int8 (1, n_samples, 1), in plain arithmetic, int8 (1, n_labels)."""
    total = int(np.sum(integers.astype(np.int64) - INPUT_ZERO_POINT))
    signs = np.where(np.arange(n_labels) % 2, -1, 1)
    sums = np.clip(np.rint(signs * total * INPUT_SCALE * WEIGHT_SCALE / SUM_SCALE) + SUM_ZERO_POINT, -128, 127)
    logits = (sums - SUM_ZERO_POINT) * SUM_SCALE
    powers = np.exp(logits - logits.max())
    return np.clip(np.rint(256 * powers / powers.sum()) - 128, -128, 127).astype(np.int8)[np.newaxis]


class LinearRunner:
    """`classifier_model` in plain arithmetic: the interpreter's place in tests that need no runtime."""

    inputs: ClassVar = {
        INPUT: TensorSpec(
            name=INPUT,
            shape=(1, N_SAMPLES, 1),
            quantization=Quantization(scale=INPUT_SCALE, zero_point=INPUT_ZERO_POINT),
        )
    }
    output = TensorSpec(name=OUTPUT, shape=(1, 2), quantization=Quantization(scale=1 / 256, zero_point=-128))

    def __init__(self) -> None:
        self.n_runs = 0

    def run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        assert set(inputs) == set(self.inputs)
        values = inputs[INPUT]
        assert values.dtype == np.int8
        assert values.shape == self.inputs[INPUT].shape
        self.n_runs += 1
        return linear_answer(values)


class FeatureRunner(LinearRunner):
    """The same with an input of features that it does not heed."""

    inputs: ClassVar = LinearRunner.inputs | {
        FEATURES_INPUT: TensorSpec(
            name=FEATURES_INPUT, shape=(1, N_FEATURES), quantization=Quantization(scale=1 / 127, zero_point=0)
        )
    }


SAMPLES_INPUT = {
    "kind": "samples",
    "name": INPUT,
    "n_samples": N_SAMPLES,
    "channels": ["ecg"],
    "rate_hz": RATE_HZ,
    "unit": "mV",
}
OUTPUT_CARD = {
    "name": OUTPUT,
    "labels": list(LABELS),
    "thresholds": {"N": 0.6, "AFIB": 0.7},
    "codes": {"AFIB": {"snomed": "49436004"}},
    "activation": "softmax",
}
FEATURES_CARD = {
    "kind": "features",
    "name": FEATURES_INPUT,
    "features": [{"name": f"f{number}", "knots": [0.0, 1.0, 10.0]} for number in range(N_FEATURES)],
}
LOGITS_CARD = OUTPUT_CARD | {"name": "logits", "activation": "none"}


def card(**changes: object) -> ModelCard:
    """Return the card of `classifier_model`."""
    return TypeAdapter(ModelCard).validate_json(
        json.dumps(manifest({"model.tflite": b"m", "golden.json": b"g"}, **changes))
    )


def golden_windows(levels: Sequence[float] = (0.5, -0.5, 0.05)) -> list[dict]:
    """Return windows with the answers of `linear_answer`, as ``golden.json`` holds them."""
    windows = []
    for level in levels:
        values = level + 0.1 * np.sin(np.arange(N_SAMPLES))[:, np.newaxis]
        integers = quantize(values, Quantization(scale=INPUT_SCALE, zero_point=INPUT_ZERO_POINT))[np.newaxis]
        windows.append({"inputs": {INPUT: values.tolist()}, "output": linear_answer(integers)[0].tolist()})
    return windows


def manifest(files: dict[str, bytes], **changes: object) -> dict:
    """Return a manifest that fits `files`."""
    entries = {
        name: {"n_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    }
    return {
        "format_version": 2,
        "name": "tiny",
        "version": "0.1.0",
        "release": 3,
        "task": "rhythm",
        "created": "2026-11-01",
        "files": entries,
        "model": "model.tflite",
        "golden": "golden.json",
        "preprocessing": {"stage": "windows/1", "window_s": N_SAMPLES / RATE_HZ},
        "inputs": [SAMPLES_INPUT],
        "output": OUTPUT_CARD,
        "training_data": "none: its weights were chosen by hand",
        "licence": "Apache-2.0",
        "metrics": {"accuracy": 1.0},
    } | changes


def write_bundle(path, model: bytes | None = None, *, golden: object = None, key=KEY, **changes: object):
    """Write a bundle into the directory `path`, signed with `key` (None: unsigned), and return it."""
    golden = golden_windows() if golden is None else golden
    files = {
        "model.tflite": classifier_model() if model is None else model,
        "golden.json": golden if isinstance(golden, bytes) else json.dumps(golden).encode(),
    }
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name).write_bytes(content)
    (path / "manifest.json").write_text(json.dumps(manifest(files, **changes)))
    if key is not None:
        sign(path, key)
    return path


def sign(path, key=KEY):
    """Sign whatever manifest lies in the directory `path`: a signer that looks at nothing."""
    (path / "manifest.sig").write_bytes(signature_file((path / "manifest.json").read_bytes(), key))


class _Builder:
    """Collects tensors, buffers and operators of one graph."""

    def __init__(self, schema) -> None:
        self._schema = schema
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.description = "written by hand for tests"
        self._model.buffers = [schema.BufferT()]  # buffer 0 is empty by convention
        self._model.operatorCodes = []
        self._graph = schema.SubGraphT()
        self._graph.tensors = []
        self._graph.operators = []
        self._model.subgraphs = [self._graph]

    def tensor(self, name, shape, number, scale=None, zero_point=0, *, content=None) -> int:
        tensor = self._schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), number
        if content is not None:
            buffer = self._schema.BufferT()
            buffer.data = np.frombuffer(content.tobytes(), dtype=np.uint8)
            self._model.buffers.append(buffer)
            tensor.buffer = len(self._model.buffers) - 1
        if scale is not None and number != self._schema.TensorType.FLOAT32:
            tensor.quantization = self._schema.QuantizationParametersT()
            tensor.quantization.scale = [scale]
            tensor.quantization.zeroPoint = [zero_point]
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def operator(self, code, inputs, outputs, options_type, options, *, version) -> None:
        operator_code = self._schema.OperatorCodeT()
        operator_code.builtinCode = code
        operator_code.deprecatedBuiltinCode = min(code, 127)
        operator_code.version = version
        self._model.operatorCodes.append(operator_code)
        operator = self._schema.OperatorT()
        operator.opcodeIndex = len(self._model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, outputs
        operator.builtinOptionsType, operator.builtinOptions = options_type, options
        self._graph.operators.append(operator)

    def build(self, inputs, outputs) -> bytes:
        import flatbuffers

        self._graph.inputs, self._graph.outputs = inputs, outputs
        builder = flatbuffers.Builder(1024)
        builder.Finish(self._model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())
