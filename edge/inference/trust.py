"""Who may vouch for a model: trusted public keys, and the verdict on the signature of a manifest.

A file of trusted keys is JSON, one entry a key::

    {"3f2a…16 hexadecimal digits": {"public_key": "base64", "owner": "who", "not_after": "2028-12-31"}}

The identifier is made from the key itself, so no entry can give a key the name of another.  Several files are joined;
a file cannot bring a key to life that another one revokes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError, with_config

from edge.errors import ModelContractError, ModelFault
from edge.inference.card_inputs import STRICT, Text
from edge.inference.signature import PUBLIC_KEY_BYTES, is_signed_by

ALGORITHM = "ed25519"
DOMAIN = b"vitaledge model bundle 2\x00"
"""Goes before the manifest into the signature, so that a signature of anything else is none of a bundle."""

KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A public key and whose it is."""

    public_key: Text
    """32 bytes in base64."""
    owner: Text
    not_after: date | None = None
    """Last day of its use: a bundle that says to be made later is refused."""
    revoked: Text | None = None
    """Why it is no longer trusted; wins over every other entry of the same key."""


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Contents of ``manifest.sig``."""

    key_id: KeyId
    algorithm: Literal["ed25519"]
    signature: Text
    """64 bytes in base64, over `DOMAIN` and the exact bytes of the manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedBy:
    """Whose signature was found good."""

    key_id: str
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKeys:
    """The keys that may vouch for a model here, by identifier."""

    keys: Mapping[str, TrustedKey] = field(default_factory=dict)

    @staticmethod
    def parse(content: bytes, source: str) -> TrustedKeys:
        """Return the keys in a file's contents.

        Raises
        ------
        ModelContractError
            If it is no file of trusted keys, or a key does not fit its identifier; `source` names it.
        """
        try:
            _refuse_repeats(content)
            keys = _keys_adapter().validate_json(content)
        except (ValueError, RecursionError) as error:  # ValidationError is a ValueError
            words = validation_words(error) if isinstance(error, ValidationError) else str(error)
            raise ModelContractError(
                f"{source}: is no file of trusted keys: {words}", reason=ModelFault.FORMAT
            ) from error
        for identifier, key in keys.items():
            public = _decoded(key.public_key)
            if public is None or len(public) != PUBLIC_KEY_BYTES or key_id(public) != identifier:
                message = f"{source}: {identifier}: expected the base64 of the 32 bytes of this very key"
                raise ModelContractError(message, reason=ModelFault.FORMAT)
        return TrustedKeys(keys=keys)

    def joined(self, others: Iterable[TrustedKeys]) -> TrustedKeys:
        """Return these keys and `others`; of the same key twice, the stricter entry."""
        keys = dict(self.keys)
        for other in others:
            for identifier, key in other.keys.items():
                keys[identifier] = _stricter(keys[identifier], key) if identifier in keys else key
        return TrustedKeys(keys=keys)

    def verdict(self, manifest: bytes, signature_file: bytes, source: str) -> tuple[SignedBy, date | None]:
        """Return who signed a manifest, and the last day on which that key may have been used.

        Raises
        ------
        ModelContractError
            If the signature is none, of a key that is not trusted, or not of these bytes.
        """
        try:
            found = _signature_adapter().validate_json(signature_file)
        except ValidationError as error:
            message = f"{source}: is no signature: {validation_words(error)}"
            raise ModelContractError(message, reason=ModelFault.BAD_SIGNATURE, hint=HINT) from error
        key = self.keys.get(found.key_id)
        if key is None:
            known = ", ".join(f"{name} ({each.owner})" for name, each in self.keys.items()) or "none"
            raise ModelContractError(
                f"{source}: signed with key {found.key_id}, which is not trusted here; trusted: {known}",
                reason=ModelFault.UNKNOWN_KEY,
                hint="if you know whose key it is, add its public half to the trusted keys",
            )
        if key.revoked is not None:
            message = f"{source}: signed with key {found.key_id} of {key.owner}, which was revoked: {key.revoked}"
            raise ModelContractError(
                message, reason=ModelFault.REVOKED_KEY, hint="get a bundle signed with another key"
            )
        signature, public = _decoded(found.signature), _decoded(key.public_key)
        if signature is None or public is None or not is_signed_by(public, signature, DOMAIN + manifest):
            raise ModelContractError(
                f"{source}: is no signature of this manifest by key {found.key_id} of {key.owner}: one was altered",
                reason=ModelFault.BAD_SIGNATURE,
                hint=HINT,
            )
        return SignedBy(key_id=found.key_id, owner=key.owner), key.not_after


HINT = "copy the bundle again from where it was made, or make it again with vitaledge-convert"


def key_id(public_key: bytes) -> str:
    """Return the identifier of a public key: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def validation_words(error: ValidationError) -> str:
    """Return the first faults that pydantic found, each with its place."""
    return "; ".join(
        f"{'.'.join(map(str, detail['loc'])) or 'manifest'}: {detail['msg']}"
        for detail in error.errors(include_url=False, include_input=False)[:10]
    )


def _stricter(one: TrustedKey, other: TrustedKey) -> TrustedKey:
    last_days = [each.not_after for each in (one, other) if each.not_after is not None]
    return replace(one, not_after=min(last_days, default=None), revoked=one.revoked or other.revoked)


def _refuse_repeats(content: bytes) -> None:
    """Refuse JSON in which a name stands twice: which of the two counts would be anybody's guess."""

    def pairs(found: list[tuple[str, object]]) -> dict[str, object]:
        if len({name for name, _ in found}) != len(found):
            raise ValueError("a name stands there twice")
        return dict(found)

    json.loads(content, object_pairs_hook=pairs)


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


@cache
def _keys_adapter() -> TypeAdapter[dict[str, TrustedKey]]:
    return TypeAdapter(dict[KeyId, TrustedKey])


@cache
def _signature_adapter() -> TypeAdapter[Signature]:
    return TypeAdapter(Signature)
