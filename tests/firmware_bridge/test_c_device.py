"""A device made of the C library talks to the runtime's decoder: hello, samples, loss, back-fill, time, commands."""

from __future__ import annotations

import ctypes as c

import pytest

from edge.acquisition.bridge import BridgeDecoder, BridgeSettings
from edge.acquisition.bridge_values import TimePair
from edge.acquisition.packets import CommandAck, CommandCode, CommandResult
from edge.messages import Chunk, Corrupt, DeviceBlock, Gap, Reading, SensorIdentity, SensorStatus
from tests.firmware_bridge import c_library as lib

TICK_RATE_HZ = 1_000_000
PERIOD_TICKS = 4000
NS_PER_TICK = 1000
BLOCK_SAMPLES = 10
N_STORED_BLOCKS = 20


class Firmware:
    """A board with one ECG stream: its clock, its line and its converter are turned by hand."""

    def __init__(self, boot_id=7, start_ticks=0):
        self._library = lib.loaded()
        self.ticks = start_ticks
        self.sequence = 0
        self.is_busy = False
        self.used_rates = []
        self._out = bytearray()
        self._state = c.create_string_buffer(self._library.shim_device_bytes())
        self._hold = self._config(boot_id)
        assert self._library.fb_device_init(self._state, c.byref(self._hold[0])) == lib.OK

    def _config(self, boot_id):
        self._store = c.create_string_buffer(self._library.shim_store_bytes())
        memory = (lib.u8 * (N_STORED_BLOCKS * (16 + 2 * BLOCK_SAMPLES)))()
        shape = (lib.u16(BLOCK_SAMPLES), lib.u8(1), lib.u8(2))
        self._library.fb_store_init_ram(self._store, memory, lib.size(len(memory)), *shape)
        channel = (lib.Channel * 1)(lib.Channel(b"II", 1, 1, 16, 1, 200, 0, -32768, 32767))
        streams = (lib.Stream * 1)(lib.Stream(b"ecg", channel, 1, 3, True, 250_000))
        block, send, receive = (lib.u8 * 20)(), (lib.u8 * 256)(), (lib.u8 * 64)()
        states = (lib.DeviceStream * 1)(
            lib.DeviceStream(
                block=block, block_samples=BLOCK_SAMPLES, bytes_per_value=2, store=c.addressof(self._store)
            )
        )
        board = lib.Board(
            lib.WRITE(self._write),
            lib.TICKS(lambda _: self.ticks % 2**32),
            lib.CHOOSE_RATE(lambda _, __, rate_mhz: rate_mhz if rate_mhz in {250_000, 500_000} else 0),
            lib.USE_RATE(lambda _, __, rate_mhz: self.used_rates.append(rate_mhz)),
            lib.RUN(lambda *_: None),
            None,
        )
        config = lib.DeviceConfig(
            board, boot_id, TICK_RATE_HZ, b"VE-C", b"board", b"2.0.0", streams, states, 1, send, 256, receive, 64, 0, 0
        )
        return config, memory, channel, streams, states, board, block, send, receive

    def _write(self, _, data, n_bytes):
        if self.is_busy:
            return lib.FULL
        self._out += bytes(data[:n_bytes])
        return lib.OK

    @property
    def now_ns(self):
        return self.ticks * NS_PER_TICK

    def convert(self, n_samples):
        """Take samples at 250 Hz, each with its number as count."""
        for _ in range(n_samples):
            counts = (c.c_int32 * 1)(self.sequence % 1000)
            self._library.fb_device_push(
                self._state, lib.size(0), lib.u32(self.sequence % 2**32), lib.u32(self.ticks % 2**32), counts
            )
            self.sequence += 1
            self.ticks += PERIOD_TICKS

    def poll(self):
        return self._library.fb_device_poll(self._state)

    def receive(self, data):
        self._library.fb_device_receive(self._state, lib.array(data), lib.size(len(data)), lib.u32(self.ticks % 2**32))

    def set_link(self, is_up):
        self._library.fb_device_set_link(self._state, c.c_bool(is_up))

    def set_condition(self, code, is_active, value=0):
        event = lib.Event(self.ticks % 2**32, value, None, code, 3, is_active)
        return self._library.fb_device_set_condition(self._state, c.byref(event))

    def send_reading(self, **fields):
        return self._library.fb_device_send_reading(self._state, c.byref(lib.Reading(self.ticks % 2**32, **fields)))

    def take(self):
        """What is on the line."""
        data, self._out = bytes(self._out), bytearray()
        return data


