"""Technical alarms: what is wrong with the equipment, so that a silent patient is never a silent sensor.

Fed by sensor supervision (`LinkChange`, `SensorIdentity`), the sensors themselves (`SensorStatus`, `Corrupt`), the
quality index (`Quality`), the wall clock (`ClockState`) and the pipeline's `Tick`; anything else is ignored.  One
condition per sensor and trouble: the code names the sensor, ``link-lost:chest``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from edge.conditioning.quality_rules import WAVES
from edge.messages import (
    AlertKind,
    ChannelKind,
    ClockState,
    ClockSync,
    Condition,
    Corrupt,
    Json,
    LinkChange,
    LinkState,
    Priority,
    Quality,
    SensorIdentity,
    SensorStatus,
    Tick,
)
from edge.monitoring.claims import Claim

_NS_PER_S = 1_000_000_000

_TROUBLES: dict[str, tuple[Priority, str]] = {
    # Priorities: lead or probe off medium, failed self-test high (example assignment of device manuals).
    "lead-off": (Priority.MEDIUM, "Lead off on {who}: check the electrodes and the cable."),
    "sensor-off": (Priority.MEDIUM, "Sensor {who} is off the patient: put it on again."),
    "probe-off": (Priority.MEDIUM, "Probe {who} is off the patient: put it on again."),
    "flat": (Priority.MEDIUM, "No signal from {who} (flat line): check the patient and the electrodes."),
    "saturated": (Priority.MEDIUM, "Signal of {who} is out of range: check the electrodes."),
    "battery-low": (Priority.LOW, "Battery of {who} is low: charge or replace it."),
    "battery-critical": (Priority.MEDIUM, "Battery of {who} is nearly empty: charge or replace it now."),
    "self-test-failed": (Priority.HIGH, "Sensor {who} failed its self-test: replace it."),
    "device-error": (Priority.MEDIUM, "Sensor {who} reports an error: replace it."),
    "demonstration": (
        Priority.MEDIUM,
        "Sensor {who} is in demonstration mode: its values are nobody's, none is shown.",
    ),
    "session-stopped": (Priority.LOW, "The session of {who} has ended: it measures no more until a new one is begun."),
    "storage-full": (Priority.LOW, "Memory of {who} is full: it can store no more while the link is down."),
}
_CLOCK = "clock-unsynchronised"
_CORRUPT = "data-corrupt"
_REPEATED = "duplicate"
"""What came twice was dropped and counted, and nothing is lost by it: some devices and relays repeat everything."""
_NO_TROUBLE = frozenset({"charging"})
_FROM_SIGNAL = ("lead-off", "flat", "saturated")
"""Reasons of the quality index that are troubles of their own; the others together are a poor signal."""
_AT_ONCE = frozenset(
    {
        "battery-low",
        "battery-critical",
        "self-test-failed",
        "device-error",
        "storage-full",
        "demonstration",
        "session-stopped",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TechnicalSettings:
    """How long a trouble must last."""

    confirm_s: float = 5.0
    """Lead off, probe off, flat line, saturation (project default)."""
    restored_s: float = 2.0
    """How long it must be gone to be over: a loose contact comes and goes (own choice)."""
    link_s: float = 10.0
    """Link lost or silent (project default)."""
    link_restored_s: float = 5.0
    """How long a link must stand to be restored: one that breaks every few seconds is none (own choice)."""
    poor_s: float = 60.0
    """Unusable signal (project default); usable seconds count back, so half the time usable is not poor."""
    poor_restored_s: float = 10.0
    """Uninterrupted usable signal that ends it (own choice)."""
    clock_s: float = 60.0
    """Wall clock not synchronised (project default)."""
    battery_critical_pct: float = 3.0
    """Battery that the sensor reports as low at or below this is nearly empty (project default)."""
    n_corrupt_per_min: int = 60
    """Dropped frames in a minute that make a condition: one a second (own choice)."""


class TechnicalRules:
    """Conditions of the equipment of one subject."""

    def __init__(self, settings: TechnicalSettings = TechnicalSettings()) -> None:
        self._settings = settings
        self._troubles: dict[str, _Trouble] = {}
        self._poor: dict[str, _PoorSignal] = {}
        self._boots: dict[str, int] = {}
        self._corrupt: deque[tuple[int, str]] = deque(maxlen=4096)
        self._now_ns: int | None = None

    def push(self, item: object) -> list[Condition]:
        """Return the conditions that began or ended at `item`."""
        outputs: list[Condition] = []
        match item:
            case Quality():
                outputs = self._signal(item)
            case SensorStatus():
                outputs = self._reported(item)
            case LinkChange():
                outputs = self._link(item)
            case SensorIdentity():
                outputs = self._identity(item)
            case ClockState():
                outputs = self._clock(item)
            case Corrupt() if item.reason != _REPEATED:
                self._corrupt.append((self._now_ns or 0, item.reason))
            case Tick():
                outputs = self._time_passed(item.at_ns)
            case _:
                pass
        return outputs

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape
        """Forget everything, as for a new session; never called at a gap."""
        self._troubles.clear()
        self._poor.clear()
        self._boots.clear()
        self._corrupt.clear()
        self._now_ns = None

    def _time_passed(self, at_ns: int) -> list[Condition]:
        self._now_ns = at_ns if self._now_ns is None else max(self._now_ns, at_ns)
        outputs = [out for trouble in self._troubles.values() for out in trouble.decide(at_ns)]
        return [*outputs, *self._damaged(at_ns)]

    def _signal(self, quality: Quality) -> list[Condition]:
        who = f"{quality.sensor}/{quality.stream}"
        outputs = []
        named = [reason for reason in _FROM_SIGNAL if reason in quality.reasons and not quality.is_usable]
        if self._is_told_by_ecg(quality):
            named = []
        for reason in _FROM_SIGNAL:
            code = f"{reason}:{who}"
            if reason == (named[0] if named else None):  # a detached lead is often flat and saturated too
                outputs += self._named(reason, who).note("signal", quality.at_ns, is_bad=True)
            elif code in self._troubles:
                outputs += self._troubles[code].note("signal", quality.at_ns, is_bad=False)
        is_named = any(
            trouble.is_active for reason in _FROM_SIGNAL if (trouble := self._troubles.get(f"{reason}:{who}"))
        )
        poor = self._poor.setdefault(who, _PoorSignal(who, self._settings))
        return [*outputs, *poor.add(quality, is_explained=is_named or self._is_told_by_ecg(quality))]

    def _is_told_by_ecg(self, quality: Quality) -> bool:
        """Return whether this is the ECG's loose electrode seen again: impedance is measured over the same ones."""
        if quality.kind is not ChannelKind.RESPIRATION or "lead-off" not in quality.reasons:
            return False
        own = f"lead-off:{quality.sensor}/{quality.stream}"
        return any(
            code != own and code.split("/")[0] == f"lead-off:{quality.sensor}" and trouble.is_reported
            for code, trouble in self._troubles.items()
        )

    def _reported(self, status: SensorStatus) -> list[Condition]:
        who = status.sensor if status.stream is None else f"{status.sensor}/{status.stream}"
        if status.condition in _NO_TROUBLE:
            return []
        trouble = self._named(status.condition, who)
        outputs = trouble.note("sensor", status.at_ns, is_bad=status.is_active, detail=status.detail)
        if status.condition == "battery-low":
            is_critical = status.is_active and _is_at_most(status.detail, self._settings.battery_critical_pct)
            if is_critical or f"battery-critical:{who}" in self._troubles:
                critical = self._named("battery-critical", who)
                outputs += critical.note("sensor", status.at_ns, is_bad=is_critical, detail=status.detail)
        return outputs

    def _link(self, change: LinkChange) -> list[Condition]:
        code = f"link-lost:{change.sensor}"
        if code not in self._troubles:
            self._troubles[code] = _Trouble(
                Claim(code, Priority.MEDIUM, kind=AlertKind.TECHNICAL),
                f"No data from sensor {change.sensor}: check that it is near, switched on and plugged in.",
                f"Sensor {change.sensor} is connected again.",
                confirm_s=self._settings.link_s,
                restored_s=self._settings.link_restored_s,
            )
        if change.state is LinkState.STOPPED:  # ordered: over at once, and nothing is awaited
            return self._troubles[code].stop(change.at_ns, f"Sensor {change.sensor} was stopped on purpose.")
        is_bad = change.state not in {LinkState.CONNECTED, LinkState.ASLEEP}
        return self._troubles[code].note("link", change.at_ns, is_bad=is_bad, detail=change.reason)

    def _identity(self, identity: SensorIdentity) -> list[Condition]:
        """Withdraw what a device reported before it restarted: it says again what still holds."""
        before = self._boots.get(identity.sensor)
        self._boots[identity.sensor] = identity.boot_id
        if before is None or before == identity.boot_id:
            return []
        outputs = []
        for code, trouble in self._troubles.items():
            if code.partition(":")[2].split("/")[0] == identity.sensor:
                outputs += trouble.note("sensor", identity.at_ns, is_bad=False)
        return outputs

    def _clock(self, state: ClockState) -> list[Condition]:
        if self._now_ns is None:
            return []  # no time yet to count from; the state comes again within a second
        if _CLOCK not in self._troubles:
            self._troubles[_CLOCK] = _Trouble(
                Claim(_CLOCK, Priority.LOW, kind=AlertKind.TECHNICAL),
                "The clock of this device is not synchronised: times in records may be wrong.",
                "The clock of this device is synchronised again.",
                confirm_s=self._settings.clock_s,
                restored_s=0.0,
            )
        is_bad = state.sync is ClockSync.UNSYNCHRONISED
        return self._troubles[_CLOCK].note("clock", self._now_ns, is_bad=is_bad)

    def _damaged(self, at_ns: int) -> list[Condition]:
        while self._corrupt and at_ns - self._corrupt[0][0] >= 60 * _NS_PER_S:
            self._corrupt.popleft()
        if _CORRUPT not in self._troubles:
            if len(self._corrupt) < self._settings.n_corrupt_per_min:
                return []
            self._troubles[_CORRUPT] = _Trouble(
                Claim(_CORRUPT, Priority.LOW, kind=AlertKind.TECHNICAL),
                "Data arrive damaged from a sensor: check its cable or its distance.",
                "Data arrive undamaged again.",
                confirm_s=0.0,
                restored_s=0.0,
            )
        # Over only when the minute is clean, so that a rate near the limit does not flap.
        is_bad = len(self._corrupt) >= self._settings.n_corrupt_per_min
        if not is_bad and self._corrupt:
            return []
        reasons = sorted({reason for _, reason in self._corrupt})
        return self._troubles[_CORRUPT].note("frames", at_ns, is_bad=is_bad, detail=", ".join(reasons))

    def _named(self, trouble: str, who: str) -> _Trouble:
        code = f"{trouble}:{who}"
        if code not in self._troubles:
            unknown = (Priority.LOW, f"Sensor {{who}} reports: {trouble.replace('-', ' ')}.")
            priority, sentence = _TROUBLES.get(trouble, unknown)
            self._troubles[code] = _Trouble(
                Claim(code, priority, kind=AlertKind.TECHNICAL),
                sentence.replace("{who}", who),
                f"{trouble.replace('-', ' ').capitalize()} on {who} is over.",
                confirm_s=0.0 if trouble in _AT_ONCE else self._settings.confirm_s,
                restored_s=0.0 if trouble in _AT_ONCE else self._settings.restored_s,
            )
        return self._troubles[code]


