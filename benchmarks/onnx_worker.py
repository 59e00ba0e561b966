"""The same model in ONNX Runtime, in a process of its own: latency in floating point and in int8.

    python onnx_worker.py MODEL.float.tflite INPUTS.npz OUT.npz REPEATS

The float TFLite file is translated by tf2onnx, and quantized by ONNX Runtime's own static quantization: per channel, on
the same examples, with signed and with unsigned activations, of which the faster counts.
"""

from __future__ import annotations

import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = dict[str, NDArray[np.float32]]
N_CALIBRATION = 100


def main(argv: list[str]) -> int:
    """Translate, quantize, run; write ``output``, ``float_ns``, ``int8_ns``, ``int8_output``, sizes and ``version``."""
    model, given, out, repeats = argv
    with np.load(given, allow_pickle=False) as file:
        values = {name: file[name] for name in file.files}
    with tempfile.TemporaryDirectory() as folder:
        floating = Path(folder) / "float.onnx"
        translate(model, floating)
        best: tuple[NDArray[np.int64], NDArray[np.float32]] | None = None
        for is_signed in (True, False):
            path = Path(folder) / f"int8-{is_signed}.onnx"
            quantize(floating, path, values, is_signed=is_signed)
            found = run(path, values, int(repeats))
            if best is None or np.median(found[0]) < np.median(best[0]):
                best, int8_bytes = found, path.stat().st_size
        float_ns, output = run(floating, values, int(repeats))
        assert best is not None
        np.savez(
            out,
            output=output,
            float_ns=float_ns,
            int8_ns=best[0],
            int8_output=best[1],
            n_bytes=np.array([floating.stat().st_size, int8_bytes]),
            version=np.array(metadata.version("onnxruntime")),
        )
    return 0


def translate(model: str, path: Path) -> None:
    """Write a TFLite file as ONNX."""
    import tf2onnx.convert

    tf2onnx.convert.from_tflite(model, opset=17, output_path=str(path))


def quantize(source: Path, path: Path, values: Values, *, is_signed: bool) -> None:
    """Write the int8 form of an ONNX file."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            n = min(N_CALIBRATION, len(next(iter(values.values()))))
            self._rows = iter([{name: rows[k : k + 1] for name, rows in values.items()} for k in range(n)])

        def get_next(self) -> Any:
            return next(self._rows, None)

    kind = quantization.QuantType.QInt8 if is_signed else quantization.QuantType.QUInt8
    quantization.quantize_static(
        str(source),
        str(path),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=kind,
        weight_type=quantization.QuantType.QInt8,
    )


def run(path: Path, values: Values, repeats: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the times of the best of several runs over all examples, and the answers."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    rows = [{name: each[k : k + 1] for name, each in values.items()} for k in range(len(next(iter(values.values()))))]
    best_ns: NDArray[np.int64] | None = None
    for _ in range(repeats):
        times_ns, answers = [], []
        for row in rows:
            began_ns = time.perf_counter_ns()
            (answer,) = session.run(None, row)
            times_ns.append(time.perf_counter_ns() - began_ns)
            answers.append(answer[0])
        if best_ns is None or np.median(times_ns) < np.median(best_ns):
            best_ns = np.array(times_ns, dtype=np.int64)
    assert best_ns is not None
    return best_ns, np.stack(answers)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
