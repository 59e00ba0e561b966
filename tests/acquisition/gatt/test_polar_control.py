"""The control point is read and written byte for byte as a captured H10 and the maker's tests have it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acquisition.gatt.polar_control import (
    ControlError,
    Features,
    Operation,
    Response,
    Setting,
    Stopped,
    decode_control,
    decode_settings,
    factor_bits,
    factor_of,
    features_bytes,
    response_bytes,
    settings_bytes,
    settings_request,
    start_request,
    stop_request,
    stopped_bytes,
)
from edge.acquisition.gatt.polar_frames import MeasurementType
from edge.acquisition.gatt.rejected import Rejected

H10_FEATURES = bytes.fromhex("0F 05 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00")
GYRO_SETTINGS = bytes.fromhex("00 01 34 00 01 01 10 00 02 04 F5 00 F4 01 E8 03 D0 07 04 01 03")


def test_an_h10_has_ecg_and_acceleration():
    """The captured answer to reading the control point; and the same bytes back."""
    features = decode_control(H10_FEATURES)

    assert features == Features(numbers=frozenset({0, 2}))
    assert MeasurementType.ECG in features
    assert MeasurementType.PPG not in features
    assert features_bytes(frozenset({0, 2})) == H10_FEATURES


def test_features_of_the_second_byte_are_read():
    """SDK mode is bit 9."""
    assert decode_control(bytes.fromhex("0F 6E 02")) == Features(numbers=frozenset({1, 2, 3, 5, 6, 9}))


def test_short_error_may_swap_operation_and_measurement():
    """Before the MTU was exchanged an H10 answers to ``01 00`` with ``F0 00 01 0A``."""
    response = decode_control(bytes.fromhex("F0 00 01 0A"))

    assert response.error is ControlError.MTU_TOO_SMALL
    assert response.answers(Operation.GET_SETTINGS, MeasurementType.ECG)
    assert not response.answers(Operation.GET_SETTINGS, MeasurementType.ACC)


def test_long_answers_are_never_swapped():
    """Only the short form is ambiguous."""
    response = decode_control(bytes.fromhex("F0 01 02 00 00"))

    assert response.answers(Operation.GET_SETTINGS, MeasurementType.ACC)
    assert not response.answers(2, 1)


RESPONSES = {
    "settings of the ECG": (
        "F0 01 00 00 00 00 01 82 00 01 01 0E 00",
        Response(
            operation=1,
            measurement=0,
            error=ControlError.SUCCESS,
            parameters=bytes.fromhex("00 01 82 00 01 01 0E 00"),
        ),
    ),
    "started without settings": (
        "F0 02 00 05 00",
        Response(operation=2, measurement=0, error=ControlError.BAD_PARAMETER),
    ),
    "started": (
        "F0 02 00 00 00 00",
        Response(operation=2, measurement=0, error=ControlError.SUCCESS, parameters=b"\x00"),
    ),
    "success": (
        "F0 01 02 00 00 FF FF FF",
        Response(operation=1, measurement=2, error=ControlError.SUCCESS, parameters=b"\xff\xff\xff"),
    ),
    "invalid resolution": ("F0 01 06 07 00", Response(operation=1, measurement=6, error=ControlError.BAD_RESOLUTION)),
    "more to come": (
        "F0 01 02 00 01 AA",
        Response(operation=1, measurement=2, error=ControlError.SUCCESS, has_more=True, parameters=b"\xaa"),
    ),
    "success without the rest": ("F0 03 00 00", Response(operation=3, measurement=0, error=ControlError.SUCCESS)),
    "an error of the future": ("F0 02 00 63 00", Response(operation=2, measurement=0, error=ControlError.UNKNOWN)),
}


@pytest.mark.parametrize("case", RESPONSES.values(), ids=RESPONSES.keys())
def test_answers_are_read(case):
    """Operation, measurement, error, and parameters only with success."""
    data, expected = case

    assert decode_control(bytes.fromhex(data)) == expected


def test_a_sensor_says_when_it_stops_by_itself():
    """First byte 1, then the measurements."""
    assert decode_control(bytes.fromhex("01 00 02")) == Stopped(measurements=(0, 2))
    assert stopped_bytes((0, 2)) == bytes.fromhex("01 00 02")


@pytest.mark.parametrize("data", ["", "F0", "0F", "F0 01", "F0 01 00", "AA 01 02"])
def test_what_is_no_answer_is_refused(data):
    """Too short, or begins with no known byte."""
    assert isinstance(decode_control(bytes.fromhex(data)), Rejected)


def test_settings_are_read():
    """52 Hz, 16 bits, four ranges, three channels."""
    assert decode_settings(GYRO_SETTINGS) == {
        Setting.SAMPLE_RATE: (52,),
        Setting.RESOLUTION: (16,),
        Setting.RANGE: (245, 500, 1000, 2000),
        Setting.CHANNELS: (3,),
    }
    assert settings_bytes(decode_settings(GYRO_SETTINGS)) == GYRO_SETTINGS


@pytest.mark.parametrize("data", ["00", "00 01 34", "00 02 34 00", "07 01 00 00", "05 01 00 00"])
def test_settings_that_promise_more_than_they_hold_are_refused(data):
    """Counts are the sender's word; a kind of unknown size hides what follows."""
    assert isinstance(decode_settings(bytes.fromhex(data)), Rejected)