class _Trouble:
    """One condition that must last to begin and must be gone for a while to end; several may report it."""

    def __init__(
        self, claim: Claim, on_sentence: str, off_sentence: str, *, confirm_s: float, restored_s: float
    ) -> None:
        self._claim = claim
        self._on_sentence = on_sentence
        self._off_sentence = off_sentence
        self._confirm_ns = round(confirm_s * _NS_PER_S)
        self._restored_ns = round(restored_s * _NS_PER_S)
        self._reporters: dict[str, str] = {}
        self._bad_since_ns: int | None = None
        self._good_since_ns: int | None = None

    @property
    def is_active(self) -> bool:
        """Whether the condition is present."""
        return self._claim.is_active

    @property
    def is_reported(self) -> bool:
        """Whether somebody says that it is present, confirmed or not."""
        return bool(self._reporters)

    def note(self, reporter: str, at_ns: int, *, is_bad: bool, detail: str = "") -> list[Condition]:
        """Return what the word of one reporter leads to at once."""
        if is_bad:
            self._reporters[reporter] = detail
        else:
            self._reporters.pop(reporter, None)
        if self._reporters:
            self._good_since_ns = None
            if self._bad_since_ns is None:
                self._bad_since_ns = at_ns
        elif self._good_since_ns is None:
            self._good_since_ns = at_ns
        return self.decide(at_ns)

    def stop(self, at_ns: int, sentence: str) -> list[Condition]:
        """Return the end of the condition, whoever reports it."""
        self._reporters.clear()
        self._bad_since_ns = self._good_since_ns = None
        return self._claim.end(at_ns, sentence)

    def decide(self, at_ns: int) -> list[Condition]:
        """Return what has become certain by `at_ns`."""
        if self._bad_since_ns is None:
            return []
        if self._reporters:
            duration_ns = at_ns - self._bad_since_ns
            if duration_ns < self._confirm_ns:
                return []
            evidence: dict[str, Json] = {
                "reported_by": [*sorted(self._reporters)],
                "detail": ", ".join(sorted({text for text in self._reporters.values() if text})),
                "duration_s": duration_ns / _NS_PER_S,
            }
            return self._claim.begin(at_ns, self._bad_since_ns, self._on_sentence, **evidence)
        if self._good_since_ns is None or at_ns - self._good_since_ns < self._restored_ns:
            return []
        self._bad_since_ns = None
        return self._claim.end(at_ns, self._off_sentence)


