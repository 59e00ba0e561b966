"""Measure PR, QRS, QT and heart-rate variability against what is known of them, and print Markdown tables.

Two truths: virtual patients know where their waves begin and end; in annotated WFDB records the variability of the
beats that people called normal is known.  Of the records' PR, QRS and QTc nobody wrote the truth down: their medians
and the 10th and 90th percentile over the minutes are shown to be judged by eye.

    python benchmarks/bench_intervals.py RECORDS_FOLDER --records 101 118 --patients 40
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import machine
import numpy as np
import ours
import wfdb
from ec57 import percent
from numpy.typing import NDArray

from edge.features.hrv import Hrv, HrvWindow
from edge.messages import Beat, Estimate, Quality, SampleBlock, Tick
from edge.signal_chain import SignalChain, SignalChainSettings
from firmware_bridge.virtual.patient import CHANNELS, VirtualPatient
from firmware_bridge.virtual.scenario import PatientSettings, Scenario, Step

NS_PER_S = 1_000_000_000
MEASURES = ("pr_ms", "qrs_ms", "qt_ms", "qtc_ms")
BEATS = frozenset("NLRBAaJSVrFejnE/fQ?")
NORMAL = frozenset("NLR")
WINDOW_S = 300


@dataclass(slots=True)
class Run:
    """What the chain said of one signal."""

    estimates: list[Estimate] = field(default_factory=list)
    variability: dict[int, Hrv] = field(default_factory=dict)
    """Of the last five minutes, at each whole minute."""


def seconds_of(block: SampleBlock) -> Iterator[int]:
    """Return the whole seconds that end within a block."""
    yield from range(block.start_ns // NS_PER_S + 1, block.end_ns // NS_PER_S + 1)


def run(blocks: Iterable[SampleBlock]) -> Run:
    """Return what the chain of one ECG stream says, asked once a second; doubts as in `edge.features.ecg_vitals`."""
    chain, window, out = SignalChain(SignalChainSettings()), HrvWindow(), Run()
    unusable_ns: list[int] = []
    for block in blocks:
        for item in chain.push(block):
            if isinstance(item, Beat):
                window.add(item, is_doubtful=any(0 <= at_ns - item.at_ns < NS_PER_S for at_ns in unusable_ns))
            elif isinstance(item, Quality) and not item.is_usable:
                unusable_ns = [*unusable_ns[-3:], item.at_ns]
                window.doubt(item.at_ns - NS_PER_S)
        for second in seconds_of(block):
            out.estimates += chain.tick(Tick(at_ns=second * NS_PER_S))
            if second % 60 == 0 and second >= WINDOW_S:
                out.variability[second] = window.values(second * NS_PER_S)[1]
    return out


def patient(seed: int, lead: int, rng: np.random.Generator) -> dict[str, float | str]:
    """Return the error of each interval of one virtual patient, or why it has none."""
    bpm, qrs_ms, qtc_ms = rng.uniform(45, 110), rng.uniform(70, 115), rng.uniform(350, 480)
    # P must not lie on the T wave before it: nobody could tell them apart.
    room_ms = 60_000 / bpm - qtc_ms * (60 / bpm) ** 0.5 - 20
    pr_ms = rng.uniform(110, min(240, max(111, room_ms)))
    step = Step(at_s=0.0, heart_rate_bpm=bpm, pr_ms=pr_ms, qrs_ms=qrs_ms, qtc_ms=qtc_ms)
    signals = VirtualPatient(Scenario(patient=PatientSettings(seed=seed), steps=(step,))).take(66)
    result = run(ours.cut(signals.ecg_mv[:, [lead]], (CHANNELS["ecg"][lead],), signals.ecg_rate_hz, 0.2))
    waves = [beat.waves for beat in signals.truth.beats if 1 < beat.at_s < 60]
    truth = {measure: float(np.median([getattr(wave, measure) for wave in waves])) for measure in MEASURES[:3]}
    found = {estimate.measure: estimate for estimate in result.estimates}
    return {
        measure: str(found[measure].absent) if (value := found[measure].value) is None else value - truth[measure]
        for measure in truth
    }


def print_patients(n_patients: int) -> None:
    """Print bias and spread of each interval over `n_patients` virtual patients in each lead."""
    print("| lead | interval | with a value | bias ms | standard deviation ms | worst ms | without |")
    print("|---|---|---:|---:|---:|---:|---|")
    for lead, name in enumerate(("II", "V1")):
        rng = np.random.default_rng(0)
        errors: dict[str, list[float | str]] = defaultdict(list)
        for seed in range(n_patients):
            for measure, error in patient(seed, lead, rng).items():
                errors[measure].append(error)
        for measure, found in errors.items():
            known = [error for error in found if isinstance(error, float)]
            reasons = Counter(error for error in found if isinstance(error, str))
            worst = max(known, key=abs, default=float("nan"))
            print(
                f"| {name} | {measure} | {len(known)} of {len(found)} | {np.mean(known):+.1f} | {np.std(known):.1f} "
                f"| {worst:+.1f} | {_reasons(reasons)} |"
            )


def reference(at_s: NDArray[np.float64], is_normal: NDArray[np.bool_], end_s: float) -> tuple[float, float] | None:
    """Return RMSSD and SDNN of the annotated normal-to-normal intervals of the window; None with fewer than ten."""
    rr_ms = 1000 * np.diff(at_s)
    is_nn = is_normal[1:] & is_normal[:-1]
    is_inside = (at_s[1:] > end_s - WINDOW_S) & (at_s[1:] <= end_s)
    steps = np.diff(rr_ms)[is_nn[1:] & is_nn[:-1] & is_inside[1:]]
    if len(steps) < 10:
        return None
    return float(np.sqrt(np.mean(steps**2))), float(np.std(rr_ms[is_nn & is_inside], ddof=1))


def print_record(path: Path) -> None:
    """Print the row of one record."""
    record, marks = wfdb.rdrecord(str(path)), wfdb.rdann(str(path), "atr")
    channels = ours.ecg_channels(record.sig_name, [1.0 / gain for gain in record.adc_gain])
    result = run(ours.cut(record.p_signal, channels, float(record.fs), 0.2))
    is_beat = np.isin(marks.symbol, list(BEATS))
    at_s = marks.sample[is_beat] / record.fs
    is_normal = np.isin(np.array(marks.symbol)[is_beat], list(NORMAL))
    errors, reasons = [], Counter()
    for second, found in result.variability.items():
        truth = reference(at_s, is_normal, second)
        if found.rmssd_ms is None or found.sdnn_ms is None:
            reasons[str(found.absent)] += 1
        elif truth is not None:
            errors.append((found.rmssd_ms - truth[0], found.sdnn_ms - truth[1], truth[0], truth[1]))
    cells = [f"{len(errors)} of {len(result.variability)}", *_errors(errors), _reasons(reasons)]
    for measure in ("pr_ms", "qrs_ms", "qtc_ms"):
        values = [e.value for e in result.estimates if e.measure == measure and e.value is not None]
        cells.append(_spread(values))
    n_minutes = len(result.estimates) // len(MEASURES)
    cells.append(_reasons(Counter(e.absent for e in result.estimates if e.measure == "pr_ms" and e.absent), n_minutes))
    print(f"| {path.name} | " + " | ".join(cells) + " |", flush=True)


def _errors(errors: Sequence[tuple[float, float, float, float]]) -> list[str]:
    if not errors:
        return ["–", "–"]
    table = np.array(errors)
    worst = np.abs(table[:, :2]).argmax(axis=0)
    return [
        f"{np.median(table[:, k]):+.1f} of {np.median(table[:, k + 2]):.0f}, worst {table[worst[k], k]:+.1f}"
        for k in range(2)
    ]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    low, middle, high = np.percentile(values, [10, 50, 90])
    return f"{middle:.0f} ({low:.0f}–{high:.0f})"


def _reasons(reasons: Counter[str], n_all: int | None = None) -> str:
    shares = {reason: count if n_all is None else f"{percent(count, n_all):.0f} %" for reason, count in reasons.items()}
    return ", ".join(f"{reason} {share}" for reason, share in shares.items()) or "–"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="WFDB records with beat annotations")
    parser.add_argument("--records", nargs="*", help="names such as 101; all without it")
    parser.add_argument("--patients", type=int, default=40, help="virtual patients in each lead")
    arguments = parser.parse_args()
    names = arguments.records or sorted(path.stem for path in arguments.folder.glob("*.atr"))
    print(machine.heading())
    print("Virtual patients, the first minute: 45-110 /min, PR 110-240, QRS 70-115, QTc (Bazett) 350-480 ms.\n")
    print_patients(arguments.patients)
    print("\nRecords: windows of five minutes, one a minute, against annotated normal beats; then minutes.\n")
    print(
        "| record | windows | RMSSD error ms | SDNN error ms | withheld | PR ms | QRS ms | QTc ms | minutes without PR |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in names:
        print_record(arguments.folder / name)


if __name__ == "__main__":
    main()
