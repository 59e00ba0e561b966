"""What a second looks like -> how wrong the beat detector would be there, and why.

The expected share of wrong beats (missed and invented, per beat) is a logistic function of four figures:

========  ========================================================================================================
in-band   what lies between the beats at 5-20 Hz, relative to the QRS amplitude and less where beats stand out
muscle    20-36 Hz relative to the QRS amplitude
unsteady  how much the largest deflection varies from second to second; seconds without a beat do not count
swing     how far the baseline moves
========  ========================================================================================================

and the index is ``1 / (1 + share / 0.09)``: 0.6 where 6 % of the beats would be wrong.

Fitted (maximum likelihood, five numbers) to the project's detector on the first lead of all 24 development records of
MIT-BIH, 15 minutes of each: clean; `ma` of nstdb at 18, 12, 6 and 0 dB; `bw` at 6 and 0 dB; synthetic electrode motion
at 12 and 6 dB.  Left out one patient at a time, the numbers stay the same to 2 % of their size (swing: 9 %), and
predicted and observed shares agree; then they were rounded.  What was wrong, by index, noisy and clean seconds together:

============  ======  =====================
index         share   wrong beats per beat
============  ======  =====================
0.9 to 1.0     20 %     0.6 %
0.8 to 0.9     17 %     1.3 %
0.7 to 0.8     12 %     2.6 %
0.6 to 0.7     10 %     4.1 %
0.5 to 0.6      9 %     6.3 %
0.4 to 0.5      8 %    10 %
0.2 to 0.4     14 %    23 %
below 0.2      11 %    60 %
============  ======  =====================

At 0.6 and above together: 1.9 % (0.2 % in the clean records, 2.8 % in the noisy stretches alone); below 0.6: 30 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_BIAS = 6.25
_HALF_SHARE = 0.09
# Weight of the logarithm of each figure, what is added before the logarithm (it makes small values alike), and what a
# clean lead gives (medians of the clean records): a cause is what lies above that.
_IN_BAND = (1.25, 0.005, 0.004)
_MUSCLE = (0.95, 0.003, 0.009)
_UNSTEADY = (0.5, 0.03, 0.07)
_SWING = (0.2, 0.2, 0.36)


@dataclass(slots=True, kw_only=True)
class ErrorCauses:
    """The four figures of one second of one lead."""

    in_band: float
    muscle: float
    unsteady: float
    swing: float

    def share(self) -> float:
        """Return the expected share of wrong beats, 0-1."""
        logit = (
            _BIAS
            + _part(self.in_band, _IN_BAND)
            + _part(self.muscle, _MUSCLE)
            + _part(self.unsteady, _UNSTEADY)
            + _part(self.swing, _SWING)
        )
        return 1.0 / (1.0 + math.exp(-min(logit, 30.0)))

    def named(self) -> tuple[str, ...]:
        """Return the words for what raised the share above that of a clean lead, the strongest first.

        Noise between the beats is called ``noise`` where the muscle band is loud too, else ``motion``.
        """
        in_band, muscle = _excess(self.in_band, _IN_BAND), _excess(self.muscle, _MUSCLE)
        unsteady, swing = _excess(self.unsteady, _UNSTEADY), _excess(self.swing, _SWING)
        is_muscle = muscle >= 0.5 * max(in_band, unsteady)
        weights = {
            "noise": max(muscle, in_band) if is_muscle else 0.0,
            "motion": unsteady if is_muscle else max(unsteady, in_band),
            "baseline": swing,
        }
        strongest = max(weights.values())
        named = [word for word, weight in weights.items() if weight > 0 and weight >= 0.5 * strongest]
        return tuple(sorted(named, key=lambda word: -weights[word]))


def index_of(share: float) -> float:
    """Return the quality index of an expected share of wrong beats."""
    return 1.0 / (1.0 + share / _HALF_SHARE)


def share_of(index: float) -> float:
    """Return the expected share of wrong beats at an index above 0."""
    return _HALF_SHARE * (1.0 / index - 1.0)


def _part(figure: float, constants: tuple[float, float, float]) -> float:
    weight, offset, _ = constants
    return weight * math.log(figure + offset)


def _excess(figure: float, constants: tuple[float, float, float]) -> float:
    return _part(figure, constants) - _part(constants[2], constants)
