"""A virtual wearable: one Bluetooth peripheral, driven by the virtual patient, with the faults of real ones.

::

    air = VirtualAir()
    settings = WearableSettings(kind=Kind.OXIMETER)
    wearable = Wearable(settings, load_scenario("demo"), clock, air.device(settings.shown_name, settings.shown_address))
    await wearable.start()
    wearable.go_silent(until=Remedy.RECONNECT)      # "connected", and nothing comes
    wearable.sent.of(assigned(0x2A5F))              # the bytes that went out
    await wearable.close()

On a real radio give it a `radio.host_device` on ``open_transport("usb:0")`` instead of one in the virtual air.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import cast

from bumble import att, hci
from bumble.core import ProtocolError
from bumble.device import Connection, Device
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.pairing import PairingConfig, PairingDelegate

from edge.acquisition.transport import Remedy
from edge.clock import NS_PER_S, Clock
from firmware_bridge.virtual.ble.advertising import advertising_data
from firmware_bridge.virtual.ble.kinds import Kind, WearableSettings, make_parts
from firmware_bridge.virtual.ble.link_faults import LADDER, LinkFaults, ScenarioLine
from firmware_bridge.virtual.ble.links import disconnect
from firmware_bridge.virtual.ble.outlet import Outlet
from firmware_bridge.virtual.ble.radio import AirController
from firmware_bridge.virtual.ble.sending import SentLog
from firmware_bridge.virtual.ble.services import Part, Wearing
from firmware_bridge.virtual.scenario import FaultKind, Scenario

_log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 1.0
_ENCRYPTED = Characteristic.Permissions.READ_REQUIRES_ENCRYPTION | Characteristic.Permissions.WRITE_REQUIRES_ENCRYPTION

Write = Callable[[Connection, bytes], None]


class Wearable:
    """One virtual sensor on the air.

    Parameters
    ----------
    settings : WearableSettings
        What it is.
    scenario : Scenario
        The patient, and the faults that come by themselves.
    clock : Clock
        One that runs at ten times speed makes the sensor do so; the story begins with `start`.
    device : bumble.device.Device
        Its radio; not powered yet.
    """

    def __init__(self, settings: WearableSettings, scenario: Scenario, clock: Clock, device: Device) -> None:
        self.settings = settings
        self.wearing = Wearing()
        self.faults = LinkFaults()
        self.n_connections = 0
        """Links that stood since the start, refused ones included."""
        self._scenario, self._clock, self._device = scenario, clock, device
        self._line = ScenarioLine(
            scenario.faults, scenario.patient.seed + settings.serial, is_framed=settings.kind is Kind.BRIDGE
        )
        self._outlet = Outlet(
            device, self.faults, self._line, lambda: self.story_s, needs_encryption=settings.needs_bond
        )
        self._parts = make_parts(settings, scenario, self.wearing, lambda: self._outlet.value_bytes)
        self._start_ns: int | None = None
        self._connection: Connection | None = None
        self._is_closing = False
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()

    @property
    def name(self) -> str:
        """What it advertises."""
        return self.settings.shown_name

    @property
    def address(self) -> str:
        """Its Bluetooth address, upper case with colons."""
        return self.settings.shown_address

    @property
    def sent(self) -> SentLog:
        """What it sent, and what became of it."""
        return self._outlet.sent

    @property
    def is_connected(self) -> bool:
        """Whether a central holds a link to it."""
        return self._connection is not None

    @property
    def story_s(self) -> float:
        """Where in the story it is; 0 before the start."""
        return 0.0 if self._start_ns is None else (self._clock.monotonic_ns() - self._start_ns) / NS_PER_S

    def part(self, kind: type[Part]) -> Part:
        """Return one of its functions by class, such as `polar.PolarData`.

        Raises
        ------
        KeyError
            If it has none of this kind.
        """
        for part in self._parts:
            if isinstance(part, kind):
                return part
        raise KeyError(kind.__name__)

    async def start(self) -> None:
        """Power on, advertise and begin the story."""
        device = self._device
        for part in self._parts:
            part.attach(self._outlet.offer, lambda: self.story_s)
            for service in part.services:
                self._guard(service)
                device.add_service(service)
        device.gatt_server.max_mtu = self.settings.largest_mtu
        device.pairing_config_factory = lambda _: pairing(self.settings.passkey)
        device.on(Device.EVENT_CONNECTION, self._connected)
        device.gatt_server.on(device.gatt_server.EVENT_CHARACTERISTIC_SUBSCRIPTION, self._subscribed)
        await device.power_on()
        self._start_ns = self._clock.monotonic_ns()
        await self._advertise()
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._outlet.indicate())]
        _log.info("virtual_wearable.started name=%s address=%s", self.name, self.address)

    async def close(self) -> None:
        """Drop the link and leave the air; to be called once."""
        self._is_closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(ProtocolError, hci.HCI_Error):
            await self.drop_link()
            await self._device.stop_advertising()
        await self._device.power_off()
        controller = self._controller
        if controller is not None and controller.link is not None:
            controller.silence()
            controller.link.remove_controller(controller)

    # Faults by hand

    async def drop_link(self) -> None:
        """End the connection from the sensor's side; it advertises again."""
        if self._connection is not None:
            await disconnect(self._connection)

    def refuse_connections(self, n: int) -> None:
        """Drop the next `n` connections as soon as they stand."""
        self.faults.n_to_refuse = n

    def go_silent(self, until: Remedy) -> None:
        """Stay connected and send nothing until the host has tried `until` or a stronger remedy."""
        self.faults.fall_silent(until)

    def lose(self, n: int) -> None:
        """Lose the next `n` values silently."""
        self.faults.n_to_drop = n

    def repeat(self, n: int) -> None:
        """Send each of the next `n` values twice."""
        self.faults.n_to_repeat = n

    def stall(self, duration_s: float) -> None:
        """Hold all values back for `duration_s` seconds of the story, then send them at once."""
        self.faults.stalled_until_s = self.story_s + duration_s
        self._wake.set()

    async def go_out_of_range(self) -> None:
        """Walk away: the link times out, and nobody hears the sensor any more."""
        self.faults.is_out_of_range = True
        await self._leave()

    async def come_back(self) -> None:
        """Be in range and advertise again."""
        self.faults.is_out_of_range = False
        await self._advertise()

    def take_off(self) -> None:
        """Be worn by nobody: no contact, no finger, no value."""
        self.wearing.is_taken_off = True

    def put_on(self) -> None:
        """Be worn again."""
        self.wearing.is_taken_off = False

    def set_battery(self, level_pct: int) -> None:
        """Show another charge from now on."""
        self.wearing.battery_pct = level_pct

    def refuse_writes(self, error: int | None = 0x80) -> None:
        """Answer every write to a characteristic with this ATT error; None takes them again."""
        self.faults.write_error = error

    def notice(self, remedy: Remedy) -> None:
        """Be told of a remedy that cannot be seen from here: that the host forgot the sensor, or switched its adapter."""
        self.faults.notice(remedy)

    # Advertising and links

    @property
    def _controller(self) -> AirController | None:
        controller = self._device.host.controller if hasattr(self._device.host, "controller") else None
        return controller if isinstance(controller, AirController) else None

    async def _advertise(self) -> None:
        if self._is_closing or self.is_connected or self.faults.is_out_of_range or self._device.is_advertising:
            return
        advertisement, response = advertising_data(
            self.name, [uuid for part in self._parts for uuid in part.advertised]
        )
        await self._device.start_advertising(advertising_data=advertisement, scan_response_data=response)

    async def _leave(self) -> None:
        await self._device.stop_advertising()
        controller = self._controller
        if controller is not None:
            controller.silence()
        else:
            await self.drop_link()  # a real radio cannot walk away

    def _connected(self, connection: Connection) -> None:
        self.n_connections += 1
        self._connection = self._outlet.connection = connection
        connection.on(Connection.EVENT_DISCONNECTION, self._disconnected)
        is_refusing = self._line.active(FaultKind.CONNECTION_REFUSAL, self.story_s) is not None
        if self.faults.n_to_refuse > 0 or is_refusing:
            self.faults.n_to_refuse = max(0, self.faults.n_to_refuse - 1)
            self._spawn(self.drop_link)
            return
        self.faults.notice(Remedy.RECONNECT)

    def _disconnected(self, reason: int) -> None:
        del reason
        self._connection = None
        self._outlet.link_ended()
        for part in self._parts:
            part.connection_ended()
        self._spawn(self._advertise)

    def _subscribed(self, bearer: object, target: Characteristic[bytes], notify: bool, indicate: bool) -> None:
        del bearer, target
        if notify or indicate:
            self.faults.notice(Remedy.RESUBSCRIBE)
        self._wake.set()

    def _spawn(self, action: Callable[[], Awaitable[None]]) -> None:
        async def act() -> None:
            with contextlib.suppress(ProtocolError, hci.HCI_Error):
                await action()

        task = asyncio.create_task(act())
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

    # Values

    def _guard(self, service: Service) -> None:
        """Let `refuse_writes` and `needs_bond` reach every characteristic of a service."""
        for target in service.characteristics:
            if self.settings.needs_bond:
                target.permissions |= _ENCRYPTED
            if isinstance(target.value, CharacteristicValue) and target.value.write is not None:
                target.value = CharacteristicValue(
                    read=target.value.read, write=self._guarded(cast("Write", target.value.write))
                )

    def _guarded(self, write: Write) -> Write:
        def act(connection: Connection, value: bytes) -> None:
            refusal = self._line.active(FaultKind.WRITE_REFUSAL, self.story_s)
            error = self.faults.write_error if refusal is None else round(refusal.parameter("att_error"))
            if error is not None:
                raise att.ATT_Error(att.ErrorCode(error))
            write(connection, value)
            self._wake.set()

        return act

    def _heed(self, at_s: float) -> None:
        """Act out the scenario's faults of the link that have begun."""
        for fault in self._line.begun(at_s):
            if fault.kind is FaultKind.LINK_DROP:
                self._spawn(self.drop_link)
            else:
                self.faults.fall_silent(LADDER[round(fault.parameter("remedy_step")) - 1], fault.end_s)

    async def _run(self) -> None:
        """Act at every instant at which something is due."""
        is_away = False
        while True:
            now_s = self.story_s
            if self._line.is_out_of_range(now_s) != is_away:
                is_away = not is_away
                await (self.go_out_of_range() if is_away else self.come_back())
            self._heed(now_s)
            self._outlet.release(now_s)
            for part in self._parts:
                while part.due_s <= now_s:
                    # What is made is made when it was due, however late this task was given the processor.
                    self._heed(part.due_s)
                    self._outlet.acting_s = part.due_s
                    part.act(part.due_s)
                    self._outlet.acting_s = None
            due_s = min(self._outlet.due_s, *(part.due_s for part in self._parts))
            wait_s = min(due_s - self.story_s, _LONGEST_WAIT_S)
            self._wake.clear()
            sleeper = asyncio.ensure_future(self._clock.sleep(max(0.0, wait_s)))
            waker = asyncio.ensure_future(self._wake.wait())
            try:
                await asyncio.wait({sleeper, waker}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeper.cancel()
                waker.cancel()


class _Display(PairingDelegate):
    """A sensor that shows the same six digits every time."""

    def __init__(self, passkey: int) -> None:
        super().__init__(io_capability=PairingDelegate.DISPLAY_OUTPUT_ONLY)
        self._passkey = passkey

    async def generate_passkey(self) -> int:
        return self._passkey


def pairing(passkey: int | None) -> PairingConfig:
    """Return how a sensor pairs: without asking, or with the digits on its display."""
    if passkey is None:
        return PairingConfig(mitm=False, delegate=PairingDelegate())
    return PairingConfig(mitm=True, delegate=_Display(passkey))
