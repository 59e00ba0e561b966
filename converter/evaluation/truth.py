"""What people annotated in a folder of records.

Two layouts are known: WFDB records each with an annotation file (``101.hea``, ``101.atr``: beats, and rhythms as
``(AFIB`` …), and WFDB records with one ``REFERENCE.csv`` of ``record,label`` as in the PhysioNet/CinC challenge 2017.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from converter.evaluation.matching import Reference, reference_of
from converter.evaluation.rhythms import RHYTHM_CLASSES
from edge.acquisition.wfdb_file import load_wfdb, quiet
from edge.errors import EdgeError, RecordingError

LABELS_FILE = "REFERENCE.csv"
_PACED = frozenset("/f")


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The annotations of one record."""

    reference: Reference
    """Beats, and the length of the record; without beats where only the record has a label."""
    rhythms: tuple[tuple[int, str], ...] = ()
    """Sample from which on a rhythm holds, and its WFDB name without the bracket."""
    label: str | None = None
    """The one label of the record."""

    @property
    def is_paced(self) -> bool:
        """Whether a beat is paced, or a fusion with a paced one."""
        return not _PACED.isdisjoint(self.reference.symbols)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder of annotated records."""

    path: Path
    records: tuple[str, ...]
    """Names of all records that are there, in order."""
    has_labels: bool = False
    """Whether records have one label each, and no annotation file."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The label of each record."""
    extension: str = "atr"
    """Annotator whose files are the reference."""

    def only(self, record: str) -> Folder:
        """Return the folder as one record needs it: with its own label, and not with those of thousands."""
        labels = {record: self.labels[record]} if record in self.labels else {}
        return replace(self, records=(record,), labels=labels)

    def truth(self, record: str) -> Truth:
        """Return what is annotated in `record`.

        Raises
        ------
        RecordingError
            If there is no such record, or nothing is annotated.
        """
        path = self.path / record
        wfdb = load_wfdb()
        try:
            with quiet():
                header = wfdb.rdheader(str(path))
        except FileNotFoundError as error:
            raise RecordingError(f"{path}.hea: no such record") from error
        except Exception as error:  # the reader raises anything on a damaged header
            raise RecordingError(f"{path}.hea: not a WFDB header: {error}") from error
        rate_hz, n_samples = float(header.fs), int(header.sig_len or 0)
        if self.has_labels:
            if record not in self.labels:
                raise RecordingError(f"{record}: has no label in {self.path / LABELS_FILE}")
            empty = reference_of([], [], rate_hz, n_samples)
            return Truth(reference=empty, label=self.labels[record])
        return read_truth(path, self.extension, rate_hz, n_samples)


def read_truth(path: Path, extension: str, rate_hz: float, n_samples: int) -> Truth:
    """Return the beats and rhythms of one WFDB annotation file.

    Raises
    ------
    RecordingError
        If it is not there or cannot be read.
    """
    wfdb = load_wfdb()
    file = path.with_name(f"{path.name}.{extension}")
    if not file.is_file():
        raise RecordingError(f"{file}: no such annotation file")
    try:
        with quiet():
            marks = wfdb.rdann(str(path), extension)
    except Exception as error:  # the reader raises anything on a damaged file
        raise RecordingError(f"{file}: not a WFDB annotation file: {error}") from error
    samples = [int(sample) for sample in marks.sample]
    notes = [note.strip("\x00 ") for note in marks.aux_note]
    return Truth(
        reference=reference_of(samples, marks.symbol, rate_hz, n_samples),
        rhythms=tuple(
            (sample, note[1:])
            for sample, symbol, note in zip(samples, marks.symbol, notes, strict=True)
            if symbol == "+" and note.startswith("(")
        ),
    )


def open_folder(path: Path, *, extension: str = "atr") -> Folder:
    """Return the records of a folder, and where their annotations are.

    Raises
    ------
    EdgeError
        If there is no such folder or nothing annotated in it.
    """
    if not path.is_dir():
        raise EdgeError(f"{path}: no such folder", hint="--data names the folder that holds the records")
    records = tuple(sorted(each.stem for each in path.glob("*.hea")))
    if (path / LABELS_FILE).is_file():
        labels = read_labels(path / LABELS_FILE)
        names = tuple(sorted({*records, *labels}))
        return Folder(path=path, records=names, has_labels=True, labels=labels, extension=extension)
    annotated = tuple(name for name in records if (path / f"{name}.{extension}").is_file())
    if not annotated:
        raise EdgeError(
            f"{path}: holds {len(records)} WFDB records, none with annotations",
            hint=f"expected RECORD.{extension} beside RECORD.hea, or a {LABELS_FILE} of record,label",
        )
    return Folder(path=path, records=records, extension=extension)


def read_labels(path: Path) -> dict[str, str]:
    """Return the label of each record.

    Raises
    ------
    EdgeError
        If a line is not ``record,label``, or a record has two labels.
    """
    labels: dict[str, str] = {}
    for number, (record, label) in enumerate(_pairs(path), start=1):
        if label not in RHYTHM_CLASSES:
            raise EdgeError(f"{path}:{number}: expected one of {', '.join(RHYTHM_CLASSES)}, got {label!r}")
        if labels.setdefault(record, label) != label:
            raise EdgeError(f"{path}:{number}: {record} has two labels, {labels[record]} and {label}")
    if not labels:
        raise EdgeError(f"{path}: holds no label")
    return labels


def read_patients(path: Path) -> dict[str, str]:
    """Return whose record each one is, from lines of ``record,patient``.

    Raises
    ------
    EdgeError
        If the file cannot be read or a line is not of that form.
    """
    return dict(_pairs(path))


def choose(available: Sequence[str], wanted: Sequence[str], every: int = 1) -> tuple[str, ...]:
    """Return the wanted records, in the order of the folder; all of them where none is named.

    A wanted record that is not there is kept: it is then named among those that could not be scored.
    """
    if every < 1:
        raise ValueError(f"expected at least 1, got {every}")
    chosen = tuple(dict.fromkeys(wanted)) if wanted else tuple(available)
    return chosen[::every]


def _pairs(path: Path) -> list[tuple[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeError(f"{path}: cannot be read: {error}") from error
    for number, row in enumerate(rows, start=1):
        if len(row) != 2 or not row[0].strip():
            raise EdgeError(f"{path}:{number}: expected two columns, got {len(row)}")
    return [(row[0].strip(), row[1].strip()) for row in rows]
