"""A suspected fall: an impact, then stillness.

Fed with `features.activity` (`Activity`).  The pattern is that of threshold detectors, whose weakness is known: of
thirteen of them tried on 29 falls of patients the average found 57 %, the best 83 %, with 3 to 85 false alarms a day
(Bagala 2012, doi:10.1371/journal.pone.0037062).  So this is a suspicion that asks somebody to look, and nothing follows
from its absence.

*Medium* priority: it asks for a prompt look at somebody who may be hurt; what threatens life at once (no pulse, no
breath) has rules of its own with a higher one.  *Latching*: somebody who got up again has fallen all the same.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from edge.messages import Activity, ActivityLevel, Condition, Gap, LinkChange, LinkState, Priority, Tick
from edge.monitoring.claims import Claim

_NS_PER_S = 1_000_000_000
_GRAVITY_MPS2 = 9.80665
_UPRIGHT = "upright"


@dataclass(frozen=True, slots=True, kw_only=True)
class FallSettings:
    """What follows an impact that may have been a fall."""

    still_s: int = 10
    """Seconds that are looked at for stillness: somebody who was merely startled moves on earlier.  Own choice;
    Kangas 2008 (doi:10.1016/j.gaitpost.2008.01.003) waits 2 s and looks at the posture alone."""
    n_still: int = 8
    """So many of them must be still: who lies hurt may move a hand (own choice)."""
    within_s: int = 20
    """How long after the impact the stillness must be complete (project default)."""
    silent_s: float = 20.0
    """Without any word from the sensor for this long after an impact it is a suspicion too: a sensor that the body lies
    on, or that broke, sends nothing (own choice)."""
    moving_off_s: int = 10
    """Seconds of movement in a row that end it (own choice)."""

    def __post_init__(self) -> None:
        if not 0 < self.n_still <= self.still_s <= self.within_s:
            raise ValueError("expected 0 < n_still <= still_s <= within_s")
        if not (self.silent_s > 0 and self.moving_off_s > 0):
            raise ValueError("expected silent_s and moving_off_s > 0")


class FallRule:
    """Whether somebody seems to have fallen.

    Only seconds of which something is known count, so a hole after the impact neither makes nor hides a fall.  Where
    the posture is known, an upright trunk at the end is no fall: somebody sat down hard or jumped.  A sensor that was
    dropped and lies still cannot be told from its wearer's fall; the sentence says so.

    Parameters
    ----------
    settings : FallSettings
        What follows an impact.
    """

    def __init__(self, settings: FallSettings = FallSettings()) -> None:
        self._settings = settings
        self._claim = _claim()
        self._wearers: dict[tuple[str, str], _Wearer] = {}
        self._who: tuple[str, str] | None = None

    def push(self, item: Activity | Gap | Tick | LinkChange) -> list[Condition]:
        """Return the suspicion that `item` began or ended."""
        if isinstance(item, Activity):
            return self._second(item)
        if isinstance(item, Tick):
            return self._silence(item.at_ns)
        if isinstance(item, LinkChange) and item.state is LinkState.STOPPED:
            self._stop(item.sensor)
        return []  # of a gap nothing follows: seconds are counted, and the ticks notice silence

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget impacts and the suspicion."""
        self._claim = _claim()
        self._wearers = {}
        self._who = None

    def _stop(self, sensor: str) -> None:
        """Forget the impact of a sensor that was stopped on purpose: its silence means nothing."""
        for (name, _), wearer in self._wearers.items():
            if name == sensor:
                wearer.forget_impact()

    def _second(self, activity: Activity) -> list[Condition]:
        key = (activity.sensor, activity.stream)
        wearer = self._wearers.setdefault(key, _Wearer(self._settings))
        if wearer.last_at_ns is not None and activity.at_ns <= wearer.last_at_ns:
            return []
        wearer.take(activity)
        if self._claim.is_active:
            return self._end(key, wearer, activity)
        if not wearer.is_down():
            return []
        lying = "" if activity.posture is None else f", lying {_words(activity.posture)}"
        sentence = (
            f"Fall suspected: impact of {wearer.impact_g:.1f} g, then no movement for {self._settings.still_s} s{lying}. "
            "Look after the patient (or a dropped sensor)."
        )
        return self._begin(key, wearer, activity.at_ns, sentence, activity.posture)

    def _silence(self, at_ns: int) -> list[Condition]:
        for key, wearer in self._wearers.items():
            if wearer.impact_at_ns is None or wearer.last_at_ns is None or self._claim.is_active:
                continue
            if at_ns - wearer.last_at_ns < self._settings.silent_s * _NS_PER_S:
                continue
            sentence = (
                f"Fall suspected: impact of {wearer.impact_g:.1f} g, then nothing more from the sensor. "
                "Look after the patient and the sensor."
            )
            return self._begin(key, wearer, at_ns, sentence, None)
        return []

    def _begin(
        self, key: tuple[str, str], wearer: _Wearer, at_ns: int, sentence: str, posture: str | None
    ) -> list[Condition]:
        onset_at_ns = wearer.impact_at_ns
        assert onset_at_ns is not None
        self._who = key
        impact_g = round(wearer.impact_g, 2)
        wearer.forget_impact()
        return self._claim.begin(
            at_ns,
            onset_at_ns,
            sentence,
            rule="impact, then stillness",
            value=impact_g,
            unit="[g]",
            sensor=key[0],
            posture=posture,
        )

    def _end(self, key: tuple[str, str], wearer: _Wearer, activity: Activity) -> list[Condition]:
        if key != self._who or wearer.n_moving < self._settings.moving_off_s:
            return []
        self._who = None
        wearer.forget_impact()
        return self._claim.end(activity.at_ns, f"Moving again for {self._settings.moving_off_s} s.")