class Conversation:
    """A firmware and a decoder with a line between them that the test can cut."""

    def __init__(self, **settings):
        self.firmware = Firmware(**settings)
        self.decoder = BridgeDecoder(BridgeSettings(sensor="bed"))

    def hear(self):
        """Everything the device has said, decoded."""
        self.firmware.poll()
        return self.decoder.push(Chunk(data=self.firmware.take(), received_at_ns=self.firmware.now_ns))

    def say(self, *lines):
        for line in lines:
            self.firmware.receive(line)
        return self.hear()

    def say_requests(self):
        return self.say(*(each.data for each in self.decoder.requests(self.firmware.now_ns)))


def spans(items, *, is_backfill):
    blocks = [item for item in items if isinstance(item, DeviceBlock) and item.is_backfill is is_backfill]
    return [(block.sequence, len(block.values)) for block in blocks]


def test_hello_and_samples_arrive_as_they_were_taken():
    """Who it is, then every sample with its number, value and time; nothing is corrupt."""
    talk = Conversation()
    talk.say(*(each.data for each in talk.decoder.greeting()))

    talk.firmware.convert(25)
    items = talk.hear()

    assert spans(items, is_backfill=False) == [(0, 10), (10, 10)]
    first, second = items
    assert second.values.ravel().tolist() == [(10 + k) / 200 for k in range(10)]
    assert second.device_time_ns - first.device_time_ns == 40_000_000
    assert talk.decoder.counters.n_corrupt == {}


def test_identity_says_what_the_board_is():
    """The hello of the first poll, before anyone asked."""
    talk = Conversation(boot_id=99)

    (identity,) = talk.hear()

    assert isinstance(identity, SensorIdentity)
    assert (identity.device_id, identity.model, identity.firmware, identity.boot_id) == ("VE-C", "board", "2.0.0", 99)
    (stream,) = identity.streams
    assert (stream.name, stream.nominal_rate_hz, [each.name for each in stream.channels]) == ("ecg", 250.0, ["II"])


@pytest.mark.parametrize("start_ticks", [0, 2**32 - 200_000])
def test_samples_lost_on_the_line_are_asked_for_and_filled_in(start_ticks):
    """Forty samples vanish; the host counts them, asks, and gets each of them once, also while the clock wraps."""
    talk = Conversation(start_ticks=start_ticks)
    talk.hear()
    talk.firmware.convert(10)
    heard = talk.hear()
    talk.firmware.convert(40)
    talk.firmware.take()
    talk.firmware.convert(10)
    heard += talk.hear()
    assert talk.decoder.counters.n_lost_samples == 40

    for _ in range(12):
        talk.firmware.ticks += TICK_RATE_HZ // 4
        heard += talk.say_requests()

    assert spans(heard, is_backfill=False) == [(0, 10), (50, 10)]
    assert spans(heard, is_backfill=True) == [(10, 10), (20, 10), (30, 10), (40, 10)]
    filled = [item for item in heard if isinstance(item, DeviceBlock) and item.is_backfill]
    assert [value for block in filled for value in block.values.ravel()] == [n / 200 for n in range(10, 50)]
    assert talk.decoder.counters.n_backfilled_samples == 40
    assert not [item for item in heard if isinstance(item, Corrupt | Gap)]


def test_busy_line_loses_no_sample_that_the_store_has():
    """Blocks refused by the line are counted by the host as lost and come back as back-fill."""
    talk = Conversation()
    talk.hear()
    talk.firmware.convert(10)
    talk.firmware.is_busy = True
    talk.firmware.convert(20)
    talk.firmware.is_busy = False
    talk.firmware.convert(10)
    heard = talk.hear()

    for _ in range(8):
        talk.firmware.ticks += TICK_RATE_HZ // 4
        heard += talk.say_requests()

    assert spans(heard, is_backfill=False) == [(0, 10), (30, 10)]
    assert spans(heard, is_backfill=True) == [(10, 10), (20, 10)]
    assert talk.decoder.counters.n_lost_frames == 0  # what was never sent took no number


