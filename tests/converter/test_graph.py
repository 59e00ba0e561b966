"""What stands in a TFLite file is read from its bytes, and names are put right in place."""

from __future__ import annotations

import random

import numpy as np
import pytest

from converter.graph import read_graph, with_names
from tests.fakes.tiny_model import INPUT, INPUT_SCALE, INPUT_ZERO_POINT, OUTPUT, classifier_model

pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")


def test_tensors_operators_and_quantization_are_read():
    graph = read_graph(classifier_model())

    (window,), (probabilities,) = ([graph.tensors[k] for k in ks] for ks in (graph.inputs, graph.outputs))
    assert (window.name, window.shape, window.type_name) == (INPUT, (1, 50, 1), "int8")
    assert window.scales == pytest.approx((INPUT_SCALE,))
    assert window.zero_points == (INPUT_ZERO_POINT,)
    assert probabilities.name == OUTPUT
    assert graph.operators == {"FULLY_CONNECTED": 1, "SOFTMAX": 1}
    assert graph.floats == ()


def test_every_float_tensor_is_named():
    graph = read_graph(classifier_model(is_float=True))

    assert set(graph.floats) == {INPUT, "kernel", "sums", OUTPUT}


def test_the_numbers_are_those_of_the_schema():
    """Names of types and operators are the schema's own."""
    from ai_edge_litert import schema_py_generated as schema

    from converter.graph import _TYPES, OPERATORS

    assert all(getattr(schema.BuiltinOperator, name) == number for number, name in OPERATORS.items())
    assert all(getattr(schema.TensorType, name.upper()) == number for number, name in _TYPES.items())


def test_renaming_moves_nothing_else():
    """The renamed file is as long, runs, and answers the same."""
    from ai_edge_litert.interpreter import Interpreter

    model = classifier_model(input_name="serving_default_window:0")

    renamed = with_names(model, {"serving_default_window:0": "window"})

    assert len(renamed) == len(model)
    answers = []
    for content in (model, renamed):
        interpreter = Interpreter(model_content=content)
        interpreter.allocate_tensors()
        (given,) = interpreter.get_input_details()
        interpreter.set_tensor(given["index"], np.arange(50, dtype=np.int8).reshape(1, 50, 1))
        interpreter.invoke()
        answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tolist())
    assert given["name"] == "window"
    assert answers[0] == answers[1]


def test_a_name_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="at most 6 bytes"):
        with_names(classifier_model(), {INPUT: "windows"})
    with pytest.raises(ValueError, match="one tensor 'nothing', got 0"):
        with_names(classifier_model(), {"nothing": "x"})


def test_damaged_bytes_are_refused_or_read_never_worse():
    """Any damage gives a ValueError or some graph: no crash, no endless loop."""
    model = classifier_model()
    rng = random.Random(4)
    for _ in range(300):
        damaged = bytearray(model)
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(8, len(model))] = rng.randrange(256)
        try:
            read_graph(bytes(damaged))
        except ValueError:
            continue
    for cut in range(0, len(model) - 1, 97):
        with pytest.raises(ValueError, match="TFLite"):
            read_graph(model[:cut])
