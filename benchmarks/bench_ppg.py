"""Score the pulse detector and the pulse rate on the BIDMC recordings and print Markdown tables.

1. Beats: pulses against the beats of the ECG of the same recording (found by `EcgBeats`), matched as EC57 does within
   150 ms after each detector's own constant delay in that recording is taken off: a detector may mark feet or peaks, and
   the monitor delays its light by half a second.  Weak beats that make no pulse and stretches in which the light is an
   artefact are in it; so no detector reaches 100 %.  *usable*: only beats in seconds that `PpgQuality` trusts, for all
   detectors alike.  *scatter*: standard deviation of the delay, which contains the variation of the transit time.  A
   recording in whose ECG a tenth more or fewer beats are found than the monitor's heart rate says is no reference: its
   beats are left out (*-*).
2. Rate: against the monitor's own PULSE once a second, at the same instant and with the monitor read 4 s later.  The
   peers' pulses go through the same median of 12 s, without any verdict on the signal.

The peers are offline: they see the whole recording, filtered forth and back.  NeuroKit2 is optional.

    VITALEDGE_DATA=FOLDER python benchmarks/bench_ppg.py
"""

from __future__ import annotations

import argparse
import csv
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import ec57
import machine
import numpy as np
from numpy.typing import NDArray
from scipy import signal

from edge.conditioning.ppg_quality import PpgQuality
from edge.features.ecg_beats import EcgBeats
from edge.features.pulse_beats import PulseBeats
from edge.features.pulse_rate import PulseRate
from edge.messages import Channel, ChannelKind, Estimate, Pulse, Quality, SampleBlock, Tick

Values = NDArray[np.float64]
Detector = Callable[[Values, float], Values]
"""Light and its rate in Hz -> instants of the pulses in seconds."""

S = 1_000_000_000
RATE_HZ = 125.0
LIGHT = (Channel(name="PLETH", kind=ChannelKind.PPG, unit="1"),)
ECG = (Channel(name="II", kind=ChannelKind.ECG, unit="mV"),)
SHIFTS_S = (0, 4)
LEARNING_S = 15
AVERAGE_S = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What is used of one BIDMC recording."""

    name: str
    light: Values
    ecg: Values
    pulse_bpm: dict[int, float]
    """The monitor's pulse rate by second."""
    n_expected: float
    """Beats that the monitor's heart rate makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How one detector did on one recording."""

    whole: ec57.Tally
    """Without a reference: nothing."""
    usable: ec57.Tally
    errors_bpm: dict[int, Values]
    """Absolute differences to the monitor, by shift."""
    coverage_pct: float
    cost_us: float
    """Processor time for a second of signal."""


def read(folder: Path) -> list[Recording]:
    """Return the recordings of a folder, in order."""
    found = []
    for path in sorted(folder.glob("bidmc_*_Signals.csv")):
        names, table = _table(path)
        number_names, numbers = _table(path.with_name(path.name.replace("Signals", "Numerics")))
        pulse, heart = number_names.index("PULSE"), number_names.index("HR")
        found.append(
            Recording(
                name=path.name.split("_")[1],
                light=table[:, names.index("PLETH")],
                ecg=table[:, names.index("II")],
                n_expected=float(np.nanmean(numbers[:, heart])) / 60.0 * len(table) / RATE_HZ,
                pulse_bpm={int(row[0]): float(row[pulse]) for row in numbers if row[pulse] > 0},
            )
        )
    return found


def _table(path: Path) -> tuple[list[str], Values]:
    with path.open(newline="") as lines:
        rows = list(csv.reader(lines))
    values = [[float(cell) if cell.strip() else np.nan for cell in row] for row in rows[1:]]
    return [name.strip() for name in rows[0]], np.array(values)


def blocks(values: Values, channels: tuple[Channel, ...], block_s: float) -> list[SampleBlock]:
    """Return a signal as a stream would bring it."""
    step = round(block_s * RATE_HZ)
    return [
        SampleBlock(
            sensor="bidmc",
            stream=channels[0].name,
            channels=channels,
            values=values[at : at + step, None].copy(),
            rate_hz=RATE_HZ,
            start_ns=round(at * S / RATE_HZ),
            sequence=at,
        )
        for at in range(0, len(values), step)
    ]


def ecg_beats_s(recording: Recording) -> Values:
    """Return the instants of the beats in the ECG."""
    stage = EcgBeats()
    # The recordings are normalised to 1; as millivolts that is an ECG of the usual size.
    found = [beat for block in blocks(recording.ecg, ECG, 0.2) for beat in stage.push(block)]
    return np.array([beat.at_ns / S for beat in [*found, *stage.flush()]])


# --- ours -------------------------------------------------------------------------------------------------


