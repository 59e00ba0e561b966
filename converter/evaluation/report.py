"""All that an evaluation found, from the results of its records: figures, intervals, and what could not be scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converter.evaluation.beats import BEAT_CLASSES, NO_BEAT, Counts, Statistics, beat_statistics
from converter.evaluation.bootstrap import Interval, intervals
from converter.evaluation.results import RecordResult
from converter.evaluation.rhythms import EPISODE_COUNTS, episode_statistics, label_statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One group of records scored in one way."""

    title: str
    results: tuple[RecordResult, ...]
    counts: NDArray[Any]
    """Shape (n_records, ...)."""
    gross: Mapping[str, Interval]
    """Of all records together, by statistic."""
    by_record: tuple[Mapping[str, float], ...]
    """Of each record alone."""

    @property
    def average(self) -> dict[str, float]:
        """Mean over the records in which a statistic is defined: every record weighs alike."""
        return {name: _mean([row[name] for row in self.by_record]) for name in self.gross}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an evaluation came to."""

    heading: Mapping[str, str]
    """What was evaluated, on what and how, by name."""
    results: tuple[RecordResult, ...]
    """Every record, those that could not be scored included."""
    beats: Section | None = None
    """Records without paced beats."""
    paced: Section | None = None
    """Records with paced beats, which EC57 reports apart."""
    decided: Section | None = None
    """Of the records in `beats`, the beats alone whose class the model decided."""
    episodes: Section | None = None
    labels: Section | None = None
    """The likeliest label of each record."""
    certain: Section | None = None
    """The same, where an answer that the model does not stand by is none."""
    predictions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By model: how often it said which label or, in parentheses, why it said none."""
    warnings: tuple[str, ...] = ()
    """What a reader must know before any figure."""

    @property
    def failures(self) -> tuple[RecordResult, ...]:
        """Records that could not be scored."""
        return tuple(result for result in self.results if result.error)

    @property
    def n_scored(self) -> int:
        """Records that were scored."""
        return len(self.results) - len(self.failures)


def report_of(
    results: Sequence[RecordResult], heading: Mapping[str, str], *, n_draws: int = 1000, seed: int = 0
) -> Report:
    """Return figures and intervals of all results.

    Parameters
    ----------
    results : sequence of RecordResult
        One for each record.
    heading : mapping
        What was evaluated, by name.
    n_draws, seed : int
        Of the bootstrap (`converter.evaluation.bootstrap.intervals`).
    """

    def section(title: str, chosen: Sequence[tuple[RecordResult, NDArray[Any] | None]], score: Any) -> Section | None:
        known = [(result, counts) for result, counts in chosen if counts is not None]
        if not known:
            return None
        counts = np.stack([counts for _, counts in known])
        patients = [result.patient for result, _ in known]
        by_record: Statistics = score(counts)
        return Section(
            title=title,
            results=tuple(result for result, _ in known),
            counts=counts,
            gross=intervals(counts, patients, score, n_draws=n_draws, seed=seed),
            by_record=tuple({name: float(by_record[name][k]) for name in by_record} for k in range(len(known))),
        )

    sound = [result for result in results if not result.error]
    plain = [result for result in sound if not result.is_paced]
    decided = section("Beats that the model decided", [(each, each.by_model) for each in plain], beat_statistics)
    return Report(
        heading=heading,
        results=tuple(results),
        beats=section("Beats", [(each, each.beats) for each in plain], beat_statistics),
        paced=section(
            "Beats of records with paced beats",
            [(each, each.beats) for each in sound if each.is_paced],
            beat_statistics,
        ),
        decided=decided if decided is not None and decided.counts[:, :, :NO_BEAT].any() else None,
        episodes=_with_any(
            section("Atrial fibrillation, by episodes", [(r, r.episodes) for r in plain], episode_statistics)
        ),
        labels=section("Rhythm of whole records", [(each, each.label) for each in sound], label_statistics),
        certain=section("Answers that the model stands by", [(each, each.certain) for each in sound], label_statistics),
        predictions=_predictions(sound),
    )


def coverage(all_beats: Counts, decided: Counts) -> tuple[float, float]:
    """Return how many of the found beats the model decided, and how many of those are wrong, in per cent."""
    n_found, n_decided = int(all_beats[:NO_BEAT, :NO_BEAT].sum()), int(decided[:NO_BEAT, :NO_BEAT].sum())
    n_right = int(np.trace(decided[:NO_BEAT, :NO_BEAT]))
    nothing = float("nan")
    return (
        100.0 * n_decided / n_found if n_found else nothing,
        100.0 * (n_decided - n_right) / n_decided if n_decided else nothing,
    )


def columns_of(result: RecordResult) -> dict[str, str | float]:
    """Return one row of the CSV: everything that was counted in one record."""
    row: dict[str, str | float] = {
        "record": result.record,
        "patient": result.patient,
        "error": result.error,
        "duration_s": round(result.duration_s, 3),
        "processing_s": round(result.processing_s, 3),
        "usable_pct": result.usable_pct,
        "is_paced": int(result.is_paced),
    }
    if result.beats is not None:
        truths, answers = (*BEAT_CLASSES, "none"), (*BEAT_CLASSES, "missed")
        for i, truth in enumerate(truths):
            for j, answer in enumerate(answers):
                if (i, j) != (NO_BEAT, NO_BEAT):
                    row[f"n_{truth}_as_{answer}"] = int(result.beats[i, j])
        row |= {name: float(value) for name, value in beat_statistics(result.beats).items()}
    if result.beats is not None and result.by_model is not None:
        row["model_decided_pct"], row["model_error_pct"] = coverage(result.beats, result.by_model)
    if result.episodes is not None:
        row |= {f"af_{name}": float(value) for name, value in zip(EPISODE_COUNTS, result.episodes, strict=True)}
    if result.label is not None:
        row |= {"truth": result.truth, "answer": result.answer or "", "is_certain": int(result.is_certain)}
        row |= {f"probability_{name}": value for name, value in result.probabilities.items()}
    return row


def _predictions(results: Sequence[RecordResult]) -> dict[str, dict[str, int]]:
    total: dict[str, Counter[str]] = {}
    for result in results:
        for model, said in result.predictions.items():
            total.setdefault(model, Counter()).update(said)
    return {model: dict(sorted(said.items())) for model, said in sorted(total.items())}


def _with_any(section: Section | None) -> Section | None:
    """Return the section if anything is in it: most folders hold no fibrillation at all."""
    return section if section is not None and section.counts.any() else None


def _mean(numbers: Sequence[float]) -> float:
    known = [number for number in numbers if not np.isnan(number)]
    return float(np.mean(known)) if known else float("nan")
