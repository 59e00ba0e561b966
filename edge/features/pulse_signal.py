"""What is known of one light stream when a number is to be shown: its verdicts, its pulses and its holes.

Shared by `pulse_rate` and `oximetry`, so that both show and withhold by the same rules.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from edge.messages import ChannelKind, Gap, Pulse, Quality

NS_PER_S = 1_000_000_000

LIGHT_KINDS = (ChannelKind.PPG_INFRARED, ChannelKind.PPG, ChannelKind.PPG_RED)
# Reasons of the quality that are shown as they are; all others are a poor signal.
_SHOWN_REASONS = ("lead-off", "motion", "low-perfusion")


@dataclass(frozen=True, kw_only=True, slots=True)
class PulseSignalSettings:
    """When pulses may be used."""

    delay_s: float = 2.2
    """What is younger is not used yet: `PulseBeats` tells a pulse up to 1.2 s after its foot, and at a tick the samples
    of a stream may be missing for a second, so that a number never depends on how streams are interleaved."""
    average_s: float = 12.0
    """Time over which the median is taken; oximeters average over 4 to 16 s (meducore: 12 s)."""
    fewest_usable_s: int = 4
    """At the start a number may be shown after this many usable seconds (own choice)."""
    min_usable_ratio: float = 0.5
    """With less of the averaging time usable nothing is shown (own choice, as for the ECG)."""
    min_mean_quality: float = 0.6
    """Nor where the mean index of that time is below this (`PpgQualitySettings.min_quality`): long stretches that are
    just about usable are more often motion than a pulse."""
    no_pulses_s: float = 4.0
    """Without a pulse for this long in usable signal there is none: two cycles at 30 /min."""
    signal_age_s: float = 3.0
    """Older verdicts count as no signal: they come every second, and a second may be missing."""


class PulseSignal:
    """Verdicts and pulses of one stream.

    Parameters
    ----------
    settings : PulseSignalSettings
        When pulses may be used.
    """

    def __init__(self, settings: PulseSignalSettings) -> None:
        self._settings = settings
        n_kept = round(settings.average_s + settings.delay_s) + 8
        self._qualities: deque[Quality] = deque(maxlen=n_kept)
        self._pulses: deque[Pulse] = deque(maxlen=5 * n_kept)
        self._valid_from_ns: int | None = None

    def add(self, item: Pulse | Quality | Gap) -> None:
        """Take note of `item`; what goes back in time begins anew."""
        match item:
            case Quality():
                if self._qualities and item.at_ns < self._qualities[-1].at_ns:
                    self._qualities.clear()
                self._qualities.append(item)
            case Pulse():
                if self._pulses and item.at_ns < self._pulses[-1].at_ns:
                    self._pulses.clear()
                self._pulses.append(item)
            case Gap():
                if item.end_ns - item.start_ns >= NS_PER_S:
                    self._valid_from_ns = item.end_ns

    def kind_of(self, channel: str) -> ChannelKind | None:
        """Return what a channel measures, where a verdict named it."""
        return next((quality.kind for quality in reversed(self._qualities) if quality.channel == channel), None)

    def until_ns(self, at_ns: int) -> int:
        """Return up to when pulses are used at a tick."""
        return at_ns - round(self._settings.delay_s * NS_PER_S)

    def absent(self, at_ns: int) -> str | None:
        """Return why nothing can be shown at a tick; None when something can."""
        settings = self._settings
        if not self._qualities:
            return None if self._pulses else "no-signal"
        if at_ns - self._qualities[-1].at_ns > settings.signal_age_s * NS_PER_S:
            return "no-signal"
        if "lead-off" in self._qualities[-1].reasons:
            return "lead-off"
        window = self._window(at_ns)
        n_usable = sum(quality.is_usable for quality in window)
        if n_usable < settings.min_usable_ratio * max(len(window), 2 * settings.fewest_usable_s):
            return self._worst_reason(at_ns)
        if not sum(quality.index for quality in window) >= settings.min_mean_quality * len(window):
            return self._worst_reason(at_ns)
        return None

    def index(self, at_ns: int) -> float:
        """Return the mean quality of the usable seconds of the averaging time; 1 where nobody judges the stream."""
        if not self._qualities:
            return 1.0
        usable = [quality.index for quality in self._window(at_ns) if quality.is_usable]
        return sum(usable) / len(usable) if usable else 0.0

    def pulses(self, at_ns: int) -> list[Pulse]:
        """Return the pulses to be used at a tick, oldest first: none from before a hole, and only those of a second that
        was usable and whose next one was too, because a verdict is on five seconds and a disturbance ends up in it late.
        """
        until_ns = self.until_ns(at_ns)
        from_ns = until_ns - round(self._settings.average_s * NS_PER_S)
        if self._valid_from_ns is not None:
            from_ns = max(from_ns, self._valid_from_ns)
        seconds = list(self._qualities)
        ends_ns = [quality.at_ns for quality in seconds]
        chosen = []
        for pulse in self._pulses:
            if not from_ns < pulse.at_ns <= until_ns or pulse.is_noise_suspect:
                continue
            k = bisect_left(ends_ns, pulse.at_ns)
            if not all(quality.is_usable for quality in seconds[k : k + 2]):
                continue
            chosen.append(pulse)
        return chosen

    def lacking(self, at_ns: int, used: Sequence[Pulse]) -> str | None:
        """Return why the pulses in use, `used`, are no basis for a number at a tick; None when they may be.

        A number is not held: the last pulse in use must be recent.
        """
        until_ns = self.until_ns(at_ns)
        silence_ns = round(self._settings.no_pulses_s * NS_PER_S)
        if used and until_ns - used[-1].at_ns <= silence_ns:
            return None
        recent = [quality for quality in self._window(at_ns) if quality.at_ns > until_ns - silence_ns]
        if not all(quality.is_usable for quality in recent):
            return self._worst_reason(at_ns)
        begin_ns = self._qualities[0].at_ns - NS_PER_S if self._qualities else at_ns
        if self._valid_from_ns is not None:
            begin_ns = max(begin_ns, self._valid_from_ns)
        return "no-pulses" if until_ns - begin_ns > silence_ns else "too-few-pulses"

    def _window(self, at_ns: int) -> list[Quality]:
        """Return the verdicts on the averaging time, up to the newest that any interleaving has."""
        until_ns = at_ns - NS_PER_S
        from_ns = until_ns - round(self._settings.average_s * NS_PER_S)
        return [quality for quality in self._qualities if from_ns < quality.at_ns <= until_ns]

    def _worst_reason(self, at_ns: int) -> str:
        window = self._window(at_ns)
        unusable = [quality for quality in window if not quality.is_usable]
        if not unusable or unusable[-1].reasons == ("settling",):
            return "too-few-pulses"
        return next((reason for reason in unusable[-1].reasons if reason in _SHOWN_REASONS), "poor-signal")
