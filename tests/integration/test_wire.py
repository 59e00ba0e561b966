"""Virtual sensor → bytes → bridge decoder → timeline: the two sides of the wire meet without a port between them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from edge.acquisition.bridge import BridgeDecoder, BridgeSettings
from edge.acquisition.bridge_values import TimePair
from edge.conditioning.timeline import Timeline
from edge.messages import Chunk, Corrupt, DeviceBlock, Gap, SampleBlock
from firmware_bridge.virtual.device import VirtualSensor
from firmware_bridge.virtual.scenario_file import parse_scenario

NS_PER_S = 1_000_000_000
STEP_NS = 20_000_000

STORY = """
title = "Wire"
duration_s = 40

[patient]
seed = 3

[sensor]
start_ticks_before_wrap_s = 5

[[step]]
at_s = 0
rhythm = "sinus"
heart_rate_bpm = 70
"""

UNPLUGGED = """
[[fault]]
kind = "disconnect"
at_s = 15
duration_s = 5
"""

RESTARTED = """
[[fault]]
kind = "firmware-reset"
at_s = 15
"""


class Bedside:
    """The virtual sensor and the host's two stages, stepped together."""

    def __init__(self, story: str) -> None:
        self.sensor = VirtualSensor(parse_scenario(story))
        self.decoder = BridgeDecoder(BridgeSettings(sensor="bed"))
        self.timelines: dict[str, Timeline] = {}
        self.out: list = []

    def run(self, duration_s: float) -> None:
        """Play the story; the link is reset between two connections as the supervision does."""
        is_connected, to_say = False, []
        for now_ns in range(STEP_NS, round(duration_s * NS_PER_S), STEP_NS):
            arrived = self.sensor.advance(now_ns)
            if self.sensor.is_connected and not is_connected:
                self.decoder.reset("link-lost")
                to_say = self.decoder.greeting()
            is_connected = self.sensor.is_connected
            arrived += self._receive([*to_say, *self.decoder.requests(now_ns)]) if is_connected else b""
            to_say = []
            for item in self.decoder.push(Chunk(data=arrived, received_at_ns=now_ns)):
                self.out += self._place(item)

    def _receive(self, wanted) -> bytes:
        return self.sensor.receive(b"".join(each.data for each in wanted))

    def _place(self, item):
        if isinstance(item, Gap):
            self.timelines.pop(item.stream, None)
        if not isinstance(item, DeviceBlock):
            return [item]
        return self.timelines.setdefault(item.stream, Timeline()).push(item)

    def blocks(self, stream: str) -> list[SampleBlock]:
        return [item for item in self.out if isinstance(item, SampleBlock) and item.stream == stream]

    def gaps(self) -> list[Gap]:
        return [item for item in self.out if isinstance(item, Gap)]


def test_quiet_link_delivers_every_sample_in_time():
    """Nothing is lost or corrupt while the ticks wrap; each stream's steps are those of its rate."""
    bed = Bedside(STORY)

    bed.run(40)

    assert bed.gaps() == []
    assert [item for item in bed.out if isinstance(item, Corrupt)] == []
    blocks = bed.blocks("ecg")
    assert sum(block.n_samples for block in blocks) == pytest.approx(40 * 250, abs=50)
    steps_s = np.diff([block.start_ns for block in blocks]) / 1e9
    assert steps_s == pytest.approx([block.n_samples / 250 for block in blocks[:-1]], abs=1e-3)
    pairs = [item for item in bed.out if isinstance(item, TimePair)]
    assert len(pairs) == 4
    assert all(0 <= pair.round_trip_ns <= STEP_NS for pair in pairs)


def test_pulled_cable_is_one_exact_gap_that_is_filled_in():
    """What was lost while unplugged is said exactly, asked for, and comes once, flagged as history."""
    bed = Bedside(STORY + UNPLUGGED)

    bed.run(40)

    lost = {gap.stream: gap.n_missing for gap in bed.gaps()}
    assert [gap.reason for gap in bed.gaps()] == ["lost-frames"] * len(bed.timelines)
    filled: Counter[str] = Counter()
    for block in bed.out:
        if isinstance(block, SampleBlock) and block.is_backfill:
            filled[block.stream] += block.n_samples
    assert lost["ecg"] == pytest.approx(5 * 250, abs=50)
    assert dict(filled) == lost
    numbers = [
        number for block in bed.blocks("ecg") for number in range(block.sequence, block.sequence + block.n_samples)
    ]
    assert sorted(numbers) == list(range(min(numbers), min(numbers) + len(numbers)))


def test_restarted_device_starts_over():
    """A second hello with another boot id: one gap of unknown size a stream, then sequence 0."""
    bed = Bedside(STORY + RESTARTED)

    bed.run(30)

    assert {(gap.reason, gap.n_missing) for gap in bed.gaps()} == {("device-reset", None)}
    assert len(bed.gaps()) == len({gap.stream for gap in bed.gaps()})
    assert [block.sequence for block in bed.blocks("ecg")].count(0) == 2
