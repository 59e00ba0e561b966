"""What goes wrong inside the emulated Bluetooth service, on the way from the radio to a client."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class BluezFaults:
    """Faults that are armed; counted down as they strike."""

    connect_errors: list[tuple[str, str]] = field(default_factory=list)
    """Name and text of the errors for the connects to come."""
    stalled_until: float = 0.0
    """Loop time until which values are held back."""
    n_dropped: int = 0
    """Values lost on purpose so far."""
    _m: int = 0
    _of: int = 0
    _n_seen: int = 0

    def drop(self, m: int, of: int) -> None:
        """Lose `m` of the next `of` values.

        Raises
        ------
        ValueError
            If more would be lost than there are.
        """
        if not 0 <= m <= of:
            raise ValueError(f"expected 0 <= m <= of, got {m} of {of}")
        self._m, self._of, self._n_seen = m, of, 0

    def stall(self, until: float) -> None:
        """Hold values back until this loop time."""
        self.stalled_until = until

    def is_dropped(self) -> bool:
        """Whether the value at hand is lost; to be asked once for each."""
        if self._n_seen >= self._of:
            return False
        before, after = (n * self._m // self._of for n in (self._n_seen, self._n_seen + 1))
        self._n_seen += 1
        self.n_dropped += after - before
        return after > before
