"""Raw samples -> how far they can be trusted, once a second of the sample grid.

The index withholds values, so it asks one question: would the beat detector be right here?  Measured on the 21
unpaced records of MIT-BIH DS1 with the muscle noise of the Noise Stress Test added at 18 to 0 dB (first lead): the
ratio of the noise between 20 and 35 Hz to the QRS amplitude tells the detector's errors per beat: 0.4 % below 0.03,
5 % at 0.07, 10 % at 0.09, 20 % at 0.12, 50 % at 0.2.  At the default limit of 0.6 the ratio is 0.1.

A heart that stands still must not look like a loose electrode: *flat* means less than any live electrode gives
(no more than one step of the converter from lowest to highest value over a whole second), and the noise limits
never become stricter than for a QRS complex of 0.3 mV, so that an asystole with electrode noise stays usable.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.filters import FilterChain, FilterSettings
from edge.conditioning.sample_times import SampleTimes
from edge.messages import Channel, ChannelKind, Quality, SampleBlock, SensorStatus

Columns = NDArray[np.float64]

# Exact runs shorter than this also occur at an unclipped maximum of a coarse converter.
_CLIPPED_RUN_S = 0.1
_CLIPPED_FROM_MV = 1.0
_MAINS_HZ = (50.0, 60.0)
# What is left of the mains behind the detector's 5-20 Hz band-pass (computed: 0.12 at 50 Hz, 0.08 at 60 Hz).
_MAINS_LEFT = 0.12
_N_AMPLITUDES = 10
# Unusable seconds in a row after which another channel is to be used; one bad second passes (own choice).
_N_DOUBTED = 3
# Conditions that a device may report of itself and that make its samples useless.
_DEVICE_CONDITIONS = ("lead-off", "saturated")


@dataclass(frozen=True, kw_only=True, slots=True)
class QualitySettings:
    """Where the signal stops being usable."""

    min_quality: float = 0.6
    """Smallest index at which values are shown (contract, ``[ecg] min_quality``)."""
    settling_s: float = 1.6
    """After a start the 0.5 Hz filter needs this long to fade to 1 % (measured on the design)."""
    useless_noise_ratio: float = 0.25
    """Noise in 20-35 Hz, relative to the QRS amplitude, that gives index 0; see the head of this file."""
    least_amplitude_mv: float = 0.3
    """The QRS amplitude is never taken for less, so that an asystole is not judged by its own noise."""
    useless_swing_mv: float = 12.5
    """Swing of the 0.2 s means within a second that gives index 0; with swings of 5 mV (index 0.6) the detector's
    errors per beat were 5 % (real baseline wander of the Noise Stress Test)."""
    useless_clipped_ratio: float = 0.25
    """Share of clipped samples that gives index 0: a clipped QRS complex still counts, a rail does not."""
    flat_mv: float = 0.002
    """Largest swing of a dead input over a second, where the converter's step is unknown or smaller."""
    named_below: float = 0.8
    """A cause is named once it alone pulls the index below this."""

    def __post_init__(self) -> None:
        if not 0 < self.min_quality <= 1:
            raise ValueError(f"expected 0 < min_quality <= 1, got {self.min_quality}")


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

    def __init__(self, settings: QualitySettings = QualitySettings()) -> None:
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
        return frozenset() if self._run is None else frozenset().union(*self._run.usable)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    index: float
    reasons: tuple[str, ...]


