"""What goes wrong between a wearable and its host, decided value by value; without any Bluetooth in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.acquisition.transport import Remedy
from firmware_bridge.virtual.scenario import Fault, FaultKind

LADDER = tuple(Remedy)


@dataclass(slots=True)
class LinkFaults:
    """The troubles that are on at the moment, set by hand; what the scenario adds is asked of `ScenarioLine`."""

    n_to_drop: int = 0
    """So many values to come are lost silently."""
    n_to_repeat: int = 0
    """So many values to come are sent twice."""
    n_to_refuse: int = 0
    """So many connections to come are dropped as soon as they stand."""
    write_error: int | None = None
    """ATT error with which every write is refused; None accepts them."""
    stalled_until_s: float = 0.0
    """Until then values are held back, then they come at once."""
    is_out_of_range: bool = False
    silent_until: Remedy | None = None
    """Connected, and nothing comes until this remedy was tried; None is well."""
    silent_until_s: float = float("inf")
    """The silence ends by itself at this instant of the story."""
    tried: Remedy | None = None
    """The strongest remedy seen since it fell silent."""

    def fall_silent(self, until: Remedy, end_s: float = float("inf")) -> None:
        """Send nothing until the host has tried `until` or a stronger remedy, or the story has reached `end_s`."""
        self.silent_until, self.silent_until_s, self.tried = until, end_s, None

    def is_silent(self, at_s: float) -> bool:
        """Whether nothing comes at this instant."""
        if self.silent_until is not None and at_s >= self.silent_until_s:
            self.silent_until = self.tried = None
        return self.silent_until is not None

    def notice(self, remedy: Remedy) -> None:
        """Take note that the host tried something; the right remedy, or a stronger one, brings the sensor back."""
        if self.silent_until is None:
            return
        if self.tried is None or LADDER.index(remedy) > LADDER.index(self.tried):
            self.tried = remedy
        if LADDER.index(self.tried) >= LADDER.index(self.silent_until):
            self.silent_until = self.tried = None


class ScenarioLine:
    """The scenario's faults of the line, for values instead of frames.

    Chance belongs to the seed and the number of the value, so that a run repeats to the last bit.

    Parameters
    ----------
    faults : sequence of Fault
        Those that concern the line count.
    seed : int
        Of the scenario.
    is_framed : bool
        True where the values carry a byte stream whose own sensor acts out the loss of frames.
    """

    def __init__(self, faults: Sequence[Fault], seed: int, *, is_framed: bool) -> None:
        self._faults, self._seed, self._is_framed = tuple(faults), seed, is_framed
        self._waiting = [fault for fault in faults if fault.kind in _ONCE]
        self._n_values = 0

    def is_out_of_range(self, at_s: float) -> bool:
        """Whether the cable is pulled, which for a radio is being too far away, or the firmware restarts."""
        for fault in self._faults:
            if fault.kind is FaultKind.DISCONNECT and fault.is_active(at_s):
                return True
            if fault.kind is FaultKind.FIRMWARE_RESET and 0 <= at_s - fault.at_s < fault.parameter("restart_s"):
                return True
        return False

    def begun(self, at_s: float) -> list[Fault]:
        """Return the faults that have begun since the last call and want something done: a dropped link, a silence."""
        started = [fault for fault in self._waiting if fault.at_s <= at_s]
        self._waiting = [fault for fault in self._waiting if fault.at_s > at_s]
        return started

    def active(self, kind: FaultKind, at_s: float) -> Fault | None:
        """Return a fault of this kind that is on, None if there is none."""
        return next((fault for fault in self._faults if fault.kind is kind and fault.is_active(at_s)), None)

    def fate(self, at_s: float) -> tuple[bool, bool, float]:
        """Return for one value whether it is lost, whether it is sent twice, and by how many seconds it is late."""
        self._n_values += 1
        active = [fault for fault in self._faults if fault.is_active(at_s)]
        stall_s = max([fault.end_s - at_s for fault in active if fault.kind is FaultKind.STALL], default=0.0)
        if self._is_framed or not active:
            return False, False, stall_s
        lost, repeated, late = np.random.default_rng((self._seed, 53, self._n_values)).uniform(size=3)
        chance = {fault.kind: fault.parameter("probability") for fault in active if fault.kind in _BY_CHANCE}
        delay_s = max(
            [fault.parameter("max_delay_s") for fault in active if fault.kind is FaultKind.JITTER], default=0.0
        )
        is_lost = bool(lost < chance.get(FaultKind.FRAME_LOSS, 0.0))
        return is_lost, bool(repeated < chance.get(FaultKind.DUPLICATE, 0.0)), max(stall_s, float(late * delay_s))


_ONCE = {FaultKind.LINK_DROP, FaultKind.SILENCE}
_BY_CHANCE = {FaultKind.FRAME_LOSS, FaultKind.DUPLICATE}
