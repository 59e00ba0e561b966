"""A card says only what can be."""

from __future__ import annotations

import json

import pytest
from pydantic import TypeAdapter, ValidationError

from edge.inference.card import FeaturesInput, ModelCard, preprocessing_differences
from tests.fakes.tiny_model import FEATURES_CARD, LOGITS_CARD, OUTPUT_CARD, SAMPLES_INPUT, card, manifest

FILES = {"model.tflite": b"m", "golden.json": b"g"}
TENSOR = {"kind": "tensor", "name": "picture", "shape": [8, 8, 3]}
REFERENCE = {"labels": {"N": 0.9, "AFIB": 0.1}, "n_windows": 1000}


def fault(**changes):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(ModelCard).validate_json(json.dumps(manifest(FILES, **changes)))
    return "; ".join(
        f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in caught.value.errors(include_url=False)
    )


def knots(*values):
    return FEATURES_CARD | {"features": [{"name": "f", "knots": list(values)}]}


def test_a_card_tells_what_its_model_wants():
    found = card(inputs=[FEATURES_CARD, SAMPLES_INPUT])

    assert found.title == "tiny 0.1.0"
    assert (found.samples.n_samples, found.samples.rate_hz) == (50, 25.0)
    assert [feature.name for feature in found.features] == ["f0", "f1", "f2"]
    assert [each.shape for each in found.inputs] == [(3,), (50, 1)]


def test_a_model_without_features_has_none():
    assert card().features == ()


def test_a_model_of_pictures_has_no_samples():
    picture = card(task="other", inputs=[TENSOR])

    with pytest.raises(ValueError, match="expected a model of signals"):
        _ = picture.samples


