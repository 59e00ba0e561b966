"""An alert record survives the way through text with every bit that a decision was made from."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from edge.alert_record import AlertRecordError, decode, encode
from edge.messages import Acknowledgement
from tests.fakes.alert_records import beat_window, record, without_hash

ODD_NUMBERS = (0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, math.nextafter(1.0, 2.0))


def test_windows_come_back_bit_for_bit():
    """Samples and features, the least and the largest floats and the sign of zero included."""
    values = np.tile(np.array(ODD_NUMBERS), 10)[:50, np.newaxis]
    features = {f"f{k}": number for k, number in enumerate(ODD_NUMBERS)}
    given = replace(record(), windows=(beat_window(3.0, values=values, features=features),))

    (window,) = decode(encode(given)).windows

    assert window.values.tobytes() == values.tobytes()
    assert [value.hex() for value in window.features.values()] == [number.hex() for number in ODD_NUMBERS]


def test_numbers_that_json_does_not_know_come_back():
    """NaN is unknown and must not become null or 0; so for infinities."""
    features = {"unknown": math.nan, "large": math.inf, "small": -math.inf}
    given = replace(record(), windows=(beat_window(3.0, features=features, quality=math.nan),))

    text = encode(given)
    (window,) = decode(text).windows

    assert math.isnan(window.features["unknown"])
    assert math.isnan(window.quality)
    assert window.features["large"] == math.inf
    assert window.features["small"] == -math.inf
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_everything_else_comes_back():
    """Alert, decision, predictions, beats, verdicts and strips."""
    given = record()
    given = replace(
        given,
        alert=replace(
            given.alert, acknowledged=Acknowledgement(by="nurse-4", at_ns=5, via="console"), silenced_until_ns=7
        ),
    )

    back = decode(encode(given))

    assert back.alert == given.alert
    assert back.decision == given.decision
    assert back.predictions == given.predictions
    assert back.beats == given.beats
    assert back.qualities == given.qualities
    assert np.array_equal(back.strip.values_uv, given.strip.values_uv)
    assert replace(back.strip, values_uv=0) == replace(given.strip, values_uv=0)
    assert replace(back.usual, values_uv=0) == replace(given.usual, values_uv=0)


def test_missing_samples_of_the_strip_are_null():
    """A hole is a hole in every reader's language."""
    given = record()
    values = given.strip.values_uv.copy()
    values[3] = math.nan

    text = encode(replace(given, strip=replace(given.strip, values_uv=values)))

    assert json.loads(text)["record"]["strip"]["values_uv"][0][3] is None
    assert math.isnan(decode(text).strip.values_uv[3, 0])


def test_altered_contents_are_refused():
    """A flipped digit that still is JSON."""
    with pytest.raises(AlertRecordError, match="hash"):
        decode(without_hash(encode(record()), bed="p-2"))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", '"x"', "{}", '{"format": "vitaledge-alert/1"}', '{"format": "vitaledge-alert/9"}', "[" * 100_000],
)  # fmt: skip
def test_anything_else_is_refused_with_a_reason(text):
    """Never another exception."""
    with pytest.raises(AlertRecordError):
        decode(text)


def test_a_record_cut_short_anywhere_is_refused():
    """Whatever a full disk leaves."""
    text = encode(record())

    for n in range(0, len(text), 997):
        with pytest.raises(AlertRecordError):
            decode(text[:n])
