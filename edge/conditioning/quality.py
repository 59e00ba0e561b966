"""Raw samples -> how far they can be trusted, once a second of the sample grid.

The index withholds values, so it asks one question: would the beat detector be right here?  `quality_index` answers
for noise and motion, from figures that `quality_features` measures; rules of this file add what a statistic of noise
cannot see (missing samples, a dead or saturated input, mains, a lead without beats beside one with them).

What must never look like a loose electrode:

* a heart that stands still: *flat* means less than any live electrode gives (no more than one step of the converter
  from lowest to highest value over a whole second), and noise is never held against less than 0.3 mV of QRS complex,
  so that an asystole with electrode noise or P waves stays usable;
* a heart without rest between its beats (ventricular tachycardia, flutter, fibrillation, wide paced complexes): where
  the last seconds are one large regular wave, or beats that repeat each other, noise between beats is no argument.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from edge.conditioning.quality_features import Floats
from edge.conditioning.quality_rules import LeadVerdict, QualityRules, QualitySettings, millivolts
from edge.conditioning.sample_times import SampleTimes
from edge.messages import Quality, SampleBlock, SensorStatus

__all__ = ["QualitySettings", "SignalQuality", "UsableChannels"]

# Unusable seconds in a row after which another channel is to be used; one bad second passes (own choice).
_N_DOUBTED = 3
# Conditions that a device may report of itself and that make its samples useless.
_DEVICE_CONDITIONS = ("lead-off", "saturated")
# Seconds of a long block that are looked at together: as many as fit a processor's cache.
_N_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class UsableChannels:
    """Which channels could be trusted from one sample on."""

    sequence: int
    """Index of the sample at the end of the judged second."""
    names: frozenset[str]
    """Channels that were usable in one of the last three seconds."""


class SignalQuality:
    """Judge every second of a stream, and name its best channel.

    Push the raw blocks, and what the device says of itself (`SensorStatus`); give it a stream's ECG channels, or any
    others: the amplitude rules apply to ECG only.  A report of the device stays in force over a `reset`, because the
    electrode does not come back with the samples; only the device withdraws it.

    Parameters
    ----------
    settings : QualitySettings
        Where the signal stops being usable.
    """

    def __init__(self, settings: QualitySettings = QualitySettings()) -> None:  # noqa: B008 - frozen
        self._settings = settings
        self._reported: dict[str, str] = {}
        self._run: _Run | None = None

    def push(self, item: SampleBlock | SensorStatus) -> list[Quality]:
        """Return the verdicts on the seconds that `item` completed.

        Raises
        ------
        ValueError
            If the rate or the channels changed without a `reset`.
        """
        if isinstance(item, SensorStatus):
            self._report(item)
            return []
        if item.n_samples == 0:
            return []
        if self._run is None or item.sequence != self._run.end:
            self._run = _Run(self._settings, item)
        return self._run.add(item, self._reported)

    @property
    def usable_channels(self) -> frozenset[str]:
        """Names of the channels that were usable in one of the last three seconds; empty before the first."""
        return frozenset() if self._run is None else self._run.usable_channels

    @property
    def verdicts(self) -> tuple[UsableChannels, ...]:
        """For every `Quality` that the last block gave, which channels could be trusted from there on."""
        return () if self._run is None else self._run.verdicts

    def reset(self, reason: str) -> None:  # noqa: ARG002 - the stage shape; counted by the caller
        """Forget the signal so far; what the device reported of itself stays."""
        self._run = None

    def _report(self, status: SensorStatus) -> None:
        """Note a report; its `detail` may name the one channel it concerns, else it is about all."""
        if status.condition not in _DEVICE_CONDITIONS:
            return
        if status.is_active:
            self._reported[status.detail] = status.condition
        else:
            self._reported = {
                name: condition
                for name, condition in self._reported.items()
                if condition != status.condition or (status.detail and name != status.detail)
            }


class _Run:
    """One stretch without holes."""

    def __init__(self, settings: QualitySettings, first: SampleBlock) -> None:
        self._settings = settings
        self._format = first
        self._n_second = max(1, round(first.rate_hz))
        self._begin = first.sequence
        self.end = first.sequence
        """Sample index that comes next."""
        self.verdicts: tuple[UsableChannels, ...] = ()
        self._usable: deque[frozenset[str]] = deque(maxlen=_N_DOUBTED)
        self._times = SampleTimes(first.rate_hz)
        scales = [millivolts(channel) for channel in first.channels]
        self._scales = np.array(scales) if set(scales) != {1.0} else None
        self._names = tuple(channel.name for channel in first.channels)
        self._rules = QualityRules(settings, first.channels, first.rate_hz, self._n_second)
        self._parts: list[Floats] = []
        self._n_held = 0
        self._n_lead_in = -first.sequence % self._n_second
        """Samples before the first whole second."""

    @property
    def usable_channels(self) -> frozenset[str]:
        """Names of the channels that were usable in one of the last three seconds."""
        return frozenset().union(*self._usable)

    def add(self, item: SampleBlock, reported: dict[str, str]) -> list[Quality]:
        """Return the verdicts on the seconds that `item` completed."""
        if item.rate_hz != self._format.rate_hz or item.channels != self._format.channels:
            names = [channel.name for channel in item.channels]
            raise ValueError(
                f"expected {self._format.rate_hz} Hz and the same channels, got {item.rate_hz} Hz, {names}"
            )
        self._times.add(item.sequence, item.start_ns)
        self._parts.append(item.values if self._scales is None else item.values * self._scales)
        self._n_held += item.n_samples
        self.end = item.sequence + item.n_samples
        self.verdicts = ()
        if self._n_held < self._n_lead_in + self._n_second:
            return []
        held = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)
        held, self._n_lead_in = held[self._n_lead_in :], 0
        n_whole = len(held) // self._n_second * self._n_second
        self._parts, self._n_held = [held[n_whole:]], len(held) - n_whole
        at = self.end - len(held)
        out: list[Quality] = []
        verdicts: list[UsableChannels] = []
        for first in range(0, n_whole, _N_AT_ONCE * self._n_second):
            part = held[first : min(first + _N_AT_ONCE * self._n_second, n_whole)]
            for leads in self._rules.judge(part):
                at += self._n_second
                out.append(self._conclude(at, leads, reported))
                verdicts.append(UsableChannels(sequence=at, names=self.usable_channels))
        self.verdicts = tuple(verdicts)
        return out

    def _conclude(self, end: int, leads: list[LeadVerdict], reported: dict[str, str]) -> Quality:
        """Return the verdict on the stream: that on its best channel, with the device's own word."""
        if reported:
            self._heed(leads, reported)
        if end - self._n_second - self._begin < self._settings.settling_s * self._format.rate_hz:
            for verdict in leads:
                verdict.doubt("settling")
        least = self._settings.min_quality
        best = max(range(len(leads)), key=lambda k: leads[k].index)
        index = leads[best].index
        self._usable.append(
            frozenset(name for name, verdict in zip(self._names, leads, strict=True) if verdict.index >= least)
        )
        return Quality(
            sensor=self._format.sensor,
            stream=self._format.stream,
            at_ns=self._times.at_ns(end),
            index=index,
            is_usable=index >= least,
            reasons=leads[best].reasons(self._settings.named_below) if index < self._settings.named_below else (),
            channel=self._names[best],
            sequence=end,
        )

    def _heed(self, leads: list[LeadVerdict], reported: dict[str, str]) -> None:
        """Let what the device says of a channel, or of all, stand above what the samples look like."""
        for name, condition in reported.items():
            for k, channel in enumerate(self._names):
                if name == channel or name not in self._names:
                    leads[k] = LeadVerdict(index=0.0, parts=((0.0, condition),))
