"""A bundle is what its manifest says, or it is refused before anything opens the model."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.bundle_writer import zip_bundle
from edge.errors import ModelContractError, ModelFault
from edge.inference.bundle import builtin_bundle, load_bundle, trusted_keys
from edge.inference.trust import TrustedKeys
from tests.fakes.tiny_model import (
    FEATURES_CARD,
    KEY,
    OTHER_KEY,
    OUTPUT_CARD,
    SAMPLES_INPUT,
    TRUST,
    golden_windows,
    manifest,
    sign,
    write_bundle,
)

MODEL = b"TFL3 stands for a model: loading a bundle never opens it"


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "bundle", MODEL)


def refusal(path, **options):
    with pytest.raises(ModelContractError) as caught:
        load_bundle(path, TRUST, **options)
    return str(caught.value)


def reason(path, **options):
    with pytest.raises(ModelContractError) as caught:
        load_bundle(path, options.pop("trust", TRUST), **options)
    return caught.value.reason


def rewrite(bundle, change, key=KEY):
    """Apply `change` to the parsed manifest, write it back and sign it: the fault is the signer's own."""
    values = json.loads((bundle / "manifest.json").read_text())
    change(values)
    (bundle / "manifest.json").write_text(json.dumps(values))
    sign(bundle, key)


def test_a_bundle_comes_back_verified(bundle):
    loaded = load_bundle(bundle, TRUST)

    assert loaded.card.title == "tiny 0.1.0"
    assert loaded.model == MODEL
    assert len(loaded.golden) == 3
    assert loaded.golden[0].inputs["window"].shape == (50, 1)
    assert loaded.golden[0].output.dtype == np.int8
    assert loaded.sha256 == hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert loaded.signed_by.owner == "the tests"


def test_the_model_stays_out_of_the_repr(bundle):
    """A log line about a bundle is not a megabyte long."""
    assert len(repr(load_bundle(bundle, TRUST))) < 300


def test_nothing_there_is_named(tmp_path):
    assert "nothing there" in refusal(tmp_path / "nowhere")
    assert reason(tmp_path / "nowhere") is ModelFault.MISSING


def test_a_file_in_place_of_a_bundle_is_named(bundle):
    assert "expected the directory or zip" in refusal(bundle / "model.tflite")


def test_a_link_to_a_bundle_is_a_bundle(bundle, tmp_path):
    """The active bundle may be a link to one of several directories."""
    zip_bundle(bundle, tmp_path / "b.zip")
    (tmp_path / "active").symlink_to(bundle)
    (tmp_path / "active.zip").symlink_to(tmp_path / "b.zip")

    assert load_bundle(tmp_path / "active", TRUST).model == MODEL
    assert load_bundle(tmp_path / "active.zip", TRUST).model == MODEL


@pytest.mark.parametrize("name", ["manifest.json", "model.tflite", "golden.json"])
class TestEachFile:
    def test_missing_is_named(self, bundle, name):
        (bundle / name).unlink()

        assert f"{name}: is missing" in refusal(bundle)
        assert reason(bundle) is ModelFault.MISSING

    def test_a_directory_in_its_place_is_named(self, bundle, name):
        (bundle / name).unlink()
        (bundle / name).mkdir()

        assert name in refusal(bundle)

    def test_a_link_is_not_followed(self, bundle, tmp_path, name):
        """A bundle is unpacked from who knows where; it must not make the gateway read its own secrets."""
        (tmp_path / "kept").write_bytes((bundle / name).read_bytes())
        (bundle / name).unlink()
        (bundle / name).symlink_to(tmp_path / "kept")

        assert f"{name}: is a link" in refusal(bundle)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_a_pipe_does_not_block(self, bundle, name):
        """Whoever opens a pipe to read waits for a writer, for ever."""
        (bundle / name).unlink()
        os.mkfifo(bundle / name)

        assert "expected a file, got something else" in refusal(bundle)

    def test_a_huge_file_is_refused_without_reading_it_all(self, bundle, name):
        with (bundle / name).open("wb") as file:
            file.truncate(2**40)

        assert any(words in refusal(bundle) for words in ("expected at most 1000000 bytes", "is longer than the"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (MODEL[:-1], "is truncated: expected 56 bytes, got 55"),
        (b"", "is truncated"),
        (MODEL + b"x", "is longer than the 56 bytes released"),
        (MODEL.replace(b"T", b"t", 1), "was altered: expected SHA-256"),
    ],
)
def test_a_damaged_model_is_refused(bundle, content, words):
    """A damaged model can crash a runtime, so it never gets that far."""
    (bundle / "model.tflite").write_bytes(content)

    assert words in refusal(bundle)
    assert reason(bundle) is ModelFault.DAMAGED


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_change_of_any_byte_goes_unnoticed(tmp_path_factory, data):
    """Invariant: flip any bit of any file, and the bundle is refused, or the flip was of no meaning (a space)."""
    bundle = write_bundle(tmp_path_factory.mktemp("b"), MODEL)
    before = load_bundle(bundle, TRUST)
    path = bundle / data.draw(st.sampled_from(["manifest.json", "manifest.sig", "model.tflite", "golden.json"]))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)

    try:
        after = load_bundle(bundle, TRUST)
    except ModelContractError:
        return
    assert path.name == "manifest.sig"
    assert (after.sha256, after.signed_by) == (before.sha256, before.signed_by)


