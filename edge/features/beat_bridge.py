"""Samples with holes in some leads -> samples without, in which no hole looks like a beat."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

# A lead without a value for longer than this has moved when it comes back.
_LONGEST_BRIDGE = 2


class Bridge:
    """Give leads without a value one: the last, and let them go on from there when they come back.

    A step from the held value to the new one would look like a beat; where the level of a lead lies does not matter.

    Parameters
    ----------
    n_leads : int
        Number of leads.
    """

    def __init__(self, n_leads: int) -> None:
        self._held = [0.0] * n_leads
        self._shift = [0.0] * n_leads
        self._n_missing = [0] * n_leads
        self._has_shift = False

    def fill(self, values: NDArray[np.float64], is_missing: Mask | None) -> NDArray[np.float64]:
        """Return `values`, shape (n_leads, n_samples), without holes; `is_missing` has shape (n_samples, n_leads)."""
        n_leads = len(values)
        if is_missing is None and not self._has_shift and max(self._n_missing) == 0:
            self._held = values[:, -1].tolist()
            return values
        out = np.array(values)
        for lead in range(n_leads):
            missing = np.zeros(out.shape[1], dtype=bool) if is_missing is None else is_missing[:, lead]
            edges = [0, *(np.flatnonzero(np.diff(missing)) + 1).tolist(), len(missing)]
            for first, last in itertools.pairwise(edges):
                if missing[first]:
                    self._n_missing[lead] += last - first
                    out[lead, first:last] = self._held[lead]
                    continue
                if self._n_missing[lead] > _LONGEST_BRIDGE:
                    self._shift[lead] = self._held[lead] - float(out[lead, first])
                self._n_missing[lead] = 0
                out[lead, first:last] += self._shift[lead]
                self._held[lead] = float(out[lead, last - 1])
        self._has_shift = any(self._shift)
        return out
