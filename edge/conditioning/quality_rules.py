"""Figures of a second -> its index and the reasons: noise, saturation, mains, wander, a dead input, other leads.

Plain numbers and no arrays: a handful of figures a second is handled faster so, and reads like the rule it is.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from edge.conditioning.quality_features import Figures, Floats, QualityFeatures
from edge.conditioning.quality_index import ErrorCauses, index_of
from edge.messages import Channel, ChannelKind

# Exact runs shorter than this also occur at an unclipped maximum of a coarse converter.
_CLIPPED_RUN_S = 0.1
_CLIPPED_FROM_MV = 1.0
# What is left of the mains behind the detector's 5-20 Hz band-pass (computed: 0.12 at 50 Hz, 0.08 at 60 Hz).
_MAINS_LEFT = 0.12
# Factor from a channel's unit to millivolts; an unknown unit is taken as it is.
_TO_MV = (("mV", 1.0), ("uV", 1e-3), ("V", 1e3), ("nV", 1e-6))
# Half of any index is below every sensible limit, and the other reasons stay readable.
_DOUBTED = 0.5
_N_AMPLITUDES = 10
"""Seconds whose largest deflections make the amplitude; half of them may be without a beat."""
_N_STEADY = 4
_BEATLESS_RATIO = 0.3
"""A second whose largest deflection stays below this share of the amplitude has no beat: it says nothing of heights."""
_TINY = 1e-24


WAVES = "waves"
"""Reason of a second that is one large regular wave: fibrillation or movement.  It stays usable, so that the rule on
fibrillation sees it, but what a beat detector finds in it is no beat."""
_BEATS = "beats"


@dataclass(frozen=True, kw_only=True, slots=True)
class QualitySettings:
    """Where the signal stops being usable."""

    min_quality: float = 0.6
    """Smallest index at which values are shown (contract, ``[ecg] min_quality``); what it means: `quality_index`."""
    settling_s: float = 1.6
    """After a start the 0.5 Hz filter needs this long to fade to 1 % (measured on the design)."""
    least_amplitude_mv: float = 0.3
    """The QRS amplitude is never taken for less, so that an asystole is not judged by its own noise."""
    useless_mains_ratio: float = 0.25
    """Mains that the detector's band-pass leaves, relative to the QRS amplitude, that gives index 0."""
    useless_swing_mv: float = 12.5
    """Range of the 0.2 s means within two seconds that gives index 0; with ranges of 5 mV (index 0.6) the detector's
    errors per beat were 5 % (real baseline wander of the Noise Stress Test)."""
    useless_clipped_ratio: float = 0.25
    """Share of clipped samples that gives index 0: a clipped QRS complex still counts, a rail does not."""
    flat_mv: float = 0.002
    """Largest swing of a dead input over a second, where the converter's step is unknown or smaller."""
    wave_leakage: float = 0.5
    """Leakage below this is one large regular wave; the fibrillation alarm begins at 0.406 (Kuo and Dillman 1978)."""
    wave_mv: float = 0.3
    """A wave with a smaller range in the last second is none (own choice, three times the fibrillation alarm's)."""
    least_repetition: float = 0.85
    """From this autocorrelation on it is beats that leave no rest (wide, fast, paced), and no noise.  Of some 9,700
    doubtful seconds of ten MIT-BIH records under noise at 12 and 6 dB one in a hundred reached 0.8, next to none 0.9;
    wide paced complexes at 110 and 150 bpm of the virtual patient give 0.99."""
    beatless_kurtosis: float = 5.0
    """A lead with less shows no beats: Gaussian noise has 3."""
    beating_kurtosis: float = 10.0
    """A lead with more shows beats (clean leads of MIT-BIH: 10 to 40)."""
    named_below: float = 0.8
    """A cause is named once it alone pulls the index below this."""

    def __post_init__(self) -> None:
        if not 0 < self.min_quality <= 1:
            raise ValueError(f"expected 0 < min_quality <= 1, got {self.min_quality}")


