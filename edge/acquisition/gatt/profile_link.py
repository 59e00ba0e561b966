"""What the readers of all profiles know together of the device on one link: its clock, its state, what it sent before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime

from edge.acquisition.gatt.conditions import Conditions
from edge.acquisition.gatt.device_clock import DeviceClock
from edge.acquisition.gatt.profile_plans import known_profiles
from edge.acquisition.gatt.profile_readings import VALID_FOR_S, Taken
from edge.acquisition.gatt.rejected import Rejected
from edge.acquisition.gatt.repeats import Repeat, Repeats
from edge.messages import Corrupt, Reading, RrIntervals, SensorIdentity, SensorStatus

ProfileItem = Reading | RrIntervals | SensorStatus | SensorIdentity | Corrupt
Answer = list[ProfileItem] | Rejected
"""What one value of a characteristic says, or why it is refused."""
Reader = Callable[[bytes, int, str], Answer]
"""Given the value, when it came, and the UUID of the characteristic."""
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSettings:
    """How one Bluetooth sensor is read.

    Raises
    ------
    ValueError
        If a profile is unknown or none is named, or the battery levels are not in order.
    """

    sensor: str
    """Id of the sensor in the configuration; stands in everything that comes out."""
    profiles: tuple[str, ...]
    """What the device is: keys of `profile_plans.PROFILES`."""
    wall_time: Callable[[], datetime | None] | None = None
    """Gives the local time, None while that is not certain; None to set no clocks.  Asked when the device tells what its
    clock shows, when that is set, and for the age of a stamp where the device does not tell."""
    clock_tolerance_s: float = 60.0
    """A device's clock that is off by more is set: its stamps are shown to the minute."""
    user: int | None = None
    """Number of the person on a cuff or scale that several use; measurements of other known users are dropped."""
    battery_low_pct: int = 10
    """At this level the battery is low (own choice)."""
    battery_restored_pct: int = 15
    """From this level on it is low no more: a gauge wavers by a few percent."""
    repeat_s: float = 5.0
    """The same cuff pressure or weight again within this time is one that was sent twice: measuring takes longer."""
    rr_repeat_s: float = 0.05
    """The same notification of intervals again within this time came twice: the fastest heart needs 0.2 s for a beat."""

    def __post_init__(self) -> None:
        known_profiles(self.profiles)
        if not 0 <= self.battery_low_pct <= self.battery_restored_pct:
            raise ValueError(
                "expected 0 <= battery_low_pct <= battery_restored_pct, "
                f"got {self.battery_low_pct} and {self.battery_restored_pct}"
            )


class ProfileLink:
    """The device on one link.

    Parameters
    ----------
    settings : ProfileSettings
        Which sensor, and when a device's word counts.
    """

    def __init__(self, settings: ProfileSettings) -> None:
        self.settings = settings
        self.conditions = Conditions(settings.sensor)
        """What the device says of its state."""
        self.clock = DeviceClock(settings.wall_time, settings.clock_tolerance_s)
        """The device's own clock."""
        self.n_dropped: Counter[str] = Counter()
        """What was dropped without being told, by reason."""
        self._repeats = Repeats()
        self._latest: dict[str, tuple[bytes, int]] = {}  # the last value of each channel, and when it came

    def now(self, kind: str, at_ns: int) -> Taken:
        """Return that something was measured as it came; `kind` is a key of `profile_readings.VALID_FOR_S`."""
        return Taken(sensor=self.settings.sensor, at_ns=at_ns, valid_for_s=VALID_FOR_S[kind])

    def taken(self, kind: str, stamp: datetime | None, at_ns: int, *, is_asked: bool = False) -> Taken:
        """Return when something stamped by the device's clock was measured.

        Parameters
        ----------
        kind : str
            Key of `profile_readings.VALID_FOR_S`: what is older than that is history.
        stamp : datetime or None
            By the device's clock; None where it did not say.
        at_ns : int
            When it came.
        is_asked : bool
            Whether it came from the device's memory as far as is known; decides where its age is not known.
        """
        age_s = None if stamp is None else self.clock.hear_stamp(stamp, at_ns)
        device_time = None if stamp is None else stamp.isoformat(timespec="seconds")
        return self.aged(kind, age_s, at_ns, device_time, is_asked=is_asked)

    def aged(self, kind: str, age_s: float | None, at_ns: int, device_time: str | None, *, is_asked: bool) -> Taken:
        """Return when something that is `age_s` old was measured; negative: by a clock that was set back since."""
        valid_for_s = VALID_FOR_S[kind]
        is_known = age_s is not None and age_s >= 0
        is_stored = is_asked if age_s is None else not 0 <= age_s <= valid_for_s
        return Taken(
            sensor=self.settings.sensor,
            at_ns=at_ns - round((age_s or 0.0) * _NS_PER_S) if is_known else at_ns,
            valid_for_s=valid_for_s,
            is_stored=is_stored,
            device_time=device_time,
        )

    def is_again(self, channel: str, data: bytes, at_ns: int, within_s: float) -> bool:
        """Return whether `data` is what `channel` said less than `within_s` ago, and remember it."""
        before = self._latest.get(channel)
        self._latest[channel] = (data, at_ns)
        return before is not None and before[0] == data and 0 <= at_ns - before[1] <= within_s * _NS_PER_S

    def repeat(self, record: Hashable) -> Answer | None:
        """Return the answer to a `record` that came before, None to a new one; remember it."""
        match self._repeats.hear(record):
            case Repeat.NEW:
                return None
            case Repeat.SAME_LINK:
                return Rejected("duplicate")
            case Repeat.EARLIER_LINK:  # as it was asked for: nothing is wrong
                self.n_dropped["duplicate"] += 1
                return []

    def forget(self) -> None:
        """Begin a new link: what was sent over the last one is known if it is sent again."""
        self._latest = {}
        self._repeats.next_link()
        self.conditions.forget()
        self.clock.forget()
