"""Whether an Ed25519 key signed these bytes; the only file of the device that imports `cryptography`.

References
----------
.. [1] RFC 8032, Edwards-Curve Digital Signature Algorithm (EdDSA).
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


def is_signed_by(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Return whether `signature` was made over `message` with the private half of `public_key`.

    Parameters
    ----------
    public_key : bytes
        32 bytes; what is no key has signed nothing.
    signature : bytes
        64 bytes; of another length it is none.
    message : bytes
        Every byte counts.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
