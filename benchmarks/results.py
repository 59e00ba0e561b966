"""Run the benchmarks and write what they print into RESULTS.md, each into its own section.

A section is what stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``, where NAME is the script's name
without ``.py``; text outside stays as it is, so a discussion can stand above and below.  A section that is not there
yet is added at the end.  A script that fails leaves its section alone, and this one exits with 1.

    python benchmarks/results.py RECORDINGS --python .venv-peers/bin/python --only bench_ecg bench_speed
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "RESULTS.md"

COMMANDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bench_ecg": ("{data}/mitdb", "--plot", "benchmarks/ecg.svg"),
        "bench_speed": ("{data}/mitdb", "--records", "119", "208", "230"),
        "bench_noise": ("{data}/mitdb", "--noise", "{data}/nstdb", "--plot", "benchmarks/noise.svg"),
        "bench_cinc2017_quality": ("{data}/cinc2017",),
        "bench_intervals": ("{data}/mitdb",),
        "bench_ppg": (),
        "bench_respiration": ("{data}/bidmc",),
        "bench_wrist": ("{data}",),
    }
)
"""Arguments of every script, in the order of the sections; ``{data}`` is the folder with the recordings."""


def replaced(page: str, name: str, body: str) -> str:
    """Return `page` with the section `name` now holding `body`."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    section = f"{begin}\n{body.strip()}\n{end}"
    if begin not in page or end not in page:
        return f"{page.rstrip()}\n\n{section}\n"
    return page[: page.index(begin)] + section + page[page.index(end) + len(end) :]


def main() -> int:
    """Run what was asked for; return 0 if every script succeeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with the recordings: mitdb, bidmc …")
    parser.add_argument("--only", nargs="+", choices=tuple(COMMANDS), default=tuple(COMMANDS), help="scripts to run")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the interpreter that has the peers")
    options = parser.parse_args()
    # One thread each: processor time then is the time on one core.
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **one_thread, "VITALEDGE_DATA": str(options.data.resolve())}
    n_failed = 0
    for name in options.only:
        arguments = [word.format(data=options.data.resolve()) for word in COMMANDS[name]]
        print(f"{name} …", file=sys.stderr, flush=True)
        finished = subprocess.run(
            [options.python.absolute(), f"benchmarks/{name}.py", *arguments],
            cwd=FOLDER.parent,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if finished.returncode:
            print(f"{name} failed with exit code {finished.returncode}; its section is left alone", file=sys.stderr)
            n_failed += 1
            continue
        RESULTS.write_text(replaced(RESULTS.read_text(encoding="utf-8"), name, finished.stdout), encoding="utf-8")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
