"""Trouble with a model as conditions, so that it reaches the people at the bed like any other alarm.

All of them are of low priority: without a model the rules go on, and every alarm that a rule alone can raise is raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge.clock import NS_PER_S
from edge.inference.supervision import WorkerState
from edge.inference.window_stage import InferenceCounts
from edge.messages import AlertKind, Condition, Priority
from edge.monitoring.claims import Claim

_WHAT: Mapping[str, str] = {"beat": "the model of heart beats", "rhythm": "the model of the heart rhythm"}
_COUNTED: Mapping[str, tuple[str, str]] = {
    "late": ("n_late", "{What} answers too late: the rules judge meanwhile."),
    "dropped": ("n_dropped", "{What} cannot keep up and skips parts of the signal: the rules judge meanwhile."),
    "failed": ("n_failed", "{What} fails: the rules judge meanwhile."),
}
_HUNG = {
    WorkerState.LEFT: "{What} hangs: the rules judge meanwhile, and it is tried again in some minutes.",
    WorkerState.GIVEN_UP: "{What} hangs again and was given up: the rules go on alone. Tell the engineer.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFigures:
    """What one model does for one bed at an instant."""

    state: WorkerState = WorkerState.WORKING
    """The worst of its threads."""
    counts: InferenceCounts = field(default_factory=InferenceCounts)
    """Of all its threads together."""
    refused: str = ""
    """Why it is not used; empty while it is."""
    rolled_back: str = ""
    """Why the promoted one was taken back; empty where none was, or that is long ago."""
    unusual: str = ""
    """What is unusual about the signal or the answers; empty where nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAlarmSettings:
    """When a trouble is over."""

    quiet_s: float = 60.0
    """Without another late, dropped or failed window for this long it is over (own choice: 30 windows of rhythm)."""


class ModelAlarms:
    """The conditions of all models of one bed.

    Parameters
    ----------
    settings : ModelAlarmSettings
        When a trouble is over.
    """

    def __init__(self, settings: ModelAlarmSettings = ModelAlarmSettings()) -> None:
        self._settings = settings
        self._claims: dict[str, Claim] = {}
        self._counted: dict[str, _Counted] = {}

    def observe(self, figures: Mapping[str, ModelFigures], at_ns: int, *, store_fault: str = "") -> list[Condition]:
        """Return the conditions that began or ended; call it at every tick.

        Parameters
        ----------
        figures : mapping
            By name of the model.
        at_ns : int
            Now.
        store_fault : str
            What is wrong with the store of promoted models; empty where nothing is.
        """
        claim = self._claim("model-store-damaged")
        out: list[Condition] = claim.end(at_ns, "The store of the models can be read again.") if not store_fault else []
        if store_fault:
            out += claim.begin(
                at_ns, at_ns, "The store of the models is damaged. Tell the engineer.", detail=store_fault
            )
        for model, each in figures.items():
            for trouble, (field_name, words) in _COUNTED.items():
                out += self._count(model, trouble, getattr(each.counts, field_name), words, at_ns)
            out += self._hung(model, each, at_ns)
            out += self._stands(model, "refused", each.refused, "{What} is not used: the rules go on alone.", at_ns)
            rolled_back = "A new version of {what} was taken back, and the one before is used again."
            out += self._stands(model, "rolled-back", each.rolled_back, rolled_back, at_ns)
            drift = "This signal is unlike what {what} knows, so that it can say little: the rules go on."
            out += self._stands(model, "drift", each.unusual, drift, at_ns)
        return out

    def _count(self, model: str, trouble: str, n_seen: int, words: str, at_ns: int) -> list[Condition]:
        code = f"model-{trouble}:{model}"
        counted = self._counted.setdefault(code, _Counted())
        if n_seen > counted.n_seen:
            counted.last_at_ns = at_ns
            counted.n_seen = n_seen
            # Counted from the start of the service: how bad it is shows in how often.
            return self._claim(code).begin(at_ns, at_ns, _told(words, model), n_windows=n_seen)
        if at_ns - counted.last_at_ns >= self._settings.quiet_s * NS_PER_S:
            return self._claim(code).end(at_ns, _told("{What} works again.", model), n_windows=n_seen)
        return []

    def _hung(self, model: str, figures: ModelFigures, at_ns: int) -> list[Condition]:
        claim = self._claim(f"model-hung:{model}")
        if figures.state in _HUNG:
            # Given up is worth another word although the condition has not been over.
            again = [] if figures.state is WorkerState.LEFT else self._given_up(model, at_ns)
            return [*again, *claim.begin(at_ns, at_ns, _told(_HUNG[figures.state], model))]
        counted = self._counted.setdefault(f"model-done:{model}", _Counted())
        has_answered, counted.n_seen = figures.counts.n_done > counted.n_seen, figures.counts.n_done
        return claim.end(at_ns, _told("{What} works again.", model)) if has_answered else []

    def _given_up(self, model: str, at_ns: int) -> list[Condition]:
        counted = self._counted.setdefault(f"model-given-up:{model}", _Counted())
        if counted.n_seen:
            return []
        counted.n_seen = 1
        return self._claim(f"model-hung:{model}").end(at_ns, _told("{What} was tried again.", model))

    def _stands(self, model: str, trouble: str, why: str, words: str, at_ns: int) -> list[Condition]:
        claim = self._claim(f"model-{trouble}:{model}")
        if why:
            return claim.begin(at_ns, at_ns, _told(words, model), detail=why)
        return claim.end(at_ns, _told("No longer so: " + words, model))

    def _claim(self, code: str) -> Claim:
        if code not in self._claims:
            self._claims[code] = Claim(code, Priority.LOW, kind=AlertKind.TECHNICAL)
        return self._claims[code]


@dataclass(slots=True)
class _Counted:
    n_seen: int = 0
    last_at_ns: int = 0


def _told(words: str, model: str) -> str:
    what = _WHAT.get(model, f"the model {model!r}")
    return words.replace("{What}", what[0].upper() + what[1:]).replace("{what}", what)
