"""Does a 64-bit ARM processor answer as this machine does?  Emulated, so it says nothing about speed.

For every bundle (default: the two that come with this software) the same int8 inputs go through LiteRT here, and through
LiteRT and tflite-runtime on an emulated ARM processor: same decision, same bytes, largest difference in steps.

    python benchmarks/parity_aarch64.py --prepare build/aarch64      (once: some 600 MB, Debian or Ubuntu, no root needed)
    python benchmarks/parity_aarch64.py build/aarch64

`--prepare` fetches Debian packages of Python for arm64 and of the emulator and unpacks them into the folder, with the
wheels of both runtimes; nothing is installed.  The processor must be ``cortex-a72``: with the emulator's default one,
``max``, LiteRT's int8 answers are wrong without a word.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from bench_inference import ROOT, Model, read_model
from machine import heading
from numpy.typing import NDArray

from converter import runtime_worker
from converter.backends import run_model

PROCESSOR = "cortex-a72"
DEBIAN = (
    "libc6", "libpython3.11-minimal", "python3.11-minimal", "libpython3.11-stdlib", "zlib1g", "libexpat1", "libffi8",
    "libbz2-1.0", "liblzma5", "libssl3", "libgcc-s1", "libstdc++6", "libuuid1", "libsqlite3-0", "libcrypt1",
)  # fmt: skip
WHEELS = (
    "numpy==1.26.4", "ai-edge-litert==2.3.0", "tflite-runtime==2.14.0", "flatbuffers", "backports.strenum", "tqdm",
    "typing_extensions", "protobuf",
)  # fmt: skip
PLATFORMS = ("manylinux_2_27_aarch64", "manylinux_2_28_aarch64", "manylinux_2_34_aarch64", "manylinux2014_aarch64")
# LiteRT reads the kind of processor from there; what this machine's file says of an x86 processor made it crash.
CPUINFO = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
LIMIT_LSB = 8
LIMIT_AGREEMENT = 0.995


def prepare(folder: Path) -> None:
    """Fetch and unpack emulator, ARM Python and both runtimes."""
    folder = folder.resolve()
    for name in ("apt/lists/partial", "apt/archives/partial", "debs", "emulator", "root/site", "root/proc", "wheels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "apt" / "status").touch()
    (folder / "root" / "proc" / "cpuinfo").write_text(CPUINFO)
    settings = folder / "apt.conf"
    settings.write_text(
        'APT::Architecture "arm64";\nAPT::Architectures {"arm64";};\nAPT::Sandbox::User "";\n'
        f'Dir::State "{folder}/apt";\nDir::State::status "{folder}/apt/status";\nDir::Cache "{folder}/apt";\n'
    )
    arm = {**os.environ, "APT_CONFIG": str(settings)}
    subprocess.run(["apt-get", "-qq", "update"], env=arm, check=True)
    subprocess.run(["apt-get", "-qq", "download", *DEBIAN], env=arm, cwd=folder / "debs", check=True)
    subprocess.run(["apt-get", "-qq", "download", "qemu-user-static"], cwd=folder / "emulator", check=True)
    for package in (folder / "debs").glob("*.deb"):
        subprocess.run(["dpkg", "-x", str(package), str(folder / "root")], check=True)
    for package in (folder / "emulator").glob("*.deb"):
        subprocess.run(["dpkg", "-x", str(package), str(folder / "emulator")], check=True)
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    target = ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", *platforms]
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", *target]
    subprocess.run([*pip, "-d", str(folder / "wheels"), *WHEELS], check=True)
    for wheel in (folder / "wheels").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "root" / "site")


def emulated(
    folder: Path, processor: str, backend: str, model: bytes, inputs: Mapping[str, NDArray[np.int8]]
) -> tuple[str, NDArray[np.int8]]:
    """Return version and answers of a runtime on an emulated processor."""
    root = folder.resolve() / "root"
    emulator = folder.resolve() / "emulator" / "usr" / "bin" / "qemu-aarch64-static"
    with tempfile.TemporaryDirectory() as work:
        files = [str(Path(work) / name) for name in ("model.tflite", "inputs.npz", "out.npz")]
        Path(files[0]).write_bytes(model)
        np.savez(files[1], allow_pickle=False, **inputs)
        # Apart from its folder, whose modules have names that others have too.
        script = shutil.copy(runtime_worker.__file__, work)
        command = [str(emulator), "-L", str(root), str(root / "usr/bin/python3.11"), "-W", "ignore", script]
        subprocess.run(
            [*command, backend, *files],
            env={**os.environ, "QEMU_CPU": processor, "PYTHONPATH": str(root / "site")},
            check=True,
            stderr=subprocess.PIPE,
        )
        with np.load(files[2], allow_pickle=False) as file:
            return str(file["version"]), file["output"]


def print_parity(folder: Path, processor: str, models: list[Model]) -> bool:
    """Print the comparison and return whether every limit is kept."""
    print(f"### Emulated {processor} against LiteRT here, the same int8 inputs\n")
    print("| model | examples | runtime on ARM | same decision | same bytes | largest difference, steps |")
    print("|---|---|---|---|---|---|")
    is_within = True
    for model in models:
        here = run_model("litert", model.bundle.model, model.integers).output
        for backend in ("litert", "tflite"):
            version, there = emulated(folder, processor, backend, model.bundle.model, model.integers)
            apart = np.abs(there.astype(int) - here.astype(int)).max(axis=1)
            same = float((there.argmax(axis=1) == here.argmax(axis=1)).mean())
            is_within &= bool(apart.max() <= LIMIT_LSB and same >= LIMIT_AGREEMENT)
            cells = f"{same:.2%} | {(apart == 0).mean():.1%} | {apart.max()}"
            print(f"| {model.name} | {len(here)} | {backend} {version} | {cells} |", flush=True)
    return is_within


def main() -> int:
    """Read the command line; return 1 where ARM differs more than is allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shipped = [ROOT / "edge" / "models" / name for name in ("beat", "rhythm")]
    parser.add_argument("folder", type=Path, help="where --prepare put the emulated system")
    parser.add_argument("bundles", type=Path, nargs="*", default=shipped, help="folders of bundles")
    parser.add_argument("--prepare", action="store_true", help="fetch the emulated system first")
    parser.add_argument("--processor", default=PROCESSOR, help=f"as the emulator names it (default {PROCESSOR})")
    parser.add_argument("--examples", type=int, default=300, help="examples, made from the golden vectors")
    options = parser.parse_args()
    if options.prepare:
        prepare(options.folder)
    models = [read_model(path, None, options.examples) for path in options.bundles]
    print(heading(("numpy", "ai-edge-litert")))
    return 0 if print_parity(options.folder, options.processor, models) else 1


if __name__ == "__main__":
    sys.exit(main())
