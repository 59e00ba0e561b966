"""A raw capture replayed is the sensor again: the same findings, silence included."""

from __future__ import annotations

import itertools

import pytest

from edge.acquisition.bridge import BridgeDecoder, BridgeSettings
from edge.acquisition.gatt.plan import assigned
from edge.acquisition.recording import RawCaptureWriter
from edge.capture_source import CaptureSource, is_capture
from edge.clock import ManualClock
from edge.errors import RecordingError
from edge.messages import Alert, Beat, Chunk, Gap, Reading, RrIntervals
from edge.pipeline import Pipeline, PipelineSettings
from edge.recorded import open_recorded
from edge.replay import feed, replay
from firmware_bridge.virtual.device import VirtualSensor
from firmware_bridge.virtual.scenario import Fault, FaultKind, Scenario

STEP_NS = 100_000_000


def capture(path, *, duration_s=40, faults=(), greets=True):
    """Write what a virtual sensor sent, chunk by chunk."""
    sensor = VirtualSensor(Scenario.simple(rhythm="sinus", heart_rate_bpm=72, faults=faults))
    decoder = BridgeDecoder(BridgeSettings(sensor="bed"))
    clock = ManualClock(start_wall_ns=1_700_000_000_000_000_000)
    reply = sensor.receive(decoder.greeting()[0].data) if greets else b""
    with RawCaptureWriter(path, sensor="bed", link="pty", clock=clock) as writer:
        for step in itertools.count(1):
            clock.advance_to(step * STEP_NS)
            if clock.monotonic_ns() > duration_s * 1_000_000_000:
                return
            data = reply + sensor.advance(clock.monotonic_ns())
            reply = b""
            if data:
                writer.write(Chunk(data=data, received_at_ns=clock.monotonic_ns()))


def test_a_replayed_capture_finds_the_beats_of_the_live_sensor(tmp_path):
    capture(tmp_path / "night.vecap")

    findings = list(replay(tmp_path / "night.vecap"))

    beats = [finding for finding in findings if isinstance(finding, Beat)]
    assert 44 <= len(beats) <= 48  # 40 s at 72/min
    assert open_recorded(tmp_path / "night.vecap").duration_s == pytest.approx(40, abs=0.2)


def test_silence_in_a_capture_passes_as_time(tmp_path):
    """A cable pulled for 15 s leaves no bytes at all, and still the hole is announced with its exact count."""
    pulled = Fault(kind=FaultKind.DISCONNECT, at_s=15, duration_s=15)
    capture(tmp_path / "pulled.vecap", duration_s=45, faults=(pulled,))

    findings = list(replay(tmp_path / "pulled.vecap"))

    gaps = [finding for finding in findings if isinstance(finding, Gap) and finding.stream == "ecg"]
    assert len(gaps) == 1
    assert gaps[0].n_missing == pytest.approx(15 * 250, abs=50)
    assert not [finding for finding in findings if isinstance(finding, Alert) and finding.condition == "asystole"]


def test_a_torn_capture_plays_to_its_last_whole_record_and_says_what_is_lost(tmp_path):
    path = tmp_path / "torn.vecap"
    capture(path)
    path.write_bytes(path.read_bytes()[:-7])

    source = CaptureSource(path)

    assert sum(source.losses.values()) > 0
    assert any(isinstance(finding, Beat) for finding in replay(path))


def test_a_capture_without_a_hello_is_refused_with_what_to_do(tmp_path):
    """Samples without a hello have no unit: nothing is invented."""
    path = tmp_path / "late.vecap"
    decoder_side = VirtualSensor(Scenario.simple())
    decoder_side.advance(10_000_000_000)
    with RawCaptureWriter(path, sensor="bed", link="pty", clock=ManualClock()) as writer:
        writer.write(Chunk(data=decoder_side.advance(10_200_000_000), received_at_ns=0))

    with pytest.raises(RecordingError, match="nothing in this capture that its driver") as caught:
        CaptureSource(path)

    assert "hello" in caught.value.hint


def test_a_file_that_is_no_capture_is_not_taken_for_one(tmp_path):
    (tmp_path / "x").write_bytes(b"not a capture")

    assert not is_capture(tmp_path / "x")
    assert not is_capture(tmp_path / "missing")


def test_time_on_the_line_moves_the_pipeline(tmp_path):
    """Ticks of a capture reach the pipeline a moment late, so that samples on their way are not overtaken."""
    pipeline = Pipeline(PipelineSettings(), new_id=lambda: "a")
    capture(tmp_path / "c.vecap", duration_s=5)

    items = list(CaptureSource(tmp_path / "c.vecap").items(1))

    assert any(feed(pipeline, item) for item in items)


def test_a_bluetooth_capture_is_replayed_by_its_driver(tmp_path):
    """A strap has no stream, only values: they come with the instants at which the notifications came."""
    path = tmp_path / "strap.vecap"
    clock = ManualClock(start_wall_ns=1_700_000_000_000_000_000)
    with RawCaptureWriter(path, sensor="strap", link="Bluetooth", clock=clock, driver="ble_heart_rate") as writer:
        for second in range(1, 31):
            clock.advance_to(second * 1_000_000_000)
            data = bytes([0x10, 60 + second, 0x00, 0x04])  # rate, and one RR interval of 1000 ms
            writer.write(Chunk(data=data, received_at_ns=clock.monotonic_ns(), channel=assigned(0x2A37)))

    source = CaptureSource(path)
    items = list(source.items(40))

    rates = [item for item in items if isinstance(item, Reading) and item.measure == "heart_rate_bpm"]
    assert [(item.measured_at_ns // 1_000_000_000, item.value) for item in rates] == [(s, 60 + s) for s in range(1, 31)]
    assert sum(isinstance(item, RrIntervals) for item in items) == 30
    assert (source.stream, source.rate_hz, source.duration_s) == ("", 1000.0, 30.0)


def test_a_capture_of_an_unknown_driver_is_refused(tmp_path):
    """Recorded by a later version: said so, not read as something else."""
    with RawCaptureWriter(tmp_path / "x", sensor="s", link="l", clock=ManualClock(), driver="later") as writer:
        writer.write(Chunk(data=b"x", received_at_ns=0))

    with pytest.raises(RecordingError, match="driver 'later', which this program does not know"):
        CaptureSource(tmp_path / "x")
