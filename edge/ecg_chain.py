"""The samples of one ECG stream, in order: quality, beats, filters, delineation, windows, predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from edge.conditioning.filters import FilterChain, FilterSettings
from edge.conditioning.quality import QualitySettings, SignalQuality
from edge.conditioning.quality_rules import WAVES
from edge.features.delineation import Delineation, DelineationSettings
from edge.features.ecg_beats import EcgBeats, EcgBeatsSettings
from edge.features.weak_leads import WeakLeads, WeakLeadSettings
from edge.inference.window_stage import WindowStage
from edge.messages import (
    Activity,
    Beat,
    Estimate,
    Gap,
    Prediction,
    Quality,
    SampleBlock,
    SensorStatus,
    Tick,
    Window,
)
from edge.model_windows import ModelWindows, ModelWindowsSettings

ECG_RATES_HZ = (50.0, 20_000.0)
"""An ECG is analysed between these rates: the detector's band ends at 20 Hz, and nobody samples faster."""

EcgOutput = Quality | Beat | Estimate | Window | Prediction | SampleBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class EcgChainSettings:
    """The settings of the stages of one ECG stream."""

    quality: QualitySettings = field(default_factory=QualitySettings)
    weak_leads: WeakLeadSettings = field(default_factory=WeakLeadSettings)
    filters: FilterSettings = field(default_factory=FilterSettings)
    beats: EcgBeatsSettings = field(default_factory=EcgBeatsSettings)
    delineation: DelineationSettings = field(default_factory=DelineationSettings)
    models: ModelWindowsSettings = field(default_factory=ModelWindowsSettings)
    """What the models are shown; nothing by default."""


class EcgChain:
    """Everything that is done with the samples of one ECG.

    Parameters
    ----------
    settings : EcgChainSettings
        Settings of every stage.
    classifiers : mapping, optional
        What looks at the windows, by the name of the model.
    """

    def __init__(self, settings: EcgChainSettings, classifiers: Mapping[str, WindowStage] | None = None) -> None:
        self._quality = SignalQuality(settings.quality)
        self._weak = WeakLeads(settings.weak_leads)
        self._filters = FilterChain(settings.filters)
        # The detector describes beats in the usual band; where the display has it, it is filtered once for both.
        self._is_usual_band = settings.filters.band_hz == FilterSettings().band_hz
        self._beats = EcgBeats(settings.beats)
        self._delineation = Delineation(settings.delineation)
        self._models = ModelWindows(settings.models, settings.filters, classifiers or {})

    def push(self, block: SampleBlock) -> list[EcgOutput]:
        """Return what one block led to: its quality, the clean block, its beats, estimates, predictions."""
        if not ECG_RATES_HZ[0] <= block.rate_hz <= ECG_RATES_HZ[1]:
            return []  # without a verdict on the signal nothing is shown, and the vital signs say so
        out: list[EcgOutput] = []
        verdicts = self._quality.push(block)
        for verdict, usable in zip(verdicts, self._quality.verdicts, strict=True):
            for quality in self._weak.push(verdict, usable=usable.names, clear=self._beats.clear_channels):
                out += [quality, *self._heed(quality)]
        clean = self._filters.push(block)
        beats = self._beats.push(block, clean=clean[0] if self._is_usual_band and clean else None)
        self._delineation.push(block)
        for beat in beats:
            self._delineation.push(beat)
        return [*out, *clean, *beats, *self._models.push(block, clean, beats)]

    def observe(self, item: SensorStatus | Activity) -> None:
        """Let the device's own word (a detached electrode) count in the signal quality."""
        if isinstance(item, SensorStatus):
            self._quality.push(item)

    def tick(self, tick: Tick) -> list[Estimate | Window | Prediction]:
        """Return what has become due by `tick`: the intervals of the last minute, answers of the models."""
        return [*self._delineation.push(tick), *self._models.poll()]

    def flush(self) -> list[EcgOutput]:
        """Return what is still held back, at the end of the stream or before a gap."""
        beats = self._beats.flush()
        for beat in beats:
            self._delineation.push(beat)
        return [*beats, *self._models.push(None, [], beats), *self._models.flush(), *self._delineation.flush()]

    def gap(self, gap: Gap) -> None:
        """Forget the signal before a hole."""
        self.reset(gap.reason)

    def reset(self, reason: str) -> None:
        """Forget the signal so far."""
        self._quality.reset(reason)
        self._weak.reset(reason)
        self._filters.reset(reason)
        self._beats.reset(reason)
        self._delineation.reset(reason)
        self._models.reset(reason)

    def _heed(self, quality: Quality) -> Sequence[EcgOutput]:
        """Let the stages that judge by quality know of it."""
        self._delineation.push(quality)
        self._models.heed(quality)
        # Waves without beats stay usable for the rule on fibrillation; what looks like beats in them is none.
        return self._beats.push(replace(quality, is_usable=False) if WAVES in quality.reasons else quality)
