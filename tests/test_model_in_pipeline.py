"""A model bundle in the pipeline: predictions come, a refused bundle stops nothing, a slow model holds up nothing."""

from __future__ import annotations

import itertools
import json
import threading

import numpy as np

from edge.assembly import pipeline_settings
from edge.clock import ManualClock
from edge.config import Config
from edge.config_sections import Model, Models
from edge.errors import ModelFault
from edge.inference.lifecycle import InferenceWorker, InThread
from edge.messages import Alert, Beat, ClassifiedBeat, Prediction, SampleBlock, Window
from edge.model_assembly import models_in_use
from edge.pipeline import Pipeline
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import Scenario
from tests.fakes.tiny_model import N_SAMPLES, RATE_HZ, TRUST, write_bundle
from tests.test_pipeline import CHANNELS

WINDOW_S = N_SAMPLES / RATE_HZ


def config_with(bundle, folder, name="mine", **more):
    """Return a configuration with one model of one's own, signed by a key that the configuration trusts."""
    keys = folder / "keys.json"
    entries = {each: {"public_key": key.public_key, "owner": key.owner} for each, key in TRUST.keys.items()}
    keys.write_text(json.dumps(entries))
    plain = {} if name in {"beat", "rhythm"} else {"window_s": WINDOW_S, "hop_s": WINDOW_S}
    off = {own: Model(bundle="none") for own in ("beat", "rhythm")}
    return Config(
        model=off | {name: Model(bundle=str(bundle), **plain | more)}, models=Models(trusted_keys=(str(keys),))
    )


def in_use(config):
    return models_in_use(config, ManualClock())


def findings(config, duration_s=30, rhythm="sinus"):
    models = in_use(config)
    numbers = itertools.count(1)
    pipeline = Pipeline(
        pipeline_settings(config, models), new_id=lambda: f"a-{next(numbers)}", make_classifiers=models.classifiers
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
    return models, [*pipeline.push(block), *pipeline.finish()]


def test_a_model_of_ones_own_is_shown_windows_and_told_from_the_runtimes(tmp_path):
    """Every window is answered: with a label, or with why there is none."""
    bundle = write_bundle(tmp_path / "bundle", task="other")

    models, found = findings(config_with(bundle, tmp_path))

    windows = [each for each in found if isinstance(each, Window)]
    predictions = [each for each in found if isinstance(each, Prediction)]
    assert list(models.used) == ["mine"]
    assert "signed by the tests" in models.status
    assert len(windows) == len(predictions) == 13
    assert {each.model for each in windows} == {"other"}
    assert all((each.label is None) == (each.absent is not None) for each in predictions)


def test_a_broken_bundle_is_refused_and_the_rules_go_on(tmp_path):
    """The reason stands in health; beats, their classes and alarms need no model."""
    bundle = write_bundle(tmp_path / "bundle")
    (bundle / "model.tflite").write_bytes(b"\0" * 64)

    models, found = findings(config_with(bundle, tmp_path, "rhythm"), rhythm="ventricular-tachycardia")

    assert models.refused["rhythm"].reason is ModelFault.DAMAGED
    assert models.statuses()["rhythm"].startswith("refused: ")
    n_beats = sum(isinstance(each, Beat) for each in found)
    assert n_beats > 20
    assert sum(isinstance(each, ClassifiedBeat) for each in found) == n_beats
    assert any(isinstance(each, Alert) for each in found)
    assert not any(isinstance(each, Prediction | Window) for each in found)


def test_a_model_that_was_made_for_other_windows_is_refused(tmp_path):
    """The stage and its settings are part of the model."""
    bundle = write_bundle(tmp_path / "bundle")

    models = in_use(config_with(bundle, tmp_path, "rhythm"))

    assert models.refused["rhythm"].reason is ModelFault.MISMATCH
    assert "other windows" in models.refused["rhythm"].why


def test_a_window_of_another_length_than_the_models_is_refused(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", task="other")

    models = in_use(config_with(bundle, tmp_path, window_s=WINDOW_S * 2))

    assert f"the model wants {WINDOW_S:g}" in models.refused["mine"].why


def test_a_model_for_another_task_is_refused(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", task="beat")

    assert "rhythm" in in_use(config_with(bundle, tmp_path, "rhythm")).refused


def test_a_bundle_that_nobody_trusted_signed_is_refused(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", task="other", key=None)

    assert in_use(config_with(bundle, tmp_path)).refused["mine"].reason is ModelFault.UNSIGNED


def test_a_model_that_does_not_exist_says_what_to_configure(tmp_path):
    refused = in_use(Config(model={"mine": Model()})).refused["mine"]

    assert "model.mine.bundle" in refused.hint


def test_models_can_be_switched_off():
    models = in_use(Config(model={"beat": Model(bundle="none"), "rhythm": Model(bundle="none")}))

    assert models.statuses() == {"beat": "switched off", "rhythm": "switched off"}
    assert models.classifiers() == {}


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
