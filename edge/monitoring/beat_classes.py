"""Which AAMI class each beat has: the beat model's where it decides, else a rule on shape.

The model looks at a beat once the next one is known, so its word comes about a second after the beat.  Rules that need
no class (asystole, rates, pauses) do not wait for it; the others read `ClassifiedBeat`.

By rule a beat is ventricular when it is wide *and* unlike this patient's dominant beat; a bundle branch block is wide
too, but it is the dominant beat.  Wide is 120 ms, or a fifth more than the patient's usual beat.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from statistics import median

from edge.messages import Beat, BeatKind, ClassifiedBeat, Gap, Prediction, Tick

MODEL = "beat"
"""Name of the model that classifies beats."""
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeSettings:
    """When a beat is wide, and when it is unlike the patient's usual one."""

    width_ms: float = 120.0
    """QRS duration from which a beat is wide (AHA/ACCF/HRS 2009, doi:10.1161/CIRCULATIONAHA.108.191095)."""
    width_ratio: float = 1.2
    """The same against this patient's usual beat: 120 ms against 100 ms, the upper limit of a normal QRS.  Measured
    widths depend on lead and filter, their ratio does not."""
    similarity: float = 0.75
    """Correlation with the dominant beat below which a beat is unlike it (own choice, half its variance shared)."""
    likeness: float = 0.9
    """Correlation below which a beat is doubtful: not ventricular for that, but no evidence of the atria either (own
    choice: beats conducted the usual way correlate above 0.95 in a clean signal)."""


class BeatShapes:
    """The usual width of one person's beats, and which beats are wide against it.

    Parameters
    ----------
    settings : ShapeSettings
        What is wide and what is unlike.
    """

    def __init__(self, settings: ShapeSettings = ShapeSettings()) -> None:
        self._settings = settings
        self._usual_ms: deque[float] = deque(maxlen=32)

    def learn(self, beat: Beat) -> None:
        """Take in the width of a beat that is conducted as usual; any other changes nothing."""
        is_usual = beat.similarity is not None and beat.similarity >= self._settings.likeness
        # A usual beat of 120 ms or more is wide by itself: its width would decide nothing.
        if is_usual and beat.width_ms is not None and beat.width_ms < self._settings.width_ms:
            self._usual_ms.append(beat.width_ms)

    def is_wide(self, beat: Beat) -> bool:
        """Return whether the QRS of `beat` is wide; False where its width is not known."""
        if beat.width_ms is None:
            return False
        if beat.width_ms >= self._settings.width_ms:
            return True
        return len(self._usual_ms) >= 8 and beat.width_ms >= self._settings.width_ratio * median(self._usual_ms)

    def is_ventricular(self, beat: Beat) -> bool:
        """Return whether `beat` is ventricular by its shape: wide, and unlike the dominant beat."""
        return beat.similarity is not None and beat.similarity < self._settings.similarity and self.is_wide(beat)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatClassSettings:
    """Who decides, and how long is waited."""

    waits_for_model: bool = False
    """Whether a beat model is there; without one the rule decides at once."""
    wait_s: float = 4.0
    """Time after the beat at which the rule decides for a model that is silent: the beat after it (2 s at 30/min), its
    detection (0.6 s) and an inference that is late (1 s)."""
    most_waiting: int = 32
    """Beats that may wait; more come within `wait_s` only where noise is counted.  The oldest are decided by rule."""
    shape: ShapeSettings = field(default_factory=ShapeSettings)
    """The rule."""


class BeatClasses:
    """Gives every beat its class, in order, each exactly once.

    Push `Beat`, `Prediction`, `Gap` and `Tick`; anything else is ignored.

    Parameters
    ----------
    settings : BeatClassSettings
        Who decides.
    """

    def __init__(self, settings: BeatClassSettings = BeatClassSettings()) -> None:
        self._settings = settings
        self._streams: dict[tuple[str, str], _Stream] = {}

    def push(self, item: object) -> list[ClassifiedBeat]:
        """Return the beats whose class `item` settled, oldest first."""
        match item:
            case Beat():
                return list(self._stream(item.sensor, item.stream).add(item))
            case Prediction() if item.model == MODEL:
                return list(self._stream(item.sensor, item.stream).decide(item))
            case Tick():
                until_ns = item.at_ns - round(self._settings.wait_s * _NS_PER_S)
                return [out for stream in self._streams.values() for out in stream.give_up(until_ns)]
            case Gap():
                return list(self._stream(item.sensor, item.stream).give_up(None))
            case _:
                return []

    def flush(self) -> list[ClassifiedBeat]:
        """Return the beats that still waited, decided by rule."""
        return [out for stream in self._streams.values() for out in stream.give_up(None)]

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape
        """Forget every beat and what is usual."""
        self._streams.clear()

    def _stream(self, sensor: str, stream: str) -> _Stream:
        return self._streams.setdefault((sensor, stream), _Stream(self._settings))


class _Stream:
    """The beats of one ECG that wait for their class."""

    def __init__(self, settings: BeatClassSettings) -> None:
        self._settings = settings
        self._shapes = BeatShapes(settings.shape)
        self._waiting: deque[Beat] = deque()

    def add(self, beat: Beat) -> Iterator[ClassifiedBeat]:
        self._waiting.append(beat)
        if not self._settings.waits_for_model:
            yield from self.give_up(None)
        while len(self._waiting) > self._settings.most_waiting:
            yield self._by_rule(self._waiting.popleft())

    def decide(self, prediction: Prediction) -> Iterator[ClassifiedBeat]:
        """Give the beat of `prediction` the model's class, and those before it, which the model passed over, the rule's.

        An answer to a beat that was decided already comes too late and changes nothing.
        """
        if not any(beat.at_ns == prediction.at_ns for beat in self._waiting):
            return
        while self._waiting[0].at_ns != prediction.at_ns:
            yield self._by_rule(self._waiting.popleft())
        beat = self._waiting.popleft()
        if prediction.label is None or prediction.label not in set(BeatKind):
            yield self._by_rule(beat, prediction)
            return
        self._shapes.learn(beat)
        yield ClassifiedBeat(
            beat=replace(beat, kind=BeatKind(prediction.label)),
            source="model",
            probabilities=prediction.probabilities,
            bundle_sha256=prediction.bundle_sha256,
            window_sequence=prediction.sequence,
        )

    def give_up(self, until_ns: int | None) -> Iterator[ClassifiedBeat]:
        """Let the rule decide on the beats up to `until_ns`; None for all."""
        while self._waiting and (until_ns is None or self._waiting[0].at_ns <= until_ns):
            yield self._by_rule(self._waiting.popleft())

    def _by_rule(self, beat: Beat, prediction: Prediction | None = None) -> ClassifiedBeat:
        is_ventricular = beat.kind is BeatKind.NORMAL and self._shapes.is_ventricular(beat)
        if not is_ventricular:
            self._shapes.learn(beat)
        return ClassifiedBeat(
            beat=replace(beat, kind=BeatKind.VENTRICULAR) if is_ventricular else beat,
            source="rule" if beat.kind is BeatKind.NORMAL else "sensor",
            probabilities={} if prediction is None else prediction.probabilities,
            bundle_sha256=None if prediction is None else prediction.bundle_sha256 or None,
            window_sequence=None if prediction is None else prediction.sequence,
        )
