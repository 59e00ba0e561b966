"""How fast the streaming stages are on one core, and how much memory they keep.

Three questions, all answered in processor time (best of ``--repeat``) per second of signal:

* The ECG chain at 250 Hz, one lead: display filters, signal quality, beats with their shape, heart-rate variability;
  in blocks of 40 ms, 200 ms, 1 s and in one block, beside the fastest other detectors of the same run.
* Every other stage that reads samples, on the streams of the virtual patient.
* The memory that one stream holds after an hour.

With a folder of WFDB records the ECG is the first lead of ``--records``, resampled to 250 Hz; without one it comes from
the virtual patient.

    python benchmarks/bench_speed.py RECORDS_FOLDER --records 119 208
"""

from __future__ import annotations

import argparse
import gc
import time
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import ours
from ec57 import read_record
from machine import heading
from numpy.typing import NDArray
from peers import PEERS
from subjects import OTHER_STAGES, ChainOnGrid, EcgStages, Pushed, RuntimeEcg, Subject, WholePipeline, WithBeats

from edge.conditioning.filters import FilterChain
from edge.conditioning.quality import SignalQuality
from edge.features.delineation import Delineation
from edge.features.ecg_beats import EcgBeats
from edge.messages import Channel, SampleBlock
from firmware_bridge.virtual.patient import CHANNELS, Signals, VirtualPatient
from firmware_bridge.virtual.scenario_file import load_scenario

ECG_RATE_HZ = 250.0
BLOCKS_S = (0.04, 0.2, 1.0, None)
PACKAGES = ("numpy", "scipy", "wfdb", "neurokit2", "py-ecg-detectors", "biosppy", "sleepecg", "vg-beat-detectors")
N_PEERS_SHOWN = 4


# --- signals ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Samples of one stream."""

    name: str
    values: NDArray[np.float64]
    channels: tuple[Channel, ...]
    rate_hz: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.values) / self.rate_hz

    def blocks(self, block_s: float | None) -> list[SampleBlock]:
        """Return the stream as blocks."""
        return ours.cut(self.values, self.channels, self.rate_hz, block_s, stream=self.name)


def recorded_ecg(folder: Path, name: str) -> Stream:
    """Return the first lead of a record, resampled to 250 Hz."""
    from scipy import signal

    record = read_record(folder / name)
    up, down = round(ECG_RATE_HZ), round(record.rate_hz)
    values = signal.resample_poly(record.signals_mv[:, :1], up, down, axis=0)
    return Stream(
        name="ecg",
        values=values,
        channels=ours.ecg_channels(record.leads[:1], record.resolutions_mv[:1]),
        rate_hz=ECG_RATE_HZ,
    )


def virtual_streams(duration_s: float) -> dict[str, Stream]:
    """Return all streams of the virtual patient with arrhythmia."""
    signals: Signals = VirtualPatient(load_scenario("arrhythmia")).take(duration_s)
    values = {
        "ecg": (signals.ecg_mv, signals.ecg_rate_hz),
        "ppg": (signals.ppg, signals.ppg_rate_hz),
        "respiration": (signals.respiration_ohm, signals.respiration_rate_hz),
        "acceleration": (signals.acceleration_mps2, signals.acceleration_rate_hz),
    }
    return {
        name: Stream(name=name, values=columns, channels=CHANNELS[name], rate_hz=rate_hz)
        for name, (columns, rate_hz) in values.items()
    }


def interleaved(streams: Iterable[Stream], block_s: float | None) -> list[SampleBlock]:
    """Return the blocks of several streams in the order in which they end."""
    blocks = [block for stream in streams for block in stream.blocks(block_s)]
    return sorted(blocks, key=lambda block: block.end_ns)


# --- measuring --------------------------------------------------------------------------------------------


def computing_s(make: Callable[[], Pushed], blocks: Sequence[SampleBlock], n_repeats: int) -> float:
    """Return the processor time of pushing `blocks` through a fresh stage, the best of `n_repeats`."""
    best_s = float("inf")
    for _ in range(n_repeats):
        stage = make()
        gc.collect()
        began_s = time.process_time()
        for block in blocks:
            stage.push(block)
        best_s = min(best_s, time.process_time() - began_s)
    return best_s


