"""Secrets by reference: where they are read, and a wrapper that no log, repr or comparison can leak."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge.config_sections import SecretReference
from edge.errors import ConfigError, ConfigProblem

_MAX_BYTES = 65536
"""Larger than any key or password; a wrong path such as a disk image must not fill the memory."""


class Secret:
    """A secret in memory; only `reveal` gives it out.

    Examples
    --------
    >>> Secret("hunter2")
    Secret(***)
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself, for the one call that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"


def secret_path(reference: SecretReference, environ: Mapping[str, str], *, key: str) -> Path:
    """Return the file that holds a secret, for libraries that read it themselves.

    Parameters
    ----------
    reference : SecretReference
        A credential or a file.
    environ : mapping of str to str
        The process environment, for ``$CREDENTIALS_DIRECTORY``.
    key : str
        Dotted key of the reference, for the error.

    Raises
    ------
    ConfigError
        If it is no file, or the service was given no credentials.
    """
    if reference.file is not None:
        return Path(reference.file)
    if reference.credential is None:
        raise _error(key, "expected a credential or a file, got the name of an environment variable")
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise _error(
            key,
            f"credential {reference.credential!r} cannot be read: $CREDENTIALS_DIRECTORY is not set",
            hint=f"run under systemd with LoadCredential={reference.credential}:/path, or use {{ file = … }}",
        )
    return Path(directory) / reference.credential


def read_secret(reference: SecretReference, environ: Mapping[str, str], *, key: str) -> Secret:
    """Return the secret that a reference points to, without the line break at its end.

    Raises
    ------
    ConfigError
        If it is missing, empty, not text, or may not be read; never with any part of the secret.
    """
    if reference.env is not None:
        text = environ.get(reference.env)
        if not text:
            raise _error(key, f"environment variable {reference.env!r} is {'not set' if text is None else 'empty'}")
        return Secret(text)
    path = secret_path(reference, environ, key=key)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        text = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise _error(key, f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:  # its text would quote the bytes
        raise _error(key, f"{path}: expected text, got binary data") from None
    if not text:
        raise _error(key, f"{path} is empty")
    if len(content) > _MAX_BYTES:
        raise _error(key, f"{path}: expected at most {_MAX_BYTES} bytes, got more; is it the right file?")
    return Secret(text)


def _error(key: str, message: str, *, hint: str = "") -> ConfigError:
    return ConfigError([ConfigProblem(source="secret", line=None, key=key, message=message)], hint=hint)
