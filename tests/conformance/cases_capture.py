"""The reader of raw captures obeys the three laws."""

from __future__ import annotations

import numpy as np

from edge.acquisition.capture import CaptureDecoder, CaptureRecord, record_bytes
from tests.conformance.case import StageCase


def stream(rng: np.random.Generator) -> list[bytes]:
    records = [CaptureRecord(offset_ns=k * 1000, data=rng.bytes(int(rng.integers(1, 300)))) for k in range(40)]
    log = b"".join(record_bytes(record) for record in records)
    return [log[:-7]]  # the last record is cut off


def hostile(rng: np.random.Generator) -> list[bytes]:
    return [b"", rng.bytes(500), bytes(500), b"\xff" * 100, *stream(rng)]


def resplit(items, sizes):
    whole = b"".join(items)
    out = []
    at = k = 0
    while at < len(whole):
        size = sizes[k % len(sizes)]
        out.append(whole[at : at + size])
        at += size
        k += 1
    return out


CASES = [StageCase(name="capture", make=CaptureDecoder, stream=stream, hostile=hostile, resplit=resplit)]
