"""What each driver of the configuration is: its decoder, its link, and the defaults that its kind of sensor needs.

One table, read from top to bottom: a new kind of sensor is one entry here and one codec in ``acquisition/devices`` or
``acquisition/gatt``.  `attached` puts a configured sensor together; `edge.app` and ``vitaledge record`` run it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random
from types import MappingProxyType
from typing import cast

from edge.acquisition.ble import BleSettings, BleTransport
from edge.acquisition.bridge import BridgeDecoder, BridgeSettings
from edge.acquisition.decoder import Decoder
from edge.acquisition.devices import contec_5byte, contec_v7, cyton, nonin, openview
from edge.acquisition.devices.contec_5byte import Contec5ByteDecoder, Contec5ByteSettings
from edge.acquisition.devices.contec_v7 import ContecV7Decoder, ContecV7Settings
from edge.acquisition.devices.cyton import CytonDecoder, CytonSettings
from edge.acquisition.devices.line import LineSettings
from edge.acquisition.devices.nonin import NoninDecoder, NoninSettings
from edge.acquisition.devices.openview import OpenViewDecoder, OpenViewSettings
from edge.acquisition.gatt.nordic_uart import NORDIC_UART
from edge.acquisition.gatt.plan import GattPlan
from edge.acquisition.gatt.polar_pmd import POLAR_PLAN, PolarDecoder, PolarSettings
from edge.acquisition.gatt.profiles import ProfileDecoder, ProfileSettings, profile_plan
from edge.acquisition.sensor import Sensor
from edge.acquisition.sensor_settings import SensorSettings
from edge.acquisition.serial_port import SerialPort, SerialPortSettings
from edge.acquisition.transport import Transport
from edge.bluetooth import Bluetooth
from edge.clock import NS_PER_S, Clock
from edge.config_sensor import Driver as DriverName
from edge.config_sensor import Sensor as SensorSection
from edge.messages import ClockSync

_SERIAL_OPEN_S = 20.0
_BLUETOOTH_OPEN_S = 75.0
"""Looking for the sensor, waiting for the radio while others connect, connecting, bonding and subscribing."""

AnyDecoder = Decoder[object]
"""Its items are of `pipeline.SensorItem`, and what only the link needs besides."""
WallTime = Callable[[], datetime | None]
"""Gives the local time of day; None while this machine is not sure of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """One kind of sensor."""

    words: str
    """What it is, for people."""
    decoder: Callable[[SensorSection, WallTime | None], AnyDecoder]
    """Gives the codec of one configured sensor; the time is for devices whose clocks we set."""
    line: LineSettings | None = None
    """How the serial line is set; None for a Bluetooth sensor."""
    plan: GattPlan | None = None
    """What is used of a Bluetooth sensor; None for a serial one."""
    max_silence_s: float = 5.0
    """Longest pause without data that is normal, s: ten times the longest between two notifications or frames of
    its kind, and 5 s at least."""
    is_occasional: bool = False
    """Switched on for each measurement: away is normal, and no alarm."""


def _bridge(section: SensorSection, _: WallTime | None) -> AnyDecoder:
    return BridgeDecoder(BridgeSettings(sensor=section.id))


def _openview(section: SensorSection, _: WallTime | None) -> AnyDecoder:
    return OpenViewDecoder(OpenViewSettings(sensor=section.id, streams=section.streams))


def _nonin(section: SensorSection, _: WallTime | None) -> AnyDecoder:
    return NoninDecoder(NoninSettings(sensor=section.id))


def _contec_5byte(section: SensorSection, _: WallTime | None) -> AnyDecoder:
    return Contec5ByteDecoder(Contec5ByteSettings(sensor=section.id))


def _contec_v7(section: SensorSection, _: WallTime | None) -> AnyDecoder:
    return ContecV7Decoder(ContecV7Settings(sensor=section.id))


def _cyton(section: SensorSection, _: WallTime | None) -> AnyDecoder:
    return CytonDecoder(CytonSettings(sensor=section.id, streams=section.streams))


def _polar(section: SensorSection, _: WallTime | None) -> AnyDecoder:
    settings = PolarSettings(sensor=section.id)
    return PolarDecoder(replace(settings, streams=section.streams) if section.streams else settings)


def _profile(name: str, words: str, *, max_silence_s: float, is_occasional: bool = False) -> Driver:
    """Return the driver of one standard Bluetooth profile."""

    def decoder(section: SensorSection, wall_time: WallTime | None) -> AnyDecoder:
        return ProfileDecoder(ProfileSettings(sensor=section.id, profiles=(name,), wall_time=wall_time))

    return Driver(
        words=f"{words} with the standard Bluetooth service",
        decoder=decoder,
        plan=profile_plan((name,)),
        max_silence_s=max_silence_s,
        is_occasional=is_occasional,
    )


