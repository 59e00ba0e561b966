"""The virtual sensor: what a chest strap with a finger clip says on its serial line, without any I/O.

It samples a `Source`, packs the samples as ``firmware_bridge/PROTOCOL.md`` has it, answers the host and acts out
the faults of its scenario.  The caller owns time and bytes::

    sensor = VirtualSensor(load_scenario("demo"))
    line_out = sensor.advance(elapsed_ns)      # bytes for the host, up to this time since switching on
    line_out = sensor.receive(line_in)         # bytes from the host, answered at once

Advancing in any steps gives the same bytes.  Two times are told apart: *elapsed* is the host's true time, *story*
is what the sensor's crystal counts, which is elapsed time plus the drift of the scenario; steps and faults of a
scenario are in story time.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from edge.acquisition.framing import Frame, FrameDecoder
from edge.acquisition.packets import (
    WHOLE_DEVICE,
    Command,
    CommandAck,
    CommandCode,
    CommandResult,
    EventPacket,
    Hello,
    Packet,
    SamplesPacket,
    TimeRequest,
    TimeResponse,
    decode_packet,
    packet_line,
)
from edge.messages import Chunk
from firmware_bridge.virtual.faults import FrontEnd
from firmware_bridge.virtual.line import NS_PER_S, FaultyLine
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.readings import cuff_readings, light_readings, temperature_reading
from firmware_bridge.virtual.scenario import Fault, FaultKind, Scenario
from firmware_bridge.virtual.source import Source
from firmware_bridge.virtual.stream_sender import StreamSender

TICK_RATE_HZ = 1_000_000
_NS_PER_TICK = NS_PER_S // TICK_RATE_HZ
TICK_RANGE = 1 << 32
FRAME_RANGE = 1 << 16
BOOT_RANGE = 1 << 32
MODEL = "virtual"
FIRMWARE = "1.0.0"
BACKFILL_PERIOD_NS = 20_000_000
"""Stored packets are sent one at a time in between: five times real time at 100 ms each, slow enough for a UART."""
ENDED_TOLD_NS = 60 * NS_PER_S
"""The end of a condition is repeated with every hello for so long, then it is old news."""
CUFF_START_S = 20.0
"""The cuff is first inflated so long after switching on."""

_LEAD_OFF, _BATTERY_LOW, _SENSOR_OFF = 1, 3, 8
_Action = Callable[[int], None]


class VirtualSensor:
    """A sensor that exists only as bytes.

    Parameters
    ----------
    scenario : Scenario
        The sensor's settings and the faults; the patient too unless there is another source.
    source : Source, optional
        What is sampled instead of the scenario's patient, such as a `PlaybackPatient`.
    boot_id : int
        Number of the first boot; a program that is started again gives another one, as R9 of the protocol asks.
    """

    def __init__(self, scenario: Scenario, source: Source | None = None, *, boot_id: int = 1) -> None:
        self._scenario = scenario
        self._settings = scenario.sensor
        self._source: Source = source or VirtualPatient(scenario, history_s=60.0, streams=self._settings.streams)
        self._faults = scenario.faults
        self._line = FaultyLine(self._faults, scenario.patient.seed)
        self._decoder = FrameDecoder()
        self._host_counts: Counter[str] = Counter()
        front_end = FrontEnd(self._faults, scenario.patient.seed)
        self._senders = tuple(
            StreamSender(info, stream_id, self._source, front_end, self._settings)
            for stream_id, info in enumerate(self._source.streams, start=1)
        )
        self._elapsed_ns = 0
        self._now_ns = 0
        self._boot_id = self._first_boot_id = boot_id
        self._boot_ns = 0
        self._is_up = True
        self._frame_sequence = 0
        self._conditions: dict[tuple[int, int], tuple[bool, int, int]] = {}
        self._order = itertools.count()
        self._due: list[tuple[int, int, int, _Action]] = []
        self._plan()

    @property
    def source(self) -> Source:
        """What is sampled."""
        return self._source

    @property
    def scenario(self) -> Scenario:
        """What is acted out."""
        return self._scenario

    @property
    def story_ns(self) -> int:
        """Where in the story the sensor is."""
        return self._now_ns

    @property
    def is_connected(self) -> bool:
        """Whether the cable is in; while it is not, nothing goes either way."""
        return self._line.is_connected(self._now_ns)

    @property
    def is_finished(self) -> bool:
        """Whether the story or the recording is over."""
        duration_s = self._scenario.duration_s
        is_over = duration_s is not None and self._now_ns >= duration_s * NS_PER_S
        is_exhausted = bool(self._senders) and all(sender.is_exhausted for sender in self._senders)
        return is_over or is_exhausted

    @property
    def counts(self) -> Mapping[str, int]:
        """What happened on the line: frames by fate, and what the host sent by kind."""
        return {**self._line.counts, **self._host_counts}

    def advance(self, to_ns: int) -> bytes:
        """Return the bytes that reach the host until `to_ns` after switching on.

        Raises
        ------
        ValueError
            If `to_ns` is earlier than before: time does not go back.
        """
        if to_ns < self._elapsed_ns:
            raise ValueError(f"expected to_ns >= {self._elapsed_ns}, got {to_ns}")
        self._elapsed_ns = to_ns
        until_ns = story_time_ns(to_ns, self._faults)
        while self._due and self._due[0][0] <= until_ns:
            at_ns, _, _, action = heapq.heappop(self._due)
            self._now_ns = at_ns
            action(at_ns)
        self._now_ns = max(self._now_ns, until_ns)
        return self._line.collect(self._now_ns)

    def receive(self, data: bytes) -> bytes:
        """Return the answer to bytes from the host, as far as it arrives at once; the rest comes with `advance`."""
        if not self.is_connected:
            return b""
        for item in self._decoder.push(Chunk(data=data, received_at_ns=self._now_ns)):
            packet = decode_packet(item) if isinstance(item, Frame) else item
            self._host_counts[f"host_{type(packet).__name__}"] += 1
            if self._is_up and isinstance(packet, TimeRequest):
                ticks = self._ticks(self._now_ns)
                self._send(TimeResponse(host_ns=packet.host_ns, received_ticks=ticks, sent_ticks=ticks))
            elif self._is_up and isinstance(packet, Command):
                self._obey(packet)
        return self._line.collect(self._now_ns)

    def _plan(self) -> None:
        """Put everything that comes at known times on the list; equal times are served in the order given here."""
        settings = self._settings
        for fault in self._faults:
            self._plan_fault(fault)
        self._at(0, 1, self._say_hello)
        if settings.hello_period_s > 0:
            self._every(settings.hello_period_s, settings.hello_period_s, self._say_hello)
        for sender in self._senders:
            self._send_samples_when_due(sender)
        self._every(settings.reading_period_s, settings.reading_period_s, self._send_light_readings)
        self._every(settings.temperature_period_s, settings.temperature_period_s, self._send_temperature)
        if settings.cuff_period_s > 0:
            self._every(CUFF_START_S, settings.cuff_period_s, self._send_cuff)

    def _plan_fault(self, fault: Fault) -> None:
        start_ns, end_ns = round(fault.at_s * NS_PER_S), round(fault.end_s * NS_PER_S)
        if fault.kind is FaultKind.FIRMWARE_RESET:
            self._at(start_ns, 0, self._go_down)
            self._at(start_ns + round(fault.parameter("restart_s") * NS_PER_S), 0, self._come_up)
            return
        condition, value = 0, 0
        stream_id = WHOLE_DEVICE
        if fault.kind is FaultKind.BATTERY_LOW:
            condition, value = _BATTERY_LOW, round(fault.parameter("battery_pct"))
        elif fault.kind is FaultKind.LEAD_OFF:
            condition = _LEAD_OFF if fault.target == "ecg" else _SENSOR_OFF
            stream_id = next((s.stream_id for s in self._senders if s.family == fault.target), WHOLE_DEVICE)
        if condition:
            for at_ns, is_active in ((start_ns, True), (end_ns, False)):
                self._at(at_ns, 0, partial(self._set_condition, (condition, stream_id), (is_active, value)))

    def _at(self, at_ns: int, priority: int, action: _Action) -> None:
        heapq.heappush(self._due, (at_ns, priority, next(self._order), action))

    def _every(self, first_s: float, period_s: float, action: _Action, priority: int = 3) -> None:
        instants = (round((first_s + k * period_s) * NS_PER_S) for k in itertools.count())
        self._repeat(instants, priority, action)

    def _repeat(self, instants: Iterator[int], priority: int, action: _Action) -> None:
        def act(at_ns: int) -> None:
            # Planned again first: a restart must not stop the clockwork.
            self._repeat(instants, priority, action)
            if self._is_up:
                action(at_ns)

        self._at(next(instants), priority, act)

    def _send_samples_when_due(self, sender: StreamSender) -> None:
        def act(at_ns: int) -> None:
            del at_ns
            for packet in sender.packets(self._ticks, is_up=self._is_up):
                self._send(packet)
            if not sender.is_exhausted:
                self._at(sender.due_ns, 2, act)

        self._at(sender.due_ns, 2, act)

    def _ticks(self, at_ns: int) -> int:
        start_s = self._settings.start_ticks_before_wrap_s
        start = (
            0 if start_s is None or self._boot_id != self._first_boot_id else TICK_RANGE - round(start_s * TICK_RATE_HZ)
        )
        return (start + (at_ns - self._boot_ns) // _NS_PER_TICK) % TICK_RANGE

    def _send(self, packet: Packet) -> None:
        self._line.send(packet_line(packet, sequence=self._frame_sequence), self._now_ns)
        self._frame_sequence = (self._frame_sequence + 1) % FRAME_RANGE

    def _say_hello(self, at_ns: int) -> None:
        self._send(
            Hello(
                boot_id=self._boot_id,
                tick_rate_hz=TICK_RATE_HZ,
                ticks=self._ticks(at_ns),
                device_id=self._settings.device_id,
                model=MODEL,
                firmware=FIRMWARE,
                streams=tuple(sender.descriptor() for sender in self._senders),
            )
        )
        # A host that missed a change, for example behind a pulled cable, learns the state with the hello (R18).
        for key, (is_active, _, changed_ns) in self._conditions.items():
            if is_active or at_ns - changed_ns <= ENDED_TOLD_NS:
                self._send_condition(key)

    def _set_condition(self, key: tuple[int, int], state: tuple[bool, int], at_ns: int) -> None:
        self._conditions[key] = (*state, at_ns)
        if self._is_up:
            self._send_condition(key)

    def _send_condition(self, key: tuple[int, int]) -> None:
        (condition, stream_id), (is_active, value, _) = key, self._conditions[key]
        event = EventPacket(
            ticks=self._ticks(self._now_ns),
            condition_code=condition,
            stream_id=stream_id,
            is_active=is_active,
            value=value,
        )
        self._send(event)

    def _go_down(self, at_ns: int) -> None:
        del at_ns
        self._is_up = False

    def _come_up(self, at_ns: int) -> None:
        """Begin again as after power-on: another boot, every counter at zero, the patient where they are."""
        self._is_up = True
        self._boot_id = (self._boot_id + 1) % BOOT_RANGE
        self._boot_ns = at_ns
        self._frame_sequence = 0
        self._decoder.reset("firmware-reset")
        for sender in self._senders:
            sender.restart(at_ns)
        self._conditions = {key: state for key, state in self._conditions.items() if state[0]}
        self._say_hello(at_ns)

    def _send_light_readings(self, at_ns: int) -> None:
        for reading in light_readings(self._source, self._faults, at_ns, self._ticks(at_ns)):
            self._send(reading)

    def _send_temperature(self, at_ns: int) -> None:
        self._send(temperature_reading(self._source, self._settings, at_ns, self._ticks(at_ns)))

    def _send_cuff(self, at_ns: int) -> None:
        for reading in cuff_readings(self._source, self._settings, at_ns, self._ticks(at_ns)):
            self._send(reading)

    def _obey(self, command: Command) -> None:
        is_for_all = command.stream_id == WHOLE_DEVICE
        chosen = [sender for sender in self._senders if is_for_all or sender.stream_id == command.stream_id]
        stored: list[SamplesPacket] = []
        result, value = CommandResult.DONE, 0
        has_news = command.code == CommandCode.IDENTIFY
        if command.code not in set(CommandCode):
            result = CommandResult.UNKNOWN_COMMAND
        elif has_news:
            pass
        elif not chosen:
            result = CommandResult.UNKNOWN_STREAM
        elif command.code in {CommandCode.START, CommandCode.STOP}:
            is_running = command.code == CommandCode.START
            has_news = any(sender.is_running != is_running for sender in chosen)
            for sender in chosen:
                sender.is_running = is_running
        elif is_for_all:
            result = CommandResult.BAD_ARGUMENT
        elif command.code == CommandCode.SET_RATE:
            value = chosen[0].descriptor().rate_mhz
            result = CommandResult.DONE if command.argument == value else CommandResult.NOT_SUPPORTED
        else:
            stored = chosen[0].stored(command.argument, command.count, self._ticks)
            value = sum(packet.n_samples for packet in stored)
        self._send(CommandAck(command_id=command.command_id, code=command.code, result_code=result, value=value))
        if has_news:
            self._say_hello(self._now_ns)
        for k, packet in enumerate(stored, start=1):
            self._at(self._now_ns + k * BACKFILL_PERIOD_NS, 4, partial(self._send_stored, packet, self._boot_id))

    def _send_stored(self, packet: SamplesPacket, boot_id: int, at_ns: int) -> None:
        del at_ns
        if self._is_up and boot_id == self._boot_id:  # a restart lost the store
            self._send(packet)


def story_time_ns(elapsed_ns: int, faults: tuple[Fault, ...]) -> int:
    """Return what the sensor's crystal has counted after `elapsed_ns` of true time.

    Examples
    --------
    >>> drift = Fault(kind=FaultKind.CLOCK_DRIFT, at_s=10.0, duration_s=100.0, parameters={"drift_ppm": 500.0})
    >>> story_time_ns(60 * NS_PER_S, (drift,)) - 60 * NS_PER_S
    25000000
    """
    gained_ns = 0
    for fault in faults:
        if fault.kind is FaultKind.CLOCK_DRIFT:
            overlap_ns = min(elapsed_ns, round(fault.end_s * NS_PER_S)) - round(fault.at_s * NS_PER_S)
            gained_ns += round(max(0, overlap_ns) * fault.parameter("drift_ppm") * 1e-6)
    return elapsed_ns + gained_ns
