"""What stands in a TFLite file: tensors, operators, inputs and outputs, read from its bytes without any runtime.

A converter may leave parts of a model in floating point without a word, and names tensors as it likes
(``serving_default_samples:0``).  Both are seen, and the names put right, in the file itself.

References
----------
.. [1] TFLite schema, version 3 (``tensorflow/compiler/mlir/lite/schema/schema.fbs``): the field numbers below.
.. [2] FlatBuffers binary format, "Internals": tables, vtables, vectors.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

IDENTIFIER = b"TFL3"

_TYPES: Final[Mapping[int, str]] = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 5: "string", 6: "bool", 7: "int16",
    8: "complex64", 9: "int8", 10: "float64", 11: "complex128", 12: "uint64", 13: "resource", 14: "variant",
    15: "uint32", 16: "uint16", 17: "int4", 18: "bfloat16", 19: "int2", 20: "uint4", 21: "float8_e4m3fn",
    22: "float8_e5m2",
}  # fmt: skip
_FLOATS = ("float", "bfloat", "complex")

OPERATORS: Final[Mapping[int, str]] = {
    0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 5: "DEPTH_TO_SPACE",
    6: "DEQUANTIZE", 9: "FULLY_CONNECTED", 14: "LOGISTIC", 17: "MAX_POOL_2D", 18: "MUL", 19: "RELU", 21: "RELU6",
    22: "RESHAPE", 25: "SOFTMAX", 26: "SPACE_TO_DEPTH", 28: "TANH", 34: "PAD", 36: "GATHER", 37: "BATCH_TO_SPACE_ND",
    38: "SPACE_TO_BATCH_ND", 39: "TRANSPOSE", 40: "MEAN", 41: "SUB", 42: "DIV", 43: "SQUEEZE", 45: "STRIDED_SLICE",
    47: "EXP", 49: "SPLIT", 50: "LOG_SOFTMAX", 53: "CAST", 54: "PRELU", 55: "MAXIMUM", 56: "ARG_MAX", 57: "MINIMUM",
    59: "NEG", 60: "PADV2", 65: "SLICE", 67: "TRANSPOSE_CONV", 70: "EXPAND_DIMS", 74: "SUM", 75: "SQRT", 76: "RSQRT",
    77: "SHAPE", 78: "POW", 81: "REDUCE_PROD", 82: "REDUCE_MAX", 83: "PACK", 88: "UNPACK", 89: "REDUCE_MIN",
    92: "SQUARE", 94: "FILL", 97: "RESIZE_NEAREST_NEIGHBOR", 98: "LEAKY_RELU", 99: "SQUARED_DIFFERENCE",
    100: "MIRROR_PAD", 101: "ABS", 111: "ELU", 114: "QUANTIZE", 117: "HARD_SWISH", 126: "BATCH_MATMUL",
    130: "BROADCAST_TO", 150: "GELU",
}  # fmt: skip
"""Operators by their number in the schema, as far as models for small devices use them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFacts:
    """One tensor of the graph."""

    name: str
    type_name: str
    shape: tuple[int, ...]
    scales: tuple[float, ...]
    """One for the whole tensor, or one per channel; empty where it is not quantized."""
    zero_points: tuple[int, ...]
    name_at: int
    """Byte at which the name stands in the file, after its length."""

    @property
    def is_float(self) -> bool:
        """Whether the device would compute it in floating point."""
        return self.type_name.startswith(_FLOATS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The one graph of a TFLite file."""

    tensors: tuple[TensorFacts, ...]
    inputs: tuple[int, ...]
    """Indices into `tensors`; their order may differ between two conversions of the same model."""
    outputs: tuple[int, ...]
    operators: Counter[str]
    """How often each operator occurs."""

    @property
    def floats(self) -> tuple[str, ...]:
        """Names of the tensors in floating point."""
        return tuple(tensor.name for tensor in self.tensors if tensor.is_float)


def read_graph(model: bytes) -> Graph:
    """Return what stands in a TFLite file.

    Raises
    ------
    ValueError
        If the bytes are no TFLite model of one graph, or point outside themselves.
    """
    if model[4:8] != IDENTIFIER:
        raise ValueError(f"expected a TFLite model (identifier {IDENTIFIER!r} at byte 4), got {model[4:8]!r}")
    try:
        return _graph(_Table(model, _unsigned(model, 0)))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"expected a TFLite model, got one that points outside itself: {error}") from error


def with_names(model: bytes, names: Mapping[str, str]) -> bytes:
    """Return the file with tensors renamed in place: nothing moves, so that every alignment stays.

    Parameters
    ----------
    model : bytes
        A TFLite file.
    names : Mapping of str to str
        Old name to new name.

    Raises
    ------
    ValueError
        If a name is not in the file exactly once, or the new one is longer than the old one.
    """
    tensors = read_graph(model).tensors
    renamed = bytearray(model)
    for old, new in names.items():
        found = [tensor.name_at for tensor in tensors if tensor.name == old]
        if len(found) != 1:
            raise ValueError(f"expected one tensor {old!r}, got {len(found)}")
        before, after = old.encode(), new.encode()
        if len(after) > len(before):
            raise ValueError(f"expected a name of at most {len(before)} bytes in the place of {old!r}, got {new!r}")
        (at,) = found
        renamed[at - 4 : at] = struct.pack("<I", len(after))
        renamed[at : at + len(before)] = after.ljust(len(before), b"\0")
    return bytes(renamed)


def _graph(model: _Table) -> Graph:
    codes = [_operator_name(code) for code in model.tables(1)]
    graphs = model.tables(2)
    if len(graphs) != 1:
        raise ValueError(f"expected a TFLite model of one graph, got {len(graphs)}")
    (graph,) = graphs
    return Graph(
        tensors=tuple(_tensor(tensor) for tensor in graph.tables(0)),
        inputs=graph.numbers(1, "i"),
        outputs=graph.numbers(2, "i"),
        operators=Counter(codes[operator.number(0, "I", 0)] for operator in graph.tables(3)),
    )


def _operator_name(code: _Table) -> str:
    # Numbers above 127 do not fit the older field, which then holds 127.
    number = max(code.number(0, "b", 0), code.number(3, "i", 0))
    return OPERATORS.get(number, f"OPERATOR_{number}")


def _tensor(tensor: _Table) -> TensorFacts:
    name, name_at = tensor.text(3)
    quantization = tensor.table(4)
    number = tensor.number(1, "b", 0)
    return TensorFacts(
        name=name,
        type_name=_TYPES.get(number, f"type {number}"),
        shape=tensor.numbers(0, "i"),
        scales=quantization.numbers(2, "f") if quantization else (),
        zero_points=quantization.numbers(3, "q") if quantization else (),
        name_at=name_at,
    )


class _Table:
    """A FlatBuffers table: fields by number, each possibly absent."""

    def __init__(self, buffer: bytes, at: int) -> None:
        self._buffer = buffer
        self._at = at
        self._vtable_at = at - _one("i", buffer, at)
        self._vtable_bytes = _one("H", buffer, self._vtable_at)

    def number(self, field: int, kind: str, absent: int) -> int:
        at = self._field_at(field)
        return absent if at is None else int(_one(kind, self._buffer, at))

    def numbers(self, field: int, kind: str) -> tuple[int, ...]:
        at = self._target(field)
        if at is None:
            return ()
        n = _unsigned(self._buffer, at)
        return struct.unpack_from(f"<{n}{kind}", self._buffer, at + 4)

    def table(self, field: int) -> _Table | None:
        at = self._target(field)
        return None if at is None else _Table(self._buffer, at)

    def tables(self, field: int) -> list[_Table]:
        at = self._target(field)
        if at is None:
            return []
        places = range(at + 4, at + 4 + 4 * _unsigned(self._buffer, at), 4)
        return [_Table(self._buffer, place + _unsigned(self._buffer, place)) for place in places]

    def text(self, field: int) -> tuple[str, int]:
        at = self._target(field)
        if at is None:
            return "", 0
        n = _unsigned(self._buffer, at)
        (content,) = struct.unpack_from(f"<{n}s", self._buffer, at + 4)
        return content.decode(), at + 4

    def _target(self, field: int) -> int | None:
        at = self._field_at(field)
        return None if at is None else at + _unsigned(self._buffer, at)

    def _field_at(self, field: int) -> int | None:
        slot = 4 + 2 * field
        if slot + 2 > self._vtable_bytes:
            return None
        offset = _one("H", self._buffer, self._vtable_at + slot)
        return self._at + offset if offset else None


def _one(kind: str, buffer: bytes, at: int) -> int:
    if at < 0:
        raise IndexError(f"byte {at}")
    (value,) = struct.unpack_from(f"<{kind}", buffer, at)
    return int(value)


def _unsigned(buffer: bytes, at: int) -> int:
    return _one("I", buffer, at)
