"""A fall is suspected from an impact and what follows it."""

from __future__ import annotations

import pytest

from edge.features.activity import ActivitySettings, ActivityStage, Placement
from edge.messages import Activity, ActivityLevel, Condition, LinkChange, LinkState, Priority, SampleBlock, Tick
from edge.monitoring.falls import FallRule, FallSettings
from firmware_bridge.virtual.patient import CHANNELS, VirtualPatient
from firmware_bridge.virtual.scenario import Activity as Doing
from firmware_bridge.virtual.scenario import Event, PatientSettings, Posture, Scenario, Step

S = 1_000_000_000
STILL, MOVING, WALKING = ActivityLevel.STILL, ActivityLevel.MOVING, ActivityLevel.WALKING


def second(at_s: int, level: ActivityLevel = STILL, **fields) -> Activity:
    return Activity(sensor="chest", stream="acc", at_ns=at_s * S, level=level, intensity_mps2=0.1, **fields)


def impact(at_s: int, sensor_g: float = 3.0) -> Activity:
    return second(at_s, MOVING, impact_mps2=sensor_g * 9.80665)


def told(rule: FallRule, *seconds: Activity) -> list[Condition]:
    """Push seconds, each followed by its tick."""
    out = []
    for activity in seconds:
        out += rule.push(activity)
        out += rule.push(Tick(at_ns=activity.at_ns))
    return out


def test_impact_then_stillness_is_a_suspected_fall():
    """Ten still seconds after a blow: somebody should look, soon, and even if the patient is up again."""
    rule = FallRule()

    (claim,) = told(rule, impact(100), *(second(100 + k) for k in range(1, 11)))

    assert claim.code == "fall-suspected"
    assert (claim.priority, claim.is_latching, claim.is_active) == (Priority.MEDIUM, True, True)
    assert (claim.onset_at_ns, claim.at_ns) == (100 * S, 110 * S)
    assert claim.sentence.startswith("Fall suspected: impact of 3.0 g, then no movement for 10 s.")
    assert claim.evidence["sensor"] == "chest"


def test_stillness_may_begin_late():
    """Ten seconds of struggling and then ten still ones are a fall; eleven and ten are over the time."""
    late = [impact(0), *(second(k, MOVING) for k in range(1, 11))]
    later = [impact(0), *(second(k, MOVING) for k in range(1, 14))]

    assert len(told(FallRule(), *late, *(second(10 + k) for k in range(1, 11)))) == 1
    assert told(FallRule(), *later, *(second(13 + k) for k in range(1, 30))) == []


def test_a_hand_may_move_meanwhile():
    """Two restless seconds of ten do not hide a fall, three do."""
    levels = [STILL, STILL, MOVING, STILL, STILL, MOVING, STILL, STILL, STILL, STILL]
    restless = [STILL, MOVING, MOVING, STILL, MOVING] * 4

    assert len(told(FallRule(), impact(0), *(second(1 + k, level) for k, level in enumerate(levels)))) == 1
    assert told(FallRule(), impact(0), *(second(1 + k, level) for k, level in enumerate(restless))) == []


@pytest.mark.parametrize("level", [MOVING, WALKING])
def test_who_moves_on_has_not_fallen(level):
    """Jumping or running on is no fall, and stillness a minute later is rest."""
    out = told(FallRule(), impact(0), *(second(k, level) for k in range(1, 30)), *(second(30 + k) for k in range(60)))

    assert out == []


def test_jumping_is_no_fall_until_the_last_jump():
    """Each impact starts the clock anew."""
    jumps = [impact(k) for k in range(30)]

    assert told(FallRule(), *jumps, *(second(30 + k) for k in range(9))) == []
    assert told(FallRule(), *jumps, *(second(30 + k) for k in range(10)))[0].onset_at_ns == 29 * S


def test_stillness_before_the_last_impact_does_not_count():
    """Five still seconds, another blow and five still seconds are not ten."""
    between = [impact(0), *(second(k) for k in range(1, 6)), impact(6)]

    assert told(FallRule(), *between, *(second(6 + k) for k in range(1, 10))) == []
    assert len(told(FallRule(), *between, *(second(6 + k) for k in range(1, 11)))) == 1


def test_who_walks_has_got_up():
    """Two steps among eight still seconds are no fall; two turns would be one."""
    seconds = [second(k, WALKING if k in {3, 4} else STILL) for k in range(1, 11)]

    assert told(FallRule(), impact(0), *seconds) == []


def test_an_upright_trunk_has_not_fallen():
    """Who sits down hard stays upright; who then slumps within the time has fallen all the same."""
    upright = [second(k, posture="upright") for k in range(1, 40)]
    slumped = [second(k, posture="upright" if k < 12 else "left") for k in range(1, 21)]

    assert told(FallRule(), impact(0), *upright) == []
    (claim,) = told(FallRule(), impact(0), *slumped)
    assert "lying on the left" in claim.sentence


def test_no_stillness_without_impact():
    """Rest alone is nothing."""
    assert told(FallRule(), *(second(k) for k in range(100))) == []


