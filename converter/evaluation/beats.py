"""Classes of beats: counted against the annotations, and what EC57 reports of the counts.

The five classes are those of ANSI/AAMI EC57: normal, supraventricular ectopic, ventricular ectopic, fusion, unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from converter.evaluation.matching import Indices, Reference, is_within, pair, window_samples

Counts = NDArray[np.int64]
Statistics = dict[str, NDArray[np.float64]]

BEAT_CLASSES = ("N", "S", "V", "F", "Q")
NO_BEAT = len(BEAT_CLASSES)
"""The last row of a confusion matrix: beats that nobody annotated; the last column: annotated beats that were missed."""

AAMI: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys("NLRBej", "N"),
        **dict.fromkeys("AaJSn", "S"),
        **dict.fromkeys("VEr", "V"),
        "F": "F",
        **dict.fromkeys("/fQ?", "Q"),
    }
)
"""WFDB symbol to class.  Escape beats of the atria and of the node (``e``, ``j``) are normal, as in de Chazal et al.
2004 (doi:10.1109/TBME.2004.827359), whose division of the MIT-BIH records everybody uses; EC57's own ``bxb`` takes
them for supraventricular."""


def class_indices(symbols: Sequence[str]) -> NDArray[np.int64]:
    """Return the position in `BEAT_CLASSES` of each WFDB symbol; what is no known beat is unknown."""
    return np.array([BEAT_CLASSES.index(AAMI.get(symbol, "Q")) for symbol in symbols], dtype=np.int64)


def confusion(
    reference: Reference, found: Sequence[int] | Indices, classes: Sequence[int] | Indices, *, from_s: float = 0.0
) -> Counts:
    """Count annotated against found classes.

    Parameters
    ----------
    reference : Reference
        The annotated beats with their symbols.
    found : sequence of int
        Sample of each beat that was found, ascending.
    classes : sequence of int
        Its class, as position in `BEAT_CLASSES`.
    from_s : float
        Beats before this are paired but not counted.

    Returns
    -------
    array of int64
        Shape (6, 6).  Rows: annotated class, then what nobody annotated.  Columns: found class, then what was missed.
    """
    truth = class_indices(reference.symbols)
    if len(truth) != len(reference.beats) or len(found) != len(classes):
        raise ValueError(
            f"expected a class for each beat, got {len(truth)} of {len(reference.beats)} and {len(classes)} of {len(found)}"
        )
    test, given = np.asarray(found, dtype=np.int64), np.asarray(classes, dtype=np.int64)
    rows, columns = pair(reference.beats, test, window_samples(reference.rate_hz))
    start = round(from_s * reference.rate_hz)
    counts = np.zeros((NO_BEAT + 1, NO_BEAT + 1), dtype=np.int64)
    scored = reference.beats[rows] >= start
    cells = truth[rows][scored] * NO_BEAT + given[columns][scored]
    counts[:NO_BEAT, :NO_BEAT] = np.bincount(cells, minlength=NO_BEAT**2).reshape(NO_BEAT, NO_BEAT)
    is_missed = reference.beats >= start
    is_missed[rows] = False
    counts[:NO_BEAT, NO_BEAT] = np.bincount(truth[is_missed], minlength=NO_BEAT)
    is_extra = (test >= start) & ~is_within(test, reference.flutter)
    is_extra[columns] = False
    counts[NO_BEAT, :NO_BEAT] = np.bincount(given[is_extra], minlength=NO_BEAT)
    return counts


def beat_statistics(counts: Counts) -> Statistics:
    """Return what EC57 reports of one or many confusion matrices, in per cent; NaN of nothing.

    Parameters
    ----------
    counts : array
        Shape (..., 6, 6), from `confusion`.

    Notes
    -----
    As ``bxb`` counts: missed beats lower a sensitivity and invented ones a predictivity.  A fusion or unknown beat
    called ventricular is no false ventricular beat, an unknown one called supraventricular no false supraventricular
    one.  ``accuracy_pct`` is that of the beats that were found.
    """
    n, s, v, f, q = range(len(BEAT_CLASSES))
    by_truth, by_answer = counts.sum(axis=-1), counts.sum(axis=-2)
    both = counts[..., :NO_BEAT, :NO_BEAT]
    n_found, n_right = both.sum(axis=(-1, -2)), np.trace(both, axis1=-2, axis2=-1)
    n_beats, n_answers = by_truth[..., :NO_BEAT].sum(axis=-1), by_answer[..., :NO_BEAT].sum(axis=-1)
    veb, false_veb = counts[..., v, v], counts[..., [n, s, NO_BEAT], v].sum(axis=-1)
    sveb, false_sveb = counts[..., s, s], counts[..., [n, v, f, NO_BEAT], s].sum(axis=-1)
    # Whatever is annotated as not ventricular and is not called so, invented beats included.
    n_quiet = counts[..., [n, s, f, q, NO_BEAT], :NO_BEAT].sum(axis=(-1, -2))
    n_quiet = n_quiet - counts[..., [n, s, f, q, NO_BEAT], v].sum(axis=-1)
    return {
        "qrs_se_pct": ratio(n_found, n_beats),
        "qrs_p_pct": ratio(n_found, n_answers),
        "veb_se_pct": ratio(veb, by_truth[..., v]),
        "veb_p_pct": ratio(veb, veb + false_veb),
        "veb_fpr_pct": ratio(false_veb, false_veb + n_quiet),
        "sveb_se_pct": ratio(sveb, by_truth[..., s]),
        "sveb_p_pct": ratio(sveb, sveb + false_sveb),
        "f_se_pct": ratio(counts[..., f, f], by_truth[..., f]),
        "accuracy_pct": ratio(n_right, n_found),
    }


def ratio(part: NDArray[np.int64 | np.float64], whole: NDArray[np.int64 | np.float64]) -> NDArray[np.float64]:
    """Return `part` in per cent of `whole`, element by element; NaN of nothing."""
    numerator, denominator = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    result = np.full(denominator.shape, np.nan)
    np.divide(100.0 * numerator, denominator, out=result, where=denominator > 0)
    return result
