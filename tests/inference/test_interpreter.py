"""The TFLite runtimes, on models written by hand."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from edge.errors import ModelContractError
from edge.inference.interpreter import Interpreter
from tests.fakes.tiny_model import (
    INPUT,
    N_SAMPLES,
    OUTPUT,
    add_model,
    classifier_model,
    linear_answer,
    quantize_model,
    shape_model,
    two_input_model,
    uint8_model,
)

litert = pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")


@pytest.fixture(scope="module")
def model():
    return classifier_model()


def test_the_model_says_what_it_takes_and_gives(model):
    interpreter = Interpreter(model)

    assert {name: spec.shape for name, spec in interpreter.inputs.items()} == {INPUT: (1, N_SAMPLES, 1)}
    assert interpreter.inputs[INPUT].name == INPUT
    assert (interpreter.output.name, interpreter.output.shape) == (OUTPUT, (1, 2))
    assert interpreter.inputs[INPUT].quantization.zero_point == -3
    assert interpreter.inputs[INPUT].quantization.scale == pytest.approx(0.02)
    assert interpreter.backend == "litert"


@pytest.fixture(params=["litert", "tflite"])
def backend(request):
    """Each runtime that is installed and works here."""
    if request.param == "tflite":
        pytest.importorskip("tflite_runtime", reason="needs the tflite extra")
        if int(np.__version__.split(".")[0]) > 1:
            pytest.skip("tflite-runtime 2.14 needs numpy<2")
    return request.param


def test_the_answer_is_that_of_plain_arithmetic(model, backend):
    """Within the rounding of the softmax kernel: over 20 000 windows 3 steps with LiteRT, 2 with tflite-runtime."""
    interpreter = Interpreter(model, backend=backend)
    rng = np.random.default_rng(0)

    for _ in range(100):
        level = rng.uniform(-40, 40)
        values = np.clip(rng.normal(level, 20, size=(1, N_SAMPLES, 1)), -128, 127).astype(np.int8)
        difference = interpreter.run({INPUT: values}).astype(int) - linear_answer(values)
        assert np.abs(difference).max() <= 4
    assert interpreter.backend == backend


def test_a_float_model_is_refused_by_each_runtime(backend):
    with pytest.raises(ModelContractError, match="int8 model throughout"):
        Interpreter(classifier_model(is_float=True), backend=backend)


def test_an_answer_stays_when_the_next_window_is_run(model):
    """The answer is a copy, not the runtime's memory."""
    interpreter = Interpreter(model)
    first = interpreter.run({INPUT: np.full((1, N_SAMPLES, 1), 50, dtype=np.int8)})
    kept = first.copy()

    interpreter.run({INPUT: np.full((1, N_SAMPLES, 1), -50, dtype=np.int8)})

    assert np.array_equal(first, kept)
    assert kept[0, 0] > kept[0, 1]


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((1, N_SAMPLES, 1)),
        np.zeros((1, N_SAMPLES, 1), dtype=np.uint8),
        np.zeros((N_SAMPLES, 1), dtype=np.int8),
        np.zeros((2, N_SAMPLES, 1), dtype=np.int8),
        np.zeros((1, 0, 1), dtype=np.int8),
    ],
)
def test_other_types_and_shapes_are_misuse(model, values):
    with pytest.raises(ValueError, match="expected int8 of shape"):
        Interpreter(model).run({INPUT: values})


@pytest.mark.parametrize("content", [b"", b"x", b"TFL3" * 100])
def test_what_is_no_model_is_refused(content):
    """LiteRT refuses such bytes; tflite-runtime may crash, hence the hash before."""
    with pytest.raises(ModelContractError, match="no model that litert can load"):
        Interpreter(content)


def test_a_float_model_is_refused():
    """It would run, slowly and with other answers than were verified."""
    with pytest.raises(ModelContractError, match="int8 model throughout, got 4 float tensors: 'window'"):
        Interpreter(classifier_model(is_float=True))


def test_a_model_with_a_float_input_is_refused():
    """A converter that was not told otherwise leaves the input in float."""
    with pytest.raises(ModelContractError, match="got 1 float tensors: 'real'"):
        Interpreter(quantize_model(n_values=4, scale=0.1, zero_point=0))


