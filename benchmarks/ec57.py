"""Beat-by-beat scoring as ANSI/AAMI EC57 does it, so that every script of this folder counts alike.

Which detection belongs to which beat is decided in `converter.evaluation.matching`, for the benchmarks and for
``vitaledge-convert evaluate`` alike.  Where the device under test suspended its analysis (*shutdown*), everything is
tallied apart: rejecting noise is visible, not free.

Nothing here depends on the detectors of this project.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converter.evaluation.matching import (
    BEAT_SYMBOLS,
    LEARNING_S,
    MATCH_WINDOW_S,
    Indices,
    Reference,
    Span,
    is_within,
    pair,
    percent,
    reference_of,
    window_samples,
)

__all__ = [
    "BEAT_SYMBOLS",
    "LEARNING_S",
    "MATCH_WINDOW_S",
    "Indices",
    "Record",
    "Reference",
    "Span",
    "Tally",
    "average",
    "gross",
    "is_within",
    "pair",
    "percent",
    "rate_error",
    "read_record",
    "reference_of",
    "score",
    "shutdown_spans",
    "window_samples",
]

RATE_WINDOW_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One annotated recording."""

    name: str
    rate_hz: float
    signals_mv: NDArray[np.float64]
    """Shape (n_samples, n_leads)."""
    leads: tuple[str, ...]
    resolutions_mv: tuple[float, ...]
    """One step of the converter, by lead."""
    is_paced: bool
    """Whether a paced beat (``/``) or a fusion with one (``f``) is annotated; EC57 reports such records apart."""
    reference: Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Beats that were found, missed and invented in the scored part of one record, or of many."""

    n_matched: int
    n_missed: int
    n_invented: int
    n_shut_down: int = 0
    """Reference beats in shutdown, found or not: none of them is in the three counts above."""
    n_invented_shut_down: int = 0
    shutdown_s: float = 0.0
    scored_s: float = 0.0
    """Length of the scored part, shutdown included."""
    offsets_ms: NDArray[np.float64]
    """Detection minus reference, of every pair outside shutdown."""

    @property
    def n_beats(self) -> int:
        """Reference beats outside shutdown."""
        return self.n_matched + self.n_missed

    @property
    def sensitivity_pct(self) -> float:
        """Share of the reference beats outside shutdown that were found; NaN without any."""
        return percent(self.n_matched, self.n_beats)

    @property
    def predictivity_pct(self) -> float:
        """Share of the detections outside shutdown that are beats; NaN without any."""
        return percent(self.n_matched, self.n_matched + self.n_invented)

    @property
    def f1_pct(self) -> float:
        """Harmonic mean of the two."""
        return percent(2 * self.n_matched, 2 * self.n_matched + self.n_missed + self.n_invented)

    @property
    def gross_sensitivity_pct(self) -> float:
        """Sensitivity with every beat in shutdown counted as missed, as ``bxb`` counts it."""
        return percent(self.n_matched, self.n_beats + self.n_shut_down)

    @property
    def shutdown_pct(self) -> float:
        """Share of the scored time in shutdown."""
        return percent(self.shutdown_s, self.scored_s)


# --- reading ----------------------------------------------------------------------------------------------


def read_record(path: Path | str, extension: str = "atr") -> Record:
    """Return a WFDB record with its reference annotations; values in mV as the header says."""
    import wfdb

    header = wfdb.rdrecord(str(path))
    annotation = wfdb.rdann(str(path), extension)
    return Record(
        name=Path(path).name,
        rate_hz=float(header.fs),
        signals_mv=np.ascontiguousarray(header.p_signal, dtype=np.float64),
        leads=tuple(header.sig_name),
        resolutions_mv=tuple(1.0 / gain for gain in header.adc_gain),
        is_paced=not {"/", "f"}.isdisjoint(annotation.symbol),
        reference=reference_of(annotation.sample, annotation.symbol, float(header.fs), len(header.p_signal)),
    )


# --- counting ---------------------------------------------------------------------------------------------


def score(
    reference: Reference,
    found: Sequence[int] | Indices,
    *,
    from_s: float = 0.0,
    shutdown: Sequence[Span] = (),
    window_s: float = MATCH_WINDOW_S,
) -> Tally:
    """Compare detections with the annotations.

    Parameters
    ----------
    reference : Reference
        What is right.
    found : sequence of int
        Sample of every detection, in any order.
    from_s : float
        Beats before this are paired but not counted: 0 for the whole record, `LEARNING_S` for EC57's way.
    shutdown : sequence of (first, last)
        Samples in which the device said that it does not analyse; must not overlap.
    window_s : float
        Largest distance of a pair.
    """
    rate_hz = reference.rate_hz
    test = np.sort(np.asarray(found, dtype=np.int64))
    paired_beats, paired_found = pair(reference.beats, test, window_samples(rate_hz, window_s))
    start = round(from_s * rate_hz)
    is_matched = np.zeros(len(reference.beats), dtype=bool)
    is_matched[paired_beats] = True
    is_shut = is_within(reference.beats, shutdown)
    is_scored = (reference.beats >= start) & ~is_shut
    extra = np.delete(test, paired_found)
    extra = extra[(extra >= start) & ~is_within(extra, reference.flutter)]
    is_extra_shut = is_within(extra, shutdown)
    keep = is_scored[paired_beats]
    offsets = test[paired_found[keep]] - reference.beats[paired_beats[keep]]
    n_shut_samples = sum(max(0, last + 1 - max(first, start)) for first, last in shutdown)
    return Tally(
        n_matched=int((is_matched & is_scored).sum()),
        n_missed=int((~is_matched & is_scored).sum()),
        n_invented=int((~is_extra_shut).sum()),
        n_shut_down=int((is_shut & (reference.beats >= start)).sum()),
        n_invented_shut_down=int(is_extra_shut.sum()),
        shutdown_s=n_shut_samples / rate_hz,
        scored_s=max(0.0, (reference.n_samples - start) / rate_hz),
        offsets_ms=1000.0 * offsets / rate_hz,
    )


def gross(tallies: Sequence[Tally]) -> Tally:
    """Return the sum of several records: every beat weighs alike."""
    return Tally(
        n_matched=sum(tally.n_matched for tally in tallies),
        n_missed=sum(tally.n_missed for tally in tallies),
        n_invented=sum(tally.n_invented for tally in tallies),
        n_shut_down=sum(tally.n_shut_down for tally in tallies),
        n_invented_shut_down=sum(tally.n_invented_shut_down for tally in tallies),
        shutdown_s=sum(tally.shutdown_s for tally in tallies),
        scored_s=sum(tally.scored_s for tally in tallies),
        offsets_ms=np.concatenate([np.zeros(0), *(tally.offsets_ms for tally in tallies)]),
    )


def average(tallies: Sequence[Tally]) -> tuple[float, float]:
    """Return the mean sensitivity and the mean predictivity of the records, in per cent: every record weighs alike."""
    pairs = np.array([(tally.sensitivity_pct, tally.predictivity_pct) for tally in tallies]).reshape(-1, 2)
    with_any = [column[~np.isnan(column)] for column in pairs.T]
    sensitivity_pct, predictivity_pct = (float(column.mean()) if len(column) else float("nan") for column in with_any)
    return sensitivity_pct, predictivity_pct


def shutdown_spans(is_usable: Sequence[bool], n_second: int) -> list[Span]:
    """Return the samples of the unusable seconds, where second k is samples ``k * n_second`` to before the next one."""
    return [(k * n_second, (k + 1) * n_second - 1) for k, usable in enumerate(is_usable) if not usable]


# --- heart rate -------------------------------------------------------------------------------------------


def rate_error(reference: Reference, found: Sequence[int] | Indices) -> tuple[float, float]:
    """Return the RMS error of the heart rate: in bpm, and in per cent of the record's mean rate (EC57's way).

    Both rates are 60 over the mean RR interval of the last 10 s, once a second, where both know three beats and no
    flutter is near; NaN where that is never so.
    """
    rate_hz = reference.rate_hz
    test = np.sort(np.asarray(found, dtype=np.int64))
    ends = np.arange(round(RATE_WINDOW_S), int(reference.n_samples / rate_hz) + 1) * rate_hz
    is_clear = np.ones(len(ends), dtype=bool)
    for first, last in reference.flutter:
        is_clear &= (ends < first) | (ends - RATE_WINDOW_S * rate_hz > last)
    truth_bpm, test_bpm = _rates_bpm(reference.beats, ends, rate_hz), _rates_bpm(test, ends, rate_hz)
    is_known = is_clear & ~np.isnan(truth_bpm) & ~np.isnan(test_bpm)
    if not is_known.any():
        return float("nan"), float("nan")
    rms_bpm = float(np.sqrt(np.mean((test_bpm[is_known] - truth_bpm[is_known]) ** 2)))
    return rms_bpm, percent(rms_bpm, float(truth_bpm[is_known].mean()))


def _rates_bpm(beats: Indices, ends: NDArray[np.float64], rate_hz: float) -> NDArray[np.float64]:
    first = np.searchsorted(beats, ends - RATE_WINDOW_S * rate_hz)
    last = np.searchsorted(beats, ends) - 1
    n_intervals = last - first
    rates = np.full(len(ends), np.nan)
    known = n_intervals >= 2
    span_s = (beats[last[known]] - beats[first[known]]) / rate_hz
    rates[known] = 60.0 * n_intervals[known] / span_s
    return rates
