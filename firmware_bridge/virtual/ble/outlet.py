"""The way out of a wearable: every value passes here, meets the faults of the moment and is taken down."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from bumble import att
from bumble.device import Connection, Device
from bumble.gatt import Characteristic

from firmware_bridge.virtual.ble.hearing import full_uuid
from firmware_bridge.virtual.ble.link_faults import LinkFaults, ScenarioLine
from firmware_bridge.virtual.ble.links import LinkEndedError, while_linked
from firmware_bridge.virtual.ble.sending import Fate, SentLog, SentValue
from firmware_bridge.virtual.ble.services import INDICATE, NOTIFY

_NOTIFICATION_HEAD = 3
_Held = tuple[float, Characteristic[bytes], SentValue]


class Outlet:
    """Sends values over the link there is, to who has subscribed.

    Parameters
    ----------
    device : bumble.device.Device
        The sensor's radio.
    faults : LinkFaults
        Those set by hand.
    line : ScenarioLine
        Those of the scenario.
    now_s : callable
        Returns the instant of the story.
    needs_encryption : bool
        Whether nothing goes out on a link that is not encrypted.
    """

    def __init__(
        self,
        device: Device,
        faults: LinkFaults,
        line: ScenarioLine,
        now_s: Callable[[], float],
        *,
        needs_encryption: bool,
    ) -> None:
        self.sent = SentLog()
        self.connection: Connection | None = None
        self.acting_s: float | None = None
        """Instant at which the value at hand was due; None takes the time."""
        self._device, self._faults, self._line, self._now_s = device, faults, line, now_s
        self._needs_encryption = needs_encryption
        self._held: deque[_Held] = deque()
        self._indications: asyncio.Queue[tuple[Characteristic[bytes], SentValue]] = asyncio.Queue()

    @property
    def value_bytes(self) -> int:
        """How many bytes one value can have on the link there is."""
        mtu = att.ATT_DEFAULT_MTU if self.connection is None else int(self.connection.att_mtu)
        return mtu - _NOTIFICATION_HEAD

    @property
    def due_s(self) -> float:
        """When the next value that is held back goes out; infinite if there is none."""
        return self._held[0][0] if self._held else float("inf")

    def offer(self, target: Characteristic[bytes], data: bytes, n_samples: int) -> None:
        """Send one value, or do to it what the faults of the moment do."""
        if not self._is_wanted(target):
            return
        at_s = self._now_s() if self.acting_s is None else self.acting_s
        is_lost, is_repeated, late_s = self._line.fate(at_s)
        fate = Fate.SENT
        if self._faults.is_silent(at_s):
            fate = Fate.SILENCED
        elif self._faults.n_to_drop > 0:
            self._faults.n_to_drop -= 1
            fate = Fate.DROPPED
        elif is_lost:
            fate = Fate.DROPPED
        elif self._faults.n_to_repeat > 0:
            self._faults.n_to_repeat -= 1
            is_repeated = True
        value = SentValue(at_s=at_s, channel=full_uuid(target.uuid), data=data, fate=fate, n_samples=n_samples)
        if fate is not Fate.SENT:
            self.sent.add(value)
            return
        due_s = max(at_s + late_s, self._faults.stalled_until_s)
        self._let_go(due_s, target, value)
        if is_repeated:
            self._let_go(due_s, target, replace(value, fate=Fate.REPEATED))

    def release(self, now_s: float) -> None:
        """Send what was held back until now."""
        while self._held and self._held[0][0] <= now_s:
            _, target, value = self._held.popleft()
            self._transmit(target, value)

    def link_ended(self) -> None:
        """Lose what was still waiting."""
        self.connection = None
        waiting = [value for _, _, value in self._held]
        self._held.clear()
        while not self._indications.empty():
            waiting.append(self._indications.get_nowait()[1])
        for value in waiting:
            self.sent.add(replace(value, fate=Fate.DROPPED))

    async def indicate(self) -> None:
        """Send indications for ever, one after another: the next one waits until the last is confirmed."""
        while True:
            target, value = await self._indications.get()
            connection = self.connection
            if connection is None:
                self.sent.add(replace(value, fate=Fate.DROPPED))
                continue
            self.sent.add(value)
            with contextlib.suppress(LinkEndedError, TimeoutError):
                await while_linked(connection, self._device.indicate_subscriber(connection, target, value.data))

    def _is_wanted(self, target: Characteristic[bytes]) -> bool:
        """Whether the central has subscribed to it, on an encrypted link where one is asked for."""
        connection = self.connection
        if connection is None or (self._needs_encryption and not connection.encryption):
            return False
        state = self._device.gatt_server.subscribers.get(connection, {}).get(target.handle, b"\0\0")
        return bool(state[0] & (1 if target.properties & NOTIFY else 2))

    def _let_go(self, due_s: float, target: Characteristic[bytes], value: SentValue) -> None:
        if self._held or due_s > self._now_s():
            # Nothing overtakes what is held back.
            self._held.append((max(due_s, self._held[-1][0] if self._held else 0.0), target, value))
        else:
            self._transmit(target, value)

    def _transmit(self, target: Characteristic[bytes], value: SentValue) -> None:
        connection = self.connection
        if connection is None:
            self.sent.add(replace(value, fate=Fate.DROPPED))
        elif target.properties & INDICATE:
            self._indications.put_nowait((target, value))
        else:
            self.sent.add(value)
            pdu = att.ATT_Handle_Value_Notification(
                attribute_handle=target.handle, attribute_value=value.data[: self.value_bytes]
            )
            self._device.gatt_server.send_gatt_pdu(connection, bytes(pdu))
