"""One record from its name to its counts: the function that every way of running in parallel calls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converter.evaluation.beats import confusion
from converter.evaluation.matching import Span, percent
from converter.evaluation.observation import Observation, observe, read_observation
from converter.evaluation.results import RecordResult
from converter.evaluation.rhythms import episode_counts, label_confusion, spans_of
from converter.evaluation.truth import Folder, Truth
from edge.config import Config
from edge.errors import EdgeError

BEAT, RHYTHM = "beat", "rhythm"
TASKS = (BEAT, RHYTHM)

_FIBRILLATION = frozenset({"AFIB"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One record to be scored; small, so that it can be sent to another machine that sees the same folders."""

    record: str
    patient: str
    folder: Folder
    """Reduced to this record (`Folder.only`)."""
    config: Config
    """What the runtime is to be: its models above all."""
    tasks: tuple[str, ...] = TASKS
    from_s: float = 0.0
    """What lies before is not counted."""
    annotations: Path | None = None
    """Folder with annotation files to score instead of running the pipeline."""
    extension: str = "vte"
    """Annotator whose files those are."""


def score_record(job: Job) -> RecordResult:
    """Return the counts of one record, or why there are none: whatever goes wrong with it, the others go on."""
    try:
        return _scored(job)
    except EdgeError as error:
        return failed(job, str(error))
    except Exception as error:  # noqa: BLE001 -- task boundary: one record must not end the evaluation of all
        return failed(job, f"{type(error).__name__}: {error}")


def failed(job: Job, error: str) -> RecordResult:
    """Return the result of a record that could not be scored."""
    return RecordResult(record=job.record, patient=job.patient, error=error or "unknown error")


def _scored(job: Job) -> RecordResult:
    truth = job.folder.truth(job.record)
    reference = truth.reference
    if job.annotations is None:
        seen = observe(job.folder.path / job.record, job.config)
        if seen.rate_hz != reference.rate_hz:
            raise EdgeError(f"annotated at {reference.rate_hz:g} Hz, replayed at {seen.rate_hz:g} Hz")
    else:
        path = job.annotations / job.record
        seen = read_observation(path, job.extension, reference.rate_hz, reference.n_samples)
    is_beat = BEAT in job.tasks and truth.label is None
    is_rhythm = RHYTHM in job.tasks
    label = truth.label if is_rhythm else None
    by_model = seen.is_by_model
    return RecordResult(
        record=job.record,
        patient=job.patient,
        duration_s=seen.duration_s,
        processing_s=seen.processing_s,
        usable_pct=100.0 - percent(_length(seen.unreadable) / seen.rate_hz, seen.duration_s),
        is_paced=truth.is_paced,
        beats=confusion(reference, seen.beats, seen.classes, from_s=job.from_s) if is_beat else None,
        by_model=(
            confusion(reference, seen.beats[by_model], seen.classes[by_model], from_s=job.from_s) if is_beat else None
        ),
        episodes=_episodes(truth, seen, job.from_s) if is_rhythm and truth.label is None else None,
        label=None if label is None else label_confusion(label, seen.label),
        certain=None if label is None else label_confusion(label, seen.label if seen.is_certain else None),
        truth=truth.label or "",
        answer=seen.label,
        is_certain=seen.is_certain,
        probabilities=seen.probabilities,
        predictions=seen.predictions,
    )


def _episodes(truth: Truth, seen: Observation, from_s: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    n_samples = truth.reference.n_samples
    annotated = spans_of(truth.rhythms, _FIBRILLATION, n_samples)
    found = spans_of(seen.rhythms, _FIBRILLATION, n_samples)
    return episode_counts(annotated, found, seen.rate_hz, from_s=from_s)


def _length(spans: tuple[Span, ...]) -> int:
    return sum(last - first + 1 for first, last in spans)
