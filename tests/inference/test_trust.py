"""Whose key may vouch for a model."""

from __future__ import annotations

import base64
import json

import pytest

from converter.sign import make_key, public_bytes, signature_file, trust_entry, trust_of
from edge.errors import ModelContractError, ModelFault
from edge.inference.signature import is_signed_by
from edge.inference.trust import DOMAIN, TrustedKeys, key_id

MESSAGE = b"any bytes at all"


@pytest.fixture(scope="module")
def key():
    return make_key()


def parsed(entries):
    return TrustedKeys.parse(json.dumps(entries).encode(), "keys.json")


def refusal(content):
    with pytest.raises(ModelContractError) as caught:
        TrustedKeys.parse(content, "keys.json")
    assert caught.value.reason is ModelFault.FORMAT
    return str(caught.value)


def test_the_key_of_rfc_8032_verifies_its_test_vector():
    """Test 3 of section 7.1: the mathematics is the standard's, not ours."""
    public = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
    signature = bytes.fromhex(
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )

    assert is_signed_by(public, signature, bytes.fromhex("af82"))
    assert not is_signed_by(public, signature, bytes.fromhex("af83"))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_what_is_no_key_has_signed_nothing(key, length):
    assert not is_signed_by(b"\1" * length, key.sign(MESSAGE), MESSAGE)


@pytest.mark.parametrize("length", [0, 63, 65])
def test_what_is_no_signature_signs_nothing(key, length):
    assert not is_signed_by(public_bytes(key), b"\1" * length, MESSAGE)


def test_a_signature_without_the_prefix_of_bundles_is_refused(key):
    """A key that signs other things too cannot be talked into signing a bundle."""
    plain = {
        "algorithm": "ed25519",
        "key_id": key_id(public_bytes(key)),
        "signature": base64.b64encode(key.sign(MESSAGE)).decode(),
    }

    with pytest.raises(ModelContractError) as caught:
        trust_of(key).verdict(MESSAGE, json.dumps(plain).encode(), "manifest.sig")

    assert caught.value.reason is ModelFault.BAD_SIGNATURE
    assert DOMAIN.endswith(b"\0")
    assert trust_of(key).verdict(MESSAGE, signature_file(MESSAGE, key), "manifest.sig")[0].key_id == plain["key_id"]


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": "none"},
        {"algorithm": "rsa"},
        {"key_id": "../../keys"},
        {"key_id": ""},
        {"signature": ""},
        {"signature": "not base64!"},
        {"signature": base64.b64encode(bytes(64)).decode()},
        {"signature": base64.b64encode(bytes(63)).decode()},
        {"more": 1},
    ],
)
def test_an_altered_signature_file_is_refused(key, change):
    values = json.loads(signature_file(MESSAGE, key)) | change

    with pytest.raises(ModelContractError) as caught:
        trust_of(key).verdict(MESSAGE, json.dumps(values).encode(), "manifest.sig")

    assert caught.value.reason is ModelFault.BAD_SIGNATURE


def test_no_entry_can_give_a_key_the_name_of_another(key):
    """Else a second file could put its own key under the name that people know."""
    other = make_key()
    entries = {key_id(public_bytes(key)): trust_entry(other, "somebody")[key_id(public_bytes(other))]}

    assert "expected the base64 of the 32 bytes of this very key" in refusal(json.dumps(entries).encode())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"0123456789abcdef": {}}',
        b'{"short": {"public_key": "", "owner": "x"}}',
        b'{"0123456789abcdef": {"public_key": "AA==", "owner": "x"}}',
        b'{"0123456789abcdef": {"public_key": "?", "owner": "x"}}',
        b'{"a": 1, "a": 2}',
    ],
)
def test_a_file_that_is_none_is_refused(content):
    assert refusal(content).startswith("keys.json: ")


def test_a_key_that_stands_there_twice_is_refused(key):
    """Revoked in one line and good in the next: which of them counts would be anybody's guess."""
    (identifier, entry), *_ = trust_entry(key, "us").items()
    one = f'"{identifier}": {json.dumps(entry)}'

    assert "a name stands there twice" in refusal(f"{{{one}, {one}}}".encode())


class TestJoining:
    def test_a_key_that_one_file_revokes_is_dead_in_all(self, key):
        """A configured file can take back a shipped key, and no file can bring it to life again."""
        (identifier, entry), *_ = trust_entry(key, "us").items()
        good, dead = parsed({identifier: entry}), parsed({identifier: entry | {"revoked": "stolen in May"}})

        for keys in (good.joined([dead]), dead.joined([good])):
            with pytest.raises(ModelContractError, match="which was revoked: stolen in May") as caught:
                keys.verdict(MESSAGE, signature_file(MESSAGE, key), "manifest.sig")
            assert caught.value.reason is ModelFault.REVOKED_KEY

    def test_the_earlier_last_day_counts(self, key):
        (identifier, entry), *_ = trust_entry(key, "us").items()
        days = [{"not_after": "2030-01-01"}, {}, {"not_after": "2027-01-01"}]

        keys = parsed({}).joined(parsed({identifier: entry | day}) for day in days)

        _, last_day = keys.verdict(MESSAGE, signature_file(MESSAGE, key), "manifest.sig")
        assert last_day.isoformat() == "2027-01-01"

    def test_keys_of_all_files_are_trusted(self, key):
        other = make_key()

        keys = trust_of(key).joined([trust_of(other, "the other ward")])

        assert keys.verdict(MESSAGE, signature_file(MESSAGE, other), "s")[0].owner == "the other ward"
        assert keys.verdict(MESSAGE, signature_file(MESSAGE, key), "s")[0].owner == "this key"
