"""Gravity at the trunk -> how a person sits or lies.

Axes of a sensor on breastbone or belt, as it is worn: x to the wearer's right, y to the head, z out of the body.  An
accelerometer at rest shows the axis that points up as positive.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_UPRIGHT_TILT = math.radians(60.0)
"""Trunk within 60 degrees of the vertical is upright, beyond it lying (Karantonis 2006,
doi:10.1109/TITB.2005.856864)."""
_QUARTER = math.radians(45.0)


def posture_of(gravity: NDArray[np.float64]) -> str | None:
    """Return ``upright``, ``supine``, ``prone``, ``left`` or ``right``; None for head down or no direction at all.

    Parameters
    ----------
    gravity : ndarray, shape (3,)
        Mean acceleration at rest along x, y, z, in any unit.

    Examples
    --------
    >>> posture_of(np.array([0.0, 1.0, 0.1]))
    'upright'
    >>> posture_of(np.array([1.0, 0.0, 0.0]))
    'left'
    """
    x, y, z = (float(value) for value in gravity)
    length = math.sqrt(x * x + y * y + z * z)
    if not 0.0 < length < math.inf:
        return None
    tilt = math.acos(max(-1.0, min(1.0, y / length)))
    if tilt <= _UPRIGHT_TILT:
        return "upright"
    if tilt >= math.pi - _UPRIGHT_TILT:
        return None
    roll = math.atan2(x, z)
    if abs(roll) <= _QUARTER:
        return "supine"
    if abs(roll) >= math.pi - _QUARTER:
        return "prone"
    return "left" if roll > 0 else "right"