class TestSeveralInputs:
    """The order of a model's inputs changes from one conversion to the next, so they are bound by name."""

    @pytest.fixture
    def interpreter(self):
        return Interpreter(two_input_model())

    @pytest.mark.parametrize("order", [(INPUT, "features"), ("features", INPUT)])
    def test_each_input_goes_where_its_name_says(self, interpreter, order):
        inputs = {INPUT: np.full((1, N_SAMPLES, 1), 37, np.int8), "features": np.full((1, 3), -100, np.int8)}

        answer = interpreter.run({name: inputs[name] for name in order})

        # 50 samples of (37 + 3) steps of 0.02, 3 features of -100/127, weights of 0.05: 1.88 in steps of 0.1
        assert answer[0].tolist() == pytest.approx([19, -19], abs=1)

    @pytest.mark.parametrize("names", [(), (INPUT,), (INPUT, "features", "more"), (INPUT, "feature")])
    def test_other_names_are_misuse(self, interpreter, names):
        with pytest.raises(ValueError, match="expected the inputs features, window, got"):
            interpreter.run({name: np.zeros((1, 3), np.int8) for name in names})

    def test_two_inputs_of_one_name_are_refused(self):
        """Which of them is meant would be anybody's guess; a converter's decoration does not tell them apart."""
        with pytest.raises(ModelContractError, match="inputs whose names differ, got 'a' twice"):
            Interpreter(add_model("serving_default_a:0", "a"))

    def test_the_decoration_of_the_converter_is_no_part_of_a_name(self):
        assert set(Interpreter(add_model("serving_default_a:0", "b:0")).inputs) == {"a", "b"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_outputs": 2}, "expected a model with one output, got 2"),
        ({"n_inputs": 17}, "expected a model with 1 to 16 inputs, got 17"),
        ({"scale": None}, "input 'i0': expected int8 with one scale, got int8 with 0 scales"),
        ({"scale": 1e37}, r"input 'i0': expected 1\.17549e-38 <= scale <= 1e\+36"),
    ],
)
def test_a_model_of_another_form_is_refused(changes, words):
    """What the card cannot describe, the runtime does not run."""
    with pytest.raises(ModelContractError, match=words):
        Interpreter(shape_model(**changes))


def test_a_model_of_another_integer_type_is_refused():
    """uint8 was the format of an older quantization scheme."""
    with pytest.raises(ModelContractError, match="output 'unsigned': expected int8 with one scale, got uint8"):
        Interpreter(uint8_model())


def test_a_model_that_the_runtime_cannot_run_is_an_error_of_the_model(model, monkeypatch):
    """A failing kernel is reported in the runtime's words."""

    class Failing(litert.Interpreter):
        def invoke(self):
            raise RuntimeError("Node number 3 failed to invoke.\nmore")

    monkeypatch.setattr(litert, "Interpreter", Failing)

    with pytest.raises(ModelContractError, match=r"cannot be run with litert: Node number 3 failed to invoke\.$"):
        Interpreter(model).run({INPUT: np.zeros((1, N_SAMPLES, 1), dtype=np.int8)})


def test_an_unknown_backend_is_misuse(model):
    with pytest.raises(ValueError, match="got 'onnx'"):
        Interpreter(model, backend="onnx")


def test_a_runtime_that_is_not_installed_is_named(model, monkeypatch):
    """Nothing installed is an error with the remedy, not a crash."""
    for name in ("ai_edge_litert.interpreter", "ai_edge_litert", "tflite_runtime.interpreter", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ModelContractError, match="litert: not installed; tflite: not installed") as caught:
        Interpreter(model)

    assert "pip install" in caught.value.hint


@pytest.mark.parametrize(
    "fault", [AttributeError("_ARRAY_API not found"), SystemError("initialization failed"), ImportError("lib")]
)
def test_a_runtime_that_imports_but_cannot_build_is_passed_over(model, monkeypatch, fault):
    """tflite-runtime under numpy 2 imports and then fails: only building an interpreter tells."""

    def build(**options):
        raise fault

    broken = types.ModuleType("ai_edge_litert.interpreter")
    broken.Interpreter = build
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", broken)
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", litert)  # stands for one that works

    assert Interpreter(model).backend == "tflite"
    with pytest.raises(ModelContractError, match=f"litert: {fault}"):
        Interpreter(model, backend="litert")
