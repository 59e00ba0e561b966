"""One person's data, from a sensor's samples to alerts and summaries: the dataflow on one screen.

::

    DeviceBlock ─▶ Timeline ─▶ SampleBlock ─▶ Reblock ─▶ SignalChain, by the kind of channel:
                       └─▶ Gap ─▶ reset of the stream      ECG ──────────▶ Quality, Beat, intervals, Prediction
                                                           light ────────▶ Quality, Pulse, rate, saturation
                                                           breathing ────▶ Quality, Breath
                                                           acceleration ─▶ Activity
                                                             │ (all of it, and the raw blocks)
                                                             ▼
                                Body: breathing rate, pulse transit, pulse rate in motion ─▶ Estimate
    Reading, RrIntervals, SensorStatus, LinkChange, Corrupt, Tick (one a second of the time line)
    Beat, Prediction ─▶ BeatClasses ─▶ ClassifiedBeat         │
                                                             ▼
                                     VitalsStage ─▶ Vitals ─▶ LimitMonitor ─▶ Condition ─┐
                                     RhythmRules ─▶ RhythmChange, Condition ─────────────┤
                                     ApnoeaRule, FallRule, TechnicalRules ─▶ Condition ──┤
                                                                                         ▼
                                                        Alarms ─▶ Alert      Summaries ─▶ Summary

Time comes only from the messages: a block that ends at *t* moves the time line to *t*, and `advance` moves it
when nothing arrives.  The same input therefore gives the same output, live or replayed, however it is chunked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from edge.body import Body, BodySettings
from edge.clock import NS_PER_S
from edge.conditioning.reblock import Reblock, ReblockSettings
from edge.conditioning.timeline import Timeline, TimelineEstimate, TimelineSettings
from edge.features.device_intervals import DeviceIntervals, DeviceIntervalsSettings
from edge.features.vitals import VitalsSettings, VitalsStage
from edge.inference.window_stage import WindowStage
from edge.messages import (
    Activity,
    Alert,
    Beat,
    Breath,
    ClassifiedBeat,
    ClockState,
    Condition,
    Corrupt,
    DeviceBlock,
    Estimate,
    Gap,
    LinkChange,
    Prediction,
    Pulse,
    Quality,
    Reading,
    RhythmChange,
    RrIntervals,
    SampleBlock,
    SensorIdentity,
    SensorStatus,
    Summary,
    Tick,
    Vitals,
    Window,
)
from edge.monitoring.alarm_commands import AlarmCommand, CommandRefused
from edge.monitoring.alarms import Alarms, AlarmSettings
from edge.monitoring.apnoea import ApnoeaRule, ApnoeaSettings
from edge.monitoring.beat_classes import BeatClasses, BeatClassSettings
from edge.monitoring.falls import FallRule, FallSettings
from edge.monitoring.limits import LimitMonitor, LimitSettings
from edge.monitoring.rhythm import RhythmRules, RhythmSettings
from edge.monitoring.summaries import Summaries, SummarySettings
from edge.monitoring.technical import TechnicalRules, TechnicalSettings
from edge.signal_chain import SensorTraits, SignalChain, SignalChainSettings

Item = TypeVar("Item")

_FOR_THE_VITALS = (Beat, ClassifiedBeat, Quality, Estimate, Reading, Gap, SensorStatus, LinkChange, Tick)

SensorItem = (
    DeviceBlock | SampleBlock | Gap | Reading | RrIntervals | SensorStatus | LinkChange | Corrupt | SensorIdentity
)
"""What a sensor or a recording gives the pipeline."""

Finding = (
    Gap
    | Reading
    | SensorStatus
    | LinkChange
    | Corrupt
    | SensorIdentity
    | Quality
    | Beat
    | ClassifiedBeat
    | Pulse
    | Breath
    | Activity
    | Estimate
    | Window
    | Prediction
    | Vitals
    | RhythmChange
    | Condition
    | Alert
    | CommandRefused
    | Summary
    | SampleBlock
)
"""What the pipeline says, in the order in which it came to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSettings:
    """The settings of every stage, in flow order."""

    timeline: TimelineSettings = field(default_factory=TimelineSettings)
    reblock: ReblockSettings = field(default_factory=ReblockSettings)
    signal: SignalChainSettings = field(default_factory=SignalChainSettings)
    traits: Mapping[str, SensorTraits] = field(default_factory=dict)
    """What the configuration knows of a sensor, by its name."""
    device_intervals: DeviceIntervalsSettings = field(default_factory=DeviceIntervalsSettings)
    body: BodySettings = field(default_factory=BodySettings)
    vitals: VitalsSettings = field(default_factory=VitalsSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    classes: BeatClassSettings = field(default_factory=BeatClassSettings)
    rhythm: RhythmSettings = field(default_factory=RhythmSettings)
    apnoea: ApnoeaSettings = field(default_factory=ApnoeaSettings)
    fall: FallSettings = field(default_factory=FallSettings)
    technical: TechnicalSettings = field(default_factory=TechnicalSettings)
    alarms: AlarmSettings = field(default_factory=AlarmSettings)
    summary: SummarySettings = field(default_factory=SummarySettings)


class _Stream:
    """One stream of one sensor: its time line, its fixed grid of blocks and its signal chain."""

    def __init__(self, settings: PipelineSettings, sensor: str, classifiers: Mapping[str, WindowStage]) -> None:
        traits = settings.traits.get(sensor, SensorTraits())
        self.timeline = Timeline(settings.timeline)
        self.reblock = Reblock(settings.reblock)
        self.chain = SignalChain(settings.signal.of_sensor(traits), classifiers)


class Pipeline:
    """Everything that is done with the data of one person.

    Parameters
    ----------
    settings : PipelineSettings
        Settings of every stage.
    new_id : callable
        Gives a new alert identifier; unique over the lifetime of the gateway.
    make_classifiers : callable
        Gives each stream its own classifiers, by the name of the model; none by default.
    """

    def __init__(
        self,
        settings: PipelineSettings,
        *,
        new_id: Callable[[], str],
        make_classifiers: Callable[[], Mapping[str, WindowStage]] = dict,
    ) -> None:
        self._settings = settings
        self._make_classifiers = make_classifiers
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._device_intervals = DeviceIntervals(settings.device_intervals)
        self._body = Body(settings.body)
        self._vitals = VitalsStage(settings.vitals)
        self._limits = LimitMonitor(settings.limits)
        self._classes = BeatClasses(settings.classes)
        self._rhythm = RhythmRules(settings.rhythm)
        self._apnoea = ApnoeaRule(settings.apnoea)
        self._falls = FallRule(settings.fall)
        self._technical = TechnicalRules(settings.technical)
        self._alarms = Alarms(settings.alarms, new_id)
        self._summaries = Summaries(settings.summary)
        self._reported: dict[tuple[str, str | None, str], SensorStatus] = {}
        self._next_tick_ns: int | None = None

    def open_alerts(self) -> tuple[Alert, ...]:
        """Return the latest revision of every open alert: what `restore` takes after a restart."""
        return self._alarms.snapshot()

    def clocks(self) -> dict[tuple[str, str], TimelineEstimate]:
        """Return what is known of the clock of every stream that came, by sensor and stream."""
        return {key: stream.timeline.estimate for key, stream in self._streams.items()}

    def push(self, item: SensorItem) -> list[Finding]:
        """Return what one message of a sensor led to, oldest first."""
        match item:
            case DeviceBlock():
                return self._each(self._samples, self._stream(item).timeline.push(item))
            case SampleBlock():
                return self._samples(item)
            case Gap():
                # The sensor announced it: the time line must not announce the same hole again.
                self._stream(item).timeline.reset(item.reason)
                return self._gap(item)
            case RrIntervals():
                return self._each(self._assess, self._device_intervals.push(item))
            case _:
                return self._assess(item)

    def advance(self, now_ns: int) -> list[Finding]:
        """Return what the passing of time led to, up to `now_ns`: one tick per whole second of the time line."""
        if self._next_tick_ns is None:
            self._next_tick_ns = -(-now_ns // NS_PER_S) * NS_PER_S
        findings: list[Finding] = []
        while self._next_tick_ns <= now_ns:
            findings += self._assess(Tick(at_ns=self._next_tick_ns))
            self._next_tick_ns += NS_PER_S
        return findings

    def command(self, command: AlarmCommand) -> list[Finding]:
        """Return the alert that a person's acknowledgement or silence changed, or why it was refused."""
        return self._alert(self._alarms.push(command))

    def restore(self, alerts: Iterable[Alert], at_ns: int) -> list[Finding]:
        """Return new revisions of the alerts that the last run left open; call it before the first push."""
        return self._alert(self._alarms.restore(alerts, at_ns))

    def claim(self, condition: Condition) -> list[Finding]:
        """Return what a claim of the gateway itself (its disk) led to."""
        return self._conclude([condition])

    def observe_clock(self, state: ClockState) -> list[Finding]:
        """Return what the quality of the wall clock led to; call it about once a second."""
        return self._conclude(self._technical.push(state))

    def finish(self) -> list[Finding]:
        """Return what was still held back, at the end of a recording or before stopping."""
        findings: list[Finding] = []
        for stream in self._streams.values():
            findings += self._each(self._block, stream.reblock.flush())
            findings += self._each(self._assess, stream.chain.flush())
        findings += self._each(self._assess, self._classes.flush())
        return [*findings, *self._summaries.flush()]

    def _stream(self, item: DeviceBlock | SampleBlock | Gap) -> _Stream:
        key = (item.sensor, item.stream)
        if key not in self._streams:
            self._streams[key] = _Stream(self._settings, item.sensor, self._make_classifiers())
            for status in self._reported.values():
                if status.sensor == item.sensor:
                    self._streams[key].chain.observe(status)
        return self._streams[key]

    def _samples(self, item: SampleBlock | Gap) -> list[Finding]:
        if isinstance(item, Gap):
            return self._gap(item)
        if item.is_backfill:  # history: delivered late, never analysed as if it were now, never alarmed on
            return [item]
        return self._each(self._block, self._stream(item).reblock.push(item))

    def _block(self, item: SampleBlock | Gap) -> list[Finding]:
        """One block on the fixed grid: signal chain first, then time moves to the block's end."""
        if isinstance(item, Gap):
            return self._gap(item)
        findings = self._each(self._assess, self._body.push(item))
        findings += self._each(self._assess, self._stream(item).chain.push(item))
        return [*findings, *self.advance(item.end_ns)]

    def _gap(self, gap: Gap) -> list[Finding]:
        """Finish what came before the gap, then let the stream begin anew."""
        stream = self._stream(gap)
        findings = self._each(self._block, stream.reblock.flush())
        findings += self._each(self._assess, stream.chain.flush())
        stream.reblock.reset(gap.reason)
        stream.chain.gap(gap)
        return [*findings, *self._assess(gap), *self.advance(gap.end_ns)]

    def _assess(self, item: Finding | Tick) -> list[Finding]:
        """Hand one message to the vital signs and to every rule that reads it."""
        findings: list[Finding] = [] if isinstance(item, Tick) else [item]
        if isinstance(item, Gap):  # the beats before it, before the rules hear of it
            findings += self._each(self._assess, self._classes.push(item))
        findings += self._each(self._assess, self._estimates(item))
        findings += self._summaries.push(item)
        if isinstance(item, _FOR_THE_VITALS):
            for vitals in self._vitals.push(item):
                findings += [vitals, *self._summaries.push(vitals)]
                findings += self._conclude(self._limits.push(vitals))
        findings += self._conclude(self._rhythm.push(item))
        if isinstance(item, Beat | Prediction | Tick):
            findings += self._each(self._assess, self._classes.push(item))
        if isinstance(item, Breath | Beat | Quality | SensorStatus | SensorIdentity | Gap | Tick | Estimate):
            findings += self._conclude(self._apnoea.push(item))
        if isinstance(item, Activity | Gap | LinkChange | Tick):
            findings += self._conclude(self._falls.push(item))
        findings += self._conclude(self._technical.push(item))
        if isinstance(item, Tick):
            findings += self._alert(self._alarms.push(item))
        return findings

    def _estimates(self, item: Finding | Tick) -> list[Estimate | Window | Prediction]:
        """Return what the chains and the stages that join them make of one message."""
        out: list[Estimate | Window | Prediction] = []
        if isinstance(item, SensorStatus):
            self._reported[item.sensor, item.stream, item.condition] = item
        if isinstance(item, SensorStatus | Activity):
            for (sensor, _), stream in self._streams.items():
                if sensor == item.sensor:
                    stream.chain.observe(item)
        if isinstance(item, Tick):
            for stream in self._streams.values():
                out += stream.chain.tick(item)
        if isinstance(item, Beat | Pulse | Breath | Quality | Gap | SensorStatus | Activity | Tick):
            out += self._body.push(item)
        return out

    def _conclude(self, conclusions: Iterable[Condition | RhythmChange]) -> list[Finding]:
        findings: list[Finding] = []
        for item in conclusions:
            findings.append(item)
            if isinstance(item, Condition):
                findings += self._alert(self._alarms.push(item))
            else:
                findings += self._summaries.push(item)
        return findings

    def _alert(self, outcomes: Iterable[Alert | CommandRefused]) -> list[Finding]:
        findings: list[Finding] = []
        for item in outcomes:
            findings.append(item)
            if isinstance(item, Alert):
                findings += self._summaries.push(item)
        return findings

    @staticmethod
    def _each(step: Callable[[Item], list[Finding]], items: Iterable[Item]) -> list[Finding]:
        return [finding for item in items for finding in step(item)]
