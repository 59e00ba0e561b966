"""One sensor's link kept alive: transport + decoder + supervision -> samples, readings, gaps and link states.

Wiring.  `Sensor.run` connects, greets, feeds the decoder, asks what the decoder wants asked, watches the age of the
data, and connects again with full-jitter back-off, until it is cancelled.

::

    CONNECTING ──open──▶ CONNECTED ──no data for max_silence_s──▶ SILENT ──data──▶ CONNECTED
        │                   │                                        │ longer: close and open again, still SILENT
        └──cannot open──▶ LOST ◀──────────────hang-up────────────────┘        (cancelled: STOPPED, from everywhere)

What counts is the age of *data* (samples and readings out of the decoder), never of bytes: a port that delivers
garbage, or a link that says "connected" and sends nothing, is silent.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

from edge.acquisition.backoff import Backoff, BackoffSettings
from edge.acquisition.decoder import Decoder
from edge.acquisition.transport import Transport
from edge.clock import NS_PER_S, Clock
from edge.errors import TransportError, TransportFault
from edge.messages import (
    Chunk,
    Corrupt,
    DeviceBlock,
    LinkChange,
    LinkState,
    Outgoing,
    Reading,
    RrIntervals,
    SampleBlock,
)

log = logging.getLogger(__name__)

Item = TypeVar("Item")

_TOLERATED_WRITE_FAULTS = {TransportFault.TIMEOUT, TransportFault.REFUSED}


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorSettings:
    """How one link is supervised.

    Raises
    ------
    ValueError
        Unless 0 < `max_silence_s` <= `reconnect_after_s`.
    """

    sensor: str
    """Id of the sensor in the configuration."""
    max_silence_s: float = 5.0
    """Longest pause without data that is normal; then SILENT.  Bridge devices send blocks several times a second."""
    reconnect_after_s: float | None = None
    """Pause after which the link is closed and opened again; None for three times `max_silence_s`."""
    open_timeout_s: float = 20.0
    """Then an attempt to open has failed.  A BLE connection needs up to this long (bleak-retry-connector's value)."""
    tick_s: float = 0.25
    """How often age and requests are looked at: a silence is noticed at most this late."""
    backoff: BackoffSettings = BackoffSettings()  # noqa: RUF009 - frozen, so sharing the default is safe
    """Waits between attempts."""

    def __post_init__(self) -> None:
        if not 0 < self.max_silence_s <= self.silence_limit_s:
            raise ValueError(
                f"expected 0 < max_silence_s <= reconnect_after_s, got {self.max_silence_s} and {self.reconnect_after_s}"
            )

    @property
    def silence_limit_s(self) -> float:
        """`reconnect_after_s` or its default."""
        return 3 * self.max_silence_s if self.reconnect_after_s is None else self.reconnect_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorCounters:
    """What happened on the link since the runtime started."""

    n_connects: int
    n_failures: int
    """Attempts that failed and links that were lost."""
    n_silences: int
    """Times the link was closed because it was silent for too long."""
    n_chunks: int
    n_bytes: int
    n_dropped_bytes: int
    """Received, but not read in time by us."""
    n_write_timeouts: int
    n_writes_refused: int
    n_corrupt: Mapping[str, int]
    """Dropped pieces of the byte stream, by reason."""


class _SilentError(Exception):
    """The link is open and no data came for too long."""


class Sensor(Generic[Item]):
    """Supervises one sensor.

    Parameters
    ----------
    settings : SensorSettings
        Limits.
    transport_factory : callable
        Gives a fresh, closed transport for every attempt.
    decoder : Decoder
        The device's codec; reset between links.
    clock : Clock
        All waiting and all ages.
    random : Random
        Jitter of the back-off.
    """

    def __init__(
        self,
        settings: SensorSettings,
        transport_factory: Callable[[], Transport],
        decoder: Decoder[Item],
        clock: Clock,
        random: Random,
    ) -> None:
        self._settings = settings
        self._make_transport = transport_factory
        self._decoder = decoder
        self._clock = clock
        self._backoff = Backoff(settings.backoff, random)
        self._sink: Callable[[Item | LinkChange | Corrupt], None] = lambda _: None
        self._link: LinkChange | None = None
        self._heard_at_ns: int | None = None  # last data, at first the opening; None while not open
        self._counts: Counter[str] = Counter()
        self._corrupt: Counter[str] = Counter()

    @property
    def link(self) -> LinkChange | None:
        """The last change of state; None before `run`."""
        return self._link

    @property
    def counters(self) -> SensorCounters:
        """What happened so far."""
        return SensorCounters(
            n_connects=self._counts["connects"],
            n_failures=self._counts["failures"],
            n_silences=self._counts["silences"],
            n_chunks=self._counts["chunks"],
            n_bytes=self._counts["bytes"],
            n_dropped_bytes=self._counts["dropped_bytes"],
            n_write_timeouts=self._counts["write_timeout"],
            n_writes_refused=self._counts["write_refused"],
            n_corrupt=dict(self._corrupt),
        )

    async def run(self, sink: Callable[[Item | LinkChange | Corrupt], None]) -> None:
        """Keep the link alive until cancelled; never returns by itself.

        Parameters
        ----------
        sink : callable
            Given everything the decoder finds and every `LinkChange`, in order, in the event loop.  The reason of
            a `LinkChange` begins with a stable word (`TransportFault`) where a fault is behind it:
            ``permission: /dev/ttyUSB0 may not be opened by this user; add the user to group dialout …``.
        """
        self._sink = sink
        try:
            while True:
                transport = self._make_transport()
                if self._link is None:
                    self._change(LinkState.CONNECTING, transport.describe())
                await self._clock.sleep(await self._serve(transport))
        finally:
            self._change(LinkState.STOPPED, "stopped")

    async def _serve(self, transport: Transport) -> float:
        """Use one transport until it fails; return how long to wait before the next attempt."""
        failure: Exception | None = None
        try:
            failure = await self._failure(transport)
        finally:
            await transport.close()
            for item in self._decoder.flush():
                self._deliver(item)
            self._decoder.reset("stopped" if failure is None else "link-lost")
        self._counts["failures"] += 1
        if isinstance(failure, TransportError):
            return self._lost(failure)
        self._counts["silences"] += 1
        log.warning("sensor.silent_reconnect sensor=%s", self._settings.sensor)
        return self._backoff.next_s()

    async def _failure(self, transport: Transport) -> Exception:
        """Open `transport`, use it, and return why it ended."""
        ended: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

        async def watched(job: Coroutine[None, None, None]) -> None:
            # Not left to the task group: in Python 3.11 it forgets a cancellation that meets a failing task.
            try:
                await job
            except (TransportError, _SilentError) as error:
                if not ended.done():
                    ended.set_result(error)

        name = self._settings.sensor
        self._heard_at_ns = None
        async with asyncio.TaskGroup() as tasks:
            jobs = (
                tasks.create_task(watched(self._listen(transport)), name=f"sensor-{name}-listen"),
                tasks.create_task(watched(self._supervise(transport)), name=f"sensor-{name}-supervise"),
            )
            failure = await ended
            for job in jobs:
                job.cancel()
        return failure

    def _opened(self, transport: Transport) -> None:
        self._counts["connects"] += 1
        self._heard_at_ns = self._clock.monotonic_ns()
        if not self._is_in(LinkState.SILENT):
            # Opening a silent link again proves nothing: it is connected once data comes.
            self._change(LinkState.CONNECTED, transport.describe())

    async def _listen(self, transport: Transport) -> None:
        await transport.open()
        self._opened(transport)
        await self._write(transport, self._decoder.greeting())
        n_dropped_bytes = 0
        offset = 0
        async for chunk in transport.chunks():
            if transport.n_dropped_bytes > n_dropped_bytes:
                n_bytes = transport.n_dropped_bytes - n_dropped_bytes
                n_dropped_bytes += n_bytes
                self._counts["dropped_bytes"] += n_bytes
                self._count_and_sink(Corrupt(reason="overflow", offset=offset, n_bytes=n_bytes))
                offset += n_bytes
            offset += len(chunk.data)
            self._counts["chunks"] += 1
            self._counts["bytes"] += len(chunk.data)
            self._hear(chunk)
            await asyncio.sleep(0)  # a peer that floods us must not stop the other tasks
        raise TransportError(f"{transport.describe()} was closed", reason=TransportFault.DISCONNECTED)

    def _hear(self, chunk: Chunk) -> None:
        items = self._decoder.push(chunk)
        if any(isinstance(item, DeviceBlock | SampleBlock | Reading | RrIntervals) for item in items):
            self._heard_at_ns = chunk.received_at_ns
            self._backoff.reset()
            if self._is_in(LinkState.SILENT):
                self._change(LinkState.CONNECTED, "data again")
        for item in items:
            self._deliver(item)

    async def _supervise(self, transport: Transport) -> None:
        begun_at_ns = self._clock.monotonic_ns()
        while True:
            await self._clock.sleep(self._settings.tick_s)
            now_ns = self._clock.monotonic_ns()
            if self._heard_at_ns is not None:
                await self._write(transport, self._decoder.requests(now_ns))
                self._check_age((now_ns - self._heard_at_ns) / NS_PER_S)
            elif now_ns - begun_at_ns > self._settings.open_timeout_s * NS_PER_S:
                raise TransportError(
                    f"{transport.describe()} did not open within {self._settings.open_timeout_s:g} s",
                    reason=TransportFault.TIMEOUT,
                )

    def _check_age(self, age_s: float) -> None:
        if age_s > self._settings.max_silence_s and not self._is_in(LinkState.SILENT):
            self._change(LinkState.SILENT, f"no data for {self._settings.max_silence_s:g} s")
        if age_s > self._settings.silence_limit_s:
            raise _SilentError

    async def _write(self, transport: Transport, wanted: list[Outgoing]) -> None:
        for each in wanted:
            try:
                await transport.write(each.data, each.channel)
            except TransportError as error:
                if error.reason not in _TOLERATED_WRITE_FAULTS:
                    raise
                # What we ask matters less than what we are told: the link stays as long as data comes.
                self._counts[f"write_{error.reason.value}"] += 1
                log.warning("sensor.not_written sensor=%s reason=%s", self._settings.sensor, error)

    def _deliver(self, item: Item) -> None:
        if isinstance(item, Corrupt):
            self._count_and_sink(item)
        else:
            self._sink(item)

    def _count_and_sink(self, corrupt: Corrupt) -> None:
        self._corrupt[corrupt.reason] += 1
        self._sink(corrupt)

    def _lost(self, error: TransportError) -> float:
        reason = f"{error.reason.value}: {error}" + (f"; {error.hint}" if error.hint else "")
        if self._link is None or (self._link.state, self._link.reason) != (LinkState.LOST, reason):
            self._change(LinkState.LOST, reason)
        # Only a person can give the permission; until then every attempt is noise in the logs of the system.
        return self._backoff.slow_s() if error.reason is TransportFault.PERMISSION else self._backoff.next_s()

    def _is_in(self, state: LinkState) -> bool:
        return self._link is not None and self._link.state is state

    def _change(self, state: LinkState, reason: str) -> None:
        self._link = LinkChange(
            sensor=self._settings.sensor, state=state, reason=reason, at_ns=self._clock.monotonic_ns()
        )
        log.log(
            logging.WARNING if state in {LinkState.LOST, LinkState.SILENT} else logging.INFO,
            "sensor.%s sensor=%s reason=%s",
            state.value,
            self._settings.sensor,
            reason,
        )
        self._sink(self._link)
