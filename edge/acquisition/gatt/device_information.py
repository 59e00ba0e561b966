"""Device Information Service 0x180A: names and versions as text, and the System ID 0x2A23.

A text is UTF-8 without an end mark; devices pad it with zeros or spaces all the same.  The System ID has eight bytes,
least significant first: a number of the maker in the low five, the maker in the high three.
"""

from __future__ import annotations

from edge.acquisition.gatt.rejected import Rejected

_LONGEST_TEXT = 512  # the longest value of any characteristic
_N_SYSTEM_ID = 8


def parse_text(data: bytes) -> str | Rejected:
    """Return the text in `data`, without padding and with nothing in it that does not print."""
    if len(data) > _LONGEST_TEXT:
        return Rejected("length")
    try:
        text = data.split(b"\x00", 1)[0].decode()
    except UnicodeDecodeError:
        return Rejected("text")
    return "".join(letter for letter in text if letter.isprintable()).strip()


def text_bytes(text: str) -> bytes:
    """Return `text` as a device sends it."""
    return text.encode()


def parse_system_id(data: bytes) -> str | Rejected:
    """Return the System ID in `data`, most significant byte first, 16 hexadecimal digits.

    Examples
    --------
    >>> parse_system_id(bytes.fromhex("0102030405AABBCC"))
    'ccbbaa0504030201'
    """
    return Rejected("length") if len(data) != _N_SYSTEM_ID else data[::-1].hex()


def system_id_bytes(system_id: str) -> bytes:
    """Return `system_id` as a device sends it."""
    return bytes.fromhex(system_id)[::-1]