def test_a_hole_after_the_impact_is_not_stillness():
    """Seconds of which nothing is known neither make nor hide a fall."""
    early = [impact(0), *(second(k) for k in range(1, 6))]
    rule = FallRule()

    assert told(rule, *early) == []
    assert rule.push(Tick(at_ns=15 * S)) == []
    assert len(told(rule, *(second(15 + k) for k in range(1, 6)))) == 1


def test_silence_after_an_impact_is_told():
    """A sensor that says nothing more after a blow may lie under the patient."""
    rule = FallRule()
    told(rule, impact(0), second(1))

    before = rule.push(Tick(at_ns=20 * S))
    (claim,) = rule.push(Tick(at_ns=21 * S))

    assert before == []
    assert "nothing more from the sensor" in claim.sentence
    assert rule.push(Tick(at_ns=22 * S)) == []


def test_silence_of_a_stopped_sensor_means_nothing():
    """Who stops a sensor after an impact is there and sees."""
    rule = FallRule()
    told(rule, impact(0))

    rule.push(LinkChange(sensor="chest", state=LinkState.STOPPED, reason="", at_ns=S))

    assert [condition for k in range(1, 60) for condition in rule.push(Tick(at_ns=k * S))] == []


def test_it_is_over_after_ten_seconds_of_movement():
    """Getting up ends the suspicion; one turn does not."""
    rule = FallRule()
    told(rule, impact(0), *(second(k) for k in range(1, 11)))

    turning = told(rule, *(second(11 + k, MOVING) for k in range(9)), second(20))
    (over,) = told(rule, *(second(21 + k, WALKING) for k in range(10)))

    assert turning == []
    assert (over.is_active, over.at_ns, over.sentence) == (False, 30 * S, "Moving again for 10 s.")


def test_another_sensor_does_not_end_it():
    """The wrist that moves says nothing of the trunk that lies still."""
    rule = FallRule()
    told(rule, impact(0), *(second(k) for k in range(1, 11)))
    wrist = [
        Activity(sensor="wrist", stream="acc", at_ns=k * S, level=MOVING, intensity_mps2=2.0) for k in range(11, 40)
    ]

    assert told(rule, *wrist) == []


def test_reset_forgets_the_impact():
    """After a reset stillness is rest."""
    rule = FallRule()
    told(rule, impact(0))

    rule.reset("test")

    assert told(rule, *(second(k) for k in range(1, 40))) == []


def test_impossible_settings_are_refused():
    """More still seconds than are looked at can never come."""
    with pytest.raises(ValueError, match="n_still"):
        FallSettings(n_still=11)


def suspicions(steps: tuple[Step, ...], placement: Placement | None, seed: int = 1) -> list[Condition]:
    """Return what acceleration of the virtual patient's chest led to."""
    patient = VirtualPatient(Scenario(patient=PatientSettings(seed=seed), steps=steps))
    signals = patient.take(70.0)
    block = SampleBlock(
        sensor="chest",
        stream="acceleration",
        channels=CHANNELS["acceleration"],
        values=signals.acceleration_mps2,
        rate_hz=signals.acceleration_rate_hz,
        start_ns=0,
        sequence=0,
    )
    rule = FallRule()
    return told(rule, *ActivityStage(ActivitySettings(placement=placement)).push(block))


@pytest.mark.parametrize("placement", [Placement.CHEST, None])
@pytest.mark.parametrize(("at_s", "doing"), [(30.0, Doing.REST), (30.45, Doing.WALKING), (30.97, Doing.WALKING)])
def test_the_virtual_patients_fall_is_suspected(placement, at_s, doing):
    """A fall from standing or walking is told within 20 s, wherever it lies in the second."""
    steps = Step(at_s=0.0, posture=Posture.STANDING, activity=doing), Step(at_s=at_s, event=Event.FALL)

    (claim,) = suspicions(steps, placement)

    assert claim.onset_at_ns / S == pytest.approx(at_s + 1.0, abs=1.0)
    assert claim.at_ns - claim.onset_at_ns <= 20 * S


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("event", [Event.JUMP, Event.SIT_DOWN_HARD])
def test_the_virtual_patients_jump_and_chair_are_no_falls(event, seed):
    """Who lands on the feet or on a chair is upright at the end."""
    steps = (
        Step(at_s=0.0, posture=Posture.STANDING),
        Step(at_s=30.0 + 0.3 * seed, event=event, activity=Doing.REST),
    )

    assert suspicions(steps, Placement.CHEST, seed) == []


def test_the_virtual_patients_restless_night_is_no_fall():
    """Turning and fidgeting in bed have no impact."""
    steps = (
        Step(at_s=0.0, posture=Posture.SUPINE, activity=Doing.RESTLESS),
        Step(at_s=20.0, posture=Posture.LEFT),
        Step(at_s=30.0, posture=Posture.PRONE, activity=Doing.REST),
    )

    assert suspicions(steps, Placement.CHEST) == []
    assert suspicions(steps, None) == []
