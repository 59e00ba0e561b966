"""Beats and pulses of one person -> the time a pulse wave travels, from the R peak to its foot, once a second.

It contains the time the heart needs to open its valve, so it follows blood pressure only loosely; no pressure is made of it.
Both signals must be on one time line: a monitor that delays its light by half a second gives no value here, not a wrong one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass
from statistics import median

from edge.messages import Beat, Estimate, Gap, Pulse, Tick

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

_N_BEATS = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class PulseTransitSettings:
    """Which beat and pulse belong together, and when their times agree."""

    shortest_ms: float = 50.0
    """A pulse wave is at the finger no sooner after the R peak."""
    longest_ms: float = 500.0
    """A foot later than this after the R peak belongs to no beat, or to the next."""
    n_pairs: int = 10
    """The value is the median of so many pairs."""
    fewest_pairs: int = 5
    """With fewer there is none."""
    age_s: float = 20.0
    """Older pairs do not count: ten beats at 30 /min."""
    most_spread_ms: float = 30.0
    """Half of the pairs must be this close to the median (median absolute deviation), else the pairing or the timing is
    wrong; respiration moves the transit time by about 10 ms."""
    delay_s: float = 2.5
    """What is younger is not used yet: pulses come up to 1.2 s and beats 0.7 s after the fact, and of another stream the
    last second may be missing at a tick."""

    def __post_init__(self) -> None:
        if not 0 < self.shortest_ms < self.longest_ms:
            raise ValueError(f"expected 0 < shortest_ms < longest_ms, got {self.shortest_ms} and {self.longest_ms}")


class PulseTransit:
    """Say once a second how long the pulse wave travels to each light sensor.

    Push the beats and pulses of one person as they come; a `Tick` gives ``pulse_transit_ms`` for every light stream.  The
    ECG is the stream of which beats came last.  A beat or pulse that is suspect makes no pair; nor does a pulse with two
    beats in reach, as happens above 130 /min, because nothing tells which of them it came from.

    Parameters
    ----------
    settings : PulseTransitSettings
        Which beat and pulse belong together.
    """

    def __init__(self, settings: PulseTransitSettings = PulseTransitSettings()) -> None:
        self._settings = settings
        self._beats: dict[tuple[str, str], deque[Beat]] = {}
        self._pulses: dict[tuple[str, str], deque[Pulse]] = {}

    def push(self, item: Beat | Pulse | Gap | Tick) -> list[Estimate]:
        """Return the transit times at a `Tick`, nothing for anything else."""
        match item:
            case Tick():
                return [self._estimate(key, item.at_ns) for key in self._pulses]
            case Beat():
                _keep(self._beats.setdefault((item.sensor, item.stream), deque(maxlen=_N_BEATS)), item)
            case Pulse():
                _keep(self._pulses.setdefault((item.sensor, item.stream), deque(maxlen=_N_BEATS)), item)
            case Gap():
                # The time line of the stream may have moved over the hole.
                if (beats := self._beats.get((item.sensor, item.stream))) is not None:
                    beats.clear()
                if (pulses := self._pulses.get((item.sensor, item.stream))) is not None:
                    pulses.clear()
        return []

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget everything, as for another person."""
        self._beats = {}
        self._pulses = {}

    def _estimate(self, key: tuple[str, str], at_ns: int) -> Estimate:
        settings = self._settings
        until_ns = at_ns - round(settings.delay_s * NS_PER_S)
        transits_ms, quality = self._transits(key, until_ns)
        absent: str | None = None
        value: float | None = None
        if len(transits_ms) < settings.fewest_pairs:
            absent = "too-few-pairs"
        else:
            value = median(transits_ms)
            spread_ms = median(abs(transit_ms - value) for transit_ms in transits_ms)
            if spread_ms > settings.most_spread_ms:
                value, absent = None, "spread"
        return Estimate(
            sensor=key[0],
            stream=key[1],
            measure="pulse_transit_ms",
            value=value,
            unit="ms",
            at_ns=at_ns,
            quality=0.0 if value is None else quality,
            method="r-to-foot",
            absent=absent,
        )

    def _transits(self, key: tuple[str, str], until_ns: int) -> tuple[list[float], float]:
        """Return the latest transit times up to `until_ns`, newest first, and the mean quality of their pulses."""
        settings = self._settings
        beats = self._latest_ecg(until_ns)
        instants_ns = [beat.at_ns for beat in beats]
        reach_ns = (round(settings.shortest_ms * NS_PER_MS), round(settings.longest_ms * NS_PER_MS))
        oldest_ns = until_ns - round(settings.age_s * NS_PER_S)
        transits_ms: list[float] = []
        qualities: list[float] = []
        for pulse in reversed(self._pulses[key]):
            if pulse.at_ns > until_ns or pulse.is_noise_suspect:
                continue
            if pulse.at_ns < oldest_ns or len(transits_ms) == settings.n_pairs:
                break
            first = bisect_left(instants_ns, pulse.at_ns - reach_ns[1])
            last = bisect_right(instants_ns, pulse.at_ns - reach_ns[0])
            if last - first == 1 and not beats[first].is_noise_suspect:
                transits_ms.append((pulse.at_ns - instants_ns[first]) / NS_PER_MS)
                qualities.append(min(pulse.quality, beats[first].quality))
        return transits_ms, sum(qualities) / len(qualities) if qualities else 0.0

    def _latest_ecg(self, until_ns: int) -> list[Beat]:
        """Return the beats up to `until_ns` of the ECG stream that has the latest one."""
        best: list[Beat] = []
        for beats in self._beats.values():
            settled = [beat for beat in beats if beat.at_ns <= until_ns]
            if settled and (not best or settled[-1].at_ns > best[-1].at_ns):
                best = settled
        return best


def _keep(history: deque[Beat] | deque[Pulse], item: Beat | Pulse) -> None:
    """Append `item`; what goes back in time begins anew."""
    if history and item.at_ns < history[-1].at_ns:
        history.clear()
    history.append(item)  # type: ignore[arg-type]  # the caller pairs the history with what it holds
