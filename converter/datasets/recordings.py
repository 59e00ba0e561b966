"""Annotated recordings -> examples: the recording runs through the runtime's own stages, and its windows are labelled.

::

    record ─▶ Reblock ─▶ EcgChain (quality, beats, filters, resampling, windows) ─▶ Window ─▶ label ─▶ Examples

Nothing is computed here that the device does not compute: the windows are the ones that the model is shown there, from
the beats that the device's own detector found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converter.datasets.store import gather
from converter.evaluation.beats import AAMI
from converter.evaluation.matching import is_within, pair, window_samples
from converter.evaluation.truth import LABELS_FILE, Folder, Truth, open_folder
from converter.examples import UNLABELLED, Examples
from edge.clock import NS_PER_S
from edge.conditioning.reblock import Reblock
from edge.ecg_chain import EcgChain, EcgChainSettings
from edge.errors import RecordingError
from edge.messages import Gap, SampleBlock, Window
from edge.recorded import open_recorded
from edge.signal_chain import ECG_KINDS, select

_BLOCK_SAMPLES = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTensors:
    """How a window becomes the inputs of a model."""

    samples: str = "samples"
    """Name of the input that takes ``Window.values``."""
    features: str = "features"
    """Name of the input that takes the named numbers; empty for none."""
    feature_names: tuple[str, ...] = ()
    """Which of ``Window.features``, in the order of the input's columns."""

    def stack(self, windows: Sequence[Window]) -> dict[str, NDArray[np.float32]]:
        """Return the inputs of `windows`, by name; at least one window."""
        inputs = {self.samples: np.stack([window.values for window in windows]).astype(np.float32)}
        if self.features:
            rows = [[window.features[name] for name in self.feature_names] for window in windows]
            inputs[self.features] = np.array(rows, dtype=np.float32).reshape(len(windows), len(self.feature_names))
        return inputs


def read_windows(record: Path, settings: EcgChainSettings, model: str) -> tuple[Window, ...]:
    """Return the windows that the device would show to `model`, in order.

    Parameters
    ----------
    record : Path
        WFDB record, EDF or CSV file with an ECG.
    settings : EcgChainSettings
        Of the stages; ``settings.models`` says which windows are cut.
    model : str
        ``beat`` or ``rhythm``.

    Raises
    ------
    RecordingError
        If it is no recording, is damaged, or has no ECG.
    """
    chain, grid = EcgChain(settings), Reblock()
    found: list[Window] = []
    has_ecg = False

    def feed(items: Sequence[SampleBlock | Gap]) -> None:
        for item in items:
            outputs = chain.flush() if isinstance(item, Gap) else chain.push(item)
            found.extend(each for each in outputs if isinstance(each, Window) and each.model == model)
            if isinstance(item, Gap):
                chain.gap(item)

    source = open_recorded(record)
    for item in source.items(_BLOCK_SAMPLES):
        if isinstance(item, SampleBlock):
            ecg = select(item, ECG_KINDS)
            if ecg is not None:
                has_ecg = True
                feed(grid.push(ecg))
        elif isinstance(item, Gap) and item.stream == source.stream:
            feed([*grid.flush(), item])
            grid.reset(item.reason)
    feed(grid.flush())
    feed([_end_of(source.stream)])
    if not has_ecg:
        raise RecordingError(f"{record}: holds no ECG", hint="name the columns, or leave the recording out")
    return tuple(found)


def beat_examples(
    folder: Path,
    records: Sequence[str],
    chain: EcgChainSettings,
    tensors: WindowTensors,
    classes: tuple[str, ...],
    *,
    cache: Path | None,
    jobs: int,
) -> Examples:
    """Return one example for each beat that the device finds, labelled by the annotation within 150 ms of it.

    A detection without an annotated beat, and a beat whose class is not among `classes`, is unlabelled.

    Parameters
    ----------
    folder : Path
        WFDB records with annotation files.
    records : sequence of str
        Which of them; empty for all.
    chain : EcgChainSettings
        Of the stages.
    tensors : WindowTensors
        Which inputs the model has.
    classes : tuple of str
        AAMI classes, ``("N", "S", "V", "F", "Q")`` or some of them.
    cache : Path or None
        Folder that keeps what was read; None keeps nothing.
    jobs : int
        Processes.
    """
    names = _chosen(folder, records)
    work = partial(_beats_of, folder=folder, chain=chain, tensors=tensors, classes=classes)
    return gather([folder / name for name in names], work, cache=cache, jobs=jobs)


