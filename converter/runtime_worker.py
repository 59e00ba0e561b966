"""One TFLite runtime in a process of its own: inputs in, answers and times out.

    python runtime_worker.py BACKEND MODEL INPUTS.npz OUT.npz

It needs numpy and the runtime, nothing else, so that it runs in an environment that cannot hold this project
(tflite-runtime wants an older numpy) and on another kind of processor.  BACKEND is ``litert``, ``tflite`` or
``litert-reference``, LiteRT with its plain kernels, which compute as those of microcontrollers do.
"""

from __future__ import annotations

import importlib
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

MODULES = {
    "litert": ("ai_edge_litert.interpreter", "ai-edge-litert"),
    "litert-reference": ("ai_edge_litert.interpreter", "ai-edge-litert"),
    "tflite": ("tflite_runtime.interpreter", "tflite-runtime"),
}
N_WARM_UP = 10


def main(argv: list[str]) -> int:
    """Run every example and write ``output``, ``latency_ns`` and ``version``."""
    backend, model, given, out = argv
    module_name, package = MODULES[backend]
    module: Any = importlib.import_module(module_name)
    options: dict[str, Any] = {"model_content": Path(model).read_bytes(), "num_threads": 1}
    if backend == "litert-reference":
        options["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_REF
    interpreter = module.Interpreter(**options)
    interpreter.allocate_tensors()
    with np.load(given, allow_pickle=False) as file:
        values = {name: file[name] for name in file.files}
    indices = {plain_name(each["name"]): each["index"] for each in interpreter.get_input_details()}
    answer = interpreter.get_output_details()[0]["index"]
    rows, times_ns = [], []
    n_examples = len(next(iter(values.values())))
    for number in [*[0] * min(N_WARM_UP, n_examples), *range(n_examples)]:
        for name, index in indices.items():
            interpreter.set_tensor(index, values[name][number : number + 1])
        began_ns = time.perf_counter_ns()
        interpreter.invoke()
        times_ns.append(time.perf_counter_ns() - began_ns)
        rows.append(interpreter.get_tensor(answer)[0].copy())
    np.savez(
        out,
        output=np.stack(rows[-n_examples:]),
        latency_ns=np.array(times_ns[-n_examples:], dtype=np.int64),
        version=np.array(metadata.version(package)),
    )
    return 0


def plain_name(tensor: str) -> str:
    """Return what the author of a model called a tensor."""
    return tensor.removeprefix("serving_default_").partition(":")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
