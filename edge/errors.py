"""Every error that VitalEdge raises on purpose.

::

    EdgeError                     something the operator can act on; ``hint`` says how
     ├─ ConfigError(ValueError)         the configuration is wrong; carries every problem found
     ├─ TransportError(OSError)         a sensor's link cannot be used; ``reason`` says why
     ├─ RecordingError(ValueError)      a file is no recording, or a damaged one
     ├─ ModelContractError(ValueError)  a model bundle is not what its card says
     ├─ OutboxError(OSError)            the durable store cannot be used
     └─ PublishError(ConnectionError)   the broker refuses or cannot be reached

A *peer's* fault (corrupt bytes, an impossible value) is never an exception: it is a counted value such
as `messages.Corrupt`.  Misuse of a function raises the built-in error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class EdgeError(Exception):
    """Base of all; ``hint`` tells the operator what to do next.

    Parameters
    ----------
    message : str
        What is wrong, with the expected and the given value.
    hint : str
        What to do about it; may be empty.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigProblem:
    """One thing wrong with the configuration, and where."""

    source: str
    """File, environment variable or command-line option it came from."""
    line: int | None
    """Line in the file, counted from 1; None where there is none."""
    key: str
    """Dotted key, such as ``mqtt.port`` or ``sensor[0].driver``."""
    message: str
    """What is wrong, with the nearest known key where one is near."""

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{place}: {self.key}: {self.message}"


class ConfigError(EdgeError, ValueError):
    """The configuration cannot be used; every problem is listed, not only the first."""

    def __init__(self, problems: Sequence[ConfigProblem], *, hint: str = "") -> None:
        super().__init__("\n".join(str(problem) for problem in problems), hint=hint)
        self.problems = tuple(problems)


class TransportFault(StrEnum):
    """Why a sensor's link cannot be used."""

    MISSING = "missing"
    """No such port or device: cable pulled, wrong name, not powered."""
    PERMISSION = "permission"
    """The port exists but may not be opened by this user."""
    BUSY = "busy"
    """Another process holds the port."""
    DISCONNECTED = "disconnected"
    """The link was there and went away."""
    TIMEOUT = "timeout"
    """The peer did not answer in time."""
    REFUSED = "refused"
    """The peer understood and declined; the link itself is sound."""
    PAIRING = "pairing"
    """The peer wants to be bonded first, or bonding failed."""
    ADAPTER = "adapter"
    """No Bluetooth adapter that can be used: unplugged, switched off, or the system's Bluetooth service is not there."""
    OTHER = "other"
    """Anything else; the message has the operating system's words."""


class TransportError(EdgeError, OSError):
    """A sensor's link cannot be used."""

    def __init__(self, message: str, *, reason: TransportFault, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class RecordingError(EdgeError, ValueError):
    """A file is no recording that we read, or it is damaged."""


class ModelFault(StrEnum):
    """Why a model bundle is refused."""

    MISSING = "missing"
    """The bundle or a file of it is not there, or cannot be read."""
    DAMAGED = "damaged"
    """A file is not the one that was released: truncated, longer, or altered."""
    FORMAT = "format"
    """The manifest or the golden vectors are not what the format says, or of another format."""
    UNSIGNED = "unsigned"
    """Nobody vouches for it."""
    UNKNOWN_KEY = "unknown-key"
    """Signed by a key that is not trusted here."""
    REVOKED_KEY = "revoked-key"
    """Signed by a key that is no longer trusted, or was made after the key's last day."""
    BAD_SIGNATURE = "bad-signature"
    """The signature is not of this manifest: manifest or signature was altered."""
    REPLAYED = "replayed"
    """An older release than the one that was in use."""
    MISMATCH = "mismatch"
    """The model file, or the stage that feeds it, is not the one that the card describes."""
    NOT_INT8 = "not-int8"
    """The model computes in floating point, or not in int8 throughout."""
    GOLDEN = "golden"
    """It computes something else here than where it was made."""
    RUNTIME = "runtime"
    """No TFLite runtime works here, or it cannot load or run the model."""
    OTHER = "other"
    """Anything else; the message has the words."""


class ModelContractError(EdgeError, ValueError):
    """A model bundle is missing, damaged, not vouched for, or not what its card says; ``reason`` says which."""

    def __init__(self, message: str, *, reason: ModelFault = ModelFault.OTHER, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class OutboxError(EdgeError, OSError):
    """The durable store cannot be opened or written."""


class PublishFault(StrEnum):
    """Why the broker is not usable."""

    UNREACHABLE = "unreachable"
    """No TCP or TLS connection."""
    CREDENTIALS = "credentials"
    """The broker refused the user name, password or certificate."""
    PROTOCOL = "protocol"
    """The broker speaks another protocol or version."""
    OTHER = "other"
    """Anything else; the message has the reason code."""


class PublishError(EdgeError, ConnectionError):
    """The broker refuses us or cannot be reached."""

    def __init__(self, message: str, *, reason: PublishFault, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
