"""Two implementations of one specification: what virtual wearables encode is what our readers decode.

The encoders in `firmware_bridge.virtual.ble.encoding` were written from the specifications and not from the readers.
"""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("bumble", reason="virtual wearables are made with bumble")

from edge.acquisition.gatt.blood_pressure import parse_blood_pressure
from edge.acquisition.gatt.date_time import parse_date_time
from edge.acquisition.gatt.glucose import parse_glucose
from edge.acquisition.gatt.heart_rate import parse_heart_rate
from edge.acquisition.gatt.profiles import ProfileDecoder, ProfileSettings, profile_plan
from edge.acquisition.gatt.pulse_oximeter import parse_continuous_oximetry, parse_spot_oximetry
from edge.acquisition.gatt.thermometer import parse_temperature
from edge.acquisition.gatt.weight import parse_weight
from edge.messages import (
    Chunk,
    Corrupt,
    Reading,
    ReadingStatus,
    RrIntervals,
    SensorIdentity,
    SensorStatus,
)
from firmware_bridge.virtual.ble import encoding
from firmware_bridge.virtual.ble.kinds import Kind, WearableSettings, make_parts
from firmware_bridge.virtual.ble.services import Wearing
from firmware_bridge.virtual.scenario import Scenario

S = 1_000_000_000
moments = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(lambda when: when.replace(microsecond=0))  # noqa: DTZ001
maybe = st.none


@given(
    st.integers(0, 65535),
    st.lists(st.floats(0.2, 60), max_size=9),
    maybe() | st.booleans(),
    maybe() | st.integers(0, 65535),
)
def test_heart_rate(rate_bpm, rr_s, is_in_contact, energy_kj):
    """Intervals to half a step of 1/1024 s."""
    read = parse_heart_rate(encoding.heart_rate(rate_bpm, rr_s, is_in_contact=is_in_contact, energy_kj=energy_kj))

    assert (read.heart_rate_bpm, read.is_contact, read.energy_kj) == (rate_bpm, is_in_contact, energy_kj)
    assert read.rr_ms == pytest.approx([1000 * each for each in rr_s], abs=0.5)


@given(
    maybe() | st.integers(0, 100),
    maybe() | st.integers(0, 350),
    maybe() | st.integers(0, 0xFFFF),
    maybe() | st.integers(0, 0xFFFFFF),
    maybe() | st.integers(0, 2000),
    maybe() | moments,
)
def test_oximeter(spo2, pulse, measurement, sensor, amplitude, moment):
    """Both characteristics, with every field there or not."""
    continuous = parse_continuous_oximetry(
        encoding.oximeter_continuous(
            spo2,
            pulse,
            measurement_status=measurement,
            sensor_status=sensor,
            pulse_amplitude_pct=None if amplitude is None else amplitude / 100,
        )
    )
    spot = parse_spot_oximetry(
        encoding.oximeter_spot(spo2, pulse, moment=moment, measurement_status=measurement, sensor_status=sensor)
    )

    for read in (continuous, spot):
        assert (read.spo2_pct.value, read.pulse_rate_bpm.value) == (spo2, pulse)
        assert (read.measurement_status, read.device_status) == (measurement, sensor)
    assert (continuous.amplitude_pct and continuous.amplitude_pct.value) == (amplitude and amplitude / 100)
    assert (spot.taken_at and spot.taken_at.moment) == moment


@given(maybe() | st.integers(0, 5000), maybe() | moments, maybe() | st.integers(1, 9))
def test_thermometer(hundredths, moment, site):
    """To a hundredth of a degree."""
    value_c = None if hundredths is None else hundredths / 100

    read = parse_temperature(encoding.temperature(value_c, moment=moment, site=site))

    assert (read.temperature_c, read.taken_at and read.taken_at.moment, read.place) == (value_c, moment, site)


@given(
    st.tuples(*[maybe() | st.integers(0, 300)] * 3),
    maybe() | moments,
    maybe() | st.integers(0, 300),
    maybe() | st.integers(0, 63),
)
def test_cuff(pressures, moment, pulse, status):
    """With every field there or not."""
    read = parse_blood_pressure(encoding.blood_pressure(*pressures, moment=moment, pulse_rate_bpm=pulse, status=status))

    assert tuple(map(read.mmhg, (read.systolic, read.diastolic, read.mean))) == pressures
    assert (read.taken_at and read.taken_at.moment, read.status) == (moment, status)
    assert (read.pulse_rate_bpm and read.pulse_rate_bpm.value) == pulse