def kept_bytes(make: Callable[[], Pushed], blocks: Sequence[SampleBlock]) -> tuple[int, int]:
    """Return what a stage holds after all `blocks`, and the most that it and its work needed at once; in bytes.

    NumPy reports its arrays to tracemalloc, so buffers are counted; the blocks themselves were there before.
    """
    make().push(blocks[0])  # what is imported or cached on the first call belongs to nobody
    gc.collect()
    tracemalloc.start()
    stage = make()
    for block in blocks:
        stage.push(block)
    gc.collect()
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return kept, peak


def block_name(block_s: float | None) -> str:
    """Return a column's title."""
    return "one block" if block_s is None else f"{1000 * block_s:.0f} ms"


# --- tables -----------------------------------------------------------------------------------------------


def print_ecg_chain(ecgs: dict[str, Stream], n_repeats: int) -> float:
    """Print processor time per second of ECG, by stage and block length; return the chain's in one block, in seconds."""
    duration_s = sum(ecg.duration_s for ecg in ecgs.values())
    found = {name: ours.run_chain(ecg.blocks(0.2)) for name, ecg in ecgs.items()}
    subjects: dict[str, Callable[[str], Pushed]] = {
        "whole chain": lambda _: EcgStages(),
        "filters": lambda _: FilterChain(),
        "quality": lambda _: SignalQuality(),
        "beats and their shape": lambda _: EcgBeats(),
        "variability": lambda name: WithBeats(None, *found[name]),
        "delineation": lambda name: WithBeats(Delineation(), *found[name]),
        "as the runtime has it, with delineation": lambda _: RuntimeEcg(),
    }
    taken_s = {subject: [0.0] * len(BLOCKS_S) for subject in subjects}
    for name, ecg in ecgs.items():
        for k, block_s in enumerate(BLOCKS_S):
            blocks = ecg.blocks(block_s)
            for subject, make in subjects.items():
                taken_s[subject][k] += computing_s(partial(make, name), blocks, n_repeats)
    print(f"### ECG chain, 250 Hz, one lead: {', '.join(ecgs)}\n")
    print("| | " + " | ".join(block_name(block_s) for block_s in BLOCKS_S) + " |")
    print("|---" * (1 + len(BLOCKS_S)) + "|")
    for subject in ("whole chain", "as the runtime has it, with delineation"):
        cells = [f"**{duration_s / time_s:,.0f}**" for time_s in taken_s[subject]]
        print(f"| {subject}, × real time | " + " | ".join(cells) + " |")
    for subject, times_s in taken_s.items():
        cells = [
            f"{1e6 * time_s / duration_s:,.1f} ({100 * time_s / whole_s:.0f} %)"
            for time_s, whole_s in zip(times_s, taken_s["whole chain"], strict=True)
        ]
        print(f"| {subject}, µs per second of ECG (of the whole chain) | " + " | ".join(cells) + " |")
    print(
        "\nThe whole chain is filters, quality, beats with their shape, and variability; each stage is also measured "
        "alone. In the chain the detector takes the filtered signal from the filters; alone it filters for itself.\n"
    )
    return taken_s["whole chain"][-1]


def print_peers(ecgs: dict[str, Stream], chain_s: float, n_repeats: int) -> None:
    """Print the fastest other detectors on the same ECG and how they compare with our chain in one block."""
    beats_s = sum(computing_s(EcgBeats, ecg.blocks(None), n_repeats) for ecg in ecgs.values())
    times: dict[str, float] = {}
    for peer in PEERS:
        if peer.version is None:
            continue
        peer.warm_up()
        times[f"{peer.name} {peer.version}"] = 0.0
        for ecg in ecgs.values():
            lead = np.ascontiguousarray(ecg.values[:, 0])
            best_s = float("inf")
            for _ in range(n_repeats):
                began_s = time.process_time()
                peer.detect(lead.copy(), ecg.rate_hz)
                best_s = min(best_s, time.process_time() - began_s)
            times[f"{peer.name} {peer.version}"] += best_s
    duration_s = sum(ecg.duration_s for ecg in ecgs.values())
    print("### Beside the fastest other detectors, which detect and do nothing else; all in one block\n")
    print("| | ms per half hour | × real time | ÷ our whole chain | ÷ our beats alone |")
    print("|---|---|---|---|---|")
    rows = [("our whole chain", chain_s), ("our beats and their shape alone", beats_s)]
    rows += sorted(times.items(), key=lambda item: item[1])[:N_PEERS_SHOWN]
    for name, taken_s in rows:
        print(
            f"| {name} | {1000 * taken_s * 1800 / duration_s:.1f} | {duration_s / taken_s:,.0f} "
            f"| {taken_s / chain_s:.2f} | {taken_s / beats_s:.2f} |"
        )
    if not times:
        print("| no other detector is installed | | | | |")
    print()