def test_a_card_survives_being_written_and_read():
    """Invariant: what the writer dumps, the runtime reads as the same card."""
    before = card(inputs=[SAMPLES_INPUT, FEATURES_CARD], aggregation={"span_s": 30.0}, reference=REFERENCE)

    after = TypeAdapter(ModelCard).validate_json(TypeAdapter(ModelCard).dump_json(before))

    assert after == before
    assert isinstance(after.inputs[1], FeaturesInput)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nonsense": 1}, "nonsense: Unexpected"),
        ({"format_version": True}, "format_version"),
        ({"release": 0}, "release"),
        ({"release": 1.5}, "release"),
        ({"release": "3"}, "release"),
        ({"task": "sleep"}, "task"),
        ({"created": "yesterday"}, "created"),
        ({"model": "other.tflite"}, "expected other.tflite among files"),
        ({"golden": "other.json"}, "expected other.json among files"),
        ({"preprocessing": {}}, "expected preprocessing.stage"),
        ({"preprocessing": {"stage": 1}}, "expected preprocessing.stage"),
        ({"metrics": {"f1": "good"}}, "metrics.f1"),
        ({"metrics": {"f1": float("nan")}}, "metrics.f1"),
        ({"training_data": ""}, "training_data"),
        ({"licence": None}, "licence"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [SAMPLES_INPUT, SAMPLES_INPUT | {"name": "b"}]}, "expected one samples input"),
        ({"inputs": [FEATURES_CARD]}, "expected one samples input"),
        ({"inputs": [TENSOR]}, "expected one samples input"),
        ({"inputs": [SAMPLES_INPUT, FEATURES_CARD | {"name": "window"}]}, "expected inputs whose names differ"),
        ({"inputs": [SAMPLES_INPUT | {"kind": "sound"}]}, "inputs.0"),
        ({"inputs": [SAMPLES_INPUT | {"rate_hz": 0}]}, "rate_hz"),
        ({"inputs": [SAMPLES_INPUT | {"rate_hz": float("nan")}]}, "rate_hz"),
        ({"inputs": [SAMPLES_INPUT | {"n_samples": "50"}]}, "n_samples"),
        ({"inputs": [SAMPLES_INPUT | {"channels": []}]}, "channels"),
        ({"inputs": [SAMPLES_INPUT, knots(1.0)]}, "knots"),
        ({"inputs": [SAMPLES_INPUT, knots(1.0, 1.0)]}, "expected knots that ascend"),
        ({"inputs": [SAMPLES_INPUT, knots(2.0, 1.0)]}, "expected knots that ascend"),
        ({"inputs": [SAMPLES_INPUT, knots(0.0, 1e-300)]}, "expected knots that ascend"),
        ({"inputs": [SAMPLES_INPUT, knots(0.0, float("inf"))]}, "knots"),
        ({"inputs": [SAMPLES_INPUT, FEATURES_CARD | {"features": FEATURES_CARD["features"] * 2}]}, "names differ"),
        ({"task": "other", "inputs": [TENSOR | {"shape": [1000, 1000, 1000]}]}, "expected at most"),
        ({"output": OUTPUT_CARD | {"labels": ["N", "N"]}}, "expected labels that differ, got N, N"),
        ({"output": OUTPUT_CARD | {"thresholds": {"N": 0.5}}}, "expected a threshold for each label (N, AFIB), got N"),
        ({"output": OUTPUT_CARD | {"thresholds": {"N": 1.5, "AFIB": 0}}}, "thresholds.N"),
        ({"output": OUTPUT_CARD | {"codes": {"VT": {"snomed": "1"}}}}, "codes: expected labels of the output"),
        ({"output": OUTPUT_CARD | {"bias": {"VT": 1.0}}}, "bias: expected labels of the output"),
        ({"output": OUTPUT_CARD | {"bias": {"N": 1e9}}}, "bias.N"),
        ({"output": OUTPUT_CARD | {"temperature": 0}}, "temperature"),
        ({"output": LOGITS_CARD | {"activation": "sigmoid"}}, "activation"),
        ({"aggregation": {"span_s": 0}}, "span_s"),
        ({"abstention": {"max_outside": 1.1}}, "max_outside"),
        ({"abstention": {"judges_noise": 1}}, "judges_noise"),
        ({"reference": REFERENCE | {"labels": {"N": 0.5, "VT": 0.5}}}, "reference.labels: expected labels"),
        ({"reference": REFERENCE | {"labels": {"N": 0.5}}}, "add up to 1, got 0.5"),
        ({"reference": REFERENCE | {"energy": [1.0, 0.5]}}, "quantiles of energy that ascend"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(changes, words):
    assert words in fault(**changes)


def test_a_card_cannot_ask_for_all_the_memory():
    values = manifest(FILES)
    values["files"]["model.tflite"]["n_bytes"] = 2**40

    with pytest.raises(ValidationError, match="at most 64000000 bytes together"):
        TypeAdapter(ModelCard).validate_json(json.dumps(values))


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig", "Manifest.JSON", "../x", "/etc/x", "a/b", "..", ""])
def test_no_file_leads_out_of_the_bundle_or_stands_for_the_manifest(name):
    values = manifest(FILES | {name: b"x"})

    with pytest.raises(ValidationError, match="files"):
        TypeAdapter(ModelCard).validate_json(json.dumps(values))


def test_another_way_to_make_windows_is_told_in_words():
    """A model that sees other windows than in training is confidently wrong."""
    wanted = {"stage": "beat-windows/1", "rate_hz": 125.0, "band_hz": [0.5, 40.0], "leads": 1}

    same = preprocessing_differences(wanted, dict(wanted) | {"band_hz": (0.5, 40.0), "rate_hz": 125})
    other = preprocessing_differences(wanted, {"stage": "beat-windows/2", "rate_hz": 125.0, "band_hz": [0.5, 40.0]})

    assert same == []
    assert other == [
        "leads: the model wants 1, this software has nothing",
        "stage: the model wants beat-windows/1, this software has beat-windows/2",
    ]


def test_a_model_may_take_its_features_in_several_inputs():
    """Groups of numbers with ranges of their own; all of them count as its features, in order."""
    more = FEATURES_CARD | {"name": "more", "features": [{"name": "late", "knots": [0.0, 1.0]}]}

    found = card(inputs=[SAMPLES_INPUT, FEATURES_CARD, more])

    assert found.takes_windows
    assert [each.name for each in found.features] == ["f0", "f1", "f2", "late"]
