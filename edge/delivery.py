"""From findings to the broker: encode, make durable, forward.

One `Delivery` serves all beds of a gateway.  `take` never waits: telemetry is offered to the outbox, which counts and
announces what it has to drop.  Alerts go through a queue of their own that is never cut, because an alert is never
dropped; a task of `run` makes them durable one by one.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge.assembly import retention_settings
from edge.clock import Clock
from edge.config import Config, config_sha256
from edge.drivers import max_silence_s
from edge.errors import OutboxError
from edge.health import versions
from edge.messages import Alert, Gap, Json, LinkChange, Reading, Summary, Vitals
from edge.outbox.record import Entry, Loss, Notice, Opening, OutboxStats
from edge.outbox.writer import OutboxWriter
from edge.pipeline import Finding
from edge.publishing.bodies import Mode
from edge.publishing.forwarder import Forwarder, ForwarderStats
from edge.publishing.mqtt import MqttSettings
from edge.publishing.payloads import Announcement, EnvelopeSettings, Payloads
from edge.publishing.readings import ReadingPolicy

_log = logging.getLogger(__name__)

_POLL_S = 0.05
_STOP_PATIENCE_S = 10.0
"""Real seconds that a disk may take for the last records; a stop that never ends would be a kill in the end."""
_MAX_BEHIND = 500
"""Entries waiting for the disk at which a recording pauses: a quarter of what the writer takes before it drops."""

BirthDetails = Callable[[], tuple[Sequence[Mapping[str, Json]], Mapping[str, str]]]
"""Gives the sensors and the models that stand in ``birth``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """Outbox and uplink at one moment."""

    broker: str
    outbox: OutboxStats = field(default_factory=OutboxStats)
    uplink: ForwarderStats | None = None
    n_alerts_waiting: int = 0
    """Alerts that are not on disk yet."""

    @property
    def n_waiting(self) -> Mapping[str, int]:
        """Records in the outbox, by lane."""
        return {lane.name.lower(): n for lane, n in self.outbox.depth.items()}

    @property
    def n_waiting_total(self) -> int:
        """Records in the outbox."""
        return sum(self.outbox.depth.values())

    @property
    def n_committed(self) -> int:
        """Records made durable since the start."""
        return self.outbox.n_committed

    @property
    def n_confirmed(self) -> int:
        """Records that the broker has confirmed."""
        return self.uplink.n_acknowledged if self.uplink else 0

    def as_json(self) -> dict[str, Json]:
        """Return the figures for ``health`` and ``--json``."""
        uplink = self.uplink
        body: dict[str, Json] = {
            "broker": self.broker,
            "waiting": dict(self.n_waiting),
            "committed": self.n_committed,
            "confirmed": self.n_confirmed,
            "oldest_age_s": {lane.name.lower(): round(age, 1) for lane, age in self.outbox.oldest_age_s.items()},
            "used_bytes": self.outbox.used_bytes,
            "dropped": dict(self.outbox.n_dropped),
            "commit_p50_ms": self.outbox.commit_p50_ms,
            "commit_p99_ms": self.outbox.commit_p99_ms,
        }
        if uplink is not None:
            body["uplink"] = {
                "connected": uplink.is_connected,
                "reason": uplink.reason,
                "fault": None if uplink.fault is None else uplink.fault.value,
                "protocol": uplink.protocol,
                "rule": uplink.delivery.value,
                "sent": uplink.n_sent,
                "unheard": uplink.n_unheard,
                "nobody": uplink.n_nobody,
                "refused": dict(uplink.n_refused),
                "in_flight": uplink.n_in_flight,
                "connects": uplink.n_connects,
                "failed_connects": uplink.n_failed_connects,
            }
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class _Announced:
    """One alert on its way to the disk, with the memory of all open ones."""

    entries: tuple[Entry, ...]
    memory_key: str
    memory: bytes
    is_end: bool


