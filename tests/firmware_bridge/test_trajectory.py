"""Numbers that approach their targets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.virtual.trajectory import Trajectory


@given(
    st.lists(st.tuples(st.floats(0.1, 50), st.floats(-100, 100)), min_size=1, max_size=6),
    st.floats(0.1, 60),
)
def test_value_never_leaves_the_range_of_its_targets_and_never_jumps(gaps_and_targets, tau_s):
    """Invariant: between the smallest and largest target, and continuous where a new one is set."""
    at_s = np.cumsum([gap for gap, _ in gaps_and_targets])
    targets = [target for _, target in gaps_and_targets]
    trajectory = Trajectory(list(zip(at_s, targets, strict=True)), time_constant_s=tau_s)

    value = trajectory.at(np.linspace(at_s[0], at_s[-1] + 100, 500))
    before, after = trajectory.at(at_s - 1e-9), trajectory.at(at_s + 1e-9)

    assert value.min() >= min(targets) - 1e-9
    assert value.max() <= max(targets) + 1e-9
    assert np.allclose(before, after, atol=1e-6)


def test_integral_is_the_sum_of_the_values():
    """The closed formula agrees with summing up."""
    trajectory = Trajectory([(0.0, 1.0), (2.0, 5.0), (3.0, -2.0)], time_constant_s=0.7)
    at_s = np.linspace(0.0, 8.0, 80_001)

    value = trajectory.at(at_s)
    summed = ((value[1:] + value[:-1]) / 2 * np.diff(at_s)).sum()

    assert trajectory.integral(np.array([8.0]))[0] == pytest.approx(summed, abs=1e-6)


def test_a_trajectory_needs_a_target():
    """Without one there is no value to give."""
    with pytest.raises(ValueError, match="at least one target"):
        Trajectory([], time_constant_s=1.0)
