"""TensorFlow and Keras, loaded late and kept quiet; the only file of training that imports them.

Importing TensorFlow takes 8 to 12 s and prints a page, so nothing imports it before a network is really needed.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from edge.errors import EdgeError

HINT = "pip install 'vitaledge[convert]'"


class MissingPackageError(EdgeError):
    """A package of the extra ``convert`` is not installed."""


def require_tensorflow() -> None:
    """Look whether TensorFlow and Keras are installed, without loading them: told before hours of reading.

    Raises
    ------
    MissingPackageError
        If one of them is not.
    """
    missing = [name for name in ("tensorflow", "keras") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackageError(f"training needs {' and '.join(missing)}, not installed here", hint=HINT)


def load_keras() -> ModuleType:
    """Return ``keras`` on its TensorFlow backend.

    Raises
    ------
    MissingPackageError
        If it is not installed or cannot be loaded; the hint names the extra.
    EdgeError
        If Keras runs on another backend.
    """
    # Read when TensorFlow is first loaded, and only then: what is set already is the user's wish.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # the same sums in the same order on every processor
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # such small networks train faster without a graphics card
    try:
        with _silence():
            import keras
            import tensorflow as tf

            tf.get_logger().setLevel("ERROR")
    except ImportError as error:
        raise MissingPackageError(f"training needs TensorFlow and Keras 3: {error}", hint=HINT) from error
    if keras.backend.backend() != "tensorflow":
        raise EdgeError(
            f"expected Keras on the TensorFlow backend, got {keras.backend.backend()}",
            hint="unset KERAS_BACKEND, or set it to tensorflow",
        )
    module: ModuleType = keras
    return module


def load_tensorflow() -> ModuleType:
    """Return ``tensorflow``.

    Raises
    ------
    MissingPackageError
        If it is not installed or cannot be loaded; the hint names the extra.
    """
    load_keras()
    import tensorflow as tf

    module: ModuleType = tf
    return module


@contextmanager
def _silence() -> Iterator[None]:
    """Keep from stderr what TensorFlow's C++ says while it is loaded, before it heeds its own log level."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
