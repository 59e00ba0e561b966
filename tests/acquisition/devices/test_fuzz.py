"""No bytes whatever make a decoder raise, and nothing it says breaks its own rules.

Invariants: no exception; a reading has a value or a reason, a possible value; blocks do not go back, nor overlap, within
a stretch; everything dropped is counted under its reason; the scanner holds no more than a frame and a text.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from edge.messages import Chunk, Corrupt, DeviceBlock, Reading, ReadingStatus
from tests.acquisition.devices.every_device import DEVICES

LIMITS = {
    "spo2_pct": (1, 100),
    "pulse_rate_bpm": (1, 321),
    "heart_rate_bpm": (15, 254),
    "respiratory_rate_bpm": (2, 100),
    "body_temperature_c": (20, 45),
    "perfusion_index_pct": (0.01, 100),
}
MAX_PENDING_BYTES = 1100
CASES_PER_DECODER = 200
"""Then a fresh one: damage that only the first bytes of a link can do is tried often too."""


def mutated(rng: random.Random, parts: list[bytes], runs: list[bytes]) -> bytes:
    """A few frames, damaged as lines, radios and attackers do."""
    kind = rng.random()
    if kind < 0.1:
        return rng.randbytes(rng.randrange(60))
    data = bytearray(rng.choice(runs) if kind > 0.98 else b"".join(rng.choices(parts, k=rng.randrange(1, 4))))
    if kind < 0.2:
        return bytes(data)
    for _ in range(rng.randrange(1, 4)):
        if not data:
            break
        at = rng.randrange(len(data))
        how = rng.randrange(6)
        if how == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[at] = rng.choice((0x00, 0x01, 0x0A, 0x0B, 0x7F, 0x80, 0xA0, 0xC0, 0xFA, 0xFF, 0x06, 0x15, 0x24))
        elif how == 2:
            del data[at : at + rng.randrange(1, 6)]
        elif how == 3:
            data[at:at] = rng.randbytes(rng.randrange(1, 6))
        elif how == 4:
            data[at:at] = data[at : at + rng.randrange(1, 40)]
        else:
            del data[at:]
    return bytes(data)


def parts_of(device, rng: random.Random) -> list[bytes]:
    """Frames to damage: of this device mostly, and of all others."""
    own = [frame for k in rng.sample(range(5000), 12) for frame in device.frames(2, k)]
    texts = [b"OpenBCI V3 8-16 channel\r\nFirmware: v3.1.2\r\n$$$", b"Failure: x$$$", b"$$$", b"\x06", b"\x15"]
    return own + texts + [other.frame(rng.randrange(5000)) for other in DEVICES]


class Checked:
    """A decoder whose every word is checked."""

    def __init__(self, device) -> None:
        self.decoder = device.make()
        self.n_corrupt: Counter[str] = Counter()
        self._next: dict[str, int] = {}

    def push(self, chunk) -> None:
        self._check(self.decoder.push(chunk))
        assert len(self.decoder._scanner._pending) < MAX_PENDING_BYTES

    def finish(self) -> None:
        self._check(self.decoder.flush())
        assert self.decoder.counters.n_corrupt == dict(self.n_corrupt)
        assert min(self.decoder.counters.n_lost_samples, self.decoder.counters.n_lost_frames) >= 0

    def _check(self, items) -> None:
        for item in items:
            if isinstance(item, DeviceBlock):
                assert item.values.shape == (len(item.values), len(item.channels))
                if item.sequence:  # 0 begins a stream anew
                    assert item.sequence >= self._next.get(item.stream, 0)
                self._next[item.stream] = item.sequence + len(item.values)
            elif isinstance(item, Reading):
                assert (item.value is None) == (item.absent is not None) == (item.status is ReadingStatus.INVALID)
                low, high = LIMITS[item.measure]
                assert item.value is None or low <= item.value <= high
            elif isinstance(item, Corrupt):
                assert item.n_bytes > 0
                self.n_corrupt[item.reason] += 1


def fuzz(device, seed: int, n_cases: int) -> None:
    rng = random.Random(seed)
    at_ns = 0
    done = 0
    while done < n_cases:
        checked, parts = Checked(device), parts_of(device, rng)
        runs = [b"".join(device.frames(60, 25 * rng.randrange(200))) for _ in range(2)]
        checked.decoder.greeting()
        for _ in range(min(CASES_PER_DECODER, n_cases - done)):
            done += 1
            at_ns += rng.choice((0, 0, 4_000_000, 20_000_000, 600_000_000, 3_000_000_000, -1_000_000_000))
            checked.push(Chunk(data=mutated(rng, parts, runs), received_at_ns=at_ns))
            if done % 16 == 0:
                checked.decoder.requests(at_ns)
        checked.finish()
        checked.decoder.reset("next")


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_damaged_bytes_break_no_rule(device):
    """A few thousand cases on every run."""
    fuzz(device, seed=1, n_cases=2000)


@pytest.mark.long
@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_a_million_damaged_pieces_break_no_rule(device, fuzz_seed):
    """Ten to the sixth over all decoders; the seed is printed, to repeat a failure."""
    fuzz(device, seed=fuzz_seed, n_cases=-(-1_000_000 // len(DEVICES)))


@pytest.fixture
def fuzz_seed():
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - shown by pytest only when the test fails
    return seed