def test_factor_is_what_a_count_is_worth():
    """A float in the answer to a start; nonsense is none."""
    assert factor_of({Setting.FACTOR: (factor_bits(2.44e-4),)}) == pytest.approx(2.44e-4)
    assert factor_of({}) is None
    for nonsense in (0.0, -1.0, float("inf"), float("nan")):
        assert factor_of({Setting.FACTOR: (factor_bits(nonsense),)}) is None


def test_requests_are_those_of_the_capture():
    """Settings, start and stop of the ECG; starts of acceleration and pulse wave."""
    assert settings_request(MeasurementType.ECG) == bytes.fromhex("01 00")
    ecg = {Setting.SAMPLE_RATE: 130, Setting.RESOLUTION: 14}
    assert start_request(MeasurementType.ECG, ecg) == bytes.fromhex("02 00 00 01 82 00 01 01 0E 00")
    acc = {Setting.SAMPLE_RATE: 200, Setting.RESOLUTION: 16, Setting.RANGE: 2}
    assert start_request(MeasurementType.ACC, acc) == bytes.fromhex("02 02 00 01 C8 00 01 01 10 00 02 01 02 00")
    ppg = {Setting.SAMPLE_RATE: 55, Setting.RESOLUTION: 22, Setting.CHANNELS: 4}
    assert start_request(MeasurementType.PPG, ppg) == bytes.fromhex("02 01 00 01 37 00 01 01 16 00 04 01 04")
    assert stop_request(MeasurementType.ECG) == bytes.fromhex("03 00")


def test_what_only_the_sensor_says_is_not_asked_for():
    """The factor comes with the answer; a start that names it is refused by real sensors."""
    chosen = {Setting.SAMPLE_RATE: 52, Setting.FACTOR: 1, Setting.SECURITY: 1}

    assert start_request(MeasurementType.ACC, chosen) == bytes.fromhex("02 02 00 01 34 00")


def test_answers_of_a_simulated_sensor_are_those_of_a_real_one():
    """The encoder for simulated sensors gives the captured bytes."""
    offered = {Setting.SAMPLE_RATE: (130,), Setting.RESOLUTION: (14,)}

    line = response_bytes(Operation.GET_SETTINGS, MeasurementType.ECG, parameters=settings_bytes(offered))

    assert line == bytes.fromhex("F0 01 00 00 00 00 01 82 00 01 01 0E 00")
    assert response_bytes(2, 0, ControlError.BAD_PARAMETER) == bytes.fromhex("F0 02 00 05 00")


@given(st.binary(max_size=40))
def test_any_bytes_are_an_answer(data):
    """Neither the control point nor its settings can make us fail."""
    for first in (b"", b"\xf0", b"\x0f", b"\x01"):
        message = decode_control(first + data)
        assert isinstance(message, Features | Response | Stopped | Rejected)
    offered = decode_settings(data)
    assert isinstance(offered, Rejected) or factor_of(offered) is None or factor_of(offered) > 0
