"""``vitaledge model``: every step in plain words, every mistake with what to do, and an exit code."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from edge.cli import main
from edge.clock import ManualClock
from edge.features.rhythm_windows import RhythmWindows
from edge.inference.shadow import Agreement
from edge.messages import Prediction
from edge.model_store import ModelStore
from tests.fakes.tiny_model import TRUST, write_bundle

pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")


class Desk:
    """A command line with a configuration that trusts the tests' key."""

    def __init__(self, folder, capsys):
        self.folder = folder
        self.capsys = capsys
        keys = {
            name: {field: str(value) for field, value in asdict(key).items() if value is not None}
            for name, key in TRUST.keys.items()
        }
        (folder / "keys.json").write_text(json.dumps(keys))
        (folder / "config.toml").write_text(
            f'[models]\npath = "{folder / "store"}"\ntrusted_keys = ["{folder / "keys.json"}"]\n'
        )

    def __call__(self, *arguments):
        """Run a command and return (exit code, stdout, stderr)."""
        code = main(["model", *map(str, arguments), "--config", str(self.folder / "config.toml")])
        out, err = self.capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    def json(self, *arguments):
        code, out, _ = self(*arguments, "--json")
        assert code == 0
        return json.loads(out)

    def bundle(self, release, **changes):
        path = self.folder / f"release-{release}"
        changes = {"preprocessing": RhythmWindows().describe(), "version": f"{release}.0.0"} | changes
        return write_bundle(path, release=release, **changes)

    def store(self):
        return ModelStore(self.folder / "store", ManualClock(), builtin=lambda name: self.folder / name)


@pytest.fixture
def desk(tmp_path, capsys):
    return Desk(tmp_path, capsys)


def test_a_bundle_is_verified_without_being_taken(desk):
    code, out, _ = desk("verify", desk.bundle(7))

    assert code == 0
    assert out.splitlines()[0] == "tiny 7.0.0 (release 7) can be used as rhythm here"
    assert "signed by the tests" in out
    assert "3 golden windows give the released answers" in out
    assert not (desk.folder / "store").exists()


def test_verify_for_machines(desk):
    body = desk.json("verify", desk.bundle(7))

    assert (body["model"], body["release"], body["n_golden"], body["labels"]) == ("rhythm", 7, 3, ["N", "AFIB"])
    assert body["signed_by"]["owner"] == "the tests"


def test_the_way_of_a_model(desk):
    """Staged, tried, used, taken back: each step says what comes next."""
    staged = desk("stage", desk.bundle(7))
    tried = desk("shadow", "rhythm")
    used = desk("promote", "rhythm")
    back = desk("rollback", "rhythm", "--why", "worse on the ward")

    assert [code for code, _, _ in (staged, tried, used, back)] == [0, 0, 0, 0]
    assert "it is not used yet" in staged[1]
    assert "vitaledge model promote rhythm" in staged[1]
    assert "decides nothing" in tried[1]
    assert "is used as rhythm; a running service follows within a minute" in used[1]
    assert "never ran beside" in used[1]
    assert "vitaledge model rollback rhythm" in used[1]
    assert "the model that came with this software is used as rhythm again" in back[1]
    steps = desk.json("list")["events"]
    assert [step["step"] for step in steps] == ["stage", "shadow", "promote", "rollback"]
    assert steps[-1]["why"] == "worse on the ward"


def test_the_list_shows_every_slot(desk):
    for release in (7, 8):
        desk("stage", desk.bundle(release))
        desk("promote", "rhythm")
    desk("stage", desk.bundle(9))
    desk("shadow", "rhythm")

    code, out, _ = desk("list")

    lines = [line.split() for line in out.splitlines()]
    shown = {" ".join(words[:2]): " ".join(words) for words in lines if words}
    assert code == 0
    assert "tiny 8.0.0 (release 8" in shown["in use"]
    assert any(words[:2] == ["before", "tiny"] and "7.0.0" in words for words in lines)
    assert any(words[:2] == ["staged", "tiny"] and words[-2:] == ["runs", "beside"] for words in lines)
    assert "nothing compared yet" in out
    assert "latest steps" in out


def test_the_list_shows_how_far_a_shadow_agrees(desk):
    """What an engineer wants to know before promoting; and promoting says it again."""
    desk("stage", desk.bundle(7))
    desk("shadow", "rhythm")
    agreement = Agreement()
    for number in range(100):
        labels = ("N", "AFIB") if number < 10 else ("N", "N")
        first, second = (
            Prediction(at_ns=number * 10**9, label=label, probabilities={}, bundle_sha256="") for label in labels
        )
        agreement.add(first, second)
    staged = desk.store().state().slots("rhythm").staged
    desk.store().keep_agreement("rhythm", "shadow", f"builtin>{staged.sha256}", agreement)

    shown = desk.json("list")["models"]["rhythm"]["shadow"]
    _, out, _ = desk("promote", "rhythm")

    assert (shown["n_decided"], shown["disagreement_pct"]) == (100, 10.0)
    assert "90.0 % the same over 100 windows" in out
    assert desk.store().state().slots("rhythm").expected_disagreement_ratio == pytest.approx(0.1)


