"""A number that follows its target the way a body does: it approaches, it does not jump.

Every trajectory is a closed formula of time, so any instant can be asked for in any order and always gives
the same answer; that is what makes the patient independent of the steps in which it is advanced.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class Trajectory:
    """A value approaching a series of targets exponentially.

    Parameters
    ----------
    targets : sequence of (float, float)
        (instant in seconds, target), in order of time; the first one is where the value starts.
    time_constant_s : float
        After this time 63 % of the way to a new target is done.

    Examples
    --------
    >>> trajectory = Trajectory([(0.0, 97.0), (10.0, 87.0)], time_constant_s=5.0)
    >>> [round(float(v), 2) for v in trajectory.at(np.array([0.0, 10.0, 15.0, 60.0]))]
    [97.0, 97.0, 90.68, 87.0]
    """

    def __init__(self, targets: Sequence[tuple[float, float]], *, time_constant_s: float) -> None:
        if not targets:
            raise ValueError("expected at least one target, got none")
        self._tau_s = time_constant_s
        self._from_s = np.array([at_s for at_s, _ in targets])
        self._target = np.array([target for _, target in targets])
        self._start = np.empty(len(targets))
        self._area = np.zeros(len(targets))
        # Value and integral at the instant of each target are worked out once; later calls start from them.
        self._start[0] = targets[0][1]
        for k in range(1, len(targets)):
            elapsed_s = self._from_s[k] - self._from_s[k - 1]
            self._start[k], self._area[k] = self._evaluate(k - 1, elapsed_s)

    def at(self, at_s: FloatArray) -> FloatArray:
        """Return the value at each instant."""
        k = self._segment(at_s)
        return np.asarray(self._evaluate(k, at_s - self._from_s[k])[0])

    def integral(self, at_s: FloatArray) -> FloatArray:
        """Return the integral of the value from the first target's instant to each instant."""
        k = self._segment(at_s)
        return np.asarray(self._evaluate(k, at_s - self._from_s[k])[1])

    def _segment(self, at_s: FloatArray) -> NDArray[np.int64]:
        return np.clip(np.searchsorted(self._from_s, at_s, side="right") - 1, 0, None)

    def _evaluate(self, k: NDArray[np.int64] | int, elapsed_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return value and integral `elapsed_s` after the `k`-th target was set."""
        decay = np.exp(-elapsed_s / self._tau_s)
        distance = self._start[k] - self._target[k]
        value = self._target[k] + distance * decay
        area = self._area[k] + self._target[k] * elapsed_s + distance * self._tau_s * (1.0 - decay)
        return value, area
