"""The workstation's command line: what it has, what it says of wrong usage, and what it does with bundles."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from converter.cli import VERBS, build_parser, main
from converter.sign import make_key, trust_entry
from converter.trained import read_trained
from edge.errors import EdgeError
from tests.fakes.tiny_model import KEY, golden_windows, write_bundle

COMMANDS = ("train", "compare", "quantize", "verify", "bundle", "sign", "emit-c", "evaluate")


def test_help_lists_every_command(capsys):
    assert main([]) == 2

    shown = capsys.readouterr().out
    assert all(f"    {name} " in shown for name in COMMANDS)
    assert len(VERBS) >= len(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(capsys, name):
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])

    assert caught.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_an_unknown_command_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["frobnicate"])

    assert caught.value.code == 2
    assert "verify" in capsys.readouterr().err


def test_the_command_line_does_not_load_tensorflow():
    """Looking at the help, verifying and signing must not cost ten seconds, nor need TensorFlow."""
    script = (
        "import sys, converter.cli; converter.cli.build_parser(); print([m for m in sys.modules if m in sys.argv[1]])"
    )
    heavy = "tensorflow keras matplotlib joblib"

    done = subprocess.run([sys.executable, "-c", script, heavy], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["train", "nothing", "--data", "d", "--out", "o"], 1, "expected one of the recipes"),
        (["train", "image_folder", "--data", "d", "--out", "o", "--seeds", "0"], 1, "--seeds: expected at least 1"),
        (["train", "image_folder", "--data", "d", "--out", "o", "--set", "fit.epoch=3"], 2, "nearest: fit.epochs"),
        (["train", "image_folder", "--data", "nowhere", "--out", "o"], 1, "expected at least two folders"),
        (["quantize", "model.keras"], 1, "--representative"),
        (["bundle", "nowhere", "--out", "o", "--version", "1", "--release", "1"], 1, "vitaledge-convert train"),
        (["sign", "b"], 1, "expected either a bundle and --key"),
        (["sign", "--new-key", "key.pem"], 1, "--owner"),
    ],
)
def test_wrong_usage_is_told_in_a_sentence(capsys, tmp_path, monkeypatch, arguments, code, said):
    """No traceback, and with --json an object on stdout all the same."""
    monkeypatch.chdir(tmp_path)

    assert main([*arguments, "--json"]) == code

    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert json.loads(captured.out)["valid"] is False
    assert not list(tmp_path.iterdir())


def test_without_tensorflow_there_is_one_sentence_with_the_fix(tmp_path):
    """Exit code 3: the environment lacks something."""
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for k in range(6):
            (tmp_path / "data" / label / f"{k}.npy").write_bytes(_picture(k))
    script = (
        "import sys; sys.modules['keras'] = None; sys.modules['tensorflow'] = None\n"
        "from converter.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["train", "image_folder", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]

    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, "--set", "data.size_px=16"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 3
    assert "pip install 'vitaledge[convert]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_train_did_not_write_says_so(tmp_path):
    (tmp_path / "trained.json").write_text('{"recipe": 5}')

    with pytest.raises(EdgeError, match="recipe") as caught:
        read_trained(tmp_path)

    assert caught.value.hint


def test_a_missing_bundle_fails_with_a_remedy(capsys, tmp_path):
    assert main(["verify", str(tmp_path / "nowhere"), "--json"]) == 1

    captured = capsys.readouterr()
    assert "what to do: " in captured.err
    assert json.loads(captured.out)["valid"] is False


def test_a_new_key_signs_what_its_public_half_verifies(capsys, tmp_path):
    """make a key, sign with it, and a gateway that trusts its public half takes the bundle."""
    bundle = write_bundle(tmp_path / "b", key=None)
    key = tmp_path / "key.pem"

    assert main(["sign", "--new-key", str(key), "--owner", "Ward 3", "--json"]) == 0
    trusted = tmp_path / "trusted.json"
    trusted.write_text(json.dumps(json.loads(capsys.readouterr().out)["trusted_keys"]))
    assert main(["sign", str(bundle), "--key", str(key)]) == 0
    assert main(["sign", "--new-key", str(key), "--owner", "Ward 3"]) == 1  # a key is never overwritten
    assert key.stat().st_mode & 0o077 == 0

    capsys.readouterr()
    assert main(["verify", str(bundle), "--backend", "litert"]) == 1
    assert "not trusted here" in capsys.readouterr().err
    assert main(["verify", str(bundle), "--trust", str(trusted), "--backend", "litert"]) == 0
    assert "; signed" in capsys.readouterr().out


class TestWithRuntime:
    @pytest.fixture(autouse=True)
    def _runtime(self, tmp_path):
        pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")
        self.trusted = tmp_path / "trusted.json"
        self.trusted.write_text(json.dumps(trust_entry(KEY, "the tests")))

    def test_a_good_bundle_is_verified(self, capsys, tmp_path):
        bundle = write_bundle(tmp_path / "b")
        arguments = ["verify", str(bundle), "--trust", str(self.trusted), "--backend", "litert"]

        assert main(arguments) == 0
        shown = capsys.readouterr().out
        assert main([*arguments, "--json"]) == 0

        assert "tiny 0.1.0: every file is as released, 3 golden vectors answered; signed" in shown
        facts = json.loads(capsys.readouterr().out)
        assert (facts["valid"], facts["signed"], facts["passed"], facts["n_golden"]) == (True, True, True, 3)

    def test_an_unsigned_bundle_is_verified_and_says_so(self, capsys, tmp_path):
        assert main(["verify", str(write_bundle(tmp_path / "b", key=None)), "--backend", "litert"]) == 0
        assert "not signed" in capsys.readouterr().out

    def test_a_key_that_is_not_trusted_is_refused(self, capsys, tmp_path):
        bundle = write_bundle(tmp_path / "b", key=make_key())

        assert main(["verify", str(bundle), "--trust", str(self.trusted)]) == 1
        assert "not trusted here" in capsys.readouterr().err

    def test_a_bundle_that_answers_otherwise_fails(self, capsys, tmp_path):
        golden = [found | {"output": [0, 0]} for found in golden_windows()]
        bundle = write_bundle(tmp_path / "b", golden=golden)

        assert main(["verify", str(bundle), "--trust", str(self.trusted)]) == 1
        assert "golden case 0" in capsys.readouterr().err


def test_the_parser_is_built_without_a_terminal():
    assert build_parser().prog == "vitaledge-convert"


def _picture(k: int) -> bytes:
    import io

    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, np.full((8, 8), k * 10, np.uint8))
    return buffer.getvalue()
