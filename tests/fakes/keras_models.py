"""Small Keras models for the tests of the converter, made in a process of their own: ``python keras_models.py FOLDER``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

N_CLASSES = 3
N_SAMPLES = 40


def waves(n: int, seed: int):
    """Return labelled windows, float32 (n, 40, 1), of three shapes that differ little, and labels."""
    import numpy as np

    rng = np.random.default_rng(seed)
    labels = rng.integers(0, N_CLASSES, n)
    time = np.linspace(0, 1, N_SAMPLES)
    shapes = np.stack([np.sin(2 * np.pi * (2 + 0.25 * k) * time) for k in range(N_CLASSES)])
    values = shapes[labels] * rng.uniform(0.8, 1.2, (n, 1)) + rng.normal(0, 0.2, (n, N_SAMPLES))
    return values[..., None].astype(np.float32), labels.astype(np.int64)


def main(folder: Path) -> None:
    """Write ``beat.keras`` (two inputs), ``norm.keras``, ``dilated.keras``, ``waves.keras`` (trained) and ``unequal.keras``."""
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0")
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(0)
    samples, features = keras.Input((24, 2), name="samples"), keras.Input((4,), name="features")
    seen = layers.GlobalAveragePooling1D()(layers.Conv1D(8, 5, strides=2, activation="relu")(samples))
    known = layers.Dense(8, activation="relu")(features)
    logits = layers.Add(name="logits")([layers.Dense(N_CLASSES)(seen), layers.Dense(N_CLASSES)(known)])
    keras.Model([samples, features], logits).save(folder / "beat.keras")

    window = keras.Input((24, 2), name="samples")
    normal = layers.LayerNormalization()(layers.Conv1D(4, 3)(window))
    flat = layers.GlobalAveragePooling1D()(normal)
    keras.Model(window, layers.Dense(N_CLASSES, name="logits")(flat)).save(folder / "norm.keras")

    window = keras.Input((24, 2), name="samples")
    wide = layers.Conv1D(4, 3, dilation_rate=2, padding="same", activation="relu")(window)
    wide = layers.GlobalAveragePooling1D()(wide)
    keras.Model(window, layers.Dense(N_CLASSES, name="logits")(wide)).save(folder / "dilated.keras")

    values, labels = waves(600, seed=0)
    window = keras.Input((N_SAMPLES, 1), name="samples")
    found = layers.Conv1D(8, 9, strides=2, activation="relu")(window)
    found = layers.GlobalAveragePooling1D()(layers.Conv1D(16, 5, activation="relu")(found))
    model = keras.Model(window, layers.Dense(N_CLASSES, name="logits")(found))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(values, labels, batch_size=64, epochs=20, verbose=0)
    model.save(folder / "waves.keras")

    # The same function, with two channels a hundred times larger than the others: hard for int8.
    first, second = (layer for layer in model.layers if isinstance(layer, layers.Conv1D))
    kernel, bias = first.get_weights()
    kernel[..., :2] *= 100
    bias[:2] *= 100
    first.set_weights([kernel, bias])
    kernel, bias = second.get_weights()
    kernel[:, :2] /= 100
    second.set_weights([kernel, bias])
    model.save(folder / "unequal.keras")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
