"""The emulated BlueZ met by an unmodified bleak, and by plain D-Bus calls."""

from __future__ import annotations

import asyncio

import pytest

from edge.acquisition.gatt.plan import assigned
from edge.acquisition.transport import Remedy
from edge.clock import SystemClock
from tests.fakes.bluetooth import emulated_bluetooth, until

bleak = pytest.importorskip("bleak", reason="the tests connect with bleak")
pytest.importorskip("dbus_fast", reason="the emulated BlueZ needs dbus-fast")

from dbus_fast import BusType, Message, MessageType, Variant  # noqa: E402 - after the skip
from dbus_fast.aio import MessageBus  # noqa: E402
from dbus_fast.service import ServiceInterface, method  # noqa: E402

from firmware_bridge.virtual.ble.kinds import Kind, WearableSettings  # noqa: E402
from firmware_bridge.virtual.ble.polar import CONTROL  # noqa: E402
from firmware_bridge.virtual.ble.sending import Fate  # noqa: E402

HEART_RATE, BATTERY = assigned(0x2A37), assigned(0x2A19)
ADAPTER, DEVICE = "org.bluez.Adapter1", "org.bluez.Device1"
STRAP = WearableSettings(kind=Kind.HEART_RATE_STRAP)


def run(act, *wearables, speed=20.0, **options):
    """Run `act(env)` with these wearables behind the emulated BlueZ."""

    async def story():
        async with emulated_bluetooth(wearables or (STRAP,), SystemClock(speed), **options) as env:
            return await act(env)

    return asyncio.run(story())


async def find(env, timeout_s=5.0):
    return await bleak.BleakScanner.find_device_by_address(env.wearable.address, timeout=timeout_s)


async def find_when_there_is_an_adapter(env):
    """Look until the news of an adapter has reached bleak."""
    while True:
        try:
            return await find(env)
        except bleak.exc.BleakBluetoothNotAvailableError:
            await asyncio.sleep(0.01)


class Bus:
    """A client of the private bus that calls methods and gets plain values."""

    def __init__(self, env) -> None:
        self._env = env

    async def __aenter__(self):
        self.bus = await MessageBus(bus_address=self._env.address, bus_type=BusType.SYSTEM).connect()
        return self

    async def __aexit__(self, *exception) -> None:
        self.bus.disconnect()
        await self.bus.wait_for_disconnect()

    async def call(self, path, interface, member, signature="", *body):
        message = Message(
            destination="org.bluez",
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
        )
        reply = await self.bus.call(message)
        if reply.message_type is MessageType.ERROR:
            raise LookupError(reply.error_name)
        return reply.body[0] if reply.body else None

    async def power(self, is_on) -> None:
        path, interface = self._env.bluez.path, "org.freedesktop.DBus.Properties"
        await self.call(path, interface, "Set", "ssv", ADAPTER, "Powered", Variant("b", is_on))

    async def signatures(self):
        """Return the D-Bus type of every property in the tree, by interface and name."""
        tree = await self.call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        found = {}
        for interfaces in tree.values():
            for interface, properties in interfaces.items():
                for name, value in properties.items():
                    found.setdefault((interface.rsplit(".", 1)[-1], name), set()).add(value.signature)
        return found

    async def objects(self):
        tree = await self.call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        return {
            path: {name: {key: value.value for key, value in of.items()} for name, of in interfaces.items()}
            for path, interfaces in tree.items()
        }


def test_scan_connect_read_and_subscribe_with_plain_bleak():
    """Everything that a wearable sent arrives through the bus, unchanged and in order."""

    async def act(env):
        got = []
        async with bleak.BleakClient(await find(env)) as client:
            level = await client.read_gatt_char(BATTERY)
            await client.start_notify(HEART_RATE, lambda _, value: got.append(bytes(value)))
            await until(lambda: len(got) >= 20)
            await client.stop_notify(HEART_RATE)
        return bytes(level), got, env.wearable.sent.of(HEART_RATE)

    level, got, sent = run(act)

    assert level == b"\x57"
    assert got == sent


