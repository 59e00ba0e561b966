"""Small SVG plots of the benchmark tables; needs matplotlib, which is among the development tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_F1_TICKS_PCT = (99.99, 99.98, 99.95, 99.9, 99.8, 99.5, 99.0, 98.0, 95.0, 90.0, 80.0, 50.0)
_TIMES_TICKS = tuple(10.0**exponent for exponent in range(7))


def draw_accuracy_and_speed(path: Path, points: Sequence[tuple[str, float, float]]) -> None:
    """Draw one numbered mark a detector: F1 against times real time, both so that a tenth of the errors is one step.

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

    figure, (axes, names) = plt.subplots(
        1, 2, figsize=(9.0, 4.2), width_ratios=(3, 2), layout="constrained", facecolor="white"
    )
    errors_pct = [max(100.0 - f1_pct, 0.005) for _, _, f1_pct in points]
    axes.set_xscale("log")
    axes.set_yscale("log")
    for number, ((name, times, f1_pct), error_pct) in enumerate(zip(points, errors_pct, strict=True), start=1):
        colour = "#c1121f" if name.startswith("VitalEdge") else "#457b9d"
        axes.plot(times, error_pct, "o", color=colour, markersize=11)
        axes.annotate(str(number), (times, error_pct), ha="center", va="center", color="white", fontsize=7)
        names.text(
            0.0, 1.0 - number / (len(points) + 1), f"{number}   {name}: {f1_pct:.2f} %, {times:,.0f} ×", color=colour
        )
    names.set_axis_off()
    axes.set_xlim(min(times for _, times, _ in points) / 2, 2 * max(times for _, times, _ in points))
    axes.set_ylim(1.5 * max(errors_pct), min(errors_pct) / 1.5)  # more accurate is further up
    axes.set_xticks(_within(_TIMES_TICKS, axes.get_xlim()), minor=False)
    ticks_pct = _within([100.0 - f1_pct for f1_pct in _F1_TICKS_PCT], axes.get_ylim())
    axes.set_yticks(ticks_pct, labels=[f"{100.0 - tick_pct:g}" for tick_pct in ticks_pct])
    axes.minorticks_off()
    axes.set_xlabel("times real time on one core (faster →)")
    axes.set_ylabel("F1 in % (more accurate ↑)")
    axes.grid(visible=True, alpha=0.3)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def _within(values: Sequence[float], limits: tuple[float, float]) -> list[float]:
    """Return the values that lie between the limits, whichever of these is the larger."""
    return [value for value in values if min(limits) <= value <= max(limits)]
