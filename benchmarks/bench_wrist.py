"""Score the wrist's pulse rate and print Markdown tables: four people, added motion with known truth, bedside light.

Three methods on the same samples in one run: the highest peak of the same window's spectrum (*plain peak*), the stage
with the light alone, and the stage with light and acceleration.

1. Stress-Predict (Empatica E4): against rates from the device's own beat intervals, which exist only at rest, and
   against its displayed heart rate, which is an algorithm's answer itself and late: the table has it as displayed at
   the same instant and half a minute later.
2. Motion stress: stretches at rest from there, whose rate is known (from their light before anything is added, where
   it agrees with the beat intervals; so *rest* itself proves nothing), with the light *and* the acceleration of another
   person's movement added, or with synthetic walking (also at the rate of the pulse) and running.
3. BIDMC: the light of a bedside monitor without acceleration, against the monitor's pulse rate.

    VITALEDGE_DATA=FOLDER python benchmarks/bench_wrist.py
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from edge.features.wrist_rate import WristRate, WristRateSettings
from edge.features.wrist_spectrum import GRID_BPM, line_spectrum
from edge.messages import Channel, ChannelKind, Estimate, SampleBlock, Tick

Values = NDArray[np.float64]

S = 1_000_000_000
GRAVITY_MPS2 = 9.80665
LIGHT_HZ, MOTION_HZ = 64.0, 32.0
STRETCH_S = 90
QUIET_S = 20
LIGHT = (Channel(name="BVP", kind=ChannelKind.PPG, unit="1"),)
AXES = tuple(
    Channel(name=kind.value, kind=kind, unit="m/s2")
    for kind in (ChannelKind.ACCELERATION_X, ChannelKind.ACCELERATION_Y, ChannelKind.ACCELERATION_Z)
)
KINDS = (
    *(f"movement {db:+d} dB" for db in (6, 0, -6)),
    *(f"walking {db:+d} dB" for db in (0, -6)),
    *(f"walking at the pulse {db:+d} dB" for db in (0, -6)),
    "running",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What one wearable recorded."""

    name: str
    light: Values
    motion: Values
    heart_rate_bpm: Values
    heart_rate_from_s: float
    intervals: Values
    """Columns: instant of the beat, interval before it, in seconds."""

    @property
    def n_seconds(self) -> int:
        """Whole seconds of light and motion."""
        return int(min(len(self.light) / LIGHT_HZ, len(self.motion) / MOTION_HZ))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Light and motion whose pulse rate is known."""

    kind: str
    light: Values
    motion: Values
    truth_bpm: Values
    """At the end of each second, for the window before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """One rate a second, with how sure it is."""

    bpm: Values
    confidence: Values


# --- methods ----------------------------------------------------------------------------------------------


def estimates(light: Values, motion: Values | None, light_hz: float = LIGHT_HZ) -> list[Estimate]:
    """Return what the stage says, in blocks of one second, at every confidence."""
    stage = WristRate(replace(WristRateSettings(), least_confidence=0.0, latency_s=0.0))
    out: list[Estimate] = []
    for second in range(int(len(light) / light_hz)):
        stage.push(_block("ppg", LIGHT, light[:, None], light_hz, second))
        if motion is not None:
            stage.push(_block("acc", AXES, motion, MOTION_HZ, second))
        out += stage.push(Tick(at_ns=(second + 1) * S))
    return out


def rates(light: Values, motion: Values | None, light_hz: float = LIGHT_HZ) -> Rates:
    """Return the stage's rate at the end of each second."""
    found = estimates(light, motion, light_hz)
    return Rates(
        bpm=np.array([np.nan if one.value is None else one.value for one in found]),
        confidence=np.array([one.quality for one in found]),
    )


