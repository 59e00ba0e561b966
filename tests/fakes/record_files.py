"""Recordings written byte by byte from the format descriptions, so that a reader's mistake is not also the writer's."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

INVALID_16 = -(1 << 15)
"""The digital value that WFDB format 16 keeps for "no sample"."""


def real_recordings() -> Path:
    """Return the folder with the real recordings; skip the test where there are none."""
    folder = Path(os.environ.get("VITALEDGE_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}: set VITALEDGE_DATA")
    return folder


def real_recording(name: str) -> Path:
    path = real_recordings() / name
    if not path.parent.is_dir():
        pytest.skip(f"no {path.parent.name} among the recordings")
    return path


def write_wfdb16(
    folder: Path,
    name: str,
    digital: np.ndarray,
    *,
    names: list[str],
    rate: str = "100",
    gains: list[str] | None = None,
    n_frames: int | None = None,
    per_frame: list[int] | None = None,
    start: str = "",
) -> Path:
    """Write `digital`, shape (n_frames, samples of all signals per frame), as a format 16 record; return its base."""
    gains = gains or ["200(0)/mV"] * len(names)
    per_frame = per_frame or [1] * len(names)
    promised = len(digital) if n_frames is None else n_frames
    lines = [f"{name} {len(names)} {rate} {promised} {start}".strip()]
    for signal, gain, n in zip(names, gains, per_frame, strict=True):
        fmt = "16" if n == 1 else f"16x{n}"
        lines.append(f"{name}.dat {fmt} {gain} 12 0 0 0 0 {signal}")
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    digital.astype("<i2").tofile(folder / f"{name}.dat")
    return folder / name


def write_edf(
    path: Path,
    signals: dict[str, tuple[np.ndarray, str]],
    *,
    record_s: float = 1.0,
    n_records: int | None = None,
    rates: dict[str, int] | None = None,
) -> Path:
    """Write signals (digital values, unit) as EDF, digital −2048…2047 for physical −5…5; return the path."""
    rates = rates or {}
    n_present = min(len(values) // rates.get(label, 100) for label, (values, _) in signals.items())
    n_signals = len(signals)

    def fields(texts: list[str], width: int) -> str:
        return "".join(text.ljust(width)[:width] for text in texts)

    header = "0".ljust(8) + "X X X X".ljust(80) + "Startdate 02-MAR-2024 X X X".ljust(80) + "02.03.2412.30.00"
    header += str(256 * (n_signals + 1)).ljust(8) + " " * 44
    header += str(n_present if n_records is None else n_records).ljust(8) + f"{record_s:g}".ljust(8)
    header += str(n_signals).ljust(4)
    header += fields(list(signals), 16) + fields([""] * n_signals, 80)
    header += fields([unit for _, unit in signals.values()], 8)
    for text in ("-5", "5", "-2048", "2047"):
        header += fields([text] * n_signals, 8)
    header += fields([""] * n_signals, 80)
    header += fields([str(rates.get(label, 100)) for label in signals], 8) + fields([""] * n_signals, 32)
    body = b""
    for k in range(n_present):
        for label, (values, _) in signals.items():
            n = rates.get(label, 100)
            body += values[k * n : (k + 1) * n].astype("<i2").tobytes()
    path.write_bytes(header.encode("latin-1") + body)
    return path
