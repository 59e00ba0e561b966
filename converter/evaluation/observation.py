"""What the runtime said of a record: by running its pipeline over the samples, or from the annotations that it wrote.

Nothing here sees what people annotated: the pipeline gets samples and finds its own beats.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converter.evaluation.beats import BEAT_CLASSES, class_indices
from converter.evaluation.matching import BEAT_SYMBOLS, Indices, Span
from converter.evaluation.rhythms import label_of_rhythms
from edge.acquisition.wfdb_file import load_wfdb, quiet
from edge.config import Config
from edge.errors import RecordingError
from edge.messages import Beat, ClassifiedBeat, Prediction, Quality, RhythmChange
from edge.pipeline import Finding
from edge.replay import Replay

_UNREADABLE = 0x30
"""Bits of the subtype of a ``~`` that say shutdown (WFDB Applications Guide, annot(5))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was said of one record."""

    rate_hz: float
    """Samples are counted at this rate."""
    duration_s: float
    beats: Indices
    """Sample of every beat, ascending."""
    classes: Indices
    """Its class, as position in `BEAT_CLASSES`."""
    is_by_model: NDArray[np.bool_]
    """Whether the model decided on it; else a rule did."""
    rhythms: tuple[tuple[int, str], ...]
    """From which sample on which rhythm held, as WFDB name without the bracket."""
    unreadable: tuple[Span, ...]
    """First and last sample of what was called unusable."""
    label: str | None
    """The rhythm of the whole record, the likeliest also where the model is not certain; None where nothing was said."""
    is_certain: bool = True
    """Whether the model stands by `label`."""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    predictions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    processing_s: float = 0.0


class _Listener:
    """Takes down what an evaluation needs of the findings."""

    def __init__(self, stream: str, rate_hz: float) -> None:
        self._stream = stream
        self._n_second = round(rate_hz)
        self._beats: dict[int, tuple[int, bool]] = {}
        self.rhythms: list[tuple[int, str]] = []
        self.predictions: dict[str, Counter[str]] = {}
        self.unreadable: list[Span] = []

    def take(self, finding: Finding | ClassifiedBeat) -> None:
        """Take one finding down."""
        match finding:
            case Beat() if finding.stream == self._stream:
                self._beats.setdefault(finding.sequence, (BEAT_CLASSES.index(finding.kind.value), False))
            case ClassifiedBeat(beat=beat) if beat.stream == self._stream:
                self._beats[beat.sequence] = (BEAT_CLASSES.index(beat.kind.value), finding.source == "model")
            case RhythmChange():
                self.rhythms.append((finding.sequence, finding.label))
            case Prediction() if finding.stream in {"", self._stream}:
                said = finding.label if finding.label is not None else f"({finding.absent})"
                self.predictions.setdefault(finding.model, Counter())[said] += 1
            case Quality() if finding.stream == self._stream and not finding.is_usable:
                self.unreadable.append((finding.sequence - self._n_second, finding.sequence - 1))
            case _:
                pass

    def beats(self) -> tuple[Indices, Indices, NDArray[np.bool_]]:
        """Return samples, classes and who decided, by ascending sample."""
        ordered = sorted(self._beats.items())
        return (
            np.array([at for at, _ in ordered], dtype=np.int64),
            np.array([kind for _, (kind, _) in ordered], dtype=np.int64),
            np.array([by_model for _, (_, by_model) in ordered], dtype=np.bool_),
        )


def observe(record: Path, config: Config) -> Observation:
    """Return what the runtime says of a record when it is configured like this.

    Raises
    ------
    RecordingError
        If it cannot be read, or holds no ECG.
    """
    replay = Replay(record, config=config)
    listener = _Listener(replay.stream, replay.rate_hz)
    report = asyncio.run(replay.play(listener.take))
    if not report.has_ecg:
        raise RecordingError(f"{record}: holds no ECG, or none whose name is known")
    beats, classes, is_by_model = listener.beats()
    shares = {} if report.rhythm is None else report.rhythm.probabilities
    return Observation(
        rate_hz=replay.rate_hz,
        duration_s=report.duration_s,
        beats=beats,
        classes=classes,
        is_by_model=is_by_model,
        rhythms=tuple(listener.rhythms),
        unreadable=tuple(listener.unreadable),
        # As `replay --json` says it, which is how others will score it.
        label=max(shares, key=lambda name: shares[name]) if shares else None,
        is_certain=report.rhythm is not None and report.rhythm.label is not None,
        probabilities=dict(shares),
        predictions={model: dict(said) for model, said in listener.predictions.items()},
        processing_s=report.processing_s,
    )


def read_observation(path: Path, extension: str, rate_hz: float, n_samples: int) -> Observation:
    """Return what a WFDB annotation file says that ``vitaledge replay --annotate`` wrote.

    Parameters
    ----------
    path : Path
        Folder and name of the record, without extension.
    extension : str
        Annotator whose file it is.
    rate_hz, n_samples : float, int
        Of the record that it is about.

    Raises
    ------
    RecordingError
        If it is not there or cannot be read.
    """
    file = path.with_name(f"{path.name}.{extension}")
    if not file.is_file():
        raise RecordingError(f"{file}: no such annotation file")
    try:
        with quiet():
            marks = load_wfdb().rdann(str(path), extension)
    except Exception as error:  # the reader raises anything on a damaged file
        raise RecordingError(f"{file}: not a WFDB annotation file: {error}") from error
    rows = list(zip(marks.sample, marks.symbol, marks.subtype, marks.aux_note, strict=True))
    beats = [(int(sample), symbol) for sample, symbol, _, _ in rows if symbol in BEAT_SYMBOLS]
    notes = [(int(at), note.strip("\x00 ")) for at, symbol, _, note in rows if symbol == "+"]
    rhythms = tuple((at, note[1:]) for at, note in notes if note.startswith("("))
    verdicts = [(int(at), (int(sub) & _UNREADABLE) == _UNREADABLE) for at, symbol, sub, _ in rows if symbol == "~"]
    ends = [at for at, _ in verdicts[1:]] + [n_samples]
    unreadable = tuple((at, end - 1) for (at, is_off), end in zip(verdicts, ends, strict=True) if is_off and end > at)
    return Observation(
        rate_hz=rate_hz,
        duration_s=n_samples / rate_hz,
        beats=np.array([at for at, _ in beats], dtype=np.int64),
        classes=class_indices([symbol for _, symbol in beats]),
        is_by_model=np.zeros(len(beats), dtype=np.bool_),
        rhythms=rhythms,
        unreadable=unreadable,
        label=label_of_rhythms(rhythms, unreadable, n_samples),
    )
