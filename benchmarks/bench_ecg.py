"""QRS detectors side by side: ours and other packages' on the same leads of the same records in one run.

Ours runs as on a device: causal, in blocks of 40 ms; and, for the comparison of speed, in one block.  The others get
the whole lead at once and may look ahead.  Every detector's time is processor time of detection alone, without reading
the file, the best of ``--repeat``; ours contains the description of each beat (R peak, width, shape), which theirs do
not.  Scoring is EC57's (`ec57.py`); records with paced beats are pooled apart.

    python benchmarks/bench_ecg.py RECORDS_FOLDER --plot benchmarks/ecg.svg > table.md
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import ours
from ec57 import LEARNING_S, Indices, Record, Tally, average, gross, rate_error, read_record, score, shutdown_spans
from machine import heading
from peers import PEERS, Peer

BLOCK_S = 0.04
PACKAGES = ("numpy", "scipy", "wfdb", "neurokit2", "py-ecg-detectors", "biosppy", "sleepecg", "vg-beat-detectors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One row of the table: what is prepared outside the clock, and what is timed."""

    name: str
    version: str
    prepare: Callable[[Record], object]
    run: Callable[[object], Indices]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One detector on one record."""

    record: Record
    whole: Tally
    after_learning: Tally
    rate_error_pct: float
    computing_s: float
    failure: str = ""

    @property
    def duration_s(self) -> float:
        """Length of the record."""
        return self.record.reference.n_samples / self.record.rate_hz


@dataclass(slots=True, kw_only=True)
class Column:
    """One detector on all records."""

    contender: Contender
    results: list[Result] = field(default_factory=list)


def our_contenders() -> list[Contender]:
    """Return this project's detector on one lead and on all, in small blocks and in one."""

    def prepare(n_leads: int | None, block_s: float | None) -> Callable[[Record], object]:
        def blocks(record: Record) -> object:
            channels = ours.ecg_channels(record.leads, record.resolutions_mv)[:n_leads]
            return ours.cut(record.signals_mv[:, :n_leads], channels, record.rate_hz, block_s)

        return blocks

    def run(blocks: object) -> Indices:
        return ours.samples_of(ours.find_beats(blocks))

    def run_chain(blocks: object) -> Indices:
        return ours.samples_of(ours.run_chain(blocks)[0])

    milliseconds = f"{1000 * BLOCK_S:.0f} ms"
    rows = (
        (f"**VitalEdge**, first lead, {milliseconds}", 1, BLOCK_S, run),
        ("**VitalEdge**, first lead, one block", 1, None, run),
        (f"**VitalEdge**, all leads, {milliseconds}", None, BLOCK_S, run),
        ("**VitalEdge**, all leads, one block", None, None, run),
        (f"**VitalEdge**, all leads, {milliseconds}, whole chain", None, BLOCK_S, run_chain),
    )
    return [
        Contender(name=name, version="", prepare=prepare(n_leads, block_s), run=call)
        for name, n_leads, block_s, call in rows
    ]


def peer_contender(peer: Peer) -> Contender:
    """Return a peer on the first lead."""

    def prepare(record: Record) -> object:
        return np.ascontiguousarray(record.signals_mv[:, 0]), record.rate_hz

    def run(lead_and_rate: object) -> Indices:
        lead, rate_hz = lead_and_rate
        return peer.detect(lead.copy(), rate_hz)  # some filter in place

    return Contender(name=peer.name, version=peer.version or "", prepare=prepare, run=run)


