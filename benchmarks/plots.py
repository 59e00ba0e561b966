"""Small SVG plots of the benchmark tables; needs matplotlib, which `make` installs with the development tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def draw_accuracy_and_speed(path: Path, points: Sequence[tuple[str, float, float]]) -> None:
    """Draw one mark a detector: errors (100 − F1) downwards against times real time, both logarithmic.

    Parameters
    ----------
    path : Path
        SVG file to write; its text stays text, so it is small and can be searched.
    points : sequence of (name, times real time, F1 in per cent)
        What to draw; a name that begins with ``VitalEdge`` is ours.
    """
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.size": 8})
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8.0, 4.6), layout="constrained")
    for name, times, f1_pct in points:
        is_ours = name.startswith("VitalEdge")
        error_pct = max(100.0 - f1_pct, 0.01)
        axes.plot(times, error_pct, "D" if is_ours else "o", color="#c1121f" if is_ours else "#457b9d", markersize=6)
        axes.annotate(name, (times, error_pct), xytext=(5, 4), textcoords="offset points", fontsize=7)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.invert_yaxis()
    axes.margins(x=0.25, y=0.1)
    axes.set_xlabel("times real time, one core (faster →)")
    axes.set_ylabel("100 % − F1 (more accurate ↑)")
    axes.grid(visible=True, which="both", alpha=0.25)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)