def test_the_other_way_to_subscribe_gives_the_same():
    """AcquireNotify hands over a socket; it too carries every value."""

    async def act(env):
        got = []
        async with bleak.BleakClient(await find(env)) as client:
            await client.start_notify(
                HEART_RATE, lambda _, value: got.append(bytes(value)), bluez={"use_start_notify": False}
            )
            await until(lambda: len(got) >= 20)
            await client.stop_notify(HEART_RATE)
        return got, env.wearable.sent.of(HEART_RATE)

    got, sent = run(act)

    assert got == sent[: len(got)]


def test_the_object_tree_is_that_of_bluetoothd():
    """Interfaces, properties and their types are the ones recorded from bluetoothd 5.66 with a wearable connected."""
    device = "Address AddressType Name Alias Paired Bonded Trusted Blocked LegacyPairing Connected UUIDs Adapter "
    device += "ServicesResolved AdvertisingFlags"
    expected = {
        DEVICE: set(device.split()),
        "org.bluez.GattService1": {"UUID", "Device", "Primary", "Includes"},
        ("notify",): {"UUID", "Service", "Value", "Notifying", "Flags", "NotifyAcquired", "MTU"},
        ("indicate",): {"UUID", "Service", "Value", "Notifying", "Flags", "MTU"},
        ("read",): {"UUID", "Service", "Value", "Flags", "MTU"},
        ("read", "notify"): {"UUID", "Service", "Value", "Notifying", "Flags", "NotifyAcquired", "MTU"},
        ("read", "write", "indicate"): {"UUID", "Service", "Value", "Notifying", "Flags", "MTU"},
        ("write-without-response", "write"): {"UUID", "Service", "Value", "Flags", "WriteAcquired", "MTU"},
        "org.bluez.GattDescriptor1": {"UUID", "Characteristic", "Value"},
        "org.bluez.Battery1": {"Percentage", "Source"},
    }

    async def act(env):
        async with bleak.BleakClient(await find(env)), Bus(env) as bus:
            await until(lambda: any("org.bluez.Battery1" in each for each in env.bluez.server.objects.values()))
            return await bus.objects(), await bus.signatures()

    tree, signatures = run(act, WearableSettings(kind=Kind.ALL))

    below = {path: interfaces for path, interfaces in tree.items() if "/dev_" in path}
    seen = set()
    for path, interfaces in below.items():
        for name, properties in interfaces.items():
            key = tuple(properties["Flags"]) if name == "org.bluez.GattCharacteristic1" else name
            if key in expected:
                assert set(properties) == expected[key], path
                seen.add(key)
    assert seen == set(expected)
    services = sorted(path for path in below if path.count("/") == 5)
    assert not any(below[path]["org.bluez.GattService1"]["UUID"].startswith("00001800") for path in services)
    assert {"Powered", "Discovering", "Roles", "UUIDs"} <= set(tree["/org/bluez/hci0"][ADAPTER])
    types = "Address s AddressType s Alias s Name s Paired b Bonded b Trusted b Blocked b LegacyPairing b Connected b "
    types += (
        "UUIDs as Adapter o ServicesResolved b AdvertisingFlags ay UUID s Device o Primary b Includes ao Service o "
    )
    types += (
        "Value ay Notifying b Flags as NotifyAcquired b WriteAcquired b MTU q Characteristic o Percentage y Source s "
    )
    types += "Class u Powered b Discoverable b DiscoverableTimeout u Pairable b PairableTimeout u Discovering b "
    types += "Modalias s Roles as SupportedMonitorTypes as SupportedFeatures as"
    words = types.split()
    recorded = {name: {kind} for name, kind in zip(words[::2], words[1::2], strict=True)}
    assert {name: kinds for (_, name), kinds in signatures.items()} == recorded
    assert "org.bluez.AgentManager1" in tree["/org/bluez"]


def test_failed_connects_are_reported_as_bluetoothd_words_them():
    """The error that was ordered reaches the client; the connect after it succeeds."""

    async def act(env):
        env.bluez.fail_connects("org.bluez.Error.Failed", "br-connection-profile-unavailable", 1)
        device = await find(env)
        with pytest.raises(bleak.exc.BleakDBusError) as caught:
            await bleak.BleakClient(device).connect()
        async with bleak.BleakClient(device) as client:
            return caught.value.dbus_error, client.is_connected

    assert run(act) == ("org.bluez.Error.Failed", True)


