"""The rules of ``firmware_bridge/PROTOCOL.md`` that a device can keep or break, and the ledger of what was seen of each.

Used by `firmware_check` and its parts.  A rule is *failed* when it was seen broken once, *passed* when it was seen kept
and never broken, and *not shown* when the check had no occasion to see it; why is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

RULES: Mapping[int, str] = MappingProxyType(
    {
        1: "frames are COBS and end with a zero, however the bytes are grouped",
        2: "frames carry version 1; other versions are not read",
        3: "CRC-32/ISO-HDLC over the frame; a wrong one is not read",
        4: "frames have 8 to 1016 bytes",
        5: "a frame starts with a delimiter too; delimiters in a row are no frame",
        6: "garbage, half and endless frames are survived",
        7: "the frame counter counts every frame",
        8: "nothing is sent twice",
        9: "hello when asked and when something changed; boot_id",
        10: "fields, text and reserved bytes as the tables say",
        11: "the sample counter counts every sample, sent or not",
        12: "ticks count the device's clock, never stop and never step",
        13: "values lie within the limits of the hello, rates are true",
        14: "back-fill: only when asked, flagged, with the original numbers",
        15: "bytes after the last known field are ignored",
        16: "unknown packet types are skipped; the high bit says who speaks",
        17: "readings: known measures, no special numbers, repeated in time",
        18: "conditions are repeated with every hello",
        19: "every request and command is answered once and in order",
    }
)
"""What each rule asks of a device, in short."""

MAX_EVIDENCE_BYTES = 48
"""Bytes shown of one broken frame: the header and every fixed field but those of a hello."""


class Outcome(StrEnum):
    """What became of one rule."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One way in which a rule was broken."""

    what: str
    n_times: int
    evidence: str
    """The bytes of the first time in hex, and where in the stream they lie; empty where no bytes show it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one rule."""

    rule: int
    title: str
    outcome: Outcome
    shown: tuple[str, ...]
    """What was seen of the rule being kept."""
    failures: tuple[Failure, ...]
    not_shown: tuple[str, ...]
    """What could not be seen, and why; stands beside a passed rule too."""

    @property
    def detail(self) -> str:
        """The verdict's reasons in one line."""
        parts = [f"{each.what}{_times(each.n_times)}" for each in self.failures]
        if not self.failures:
            parts += self.shown
        parts += [f"not shown: {why}" for why in self.not_shown if self.outcome is not Outcome.FAILED]
        return "; ".join(parts)


class Ledger:
    """Collects what was seen of every rule."""

    def __init__(self) -> None:
        self._shown: dict[int, dict[str, None]] = {}
        self._unseen: dict[int, dict[str, None]] = {}
        self._failures: dict[int, dict[str, Failure]] = {}

    def show(self, rule: int, what: str) -> None:
        """Note that `rule` was seen kept."""
        self._shown.setdefault(rule, {})[what] = None

    def miss(self, rule: int, why: str) -> None:
        """Note that something of `rule` could not be seen."""
        self._unseen.setdefault(rule, {})[why] = None

    def fail(self, rule: int, what: str, evidence: str = "") -> None:
        """Note that `rule` was seen broken; the same words again only count, and the first evidence stays."""
        known = self._failures.setdefault(rule, {})
        before = known.get(what)
        known[what] = Failure(
            what=what,
            n_times=1 if before is None else before.n_times + 1,
            evidence=evidence if before is None else before.evidence,
        )

    def has_failed(self, rule: int) -> bool:
        """Whether `rule` was seen broken."""
        return rule in self._failures

    def verdicts(self) -> tuple[Verdict, ...]:
        """Return one verdict for each rule, in order."""
        return tuple(self._verdict(rule) for rule in RULES)

    def _verdict(self, rule: int) -> Verdict:
        failures = tuple(self._failures.get(rule, {}).values())
        shown = tuple(self._shown.get(rule, {}))
        not_shown = tuple(self._unseen.get(rule, {}))
        if failures:
            outcome = Outcome.FAILED
        elif shown:
            outcome = Outcome.PASSED
        else:
            outcome = Outcome.NOT_SHOWN
            not_shown = not_shown or ("nothing was seen of it",)
        return Verdict(
            rule=rule, title=RULES[rule], outcome=outcome, shown=shown, failures=failures, not_shown=not_shown
        )


def evidence(data: bytes, offset: int) -> str:
    """Return `data` in hex and where in the stream it lies.

    Examples
    --------
    >>> evidence(bytes.fromhex("01020304"), 17)
    'byte 17: 01020304'
    """
    more = len(data) - MAX_EVIDENCE_BYTES
    return f"byte {offset}: {data[:MAX_EVIDENCE_BYTES].hex()}" + (f"… and {more} more" if more > 0 else "")


def _times(n_times: int) -> str:
    return f" ({n_times} times)" if n_times > 1 else ""
