"""A bundle is what its manifest says, or it is refused before anything opens the model."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import ModelContractError
from edge.inference.bundle import MAX_FILE_BYTES, load_bundle
from tests.fakes.tiny_model import golden_windows, manifest, write_bundle

MODEL = b"TFL3 stands for a model: loading a bundle never opens it"


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "bundle", MODEL)


def refusal(path):
    with pytest.raises(ModelContractError) as caught:
        load_bundle(path)
    return str(caught.value)


def rewrite(bundle, change):
    """Apply `change` to the parsed manifest and write it back."""
    values = json.loads((bundle / "manifest.json").read_text())
    change(values)
    (bundle / "manifest.json").write_text(json.dumps(values))


def test_a_bundle_comes_back_verified(bundle):
    loaded = load_bundle(bundle)

    assert loaded.card.title == "tiny 0.1.0"
    assert loaded.model == MODEL
    assert len(loaded.golden) == 3
    assert loaded.sha256 == hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert loaded.card.signature is None


def test_the_model_stays_out_of_the_repr(bundle):
    """A log line about a bundle is not a megabyte long."""
    assert len(repr(load_bundle(bundle))) < 2000


def test_nothing_there_is_named(tmp_path):
    assert "nothing there" in refusal(tmp_path / "nowhere")


def test_a_file_in_place_of_a_bundle_is_named(bundle):
    assert "got a file" in refusal(bundle / "model.tflite")


@pytest.mark.parametrize("name", ["manifest.json", "model.tflite", "golden.json"])
def test_a_missing_file_is_named(bundle, name):
    (bundle / name).unlink()

    assert f"{name}: is missing" in refusal(bundle)


def test_a_directory_in_place_of_a_file_is_named(bundle):
    (bundle / "model.tflite").unlink()
    (bundle / "model.tflite").mkdir()

    assert "model.tflite: cannot be read" in refusal(bundle)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (MODEL[:-1], "is truncated: expected 56 bytes, got 55"),
        (b"", "is truncated"),
        (MODEL + b"x", "is longer than released"),
        (MODEL.replace(b"T", b"t", 1), "was altered: expected SHA-256"),
    ],
)
def test_a_damaged_model_is_refused(bundle, content, words):
    """A damaged model can crash a runtime, so it never gets that far."""
    (bundle / "model.tflite").write_bytes(content)

    assert words in refusal(bundle)


@settings(max_examples=60)
@given(st.data())
def test_no_change_of_any_byte_goes_unnoticed(tmp_path_factory, data):
    """Invariant: flip any bit of any file, and the bundle is refused or is another bundle by its hash."""
    bundle = write_bundle(tmp_path_factory.mktemp("b"), MODEL)
    before = load_bundle(bundle)
    path = bundle / data.draw(st.sampled_from(["manifest.json", "model.tflite", "golden.json"]))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)

    try:
        after = load_bundle(bundle)
    except ModelContractError:
        return
    assert after.sha256 != before.sha256
    assert after.model == MODEL


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_a_manifest_that_is_none_is_refused(bundle, content):
    (bundle / "manifest.json").write_bytes(content)

    assert "manifest.json: " in refusal(bundle)


def test_a_later_format_is_named_as_such(bundle):
    rewrite(bundle, lambda values: values.update(format_version=2))

    assert "expected format_version 1, got 2: made for a later version" in refusal(bundle)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda values: values.pop("output"), "output: Field required"),
        (lambda values: values.update(nonsense=1), "nonsense: Unexpected"),
        (lambda values: values.update(signature="abc"), "signature: Input should be null"),
        (lambda values: values.update(format_version=True), "format_version"),
        (lambda values: values["input"].update(rate_hz=0), "input.rate_hz"),
        (lambda values: values["input"].update(rate_hz=float("nan")), "input.rate_hz"),
        (lambda values: values["input"].update(n_samples="50"), "input.n_samples"),
        (lambda values: values["input"].update(channels=[]), "input.channels"),
        (lambda values: values["output"].update(labels=["N", "N"]), "expected labels that differ, got N, N"),
        (
            lambda values: values["output"]["thresholds"].pop("N"),
            "expected a threshold for each label (N, AFIB), got AFIB",
        ),
        (lambda values: values["output"]["thresholds"].update(N=1.5), "thresholds.N"),
        (lambda values: values.update(model="other.tflite"), "expected other.tflite among files"),
        (lambda values: values["files"]["model.tflite"].update(sha256="0"), "sha256"),
    ],
)
def test_an_impossible_manifest_says_which_field(bundle, change, words):
    rewrite(bundle, change)

    assert words in refusal(bundle)


@pytest.mark.parametrize("name", ["../model.tflite", "/etc/passwd", "a/b", "..", ".hidden", ""])
def test_no_file_outside_the_bundle_is_ever_opened(bundle, name):
    """A name in the manifest cannot lead out of the directory."""

    def change(values):
        values["files"][name] = values["files"]["model.tflite"]

    rewrite(bundle, change)

    assert "files" in refusal(bundle)


def test_a_file_that_is_too_large_is_refused_without_reading_it_all(bundle):
    with (bundle / "model.tflite").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 10)

    assert "expected at most" in refusal(bundle)


@pytest.mark.parametrize(
    ("golden", "words"),
    [
        ([], "expected at least one golden window"),
        (b"{", "is no JSON"),
        ([{"values": [[0.0]], "output": [1, 2]}], "window 0: expected 50 rows of 1, got 1 rows of [1]"),
        ([{"values": [[0.0, 0.0]] * 50, "output": [1, 2]}], "expected 50 rows of 1, got 50 rows of [2]"),
        ([golden_windows()[0] | {"output": [1]}], "window 0: expected 2 outputs, got 1"),
        ([golden_windows()[0] | {"output": [1, 128]}], "0.output.1"),
        ([golden_windows()[0] | {"values": [[float("nan")]] * 50}], "0.values.0.0"),
    ],
)
def test_golden_windows_that_cannot_be_are_refused(tmp_path, golden, words):
    assert words in refusal(write_bundle(tmp_path / "bundle", MODEL, golden=golden))


def test_the_manifest_of_the_tests_lists_every_file():
    """The fake is as strict as the real thing."""
    assert set(manifest({"a": b"1", "b": b"2"})["files"]) == {"a", "b"}
