"""The pictures of a training report, as SVG; the only file of training that imports matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converter.calibration import Reliability
from edge.errors import EdgeError

_RIGHT, _WRONG, _QUIET = "#1f6f8b", "#c8553d", "#9aa5ab"
_INK = "#22313a"
_STYLE = {
    "svg.hashsalt": "vitaledge",  # the same picture has the same bytes
    "font.size": 9,
    "axes.edgecolor": _QUIET,
    "axes.labelcolor": _INK,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.grid": True,
    "grid.color": "#e6eaec",
    "axes.axisbelow": True,
}


def load_matplotlib() -> ModuleType:
    """Return ``matplotlib``.

    Raises
    ------
    EdgeError
        If it is not installed; the hint names the extra.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise EdgeError(
            f"the training report needs matplotlib: {error}", hint="pip install 'vitaledge[convert]'"
        ) from error
    module: ModuleType = mpl
    return module


def learning_curves(path: Path, runs: Sequence[Mapping[str, tuple[float, ...]]]) -> None:
    """Draw the loss of every network over its epochs, on its training patients and on those held for stopping."""
    figure, (axes,) = _figure(1, 1, 6.4, 3.2)
    labels = {"loss": "training", "held_loss": "held patients"}
    for number, history in enumerate(runs):
        for name, colour in (("loss", _RIGHT), ("held_loss", _WRONG)):
            if name in history:
                epochs = np.arange(1, len(history[name]) + 1)
                label = labels[name] if number == 0 else None
                axes.plot(epochs, history[name], color=colour, linewidth=1, alpha=0.7, label=label, marker=_dot(epochs))
    axes.set(xlabel="epoch", ylabel="loss", title=f"Learning curves of {len(runs)} networks")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    axes.xaxis.get_major_locator().set_params(integer=True)
    _save(figure, path)


def confusion_matrix(path: Path, counts: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Draw true class by decision: number, and share of the true class as shade; the last column is abstention."""
    columns = [*classes, "cannot tell"] if counts[:, -1].any() else list(classes)
    shown = counts[:, : len(columns)]
    shares = shown / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, (axes,) = _figure(1, 1, 1.6 + 0.75 * len(columns), 1.2 + 0.55 * len(classes))
    axes.grid(visible=False)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), n in np.ndenumerate(shown):
        colour = "white" if shares[row, column] > 0.55 else _INK
        axes.text(
            column, row, f"{n}\n{100 * shares[row, column]:.1f} %", ha="center", va="center", color=colour, size=7
        )
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="decision", ylabel="truth")
    _save(figure, path)


def reliability_diagram(path: Path, before: Reliability, after: Reliability, curve: NDArray[np.float64]) -> None:
    """Draw how often decisions of a confidence are right, and what abstaining from unsure ones brings."""
    figure, (left, right) = _figure(1, 2, 8.6, 3.6)
    left.plot([0, 1], [0, 1], color=_QUIET, linewidth=1, linestyle="--")
    for found, colour, name in ((before, _QUIET, "as trained"), (after, _RIGHT, "calibrated")):
        filled = found.n > 0
        left.plot(
            found.confidence[filled],
            found.accuracy[filled],
            color=colour,
            marker="o",
            markersize=3.5,
            linewidth=1.2,
            label=f"{name}: error {found.expected_error:.3f}",
        )
    left.set(xlabel="confidence", ylabel="share that is right", title="Reliability", xlim=(0, 1), ylim=(0, 1.02))
    left.legend(loc="upper left", frameon=False)
    right.plot(100 * curve[:, 0], 100 * curve[:, 1], color=_RIGHT, linewidth=1.4)
    right.set(
        xlabel="decisions accepted, surest first / %",
        ylabel="wrong among them / %",
        title="Coverage and error",
        xlim=(0, 100),
    )
    right.set_ylim(bottom=0)
    _save(figure, path)


def patient_results(path: Path, names: Sequence[str], shares: NDArray[np.float64], n: NDArray[np.int64]) -> None:
    """Draw the share of right decisions of each patient, worst first; at most 40 of them."""
    order = np.argsort(shares, kind="stable")[:40][::-1]
    figure, (axes,) = _figure(1, 1, 6.4, 0.8 + 0.2 * len(order))
    axes.grid(visible=False, axis="y")
    axes.barh(range(len(order)), 100 * shares[order], color=[_WRONG if shares[k] < 0.8 else _RIGHT for k in order])
    axes.set_yticks(range(len(order)), [f"{names[k]} ({n[k]})" for k in order], size=7)
    title = "Every patient" if len(order) == len(names) else f"The worst {len(order)} of {len(names)} patients"
    axes.set(xlabel="right decisions / %", xlim=(0, 100), title=f"{title} (examples)")
    axes.margins(y=0.01)
    _save(figure, path)


def worst_examples(
    path: Path, values: NDArray[np.float32], titles: Sequence[str], rate_hz: float | None, unit: str = ""
) -> None:
    """Draw examples that were taken for another class with most confidence.

    Parameters
    ----------
    path : Path
        Whereto.
    values : ndarray
        Windows, shape (n, n_samples, n_channels), or pictures, shape (n, height, width, n_colours).
    titles : sequence of str
        One an example.
    rate_hz : float or None
        Rate of windows; None counts samples.
    unit : str
        Of their values.
    """
    n_columns = min(3, len(values))
    n_rows = -(-len(values) // n_columns)
    is_picture = values.ndim == 4
    figure, axes = _figure(n_rows, n_columns, 3.1 * n_columns, (2.6 if is_picture else 1.7) * n_rows)
    for place, spot in enumerate(axes):
        if place >= len(values):
            spot.set_axis_off()
            continue
        spot.set_title(titles[place], size=8)
        if is_picture:
            spot.set_axis_off()
            low, high = float(values[place].min()), float(values[place].max())
            spot.imshow((values[place] - low) / max(high - low, 1e-9))
        else:
            at = np.arange(values.shape[1]) / (rate_hz or 1.0)
            for channel in range(min(values.shape[2], 2))[::-1]:
                colour = (_INK, _QUIET)[channel]
                spot.plot(at, values[place, :, channel], color=colour, linewidth=0.9)
            spot.set_xlabel("s" if rate_hz else "sample", size=7)
            spot.set_ylabel(unit, size=7)
            spot.tick_params(labelsize=6)
    _save(figure, path)


def _figure(n_rows: int, n_columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    mpl = load_matplotlib()
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        spots = np.atleast_1d(np.asarray(figure.subplots(n_rows, n_columns))).ravel().tolist()
    return figure, spots


def _save(figure: Any, path: Path) -> None:
    with load_matplotlib().rc_context(_STYLE):
        figure.savefig(path, format=path.suffix[1:], metadata={"Date": None} if path.suffix == ".svg" else None)


def _dot(epochs: NDArray[np.int64]) -> str | None:
    return "o" if len(epochs) == 1 else None  # a line of one point is not seen