def print_other_stages(streams: dict[str, Stream], n_repeats: int) -> None:
    """Print × real time of every other stage on the virtual patient."""
    lengths_s = BLOCKS_S[:-1]
    print("### Other stages on the virtual patient, × real time\n")
    print("| stage | stream | " + " | ".join(block_name(block_s) for block_s in lengths_s) + " |")
    print("|---" * (2 + len(lengths_s)) + "|")
    for subject in OTHER_STAGES:
        cells = []
        for block_s in lengths_s:
            taken_s = computing_s(subject.make, blocks_of(streams, subject, block_s), n_repeats)
            cells.append(f"{streams['ecg'].duration_s / taken_s:,.0f}")
        print(f"| {subject.name} | {stream_name(streams, subject)} | " + " | ".join(cells) + " |")
    print()


def print_memory(streams: dict[str, Stream]) -> None:
    """Print what every stage holds after all of the signal."""
    subjects = [
        Subject(name="ECG stages alone", stream="ecg", make=EcgStages),
        *(subject for subject in OTHER_STAGES if subject.make in {ChainOnGrid, WholePipeline}),
    ]
    print(f"### Memory after {streams['ecg'].duration_s / 3600:.1f} h in blocks of 200 ms\n")
    print("| | stream | held KiB | most at once KiB |\n|---|---|---|---|")
    for subject in subjects:
        kept, peak = kept_bytes(subject.make, blocks_of(streams, subject, 0.2))
        print(f"| {subject.name} | {stream_name(streams, subject)} | {kept / 1024:,.0f} | {peak / 1024:,.0f} |")
    print()


def blocks_of(streams: dict[str, Stream], subject: Subject, block_s: float | None) -> list[SampleBlock]:
    """Return the blocks that a subject reads."""
    chosen = streams.values() if subject.stream == "all" else [streams[subject.stream]]
    return interleaved(chosen, block_s)


def stream_name(streams: dict[str, Stream], subject: Subject) -> str:
    """Return name, rate and number of channels of what a subject reads."""
    if subject.stream == "all":
        return "all"
    stream = streams[subject.stream]
    return f"{stream.name}, {stream.rate_hz:g} Hz × {len(stream.channels)}"


def main() -> None:
    """Read the command line, measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=None, help="folder with WFDB records")
    parser.add_argument("--records", nargs="+", default=["119"], help="records of the ECG chain")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the best counts")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the virtual patient's signals")
    parser.add_argument("--only", choices=("ecg", "others", "memory"), default=None, help="one part alone")
    options = parser.parse_args()
    streams = virtual_streams(60.0 * options.minutes)
    lead = streams["ecg"]
    ecgs = {"virtual patient": Stream(name="ecg", values=lead.values[:, :1], channels=lead.channels[:1], rate_hz=250.0)}
    if options.folder is not None:
        ecgs = {name: recorded_ecg(options.folder, name) for name in options.records}
    print(heading(PACKAGES))
    if options.only in {None, "ecg"}:
        chain_s = print_ecg_chain(ecgs, options.repeat)
        print_peers(ecgs, chain_s, options.repeat)
    if options.only in {None, "others"}:
        print_other_stages(streams, options.repeat)
    if options.only in {None, "memory"}:
        print_memory(virtual_streams(3600.0))


if __name__ == "__main__":
    main()