def test_a_device_that_is_gone_times_out_and_can_be_connected_when_it_is_back():
    """Connecting waits for the device; giving up leaves nothing behind that would be in the way."""

    async def act(env):
        device = await find(env)
        await env.wearable.go_out_of_range()
        with pytest.raises(TimeoutError):
            await bleak.BleakClient(device, timeout=0.4).connect()
        await env.wearable.come_back()
        async with bleak.BleakClient(device, timeout=5.0) as client:
            return client.is_connected

    assert run(act)


def test_two_devices_are_waited_for_at_the_same_time():
    """One that is away does not keep the other from being connected."""

    async def act(env):
        near, far = env.wearables
        devices = [await bleak.BleakScanner.find_device_by_address(each.address) for each in (near, far)]
        await far.go_out_of_range()
        waiting = asyncio.create_task(bleak.BleakClient(devices[1], timeout=10.0).connect())
        async with bleak.BleakClient(devices[0], timeout=3.0) as client:
            is_near_connected = client.is_connected
            await far.come_back()
            await waiting
        return is_near_connected, far.is_connected

    assert run(act, STRAP, WearableSettings(kind=Kind.OXIMETER)) == (True, True)


def test_the_sensor_ends_the_link_and_the_client_is_told():
    """A dropped link is an event, its GATT objects vanish, and connecting again works."""

    async def act(env):
        ended = asyncio.Event()
        device = await find(env)
        client = bleak.BleakClient(device, lambda _: ended.set())
        await client.connect()
        await env.wearable.drop_link()
        await asyncio.wait_for(ended.wait(), 5.0)
        async with Bus(env) as bus:
            below = [path for path in await bus.objects() if "/service" in path]
        async with bleak.BleakClient(device) as again:
            return client.is_connected, below, again.is_connected

    assert run(act) == (False, [], True)


def test_switching_the_adapter_off_ends_every_link_and_heals_what_needs_it():
    """A client switches the adapter off and on: links are lost, scanning is refused meanwhile, a stuck sensor comes back."""

    async def act(env):
        ended = asyncio.Event()
        env.wearable.go_silent(until=Remedy.POWER_CYCLE)
        device = await find(env)
        await bleak.BleakClient(device, lambda _: ended.set()).connect()
        async with Bus(env) as bus:
            await bus.power(False)
            await asyncio.wait_for(ended.wait(), 5.0)
            with pytest.raises(bleak.exc.BleakBluetoothNotAvailableError) as caught:
                await find(env, timeout_s=0.3)
            await until(lambda: not env.wearable.is_connected)
            await bus.power(True)
        async with bleak.BleakClient(await find(env)) as client:
            await client.read_gatt_char(BATTERY)
        return caught.value.reason.name, env.wearable.faults.silent_until

    assert run(act) == ("POWERED_OFF", None)


def test_an_adapter_can_be_pulled_and_come_back_under_another_name():
    """Its objects vanish and the link ends; after it was plugged in again everything works on the new path."""

    async def act(env):
        ended = asyncio.Event()
        await bleak.BleakClient(await find(env), lambda _: ended.set()).connect()
        env.bluez.unplug()
        await asyncio.wait_for(ended.wait(), 5.0)
        with pytest.raises(bleak.exc.BleakBluetoothNotAvailableError) as caught:
            await find(env, timeout_s=0.3)
        env.bluez.plug_in("hci1")
        device = await find_when_there_is_an_adapter(env)
        async with bleak.BleakClient(device) as client:
            return caught.value.reason.name, device.details["path"].split("/")[3], client.is_connected

    assert run(act) == ("NO_BLUETOOTH", "hci1", True)


def test_removing_a_device_makes_the_system_forget_it_and_tells_the_sensor():
    """RemoveDevice is the remedy for what only a new discovery heals."""

    async def act(env):
        env.wearable.go_silent(until=Remedy.REDISCOVER)
        device = await find(env)
        client = bleak.BleakClient(device)
        await client.connect()
        async with Bus(env) as bus:
            await bus.call(env.bluez.path, ADAPTER, "RemoveDevice", "o", device.details["path"])
            gone = device.details["path"] not in await bus.objects()
        await until(lambda: not client.is_connected)
        async with bleak.BleakClient(await find(env)):
            return gone, env.wearable.faults.silent_until

    assert run(act) == (True, None)