def test_an_empty_list_is_a_list(desk):
    body = desk.json("list")

    assert body["models"]["rhythm"]["active"] is None
    assert set(body["models"]) == {"beat", "rhythm"}
    assert body["events"] == []
    assert not (desk.folder / "store").exists()


def test_a_damaged_store_is_told_in_the_list(desk):
    desk("stage", desk.bundle(7))
    (desk.folder / "store" / "state.json").write_bytes(b"x")

    code, out, _ = desk("list")

    assert code == 0
    assert "warning: " in out
    assert "is damaged" in out
    assert "is damaged" in desk.json("list")["damage"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key": None}, "is not signed"),
        ({"preprocessing": {"stage": "rhythm-windows/0"}}, "was trained on other windows"),
        ({"golden": []}, "golden"),
    ],
)
def test_a_refused_bundle_is_told_with_what_to_do(desk, change, words):
    """Exit 1, and nothing is staged."""
    code, out, err = desk("stage", desk.bundle(7, **change))

    assert code == 1
    assert out == ""
    assert words in err
    assert "what to do: " in err
    assert not (desk.folder / "store" / "state.json").exists()


def test_an_old_release_is_refused(desk):
    desk("stage", desk.bundle(7))
    desk("promote", "rhythm")

    code, _, err = desk("stage", desk.bundle(6))

    assert code == 1
    assert "release 6 is older than release 7" in err
    assert "what to do: vitaledge model rollback rhythm" in err


def test_one_that_was_taken_back_needs_a_word(desk):
    desk("stage", desk.bundle(7))
    desk("promote", "rhythm")
    desk("rollback", "rhythm")

    refused = desk("stage", desk.bundle(7))
    taken = desk("stage", desk.bundle(7), "--again")

    assert (refused[0], taken[0]) == (1, 0)
    assert "--again" in refused[2]


@pytest.mark.parametrize("action", ["promote", "shadow"])
def test_nothing_staged_is_told(desk, action):
    code, _, err = desk(action, "beat")

    assert code == 1
    assert "beat: nothing is staged" in err
    assert "vitaledge model stage BUNDLE" in err


def test_nothing_to_go_back_to_is_told(desk):
    code, _, err = desk("rollback", "beat")

    assert code == 1
    assert "nothing to go back to" in err


def test_an_unknown_model_is_wrong_usage(desk):
    code, _, err = desk("promote", "bet")

    assert code == 2
    assert "expected one of beat, rhythm; got 'bet'" in err


def test_a_bundle_for_another_purpose_needs_a_name(desk):
    code, _, err = desk("stage", desk.bundle(7, task="other"))

    assert code == 2
    assert "say which one it is to be" in err


def test_a_bundle_is_not_taken_for_another_model(desk):
    code, _, err = desk("stage", desk.bundle(7), "--model", "beat")

    assert code == 1
    assert "expected a model for beat" in err


def test_a_store_that_cannot_be_written_is_the_environments_fault(desk):
    """Exit 3."""
    (desk.folder / "store").write_text("a file in its place")

    code, _, err = desk("stage", desk.bundle(7))

    assert code == 3
    assert "cannot be used" in err


def test_the_store_can_be_named_on_the_command_line(desk, tmp_path):
    desk("stage", desk.bundle(7), "--store", tmp_path / "elsewhere")

    assert (tmp_path / "elsewhere" / "state.json").exists()
    assert not (desk.folder / "store").exists()


def test_a_configuration_that_passes_over_promotions_is_told(desk):
    """Nobody promotes a model and wonders why nothing changes."""
    desk("stage", desk.bundle(7))

    _, used, _ = desk("promote", "rhythm", "--set", "model.rhythm.bundle=builtin")
    _, listed, _ = desk("list", "--set", "model.rhythm.bundle=builtin")

    assert "note: the configuration says model.rhythm.bundle = 'builtin'" in used
    assert "builtin: what is promoted here is not used" in listed


def test_the_shadow_is_switched_off(desk):
    desk("stage", desk.bundle(7))
    desk("shadow", "rhythm")

    body = desk.json("shadow", "rhythm", "--off")

    assert body == {"model": "rhythm", "step": "shadow", "is_on": False}
    assert not desk.store().state().slots("rhythm").is_shadow


def test_errors_are_json_where_asked(desk):
    code, out, _ = desk("promote", "rhythm", "--json")

    assert code == 1
    assert json.loads(out)["kind"] == "ModelContractError"
