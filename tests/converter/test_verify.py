"""A model that decides otherwise than the trained one, or otherwise on another runtime, is not shipped."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from converter import backends
from converter.backends import BackendMissingError, run_model, tflite_python
from converter.bundle_writer import write_bundle
from converter.examples import Examples
from converter.graph import read_graph
from converter.quantize import convert
from converter.verify import VerifyLimits, integers_of, prepare, verify
from converter.verify_text import report_text
from edge.errors import EdgeError
from edge.inference.bundle import load_bundle
from edge.inference.card import AggregationCard, FeatureCard, FeaturesInput, OutputCard, SamplesInput
from edge.inference.interpreter import Interpreter
from tests.fakes import keras_models, tiny_model

pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")

ROOT = Path(__file__).parent.parent.parent
LABELS = ("a", "b", "c")


def card_inputs(name="samples", n_samples=keras_models.N_SAMPLES, normalise="none"):
    return SamplesInput(
        name=name, n_samples=n_samples, channels=("ecg",), rate_hz=100.0, unit="mV", normalise=normalise
    )


def bundle_of(folder, model, golden, inputs, *, labels=LABELS, aggregation=None):
    """Return a bundle of any model."""
    write_bundle(
        folder,
        name="waves",
        version="1",
        release=1,
        task="other",
        created=date(2026, 11, 22),
        preprocessing={"stage": "waves/1"},
        inputs=inputs,
        output=OutputCard(name="logits", labels=labels, thresholds=dict.fromkeys(labels, 0.0)),
        training_data="made here",
        licence="Apache-2.0",
        metrics={},
        model=model,
        golden=golden,
        aggregation=aggregation,
    )
    return load_bundle(folder, allow_unsigned=True)


def examples_of(values, labels, bags=None, classes=LABELS):
    n = len(labels)
    return Examples(
        inputs={"samples": values},
        labels=labels,
        classes=classes,
        groups=np.array([f"p{k % 7}" for k in range(n)]),
        weights=np.ones(n, dtype=np.float32),
        bags=bags,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a good bundle, one whose ranges an outlier has set, and the float file."""
    pytest.importorskip("tensorflow", reason="needs the convert extra")
    folder = tmp_path_factory.mktemp("verify")
    script = ROOT / "tests" / "fakes" / "keras_models.py"
    subprocess.run([sys.executable, "-W", "ignore", str(script), str(folder)], check=True, capture_output=True)
    values, _ = keras_models.waves(100, seed=1)
    good = convert(folder / "waves.keras", {"samples": values})
    values[7] *= 50
    bad = convert(folder / "waves.keras", {"samples": values}, outlier_ratio=np.inf)
    (folder / "float.tflite").write_bytes(good.floating)
    aggregation = AggregationCard(span_s=30.0)
    return (
        bundle_of(folder / "good", good.int8, {"samples": values[20:32]}, [card_inputs()], aggregation=aggregation),
        bundle_of(folder / "bad", bad.int8, {"samples": values[20:32]}, [card_inputs()]),
        folder / "float.tflite",
    )


