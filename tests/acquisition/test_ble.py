"""A Bluetooth sensor as a transport: found, kept, read, subscribed, and let go without a trace whatever happens."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from bleak.exc import BleakError, BleakGATTProtocolError

from edge.acquisition import ble_link, waiting
from edge.acquisition.ble import BleAdapter, BleSettings, BleTransport
from edge.acquisition.gatt.plan import GattPlan, assigned
from edge.acquisition.transport import Remedy
from edge.clock import ManualClock, SystemClock
from edge.errors import TransportError, TransportFault
from tests.conformance.transport_battery import TransportBattery, read_exactly, read_to_end, run
from tests.fakes.scripted_bleak import NOTIFY, READ, ScriptedAir, ScriptedPeripheral

HEART_RATE, RATE = assigned(0x180D), assigned(0x2A37)
BATTERY, MODEL = assigned(0x2A19), assigned(0x2A24)
WAY_IN = "6e400002-b5a3-f393-e0a9-e50e24dcca9e"
PLAN = GattPlan(
    services=(HEART_RATE,), subscribe=(RATE, BATTERY), read=(MODEL, BATTERY), required=(RATE,), write_to=WAY_IN
)


def strap(number: int = 1, **kwargs) -> ScriptedPeripheral:
    characteristics = {
        RATE: NOTIFY,
        BATTERY: (*READ, *NOTIFY),
        MODEL: READ,
        WAY_IN: ("write", "write-without-response"),
    }
    return ScriptedPeripheral(
        **{
            "address": f"A0:9E:1A:00:00:{number:02X}",
            "services": (HEART_RATE,),
            "characteristics": characteristics,
            "values": {MODEL: b"H10", BATTERY: b"\x57"},
        }
        | kwargs
    )


def on(air: ScriptedAir, clock=None) -> BleAdapter:
    return BleAdapter(clock or SystemClock(1000), client_backend=air.client, scanner_backend=air.scanner)


def sensor(adapter: BleAdapter, **settings) -> BleTransport:
    return BleTransport(BleSettings(**{"plan": PLAN} | settings), adapter, adapter._clock)


async def fault(job) -> TransportFault:
    with pytest.raises(TransportError) as caught:
        await job
    return caught.value.reason


def tasks() -> set[asyncio.Task]:
    return asyncio.all_tasks() - {asyncio.current_task()}


class ScriptedRig:
    def __init__(self, pieces, *, hangs_up) -> None:
        self._strap = strap(characteristics={RATE: NOTIFY, WAY_IN: ("write",)})
        self.transport = sensor(on(ScriptedAir(self._strap)))
        self._pieces = pieces
        self._hangs_up = hangs_up

    async def play(self) -> None:
        for piece in self._pieces:
            self._strap.notify(RATE, piece)
        if self._hangs_up:
            self._strap.hang_up()


class TestBleTransportContract(TransportBattery):
    @asynccontextmanager
    async def rig(self, pieces, *, hangs_up):
        rig = ScriptedRig(pieces, hangs_up=hangs_up)
        yield rig
        await rig.transport.close()


def test_values_come_with_the_characteristic_they_are_of():
    """What is read once comes first, then what is sent, each under its UUID."""

    async def scenario():
        peripheral = strap()
        transport = sensor(on(ScriptedAir(peripheral)))
        await transport.open()
        peripheral.notify(RATE, b"\x10\x48")
        chunks = [chunk async for chunk, _ in _numbered(transport, 3)]
        await transport.close()
        return [(chunk.channel, chunk.data) for chunk in chunks]

    assert run(scenario()) == [(MODEL, b"H10"), (BATTERY, b"\x57"), (RATE, b"\x10\x48")]


async def _numbered(transport, n):
    k = 0
    async for chunk in transport.chunks():
        k += 1
        yield chunk, k
        if k == n:
            return


def test_opening_goes_in_order_and_closing_undoes_it():
    """Scan, connect, read, subscribe; unsubscribe, disconnect."""

    async def scenario():
        air = ScriptedAir(strap())
        transport = sensor(on(air))
        await transport.open()
        opened, air.steps = air.steps, []
        await transport.close()
        return opened, air.steps, air.is_idle, tasks()

    opened, closed, is_idle, left = run(scenario())

    assert opened == ["scan", "stop_scan", "connect", "read 2a24", "read 2a19", "start 2a37", "start 2a19"]
    assert closed == ["stop 2a37", "stop 2a19", "disconnect"]
    assert is_idle
    assert not left


def test_characteristic_that_is_there_twice_is_subscribed_twice():
    """Two batteries have one UUID; looking it up by name would raise."""

    async def scenario():
        second = f"{BATTERY}#2"
        peripheral = strap(
            characteristics={RATE: NOTIFY, BATTERY: NOTIFY, second: NOTIFY}, values={BATTERY: b"\x57", second: b"\x20"}
        )
        air = ScriptedAir(peripheral)
        transport = sensor(on(air))
        await transport.open()
        await transport.close()
        return air.steps

    assert run(scenario()).count("start 2a19") == 2


# Finding


def test_auto_takes_the_nearest_of_its_kind_and_keeps_it():
    """Once found, a sensor is never swapped for the neighbour's, however strong that is now."""

    async def scenario():
        far, near = strap(1, rssi_dbm=-80), strap(2, rssi_dbm=-50)
        other_kind = strap(3, rssi_dbm=-20, services=(assigned(0x1822),))
        transport = sensor(on(ScriptedAir(far, near, other_kind)))
        await transport.open()
        first = transport.address
        await transport.close()
        far.rssi_dbm = -10
        await transport.open()
        await transport.close()
        return first, transport.address

    assert run(scenario()) == ("A0:9E:1A:00:00:02", "A0:9E:1A:00:00:02")


