"""Score the respiration rate against marked breaths, for each source alone and for the fusion; print Markdown tables.

The reference is made from the marks of both annotators of the BIDMC data set (doi:10.13026/C2208R): for the window of
`window_s` that ends `delay_s` before the estimate, 60 (n - 1) / (last - first mark) of each annotator, and the mean of
the two; windows in which they differ by more than 2/min are scored too, and once more without them.  Marks closer than
0.5 s are one.  An estimate is scored every second, from the first full window on.

    python benchmarks/bench_respiration.py BIDMC_FOLDER
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.ppg_quality import PpgQuality
from edge.conditioning.quality import SignalQuality
from edge.conditioning.respiration_quality import RespirationQuality
from edge.features.breaths import BreathDetector
from edge.features.ecg_beats import EcgBeats
from edge.features.pulse_beats import PulseBeats
from edge.features.respiration import RespirationStage
from edge.messages import Beat, Breath, Channel, ChannelKind, Estimate, Pulse, Quality, SampleBlock, Tick

RATE_HZ = 125.0
BLOCK_SAMPLES = 25
SOURCES: dict[str, tuple[str, ...]] = {
    "impedance": ("impedance",),
    "ECG": ("ecg",),
    "PPG": ("ppg",),
    "ECG + PPG": ("ecg", "ppg"),
    "all": ("impedance", "ecg", "ppg"),
}
_COLUMNS = {
    "impedance": ("RESP", ChannelKind.RESPIRATION),
    "ecg": ("II", ChannelKind.ECG),
    "ppg": ("PLETH", ChannelKind.PPG),
}
Floats = NDArray[np.float64]
Event = Beat | Breath | Pulse | Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One recording: its events by source, in the order in which they became known, and the marks."""

    name: str
    duration_s: float
    events: dict[str, list[tuple[float, Event]]]
    marks_s: tuple[Floats, Floats]
    computing_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Errors of one record for one choice of sources."""

    errors: Floats
    """Absolute error a second; NaN without an estimate."""
    signed: Floats
    is_scored: NDArray[np.bool_]
    """Seconds with a reference."""
    is_clear: NDArray[np.bool_]
    """Seconds in which the annotators agree."""
    computing_s: float

    @property
    def mae_bpm(self) -> float:
        """Mean absolute error."""
        return float(np.nanmean(self.errors[self.is_scored])) if self.coverage_pct > 0 else float("nan")

    @property
    def coverage_pct(self) -> float:
        """Share of the seconds with a reference that have an estimate."""
        return 100.0 * float(np.isfinite(self.errors[self.is_scored]).mean())


def read(folder: Path, name: str) -> Record:
    """Return the events and marks of one record."""
    path = folder / f"{name}_Signals.csv"
    with path.open() as file:
        header = [part.strip() for part in file.readline().split(",")]
    values = np.genfromtxt(path, delimiter=",", skip_header=1)
    begin = time.process_time()
    events = {
        source: list(detect(values[:, header.index(column)], column, kind))
        for source, (column, kind) in _COLUMNS.items()
    }
    computing_s = time.process_time() - begin
    return Record(
        name=name,
        duration_s=len(values) / RATE_HZ,
        events=events,
        marks_s=read_marks(folder / f"{name}_Breaths.csv"),
        computing_s=computing_s,
    )


def read_marks(path: Path) -> tuple[Floats, Floats]:
    """Return the instants, in seconds, that each annotator marked."""
    marks: tuple[list[float], list[float]] = ([], [])
    for line in path.read_text().splitlines()[1:]:
        for column, text in zip(marks, line.split(","), strict=False):
            if text.strip() not in {"", "NaN", "nan"}:
                column.append(float(text) / RATE_HZ)
    return _cleaned(marks[0]), _cleaned(marks[1])


def _cleaned(marks_s: list[float]) -> Floats:
    ordered = np.unique(marks_s)
    return ordered[np.concatenate([[True], np.diff(ordered) > 0.5])]


def detect(samples: Floats, name: str, kind: ChannelKind) -> Iterator[tuple[float, Event]]:
    """Return what the stages of one stream find, each with the second at which it is known."""
    channel = Channel(name=name, kind=kind, unit="mV" if kind is ChannelKind.ECG else "1")
    quality = {ChannelKind.ECG: SignalQuality, ChannelKind.PPG: PpgQuality}.get(kind, RespirationQuality)()
    detector = {ChannelKind.ECG: EcgBeats, ChannelKind.PPG: PulseBeats}.get(kind, BreathDetector)()
    for first in range(0, len(samples), BLOCK_SAMPLES):
        block = SampleBlock(
            sensor="monitor",
            stream=name,
            channels=(channel,),
            values=samples[first : first + BLOCK_SAMPLES, None].copy(),
            rate_hz=RATE_HZ,
            start_ns=round(first * 1e9 / RATE_HZ),
            sequence=first,
        )
        known_s = (first + block.n_samples) / RATE_HZ
        for verdict in quality.push(block):
            detector.push(verdict)
            yield known_s, verdict
        for event in detector.push(block):
            yield known_s, event


def estimate(record: Record, sources: Iterable[str]) -> tuple[list[Estimate], float]:
    """Return the estimates of one record and the seconds of computing."""
    events = sorted((event for source in sources for event in record.events[source]), key=lambda event: event[0])
    stage = RespirationStage()
    found: list[Estimate] = []
    begin = time.process_time()
    at = 0
    for second in range(1, int(record.duration_s) + 1):
        while at < len(events) and events[at][0] <= second:
            stage.push(events[at][1])
            at += 1
        found += stage.push(Tick(at_ns=second * 1_000_000_000))
    return found, time.process_time() - begin


def reference_bpm(marks_s: Floats, end_s: float, window_s: float) -> float:
    """Return the rate of the marks in the window that ends at `end_s`; NaN with fewer than three."""
    inside = marks_s[(marks_s > end_s - window_s) & (marks_s <= end_s)]
    return 60.0 * (len(inside) - 1) / (inside[-1] - inside[0]) if len(inside) >= 3 else float("nan")


def score(record: Record, sources: Iterable[str], window_s: float, delay_s: float) -> Score:
    """Compare the estimates of one record with its marks."""
    found, computing_s = estimate(record, sources)
    by_second = {round(item.at_ns / 1e9): item.value for item in found}
    seconds = np.arange(int(np.ceil(window_s + delay_s)), int(record.duration_s) + 1)
    references = np.array(
        [[reference_bpm(marks, at_s - delay_s, window_s) for marks in record.marks_s] for at_s in seconds]
    )
    values = np.array([by_second.get(int(at_s)) for at_s in seconds], dtype=np.float64)
    mean = references.mean(axis=1)
    return Score(
        errors=np.abs(values - mean),
        signed=values - mean,
        is_scored=np.isfinite(mean),
        is_clear=np.isfinite(mean) & (np.abs(np.diff(references, axis=1)[:, 0]) <= 2.0),
        computing_s=computing_s,
    )


def print_tables(records: list[Record], window_s: float, delay_s: float) -> None:
    """Print one row a record and the pooled figures, for every choice of sources."""
    scores = {
        name: [score(record, sources, window_s, delay_s) for record in records] for name, sources in SOURCES.items()
    }
    print(f"Window of the reference {window_s:g} s, ending {delay_s:g} s before the estimate.\n")
    print("| record | annotators differ | " + " | ".join(f"{name}: MAE (coverage %)" for name in SOURCES) + " |")
    print("|---|" + "---:|" * (len(SOURCES) + 1))
    for k, record in enumerate(records):
        cells = [f"{scores[name][k].mae_bpm:.2f} ({scores[name][k].coverage_pct:.0f})" for name in SOURCES]
        print(f"| {record.name} | {_between(record, window_s, delay_s):.2f} | " + " | ".join(cells) + " |")
    print()
    print(
        "| source | MAE /min | records' mean MAE | acceptance % | error ≤ 2/min % | bias | LOA ± | MAE, annotators agree |"
    )
    print("|---|" + "---:|" * 7)
    for name in SOURCES:
        print(f"| {name} | " + " | ".join(pooled(scores[name])) + " |")
    duration_s = sum(record.duration_s for record in records)
    detectors = sum(record.computing_s for record in records) / duration_s * 1e6
    stage = sum(item.computing_s for item in scores["all"]) / duration_s * 1e6
    print(f"\nComputing: detectors {detectors:.0f} us, respiration stage {stage:.0f} us a second of signal.")


def _between(record: Record, window_s: float, delay_s: float) -> float:
    ends_s = np.arange(window_s, record.duration_s - delay_s)
    rates = np.array([[reference_bpm(marks, end_s, window_s) for marks in record.marks_s] for end_s in ends_s])
    return float(np.nanmean(np.abs(rates[:, 0] - rates[:, 1])))


def pooled(scores: list[Score]) -> list[str]:
    """Return the figures of one row, over all seconds of all records."""
    errors = np.concatenate([item.errors[item.is_scored] for item in scores])
    signed = np.concatenate([item.signed[item.is_scored] for item in scores])
    clear = np.concatenate([item.errors[item.is_clear] for item in scores])
    is_known = np.isfinite(errors)
    return [
        f"{errors[is_known].mean():.2f}",
        f"{np.nanmean([item.mae_bpm for item in scores]):.2f}",
        f"{100 * is_known.mean():.1f}",
        f"{100 * (errors[is_known] <= 2.0).mean():.1f}",
        f"{signed[is_known].mean():+.2f}",
        f"{1.96 * signed[is_known].std():.2f}",
        f"{np.nanmean(clear):.2f}",
    ]


def main() -> None:
    """Score every record of the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--records", nargs="*", help="names such as bidmc_01; all without it")
    parser.add_argument("--window-s", type=float, nargs="*", default=[32.0, 60.0])
    parser.add_argument("--delay-s", type=float, default=1.0)
    arguments = parser.parse_args()
    names = arguments.records or sorted(
        path.name[: -len("_Breaths.csv")] for path in arguments.folder.glob("*_Breaths.csv")
    )
    records = [read(arguments.folder, name) for name in names]
    for window_s in arguments.window_s:
        print_tables(records, window_s, arguments.delay_s)


if __name__ == "__main__":
    main()