def stream(recording: Recording, block_s: float) -> tuple[list[Pulse], list[Quality], list[Estimate], float]:
    """Return pulses, verdicts and rates of our stages, and what they cost: processor time in us per second of signal."""
    quality, beats, rate = PpgQuality(), PulseBeats(), PulseRate()
    pulses: list[Pulse] = []
    verdicts: list[Quality] = []
    estimates: list[Estimate] = []
    items = blocks(recording.light, LIGHT, block_s)
    second = 1
    begin = time.process_time()
    for block in items:
        for verdict in quality.push(block):
            verdicts.append(verdict)
            beats.push(verdict)
            rate.push(verdict)
        for pulse in beats.push(block):
            pulses.append(pulse)
            rate.push(pulse)
        while second * S <= block.end_ns:
            estimates += rate.push(Tick(at_ns=second * S))
            second += 1
    pulses += beats.flush()
    cost_us = 1e6 * (time.process_time() - begin) / (len(recording.light) / RATE_HZ)
    return pulses, verdicts, [each for each in estimates if each.measure == "pulse_rate_bpm"], cost_us


# --- peers ------------------------------------------------------------------------------------------------


def plain_peaks(light: Values, rate_hz: float) -> Values:
    """Return the peaks of the band-passed light with a prominence of half the usual swing, at most 200 a minute."""
    sos = signal.butter(2, [0.5, 8.0], "bandpass", fs=rate_hz, output="sos")
    clean = signal.sosfiltfilt(sos, light)
    swing = float(np.median([np.ptp(part) for part in np.array_split(clean, max(1, len(clean) // round(2 * rate_hz)))]))
    peaks, _ = signal.find_peaks(clean, prominence=0.5 * swing, distance=round(0.3 * rate_hz))
    return np.asarray(peaks / rate_hz)


def _neurokit(method: str) -> Detector:
    def detect(light: Values, rate_hz: float) -> Values:
        import neurokit2

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            clean = neurokit2.ppg_clean(light, sampling_rate=round(rate_hz), method="elgendi")
            found = neurokit2.ppg_findpeaks(clean, sampling_rate=round(rate_hz), method=method)
        return np.sort(np.asarray(found["PPG_Peaks"], dtype=np.float64)) / rate_hz

    return detect


def peers() -> dict[str, Detector]:
    """Return the detectors to compare with, by name, as far as they are installed."""
    found: dict[str, Detector] = {"scipy find_peaks": plain_peaks}
    if machine.installed_version("neurokit2"):
        found["Elgendi 2013 (NeuroKit2)"] = _neurokit("elgendi")
        found["MSPTDfast, Charlton 2024 (NeuroKit2)"] = _neurokit("charlton")
    return found


# --- scores -----------------------------------------------------------------------------------------------


def tally(beats_s: Values, found_s: Values, usable_s: set[int] | None) -> ec57.Tally:
    """Return how `found_s` agrees with the beats after the constant delay is taken off; nothing without beats."""
    if not len(beats_s):
        return ec57.Tally(n_matched=0, n_missed=0, n_invented=0, offsets_ms=np.zeros(0))
    delay_s = _delay_s(beats_s, found_s)
    true_s, test_s = beats_s + delay_s, found_s
    if usable_s is not None:
        true_s = np.array([at for at in true_s if int(at) in usable_s])
        test_s = np.array([at for at in test_s if int(at) in usable_s])
    scale = 1000.0  # EC57's rules work on samples: milliseconds
    reference = ec57.Reference(
        beats=np.round(true_s * scale).astype(np.int64), flutter=(), rate_hz=scale, n_samples=round(481 * scale)
    )
    return ec57.score(reference, np.round(test_s * scale).astype(np.int64))


def _delay_s(beats_s: Values, found_s: Values) -> float:
    """Return the constant delay that pairs most beats, refined to the median of the pairs."""
    beats, found = np.round(beats_s * 1000).astype(np.int64), np.round(found_s * 1000).astype(np.int64)
    coarse = max(range(-200, 1000, 20), key=lambda delay_ms: len(ec57.pair(beats + delay_ms, found, 150)[0]))
    first, second = ec57.pair(beats + coarse, found, 150)
    return float(np.median(found[second] - beats[first])) / 1000.0 if len(first) else coarse / 1000.0


def plain_rates(found_s: Values, n_seconds: int) -> dict[int, float]:
    """Return the median rate of 12 s by second, as `PulseRate` takes it, without any verdict."""
    rates = {}
    for second in range(1, n_seconds + 1):
        inside = found_s[(found_s > second - 2.2 - AVERAGE_S) & (found_s <= second - 2.2)]
        if len(inside) >= 4:
            rates[second] = 60.0 / median(np.diff(inside).tolist())
    return rates


def errors_bpm(rates_bpm: dict[int, float], recording: Recording) -> tuple[dict[int, Values], float]:
    """Return the absolute differences by shift, and the share of the scored seconds with a rate in percent."""
    n_seconds = len(recording.light) // round(RATE_HZ)
    scored = [second for second in range(LEARNING_S, n_seconds) if second in recording.pulse_bpm]
    covered = sum(second in rates_bpm for second in scored)
    found = {}
    for shift in SHIFTS_S:
        pairs = [
            (rates_bpm[second], recording.pulse_bpm[second + shift])
            for second in range(LEARNING_S, n_seconds)
            if second in rates_bpm and second + shift in recording.pulse_bpm
        ]
        found[shift] = np.abs(np.array([ours - theirs for ours, theirs in pairs]))
    return found, 100.0 * covered / max(1, len(scored))


def measure(recording: Recording, detectors: dict[str, Detector]) -> dict[str, Row]:
    """Return every detector's score on one recording."""
    beats_s = ecg_beats_s(recording)
    if not 0.9 <= len(beats_s) / recording.n_expected <= 1.1:
        beats_s = np.zeros(0)
    n_seconds = len(recording.light) // round(RATE_HZ)
    pulses, verdicts, estimates, cost_us = stream(recording, 0.2)
    usable_s = {round(verdict.at_ns / S) - 1 for verdict in verdicts if verdict.is_usable}
    rates = {round(each.at_ns / S): each.value for each in estimates if each.value is not None}
    found_s = np.array([pulse.at_ns / S for pulse in pulses])
    errors, coverage_pct = errors_bpm(rates, recording)
    row = Row(
        whole=tally(beats_s, found_s, None),
        usable=tally(beats_s, found_s, usable_s),
        errors_bpm=errors,
        coverage_pct=coverage_pct,
        cost_us=cost_us,
    )
    rows = {
        "VitalEdge, blocks of 0.2 s": row,
        "VitalEdge, blocks of 1 s": replace(row, cost_us=stream(recording, 1.0)[3]),
    }
    for name, detector in detectors.items():
        begin = time.process_time()
        found_s = detector(recording.light, RATE_HZ)
        cost_us = 1e6 * (time.process_time() - begin) / (len(recording.light) / RATE_HZ)
        errors, coverage_pct = errors_bpm(plain_rates(found_s, n_seconds), recording)
        rows[name] = Row(
            whole=tally(beats_s, found_s, None),
            usable=tally(beats_s, found_s, usable_s),
            errors_bpm=errors,
            coverage_pct=coverage_pct,
            cost_us=cost_us,
        )
    return rows


def _pooled(rows: Sequence[Row]) -> str:
    """Return the cells of one detector over all recordings."""
    cells = []
    for tallies in ([row.whole for row in rows], [row.usable for row in rows]):
        n_matched = sum(each.n_matched for each in tallies)
        n_missed = sum(each.n_missed for each in tallies)
        n_invented = sum(each.n_invented for each in tallies)
        cells += [
            f"{ec57.percent(n_matched, n_matched + n_missed):.2f}",
            f"{ec57.percent(n_matched, n_matched + n_invented):.2f}",
        ]
    cells.append(f"{np.median([np.std(row.whole.offsets_ms) for row in rows if row.whole.n_beats]):.0f}")
    for shift in SHIFTS_S:
        cells.append(f"{np.mean([row.errors_bpm[shift].mean() for row in rows]):.2f}")
    cells.append(f"{max(row.errors_bpm[0].mean() for row in rows):.2f}")
    cells.append(f"{np.mean([row.coverage_pct for row in rows]):.1f}")
    cells.append(f"{np.median([row.cost_us for row in rows]):.0f}")
    return " | ".join(cells)


def _beats(row: Row) -> str:
    """Return the cells about beats of one recording."""
    if not row.whole.n_beats:
        return "- | - | - | - | -"
    figures = [each for part in (row.whole, row.usable) for each in (part.sensitivity_pct, part.predictivity_pct)]
    return " | ".join([*(f"{figure:.2f}" for figure in figures), f"{np.std(row.whole.offsets_ms):.0f}"])


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", nargs="+", help="numbers such as 01 13; all of the folder otherwise")
    options = parser.parse_args()
    folder = Path(os.environ.get("VITALEDGE_DATA", "../shared/data")) / "bidmc"
    recordings = [each for each in read(folder) if not options.records or each.name in options.records]
    if not recordings:
        raise SystemExit(f"no recordings in {folder}: set VITALEDGE_DATA")
    detectors = peers()
    for detector in detectors.values():
        detector(recordings[0].light[:2500], RATE_HZ)  # imports and compiles
    print(machine.heading(("numpy", "scipy", "neurokit2")))
    print(
        "| recording | Se % | +P % | usable Se % | usable +P % | scatter ms | rate MAE /min | 4 s later | covered % |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    scores: dict[str, list[Row]] = {}
    for recording in recordings:
        rows = measure(recording, detectors)
        for name, row in rows.items():
            scores.setdefault(name, []).append(row)
        ours = next(iter(rows.values()))
        print(
            f"| {recording.name} | {_beats(ours)} | {ours.errors_bpm[0].mean():.2f} "
            f"| {ours.errors_bpm[4].mean():.2f} | {ours.coverage_pct:.1f} |",
            flush=True,
        )
    print()
    print(
        "| detector | Se % | +P % | usable Se % | usable +P % | scatter ms | rate MAE /min | 4 s later "
        "| worst recording | covered % | us per s |"
    )
    print("|---|" + "---:|" * 10)
    for name, each in scores.items():
        print(f"| {name} | {_pooled(each)} |")


if __name__ == "__main__":
    main()
