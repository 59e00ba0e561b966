"""What the host says to a bridge device: who are you, what is your clock, do this, send what you stored.

Used by `bridge`, which tells it what was heard.
"""

from __future__ import annotations

from collections import deque

from edge.acquisition.framing import SEQUENCE_RANGE
from edge.acquisition.packets import (
    WHOLE_DEVICE,
    Command,
    CommandAck,
    CommandCode,
    CommandResult,
    Packet,
    TimeRequest,
    packet_line,
)
from edge.acquisition.unrolling import COUNTER_RANGE, NS_PER_S

_OUTSTANDING_REQUESTS = 8
_NEVER_STORES = {CommandResult.NOT_SUPPORTED, CommandResult.UNKNOWN_COMMAND}


class BridgeRequests:
    """Builds every line that goes to the device and knows what is due.

    Parameters
    ----------
    hello_retry_s, time_sync_interval_s, backfill_interval_s : float
        Shortest time between two requests of one kind.
    max_losses : int
        Losses waiting to be asked for; the oldest is given up first.
    """

    def __init__(
        self, *, hello_retry_s: float, time_sync_interval_s: float, backfill_interval_s: float, max_losses: int
    ) -> None:
        self._hello_retry_s = hello_retry_s
        self._time_sync_interval_s = time_sync_interval_s
        self._backfill_interval_s = backfill_interval_s
        self._sequence = 0
        self._command_id = 0
        self._losses: deque[tuple[int, int, int]] = deque(maxlen=max_losses)
        self._asked_for: dict[int, tuple[int, int, int]] = {}  # losses by the id of the command that asked for them
        self._stores = True
        self._times_asked: deque[int] = deque(maxlen=_OUTSTANDING_REQUESTS)
        self._asked_at_ns: dict[str, int] = {}

    def forget_device(self) -> None:
        """Start over with what is due and what was lost; frame counter and command ids go on."""
        self._losses.clear()
        self._asked_for.clear()
        self._stores = True
        self._times_asked.clear()
        self._asked_at_ns.clear()

    def command(self, code: int, stream_id: int = WHOLE_DEVICE, argument: int = 0, count: int = 0) -> bytes:
        """Return a command with the next id."""
        self._command_id = (self._command_id + 1) % SEQUENCE_RANGE
        return self._line(
            Command(command_id=self._command_id, code=code, stream_id=stream_id, argument=argument, count=count)
        )

    def due(self, now_ns: int, *, has_hello: bool) -> bytes:
        """Return what is to be written at `now_ns`, at most one line."""
        if not has_hello:
            return self.command(CommandCode.IDENTIFY) if self._is_due("hello", now_ns, self._hello_retry_s) else b""
        if self._is_due("time", now_ns, self._time_sync_interval_s):
            self._times_asked.append(now_ns)
            return self._line(TimeRequest(host_ns=now_ns))
        if self._losses and self._is_due("backfill", now_ns, self._backfill_interval_s):
            stream_id, start, n_samples = loss = self._losses.popleft()
            line = self.command(CommandCode.BACKFILL, stream_id, start % COUNTER_RANGE, n_samples)
            self._asked_for = {self._command_id: loss}
            return line
        return b""

    def hear_loss(self, stream_id: int, start: int, n_samples: int) -> None:
        """Note samples to ask for; a loss longer than any device stores is not asked for."""
        if self._stores and n_samples < COUNTER_RANGE // 2:
            self._losses.append((stream_id, start, n_samples))

    def hear_ack(self, ack: CommandAck) -> None:
        """Stop asking a device that stores nothing; ask a busy one again."""
        loss = self._asked_for.pop(ack.command_id, None)
        if ack.code != CommandCode.BACKFILL or loss is None:
            return
        if ack.result_code in _NEVER_STORES:
            self._stores = False
            self._losses.clear()
        elif ack.result_code == CommandResult.BUSY:
            self._losses.appendleft(loss)

    def hear_time(self, host_ns: int) -> bool:
        """Return whether the device's clock was asked for at `host_ns`; true once."""
        if host_ns not in self._times_asked:
            return False
        self._times_asked.remove(host_ns)
        return True

    def _is_due(self, what: str, now_ns: int, interval_s: float) -> bool:
        asked_at_ns = self._asked_at_ns.get(what)
        if asked_at_ns is not None and now_ns - asked_at_ns < interval_s * NS_PER_S:
            return False
        self._asked_at_ns[what] = now_ns
        return True

    def _line(self, packet: Packet) -> bytes:
        line = packet_line(packet, sequence=self._sequence)
        self._sequence = (self._sequence + 1) % SEQUENCE_RANGE
        return line
