"""Arithmetic of the WFDB formats: how much a signal file holds, and what its converter can give.

Pure.  Fed by `wfdb_file`.

References
----------
.. [1] WFDB Applications Guide, signal(5) and header(5), https://physionet.org/physiotools/wag/
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

_SAMPLE_BYTES: Mapping[str, Fraction] = {
    "8": Fraction(1),
    "16": Fraction(2),
    "24": Fraction(3),
    "32": Fraction(4),
    "61": Fraction(2),
    "80": Fraction(1),
    "160": Fraction(2),
    "212": Fraction(3, 2),
    "310": Fraction(4, 3),
    "311": Fraction(4, 3),
}
"""Bytes that one sample takes; the compressed formats (508, 516, 524) are not here."""


def frames_held(fmt: str, n_bytes: int, samples_per_frame: int) -> int | None:
    """Return how many whole frames a signal file of `n_bytes` holds; None where only decoding tells.

    Examples
    --------
    >>> frames_held("212", 7, 2)
    2
    """
    size = _SAMPLE_BYTES.get(fmt)
    return None if size is None else max(0, int(n_bytes / size)) // samples_per_frame


def converter_range(bits: int, zero: int, gain: float, baseline: int) -> tuple[float, float]:
    """Return the smallest and largest value that the converter can give, in physical units.

    Parameters
    ----------
    bits, zero : int
        Resolution, and digital value at the middle of its range.
    gain : float
        Digital steps per physical unit; not 0.
    baseline : int
        Digital value of physical zero.

    Examples
    --------
    The records of the MIT-BIH Arrhythmia Database, in mV:

    >>> converter_range(11, 1024, 200.0, 1024)
    (-5.12, 5.115)
    """
    half = 1 << (bits - 1)
    low, high = sorted(((zero - half - baseline) / gain, (zero + half - 1 - baseline) / gain))
    return low, high
