"""Forty forged, damaged, old and swapped bundles: each is refused, and the monitoring goes on as if nothing were there."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from edge.assembly import pipeline_settings
from edge.clock import ManualClock
from edge.config import Config
from edge.config_sections import Model, Models
from edge.errors import ModelFault
from edge.features.rhythm_windows import RhythmWindows
from edge.inference.bundle import load_bundle
from edge.messages import Alert, ClassifiedBeat, Prediction, RhythmChange, SampleBlock
from edge.model_assembly import models_in_use
from edge.model_choice import candidates, choose_model, verify_with
from edge.model_demands import model_demands
from edge.model_service import ModelService
from edge.model_store import ModelStore
from edge.pipeline import Pipeline
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import Scenario
from tests.fakes.tiny_model import OTHER_KEY, OUTPUT_CARD, TRUST, classifier_model, sign, write_bundle
from tests.test_pipeline import CHANNELS

pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")

N_FLIPS = 12
RELEASE = 7


def whole(path, **changes):
    """Write a bundle of the rhythm model that is accepted, or would be without `changes`."""
    return write_bundle(path, **{"preprocessing": RhythmWindows().describe(), "release": RELEASE} | changes)


def edited(path, change):
    """Change the manifest and leave the signature as it was."""
    whole(path)
    values = json.loads((path / "manifest.json").read_bytes())
    change(values)
    (path / "manifest.json").write_text(json.dumps(values))


def flipped(path, name, seed):
    """Change one bit somewhere in a file."""
    whole(path)
    content = bytearray((path / name).read_bytes())
    rng = np.random.default_rng(seed)
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    (path / name).write_bytes(content)


def cut(path, name, share):
    whole(path)
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[: int(len(content) * share)])


def removed(path, name):
    whole(path)
    (path / name).unlink()


def exchanged(path, name, **changes):
    """Take one file of another bundle that is whole and signed itself."""
    whole(path)
    other = whole(path.with_name("other"), **changes)
    (path / name).write_bytes((other / name).read_bytes())


def signed_by_a_stranger(path):
    whole(path, key=None)
    sign(path, OTHER_KEY)


FORGERIES = {
    **{f"one bit of the model {k}": lambda path, k=k: flipped(path, "model.tflite", k) for k in range(N_FLIPS)},
    **{f"one bit of the manifest {k}": lambda path, k=k: flipped(path, "manifest.json", k) for k in range(4)},
    **{f"one bit of the golden windows {k}": lambda path, k=k: flipped(path, "golden.json", k) for k in range(2)},
    **{f"{share:.0%} of {name}": lambda path, name=name, share=share: cut(path, name, share)
       for name in ("manifest.json", "manifest.sig", "model.tflite", "golden.json") for share in (0.0, 0.9)},
    **{f"no {name}": lambda path, name=name: removed(path, name)
       for name in ("manifest.json", "manifest.sig", "model.tflite", "golden.json")},
    "another's model": lambda path: exchanged(path, "model.tflite", model=classifier_model(is_float=True)),
    "another's signature": lambda path: exchanged(path, "manifest.sig", version="9.9.9"),
    "unsigned": lambda path: whole(path, key=None),
    "signed by a stranger": signed_by_a_stranger,
    "labels swapped": lambda path: edited(path, lambda card: card["output"].update(labels=["AFIB", "N"])),
    "thresholds lowered": lambda path: edited(path, lambda card: card["output"]["thresholds"].update(N=0.0)),
    "release raised": lambda path: edited(path, lambda card: card.update(release=99)),
    "a float model, signed": lambda path: whole(path, model=classifier_model(is_float=True)),
    "answers of other labels, signed": lambda path: whole(path, golden=[{"inputs": {"window": [[0.5]] * 50}, "output": [-128, 127]}]),
    "three labels for two outputs, signed": lambda path: whole(path, output=OUTPUT_CARD | {
        "labels": ["N", "AFIB", "O"], "thresholds": {"N": 0, "AFIB": 0, "O": 0}}),
    "for another model, signed": lambda path: whole(path, task="beat"),
    "made for other windows, signed": lambda path: whole(path, preprocessing={"stage": "rhythm-windows/0"}),
    "nothing there": lambda path: None,
}  # fmt: skip


@pytest.fixture(scope="module")
def rhythm_block():
    """Twelve seconds of ventricular tachycardia of a virtual patient."""
    ecg_mv = np.asarray(VirtualPatient(Scenario.simple(rhythm="ventricular-tachycardia")).take(12).ecg_mv)[:, :1]
    return SampleBlock(
        sensor="bed", stream="ecg", channels=CHANNELS[:1], values=ecg_mv, rate_hz=250, start_ns=0, sequence=0
    )


@pytest.fixture(scope="module")
def by_rules(rhythm_block):
    """What the rules find alone."""
    return heard(rhythm_block, Config(model={"beat": Model(bundle="none"), "rhythm": Model(bundle="none")}))


def heard(block, config):
    """Return the classified beats, rhythms and alerts of a bed, and how many predictions there were."""
    models = models_in_use(config, ManualClock())
    numbers = itertools.count(1)
    pipeline = Pipeline(
        pipeline_settings(config, models), new_id=lambda: f"a-{next(numbers)}", make_classifiers=models.classifiers
    )
    found = [*pipeline.push(block), *pipeline.finish()]
    told = [each for each in found if isinstance(each, ClassifiedBeat | RhythmChange | Alert)]
    return models, told, sum(isinstance(each, Prediction) for each in found)


def config_for(folder, bundle):
    entries = {name: {"public_key": key.public_key, "owner": key.owner} for name, key in TRUST.keys.items()}
    (folder / "keys.json").write_text(json.dumps(entries))
    return Config(
        model={"beat": Model(bundle="none"), "rhythm": Model(bundle=str(bundle))},
        models=Models(trusted_keys=(str(folder / "keys.json"),), path=str(folder / "store")),
    )


def test_there_are_forty_of_them():
    assert len(FORGERIES) >= 40


def test_the_bundle_that_is_forged_would_be_accepted(tmp_path, rhythm_block):
    """Otherwise the rest would prove nothing."""
    whole(tmp_path / "bundle")

    models, _, _ = heard(rhythm_block, config_for(tmp_path, tmp_path / "bundle"))

    assert list(models.used) == ["rhythm"]


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_bundle_is_refused_and_the_rules_find_what_they_find(forge, tmp_path, rhythm_block, by_rules):
    """The same beats, the same rhythm and the same alarm of a ventricular tachycardia, message for message."""
    forge(tmp_path / "bundle")

    models, told, n_predictions = heard(rhythm_block, config_for(tmp_path, tmp_path / "bundle"))

    refused = models.refused["rhythm"]
    assert refused.reason in set(ModelFault) - {ModelFault.OTHER}
    assert models.used == {}
    assert n_predictions == 0
    assert told == by_rules[1]
    assert any(isinstance(each, Alert) for each in told)
    (condition,) = ModelService({}, ManualClock(), refused={"rhythm": refused.why}).conditions("bed-1")
    assert condition.code == "model-refused:rhythm"


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_bundle_in_the_place_of_the_promoted_one_gives_way(forge, tmp_path):
    """Whoever can write to the disk can at most bring back the model before."""
    config = config_for(tmp_path, "auto")
    demands = model_demands("rhythm", config)
    store = ModelStore(tmp_path / "store", ManualClock(), builtin=lambda name: tmp_path / "builtin")
    for release in (RELEASE - 2, RELEASE - 1):
        whole(tmp_path / f"release-{release}", release=release, version=f"{release}.0.0")
        store.stage(tmp_path / f"release-{release}", "rhythm", verify_with(demands))
        store.promote("rhythm", verify_with(demands))
    in_use = store.in_use("rhythm")
    for each in in_use.path.iterdir():
        each.unlink()
    forge(tmp_path / "bundle")
    if (tmp_path / "bundle").exists():
        for each in (tmp_path / "bundle").iterdir():
            (in_use.path / each.name).write_bytes(each.read_bytes())

    choice = choose_model("rhythm", candidates("rhythm", store, None), demands)

    assert choice.opened.bundle.card.release == RELEASE - 2
    assert [refusal.slot.release for refusal in choice.refusals] == [RELEASE - 1]


def test_an_old_release_in_the_place_of_the_promoted_one_gives_way(tmp_path):
    """Signed and whole, and played back: it is not the bundle whose hash was promoted."""
    config = config_for(tmp_path, "auto")
    demands = model_demands("rhythm", config)
    store = ModelStore(tmp_path / "store", ManualClock(), builtin=lambda name: tmp_path / "builtin")
    for release in (5, 6):
        whole(tmp_path / f"release-{release}", release=release, version=f"{release}.0.0")
        store.stage(tmp_path / f"release-{release}", "rhythm", verify_with(demands))
        store.promote("rhythm", verify_with(demands))
    old = whole(tmp_path / "old", release=1, version="1.0.0")
    for each in old.iterdir():
        (store.in_use("rhythm").path / each.name).write_bytes(each.read_bytes())

    choice = choose_model("rhythm", candidates("rhythm", store, None), demands)

    assert load_bundle(old, demands.trust).card.release == 1
    assert choice.opened.bundle.card.release == 5
    assert "is not the bundle that was staged" in choice.refusals[0].why
