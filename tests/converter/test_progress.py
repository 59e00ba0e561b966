"""Progress is shown on a terminal and nowhere else."""

from __future__ import annotations

import io

import pytest

from converter.progress import epoch_line, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_nothing_is_shown_where_nobody_looks(monkeypatch):
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)

    assert list(progress(range(3), total=3, what="records")) == [0, 1, 2]
    epoch_line("seed 1", 4)(1, {"loss": 0.5})

    assert not stderr.getvalue()


def test_a_terminal_sees_what_is_done(monkeypatch):
    pytest.importorskip("tqdm", reason="needs the convert extra")
    stderr = Terminal()
    monkeypatch.setattr("sys.stderr", stderr)

    assert list(progress(range(3), total=3, what="records")) == [0, 1, 2]
    epoch_line("seed 1", 4)(2, {"loss": 0.5})

    assert "records" in stderr.getvalue()
    assert "seed 1: epoch 2/4, loss 0.5000" in stderr.getvalue()


def test_the_last_epoch_leaves_an_empty_line(monkeypatch):
    stderr = Terminal()
    monkeypatch.setattr("sys.stderr", stderr)

    epoch_line("seed 1", 2)(2, {"loss": 0.5})

    assert stderr.getvalue().endswith("\r\x1b[K")
