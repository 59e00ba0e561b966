"""A model bundle: a directory whose every file is proven to be the one that was released, before any is used.

::

    manifest.json   what the model is and wants (`card.ModelCard`), with size and SHA-256 of every other file
    model.tflite    the int8 model
    golden.json     windows with the answers that the model must give here too

A damaged model file can crash a TFLite runtime, so its bytes are hashed first and then handed on from memory: the
file that was checked is the file that runs.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from edge.errors import ModelContractError
from edge.inference.card import FORMAT_VERSION, FileEntry, GoldenWindow, ModelCard

MANIFEST = "manifest.json"
MAX_FILE_BYTES = 64_000_000
"""Largest file that is read; models for such devices are below 1 MB."""

_HINT = "copy the bundle again from where it was made, or make it again with vitaledge-convert"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A verified bundle, in memory."""

    card: ModelCard
    sha256: str
    """Hash of the manifest, which holds the hashes of all other files: it names the whole bundle."""
    model: bytes = field(repr=False)
    golden: tuple[GoldenWindow, ...] = field(repr=False)


def load_bundle(path: Path) -> Bundle:
    """Return the bundle in a directory, every file of it verified.

    Raises
    ------
    ModelContractError
        If anything is missing, truncated, altered, or says what cannot be.
    """
    if not path.is_dir():
        what = "a file" if path.exists() else "nothing there"
        raise ModelContractError(f"{path}: expected the directory of a model bundle, got {what}", hint=_HINT)
    manifest = _read(path / MANIFEST)
    card = _card(path / MANIFEST, manifest)
    contents = {name: _verified(path / name, entry) for name, entry in card.files.items()}
    return Bundle(
        card=card,
        sha256=hashlib.sha256(manifest).hexdigest(),
        model=contents[card.model],
        golden=_golden(path / card.golden, contents[card.golden], card),
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise ModelContractError(f"{path}: is missing", hint=_HINT) from error
    except OSError as error:
        raise ModelContractError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise ModelContractError(f"{path}: expected at most {MAX_FILE_BYTES} bytes, got more", hint=_HINT)
    return content


def _verified(path: Path, entry: FileEntry) -> bytes:
    content = _read(path)
    if len(content) != entry.n_bytes:
        fault = "truncated" if len(content) < entry.n_bytes else "longer than released"
        message = f"{path}: is {fault}: expected {entry.n_bytes} bytes, got {len(content)}"
        raise ModelContractError(message, hint=_HINT)
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != entry.sha256:
        message = f"{path}: was altered: expected SHA-256 {entry.sha256}, got {sha256}"
        raise ModelContractError(message, hint=_HINT)
    return content


def _card(path: Path, content: bytes) -> ModelCard:
    values = _json(path, content)
    version = values.get("format_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ModelContractError(
            f"{path}: expected format_version {FORMAT_VERSION}, got {version}: made for a later version of this software",
            hint="update this software, or use an older bundle",
        )
    return _validated(path, content, _card_adapter())


def _golden(path: Path, content: bytes, card: ModelCard) -> tuple[GoldenWindow, ...]:
    _json(path, content)
    windows = _validated(path, content, _golden_adapter())
    if not windows:
        raise ModelContractError(f"{path}: expected at least one golden window, got none", hint=_HINT)
    n_samples, n_channels = card.input.shape[1:]
    for number, window in enumerate(windows):
        shapes = {len(row) for row in window.values}
        if len(window.values) != n_samples or shapes != {n_channels}:
            given = f"{len(window.values)} rows of {sorted(shapes)}"
            raise ModelContractError(f"{path}: window {number}: expected {n_samples} rows of {n_channels}, got {given}")
        if len(window.output) != len(card.output.labels):
            raise ModelContractError(
                f"{path}: window {number}: expected {len(card.output.labels)} outputs, got {len(window.output)}"
            )
    return windows


def _json(path: Path, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or no UTF-8
        raise ModelContractError(f"{path}: is no JSON: {error}", hint=_HINT) from error


def _validated(path: Path, content: bytes, adapter: TypeAdapter[T]) -> T:
    try:
        return adapter.validate_json(content)
    except ValidationError as error:
        found = [
            f"{'.'.join(map(str, detail['loc'])) or 'manifest'}: {detail['msg']}"
            for detail in error.errors(include_url=False, include_input=False)[:10]
        ]
        raise ModelContractError(f"{path}: " + "; ".join(found), hint=_HINT) from error


@cache
def _card_adapter() -> TypeAdapter[ModelCard]:
    return TypeAdapter(ModelCard)


@cache
def _golden_adapter() -> TypeAdapter[tuple[GoldenWindow, ...]]:
    return TypeAdapter(tuple[GoldenWindow, ...])
