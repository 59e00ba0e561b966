"""Names and units of recordings, as the field writes them."""

from __future__ import annotations

import doctest

import pytest

from edge.acquisition import record_columns
from edge.acquisition.record_columns import ColumnError, describe, parse_kinds, recognise
from edge.messages import ChannelKind


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ("MLII MLI II I III aVR AVL avf V V1 V6 ECG ecg1 ECG_II EKG MCL1 ML2 V4R CM5 D3", ChannelKind.ECG),
        ("PLETH PPG BVP pleth ppg", ChannelKind.PPG),
        ("RED ppg_red", ChannelKind.PPG_RED),
        ("IR PPG_IR infrared", ChannelKind.PPG_INFRARED),
        ("RESP Resp respiration airflow THOR", ChannelKind.RESPIRATION),
        ("AX acc_x ACCX accel_x Acceleration_X", ChannelKind.ACCELERATION_X),
        ("AY", ChannelKind.ACCELERATION_Y),
        ("AZ", ChannelKind.ACCELERATION_Z),
        ("ABP ART CVP PAP noise1 SpO2 HR EDA TEMP X Y Z VT VF visit index IVUS", ChannelKind.OTHER),
    ],
)
def test_usual_names_are_recognised(names, kind):
    """Case and blanks do not matter; a name that only begins like a lead is no lead."""
    assert {name: recognise(f" {name} ") for name in names.split()} == dict.fromkeys(names.split(), kind)


@pytest.mark.parametrize("name", ["ECG II", "ECG lead II", "Lead I", "ECG: V5", "EKG-II"])
def test_names_of_several_words_are_recognised(name):
    """Monitors and EDF files put words before the lead."""
    assert recognise(name) is ChannelKind.ECG


@pytest.mark.parametrize(
    ("kind", "unit", "code", "factor"),
    [
        (ChannelKind.ECG, "", "mV", 1.0),
        (ChannelKind.ECG, "µV", "mV", 1e-3),
        (ChannelKind.ECG, "V", "mV", 1e3),
        (ChannelKind.ECG, "NU", "1", 1.0),
        (ChannelKind.ECG, "MV", "MV", 1.0),
        (ChannelKind.ACCELERATION_X, "mg", "m/s2", 9.80665e-3),
        (ChannelKind.ACCELERATION_X, "", "1", 1.0),
        (ChannelKind.PPG, "NU", "1", 1.0),
        (ChannelKind.OTHER, "mmHg", "mm[Hg]", 1.0),
        (ChannelKind.OTHER, "degC", "Cel", 1.0),
    ],
)
def test_units_become_the_pipelines(kind, unit, code, factor):
    """Voltage of an ECG to mV, acceleration to m/s², everything else by its UCUM code, nothing invented."""
    column = describe("x", kind, f" {unit} ", minimum=-2, maximum=2)

    assert (column.channel.unit, column.factor) == (code, factor)
    assert column.channel.maximum == 2 * factor


def test_kinds_are_known_by_short_and_long_words():
    """The example of the manual gives its kinds, whatever the case and the blanks."""
    columns = {"II": "ecg", " PLETH": "PPG", "RESP": "resp", "AX": "acc_x", "IR": "ppg_ir", "AZ": "acceleration_z "}

    assert list(parse_kinds(columns).values()) == [
        ChannelKind.ECG, ChannelKind.PPG, ChannelKind.RESPIRATION,
        ChannelKind.ACCELERATION_X, ChannelKind.PPG_INFRARED, ChannelKind.ACCELERATION_Z,
    ]  # fmt: skip


def test_unknown_kind_lists_the_known_ones():
    """The error helps to find the right word."""
    with pytest.raises(ColumnError, match="resp"):
        parse_kinds({"II": "heart"})


def test_examples_in_the_docstrings_hold():
    """The doctests pass."""
    assert doctest.testmod(record_columns).failed == 0
