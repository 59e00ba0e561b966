"""Which detection belongs to which annotated beat, as ANSI/AAMI EC57 says.

The rules are those of ``bxb``, the standard's reference comparator (as described in the WFDB Applications Guide; facts
in EC57:2012 §4.3): walking through time, a detection and a reference beat are a pair when they are no more than 150 ms
apart and neither has a nearer neighbour further on; each is used once.  Detections inside ventricular flutter or
fibrillation (``[`` … ``]``) count neither way, because no beats are annotated there.

Nothing here depends on the detectors of this project.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Span = tuple[int, int]
"""First and last sample of an episode."""

MATCH_WINDOW_S = 0.15
LEARNING_S = 300.0
"""EC57 does not score the first five minutes: a device may learn its patient in them."""
BEAT_SYMBOLS = frozenset("NLRBAaJSVrFejnE/fQ?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the annotators marked in one record."""

    beats: Indices
    """Sample of every annotated beat outside ventricular flutter."""
    flutter: tuple[Span, ...]
    rate_hz: float
    n_samples: int
    symbols: tuple[str, ...] = ()
    """WFDB symbol of every beat; empty where only their instants are known."""


def percent(part: float, whole: float) -> float:
    """Return `part` in per cent of `whole`; NaN of nothing."""
    return 100.0 * part / whole if whole else float("nan")


def reference_of(samples: Iterable[int], symbols: Iterable[str], rate_hz: float, n_samples: int) -> Reference:
    """Return the beats and the flutter episodes among annotations; an episode without an end lasts to the last sample."""
    beats: list[int] = []
    kinds: list[str] = []
    flutter: list[Span] = []
    begin: int | None = None
    for sample, symbol in zip(samples, symbols, strict=True):
        if symbol == "[" and begin is None:
            begin = int(sample)
        elif symbol == "]" and begin is not None:
            flutter.append((begin, int(sample)))
            begin = None
        elif symbol in BEAT_SYMBOLS and begin is None:
            beats.append(int(sample))
            kinds.append(symbol)
    if begin is not None:
        flutter.append((begin, n_samples - 1))
    return Reference(
        beats=np.array(beats, dtype=np.int64),
        flutter=tuple(flutter),
        rate_hz=rate_hz,
        n_samples=n_samples,
        symbols=tuple(kinds),
    )


def window_samples(rate_hz: float, window_s: float = MATCH_WINDOW_S) -> int:
    """Return the most samples that lie within the match window: 150 ms itself still matches, more does not."""
    return int(window_s * rate_hz + 1e-9)


def pair(reference: Sequence[int] | Indices, found: Sequence[int] | Indices, n_window: int) -> tuple[Indices, Indices]:
    """Return which beats and detections belong together: positions in `reference` and, of equal length, in `found`.

    Both must ascend.  Whichever of the two next ones comes first is decided: it is paired with the other if that lies
    within `n_window` samples and the one after it is no nearer; else it stays alone.
    """
    truth, test = [int(at) for at in reference], [int(at) for at in found]
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < len(truth) and j < len(test):
        distance = abs(test[j] - truth[i])
        is_early = test[j] < truth[i]
        if is_early:
            rival = abs(test[j + 1] - truth[i]) if j + 1 < len(test) else None
        else:
            rival = abs(test[j] - truth[i + 1]) if i + 1 < len(truth) else None
        if distance <= n_window and (rival is None or distance < rival):
            pairs.append((i, j))
            i += 1
            j += 1
        elif is_early:
            j += 1
        else:
            i += 1
    positions = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return positions[:, 0], positions[:, 1]


def is_within(samples: Indices, spans: Iterable[Span]) -> NDArray[np.bool_]:
    """Return which samples lie in one of the spans, both ends included."""
    inside = np.zeros(len(samples), dtype=bool)
    for first, last in spans:
        inside |= (samples >= first) & (samples <= last)
    return inside
