"""Virtual wearables seen by another Bluetooth stack, with the faults they can have."""

from __future__ import annotations

import asyncio
import itertools
import struct

import pytest

from edge.acquisition.framing import Frame, FrameDecoder
from edge.acquisition.gatt.plan import assigned
from edge.acquisition.packets import Hello, SamplesPacket, TimeRequest, TimeResponse, decode_packet, packet_line
from edge.acquisition.transport import Remedy
from edge.clock import ManualClock, SystemClock
from edge.messages import Chunk
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import Fault, FaultKind, Scenario
from tests.fakes.bluetooth import bumble_bluetooth, until

bleak = pytest.importorskip("bleak", reason="the tests connect with bleak")

from firmware_bridge.virtual.ble.kinds import Kind, WearableSettings  # noqa: E402 - after the skip
from firmware_bridge.virtual.ble.polar import CONTROL, DATA  # noqa: E402 - after the skip
from firmware_bridge.virtual.ble.sending import Fate  # noqa: E402 - after the skip
from firmware_bridge.virtual.ble.uart import FROM_SENSOR, TO_SENSOR  # noqa: E402 - after the skip

HEART_RATE, SPO2, SPOT = assigned(0x2A37), assigned(0x2A5F), assigned(0x2A5E)
TEMPERATURE, PRESSURE, BATTERY = assigned(0x2A1C), assigned(0x2A35), assigned(0x2A19)
START_ECG = bytes.fromhex("02000001820001010e00")
NOT_WORN = 1 << 11


class Host:
    """A bleak client that keeps what it gets, by characteristic."""

    def __init__(self, env) -> None:
        self._env = env
        self.got: dict[str, list[bytes]] = {}
        self.n_disconnections = 0
        self.client = None

    async def connect(self, timeout_s=5.0):
        device = await bleak.BleakScanner.find_device_by_address(
            self._env.wearable.address, timeout=timeout_s, backend=self._env.scanner
        )
        assert device is not None
        self.client = bleak.BleakClient(device, self._on_end, timeout=timeout_s, backend=self._env.client)
        await self.client.connect()
        return self.client

    async def subscribe(self, *channels):
        for channel in channels:
            kept = self.got.setdefault(channel, [])
            await self.client.start_notify(channel, lambda _, value, kept=kept: kept.append(bytes(value)))

    def _on_end(self, client) -> None:
        del client
        self.n_disconnections += 1


def run(act, settings, *, speed=20.0, scenario="quiet"):
    """Run `act(env, host)` with one wearable that lives at `speed` times real time."""

    async def story():
        async with bumble_bluetooth([settings], SystemClock(speed), scenario=scenario) as env:
            host = Host(env)
            await host.connect()
            try:
                return await act(env, host)
            finally:
                if host.client.is_connected:
                    await host.client.disconnect()

    return asyncio.run(story())


def of(kind, **more):
    return WearableSettings(kind=kind, **more)


def test_a_heart_rate_strap_tells_the_patients_own_intervals():
    """Every interval that arrives is one between two beats of the virtual patient, in order and none twice."""
    scenario = Scenario.simple(rhythm="atrial-fibrillation", seed=5)

    async def act(env, host):
        await host.subscribe(HEART_RATE)
        await until(lambda: len(host.got[HEART_RATE]) >= 15)
        return host.got[HEART_RATE], env.wearable.sent.of(HEART_RATE)

    got, sent = run(act, of(Kind.HEART_RATE_STRAP), scenario=scenario)

    rr = [each for value in got for each in struct.unpack(f"<{(len(value) - 2) // 2}H", value[2:])]
    true = [round(beat.rr_s * 1024) for beat in VirtualPatient(scenario).truth(0, 60).beats if beat.rr_s]
    start = next(k for k in range(len(true)) if true[k : k + 3] == rr[:3])
    assert rr == true[start : start + len(rr)]
    assert got == sent[: len(got)]
    assert all(value[0] & 0b10110 == 0b10110 for value in got if len(value) > 2)


def test_an_oximeter_without_a_finger_says_so_instead_of_a_number():
    """Taken off, both numbers are "not a number" and the sensor status says that nobody wears it."""

    async def act(env, host):
        await host.subscribe(SPO2, SPOT)
        await until(lambda: host.got[SPO2] and host.got[SPOT])
        worn = host.got[SPO2][-1]
        env.wearable.take_off()
        await until(lambda: host.got[SPO2][-1][1:5] == b"\xff\x07\xff\x07")
        return worn, host.got[SPO2][-1]

    worn, bare = run(act, of(Kind.OXIMETER))

    assert struct.unpack_from("<HH", worn, 1) == (97, pytest.approx(66, abs=8))
    assert int.from_bytes(bare[7:10], "little") & NOT_WORN


