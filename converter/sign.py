"""Keys, and signatures of bundles: who vouches for a model.  The private half never goes to a device.

``manifest.sig`` holds an Ed25519 signature over `trust.DOMAIN` and the bytes of ``manifest.json``, which holds the
hashes of all other files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from datetime import date
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.errors import ModelContractError, ModelFault
from edge.inference.bundle import MANIFEST, SIGNATURE, load_bundle
from edge.inference.trust import ALGORITHM, DOMAIN, TrustedKeys, key_id

PrivateKey = Ed25519PrivateKey
_MOST_BYTES = 100_000
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_key() -> PrivateKey:
    """Return a new private key."""
    return Ed25519PrivateKey.generate()


def write_key(path: Path, key: PrivateKey, *, password: bytes | None = None) -> None:
    """Write a private key to a new file that only its owner can read (PKCS #8, PEM).

    Raises
    ------
    FileExistsError
        If there is a file: a key that is overwritten is lost.
    """
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    content = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def read_key(path: Path, *, password: bytes | None = None) -> PrivateKey:
    """Return the private key in a file.

    Raises
    ------
    ModelContractError
        If it cannot be read, is no Ed25519 key, or others can read it too.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MOST_BYTES)
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        raise ModelContractError(
            message, reason=ModelFault.MISSING, hint="make one: vitaledge-convert sign --new-key"
        ) from error
    if os.name == "posix" and mode & _OTHERS:
        message = f"{path}: others than its owner can read this private key"
        raise ModelContractError(message, hint=f"chmod 600 {path}; if somebody may have read it, make a new one")
    try:
        key = serialization.load_pem_private_key(content, password)
    except (ValueError, TypeError) as error:  # TypeError: a password is missing, or there is none to give
        raise ModelContractError(f"{path}: is no private key that can be opened: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ModelContractError(f"{path}: expected an Ed25519 key, got {type(key).__name__}")
    return key


def public_bytes(key: PrivateKey) -> bytes:
    """Return the public half, 32 bytes."""
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def trust_entry(key: PrivateKey, owner: str, *, not_after: date | None = None) -> dict[str, dict[str, str]]:
    """Return the entry of a key for a file of trusted keys."""
    public = public_bytes(key)
    entry = {"public_key": base64.b64encode(public).decode(), "owner": owner}
    return {key_id(public): entry | ({"not_after": not_after.isoformat()} if not_after else {})}


def trust_of(key: PrivateKey, owner: str = "this key") -> TrustedKeys:
    """Return what trusts this key and no other, such as for a look at what was just signed."""
    return TrustedKeys.parse(json.dumps(trust_entry(key, owner)).encode(), "private key")


def signature_file(manifest: bytes, key: PrivateKey) -> bytes:
    """Return the contents of ``manifest.sig`` for a manifest."""
    values = {
        "algorithm": ALGORITHM,
        "key_id": key_id(public_bytes(key)),
        "signature": base64.b64encode(key.sign(DOMAIN + manifest)).decode(),
    }
    return json.dumps(values, indent=1).encode() + b"\n"


def sign_bundle(folder: Path, key: PrivateKey) -> str:
    """Sign the bundle in a directory, after every file of it was found sound, and return its SHA-256.

    Raises
    ------
    ModelContractError
        If the bundle is damaged, or was changed while it was signed: nobody vouches for what cannot be loaded.
    """
    target = folder / SIGNATURE
    target.unlink(missing_ok=True)
    sha256 = load_bundle(folder, allow_unsigned=True).sha256
    manifest = (folder / MANIFEST).read_bytes()
    if hashlib.sha256(manifest).hexdigest() != sha256:
        raise ModelContractError(f"{folder}: was changed while it was signed", reason=ModelFault.DAMAGED)
    partial = target.with_suffix(".sig.partial")
    partial.write_bytes(signature_file(manifest, key))
    partial.replace(target)
    load_bundle(folder, trust_of(key))
    return sha256
