"""What the writer writes, the runtime reads, and its golden answers hold."""

from __future__ import annotations

import hashlib
import json
import zipfile
from datetime import date

import numpy as np
import pytest

from converter.bundle_writer import write_bundle, zip_bundle
from converter.sign import sign_bundle
from edge.errors import ModelContractError
from edge.inference.bundle import load_bundle
from edge.inference.card import (
    AbstentionCard,
    AggregationCard,
    FeatureCard,
    FeaturesInput,
    OutputCard,
    ReferenceCard,
    SamplesInput,
)
from edge.inference.lifecycle import open_classifier
from tests.fakes.tiny_model import INPUT, KEY, N_SAMPLES, RATE_HZ, TRUST, classifier_model, two_input_model

pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")

SAMPLES = SamplesInput(
    name=INPUT, n_samples=N_SAMPLES, channels=("ecg",), rate_hz=RATE_HZ, unit="mV", normalise="z-score"
)
FEATURES = FeaturesInput(
    name="features",
    features=(
        FeatureCard(name="rr_ratio", knots=(0.5, 1.0, 2.0)),
        FeatureCard(name="width_ms", knots=(60.0, 90.0, 180.0)),
        FeatureCard(name="likeness", knots=(-1.0, 0.9, 1.0)),
    ),
)
OUTPUT = OutputCard(
    name="whatever the converter called it",
    labels=("N", "V"),
    thresholds={"N": 0.5, "V": 0.6},
    codes={"V": {"snomed": "17338001", "scp": "VPC"}},
    temperature=1.5,
    bias={"V": 0.25},
)


def golden(n=4):
    rng = np.random.default_rng(5)
    features = rng.uniform(0, 2, (n, 3))
    features[0, 1] = np.nan
    return {INPUT: rng.normal(size=(n, N_SAMPLES, 1)), "features": features}


def write(folder, **changes):
    given = {
        "name": "beat",
        "version": "1.0.0",
        "release": 1,
        "task": "beat",
        "created": date(2026, 11, 22),
        "preprocessing": {"stage": "beat-windows/1", "rate_hz": RATE_HZ},
        "inputs": (SAMPLES, FEATURES),
        "output": OUTPUT,
        "training_data": "22 records of MIT-BIH DS1",
        "licence": "Apache-2.0; the data: ODC-BY 1.0",
        "metrics": {"beat.V.sensitivity": 0.91},
        "model": two_input_model(),
        "golden": golden(),
    }
    return write_bundle(folder, **given | changes)


def test_what_is_written_opens_after_it_was_signed(tmp_path):
    """The way of every model, in three lines."""
    folder = write(tmp_path / "beat")
    sign_bundle(folder, KEY)

    classifier = open_classifier(folder, trust=TRUST)

    card = classifier.card
    assert (card.title, card.release, card.task, card.created) == ("beat 1.0.0", 1, "beat", date(2026, 11, 22))
    assert card.inputs == (SAMPLES, FEATURES)
    assert card.output.codes == OUTPUT.codes
    assert card.output.name == "logits"  # as in the model file


def test_the_golden_answers_are_those_of_the_runtime_to_the_bit(tmp_path):
    """The inputs are rounded before they are run, so that nothing is lost on the way through the file."""
    bundle = load_bundle(write(tmp_path / "beat"), allow_unsigned=True)
    sign_bundle(tmp_path / "beat", KEY)

    worst_lsb = open_classifier(tmp_path / "beat", trust=TRUST).verify(bundle.golden)

    assert worst_lsb == 0
    assert len(bundle.golden) == 4
    assert np.isnan(bundle.golden[0].inputs["features"][1])
    assert len({case.output.tobytes() for case in bundle.golden}) > 1


def test_golden_inputs_take_little_room(tmp_path):
    """Sixteen windows of 10 s at full precision would be larger than the model."""
    values = json.loads((write(tmp_path / "beat") / "golden.json").read_text())[0]["inputs"][INPUT]

    assert all(value == float(f"{value:.6g}") for (value,) in values)


def test_all_that_a_card_can_say_survives(tmp_path):
    more = {
        "aggregation": AggregationCard(span_s=30.0),
        "abstention": AbstentionCard(min_energy=1.5, max_outside=0.25, judges_noise=True),
        "reference": ReferenceCard(labels={"N": 0.9, "V": 0.1}, n_windows=50_000, energy=(0.1, 2.0, 9.0)),
        "extra": {"report.md": b"# how it was trained"},
    }
    card = load_bundle(write(tmp_path / "beat", **more), allow_unsigned=True).card

    assert card.aggregation == more["aggregation"]
    assert card.abstention == more["abstention"]
    assert card.reference == more["reference"]
    assert card.output.temperature == 1.5
    assert card.files["report.md"].sha256 == hashlib.sha256(b"# how it was trained").hexdigest()


