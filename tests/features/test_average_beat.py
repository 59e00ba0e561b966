"""The average of beats, their alignment, and the noise left in it."""

from __future__ import annotations

import numpy as np
import pytest

from edge.features.average_beat import AverageBeat

SIDE = 60


def empty(n_shift=3):
    return AverageBeat(n_before=SIDE, n_after=SIDE, n_core=20, n_shift=n_shift)


def beat(at=0, *, width=3.0, height=1.0, level=0.0):
    """A peak `at` samples from where the R peak was said to be."""
    where = np.arange(-SIDE - 3, SIDE + 4) - at
    return level + height * np.exp(-0.5 * (where / width) ** 2)


def test_beats_that_were_timed_badly_are_not_smeared():
    """Up to three samples off: the average is as high and narrow as each."""
    average = empty()
    for at in (0, 3, -2, 1, -3, 2, 0, -1):
        assert average.add(beat(at))

    assert average.mean() == pytest.approx(beat()[3:-3], abs=1e-12)
    assert average.n_beats == 8


def test_another_shape_is_left_out():
    """A wide beat among narrow ones, whatever its height and level."""
    average = empty()
    average.add(beat(height=0.5, level=-3.0))

    assert not average.add(beat(width=15.0))
    assert not average.add(beat(height=-1.0))
    assert average.add(beat(height=2.0, level=5.0))
    assert average.n_beats == 2


def test_half_the_difference_of_the_halves_is_the_noise():
    """Of 100 beats a tenth of the noise is left, and the halves show it."""
    rng = np.random.default_rng(0)
    average = empty()
    for _ in range(100):
        average.add(beat() + 0.05 * rng.standard_normal(2 * SIDE + 7))

    first, second = average.half_means()
    noise = 0.5 * (first - second)
    assert noise.std() == pytest.approx(0.005, rel=0.25)
    assert (average.mean() - beat()[3:-3]).std() == pytest.approx(0.005, rel=0.25)


def test_a_flat_line_is_no_beat():
    """It neither begins an average nor joins one."""
    average = empty()

    assert not average.add(np.ones(2 * SIDE + 7))
    average.add(beat())
    assert not average.add(np.ones(2 * SIDE + 7))
    assert average.n_beats == 1
