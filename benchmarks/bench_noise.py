"""Put noise of a known ratio on clean records and see what the signal quality withholds: the noise stress test of EC57.

Each record stays clean for five minutes, then two noisy minutes and two clean ones alternate.  The first lead is
analysed, by the whole chain of one stream (as the device does it) and by WFDB's XQRS.  The main table counts the noisy
stretches alone; the EC57 table everything after five minutes, as the standard asks.

``bw`` and ``ma`` are the recorded noise of PhysioNet's ``nstdb`` where it stands beside the records, else surrogates,
marked with a star; ``em*`` is always one.

    python benchmarks/bench_noise.py RECORDS_FOLDER --noise NSTDB_FOLDER --plot benchmarks/noise.svg
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from ec57 import LEARNING_S, Tally, gross, read_record, score, shutdown_spans
from machine import heading
from numpy.typing import NDArray
from ours import cut, ecg_channels, run_chain, samples_of, usable_seconds
from peers import PEERS

from firmware_bridge.virtual.noise_stress import StressSchedule, at_rate, stress, surrogate

CLEAN_RECORDS = ("101", "106", "112", "115", "118", "119", "122", "124", "220", "230")
"""Unpaced records of DS1 without flutter in whose first lead the annotators marked little noise; 118 and 119 are those
of the original test."""
KINDS = ("bw", "ma", "em*")
LEVELS_DB = (24.0, 18.0, 12.0, 6.0, 0.0)
XQRS = next(peer for peer in PEERS if "XQRS" in peer.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One record under one noise."""

    record: Path
    kind: str
    snr_db: float
    noise_folder: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it: tallies of the noisy stretches, and after five minutes as EC57 counts."""

    kind: str
    snr_db: float
    ours: Tally
    gated: Tally
    xqrs: Tally
    ours_ec57: Tally
    gated_ec57: Tally
    xqrs_ec57: Tally


def read_noise(kind: str, folder: Path | None, n_samples: int, rate_hz: float) -> NDArray[np.float64]:
    """Return noise of a kind at `rate_hz`: the recorded one, or a surrogate for a kind with a star."""
    if kind.endswith("*") or folder is None:
        return surrogate(kind.rstrip("*"), n_samples, rate_hz)
    import wfdb

    record = wfdb.rdrecord(str(folder / kind))
    return at_rate(np.ascontiguousarray(record.p_signal[:, 0]), float(record.fs), rate_hz)


def run(task: Task) -> Outcome:
    """Return what ours and XQRS find in one record under one noise."""
    record = read_record(task.record)
    clean, reference = record.signals_mv[:, 0], record.reference
    rate_hz, n_samples = record.rate_hz, len(clean)
    noise = read_noise(task.kind, task.noise_folder, n_samples, rate_hz)
    noisy = stress(clean, reference.beats, noise, rate_hz, snr_db=task.snr_db)
    channels = ecg_channels(record.leads[:1], record.resolutions_mv[:1])
    beats, quality = run_chain(cut(noisy[:, None], channels, rate_hz, 1.0))
    found, theirs = samples_of(beats), XQRS.detect(noisy, rate_hz)
    n_second = round(rate_hz)
    usable = usable_seconds(quality, rate_hz, n_samples)
    # A second counts as noisy by its first sample: the stretches are whole minutes.
    is_noisy = StressSchedule().is_noisy(0, n_samples, rate_hz)[::n_second].tolist()
    calm = shutdown_spans(is_noisy, n_second)
    withheld = shutdown_spans(usable, n_second)
    both = shutdown_spans([one and other for one, other in zip(usable, is_noisy, strict=True)], n_second)
    return Outcome(
        kind=task.kind,
        snr_db=task.snr_db,
        ours=score(reference, found, shutdown=calm),
        gated=score(reference, found, shutdown=both),
        xqrs=score(reference, theirs, shutdown=calm),
        ours_ec57=score(reference, found, from_s=LEARNING_S),
        gated_ec57=score(reference, found, from_s=LEARNING_S, shutdown=withheld),
        xqrs_ec57=score(reference, theirs, from_s=LEARNING_S),
    )


def usable_pct(gated: Tally, noisy: Tally) -> float:
    """Return the share of the noisy time that was declared analysable."""
    return 100.0 * (gated.scored_s - gated.shutdown_s) / max(1e-9, noisy.scored_s - noisy.shutdown_s)


def rows(outcomes: Sequence[Outcome]) -> Iterable[tuple[str, float, list[Outcome]]]:
    """Yield the outcomes of every kind and level."""
    for kind, level in product(dict.fromkeys(o.kind for o in outcomes), LEVELS_DB):
        of_row = [outcome for outcome in outcomes if (outcome.kind, outcome.snr_db) == (kind, level)]
        if of_row:
            yield kind, level, of_row


def print_tables(outcomes: Sequence[Outcome]) -> None:
    """Print the noisy stretches alone, then everything after five minutes."""
    print("Noisy stretches alone, all beats together:\n")
    print(
        "| noise | SNR dB | XQRS Se | XQRS +P | ours Se | ours +P | analysable % "
        "| **gated Se** | **gated +P** | beats in analysable time |"
    )
    print("|---|---:" + "|---:" * 8 + "|")
    for kind, level, of_row in rows(outcomes):
        xqrs, ours, gated = (gross([getattr(o, name) for o in of_row]) for name in ("xqrs", "ours", "gated"))
        print(
            f"| {kind} | {level:g} | {xqrs.sensitivity_pct:.2f} | {xqrs.predictivity_pct:.2f} "
            f"| {ours.sensitivity_pct:.2f} | {ours.predictivity_pct:.2f} | {usable_pct(gated, ours):.1f} "
            f"| {gated.sensitivity_pct:.2f} | {gated.predictivity_pct:.2f} | {gated.n_beats} |"
        )
    print("\nAs EC57 counts (after five minutes, noisy and clean stretches):\n")
    print("| noise | SNR dB | XQRS Se / +P | ours Se / +P | withheld % | gated Se / +P |")
    print("|---|---:" + "|---:" * 4 + "|")
    for kind, level, of_row in rows(outcomes):
        xqrs, ours, gated = (
            gross([getattr(o, name) for o in of_row]) for name in ("xqrs_ec57", "ours_ec57", "gated_ec57")
        )
        print(
            f"| {kind} | {level:g} | {xqrs.sensitivity_pct:.2f} / {xqrs.predictivity_pct:.2f} "
            f"| {ours.sensitivity_pct:.2f} / {ours.predictivity_pct:.2f} | {gated.shutdown_pct:.1f} "
            f"| {gated.sensitivity_pct:.2f} / {gated.predictivity_pct:.2f} |"
        )


def draw(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Draw sensitivity, predictivity and the analysable share against the ratio, one column a kind of noise."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.size": 8})
    import matplotlib.pyplot as plt

    kinds = list(dict.fromkeys(outcome.kind for outcome in outcomes))
    figure, axes = plt.subplots(
        2, len(kinds), figsize=(3.0 * len(kinds), 4.6), sharex=True, sharey="row", squeeze=False, layout="constrained"
    )
    lines = (("xqrs", "XQRS", "#457b9d"), ("ours", "ours, everything", "#f4a261"), ("gated", "ours, gated", "#c1121f"))
    for column, kind in enumerate(kinds):
        of_kind = [(level, of_row) for name, level, of_row in rows(outcomes) if name == kind]
        levels = [level for level, _ in of_kind]
        for name, label, colour in lines:
            sums = [gross([getattr(o, name) for o in of_row]) for _, of_row in of_kind]
            axes[0][column].plot(levels, [tally.sensitivity_pct for tally in sums], "o-", color=colour, label=label)
            axes[1][column].plot(levels, [tally.predictivity_pct for tally in sums], "o-", color=colour)
        shares = [
            usable_pct(gross([o.gated for o in of_row]), gross([o.ours for o in of_row])) for _, of_row in of_kind
        ]
        for row in (0, 1):
            axes[row][column].plot(levels, shares, "--", color="#888888", label="analysable share")
            axes[row][column].grid(visible=True, alpha=0.3)
        axes[0][column].set_title(kind)
        axes[1][column].set_xlabel("signal-to-noise ratio in dB")
        axes[1][column].set_xticks(levels)
    axes[0][0].invert_xaxis()
    axes[0][0].set_ylabel("sensitivity in %")
    axes[1][0].set_ylabel("positive predictivity in %")
    axes[0][0].legend(loc="lower left")
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def main() -> None:
    """Read the command line, run every record under every noise, print the tables and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with WFDB records and their annotations")
    parser.add_argument("--noise", type=Path, help="folder with the records bw and ma of nstdb; surrogates without it")
    parser.add_argument("--records", nargs="+", default=list(CLEAN_RECORDS), help="record names")
    parser.add_argument("--levels", nargs="+", type=float, default=list(LEVELS_DB), help="ratios in dB")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), help="kinds of noise; a star asks for a surrogate")
    parser.add_argument("--plot", type=Path, help="SVG file to write")
    parser.add_argument("--jobs", type=int, default=1, help="records at the same time")
    options = parser.parse_args()
    kinds = [kind if options.noise or kind.endswith("*") else f"{kind}*" for kind in options.kinds]
    tasks = [
        Task(record=options.folder / name, kind=kind, snr_db=level, noise_folder=options.noise)
        for kind, level, name in product(kinds, options.levels, options.records)
    ]
    if options.jobs > 1:
        with ProcessPoolExecutor(options.jobs) as pool:
            outcomes = list(pool.map(run, tasks))
    else:
        outcomes = [run(task) for task in tasks]
    print(heading(("numpy", "scipy", "wfdb")))
    print_tables(outcomes)
    if options.plot:
        draw(options.plot, outcomes)


if __name__ == "__main__":
    main()
