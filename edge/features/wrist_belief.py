"""Evidence second by second -> the probability of each pulse rate, from the past alone.

A hidden Markov model over pulse rates, filtered forwards, as BeliefPPG does behind its network (Bieri 2023,
https://proceedings.mlr.press/v216/bieri23a.html); here the evidence is the spectrum itself, so nothing is trained.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MOST_EXPLAINED = 0.999
_LONGEST_STEP_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class BeliefSettings:
    """How fast a pulse changes and how much a window says."""

    range_bpm: tuple[int, int] = (30, 220)
    """Rates that are possible: the span of heart rates that PPG methods search (30-210 in BeliefPPG)."""
    change_bpm: float = 1.5
    """Mean size of the change from one second to the next, of a Laplace distribution (own choice: the usual start of
    exercise, tens of bpm in half a minute, must fit; 1 to 2 give nearly the same at rest)."""
    surprise: float = 1e-3
    """Probability a second that the rate is suddenly any other: lets go of a wrong track (own choice)."""
    trust_per_s: float = 2.0
    """Weight of the evidence of one second: half the number of independent values.  Windows of 8 s come every second,
    so each second counts once; a pulse with its harmonic fills about 2 Hz (own choice; 1.5 to 3 give nearly the
    same)."""
    near_bpm: float = 5.0
    """The confidence is the probability within this of the answer; ±5 bpm is what monitors are allowed (EC13)."""

    def __post_init__(self) -> None:
        if not 0 < self.range_bpm[0] < self.range_bpm[1]:
            raise ValueError(f"expected 0 < low < high range_bpm, got {self.range_bpm}")
        if not (self.change_bpm > 0 and 0 < self.surprise < 1 and self.trust_per_s > 0 and self.near_bpm > 0):
            raise ValueError("expected change_bpm, trust_per_s and near_bpm > 0 and 0 < surprise < 1")


class RateBelief:
    """The probability of each pulse rate, given everything so far.

    Parameters
    ----------
    settings : BeliefSettings
        How fast a pulse changes.
    """

    def __init__(self, settings: BeliefSettings = BeliefSettings()) -> None:
        low, high = settings.range_bpm
        self._settings = settings
        self._rates_bpm = np.arange(low, high + 1)
        step = np.exp(-np.abs(self._rates_bpm[:, None] - self._rates_bpm[None, :]) / settings.change_bpm)
        step /= step.sum(axis=1, keepdims=True)
        self._step = (1.0 - settings.surprise) * step + settings.surprise / len(step)
        self._belief = self._unknown()

    @property
    def rates_bpm(self) -> NDArray[np.int64]:
        """Shape (n_rates,): the rates that are possible."""
        return self._rates_bpm

    def pass_time(self, n_seconds: int) -> None:
        """Let the rate wander on for `n_seconds`; after a minute nothing is known any more."""
        if n_seconds > _LONGEST_STEP_S:
            self._belief = self._unknown()
            return
        for _ in range(n_seconds):
            self._belief = self._belief @ self._step

    def learn(self, explained: NDArray[np.float64], weight: float) -> None:
        """Take in what one second's window says.

        Parameters
        ----------
        explained : ndarray, shape (n_rates,)
            Share of the light that each rate explains, 0-1.
        weight : float
            0-1, how much of the light was not motion.
        """
        unexplained = 1.0 - np.fmax(np.fmin(explained, _MOST_EXPLAINED), 0.0)
        log_likelihood = -self._settings.trust_per_s * weight * np.log(unexplained)
        belief = self._belief * np.exp(log_likelihood - log_likelihood.max())
        total = float(belief.sum())
        self._belief = belief / total if total > 0.0 else self._unknown()

    def best(self) -> tuple[float, float]:
        """Return the most probable rate in bpm and the probability that the pulse is near it."""
        n_near = round(self._settings.near_bpm)
        mass = np.convolve(self._belief, np.ones(2 * n_near + 1), "same")
        at = int(np.argmax(mass))
        near = slice(max(0, at - n_near), at + n_near + 1)
        confidence = float(self._belief[near].sum())
        return float(self._belief[near] @ self._rates_bpm[near]) / confidence, min(1.0, confidence)

    def _unknown(self) -> NDArray[np.float64]:
        return np.full(len(self._rates_bpm), 1.0 / len(self._rates_bpm))
