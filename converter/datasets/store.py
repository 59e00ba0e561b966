"""The same work on many files, over processes, and what came of it kept until code, settings or a file change.

What is kept is found again by a hash of everything that it depends on: the bytes of the file (and of its companions of
the same stem), the arguments of the work, and the source code that did it.  So nothing is ever out of date.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from converter.examples import Examples, concatenate, load_examples, save_examples
from converter.progress import progress
from edge.errors import EdgeError

Work = Callable[[Path], Examples | None]
"""Makes the examples of one file; None where it holds none."""

ROOT = Path(__file__).resolve().parents[2]
_CODE = (
    "edge/acquisition",
    "edge/conditioning",
    "edge/features",
    "edge/messages",
    "edge/ecg_chain.py",
    "edge/model_windows.py",
    "converter/datasets",
    "converter/evaluation",
    "converter/examples.py",
)
"""The code that turns a recording into windows and their labels."""


def default_cache() -> Path:
    """Return the folder where examples are kept: below ``$XDG_CACHE_HOME``, else ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vitaledge" / "examples"


def gather(
    files: Sequence[Path], work: Work, *, cache: Path | None, jobs: int, depends: Sequence[Path] = ()
) -> Examples:
    """Return the examples of all `files`, in their order.

    Parameters
    ----------
    files : sequence of Path
        Recordings, with or without extension.
    work : callable
        A function of a module, or `functools.partial` of one: it runs in other processes too.
    cache : Path or None
        Where results are kept; None keeps none.
    jobs : int
        Processes; 1 works in this one, 0 or less takes one for each processor.
    depends : sequence of Path
        Files that all results depend on, such as a list of labels.

    Raises
    ------
    EdgeError
        If no file gave an example.
    """
    code = code_hash(work) + "".join(file_hash(path) for path in depends)
    parts = [part for part in _each(files, partial(_kept, work=work, code=code, cache=cache), jobs) if part is not None]
    if not parts:
        raise EdgeError(
            f"expected examples in {len(files)} files, got none", hint="look at --data and the recipe's data"
        )
    return concatenate(parts)


def code_hash(work: Work) -> str:
    """Return a hash of the work's arguments and of all code that it runs."""
    digest = hashlib.sha256(_described(work).encode())
    for name in (*_CODE, *_modules_of(work)):
        path = ROOT / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes() if file.is_file() else b"")
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """Return a hash of a file and of those that belong to it: ``101.hea``, ``101.dat``, ``101.atr``."""
    digest = hashlib.sha256()
    for file in sorted({path, *path.parent.glob(f"{path.stem}.*")}):
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _kept(path: Path, *, work: Work, code: str, cache: Path | None) -> Examples | None:
    if cache is None:
        return work(path)
    key = hashlib.sha256(f"{code} {file_hash(path)}".encode()).hexdigest()
    file = cache / key[:2] / f"{key}.npz"
    if file.is_file():
        try:
            return load_examples(file)
        except EdgeError:
            file.unlink(missing_ok=True)  # cut short by a full disk: made again
    empty = file.with_suffix(".none")
    if empty.is_file():
        return None
    examples = work(path)
    if examples is None:
        file.parent.mkdir(parents=True, exist_ok=True)
        empty.touch()
    else:
        save_examples(file, examples)
    return examples


def _each(files: Sequence[Path], work: Work, jobs: int) -> Iterator[Examples | None]:
    jobs = jobs if jobs > 0 else os.cpu_count() or 1
    if jobs == 1 or len(files) < 2:
        results: Iterator[Examples | None] = map(work, files)
    else:
        try:
            from joblib import Parallel, delayed
        except ImportError as error:
            raise EdgeError(
                f"working in {jobs} processes needs joblib: {error}",
                hint="pip install 'vitaledge[convert]', or --jobs 1",
            ) from error
        results = Parallel(n_jobs=jobs, return_as="generator")(delayed(work)(path) for path in files)
    yield from progress(results, total=len(files), what="recordings")


def _described(work: Work) -> str:
    if isinstance(work, partial):
        return f"{_described(work.func)} {work.args!r} {sorted(work.keywords.items())!r}"
    return f"{work.__module__}.{work.__qualname__}"


def _modules_of(work: Work) -> list[str]:
    """Return the file of the module of `work`, where it is none of the code that is hashed anyway."""
    function = work.func if isinstance(work, partial) else work
    module = sys.modules.get(function.__module__) or importlib.import_module(function.__module__)
    file = getattr(module, "__file__", None)
    return [str(Path(file).resolve())] if file else []