@dataclass(slots=True, kw_only=True)
class LeadVerdict:
    """On one second of one channel."""

    index: float
    """0-1."""
    parts: tuple[tuple[float, str], ...]
    """The index as far as each rule goes, with the rule's word."""
    noise: float = 1.0
    """The index as far as noise and motion go."""
    causes: ErrorCauses | None = None
    """What made the noise."""
    amplitude: float = 0.0
    kurtosis: float = 0.0
    """Of the 5-20 Hz band over two seconds; 3 for Gaussian noise, above 10 where beats stand out."""
    doubts: list[str] = field(default_factory=list)
    """Why the second is not trusted, though it may look well."""

    def reasons(self, named_below: float) -> tuple[str, ...]:
        """Return the words for what is wrong, the worst first."""
        parts = list(self.parts)
        if self.causes is not None:
            parts += [(self.noise, word) for word in self.causes.named()]
        words = [word for part, word in sorted(parts, key=lambda item: item[0]) if part < named_below]
        return tuple(dict.fromkeys([*words, *self.doubts]))

    def doubt(self, word: str) -> None:
        """Halve the index for a reason that no figure shows."""
        if self.index > 0.0:
            self.index *= _DOUBTED
            self.doubts.append(word)


class QualityRules:
    """Judge the seconds of a stretch without holes.

    Parameters
    ----------
    settings : QualitySettings
        Where the signal stops being usable.
    channels : tuple of Channel
        What the columns are.
    rate_hz : float
        Sampling rate.
    n_second : int
        Samples of a second.
    """

    def __init__(self, settings: QualitySettings, channels: tuple[Channel, ...], rate_hz: float, n_second: int) -> None:
        self._settings = settings
        self._features = QualityFeatures(rate_hz, n_second, len(channels))
        n_run = max(2, round(_CLIPPED_RUN_S * rate_hz))
        self._leads = [_Lead(settings, channel, k, self._features, n_run) for k, channel in enumerate(channels)]
        self._is_ecg = [channel.kind is ChannelKind.ECG for channel in channels]

    def judge(self, raw: Floats) -> list[list[LeadVerdict]]:
        """Return the verdicts on `raw`, by second and channel.

        `raw` are whole seconds in millivolts, shape (n_seconds * n_second, n_channels).
        """
        out = []
        for second, figures in enumerate(self._features.measure(raw)):
            verdicts = [lead.judge(second, of_lead) for lead, of_lead in zip(self._leads, figures, strict=True)]
            if len(verdicts) > 1:
                self._compare(verdicts)
            out.append(verdicts)
        return out

    def _compare(self, verdicts: list[LeadVerdict]) -> None:
        """Doubt the leads in which no beat stands out while another lead shows beats."""
        settings = self._settings
        ecg = [verdict for verdict, is_ecg in zip(verdicts, self._is_ecg, strict=True) if is_ecg]
        shows = [
            verdict.index >= settings.min_quality
            and verdict.kurtosis >= settings.beating_kurtosis
            and verdict.amplitude >= settings.least_amplitude_mv
            for verdict in ecg
        ]
        if any(shows):
            for verdict in ecg:
                if verdict.kurtosis < settings.beatless_kurtosis:
                    verdict.doubt("detector-disagreement")


