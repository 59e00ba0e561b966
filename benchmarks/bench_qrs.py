"""Score the streaming beat detector against annotated WFDB records and print a Markdown table.

Matching follows ANSI/AAMI EC57 (doi of the method's software: 10.13026/6sds-a412): a detection matches a reference
beat within the window, one to one.  Ventricular flutter marked ``[`` … ``]`` is left out and counted apart, as the
literature does for MIT-BIH record 207.

    python benchmarks/bench_qrs.py RECORDS_FOLDER --records 100 105 --extension atr
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import wfdb
from numpy.typing import NDArray

from edge.conditioning.quality import SignalQuality
from edge.conditioning.reblock import Reblock
from edge.features.ecg_beats import EcgBeats
from edge.messages import Beat, Channel, ChannelKind, Gap, Quality, SampleBlock

BEAT_SYMBOLS = frozenset("NLRejAaJSVEFf/Q?nB")
LEARNING_S = 300.0
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the annotators marked."""

    beats: Indices
    flutter: list[tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Matched, missed and invented beats."""

    n_matched: int
    n_missed: int
    n_invented: int
    offsets: Indices
    missed: Indices
    invented: Indices

    def sensitivity_pct(self) -> float:
        """Share of the reference beats that were found."""
        return 100.0 * self.n_matched / max(1, self.n_matched + self.n_missed)

    def predictivity_pct(self) -> float:
        """Share of the detections that are beats."""
        return 100.0 * self.n_matched / max(1, self.n_matched + self.n_invented)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One row of the table."""

    record: str
    whole: Counts
    after_learning: Counts
    usable: Counts
    usable_pct: float
    flutter_beats: int
    rate_error_bpm: float
    offset_ms: float
    offset_iqr_ms: float
    realtime_ratio: float


def match(reference: Indices, found: Indices, n_window: int) -> Counts:
    """Pair `found` with `reference` beats one to one, the nearest first, within `n_window` samples."""
    missed: list[int] = []
    invented: list[int] = []
    offsets: list[int] = []
    i = j = 0
    while i < len(reference) and j < len(found):
        offset = int(found[j] - reference[i])
        if offset > n_window:
            missed.append(int(reference[i]))
            i += 1
        elif offset < -n_window or (j + 1 < len(found) and abs(int(found[j + 1] - reference[i])) < abs(offset)):
            invented.append(int(found[j]))
            j += 1
        elif i + 1 < len(reference) and abs(int(found[j] - reference[i + 1])) < abs(offset):
            missed.append(int(reference[i]))
            i += 1
        else:
            offsets.append(offset)
            i += 1
            j += 1
    missed += [int(beat) for beat in reference[i:]]
    invented += [int(beat) for beat in found[j:]]
    return Counts(
        n_matched=len(offsets),
        n_missed=len(missed),
        n_invented=len(invented),
        offsets=np.array(offsets, dtype=np.int64),
        missed=np.array(missed, dtype=np.int64),
        invented=np.array(invented, dtype=np.int64),
    )


def read_reference(path: str, extension: str) -> Reference:
    """Return the annotated beats and the flutter episodes of a record."""
    annotation = wfdb.rdann(path, extension)
    marks = list(zip(annotation.sample.tolist(), annotation.symbol, strict=True))
    begins = [at for at, symbol in marks if symbol == "["]
    ends = [at for at, symbol in marks if symbol == "]"]
    beats = [at for at, symbol in marks if symbol in BEAT_SYMBOLS]
    return Reference(beats=np.array(beats, dtype=np.int64), flutter=list(zip(begins, ends, strict=False)))


def detect(path: str, block_s: float) -> tuple[list[Beat], list[Quality], float, int, float]:
    """Return beats, quality, sampling rate, number of samples and seconds of computing for a record."""
    record = wfdb.rdrecord(path)
    rate_hz = float(record.fs)
    channels = tuple(
        Channel(name=name, kind=ChannelKind.ECG, unit=unit, resolution=1 / gain)
        for name, unit, gain in zip(record.sig_name, record.units, record.adc_gain, strict=True)
    )
    n_block = max(1, round(block_s * rate_hz))
    reblock, quality, beats = Reblock(), SignalQuality(), EcgBeats()
    found: list[Beat] = []
    qualities: list[Quality] = []
    begin = time.perf_counter()
    for first in range(0, len(record.p_signal), n_block):
        block = SampleBlock(
            sensor="record",
            stream="ecg",
            channels=channels,
            values=np.ascontiguousarray(record.p_signal[first : first + n_block]),
            rate_hz=rate_hz,
            start_ns=round(first * 1e9 / rate_hz),
            sequence=first,
        )
        for part in reblock.push(block):
            if isinstance(part, Gap):
                quality.reset("gap")
                beats.reset("gap")
                continue
            qualities += quality.push(part)
            found += beats.push(part)
    found += beats.flush()
    return found, qualities, rate_hz, len(record.p_signal), time.perf_counter() - begin


def score(name: str, folder: Path, extension: str, window_s: float, block_s: float) -> Score:
    """Run the detector over one record and compare it with the annotations."""
    path = str(folder / name)
    reference = read_reference(path, extension)
    beats, qualities, rate_hz, n_samples, computing_s = detect(path, block_s)
    n_window = round(window_s * rate_hz)
    found = np.array([beat.sequence for beat in beats], dtype=np.int64)
    in_flutter = outside(reference.beats, reference.flutter, 0)
    truth = reference.beats[in_flutter]
    found = found[outside(found, reference.flutter, n_window)]
    whole = match(truth, found, n_window)
    late = LEARNING_S * rate_hz
    seconds = np.zeros(int(n_samples / rate_hz) + 2, dtype=bool)
    for quality in qualities:
        seconds[max(0, round(quality.sequence / rate_hz) - 1)] = quality.is_usable
    rates = 60 * rate_hz / np.diff(truth[np.isin(truth, whole.missed, invert=True)])
    errors = rate_errors(truth, found, rate_hz)
    offsets_ms = 1000 * whole.offsets / rate_hz
    return Score(
        record=name,
        whole=whole,
        after_learning=match(truth[truth >= late], found[found >= late], n_window),
        usable=keep_usable(whole, truth, seconds, rate_hz),
        usable_pct=100 * float(seconds[: int(n_samples / rate_hz)].mean()),
        flutter_beats=int((~in_flutter).sum()),
        rate_error_bpm=float(np.median(errors)) if len(errors) and len(rates) else float("nan"),
        offset_ms=float(np.median(offsets_ms)),
        offset_iqr_ms=float(np.subtract(*np.percentile(offsets_ms, [75, 25]))),
        realtime_ratio=n_samples / rate_hz / computing_s,
    )


def outside(samples: Indices, episodes: list[tuple[int, int]], n_margin: int) -> NDArray[np.bool_]:
    """Return which samples lie in none of the episodes."""
    is_outside = np.ones(len(samples), dtype=bool)
    for begin, end in episodes:
        is_outside &= ~((samples >= begin - n_margin) & (samples <= end + n_margin))
    return is_outside


def keep_usable(whole: Counts, truth: Indices, seconds: NDArray[np.bool_], rate_hz: float) -> Counts:
    """Return the counts restricted to seconds whose signal was called usable."""

    def usable(samples: Indices) -> NDArray[np.bool_]:
        return seconds[np.minimum((samples / rate_hz).astype(int), len(seconds) - 1)]

    matched = truth[np.isin(truth, whole.missed, invert=True)]
    missed, invented = whole.missed[usable(whole.missed)], whole.invented[usable(whole.invented)]
    return Counts(
        n_matched=int(usable(matched).sum()),
        n_missed=len(missed),
        n_invented=len(invented),
        offsets=whole.offsets,
        missed=missed,
        invented=invented,
    )


def rate_errors(truth: Indices, found: Indices, rate_hz: float) -> NDArray[np.float64]:
    """Return the absolute error of the mean heart rate over every 10 s, where both have three beats."""
    last = int(max(truth[-1], found[-1]) / rate_hz) if len(truth) and len(found) else 0
    errors = []
    for start_s in range(0, last, 10):
        means = [mean_rate(beats, start_s * rate_hz, (start_s + 10) * rate_hz, rate_hz) for beats in (truth, found)]
        if None not in means:
            errors.append(abs((means[0] or 0.0) - (means[1] or 0.0)))
    return np.array(errors)


def mean_rate(beats: Indices, begin: float, end: float, rate_hz: float) -> float | None:
    """Return the mean rate, in beats a minute, of the beats in an interval; None with fewer than three."""
    inside = beats[(beats >= begin) & (beats < end)]
    return None if len(inside) < 3 else float(60 * rate_hz * (len(inside) - 1) / (inside[-1] - inside[0]))


def pooled(counts: list[Counts]) -> tuple[float, float]:
    """Return sensitivity and positive predictivity, in per cent, of all beats together."""
    matched = sum(item.n_matched for item in counts)
    missed = sum(item.n_missed for item in counts)
    invented = sum(item.n_invented for item in counts)
    return 100 * matched / max(1, matched + missed), 100 * matched / max(1, matched + invented)


def print_table(scores: list[Score]) -> None:
    """Print one row a record and a pooled last row."""
    print(
        "| record | beats | FN | FP | Se % | +P % | Se 5 min % | +P 5 min % | usable % | FN usable | FP usable "
        "| HR error bpm | R offset ms (IQR) | flutter beats | × real time |"
    )
    print("|---" * 15 + "|")
    for row in scores:
        whole, late = row.whole, row.after_learning
        print(
            f"| {row.record} | {whole.n_matched + whole.n_missed} | {whole.n_missed} | {whole.n_invented} "
            f"| {whole.sensitivity_pct():.2f} | {whole.predictivity_pct():.2f} "
            f"| {late.sensitivity_pct():.2f} | {late.predictivity_pct():.2f} | {row.usable_pct:.1f} "
            f"| {row.usable.n_missed} | {row.usable.n_invented} | {row.rate_error_bpm:.2f} "
            f"| {row.offset_ms:.1f} ({row.offset_iqr_ms:.1f}) | {row.flutter_beats} | {row.realtime_ratio:.0f} |"
        )
    whole_pct = pooled([row.whole for row in scores])
    late_pct = pooled([row.after_learning for row in scores])
    usable_pct = pooled([row.usable for row in scores])
    print(
        f"| pooled | {sum(row.whole.n_matched + row.whole.n_missed for row in scores)} "
        f"| {sum(row.whole.n_missed for row in scores)} | {sum(row.whole.n_invented for row in scores)} "
        f"| {whole_pct[0]:.3f} | {whole_pct[1]:.3f} | {late_pct[0]:.3f} | {late_pct[1]:.3f} "
        f"| {np.mean([row.usable_pct for row in scores]):.1f} "
        f"| {sum(row.usable.n_missed for row in scores)} | {sum(row.usable.n_invented for row in scores)} "
        f"| {np.median([row.rate_error_bpm for row in scores]):.2f} "
        f"| usable: Se {usable_pct[0]:.3f} +P {usable_pct[1]:.3f} | {sum(row.flutter_beats for row in scores)} "
        f"| {np.median([row.realtime_ratio for row in scores]):.0f} |"
    )


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with WFDB records")
    parser.add_argument("--records", nargs="+", default=None, help="record names; all of the folder by default")
    parser.add_argument("--extension", default="atr", help="extension of the reference annotations")
    parser.add_argument("--window-ms", type=float, default=150.0, help="largest distance of a match")
    parser.add_argument("--block-s", type=float, default=0.2, help="length of the blocks fed in")
    parser.add_argument("--jobs", type=int, default=1, help="records scored at the same time")
    options = parser.parse_args()
    names = options.records or sorted(path.stem for path in options.folder.glob("*.hea"))
    one = partial(
        score,
        folder=options.folder,
        extension=options.extension,
        window_s=options.window_ms / 1000,
        block_s=options.block_s,
    )
    with ProcessPoolExecutor(options.jobs) as pool:
        print_table(list(pool.map(one, names)))


if __name__ == "__main__":
    main()
