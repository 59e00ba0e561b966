"""Recordings made from the virtual patient: a CSV file that a test writes and every reader can read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario_file import parse_scenario
from tests.fakes.bedside import step, story

RATE_HZ = 250


def write_night(
    path: Path, duration_s: float, *, n_streams: int = 1, hole_s: tuple[float, float] | None = None
) -> Path:
    """Write a night with a tachycardia, an asystole and a bradycardia as CSV, and return its path.

    Parameters
    ----------
    path : Path
        The file.
    duration_s : float
        Length.
    n_streams : int
        1 for the ECG alone, 3 for ECG, pulse and respiration.
    hole_s : tuple of float, optional
        Rows that are missing, from and to.
    """
    scenario = parse_scenario(
        story(
            step(0.15 * duration_s, "sinus-tachycardia", 140),
            step(0.4 * duration_s, "sinus", 75),
            step(0.5 * duration_s, "asystole"),
            step(0.5 * duration_s + min(12, 0.2 * duration_s), "sinus", 72),
            step(0.75 * duration_s, "sinus-bradycardia", 40),
        )
    )
    ecg = np.asarray(VirtualPatient(scenario).take(duration_s).ecg_mv)[:, 0]
    times_s = np.arange(len(ecg)) / RATE_HZ
    columns = [times_s, ecg]
    if n_streams == 3:
        columns += [1 + np.sin(2 * np.pi * 1.2 * times_s), np.sin(2 * np.pi * 0.25 * times_s)]
    keep = np.full(len(ecg), True)
    if hole_s is not None:
        keep = ~((times_s >= hole_s[0]) & (times_s < hole_s[1]))
    names = ["time [s]", "II [mV]", "PLETH", "RESP"][: 1 + n_streams]
    rows = [",".join(names)] + [",".join(f"{value:.4f}" for value in row) for row in np.column_stack(columns)[keep]]
    path.write_text("\n".join(rows) + "\n")
    return path
