"""What the models are shown of one ECG, and what they say: the clean signal at their rate, windows, predictions.

::

    clean SampleBlock ─▶ Resampler (125 Hz) ─┬─▶ BeatWindows ───▶ Window ─▶ beat model ───▶ Prediction
    Beat, Quality ───────────────────────────┴─▶ RhythmWindows ─▶ Window ─▶ rhythm model ─▶ Prediction

Training collects the very same windows, made by the very same code (`EcgChain` with the stages and without a model).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from edge.conditioning.filters import FilterChain, FilterSettings
from edge.conditioning.resample import Resampler, ResampleSettings, ratio
from edge.features.beat_windows import BeatWindows, BeatWindowsSettings
from edge.features.rhythm_windows import RhythmWindows, RhythmWindowsSettings
from edge.features.windows import Windows, WindowSettings
from edge.inference.window_stage import PolledStage, WindowStage
from edge.messages import Beat, Prediction, Quality, SampleBlock, Window

ModelOutput = Window | Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWindowsSettings:
    """Which windows are cut; nothing is resampled where none are."""

    beat: BeatWindowsSettings | None = None
    """Windows of the beat model; None where there is none."""
    rhythm: RhythmWindowsSettings | None = None
    """Windows of the rhythm model; None where there is none."""
    others: Mapping[str, WindowSettings] = field(default_factory=dict)
    """Plain windows of the models that somebody brought, by name of the model."""


class ModelWindows:
    """The way of one ECG to its models.

    Parameters
    ----------
    settings : ModelWindowsSettings
        Which windows are cut.
    filters : FilterSettings
        The filters of the display.  The models know the usual band without a mains notch, whatever the site's mains are:
        where the display has anything else, the signal is filtered a second time for them.
    classifiers : mapping
        What looks at the windows, by name of the model; windows for a model that is not there are given out all the same.
    """

    def __init__(
        self, settings: ModelWindowsSettings, filters: FilterSettings, classifiers: Mapping[str, WindowStage]
    ) -> None:
        self._classifiers = classifiers
        # Asked once: such a question costs as much as a small model.
        self._polled = [classifier for classifier in classifiers.values() if isinstance(classifier, PolledStage)]
        self._others = frozenset(settings.others)
        self._stages: dict[str, tuple[float, BeatWindows | RhythmWindows | Windows]] = {}
        if settings.beat is not None:
            self._stages["beat"] = (settings.beat.rate_hz, BeatWindows(settings.beat))
        if settings.rhythm is not None:
            self._stages["rhythm"] = (settings.rhythm.rate_hz, RhythmWindows(settings.rhythm))
        for name, plain in settings.others.items():
            self._stages[name] = (plain.rate_hz, Windows(plain))
        self._resamplers = {
            rate_hz: Resampler(ResampleSettings(rate_hz=rate_hz))
            for rate_hz in sorted({rate_hz for rate_hz, _ in self._stages.values()})
        }
        self._filters = FilterChain(FilterSettings()) if filters != FilterSettings() else None
        self._reachable: dict[tuple[float, float], bool] = {}

    def heed(self, quality: Quality) -> None:
        """Let the stages that describe the signal know of a verdict on it."""
        for _, stage in self._stages.values():
            stage.push(quality)

    def push(self, block: SampleBlock | None, clean: Sequence[SampleBlock], beats: Sequence[Beat]) -> list[ModelOutput]:
        """Return what one block led to.

        Parameters
        ----------
        block : SampleBlock or None
            As it came; None where there is none.
        clean : sequence of SampleBlock
            The same, filtered for the display.
        beats : sequence of Beat
            The beats that it showed.
        """
        if not self._stages:
            return []
        out: list[ModelOutput] = []
        for beat in beats:
            out += self._each(beat)
        if self._filters is not None:
            clean = self._filters.push(block) if block is not None else []
        for piece in clean:
            for rate_hz, resampler in self._resamplers.items():
                if self._is_reachable(piece.rate_hz, rate_hz):
                    for resampled in resampler.push(piece):
                        out += self._each(resampled, rate_hz)
        return [*out, *self.poll()]

    def poll(self) -> list[ModelOutput]:
        """Return what models in threads of their own have answered meanwhile."""
        return [prediction for classifier in self._polled for prediction in classifier.poll()]

    def flush(self) -> list[ModelOutput]:
        """Return what is still held back, at the end of the stream or before a gap."""
        out: list[ModelOutput] = []
        for name, (_, stage) in self._stages.items():
            if not isinstance(stage, Windows):
                out += self._shown(name, stage.flush())
        return [*out, *self.poll()]

    def reset(self, reason: str) -> None:
        """Forget the signal so far."""
        for _, stage in self._stages.values():
            stage.reset(reason)
        for resampler in self._resamplers.values():
            resampler.reset(reason)
        if self._filters is not None:
            self._filters.reset(reason)
        for classifier in self._classifiers.values():
            classifier.reset(reason)

    def _is_reachable(self, from_hz: float, to_hz: float) -> bool:
        """Return whether a stream's rate can be brought to a model's; where not, the rules decide alone."""
        rates = (from_hz, to_hz)
        if rates not in self._reachable:
            try:
                ratio(*rates)
            except ValueError:
                self._reachable[rates] = False
            else:
                self._reachable[rates] = True
        return self._reachable[rates]

    def _each(self, item: Beat | SampleBlock, rate_hz: float | None = None) -> Iterator[ModelOutput]:
        for name, (stage_hz, stage) in self._stages.items():
            if rate_hz in {None, stage_hz}:
                yield from self._shown(name, stage.push(item))

    def _shown(self, name: str, windows: Sequence[Window]) -> Iterator[ModelOutput]:
        classifier = self._classifiers.get(name)
        for window in windows:
            # A model that somebody brought has no place in the rules: its task is "other", whatever its name.
            named = replace(window, model="other") if name in self._others else window
            yield named
            if classifier is not None:
                yield from classifier.push(named)