def test_link_that_was_down_goes_on_counting():
    """The same boot after a reconnect: no reset, the loss exact, the store fills it in."""
    talk = Conversation()
    talk.hear()
    talk.firmware.convert(10)
    heard = talk.hear()
    talk.firmware.set_link(False)
    talk.decoder.reset("link-lost")
    talk.firmware.convert(30)
    assert talk.firmware.take() == b""

    talk.firmware.set_link(True)
    heard += talk.hear()
    talk.firmware.convert(10)
    heard += talk.hear()
    for _ in range(8):
        talk.firmware.ticks += TICK_RATE_HZ // 4
        heard += talk.say_requests()

    assert talk.decoder.counters.n_device_resets == 0
    assert talk.decoder.counters.n_lost_samples == 30
    assert spans(heard, is_backfill=True) == [(10, 10), (20, 10), (30, 10)]


def test_restart_closes_the_streams():
    """Another boot id: a gap of unknown size, then everything starts over."""
    talk = Conversation(boot_id=1)
    talk.hear()
    talk.firmware.convert(10)
    talk.hear()
    ticks = talk.firmware.ticks

    talk.firmware = Firmware(boot_id=2)
    hello_at = ticks + TICK_RATE_HZ
    talk.firmware.poll()
    items = talk.decoder.push(Chunk(data=talk.firmware.take(), received_at_ns=hello_at * NS_PER_TICK))

    assert [type(item) for item in items] == [Gap, SensorIdentity]
    assert items[0].reason == "device-reset"


def test_time_request_is_answered_with_the_board_s_clock():
    """The pair that comes out has the offset between the two clocks and no corrupt answer."""
    talk = Conversation()
    talk.hear()
    talk.firmware.ticks = 5_000_000
    (request,) = talk.decoder.requests(talk.firmware.now_ns)

    (pair,) = talk.say(request.data)

    assert isinstance(pair, TimePair)
    assert pair.round_trip_ns == 0
    assert pair.device_received_ns == 5_000_000_000


def test_commands_are_acknowledged_in_their_order():
    """Stop, an unknown one, a rate it has and one it has not: one ack each, in order, then the hello."""
    talk = Conversation()
    talk.hear()
    command = talk.decoder.command

    items = talk.say(
        command(CommandCode.STOP, stream="ecg"),
        command(77),
        command(CommandCode.SET_RATE, stream="ecg", argument=500_000),
        command(CommandCode.SET_RATE, stream="ecg", argument=123),
    )

    acks = [item for item in items if isinstance(item, CommandAck)]
    assert [(ack.command_id, ack.result_code, ack.value) for ack in acks] == [
        (1, CommandResult.DONE, 0),
        (2, CommandResult.UNKNOWN_COMMAND, 0),
        (3, CommandResult.DONE, 500_000),
        (4, CommandResult.BAD_ARGUMENT, 500_000),
    ]
    assert isinstance(items[-1], SensorIdentity)
    assert items[-1].streams[0].nominal_rate_hz == 500.0
    assert talk.firmware.used_rates == [500_000]
    talk.firmware.convert(20)
    assert talk.hear() == []


def test_conditions_and_readings_arrive():
    """A lead falls off and comes back; SpO2 is measured, then has no value."""
    talk = Conversation()
    talk.hear()

    talk.firmware.set_condition(1, True, 1)
    items = talk.hear()
    talk.firmware.set_condition(1, False)
    items += talk.hear()
    talk.firmware.send_reading(measure_code=150456, mantissa=975, exponent=-1, valid_for_s=15)
    talk.firmware.send_reading(measure_code=150456, status_code=2, absent_code=2)
    items += talk.hear()

    on, off, value, absent = items
    assert isinstance(on, SensorStatus)
    assert (on.condition, on.stream, on.is_active, off.is_active) == ("lead-off", "ecg", True, False)
    assert isinstance(value, Reading)
    assert (value.measure, value.value, absent.value, absent.absent) == ("spo2_pct", 97.5, None, "sensor-off")


def test_condition_is_told_again_to_a_host_that_comes_later():
    """A host that missed the event learns it with the hello it asks for (R18)."""
    talk = Conversation()
    talk.firmware.set_condition(3, True, 12)
    talk.firmware.poll()
    talk.firmware.take()

    items = talk.say(*(each.data for each in talk.decoder.greeting()))

    told = [item for item in items if isinstance(item, SensorStatus)]
    assert [(item.condition, item.is_active, item.detail) for item in told] == [("battery-low", True, "12")]