def test_a_person_can_read_what_the_model_is(tmp_path):
    """A clinician who asks gets an answer without a program."""
    text = (write(tmp_path / "beat", notes="Made for one lead.") / "MODEL_CARD.md").read_text()

    assert text.startswith("# beat 1.0.0\n")
    for words in (
        "Not a medical device",
        "| `V` | ventricular ectopic | VPC | 17338001 | 0.6 |",
        "beat.V.sensitivity | 0.91",
        "22 records of MIT-BIH DS1",
        "ODC-BY 1.0",
        "`width_ms`, from 60 to 180 in training",
        "2 s of ecg at 25 Hz in mV",
        "Made for one lead.",
    ):
        assert words in text


def test_the_card_tells_when_the_model_says_nothing(tmp_path):
    """As much a part of a model as its labels."""
    text = (
        write(
            tmp_path / "beat",
            aggregation=AggregationCard(span_s=30.0),
            abstention=AbstentionCard(min_energy=1.5, max_outside=0.25, judges_noise=True),
            metrics={},
        )
        / "MODEL_CARD.md"
    ).read_text()

    for words in (
        "last 30 s",
        "below an energy of 1.5",
        "more than 25 % of its numbers",
        "noisy signals too",
        "Not measured",
    ):
        assert words in text


def test_the_same_model_makes_the_same_bytes(tmp_path):
    """A bundle can be made again and compared with the one that was shipped."""
    first, second = write(tmp_path / "a"), write(tmp_path / "b")
    for folder in (first, second):
        sign_bundle(folder, KEY)

    zips = [zip_bundle(folder, folder.with_suffix(".zip")).read_bytes() for folder in (first, second)]

    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        path.name: path.read_bytes() for path in second.iterdir()
    }
    assert zips[0] == zips[1]


def test_a_zip_is_the_same_bundle(tmp_path):
    folder = write(tmp_path / "beat")
    sign_bundle(folder, KEY)

    target = zip_bundle(folder, tmp_path / "beat.zip")

    assert load_bundle(target, TRUST).sha256 == load_bundle(folder, TRUST).sha256
    assert open_classifier(target, trust=TRUST).status().startswith("beat 1.0.0 (signed by the tests")
    assert zipfile.ZipFile(target).testzip() is None


def test_writing_anew_takes_the_old_signature_away(tmp_path):
    """It would vouch for another bundle."""
    sign_bundle(write(tmp_path / "beat"), KEY)

    write(tmp_path / "beat", version="1.0.1")

    assert not (tmp_path / "beat" / "manifest.sig").exists()


def test_the_manifest_is_text_that_a_person_can_compare(tmp_path):
    lines = (write(tmp_path / "beat") / "manifest.json").read_text().splitlines()

    assert len(lines) > 30
    assert json.loads("\n".join(lines))["release"] == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs": (SAMPLES,)}, "expected a model with the inputs window, got features, window"),
        ({"model": classifier_model()}, "expected a model with the inputs features, window, got window"),
        ({"model": classifier_model(is_float=True)}, "int8 model throughout"),
        ({"release": 0}, "card: release"),
        ({"task": "sleep"}, "card: task"),
        ({"metrics": {"f1": float("nan")}}, "card: metrics.f1"),
        ({"preprocessing": {}}, "expected preprocessing.stage"),
    ],
)
def test_what_cannot_be_opened_is_not_written(tmp_path, changes, words):
    with pytest.raises(ModelContractError, match=words):
        write(tmp_path / "beat", **changes)

    assert not (tmp_path / "beat").exists()


@pytest.mark.parametrize(
    "given",
    [
        {INPUT: np.zeros((0, N_SAMPLES, 1)), "features": np.zeros((0, 3))},
        {INPUT: np.ones((1, N_SAMPLES, 1)), "features": np.zeros((1, 3))},
        {INPUT: golden()[INPUT], "features": np.zeros((2, 3))},
    ],
    ids=["none", "flat", "uneven"],
)
def test_golden_inputs_that_prove_nothing_are_misuse(tmp_path, given):
    with pytest.raises(ValueError, match="golden input"):
        write(tmp_path / "beat", golden=given)
