"""Secrets are read by reference and appear nowhere."""

from __future__ import annotations

import pytest

from edge.config import Secret, SecretReference, config_sha256, effective_toml, load_config, read_secret, secret_path
from edge.errors import ConfigError

SECRET = "hunter2-canary"


@pytest.mark.parametrize(
    "text",
    [
        f'[mqtt]\nusername = "u"\npassword = "{SECRET}"',
        f'[mqtt]\nkey = "{SECRET}"',
        f'[mqtt]\npassword = {{ value = "{SECRET}" }}',
        f'[mqtt]\npassword = {{ env = ["{SECRET}"] }}',
        f'[mqtt]\npassword = ["{SECRET}"]',
        f'[mqtt]\npasword = "{SECRET}"',
        f'[mqtt.password]\nenv = "A"\nfile = "{SECRET}"',
        f'password = "{SECRET}"',
        f'[mqtt]\npassword = "{SECRET}',
    ],
)
def test_a_literal_secret_is_an_error_that_does_not_repeat_it(tmp_path, text):
    """Errors end up in logs and chats."""
    path = tmp_path / "a.toml"
    path.write_text(text)

    with pytest.raises(ConfigError) as caught:
        load_config([path])

    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.problems)


@pytest.mark.parametrize("override", [f"mqtt.password={SECRET}", f"mqtt.password:{SECRET}"])
def test_a_secret_on_the_command_line_is_refused_without_repeating_it(override):
    """Every user of the machine can read a command line."""
    with pytest.raises(ConfigError) as caught:
        load_config((), {}, [override])

    assert SECRET not in str(caught.value)


def test_a_secret_in_our_own_environment_variable_is_refused_without_repeating_it():
    """The variable must hold a reference, such as VITALEDGE__MQTT__PASSWORD__FILE."""
    with pytest.raises(ConfigError, match="a secret never stands here") as caught:
        load_config((), {"VITALEDGE__MQTT__PASSWORD": SECRET})

    assert SECRET not in str(caught.value)


def test_the_configuration_shows_the_reference_only(tmp_path):
    """Neither the effective configuration nor its hash depends on the secret's value."""
    file = tmp_path / "password"
    overrides = ["mqtt.username=u", f"mqtt.password.file={file}"]
    shown = []
    for secret in (SECRET, "another"):
        file.write_text(secret)
        config = load_config((), {}, overrides).config
        read_secret(config.mqtt.password, {}, key="mqtt.password")
        shown.append((effective_toml(config), config_sha256(config), repr(config)))

    assert shown[0] == shown[1]
    assert SECRET not in repr(shown)
    assert f'password = {{ file = "{file}" }}' in shown[0][0]


@pytest.mark.parametrize("by", ["file", "environment", "command line", "command line, whole"])
def test_a_later_layer_replaces_a_reference_whole(tmp_path, by):
    """A file kept for one and a credential for another layer do not add up to two places."""
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text('[mqtt]\nusername = "u"\npassword = { file = "/a" }')
    second.write_text('[mqtt.password]\ncredential = "b"')

    loaded = {
        "file": lambda: load_config([first, second]),
        "environment": lambda: load_config([first], {"VITALEDGE__MQTT__PASSWORD__CREDENTIAL": "b"}),
        "command line": lambda: load_config([first], {}, ["mqtt.password.credential=b"]),
        "command line, whole": lambda: load_config([first], {}, ['mqtt.password={ credential = "b" }']),
    }[by]()

    assert loaded.config.mqtt.password == SecretReference(credential="b")
    assert str(first) not in str(loaded.origins["mqtt", "password"])
    assert ("mqtt", "password", "file") not in loaded.origins


@pytest.mark.parametrize("text", [SECRET, SECRET + "\n", SECRET + "\r\n"])
def test_a_secret_is_read_from_each_kind_of_reference(tmp_path, text):
    """One line break at the end of a file is not part of the secret."""
    (tmp_path / "name").write_bytes(text.encode())
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "PASS": SECRET}

    for reference in (
        SecretReference(credential="name"),
        SecretReference(file=str(tmp_path / "name")),
        SecretReference(env="PASS"),
    ):
        assert read_secret(reference, environ, key="k").reveal() == SECRET


@pytest.mark.parametrize("text", [" a ", "a\n\n", "ä"])
def test_a_secret_keeps_its_blanks(tmp_path, text):
    """Only one line break is taken off: a password may end in a blank."""
    (tmp_path / "name").write_text(text, encoding="utf-8")

    assert read_secret(SecretReference(file=str(tmp_path / "name")), {}, key="k").reveal() == text.removesuffix("\n")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (SecretReference(credential="name"), "CREDENTIALS_DIRECTORY is not set"),
        (SecretReference(file="/nowhere/at/all"), "No such file"),
        (SecretReference(env="PASS"), "not set"),
    ],
)
def test_a_missing_secret_says_where_it_was_looked_for(reference, words):
    with pytest.raises(ConfigError, match=words):
        read_secret(reference, {}, key="mqtt.password")


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "empty"), (b"\n", "empty"), (b"\xff\x00", "binary"), (b"x" * 70000, "at most")]
)
def test_a_file_that_is_no_secret_is_refused(tmp_path, content, words):
    """An empty password would be sent as such; a disk image would fill the memory."""
    (tmp_path / "name").write_bytes(content)

    with pytest.raises(ConfigError, match=words):
        read_secret(SecretReference(file=str(tmp_path / "name")), {}, key="k")


@pytest.mark.parametrize(
    "text", ["", "env = 'A'\nfile = 'b'", "credential = '../shadow'", "credential = '..'", "file = ''"]
)
def test_a_reference_is_exactly_one_place(tmp_path, text):
    """Two places would leave open which one holds."""
    path = tmp_path / "a.toml"
    path.write_text(f"[mqtt]\nusername = 'u'\n[mqtt.password]\n{text}\n")

    with pytest.raises(ConfigError):
        load_config([path])


def test_a_private_key_is_given_by_path():
    """TLS libraries read a key from a file, so the environment cannot hold it."""
    with pytest.raises(ConfigError, match="TLS reads keys by path"):
        load_config((), {}, ["mqtt.cert=/c", "mqtt.key.env=KEY"])
    with pytest.raises(ConfigError, match="expected a credential or a file"):
        secret_path(SecretReference(env="KEY"), {}, key="mqtt.key")


def test_a_secret_hides_itself():
    """Neither print nor a log line gives it away."""
    secret = Secret(SECRET)

    assert f"{secret} {secret!r} {[secret]}".count("***") == 3
    assert SECRET not in f"{secret} {secret!r} {[secret]}"
