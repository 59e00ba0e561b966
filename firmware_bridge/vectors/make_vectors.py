"""Write the golden vectors: ``python -m firmware_bridge.vectors.make_vectors``.

Provenance: the bytes come from `wire`, which is independent of the runtime's codec; the outcomes are stated here by hand
from ``PROTOCOL.md``.  Nothing is random and nothing is read from the code under test, so a difference is a finding.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from firmware_bridge.vectors import wire

HERE = Path(__file__).parent
ECG_STREAM = wire.stream(0, "ecg", 250_000, (wire.channel("II", 1, 1, 1, 200),))
MS_PER_BLOCK = 40
TICKS_PER_BLOCK = 1310  # ten samples at 250 Hz are 1310.72 ticks of 32,768 Hz; firmware rounds down

Json = Any
"""Vectors are plain JSON."""


def rows(n_samples: int = 10) -> tuple[tuple[int, ...], ...]:
    """Return a ramp of 1 to n: 0.005 mV a step."""
    return tuple((value,) for value in range(1, n_samples + 1))


def ticks_of(sequence: int) -> int:
    """Return the device clock at a sample of the 250 Hz stream."""
    return sequence * 32768 // 250


def hello(frame_sequence: int = 0, **fields: Any) -> bytes:
    """Return the hello that most scenarios begin with."""
    return wire.line(wire.HELLO, wire.hello(streams=(ECG_STREAM,), **fields), frame_sequence)


def block(frame_sequence: int, sequence: int, **fields: Any) -> bytes:
    """Return a frame of ten samples whose ticks agree with their sequence."""
    return wire.line(wire.SAMPLES, wire.samples(sequence, ticks_of(sequence), rows(), **fields), frame_sequence)


def chunk(at_ms: int, data: bytes) -> Json:
    """Return bytes that arrive together."""
    return {"at_ms": at_ms, "hex": data.hex()}


def identity(boot_id: int = 7) -> Json:
    """Return the outcome of a hello."""
    return {"kind": "identity", "device_id": "VE-0001", "boot_id": boot_id, "streams": ["ecg"]}


def samples(sequence: int, n_samples: int = 10, *, is_backfill: bool = False) -> Json:
    """Return the outcome of a block."""
    return {
        "kind": "samples",
        "stream": "ecg",
        "sequence": sequence,
        "n_samples": n_samples,
        "is_backfill": is_backfill,
    }


def corrupt(reason: str) -> Json:
    """Return the outcome of something dropped."""
    return {"kind": "corrupt", "reason": reason}


def reset_gap() -> Json:
    """Return the outcome of a device that restarted."""
    return {"kind": "gap", "stream": "ecg", "n_missing": None, "reason": "device-reset"}


def scenario(name: str, rules: str, story: str, chunks: list[Json], outcome: list[Json], **counters: Json) -> Json:
    """Return one scenario; `counters` are those that must be found at the end."""
    return {
        "name": name,
        "rules": rules.split(),
        "story": story,
        "chunks": chunks,
        "outcome": outcome,
        "counters": counters,
    }


def start() -> list[Json]:
    """Return a hello and a first block."""
    return [chunk(0, hello()), chunk(40, block(1, 0))]


def framing_scenarios() -> list[Json]:
    """Return what happens to bytes."""
    good = block(2, 10)
    begun, follow = [identity(), samples(0)], [samples(10)]
    return [
        scenario("plain", "R1 R3 R10", "A hello and two blocks.", [*start(), chunk(80, good)], [*begun, *follow]),
        scenario(
            "split-anywhere",
            "R1",
            "The same, with a frame cut in the middle of its bytes.",
            [*start(), chunk(80, good[:9]), chunk(81, good[9:])],
            [*begun, *follow],
        ),
        scenario(
            "half-frame",
            "R5 R6",
            "The sender was cut off; the next frame's leading delimiter ends the rest.",
            [*start(), chunk(80, block(2, 10)[:20]), chunk(90, block(3, 20))],
            [*begun, corrupt("cobs"), samples(20)],
            n_lost_samples=10,
            n_lost_frames=1,
        ),
        scenario(
            "garbage-between-frames",
            "R5 R6",
            "Noise on the line, with a delimiter among it, is dropped piece by piece.",
            [*start(), chunk(80, bytes.fromhex("41420003010100") + good)],
            [*begun, corrupt("cobs"), corrupt("short"), *follow],
            n_lost_samples=0,
        ),
        scenario(
            "overlong-garbage",
            "R4 R6",
            "2,500 bytes without a delimiter are dropped in pieces of the longest encoded frame.",
            [*start(), chunk(80, b"\x55" * 2500 + good)],
            [*begun, corrupt("overlong"), corrupt("overlong"), corrupt("overlong"), *follow],
        ),
        scenario(
            "wrong-checksum",
            "R3",
            "One payload bit is wrong: no value comes out of it, the loss is counted.",
            [*start(), chunk(80, _flipped(good)), chunk(120, block(3, 20))],
            [*begun, corrupt("crc"), samples(20)],
            n_lost_samples=10,
        ),
        scenario(
            "other-version",
            "R2",
            "A frame of protocol version 2 is counted and never read as version 1.",
            [*start(), chunk(80, wire.line(wire.SAMPLES, b"anything at all!", 2, version=2)), chunk(81, block(3, 10))],
            [*begun, corrupt("version"), *follow],
            n_lost_frames=0,
        ),
        scenario(
            "frame-counter-wraps",
            "R7",
            "65535 is followed by 0: nothing is lost.",
            [chunk(0, hello(65534)), chunk(40, block(65535, 0)), chunk(80, block(0, 10))],
            [*begun, *follow],
            n_lost_frames=0,
        ),
        scenario(
            "duplicated-frame",
            "R8",
            "A relay sent a frame twice.",
            [*start(), chunk(80, good + good)],
            [*begun, *follow, corrupt("duplicate")],
            n_lost_samples=0,
        ),
    ]


def _flipped(line: bytes) -> bytes:
    """Return `line` with one bit of its last sample wrong; no zero byte appears or goes."""
    at = len(line) - 7
    return line[:at] + bytes([line[at] ^ 0x10]) + line[at + 1 :]


def counter_scenarios() -> list[Json]:
    """Return what happens to sequence and ticks."""
    begun = [identity(), samples(0)]
    n_frames = 1 << 16
    n_samples = n_frames * 10
    wrap = 1 << 32
    return [
        scenario(
            "lost-frames",
            "R11",
            "Two frames are missing: twenty samples, exactly.",
            [*start(), chunk(160, block(4, 30))],
            [*begun, samples(30)],
            n_lost_samples=20,
            n_lost_frames=2,
        ),
        scenario(
            "lost-whole-frame-counter",
            "R7 R11",
            "65,536 frames are missing: the frame counter looks unbroken, the sample counter does not.",
            [*start(), chunk(40 + n_samples * 4, block(2, n_samples + 10))],
            [*begun, samples(n_samples + 10)],
            n_lost_samples=n_samples,
            n_lost_frames=0,
        ),
        scenario(
            "lost-whole-sample-counter",
            "R11 R12",
            "4,294,967,296 samples are missing: both counters look unbroken, ticks and elapsed time do not.",
            [*start(), chunk(40 + wrap * 4, block(2, wrap + 10))],
            [*begun, samples(wrap + 10)],
            n_lost_samples=wrap,
        ),
        scenario(
            "sample-counter-wraps",
            "R11",
            "4,294,967,286 is followed by 0 ten samples later: nothing is lost.",
            [
                chunk(0, hello(ticks=ticks_of(wrap - 20) % wrap)),
                chunk(40, block(1, wrap - 10)),
                chunk(80, block(2, wrap)),
            ],
            [identity(), samples(wrap - 10), samples(wrap)],
            n_lost_samples=0,
        ),
        scenario(
            "ticks-wrap",
            "R12",
            "The device's clock passes zero; time goes on.",
            [
                chunk(0, hello(ticks=wrap - 700)),
                chunk(40, wire.line(wire.SAMPLES, wire.samples(0, wrap - 655, rows()), 1)),
                chunk(80, wire.line(wire.SAMPLES, wire.samples(10, wrap + 655, rows()), 2)),
            ],
            [identity(), samples(0), samples(10)],
            n_lost_samples=0,
            n_device_resets=0,
        ),
        scenario(
            "repeated-samples",
            "R8",
            "A frame of its own repeats samples that had come.",
            [*start(), chunk(80, block(2, 10)), chunk(81, block(3, 10))],
            [*begun, samples(10), corrupt("duplicate")],
            n_lost_samples=0,
        ),
        scenario(
            "second-hello",
            "R9",
            "The device restarted: a gap of unknown size, then everything starts over.",
            [*start(), chunk(5000, hello(0, boot_id=8)), chunk(5040, block(1, 0))],
            [*begun, reset_gap(), identity(8), samples(0)],
            n_device_resets=1,
            n_lost_frames=0,
        ),
        scenario(
            "hello-again",
            "R9",
            "The same boot says hello again: nothing changes.",
            [*start(), chunk(60, hello(2, ticks=1000)), chunk(80, block(3, 10))],
            [*begun, samples(10)],
            n_device_resets=0,
        ),
        scenario(
            "reset-without-hello",
            "R9",
            "The hello after a restart was lost: counters go back by more than a repeat, so the host asks again.",
            [
                chunk(0, hello()),
                chunk(40, block(1, 0)),
                chunk(20_000, block(2, 5000)),
                chunk(25_000, block(1, 0)),
                chunk(25_040, hello(2, boot_id=8, ticks=1400)),
                chunk(25_080, block(3, 20)),
            ],
            [*begun, samples(5000), reset_gap(), corrupt("no-hello"), identity(8), samples(20)],
            n_device_resets=1,
        ),
        scenario(
            "samples-before-hello",
            "R9",
            "Without a hello samples mean nothing: dropped and counted.",
            [chunk(0, block(0, 0)), chunk(10, hello(1)), chunk(40, block(2, 10))],
            [corrupt("no-hello"), identity(), samples(10)],
        ),
        scenario(
            "back-fill",
            "R14",
            "Samples stored while the link was down fill their gap, once.",
            [
                *start(),
                chunk(160, block(2, 30)),
                chunk(170, block(3, 10, is_backfill=True) + block(4, 20, is_backfill=True)),
                chunk(180, block(5, 20, is_backfill=True)),
            ],
            [
                *begun,
                samples(30),
                samples(10, is_backfill=True),
                samples(20, is_backfill=True),
                corrupt("duplicate"),
            ],
            n_lost_samples=20,
            n_backfilled_samples=20,
        ),
    ]


def packet_scenarios() -> list[Json]:
    """Return what happens to packets and their fields."""
    begun = [identity(), samples(0)]
    two = wire.stream(
        3, "ppg", 100_000, (wire.channel("RED", 3, 0, 1, 1, bits=24), wire.channel("IR", 4, 0, -2, 5, offset=100))
    )
    wide = ((8_388_607, -8_388_608), (0, 100))
    return [
        scenario(
            "unknown-packet-type",
            "R16",
            "A later packet type is skipped and counted.",
            [*start(), chunk(60, wire.line(0x3F, b"\x01\x00\x02", 2)), chunk(80, block(3, 10))],
            [*begun, samples(10)],
            n_unknown_types={"63": 1},
            n_lost_frames=0,
        ),
        scenario(
            "unknown-trailing-fields",
            "R15",
            "A later minor version appended fields to every record: an old host reads what it knows.",
            [
                chunk(
                    0,
                    wire.line(
                        wire.HELLO,
                        wire.hello(streams=_extended_streams(), extra=4) + b"\xee" * 4,
                        0,
                    ),
                ),
                chunk(40, wire.line(wire.SAMPLES, wire.samples(0, 0, rows()) + b"\xee" * 4, 1)),
            ],
            [{"kind": "identity", "device_id": "VE-0001", "boot_id": 7, "streams": ["two", "ecg"]}, samples(0)],
        ),
        scenario(
            "int24-two-channels",
            "R10 R13",
            "24-bit counts keep their sign; a negative gain and an offset are applied.",
            [
                chunk(0, wire.line(wire.HELLO, wire.hello(streams=(two,)), 0)),
                chunk(40, wire.line(wire.SAMPLES, wire.samples(0, 0, wide, stream_id=3, bytes_per_value=3), 1)),
            ],
            [
                {"kind": "identity", "device_id": "VE-0001", "boot_id": 7, "streams": ["ppg"]},
                {
                    "kind": "samples",
                    "stream": "ppg",
                    "sequence": 0,
                    "n_samples": 2,
                    "is_backfill": False,
                    "values": [[8388607.0, 3355483.2], [0.0, 0.0]],
                },
            ],
        ),
        scenario(
            "readings",
            "R17",
            "A value, a questionable one, an absent one, and one of a measure without a name here.",
            [
                chunk(0, hello()),
                chunk(1000, wire.line(wire.READING, wire.reading(32768 - 16384, 150456, 975, -1), 1)),
                chunk(2000, wire.line(wire.READING, wire.reading(65536, 150364, 3705, -2, status=1), 2)),
                chunk(3000, wire.line(wire.READING, wire.reading(98304, 150456, 0, 0, status=2, absent=2), 3)),
                chunk(4000, wire.line(wire.READING, wire.reading(131072, 999_999, 1, 0), 4)),
            ],
            [
                identity(),
                {
                    "kind": "reading",
                    "measure": "spo2_pct",
                    "value": 97.5,
                    "status": "valid",
                    "absent": None,
                    "measured_at_ms": 500,
                },
                {
                    "kind": "reading",
                    "measure": "body_temperature_c",
                    "value": 37.05,
                    "status": "questionable",
                    "absent": None,
                    "measured_at_ms": 2000,
                },
                {
                    "kind": "reading",
                    "measure": "spo2_pct",
                    "value": None,
                    "status": "invalid",
                    "absent": "sensor-off",
                    "measured_at_ms": 3000,
                },
                corrupt("unknown-measure"),
            ],
        ),
        scenario(
            "events",
            "R18",
            "An electrode comes off and on again; a condition without a name here keeps its number.",
            [
                chunk(0, hello()),
                chunk(10, wire.line(wire.EVENT, wire.event(300, 1, 0, 1, words="RA"), 1)),
                chunk(20, wire.line(wire.EVENT, wire.event(600, 1, 0, 0), 2)),
                chunk(30, wire.line(wire.EVENT, wire.event(900, 3, 255, 1, value=12), 3)),
                chunk(40, wire.line(wire.EVENT, wire.event(1200, 777, 255, 1), 4)),
            ],
            [
                identity(),
                {"kind": "status", "stream": "ecg", "condition": "lead-off", "is_active": True, "detail": "RA"},
                {"kind": "status", "stream": "ecg", "condition": "lead-off", "is_active": False, "detail": ""},
                {"kind": "status", "stream": None, "condition": "battery-low", "is_active": True, "detail": "12"},
                {
                    "kind": "status",
                    "stream": None,
                    "condition": "device-condition-777",
                    "is_active": True,
                    "detail": "",
                },
            ],
        ),
        scenario(
            "time-sync",
            "R19",
            "Asked at 1000 ms, answered after 4 ms on the way and 1 ms in the device; an answer never asked for is dropped.",
            [
                chunk(0, hello()),
                {"at_ms": 1000, "requests": wire.line(wire.TIME_REQUEST, (10**9).to_bytes(8, "little"), 0).hex()},
                chunk(1005, wire.line(wire.TIME_RESPONSE, _time_response(10**9), 1)),
                chunk(1006, wire.line(wire.TIME_RESPONSE, _time_response(12345), 2)),
            ],
            [identity(), {"kind": "time-pair", "round_trip_ns": 4_023_438, "offset_ns": 2_011_719}, corrupt("unasked")],
        ),
        scenario(
            "command-acknowledged",
            "R19",
            "A refused command says why.",
            [chunk(0, hello()), chunk(10, wire.line(wire.COMMAND_ACK, bytes.fromhex("0100040300000000"), 1))],
            [identity(), {"kind": "ack", "command_id": 1, "code": 4, "result_code": 3}],
        ),
        scenario(
            "bad-fields",
            "R10",
            "Right checksum, impossible content: too short, no samples, unknown stream, wrong number of channels.",
            [
                *start(),
                chunk(50, wire.line(wire.SAMPLES, b"\x00\x00\x01", 2)),
                chunk(51, wire.line(wire.SAMPLES, bytes(12) + b"\x01\x02", 3)),
                chunk(52, wire.line(wire.SAMPLES, wire.samples(10, 1310, rows(), stream_id=9), 4)),
                chunk(53, wire.line(wire.SAMPLES, wire.samples(10, 1310, ((1, 2),)), 5)),
                chunk(54, wire.line(wire.TIME_REQUEST, bytes(8), 6)),
                chunk(80, block(7, 10)),
            ],
            [
                *begun,
                corrupt("length"),
                corrupt("value"),
                corrupt("unknown-stream"),
                corrupt("channels"),
                corrupt("direction"),
                samples(10),
            ],
        ),
    ]


def _extended_streams() -> tuple[bytes, bytes]:
    one = wire.channel("II", 1, 1, 1, 200)
    return wire.stream(1, "two", 50_000, (one, one), extra=4), wire.stream(0, "ecg", 250_000, (one,), extra=4)


def _time_response(host_ns: int) -> bytes:
    return host_ns.to_bytes(8, "little") + (32768).to_bytes(4, "little") + (32768 + 32).to_bytes(4, "little")


def packets() -> list[Json]:
    """Return one example of every packet: fields, payload and line."""
    named = {
        "hello": (wire.HELLO, wire.hello(streams=(ECG_STREAM,))),
        "samples": (wire.SAMPLES, wire.samples(1000, 131072, ((1,), (-1,), (32767,), (-32768,)))),
        "samples-int24": (wire.SAMPLES, wire.samples(1000, 131072, ((1,), (-8_388_608,)), bytes_per_value=3)),
        "reading": (wire.READING, wire.reading(65536, 150456, 975, -1)),
        "event": (wire.EVENT, wire.event(65536, 1, 0, 1, words="RA")),
        "time-response": (wire.TIME_RESPONSE, _time_response(10**9)),
        "command-ack": (wire.COMMAND_ACK, bytes.fromhex("0100010000000000")),
        "time-request": (wire.TIME_REQUEST, (10**9).to_bytes(8, "little")),
        "command-identify": (wire.COMMAND, bytes.fromhex("010001ff0000000000000000")),
        "command-set-rate": (wire.COMMAND, bytes.fromhex("0200040020a1070000000000")),
    }
    return [
        {"name": name, "type": packet_type, "payload": payload.hex(), "line": wire.line(packet_type, payload, 5).hex()}
        for name, (packet_type, payload) in named.items()
    ]


def stuffing() -> list[Json]:
    """Return byte strings before and after COBS, the lengths around one full code included."""
    plain = [b"", b"\x00", b"\x00\x00", b"\x11\x22\x00\x33", b"\x11\x00\x00\x00", bytes(range(1, 255))]
    plain += [bytes(range(256)), bytes(range(1, 256)), bytes(range(2, 256)) + b"\x00", b"\x01" * 254 + b"\x00\x01"]
    return [{"plain": data.hex(), "stuffed": wire.cobs(data).hex()} for data in plain]


def vectors() -> dict[str, Json]:
    """Return the content of every file, by name."""
    return {
        "cobs.json": stuffing(),
        "packets.json": packets(),
        "scenarios.json": [*framing_scenarios(), *counter_scenarios(), *packet_scenarios()],
    }


def main() -> None:
    """Write every file beside this script."""
    for name, content in vectors().items():
        (HERE / name).write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
