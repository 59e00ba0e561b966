"""Movement, steps, posture and impacts from acceleration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.features.activity import GRAVITY_MPS2, ActivitySettings, ActivityStage, Placement, find_cadence_hz
from edge.messages import ActivityLevel, Channel, ChannelKind, SampleBlock

RATE_HZ = 32.0
KINDS = (ChannelKind.ACCELERATION_X, ChannelKind.ACCELERATION_Y, ChannelKind.ACCELERATION_Z)


def acc_block(values: np.ndarray, *, unit: str = "m/s2", rate_hz: float = RATE_HZ, sequence: int = 0) -> SampleBlock:
    channels = tuple(Channel(name=kind.value, kind=kind, unit=unit) for kind in KINDS[: values.shape[1]])
    return SampleBlock(
        sensor="wrist", stream="acc", channels=channels, values=values, rate_hz=rate_hz, sequence=sequence,
        start_ns=round(sequence * 1e9 / rate_hz),
    )  # fmt: skip


def resting(
    duration_s: float, up: tuple[float, float, float] = (0.0, 0.0, 1.0), rate_hz: float = RATE_HZ
) -> np.ndarray:
    """Return m/s2 of a sensor that lies still with the axis `up` pointing upwards, with a sensor's noise."""
    n = round(duration_s * rate_hz)
    return GRAVITY_MPS2 * np.array(up) + 0.02 * np.random.default_rng(1).standard_normal((n, 3))


def walking(duration_s: float, step_hz: float, amplitude_g: float = 0.25, rate_hz: float = RATE_HZ) -> np.ndarray:
    """Return m/s2 of somebody who walks: the magnitude at the step, one axis at the stride."""
    values = resting(duration_s, (0.0, 1.0, 0.0), rate_hz)
    angle = 2 * np.pi * step_hz * np.arange(len(values)) / rate_hz
    values[:, 1] += GRAVITY_MPS2 * (amplitude_g * np.sin(angle) + 0.4 * amplitude_g * np.sin(2 * angle + 0.7))
    values[:, 0] += 0.1 * GRAVITY_MPS2 * np.sin(angle / 2)
    return values


def restless(duration_s: float, seed: int = 2) -> np.ndarray:
    """Return m/s2 of a hand that moves without any rhythm."""
    values = resting(duration_s)
    noise = np.random.default_rng(seed).standard_normal(values.shape)
    return values + 4.0 * np.apply_along_axis(lambda v: np.convolve(v, np.ones(4) / 4, "same"), 0, noise)


def test_a_sensor_at_rest_is_still():
    """Noise and gravity alone are no movement, whatever the direction."""
    out = ActivityStage().push(acc_block(resting(10.0, (0.6, 0.0, -0.8))))

    assert [activity.level for activity in out] == [ActivityLevel.STILL] * 10
    assert [activity.at_ns for activity in out] == [second * 1_000_000_000 for second in range(1, 11)]
    assert max(activity.intensity_mps2 for activity in out) < 0.05


@pytest.mark.parametrize("step_hz", [1.3, 1.6, 1.8, 2.0, 2.4, 2.7])
@pytest.mark.parametrize("rate_hz", [25.0, 32.0, 100.0])
def test_steps_are_counted(step_hz, rate_hz):
    """Walking is recognised once four seconds are there, with its cadence."""
    out = ActivityStage().push(acc_block(walking(12.0, step_hz, rate_hz=rate_hz), rate_hz=rate_hz))

    assert {activity.level for activity in out[4:]} == {ActivityLevel.WALKING}
    assert [activity.cadence_hz for activity in out[4:]] == pytest.approx([step_hz] * 8, abs=0.05)


def test_movement_without_rhythm_is_not_walking():
    """An irregular hand moves, and hardly ever seems to walk."""
    out = ActivityStage().push(acc_block(restless(120.0)))

    levels = [activity.level for activity in out]
    assert ActivityLevel.STILL not in levels
    assert levels.count(ActivityLevel.WALKING) <= 6


def test_turning_the_hand_is_movement():
    """A slow turn leaves the magnitude as it is and still counts as movement."""
    values = resting(6.0)
    angle = np.clip((np.arange(len(values)) / RATE_HZ - 2.0), 0, 2) * np.pi / 4
    values[:] = GRAVITY_MPS2 * np.column_stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)])

    levels = [activity.level for activity in ActivityStage().push(acc_block(values))]

    assert levels == [ActivityLevel.STILL] * 2 + [ActivityLevel.MOVING] * 2 + [ActivityLevel.STILL] * 2