def test_dropped_and_stalled_notifications_inside_the_service():
    """Three of the next nine values are lost silently; held-back values come in a burst, in order."""

    async def act(env):
        got = []
        async with bleak.BleakClient(await find(env)) as client:
            await client.start_notify(HEART_RATE, lambda _, value: got.append(bytes(value)))
            await until(lambda: got)
            env.bluez.drop_notifications(3, of=9)
            await until(lambda: env.bluez.faults.n_dropped == 3)
            env.bluez.stall(0.3)
            n_before = len(got)
            await until(lambda: len(got) > n_before + 3)
            await client.stop_notify(HEART_RATE)
        return got, env.wearable.sent

    got, sent = run(act)

    assert sent.count(Fate.DROPPED) == 0
    missing = list(sent.of(HEART_RATE))
    for value in got:
        del missing[missing.index(value)]
    assert len(missing) == 3


def test_without_an_agent_there_is_no_pairing():
    """As bluetoothd has it: nobody to ask, no bond, and what needs one is refused."""

    async def act(env):
        async with bleak.BleakClient(await find(env)) as client:
            with pytest.raises(bleak.exc.BleakDBusError) as caught:
                await client.pair()
            with pytest.raises(bleak.exc.BleakError):
                await client.read_gatt_char(BATTERY)
            return caught.value.dbus_error

    assert run(act, WearableSettings(kind=Kind.OXIMETER, needs_bond=True)) == "org.bluez.Error.AuthenticationFailed"


class Agent(ServiceInterface):
    """A pairing agent that reads the code from the sensor's display."""

    def __init__(self, passkey) -> None:
        super().__init__("org.bluez.Agent1")
        self.passkey, self.asked = passkey, []

    @method()
    def RequestPasskey(self, device: "o") -> "u":  # noqa: F821, UP037
        self.asked.append("RequestPasskey")
        return self.passkey

    @method()
    def RequestConfirmation(self, device: "o", passkey: "u"):  # noqa: F821, UP037
        self.asked.append("RequestConfirmation")

    @method()
    def Release(self):
        pass


def test_with_an_agent_a_bond_is_made_and_survives_a_reconnect():
    """Pairing makes Paired and Bonded true; after the next connect the encrypted value is read without pairing."""

    async def act(env):
        async with Bus(env) as bus:
            agent = Agent(0)
            bus.bus.export("/agent", agent)
            await bus.call("/org/bluez", "org.bluez.AgentManager1", "RegisterAgent", "os", "/agent", "NoInputNoOutput")
            await bus.call("/org/bluez", "org.bluez.AgentManager1", "RequestDefaultAgent", "o", "/agent")
            device = await find(env)
            async with bleak.BleakClient(device) as client:
                await client.pair()
                shown = (await bus.objects())[device.details["path"]][DEVICE]
            await bus.call("/org/bluez", "org.bluez.AgentManager1", "UnregisterAgent", "o", "/agent")
            async with bleak.BleakClient(device) as client:
                return shown["Paired"], shown["Bonded"], bytes(await client.read_gatt_char(BATTERY))

    assert run(act, WearableSettings(kind=Kind.OXIMETER, needs_bond=True)) == (True, True, b"\x57")


@pytest.mark.parametrize(("typed", "outcome"), [(123456, "bonded"), (654321, "org.bluez.Error.AuthenticationFailed")])
def test_a_sensor_with_a_display_is_paired_by_its_passkey(typed, outcome):
    """The agent is asked for the code; a wrong one fails the pairing."""

    async def act(env):
        async with Bus(env) as bus:
            agent = Agent(typed)
            bus.bus.export("/agent", agent)
            await bus.call("/org/bluez", "org.bluez.AgentManager1", "RegisterAgent", "os", "/agent", "KeyboardDisplay")
            await bus.call("/org/bluez", "org.bluez.AgentManager1", "RequestDefaultAgent", "o", "/agent")
            async with bleak.BleakClient(await find(env)) as client:
                try:
                    await client.pair()
                except bleak.exc.BleakDBusError as error:
                    return error.dbus_error, agent.asked
                await client.read_gatt_char(BATTERY)
                return "bonded", agent.asked

    settings = WearableSettings(kind=Kind.OXIMETER, needs_bond=True, passkey=123456)

    assert run(act, settings) == (outcome, ["RequestPasskey"])


