"""The services of virtual wearables: what each measures, when it speaks, and what it says when it is not worn.

A `Part` is one sensor function with its GATT services.  The wearable asks it at its `due_s` to `act`; values leave
through the callable that `attach` brings.  Layouts are in `encoding`.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bumble import att
from bumble.core import UUID
from bumble.gatt import Characteristic, CharacteristicValue, Service

from firmware_bridge.virtual.ble import encoding
from firmware_bridge.virtual.ble.body import Body
from firmware_bridge.virtual.device import CUFF_START_S
from firmware_bridge.virtual.scenario import FaultKind

READ = Characteristic.Properties.READ
WRITE = Characteristic.Properties.WRITE
WRITE_COMMAND = Characteristic.Properties.WRITE_WITHOUT_RESPONSE
NOTIFY = Characteristic.Properties.NOTIFY
INDICATE = Characteristic.Properties.INDICATE

FIRST_DAY = datetime(2026, 1, 1, 8, 0, 0)  # noqa: DTZ001 - the wall clock of a wearable knows no zone
"""What a device's own clock shows at the beginning of the story."""
CHEST = 1
ARMPIT = 1
Send = Callable[[Characteristic[bytes], bytes, int], None]


@dataclass(slots=True)
class Wearing:
    """What was done to the wearable by hand, on top of the scenario."""

    is_taken_off: bool = False
    battery_pct: int | None = None
    has_poor_signal: bool = False


class Part:
    """One function of a wearable; to be subclassed."""

    services: tuple[Service, ...] = ()
    advertised: tuple[UUID, ...] = ()
    due_s: float = float("inf")

    def attach(self, send: Send, now_s: Callable[[], float]) -> None:
        """Learn how values leave (characteristic, bytes, samples in them) and where in the story it is."""
        self._send, self._now_s = send, now_s

    def act(self, at_s: float) -> None:
        """Do what is due at this instant of the story, and plan the next."""

    def connection_ended(self) -> None:
        """Forget what belonged to the link."""


def characteristic(
    number: int | str, properties: Characteristic.Properties, value: bytes | CharacteristicValue[bytes] = b""
) -> Characteristic[bytes]:
    """Return a characteristic by its assigned number or its UUID, readable and writable as its properties say."""
    permissions = Characteristic.Permissions(0)
    if properties & READ:
        permissions |= Characteristic.READABLE
    if properties & (WRITE | WRITE_COMMAND):
        permissions |= Characteristic.WRITEABLE
    uuid = UUID.from_16_bits(number) if isinstance(number, int) else UUID(number)
    return Characteristic(uuid, properties, permissions, value)


def _service(number: int, *members: Characteristic[bytes]) -> Service:
    return Service(UUID.from_16_bits(number), list(members))


class Identity(Part):
    """Device Information (0x180A)."""

    def __init__(self, *, manufacturer: str, model: str, serial: str, firmware: str = "1.0.0") -> None:
        texts = ((0x2A29, manufacturer), (0x2A24, model), (0x2A25, serial), (0x2A26, firmware))
        self.services = (_service(0x180A, *(characteristic(number, READ, text.encode()) for number, text in texts)),)


class Battery(Part):
    """Battery (0x180F): read at any time, told when it changes."""

    def __init__(self, body: Body, wearing: Wearing, *, level_pct: int = 87, period_s: float = 10.0) -> None:
        self._body, self._wearing, self._usual_pct, self._period_s = body, wearing, level_pct, period_s
        self._told_pct = level_pct
        self._level = characteristic(
            0x2A19, READ | NOTIFY, CharacteristicValue(read=lambda _: bytes([self._level_at(self._now_s())]))
        )
        self.services = (_service(0x180F, self._level),)
        self.due_s = 0.0

    def act(self, at_s: float) -> None:
        """Tell a changed level."""
        self.due_s = at_s + self._period_s
        if self._level_at(at_s) != self._told_pct:
            self._told_pct = self._level_at(at_s)
            self._send(self._level, bytes([self._told_pct]), 0)

    def _level_at(self, at_s: float) -> int:
        if self._wearing.battery_pct is not None:
            return self._wearing.battery_pct
        fault = self._body.fault(FaultKind.BATTERY_LOW, at_s)
        return self._usual_pct if fault is None else round(fault.parameter("battery_pct"))


