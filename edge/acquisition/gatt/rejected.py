"""Why a value of a characteristic was not read: a plain answer, never an exception.

Every ``parse_…`` of this folder returns what it read or a `Rejected`; every ``…_bytes`` is its inverse, for virtual
sensors and tests.  The decoder (`profiles`) makes a counted `messages.Corrupt` of each refusal.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rejected:
    """Bytes that are no valid value of the characteristic."""

    reason: str
    """``length``: fewer or more bytes than the flags promise; ``value``: a field has a value that the profile does not
    allow; ``time``: no such date; ``crc``: the check sum is another; ``text``: no UTF-8."""


def length_is_wrong(n_bytes: int, n_expected: int, *, has_unknown_flags: bool = False) -> bool:
    """Return whether a value cannot have `n_bytes` when its flags promise `n_expected`.

    A flag that we do not know may stand for a field of a later revision of the profile, which follows those we know.
    """
    return n_bytes < n_expected or (n_bytes > n_expected and not has_unknown_flags)
