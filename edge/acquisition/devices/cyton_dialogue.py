"""What is said to a Cyton so that it streams, and keeps streaming.  Used by `cyton`."""

from __future__ import annotations

from edge.acquisition.devices.sampling import NS_PER_S
from edge.messages import Outgoing

STOP, RESET, START, ONE_BOARD = b"s", b"v", b"b", b"c"
READY_S = 4.0
"""The board answers a reset within about two seconds; it initialises its converters for that."""
SILENCE_S = 2.0
"""A started board that sends nothing for so long did not hear the command, or lost its power in between."""
TRIES_BEFORE_RESET = 3


class CytonDialogue:
    """Reset, wait for the text that says "ready", start; again while nothing comes."""

    def __init__(self) -> None:
        self._since_ns: int | None = None  # last command, or when the first poll came
        self._is_ready = False
        self._is_started = False
        self._has_daisy = False
        self._n_tries = 0
        self._was_reset = False
        self._n_boots = 0

    @property
    def is_resetting(self) -> bool:
        """Whether a text that says "ready" is the answer to our own reset."""
        return self._was_reset

    @property
    def n_boots(self) -> int:
        """Times that the board restarted without being told to."""
        return self._n_boots

    def greeting(self) -> list[Outgoing]:
        """Return the commands for a board in whatever state it is."""
        self._was_reset = True
        return [Outgoing(data=STOP), Outgoing(data=RESET)]

    def hear_ready(self, *, has_daisy: bool) -> None:
        """Note that the board said it is ready."""
        self._n_boots += 0 if self._was_reset else 1
        self._was_reset = False
        self._is_ready = True
        self._is_started = False
        self._has_daisy = has_daisy

    def due(self, now_ns: int, *, framed_at_ns: int | None) -> list[Outgoing]:
        """Return what to write at `now_ns`, where the newest frame came at `framed_at_ns`."""
        if self._since_ns is None:
            self._since_ns = now_ns
        if self._is_ready and not self._is_started:
            return self._start(now_ns)
        quiet_since_ns = self._since_ns if framed_at_ns is None else max(self._since_ns, framed_at_ns)
        limit_s = SILENCE_S if self._is_started else READY_S
        if now_ns - quiet_since_ns < limit_s * NS_PER_S:
            return []
        self._n_tries += 1
        if self._n_tries % TRIES_BEFORE_RESET:
            return self._start(now_ns)
        self._since_ns = now_ns
        self._is_ready = self._is_started = False
        return self.greeting()

    def reset(self) -> None:
        """Forget the link."""
        self._since_ns = None
        self._is_ready = self._is_started = False
        self._has_daisy = False
        self._n_tries = 0
        self._was_reset = False
        self._n_boots = 0

    def _start(self, now_ns: int) -> list[Outgoing]:
        self._since_ns = now_ns
        self._is_started = True
        wanted = [ONE_BOARD, START] if self._has_daisy else [START]
        return [Outgoing(data=each) for each in wanted]
