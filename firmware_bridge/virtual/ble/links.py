"""Making, using and ending a link with bumble so that nothing waits for a link that is gone.

bumble waits for ever for the end of a link that has ended already, and 30 s for the answer to a request that was sent
into one.  Everything here gives up when the link does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from bumble import core, hci
from bumble.device import Connection, Device, Peer
from bumble.hci import Address

_GIVING_UP_S = 0.5
_T = TypeVar("_T")


class LinkEndedError(ConnectionError):
    """The link ended before the answer came."""


def is_alive(connection: Connection) -> bool:
    """Whether a link still stands."""
    return connection.device.connections.get(connection.handle) is connection


async def while_linked(connection: Connection, work: Coroutine[Any, Any, _T]) -> _T:
    """Return the result of `work`, which needs the link.

    Raises
    ------
    LinkEndedError
        As soon as the link has ended; `work` is cancelled then.
    """
    if not is_alive(connection):
        work.close()
        raise LinkEndedError("the link has ended")
    task = asyncio.ensure_future(work)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(reason: int) -> None:
        del reason
        if not ended.done():
            ended.set_result(None)

    connection.on(Connection.EVENT_DISCONNECTION, end)
    try:
        either: set[asyncio.Future[Any]] = {task, ended}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() or task.cancelled():
            raise LinkEndedError("the link has ended")
        return task.result()
    finally:
        connection.remove_listener(Connection.EVENT_DISCONNECTION, end)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def disconnect(connection: Connection) -> None:
    """End a link; one that has ended, or is being ended by the other side, is no error."""
    with contextlib.suppress(LinkEndedError, core.ProtocolError, hci.HCI_Error):
        await while_linked(connection, connection.disconnect())


async def discover_all(peer: Peer) -> None:
    """Find every service, characteristic and descriptor of a peer."""
    await peer.discover_all()  # type: ignore[no-untyped-call]


async def connect(central: Device, address: Address, timeout_s: float) -> Connection:
    """Return a link to the device at `address`; giving up, by time or by cancelling, leaves nothing pending.

    bumble alone forgets about a cancelled attempt that its controller still makes; the link that then comes to be
    belongs to nobody.

    Raises
    ------
    TimeoutError
        If it was not heard in time.
    bumble.core.ConnectionError
        If the link failed.
    """
    attempt = asyncio.ensure_future(central.connect(address, timeout=timeout_s))
    try:
        return await asyncio.shield(attempt)
    except core.TimeoutError as error:
        raise TimeoutError(f"{address} was not heard within {timeout_s:g} s") from error
    except asyncio.CancelledError:
        await _give_up(central, attempt)
        raise


async def _give_up(central: Device, attempt: asyncio.Future[Connection]) -> None:
    """Stop an attempt in the controller too; a link that was made in the same moment is ended."""
    while not attempt.done():
        with contextlib.suppress(hci.HCI_Error):
            await central.send_sync_command(hci.HCI_LE_Create_Connection_Cancel_Command())
        await asyncio.wait({attempt}, timeout=_GIVING_UP_S)
    if not attempt.cancelled() and attempt.exception() is None:
        await disconnect(attempt.result())