def test_two_sensors_of_a_kind_find_one_each():
    """What one link has claimed, open or closed, another does not take."""

    async def scenario():
        adapter = on(ScriptedAir(strap(1), strap(2)))
        sensors = [sensor(adapter) for _ in range(3)]
        outcomes = await asyncio.gather(*(each.open() for each in sensors), return_exceptions=True)
        found = [each.address for each in sensors]
        for each in sensors:
            await each.close()
        again = await fault(sensors[found.index("")].open())
        return sorted(found), [each.reason for each in outcomes if each is not None], again

    found, reasons, again = run(scenario())

    assert found == ["", "A0:9E:1A:00:00:01", "A0:9E:1A:00:00:02"]
    assert reasons == [TransportFault.MISSING]
    assert again is TransportFault.MISSING


def test_configured_address_is_nobody_elses():
    """A sensor that is named in the configuration is not picked by one that takes any."""

    async def scenario():
        adapter = on(ScriptedAir(strap(1, rssi_dbm=-20), strap(2, rssi_dbm=-90)))
        named = sensor(adapter, address="a0:9e:1a:00:00:01")
        anyone = sensor(adapter)
        await anyone.open()
        await named.open()
        addresses = named.address, anyone.address
        await anyone.close()
        await named.close()
        return addresses

    assert run(scenario()) == ("A0:9E:1A:00:00:01", "A0:9E:1A:00:00:02")


def test_peripheral_without_the_required_characteristic_is_not_tried_again():
    """Another kind of sensor that advertises the same service is let go, and the next one is taken."""

    async def scenario():
        stranger = strap(1, rssi_dbm=-20, characteristics={BATTERY: READ})
        air = ScriptedAir(stranger, strap(2))
        transport = sensor(on(air))
        reason = await fault(transport.open())
        was_idle = air.is_idle
        await transport.open()
        await transport.close()
        return reason, was_idle, transport.address

    assert run(scenario()) == (TransportFault.MISSING, True, "A0:9E:1A:00:00:02")


def test_absent_sensors_cost_the_time_of_one():
    """Four sensors that are away are listened for together, and the fifth is served meanwhile."""

    async def scenario():
        clock = ManualClock()
        air = ScriptedAir(strap(9))
        adapter = on(air, clock)
        absent = [sensor(adapter, address=f"A0:9E:1A:00:00:{k:02X}") for k in range(1, 5)]
        present = sensor(adapter)
        opening = [asyncio.create_task(each.open()) for each in (*absent, present)]
        opened_at_s = None
        while not all(each.done() for each in opening):
            for _ in range(50):
                await asyncio.sleep(0)
            if opened_at_s is None and opening[-1].done():
                opened_at_s = clock.monotonic_ns() / 1e9
            clock.advance(0.25)
        reasons = {each.exception().reason for each in opening[:-1]}
        await present.close()
        return opened_at_s, clock.monotonic_ns() / 1e9, reasons

    opened_at_s, ended_at_s, reasons = run(scenario())

    assert reasons == {TransportFault.MISSING}
    assert opened_at_s < 5  # heard in the first slice, connected after it
    assert ended_at_s < 20  # ten seconds of listening; one after the other it would be forty