class TestTrainedModel:
    """A trained network, quantized well and badly."""

    def test_a_good_model_passes_on_every_runtime_that_is_here(self, made):
        """Agreement, macro-F1, calibration, worst window and each runtime's difference stand in the report."""
        good, _, floating = made
        values, labels = keras_models.waves(300, seed=2)

        report = verify(good, examples_of(values, labels), floating=floating)

        assert report.failures == ()
        assert report.passed
        against = report.floating
        assert against.agreement >= 0.99
        assert against.scores_int8["macro_f1"] >= 0.99
        assert abs(against.calibration_error_int8 - against.calibration_error_float) < 0.01
        assert against.worst.group == f"p{against.worst.index % 7}"
        assert 0 < against.worst.difference < 5
        first, reference = report.backends[:2]
        assert (first.backend, reference.backend) == ("litert", "litert-reference")
        assert first.largest_lsb is None
        assert 0 <= reference.largest_lsb <= 8
        text = report_text(report)
        assert "may be shipped: no limit is broken" in text
        assert "| macro f1 |" in text
        assert json.loads(json.dumps(report.as_json()))["passed"] is True

    def test_a_badly_quantized_model_fails_and_says_by_how_much(self, made):
        """Ranges set by an outlier: decisions change and macro-F1 falls."""
        _, bad, floating = made
        values, labels = keras_models.waves(300, seed=2)

        report = verify(bad, examples_of(values, labels), floating=floating, backends=("litert",))

        assert not report.passed
        assert any("int8 decides as float in" in each and "99.00%" in each for each in report.failures)
        assert any("points of macro-F1, at most 0.50 is allowed" in each for each in report.failures)
        assert "**may not be shipped**" in report_text(report)

    def test_a_model_that_decides_on_means_is_judged_by_records(self, made):
        """With bags and aggregation, F1 counts records, not windows."""
        good, _, floating = made
        values, labels = keras_models.waves(300, seed=2)
        order = np.arange(240)
        bags = labels[order]  # one record of each class

        report = verify(
            good, examples_of(values[order], labels[order], bags=bags), floating=floating, backends=("litert",)
        )

        assert report.floating.scores_int8["macro_f1"] == 1.0
        assert report.floating.calibration_error_int8 < 0.1

    def test_few_examples_are_told_not_judged(self, made):
        """The golden vectors alone: a dozen borderline cases give no share, and the report says so."""
        good, _, floating = made

        report = verify(good, floating=floating, backends=("litert", "litert-reference"))

        assert report.n_examples == 12
        assert any("12 examples, at least 200 are needed" in each for each in report.not_judged)
        assert any("macro-F1: no labelled examples" in each for each in report.not_judged)

    def test_an_int8_file_is_no_float_model(self, made, tmp_path):
        good, _, _ = made
        (tmp_path / "int8.tflite").write_bytes(good.model)

        with pytest.raises(EdgeError, match="without a float tensor"):
            verify(good, floating=tmp_path / "int8.tflite", backends=("litert",))
        with pytest.raises(EdgeError, match="cannot be read as a float model"):
            verify(good, floating=tmp_path / "none.tflite", backends=("litert",))


class TestInputs:
    """What the model is shown is what the runtime shows it."""

    @pytest.fixture(params=["none"])
    def bundle(self, tmp_path, request):
        features = [FeatureCard(name=f"f{k}", knots=(0.0, 1.0, 10.0)) for k in range(tiny_model.N_FEATURES)]
        rng = np.random.default_rng(0)
        golden = {
            tiny_model.INPUT: np.linspace(-1, 1, 6)[:, None, None]
            + 0.1 * rng.normal(size=(6, tiny_model.N_SAMPLES, 1)),
            tiny_model.FEATURES_INPUT: rng.uniform(-1, 11, (6, tiny_model.N_FEATURES)),
        }
        golden[tiny_model.FEATURES_INPUT][2, 1] = np.nan
        inputs = [
            card_inputs(tiny_model.INPUT, tiny_model.N_SAMPLES, request.param),
            FeaturesInput(name=tiny_model.FEATURES_INPUT, features=tuple(features)),
        ]
        return bundle_of(tmp_path / "b", tiny_model.two_input_model(), golden, inputs, labels=("N", "A"))

    def test_golden_vectors_come_out_as_they_stand_in_the_bundle(self, bundle):
        """Scaling, normalising, quantizing and the order of the inputs: the bytes of the golden outputs come out."""
        raw = {name: np.stack([case.inputs[name] for case in bundle.golden]) for name in bundle.golden[0].inputs}

        prepared, usable = prepare(bundle.card, raw)
        found = run_model("litert", bundle.model, integers_of(read_graph(bundle.model), prepared))

        assert usable.all()
        assert found.output.tolist() == [case.output.tolist() for case in bundle.golden]
        assert np.ptp(found.output[:, 0].astype(int)) > 20  # it depends on what it saw
        assert found.version
        assert (found.latency_us > 0).all()

    @pytest.mark.parametrize("bundle", ["z-score"], indirect=True)
    def test_what_cannot_be_shown_is_left_out_and_counted(self, bundle):
        """A NaN, and a flat line where there is nothing to normalise; unknown features are fine."""
        raw = {name: np.stack([case.inputs[name] for case in bundle.golden]) for name in bundle.golden[0].inputs}
        raw[tiny_model.INPUT][0, 3] = np.nan
        raw[tiny_model.INPUT][1] = 2.0
        inputs = {name: values.astype(np.float32) for name, values in raw.items()}
        given = Examples(
            inputs=inputs,
            labels=np.zeros(6, dtype=np.int64),
            classes=("N", "A"),
            groups=np.array(["p"] * 6),
            weights=np.ones(6, dtype=np.float32),
        )

        report = verify(bundle, given, backends=("litert",))

        assert (report.n_examples, report.n_unusable) == (4, 2)
        with pytest.raises(EdgeError, match="can be shown"):
            verify(bundle, given.select(np.array([0, 1])), backends=("litert",))
        with pytest.raises(EdgeError, match="expected examples with the inputs"):
            verify(bundle, replace(given, inputs={"x": inputs[tiny_model.INPUT]}), backends=("litert",))

    def test_a_runtime_that_differs_too_much_fails(self, bundle, monkeypatch):
        """Beyond the allowed steps it is named, however few the examples."""
        real = run_model

        def other(backend, model, inputs):
            runs = real("litert", model, inputs)
            return runs if backend == "litert" else replace(runs, backend=backend, output=runs.output[:, ::-1])

        monkeypatch.setattr("converter.verify.run_model", other)

        report = verify(bundle, backends=("litert", "tflm"))
        many = verify(bundle, backends=("litert", "tflm"), limits=VerifyLimits(min_examples=3))

        assert any(each.startswith("tflm: ") and "at most 8 are allowed" in each for each in report.failures)
        assert len(report.failures) == 1
        assert any("decides as litert in 0.00%, at least 99.50% is required" in each for each in many.failures)


