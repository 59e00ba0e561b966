"""One sensor's link kept alive: transport + decoder + supervision -> samples, readings, gaps and link states.

Wiring.  `Sensor.run` connects, greets, feeds the decoder, asks what the decoder wants asked, watches the age of the
data, applies the remedies of `ladder`, and connects again with full-jitter back-off, until it is cancelled.

::

    CONNECTING ──open──▶ CONNECTED ──no data for max_silence_s──▶ SILENT ──data──▶ CONNECTED
        │                   │                                        │ longer: the next remedy, still SILENT
        └──cannot open──▶ LOST ◀──────────────hang-up────────────────┘        (cancelled: STOPPED, from everywhere)

What counts is the age of *data* (samples and readings out of the decoder), never of bytes: a port that delivers
garbage, or a link that says "connected" and sends nothing, is silent.  An occasional sensor (a cuff, a scale) is
ASLEEP instead of LOST while it is away, and never silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from random import Random
from typing import Generic, TypeVar

from edge.acquisition.backoff import Backoff
from edge.acquisition.decoder import Decoder
from edge.acquisition.ladder import Ladder, LadderSettings
from edge.acquisition.sensor_settings import SensorCounters, SensorSettings
from edge.acquisition.transport import Remedy, Transport
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
_AWAY = {TransportFault.MISSING, TransportFault.DISCONNECTED, TransportFault.TIMEOUT}
_REMEDY_WORDS = {
    Remedy.RESUBSCRIBE: "subscribing again",
    Remedy.RECONNECT: "connecting again",
    Remedy.REDISCOVER: "looking for the sensor anew",
    Remedy.POWER_CYCLE: "switching the adapter off and on",
}


def _is_data(item: object) -> bool:
    """Whether an item shows that the sensor is measuring; a battery level, read on every connect, does not."""
    if isinstance(item, Reading):
        return item.measure != "battery_pct"
    return isinstance(item, DeviceBlock | SampleBlock | RrIntervals)


class _SilentError(Exception):
    """The link is open and no data came for too long; the remedy needs it closed."""

    def __init__(self, remedy: Remedy, age_s: float) -> None:
        super().__init__(remedy.value)
        self.remedy = remedy
        self.age_s = age_s


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
        self._ladder = Ladder(
            LadderSettings(max_silence_s=settings.max_silence_s, reconnect_after_s=settings.silence_limit_s)
        )
        self._is_late = False
        self._data_at_ns: int | None = None
        self._sink: Callable[[Item | LinkChange | Corrupt], None] = lambda _: None
        self._link: LinkChange | None = None
        self._heard_at_ns: int | None = None  # last data, at first the opening; None while not open
        self._counts: Counter[str] = Counter()
        self._corrupt: Counter[str] = Counter()
        self._remedies: Counter[str] = Counter()

    @property
    def link(self) -> LinkChange | None:
        """The last change of state; None before `run`."""
        return self._link

    @property
    def heard_at_ns(self) -> int | None:
        """When the last data came on this link, at first when it was opened; None while it is not open."""
        return self._heard_at_ns

    @property
    def data_at_ns(self) -> int | None:
        """When the newest data came, on whichever link; None before the first."""
        return self._data_at_ns

    @property
    def is_late(self) -> bool:
        """Whether the data is older than half of what is silence."""
        return self._is_late

    @property
    def counters(self) -> SensorCounters:
        """What happened so far."""
        return SensorCounters(
            n_connects=self._counts["connects"],
            n_failures=self._counts["failures"],
            n_lates=self._counts["lates"],
            n_silences=self._counts["silences"],
            n_remedies=dict(self._remedies),
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
        failure: TransportError | _SilentError | None = None
        try:
            failure = await self._failure(transport)
        finally:
            if failure is None and self._heard_at_ns is not None:  # stopped on purpose, while the link was open
                await self._within(self._settings.farewell_timeout_s, self._say(transport, self._decoder.farewell()))
            await transport.close()
            self._heard_at_ns = None
            for item in self._decoder.flush():
                self._deliver(item)
            self._decoder.reset("stopped" if failure is None else "link-lost")
        self._counts["failures"] += 1
        remedy: Remedy | None = None
        why = ""
        if isinstance(failure, _SilentError):
            self._counts["silences"] += 1
            remedy, why = failure.remedy, f"no data for {failure.age_s:.0f} s: "
            wait_s = self._backoff.next_s()
        else:
            remedy = self._ladder.failed(failure.reason, transport.remedies)
            wait_s = self._lost(failure)
        if remedy is not None:
            await self._heal(transport, remedy, why)
        return wait_s

    async def _heal(self, transport: Transport, remedy: Remedy, why: str) -> None:
        """Apply a remedy, count it, and say so; one that cannot be applied is counted as refused."""
        if self._link is not None:
            self._change(self._link.state, why + _REMEDY_WORDS[remedy])
        self._remedies[remedy.value] += 1
        log.warning("sensor.remedy sensor=%s remedy=%s", self._settings.sensor, remedy.value)
        if remedy is Remedy.RECONNECT:  # `run` does
            return
        try:
            healed = await self._within(self._settings.remedy_timeout_s, transport.heal(remedy))
        except TransportError as error:
            healed = False
            log.warning("sensor.remedy_refused sensor=%s reason=%s", self._settings.sensor, error)
        if not healed:
            self._remedies[f"refused-{remedy.value}"] += 1

    async def _within(self, timeout_s: float, job: Coroutine[None, None, None]) -> bool:
        """Run `job`; cancel it and return False when it takes longer than `timeout_s`; raises what it raises."""
        name = self._settings.sensor
        task = asyncio.create_task(job, name=f"sensor-{name}-bounded")
        guard = asyncio.create_task(self._clock.sleep(timeout_s), name=f"sensor-{name}-guard")
        try:
            await asyncio.wait({task, guard}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
                return True
            return False
        finally:
            task.cancel()
            guard.cancel()

    async def _say(self, transport: Transport, wanted: list[Outgoing]) -> None:
        """Write a farewell; a link that is gone needs none."""
        with contextlib.suppress(TransportError):
            await self._write(transport, wanted)

    async def _failure(self, transport: Transport) -> TransportError | _SilentError:
        """Open `transport`, use it, and return why it ended."""
        ended: asyncio.Future[TransportError | _SilentError] = asyncio.get_running_loop().create_future()

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
        if any(_is_data(item) for item in items):
            self._heard_at_ns = self._data_at_ns = chunk.received_at_ns
            self._backoff.reset()
            self._ladder.heard()
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
                await self._check_age(transport)
            elif now_ns - begun_at_ns > self._settings.open_timeout_s * NS_PER_S:
                raise TransportError(
                    f"{transport.describe()} did not open within {self._settings.open_timeout_s:g} s",
                    reason=TransportFault.TIMEOUT,
                )

    async def _check_age(self, transport: Transport) -> None:
        if self._settings.is_occasional:
            return
        age_s = self._age_s()
        is_late = age_s > self._settings.max_silence_s / 2
        self._counts["lates"] += is_late and not self._is_late
        self._is_late = is_late
        if age_s > self._settings.max_silence_s and not self._is_in(LinkState.SILENT):
            self._change(LinkState.SILENT, f"no data for {self._settings.max_silence_s:g} s")
        remedy = self._ladder.due(age_s, transport.remedies)
        if remedy is Remedy.RESUBSCRIBE:
            await self._heal(transport, remedy, f"no data for {age_s:.0f} s: ")
            await self._write(transport, self._decoder.greeting())
        elif remedy is not None:
            raise _SilentError(remedy, age_s)

    def _age_s(self) -> float:
        """Seconds since the last data of the open link, or since its opening."""
        heard_at_ns = self._heard_at_ns
        return 0.0 if heard_at_ns is None else (self._clock.monotonic_ns() - heard_at_ns) / NS_PER_S

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
        is_asleep = self._settings.is_occasional and error.reason in _AWAY
        state = LinkState.ASLEEP if is_asleep else LinkState.LOST
        reason = f"{error.reason.value}: {error}" + (f"; {error.hint}" if error.hint else "")
        if is_asleep:
            reason = "away until its next measurement"
        if self._link is None or (self._link.state, self._link.reason) != (state, reason):
            self._change(state, reason)
        if is_asleep:
            return min(self._backoff.next_s(), self._settings.occasional_wait_s)
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
