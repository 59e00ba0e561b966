"""Bluetooth transports over real stacks: bumble's, and unmodified bleak on an emulated BlueZ; also bonding and faults."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager

import pytest

from edge.acquisition.ble import BleAdapter, BleSettings, BleTransport
from edge.acquisition.gatt.nordic_uart import NORDIC_UART, TX
from edge.acquisition.gatt.plan import GattPlan, assigned
from edge.acquisition.transport import Remedy
from edge.clock import SystemClock
from edge.errors import TransportError, TransportFault
from tests.conformance.transport_battery import TransportBattery, read_exactly, read_to_end, run
from tests.fakes.bluetooth import bumble_bluetooth, emulated_bluetooth, until

from firmware_bridge.virtual.ble.kinds import Kind, WearableSettings  # isort: skip - after the check for bumble
from firmware_bridge.virtual.ble.uart import Uart  # isort: skip

HEART_RATE = GattPlan(services=(assigned(0x180D),), subscribe=(assigned(0x2A37),), required=(assigned(0x2A37),))
PATIENT = {"connect_timeout_s": 100.0}  # of story: 10 s real, whatever else the machine does


class StackRig:
    """The Nordic UART of a virtual bridge, saying only what the battery wants said."""

    def __init__(self, transport, wearable, pieces, *, hangs_up) -> None:
        self.transport = transport
        self._wearable = wearable
        self._uart = wearable.part(Uart)
        self._uart.due_s = math.inf
        self._pieces = pieces
        self._hangs_up = hangs_up

    async def play(self) -> None:
        for piece in self._pieces:
            self._uart._say(piece)
        n_bytes = sum(map(len, self._pieces))
        await until(lambda: sum(map(len, self._wearable.sent.of(TX))) >= n_bytes)
        if self._hangs_up:
            await until(lambda: self.transport._link.heard_at_ns is not None)
            await self._wearable.drop_link()


class TestOverBumble(TransportBattery):
    @asynccontextmanager
    async def rig(self, pieces, *, hangs_up):
        clock = SystemClock(10)
        async with bumble_bluetooth([WearableSettings(kind=Kind.BRIDGE)], clock) as env:
            adapter = BleAdapter(clock, client_backend=env.client, scanner_backend=env.scanner)
            transport = BleTransport(BleSettings(plan=NORDIC_UART, **PATIENT), adapter, clock)
            try:
                yield StackRig(transport, env.wearable, pieces, hangs_up=hangs_up)
            finally:
                await transport.close()


class TestOverEmulatedBluez(TransportBattery):
    @asynccontextmanager
    async def rig(self, pieces, *, hangs_up):
        clock = SystemClock(10)
        async with emulated_bluetooth([WearableSettings(kind=Kind.BRIDGE)], clock) as env:
            transport = BleTransport(BleSettings(plan=NORDIC_UART, **PATIENT), BleAdapter(clock), clock)
            try:
                yield StackRig(transport, env.wearable, pieces, hangs_up=hangs_up)
            finally:
                await transport.close()


@asynccontextmanager
async def strap_on_bluez(settings=None, **options):
    """Give the environment and a transport to its heart-rate strap."""
    clock = SystemClock(10)
    async with emulated_bluetooth([settings or WearableSettings(kind=Kind.HEART_RATE_STRAP)], clock) as env:
        transport = BleTransport(BleSettings(plan=HEART_RATE, **PATIENT, **options), BleAdapter(clock), clock)
        try:
            yield env, transport
        finally:
            await transport.close()


async def fault(job) -> TransportFault:
    with pytest.raises(TransportError) as caught:
        await job
    return caught.value.reason


def tasks() -> set[str]:
    """Names of our tasks; those of bleak, bumble and the wearables have none of ours."""
    return {each.get_name() for each in asyncio.all_tasks() if each.get_name().startswith(("ble-", "bluez-"))}


def test_strap_that_wants_a_bond_gets_one_and_keeps_it():
    """The agent answers, the keys are kept over a reconnect and over forgetting the device."""

    async def scenario():
        strap = WearableSettings(kind=Kind.HEART_RATE_STRAP, needs_bond=True)
        async with strap_on_bluez(strap, bond=True) as (env, transport):
            bluez = transport._adapter.bluez
            was_bonded = await bluez.is_bonded(env.wearable.address)
            await transport.open()
            data = await read_exactly(transport, 1)
            await transport.close()
            await transport.heal(Remedy.REDISCOVER)
            is_bonded = await bluez.is_bonded(env.wearable.address)
            await transport.open()
            again = await read_exactly(transport, 1)
            return was_bonded, bool(data), is_bonded, bool(again)

    assert run(scenario()) == (False, True, True, True)


def test_rediscovering_makes_bluetoothd_forget_an_unbonded_sensor():
    """What it believed about the device is gone; the next opening finds it anew."""

    async def scenario():
        async with strap_on_bluez() as (env, transport):
            await transport.open()
            await transport.close()
            known = bool(env.bluez.devices)
            await transport.heal(Remedy.REDISCOVER)
            still_known = bool(env.bluez.devices)
            await transport.open()
            return known, still_known, transport.address == env.wearable.address

    assert run(scenario()) == (True, False, True)


def test_power_cycle_is_refused_while_another_sensor_delivers_and_soon_after_the_last():
    """Switching the adapter must not cost a sensor that is well, nor go on for ever."""

    async def scenario():
        clock = SystemClock(10)
        kinds = [WearableSettings(kind=Kind.HEART_RATE_STRAP), WearableSettings(kind=Kind.HEART_RATE_STRAP, serial=2)]
        async with emulated_bluetooth(kinds, clock) as env:
            adapter = BleAdapter(clock)
            ill, well = (BleTransport(BleSettings(plan=HEART_RATE, **PATIENT), adapter, clock) for _ in range(2))
            await well.open()
            await read_exactly(well, 1)
            outcomes = [await fault(ill.heal(Remedy.POWER_CYCLE))]
            await well.close()
            await ill.heal(Remedy.POWER_CYCLE)
            outcomes.append(env.bluez.is_powered)
            outcomes.append(await fault(ill.heal(Remedy.POWER_CYCLE)))
            return outcomes

    assert run(scenario()) == [TransportFault.BUSY, True, TransportFault.BUSY]


async def is_adapter_missing(transport) -> bool:
    try:
        await transport.open()
    except TransportError as error:
        return error.reason is TransportFault.ADAPTER
    return False


def test_adapter_that_is_off_or_gone_is_said_so():
    """Off, unplugged, and back under another name: ADAPTER with the commands to try, then it works again."""

    async def scenario():
        async with strap_on_bluez() as (env, transport):
            states = await transport._adapter.bluez.adapters()
            await env.bluez.set_powered(False)
            off = await fault(transport.open())
            await env.bluez.set_powered(True)
            env.bluez.unplug()
            gone = await fault(transport.open())
            env.bluez.plug_in("hci1")
            while await is_adapter_missing(transport):  # noqa: ASYNC110 - until bleak has heard of it over D-Bus
                await asyncio.sleep(0)
            return [(each.name, each.is_powered) for each in states], off, gone, transport.mtu_bytes > 23

    assert run(scenario()) == ([("hci0", True)], TransportFault.ADAPTER, TransportFault.ADAPTER, True)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("org.bluez.Error.InProgress", "Operation already in progress", TransportFault.BUSY),
        ("org.bluez.Error.Failed", "Software caused connection abort", TransportFault.TIMEOUT),
        ("org.bluez.Error.AuthenticationFailed", "Authentication Failed", TransportFault.PAIRING),
    ],
)
def test_refused_connection_is_told_and_the_next_one_works(name, text, reason):
    """A refusal leaves nothing behind that would refuse the next attempt too."""

    async def scenario():
        async with strap_on_bluez() as (env, transport):
            env.bluez.fail_connects(name, text, 1)
            refused = await fault(transport.open())
            left = tasks()
            await transport.open()
            return refused, left

    assert run(scenario()) == (reason, set())


def test_link_left_behind_by_a_killed_runtime_is_taken_over():
    """bluetoothd holds the link of a dead process; its sensor does not advertise, and is found all the same."""

    async def scenario():
        async with strap_on_bluez() as (env, transport):
            killed = BleTransport(BleSettings(plan=HEART_RATE, **PATIENT), BleAdapter(SystemClock(10)), SystemClock(10))
            await killed.open()
            await transport.open()
            data = await read_exactly(transport, 1)
            n_devices = len(env.bluez.devices)
            await killed.close()
            return bool(data), n_devices

    assert run(scenario()) == (True, 1)


def test_opening_cut_short_anywhere_leaves_no_scan_and_no_link():
    """Cancelled after 0, 15, 30 … ms, through all its steps: bluetoothd neither discovers nor holds a link."""

    async def scenario():
        leftovers = []
        async with strap_on_bluez() as (env, transport):
            n = 0
            while True:
                opening = asyncio.create_task(transport.open())
                await asyncio.wait({opening}, timeout=0.015 * n)
                if opening.done():
                    break
                opening.cancel()
                await asyncio.wait({opening})
                left = tasks()
                await until(lambda: not env.wearable.is_connected and not any_connecting(env))
                discovering = env.bluez.server.value(env.bluez.path, "org.bluez.Adapter1", "Discovering")
                leftovers += [(n, left, discovering)] if left or discovering else []
                n += 1
            await transport.close()
            return n, leftovers

    n_cuts, leftovers = run(scenario())

    assert leftovers == []
    assert n_cuts >= 4


def any_connecting(env) -> bool:
    return any(each.is_connecting for each in env.bluez.devices.values())


def test_zombie_link_is_brought_back_by_subscribing_again():
    """Connected, silent, and well again once subscribed anew."""

    async def scenario():
        async with strap_on_bluez() as (env, transport):
            await transport.open()
            await read_exactly(transport, 1)
            env.wearable.go_silent(until=Remedy.RESUBSCRIBE)
            transport._link.buffer._chunks.clear()
            await transport.heal(Remedy.RESUBSCRIBE)
            return bool(await read_exactly(transport, 1))

    assert run(scenario())


def test_hang_up_reaches_the_reader():
    """A strap that walks away is DISCONNECTED, not silence."""

    async def scenario():
        async with strap_on_bluez() as (env, transport):
            await transport.open()
            reading = asyncio.create_task(read_to_end(transport))
            await read_soon(env)
            await env.wearable.drop_link()
            _, error = await reading
            return error.reason

    assert run(scenario()) is TransportFault.DISCONNECTED


async def read_soon(env) -> None:
    await until(lambda: len(env.wearable.sent) > 0)


def test_sensor_with_printed_digits_bonds_with_them_and_not_with_others():
    """The agent enters the configured passkey; a wrong one is PAIRING, and the right one works afterwards."""

    async def scenario(passkey):
        strap = WearableSettings(kind=Kind.HEART_RATE_STRAP, needs_bond=True, passkey=123456)
        async with strap_on_bluez(strap, bond=True, passkey=passkey) as (_, transport):
            await transport.open()
            return bool(await read_exactly(transport, 1))

    assert run(fault(scenario(654321))) is TransportFault.PAIRING
    assert run(scenario(123456))
