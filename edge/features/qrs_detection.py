"""What the decision rules of the beat detector remember of a candidate."""

from __future__ import annotations

from dataclasses import dataclass

from edge.features.qrs_signal import Candidates


@dataclass(slots=True)
class Detection:
    """One QRS complex."""

    at: int
    """Position of the energy's maximum, at the detector's rate."""
    fused: float
    strength: float
    """Energy in units of the usual beat."""
    slope: float
    heights: list[float]
    weights: list[float]
    clear_leads: list[int]
    """Leads that showed beats clearly at that time."""
    is_late: bool
    """Found by search-back."""


@dataclass(slots=True)
class Rejected:
    """A candidate that was no beat, and may still become one by search-back."""

    candidates: Candidates
    k: int
    at: int
    strength: float
    threshold: float
    """What it had to pass when it came."""
