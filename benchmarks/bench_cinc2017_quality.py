"""Ask whether the signal quality knows the hand-held ECGs that cardiologists called too noisy (CinC 2017, label ``~``).

Nothing of the index was fitted to these recordings: every one of them is a test.  Each is judged by the quality stage
alone, from its first sample; the two seconds of settling are left out.  Three figures of a recording are compared:
the share of usable seconds, the mean index, and the lower fifth of the indices.

    python benchmarks/bench_cinc2017_quality.py CINC2017_FOLDER
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from machine import heading
from ours import cut, ecg_channels

from edge.conditioning.quality import SignalQuality

NAMES = {"N": "normal", "A": "atrial fibrillation", "O": "other rhythm", "~": "too noisy"}
FIGURES = ("usable share", "mean index", "lower fifth of the index")
N_SETTLING = 2
N_FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One recording: its label, and the three figures."""

    label: str
    figures: tuple[float, float, float]


def judge(row: tuple[str, str], folder: Path) -> Judged | None:
    """Return what the quality says of a recording; None where it is not there or too short."""
    import wfdb

    name, label = row
    if not (folder / f"{name}.hea").exists():
        return None
    record = wfdb.rdrecord(str(folder / name))
    channels = ecg_channels(record.sig_name, [1.0 / gain for gain in record.adc_gain])
    stage = SignalQuality()
    verdicts = [q for block in cut(record.p_signal, channels, float(record.fs), None) for q in stage.push(block)]
    index = np.array([verdict.index for verdict in verdicts[N_SETTLING:]])
    if len(index) == 0:
        return None
    usable = float(np.mean([verdict.is_usable for verdict in verdicts[N_SETTLING:]]))
    return Judged(label=label, figures=(usable, float(index.mean()), float(np.quantile(index, 0.2))))


def area_under_curve(noisy: Sequence[float], rest: Sequence[float]) -> float:
    """Return how often a noisy recording has the lower figure of a pair; ties count half."""
    values = np.concatenate([noisy, rest])
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - 0.5 * (counts - 1))[inverse]
    n_noisy, n_rest = len(noisy), len(rest)
    below = n_noisy * n_rest + n_noisy * (n_noisy + 1) / 2 - float(ranks[:n_noisy].sum())
    return below / (n_noisy * n_rest)


def print_tables(judged: Sequence[Judged]) -> None:
    """Print the figures by label, and how well each tells the noisy ones from the rest."""
    print("| label | recordings | usable seconds % | without a usable second % | mean index | lower fifth (median) |")
    print("|---|---:|---:|---:|---:|---:|")
    for label, name in NAMES.items():
        figures = np.array([item.figures for item in judged if item.label == label]).reshape(-1, 3)
        if len(figures):
            print(
                f"| {name} | {len(figures)} | {100 * figures[:, 0].mean():.1f} "
                f"| {100 * (figures[:, 0] == 0).mean():.1f} | {figures[:, 1].mean():.3f} "
                f"| {np.median(figures[:, 2]):.3f} |"
            )
    print(f"\n| figure | ROC-AUC for ~ against the rest | lowest and highest of {N_FOLDS} parts |")
    print("|---|---:|---:|")
    for k, figure in enumerate(FIGURES):
        areas = [_area(judged, k)] + [_area(judged[fold::N_FOLDS], k) for fold in range(N_FOLDS)]
        print(f"| {figure} | {areas[0]:.3f} | {min(areas[1:]):.3f} to {max(areas[1:]):.3f} |")


def _area(judged: Sequence[Judged], figure: int) -> float:
    noisy = [item.figures[figure] for item in judged if item.label == "~"]
    rest = [item.figures[figure] for item in judged if item.label != "~"]
    return area_under_curve(noisy, rest) if noisy and rest else float("nan")


def main() -> None:
    """Read the command line, judge every recording and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with the recordings and REFERENCE.csv")
    parser.add_argument("--every", type=int, default=1, help="take every n-th recording of each label but ~")
    parser.add_argument("--jobs", type=int, default=1, help="recordings at the same time")
    options = parser.parse_args()
    with (options.folder / "REFERENCE.csv").open(newline="") as file:
        rows = [(row[0], row[1]) for row in csv.reader(file)]
    rows = [
        row for label in NAMES for row in [r for r in rows if r[1] == label][:: 1 if label == "~" else options.every]
    ]
    one = partial(judge, folder=options.folder)
    if options.jobs > 1:
        with ProcessPoolExecutor(options.jobs) as pool:
            judged = [item for item in pool.map(one, rows, chunksize=50) if item is not None]
    else:
        judged = [item for item in map(one, rows) if item is not None]
    print(heading(("numpy", "scipy", "wfdb")))
    print_tables(judged)


if __name__ == "__main__":
    main()