class TestSignature:
    def test_a_bundle_that_nobody_signed_is_refused(self, tmp_path):
        bundle = write_bundle(tmp_path / "bundle", MODEL, key=None)

        assert reason(bundle) is ModelFault.UNSIGNED
        assert "nobody vouches for it" in refusal(bundle)

    def test_an_unsigned_bundle_is_taken_where_that_is_allowed_and_says_so(self, tmp_path):
        """For a trial on a workstation."""
        bundle = write_bundle(tmp_path / "bundle", MODEL, key=None)

        assert load_bundle(bundle, TRUST, allow_unsigned=True).signed_by is None

    def test_a_bad_signature_is_refused_even_where_none_is_needed(self, bundle):
        """No signature is a trial; a wrong one is an attack or damage."""
        rewrite(bundle, lambda values: values.update(version="6.6.6"), OTHER_KEY)

        assert reason(bundle, allow_unsigned=True) is ModelFault.UNKNOWN_KEY

    def test_a_key_that_nobody_trusts_vouches_for_nothing(self, tmp_path):
        bundle = write_bundle(tmp_path / "bundle", MODEL, key=OTHER_KEY)

        assert reason(bundle) is ModelFault.UNKNOWN_KEY
        assert "which is not trusted here; trusted: " in refusal(bundle)
        assert "(the tests)" in refusal(bundle)

    def test_the_default_trusts_the_shipped_keys_only(self, bundle):
        with pytest.raises(ModelContractError) as caught:
            load_bundle(bundle)

        assert caught.value.reason is ModelFault.UNKNOWN_KEY

    def test_a_trusted_name_on_another_keys_signature_is_refused(self, tmp_path):
        """The name of the key is in the file of the attacker; only the mathematics counts."""
        bundle = write_bundle(tmp_path / "bundle", MODEL, key=OTHER_KEY)
        forged = json.loads((bundle / "manifest.sig").read_text()) | {"key_id": next(iter(TRUST.keys))}
        (bundle / "manifest.sig").write_text(json.dumps(forged))

        assert reason(bundle) is ModelFault.BAD_SIGNATURE

    def test_a_manifest_that_was_changed_after_signing_is_refused(self, bundle):
        text = (bundle / "manifest.json").read_text()
        (bundle / "manifest.json").write_text(text.replace('"N": 0.6', '"N": 0.1'))

        assert reason(bundle) is ModelFault.BAD_SIGNATURE

    def test_one_space_more_is_another_manifest(self, bundle):
        """The signature is over bytes, not over what they mean."""
        with (bundle / "manifest.json").open("ab") as file:
            file.write(b" ")

        assert reason(bundle) is ModelFault.BAD_SIGNATURE

    def test_the_signature_of_another_bundle_is_refused(self, bundle, tmp_path):
        other = write_bundle(tmp_path / "other", MODEL, version="0.2.0")
        (bundle / "manifest.sig").write_bytes((other / "manifest.sig").read_bytes())

        assert reason(bundle) is ModelFault.BAD_SIGNATURE

    def test_a_bundle_newer_than_its_keys_last_day_is_refused(self, bundle):
        """A retired key still vouches for what it signed in its time."""
        (entry,) = TRUST.keys.values()
        identifier = next(iter(TRUST.keys))

        def until(day):
            entries = {identifier: {"public_key": entry.public_key, "owner": "the tests", "not_after": day}}
            return TrustedKeys.parse(json.dumps(entries).encode(), "test")

        assert load_bundle(bundle, until("2026-11-01")).model == MODEL
        assert reason(bundle, trust=until("2026-10-31")) is ModelFault.REVOKED_KEY

    @pytest.mark.parametrize("content", [b"", b"{}", b"null", b"\xff", b"[" * 3000, b'{"key_id": 7}', b"x" * 5000])
    def test_a_signature_that_is_none_is_refused(self, bundle, content):
        (bundle / "manifest.sig").write_bytes(content)

        assert reason(bundle) is ModelFault.BAD_SIGNATURE


