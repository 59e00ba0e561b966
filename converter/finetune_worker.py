"""The process in which a trained network is taught to live with int8, or with fewer weights.

    python -m converter.finetune_worker REQUEST.json

The network learns to answer as it did before (distillation: no labels are needed, and whatever the loss of the recipe was,
it is not undone) while its weights and the values between its layers are rounded as int8 will round them, or while its
smallest weights are held at zero.  What comes out is the same network with other weights: an ordinary Keras file.

References
----------
.. [1] Y. Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons", arXiv:1308.3432: the gradient
   passes the rounding as if it were not there.
.. [2] B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
   CVPR 2018, arXiv:1712.05877.
.. [3] M. Zhu, S. Gupta, "To prune, or not to prune", arXiv:1710.01878: sparsity rises with the cube.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_STEPS = 255.0
_WEIGHT_STEPS = 127.0
_LAST_SHARE_AT_FULL_SPARSITY = 0.5


def main(argv: list[str]) -> int:
    """Train as the request says and write ``tuned.keras``."""
    import keras
    import tensorflow as tf

    request = json.loads(Path(argv[0]).read_text())
    keras.utils.set_random_seed(request["seed"])
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = keras.models.load_model(request["model"], compile=False)
    teacher = keras.models.load_model(request["model"], compile=False)
    with np.load(request["examples"], allow_pickle=False) as file:
        values = {name: file[name].astype(np.float32) for name in file.files}
    rows = [values[tensor.name] for tensor in model.inputs]
    student = rounded(model, rows) if request["mode"] == "round" else model
    train(student, teacher, rows, kernels_of(model), request)
    model.save(request["out"])
    return 0


def kernels_of(model: Any) -> list[Any]:
    """Return the weights that are many: those of convolutions and dense layers, not biases or normalisation."""
    return [variable for variable in model.trainable_variables if len(variable.shape) > 1]


def rounded(model: Any, rows: list[Any]) -> Any:
    """Return the same layers with rounding between them, in the ranges that the values have on the examples."""
    import keras

    outer = [layer.output for layer in model.layers if not isinstance(layer.output, list | dict | tuple)]
    seen = keras.Model(model.inputs, outer).predict(rows, verbose=0, batch_size=256)
    ranges = {tensor.name: (float(found.min()), float(found.max())) for tensor, found in zip(outer, seen, strict=True)}
    # Between a convolution and its normalisation or activation int8 keeps no value of its own: they become one step.
    joined = {tensor.name for tensor in outer if _is_joined(tensor)}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        result = layer(*args, **kwargs)
        name = getattr(layer.output, "name", None)
        return result if name not in ranges or name in joined else _Rounding(*ranges[name])(result)

    same = keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
    inputs = [keras.Input(tensor.shape[1:], name=tensor.name) for tensor in model.inputs]
    shown = [_Rounding(float(row.min()), float(row.max()))(each) for each, row in zip(inputs, rows, strict=True)]
    return keras.Model(inputs, same(_as_inputs(same, shown)))


def _as_inputs(model: Any, values: list[Any]) -> Any:
    """Return values in the order of ``model.inputs`` as the model was made to take them: one, a list or by name."""
    import keras

    return keras.tree.pack_sequence_as(model.input, values)


def _is_joined(tensor: Any) -> bool:
    import keras

    consumers = [node.operation for node in tensor._keras_history.operation._outbound_nodes]  # noqa: SLF001
    absorbing = (keras.layers.BatchNormalization, keras.layers.ReLU, keras.layers.Activation, keras.layers.Dropout)
    return bool(consumers) and all(isinstance(each, absorbing) for each in consumers)


def _Rounding(low: float, high: float) -> Any:  # noqa: N802 -- makes a layer, as a class would
    import keras
    from keras import ops

    low, high = min(low, 0.0), max(high, 0.0)  # 0 is always a whole step
    scale = max((high - low) / _STEPS, 1e-9)
    zero = round(low / scale)

    def call(values: Any) -> Any:
        bounded = ops.clip(values, zero * scale, (zero + _STEPS) * scale)
        return bounded + ops.stop_gradient(ops.round(bounded / scale) * scale - bounded)

    return keras.layers.Lambda(call)


def train(student: Any, teacher: Any, rows: list[Any], kernels: list[Any], request: dict[str, Any]) -> None:
    """Fit the student's answers to the teacher's, with the kernels rounded or thinned at every step."""
    import keras
    import tensorflow as tf

    n, batch = len(rows[0]), request["batch_size"]
    wanted = teacher.predict(_as_inputs(teacher, rows), verbose=0, batch_size=256)
    spread = max(float(wanted.std()), 1e-6)
    n_steps = max(1, n // batch) * request["epochs"]
    schedule = keras.optimizers.schedules.CosineDecay(request["learning_rate"], n_steps)
    optimizer = keras.optimizers.Adam(schedule)
    optimizer.build(student.trainable_variables)
    masks = [tf.Variable(tf.ones_like(kernel), trainable=False) for kernel in kernels]
    shaped = (_to_int8 if request["mode"] == "round" else _masked)(kernels, masks)

    @tf.function  # type: ignore[untyped-decorator]
    def step(inputs: list[Any], targets: Any) -> None:
        before = [tf.identity(kernel) for kernel in kernels]
        for kernel, values in zip(kernels, shaped(), strict=True):
            kernel.assign(values)
        with tf.GradientTape() as tape:
            error = (student(_as_inputs(student, inputs), training=False) - targets) / spread
            loss = tf.reduce_mean(tf.square(error))
        gradients = tape.gradient(loss, student.trainable_variables)
        for kernel, values in zip(kernels, before, strict=True):
            kernel.assign(values)
        optimizer.apply_gradients(zip(gradients, student.trainable_variables, strict=True))

    rng = np.random.default_rng(request["seed"])
    done = 0
    for _ in range(request["epochs"]):
        order = rng.permutation(n)
        for begin in range(0, max(1, n // batch) * batch, batch):
            if request["mode"] == "prune":
                _thin(kernels, masks, request["sparsity"], done / n_steps)
            chosen = order[begin : begin + batch]
            step([tf.constant(each[chosen]) for each in rows], tf.constant(wanted[chosen]))
            done += 1
    if request["mode"] == "prune":
        _thin(kernels, masks, request["sparsity"], 1.0)
        for kernel, mask in zip(kernels, masks, strict=True):
            kernel.assign(kernel * mask)


def _to_int8(kernels: list[Any], masks: list[Any]) -> Callable[[], list[Any]]:  # noqa: ARG001 -- the other way's shape
    import tensorflow as tf

    def shaped() -> list[Any]:
        found = []
        for kernel in kernels:
            values = tf.convert_to_tensor(kernel)
            # Normalisation that follows is folded into the kernel channel by channel, which moves the scale with it.
            is_depthwise = "depthwise" in kernel.path and len(kernel.shape) > 2
            axes = list(range(len(kernel.shape) - (2 if is_depthwise else 1)))
            scale = tf.maximum(tf.reduce_max(tf.abs(values), axis=axes, keepdims=True) / _WEIGHT_STEPS, 1e-12)
            found.append(tf.round(values / scale) * scale)
        return found

    return shaped


def _masked(kernels: list[Any], masks: list[Any]) -> Callable[[], list[Any]]:
    return lambda: [kernel * mask for kernel, mask in zip(kernels, masks, strict=True)]


def _thin(kernels: list[Any], masks: list[Any], sparsity: float, progress: float) -> None:
    """Mask the smallest weights of each kernel; the share of them rises to `sparsity` halfway through."""
    risen = min(1.0, progress / _LAST_SHARE_AT_FULL_SPARSITY)
    share = sparsity * (1 - (1 - risen) ** 3)
    for kernel, mask in zip(kernels, masks, strict=True):
        size = np.abs(kernel.numpy())
        mask.assign((size >= np.quantile(size, share)).astype(np.float32))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
