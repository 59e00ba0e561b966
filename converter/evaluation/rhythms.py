"""Rhythms: one label for a whole record as the PhysioNet/CinC 2017 challenge scores it, and episodes as EC57 does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from converter.evaluation.beats import Counts, Statistics, ratio
from converter.evaluation.matching import Span

RHYTHM_CLASSES = ("N", "A", "O", "~")
"""Normal, atrial fibrillation, other, too noisy."""
ABSTAINED = len(RHYTHM_CLASSES)
"""The last column of a confusion matrix: records about which nothing was said."""

EPISODE_COUNTS = ("n_reference", "n_reference_met", "n_found", "n_found_met", "reference_s", "found_s", "both_s")

_OF_RHYTHM: Mapping[str, str] = MappingProxyType({"N": "N", "AFIB": "A", "NOISE": "~"})


def label_confusion(truth: str, answer: str | None) -> Counts:
    """Return the matrix of one record: shape (4, 5), rows annotated, columns answered, the last for no answer.

    Raises
    ------
    ValueError
        If `truth` is no class.
    """
    if truth not in RHYTHM_CLASSES:
        raise ValueError(f"expected one of {', '.join(RHYTHM_CLASSES)}, got {truth!r}")
    counts = np.zeros((len(RHYTHM_CLASSES), ABSTAINED + 1), dtype=np.int64)
    column = RHYTHM_CLASSES.index(answer) if answer in RHYTHM_CLASSES else ABSTAINED
    counts[RHYTHM_CLASSES.index(truth), column] = 1
    return counts


def label_statistics(counts: Counts) -> Statistics:
    """Return the scores of one or many confusion matrices of shape (..., 4, 5).

    Notes
    -----
    F1 of a class is twice the hits over the records annotated so and those answered so: a record without an answer
    counts against its class.  ``challenge_score`` is the mean F1 of normal, fibrillation and other, as the challenge
    counted in the end (Clifford et al. 2017, doi:10.22489/CinC.2017.065-469); a class that is nowhere is left out.
    Specificity is among all records that are not fibrillation, noisy ones included.
    """
    hits = np.diagonal(counts[..., :ABSTAINED], axis1=-2, axis2=-1)
    by_truth, by_answer = counts.sum(axis=-1), counts[..., :ABSTAINED].sum(axis=-2)
    f1 = ratio(2 * hits, by_truth + by_answer) / 100.0
    ranked = f1[..., :3]
    n_ranked = (~np.isnan(ranked)).sum(axis=-1)
    n_all, n_answered, n_right = by_truth.sum(axis=-1), by_answer.sum(axis=-1), hits.sum(axis=-1)
    n_other = n_all - by_truth[..., 1]
    n_false = by_answer[..., 1] - hits[..., 1]
    return {
        "challenge_score": ratio(np.nansum(ranked, axis=-1), n_ranked) / 100.0,
        "f1_normal": f1[..., 0],
        "f1_af": f1[..., 1],
        "f1_other": f1[..., 2],
        "f1_noise": f1[..., 3],
        "af_se_pct": ratio(hits[..., 1], by_truth[..., 1]),
        "af_sp_pct": ratio(n_other - n_false, n_other),
        "af_p_pct": ratio(hits[..., 1], by_answer[..., 1]),
        "answered_pct": ratio(n_answered, n_all),
        "accuracy_answered_pct": ratio(n_right, n_answered),
    }


def spans_of(changes: Iterable[tuple[int, str]], labels: frozenset[str], n_samples: int) -> tuple[Span, ...]:
    """Return the episodes in which the rhythm has one of `labels`: first sample, and the one after the last.

    Parameters
    ----------
    changes : iterable of (sample, label)
        From where on which rhythm holds, in any order; of two on one sample the later one counts.
    labels : frozenset of str
        WFDB rhythm names without the bracket.
    n_samples : int
        Length of the record; the last rhythm lasts to its end.
    """
    ordered = sorted(changes, key=lambda change: change[0])
    spans: list[Span] = []
    for k, (begin, label) in enumerate(ordered):
        end = ordered[k + 1][0] if k + 1 < len(ordered) else n_samples
        if label not in labels or end <= begin:
            continue
        if spans and spans[-1][1] == begin:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((begin, end))
    return tuple(spans)


def episode_counts(
    reference: Sequence[Span], found: Sequence[Span], rate_hz: float, *, from_s: float = 0.0
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return how annotated and found episodes cover each other, in the order of `EPISODE_COUNTS`.

    An episode is met when it shares any time with one of the other side.  What lies before `from_s` is cut off.
    """
    start = round(from_s * rate_hz)
    truth, test = _cut(reference, start), _cut(found, start)
    shared = sum(max(0, min(a[1], b[1]) - max(a[0], b[0])) for a in truth for b in test)
    return np.array(
        [
            len(truth),
            sum(any(_meet(a, b) for b in test) for a in truth),
            len(test),
            sum(any(_meet(a, b) for a in truth) for b in test),
            sum(end - begin for begin, end in truth) / rate_hz,
            sum(end - begin for begin, end in test) / rate_hz,
            shared / rate_hz,
        ]
    )


def episode_statistics(counts: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Statistics:
    """Return sensitivity and predictivity of episodes and of their duration, from shape (..., 7); NaN of nothing."""
    n_reference, n_reference_met, n_found, n_found_met, reference_s, found_s, both_s = np.moveaxis(counts, -1, 0)
    return {
        "af_episode_se_pct": ratio(n_reference_met, n_reference),
        "af_episode_p_pct": ratio(n_found_met, n_found),
        "af_duration_se_pct": ratio(both_s, reference_s),
        "af_duration_p_pct": ratio(both_s, found_s),
    }


def label_of_rhythms(changes: Sequence[tuple[int, str]], unreadable: Sequence[Span], n_samples: int) -> str | None:
    """Return the one label of a record whose rhythms are only known as changes; None where nothing is said.

    The rhythm that lasted longest counts; too noisy, where that lasted longer than all readable signal.
    """
    n_noisy = sum(min(end, n_samples) - max(begin, 0) for begin, end in unreadable)
    if 2 * n_noisy > n_samples:
        return "~"
    lasted: dict[str, int] = {}
    for label in sorted({label for _, label in changes}):
        name = _OF_RHYTHM.get(label, "O")
        n_long = sum(end - begin for begin, end in spans_of(changes, frozenset({label}), n_samples))
        lasted[name] = lasted.get(name, 0) + n_long
    return max(lasted, key=lambda name: lasted[name]) if lasted else None


def _cut(spans: Sequence[Span], start: int) -> list[Span]:
    return [(max(begin, start), end) for begin, end in spans if end > max(begin, start)]


def _meet(a: Span, b: Span) -> bool:
    return min(a[1], b[1]) > max(a[0], b[0])
