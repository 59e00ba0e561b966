"""A progress bar where somebody looks at a terminal, silence everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")


def progress(items: Iterable[T], *, total: int, what: str) -> Iterator[T]:
    """Yield `items`, counting them on the terminal; without a terminal, or without tqdm, just yield them."""
    if not sys.stderr.isatty():
        yield from items
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield from items
        return
    yield from tqdm(items, total=total, desc=what, unit="", leave=False, file=sys.stderr)


def epoch_line(what: str, n_epochs: int) -> Callable[[int, Mapping[str, float]], None]:
    """Return what shows the figures of an epoch in the last line of the terminal; it does nothing without one."""

    def show(epoch: int, figures: Mapping[str, float]) -> None:
        if sys.stderr.isatty():
            shown = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
            end = "\r\x1b[K" if epoch >= n_epochs else ""  # the finished network's own line comes next
            sys.stderr.write(f"\r\x1b[K{what}: epoch {epoch}/{n_epochs}, {shown}{end}")
            sys.stderr.flush()

    return show
