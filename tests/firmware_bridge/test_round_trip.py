"""Virtual sensor to the runtime's own decoder: what the patient had arrives, what was spoiled is told."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edge.acquisition.bridge import BridgeDecoder, BridgeSettings
from edge.messages import Chunk, Corrupt, DeviceBlock, Gap, Reading, SensorIdentity, SensorStatus
from firmware_bridge.virtual.device import VirtualSensor
from firmware_bridge.virtual.patient import CHANNELS, VirtualPatient
from firmware_bridge.virtual.scenario import Fault, FaultKind, Scenario, SensorSettings

S = 1_000_000_000
STEP_NS = S // 20


def joined(wanted):
    return b"".join(each.data for each in wanted)


def conversation(scenario, duration_s):
    """Let sensor and decoder talk to each other; return what came out and the two."""
    sensor, decoder = VirtualSensor(scenario), BridgeDecoder(BridgeSettings(sensor="bed"))
    out = []
    for now_ns in range(STEP_NS, round(duration_s * S) + 1, STEP_NS):
        line = sensor.advance(now_ns) + sensor.receive(joined(decoder.requests(now_ns)))
        out += decoder.push(Chunk(data=line, received_at_ns=now_ns))
    return out, sensor, decoder


def fault(kind, at_s, duration_s=5.0, **parameters):
    return Fault(kind=FaultKind(kind), at_s=at_s, duration_s=duration_s, parameters=parameters)


def blocks(out, stream="ecg"):
    return [item for item in out if isinstance(item, DeviceBlock) and item.stream == stream and not item.is_backfill]


@pytest.mark.parametrize("stream", list(CHANNELS))
def test_a_good_line_brings_the_patient_within_half_a_count(stream):
    """Values, unit and time survive the wire, a roll-over of the ticks included."""
    scenario = Scenario(sensor=SensorSettings(start_ticks_before_wrap_s=4.0, streams=tuple(CHANNELS)))

    out, _, decoder = conversation(scenario, 12.0)

    got = blocks(out, stream)
    values = np.concatenate([block.values for block in got])
    truth = VirtualPatient(scenario, streams=[stream]).read(stream, len(values))
    resolution = max(channel.resolution for channel in got[0].channels)
    assert np.abs(values - truth).max() <= 0.51 * resolution
    rate_hz = got[0].nominal_rate_hz
    start_ns = got[0].device_time_ns
    for block in got:
        assert block.device_time_ns - start_ns == pytest.approx(block.sequence * S / rate_hz, abs=1000)
    assert not decoder.counters.n_corrupt
    assert decoder.counters.n_lost_samples == 0


def test_losses_are_counted_exactly():
    """Samples that came and samples counted as lost add up to samples taken, whatever the line did."""
    scenario = Scenario(
        faults=(
            fault("frame-loss", 2.0, probability=0.3),
            fault("corruption", 8.0, probability=0.3),
            fault("duplicate", 14.0, probability=0.5),
            fault("jitter", 20.0, max_delay_s=1.0),
        ),
        sensor=SensorSettings(streams=("ecg",)),
    )

    out, sensor, decoder = conversation(scenario, 30.0)

    got = blocks(out)
    n_received = sum(len(block.values) for block in got)
    n_taken = got[-1].sequence + len(got[-1].values)
    assert n_taken == 30 * 250
    assert decoder.counters.n_lost_samples == n_taken - n_received > 0
    assert decoder.counters.n_corrupt["duplicate"] == sensor.counts["duplicated"]
    assert all(a.sequence + len(a.values) <= b.sequence for a, b in itertools.pairwise(got))


def test_what_survives_a_bad_line_is_right():
    """No damaged byte becomes a sample: every value that came is the patient's."""
    scenario = Scenario(faults=(fault("corruption", 1.0, 20.0, probability=0.5),))
    truth = VirtualPatient(scenario).read("ecg", 250 * 25)

    out, _, _ = conversation(scenario, 24.0)

    assert [item for item in out if isinstance(item, Corrupt)]
    for block in blocks(out):
        true_values = truth[block.sequence :][: len(block.values)]
        assert np.abs(block.values - true_values).max() < 0.001


def test_a_restart_and_a_loose_electrode_are_told():
    """A restart closes the streams with a gap and a new identity, a lead-off comes as a status of its stream."""
    scenario = Scenario(faults=(fault("lead-off", 3.0, 4.0), fault("firmware-reset", 12.0, restart_s=2.0)))

    out, _, decoder = conversation(scenario, 20.0)

    assert decoder.counters.n_device_resets == 1
    assert [item.boot_id for item in out if isinstance(item, SensorIdentity)] == [1, 2]
    assert {item.reason for item in out if isinstance(item, Gap)} == {"device-reset"}
    told = [(s.condition, s.stream, s.is_active) for s in out if isinstance(s, SensorStatus)]
    assert told[0] == ("lead-off", "ecg", True)
    assert ("lead-off", "ecg", False) in told


def test_readings_arrive_with_unit_and_reason():
    """Saturation is there with its unit, and absent with a reason while the heart stands still."""
    out, _, _ = conversation(Scenario.simple(rhythm="sinus"), 15.0)
    still, _, _ = conversation(Scenario.simple(rhythm="asystole"), 15.0)

    spo2 = [item for item in out if isinstance(item, Reading) and item.measure == "spo2_pct"][-1]
    none = [item for item in still if isinstance(item, Reading) and item.measure == "spo2_pct"][-1]

    assert (spo2.value, spo2.unit, spo2.absent) == (97.0, "%", None)
    assert (none.value, none.absent) == (None, "signal-poor")
