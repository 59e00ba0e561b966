"""Models that hang, in the pipeline of a bed: beats, their classes, rates and alarms come as if there were no model."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

from edge.assembly import pipeline_settings
from edge.clock import ManualClock
from edge.config import Config
from edge.config_sections import Model
from edge.features.beat_windows import BeatWindowsSettings
from edge.features.rhythm_windows import RhythmWindowsSettings
from edge.inference.bundle import load_bundle
from edge.inference.lifecycle import ModelDemands, OpenedModel
from edge.messages import Alert, Beat, ClassifiedBeat, SampleBlock, Vitals
from edge.model_assembly import ModelsInUse, models_in_use
from edge.model_choice import Choice
from edge.model_lanes import ServedModel
from edge.model_service import ModelService
from edge.model_state import Chosen
from edge.model_windows import ModelWindowsSettings
from edge.pipeline import Pipeline
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import PatientSettings, Rhythm, Scenario, Step
from tests.fakes.tiny_model import TRUST, write_bundle
from tests.test_pipeline import CHANNELS

S = 10**9
DURATION_S = 40
DEADLINE_S = 2.0
WINDOWS = ModelWindowsSettings(beat=BeatWindowsSettings(), rhythm=RhythmWindowsSettings())


class Hangs:
    """A model that never comes back."""

    def __init__(self, gate):
        self.gate = gate

    def push(self, window):
        self.gate.wait(60)
        return []

    def reset(self, reason):
        """Do nothing."""

    def status(self):
        return "hangs"


class HangingModel(OpenedModel):
    """A proven model whose runtime hangs on the first window."""

    __slots__ = ()
    gate = threading.Event()

    def classifier(self):
        return Hangs(self.gate)


def blocks():
    """A virtual patient who goes into ventricular tachycardia while the models are late, in blocks of 0.2 s."""
    steps = (
        Step(at_s=0.0, rhythm=Rhythm.SINUS, heart_rate_bpm=75.0),
        Step(at_s=8.0, rhythm=Rhythm.VENTRICULAR_TACHYCARDIA, heart_rate_bpm=130.0),
    )
    story = Scenario(name="late", patient=PatientSettings(seed=1), steps=steps, faults=())
    ecg_mv = np.asarray(VirtualPatient(story).take(DURATION_S).ecg_mv)
    for at in range(0, len(ecg_mv), 50):
        yield SampleBlock(
            sensor="bed",
            stream="ecg",
            channels=CHANNELS[:1],
            values=ecg_mv[at : at + 50, :1],
            rate_hz=250,
            start_ns=at * S // 250,
            sequence=at,
        )


def watched(models, clock, make_classifiers, at_block=lambda: None):
    """Run a bed as the service does, the clock moving with the signal; return every finding with when it came."""
    numbers = itertools.count(1)
    config = Config(model={name: Model(bundle="none") for name in ("beat", "rhythm")})
    settings = pipeline_settings(config, models)
    pipeline = Pipeline(settings, new_id=lambda: f"a-{next(numbers)}", make_classifiers=make_classifiers)
    found = []
    for block in blocks():
        clock.advance_to(block.end_ns)
        found += [(clock.monotonic_ns() / S, each) for each in pipeline.push(block)]
        at_block()
    return [*found, *((clock.monotonic_ns() / S, each) for each in pipeline.finish())]


@pytest.fixture(scope="module")
def by_rules():
    config = Config(model={name: Model(bundle="none") for name in ("beat", "rhythm")})
    clock = ManualClock()
    return watched(models_in_use(config, clock), clock, dict)


@pytest.fixture(scope="module")
def hung(tmp_path_factory):
    """Return the findings with both models hung, and the technical conditions."""
    folder = tmp_path_factory.mktemp("bundles")
    clock, conditions = ManualClock(), []
    used = {}
    for name in ("beat", "rhythm"):
        path = write_bundle(folder / name, b"a model that nobody opens", task=name)
        opened = HangingModel(bundle=load_bundle(path, TRUST), demands=ModelDemands())
        choice = Choice(opened=opened, chosen=Chosen(path=path, slot=None))
        used[name] = ServedModel(choice=choice, demands=ModelDemands(), deadline_s=DEADLINE_S)
    service = ModelService(used, clock)

    def look():
        conditions.extend((each.at_ns / S, each.code, each.is_active) for each in service.conditions("bed-1"))

    try:
        found = watched(
            ModelsInUse(used=used, windows=WINDOWS), clock, lambda: service.classifiers("bed-1"), at_block=look
        )
    finally:
        HangingModel.gate.set()
        service.stop()
    return found, conditions


def of(kind, findings):
    return [each for _, each in findings if isinstance(each, kind)]


def raised(findings):
    """Return when each condition was first raised."""
    first = {}
    for at_s, each in findings:
        if isinstance(each, Alert):
            first.setdefault(each.condition, at_s)
    return first


def test_beats_and_rates_are_those_of_the_rules(hung, by_rules):
    """Message for message: nothing that needs no model waits for one."""
    assert of(Beat, hung[0]) == of(Beat, by_rules)
    assert of(Vitals, hung[0])
    rates = [[each.measurements["heart_rate_bpm"] for each in of(Vitals, findings)] for findings in (hung[0], by_rules)]
    assert rates[0] == rates[1]


def test_every_beat_gets_the_class_that_the_rules_give_it(hung, by_rules):
    """Each exactly once, none from a model."""
    classes = [
        [(each.beat.at_ns, each.beat.kind) for each in of(ClassifiedBeat, found)] for found in (hung[0], by_rules)
    ]

    assert classes[0] == classes[1]
    assert "model" not in {each.source for each in of(ClassifiedBeat, hung[0])}


def test_the_same_alarms_are_raised_no_later(hung, by_rules):
    """Once the first answer is late, what needs the class of a beat waits for no other.

    Later at most by the time to the beat after, which the window of a beat ends with, and by a tick.
    """
    rules, late = raised(by_rules), raised(hung[0])

    assert "ventricular-tachycardia" in rules
    assert set(late) == set(rules)
    assert all(rules[code] <= at_s <= rules[code] + 1.2 for code, at_s in late.items())


def test_late_and_hung_models_are_told_within_their_deadlines(hung):
    """By ticks alone: late once the first answer is due, hung ten seconds after that."""
    codes = {}
    for at_s, code, is_active in hung[1]:
        if is_active:
            codes.setdefault(code, at_s)

    assert {"model-late:beat", "model-late:rhythm", "model-hung:beat", "model-hung:rhythm"} <= set(codes)
    for name in ("beat", "rhythm"):
        assert codes[f"model-hung:{name}"] - codes[f"model-late:{name}"] == pytest.approx(10.0, abs=0.3)


def test_only_the_first_beats_wait_for_the_deadline(hung):
    """The rule decides on the others as soon as their window would have been shown."""
    late_at_s = next(at_s for at_s, code, _ in hung[1] if code == "model-late:beat")
    waits_s = [(at_s, at_s - each.beat.at_ns / S) for at_s, each in hung[0] if isinstance(each, ClassifiedBeat)]

    settled_s = late_at_s + 1.0  # answers are fetched at every tick, one a second
    after = [wait_s for at_s, wait_s in waits_s if settled_s < at_s < DURATION_S]
    assert len(after) > 40
    assert max(after) < 2.0 < max(wait_s for at_s, wait_s in waits_s if at_s <= settled_s)