class TestUse:
    def test_an_older_release_is_refused(self, bundle):
        """It was replaced for a reason, and its signature is still good."""
        assert load_bundle(bundle, TRUST, least_release=3).card.release == 3
        assert reason(bundle, least_release=4) is ModelFault.REPLAYED
        assert "expected release 4 or later, got 3" in refusal(bundle, least_release=4)

    def test_a_model_for_another_task_is_refused(self, bundle):
        """The labels of beats are none of rhythms."""
        assert load_bundle(bundle, TRUST, task="rhythm").card.task == "rhythm"
        assert reason(bundle, task="beat") is ModelFault.MISMATCH

    @pytest.mark.parametrize("task", ["beat", "rhythm"])
    def test_the_shipped_bundles_lie_beside_the_code(self, task):
        assert builtin_bundle(task).parent.joinpath("trusted_keys.json").exists()


class TestManifest:
    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
    def test_what_is_none_is_refused(self, bundle, content):
        (bundle / "manifest.json").write_bytes(content)
        sign(bundle)

        assert "manifest.json: " in refusal(bundle)
        assert reason(bundle) is ModelFault.FORMAT

    @pytest.mark.parametrize(
        ("version", "words"),
        [(3, "made for a later version of this software"), (1, "no longer read"), (0, "no longer read")],
    )
    @pytest.mark.parametrize("key", [KEY, None])
    def test_another_format_is_named_as_such(self, tmp_path, version, words, key):
        bundle = write_bundle(tmp_path / "bundle", MODEL, key=key, format_version=version)

        assert f"expected format_version 2, got {version}: {words}" in refusal(bundle)

    def test_an_impossible_one_says_which_field(self, bundle):
        """What the fields may say is tested with the card."""
        rewrite(bundle, lambda values: values["inputs"][0].update(rate_hz=0))

        assert "inputs.0.samples.rate_hz: Input should be greater" in refusal(bundle)
        assert reason(bundle) is ModelFault.FORMAT

    def test_swapped_labels_are_another_manifest(self, bundle):
        """Sick for well: only the signature can tell."""
        values = json.loads((bundle / "manifest.json").read_text())
        values["output"]["labels"].reverse()
        (bundle / "manifest.json").write_text(json.dumps(values))

        assert reason(bundle) is ModelFault.BAD_SIGNATURE

    @pytest.mark.parametrize("name", ["../model.tflite", "/etc/passwd", "a/b", "..", ".hidden", ""])
    def test_no_file_outside_the_bundle_is_ever_opened(self, bundle, name):
        """A name in the manifest cannot lead out of the directory."""
        rewrite(bundle, lambda values: values["files"].update({name: values["files"]["model.tflite"]}))

        assert "files" in refusal(bundle)

    def test_files_that_it_does_not_name_are_never_opened(self, bundle):
        os.mkfifo(bundle / "blocks-whoever-reads-it")

        assert load_bundle(bundle, TRUST).model == MODEL