class HeartRate(Part):
    """Heart Rate (0x180D): once a second the rate and every interval that ended since the last time.

    Parameters
    ----------
    body, wearing
        Who wears it and how.
    tells_contact : bool
        False for straps like Polar's that leave the contact bits empty.
    """

    PERIOD_S = 1.0

    def __init__(self, body: Body, wearing: Wearing, *, tells_contact: bool = True) -> None:
        self._body, self._wearing, self._tells_contact = body, wearing, tells_contact
        self._value = characteristic(0x2A37, NOTIFY)
        control = characteristic(0x2A39, WRITE, CharacteristicValue(write=self._control))
        self.services = (_service(0x180D, self._value, characteristic(0x2A38, READ, bytes([CHEST])), control),)
        self.advertised = (UUID.from_16_bits(0x180D),)
        self.due_s = self.PERIOD_S

    def act(self, at_s: float) -> None:
        """Send one measurement."""
        self.due_s = at_s + self.PERIOD_S
        beats = self._body.beats_until(at_s)
        is_worn = not (self._wearing.is_taken_off or self._body.fault(FaultKind.LEAD_OFF, at_s, "ecg"))
        rr_s = [beat.rr_s for beat in beats if beat.rr_s is not None] if is_worn else []
        rate_bpm = self._body.vitals_at(at_s).heart_rate_bpm if is_worn else None
        contact = is_worn if self._tells_contact else None
        # Nine intervals fill the 23 bytes of the smallest MTU; the oldest ones are those a sensor leaves out.
        self._send(self._value, encoding.heart_rate(rate_bpm, rr_s[-8:], is_in_contact=contact), 0)

    @staticmethod
    def _control(connection: object, value: bytes) -> None:
        del connection
        if value != b"\x01":  # reset of the energy, the only command there is
            raise att.ATT_Error(att.ErrorCode(0x80))


class Oximeter(Part):
    """Pulse Oximeter (0x1822): continuous values once a second and a spot check now and then."""

    PERIOD_S = 1.0
    SPOT_PERIOD_S = 30.0
    LOW_PERFUSION_PCT = 0.3

    def __init__(self, body: Body, wearing: Wearing) -> None:
        self._body, self._wearing = body, wearing
        self._continuous = characteristic(0x2A5F, NOTIFY)
        self._spot = characteristic(0x2A5E, INDICATE)
        # Measurement status, sensor status, timestamp, pulse amplitude.
        features = characteristic(0x2A60, READ, struct.pack("<H", 0x01 | 0x02 | 0x08 | 0x40))
        self.services = (_service(0x1822, self._spot, self._continuous, features),)
        self.advertised = (UUID.from_16_bits(0x1822),)
        self.due_s = self.PERIOD_S
        self._spot_due_s = self.SPOT_PERIOD_S / 2

    def act(self, at_s: float) -> None:
        """Send one continuous value, and a spot check when it is time."""
        self.due_s = at_s + self.PERIOD_S
        vitals = self._body.vitals_at(at_s)
        sensor, measurement = self._status(at_s)
        is_measured = not sensor & encoding.SENSOR_UNCONNECTED_TO_USER
        spo2_pct = min(100.0, vitals.spo2_pct) if is_measured and vitals.spo2_pct is not None else None
        pulse_bpm = vitals.pulse_rate_bpm if is_measured else None
        value = encoding.oximeter_continuous(
            spo2_pct,
            pulse_bpm,
            measurement_status=measurement,
            sensor_status=sensor,
            pulse_amplitude_pct=self._body.perfusion_pct(at_s) if is_measured else None,
        )
        self._send(self._continuous, value, 0)
        if at_s >= self._spot_due_s:
            self._spot_due_s += self.SPOT_PERIOD_S
            spot = encoding.oximeter_spot(
                spo2_pct,
                pulse_bpm,
                moment=FIRST_DAY + timedelta(seconds=int(at_s)),
                measurement_status=measurement,
                sensor_status=sensor,
            )
            self._send(self._spot, spot, 0)

    def _status(self, at_s: float) -> tuple[int, int]:
        """Return Device and Sensor Status and Measurement Status."""
        if self._wearing.is_taken_off or self._body.fault(FaultKind.LEAD_OFF, at_s, "ppg"):
            return encoding.SENSOR_UNCONNECTED_TO_USER, encoding.MEASUREMENT_ONGOING
        sensor = encoding.LOW_PERFUSION if self._body.perfusion_pct(at_s) < self.LOW_PERFUSION_PCT else 0
        if self._wearing.has_poor_signal or self._body.fault(FaultKind.MOTION, at_s):
            return sensor | encoding.POOR_SIGNAL, encoding.MEASUREMENT_ONGOING | encoding.QUESTIONABLE
        return sensor, encoding.MEASUREMENT_ONGOING | encoding.FULLY_QUALIFIED