def plain_peak(light: Values, light_hz: float = LIGHT_HZ) -> Rates:
    """Return the highest peak of each window's spectrum between 30 and 220 bpm."""
    low_hz, high_hz = WristRateSettings().band_hz
    sos = signal.butter(2, [low_hz, high_hz], "bandpass", fs=light_hz, output="sos")
    clean = signal.sosfilt(sos, light - light[0])
    n_window = round(WristRateSettings().window_s * light_hz)
    lowest, highest = GRID_BPM.index(30), GRID_BPM.index(220)
    found = []
    for second in range(int(len(light) / light_hz)):
        end = round((second + 1) * light_hz)
        if end < n_window:
            found.append(np.nan)
            continue
        spectrum = line_spectrum(clean[end - n_window : end], light_hz)
        found.append(float(GRID_BPM[lowest + int(np.argmax(spectrum[lowest : highest + 1]))]))
    return Rates(bpm=np.array(found), confidence=np.ones(len(found)))


def _block(stream: str, channels: tuple[Channel, ...], values: Values, rate_hz: float, second: int) -> SampleBlock:
    first, end = round(second * rate_hz), round((second + 1) * rate_hz)
    return SampleBlock(
        sensor="wrist",
        stream=stream,
        channels=channels,
        values=np.array(values[first:end]),
        rate_hz=rate_hz,
        start_ns=round(first * S / rate_hz),
        sequence=first,
    )


# --- recordings -------------------------------------------------------------------------------------------


def read_person(folder: Path) -> Person:
    """Return one recording of an Empatica E4."""
    start_s, light = _e4(folder / "BVP.csv")
    _, motion = _e4(folder / "ACC.csv")
    heart_rate_from_s, heart_rate_bpm = _e4(folder / "HR.csv")
    with (folder / "IBI.csv").open() as file:
        rows = [(float(row[0]), float(row[1])) for row in list(csv.reader(file))[1:]]
    return Person(
        name=folder.name,
        light=light[:, 0],
        motion=motion / 64 * GRAVITY_MPS2,
        heart_rate_bpm=heart_rate_bpm[:, 0],
        heart_rate_from_s=heart_rate_from_s - start_s,
        intervals=np.array(rows),
    )


def _e4(path: Path) -> tuple[float, Values]:
    """Return the wall time of the first sample and the samples, shape (n_samples, n_channels)."""
    values = np.loadtxt(path, delimiter=",", ndmin=2)
    return float(values[0, 0]), values[2:]


def interval_rates(person: Person, window_s: float = 8.0) -> Values:
    """Return the rate of the beat intervals in each window of which they cover at least 60 %."""
    at_s, interval_s = person.intervals.T
    out = np.full(person.n_seconds, np.nan)
    for second in range(person.n_seconds):
        is_inside = (at_s <= second + 1) & (at_s - interval_s >= second + 1 - window_s)
        if np.count_nonzero(is_inside) >= 3 and interval_s[is_inside].sum() >= 0.6 * window_s:
            out[second] = 60.0 / interval_s[is_inside].mean()
    return out


def displayed_rates(person: Person, later_s: float) -> Values:
    """Return the heart rate that the device shows `later_s` after the end of each second."""
    at = np.round(np.arange(1, person.n_seconds + 1) - person.heart_rate_from_s + later_s).astype(int)
    is_there = (at >= 0) & (at < len(person.heart_rate_bpm))
    return np.where(is_there, person.heart_rate_bpm[np.clip(at, 0, len(person.heart_rate_bpm) - 1)], np.nan)


# --- motion stress ----------------------------------------------------------------------------------------


def quiet_and_moving(person: Person) -> tuple[list[Stretch], list[tuple[Values, Values]]]:
    """Return the stretches at rest with their rate, and light and motion of the restless ones."""
    known = rates(person.light, None)
    truth = interval_rates(person)
    n = person.n_seconds
    motion = person.motion[: round(n * MOTION_HZ)].reshape(n, -1, 3)
    dispersion = np.sqrt(motion.var(axis=1).sum(axis=1))
    quiet: list[Stretch] = []
    moving: list[tuple[Values, Values]] = []
    at = 60
    while at + STRETCH_S < n:
        part = slice(at, at + STRETCH_S)
        light = person.light[round(at * LIGHT_HZ) : round((at + STRETCH_S) * LIGHT_HZ)]
        acceleration = person.motion[round(at * MOTION_HZ) : round((at + STRETCH_S) * MOTION_HZ)]
        is_sure = (known.confidence[part] > 0.9) & (dispersion[part] < 0.6)
        n_off = np.count_nonzero(np.abs(known.bpm[part] - truth[part]) >= 4.0)
        if is_sure.mean() > 0.85 and np.isfinite(truth[part]).mean() > 0.15 and n_off <= 3:
            quiet.append(Stretch(kind="rest", light=light, motion=acceleration, truth_bpm=known.bpm[part]))
            at += STRETCH_S
        elif (dispersion[part] > 0.5).mean() > 0.6:
            moving.append((light, acceleration))
            at += STRETCH_S
        else:
            at += 10
    return quiet, moving


