"""The byte tables of the wire (``firmware_bridge/PROTOCOL.md``): which field lies where in a payload.

Fields are in order, little-endian, without padding.  Used by `packets` alone.
"""

from __future__ import annotations

import struct

TICK_RATE_HZ = (1_000, 1_000_000)
"""Slowest and fastest device clock (R13): at worst 1 ms of resolution, at worst a wrap every 71 minutes."""
MAX_STREAMS = 16
MAX_CHANNELS = 16
"""Per stream."""
MAX_EVENT_TEXT_BYTES = 64


class Layout:
    """The fixed fields of a payload or record, in order, little-endian, without padding.

    Parameters
    ----------
    fields : str
        Space-separated ``name:code`` pairs with `struct` codes: ``B`` u8, ``H`` u16, ``I`` u32, ``Q`` u64, ``b`` i8,
        ``i`` i32, ``16s`` sixteen bytes of text filled up with zeros.
    """

    def __init__(self, fields: str) -> None:
        self.fields = tuple((name, code) for name, code in (field.split(":") for field in fields.split()))
        self._struct = struct.Struct("<" + "".join(code for _, code in self.fields))

    @property
    def n_bytes(self) -> int:
        """Length of all fields together."""
        return self._struct.size

    def pack(self, *values: int | bytes) -> bytes:
        """Return the fields as bytes; raises ValueError where a number does not fit."""
        try:
            return self._struct.pack(*values)
        except struct.error as error:
            names = " ".join(name for name, _ in self.fields)
            raise ValueError(f"expected values that fit {names}: {error}") from error

    def unpack(self, data: bytes, at: int = 0) -> tuple[int, ...]:
        """Return the numbers found at `at`; text fields are left out (see `text`)."""
        return tuple(value for value in self._struct.unpack_from(data, at) if not isinstance(value, bytes))

    def text(self, data: bytes, at: int = 0) -> tuple[str, ...]:
        """Return the text fields found at `at`, up to their first zero, with unprintable characters replaced."""
        return tuple(readable(value) for value in self._struct.unpack_from(data, at) if isinstance(value, bytes))


HELLO = Layout(
    "boot_id:I tick_rate_hz:I ticks:I device_id:16s model:16s firmware:16s "
    "n_streams:B stream_record_bytes:B channel_record_bytes:B reserved:B"
)
STREAM_RECORD = Layout("stream_id:B n_channels:B flags:B reserved:B rate_mhz:I name:12s")
CHANNEL_RECORD = Layout(
    "kind_code:B unit_code:B resolution_bits:B reserved:B gain_numerator:i gain_denominator:I offset_counts:i "
    "minimum_counts:i maximum_counts:i name:12s"
)
SAMPLES = Layout("stream_id:B flags:B n_samples:H sequence:I ticks:I n_channels:B bytes_per_value:B")
READING = Layout(
    "ticks:I measure_code:I mantissa:i exponent:b status_code:B absent_code:B reserved:B valid_for_s:H reserved_2:H"
)
EVENT = Layout("ticks:I condition_code:H stream_id:B is_active:B value:i text_bytes:B")
TIME_REQUEST = Layout("host_ns:Q")
TIME_RESPONSE = Layout("host_ns:Q received_ticks:I sent_ticks:I")
COMMAND = Layout("command_id:H code:B stream_id:B argument:I count:I")
COMMAND_ACK = Layout("command_id:H code:B result_code:B value:I")


def text_field(text: str, max_bytes: int) -> bytes:
    """Return `text` as UTF-8; raises ValueError where it is too long or has a zero character."""
    encoded = text.encode()
    if len(encoded) > max_bytes or b"\x00" in encoded:
        raise ValueError(f"expected at most {max_bytes} UTF-8 bytes without a zero, got {text!r}")
    return encoded


def readable(raw: bytes) -> str:
    """Return `raw` up to its first zero as text, with anything unprintable replaced by U+FFFD."""
    text = raw.split(b"\x00", 1)[0].decode(errors="replace")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