@given(st.integers(0, 60_000), moments, maybe() | st.integers(0, 255), st.integers(0, 65535), st.integers(1, 300))
def test_scale_and_meter_and_clock(steps, moment, user, number, tenths):
    """Mass in steps of 5 g, glucose in tenths of a mmol/L, seconds."""
    weighed = parse_weight(encoding.weight(steps * 0.005, moment=moment, user=user))
    measured = parse_glucose(encoding.glucose(number, moment, tenths / 10))

    assert (weighed.mass_kg, weighed.taken_at.moment, weighed.user) == (pytest.approx(steps * 0.005), moment, user)
    assert (measured.sequence, measured.shown_at, measured.glucose_mmol_l) == (number, moment, tenths / 10)
    assert parse_date_time(encoding.date_time(moment)).moment == moment


class Story:
    """A virtual wearable joined to a decoder without a radio."""

    def __init__(self, kind, *profiles):
        self.decoder = ProfileDecoder(ProfileSettings(sensor="s", profiles=profiles))
        self.plan = profile_plan(profiles)
        self.wearing = Wearing()
        self.items = []
        self._at_s = 0.0
        wearable = WearableSettings(kind=kind)
        self._parts = make_parts(wearable, Scenario.simple(), self.wearing, lambda: 244)
        members = [each for part in self._parts for service in part.services for each in service.characteristics]
        self._members = {member.uuid.to_hex_str("-").lower(): member for member in members}
        for part in self._parts:
            part.attach(self._send, lambda: self._at_s)

    def read_all(self):
        for channel in self.plan.read:
            member = self._members.get(_short(channel))
            if member is not None and isinstance(member.value, bytes):
                self._push(channel, member.value)

    def run_until(self, at_s):
        while (part := min(self._parts, key=lambda each: each.due_s)).due_s <= at_s:
            self._at_s = part.due_s
            part.act(part.due_s)

    def values(self, measure):
        return [item for item in self.items if isinstance(item, Reading) and item.measure == measure]

    def _send(self, member, value, n_samples):
        channel = _long(member.uuid.to_hex_str("-").lower())
        if channel in self.plan.subscribe:
            self._push(channel, value)

    def _push(self, channel, value):
        chunk = Chunk(data=bytes(value), received_at_ns=round(self._at_s * S), channel=channel)
        self.items += self.decoder.push(chunk)


def _long(uuid):
    return f"0000{uuid}-0000-1000-8000-00805f9b34fb" if len(uuid) == 4 else uuid


def _short(uuid):
    return uuid[4:8] if uuid.endswith("-0000-1000-8000-00805f9b34fb") else uuid


EVERY = {
    Kind.HEART_RATE_STRAP: ("heart_rate", "heart_rate_bpm", (40, 120)),
    Kind.OXIMETER: ("oximeter", "spo2_pct", (90, 100)),
    Kind.THERMOMETER: ("thermometer", "body_temperature_c", (35, 39)),
    Kind.BLOOD_PRESSURE: ("blood_pressure", "systolic_mmhg", (90, 160)),
    Kind.SCALE: ("weight", "body_mass_kg", (72.5, 72.5)),
    Kind.GLUCOSE_METER: ("glucose", "glucose_mmol_l", (5.5, 7.8)),
}


@pytest.mark.parametrize("kind", EVERY)
def test_every_virtual_wearable_is_read_without_loss(kind):
    """Three minutes: plausible values of now, who it is and its battery, and nothing refused."""
    profile, measure, (lowest, highest) = EVERY[kind]
    story = Story(kind, profile)

    story.read_all()
    story.run_until(180)

    values = [item for item in story.values(measure) if item.measured_at_ns > 15 * S or item.value is not None]
    assert values  # a sensor may need some seconds for the first
    assert all(lowest <= item.value <= highest for item in values)
    assert not [item for item in values if item.is_stored or item.status is not ReadingStatus.VALID]
    assert not [item for item in story.items if isinstance(item, Corrupt)]
    assert story.decoder.counters.n_corrupt == {}
    (identity,) = [item for item in story.items if isinstance(item, SensorIdentity)]
    assert (identity.device_id, identity.model) == ("00000001", f"VitalEdge virtual {kind}")


def test_strap_that_is_taken_off_is_told():
    """No rate while it is off, and intervals that say so."""
    story = Story(Kind.HEART_RATE_STRAP, "heart_rate")
    story.run_until(10)
    story.wearing.is_taken_off = True
    story.run_until(20)
    story.wearing.is_taken_off = False
    story.run_until(30)

    changes = [
        (item.is_active, item.at_ns // S)
        for item in story.items
        if isinstance(item, SensorStatus) and item.condition == "sensor-off"
    ]
    assert [is_active for is_active, _ in changes] == [False, True, False]
    off_s, on_s = changes[1][1], changes[2][1]
    assert {item.absent for item in story.values("heart_rate_bpm") if off_s <= item.measured_at_ns // S < on_s} == {
        "sensor-off"
    }
    assert [item.is_worn for item in story.items if isinstance(item, RrIntervals)][-1] is True
