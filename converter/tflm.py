"""TensorFlow Lite for Microcontrollers, as the PyPI package ``tflite-micro`` runs it on a workstation.

    python tflm.py MODEL INPUTS.npz OUT.npz NAME…

The only file that imports it.  It runs in a process of its own, because an operator that it cannot compute ends the
process.  NAME… are the model's inputs in the order in which they stand in the file: this runtime knows no names.
"""

from __future__ import annotations

import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np

ARENA_BYTES = 4_000_000
"""Far more than a watch has; how much of it is used is what matters."""


def main(argv: list[str]) -> int:
    """Run every example and write ``output``, ``latency_ns`` and ``version``; the arena goes to the error stream."""
    from tflite_micro import runtime

    model, given, out, *names = argv
    interpreter = runtime.Interpreter.from_bytes(Path(model).read_bytes(), arena_size=ARENA_BYTES)
    with np.load(given, allow_pickle=False) as file:
        values = {name: file[name] for name in file.files}
    rows, times_ns = [], []
    for number in range(len(next(iter(values.values())))):
        for index, name in enumerate(names):
            interpreter.set_input(values[name][number : number + 1], index)
        began_ns = time.perf_counter_ns()
        interpreter.invoke()
        times_ns.append(time.perf_counter_ns() - began_ns)
        rows.append(interpreter.get_output(0)[0].copy())
    interpreter.print_allocations()
    np.savez(
        out,
        output=np.stack(rows),
        latency_ns=np.array(times_ns, dtype=np.int64),
        version=np.array(metadata.version("tflite-micro")),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