class _Wearer:
    """What one accelerometer has seen since an impact."""

    def __init__(self, settings: FallSettings) -> None:
        self._settings = settings
        self._levels: deque[ActivityLevel] = deque(maxlen=settings.still_s)
        self._n_since = 0
        self._posture: str | None = None
        self.impact_at_ns: int | None = None
        self.impact_g = 0.0
        self.last_at_ns: int | None = None
        self.n_moving = 0
        """Seconds of movement in a row up to now."""

    def take(self, activity: Activity) -> None:
        """Note one second."""
        self.last_at_ns = activity.at_ns
        self.n_moving = 0 if activity.level is ActivityLevel.STILL else self.n_moving + 1
        if activity.impact_mps2 is not None and math.isfinite(activity.impact_mps2):
            # The latest impact counts: who jumps is only still after the last jump.
            self.forget_impact()
            self.impact_at_ns = activity.at_ns
            self.impact_g = activity.impact_mps2 / _GRAVITY_MPS2
            return
        if self.impact_at_ns is None:
            return
        self._levels.append(activity.level)
        self._posture = activity.posture or self._posture
        self._n_since += 1
        if self._n_since > self._settings.within_s:
            self.forget_impact()

    def is_down(self) -> bool:
        """Return whether an impact was followed by stillness, and not by standing or sitting."""
        if self.impact_at_ns is None or len(self._levels) < self._settings.still_s or self._posture == _UPRIGHT:
            return False
        if ActivityLevel.WALKING in self._levels:
            return False
        return self._levels.count(ActivityLevel.STILL) >= self._settings.n_still

    def forget_impact(self) -> None:
        """Begin anew, as before any impact."""
        self.impact_at_ns = None
        self._levels.clear()
        self._n_since = 0
        self._posture = None


def _claim() -> Claim:
    return Claim("fall-suspected", Priority.MEDIUM, is_latching=True)


def _words(posture: str) -> str:
    return {"supine": "on the back", "prone": "face down", "left": "on the left", "right": "on the right"}.get(
        posture, posture
    )