class TestRuntimes:
    """Runtimes run in processes of their own; one that is missing is skipped with a reason."""

    def test_tflite_runtime_is_found_where_it_is_named(self, monkeypatch, tmp_path):
        monkeypatch.setenv(backends.TFLITE_PYTHON, str(tmp_path / "python"))

        with pytest.raises(BackendMissingError, match="does not exist"):
            tflite_python()

        monkeypatch.setenv(backends.TFLITE_PYTHON, sys.executable)
        assert tflite_python() == sys.executable

    def test_an_environment_without_it_is_missing_not_broken(self, monkeypatch, tmp_path):
        python = tmp_path / "python"
        python.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'tflite_runtime'\" >&2\nexit 1\n")
        python.chmod(0o755)
        monkeypatch.setenv(backends.TFLITE_PYTHON, str(python))

        with pytest.raises(BackendMissingError, match="not installed for"):
            run_model("tflite", tiny_model.two_input_model(), {"x": np.zeros((1, 1), dtype=np.int8)})

    def test_a_model_that_a_runtime_cannot_load_is_an_error(self):
        broken = bytearray(tiny_model.classifier_model())
        broken[0:4] = (len(broken) - 2).to_bytes(4, "little")

        with pytest.raises(EdgeError, match="litert cannot run the model"):
            run_model("litert", bytes(broken), {tiny_model.INPUT: np.zeros((1, 50, 1), dtype=np.int8)})

    def test_an_unknown_runtime_is_misuse(self):
        with pytest.raises(ValueError, match="tflm, got 'onnx'"):
            run_model("onnx", b"", {})

    @pytest.mark.parametrize("backend", ["tflite", "tflm"])
    def test_other_runtimes_answer_within_the_limit(self, backend):
        """tflite-runtime in its own environment and TFLite Micro, where they are installed."""
        model = tiny_model.two_input_model()
        interpreter = Interpreter(model)
        rng = np.random.default_rng(1)
        inputs = {
            name: rng.integers(-128, 128, (20, *spec.shape[1:])).astype(np.int8)
            for name, spec in interpreter.inputs.items()
        }
        try:
            found = run_model(backend, model, inputs)
        except BackendMissingError as missing:
            pytest.skip(str(missing))

        usual = run_model("litert", model, inputs)
        assert np.abs(found.output.astype(int) - usual.output).max() <= 1
        assert (backend == "tflm") == (found.arena_bytes is not None)