class Delivery:
    """The way out of the gateway.

    Parameters
    ----------
    config : Config
        Names, outbox and retention.
    clock : Clock
        Time of the findings: the machine's, or a recording's.
    mqtt : MqttSettings or None
        The broker; None keeps everything in the outbox.
    broker : str
        Which broker, in words.
    mode : Mode
        ``real``, ``test`` or ``demo``: stands in every message.
    uplink_clock : Clock, optional
        Clock of the back-off, where it is not that of the findings (a recording at full speed).
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        *,
        mqtt: MqttSettings | None,
        broker: str,
        mode: Mode = "real",
        uplink_clock: Clock | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._uplink_clock = uplink_clock or clock
        self._mqtt = mqtt
        self._broker = broker
        self._mode = mode
        self._boot = "b-0"  # until the outbox is open and has counted this start
        self._outbox = OutboxWriter(
            Path(config.outbox.path),
            clock,
            self._describe_loss,
            retention=retention_settings(config),
            on_notice=self._heed,
        )
        self._on_notice: Callable[[Notice], None] = lambda _: None  # the outbox itself has logged it
        self._payloads: dict[str | None, Payloads] = {}
        self._policies: dict[str, ReadingPolicy] = {}
        self._max_silence_s = {sensor.id: max_silence_s(sensor) for sensor in config.sensor}
        self._alerts: deque[_Announced] = deque()
        self._is_alerted = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._is_stopping = asyncio.Event()
        self._forwarder: Forwarder | None = None
        self._birth_details: BirthDetails = lambda: ((), {})

    def to_wall_ns(self, at_ns: int) -> int:
        """Return the wall time of a monotonic instant, as the clock stands now."""
        return self._clock.wall_ns() - (self._clock.monotonic_ns() - at_ns)

    def on_notice(self, callback: Callable[[Notice], None]) -> None:
        """Have `callback` told, in the event loop, what an operator must know about the store."""
        self._on_notice = callback

    async def start(self, birth_details: BirthDetails) -> Opening:
        """Open the outbox and get ready to connect.

        Raises
        ------
        OutboxError
            If the store cannot be opened.
        """
        opening = await self._outbox.start()
        self._boot = opening.boot_id
        self._payloads.clear()
        self._birth_details = birth_details
        if self._mqtt is not None:
            self._forwarder = Forwarder(
                self._outbox,
                self._mqtt,
                self._encoder(None).topics,
                self._uplink_clock,
                announcements=self._announcements,
            )
        return opening

    async def run(self) -> None:
        """Make alerts durable and forward everything, until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(self._write_alerts(), name="delivery-alerts")
            if self._forwarder is not None:
                tasks.create_task(self._forwarder.run(), name="delivery-forwarder")
            await self._is_stopping.wait()
            writing.cancel()
            if self._forwarder is not None:
                self._forwarder.stop()
        await self._outbox.close()

    async def stop(self, metrics: Mapping[str, Json]) -> None:
        """Make everything taken so far durable, then let `run` say ``stopped`` and end.

        Parameters
        ----------
        metrics : mapping
            The last ``health``.
        """
        try:
            async with asyncio.timeout(_STOP_PATIENCE_S):
                await self._is_idle.wait()
                # Written in order: once this one is on disk, so is everything offered before it.
                await self._outbox.append(self._encoder(None).health(metrics, self._clock.monotonic_ns()))
        except (TimeoutError, OutboxError) as error:
            _log.error("delivery.not_durable alerts=%d error=%r", len(self._alerts), error)
        self._is_stopping.set()

    def _heed(self, notice: Notice) -> None:
        self._on_notice(notice)

    async def room(self) -> None:
        """Let the other tasks run, and wait while the disk is far behind: a recording need not lose what a bed would."""
        await asyncio.sleep(0)
        while self._outbox.stats().n_queued > _MAX_BEHIND:  # noqa: ASYNC110 - the queue is the writer thread's
            await asyncio.sleep(_POLL_S)

    async def drained(self, patience_s: float, at_most_s: float = math.inf) -> bool:
        """Wait until the broker has confirmed everything; False if something is left.

        Parameters
        ----------
        patience_s : float
            Real seconds without any confirmation after which the rest is left; none without a broker.
        at_most_s : float
            Real seconds to wait in all, however well it goes.
        """
        if self._mqtt is None:
            patience_s = 0.0
        n_left, n_idle_polls = None, 0
        for n_polls in itertools.count():
            stats = self._outbox.stats()
            waiting = sum(stats.depth.values()) + stats.n_queued + len(self._alerts)
            if not waiting:
                return True
            n_idle_polls = n_idle_polls + 1 if waiting == n_left else 0
            if n_idle_polls * _POLL_S >= patience_s or n_polls * _POLL_S >= at_most_s:
                break
            n_left = waiting
            await asyncio.sleep(_POLL_S)
        return False

    def take(self, subject: str | None, finding: Finding, *, bed: str) -> None:
        """Offer one finding of one bed to the outbox; what is not for publishing is left out.

        Parameters
        ----------
        subject : str or None
            Whose it is.
        finding : Finding
            Anything the pipeline says.
        bed : str
            Name of the bed: each has its own thinning of readings, also several that have no subject.
        """
        encoder = self._encoder(subject)
        match finding:
            case Vitals():
                for due in self._policies.setdefault(bed, ReadingPolicy()).push(finding):
                    entry = encoder.measurement(due.measure, due.measurement, due.at_ns, valid_for_s=due.valid_for_s)
                    self._outbox.offer(entry)
            case Reading(is_stored=True):  # what is current goes out with the vital signs
                self._outbox.offer(encoder.reading(finding))
            case Summary():
                self._outbox.offer(encoder.summary(finding))
            case Gap():
                self._outbox.offer(encoder.gap(finding))
            case LinkChange():
                self._outbox.offer(encoder.sensor_status(finding, self._max_silence_s.get(finding.sensor)))
            case _:
                pass

    def take_alert(self, subject: str | None, alert: Alert, *, memory_key: str, memory: bytes, is_end: bool) -> None:
        """Put one alert on its way; it is durable when `view` counts none waiting.

        Parameters
        ----------
        subject : str or None
            Whose it is.
        alert : Alert
            The new revision.
        memory_key, memory
            Where and what to remember of all open alerts.
        is_end : bool
            The alert is closed: it is forgotten after it was announced, an open one remembered before.
        """
        entries = self._encoder(subject).alert(alert)
        self._alerts.append(_Announced(entries=entries, memory_key=memory_key, memory=memory, is_end=is_end))
        self._is_idle.clear()
        self._is_alerted.set()

    def take_health(self, metrics: Mapping[str, Json], at_ns: int) -> None:
        """Offer the figures of the runtime."""
        self._outbox.offer(self._encoder(None).health(metrics, at_ns))

    def announce(self) -> None:
        """Publish ``birth`` again: a sensor has said what it is."""
        if self._forwarder is not None:
            self._forwarder.announce()

    async def load_state(self, key: str) -> bytes | None:
        """Return what an earlier run remembered under `key`."""
        return await self._outbox.load_state(key)

    async def settled(self) -> None:
        """Return once every alert taken so far is on disk."""
        await self._is_idle.wait()

    def view(self) -> DeliveryView:
        """Return outbox and uplink as they are now."""
        return DeliveryView(
            broker=self._broker,
            outbox=self._outbox.stats(),
            uplink=self._forwarder.stats() if self._forwarder else None,
            n_alerts_waiting=len(self._alerts),
        )

    async def _write_alerts(self) -> None:
        while True:
            await self._is_alerted.wait()
            self._is_alerted.clear()
            while self._alerts:
                each = self._alerts[0]
                is_remembered = not each.is_end and await self._remember(each)
                await self._outbox.append(*each.entries)
                if not is_remembered:
                    await self._remember(each)
                self._alerts.popleft()
            self._is_idle.set()

    async def _remember(self, announced: _Announced) -> bool:
        """Return whether the memory of all open alerts is on disk; the alert itself goes out either way."""
        try:
            await self._outbox.save_state(announced.memory_key, announced.memory)
        except OutboxError as error:
            # At its quota the outbox makes room for an alert, not for a memory: there is room after the alert.
            _log.error("alerts.not_remembered key=%s error=%s", announced.memory_key, error)
            return False
        return True

    def _encoder(self, subject: str | None) -> Payloads:
        if subject not in self._payloads:
            self._payloads[subject] = Payloads(
                EnvelopeSettings(
                    gateway=self._config.gateway.id,
                    site=self._config.gateway.site,
                    boot=self._boot,
                    root=self._config.mqtt.root,
                    mode=self._mode,
                    subject=subject,
                    summary_period_s=self._config.summary.period_s,
                    config_hash=f"sha256:{config_sha256(self._config)}",
                ),
                to_wall_ns=self.to_wall_ns,
                clock_state=self._clock.state,
            )
        return self._payloads[subject]

    def _describe_loss(self, loss: Loss) -> Entry:
        return self._encoder(None).loss(loss)

    def _announcements(self) -> Sequence[Announcement]:
        sensors, models = self._birth_details()
        at_ns = self._clock.monotonic_ns()
        birth = self._encoder(None).birth(at_ns=at_ns, versions=versions(), models=models, sensors=sensors)
        return (birth,)