class _Lead:
    """The rules for one channel, and what they remember of it."""

    def __init__(
        self, settings: QualitySettings, channel: Channel, column: int, features: QualityFeatures, n_run: int
    ) -> None:
        self._settings = settings
        self._features = features
        self._column = column
        self._n_run = n_run
        self._is_ecg = channel.kind is ChannelKind.ECG
        scale = millivolts(channel)
        step = scale * (channel.resolution or 0.0)
        self._flat = max(settings.flat_mv, 1.001 * step)
        self._floor = -math.inf if channel.minimum is None else scale * channel.minimum + 0.5 * step
        self._ceiling = math.inf if channel.maximum is None else scale * channel.maximum - 0.5 * step
        self._peaks: deque[float] = deque(maxlen=_N_AMPLITUDES)
        self._unsteady: deque[float] = deque([0.0] * _N_STEADY, maxlen=_N_STEADY)
        self._before: Figures | None = None
        self._swing = 0.0
        self._was_missing = False

    def judge(self, second: int, figures: Figures) -> LeadVerdict:
        """Return the verdict on one second."""
        if figures.is_missing:
            self._was_missing, self._before, self._swing = True, None, 0.0
            return LeadVerdict(index=0.0, parts=((0.0, "lead-off"),))
        was_missing, self._was_missing = self._was_missing, False
        verdict = self._ecg(second, figures) if self._is_ecg else LeadVerdict(index=1.0, parts=())
        held_ratio = self._held_ratio(second, figures)
        if figures.high - figures.low <= self._flat:
            return LeadVerdict(index=0.0, parts=((0.0, "saturated" if held_ratio > 0 else "flat"),))
        if held_ratio > 0:
            part = max(0.0, 1.0 - held_ratio / self._settings.useless_clipped_ratio)
            verdict.parts = ((part, "saturated"), *verdict.parts)
            verdict.index = min(verdict.index, part)
        if was_missing:
            verdict.doubt("settling")
        return verdict

    def _held_ratio(self, second: int, figures: Figures) -> float:
        is_at_rail = figures.low <= self._floor or figures.high >= self._ceiling
        is_held = figures.high - figures.low > _CLIPPED_FROM_MV and max(figures.n_low, figures.n_high) >= self._n_run
        if not is_at_rail and not is_held:
            return 0.0
        return self._features.held_ratio(second, self._column, self._floor, self._ceiling, self._n_run)

    def _ecg(self, second: int, figures: Figures) -> LeadVerdict:
        settings = self._settings
        before = self._before or figures
        self._before = figures
        self._peaks.append(figures.peak)
        ordered = sorted(self._peaks)
        amplitude = 0.5 * (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2])
        scale = max(settings.least_amplitude_mv, amplitude)
        square = figures.square + before.square
        kurtosis = 2.0 * (figures.fourth + before.fourth) / max(square * square, _TINY)
        swing = self._swing_since(before, figures)
        ratio = figures.peak / scale
        self._unsteady.append(math.log(ratio) ** 2 if ratio > _BEATLESS_RATIO else 0.0)
        causes = ErrorCauses(
            in_band=figures.rest / scale / math.sqrt(max(kurtosis, 1.0)),
            muscle=0.5 * (figures.muscle + before.muscle) / scale,
            unsteady=math.sqrt(sum(self._unsteady) / _N_STEADY),
            swing=swing,
        )
        noise = index_of(causes.share())
        heart = self._heart(second, figures) if noise < settings.min_quality else None
        if heart is not None:
            noise = settings.min_quality
        mains = _MAINS_LEFT * _largest_wave(figures.mains) / scale
        parts = (
            (max(0.0, 1.0 - mains / settings.useless_mains_ratio), "mains"),
            (max(0.0, 1.0 - swing / settings.useless_swing_mv), "baseline"),
        )
        return LeadVerdict(
            index=min(noise, parts[0][0], parts[1][0]),
            parts=parts,
            noise=noise,
            causes=causes,
            amplitude=amplitude,
            kurtosis=kurtosis,
            doubts=[WAVES] if heart == WAVES else [],
        )

    def _swing_since(self, before: Figures, figures: Figures) -> float:
        """Return the range of the 0.2 s means, the larger one of this second and the one before."""
        means = [before.means[-1], *figures.means]
        last, self._swing = self._swing, max(means) - min(means)
        return max(last, self._swing)

    def _heart(self, second: int, figures: Figures) -> str | None:
        """Return what the heart does where it looks like noise: beats that repeat, or `WAVES`; None where it is noise."""
        settings = self._settings
        if figures.high - figures.low < settings.wave_mv:
            return None
        repetition = self._features.repetition(second, self._column)
        if repetition is not None and repetition >= settings.least_repetition:
            return _BEATS
        leakage = self._features.leakage(second, self._column)
        return WAVES if leakage is not None and leakage < settings.wave_leakage else None


def millivolts(channel: Channel) -> float:
    """Return the factor from the channel's unit to millivolts; 1 for a unit that is no voltage."""
    return next((factor for unit, factor in _TO_MV if unit == channel.unit), 1.0)


def _largest_wave(parts: list[float]) -> float:
    """Return the larger amplitude of the waves given by sine and cosine."""
    if not parts:
        return 0.0
    return max(math.hypot(parts[0], parts[1]), math.hypot(parts[-2], parts[-1]))
