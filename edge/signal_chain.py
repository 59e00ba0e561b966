"""The samples of one stream, in order: quality, filters, beats, windows, predictions.

Fed by `pipeline` with blocks on the fixed grid.  Streams without an ECG channel pass through untouched for now:
their stages come with the issue on physiology.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from edge.conditioning.filters import FilterChain, FilterSettings
from edge.conditioning.quality import QualitySettings, SignalQuality
from edge.conditioning.resample import Resampler, ResampleSettings
from edge.features.ecg_beats import EcgBeats, EcgBeatsSettings
from edge.features.windows import Windows, WindowSettings
from edge.inference.lifecycle import WindowStage
from edge.messages import Beat, ChannelKind, Prediction, Quality, SampleBlock, SensorStatus, Window

ECG_RATES_HZ = (50.0, 20_000.0)
"""An ECG is analysed between these rates: the detector's band ends at 20 Hz, and nobody samples faster."""

ChainOutput = Quality | Beat | Window | Prediction | SampleBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalChainSettings:
    """The settings of the stages of one stream."""

    quality: QualitySettings = field(default_factory=QualitySettings)
    filters: FilterSettings = field(default_factory=FilterSettings)
    beats: EcgBeatsSettings = field(default_factory=EcgBeatsSettings)
    resample: ResampleSettings | None = None
    """The model's rate; None where there is no model."""
    windows: WindowSettings | None = None


def select(block: SampleBlock, kinds: Sequence[ChannelKind]) -> SampleBlock | None:
    """Return the channels of `block` that are of one of `kinds`; None where there is none."""
    keep = [k for k, channel in enumerate(block.channels) if channel.kind in kinds]
    if not keep:
        return None
    if len(keep) == len(block.channels):
        return block
    return replace(block, channels=tuple(block.channels[k] for k in keep), values=block.values[:, keep])


class SignalChain:
    """Everything that is done with the samples of one stream.

    Parameters
    ----------
    settings : SignalChainSettings
        Settings of every stage.
    classifier : WindowStage
        What looks at the windows.
    """

    def __init__(self, settings: SignalChainSettings, classifier: WindowStage) -> None:
        self._quality = SignalQuality(settings.quality)
        self._filters = FilterChain(settings.filters)
        self._beats = EcgBeats(settings.beats)
        self._windows = Windows(settings.windows) if settings.windows and settings.resample else None
        self._resample = Resampler(settings.resample or ResampleSettings())
        self._classifier = classifier

    def push(self, block: SampleBlock) -> list[ChainOutput]:
        """Return what one block on the fixed grid led to: its quality, the clean block, its beats, predictions."""
        ecg = select(block, (ChannelKind.ECG,))
        if ecg is None or not ECG_RATES_HZ[0] <= ecg.rate_hz <= ECG_RATES_HZ[1]:
            return []  # without a verdict on the signal nothing is shown, and the vital signs say so
        out: list[ChainOutput] = []
        for quality in self._quality.push(ecg):
            out += [quality, *self._heed(quality)]
            self._beats.trust(self._quality.usable_channels)
        beats = self._beats.push(ecg)
        clean = self._filters.push(ecg)
        return [*out, *clean, *beats, *self._infer(clean, beats)]

    def observe(self, status: SensorStatus) -> None:
        """Let the device's own word (a detached electrode) count in the signal quality."""
        self._quality.push(status)

    def flush(self) -> list[ChainOutput]:
        """Return what is still held back, at the end of the stream or before a gap."""
        beats = self._beats.flush()
        return [*beats, *self._infer([], beats)]

    def reset(self, reason: str) -> None:
        """Forget the signal so far."""
        self._quality.reset(reason)
        self._filters.reset(reason)
        self._beats.reset(reason)
        self._resample.reset(reason)
        if self._windows is not None:
            self._windows.reset(reason)

    def _heed(self, quality: Quality) -> Sequence[ChainOutput]:
        beats = self._beats.push(quality)
        if self._windows is not None:
            self._windows.push(quality)
        return beats

    def _infer(self, clean: Sequence[SampleBlock], beats: Sequence[Beat]) -> list[ChainOutput]:
        if self._windows is None:
            return []
        windows: list[Window] = []
        for beat in beats:
            windows += self._windows.push(beat)
        for block in clean:
            for resampled in self._resample.push(block):
                windows += self._windows.push(resampled)
        out: list[ChainOutput] = []
        for window in windows:
            out += [window, *self._classifier.push(window)]
        return out
