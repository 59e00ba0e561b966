"""Damaged, forged and malicious bundles: all refused with a reason, before a runtime sees one byte of a model.

tflite-runtime crashed on 21 of 40 mutated models: the process that watches a person must never get so far.
"""

from __future__ import annotations

import io
import json
import stat
import subprocess
import sys
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.bundle_writer import zip_bundle
from edge.errors import ModelContractError, ModelFault
from edge.inference.bundle import load_bundle
from edge.inference.classifier import Classifier
from edge.inference.interpreter import Interpreter
from tests.fakes.tiny_model import (
    OTHER_KEY,
    OUTPUT_CARD,
    TRUST,
    add_model,
    classifier_model,
    golden_windows,
    sign,
    two_input_model,
    uint8_model,
    write_bundle,
)

pytest.importorskip("ai_edge_litert", reason="needs the litert extra, whose schema writes the models")


def reason(path, **options):
    with pytest.raises(ModelContractError) as caught:
        load_bundle(path, TRUST, **options)
    assert str(caught.value)
    return caught.value.reason


@pytest.fixture(scope="module")
def model():
    return classifier_model()


def mutations():
    """Return names and changes of a model file: flips, cuts, swaps, fillings, other models."""
    found = {}
    for number in range(20):
        found[f"bit-{number}"] = lambda m, n=number: flipped(m, n * len(m) // 20, n % 8)
    for number in range(10):
        found[f"cut-{number}"] = lambda m, n=number: m[: n * len(m) // 10]
    for number in range(6):
        found[f"zeros-{number}"] = lambda m, n=number: filled(m, n * len(m) // 6, b"\0" * 16)
        found[f"ones-{number}"] = lambda m, n=number: filled(m, n * len(m) // 6, b"\xff" * 16)
    found |= {
        "halves-swapped": lambda m: m[len(m) // 2 :] + m[: len(m) // 2],
        "words-swapped": lambda m: m[4:8] + m[:4] + m[8:],
        "reversed": lambda m: m[::-1],
        "twice": lambda m: m + m,
        "one-byte-more": lambda m: m + b"\0",
        "shifted": lambda m: b"\0" + m[:-1],
        "another-model": lambda _: two_input_model(),
        "float-model": lambda _: classifier_model(is_float=True),
        "noise-of-its-length": lambda m: bytes((7 * n * n + n) % 256 for n in range(len(m))),
        "text": lambda m: b"not a model".ljust(len(m)),
    }
    return found


def flipped(content, at, bit):
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def filled(content, at, filling):
    changed = content[:at] + filling + content[at + len(filling) :]
    return changed if changed != content else flipped(content, at, 0)


MUTATIONS = mutations()


def test_there_are_as_many_mutations_as_crashed_a_runtime():
    assert len(MUTATIONS) >= 40


@pytest.mark.parametrize("change", MUTATIONS.values(), ids=MUTATIONS)
class TestMutatedModel:
    def test_it_is_refused_by_its_hash(self, tmp_path, model, change):
        bundle = write_bundle(tmp_path / "bundle", model)
        (bundle / "model.tflite").write_bytes(change(model))

        assert reason(bundle) is ModelFault.DAMAGED

    def test_it_is_refused_by_its_signature_where_the_hash_was_made_to_fit(self, tmp_path, model, change):
        """The attacker writes a manifest that fits and signs it, with a key that nobody trusts."""
        bundle = write_bundle(tmp_path / "bundle", change(model) or b"\0", key=OTHER_KEY)

        assert reason(bundle) is ModelFault.UNKNOWN_KEY

    def test_it_is_refused_in_a_zip(self, tmp_path, model, change):
        bundle = write_bundle(tmp_path / "bundle", model)
        (bundle / "model.tflite").write_bytes(change(model))

        assert reason(zip_bundle(bundle, tmp_path / "b.zip")) is ModelFault.DAMAGED


def test_loading_a_bundle_needs_no_runtime():
    """The order of the checks cannot be wrong where the code that opens models is not even imported."""
    program = (
        "import sys, edge.inference.bundle;"
        "print(sorted(name for name in sys.modules if 'litert' in name or 'tflite' in name or 'interpreter' in name))"
    )

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "[]"


class TestSignedByMistake:
    """A trusted person signed what is no good: found before the first window, with a reason."""

    def opened(self, path):
        bundle = load_bundle(path, TRUST)
        Classifier(bundle.card, bundle.sha256, Interpreter(bundle.model, backend="litert")).verify(bundle.golden)

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (lambda: classifier_model(is_float=True), ModelFault.NOT_INT8),
            (uint8_model, ModelFault.NOT_INT8),
            (lambda: classifier_model(n_samples=51), ModelFault.MISMATCH),
            (lambda: classifier_model(n_labels=3), ModelFault.MISMATCH),
            (lambda: classifier_model(input_name="x"), ModelFault.MISMATCH),
            (lambda: classifier_model(output_name="x"), ModelFault.MISMATCH),
            (two_input_model, ModelFault.MISMATCH),
            (lambda: add_model("a", "b"), ModelFault.MISMATCH),
            (lambda: b"no model", ModelFault.RUNTIME),
            (lambda: classifier_model()[:300], ModelFault.RUNTIME),
        ],
        ids=["float", "uint8", "window", "labels", "input", "output", "inputs", "sum", "text", "cut"],
    )
    def test_a_model_that_the_card_does_not_describe(self, tmp_path, content, expected):
        with pytest.raises(ModelContractError) as caught:
            self.opened(write_bundle(tmp_path / "bundle", content()))

        assert caught.value.reason is expected

    def test_golden_answers_of_another_model(self, tmp_path):
        golden = [found | {"output": found["output"][::-1]} for found in golden_windows()]

        with pytest.raises(ModelContractError) as caught:
            self.opened(write_bundle(tmp_path / "bundle", golden=golden))

        assert caught.value.reason is ModelFault.GOLDEN

    def test_the_good_one_opens(self, tmp_path):
        """Else all of the above would prove nothing."""
        self.opened(write_bundle(tmp_path / "bundle"))


class TestForgery:
    @pytest.fixture
    def bundle(self, tmp_path, model):
        return write_bundle(tmp_path / "bundle", model)

    def change(self, bundle, **values):
        manifest = json.loads((bundle / "manifest.json").read_text()) | values
        (bundle / "manifest.json").write_text(json.dumps(manifest))

    @pytest.mark.parametrize(
        "values",
        [
            {"output": OUTPUT_CARD | {"labels": ["AFIB", "N"]}},
            {"output": OUTPUT_CARD | {"thresholds": {"N": 0.0, "AFIB": 1.0}}},
            {"output": OUTPUT_CARD | {"temperature": 100.0}},
            {"output": OUTPUT_CARD | {"bias": {"N": 50.0}}},
            {"abstention": {"min_energy": 99.0}},
            {"release": 99},
            {"created": "2020-01-01"},
            {"task": "beat"},
            {"files": {}},
        ],
        ids=["labels", "thresholds", "temperature", "bias", "silenced", "release", "date", "task", "files"],
    )
    def test_no_field_can_be_changed(self, bundle, values):
        self.change(bundle, **values)

        assert reason(bundle) is ModelFault.BAD_SIGNATURE

    def test_the_old_signature_on_an_old_release_does_not_help(self, bundle, tmp_path, model):
        """Both are genuine; the older one is refused by the floor that the device keeps."""
        newer = write_bundle(tmp_path / "newer", model, release=4)

        floor = load_bundle(newer, TRUST).card.release

        assert reason(bundle, least_release=floor) is ModelFault.REPLAYED

    def test_taking_the_signature_away_does_not_help(self, bundle):
        (bundle / "manifest.sig").unlink()

        assert reason(bundle) is ModelFault.UNSIGNED

    def test_the_model_of_another_trusted_bundle_does_not_fit(self, bundle, tmp_path):
        other = write_bundle(tmp_path / "other", two_input_model())
        (bundle / "model.tflite").write_bytes((other / "model.tflite").read_bytes())

        assert reason(bundle) is ModelFault.DAMAGED


class TestZip:
    @pytest.fixture
    def files(self, tmp_path, model):
        bundle = write_bundle(tmp_path / "bundle", model)
        return {path.name: path.read_bytes() for path in sorted(bundle.iterdir())}

    def pack(self, tmp_path, files, **entry):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, value in files.items():
                info = zipfile.ZipInfo(name)
                for key, setting in entry.items():
                    setattr(info, key, setting)
                archive.writestr(info, value)
        (tmp_path / "b.zip").write_bytes(content.getvalue())
        return tmp_path / "b.zip"

    def test_the_plain_one_opens(self, tmp_path, files):
        """Else all of the below would prove nothing."""
        assert load_bundle(self.pack(tmp_path, files), TRUST).card.title == "tiny 0.1.0"

    @pytest.mark.parametrize("name", ["../manifest.json", "/etc/passwd", "folder/model.tflite", "a\\b", "folder/"])
    def test_a_name_that_leads_elsewhere(self, tmp_path, files, name):
        assert reason(self.pack(tmp_path, files | {name: b"x"})) is ModelFault.FORMAT

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_one_name_twice(self, tmp_path, files):
        """One program would check the first, another run the second."""
        path = self.pack(tmp_path, files)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("model.tflite", b"another")

        assert reason(path) is ModelFault.FORMAT

    def test_a_link(self, tmp_path, files):
        path = self.pack(tmp_path, files, external_attr=(stat.S_IFLNK | 0o777) << 16)

        assert reason(path) is ModelFault.FORMAT

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_a_rare_compression(self, tmp_path, files, method):
        """Every decoder more is one more that reads what nobody has checked yet."""
        assert reason(self.pack(tmp_path, files, compress_type=method)) is ModelFault.FORMAT

    def test_a_bomb(self, tmp_path, files):
        """A gigabyte of zeros in a megabyte: never unpacked."""
        bomb = files | {"model.tflite": bytes(70_000_000)}

        path = self.pack(tmp_path, bomb, compress_type=zipfile.ZIP_DEFLATED)

        assert path.stat().st_size < 200_000
        assert reason(path) is ModelFault.DAMAGED

    def test_thousands_of_entries(self, tmp_path, files):
        assert reason(self.pack(tmp_path, files | {f"f{n}": b"" for n in range(200)})) is ModelFault.FORMAT

    def test_a_million_entries(self, tmp_path):
        """Refused before a list of them takes all the memory."""
        entry = b"PK\1\2" + bytes(42)
        end = b"PK\5\6" + bytes(6) + (65535).to_bytes(2, "little") + (1_000_000 * 46).to_bytes(4, "little") + bytes(6)
        (tmp_path / "b.zip").write_bytes(1_000_000 * entry + end)

        with pytest.raises(ModelContractError, match="expected at most 100 files"):
            load_bundle(tmp_path / "b.zip", TRUST)

    def test_an_encrypted_entry(self, tmp_path, files):
        path = self.pack(tmp_path, files)
        content = bytearray(path.read_bytes())
        at = content.rindex(b"PK\1\2")  # central directory, last entry: bit 0 of the flags says that it is encrypted
        content[at + 8] |= 1
        path.write_bytes(bytes(content))

        assert reason(path) is ModelFault.FORMAT

    def test_files_that_nobody_asks_for_do_no_harm(self, tmp_path, files):
        assert load_bundle(self.pack(tmp_path, files | {"notes.txt": b"hello"}), TRUST)

    @settings(max_examples=150, deadline=None)
    @given(data=st.data())
    def test_no_damage_crashes_or_changes_what_is_loaded(self, tmp_path_factory, model, data):
        """Invariant: a zip with any bytes changed or cut is refused, or is the very same bundle."""
        folder = tmp_path_factory.mktemp("z")
        path = zip_bundle(write_bundle(folder / "bundle", model), folder / "b.zip")
        before, content = load_bundle(path, TRUST), bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(
            bytes(content[: data.draw(st.integers(0, len(content)))]) if data.draw(st.booleans()) else content
        )

        try:
            after = load_bundle(path, TRUST)
        except ModelContractError:
            return
        assert (after.sha256, after.model) == (before.sha256, before.model)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_as_manifest_are_refused_in_words(tmp_path_factory, content):
    """Invariant: a signed manifest of any bytes gives an error with words, never another exception."""
    bundle = write_bundle(tmp_path_factory.mktemp("m") / "bundle", b"model")
    (bundle / "manifest.json").write_bytes(content)
    sign(bundle)

    assert reason(bundle) is ModelFault.FORMAT


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_value_in_any_field_is_taken_or_refused_in_words(tmp_path_factory, data):
    """Invariant: what a signer types into a manifest can be wrong, but never ends the program."""
    bundle = write_bundle(tmp_path_factory.mktemp("v") / "bundle", b"model")
    manifest = json.loads((bundle / "manifest.json").read_text())
    place = manifest
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(JSON_VALUES)
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    sign(bundle)

    fault = None
    try:
        load_bundle(bundle, TRUST)
    except ModelContractError as error:
        fault = error
    assert fault is None or str(fault)
