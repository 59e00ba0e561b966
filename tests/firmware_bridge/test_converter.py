"""Physical values to counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.messages import Channel, ChannelKind, StreamInfo
from firmware_bridge.virtual.converter import StreamConverter
from firmware_bridge.virtual.patient import CHANNELS


def converter(*channels, sample=((0.0,),), rate_hz=250.0, name="ecg"):
    info = StreamInfo(name=name, channels=channels, nominal_rate_hz=rate_hz)
    return StreamConverter(info, 3, np.asarray(sample, dtype=float).repeat(len(channels), axis=1))


@given(st.floats(-4.99, 4.99))
def test_a_value_comes_back_within_half_a_count(value_mv):
    """Invariant: counts times the described gain is the value, within half a step of the converter."""
    unit = converter(*CHANNELS["ecg"])

    counts = unit.counts(np.array([[value_mv, -value_mv]]))
    channel = unit.descriptor(is_running=True).channels[0]

    gain = channel.gain_numerator / channel.gain_denominator
    assert counts[0, 0] * gain == pytest.approx(value_mv, abs=0.50001 * gain)
    assert channel.minimum_counts <= counts[0, 1] <= channel.maximum_counts


def test_infinity_is_the_end_of_the_range():
    """An open input is at the rail, not an error."""
    counts = converter(*CHANNELS["ecg"]).counts(np.array([[np.inf, -np.inf]]))

    assert counts.tolist() == [[0x7FFF, -0x8000]]


@pytest.mark.parametrize(
    ("stream", "n_bytes", "n_bits"), [("ecg", 2, 16), ("ppg", 3, 18), ("respiration", 2, 16), ("acceleration", 2, 16)]
)
def test_width_follows_the_range(stream, n_bytes, n_bits):
    """Sixteen-bit signals travel in two bytes, the 18-bit light in three."""
    unit = converter(*CHANNELS[stream])

    assert unit.bytes_per_value == n_bytes
    assert {channel.resolution_bits for channel in unit.descriptor(is_running=True).channels} == {n_bits}


@pytest.mark.parametrize("largest", [1e-6, 0.5, 3.0, 2e5])
def test_an_unstated_resolution_fits_the_signal(largest):
    """The step is small against the first values and leaves room for values 30 times as large."""
    channel = Channel(name="X", kind=ChannelKind.OTHER, unit="1")

    unit = converter(channel, sample=[[largest], [-largest], [np.nan]])

    described = unit.descriptor(is_running=True).channels[0]
    gain = described.gain_numerator / described.gain_denominator
    assert gain < max(largest, 1e-3) / 50_000
    assert described.maximum_counts * gain > 30 * largest


def test_names_fit_their_field():
    """A long name is cut at a whole character; an unknown unit is told as arbitrary."""
    channel = Channel(name="Übertragungskanal", kind=ChannelKind.ECG, unit="furlong", resolution=0.001)

    descriptor = converter(channel, name="a-very-long-stream-name").descriptor(is_running=False)

    assert descriptor.name == "a-very-long-"
    assert descriptor.channels[0].name == "Übertragung"
    assert descriptor.channels[0].unit_code == 0
    assert not descriptor.is_running
