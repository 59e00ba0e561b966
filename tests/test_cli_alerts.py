"""`vitaledge alerts`: past alerts are listed, explained by the model that decided, and judged."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from edge.alert_archive import AlertArchive
from edge.cli import main
from edge.messages import AlertState
from tests.fakes.alert_records import alert, record, write_beat_bundle


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def sha256(models):
    write_beat_bundle(models / "other", version="0.2.0")
    return write_beat_bundle(models / "store" / "beat" / "3")


@pytest.fixture
def store(tmp_path, sha256):
    """Two alerts: a run that the model decided, and one that a rule raised."""
    archive = AlertArchive(tmp_path / "alerts")
    archive.save(record(20.0, sha256=sha256, alert_id="run"))
    evidence = {"rule": "heart rate", "value": 155.1, "limit": 140.0, "unit": "/min"}
    by_rule = alert(30.0, "extreme-tachycardia", alert_id="fast", evidence=evidence)
    archive.save(replace(record(), alert=by_rule, decision=None, windows=(), predictions=()))
    return archive.folder


def run(*args, capsys):
    code = main(["alerts", *map(str, args)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


def test_list_names_every_alert_with_who_decided(store, capsys):
    """Oldest first."""
    code, out, _ = run("list", "--store", store, capsys=capsys)

    head, first, second = out.splitlines()
    assert code == 0
    assert head.split() == ["time", "priority", "condition", "state", "decided", "by", "label", "id"]
    assert first.startswith("2023-11-14 22:13:40  medium    ventricular-run")
    assert "beat model" in first
    assert second.split()[-4:] == ["raised", "rule", "-", "fast"]


def test_list_as_json(store, capsys):
    """The same for a program; `--last` takes the newest."""
    code, out, _ = run("list", "--store", store, "--json", "--last", "1", capsys=capsys)

    (found,) = json.loads(out)["alerts"]
    assert code == 0
    assert (found["id"], found["decided_by"], found["state"]) == ("fast", "rule", "raised")


def test_list_names_damaged_files_and_goes_on(store, capsys):
    """Exit 1, so that a script notices."""
    path = next(store.glob("*-run.json"))
    path.write_text("{")

    code, out, err = run("list", "--store", store, capsys=capsys)

    assert code == 1
    assert str(path) in err
    assert "fast" in out


def test_an_empty_folder_is_no_error(tmp_path, capsys):
    """A gateway that has never alarmed."""
    code, out, _ = run("list", "--store", tmp_path, capsys=capsys)

    assert code == 0
    assert "no alerts" in out


def test_a_wrong_folder_is_told(tmp_path, capsys):
    """Exit 2: it would look as if nothing had ever happened."""
    code, _, err = run("list", "--store", tmp_path / "none", capsys=capsys)

    assert code == 2
    assert "--store" in err


def test_the_default_folder_lies_beside_the_outbox(tmp_path, store, capsys):
    """Where the service writes it."""
    code, out, _ = run("list", "--set", f"outbox.path={tmp_path / 'outbox.db'}", capsys=capsys)

    assert code == 0
    assert "fast" in out


def test_explain_asks_the_model_that_decided_and_says_it_is_the_same(store, models, capsys):
    """In words, reproduced bit for bit, with one line that this is no medical device."""
    code, out, _ = run("explain", "run", "--store", store, "--models", models, capsys=capsys)

    words = " ".join(out.split())
    assert code == 0
    assert "The model calls these 3 beats ventricular" in words
    assert "bit for bit (3 windows)" in words
    assert words.count("Not a medical device.") == 1


def test_explain_as_json(store, models, capsys):
    """Contributions, facts, highlights and whether it came out the same."""
    code, out, _ = run("explain", "run", "--store", store, "--models", models, "--json", capsys=capsys)

    found = json.loads(out)
    assert code == 0
    assert found["reproduced"] == {
        "exact": True, "windows": 3, "windows_same": 3, "largest_lsb": 0, "decisions": 3, "decisions_same": 3,
    }  # fmt: skip
    assert found["explanation"]["label"] == "V"
    assert found["explanation"]["contributions"]


@pytest.mark.parametrize("folder", ["nothing", "other"])
def test_another_model_is_never_asked_in_its_place(store, models, folder, capsys):
    """Without the bundle that decided there is no explanation, though the other one fits: exit 1 and where to look."""
    code, out, err = run("explain", "run", "--store", store, "--models", models / folder, capsys=capsys)

    assert code == 1
    assert out == ""
    assert "--models" in err


def test_an_altered_bundle_is_refused(store, models, tmp_path, capsys):
    """Its manifest is the right one, its model file is not."""
    copy = tmp_path / "copy"
    shutil.copytree(models / "store", copy)
    file = next(copy.rglob("model.tflite"))
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")

    code, _, err = run("explain", "run", "--store", store, "--models", copy, capsys=capsys)

    assert code == 1
    assert "model.tflite" in err


def test_an_answer_that_does_not_come_out_again_is_told(tmp_path, sha256, models, capsys):
    """Exit 1 and how large the difference is."""
    given = record(sha256=sha256)
    first = given.predictions[0]
    other = replace(first, evidence={**first.evidence, "logits": [5, -5]}, probabilities={"N": 0.0, "V": 1.0})
    AlertArchive(tmp_path).save(replace(given, predictions=(other, *given.predictions[1:])))

    code, out, _ = run("explain", "a-1", "--store", tmp_path, "--models", models, capsys=capsys)

    assert code == 1
    assert "Attention: asked again, the model does not give the same answer: 2 of 3 windows" in " ".join(out.split())


def test_windows_that_were_not_kept_are_told(tmp_path, sha256, models, capsys):
    """Nothing is explained from other windows."""
    AlertArchive(tmp_path).save(replace(record(sha256=sha256), windows=()))

    code, _, err = run("explain", "a-1", "--store", tmp_path, "--models", models, capsys=capsys)

    assert code == 1
    assert "not kept" in err
    assert "what to do" in err


def test_a_rule_is_explained_without_any_model(store, capsys):
    """What it measured and its limit."""
    code, out, _ = run("explain", "fast", "--store", store, capsys=capsys)

    assert code == 0
    assert "no model was asked: the last beats are extremely fast" in " ".join(out.split())
    assert "155.1/min; the limit is 140/min" in out


def test_pictures_are_drawn_with_the_words(store, models, tmp_path, capsys):
    """SVG that any browser shows, and PNG where a converter is there."""
    svg, png = tmp_path / "x.svg", tmp_path / "x.png"

    code, out, _ = run("explain", "run", "--store", store, "--models", models, "--svg", svg, capsys=capsys)

    said = " ".join("".join(node.itertext()) for node in ET.fromstring(svg.read_text()).iter())
    assert code == 0
    assert f"wrote {svg}" in out
    assert "Run of 3 ventricular beats at 150/min." in said
    assert "What the decision rests on" in said
    assert "Not a medical device" in said
    if shutil.which("rsvg-convert") is None:
        pytest.skip("rsvg-convert is not installed")
    assert run("show", "run", "--store", store, "--png", png, capsys=capsys)[0] == 0
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_missing_converter_is_told(store, tmp_path, capsys, monkeypatch):
    """With what can be done instead."""
    monkeypatch.setenv("PATH", str(tmp_path))

    code, _, err = run("show", "run", "--store", store, "--png", tmp_path / "x.png", capsys=capsys)

    assert code == 1
    assert "--svg" in err


@pytest.mark.parametrize("option", ["--svg", "--png"])
def test_a_picture_that_cannot_be_written_is_told(store, tmp_path, capsys, option):
    """Exit 2 and the path."""
    if option == "--png" and shutil.which("rsvg-convert") is None:
        pytest.skip("rsvg-convert is not installed")
    path = tmp_path / "none" / "x"

    code, _, err = run("show", "run", "--store", store, option, path, capsys=capsys)

    assert code == 2
    assert str(path) in err


def test_show_prints_what_is_kept(store, capsys):
    """Evidence, states, and the figures for a program."""
    AlertArchive(store).note(alert(alert_id="run", revision=2, state=AlertState.CLOSED), 9)

    code, out, _ = run("show", "run", "--store", store, capsys=capsys)
    _, as_json, _ = run("show", "run", "--store", store, "--json", capsys=capsys)

    assert code == 0
    assert "state: closed" in out
    assert "rule: consecutive ventricular beats" in out
    details = json.loads(as_json)["record"]
    assert (details["n_windows"], details["strip_s"]) == (3, 14.0)
    assert [each["state"] for each in details["events"]] == ["closed"]


def test_an_unknown_alert_is_told(store, capsys):
    """Exit 1 and how to find it."""
    code, _, err = run("explain", "nothing", "--store", store, capsys=capsys)

    assert code == 1
    assert "alerts list" in err


def test_the_beginning_of_an_identifier_is_enough_and_last_is_the_newest(tmp_path, capsys):
    """They are long; what fits several is refused."""
    archive = AlertArchive(tmp_path)
    for k, name in enumerate(("0197f0c2-aa", "0197f0c2-ab", "0198")):
        archive.save(record(20.0 + k, alert_id=name))

    for text, code, wanted in (
        ("last", 0, "0198"), ("0197f0c2-aa", 0, "0197f0c2-aa"), ("0197f0c2-ab", 0, "0197f0c2-ab"),
        ("0197", 1, "beginning of 2 alerts"), ("019", 1, "no record"), ("9999", 1, "no record"),
    ):  # fmt: skip
        found, out, err = run("show", text, "--store", tmp_path, "--json", capsys=capsys)
        assert (found, wanted in out + err) == (code, True), text


def test_a_verdict_is_kept_and_shown(store, capsys):
    """It is in the list, and the training set reads it."""
    code, out, _ = run("label", "run", "false", "--by", "nurse-4", "--store", store, capsys=capsys)
    _, listed, _ = run("list", "--store", store, "--json", capsys=capsys)

    assert code == 0
    assert out == "alert run: false, says nurse-4\n"
    assert json.loads(listed)["alerts"][0]["label"]["label"] == "false"
    assert [each.label.by for each in AlertArchive(store).labelled()] == ["nurse-4"]


@pytest.mark.parametrize(
    "args", [("label", "run", "maybe", "--by", "x"), ("label", "run", "true"), ("label", "run", "true", "--by", " "), ("list", "--last", "0")]
)  # fmt: skip
def test_wrong_usage_is_exit_2(store, capsys, args):
    """Whoever finds it."""
    try:
        code = main(["alerts", *args, "--store", str(store)])
    except SystemExit as error:  # argparse's own
        code = error.code

    assert code == 2