def measure(contender: Contender, record: Record, n_repeats: int) -> Result:
    """Return how one detector did on one record; one that raises found nothing, and the row says so."""
    prepared = contender.prepare(record)
    found: Indices = np.zeros(0, dtype=np.int64)
    computing_s, failure = float("inf"), ""
    for _ in range(n_repeats):
        gc.collect()
        began_s = time.process_time()
        try:
            found = contender.run(prepared)
        except Exception as error:  # noqa: BLE001 - another package's crash must not end the comparison
            failure = f"{type(error).__name__}: {error}"
        computing_s = min(computing_s, time.process_time() - began_s)
        if failure:
            break
    return Result(
        record=record,
        whole=score(record.reference, found),
        after_learning=score(record.reference, found, from_s=LEARNING_S),
        rate_error_pct=rate_error(record.reference, found)[1],
        computing_s=computing_s,
        failure=failure,
    )


def main() -> None:
    """Read the command line, measure, print the tables and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with annotated WFDB records")
    parser.add_argument("--records", nargs="+", default=None, help="record names; all of the folder by default")
    parser.add_argument("--extension", default="atr", help="extension of the reference annotations")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each detector on each record; the best counts")
    parser.add_argument("--no-peers", action="store_true", help="measure ours alone")
    parser.add_argument("--plot", type=Path, default=None, help="SVG file to draw accuracy against speed into")
    options = parser.parse_args()
    names = options.records or sorted(path.stem for path in options.folder.glob("*.hea"))
    peers = () if options.no_peers else PEERS
    columns = [Column(contender=contender) for contender in our_contenders()]
    for peer in peers:
        if peer.version is not None:
            peer.warm_up()
            columns.append(Column(contender=peer_contender(peer)))
    records = []
    for name in names:
        record = read_record(options.folder / name, options.extension)
        records.append(record)
        for column in columns:
            column.results.append(measure(column.contender, record, options.repeat))
            print(f"{name}: {column.contender.name}", file=sys.stderr, flush=True)
    print(heading(PACKAGES))
    missing = [peer.name for peer in peers if peer.version is None]
    for title, is_paced in (("unpaced", False), ("paced", True)):
        if any(record.is_paced is is_paced for record in records):
            print_pooled(columns, title=title, is_paced=is_paced, missing=missing)
    print_failures(columns)
    print_gate(records)
    print_records(columns, records)
    if options.plot is not None:
        from plots import draw_accuracy_and_speed

        draw_accuracy_and_speed(
            options.plot, [plot_point(column) for column in columns if kept(column, is_paced=False)]
        )


def kept(column: Column, *, is_paced: bool) -> list[Result]:
    """Return the results on the paced, or on the unpaced, records."""
    return [result for result in column.results if result.record.is_paced is is_paced]


def plot_point(column: Column) -> tuple[str, float, float]:
    """Return name, times real time and F1 over the unpaced records."""
    results = kept(column, is_paced=False)
    times = sum(result.duration_s for result in results) / sum(result.computing_s for result in results)
    return column.contender.name.replace("*", ""), times, gross([result.whole for result in results]).f1_pct


# --- tables -----------------------------------------------------------------------------------------------


def print_pooled(columns: list[Column], *, title: str, is_paced: bool, missing: list[str]) -> None:
    """Print one row a detector over the records that are, or are not, paced."""
    n_records = len(kept(columns[0], is_paced=is_paced))
    print(f"### {n_records} {title} records\n")
    print(
        "| detector | version | FN | FP | Se % | +P % | F1 % | mean Se / +P % | after 5 min: Se / +P % | worst record: Se / +P % "
        "| R peak: median (IQR) ms | heart rate: RMS error % | CPU s a record | × real time |"
    )
    print("|---" * 14 + "|")
    for column in columns:
        print(pooled_row(column, kept(column, is_paced=is_paced)))
    for name in missing:
        print(f"| {name} | not installed |" + " |" * 12)
    print()


def pooled_row(column: Column, results: list[Result]) -> str:
    """Return one row of the table."""
    whole = gross([result.whole for result in results])
    late = gross([result.after_learning for result in results])
    mean_se, mean_p = average([result.whole for result in results])
    worst = min(results, key=lambda result: result.whole.f1_pct)
    low, middle, high = np.percentile(whole.offsets_ms, [25, 50, 75]) if len(whole.offsets_ms) else [np.nan] * 3
    computing_s = float(np.mean([result.computing_s for result in results]))
    times = sum(result.duration_s for result in results) / sum(result.computing_s for result in results)
    rate_errors = np.array([result.rate_error_pct for result in results])
    cells = (
        column.contender.name,
        column.contender.version,
        f"{whole.n_missed}",
        f"{whole.n_invented}",
        f"{whole.sensitivity_pct:.3f}",
        f"{whole.predictivity_pct:.3f}",
        f"{whole.f1_pct:.3f}",
        f"{mean_se:.2f} / {mean_p:.2f}",
        f"{late.sensitivity_pct:.3f} / {late.predictivity_pct:.3f}",
        f"{worst.record.name}: {worst.whole.sensitivity_pct:.2f} / {worst.whole.predictivity_pct:.2f}",
        f"{middle:+.1f} ({high - low:.1f})",
        f"{np.nanmean(rate_errors):.2f}" if not np.isnan(rate_errors).all() else "–",
        f"{computing_s:.3f}",
        f"{times:,.0f}",
    )
    return "| " + " | ".join(cells) + " |"


def print_failures(columns: list[Column]) -> None:
    """Name the records on which a detector raised; all their beats count as missed."""
    for column in columns:
        for result in column.results:
            if result.failure:
                print(f"{column.contender.name} failed on {result.record.name}: {result.failure}\n")


def print_gate(records: list[Record]) -> None:
    """Print what is left when our chain shows beats of usable seconds only: EC57's shutdown."""
    tallies = {}
    for record in records:
        channels = ours.ecg_channels(record.leads, record.resolutions_mv)
        blocks = ours.cut(record.signals_mv, channels, record.rate_hz, BLOCK_S)
        beats, quality = ours.run_chain(blocks)
        usable = ours.usable_seconds(quality, record.rate_hz, record.reference.n_samples)
        spans = shutdown_spans(usable, round(record.rate_hz))
        tallies[record.name] = score(record.reference, ours.samples_of(beats), shutdown=spans)
    print("### With the quality gate: whole chain, all leads; seconds called unusable are shutdown\n")
    print(
        "| records | time in shutdown % | beats in shutdown | FN | FP | Se % | +P % | Se with all in shutdown missed % |"
    )
    print("|---" * 8 + "|")
    rows = [(name, tally) for name, tally in tallies.items() if tally.shutdown_pct > 1 or tally.f1_pct < 99.8]
    for title, is_paced in (("unpaced together", False), ("paced together", True)):
        group = [tallies[record.name] for record in records if record.is_paced is is_paced]
        rows += [(f"**{title}**", gross(group))] if group else []
    for name, tally in rows:
        print(
            f"| {name} | {tally.shutdown_pct:.2f} | {tally.n_shut_down} | {tally.n_missed} | {tally.n_invented} "
            f"| {tally.sensitivity_pct:.3f} | {tally.predictivity_pct:.3f} | {tally.gross_sensitivity_pct:.3f} |"
        )
    print("\nNamed are the records with more than 1 % of shutdown or F1 below 99.8 %.\n")


def print_records(columns: list[Column], records: list[Record]) -> None:
    """Print FN / FP of every detector on every record."""
    columns = [column for column in columns if "one block" not in column.contender.name]  # the same beats
    names = [column.contender.name.replace("*", "") for column in columns]
    print("### Missed / invented beats by record, whole record\n")
    print("| record | beats | " + " | ".join(names) + " |")
    print("|---" * (2 + len(names)) + "|")
    for k, record in enumerate(records):
        cells = [f"{column.results[k].whole.n_missed} / {column.results[k].whole.n_invented}" for column in columns]
        mark = " (paced)" if record.is_paced else ""
        print(f"| {record.name}{mark} | {len(record.reference.beats)} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
