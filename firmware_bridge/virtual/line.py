"""The line between sensor and host: what is lost, broken, doubled or late on it.

Chance is drawn per frame from the scenario's seed and the frame's number, so that a run repeats to the last bit.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence

import numpy as np

from firmware_bridge.virtual.scenario import Fault, FaultKind

NS_PER_S = 1_000_000_000
_KINDS = (FaultKind.DISCONNECT, FaultKind.FRAME_LOSS, FaultKind.CORRUPTION, FaultKind.DUPLICATE, FaultKind.JITTER)


class FaultyLine:
    """A line that delivers frames in order, late or damaged as the scenario has it.

    Parameters
    ----------
    faults : sequence of Fault
        Those that concern the line are acted out, the others ignored.
    seed : int
        Of the scenario.
    """

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        self._faults = tuple(fault for fault in faults if fault.kind in _KINDS)
        self._seed = seed
        self._n_frames = 0
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many frames were ``sent``, and of these ``lost``, ``corrupted``, ``duplicated``, ``disconnected``."""
        return dict(self._counts)

    def is_connected(self, at_ns: int) -> bool:
        """Whether the cable is in."""
        return not self._active(FaultKind.DISCONNECT, at_ns)

    def send(self, frame: bytes, at_ns: int) -> None:
        """Take one frame, delimiters included, at an instant of the story."""
        self._n_frames += 1
        self._counts["sent"] += 1
        if not self.is_connected(at_ns):
            self._counts["disconnected"] += 1
            return
        # A quiet line is the usual case and needs no chance.
        if not any(fault.is_active(at_ns / NS_PER_S) for fault in self._faults):
            self._deliver(frame, at_ns)
            return
        rng = np.random.default_rng((self._seed, 31, self._n_frames))
        # One draw for each fault whether it is active or not: switching one on does not shift the others.
        lost, corrupted, duplicated, delay, shape = rng.uniform(size=5)
        if lost < self._probability(FaultKind.FRAME_LOSS, at_ns):
            self._counts["lost"] += 1
            return
        delays_s = [fault.parameter("max_delay_s") for fault in self._active(FaultKind.JITTER, at_ns)]
        due_ns = at_ns + round(delay * max(delays_s, default=0.0) * NS_PER_S)
        if corrupted < self._probability(FaultKind.CORRUPTION, at_ns):
            self._counts["corrupted"] += 1
            frame = _corrupt(frame, shape, rng)
        self._deliver(frame, due_ns)
        if duplicated < self._probability(FaultKind.DUPLICATE, at_ns):
            self._counts["duplicated"] += 1
            self._deliver(frame, due_ns)

    def collect(self, until_ns: int) -> bytes:
        """Return the bytes that have arrived by `until_ns`; what was under way when the cable was pulled is lost."""
        arrived = []
        while self._waiting and self._waiting[0][0] <= until_ns:
            due_ns, frame = self._waiting.popleft()
            if self.is_connected(due_ns):
                arrived.append(frame)
            else:
                self._counts["disconnected"] += 1
        return b"".join(arrived)

    def _deliver(self, frame: bytes, due_ns: int) -> None:
        # A serial line keeps the order: nothing overtakes a frame that is late.
        if self._waiting:
            due_ns = max(due_ns, self._waiting[-1][0])
        self._waiting.append((due_ns, frame))

    def _active(self, kind: FaultKind, at_ns: int) -> list[Fault]:
        return [fault for fault in self._faults if fault.kind is kind and fault.is_active(at_ns / NS_PER_S)]

    def _probability(self, kind: FaultKind, at_ns: int) -> float:
        return max((fault.parameter("probability") for fault in self._active(kind, at_ns)), default=0.0)


def _corrupt(frame: bytes, shape: float, rng: np.random.Generator) -> bytes:
    """Return `frame` with bytes changed, cut out or put in, as bad contacts and overruns do."""
    damaged = bytearray(frame)
    at = int(rng.integers(len(damaged)))
    if shape < 0.6:
        for _ in range(int(rng.integers(1, 4))):
            damaged[at] ^= int(rng.integers(1, 256))
            at = int(rng.integers(len(damaged)))
    elif shape < 0.8:
        del damaged[at : at + int(rng.integers(1, 20))]
    else:
        damaged[at:at] = rng.integers(0, 256, size=int(rng.integers(1, 20)), dtype=np.uint8).tobytes()
    return bytes(damaged)
