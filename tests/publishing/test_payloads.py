"""What the care centre reads."""

from __future__ import annotations

import dataclasses
import json
import math

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.messages import (
    Acknowledgement,
    AlertState,
    Measurement,
    ReadingStatus,
    Statistic,
)
from edge.outbox.record import Lane, Record
from edge.publishing.json_values import clean, wall_time
from edge.publishing.payloads import schema_of, seal
from edge.publishing.schemas import all_schemas
from tests.fakes.contract import (
    ABSENT,
    GAP,
    LINK,
    LOSS,
    MEASUREMENT,
    READING,
    START_WALL_NS,
    S,
    alert,
    payloads,
    summary,
    validated,
    validator,
)
from tests.fakes.outbox_records import stamp

numbers = st.floats(allow_nan=True, allow_infinity=True)


def record(entry, sequence=981_233, epoch="c0ffee42"):
    return Record(
        sequence=sequence,
        epoch=epoch,
        lane=entry.lane,
        topic=entry.topic,
        body=entry.body,
        qos=entry.qos,
        is_retained=entry.is_retained,
        expiry_s=entry.expiry_s,
        stamp=stamp(),
    )


def sent(entry, *, published_ns=START_WALL_NS + 2 * S, is_history=False, **which):
    return seal(record(entry, **which), gateway="gw-7f3a", published_ns=published_ns, is_history=is_history)


def test_a_reading_is_that_of_the_contract():
    entry = payloads(config_hash="sha256:abc").measurement("heart_rate_bpm", MEASUREMENT, 0)

    body = validated(sent(entry))

    assert (entry.topic, entry.lane, entry.qos, entry.is_retained) == (
        "vitaledge/v1/north/gw-7f3a/reading/heart-rate",
        Lane.READING,
        1,
        False,
    )
    identifier = body.pop("id")
    assert identifier.count("-") == 4
    assert body == {
        "schema": "reading/1",
        "gateway": "gw-7f3a",
        "boot": "b-41",
        "stream_seq": 0,
        "session": None,
        "subject": "p-9c1e",
        "device": "chest",
        "mode": "test",
        "measured_at": "2026-03-01T07:00:04.120Z",
        "device_time": None,
        "clock": {"sync": "ntp", "error_ms": 5.0, "epoch": 0},
        "valid_until": "2026-03-01T07:00:19.120Z",
        "source": {"pipeline": "sha256:abc", "model": None},
        "measure": "heart_rate_bpm",
        "code": {"mdc": 147842, "loinc": "8867-4"},
        "value": 72.0,
        "absent": None,
        "unit": "/min",
        "quality": {"valid": True, "index": 0.94, "reasons": []},
        "method": None,
        "trend_per_h": None,
        "seq": 981_233,
        "epoch": "c0ffee42",
        "published_at": "2026-03-01T07:00:06.120Z",
        "hist": False,
    }


def test_a_spot_reading_carries_its_own_instant_and_trend():
    """A cuff pressure is as old as it is, however often it is said again; it stays valid from the last time it was said."""
    cuff = Measurement(value=120.0, unit="mm[Hg]", source="cuff", method="device", measured_at_ns=0, trend_per_h=-4.5)

    body = validated(sent(payloads().measurement("systolic_mmhg", cuff, 600 * 10**9)))

    assert (body["measured_at"], body["valid_until"]) == ("2026-03-01T07:00:04.120Z", "2026-03-01T07:10:19.120Z")
    assert (body["method"], body["trend_per_h"]) == ("device", -4.5)


def test_every_kind_of_message_is_valid():
    encoder = payloads()
    entries = [
        encoder.measurement("heart_rate_bpm", MEASUREMENT, 0),
        encoder.measurement("heart_rate_bpm", ABSENT, 0),
        encoder.reading(READING),
        encoder.summary(summary()),
        *encoder.alert(alert()),
        encoder.sensor_status(LINK, max_silence_s=5.0),
        encoder.gap(GAP),
        encoder.loss(LOSS),
        encoder.health({"uptime_s": 12.0, "outbox": {"alert": 0}, "links": ["chest"]}, 0),
    ]

    schemas = {validated(sent(entry))["schema"] for entry in entries}

    assert schemas == {"reading/1", "summary/1", "alert/1", "sensor-status/1", "gap/1", "health/1"}