@pytest.mark.parametrize(
    ("golden", "words"),
    [
        ([], "expected a list of at least one golden case"),
        ({}, "expected a list"),
        (b"{", "golden.json: "),
        (b"[" * 100_000, "golden.json: "),
        ([{"output": [1, 2]}], "case 0: expected inputs and output"),
        ([{"inputs": [], "output": [1, 2]}], "case 0: expected inputs and output"),
        ([{"inputs": {}, "output": [1, 2]}], "case 0: expected the inputs ['window'], got []"),
        ([{"inputs": {"window": [[0.0]]}, "output": [1, 2]}], "window: expected numbers of shape (50, 1), got (1, 1)"),
        ([{"inputs": {"window": [0.0] * 50}, "output": [1, 2]}], "expected numbers of shape (50, 1), got (50,)"),
        ([{"inputs": {"window": [[0.0]] * 49 + [[]]}, "output": [1, 2]}], "expected numbers of shape (50, 1)"),
        ([{"inputs": {"window": [["x"]] * 50}, "output": [1, 2]}], "expected numbers of shape"),
        ([{"inputs": {"window": [[True]] * 50}, "output": [1, 2]}], "expected numbers of shape"),
        ([{"inputs": {"window": [[10**400]] * 50}, "output": [1, 2]}], "expected numbers of shape"),
        ([{"inputs": {"window": [[None]] * 50}, "output": [1, 2]}], "got an unknown one"),
        ([{"inputs": {"window": [[float("nan")]] * 50}, "output": [1, 2]}], "expected numbers, got NaN"),
        ([golden_windows()[0] | {"output": [1]}], "case 0: expected 2 int8 outputs, got [1]"),
        ([golden_windows()[0] | {"output": [1, 128]}], "case 0: expected 2 int8 outputs"),
        ([golden_windows()[0] | {"output": [1, True]}], "case 0: expected 2 int8 outputs"),
        ([golden_windows()[0] | {"output": "12"}], "case 0: expected 2 int8 outputs"),
    ],
)
def test_golden_cases_that_cannot_be_are_refused(tmp_path, golden, words):
    bundle = write_bundle(tmp_path / "bundle", MODEL, golden=golden)

    assert words in refusal(bundle)
    assert reason(bundle) is ModelFault.FORMAT


def test_an_unknown_feature_may_stand_in_a_golden_case(tmp_path):
    """Null is NaN: how the model answers to what is not known is part of what must not change."""
    golden = [{"inputs": {"window": [[0.5]] * 50, "features": [1.0, None, 2]}, "output": [1, 2]}]
    bundle = write_bundle(tmp_path / "bundle", MODEL, golden=golden, inputs=[SAMPLES_INPUT, FEATURES_CARD])

    (case,) = load_bundle(bundle, TRUST).golden

    assert np.array_equal(case.inputs["features"], [1.0, np.nan, 2.0], equal_nan=True)


def test_swapped_golden_cases_are_refused(tmp_path, bundle):
    """Golden vectors of another model would prove nothing about this one."""
    other = write_bundle(tmp_path / "other", MODEL, golden=golden_windows((0.1,)))
    (bundle / "golden.json").write_bytes((other / "golden.json").read_bytes())

    assert reason(bundle) is ModelFault.DAMAGED


class TestTrustedKeyFiles:
    def test_further_files_add_to_the_shipped_keys(self, tmp_path, bundle):
        (entry,) = TRUST.keys.values()
        file = tmp_path / "keys.json"
        file.write_text(json.dumps({next(iter(TRUST.keys)): {"public_key": entry.public_key, "owner": "the ward"}}))

        keys = trusted_keys([file])

        assert load_bundle(bundle, keys).signed_by.owner == "the ward"
        assert set(trusted_keys().keys) <= set(keys.keys)

    @pytest.mark.skipif(os.name != "posix", reason="needs permissions of POSIX")
    def test_a_file_that_everybody_can_write_is_refused(self, tmp_path):
        """Else everybody with an account could vouch for a model."""
        file = tmp_path / "keys.json"
        file.write_text("{}")
        file.chmod(0o646)

        with pytest.raises(ModelContractError, match="everybody can write") as caught:
            trusted_keys([file])

        assert "chmod o-w" in caught.value.hint

    def test_the_file_may_be_a_link(self, tmp_path):
        """The operator named it; tools that manage configurations make links."""
        (tmp_path / "kept.json").write_text("{}")
        (tmp_path / "keys.json").symlink_to(tmp_path / "kept.json")

        assert trusted_keys([tmp_path / "keys.json"]) == trusted_keys()

    def test_a_file_that_is_not_there_is_an_error(self, tmp_path):
        """A typing error must not pass for "nobody is trusted"."""
        with pytest.raises(ModelContractError, match=r"none\.json: is missing"):
            trusted_keys([tmp_path / "none.json"])


def test_the_manifest_of_the_tests_lists_every_file():
    """The fake is as strict as the real thing."""
    assert set(manifest({"a": b"1", "b": b"2"})["files"]) == {"a", "b"}
    assert OUTPUT_CARD["labels"] == ["N", "AFIB"]