def test_thermometer_and_cuff_send_indications():
    """What has to be confirmed arrives, one after another, from one peripheral that is everything."""

    async def act(env, host):
        await host.subscribe(TEMPERATURE, PRESSURE)
        await until(lambda: len(host.got[TEMPERATURE]) >= 2 and host.got[PRESSURE])
        properties = host.client.services.get_characteristic(TEMPERATURE).properties
        return host.got[TEMPERATURE][0], host.got[PRESSURE][0], properties

    temperature, pressure, properties = run(act, of(Kind.ALL))

    assert properties == ["indicate"]
    assert int.from_bytes(temperature[1:4], "little") == pytest.approx(3680, abs=5)
    assert struct.unpack_from("<HHH", pressure, 1)[:2] == (122, 78)


def test_a_low_battery_is_read_and_told():
    """A change is a notification, and a read gives the same."""

    async def act(env, host):
        before = await host.client.read_gatt_char(BATTERY)
        await host.subscribe(BATTERY)
        env.wearable.set_battery(8)
        await until(lambda: host.got[BATTERY])
        return before, host.got[BATTERY], await host.client.read_gatt_char(BATTERY)

    before, told, after = run(act, of(Kind.THERMOMETER))

    assert (before, told, after) == (b"\x57", [b"\x08"], b"\x08")


def test_the_ecg_strap_holds_the_recorded_dialogue_and_its_true_rate():
    """Wrong settings are refused as a real strap does; frames of 73 samples carry timestamps at 130.0452 Hz."""

    async def act(env, host):
        await host.subscribe(CONTROL.lower(), DATA.lower())
        answers = host.got[CONTROL.lower()]
        for asked in (b"\x01\x00", b"\x02\x00", START_ECG, START_ECG):
            n_before = len(answers)
            await host.client.write_gatt_char(CONTROL, asked, response=True)
            await until(lambda n_before=n_before: len(answers) > n_before)
        await until(lambda: len(host.got[DATA.lower()]) >= 8)
        return bytes(await host.client.read_gatt_char(CONTROL)), answers, host.got[DATA.lower()]

    features, answers, frames = run(act, of(Kind.ECG_STRAP))

    assert features == b"\x0f\x05" + bytes(15)
    expected = ("f00100000000018200 01010e00", "f002000500", "f00200000000", "f002000600")
    assert [each.hex() for each in answers[:4]] == [each.replace(" ", "") for each in expected]
    assert {len(frame) for frame in frames} == {229}
    stamps = [struct.unpack_from("<Q", frame, 1)[0] for frame in frames]
    steps_ns = [after - before for before, after in itertools.pairwise(stamps)]
    assert steps_ns == pytest.approx([73 / 130.0452 * 1e9] * len(steps_ns), abs=500)
    counts = [int.from_bytes(frame[k : k + 3], "little", signed=True) for frame in frames for k in range(10, 229, 3)]
    assert 700 < max(counts) < 1500  # a QRS of about 1 mV, in microvolts


def test_the_ecg_strap_wants_a_large_mtu_first():
    """Before the MTU was exchanged it answers with error 10, in the short form of a real one."""

    async def act(env, host):
        await host.subscribe(CONTROL.lower())
        await host.client.write_gatt_char(CONTROL, b"\x01\x00", response=True)
        await until(lambda: host.got[CONTROL.lower()])
        return host.got[CONTROL.lower()]

    assert run(act, of(Kind.ECG_STRAP, largest_mtu=23)) == [bytes.fromhex("f000010a")]


def test_the_bridge_speaks_our_protocol_in_pieces():
    """Notifications hold parts of frames; together they are the byte stream, and a command is answered."""

    async def act(env, host):
        await host.subscribe(FROM_SENSOR.lower())
        request = packet_line(TimeRequest(host_ns=123_456_789), sequence=1)
        for start in range(0, len(request), 7):
            await host.client.write_gatt_char(TO_SENSOR, request[start : start + 7], response=False)
        got = host.got[FROM_SENSOR.lower()]
        await until(lambda: len(got) >= 150)
        return got, host.client.mtu_size

    got, mtu = run(act, of(Kind.BRIDGE, largest_mtu=100))

    decoder = FrameDecoder()
    items = decoder.push(Chunk(data=b"".join(got), received_at_ns=0))
    packets = [decode_packet(item) for item in items if isinstance(item, Frame)]
    assert mtu == 100
    assert max(len(value) for value in got) == mtu - 3
    assert {type(packet) for packet in packets} >= {Hello, SamplesPacket}
    assert [packet.host_ns for packet in packets if isinstance(packet, TimeResponse)] == [123_456_789]
    assert sum(not isinstance(item, Frame) for item in items) <= 1  # the frame it came into