@pytest.mark.parametrize(("unit", "per_g"), [("[g]", 1.0), ("m[g]", 1000.0), ("mg", 1000.0), ("1/64 g", 64.0)])
def test_units_are_understood(unit, per_g):
    """The same movement in another unit gives the same activity."""
    values = walking(8.0, 1.8)

    expected = ActivityStage().push(acc_block(values))
    out = ActivityStage().push(acc_block(values / GRAVITY_MPS2 * per_g, unit=unit))

    assert [a.level for a in out] == [a.level for a in expected]
    assert [a.intensity_mps2 for a in out] == pytest.approx([a.intensity_mps2 for a in expected])


def test_unknown_unit_is_scaled_by_gravity():
    """In raw counts gravity tells the scale."""
    values = np.vstack([resting(10.0), walking(10.0, 1.8)])

    out = ActivityStage().push(acc_block(values / GRAVITY_MPS2 * 16384, unit="1"))

    assert [a.level for a in out[:10]] == [ActivityLevel.STILL] * 10
    assert {a.level for a in out[14:]} == {ActivityLevel.WALKING}
    assert out[-1].intensity_mps2 == pytest.approx(ActivityStage().push(acc_block(values))[-1].intensity_mps2, rel=0.05)


@pytest.mark.parametrize(
    ("up", "posture"),
    [
        ((0.0, 1.0, 0.0), "upright"),
        ((0.0, 0.0, 1.0), "supine"),
        ((0.0, 0.0, -1.0), "prone"),
        ((1.0, 0.0, 0.0), "left"),
        ((-1.0, 0.0, 0.0), "right"),
        ((0.0, 0.6, 0.8), "upright"),
        ((0.0, -1.0, 0.0), None),
    ],
)
def test_posture_is_told_where_the_placement_is_known(up, posture):
    """Gravity tells the posture of the trunk, and nothing of the trunk at the wrist."""
    block = acc_block(resting(3.0, up))

    assert ActivityStage(ActivitySettings(placement=Placement.CHEST)).push(block)[-1].posture == posture
    assert ActivityStage(ActivitySettings(placement=Placement.WRIST)).push(block)[-1].posture is None
    assert ActivityStage().push(block)[-1].posture is None


def test_no_posture_while_moving():
    """Acceleration is gravity alone only at rest."""
    stage = ActivityStage(ActivitySettings(placement=Placement.CHEST))

    assert {activity.posture for activity in stage.push(acc_block(walking(8.0, 1.8)))} == {None}


def fall(*, dip_g: float = 0.3, peak_g: float = 3.0, at_s: float = 5.5) -> np.ndarray:
    """Return ten seconds at rest with a free fall of 0.3 s that ends in a blow."""
    values = resting(10.0)
    at = round(at_s * RATE_HZ)
    values[at - 10 : at] *= dip_g
    values[at : at + 2] *= peak_g
    return values


def test_impact_after_free_fall_is_seen():
    """A fall's blow stands in its second with its size."""
    impacts = [activity.impact_mps2 for activity in ActivityStage().push(acc_block(fall()))]

    assert impacts[5] == pytest.approx(3.0 * GRAVITY_MPS2, rel=0.01)
    assert [impact for impact in impacts if impact is not None] == [impacts[5]]


def test_free_fall_may_lie_in_the_second_before():
    """The border of a second between free fall and blow hides nothing."""
    impacts = [activity.impact_mps2 for activity in ActivityStage().push(acc_block(fall(at_s=6.0)))]

    assert impacts[6] is not None


@pytest.mark.parametrize(("dip_g", "peak_g"), [(1.0, 3.0), (0.3, 2.0), (0.8, 3.4), (0.65, 3.4)])
def test_no_impact_without_free_fall_or_without_blow(dip_g, peak_g):
    """A knock at the table or a small hop is no impact."""
    out = ActivityStage().push(acc_block(fall(dip_g=dip_g, peak_g=peak_g)))

    assert {activity.impact_mps2 for activity in out} == {None}


def test_a_hand_put_down_is_no_fall_but_a_trunk_that_drops_as_briefly_is():
    """A tenth of a second of free fall is 0.7 m/s: usual for a hand, not for a trunk."""
    values = resting(10.0)
    values[173:176] *= 0.3
    values[176:178] *= 2.9

    at_wrist = ActivityStage(ActivitySettings(placement=Placement.WRIST)).push(acc_block(values))
    at_chest = ActivityStage(ActivitySettings(placement=Placement.CHEST)).push(acc_block(values))

    assert at_wrist[5].impact_mps2 is None
    assert at_chest[5].impact_mps2 is not None


