"""One connected Bluetooth peripheral used as its `GattPlan` says: read, subscribe, write, subscribe again, leave.

Wiring.  It does not import bleak but is given a connected client, and the characteristics that client found.  Every
value becomes a chunk the moment it comes.

Notes
-----
Subscriptions do not survive the link: they are made anew on every connect.  Characteristics are used by handle, not by
UUID, because a peripheral may have one twice (two batteries), which bleak declines to look up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from edge.acquisition.ble_errors import as_transport_errors, hint_for
from edge.acquisition.chunk_buffer import ChunkBuffer
from edge.acquisition.gatt.plan import GattPlan
from edge.acquisition.waiting import to_the_end, within
from edge.clock import Clock
from edge.errors import TransportError, TransportFault
from edge.messages import Chunk

log = logging.getLogger(__name__)

_LEAVE_S = 2.0
"""Real seconds for saying goodbye to all subscriptions; a peer that is gone answers none."""
_DISCONNECT_S = 10.0
"""Real seconds for the disconnection; BlueZ needs 1 to 2 s where the peer is gone, bleak waits 10 s for it."""
_MIN_MTU_BYTES = 23
_MAX_VALUE_BYTES = 512
"""Of one attribute (Core 5.4, Vol 3 Part F, 3.2.9), although an MTU of 517 has room for 514."""
_ATT_HEADER_BYTES = 3


class Characteristic(Protocol):
    """What is used of a bleak characteristic."""

    @property
    def uuid(self) -> str:
        """36 lower-case letters."""
        ...

    @property
    def properties(self) -> list[Any]:
        """``notify``, ``indicate``, ``write`` …"""
        ...

    @property
    def max_write_without_response_size(self) -> int:
        """Bytes that fit into one packet now; it grows and shrinks with the negotiated MTU."""
        ...


class Client(Protocol):
    """What is used of a bleak client."""

    @property
    def services(self) -> Any:
        """Services, each with ``characteristics``."""
        ...

    async def read_gatt_char(self, char_specifier: Any, /) -> bytearray:
        """Read one value."""
        ...

    async def write_gatt_char(self, char_specifier: Any, data: Any, /, response: bool | None = None) -> None:
        """Write one value."""
        ...

    async def start_notify(self, char_specifier: Any, callback: Callable[[Any, bytearray], Any], /) -> None:
        """Have every notification or indication given to `callback`."""
        ...

    async def stop_notify(self, char_specifier: Any, /) -> None:
        """Undo `start_notify`."""
        ...

    async def pair(self) -> None:
        """Bond, as the backend does it."""
        ...

    async def disconnect(self) -> None:
        """End the link."""
        ...


class BleLink:
    """A link that is up.

    Parameters
    ----------
    client : Client
        Connected.
    plan : GattPlan
        What to read and to subscribe to.
    buffer : ChunkBuffer
        Takes every value.
    clock : Clock
        Stamps the values and measures the limits.
    place : str
        Of the sensor, for messages.
    """

    def __init__(self, client: Client, plan: GattPlan, buffer: ChunkBuffer, clock: Clock, place: str) -> None:
        self.buffer = buffer
        self.heard_at_ns: int | None = None
        self._client = client
        self._plan = plan
        self._clock = clock
        self._place = place
        self._subscribed: list[Characteristic] = []
        self._writing = asyncio.Lock()

    @property
    def mtu_bytes(self) -> int:
        """Largest packet of the attribute protocol that was agreed on; 23 where that is not known."""
        sizes = [each.max_write_without_response_size for each in self._characteristics()]
        return max(sizes, default=_MIN_MTU_BYTES - _ATT_HEADER_BYTES) + _ATT_HEADER_BYTES

    async def set_up(self, limit_s: float) -> None:
        """Check that this is the right kind of sensor, read what the plan reads, subscribe to what it subscribes to.

        Parameters
        ----------
        limit_s : float
            For every step.

        Raises
        ------
        TransportError
            ``MISSING`` for another kind of sensor; else what the peer or the system says.
        """
        with self._errors("its services"):
            present = {each.uuid for each in self._characteristics()}
        missing = [uuid for uuid in self._plan.required if uuid not in present]
        if missing:
            raise TransportError(
                f"{self._place} is another kind of sensor: it has no characteristic {', '.join(missing)}",
                reason=TransportFault.MISSING,
                hint="see: vitaledge scan",
            )
        for each in self._named(self._plan.read):
            with self._refusal_tolerated(each):
                self._take(each, await self._within(limit_s, self._client.read_gatt_char(each), "reading", each))
        for each in self._named(self._plan.subscribe):
            with self._refusal_tolerated(each):
                await self._within(limit_s, self._client.start_notify(each, self._take), "subscribing to", each)
                self._subscribed.append(each)
        if self._plan.subscribe and not self._subscribed:
            raise TransportError(
                f"{self._place} lets nobody subscribe to anything",
                reason=TransportFault.REFUSED,
                hint=hint_for(TransportFault.PAIRING),
            )

    async def resubscribe(self, limit_s: float) -> None:
        """Stop and start every subscription: a peer that forgot it, or a stack that lost it, begins to send again."""
        for each in self._subscribed:
            with suppress(TransportError):  # "no notify session" is the very thing to be healed
                await self._within(limit_s, self._client.stop_notify(each), "unsubscribing from", each)
            await self._within(limit_s, self._client.start_notify(each, self._take), "subscribing to", each)

    async def write(self, data: bytes, channel: str, limit_s: float) -> None:
        """Write `data` to `channel`, the plan's ``write_to`` if that is empty (`transport.Transport.write`).

        A byte stream is cut to the size of a packet, looked up for every write: right after a bonded reconnect BlueZ
        says 20 bytes, later up to 514, of which a value may have 512.  A named characteristic gets its value whole.
        """
        uuid = channel or self._plan.write_to
        with self._errors(f"writing {uuid}"):
            target = next(iter(self._named((uuid,))), None)
            if target is None or not {"write", "write-without-response"} & set(target.properties):
                raise TransportError(f"{self._place} takes nothing at {uuid or 'all'}", reason=TransportFault.REFUSED)
            n_bytes = len(data) if channel else min(target.max_write_without_response_size, _MAX_VALUE_BYTES)
        async with self._writing:  # two writers must not interleave their pieces
            for at in range(0, len(data), max(n_bytes, 1)) or (0,):
                piece = data[at : at + n_bytes]
                job = self._client.write_gatt_char(target, piece, response="write" in target.properties)
                await self._within(limit_s, job, "writing", target)

    async def leave(self) -> None:
        """Unsubscribe, then disconnect; returns in a few seconds even if nobody answers, and fails never."""
        is_gone = self.buffer.is_failed
        self.buffer.close()
        if not is_gone:
            with suppress(TransportError):
                await self._undo(self._unsubscribe(), _LEAVE_S)
        await disconnect(self._client, self._place)

    async def _unsubscribe(self) -> None:
        for each in self._subscribed:
            with suppress(TransportError), self._errors("unsubscribing"):
                await self._client.stop_notify(each)

    async def _undo(self, job: Coroutine[Any, Any, None], patience_s: float) -> None:
        with self._errors("closing"):
            await to_the_end(job, "ble-leave", patience_s)

    def _characteristics(self) -> Iterator[Characteristic]:
        for service in self._client.services:
            yield from service.characteristics

    def _named(self, uuids: Iterable[str]) -> list[Characteristic]:
        present = list(self._characteristics())
        return [each for uuid in uuids for each in present if each.uuid == uuid]

    def _take(self, source: Characteristic, value: bytearray) -> None:
        self.heard_at_ns = self._clock.monotonic_ns()
        chunk = Chunk(data=bytes(value), received_at_ns=self.heard_at_ns, channel=source.uuid)
        if n_bytes := self.buffer.put(chunk):
            log.warning("ble.overflow sensor=%s dropped_bytes=%d", self._place, n_bytes)

    async def _within(self, limit_s: float, job: Coroutine[Any, Any, Any], verb: str, target: Characteristic) -> Any:
        with self._errors(f"{verb} {target.uuid}"):
            return await within(self._clock, limit_s, job, f"ble-{verb.split(maxsplit=1)[0]}")

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Name what was done; a call that failed because the link ended meanwhile tells that the link ended."""
        try:
            with as_transport_errors(f"{self._place}, {what}", is_connected=True):
                yield
        except TransportError:
            if self.buffer.is_failed:
                raise hang_up(self._place) from None
            raise

    @contextmanager
    def _refusal_tolerated(self, target: Characteristic) -> Iterator[None]:
        """Do without a characteristic that the sensor declines, unless it is required."""
        try:
            yield
        except TransportError as error:
            if error.reason is not TransportFault.REFUSED or target.uuid in self._plan.required:
                raise
            log.warning("ble.refused sensor=%s reason=%s", self._place, error)


def hang_up(place: str) -> TransportError:
    """Return the error that a link ends with when it was there and went away."""
    return TransportError(f"{place} was disconnected", reason=TransportFault.DISCONNECTED)


async def disconnect(client: Client, place: str) -> None:
    """End the link of `client`, connected or not; a failure is only logged, for the link is given up anyway."""
    try:
        with as_transport_errors(place, is_connected=True):
            await to_the_end(client.disconnect(), "ble-disconnect", _DISCONNECT_S)
    except TransportError as error:
        log.warning("ble.not_disconnected reason=%s", error)