class Thermometer(Part):
    """Health Thermometer (0x1809): indications."""

    def __init__(self, body: Body, wearing: Wearing) -> None:
        self._body, self._wearing = body, wearing
        self._period_s = body.scenario.sensor.temperature_period_s
        self._value = characteristic(0x2A1C, INDICATE)
        self._intermediate = characteristic(0x2A1E, NOTIFY)
        site = characteristic(0x2A1D, READ, bytes([ARMPIT]))
        self.services = (_service(0x1809, self._value, self._intermediate, site),)
        self.advertised = (UUID.from_16_bits(0x1809),)
        self.due_s = min(1.0, self._period_s)

    def act(self, at_s: float) -> None:
        """Send one temperature, with the time of the device's own clock."""
        self.due_s = at_s + self._period_s
        value_c = None if self._wearing.is_taken_off else self._body.vitals_at(at_s).temperature_c
        moment = FIRST_DAY + timedelta(seconds=int(at_s))
        self._send(self._intermediate, encoding.temperature(value_c, site=ARMPIT), 0)
        self._send(self._value, encoding.temperature(value_c, moment=moment, site=ARMPIT), 0)


class Cuff(Part):
    """Blood Pressure (0x1810): indications after each inflation."""

    CUFF_LOOSE = 1 << 1
    MOVEMENT = 1 << 0

    def __init__(self, body: Body, wearing: Wearing) -> None:
        self._body, self._wearing = body, wearing
        self._period_s = body.scenario.sensor.cuff_period_s
        self._value = characteristic(0x2A35, INDICATE)
        feature = characteristic(0x2A49, READ, struct.pack("<H", self.CUFF_LOOSE | self.MOVEMENT))
        self.services = (_service(0x1810, self._value, feature),)
        self.advertised = (UUID.from_16_bits(0x1810),)
        if self._period_s > 0:
            self.due_s = CUFF_START_S

    def act(self, at_s: float) -> None:
        """Send systolic, diastolic and mean pressure."""
        self.due_s = at_s + self._period_s
        vitals = self._body.vitals_at(at_s)
        is_off = self._wearing.is_taken_off
        status = (self.CUFF_LOOSE if is_off else 0) | (self.MOVEMENT if self._body.fault(FaultKind.MOTION, at_s) else 0)
        value = encoding.blood_pressure(
            None if is_off else vitals.systolic_mmhg,
            None if is_off else vitals.diastolic_mmhg,
            None if is_off else vitals.mean_mmhg,
            moment=FIRST_DAY + timedelta(seconds=int(at_s)),
            pulse_rate_bpm=None if is_off else vitals.pulse_rate_bpm,
            status=status,
        )
        self._send(self._value, value, 0)


class Scale(Part):
    """Weight Scale (0x181D): somebody steps on it now and then."""

    PERIOD_S = 60.0
    MASS_KG = 72.5

    def __init__(self) -> None:
        self._value = characteristic(0x2A9D, INDICATE)
        self.services = (_service(0x181D, self._value, characteristic(0x2A9E, READ, struct.pack("<I", 0x01))),)
        self.advertised = (UUID.from_16_bits(0x181D),)
        self.due_s = 5.0

    def act(self, at_s: float) -> None:
        """Send one weighing."""
        self.due_s = at_s + self.PERIOD_S
        self._send(self._value, encoding.weight(self.MASS_KG, moment=FIRST_DAY + timedelta(seconds=int(at_s))), 0)


class GlucoseMeter(Part):
    """Glucose (0x1808): new measurements as they are made, stored ones when the record access point asks for all."""

    PERIOD_S = 60.0
    VALUES_MMOL_L = (5.5, 6.1, 7.8, 5.9)

    def __init__(self) -> None:
        self._value = characteristic(0x2A18, NOTIFY)
        self._access = characteristic(0x2A52, WRITE | INDICATE, CharacteristicValue(write=self._asked))
        self.services = (_service(0x1808, self._value, characteristic(0x2A51, READ, b"\0\0"), self._access),)
        self.advertised = (UUID.from_16_bits(0x1808),)
        self._numbers = itertools.count()
        self._stored: list[bytes] = []
        self.due_s = 5.0

    def act(self, at_s: float) -> None:
        """Send and keep one measurement."""
        self.due_s = at_s + self.PERIOD_S
        number = next(self._numbers)
        mmol_l = self.VALUES_MMOL_L[number % len(self.VALUES_MMOL_L)]
        self._stored.append(encoding.glucose(number, FIRST_DAY + timedelta(seconds=int(at_s)), mmol_l))
        self._send(self._value, self._stored[-1], 0)

    def _asked(self, connection: object, value: bytes) -> None:
        del connection
        code, operator = value[0] if value else 0, value[1] if len(value) > 1 else 0
        if code == 0x01 and operator == 0x01:  # report all records
            for record in self._stored:
                self._send(self._value, record, 0)
            self._send(self._access, bytes([0x06, 0x00, code, 0x01 if self._stored else 0x06]), 0)
        elif code == 0x04 and operator == 0x01:  # how many are there
            self._send(self._access, struct.pack("<BBH", 0x05, 0x00, len(self._stored)), 0)
        else:
            self._send(self._access, bytes([0x06, 0x00, code, 0x02]), 0)  # not supported
