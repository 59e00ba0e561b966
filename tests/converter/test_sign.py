"""Keys and signatures on the workstation."""

from __future__ import annotations

import json
import os

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from converter.sign import (
    make_key,
    public_bytes,
    read_key,
    sign_bundle,
    trust_entry,
    trust_of,
    write_key,
)
from edge.errors import ModelContractError, ModelFault
from edge.inference.bundle import load_bundle
from tests.fakes.tiny_model import KEY, write_bundle

MODEL = b"TFL3 stands for a model"
posix_only = pytest.mark.skipif(os.name != "posix", reason="needs permissions of POSIX")


@pytest.fixture
def unsigned(tmp_path):
    return write_bundle(tmp_path / "bundle", MODEL, key=None)


def test_a_signed_bundle_is_trusted_by_whoever_trusts_the_key(unsigned):
    key = make_key()

    sha256 = sign_bundle(unsigned, key)

    loaded = load_bundle(unsigned, trust_of(key, "the ward"))
    assert (loaded.sha256, loaded.signed_by.owner) == (sha256, "the ward")


def test_two_keys_are_two(unsigned):
    """Invariant: no key vouches for what another one signed."""
    sign_bundle(unsigned, make_key())

    with pytest.raises(ModelContractError) as caught:
        load_bundle(unsigned, trust_of(make_key()))

    assert caught.value.reason is ModelFault.UNKNOWN_KEY


def test_signing_again_replaces_the_signature(unsigned):
    sign_bundle(unsigned, make_key())

    sign_bundle(unsigned, KEY)

    assert load_bundle(unsigned, trust_of(KEY)).signed_by is not None
    assert sorted(path.name for path in unsigned.iterdir()) == [
        "golden.json",
        "manifest.json",
        "manifest.sig",
        "model.tflite",
    ]


@pytest.mark.parametrize("name", ["model.tflite", "golden.json", "manifest.json"])
def test_a_damaged_bundle_is_not_signed(unsigned, name):
    """Nobody vouches for what cannot be loaded."""
    (unsigned / name).write_bytes(b"damaged")

    with pytest.raises(ModelContractError):
        sign_bundle(unsigned, KEY)

    assert not (unsigned / "manifest.sig").exists()


class TestKeyFile:
    def test_a_key_comes_back_as_it_was(self, tmp_path):
        key = make_key()

        write_key(tmp_path / "key.pem", key)

        assert public_bytes(read_key(tmp_path / "key.pem")) == public_bytes(key)

    def test_a_password_closes_it(self, tmp_path):
        key = make_key()
        write_key(tmp_path / "key.pem", key, password=b"open sesame")

        assert public_bytes(read_key(tmp_path / "key.pem", password=b"open sesame")) == public_bytes(key)
        for wrong in (None, b"sesame"):
            with pytest.raises(ModelContractError, match="no private key that can be opened"):
                read_key(tmp_path / "key.pem", password=wrong)

    @posix_only
    def test_only_its_owner_can_read_it(self, tmp_path):
        write_key(tmp_path / "key.pem", make_key())

        assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600

    @posix_only
    def test_a_key_that_others_can_read_is_refused(self, tmp_path):
        """Somebody may have copied it."""
        write_key(tmp_path / "key.pem", make_key())
        (tmp_path / "key.pem").chmod(0o640)

        with pytest.raises(ModelContractError, match="others than its owner") as caught:
            read_key(tmp_path / "key.pem")

        assert "chmod 600" in caught.value.hint

    def test_no_key_is_ever_overwritten(self, tmp_path):
        write_key(tmp_path / "key.pem", make_key())

        with pytest.raises(FileExistsError):
            write_key(tmp_path / "key.pem", make_key())

    def test_a_key_that_is_not_there_says_how_to_make_one(self, tmp_path):
        with pytest.raises(ModelContractError) as caught:
            read_key(tmp_path / "none.pem")

        assert "vitaledge-convert sign" in caught.value.hint

    @pytest.mark.parametrize("content", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----"])
    def test_what_is_no_key_is_refused(self, tmp_path, content):
        (tmp_path / "key.pem").write_bytes(content)
        (tmp_path / "key.pem").chmod(0o600)

        with pytest.raises(ModelContractError, match="no private key"):
            read_key(tmp_path / "key.pem")

    def test_a_key_of_another_kind_is_refused(self, tmp_path):
        other = generate_private_key(SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (tmp_path / "key.pem").write_bytes(other)
        (tmp_path / "key.pem").chmod(0o600)

        with pytest.raises(ModelContractError, match="expected an Ed25519 key, got"):
            read_key(tmp_path / "key.pem")


def test_the_entry_for_the_trusted_keys_never_holds_the_private_half():
    """It goes to every device."""
    key = make_key()
    private = key.private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )

    text = json.dumps(trust_entry(key, "us"))

    assert private.hex() not in text
    (entry,) = trust_entry(key, "us").values()
    assert set(entry) == {"public_key", "owner"}