def test_birth_is_valid_and_needs_no_outbox():
    birth = payloads(subject=None).birth(
        at_ns=0,
        versions={"vitaledge": "0.1.0"},
        models={"rhythm": "sha256:1"},
        sensors=[{"id": "chest", "driver": "bridge_serial", "max_silence_s": 5, "streams": []}],
    )

    body = validated(birth.body)

    assert birth.topic.endswith("/birth")
    assert body["seq"] is None
    assert "Not a medical device" in body["limits_of_use"]


def test_a_repetition_carries_the_same_identifier():
    """The receiver recognises it; only the time of sending may differ."""
    entry = payloads().summary(summary())

    first, second = (json.loads(sent(entry, published_ns=START_WALL_NS + k * S)) for k in (1, 2))

    assert first["id"] == second["id"]
    assert {key for key in first if first[key] != second[key]} == {"published_at"}


def test_records_have_different_identifiers():
    """By sequence, by database and by gateway."""
    entry = payloads().summary(summary())

    identifiers = {
        json.loads(seal(one, gateway=gateway, published_ns=0, is_history=False))["id"]
        for one in (record(entry), record(entry, sequence=1), record(entry, epoch="other"))
        for gateway in ("gw-1", "gw-2")
    }

    assert len(identifiers) == 6


def test_an_absent_value_is_null_with_a_reason():
    body = validated(sent(payloads().measurement("heart_rate_bpm", ABSENT, 0)))

    assert (body["value"], body["absent"], body["quality"]["valid"]) == (None, "lead-off", False)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_becomes_absent(value):
    """NaN is no JSON; a lenient reader would take it for a number."""
    body = validated(sent(payloads().measurement("spo2_pct", Measurement(value=value, unit="%"), 0)))

    assert (body["value"], body["absent"]) == (None, "not-a-number")


def test_an_invalid_device_value_is_not_passed_on():
    """The device itself says that its number is wrong."""
    reading = dataclasses.replace(READING, status=ReadingStatus.INVALID)

    body = validated(sent(payloads().reading(reading)))

    assert (body["value"], body["absent"]) == (None, "device-says-invalid")


def test_a_questionable_device_value_says_so():
    reading = dataclasses.replace(READING, status=ReadingStatus.QUESTIONABLE)

    body = validated(sent(payloads().reading(reading)))

    assert body["value"] == 97.0
    assert body["quality"] == {"valid": False, "index": None, "reasons": ["questionable"]}


def test_a_stored_device_value_is_history_with_the_time_of_the_device():
    """A glucose of last night that the meter sends this morning: valid for nobody now, and when it says it was taken."""
    stored = dataclasses.replace(READING, is_stored=True, device_time="2026-02-28T23:10:30")
    entry = payloads().reading(stored)

    body = validated(sent(entry))

    assert (entry.expiry_s, entry.lane) == (0, Lane.SUMMARY)
    assert body["valid_until"] == body["measured_at"]
    assert body["device_time"] == "2026-02-28T23:10:30"


def test_an_alert_is_a_retained_state_and_a_log_entry():
    state, log = payloads().alert(alert())

    assert (state.lane, log.lane) == (Lane.ALERT, Lane.ALERT)
    assert (state.is_retained, log.is_retained) == (True, False)
    assert state.topic.endswith("/alert/asystole-1")
    assert log.topic.endswith("/alert/log")
    body = validated(sent(log))
    assert body["alert_id"] == "asystole-1"
    assert body["condition"] == {"code": "asystole", "text": "No heart beat for 4 s."}
    assert body["limits"] == {"high": 4.0}
    assert body["onset_at"] == "2026-03-01T07:00:05.120Z"
    assert body["receipt"] is None
    assert "must not be used for diagnosis" in body["limits_of_use"]


def test_an_alert_that_a_model_took_part_in_names_its_bundle():
    """The receiver can ask which model it was; an alert by rule names none."""
    decided = alert(evidence={"decision": {"model": "beat", "bundle_sha256": "ab" * 32}})

    assert validated(sent(payloads().alert(decided)[1]))["source"]["model"] == "sha256:" + "ab" * 32
    assert validated(sent(payloads().alert(alert())[1]))["source"]["model"] is None


def test_a_closed_alert_clears_its_retained_state_and_stays_in_the_log():
    state, log = payloads().alert(alert(state=AlertState.CLOSED))

    assert sent(state) == b""
    assert schema_of(record(state)) == ""
    assert validated(sent(log))["state"] == "closed"


