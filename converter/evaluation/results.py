"""What is known of one record after it was scored, and of many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from converter.evaluation.beats import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordResult:
    """One record: its counts, or why there are none."""

    record: str
    patient: str
    error: str = ""
    """Why it could not be scored; empty where it was."""
    duration_s: float = 0.0
    processing_s: float = 0.0
    usable_pct: float = float("nan")
    """Share of the seconds in which the runtime called the signal usable."""
    is_paced: bool = False
    """EC57 reports records with paced beats apart."""
    beats: Counts | None = None
    """Shape (6, 6), of `converter.evaluation.beats.confusion`."""
    by_model: Counts | None = None
    """The same, of those beats alone whose class the model decided; every other one is missed."""
    episodes: NDArray[np.float64] | None = None
    """Of fibrillation, in the order of `converter.evaluation.rhythms.EPISODE_COUNTS`."""
    label: Counts | None = None
    """Shape (4, 5), of `converter.evaluation.rhythms.label_confusion`."""
    certain: Counts | None = None
    """The same, where an answer that the model does not stand by is none."""
    truth: str = ""
    """The annotated label of the whole record."""
    answer: str | None = None
    """What the runtime answered; None where it said nothing."""
    is_certain: bool = True
    """Whether the model stands by its answer."""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    predictions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By model: how often it said which label or, in parentheses, why it said none."""
