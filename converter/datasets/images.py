"""Pictures in one folder a class -> examples.

::

    data/cats/1.png            class "cats"; each picture is a group of its own
    data/dogs/rex/front.png    class "dogs"; all of "rex" are one group, never on both sides of a split
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converter.datasets.store import gather
from converter.examples import Examples
from edge.errors import EdgeError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".npy"})
INPUT = "image"
"""Name of the input."""


def image_examples(
    data: Path, *, size_px: int, n_colours: int = 3, cache: Path | None = None, jobs: int = 1
) -> Examples:
    """Return every picture below `data`, resized to a square, values 0 to 1.

    Raises
    ------
    EdgeError
        If there are not at least two class folders with pictures, or a picture cannot be read.
    """
    folders = sorted(each for each in data.iterdir() if each.is_dir()) if data.is_dir() else []
    found = {folder.name: sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES) for folder in folders}
    classes = tuple(name for name, files in found.items() if files)
    if len(classes) < 2:
        raise EdgeError(
            f"{data}: expected at least two folders with pictures, got {len(classes)}",
            hint=f"one folder a class, in it {', '.join(sorted(SUFFIXES))}",
        )
    work = partial(_one, data=data, classes=classes, size_px=size_px, n_colours=n_colours)
    return gather([file for name in classes for file in found[name]], work, cache=cache, jobs=jobs)


def read_image(path: Path, *, size_px: int, n_colours: int) -> NDArray[np.float32]:
    """Return a picture as values 0 to 1, shape (size_px, size_px, n_colours).

    A ``.npy`` file holds the values themselves: shape (height, width) or (height, width, n), whole numbers up to 255
    or numbers from 0 to 1.

    Raises
    ------
    EdgeError
        If it cannot be read as one.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise EdgeError(f"reading pictures needs Pillow: {error}", hint="pip install 'vitaledge[convert]'") from error
    try:
        if path.suffix.lower() == ".npy":
            values = np.load(path, allow_pickle=False)
            if np.issubdtype(values.dtype, np.floating):
                values = np.clip(values, 0.0, 1.0) * 255.0
            picture = Image.fromarray(np.asarray(values, dtype=np.uint8).squeeze())
        else:
            picture = Image.open(path)
        with picture:
            mode = "RGB" if n_colours == 3 else "L"
            resized = picture.convert(mode).resize((size_px, size_px), Image.Resampling.BILINEAR)
    except (OSError, ValueError, TypeError, SyntaxError) as error:  # SyntaxError: what Pillow raises on a broken PNG
        raise EdgeError(f"{path}: not a picture: {error}", hint="leave it out, or convert it to PNG") from error
    return (np.asarray(resized, dtype=np.float32) / 255.0).reshape(size_px, size_px, n_colours)


def _one(path: Path, *, data: Path, classes: tuple[str, ...], size_px: int, n_colours: int) -> Examples:
    parts = path.relative_to(data).parts
    group = "/".join(parts[:-1]) if len(parts) > 2 else "/".join(parts)
    return Examples(
        inputs={INPUT: read_image(path, size_px=size_px, n_colours=n_colours)[None]},
        labels=np.array([classes.index(parts[0])], np.int64),
        classes=classes,
        groups=np.array([group]),
        weights=np.ones(1, np.float32),
    )
