"""Noise added to an ECG at a defined signal-to-noise ratio: the noise stress test of ANSI/AAMI EC57.

::

    noisy = stress(record_mv, beats, noise, rate_hz, snr_db=6.0)

The record stays clean for five minutes; then two noisy minutes and two clean ones alternate.  The signal's power is an
eighth of the square of the QRS amplitude (that of a sine wave as large as the complexes), so that neither the heart
rate nor the wander of the record counts; the noise's power is that of its movement within single seconds.  Both are
trimmed means (5 % off either end), the definition of PhysioNet's ``nst`` and ``sigamp``.

`surrogate` makes noise where the recorded one (PhysioNet's ``nstdb``) is not at hand.  Figures measured with it say
nothing about the recorded noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from edge.messages import ChannelKind, Samples, StreamInfo
from firmware_bridge.virtual.source import Source, SourceVitals

FloatArray = NDArray[np.float64]

SURROGATES = ("bw", "em", "ma")
"""Kinds of `surrogate`: baseline wander, electrode motion, muscle; named as in ``nstdb``."""

_QRS_HALF_S = 0.05
_N_MEASURED = 300
"""So many beats, and so many seconds of noise, are measured."""
_TRIMMED = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class StressSchedule:
    """When noise is added; the defaults are those of the test."""

    clean_s: float = 300.0
    """Clean at the beginning: the time that EC57 gives a detector to learn."""
    noisy_s: float = 120.0
    """Length of a noisy stretch."""
    rest_s: float = 120.0
    """Length of a clean stretch between two noisy ones; 0 for noise throughout."""

    def __post_init__(self) -> None:
        if self.clean_s < 0 or not self.noisy_s > 0 or self.rest_s < 0:
            raise ValueError(f"expected clean_s >= 0, noisy_s > 0 and rest_s >= 0, got {self}")

    def is_noisy(self, first: int, n_samples: int, rate_hz: float) -> NDArray[np.bool_]:
        """Return which of the samples `first` and following are noisy."""
        after_s = np.arange(first, first + n_samples) / rate_hz - self.clean_s
        return np.asarray((after_s >= 0) & (after_s % (self.noisy_s + self.rest_s) < self.noisy_s))


def qrs_amplitude(lead: FloatArray, beats: Sequence[int] | NDArray[np.int64], rate_hz: float) -> float:
    """Return the typical peak-to-peak amplitude of a lead within 50 ms of its beats, in the unit of the lead.

    Parameters
    ----------
    lead : numpy.ndarray
        Shape (n_samples,).
    beats : sequence of int
        Sample indices of normal beats; the first 300 that lie wholly inside are measured.
    rate_hz : float
        Sampling rate.

    Raises
    ------
    ValueError
        If no beat can be measured.
    """
    n_half = round(_QRS_HALF_S * rate_hz)
    spans = [lead[at - n_half : at + n_half + 1] for at in beats if n_half <= at < len(lead) - n_half]
    heights = [float(np.ptp(span)) for span in spans if not np.isnan(span).any()]
    if not heights:
        raise ValueError("expected at least one beat inside the signal, got none: its amplitude is not known")
    return _trimmed_mean(heights[:_N_MEASURED])


def noise_rms(noise: FloatArray, rate_hz: float) -> float:
    """Return the typical root mean square of one second of `noise` about its mean; its first five minutes count.

    Raises
    ------
    ValueError
        If the noise is shorter than a second, or constant.
    """
    n_second = max(1, round(rate_hz))
    n_whole = min(_N_MEASURED, len(noise) // n_second)
    rms = _trimmed_mean(noise[: n_whole * n_second].reshape(n_whole, n_second).std(axis=1)) if n_whole else 0.0
    if not rms > 0:
        raise ValueError(f"expected at least 1 s of noise that moves, got {len(noise)} samples")
    return rms


def noise_gain(amplitude: float, rms: float, snr_db: float) -> float:
    """Return the factor that brings noise of `rms` to `snr_db` under QRS complexes of `amplitude` peak to peak."""
    return float(amplitude / math.sqrt(8.0) / rms * 10.0 ** (-snr_db / 20.0))


def stress(
    values: FloatArray,
    beats: Sequence[int] | NDArray[np.int64],
    noise: FloatArray,
    rate_hz: float,
    *,
    snr_db: float,
    schedule: StressSchedule = StressSchedule(),
) -> FloatArray:
    """Return `values` with noise at `snr_db`, solved for every lead by itself.

    Parameters
    ----------
    values : numpy.ndarray
        Leads, shape (n_samples,) or (n_samples, n_leads).
    beats : sequence of int
        Sample indices of normal beats.
    noise : numpy.ndarray
        Shape (n,) or (n, k), at the rate of `values`; too short noise is repeated, lead ``j`` gets column ``j % k``.
    rate_hz : float
        Sampling rate.
    snr_db : float
        Signal-to-noise ratio of the noisy stretches.
    schedule : StressSchedule
        When they are.
    """
    leads = values[:, None] if values.ndim == 1 else values
    columns = noise[:, None] if noise.ndim == 1 else noise
    gains = stress_gains(leads, beats, columns, rate_hz, snr_db=snr_db)
    is_noisy = schedule.is_noisy(0, len(leads), rate_hz)[:, None]
    return (leads + np.where(is_noisy, _cut(columns, 0, len(leads), len(gains)) * gains, 0.0)).reshape(values.shape)


def stress_gains(
    leads: FloatArray,
    beats: Sequence[int] | NDArray[np.int64],
    noise: FloatArray,
    rate_hz: float,
    *,
    snr_db: float,
) -> FloatArray:
    """Return the gain of the noise for every lead, shape (n_leads,); `noise` has shape (n, k)."""
    return np.array(
        [
            noise_gain(
                qrs_amplitude(leads[:, k], beats, rate_hz), noise_rms(noise[:, k % noise.shape[1]], rate_hz), snr_db
            )
            for k in range(leads.shape[1])
        ]
    )


def at_rate(noise: FloatArray, rate_hz: float, wanted_hz: float) -> FloatArray:
    """Return `noise`, shape (n,) or (n, k), at another whole sampling rate."""
    if rate_hz == wanted_hz:
        return noise
    up, down = round(wanted_hz), round(rate_hz)
    divisor = math.gcd(up, down)
    return np.asarray(signal.resample_poly(noise, up // divisor, down // divisor, axis=0), dtype=np.float64)


def surrogate(kind: str, n_samples: int, rate_hz: float, *, seed: int = 1) -> FloatArray:
    """Return synthetic noise, shape (n_samples,), of one of the `SURROGATES`.

    *bw* lies below 0.7 Hz; *ma* between 15 and 60 Hz with a slowly changing level; *em* in the band of the QRS complex
    and below (0.7-8 Hz), in bursts, with steps that fade like a polarised electrode.  The bands are own choices.

    Raises
    ------
    ValueError
        If the kind is unknown.
    """
    rng = np.random.default_rng([seed, *kind.encode()])
    white = rng.standard_normal(n_samples)
    if kind == "bw":
        return _band(white, 0.05, 0.7, rate_hz)
    if kind == "ma":
        level = np.exp(0.5 * _unit(_band(rng.standard_normal(n_samples), 0.02, 0.2, rate_hz)))
        return _unit(_band(white, 15.0, 60.0, rate_hz)) * level
    if kind == "em":
        is_burst = _unit(_band(rng.standard_normal(n_samples), 0.1, 0.5, rate_hz)) > 0.0
        fading = np.exp(-1.0 / (0.35 * rate_hz))
        steps = np.where(rng.random(n_samples) < 0.25 / rate_hz, rng.standard_normal(n_samples), 0.0)
        relaxing = np.asarray(signal.lfilter([1.0], [1.0, -fading], steps), dtype=np.float64)
        return _unit(_band(white, 0.7, 8.0, rate_hz)) * is_burst + 2.0 * relaxing
    raise ValueError(f"expected one of {', '.join(SURROGATES)}, got {kind!r}")


class StressedSource:
    """A source of samples, with noise in one of its ECG streams.

    Parameters
    ----------
    source : Source
        What is spoilt.
    stream : str
        Its ECG stream.
    noise : numpy.ndarray
        Shape (n, k), at the rate of the stream.
    gains : numpy.ndarray
        Shape (n_leads,), from `stress_gains`.
    schedule : StressSchedule
        When noise is added.
    """

    def __init__(
        self, source: Source, stream: str, noise: FloatArray, gains: FloatArray, schedule: StressSchedule
    ) -> None:
        self._source = source
        self._stream = stream
        self._noise = noise
        self._gains = gains
        self._schedule = schedule
        self._rate_hz = next(info.nominal_rate_hz for info in source.streams if info.name == stream)
        self._at = 0

    @property
    def streams(self) -> tuple[StreamInfo, ...]:
        """The signals there are."""
        return self._source.streams

    def read(self, stream: str, n_samples: int) -> Samples:
        """Return the next samples of a stream; what is missing stays missing, and the converter's rails hold."""
        values = self._source.read(stream, n_samples)
        if stream != self._stream:
            return values
        is_noisy = self._schedule.is_noisy(self._at, len(values), self._rate_hz)[:, None]
        noise = _cut(self._noise, self._at, len(values), values.shape[1]) * self._gains
        self._at += len(values)
        return np.clip(values + np.where(is_noisy, noise, 0.0), *self._rails())

    def vitals_at(self, at_s: float) -> SourceVitals:
        """Return the values at an instant."""
        return self._source.vitals_at(at_s)

    def _rails(self) -> tuple[FloatArray, FloatArray]:
        channels = next(info.channels for info in self._source.streams if info.name == self._stream)
        low = [-np.inf if channel.minimum is None else channel.minimum for channel in channels]
        high = [np.inf if channel.maximum is None else channel.maximum for channel in channels]
        return np.array(low), np.array(high)


def ecg_stream(source: Source) -> StreamInfo | None:
    """Return the first stream of a source that is all ECG; None where there is none."""
    return next(
        (info for info in source.streams if all(channel.kind is ChannelKind.ECG for channel in info.channels)), None
    )


def _cut(noise: FloatArray, first: int, n_samples: int, n_leads: int) -> FloatArray:
    """Return `n_samples` of noise from its sample `first` on, repeated as needed, one column a lead."""
    rows = np.arange(first, first + n_samples) % len(noise)
    return noise[rows][:, np.arange(n_leads) % noise.shape[1]]


def _trimmed_mean(values: Sequence[float] | FloatArray) -> float:
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n_off = int(_TRIMMED * len(ordered))
    return float(ordered[n_off : len(ordered) - n_off].mean())


def _band(white: FloatArray, low_hz: float, high_hz: float, rate_hz: float) -> FloatArray:
    sos = signal.butter(2, [low_hz, min(high_hz, 0.45 * rate_hz)], "bandpass", fs=rate_hz, output="sos")
    return np.asarray(signal.sosfilt(sos, white), dtype=np.float64)


def _unit(values: FloatArray) -> FloatArray:
    return np.asarray(values / max(float(values.std()), 1e-12), dtype=np.float64)
