"""A recording through the very same pipeline: what the runtime would have said, and how long it took.

From Python::

    for finding in replay("mitdb/101"):
        if isinstance(finding, Alert):
            print(finding.sentence)
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from edge.alert_watch import AlertWatch
from edge.app import LATENESS_S, Bed
from edge.assembly import broker_words, mqtt_settings, pipeline_settings
from edge.clock import NS_PER_S, Clock, ManualClock, SystemClock
from edge.config import Config
from edge.delivery import Delivery
from edge.errors import RecordingError
from edge.inference.aggregation import RecordLabel, label_of_record
from edge.messages import Alert, AlertState, Beat, Gap, Prediction, Tick, Vitals
from edge.model_assembly import ModelsInUse, models_in_use
from edge.pipeline import Finding, Pipeline, PipelineSettings
from edge.recorded import RecordedItem, instant_ns, open_recorded
from edge.replay_report import ReplayReport

DEFAULT_BLOCK_SAMPLES = 250
"""Samples handed to the pipeline at once; any number gives the same findings (chunk law)."""


def replay(
    record: str | Path,
    *,
    settings: PipelineSettings | None = None,
    models: ModelsInUse | None = None,
    columns: Mapping[str, str] | None = None,
    rate_hz: float | None = None,
    block_samples: int = DEFAULT_BLOCK_SAMPLES,
) -> Iterator[Finding]:
    """Yield everything the runtime finds in `record`, in the order in which it would come to know it.

    Parameters
    ----------
    record : str or Path
        WFDB record (with or without extension), EDF or CSV file.
    settings : PipelineSettings, optional
        Settings of every stage; those of the built-in configuration by default.
    models : ModelsInUse, optional
        The models; by default those of the built-in configuration, or none where `settings` are given.
    columns : mapping, optional
        Column name to kind, ``{"II": "ecg", "PLETH": "ppg"}``; by default the usual names are recognised.
    rate_hz : float, optional
        Sampling rate, where the file does not say.
    block_samples : int
        Samples handed over at once, at least 1.

    Raises
    ------
    RecordingError
        If the file is no recording or cannot be read.
    """
    source = open_recorded(record, columns=columns, rate_hz=rate_hz)
    if models is None:
        models = models_in_use(Config(), SystemClock()) if settings is None else ModelsInUse()
    settings = settings or pipeline_settings(Config(), models)
    pipeline = Pipeline(settings, new_id=counted_ids("a"), make_classifiers=models.classifiers)
    for item in source.items(block_samples):
        yield from feed(pipeline, item)
    yield from pipeline.finish()


def feed(pipeline: Pipeline, item: RecordedItem) -> list[Finding]:
    """Return what one item led to; a `Tick` is time passing on the line while nothing else comes."""
    if isinstance(item, Tick):
        return pipeline.advance(item.at_ns - round(LATENESS_S * NS_PER_S))
    return pipeline.push(item)


def counted_ids(prefix: str) -> Callable[[], str]:
    """Return a callable that gives ``prefix-1``, ``prefix-2`` …: the same identifiers in every replay."""
    numbers = itertools.count(1)
    return lambda: f"{prefix}-{next(numbers)}"


class Replay:
    """One recording, ready to be run.

    Parameters
    ----------
    record : str or Path
        What `replay` takes.
    config : Config
        The configuration whose stages it runs through.
    columns, rate_hz, block_samples
        As for `replay`.
    speed_ratio : float, optional
        Seconds of the recording per second; None for as fast as possible.

    Raises
    ------
    RecordingError
        If the file is no recording or cannot be read.
    """

    def __init__(
        self,
        record: str | Path,
        *,
        config: Config,
        columns: Mapping[str, str] | None = None,
        rate_hz: float | None = None,
        block_samples: int = DEFAULT_BLOCK_SAMPLES,
        speed_ratio: float | None = None,
    ) -> None:
        self._source = open_recorded(record, columns=columns, rate_hz=rate_hz)
        self._config = config
        self._block_samples = block_samples
        self._speed_ratio = speed_ratio
        self._models = models_in_use(config, SystemClock())

    @property
    def name(self) -> str:
        """The record's own name."""
        return self._source.name

    @property
    def config(self) -> Config:
        """The configuration whose stages it runs through."""
        return self._config

    def to_wall_ns(self, at_ns: int) -> int:
        """Return an instant of the recording as nanoseconds since 1970; one without a date begins there."""
        return (self._source.start_wall_ns or 0) + at_ns

    @property
    def stream(self) -> str:
        """The stream whose samples annotations count."""
        return self._source.stream

    @property
    def rate_hz(self) -> float:
        """Samples per second of that stream."""
        return self._source.rate_hz

    async def play(self, take: Callable[[Finding], None]) -> ReplayReport:
        """Replay without publishing; every finding is given to `take`."""
        machine, tally, pipeline = SystemClock(), _Tally(), self._pipeline(counted_ids("a"))
        observe = _both(tally.note, take)
        started_ns = machine.monotonic_ns()
        for item in self._source.items(self._block_samples):
            for finding in feed(pipeline, item):
                observe(finding)
            await self._keep_pace(machine, started_ns, instant_ns(item))
        for finding in pipeline.finish():
            observe(finding)
        return self._report(tally, (machine.monotonic_ns() - started_ns) / NS_PER_S)

    async def publish(
        self,
        take: Callable[[Finding], None],
        *,
        patience_s: float = 5.0,
        environ: Mapping[str, str] | None = None,
    ) -> ReplayReport:
        """Replay through outbox and broker as a live bed does; every finding is also given to `take`.

        Parameters
        ----------
        take : callable
            Given every finding.
        patience_s : float
            At the end: how long to wait while the broker confirms nothing; the rest stays in the outbox.
        environ : mapping, optional
            Where secrets by environment variable or systemd credential are looked up.

        Raises
        ------
        OutboxError
            If the outbox cannot be opened.
        RecordingError
            If the recording cannot be read to its end; what was found until then has been published.
        """
        machine, tally = SystemClock(), _Tally()
        recorded_ns = self._source.start_wall_ns
        story = ManualClock(machine.wall_ns() if recorded_ns is None else recorded_ns, state=machine.state())
        delivery = Delivery(
            self._config,
            story,
            mqtt=mqtt_settings(self._config, environ),
            broker=broker_words(self._config),
            mode="test",
            uplink_clock=machine,
        )
        pipeline = self._pipeline(lambda: str(uuid.uuid4()))
        # Under a name of its own: the alerts that a live bed has open are not those of a recording.
        watch = AlertWatch("replay", self.to_wall_ns, lambda _: None)
        bed = Bed(self._subject, pipeline, delivery, _both(tally.note, take), name="replay", watch=watch)
        await delivery.start(lambda: ([], self._models.statuses()))
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(delivery.run(), name="delivery")
            await bed.disown(story, "replay-began-anew")
            started_ns = machine.monotonic_ns()
            failure = await self._feed(bed, story, delivery, machine)
            bed.finish()
            bed.end_alerts("end-of-recording", story.monotonic_ns())
            processing_s = (machine.monotonic_ns() - started_ns) / NS_PER_S
            await delivery.settled()
            await delivery.drained(patience_s)
            await delivery.stop({"replay": self.name})
            await sending
        if failure is not None:
            raise failure
        return replace(self._report(tally, processing_s), delivery=delivery.view())

    async def _feed(self, bed: Bed, story: ManualClock, delivery: Delivery, machine: Clock) -> RecordingError | None:
        """Play the recording; return why it could not be read to its end, after what was found until then."""
        started_ns = machine.monotonic_ns()
        try:
            for item in self._source.items(self._block_samples):
                if isinstance(item, Tick):
                    bed.advance(item.at_ns - round(LATENESS_S * NS_PER_S))
                else:
                    bed.take(item)
                reached_ns = instant_ns(item)
                story.advance_to(reached_ns or 0)
                await delivery.room()
                await self._keep_pace(machine, started_ns, reached_ns)
        except RecordingError as error:
            return error
        return None

    async def _keep_pace(self, machine: Clock, started_ns: int, reached_ns: int | None) -> None:
        if self._speed_ratio is not None and reached_ns is not None:
            ahead_s = reached_ns / NS_PER_S / self._speed_ratio - (machine.monotonic_ns() - started_ns) / NS_PER_S
            await machine.sleep(ahead_s)

    @property
    def _subject(self) -> str | None:
        """Whoever the configuration names first; a recording is bound to nobody by itself."""
        return self._config.subject[0].id if self._config.subject else None

    def _pipeline(self, new_id: Callable[[], str]) -> Pipeline:
        settings = pipeline_settings(self._config, self._models)
        return Pipeline(settings, new_id=new_id, make_classifiers=self._models.classifiers)

    def _report(self, tally: _Tally, processing_s: float) -> ReplayReport:
        return ReplayReport(
            record=self._source.name,
            duration_s=self._source.duration_s,
            processing_s=processing_s,
            n_beats=tally.n_beats,
            n_gaps=tally.n_gaps,
            n_missing_samples=tally.n_missing_samples,
            n_seconds=tally.n_seconds,
            n_seconds_with_rate=tally.n_seconds_with_rate,
            alerts=dict(tally.alerts),
            losses=dict(self._source.losses),
            has_ecg=self._source.stream.startswith("ecg"),
            models=self._models.statuses(),
            rhythm=self._rhythm(tally),
        )

    def _rhythm(self, tally: _Tally) -> RecordLabel | None:
        """Return what the rhythm model says of the whole recording; None where there is no model."""
        model = self._models.used.get("rhythm")
        if model is None:
            return None
        classifier = model.choice.opened.classifier()
        return label_of_record(tally.rhythms, classifier.card.output, classifier.output.quantization)


