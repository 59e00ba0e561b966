"""One condition of a rule: says when it begins and when it ends, and nothing in between."""

from __future__ import annotations

from edge.messages import AlertKind, Condition, Json, Priority


class Claim:
    """Whether one condition is present; every change is one `Condition`.

    Parameters
    ----------
    code : str
        Stable key of the condition.
    priority : Priority
        How quickly somebody must act.
    kind : AlertKind
        Whose trouble it is.
    is_latching : bool
        Stays until acknowledged.
    """

    def __init__(
        self,
        code: str,
        priority: Priority,
        *,
        kind: AlertKind = AlertKind.PHYSIOLOGICAL,
        is_latching: bool = False,
    ) -> None:
        self._code = code
        self._priority = priority
        self._kind = kind
        self._is_latching = is_latching
        self._onset_at_ns: int | None = None

    @property
    def is_active(self) -> bool:
        """Whether the condition is present."""
        return self._onset_at_ns is not None

    @property
    def onset_at_ns(self) -> int | None:
        """When it began; None while it is not present."""
        return self._onset_at_ns

    def begin(self, at_ns: int, onset_at_ns: int, sentence: str, **evidence: Json) -> list[Condition]:
        """Return the condition that begins; empty if it is present already."""
        if self._onset_at_ns is not None:
            return []
        self._onset_at_ns = onset_at_ns
        return [self._condition(at_ns, onset_at_ns, sentence, evidence, is_active=True)]

    def end(self, at_ns: int, sentence: str, **evidence: Json) -> list[Condition]:
        """Return the condition that is over; empty if it was not present."""
        if self._onset_at_ns is None:
            return []
        onset_at_ns, self._onset_at_ns = self._onset_at_ns, None
        return [self._condition(at_ns, onset_at_ns, sentence, evidence, is_active=False)]

    def _condition(
        self, at_ns: int, onset_at_ns: int, sentence: str, evidence: dict[str, Json], *, is_active: bool
    ) -> Condition:
        return Condition(
            code=self._code,
            kind=self._kind,
            priority=self._priority,
            is_active=is_active,
            at_ns=at_ns,
            onset_at_ns=onset_at_ns,
            sentence=sentence,
            is_latching=self._is_latching,
            evidence=evidence,
        )
