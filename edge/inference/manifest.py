"""The bytes of a bundle -> its card, model and golden vectors, each held against the manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache

from pydantic import TypeAdapter, ValidationError

from edge.errors import ModelContractError, ModelFault
from edge.inference.card import FORMAT_VERSION, ModelCard
from edge.inference.golden import GoldenCase, parse_golden
from edge.inference.trust import HINT, validation_words

MAX_MANIFEST_BYTES = 1_000_000
"""Largest manifest: that of the beat model with 33 knots for each feature takes some 20 kB."""

Read = Callable[[str, int], bytes | None]
"""Returns the bytes of the file of that name, at most so many and one more; None where there is none."""


def read_card(manifest: bytes, source: str) -> ModelCard:
    """Return what a manifest says.

    Raises
    ------
    ModelContractError
        If it is no JSON, of another format, or says what cannot be.
    """
    refuse_other_format(manifest, source)
    try:
        return _card_adapter().validate_json(manifest)
    except ValidationError as error:
        message = f"{source}: {validation_words(error)}"
        raise ModelContractError(message, reason=ModelFault.FORMAT, hint=HINT) from error


def refuse_other_format(manifest: bytes, source: str) -> None:
    """Refuse a manifest that is no JSON, or of an earlier or later format, and say which.

    Raises
    ------
    ModelContractError
        With a hint that fits.
    """
    try:
        values = json.loads(manifest)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or no UTF-8
        message = f"{source}: is no JSON: {error}"
        raise ModelContractError(message, reason=ModelFault.FORMAT, hint=HINT) from error
    version = values.get("format_version") if isinstance(values, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version == FORMAT_VERSION:
        return
    if version > FORMAT_VERSION:
        words, hint = "made for a later version of this software", "update this software, or use an older bundle"
    else:
        words, hint = "no longer read: it could not be signed", "make the bundle again with vitaledge-convert"
    message = f"{source}: expected format_version {FORMAT_VERSION}, got {version}: {words}"
    raise ModelContractError(message, reason=ModelFault.FORMAT, hint=hint)


def checked_contents(card: ModelCard, read: Read, source: str) -> tuple[bytes, tuple[GoldenCase, ...]]:
    """Return model and golden vectors of a bundle, after every file was found to be the one in the card.

    No more is read of a file than the card says that it has, and what is only read to be checked is not kept.

    Raises
    ------
    ModelContractError
        If a file is truncated, longer or altered, or the golden vectors do not fit the card.
    """
    contents = {}
    for name, entry in card.files.items():
        content = read(name, entry.n_bytes)
        if content is None:
            raise ModelContractError(f"{source}: {name}: is missing", reason=ModelFault.MISSING, hint=HINT)
        if len(content) != entry.n_bytes:
            given = f"truncated: expected {entry.n_bytes} bytes, got {len(content)}"
            fault = given if len(content) < entry.n_bytes else f"longer than the {entry.n_bytes} bytes released"
            message = f"{source}: {name}: is {fault}"
            raise ModelContractError(message, reason=ModelFault.DAMAGED, hint=HINT)
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != entry.sha256:
            message = f"{source}: {name}: was altered: expected SHA-256 {entry.sha256}, got {sha256}"
            raise ModelContractError(message, reason=ModelFault.DAMAGED, hint=HINT)
        if name in {card.model, card.golden}:
            contents[name] = content
    try:
        golden = parse_golden(contents[card.golden], card.inputs, len(card.output.labels))
    except (ValueError, RecursionError, MemoryError) as error:
        message = f"{source}: {card.golden}: {error}"
        raise ModelContractError(message, reason=ModelFault.FORMAT, hint=HINT) from error
    return contents[card.model], golden


@cache
def _card_adapter() -> TypeAdapter[ModelCard]:
    return TypeAdapter(ModelCard)