def record_examples(
    folder: Path,
    records: Sequence[str],
    chain: EcgChainSettings,
    tensors: WindowTensors,
    classes: tuple[str, ...],
    *,
    cache: Path | None,
    jobs: int,
    model: str = "rhythm",
) -> Examples:
    """Return the windows of recordings that have one label each (``REFERENCE.csv``), one bag a recording.

    Parameters are those of `beat_examples`, but a recording may be a CSV or EDF file too; one without a window is left
    out.
    """
    names = _chosen(folder, records)
    work = partial(_bag_of, folder=folder, chain=chain, tensors=tensors, classes=classes, model=model)
    files = [_file(folder, name) for name in names]
    return gather(files, work, cache=cache, jobs=jobs, depends=[folder / LABELS_FILE])


def label_beats(windows: Sequence[Window], truth: Truth, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the class of each window's beat; -1 where no beat is annotated or its class is another.

    Pairs are made as in EC57: within 150 ms, each annotation used once, the nearest first.
    """
    reference = truth.reference
    at_s = np.array([window.beats[0].at_ns / NS_PER_S for window in windows])
    samples = np.round(at_s * reference.rate_hz).astype(np.int64)
    order = np.argsort(samples, kind="stable")  # a beat found by search-back comes late
    labels = np.full(len(windows), UNLABELLED, np.int64)
    marked, found = pair(reference.beats, samples[order], window_samples(reference.rate_hz))
    for mark, place in zip(marked, found, strict=True):
        name = AAMI.get(reference.symbols[mark])
        if name in classes:
            labels[order[place]] = classes.index(name)
    labels[is_within(samples, reference.flutter)] = UNLABELLED
    return labels


def _beats_of(
    record: Path, *, folder: Path, chain: EcgChainSettings, tensors: WindowTensors, classes: tuple[str, ...]
) -> Examples | None:
    windows = [window for window in read_windows(record, chain, "beat") if window.beats]
    if not windows:
        return None
    truth = _folder(folder).truth(record.name)
    n = len(windows)
    return Examples(
        inputs=tensors.stack(windows),
        labels=label_beats(windows, truth, classes),
        classes=classes,
        groups=np.array([record.name] * n),
        weights=np.ones(n, np.float32),
    )


def _bag_of(
    record: Path,
    *,
    folder: Path,
    chain: EcgChainSettings,
    tensors: WindowTensors,
    classes: tuple[str, ...],
    model: str,
) -> Examples | None:
    windows = read_windows(record, chain, model)
    label = _folder(folder).labels.get(record.stem)
    if not windows:
        return None
    n = len(windows)
    index = classes.index(label) if label in classes else UNLABELLED
    return Examples(
        inputs=tensors.stack(windows),
        labels=np.full(n, index, np.int64),
        classes=classes,
        groups=np.array([record.stem] * n),
        weights=np.ones(n, np.float32),
        bags=np.zeros(n, np.int64),
    )


def _folder(path: Path) -> Folder:
    """Return the annotations of a folder; its list of labels is read once in each process, and again if it changes."""
    labels = path / LABELS_FILE
    return _folder_at(path, labels.stat().st_mtime_ns if labels.is_file() else None)


@lru_cache(maxsize=4)
def _folder_at(path: Path, changed_ns: int | None) -> Folder:  # noqa: ARG001 - part of the key
    return open_folder(path)


def _chosen(folder: Path, records: Sequence[str]) -> tuple[str, ...]:
    available = open_folder(folder).records
    missing = sorted(set(records) - set(available))
    if missing:
        raise RecordingError(f"{folder}: has no record {', '.join(missing)}", hint=f"it has {len(available)} records")
    return tuple(records) or available


def _file(folder: Path, name: str) -> Path:
    """Return the recording of this name: a WFDB record, or a file of another format."""
    if not (folder / f"{name}.hea").is_file():
        for suffix in (".csv", ".edf", ".bdf"):
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}"
    return folder / name


def _end_of(stream: str) -> Gap:
    return Gap(sensor="record", stream=stream, start_ns=0, end_ns=0, n_missing=None, reason="end")