class _Run:
    """One stretch without holes."""

    def __init__(self, settings: QualitySettings, first: SampleBlock) -> None:
        self._settings = settings
        self._format = first
        self._rate_hz = first.rate_hz
        self._n_second = max(1, round(first.rate_hz))
        self._begin = first.sequence
        self.end = first.sequence
        """Sample index that comes next."""
        self.usable: deque[frozenset[str]] = deque(maxlen=_N_DOUBTED)
        """Channels that were usable, by second."""
        self._times = SampleTimes(first.rate_hz)
        self._noise_filter = FilterChain(FilterSettings(band_hz=(20.0, 35.0), order=4))
        self._qrs_filter = FilterChain(FilterSettings(band_hz=(5.0, 20.0), order=2))
        self._has_bands = first.rate_hz > 80.0  # 35 Hz must be well below half of it
        self._parts: list[Columns] = []
        n_channels = len(first.channels)
        self._amplitudes: list[deque[float]] = [deque(maxlen=_N_AMPLITUDES) for _ in range(n_channels)]
        self._last_mean: list[float | None] = [None] * n_channels
        self._was_missing = [False] * n_channels
        self._mains = _mains_waves(first.rate_hz, self._n_second)

    def add(self, item: SampleBlock, reported: dict[str, str]) -> list[Quality]:
        """Return the verdicts on the seconds that `item` completed."""
        self._times.add(item.sequence, item.start_ns)
        out = []
        at = 0
        while at < item.n_samples:
            n_part = min(item.n_samples - at, self._n_second - (item.sequence + at) % self._n_second)
            self._parts.append(item.values[at : at + n_part])
            at += n_part
            self.end = item.sequence + at
            if self.end % self._n_second == 0:
                out += self._second(reported)
        return out

    def _second(self, reported: dict[str, str]) -> list[Quality]:
        raw = np.concatenate(self._parts)
        self._parts = []
        noise, qrs = self._bands(raw)
        if len(raw) < self._n_second:  # the stream began inside this second
            return []
        verdicts = [self._channel(k, raw[:, k], noise[:, k], qrs[:, k]) for k in range(raw.shape[1])]
        is_settling = self.end - self._n_second - self._begin < self._settings.settling_s * self._rate_hz
        verdicts = [
            self._with_device(verdict, channel, reported, is_settling=is_settling)
            for verdict, channel in zip(verdicts, self._format.channels, strict=True)
        ]
        self.usable.append(
            frozenset(
                channel.name
                for verdict, channel in zip(verdicts, self._format.channels, strict=True)
                if verdict.index >= self._settings.min_quality
            )
        )
        best = max(range(len(verdicts)), key=lambda k: verdicts[k].index)
        return [
            Quality(
                sensor=self._format.sensor,
                stream=self._format.stream,
                at_ns=self._times.at_ns(self.end),
                index=verdicts[best].index,
                is_usable=verdicts[best].index >= self._settings.min_quality,
                reasons=verdicts[best].reasons,
                channel=self._format.channels[best].name,
                sequence=self.end,
            )
        ]

    def _bands(self, raw: Columns) -> tuple[Columns, Columns]:
        """Return `raw` in the noise band and in the QRS band; one call a second is cheaper than one a block."""
        if not self._has_bands:
            return np.zeros(raw.shape), np.zeros(raw.shape)
        second = replace(self._format, values=raw, sequence=self.end - len(raw))
        return self._noise_filter.push(second)[0].values, self._qrs_filter.push(second)[0].values

    def _with_device(
        self, verdict: _Verdict, channel: Channel, reported: dict[str, str], *, is_settling: bool
    ) -> _Verdict:
        names = [candidate.name for candidate in self._format.channels]
        for name, condition in reported.items():
            if name == channel.name or name not in names:
                return _Verdict(index=0.0, reasons=(condition,))
        if is_settling and verdict.index > 0:
            # Half of any index is below every sensible limit, and the other reasons stay readable.
            return _Verdict(index=0.5 * verdict.index, reasons=(*verdict.reasons, "settling"))
        return verdict

    def _channel(self, k: int, raw: Columns, noise: Columns, qrs: Columns) -> _Verdict:
        settings = self._settings
        channel = self._format.channels[k]
        was_missing, self._was_missing[k] = self._was_missing[k], bool(np.isnan(qrs).any() or np.isnan(raw).any())
        if self._was_missing[k]:
            self._last_mean[k] = None
            return _Verdict(index=0.0, reasons=("lead-off",))
        low, high = float(raw.min()), float(raw.max())
        clipped_ratio = _clipped_ratio(raw, channel, round(_CLIPPED_RUN_S * self._rate_hz))
        if high - low <= max(settings.flat_mv, 1.001 * (channel.resolution or 0.0)):
            return _Verdict(index=0.0, reasons=("saturated",) if clipped_ratio > 0 else ("flat",))
        parts = {"saturated": 1.0 - clipped_ratio / settings.useless_clipped_ratio}
        if channel.kind is ChannelKind.ECG:
            parts |= self._ecg_parts(k, raw, noise, qrs)
        if was_missing:
            parts["settling"] = 0.5
        index = min(parts.values())
        reasons = tuple(name for name, part in sorted(parts.items(), key=_by_weight) if part < settings.named_below)
        return _Verdict(index=float(min(1.0, max(0.0, index))), reasons=reasons)

    def _ecg_parts(self, k: int, raw: Columns, noise: Columns, qrs: Columns) -> dict[str, float]:
        settings = self._settings
        swing_mv = self._swing(k, raw)
        self._amplitudes[k].append(float(np.abs(qrs).max()))
        amplitude = max(settings.least_amplitude_mv, float(np.median(self._amplitudes[k])))
        noise_mv = float(np.median(np.abs(noise))) / 0.6745  # of a Gaussian; QRS complexes are too short to count
        mains_mv = float(np.abs(self._mains @ raw).max(initial=0.0)) * np.sqrt(2.0)
        return {
            "noise": 1.0 - noise_mv / amplitude / settings.useless_noise_ratio,
            "mains": 1.0 - _MAINS_LEFT * mains_mv / amplitude / settings.useless_noise_ratio,
            "motion": 1.0 - swing_mv / settings.useless_swing_mv,
        }

    def _swing(self, k: int, raw: Columns) -> float:
        """Return how far the 0.2 s means moved within this second, the end of the one before included."""
        means = [float(part.mean()) for part in np.array_split(raw, 5)]
        last, self._last_mean[k] = self._last_mean[k], means[-1]
        if last is not None:
            means.append(last)
        return max(means) - min(means)