def test_radio_does_one_thing_at_a_time():
    """Scans and connection attempts of all links take turns."""

    async def scenario():
        air = ScriptedAir(*(strap(k) for k in range(1, 6)))
        adapter = on(air)
        sensors = [sensor(adapter) for _ in range(5)]
        await asyncio.gather(*(each.open() for each in sensors))
        most = air.most_at_once
        await asyncio.gather(*(each.close() for each in sensors))
        return most, len({each.address for each in sensors}), air.is_idle

    assert run(scenario()) == (1, 5, True)


def test_scan_lists_what_is_in_range_nearest_first():
    """For ``vitaledge scan``: address, name, services and strength of each."""

    async def scenario():
        adapter = on(ScriptedAir(strap(1, rssi_dbm=-80, name="Far"), strap(2, rssi_dbm=-50, name="Near")))
        return await adapter.scan(1.0)

    heard = run(scenario())

    assert [(each.name, each.rssi_dbm, each.services) for each in heard] == [
        ("Near", -50, (HEART_RATE,)),
        ("Far", -80, (HEART_RATE,)),
    ]


# Failing


STEPS = ("scan", "stop_scan", "connect", "read 2a24", "start 2a37", "pair")


@pytest.mark.parametrize("step", STEPS)
def test_failing_step_leaves_nothing_behind(step):
    """Whichever step of opening fails: an error, no scan, no connection, no task, and the next attempt works."""

    async def scenario():
        air = ScriptedAir(strap())
        air.fails[step] = [BleakError("Not connected")]
        transport = sensor(on(air), bond=True)
        reason = await fault(transport.open())
        state = air.is_idle, tasks()
        await transport.open()
        await transport.close()
        return reason, state, air.is_idle

    reason, (was_idle, left), is_idle = run(scenario())

    assert reason is TransportFault.DISCONNECTED
    if step != "stop_scan":  # a scan that cannot be stopped goes on, in bluetoothd too
        assert was_idle
        assert is_idle
    assert not left


@pytest.mark.parametrize("step", [*STEPS, "disconnect"])
def test_hanging_step_ends_with_the_limit(step, monkeypatch):
    """A stack that never answers costs seconds: TIMEOUT by the runtime's clock, and nothing goes on in the dark."""
    for module, name in ((waiting, "UNWIND_S"), (ble_link, "_DISCONNECT_S"), (ble_link, "_LEAVE_S")):
        monkeypatch.setattr(module, name, 0.05)
    monkeypatch.setattr(waiting.to_the_end, "__defaults__", (0.05,))

    async def scenario():
        air = ScriptedAir(strap())
        air.hangs.add(step)
        transport = sensor(on(air), bond=True)
        reason = None
        try:
            await transport.open()
        except TransportError as error:
            reason = error.reason
        await transport.close()
        return reason, tasks()

    reason, left = run(scenario())

    assert reason is (None if step == "disconnect" else TransportFault.TIMEOUT)
    assert not left


def n_turns_of_opening() -> int:
    async def scenario():
        transport = sensor(on(ScriptedAir(strap())), bond=True)
        opening = asyncio.create_task(transport.open())
        n = 0
        while not opening.done():
            await asyncio.sleep(0)
            n += 1
        await transport.close()
        return n

    return run(scenario())


@pytest.mark.parametrize("by", ["cancel", "close"])
def test_opening_that_is_cut_short_anywhere_leaves_nothing_behind(by):
    """Cancelled, or closed by somebody else, after any number of turns of the event loop."""

    async def scenario(n):
        air = ScriptedAir(strap())
        transport = sensor(on(air), bond=True)
        opening = asyncio.create_task(transport.open())
        for _ in range(n):
            await asyncio.sleep(0)
        if by == "cancel":
            opening.cancel()
        else:
            await transport.close()
        await asyncio.wait({opening})
        if not opening.cancelled() and opening.exception() is None:
            await transport.close()  # it had not begun, or was open already
        state = air.is_idle, tasks()
        await transport.open()  # and it can be opened again
        await transport.close()
        return *state, air.is_idle

    n_turns = n_turns_of_opening()
    for n in range(n_turns + 3):
        was_idle, left, is_idle = run(scenario(n))
        assert was_idle, n
        assert not left, n
        assert is_idle, n
    assert n_turns > 30  # it did go through all the steps


