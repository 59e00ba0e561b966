"""The stages that `bench_speed.py` measures, alone and wired together, each with one `push`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from edge.conditioning.filters import FilterChain
from edge.conditioning.ppg_quality import PpgQuality
from edge.conditioning.quality import SignalQuality
from edge.conditioning.reblock import Reblock
from edge.conditioning.respiration_quality import RespirationQuality
from edge.ecg_chain import EcgChain, EcgChainSettings
from edge.features.activity import ActivityStage
from edge.features.breaths import BreathDetector
from edge.features.delineation import Delineation
from edge.features.ecg_beats import EcgBeats
from edge.features.ecg_waves import EcgWaves
from edge.features.hrv import HrvWindow
from edge.features.oximetry import Oximetry
from edge.features.pulse_beats import PulseBeats
from edge.features.wrist_rate import WristRate
from edge.messages import Beat, Quality, SampleBlock, Tick
from edge.pipeline import Pipeline, PipelineSettings
from edge.signal_chain import SignalChain, SignalChainSettings

NS_PER_S = 1_000_000_000


def seconds_of(block: SampleBlock) -> list[Tick]:
    """Return the whole seconds that end within a block."""
    first, last = block.start_ns // NS_PER_S + 1, block.end_ns // NS_PER_S
    return [Tick(at_ns=second * NS_PER_S) for second in range(first, last + 1)]


class Pushed(Protocol):
    """What is measured: a stage, or several wired together."""

    def push(self, block: SampleBlock, /) -> object:
        """Take one block in."""
        ...


class EcgStages:
    """Filters, quality, beats and variability, wired as in `edge.ecg_chain` and `edge.features.ecg_vitals`."""

    def __init__(self) -> None:
        self._quality = SignalQuality()
        self._filters = FilterChain()
        self._beats = EcgBeats()
        self._hrv = HrvWindow()

    def push(self, block: SampleBlock) -> object:
        """Take one block through all stages."""
        verdicts = self._quality.push(block)
        for quality in verdicts:
            self._beats.push(quality)
        for usable in self._quality.verdicts:
            self._beats.trust(usable.names, usable.sequence)
        (clean,) = self._filters.push(block)
        for beat in self._beats.push(block, clean=clean):
            self._hrv.add(beat)
        for quality in verdicts:
            self._hrv.values(quality.at_ns)
        return clean


class RuntimeEcg:
    """The ECG chain as the runtime has it, delineation included, with the variability of the vital signs."""

    def __init__(self) -> None:
        self._chain = EcgChain(EcgChainSettings())
        self._hrv = HrvWindow()

    def push(self, block: SampleBlock) -> object:
        """Take one block in, and the seconds that it completes."""
        for item in self._chain.push(block):
            if isinstance(item, Beat):
                self._hrv.add(item)
        for tick in seconds_of(block):
            self._hrv.values(tick.at_ns)
            self._chain.tick(tick)
        return None


class WithBeats:
    """A stage that reads beats and quality beside the samples: those found before are given out block by block."""

    def __init__(self, stage: Delineation | None, beats: Iterable[Beat], quality: Iterable[Quality]) -> None:
        self._stage = stage
        self._hrv = HrvWindow() if stage is None else None
        self._waiting = sorted([*beats, *quality], key=lambda item: item.at_ns, reverse=True)

    def push(self, block: SampleBlock) -> object:
        """Take one block in and what happened within it."""
        found: list[Beat | Quality] = []
        while self._waiting and self._waiting[-1].at_ns <= block.end_ns:
            found.append(self._waiting.pop())
        if self._hrv is not None:
            for item in found:
                if isinstance(item, Beat):
                    self._hrv.add(item)
                else:
                    self._hrv.values(item.at_ns)
        if self._stage is not None:
            self._stage.push(block)
            for item in found:
                self._stage.push(item)
            for tick in seconds_of(block):
                self._stage.push(tick)
        return None


class ChainOnGrid:
    """The signal chain of one stream behind the fixed grid of blocks, as the pipeline runs it."""

    def __init__(self) -> None:
        self._grid = Reblock()
        self._chain = SignalChain(SignalChainSettings())

    def push(self, block: SampleBlock) -> object:
        """Take one block through grid and chain, and the seconds that it completes."""
        for part in self._grid.push(block):
            if isinstance(part, SampleBlock):
                self._chain.push(part)
                for tick in seconds_of(part):
                    self._chain.tick(tick)
        return None


class Ticked:
    """A stage that answers once a second, with the seconds that its blocks complete."""

    def __init__(self, stage: WristRate) -> None:
        self._stage = stage

    def push(self, block: SampleBlock) -> object:
        """Take one block in, then the seconds that it completes."""
        self._stage.push(block)
        for tick in seconds_of(block):
            self._stage.push(tick)
        return None


class WholePipeline:
    """Everything that is done with one person's data, alarms and summaries included."""

    def __init__(self) -> None:
        ids = count()
        self._pipeline = Pipeline(PipelineSettings(), new_id=lambda: str(next(ids)))

    def push(self, block: SampleBlock) -> object:
        """Take one block in."""
        self._pipeline.push(block)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is measured on which stream."""

    name: str
    stream: str
    make: Callable[[], Pushed]


OTHER_STAGES = (
    Subject(name="SignalChain behind the grid", stream="ecg", make=ChainOnGrid),
    Subject(name="EcgWaves", stream="ecg", make=EcgWaves),
    Subject(name="SignalChain behind the grid", stream="ppg", make=ChainOnGrid),
    Subject(name="PpgQuality", stream="ppg", make=PpgQuality),
    Subject(name="PulseBeats", stream="ppg", make=PulseBeats),
    Subject(name="Oximetry", stream="ppg", make=Oximetry),
    Subject(name="WristRate, without acceleration", stream="ppg", make=lambda: Ticked(WristRate())),
    Subject(name="SignalChain behind the grid", stream="respiration", make=ChainOnGrid),
    Subject(name="RespirationQuality", stream="respiration", make=RespirationQuality),
    Subject(name="BreathDetector", stream="respiration", make=BreathDetector),
    Subject(name="SignalChain behind the grid", stream="acceleration", make=ChainOnGrid),
    Subject(name="ActivityStage", stream="acceleration", make=ActivityStage),
    Subject(name="Pipeline, all streams", stream="all", make=WholePipeline),
)
