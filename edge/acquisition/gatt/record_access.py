"""Record Access Control Point 0x2A52: asking a glucose meter or sensor for what it has stored.

A request is written: opcode, operator, operand.  The records then come as notifications of the measurement, and at last
the control point indicates how it went: ``06 00`` + opcode of the request + result.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from edge.acquisition.gatt.rejected import Rejected

REPORT_ALL = b"\x01\x01"
REPORT_LAST = b"\x01\x06"
_BY_TIME_OFFSET = 0x01
_FROM_ON = b"\x01\x03"
_RESPONSE = 6
REPORT = 1
"""Opcode of a request for records."""


class RecordResult(IntEnum):
    """How a request went."""

    SUCCESS = 1
    NOT_SUPPORTED = 2
    BAD_OPERATOR = 3
    OPERATOR_NOT_SUPPORTED = 4
    BAD_OPERAND = 5
    NO_RECORDS = 6
    ABORT_FAILED = 7
    NOT_COMPLETED = 8
    OPERAND_NOT_SUPPORTED = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordResponse:
    """What the device says of a request."""

    request: int
    """Opcode of the request; `REPORT` for records."""
    result: RecordResult


def report_from(offset_min: int) -> bytes:
    """Return a request for the records of a continuous sensor from `offset_min` of its session on."""
    return _FROM_ON + bytes([_BY_TIME_OFFSET]) + min(offset_min, 0xFFFF).to_bytes(2, "little")


def parse_record_response(data: bytes) -> RecordResponse | Rejected:
    """Return the answer in `data`.

    Examples
    --------
    >>> parse_record_response(bytes.fromhex("06 00 01 06")).result.name
    'NO_RECORDS'
    """
    if len(data) != 4:
        return Rejected("length")
    opcode, operator, request, result = data
    if opcode != _RESPONSE or operator != 0 or not 1 <= result <= max(RecordResult):
        return Rejected("value")
    return RecordResponse(request=request, result=RecordResult(result))


def record_response_bytes(response: RecordResponse) -> bytes:
    """Return `response` as a device sends it."""
    return bytes([_RESPONSE, 0, response.request, response.result])
