"""Files that are whole or not there, whenever the power goes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from edge.errors import ModelContractError, ModelFault


class Disk:
    """The steps of which a durable change is made; a test lets any one of them fail."""

    def make_folder(self, path: Path) -> None:
        """Create a folder with its parents; one that is there stays."""
        path.mkdir(parents=True, exist_ok=True)

    def write(self, path: Path, content: bytes) -> None:
        """Write a file and wait until its content is on the medium."""
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def rename(self, source: Path, target: Path) -> None:
        """Give a file or folder another name, in place of what had it."""
        source.replace(target)

    def sync_folder(self, path: Path) -> None:
        """Wait until the names in a folder are on the medium."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Remove a file, or a folder with everything in it; one that is not there is no error."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def replace_file(self, path: Path, content: bytes) -> None:
        """Give a file new content: whoever opens it sees the old or the new, never a part."""
        unfinished = path.with_name(f".{path.name}.new")
        self.write(unfinished, content)
        self.rename(unfinished, path)
        self.sync_folder(path.parent)

    @contextlib.contextmanager
    def locked(self, path: Path) -> Iterator[None]:
        """Keep other processes out while a change is made; the lock ends with the process."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def bundle_file(path: Path, name: str) -> bytes | None:
    """Return a file of a bundle that was verified just now; None where there is none, such as no signature."""
    try:
        if path.is_dir():
            return (path / name).read_bytes()
        with zipfile.ZipFile(path) as archive:
            return archive.read(name)
    except (FileNotFoundError, KeyError):
        return None
    except zipfile.BadZipFile as error:
        raise ModelContractError(f"{path}: changed while it was copied", reason=ModelFault.DAMAGED) from error
