"""Which beats are normal ones: conducted the usual way and certainly there; and when their rhythm has no usual interval.

Heart-rate variability and delineation both speak of normal beats alone, so both ask here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from edge.messages import Beat, BeatKind

SIMILARITY = 0.9
"""Correlation with the dominant beat from which a beat is conducted as usual: the `likeness` of the ventricular rules."""
JUMP_RATIO = 0.1
"""Two successive intervals further apart than this share of the first are a jump (own choice, see `is_irregular`)."""
IRREGULAR_SHARE = 0.5
"""More jumps than this share make a rhythm irregular: the median step then exceeds `JUMP_RATIO`.

Measured on the annotated minutes of 22 MIT-BIH records: 0.63-0.83 in all 31 of fibrillation and flutter; in 464 of
sinus rhythm (ventricular beats left out) 0.08 or less in three of four, above 0.5 in one, of record 201.
"""


def is_normal(beat: Beat) -> bool:
    """Return whether `beat` is a normal one, as far as a detector can tell.

    A beat that a model or a rule calls otherwise, a premature or dissimilar one and a noise suspect are not; a beat
    found by search-back only where its shape vouches for it.  Before the usual shape is known, shape is not asked.
    """
    if beat.is_noise_suspect or beat.is_premature or beat.kind is not BeatKind.NORMAL:
        return False
    return is_similar(beat) and not (beat.is_late and beat.similarity is None)


def is_similar(beat: Beat) -> bool:
    """Return whether `beat` may be conducted as this person's usual beat."""
    return beat.similarity is None or beat.similarity >= SIMILARITY


def is_jump(before_ms: float, after_ms: float) -> bool:
    """Return whether two successive intervals differ more than a sinus rhythm's usually do."""
    return abs(after_ms - before_ms) > JUMP_RATIO * before_ms


def is_irregular(rr_ms: Sequence[float | None]) -> bool:
    """Return whether intervals follow each other without order, as in atrial fibrillation.

    Parameters
    ----------
    rr_ms : sequence of float or None
        Intervals between beats conducted as usual, premature or not, oldest first; None where one is not.
    """
    jumps = [is_jump(a, b) for a, b in pairwise(rr_ms) if a is not None and b is not None]
    return sum(jumps) > IRREGULAR_SHARE * len(jumps)