class _PoorSignal:
    """Whether one stream has been unusable for most of a minute."""

    def __init__(self, who: str, settings: TechnicalSettings) -> None:
        self._who = who
        self._settings = settings
        self._claim = Claim(f"signal-poor:{who}", Priority.LOW, kind=AlertKind.TECHNICAL)
        self._poor_s = 0
        self._usable_s = 0
        self._onset_at_ns = 0

    def add(self, quality: Quality, *, is_explained: bool) -> list[Condition]:
        """Return what one more second leads to; a trouble that explains it keeps this one from beginning."""
        if quality.is_usable and WAVES not in quality.reasons:  # of waves only the rule on fibrillation can speak
            self._usable_s += 1
            self._poor_s = max(0, self._poor_s - 1)
            if self._usable_s < self._settings.poor_restored_s:
                return []
            self._poor_s = 0
            return self._claim.end(quality.at_ns, f"The signal of {self._who} can be used again.")
        self._usable_s = 0
        if self._poor_s == 0:
            self._onset_at_ns = quality.at_ns - _NS_PER_S
        self._poor_s += 1
        if self._poor_s < self._settings.poor_s or is_explained:
            return []
        reasons = ", ".join(quality.reasons) or "unknown"
        return self._claim.begin(
            quality.at_ns,
            self._onset_at_ns,
            f"The signal of {self._who} has been too poor to use for {self._poor_s} s ({reasons}).",
            reasons=[*quality.reasons],
            quality=quality.index,
            duration_s=self._poor_s,
        )


def _is_at_most(text: str, limit: float) -> bool:
    """Return whether `text` is a whole number not above `limit`; a device may also send prose."""
    return text.isdecimal() and int(text) <= limit
