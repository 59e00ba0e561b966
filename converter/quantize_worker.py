"""The process in which TensorFlow converts a model, apart from the command because the converter may abort.

    python -m converter.quantize_worker REQUEST.json

The request names the model, the representative examples (``.npz``) and the folder for what comes out: ``model.tflite``,
``float.tflite`` and ``names.json`` with the plain names of inputs and outputs in the file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converter.graph import read_graph

_PREFIX = "serving_default_"
# Between them the dynamic batch hides how a dilated convolution is split up: TFLite Micro, which takes shapes from the
# file, then computes something else (measured: up to 192 steps), and LiteRT copies the signal around.
_NEEDS_FIXED_BATCH = frozenset({"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"})


def main(argv: list[str]) -> int:
    """Convert as the request says."""
    request = json.loads(Path(argv[0]).read_text())
    out = Path(request["out"])
    with np.load(request["representative"], allow_pickle=False) as file:
        representative = {name: file[name].astype(np.float32) for name in file.files}
    _settle(request["seed"])
    source, is_keras = Path(request["model"]), Path(request["model"]).is_file()
    names, make = (_keras if is_keras else _saved_model)(source, representative)
    batch: int | None = None
    model = _convert(make(batch), representative)
    if is_keras and _NEEDS_FIXED_BATCH & set(read_graph(model).operators):
        batch = 1
        model = _convert(make(batch), representative)
    (out / "model.tflite").write_bytes(model)
    (out / "float.tflite").write_bytes(_convert(make(batch), None))
    (out / "names.json").write_text(json.dumps({**names, "batch": batch}))
    return 0


def _settle(seed: int) -> None:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _keras(
    path: Path, representative: Mapping[str, NDArray[np.float32]]
) -> tuple[dict[str, list[str]], Callable[[int | None], Any]]:
    import keras
    import tensorflow as tf

    model = keras.models.load_model(path, compile=False)
    inputs = [tensor.name for tensor in model.inputs]
    _require(representative, {tensor.name: tuple(tensor.shape) for tensor in model.inputs})

    def make(batch: int | None) -> Any:
        if batch is None:
            return tf.lite.TFLiteConverter.from_keras_model(model)
        fixed = {
            tensor.name: keras.Input(batch_shape=(batch, *tensor.shape[1:]), name=tensor.name)
            for tensor in model.inputs
        }
        same = keras.Model(fixed, model(keras.tree.map_structure(lambda tensor: fixed[tensor.name], model.input)))
        return tf.lite.TFLiteConverter.from_keras_model(same)

    return {"inputs": inputs, "outputs": list(model.output_names)}, make


def _saved_model(
    path: Path, representative: Mapping[str, NDArray[np.float32]]
) -> tuple[dict[str, list[str]], Callable[[int | None], Any]]:
    import tensorflow as tf

    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    specs = signature.structured_input_signature[1]
    _require(representative, {name: tuple(spec.shape) for name, spec in specs.items()})
    names = {"inputs": list(specs), "outputs": list(signature.structured_outputs)}
    return names, lambda _: tf.lite.TFLiteConverter.from_saved_model(str(path))


def _require(representative: Mapping[str, NDArray[np.float32]], shapes: Mapping[str, tuple[int | None, ...]]) -> None:
    if set(representative) != set(shapes):
        raise SystemExit(
            f"expected representative values for the inputs {', '.join(sorted(shapes))}; "
            f"got {', '.join(sorted(representative))}"
        )
    for name, shape in shapes.items():
        given = representative[name].shape[1:]
        fits = len(given) == len(shape) - 1 and all(
            wanted in {None, got} for wanted, got in zip(shape[1:], given, strict=True)
        )
        if not fits:
            raise SystemExit(f"input {name}: expected examples of shape {shape[1:]}, got {given}")


def _convert(converter: Any, representative: Mapping[str, NDArray[np.float32]] | None) -> bytes:
    import tensorflow as tf

    if representative is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: _one_by_one(representative)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    model: bytes = converter.convert()
    return model


def _one_by_one(
    representative: Mapping[str, NDArray[np.float32]],
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield examples with their inputs by name: their order in the file differs between conversions."""
    for index in range(len(next(iter(representative.values())))):
        yield {name: values[index : index + 1] for name, values in representative.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