def test_shaking_is_no_descent():
    """What goes up as much as down has not fallen."""
    values = resting(10.0)
    shake = 1.0 + 0.9 * np.sin(2 * np.pi * 4.0 * np.arange(32) / RATE_HZ)
    values[160:192] *= shake[:, None]
    values[191] *= 3.0

    assert {activity.impact_mps2 for activity in ActivityStage().push(acc_block(values))} == {None}


def test_a_blow_at_the_end_of_the_range_counts_from_two_g():
    """A sensor of two g cannot show more; that its limit was reached says that there was more."""
    block = acc_block(fall(peak_g=2.1))
    channels = tuple(
        replace(channel, minimum=-2 * GRAVITY_MPS2, maximum=2 * GRAVITY_MPS2) for channel in block.channels
    )
    limited = replace(block, channels=channels, values=np.clip(block.values, -2 * GRAVITY_MPS2, 2 * GRAVITY_MPS2))

    assert ActivityStage().push(limited)[5].impact_mps2 is not None
    assert ActivityStage().push(replace(limited, channels=block.channels))[5].impact_mps2 is None


def test_hard_blow_at_the_trunk_needs_no_free_fall():
    """A body that slides down and hits hard is not overlooked; a hand that knocks is."""
    block = acc_block(fall(dip_g=1.0, peak_g=4.0))

    at_chest = ActivityStage(ActivitySettings(placement=Placement.CHEST)).push(block)
    at_wrist = ActivityStage(ActivitySettings(placement=Placement.WRIST)).push(block)

    assert at_chest[5].impact_mps2 is not None
    assert at_wrist[5].impact_mps2 is None


def test_missing_samples_leave_their_second_without_a_word():
    """More than a fifth missing: no activity for that second, the others unharmed."""
    values = resting(6.0)
    values[64:80] = np.nan
    values[100] = np.inf
    values[120] = 1e300

    out = ActivityStage().push(acc_block(values))

    assert [activity.at_ns // 1_000_000_000 for activity in out] == [1, 2, 4, 5, 6]
    assert {activity.level for activity in out} == {ActivityLevel.STILL}


def test_one_axis_tells_movement_and_nothing_more():
    """With one axis of a known unit there is a level, and neither posture nor impact; in raw counts there is nothing."""
    values = np.vstack([resting(5.0, (1.0, 0.0, 0.0)), fall()])[:, :1]
    stage = ActivityStage(ActivitySettings(placement=Placement.CHEST))

    out = stage.push(acc_block(values))

    assert [activity.level for activity in out[:5]] == [ActivityLevel.STILL] * 5
    assert {(activity.posture, activity.impact_mps2) for activity in out} == {(None, None)}
    assert ActivityStage().push(acc_block(values, unit="1")) == []


def test_a_hole_starts_anew():
    """Movement before a hole does not count after it."""
    stage = ActivityStage()
    stage.push(acc_block(walking(8.0, 1.8)))

    out = stage.push(acc_block(walking(5.0, 1.8), sequence=round(100 * RATE_HZ)))

    assert [activity.level for activity in out[:3]] == [ActivityLevel.MOVING] * 3
    assert out[-1].level is ActivityLevel.WALKING


def test_other_streams_are_passed_over():
    """A block without acceleration gives nothing."""
    channels = (Channel(name="PLETH", kind=ChannelKind.PPG, unit="1"),)
    block = SampleBlock(
        sensor="s", stream="ppg", channels=channels, values=np.zeros((100, 1)), rate_hz=64.0, start_ns=0, sequence=0
    )

    assert ActivityStage().push(block) == []


def test_impossible_settings_are_refused():
    """A range of cadences upside down is an error of whoever configures."""
    with pytest.raises(ValueError, match="cadence_hz"):
        ActivitySettings(cadence_hz=(2.8, 1.2))
    with pytest.raises(ValueError, match="still_mps2"):
        ActivitySettings(still_mps2=0.0)


@settings(max_examples=25, deadline=None)
@given(
    step_hz=st.floats(1.25, 2.7), amplitude_g=st.floats(0.2, 0.8), rate_hz=st.sampled_from([25.0, 31.25, 50.0, 104.0])
)
def test_cadence_is_that_of_the_steps(step_hz, amplitude_g, rate_hz):
    """Neither rate, size nor the stride's own rhythm misleads the cadence."""
    values = walking(4.0, step_hz, amplitude_g, rate_hz)

    cadence_hz = find_cadence_hz(np.linalg.norm(values, axis=1), rate_hz)

    assert cadence_hz == pytest.approx(step_hz, abs=0.06)
