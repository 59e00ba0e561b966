"""The name of the rhythm for the record: one `RhythmChange` where a rhythm began, however late that is known.

Names are those of the WFDB rhythm annotations, with ``ASYS`` and ``VF`` added.  When several fit, the most urgent is taken:
``ASYS, VF, VT, AFIB, B, T, SVTA, SBR, N``; ``NOISE`` while the signal cannot be read.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from edge.messages import Beat, Quality, RhythmChange


@dataclass(frozen=True, slots=True, kw_only=True)
class RhythmNameSettings:
    """What is slow, what is fast, what is unreadable."""

    slow_bpm: float = 50.0
    """Below this mean of eight intervals the rhythm is ``SBR``: 50/min (ACC/AHA/HRS 2018,
    doi:10.1016/j.jacc.2018.10.044)."""
    fast_bpm: float = 120.0
    """Above this it is ``SVTA`` where no beat is ventricular (the upper heart-rate limit of adult monitors)."""
    hysteresis_bpm: float = 5.0
    """How far the rate must come back (own choice)."""
    noise_s: float = 10.0
    """Unusable signal after which the rhythm is ``NOISE`` (own choice)."""


class RhythmName:
    """Which name was given last, and from where the next one holds."""

    def __init__(self, settings: RhythmNameSettings) -> None:
        self._settings = settings
        self._label: str | None = None
        self._at_ns: int | None = None
        self._sequence = 0
        self._rate_label = "N"
        self._beats: deque[tuple[Beat, float]] = deque(maxlen=8)
        self._unusable: Quality | None = None
        self._unusable_s = 0

    @property
    def label(self) -> str | None:
        """The name that holds; None before the first."""
        return self._label

    def change(self, label: str, at_ns: int, sequence: int) -> list[RhythmChange]:
        """Return the change to `label`; empty if it holds already.

        A change is never dated before the one that was published last.
        """
        if label == self._label:
            return []
        if self._at_ns is not None and at_ns < self._at_ns:
            at_ns, sequence = self._at_ns, self._sequence
        self._label, self._at_ns, self._sequence = label, at_ns, sequence
        return [RhythmChange(at_ns=at_ns, sequence=sequence, label=label)]

    def rate(self, beat: Beat, rr_ms: float | None, *, is_ventricular: bool) -> tuple[str, Beat]:
        """Return ``SVTA``, ``SBR`` or ``N`` after the interval before `beat`, and the beat from which it holds."""
        if is_ventricular:
            self._beats.clear()
            return self._rate_label, beat
        if rr_ms is not None:
            self._beats.append((beat, rr_ms))
        if len(self._beats) < 8:
            return self._rate_label, beat
        rate_bpm = 8 * 60_000 / sum(rr for _, rr in self._beats)
        margin = self._settings.hysteresis_bpm
        fast_bpm = self._settings.fast_bpm - (margin if self._rate_label == "SVTA" else 0)
        slow_bpm = self._settings.slow_bpm + (margin if self._rate_label == "SBR" else 0)
        self._rate_label = "SVTA" if rate_bpm > fast_bpm else "SBR" if rate_bpm < slow_bpm else "N"
        return self._rate_label, self._beats[0][0]

    def assess(self, quality: Quality, *, is_usable: bool) -> list[RhythmChange]:
        """Return the change to ``NOISE`` once the signal has been unusable for long enough."""
        if is_usable:
            self._unusable, self._unusable_s = None, 0
            return []
        self._unusable = self._unusable or quality
        self._unusable_s += 1
        if self._unusable_s < self._settings.noise_s or self._label == "ASYS":
            return []  # an asystole stays one until beats are seen
        self._beats.clear()
        return self.change("NOISE", self._unusable.at_ns, self._unusable.sequence)
