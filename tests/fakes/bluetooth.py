"""Bluetooth without a radio: virtual wearables behind an emulated BlueZ, or behind a bleak backend on bumble.

An unmodified bleak on a private D-Bus (the nearest thing to a Raspberry Pi)::

    async with emulated_bluetooth([WearableSettings(kind=Kind.HEART_RATE_STRAP)], clock) as env:
        device = await BleakScanner.find_device_by_name(env.wearable.name)
        async with BleakClient(device) as client: ...
        env.wearable.go_silent(until=Remedy.RECONNECT)      # faults of the sensor: see `wearable.Wearable`
        env.bluez.fail_connects("org.bluez.Error.Failed", "le-connection-abort-by-local", 1)
        await env.bluez.set_powered(False)                  # faults of the host: see `emulated_bluez.EmulatedBluez`
        env.bluez.unplug(); env.bluez.plug_in("hci1")

The same without D-Bus::

    async with bumble_bluetooth([WearableSettings(kind=Kind.OXIMETER)], clock) as env:
        device = await BleakScanner.find_device_by_name(env.wearable.name, backend=env.scanner)
        async with BleakClient(device, backend=env.client) as client: ...

`env.wearables` is a tuple in the order given, `env.wearable` the first; what they sent is in ``wearable.sent``.  The
scenario, a quiet patient unless one is given, may be a `Scenario` or the name of a bundled one.  `clock` may be a
`SystemClock` of any speed or a `ManualClock`; it is the wearables' alone.  On leaving, everything is stopped and the
environment is as before.  A test is skipped, with the reason, where bumble or dbus-daemon is missing.

`until(condition)` waits until something holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass

import pytest

from edge.clock import SystemClock
from firmware_bridge.virtual.scenario import Scenario
from firmware_bridge.virtual.scenario_file import load_scenario

pytest.importorskip("bumble", reason="virtual Bluetooth needs the extra 'simulate' (bumble)")

from firmware_bridge.virtual.ble.kinds import WearableSettings
from firmware_bridge.virtual.ble.radio import VirtualAir
from firmware_bridge.virtual.ble.wearable import Wearable

PATIENCE_S = 20.0
NEWS_S = 0.05
"""Clients that a test left connected are given this time to hear that their links have ended, and to tidy up."""
SYSTEM_BUS = "DBUS_SYSTEM_BUS_ADDRESS"


@dataclass
class Bluetooth:
    """What a test holds on to."""

    wearables: tuple[Wearable, ...]
    air: VirtualAir
    address: str = ""
    """Of the private bus."""
    bluez: object = None
    """The `EmulatedBluez`; None with `bumble_bluetooth`."""
    client: type | None = None
    """For ``BleakClient(..., backend=...)``; None with `emulated_bluetooth`, where bleak finds its own."""
    scanner: type | None = None
    central: object = None

    @property
    def wearable(self) -> Wearable:
        """The first one."""
        return self.wearables[0]


@contextlib.asynccontextmanager
async def emulated_bluetooth(wearables=(), clock=None, *, scenario="quiet", adapter="hci0", **options):
    """Give unmodified bleak a BlueZ with these wearables in range, for the time of the block."""
    pytest.importorskip("dbus_fast", reason="the emulated BlueZ needs dbus-fast")
    from firmware_bridge.virtual.ble.bus import PrivateBus, has_daemon
    from firmware_bridge.virtual.ble.emulated_bluez import EmulatedBluez

    if not has_daemon():
        pytest.skip("the emulated BlueZ needs dbus-daemon")
    made, air = _make(wearables, clock, scenario)

    def on_remedy(address, remedy):
        for each in made:
            if address in {None, each.address}:
                each.notice(remedy)

    before = os.environ.get(SYSTEM_BUS)
    with PrivateBus() as bus:
        bluez = EmulatedBluez(air, adapter=adapter, on_remedy=on_remedy, **options)
        await bluez.start(bus.address)
        os.environ[SYSTEM_BUS] = bus.address
        try:
            async with _started(made):
                yield Bluetooth(wearables=made, air=air, address=bus.address, bluez=bluez)
        finally:
            await asyncio.sleep(NEWS_S)
            await forget_bluez_manager()
            _restore(before)
            await bluez.close()


@contextlib.asynccontextmanager
async def bumble_bluetooth(wearables=(), clock=None, *, scenario="quiet"):
    """Give the classes of a bleak backend that hears these wearables, for the time of the block."""
    from firmware_bridge.virtual.ble.backend import make_backend

    made, air = _make(wearables, clock, scenario)
    central = air.device("central", "C0:C1:C2:C3:C4:C6")
    await central.power_on()
    client, scanner = make_backend(central)
    async with _started(made):
        try:
            yield Bluetooth(wearables=made, air=air, client=client, scanner=scanner, central=central)
        finally:
            central.host.controller.silence()
            await asyncio.sleep(0)
            await central.power_off()


async def until(condition, patience_s=PATIENCE_S):
    """Return once `condition()` is true; fail after `patience_s` real seconds."""
    async with asyncio.timeout(patience_s):
        while not condition():  # noqa: ASYNC110 - the condition is anybody's
            await asyncio.sleep(0.005)


async def forget_bluez_manager() -> None:
    """Make bleak forget the bus it was connected to: it keeps one manager for each event loop."""
    from bleak.backends.bluezdbus import manager as bleak_manager

    manager = bleak_manager._global_instances.pop(asyncio.get_running_loop(), None)
    if manager is None or manager._bus is None:
        return
    watcher = manager._bus_watcher_task
    manager._bus.disconnect()
    if watcher is not None:
        await watcher


def _make(wearables, clock, scenario):
    air, clock = VirtualAir(), clock or SystemClock()
    story = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
    settings = [each if isinstance(each, WearableSettings) else WearableSettings(kind=each) for each in wearables]
    made = [Wearable(each, story, clock, air.device(each.shown_name, each.shown_address)) for each in settings]
    return tuple(made), air


@contextlib.asynccontextmanager
async def _started(made):
    started = []
    try:
        for each in made:
            await each.start()
            started.append(each)
        yield
    finally:
        for each in reversed(started):
            await each.close()


def _restore(before) -> None:
    if before is None:
        os.environ.pop(SYSTEM_BUS, None)
    else:
        os.environ[SYSTEM_BUS] = before