def test_an_acknowledged_alert_names_who_and_when():
    acknowledged = alert(
        state=AlertState.ACKNOWLEDGED,
        acknowledged=Acknowledgement(by="nurse-7", at_ns=9 * S, via="console"),
        silenced_until_ns=129 * S,
    )

    body = validated(sent(payloads().alert(acknowledged)[1]))

    assert body["acknowledged"] == {"by": "nurse-7", "at": "2026-03-01T07:00:13.120Z", "via": "console"}
    assert body["silenced_until"] == "2026-03-01T07:02:13.120Z"


def test_stream_sequences_run_without_holes_for_each_topic():
    """A hole tells the receiver of a loss, even of one that happened before the outbox."""
    encoder = payloads()
    entries = [encoder.measurement(name, MEASUREMENT, 0) for name in ("heart_rate_bpm", "rmssd_ms", "heart_rate_bpm")]

    assert [json.loads(entry.body)["stream_seq"] for entry in entries] == [0, 0, 1]


def test_history_says_so():
    assert validated(sent(payloads().gap(GAP), is_history=True))["hist"] is True


def test_a_loss_names_the_range_that_is_missing():
    body = validated(sent(payloads().loss(LOSS)))

    assert body["kind"] == "messages"
    assert body["stream"].endswith("reading/spo2")
    assert (body["first_seq"], body["last_seq"], body["n_missing"], body["reason"]) == (4, 19, 12, "quota")
    assert (body["start_at"], body["end_at"]) == ("2026-03-01T07:00:04.120Z", "2026-03-01T07:00:05.120Z")


@given(numbers, numbers, numbers, st.dictionaries(st.text(max_size=5), numbers | st.text(max_size=5), max_size=3))
def test_no_input_makes_an_invalid_message(one, two, three, evidence):
    """Any floats, any evidence: the result is strict JSON and passes the schema."""
    encoder = payloads()
    statistic = Statistic(unit="/min", n=1, minimum=one, median=two, maximum=three, coverage_pct=one)

    for entry in (
        encoder.measurement("heart_rate_bpm", Measurement(value=one, unit="/min", quality=two), 0),
        encoder.summary(summary(statistics={"x": statistic}, coverage_pct=one, quality=two, rhythm_s={"N": three})),
        encoder.alert(alert(evidence={"nested": [evidence, {"deep": one}], **evidence}))[1],
        encoder.health({"figures": evidence}, 0),
    ):
        payload = sent(entry)
        json.loads(payload, parse_constant=pytest.fail)
        validated(payload)


def test_unknown_types_in_evidence_become_text():
    """Evidence comes from many rules; none of them may stop an alert."""
    assert clean({1: (2.0, math.nan, {"x"}), "b": b"z"}) == {"1": [2.0, None, "{'x'}"], "b": "b'z'"}


def test_wall_time_has_milliseconds_and_utc():
    assert wall_time(START_WALL_NS + 999_999) == "2026-03-01T07:00:04.120Z"


def test_the_published_schemas_allow_later_fields():
    """A reader of today accepts a runtime of tomorrow; our own output is tested strictly."""
    body = validated(sent(payloads().gap(GAP))) | {"later": 1}

    jsonschema.Draft202012Validator(all_schemas()["gap-1"]).validate(body)
    with pytest.raises(jsonschema.ValidationError):
        validator("gap/1").validate(body)


def test_the_schemas_refuse_what_is_wrong():
    """A schema that accepts everything would prove nothing."""
    body = validated(sent(payloads().measurement("heart_rate_bpm", MEASUREMENT, 0)))

    for broken in (
        {key: value for key, value in body.items() if key != "seq"},
        body | {"value": "72"},
        body | {"mode": "simulation"},
        body | {"measured_at": "yesterday"},
        body | {"schema": "summary/1"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            validator("reading/1").validate(broken)


def test_a_shorter_first_interval_comes_on_the_topic_of_whole_ones():
    """A subscriber to ``summary/1m`` misses none; how long the interval was stands in the body."""
    short = dataclasses.replace(summary(), start_ns=summary().end_ns - 18 * S)

    entry = payloads().summary(short)

    assert entry.topic.endswith("/summary/1m")
    assert json.loads(entry.body)["duration_s"] == 18
