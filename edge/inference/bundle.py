"""A model bundle: proven to be the one that somebody trusted released, before any byte of it is used.

A directory, or one ``.zip`` with the same files at its top::

    manifest.json   what the model is and wants (`card.ModelCard`), with size and SHA-256 of every other file
    manifest.sig    Ed25519 signature over the manifest, and which key made it (`trust.Signature`)
    model.tflite    the int8 model
    golden.json     inputs with the answers that the model must give here too
    MODEL_CARD.md   the card for people; and whatever else the manifest names

A damaged model file can crash a TFLite runtime, so signature and hashes come first, and bytes are handed on from
memory: the file that was checked is the file that runs.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from edge.errors import ModelContractError, ModelFault
from edge.inference.card import MAX_TOTAL_BYTES, ModelCard
from edge.inference.golden import GoldenCase
from edge.inference.manifest import MAX_MANIFEST_BYTES, Read, checked_contents, read_card, refuse_other_format
from edge.inference.trust import HINT, SignedBy, TrustedKeys

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
MODEL_CARD = "MODEL_CARD.md"
BUILTIN = "builtin"
"""What a configuration says instead of a path for the bundle that came with this software."""
MAX_SIGNATURE_BYTES = 4_000
MAX_ZIP_ENTRIES = 100
MAX_ZIP_BYTES = MAX_TOTAL_BYTES + 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A verified bundle, in memory."""

    card: ModelCard = field(repr=False)
    sha256: str
    """Hash of the manifest, which holds the hashes of all other files: it names the whole bundle."""
    signed_by: SignedBy | None
    """None: nobody vouches for it, and it was allowed all the same."""
    model: bytes = field(repr=False)
    golden: tuple[GoldenCase, ...] = field(repr=False)


def load_bundle(
    path: Path,
    trust: TrustedKeys | None = None,
    *,
    allow_unsigned: bool = False,
    task: str | None = None,
    least_release: int = 0,
) -> Bundle:
    """Return the bundle in a directory or zip, signature and every file of it verified.

    Parameters
    ----------
    path : Path
        Directory or ``.zip``.
    trust : TrustedKeys, optional
        Who may vouch for it.  Default: the keys that came with this software.
    allow_unsigned : bool
        Whether a bundle without signature is taken; a bad signature never is.
    task : str, optional
        ``beat`` or ``rhythm``: the only task that is taken.
    least_release : int
        Smallest release that is taken: an older one was replaced for a reason.

    Raises
    ------
    ModelContractError
        If anything is missing, truncated, altered, not vouched for, or says what cannot be; ``reason`` says which.
    """
    read = _open(path)
    manifest = _required(path, MANIFEST, read(MANIFEST, MAX_MANIFEST_BYTES), MAX_MANIFEST_BYTES)
    signature = read(SIGNATURE, MAX_SIGNATURE_BYTES)
    signed_by, last_day = None, None
    if signature is not None:
        keys = trusted_keys() if trust is None else trust
        signed_by, last_day = keys.verdict(manifest, signature, str(path / SIGNATURE))
    elif not allow_unsigned:
        refuse_other_format(manifest, str(path / MANIFEST))
        message = f"{path}: is not signed: nobody vouches for it"
        hint = "sign it with vitaledge-convert sign, or allow unsigned bundles for a trial"
        raise ModelContractError(message, reason=ModelFault.UNSIGNED, hint=hint)
    card = read_card(manifest, str(path / MANIFEST))
    if last_day is not None and card.created > last_day:
        message = f"{path}: made on {card.created}, after the last day of the key that signed it ({last_day})"
        raise ModelContractError(message, reason=ModelFault.REVOKED_KEY, hint="get a bundle signed with another key")
    _refuse_other_use(path, card, task, least_release)
    model, golden = checked_contents(card, read, str(path))
    return Bundle(
        card=card, sha256=hashlib.sha256(manifest).hexdigest(), signed_by=signed_by, model=model, golden=golden
    )


def trusted_keys(files: Sequence[Path] = ()) -> TrustedKeys:
    """Return the keys that came with this software and those in `files`.

    Raises
    ------
    ModelContractError
        If a file cannot be read or is no file of trusted keys: a typing error must not pass for "nobody is trusted".
        If everybody can write one of `files`: then everybody can vouch for a model.
    """
    for file in files:
        if os.name == "posix" and file.exists() and file.stat().st_mode & stat.S_IWOTH:
            message = f"{file}: everybody can write this file of trusted keys"
            hint = f"look through it, then chmod o-w {file}"
            raise ModelContractError(message, reason=ModelFault.UNKNOWN_KEY, hint=hint)
    return _keys_in(_shipped("trusted_keys.json")).joined(_keys_in(file) for file in files)


def _keys_in(file: Path) -> TrustedKeys:
    content = _regular_file(file, MAX_MANIFEST_BYTES, is_link_followed=True)
    return TrustedKeys.parse(_required(file.parent, file.name, content, MAX_MANIFEST_BYTES), str(file))


def builtin_bundle(task: str) -> Path:
    """Return where the bundle that came with this software for a task lies."""
    return _shipped(task)


