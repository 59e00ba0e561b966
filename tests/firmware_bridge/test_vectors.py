"""The runtime's codec against the golden vectors, which another writer made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import firmware_bridge.vectors
from edge.acquisition.bridge import BridgeDecoder, BridgeSettings
from edge.acquisition.bridge_values import TimePair
from edge.acquisition.framing import Frame, FrameDecoder, cobs_decode, cobs_encode
from edge.acquisition.packets import CommandAck, decode_packet, encode_packet, packet_line
from edge.messages import Chunk, Corrupt, DeviceBlock, Gap, Reading, SensorIdentity, SensorStatus
from firmware_bridge.vectors import make_vectors

FOLDER = Path(firmware_bridge.vectors.__path__[0])
SCENARIOS = json.loads((FOLDER / "scenarios.json").read_text())
PACKETS = json.loads((FOLDER / "packets.json").read_text())
STUFFING = json.loads((FOLDER / "cobs.json").read_text())
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"])
NS_PER_MS = 1_000_000


def plain(item):  # noqa: PLR0911  one branch per kind of outcome
    """One outcome as the vectors state it."""
    match item:
        case SensorIdentity():
            streams = [stream.name for stream in item.streams]
            return {"kind": "identity", "device_id": item.device_id, "boot_id": item.boot_id, "streams": streams}
        case DeviceBlock():
            return {
                "kind": "samples",
                "stream": item.stream,
                "sequence": item.sequence,
                "n_samples": len(item.values),
                "is_backfill": item.is_backfill,
                "values": item.values.tolist(),
            }
        case Corrupt():
            return {"kind": "corrupt", "reason": item.reason}
        case Gap():
            return {"kind": "gap", "stream": item.stream, "n_missing": item.n_missing, "reason": item.reason}
        case Reading():
            return {
                "kind": "reading",
                "measure": item.measure,
                "value": item.value,
                "status": item.status.value,
                "absent": item.absent,
                "measured_at_ms": item.measured_at_ns / NS_PER_MS,
            }
        case SensorStatus():
            return {
                "kind": "status",
                "stream": item.stream,
                "condition": item.condition,
                "is_active": item.is_active,
                "detail": item.detail,
            }
        case TimePair():
            return {"kind": "time-pair", "round_trip_ns": item.round_trip_ns, "offset_ns": item.offset_ns}
        case CommandAck():
            return {
                "kind": "ack",
                "command_id": item.command_id,
                "code": item.code,
                "result_code": item.result_code,
            }


def play(scenario, *, byte_by_byte=False):
    decoder = BridgeDecoder(BridgeSettings(sensor="bed"))
    out = []
    for step in scenario["chunks"]:
        at_ns = step["at_ms"] * NS_PER_MS
        if "requests" in step:
            assert b"".join(each.data for each in decoder.requests(at_ns)).hex() == step["requests"]
            continue
        data = bytes.fromhex(step["hex"])
        pieces = [data[k : k + 1] for k in range(len(data))] if byte_by_byte else [data]
        for piece in pieces:
            out += decoder.push(Chunk(data=piece, received_at_ns=at_ns))
    return decoder, out


@each_scenario
def test_scenario_ends_as_stated(scenario):
    """Every fault of the wire has the outcome that the protocol states, and the counters agree."""
    decoder, out = play(scenario)

    found = [plain(item) for item in out]

    for given, stated in zip(found, scenario["outcome"], strict=True):
        assert {key: given[key] for key in stated} == stated
    counters = decoder.counters
    for name, stated in scenario["counters"].items():
        value = getattr(counters, name)
        assert ({str(key): n for key, n in value.items()} if isinstance(value, dict) else value) == stated, name


@each_scenario
def test_scenario_does_not_depend_on_chunks(scenario):
    """Byte by byte gives what whole chunks give."""
    whole = [plain(item) for item in play(scenario)[1]]

    single = [plain(item) for item in play(scenario, byte_by_byte=True)[1]]

    assert single == whole


@pytest.mark.parametrize("vector", PACKETS, ids=lambda vector: vector["name"])
def test_packet_has_the_golden_bytes(vector):
    """Both directions: the golden line gives a packet, and that packet gives the golden line."""
    (frame,) = FrameDecoder().push(Chunk(data=bytes.fromhex(vector["line"]), received_at_ns=0))

    packet = decode_packet(frame)

    assert isinstance(frame, Frame)
    assert encode_packet(packet) == (vector["type"], bytes.fromhex(vector["payload"]))
    assert packet_line(packet, sequence=5).hex() == vector["line"]


@pytest.mark.parametrize("vector", STUFFING, ids=lambda vector: vector["plain"][:12] or "empty")
def test_stuffing_has_the_golden_bytes(vector):
    """COBS both ways, the lengths around a full code included."""
    data, stuffed = bytes.fromhex(vector["plain"]), bytes.fromhex(vector["stuffed"])

    assert cobs_encode(data) == stuffed
    assert cobs_decode(stuffed) == data


def test_one_wrong_byte_anywhere_costs_one_frame():
    """Corruption at any byte, by any of three patterns, gives no value, says so, and the next frame is read."""
    damaged = make_vectors.block(2, 10)
    for at in range(len(damaged)):
        for pattern in (0x01, 0x80, 0xFF):
            wrong = damaged[:at] + bytes([damaged[at] ^ pattern]) + damaged[at + 1 :]
            scenario = {
                "chunks": [
                    *make_vectors.start(),
                    make_vectors.chunk(80, wrong),
                    make_vectors.chunk(90, make_vectors.block(3, 20)),
                ]
            }

            decoder, out = play(scenario)

            blocks = [item.sequence for item in out if isinstance(item, DeviceBlock)]
            is_delimiter = at in {0, len(damaged) - 1}
            assert blocks == ([0, 10, 20] if is_delimiter and 10 in blocks else [0, 20]), (at, pattern)
            assert decoder.counters.n_lost_samples == (0 if 10 in blocks else 10)
            assert sum(decoder.counters.n_corrupt.values()) >= (not is_delimiter)


@pytest.mark.parametrize("name", ["cobs.json", "packets.json", "scenarios.json"])
def test_files_are_what_the_script_writes(name):
    """Nobody edits a vector by hand."""
    assert json.loads((FOLDER / name).read_text()) == make_vectors.vectors()[name]


def test_every_rule_is_cited_by_a_scenario():
    """Each numbered rule of the protocol has a vector."""
    cited = {rule for scenario in SCENARIOS for rule in scenario["rules"]}

    assert cited == {f"R{number}" for number in range(1, 20)}