DRIVERS: Mapping[str, Driver] = MappingProxyType(
    {
        "bridge_serial": Driver(
            words="firmware that speaks firmware_bridge/PROTOCOL.md, over a serial line",
            decoder=_bridge,
            line=LineSettings(baud=115_200),
        ),
        "openview": Driver(words="ProtoCentral or HealthyPi board", decoder=_openview, line=openview.LINE),
        "nonin": Driver(words="Nonin oximeter", decoder=_nonin, line=nonin.LINE),
        "contec_cms50": Driver(
            words="Contec CMS50 oximeter, firmware up to 4.5", decoder=_contec_5byte, line=contec_5byte.LINE
        ),
        "contec_cms50_v7": Driver(
            words="Contec CMS50 oximeter, firmware 4.6 and later", decoder=_contec_v7, line=contec_v7.LINE
        ),
        "cyton": Driver(words="OpenBCI Cyton board", decoder=_cyton, line=cyton.LINE),
        "bridge_ble": Driver(
            words="firmware that speaks firmware_bridge/PROTOCOL.md, over the Nordic UART service",
            decoder=_bridge,
            plan=NORDIC_UART,
        ),
        "polar_pmd": Driver(words="Polar H10, Verity Sense or OH1", decoder=_polar, plan=POLAR_PLAN),
        "ble_heart_rate": _profile("heart_rate", "heart-rate strap", max_silence_s=10.0),
        "ble_oximeter": _profile("oximeter", "oximeter", max_silence_s=10.0),
        # A patch sends a temperature every minute at the latest; an ear thermometer is occasional = true.
        "ble_thermometer": _profile("thermometer", "thermometer", max_silence_s=90.0),
        "ble_blood_pressure": _profile("blood_pressure", "cuff", max_silence_s=90.0, is_occasional=True),
        "ble_weight": _profile("weight", "scale", max_silence_s=90.0, is_occasional=True),
        "ble_glucose": _profile("glucose", "glucose meter", max_silence_s=90.0, is_occasional=True),
        # Sends every five minutes: three in a row are missing.
        "ble_cgm": _profile("cgm", "continuous glucose sensor", max_silence_s=960.0),
    }
)
"""By the name in the configuration."""


def decoder_of(driver: str, sensor: str) -> AnyDecoder:
    """Return the codec of a driver with all its defaults, as for bytes that were recorded.

    Raises
    ------
    KeyError
        If there is no such driver.
    """
    port = None if DRIVERS[driver].line is None else "recorded"
    return DRIVERS[driver].decoder(SensorSection(id=sensor, driver=cast("DriverName", driver), port=port), None)


def wall_time_of(clock: Clock) -> WallTime:
    """Return what gives the local time by `clock`, where something keeps that clock right."""

    def wall_time() -> datetime | None:
        if clock.state().sync not in {ClockSync.NTP, ClockSync.HOLDOVER}:
            return None
        return datetime.fromtimestamp(clock.wall_ns() / NS_PER_S)  # noqa: DTZ006 - a device's clock has no zone

    return wall_time


def max_silence_s(section: SensorSection) -> float:
    """Return the silence that a configured sensor may keep: its own, else that of its driver."""
    return DRIVERS[section.driver].max_silence_s if section.max_silence_s is None else section.max_silence_s


def link_words(section: SensorSection) -> str:
    """Return over what a configured sensor comes, for people."""
    if section.port is not None:
        return section.port
    address = "the first in reach" if section.address == "auto" else section.address
    return f"Bluetooth, {address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedSensor:
    """One configured sensor, its supervisor and its decoder."""

    section: SensorSection
    link: Sensor[object]
    decoder: AnyDecoder


def attached(
    section: SensorSection,
    clock: Clock,
    random: Random,
    bluetooth: Bluetooth,
    *,
    through: Callable[[Transport], Transport] = lambda transport: transport,
) -> AttachedSensor:
    """Return a configured sensor, ready to run.

    Parameters
    ----------
    section : SensorSection
        Its branch of the configuration.
    clock : Clock
        All waiting and all ages.
    random : Random
        Jitter of the back-off.
    bluetooth : Bluetooth
        The radios, shared by all sensors.
    through : callable
        Put around every transport, as to record what it delivers.
    """
    driver = DRIVERS[section.driver]
    decoder = driver.decoder(section, wall_time_of(clock))
    next_transport = _transports(section, driver, clock, bluetooth)
    settings = SensorSettings(
        sensor=section.id,
        max_silence_s=max_silence_s(section),
        is_occasional=driver.is_occasional if section.occasional is None else section.occasional,
        open_timeout_s=_SERIAL_OPEN_S if driver.plan is None else _BLUETOOTH_OPEN_S,
    )
    return AttachedSensor(
        section=section,
        link=Sensor(settings, lambda: through(next_transport()), decoder, clock, random),
        decoder=decoder,
    )


def _transports(section: SensorSection, driver: Driver, clock: Clock, bluetooth: Bluetooth) -> Callable[[], Transport]:
    """Return what gives a closed transport for every attempt to connect."""
    if driver.plan is not None:
        settings = BleSettings(
            plan=driver.plan,
            address=section.address,
            bond=section.bond or driver.plan.needs_bond,
            passkey=section.passkey,
        )
        transport = BleTransport(settings, bluetooth.adapter(section.adapter), clock)
        return lambda: transport  # one for all attempts: it remembers which peripheral is its own
    line = driver.line or LineSettings(baud=115_200)
    port = SerialPortSettings(
        port=section.port or "",
        baud=line.baud if section.baud is None else section.baud,
        parity=line.parity,
        stop_bits=line.stop_bits,
    )
    return lambda: SerialPort(port, clock)