def _by_weight(item: tuple[str, float]) -> float:
    return item[1]


def _mains_waves(rate_hz: float, n_samples: int) -> NDArray[np.complex128]:
    """Return the projections on 50 and 60 Hz, shape (n_frequencies, n_samples), tapered against wander."""
    n = np.arange(n_samples)
    taper = np.hanning(n_samples)
    taper /= max(float(taper.sum()), 1.0)
    waves = [taper * np.exp(-2j * np.pi * hz / rate_hz * n) for hz in _MAINS_HZ if hz < 0.48 * rate_hz]
    return np.array(waves, dtype=np.complex128).reshape(len(waves), n_samples)


def _clipped_ratio(raw: Columns, channel: Channel, n_run: int) -> float:
    """Return the share of samples at a rail: a known one, or an extreme that is held exactly for a long run."""
    margin = 0.5 * (channel.resolution or 0.0)
    is_clipped = np.zeros(len(raw), dtype=bool)
    if channel.minimum is not None:
        is_clipped |= raw <= channel.minimum + margin
    if channel.maximum is not None:
        is_clipped |= raw >= channel.maximum - margin
    for extreme in (float(raw.min()), float(raw.max())):
        if abs(extreme - float(np.median(raw))) < _CLIPPED_FROM_MV and not is_clipped.any():
            continue
        is_extreme = raw == extreme
        if _longest_run(is_extreme) >= n_run and float(np.ptp(raw)) > _CLIPPED_FROM_MV:
            is_clipped |= is_extreme
    return float(is_clipped.mean())


def _longest_run(is_set: NDArray[np.bool_]) -> int:
    """Return the length of the longest run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_set, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