def stress(people: Sequence[Person], rng: np.random.Generator) -> list[Stretch]:
    """Return all stretches: rest, rest with movement of others, walking, running."""
    found = [quiet_and_moving(person) for person in people]
    out: list[Stretch] = []
    for k, (quiet, _) in enumerate(found):
        foreign = [one for other, (_, moving) in enumerate(found) if other != k for one in moving]
        for rest in quiet:
            out.append(rest)
            for db in (6, 0, -6):
                for _ in range(2):
                    light, motion = foreign[int(rng.integers(len(foreign)))]
                    out.append(_mixed(rest, f"movement {db:+d} dB", light, motion, db))
            pulse_hz = float(np.median(rest.truth_bpm)) / 60.0
            for name, cadence_hz in (
                ("walking", float(rng.uniform(1.5, 2.1))),
                ("walking at the pulse", float(np.clip(pulse_hz * rng.uniform(0.97, 1.03), 1.2, 2.6))),
            ):
                for db in (0, -6):
                    light, motion = walking(STRETCH_S, cadence_hz, 3.0, rng)
                    out.append(
                        _mixed(rest, f"{name} {db:+d} dB", light, motion + np.array([0.0, GRAVITY_MPS2, 0.0]), db)
                    )
    return out + [running(rng, is_fast=bool(k % 2), ratio=1.0 if k % 4 < 2 else 2.0) for k in range(8)]


def walking(duration_s: int, cadence_hz: float, size_mps2: float, rng: np.random.Generator) -> tuple[Values, Values]:
    """Return light and acceleration of steps: harmonics of the stride, and a light that follows them nonlinearly."""
    n = round(duration_s * LIGHT_HZ)
    wander = 0.025 * np.cumsum(rng.standard_normal(n)) / np.sqrt(LIGHT_HZ)
    angle = 2 * np.pi * np.cumsum(cadence_hz + wander) / LIGHT_HZ
    ranges = {0.5: (0.2, 1.0), 1: (0.4, 1.0), 1.5: (0.05, 0.3), 2: (0.1, 0.5), 2.5: (0.02, 0.15), 3: (0.05, 0.25)}
    axes = np.zeros((n, 3))
    for axis in range(3):
        for multiple, (low, high) in ranges.items():
            axes[:, axis] += rng.uniform(low, high) * np.sin(multiple * angle + rng.uniform(0, 2 * np.pi))
    axes += 0.075 * signal.lfilter([1], [1, -0.7], rng.standard_normal((n, 3)), axis=0)
    pole = np.exp(-2 * np.pi * rng.uniform(0.5, 2.0) / LIGHT_HZ)
    linear = signal.lfilter([1 - pole], [1, -pole], axes @ rng.standard_normal(3))
    square = signal.lfilter([1 - pole], [1, -pole], (axes @ rng.standard_normal(3)) ** 2)
    light = linear / linear.std() + 0.4 * (square - square.mean()) / square.std()
    slow = 1.0 + 0.3 * np.sin(2 * np.pi * 0.05 * np.arange(n) / LIGHT_HZ + rng.uniform(0, 2 * np.pi))
    return light * slow, size_mps2 * axes[::2]


