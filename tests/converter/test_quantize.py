"""A trained model becomes int8 throughout, by names, the same bytes each time, or an error that says why not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converter import quantize as subject
from converter.examples import Examples, save_examples
from converter.graph import read_graph
from converter.quantize import ConversionError, convert, quantize, quantize_keras
from edge.errors import EdgeError
from edge.inference.quantization import Quantization
from edge.inference.quantization import quantize as to_int8
from tests.fakes import keras_models

pytest.importorskip("tensorflow", reason="needs the convert extra")
pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return the folder of the small Keras models."""
    folder = tmp_path_factory.mktemp("models")
    script = ROOT / "tests" / "fakes" / "keras_models.py"
    subprocess.run([sys.executable, "-W", "ignore", str(script), str(folder)], check=True, capture_output=True)
    return folder


def beat_inputs(n=60, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "samples": rng.normal(size=(n, 24, 2)).astype(np.float32),
        "features": rng.uniform(-1, 1, (n, 4)).astype(np.float32),
    }


def accuracy(model: bytes, values, labels) -> float:
    """Return the share of windows that an int8 model names right, on LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    (given,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = given["quantization"]
    integers = to_int8(values, Quantization(scale=float(scale), zero_point=int(zero_point)))
    n_right = 0
    for window, label in zip(integers, labels, strict=True):
        interpreter.set_tensor(given["index"], window[None])
        interpreter.invoke()
        n_right += int(interpreter.get_tensor(answer["index"])[0].argmax()) == label
    return n_right / len(labels)


def test_a_model_of_two_inputs_is_int8_by_name_and_always_the_same_bytes(models):
    """Names are plain, each input has its own scale, weights one per channel; a second run, with the examples in another
    order of inputs, gives the same file."""
    inputs = beat_inputs()

    first = quantize_keras(models / "beat.keras", inputs)
    again = quantize_keras(models / "beat.keras", dict(reversed(inputs.items())))

    assert first == again
    graph = read_graph(first)
    found = {graph.tensors[k].name: graph.tensors[k] for k in (*graph.inputs, *graph.outputs)}
    assert {name: tensor.shape for name, tensor in found.items()} == {
        "samples": (1, 24, 2),
        "features": (1, 4),
        "logits": (1, 3),
    }
    # 255 steps from the smallest to the largest example: an input in the other's place would have the other's range.
    for name, values in inputs.items():
        assert found[name].scales[0] == pytest.approx(float(np.ptp(values)) / 255, rel=0.01)
    assert graph.floats == ()
    assert any(len(tensor.scales) == 8 for tensor in graph.tensors)


def test_one_outlier_does_not_spoil_the_model(models):
    """An example fifty times too large sets no range: accuracy stays; where it is let in, accuracy falls."""
    values, _ = keras_models.waves(100, seed=1)
    values[7] *= 50
    unseen, labels = keras_models.waves(400, seed=2)

    guarded = convert(models / "waves.keras", {"samples": values})
    spoilt = convert(models / "waves.keras", {"samples": values}, outlier_ratio=np.inf)

    assert (guarded.n_used, guarded.n_rejected) == (99, 1)
    assert accuracy(guarded.int8, unseen, labels) >= 0.99
    assert accuracy(spoilt.int8, unseen, labels) <= 0.95


def test_floating_point_left_in_the_graph_is_refused(models):
    """The converter leaves layer normalisation in floating point without a word; we say so."""
    with pytest.raises(ConversionError, match="int8 throughout, got 2 tensors in floating point") as caught:
        convert(models / "norm.keras", {"samples": beat_inputs()["samples"]})

    assert "normalisation" in caught.value.hint


def test_a_dilated_model_gets_a_fixed_batch(models):
    """With a free batch TFLite Micro would compute something else."""
    made = convert(models / "dilated.keras", {"samples": beat_inputs()["samples"]})

    assert made.batch == 1
    assert "SPACE_TO_BATCH_ND" not in read_graph(made.int8).operators


def test_examples_are_chosen_and_a_float_file_is_kept_for_comparison(models, tmp_path):
    """From a file of examples: outliers counted, the report says what the file holds."""
    values, labels = keras_models.waves(300, seed=3)
    values[0] *= 50
    kept = Examples(
        inputs={"samples": values},
        labels=labels,
        classes=("a", "b", "c"),
        groups=np.array(["p"] * 300),
        weights=np.ones(300, dtype=np.float32),
    )
    save_examples(tmp_path / "kept.npz", kept)

    report = quantize(models / "waves.keras", tmp_path / "kept.npz", tmp_path / "o" / "m.tflite", n_representative=50)

    assert (report.n_used, report.n_rejected, report.batch) == (50, 1, None)
    facts = report.as_json()
    assert facts["n_bytes"] == (tmp_path / "o" / "m.tflite").stat().st_size
    assert facts["inputs"][0]["name"] == "samples"
    assert read_graph((tmp_path / "o" / "m.float.tflite").read_bytes()).floats
    assert accuracy((tmp_path / "o" / "m.tflite").read_bytes(), *keras_models.waves(200, seed=4)) >= 0.99


def test_inputs_under_other_names_are_refused(models):
    with pytest.raises(ConversionError, match="inputs features, samples; got features, window"):
        convert(models / "beat.keras", {"window": beat_inputs()["samples"], "features": beat_inputs()["features"]})


def test_too_few_examples_are_refused(models):
    """Ranges set by a handful are chance; so are those of examples that are not finite."""
    inputs = beat_inputs(n=30)
    inputs["features"][:15] = np.nan

    with pytest.raises(ConversionError, match="at least 20 representative examples, got 15 and 15"):
        convert(models / "beat.keras", inputs)
    with pytest.raises(ConversionError, match="as many examples for every input"):
        convert(models / "beat.keras", inputs | {"features": inputs["features"][:5]})


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ConversionError, match="no such file"):
        convert(tmp_path / "none.keras", beat_inputs())
    with pytest.raises(EdgeError, match=r"none\.npz: cannot be read"):
        quantize(tmp_path / "none.keras", tmp_path / "none.npz", tmp_path / "out.tflite")


class TestTheOtherProcess:
    """Whatever happens to the process with TensorFlow, the command ends with an error that says it."""

    def run(self, tmp_path, monkeypatch, source, **settings):
        (tmp_path / "failing_worker.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        with pytest.raises(ConversionError) as caught:
            subject.run_worker("failing_worker", tmp_path / "request.json", **settings)
        return caught.value

    def test_an_abort_is_named(self, tmp_path, monkeypatch):
        source = "import os, sys; print('LLVM ERROR: no operation', file=sys.stderr, flush=True); os.abort()"

        assert "aborted (SIGABRT): LLVM ERROR: no operation" in str(self.run(tmp_path, monkeypatch, source))

    def test_an_exception_is_quoted(self, tmp_path, monkeypatch):
        source = "raise RuntimeError('cannot lower tf.While with a TensorList')"

        error = self.run(tmp_path, monkeypatch, source)

        assert "failed: RuntimeError: cannot lower" in str(error)
        assert "unroll=True" in error.hint

    def test_a_missing_extra_is_named(self, tmp_path, monkeypatch):
        source = "raise ModuleNotFoundError(\"No module named 'tensorflow'\")"

        assert self.run(tmp_path, monkeypatch, source).hint == "pip install 'vitaledge[convert]'"

    def test_a_process_that_does_not_end_is_ended(self, tmp_path, monkeypatch):
        error = self.run(tmp_path, monkeypatch, "import time; time.sleep(60)", timeout_s=0.5)

        assert "still running after 0.5 s" in str(error)