def test_hang_up_while_setting_up_is_a_lost_link():
    """A sensor that leaves between two steps is DISCONNECTED, whatever words the library has for it."""

    async def scenario():
        peripheral = strap()
        air = ScriptedAir(peripheral)
        air.hangs.add("read 2a24")
        transport = sensor(on(air))
        opening = asyncio.create_task(transport.open())
        while "read 2a24" not in air.steps:  # noqa: ASYNC110 - the air has no event for every step
            await asyncio.sleep(0)
        peripheral.hang_up()
        air.hangs.clear()
        return await fault(opening), air.is_idle

    assert run(scenario()) == (TransportFault.DISCONNECTED, True)


def test_declined_reading_does_not_cost_the_sensor():
    """A model number that may not be read is done without; a declined required value is an error."""

    async def scenario():
        air = ScriptedAir(strap())
        air.fails["read 2a24"] = [BleakGATTProtocolError(0x02)]
        air.fails["start 2a19"] = [BleakGATTProtocolError(0x03)]
        transport = sensor(on(air))
        await transport.open()
        await transport.close()
        air.fails["start 2a37"] = [BleakGATTProtocolError(0x03)]
        return await fault(transport.open()), air.is_idle

    assert run(scenario()) == (TransportFault.REFUSED, True)


def test_value_behind_a_bond_says_so():
    """Insufficient authentication is PAIRING, with the hint what to set."""

    async def scenario():
        air = ScriptedAir(strap())
        air.fails["read 2a24"] = [BleakGATTProtocolError(0x05)]
        with pytest.raises(TransportError) as caught:
            await sensor(on(air)).open()
        return caught.value

    error = run(scenario())

    assert error.reason is TransportFault.PAIRING
    assert "bond = true" in error.hint


def test_nobody_reading_costs_the_oldest_values_and_counts_them():
    """A buffer of two chunks keeps the newest two."""

    async def scenario():
        peripheral = strap(characteristics={RATE: NOTIFY})
        transport = sensor(on(ScriptedAir(peripheral)), max_buffered_chunks=2)
        await transport.open()
        for value in (b"1", b"22", b"333", b"4444"):
            peripheral.notify(RATE, value)
        data = await read_exactly(transport, 7)
        n_open = transport.n_dropped_bytes
        await transport.close()
        return data, n_open, transport.n_dropped_bytes

    assert run(scenario()) == (b"3334444", 3, 3)


# Writing


def test_byte_stream_is_cut_to_the_packet_of_the_moment():
    """Right after a bonded reconnect the size reads 20, later more: it is looked up for every write."""

    async def scenario():
        peripheral = strap(write_bytes=20)
        transport = sensor(on(ScriptedAir(peripheral)))
        await transport.open()
        await transport.write(bytes(range(50)))
        peripheral.write_bytes = 514
        await transport.write(bytes(1000))
        mtu_bytes = transport.mtu_bytes
        await transport.close()
        return peripheral.written, mtu_bytes, transport.mtu_bytes

    written, mtu_bytes, closed_mtu_bytes = run(scenario())

    assert [len(data) for _, data, _ in written] == [20, 20, 10, 512, 488]
    assert b"".join(data for _, data, _ in written[:3]) == bytes(range(50))
    assert {(uuid, response) for uuid, _, response in written} == {(WAY_IN, True)}
    assert (mtu_bytes, closed_mtu_bytes) == (517, None)


def test_named_characteristic_gets_its_value_whole():
    """A command must not be cut; without ``write`` it goes unacknowledged."""
    control_point = assigned(0x2A52)

    async def scenario():
        peripheral = strap(characteristics={RATE: NOTIFY, control_point: ("write-without-response",)})
        transport = sensor(on(ScriptedAir(peripheral)))
        await transport.open()
        await transport.write(bytes(30), control_point)
        await transport.close()
        return peripheral.written

    assert run(scenario()) == [(control_point, bytes(30), False)]


def test_two_writers_do_not_mix_their_pieces():
    """A greeting and a request at the same time arrive one after the other."""

    async def scenario():
        peripheral = strap(write_bytes=5)
        transport = sensor(on(ScriptedAir(peripheral)))
        await transport.open()
        await asyncio.gather(transport.write(b"a" * 12), transport.write(b"b" * 12))
        await transport.close()
        return b"".join(data for _, data, _ in peripheral.written)

    assert run(scenario()) == b"a" * 12 + b"b" * 12