class _Tally:
    """Counts while a replay runs."""

    def __init__(self) -> None:
        self.n_beats = 0
        self.n_gaps = 0
        self.n_missing_samples = 0
        self.n_seconds = 0
        self.n_seconds_with_rate = 0
        self.alerts: Counter[str] = Counter()
        self.rhythms: list[Prediction] = []
        self._episodes: set[tuple[str, int]] = set()

    def note(self, finding: Finding) -> None:
        """Count one finding."""
        match finding:
            case Beat():
                self.n_beats += 1
            case Gap():
                self.n_gaps += 1
                self.n_missing_samples += finding.n_missing or 0
            case Prediction() if finding.model == "rhythm":
                self.rhythms.append(finding)
            case Vitals():
                self.n_seconds += 1
                rate = finding.measurements.get("heart_rate_bpm")
                self.n_seconds_with_rate += rate is not None and rate.value is not None
            case Alert() if finding.state is AlertState.RAISED and (finding.id, finding.episode) not in self._episodes:
                self._episodes.add((finding.id, finding.episode))
                self.alerts[finding.condition] += 1
            case _:
                pass


def _both(first: Callable[[Finding], None], second: Callable[[Finding], None]) -> Callable[[Finding], None]:
    def call(finding: Finding) -> None:
        first(finding)
        second(finding)

    return call