def test_a_client_that_dies_leaves_nothing_running():
    """Scans and subscriptions of a client end when it leaves the bus."""

    async def act(env):
        async with Bus(env) as bus:
            await bus.call(env.bluez.path, ADAPTER, "StartDiscovery")
            await until(lambda: env.bluez.devices)
            (path,) = env.bluez.devices
            await bus.call(path, DEVICE, "Connect")
            await until(lambda: env.bluez.server.value(path, DEVICE, "ServicesResolved"))
            values = await bus.objects()
            uuid = {of.get("org.bluez.GattCharacteristic1", {}).get("UUID"): each for each, of in values.items()}
            await bus.call(uuid[HEART_RATE], "org.bluez.GattCharacteristic1", "StartNotify")
            await until(lambda: len(env.wearable.sent) > 2)
        await until(lambda: not env.bluez.server.value(env.bluez.path, ADAPTER, "Discovering"))
        await until(lambda: not env.bluez.server.value(uuid[HEART_RATE], "org.bluez.GattCharacteristic1", "Notifying"))
        return env.wearable.is_connected  # bluetoothd keeps the link, too

    assert run(act)


def test_calls_that_make_no_sense_are_refused():
    """Unknown objects, methods and arguments get the errors of a D-Bus service, not silence."""

    async def act(env):
        calls = (
            ("/org/bluez/hci7", ADAPTER, "StartDiscovery", ""),
            (env.bluez.path, ADAPTER, "Explode", ""),
            (env.bluez.path, ADAPTER, "StopDiscovery", ""),
            (env.bluez.path, ADAPTER, "RemoveDevice", "o", "/org/bluez/hci0/dev_00"),
            (env.bluez.path, ADAPTER, "RemoveDevice", "s", "x"),
        )
        errors = []
        async with Bus(env) as bus:
            for call in calls:
                with pytest.raises(LookupError) as caught:
                    await bus.call(*call)
                errors.append(str(caught.value).rsplit(".", 1)[-1])
        return errors

    assert run(act) == ["UnknownObject", "UnknownMethod", "Failed", "DoesNotExist", "InvalidArgs"]


def test_an_att_error_keeps_its_number():
    """An error that only the sensor knows passes through the service."""

    async def act(env):
        env.wearable.refuse_writes(0x81)
        async with bleak.BleakClient(await find(env)) as client:
            with pytest.raises(bleak.exc.BleakGATTProtocolError) as caught:
                await client.write_gatt_char(CONTROL, b"\x01\x00", response=True)
            return int(caught.value.code)

    assert run(act, WearableSettings(kind=Kind.ECG_STRAP)) == 0x81


def test_devices_nobody_needs_are_forgotten():
    """Heard, not bonded, not connected, and silent: the object goes after its time."""

    async def act(env):
        await find(env)
        await env.wearable.go_out_of_range()
        await until(lambda: not env.bluez.devices)
        return True

    assert run(act, temporary_s=0.3)


def test_passive_scanning_uses_a_monitor():
    """A client that only listens registers a monitor; what it hears is found, and nobody is told of a discovery."""

    async def act(env):
        pattern = bleak.args.bluez.OrPattern(0, bleak.assigned_numbers.AdvertisementDataType.FLAGS, b"\x06")
        heard = asyncio.Event()
        scanner = bleak.BleakScanner(
            lambda device, _: device.address == env.wearable.address and heard.set(),
            scanning_mode="passive",
            bluez={"or_patterns": [pattern]},
        )
        async with scanner:
            await asyncio.wait_for(heard.wait(), 5.0)
            return env.bluez.server.value(env.bluez.path, ADAPTER, "Discovering")

    assert run(act) is False
