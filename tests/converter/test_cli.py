"""The workstation's command line says what it can do, and does it."""

from __future__ import annotations

import json

import pytest

from converter.cli import LATER, PRESENT, main
from tests.fakes.tiny_model import golden_windows, write_bundle


def test_help_lists_every_command_and_which_are_to_come(capsys):
    assert main([]) == 2

    shown = capsys.readouterr().out
    present, _, later = shown.partition("not in this version:")
    assert all(name in present for name in PRESENT)
    assert all(name in later for name in LATER)


@pytest.mark.parametrize("name", LATER)
def test_a_command_that_is_to_come_says_so(capsys, name):
    """A plain sentence and the exit code of wrong usage, whatever follows the name."""
    assert main([name, "--fast", "x"]) == 2
    assert f"{name} is not in this version; it has: verify" in capsys.readouterr().err


def test_an_unknown_command_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["frobnicate"])

    assert caught.value.code == 2
    assert "verify" in capsys.readouterr().err


def test_a_missing_bundle_fails_with_a_remedy(capsys, tmp_path):
    assert main(["verify", str(tmp_path / "nowhere"), "--json"]) == 1

    captured = capsys.readouterr()
    assert "what to do: " in captured.err
    assert json.loads(captured.out)["valid"] is False


class TestWithRuntime:
    @pytest.fixture(autouse=True)
    def _runtime(self):
        pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")

    def test_a_good_bundle_is_verified(self, capsys, tmp_path):
        bundle = write_bundle(tmp_path / "b")

        assert main(["verify", str(bundle)]) == 0
        shown = capsys.readouterr().out
        assert main(["verify", str(bundle), "--json"]) == 0

        assert "tiny 0.1.0: every file is as released" in shown
        assert "not signed" in shown
        facts = json.loads(capsys.readouterr().out)
        assert (facts["valid"], facts["signed"], facts["backend"], facts["n_golden"]) == (True, False, "litert", 3)

    def test_a_bundle_that_answers_otherwise_fails(self, capsys, tmp_path):
        golden = [found | {"output": [0, 0]} for found in golden_windows()]

        assert main(["verify", str(write_bundle(tmp_path / "b", golden=golden))]) == 1
        assert "golden window 0" in capsys.readouterr().err
