"""What virtual wearables say, read by our decoders: two implementations of each specification held against each other."""

from __future__ import annotations

import pytest

from edge.acquisition.gatt.profiles import ProfileDecoder, ProfileSettings
from edge.messages import Chunk, Corrupt, Reading, ReadingStatus, RrIntervals
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import Fault, FaultKind, Scenario
from firmware_bridge.virtual.scenario_file import load_scenario

pytest.importorskip("bumble", reason="virtual Bluetooth needs the extra 'simulate' (bumble)")

from firmware_bridge.virtual.ble.hearing import full_uuid
from firmware_bridge.virtual.ble.kinds import Kind, WearableSettings, make_parts
from firmware_bridge.virtual.ble.services import Wearing

NS_PER_S = 1_000_000_000


def heard(kind, profiles, scenario, duration_s):
    """Return what our decoder makes of everything that a wearable of this kind says."""
    decoder = ProfileDecoder(ProfileSettings(sensor="worn", profiles=profiles))
    parts = make_parts(WearableSettings(kind=kind), scenario, Wearing(), lambda: 244)
    items, now = [], [0.0]

    def take(target, data, n_samples):
        del n_samples
        chunk = Chunk(data=data, received_at_ns=round(now[0] * NS_PER_S), channel=full_uuid(target.uuid))
        items.extend(decoder.push(chunk))

    for part in parts:
        part.attach(take, lambda: now[0])
    while (part := min(parts, key=lambda each: each.due_s)).due_s <= duration_s:
        now[0] = part.due_s
        part.act(part.due_s)
    assert not [item for item in items if isinstance(item, Corrupt)]
    return items


def readings(items, measure):
    return [item for item in items if isinstance(item, Reading) and item.measure == measure]


def test_a_straps_rates_and_intervals_are_the_patients():
    """Each interval once, to the 1/1024 s of the wire, and a rate every second."""
    scenario = load_scenario("arrhythmia")

    items = heard(Kind.HEART_RATE_STRAP, ("heart_rate",), scenario, 120.0)

    intervals_ms = [each for item in items if isinstance(item, RrIntervals) for each in item.intervals_ms]
    true_ms = [beat.rr_s * 1000 for beat in VirtualPatient(scenario).truth(0, 120).beats if beat.rr_s]
    assert intervals_ms == pytest.approx(true_ms, abs=0.5)
    assert len(readings(items, "heart_rate_bpm")) >= 119


def test_a_strap_that_is_not_worn_gives_no_rate():
    """Absent, with the reason that nobody wears it."""
    fault = Fault(kind=FaultKind.LEAD_OFF, at_s=30, duration_s=20)

    rates = readings(
        heard(Kind.HEART_RATE_STRAP, ("heart_rate",), Scenario.simple(faults=(fault,)), 60.0), "heart_rate_bpm"
    )

    off = [each for each in rates if 30 * NS_PER_S <= each.measured_at_ns < 50 * NS_PER_S]
    assert {(each.value, each.absent) for each in off} == {(None, "sensor-off")}
    assert all(each.value for each in rates if 5 * NS_PER_S < each.measured_at_ns < 30 * NS_PER_S)


def test_an_oximeter_that_slips_off_and_moves():
    """A finger that is out is no desaturation; movement makes a value questionable."""
    faults = (
        Fault(kind=FaultKind.LEAD_OFF, at_s=30, duration_s=10, stream="ppg"),
        Fault(kind=FaultKind.MOTION, at_s=50, duration_s=5),
    )

    items = heard(Kind.OXIMETER, ("oximeter",), Scenario.simple(faults=faults), 60.0)

    states = {}
    for each in readings(items, "spo2_pct"):
        if not each.is_stored:
            states[each.measured_at_ns // NS_PER_S] = (each.value, each.status, each.absent)
    assert states[20] == (97.0, ReadingStatus.VALID, None)
    assert states[35] == (None, ReadingStatus.INVALID, "sensor-off")
    assert states[52][0] == 97.0
    assert states[52][1] is ReadingStatus.QUESTIONABLE


@pytest.mark.parametrize(
    ("kind", "profile", "expected"),
    [
        (Kind.THERMOMETER, "thermometer", {"body_temperature_c": 36.8}),
        (
            Kind.BLOOD_PRESSURE,
            "blood_pressure",
            {"systolic_mmhg": 122.0, "diastolic_mmhg": 78.0, "mean_pressure_mmhg": 93.0},
        ),
        (Kind.SCALE, "weight", {"body_mass_kg": 72.5}),
        (Kind.GLUCOSE_METER, "glucose", {"glucose_mmol_l": 5.5}),
    ],
)
def test_single_measurements(kind, profile, expected):
    """One value of each kind arrives as it is in the patient, in the unit of the runtime."""
    items = heard(kind, (profile,), Scenario.simple(), 40.0)

    first = {m: next(each.value for each in readings(items, m) if each.value is not None) for m in expected}
    assert first == pytest.approx(expected, abs=0.01)


def test_a_low_battery_from_the_scenario():
    """The charge of the scenario's fault comes with the battery's own characteristic."""
    fault = Fault(kind=FaultKind.BATTERY_LOW, at_s=15, duration_s=30, parameters={"battery_pct": 6})

    items = heard(Kind.THERMOMETER, ("thermometer",), Scenario.simple(faults=(fault,)), 40.0)

    assert [each.value for each in readings(items, "battery_pct")] == [6.0]
