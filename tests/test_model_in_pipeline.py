"""A model bundle in the pipeline: predictions come, a refused bundle stops nothing, a slow model holds up nothing."""

from __future__ import annotations

import itertools
import threading

import numpy as np

from edge.assembly import model_in_use, pipeline_settings
from edge.clock import ManualClock
from edge.config import Config
from edge.config_sections import Model
from edge.inference.lifecycle import InferenceWorker, InThread
from edge.messages import Alert, Beat, Prediction, SampleBlock, Window
from edge.pipeline import Pipeline
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import Scenario
from tests.fakes.tiny_model import N_SAMPLES, RATE_HZ, write_bundle
from tests.test_pipeline import CHANNELS

WINDOW_S = N_SAMPLES / RATE_HZ


def config_with(bundle, **more):
    return Config(model={"rhythm": Model(bundle=str(bundle), window_s=WINDOW_S, hop_s=WINDOW_S, **more)})


def findings(config, duration_s=30, rhythm="sinus"):
    model = model_in_use(config)
    numbers = itertools.count(1)
    pipeline = Pipeline(
        pipeline_settings(config, model), new_id=lambda: f"a-{next(numbers)}", make_classifier=model.make
    )
    values = np.asarray(VirtualPatient(Scenario.simple(rhythm=rhythm)).take(duration_s).ecg_mv)[:, :1]
    block = SampleBlock(
        sensor="bed",
        stream="ecg",
        channels=CHANNELS[:1],
        values=values,
        rate_hz=250,
        start_ns=0,
        sequence=0,
    )
    return model, [*pipeline.push(block), *pipeline.finish()]


def test_a_bundle_gives_predictions_or_abstentions_for_windows(tmp_path):
    """Every window is answered: with a label, or with why there is none."""
    model, found = findings(config_with(write_bundle(tmp_path / "bundle")))

    windows = [each for each in found if isinstance(each, Window)]
    predictions = [each for each in found if isinstance(each, Prediction)]
    assert "refused" not in model.status
    assert windows
    assert len(predictions) == len(windows)
    assert all((each.label is None) == (each.absent is not None) for each in predictions)


def test_a_broken_bundle_is_refused_and_the_rules_go_on(tmp_path):
    """The reason stands in health; beats and alarms need no model."""
    bundle = write_bundle(tmp_path / "bundle")
    (bundle / "model.tflite").write_bytes(b"\0" * 64)

    model, found = findings(config_with(bundle), rhythm="ventricular-tachycardia")

    assert model.status.startswith("refused: ")
    assert any(isinstance(each, Beat) for each in found)
    assert any(isinstance(each, Alert) for each in found)
    assert not any(isinstance(each, Prediction | Window) for each in found)


def test_two_models_are_refused_in_words(tmp_path):
    config = Config(model={name: Model(bundle=str(tmp_path)) for name in ("beat", "rhythm")})

    assert "one model at a time" in model_in_use(config).status


def test_a_window_of_another_length_than_the_models_is_refused(tmp_path):
    bundle = write_bundle(tmp_path / "bundle")
    config = Config(model={"rhythm": Model(bundle=str(bundle), window_s=WINDOW_S * 2, hop_s=WINDOW_S)})

    assert f"the model wants {WINDOW_S:g}" in model_in_use(config).status


class SlowModel:
    """Answers only when it is allowed to."""

    def __init__(self):
        self.may_answer = threading.Event()

    def push(self, window):
        assert self.may_answer.wait(10)
        return [Prediction(at_ns=window.start_ns, label="N", probabilities={"N": 1.0}, bundle_sha256="0")]

    def reset(self, reason):
        """Do nothing."""

    def status(self):
        return "slow"


def window(start_ns):
    return Window(
        sensor="bed",
        stream="ecg",
        values=np.zeros((N_SAMPLES, 1)),
        rate_hz=RATE_HZ,
        start_ns=start_ns,
        sequence=0,
        quality=1.0,
    )


def test_a_slow_model_answers_with_a_later_window_and_holds_up_nobody():
    model = SlowModel()
    worker = InferenceWorker(model, ManualClock())
    stage = InThread(worker)
    try:
        first = stage.push(window(1))  # returns although the model does not
        model.may_answer.set()
        assert worker.wait_idle(10)

        later = stage.push(window(2))
    finally:
        model.may_answer.set()
        worker.stop()

    assert first == []
    assert [each.at_ns for each in later] == [1]
    assert stage.status().startswith("slow")
