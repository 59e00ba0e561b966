"""A recording played as the sensor."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.acquisition.framing import Frame, FrameDecoder
from edge.acquisition.packets import Hello, ReadingPacket, SamplesPacket, decode_packet
from edge.acquisition.wfdb_file import open_record
from edge.messages import Channel, ChannelKind, Chunk, Gap, SampleBlock, StreamInfo
from firmware_bridge.virtual.device import VirtualSensor
from firmware_bridge.virtual.playback import PlaybackPatient
from firmware_bridge.virtual.scenario import Fault, FaultKind, Scenario
from tests.fakes.record_files import real_recording

S = 1_000_000_000
II = Channel(name="II", kind=ChannelKind.ECG, unit="mV", minimum=-5.12, maximum=5.115, resolution=0.005)
UNSTATED = Channel(name="PLETH", kind=ChannelKind.PPG, unit="1")


def block(values, *, sequence=0, stream="ecg", channels=(II,), rate_hz=360.0):
    return SampleBlock(
        sensor="file",
        stream=stream,
        channels=channels,
        values=np.asarray(values, dtype=float).reshape(-1, len(channels)),
        rate_hz=rate_hz,
        start_ns=round(sequence / rate_hz * 1e9),
        sequence=sequence,
    )


def packets_of(sensor, until_ns):
    items = FrameDecoder().push(Chunk(data=sensor.advance(until_ns), received_at_ns=0))
    return [decode_packet(item) for item in items if isinstance(item, Frame)]


def samples_of(packets, stream_id=1):
    return [packet for packet in packets if isinstance(packet, SamplesPacket) and packet.stream_id == stream_id]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=10),
    st.lists(st.integers(0, 300), min_size=1, max_size=20),
)
def test_reading_does_not_depend_on_blocks_or_pieces(block_sizes, read_sizes):
    """Invariant: however the recording is cut and however it is read, the samples come in order, each once."""
    borders = np.concatenate([[0], np.cumsum(block_sizes)])
    blocks = [block(np.arange(a, b), sequence=int(a)) for a, b in itertools.pairwise(borders)]
    patient = PlaybackPatient(blocks)

    got = np.concatenate([patient.read("ecg", size) for size in read_sizes])[:, 0]

    assert np.array_equal(got, np.arange(min(sum(read_sizes), borders[-1])))


def test_streams_are_found_by_looking_at_the_first_blocks():
    """The hello can name every stream before anything is played, and nothing that was looked at is lost."""
    blocks = [
        block([1, 2], stream="ecg"),
        block([7], stream="ppg", channels=(UNSTATED,), rate_hz=100.0),
        block([3, 4], stream="ecg", sequence=2),
    ]

    patient = PlaybackPatient(blocks)

    assert [(info.name, info.nominal_rate_hz) for info in patient.streams] == [("ecg", 360.0), ("ppg", 100.0)]
    assert patient.read("ecg", 9)[:, 0].tolist() == [1, 2, 3, 4]
    assert patient.read("ppg", 9)[:, 0].tolist() == [7]


def test_a_hole_in_the_recording_is_read_as_missing():
    """What a sequence jumps over is NaN; a repeated stretch is not played twice."""
    gap = Gap(sensor="file", stream="ecg", start_ns=0, end_ns=0, n_missing=3, reason="missing")
    blocks = [block([0, 1]), gap, block([5, 6], sequence=5), block([6, 7], sequence=6)]

    values = PlaybackPatient(blocks).read("ecg", 100)[:, 0]

    assert np.array_equal(values, [0, 1, np.nan, np.nan, np.nan, 5, 6, 7], equal_nan=True)


def test_the_sensor_leaves_out_what_is_missing_and_counts_it():
    """A hole is never filled with invented values: packets stop before it and go on after it with the right counter."""
    values = np.arange(0, 3.6, 0.01)
    values[50:60] = np.nan
    sensor = VirtualSensor(Scenario(), PlaybackPatient([block(values)]))

    packets = samples_of(packets_of(sensor, 2 * S))

    index = np.concatenate([packet.sequence + np.arange(packet.n_samples) for packet in packets])
    counts = np.concatenate([packet.counts()[:, 0] for packet in packets])
    assert index.tolist() == [*range(50), *range(60, 360)]
    assert np.abs(counts * 0.005 - values[index]).max() <= 0.0026
    assert all(packet.ticks == packet.sequence * 1_000_000 // 360 for packet in packets)


def test_the_end_of_the_recording_is_the_end_of_the_story():
    """The last samples are sent although they do not fill a packet, then the sensor is finished."""
    sensor = VirtualSensor(Scenario(), PlaybackPatient([block(np.zeros(100))]))

    packets = samples_of(packets_of(sensor, S))

    assert sum(packet.n_samples for packet in packets) == 100
    assert sensor.is_finished


def test_a_recording_says_nothing_of_what_the_sensor_computed():
    """Saturation and cuff are absent with a reason: they are not in the recording."""
    sensor = VirtualSensor(Scenario(), PlaybackPatient([block(np.zeros(360 * 30))]))

    readings = [packet for packet in packets_of(sensor, 25 * S) if isinstance(packet, ReadingPacket)]

    assert readings
    assert {(reading.status_code, reading.absent_code) for reading in readings} == {(2, 3)}


def test_a_channel_without_a_range_keeps_its_precision():
    """Where nobody states a resolution the sensor chooses one; what comes out is the recording within 1 in 50,000."""
    values = 1000.0 + 300.0 * np.sin(np.arange(3000) / 20)
    sensor = VirtualSensor(
        Scenario(), PlaybackPatient([block(values, stream="ppg", channels=(UNSTATED,), rate_hz=100.0)])
    )

    packets = packets_of(sensor, 20 * S)

    channel = next(packet for packet in packets if isinstance(packet, Hello)).streams[0].channels[0]
    counts = np.concatenate([packet.counts()[:, 0] for packet in samples_of(packets)])
    physical = counts * channel.gain_numerator / channel.gain_denominator
    assert np.abs(physical - values[: len(physical)]).max() < 1300 / 50_000


def test_faults_spoil_a_recording_too():
    """Lead off drives a recorded ECG to the end of its own range."""
    fault = Fault(kind=FaultKind.LEAD_OFF, at_s=0.0, duration_s=1.0)
    sensor = VirtualSensor(Scenario(faults=(fault,)), PlaybackPatient([block(np.zeros(720))]))

    counts = np.concatenate([packet.counts()[:, 0] for packet in samples_of(packets_of(sensor, 3 * S))])

    assert (counts[:360] == 1023).all()
    assert (counts[360:] == 0).all()


def test_an_empty_recording_is_refused():
    """There is nothing to say hello about."""
    with pytest.raises(ValueError, match="at least one block"):
        PlaybackPatient([])


def test_a_change_of_rate_is_refused():
    """A stream is one thing throughout: its rate was told in the hello."""
    patient = PlaybackPatient([block([1, 2]), block([3], sequence=2, rate_hz=250.0)])

    with pytest.raises(ValueError, match="throughout"):
        patient.read("ecg", 3)


def test_streams_can_be_given_and_others_are_passed_over():
    """With stated streams nothing is looked at ahead; what is not among them is not played."""
    info = StreamInfo(name="ecg", channels=(II,), nominal_rate_hz=360.0)
    blocks = [block([7], stream="ppg", channels=(UNSTATED,), rate_hz=100.0), block([1, 2])]

    patient = PlaybackPatient(blocks, streams=(info,))

    assert patient.streams == (info,)
    assert patient.read("ecg", 5)[:, 0].tolist() == [1, 2]


def test_a_real_record_arrives_as_it_was_recorded():
    """The first ten seconds of MIT-BIH record 101 through the sensor are those of the file, sample by sample."""
    pytest.importorskip("wfdb")
    path = real_recording("mitdb/101")
    recorded = next(open_record(path).blocks(3600))
    sensor = VirtualSensor(Scenario(), PlaybackPatient(open_record(path).blocks(500)))

    packets = packets_of(sensor, 11 * S)

    channels = next(packet for packet in packets if isinstance(packet, Hello)).streams[0].channels
    counts = np.concatenate([packet.counts() for packet in samples_of(packets)])[:3600]
    gain = np.array([channel.gain_numerator / channel.gain_denominator for channel in channels])
    assert np.abs(counts * gain - recorded.values).max() < 1e-9