def test_lost_repeated_and_delayed_values_are_on_record():
    """What the log says was sent is exactly what arrives; lost values are known to the log alone."""

    async def act(env, host):
        await host.subscribe(HEART_RATE)
        await until(lambda: len(host.got[HEART_RATE]) >= 2)
        env.wearable.lose(3)
        env.wearable.repeat(2)
        await until(lambda: env.wearable.sent.count(Fate.REPEATED) == 2)
        n_before = len(host.got[HEART_RATE])
        env.wearable.stall(20.0)
        await until(lambda: len(host.got[HEART_RATE]) >= n_before + 20)
        await host.client.stop_notify(HEART_RATE)
        sent = env.wearable.sent
        return host.got[HEART_RATE], sent.of(HEART_RATE), sent.count(Fate.DROPPED)

    got, sent, n_dropped = run(act, of(Kind.HEART_RATE_STRAP))

    assert got == sent
    assert n_dropped == 3


@pytest.mark.parametrize("remedy", list(Remedy))
def test_a_zombie_is_healed_by_its_remedy_and_not_by_a_milder_one(remedy):
    """Connected and silent: it takes the remedy that it was made to need."""

    async def act(env, host):
        await host.subscribe(HEART_RATE)
        await until(lambda: host.got[HEART_RATE])
        env.wearable.go_silent(until=remedy)
        healed_by = []
        for tried in Remedy:
            n_silenced = env.wearable.sent.count(Fate.SILENCED)
            await until(lambda n=n_silenced: env.wearable.sent.count(Fate.SILENCED) >= n + 2)
            assert host.client.is_connected
            await _try(tried, env, host)
            if env.wearable.faults.silent_until is None:
                healed_by.append(tried)
                break
        n_before = len(host.got[HEART_RATE])
        await until(lambda: len(host.got[HEART_RATE]) > n_before)
        return healed_by

    async def _try(tried, env, host):
        if tried in {Remedy.REDISCOVER, Remedy.POWER_CYCLE}:
            env.wearable.notice(tried)  # the emulated BlueZ tells it; bumble's central has nothing to forget
        elif tried is Remedy.RECONNECT:
            await host.client.disconnect()
            await host.connect()
            await host.subscribe(HEART_RATE)
        else:
            await host.client.stop_notify(HEART_RATE)
            await host.subscribe(HEART_RATE)

    assert run(act, of(Kind.HEART_RATE_STRAP)) == [remedy]


def test_out_of_range_ends_the_link_and_the_advertising():
    """The host sees the link end, finds nothing, and finds it again when the wearer is back."""

    async def act(env, host):
        await env.wearable.go_out_of_range()
        await until(lambda: host.n_disconnections == 1)
        found = await bleak.BleakScanner.find_device_by_address(env.wearable.address, timeout=0.3, backend=env.scanner)
        await env.wearable.come_back()
        await host.connect()
        return found

    assert run(act, of(Kind.OXIMETER)) is None


def test_refused_connections_and_writes():
    """Refused links end at once; a refused write carries the error that was asked for; both pass."""

    async def act(env, host):
        env.wearable.refuse_writes(0x81)
        with pytest.raises(bleak.exc.BleakGATTProtocolError) as caught:
            await host.client.write_gatt_char(CONTROL, b"\x01\x00", response=True)
        env.wearable.refuse_writes(None)
        await host.client.write_gatt_char(CONTROL, b"\x01\x00", response=True)
        await host.client.disconnect()
        env.wearable.refuse_connections(1)
        with pytest.raises(bleak.exc.BleakError):
            await host.connect()
        await until(lambda: not env.wearable.is_connected)
        await host.connect()
        return int(caught.value.code), env.wearable.n_connections

    assert run(act, of(Kind.ECG_STRAP)) == (0x81, 3)


def test_a_sensor_that_wants_a_bond_gives_nothing_without_one():
    """Reading fails until the link is encrypted."""

    async def act(env, host):
        with pytest.raises(bleak.exc.BleakGATTProtocolError):
            await host.client.read_gatt_char(BATTERY)
        await host.client.pair()
        return await host.client.read_gatt_char(BATTERY)

    assert run(act, of(Kind.OXIMETER, needs_bond=True)) == b"\x57"


