"""Every driver that the configuration knows is there, with a decoder of the one shape and a link."""

from __future__ import annotations

from random import Random
from typing import get_args

import pytest

from edge.acquisition.ble import BleTransport
from edge.acquisition.gatt.polar_pmd import STREAMS
from edge.acquisition.serial_port import SerialPort
from edge.bluetooth import Bluetooth
from edge.clock import ManualClock
from edge.config_sensor import POLAR_STREAMS, SERIAL_DRIVERS, BleDriver, SerialDriver
from edge.config_sensor import Sensor as SensorSection
from edge.drivers import DRIVERS, attached, decoder_of, link_words, max_silence_s, wall_time_of
from edge.messages import Chunk, ClockState, ClockSync, Corrupt
from edge.pipeline import SensorItem

each_driver = pytest.mark.parametrize("name", sorted(DRIVERS))


def section(name: str, **changes) -> SensorSection:
    link = {"port": "/dev/ttyUSB0"} if name in SERIAL_DRIVERS else {}
    return SensorSection(id="s", driver=name, **(link | changes))


def test_the_table_and_the_configuration_know_the_same_drivers():
    """A name that can be configured and is not there would fail at the bedside."""
    assert set(DRIVERS) == {*get_args(SerialDriver), *get_args(BleDriver)}
    assert {name for name, driver in DRIVERS.items() if driver.line is not None} == SERIAL_DRIVERS
    assert all((driver.line is None) != (driver.plan is None) for driver in DRIVERS.values())


def test_streams_of_polar_are_those_that_the_decoder_knows():
    """A stream that the configuration accepts is one that can be asked for."""
    assert set(POLAR_STREAMS) == set(STREAMS)


@each_driver
def test_decoder_takes_any_bytes_on_any_channel(name):
    """Each has the whole shape, gives only what the pipeline takes, and counts what it drops."""
    decoder = decoder_of(name, "s")
    plan = DRIVERS[name].plan
    channels = ("",) if plan is None else (*plan.subscribe, *plan.read, "unheard-of")
    rng = Random(1)

    wanted = [*decoder.greeting(), *decoder.requests(0)]
    out = []
    for k in range(300):
        data = rng.randbytes(rng.randrange(40))
        out += decoder.push(Chunk(data=data, received_at_ns=k * 10_000_000, channel=channels[k % len(channels)]))
    out += decoder.flush()
    decoder.reset("link-lost")

    assert all(each.channel in {"", *channels} for each in [*wanted, *decoder.farewell()])
    assert all(isinstance(item, get_args(SensorItem)) for item in out)
    assert sum(decoder.counters.n_corrupt.values()) >= sum(isinstance(item, Corrupt) for item in out)


@each_driver
def test_transport_is_of_the_drivers_kind(name):
    """A serial driver opens its port with its device's line; a Bluetooth one keeps one transport for all attempts."""
    clock = ManualClock()
    made = []

    sensor = attached(section(name), clock, Random(1), Bluetooth(clock), through=lambda one: made.append(one) or one)
    sensor.link._make_transport()
    sensor.link._make_transport()

    line = DRIVERS[name].line
    if line is None:
        assert isinstance(made[0], BleTransport)
        assert made[0] is made[1]
    else:
        assert isinstance(made[0], SerialPort)
        assert str(line.baud) in made[0].describe()


def test_silence_and_sleep_are_the_drivers_unless_configured():
    """A cuff may be away; a strap may not be silent for longer than the configuration allows."""
    assert max_silence_s(section("polar_pmd")) == 5.0
    assert max_silence_s(section("polar_pmd", max_silence_s=30.0)) == 30.0
    assert DRIVERS["ble_blood_pressure"].is_occasional
    assert not DRIVERS["ble_thermometer"].is_occasional
    assert link_words(section("nonin")) == "/dev/ttyUSB0"
    assert link_words(section("ble_oximeter")) == "Bluetooth, the first in reach"


@pytest.mark.parametrize(("sync", "is_known"), [(ClockSync.NTP, True), (ClockSync.UNSYNCHRONISED, False)])
def test_clocks_of_devices_are_set_only_by_a_clock_that_is_right(sync, is_known):
    """A gateway that lost its time must not spread it."""

    class SomeClock(ManualClock):
        def state(self) -> ClockState:
            return ClockState(sync=sync, error_ms=10.0, epoch=1)

    assert (wall_time_of(SomeClock(start_wall_ns=1_700_000_000_000_000_000))() is not None) == is_known
