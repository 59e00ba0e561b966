"""Print what the library takes on microcontrollers: ``make size``.

Flash is text + data, RAM data + bss of each module compiled by itself; a module has no variables of its own, so what it
needs in RAM is the struct of its state, shown beside it.  The encode path is a program that only sends samples, linked
with ``--gc-sections``: its flash is the whole program, its RAM the writer's struct and the deepest stack.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
INCLUDE, SOURCE = HERE.parent / "include", HERE.parent / "src"
MODULES = ("crc", "cobs", "frame", "packet", "ring", "store", "device")
STRUCTS = {
    "cobs": "fb_cobs_writer_t",
    "frame": "fb_frame_writer_t",
    "ring": "fb_ring_t",
    "store": "fb_store_t",
    "device": "fb_device_t",
}
FLAGS = ["-std=c99", "-Os", "-ffreestanding", "-ffunction-sections", "-fdata-sections", f"-I{INCLUDE}"]
TARGETS = {
    "Cortex-M0+": ["arm-none-eabi-", "-mcpu=cortex-m0plus", "-mthumb"],
    "Cortex-M4": ["arm-none-eabi-", "-mcpu=cortex-m4", "-mthumb"],
    "RV32IMC": ["riscv64-unknown-elf-", "-march=rv32imc", "-mabi=ilp32"],
}


def run(*command: str | Path) -> str:
    """Return what a command printed."""
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def sections(prefix: str, path: Path) -> tuple[int, int, int]:
    """Return text, data and bss of an object or program."""
    text, data, bss = run(f"{prefix}size", path).splitlines()[1].split()[:3]
    return int(text), int(data), int(bss)


def size_of(prefix: str, flags: list[str], name: str, folder: Path) -> int:
    """Return the bytes of a struct on the target."""
    source = folder / "sizeof.c"
    source.write_text(f'#include "fb_ring.h"\n#include "fb_device.h"\nchar probe[sizeof({name})];\n')
    run(f"{prefix}gcc", *flags, "-c", source, "-o", source.with_suffix(".o"))
    return sections(prefix, source.with_suffix(".o"))[2]


def frames_of(folder: Path) -> dict[str, int]:
    """Return the stack of every function, as the compiler says."""
    found: dict[str, int] = {}
    for path in folder.glob("*.su"):
        for line in path.read_text().splitlines():
            place, n_bytes, _ = line.split("\t")
            found[place.rsplit(":", 1)[1]] = int(n_bytes)
    return found


def calls_of(prefix: str, program: Path) -> dict[str, set[str]]:
    """Return who calls whom, from the disassembly; calls through pointers are not seen."""
    calls: dict[str, set[str]] = {}
    name = ""
    for line in run(f"{prefix}objdump", "-d", program).splitlines():
        if begun := re.match(r"[0-9a-f]+ <([\w.]+)>:", line):
            name = begun[1]
            calls[name] = set()
        elif called := re.search(r"\s(?:bl|b\.n|b\.w|jal|j|tail)\s.*<([\w.]+)>", line):
            calls[name].add(called[1])
    return calls


def deepest(calls: dict[str, set[str]], frames: dict[str, int], name: str, above: tuple[str, ...] = ()) -> int:
    """Return the stack of the deepest chain of calls from `name` on."""
    below = [deepest(calls, frames, each, (*above, name)) for each in calls.get(name, ()) if each not in {*above, name}]
    return frames.get(name.split(".", maxsplit=1)[0], 0) + max(below, default=0)


def table_of(target: str, folder: Path) -> list[str]:
    """Return the lines of one target."""
    prefix, *machine = TARGETS[target]
    flags = [*FLAGS, *machine, "-fstack-usage"]
    lines = [f"{target} ({run(f'{prefix}gcc', '--version').splitlines()[0]})"]
    lines.append(f"  {'module':<12}{'flash':>7}{'RAM':>6}   state")
    objects = []
    for module in MODULES:
        made = folder / f"{module}.o"
        run(f"{prefix}gcc", *flags, "-c", SOURCE / f"fb_{module}.c", "-o", made)
        text, data, bss = sections(prefix, made)
        struct = STRUCTS.get(module)
        state = f"{struct} {size_of(prefix, flags, struct, folder)}" if struct else ""
        lines.append(f"  {'fb_' + module:<12}{text + data:>7}{data + bss:>6}   {state}")
        objects.append(made)
    main, program = folder / "encode_only.o", folder / "encode_only.elf"
    run(f"{prefix}gcc", *flags, "-c", HERE / "size" / "encode_only.c", "-o", main)
    run(f"{prefix}gcc", *flags, main, *objects, "-nostdlib", "-Wl,--gc-sections,-e,entry", "-lgcc", "-o", program)
    text, data, _ = sections(prefix, program)
    writer = size_of(prefix, flags, "fb_frame_writer_t", folder)
    stack = deepest(calls_of(prefix, program), frames_of(folder), "entry")
    lines.append(f"  encode path, linked: {text + data} bytes of flash (its main included), {writer} + {stack} of stack = "
                 f"{writer + stack} bytes of RAM beyond the caller's buffers")  # fmt: skip
    return lines


def main() -> None:
    """Print the table of every target whose compiler is installed."""
    for target, (prefix, *_) in TARGETS.items():
        if shutil.which(f"{prefix}gcc") is None:
            sys.stdout.write(f"{target}: {prefix}gcc is not installed\n")
            continue
        with tempfile.TemporaryDirectory() as folder:
            sys.stdout.write("\n".join(table_of(target, Path(folder))) + "\n")


if __name__ == "__main__":
    main()