def test_the_scenario_pulls_the_sensor_out_of_range_and_loses_values():
    """Faults of the scenario file act on the radio: a pulled cable is distance, lost frames are lost values."""
    faults = (
        Fault(kind=FaultKind.FRAME_LOSS, at_s=0, duration_s=40, parameters={"probability": 0.5}),
        Fault(kind=FaultKind.DISCONNECT, at_s=40, duration_s=20),
        Fault(kind=FaultKind.LEAD_OFF, at_s=60, duration_s=1000),
    )

    async def act(env, host):
        await host.subscribe(HEART_RATE)
        await until(lambda: host.n_disconnections == 1)
        lost_at_s = env.wearable.story_s
        sent = env.wearable.sent
        counts = sent.count(Fate.SENT), sent.count(Fate.DROPPED)
        await host.connect()
        await host.subscribe(HEART_RATE)
        n_before = len(host.got[HEART_RATE])
        await until(lambda: len(host.got[HEART_RATE]) > n_before)
        return lost_at_s, counts, host.got[HEART_RATE][-1]

    lost_at_s, (n_sent, n_dropped), last = run(act, of(Kind.HEART_RATE_STRAP), scenario=Scenario.simple(faults=faults))

    assert lost_at_s >= 40
    assert 5 < n_sent < 35
    assert 5 < n_dropped < 35
    assert last == b"\x04\x00"  # contact can be told, there is none, and no rate


def test_the_scenario_drops_silences_stalls_and_refuses():
    """The faults of a radio come from the scenario file too, each at its time."""
    faults = (
        Fault(kind=FaultKind.WRITE_REFUSAL, at_s=0, duration_s=20, parameters={"att_error": 0x81}),
        Fault(kind=FaultKind.SILENCE, at_s=20, duration_s=1000, parameters={"remedy_step": 1}),
        Fault(kind=FaultKind.STALL, at_s=60, duration_s=20),
        Fault(kind=FaultKind.LINK_DROP, at_s=100),
        Fault(kind=FaultKind.CONNECTION_REFUSAL, at_s=100, duration_s=30),
    )

    async def act(env, host):
        sensor, got = env.wearable, host.got.setdefault(HEART_RATE, [])
        with pytest.raises(bleak.exc.BleakGATTProtocolError) as caught:
            await host.client.write_gatt_char(assigned(0x2A39), b"\x01", response=True)
        await host.subscribe(HEART_RATE)
        await until(lambda: sensor.sent.count(Fate.SILENCED) >= 5)
        n_before_silence = len(got)
        await host.client.stop_notify(HEART_RATE)
        await host.subscribe(HEART_RATE)
        await until(lambda: sensor.story_s >= 65)
        n_in_stall = len(got)
        await until(lambda: sensor.story_s >= 75)
        assert len(got) - n_in_stall <= 1
        await until(lambda: len(got) >= n_in_stall + 15)
        await until(lambda: host.n_disconnections == 1)
        n_links = sensor.n_connections
        with pytest.raises(bleak.exc.BleakError):
            await host.connect()
        await until(lambda: sensor.story_s >= 131)
        await host.connect()
        return int(caught.value.code), n_before_silence, sensor.n_connections - n_links

    code, n_before_silence, n_more_links = run(act, of(Kind.HEART_RATE_STRAP), scenario=Scenario.simple(faults=faults))

    assert code == 0x81
    assert n_before_silence <= 20
    assert n_more_links >= 2


def test_late_values_do_not_overtake_each_other():
    """Each is late by another time, and they come in the order in which they were made."""
    jitter = Fault(kind=FaultKind.JITTER, at_s=0, duration_s=1000, parameters={"max_delay_s": 5.0})

    async def act(env, host):
        await host.subscribe(HEART_RATE)
        await until(lambda: len(host.got[HEART_RATE]) >= 30)
        return host.got[HEART_RATE], [(each.at_s, each.data) for each in env.wearable.sent]

    got, sent = run(act, of(Kind.HEART_RATE_STRAP), scenario=Scenario.simple(faults=(jitter,)))

    assert sent == sorted(sent, key=lambda each: each[0])
    assert got == [data for _, data in sent][: len(got)]


def test_a_clock_that_is_moved_by_hand_moves_the_sensor():
    """Nothing is said while time stands still; five seconds are five values."""
    clock = ManualClock()

    async def story():
        async with bumble_bluetooth([Kind.HEART_RATE_STRAP], clock) as env:
            host = Host(env)
            await host.connect()
            await host.subscribe(HEART_RATE)
            n_before = len(env.wearable.sent)
            clock.advance(5.0)
            await until(lambda: len(host.got[HEART_RATE]) >= 5)
            await host.client.disconnect()
            return n_before, len(env.wearable.sent)

    assert asyncio.run(story()) == (0, 5)
