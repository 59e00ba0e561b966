"""What each driver of the configuration is: its decoder, its link, and the defaults that its kind of sensor needs.

One table, read from top to bottom: a new kind of sensor is one entry here and one codec in ``acquisition/devices`` or
``acquisition/gatt``.  `attached` puts a configured sensor together; `edge.app` and ``vitaledge record`` run it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import cast

from edge.acquisition.bridge import BridgeDecoder, BridgeSettings
from edge.acquisition.decoder import Decoder
from edge.acquisition.devices.line import LineSettings
from edge.acquisition.gatt.plan import GattPlan
from edge.acquisition.sensor import Sensor
from edge.acquisition.sensor_settings import SensorSettings
from edge.acquisition.serial_port import SerialPort, SerialPortSettings
from edge.acquisition.transport import Transport
from edge.clock import Clock
from edge.config_sensor import Driver as DriverName
from edge.config_sensor import Sensor as SensorSection

AnyDecoder = Decoder[object]
"""Its items are of `pipeline.SensorItem`, and what only the link needs besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """One kind of sensor."""

    words: str
    """What it is, for people."""
    decoder: Callable[[SensorSection], AnyDecoder]
    """Gives the codec of one configured sensor."""
    line: LineSettings | None = None
    """How the serial line is set; None for a Bluetooth sensor."""
    plan: GattPlan | None = None
    """What is used of a Bluetooth sensor; None for a serial one."""
    max_silence_s: float = 5.0
    """Longest pause without data that is normal, s: ten times the longest between two notifications or frames of
    its kind, and 5 s at least."""
    is_occasional: bool = False
    """Switched on for each measurement: away is normal, and no alarm."""


DRIVERS: Mapping[str, Driver] = MappingProxyType(
    {
        "bridge_serial": Driver(
            words="firmware that speaks firmware_bridge/PROTOCOL.md, over a serial line",
            decoder=lambda section: BridgeDecoder(BridgeSettings(sensor=section.id)),
            line=LineSettings(baud=115_200),
        ),
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
    return DRIVERS[driver].decoder(SensorSection(id=sensor, driver=cast("DriverName", driver), port=port))


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
    through : callable
        Put around every transport, as to record what it delivers.
    """
    driver = DRIVERS[section.driver]
    decoder = driver.decoder(section)
    settings = SensorSettings(
        sensor=section.id, max_silence_s=max_silence_s(section), is_occasional=driver.is_occasional
    )
    return AttachedSensor(
        section=section,
        link=Sensor(settings, lambda: through(_transport(section, driver, clock)), decoder, clock, random),
        decoder=decoder,
    )


def _transport(section: SensorSection, driver: Driver, clock: Clock) -> Transport:
    assert driver.line is not None
    assert section.port is not None
    line = driver.line
    return SerialPort(
        SerialPortSettings(
            port=section.port,
            baud=line.baud if section.baud is None else section.baud,
            parity=line.parity,
            stop_bits=line.stop_bits,
        ),
        clock,
    )