def _shipped(name: str) -> Path:
    return Path(str(resources.files("edge").joinpath("models", name)))


def _refuse_other_use(path: Path, card: ModelCard, task: str | None, least_release: int) -> None:
    if task is not None and card.task != task:
        message = f"{path}: expected a model for {task}, {card.title} is one for {card.task}"
        raise ModelContractError(message, reason=ModelFault.MISMATCH, hint="look which bundle is configured where")
    if card.release < least_release:
        message = f"{path}: expected release {least_release} or later, got {card.release} ({card.title})"
        hint = "install the current bundle; going back is for vitaledge model rollback"
        raise ModelContractError(message, reason=ModelFault.REPLAYED, hint=hint)


def _required(path: Path, name: str, content: bytes | None, most: int) -> bytes:
    if content is None:
        raise ModelContractError(f"{path / name}: is missing", reason=ModelFault.MISSING, hint=HINT)
    if len(content) > most:
        message = f"{path / name}: expected at most {most} bytes, got more"
        raise ModelContractError(message, reason=ModelFault.DAMAGED, hint=HINT)
    return content


def _open(path: Path) -> Read:
    if path.is_dir():
        return lambda name, most: _regular_file(path / name, most)
    content = _regular_file(path, MAX_ZIP_BYTES, is_link_followed=True)
    if content is None:
        message = f"{path}: expected a model bundle, got nothing there"
        raise ModelContractError(message, reason=ModelFault.MISSING, hint=HINT)
    if not content.startswith(b"PK"):
        message = f"{path}: expected the directory or zip of a model bundle, got another file"
        raise ModelContractError(message, reason=ModelFault.FORMAT, hint=HINT)
    return _zip_reader(_required(path.parent, path.name, content, MAX_ZIP_BYTES), str(path))


def _regular_file(path: Path, most: int, *, is_link_followed: bool = False) -> bytes | None:
    """Return at most `most` bytes and one more; None where nothing is.

    A link that the operator names is followed, one inside a bundle is not.  What is no file is refused, not waited for:
    a pipe would block for ever.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if not is_link_followed:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        what = "is a link" if path.is_symlink() else f"cannot be read: {getattr(error, 'strerror', error)}"
        raise ModelContractError(f"{path}: {what}", reason=ModelFault.MISSING, hint=HINT) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ModelContractError(f"{path}: expected a file, got something else", reason=ModelFault.FORMAT, hint=HINT)
    with os.fdopen(descriptor, "rb") as file:
        try:
            return file.read(most + 1)
        except OSError as error:
            message = f"{path}: cannot be read: {error.strerror}"
            raise ModelContractError(message, reason=ModelFault.MISSING, hint=HINT) from error


def _zip_reader(content: bytes, source: str) -> Read:
    """Return what reads the files of a zip; a name that could be two files, or leads elsewhere, is refused at once."""
    try:
        if content.count(_ZIP_ENTRY) > 2 * MAX_ZIP_ENTRIES:  # `zipfile` makes half a kilobyte of each at once
            raise zipfile.BadZipFile(f"expected at most {MAX_ZIP_ENTRIES} files")
        archive = zipfile.ZipFile(io.BytesIO(content))
    except _ZIP_FAULTS as error:
        message = f"{source}: is no zip that can be read: {error}"
        raise ModelContractError(message, reason=ModelFault.FORMAT, hint=HINT) from error
    entries = archive.infolist()
    words = _zip_fault(entries)
    if words:
        raise ModelContractError(f"{source}: {words}", reason=ModelFault.FORMAT, hint=HINT)
    names = {entry.filename for entry in entries}

    def read(name: str, most: int) -> bytes | None:
        if name not in names:
            return None
        try:
            with archive.open(name) as file:
                return file.read(most + 1)
        except _ZIP_FAULTS as error:
            message = f"{source}: {name}: cannot be unpacked: {error}"
            raise ModelContractError(message, reason=ModelFault.DAMAGED, hint=HINT) from error

    return read


def _zip_fault(entries: Sequence[zipfile.ZipInfo]) -> str:
    """Return what no zip of a bundle has; empty where all is well."""
    if len(entries) > MAX_ZIP_ENTRIES:
        return f"expected at most {MAX_ZIP_ENTRIES} files, got {len(entries)}"
    if len({entry.filename for entry in entries}) != len(entries):
        return "a name stands there twice"
    for entry in entries:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        is_plain = kind in {0, stat.S_IFREG} and not set(entry.orig_filename) & set("/\\\0")
        if not is_plain or entry.flag_bits & _ENCRYPTED:
            return f"expected plain files at the top, got {entry.orig_filename!r:.100}"
        if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            return f"expected files stored or deflated, {entry.filename!r:.100} is neither"
    return ""


_ENCRYPTED = 1
_ZIP_ENTRY = b"PK\x01\x02"
"""Before each entry of the directory at the end of a zip; what looks like one inside a model is allowed for."""
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    ValueError,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    zlib.error,
)
"""What `zipfile` was seen to raise, or says that it raises, on damaged archives."""
