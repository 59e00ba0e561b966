"""Atrial fibrillation suspected from the irregularity of RR intervals.

The detector of Petrėnas, Marozas and Sörnmo [1]_ with its published parameters: a three-point median takes out
single ectopic beats, pairwise comparison of eight intervals measures irregularity, a second measure that bigeminy and
other regular ectopy do not raise vetoes it, both are smoothed exponentially.  Two differences make it causal: the
smoothing runs forward only (its lag is taken back when a rhythm is dated), and its first values are plain means.
On top come two vetoes of ours: intervals that begin or end with a beat unlike the dominant one are left out; and where a
rhythm model looks at the signal, the alarm and the name need its word too (`RhythmOpinion`), which knows P waves and
other irregular rhythms.  Where the model is absent, abstains or is silent, the intervals decide alone.

References
----------
.. [1] Petrėnas et al. (2015), doi:10.1016/j.compbiomed.2015.01.019
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from edge.messages import Beat, Condition, Json, Priority
from edge.monitoring.claims import Claim
from edge.monitoring.rhythm_opinion import FIBRILLATION, MODEL, RhythmOpinion

_WINDOW = 8
_N_PAIRS = _WINDOW * (_WINDOW - 1) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class IrregularitySettings:
    """When intervals are as irregular as in atrial fibrillation."""

    difference_ms: float = 30.0
    """Two intervals differ when they are further apart than this (γ of the paper)."""
    smoothing: float = 0.02
    """Weight of the newest beat in the exponential averages (α of the paper)."""
    veto: float = 2e-4
    """Below this ectopy-robust irregularity the rhythm is regular but for ectopic beats (δ of the paper)."""
    threshold_per_s: float = 0.725
    """Irregularity divided by the mean interval above which fibrillation is suspected (η of the paper)."""
    name_s: float = 30.0
    """Intervals of evidence before the rhythm gets or loses its name: 30 s defines an episode (ESC 2020,
    doi:10.1093/eurheartj/ehaa612)."""
    alarm_s: float = 60.0
    """Intervals of evidence before somebody is told (project default)."""
    off_s: float = 300.0
    """Regular rhythm that ends the condition (project default)."""


class IrregularityRule:
    """Whether the rhythm is suspected to be atrial fibrillation.

    Parameters
    ----------
    settings : IrregularitySettings
        When intervals are irregular.
    opinion : RhythmOpinion, optional
        What the rhythm model says; its owner keeps it up to date.
    """

    def __init__(self, settings: IrregularitySettings, opinion: RhythmOpinion | None = None) -> None:
        self._settings = settings
        self._opinion = opinion or RhythmOpinion(0.0)
        self._claim = Claim("atrial-fibrillation", Priority.LOW)
        self._rr_ms: deque[float] = deque(maxlen=_WINDOW + 2)
        self._lag_beats = round(math.log(2) / settings.smoothing)
        self._recent: deque[Beat] = deque(maxlen=self._lag_beats + 1)
        self._n = 0
        self._mean_s = self._irregular = self._ectopic = 0.0
        self._irregular_ms = self._regular_ms = 0.0
        self._changed: Beat | None = None
        self._onset: Beat | None = None
        self._end: Beat | None = None

    @property
    def onset(self) -> Beat | None:
        """Beat with which the suspected fibrillation began; None while the rhythm is regular."""
        return self._onset

    @property
    def end(self) -> Beat | None:
        """Beat with which the last one ended."""
        return self._end

    def beat(self, beat: Beat, rr_ms: float | None, *, is_ectopic: bool) -> list[Condition]:
        """Return what the interval before `beat` began or ended.

        Parameters
        ----------
        beat : Beat
            A beat that is no noise suspect.
        rr_ms : float or None
            Interval to the beat before it, where nothing is missing in it.
        is_ectopic : bool
            Whether one of the two may be ventricular: such an interval says nothing about the atria.
        """
        if rr_ms is None or is_ectopic:
            return []
        self._recent.append(beat)
        self._rr_ms.append(rr_ms)
        if len(self._rr_ms) < _WINDOW + 2:
            return []
        denied = self._denied(beat.at_ns)
        if self._measure():
            self._regular_ms = 0.0
            if self._irregular_ms == 0.0:
                self._changed = self._recent[0]
            self._irregular_ms += rr_ms
            return denied or self._suspect(beat, rr_ms)
        self._irregular_ms = 0.0
        if self._regular_ms == 0.0:
            self._changed = self._recent[0]
        self._regular_ms += rr_ms
        if self._regular_ms >= self._settings.name_s * 1000 and self._onset is not None:
            self._onset, self._end = None, self._changed
        if self._regular_ms < self._settings.off_s * 1000:
            return denied
        return self._claim.end(beat.at_ns, f"Heart beat regular for {self._settings.off_s / 60:.0f} min.")

    def _measure(self) -> bool:
        """Return whether the intervals are irregular, after taking the newest one in."""
        raw = list(self._rr_ms)
        # The median needs one interval after it, so the window ends with the last but one.
        filtered = [median(raw[k - 1 : k + 2]) for k in range(1, _WINDOW + 1)]
        n_different = sum(abs(a - b) > self._settings.difference_ms for a, b in combinations(filtered, 2))
        ectopic = (sum(filtered) / sum(raw[1:-1]) - 1) ** 2
        self._n += 1
        weight = max(self._settings.smoothing, 1 / self._n)
        self._mean_s += weight * (filtered[-1] / 1000 - self._mean_s)
        self._irregular += weight * (n_different / _N_PAIRS - self._irregular)
        self._ectopic += weight * (ectopic - self._ectopic)
        return self._ectopic >= self._settings.veto and self._index() > self._settings.threshold_per_s

    def _index(self) -> float:
        return self._irregular / self._mean_s if self._mean_s > 0 else 0.0

    def _denied(self, at_ns: int) -> list[Condition]:
        """Return the end of the condition where the rhythm model has long been of another opinion."""
        if not self._opinion.denies_fibrillation(at_ns, self._settings.off_s):
            return []
        minutes = self._settings.off_s / 60
        return self._claim.end(at_ns, f"The rhythm model has seen no fibrillation for {minutes:.0f} min.")

    def _suspect(self, beat: Beat, rr_ms: float) -> list[Condition]:
        if self._irregular_ms >= self._settings.name_s * 1000 and self._onset is None:
            self._onset = self._changed
        if self._irregular_ms < self._settings.alarm_s * 1000:
            return []
        if self._opinion.label(beat.at_ns) not in {None, FIBRILLATION}:
            return []
        onset = self._onset or beat
        seconds = self._irregular_ms / 1000
        return self._claim.begin(
            beat.at_ns,
            onset.at_ns,
            f"Atrial fibrillation suspected: heart beat irregular for {seconds:.0f} s at about "
            f"{60 / self._mean_s:.0f}/min. Confirm on a 12-lead ECG.",
            rule="RR irregularity (Petrenas 2015)",
            irregularity_per_s=round(self._index(), 3),
            limit=self._settings.threshold_per_s,
            mean_rr_ms=round(self._mean_s * 1000),
            last_rr_ms=round(rr_ms),
            duration_s=round(seconds, 1),
            **self._decision(beat.at_ns),
        )

    def _decision(self, at_ns: int) -> dict[str, Json]:
        """Return what the rhythm model said, for whoever explains it; empty where the intervals decided alone."""
        said = self._opinion.decision(at_ns)
        if said is None:
            return {}
        sequences = said.evidence.get("windows", [said.sequence])
        return {
            "decision": {
                "model": MODEL,
                "bundle_sha256": said.bundle_sha256,
                "sensor": said.sensor,
                "stream": said.stream,
                "window_sequences": sequences,
                "label": said.label,
                "probabilities": {label: round(value, 4) for label, value in said.probabilities.items()},
            }
        }