def running(rng: np.random.Generator, *, is_fast: bool, ratio: float) -> Stretch:
    """Return five minutes in which a synthetic pulse rises with the run and crosses or meets the steps."""
    n = 300 * round(LIGHT_HZ)
    time_s = np.arange(n) / LIGHT_HZ
    rest_bpm, top_bpm = rng.uniform(60, 85), rng.uniform(130, 175)
    bpm = np.interp(time_s, [0, 40, 160, 240, 300], [rest_bpm, rest_bpm, top_bpm, top_bpm, top_bpm - 40])
    bpm += 1.5 * np.sin(2 * np.pi * 0.1 * time_s)
    angle = 2 * np.pi * np.cumsum(bpm / 60 / LIGHT_HZ)
    pulse = np.sin(angle) + 0.4 * np.sin(2 * angle + 1) + 0.1 * rng.standard_normal(n)
    steps, motion = walking(300, rng.uniform(2.4, 2.8) if is_fast else rng.uniform(1.6, 2.0), 6.0, rng)
    is_running = (time_s > 40) & (time_s < 240)
    ends = np.arange(1, 301) * round(LIGHT_HZ)
    return Stretch(
        kind="running",
        light=50.0 * (pulse + ratio * steps / steps.std() * pulse.std() * is_running),
        motion=motion * is_running[::2, None]
        + np.array([0.0, 0.0, GRAVITY_MPS2])
        + 0.05 * rng.standard_normal((n // 2, 3)),
        truth_bpm=np.array([bpm[max(0, end - 512) : end].mean() for end in ends]),
    )


def _mixed(rest: Stretch, kind: str, light: Values, motion: Values, db: float) -> Stretch:
    """Return `rest` with movement from `QUIET_S` on, the pulse `db` above it between 0.5 and 8 Hz."""
    sos = signal.butter(2, [0.5, 8.0], "bandpass", fs=LIGHT_HZ, output="sos")
    size = [signal.sosfilt(sos, one - one[0]).std() for one in (rest.light, light)]
    is_moving = np.arange(len(light)) >= QUIET_S * LIGHT_HZ
    return Stretch(
        kind=kind,
        light=rest.light + light * is_moving * size[0] / size[1] * 10 ** (-db / 20),
        motion=np.where(is_moving[::2, None], motion, rest.motion),
        truth_bpm=rest.truth_bpm,
    )


# --- tables -----------------------------------------------------------------------------------------------


def scored(found: Rates, truth_bpm: Values, least: float) -> str:
    """Return the cells: share of seconds with a value, mean, median and 95th percentile of the error, share over 5."""
    n = min(len(found.bpm), len(truth_bpm))
    bpm, confidence, truth_bpm = found.bpm[:n], found.confidence[:n], truth_bpm[:n]
    is_known = np.isfinite(truth_bpm)
    is_given = is_known & np.isfinite(bpm) & (confidence >= least)
    error = np.abs(bpm - truth_bpm)[is_given]
    if len(error) == 0:
        return "0 | – | – | – | –"
    return (
        f"{100 * is_given.sum() / max(1, is_known.sum()):.0f} | {error.mean():.2f} | {np.median(error):.2f} | "
        f"{np.percentile(error, 95):.1f} | {100 * (error > 5).mean():.1f}"
    )


def people_table(people: Sequence[Person]) -> None:
    """Print the four people."""
    print("| person | against | method | confidence ≥ | coverage % | MAE | median | p95 | > 5 bpm % |")
    print("|---|---|---|---:|---:|---:|---:|---:|---:|")
    for person in people:
        light, motion = person.light[: round(person.n_seconds * LIGHT_HZ)], person.motion
        methods = [("plain peak", plain_peak(light), (0.0,)), ("light alone", rates(light, None), (0.6,))]
        methods.append(("light and motion", rates(light, motion), (0.0, 0.5, 0.6, 0.8, 0.9)))
        intervals = interval_rates(person)
        own = ("its own beat intervals", Rates(bpm=intervals, confidence=np.ones(len(intervals))), (0.0,))
        references = {
            "its beat intervals": intervals,
            "its display": displayed_rates(person, 0.0),
            "its display 30 s later": displayed_rates(person, 30.0),
        }
        for against, truth in references.items():
            known_pct = 100 * np.isfinite(truth).mean()
            for method, found, thresholds in methods if truth is intervals else [own, *methods]:
                for least in thresholds:
                    row = scored(found, truth, least)
                    print(f"| {person.name} | {against} ({known_pct:.0f} %) | {method} | {least:g} | {row} |")


def stress_table(stretches: Sequence[Stretch]) -> None:
    """Print the motion stress, and what the stated confidence is worth."""
    print("\n| motion | n | method | confidence ≥ | coverage % | MAE | median | p95 | > 5 bpm % |")
    print("|---|---:|---|---:|---:|---:|---:|---:|---:|")
    sure: list[tuple[float, float]] = []
    for kind in ("rest", *KINDS):
        chosen = [one for one in stretches if one.kind == kind]
        truth = np.concatenate([one.truth_bpm[10:] for one in chosen])
        both = _joined(rates(one.light, one.motion) for one in chosen)
        alone = _joined(rates(one.light, None) for one in chosen)
        for method, found, least in (
            ("plain peak", _joined(plain_peak(one.light) for one in chosen), 0.0),
            ("light alone", alone, 0.6),
            ("light and motion", both, 0.0),
            ("light and motion", both, 0.6),
        ):
            print(f"| {kind} | {len(chosen)} | {method} | {least:g} | {scored(found, truth, least)} |")
        sure += zip(both.confidence, np.abs(both.bpm - truth), strict=True)
    print("\n| stated confidence | seconds | within 5 bpm % |\n|---|---:|---:|")
    confidence, error = np.array(sure).T
    for low, high in ((0.0, 0.4), (0.4, 0.5), (0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.01)):
        chosen_errors = error[(confidence >= low) & (confidence < high) & np.isfinite(error)]
        if len(chosen_errors):
            print(f"| {low:g}–{min(1, high):g} | {len(chosen_errors)} | {100 * (chosen_errors <= 5).mean():.0f} |")


def _joined(parts: Iterable[Rates]) -> Rates:
    every = list(parts)
    return Rates(
        bpm=np.concatenate([one.bpm[10:] for one in every]),
        confidence=np.concatenate([one.confidence[10:] for one in every]),
    )


def bedside_table(folder: Path) -> None:
    """Print BIDMC: light without acceleration."""
    print("\n| BIDMC | method | coverage % | MAE | median | p95 | > 5 bpm % |\n|---|---|---:|---:|---:|---:|---:|")
    plain, ours, truth = [], [], []
    for path in sorted(folder.glob("*_Signals.csv")):
        light = _column(path, "PLETH")
        truth.append(_column(path.with_name(path.name.replace("Signals", "Numerics")), "PULSE")[1:])
        plain.append(plain_peak(light, 125.0))
        ours.append(rates(light, None, 125.0))
    pulse = np.concatenate([one[10:480] for one in truth])
    for method, found, least in (("plain peak", plain, 0.0), ("light alone", ours, 0.6)):
        cut = [Rates(bpm=one.bpm[:480], confidence=one.confidence[:480]) for one in found]
        print(f"| {len(truth)} records | {method} | {scored(_joined(cut), pulse, least)} |")


def _column(path: Path, name: str) -> Values:
    with path.open() as file:
        names = [cell.strip() for cell in file.readline().split(",")]
    return np.asarray(np.genfromtxt(path, delimiter=",", skip_header=1, usecols=names.index(name)))


def speed(person: Person) -> None:
    """Print what a second of light and motion costs."""
    light, motion = person.light[: 600 * round(LIGHT_HZ)], person.motion[: 600 * round(MOTION_HZ)]
    seconds = []
    for method in (lambda: plain_peak(light), lambda: rates(light, motion)):
        best = min(_timed(method) for _ in range(3))
        seconds.append(best / 600)
    print(
        f"\nOne second of signal: {1e6 * seconds[1]:.0f} us, {seconds[1] / seconds[0]:.1f} times the plain peak, "
        f"{1 / seconds[1]:.0f} times real time."
    )


def _timed(method: object) -> float:
    begin = time.process_time()
    assert callable(method)
    method()
    return time.process_time() - begin


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=Path(os.environ.get("VITALEDGE_DATA", "../shared/data")))
    data = parser.parse_args().data
    people = [read_person(path.parent) for path in sorted((data / "stress-predict").glob("*/BVP.csv"))]
    people_table(people)
    stress_table(stress(people, np.random.default_rng(1)))
    if (data / "bidmc").exists():
        bedside_table(data / "bidmc")
    speed(people[0])


if __name__ == "__main__":
    main()
