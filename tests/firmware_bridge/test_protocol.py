"""PROTOCOL.md says what the code does: every byte table, every code table, every rule number."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import pytest

import firmware_bridge
from edge.acquisition import framing, packet_layouts, packets
from edge.messages import Corrupt

FOLDER = Path(firmware_bridge.__path__[0])
TEXT = (FOLDER / "PROTOCOL.md").read_text()


def table(heading: str) -> list[list[str]]:
    """The rows of the first table after a heading, without backticks and thousands separators."""
    section = re.split(rf"^##+ (?:\d\. )?{re.escape(heading)}$", TEXT, flags=re.MULTILINE)[1]
    lines = re.search(r"((?:^\|.*\n)+)", section, flags=re.MULTILINE)[1].splitlines()
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines[2:]]


LAYOUTS = {
    "hello": packet_layouts.HELLO,
    "stream record": packet_layouts.STREAM_RECORD,
    "channel record": packet_layouts.CHANNEL_RECORD,
    "samples": packet_layouts.SAMPLES,
    "reading": packet_layouts.READING,
    "event": packet_layouts.EVENT,
    "time_request": packet_layouts.TIME_REQUEST,
    "time_response": packet_layouts.TIME_RESPONSE,
    "command": packet_layouts.COMMAND,
    "command_ack": packet_layouts.COMMAND_ACK,
}


@pytest.mark.parametrize("heading", LAYOUTS)
def test_byte_table_is_the_layout(heading):
    """Offsets, sizes, names and order of every payload are those of the code; signed fields say so."""
    layout, at = LAYOUTS[heading], 0
    expected = []
    for name, code in layout.fields:
        expected.append((at, struct.calcsize(code), name))
        at += struct.calcsize(code)

    rows = table(heading)

    assert [(int(row[0]), int(row[1]), row[2]) for row in rows] == expected
    assert {row[2] for row in rows if "signed" in row[3]} == {name for name, code in layout.fields if code in "bi"}
    assert layout.n_bytes == at


CODES = {
    "kind codes": {code: kind.value for code, kind in packets.CHANNEL_KINDS.items()},
    "unit codes": packets.UNITS,
    "measure codes": {code: name for code, (name, _) in packets.MEASURES.items()},
    "status codes": {code: status.value for code, status in packets.READING_STATUSES.items()},
    "absent codes": {code: reason for code, reason in packets.ABSENT_REASONS.items() if code},
    "condition codes": packets.CONDITIONS,
    "command codes": {code.value: code.name.lower().replace("_", "-") for code in packets.CommandCode},
    "result codes": {code.value: code.name.lower().replace("_", "-") for code in packets.CommandResult},
}


@pytest.mark.parametrize("heading", CODES)
def test_code_table_is_the_code(heading):
    """Every code has the same meaning in the document and in the runtime."""
    assert {int(row[0]): row[1] for row in table(heading)} == CODES[heading]


def test_measure_units_are_the_code():
    """The unit of every measure is stated."""
    assert {int(row[0]): row[2] for row in table("measure codes")} == {
        code: unit for code, (_, unit) in packets.MEASURES.items()
    }


def test_packet_types_are_the_code():
    """Every packet type is listed with its number and its sender."""
    rows = {int(row[0], 16): (row[1], row[2]) for row in table("Packet types")}

    assert rows == {
        kind.value: (kind.name.lower(), "host" if kind.value & 0x80 else "device") for kind in packets.PacketType
    }


def test_frame_numbers_are_the_code():
    """Sizes and limits in the text are those of the code."""
    stuffed = len(framing.cobs_encode(b"\xff" * framing.MAX_FRAME_BYTES))
    longest = framing.FrameDecoder()._max_encoded_bytes

    assert f"at most {framing.MAX_FRAME_BYTES} bytes before stuffing" in TEXT
    assert f"at most {framing.MAX_PAYLOAD_BYTES} bytes of payload" in TEXT
    assert f"at most {longest} bytes stuffed ({stuffed},\n" in TEXT
    assert stuffed + 1 == longest
    assert f"{longest + 2} with both delimiters" in TEXT
    assert f"in pieces of at most {longest} bytes" in TEXT
    assert f"{packets.TICK_RATE_HZ[0]:,} to {packets.TICK_RATE_HZ[1]:,}" in TEXT
    assert f"at most {packets.MAX_STREAMS}; as many stream records" in TEXT
    assert f"1 to {packets.MAX_CHANNELS} |" in TEXT
    assert f"at most {packets.MAX_EVENT_TEXT_BYTES}; as many bytes of text" in TEXT
    assert f"{packet_layouts.STREAM_RECORD.n_bytes} |" in TEXT
    assert f"{packet_layouts.CHANNEL_RECORD.n_bytes} |" in TEXT


def test_cost_of_samples_is_as_measured():
    """Ten 16-bit samples without zero bytes take as many bytes on the line as the text says."""
    packet = packets.SamplesPacket(
        stream_id=0, sequence=2500, ticks=327680, n_channels=1, bytes_per_value=2, data=b"\x11\x22" * 10
    )

    n_bytes = len(packets.packet_line(packet, sequence=259))

    assert f"take {n_bytes} bytes on the line" in TEXT
    assert f"{n_bytes * 25:,} bytes/s" in TEXT


def test_sixty_four_bytes_hold_everything_but_a_hello():
    """What R4 says of small buffers: a frame of every other type with room for samples."""
    samples = packets.SamplesPacket(
        stream_id=0, sequence=0, ticks=0, n_channels=1, bytes_per_value=2, data=bytes(2 * 18)
    )

    lengths = [
        len(packets.encode_packet(packet)[1]) + framing.HEADER_BYTES + framing.CRC_BYTES
        for packet in (
            samples,
            packets.ReadingPacket(ticks=0, measure_code=0, mantissa=0),
            packets.EventPacket(ticks=0, condition_code=1, is_active=True),
            packets.TimeResponse(host_ns=0, received_ticks=0, sent_ticks=0),
            packets.CommandAck(command_id=0, code=0, result_code=0),
        )
    ]

    assert max(lengths) <= 64


def test_every_rule_stands_once():
    """R1 to R19, each defined in exactly one place."""
    rules = re.findall(r"^- \*\*(R\d+)\*\*", TEXT, flags=re.MULTILINE)

    assert sorted(rules, key=lambda rule: int(rule[1:])) == [f"R{number}" for number in range(1, 20)]


def test_every_fault_names_a_scenario():
    """The table of faults points at vectors that exist."""
    names = {scenario["name"] for scenario in json.loads((FOLDER / "vectors" / "scenarios.json").read_text())}

    assert {row[2] for row in table("What becomes of every fault")} <= names


def test_catalogue_check_value_is_right():
    """The CRC is the one that the catalogue name stands for."""
    line = framing.encode_frame(0x31, b"", version=0x30)
    (frame,) = framing.FrameDecoder().push(framing.Chunk(data=line, received_at_ns=0))

    assert not isinstance(frame, Corrupt)
    assert framing.zlib.crc32(b"123456789") == 0xCBF43926
    assert "0xCBF43926" in TEXT