def test_declined_write_leaves_the_link():
    """REFUSED for an error of the peer or a characteristic it does not have; data goes on."""

    async def scenario():
        peripheral = strap()
        air = ScriptedAir(peripheral)
        air.fails["write"] = [BleakGATTProtocolError(0x80)]
        transport = sensor(on(air))
        await transport.open()
        reasons = [
            await fault(transport.write(b"x")),
            await fault(transport.write(b"x", assigned(0x2A52))),
            await fault(transport.write(b"x", RATE)),
        ]
        peripheral.notify(RATE, b"on")
        data = await read_exactly(transport, 6)
        await transport.close()
        return reasons, data

    assert run(scenario()) == ([TransportFault.REFUSED] * 3, b"H10\x57on")


def test_write_that_nobody_takes_times_out():
    """A peer that does not answer costs the limit, not the sensor."""

    async def scenario():
        air = ScriptedAir(strap())
        air.hangs.add("write")
        transport = sensor(on(air))
        await transport.open()
        reason = await fault(transport.write(b"x"))
        await transport.close()
        return reason, tasks()

    assert run(scenario()) == (TransportFault.TIMEOUT, set())


# Healing


def test_resubscribing_stops_and_starts_every_subscription():
    """Even one that the stack says is not there: that is what is to be healed."""

    async def scenario():
        peripheral = strap()
        air = ScriptedAir(peripheral)
        transport = sensor(on(air))
        await transport.open()
        air.steps.clear()
        air.fails["stop 2a37"] = [BleakError("No notify session started")]
        peripheral.clients[0].subscribed.clear()
        await transport.heal(Remedy.RESUBSCRIBE)
        peripheral.notify(RATE, b"again")
        data = await read_exactly(transport, 9)
        await transport.close()
        return air.steps[:4], data

    steps, data = run(scenario())

    assert steps == ["stop 2a37", "start 2a37", "stop 2a19", "start 2a19"]
    assert data.endswith(b"again")


def test_rediscovering_forgets_a_found_sensor_but_not_a_configured_one():
    """After it, ``auto`` takes whatever is there; a configured address stays the one wanted."""

    async def scenario():
        first, second = strap(1, rssi_dbm=-40), strap(2, rssi_dbm=-50)
        adapter = on(ScriptedAir(first, second))
        found, named = sensor(adapter), sensor(adapter, address="A0:9E:1A:00:00:02")
        await found.open()
        await found.close()
        first.is_in_range = False
        await named.heal(Remedy.REDISCOVER)
        await found.heal(Remedy.REDISCOVER)
        reason = await fault(found.open())  # the other one is spoken for
        await named.open()
        await named.close()
        return found.address, reason, named.address

    assert run(scenario()) == ("", TransportFault.MISSING, "A0:9E:1A:00:00:02")


def test_remedies_are_for_the_right_state():
    """A closed link cannot be subscribed again, an open one not be forgotten; no radio switch without bluetoothd."""

    async def scenario():
        transport = sensor(on(ScriptedAir(strap())))
        reasons = [await fault(transport.heal(each)) for each in (Remedy.RESUBSCRIBE, Remedy.POWER_CYCLE)]
        await transport.open()
        with pytest.raises(RuntimeError, match="is open"):
            await transport.heal(Remedy.REDISCOVER)
        await transport.close()
        return reasons, transport.remedies

    reasons, remedies = run(scenario())

    assert reasons == [TransportFault.DISCONNECTED, TransportFault.OTHER]
    assert remedies == (Remedy.RESUBSCRIBE, Remedy.REDISCOVER)


def test_messages_do_not_carry_the_address(caplog):
    """A whole address follows its wearer about: neither descriptions nor logs have it."""
    caplog.set_level("INFO")

    async def scenario():
        air = ScriptedAir(strap())
        air.fails["connect"] = [BleakError("no")]
        transport = sensor(on(air))
        before = transport.describe()
        error = None
        try:
            await transport.open()
        except TransportError as caught:
            error = str(caught)
        return before, transport.describe(), error

    texts = run(scenario())

    assert "…00:01" in texts[1]
    assert not [text for text in (*texts, caplog.text) if "A0:9E" in text]


def test_close_is_prompt_while_somebody_reads():
    """The reader ends before the goodbye is over."""

    async def scenario():
        air = ScriptedAir(strap(characteristics={RATE: NOTIFY}))
        transport = sensor(on(air))
        await transport.open()
        air.hangs.add("stop 2a37")
        reading = asyncio.create_task(read_to_end(transport))
        closing = asyncio.create_task(transport.close())
        outcome = await reading
        is_closing = not closing.done()
        air.hangs.clear()
        await closing
        return outcome, is_closing, air.is_idle

    assert run(scenario()) == ((b"", None), True, True)
