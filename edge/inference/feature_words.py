"""The features of the models in a nurse's words: what each one says, in which unit, and to which question it belongs.

A name that is not here still gets words, from itself and the unit at its end.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

BEAT_GROUPS = {
    "timing": "when the beat came",
    "qrs": "the shape of its QRS complex (the tall main wave of a beat)",
    "p": "the P wave before it (the small wave of the atria)",
    "t": "the ST segment and T wave after it",
    "form": "how often beats of this shape occur in this patient",
    "neighbours": "the beats before and after it",
    "rest": "the signal before the P wave and after the T wave",
    "signal": "the quality of the signal",
}
"""Questions about one beat, by name of the group."""

RHYTHM_GROUPS = {
    "intervals": "how irregular the beats come",
    "early": "early beats and pauses",
    "atria": "the waves between the beats (P waves, or the flicker of the atria)",
    "shapes": "the shapes of the beats",
    "rate": "the heart rate",
    "signal": "the quality of the signal",
    "curve": "the ECG curve itself",
}
"""Questions about a rhythm, by name of the group."""


@dataclass(frozen=True, slots=True)
class FeatureWords:
    """How one feature is said."""

    group: str
    """The question it belongs to: a key of `BEAT_GROUPS` or `RHYTHM_GROUPS`."""
    text: str
    """What it is: ``{}`` stands for the value, which else follows behind a colon."""
    unit: str = ""
    """``%`` (of a ratio), ``alike`` (a correlation in per cent), ``yes-no``, or a unit that is written behind the value."""
    rank: int = 2
    """1: said first, being plain; 2: said when it stands out; 3: too technical for a sentence, shown in tables only."""


def words_of(name: str) -> FeatureWords:
    """Return how a feature is said; of an unknown one by its own name.

    Examples
    --------
    >>> words_of("width_ratio").text
    'its QRS complex lasts {} of the usual time'
    >>> words_of("sock_length_ms")
    FeatureWords(group='other', text='sock length', unit='ms', rank=2)
    """
    known = FEATURE_WORDS.get(name)
    if known is not None:
        return known
    average = re.fullmatch(r"average_(\d\d)", name)
    if average is not None:
        k = int(average[1])
        part = "atria" if k < _N_BEFORE_QRS else "shapes"
        return FeatureWords(part, f"height of the average beat at point {k + 1} of 24", "%", 3)
    for end, unit in _UNITS.items():
        if name.endswith(end):
            return FeatureWords("other", name.removesuffix(end).replace("_", " "), unit)
    return FeatureWords("other", name.replace("_", " "))


def value_words(value: float, unit: str) -> str:
    """Return a value with its unit as it is read aloud.

    Examples
    --------
    >>> value_words(0.62, "%"), value_words(-0.314, "alike"), value_words(1.0, "yes-no"), value_words(123.4, "ms")
    ('62 %', '-31 %', 'yes', '123 ms')
    """
    if math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "out of range"
    if unit in {"%", "alike"}:
        return f"{100 * value:.0f} %".replace("-0 %", "0 %")
    if unit == "yes-no":
        return "yes" if value >= _HALF else "no"
    number = f"{value:.0f}" if abs(value) >= _TWO_DIGITS or value == round(value) else f"{value:.2g}"
    return f"{number}{unit}" if unit.startswith("/") else f"{number} {unit}".strip()


TECHNICAL = 3
"""Rank of what no sentence can be made of."""
_HALF = 0.5
_TWO_DIGITS = 10
# Of the 24 points from -0.28 s to +0.40 s the first 8 lie before the QRS complex (atrial_evidence.TEMPLATE_FEATURES).
_N_BEFORE_QRS = 8
_UNITS = {"_ms": "ms", "_s": "s", "_ratio": "%", "_share": "%", "_bpm": "/min", "_hz": "Hz", "_mv": "mV", "_pct": "%"}

_W = FeatureWords
_BEAT = {
    "rr_to_level": _W("timing", "time since the beat before, against this patient's usual interval", "%", 1),
    "rr_earliness": _W("timing", "how early it came for so regular a rhythm", "", 3),
    "rr_prematurity": _W("timing", "how early it came, in a regular rhythm", "%"),
    "next_rr_to_level": _W("timing", "time until the next beat, against this patient's usual interval", "%", 1),
    "next_rr_surplus": _W(
        "timing", "the pause after it, longer than the time before it, in a regular rhythm, by {}", "%"
    ),
    "rr_irregularity": _W("neighbours", "irregularity of the beats lately", "%", 1),
    "rr_to_previous": _W("timing", "time since the beat before, against the interval before that", "%"),
    "next_rr_to_rr": _W("timing", "time until the next beat, against the time since the last", "%"),
    "qrs_likeness": _W("qrs", "its QRS complex is like this patient's usual one to {}", "alike", 1),
    "p_likeness": _W("p", "the stretch before it is like this patient's usual P wave to {}", "alike", 1),
    "beat_likeness": _W("qrs", "the whole beat is like this patient's usual one to {}", "alike"),
    "qrs_difference": _W("qrs", "its QRS complex differs from the usual one by {}", "%"),
    "p_difference": _W("p", "the stretch before it differs from the usual P wave by {} of the QRS height", "%"),
    "t_difference": _W("t", "its T wave differs from the usual one by {} of the QRS height", "%"),
    "qrs_difference_excess": _W(
        "qrs", "its QRS complex differs more than beats here usually do, by a factor of {}", ""
    ),
    "p_difference_excess": _W(
        "p", "the stretch before it differs more than it usually does here, by a factor of {}", ""
    ),
    "t_difference_excess": _W("t", "its T wave differs more than it usually does here, by a factor of {}", ""),
    "early_p_change": _W("p", "the P wave of an early beat differs from the usual one by {}", "%"),
    "usual_p_likeness": _W("signal", "P waves of this patient are like each other to {}", "alike"),
    "p_likeness_drop": _W("p", "the P wave is less like the usual one than P waves here are, by {}", "%"),
    "usual_qrs_likeness": _W("signal", "QRS complexes of this patient are like each other to {}", "alike"),
    "form_spread_ratio": _W("form", "breadth of beats of this shape, against the usual one", "%"),
    "qrs_swing_ratio": _W("qrs", "height of its QRS complex, against the usual one", "%"),
    "qrs_area_ratio": _W("qrs", "area of its QRS complex, against the usual one", "%"),
    "qrs_spread_ms": _W("qrs", "its QRS complex is spread over {}", "ms", 3),
    "qrs_spread_ratio": _W("qrs", "breadth of its QRS complex, against the usual one", "%"),
    "t_level_difference": _W("t", "height of its ST segment and T wave, against the usual one", "%", 3),
    "p_swing_ratio": _W("p", "height of what lies before it, against the usual P wave", "%"),
    "form_share": _W("form", "beats of this shape among this patient's beats", "%", 1),
    "form_interval_ratio": _W("form", "how early beats of this shape come, against the usual interval", "%"),
    "form_is_usual": _W("form", "it has this patient's usual shape", "yes-no", 1),
    "similarity": _W("qrs", "the beat detector finds it like the usual beat to {}", "alike"),
    "width_ratio": _W("qrs", "its QRS complex lasts {} of the usual time", "%", 1),
}
_INTERVALS = {
    "rr_cv_ratio": _W("intervals", "the intervals between beats vary by {}", "%", 1),
    "rmssd_ratio": _W("intervals", "one interval differs from the next by {}", "%", 1),
    "mad_ratio": _W("intervals", "half of the intervals differ from the next by at least {}", "%"),
    "pnn50_share": _W("intervals", "intervals that differ from the next by more than 50 ms", "%"),
    "pnn10pct_share": _W("intervals", "intervals that differ from the next by more than a tenth", "%", 1),
    "pnn20pct_share": _W("intervals", "intervals that differ from the next by more than a fifth", "%"),
    "rr_shortest_ratio": _W("intervals", "the shortest interval, against the usual one", "%"),
    "rr_longest_ratio": _W("intervals", "the longest interval, against the usual one", "%"),
    "rr_low_ratio": _W("intervals", "short intervals (the tenth part), against the usual one", "%"),
    "rr_high_ratio": _W("intervals", "long intervals (the tenth part), against the usual one", "%"),
    "rr_skewness": _W("intervals", "skewness of the intervals", "", 3),
    "rr_autocorrelation_1": _W("intervals", "an interval foretells the next one", "alike", 3),
    "rr_autocorrelation_2": _W("intervals", "an interval foretells the one after the next", "alike", 3),
    "rr_autocorrelation_3": _W("intervals", "an interval foretells the third after it", "alike", 3),
    "sd_ratio": _W("intervals", "quick against slow changes of the intervals", "%", 3),
    "turning_point_share": _W("intervals", "intervals at which longer turns to shorter or back", "%"),
    "sample_entropy": _W("intervals", "disorder of the intervals (sample entropy)", "", 3),
    "rr_entropy": _W("intervals", "disorder of the intervals (entropy)", "", 3),
    "filtered_rmssd_ratio": _W("intervals", "one interval differs from the next, single early beats apart, by {}", "%"),
    "pair_difference_share": _W("intervals", "pairs of intervals that differ by more than 30 ms", "%"),
    "lorenz_irregularity": _W("intervals", "changes of the intervals that never repeat", "%"),
    "lorenz_origin_share": _W("intervals", "changes of the intervals that are small", "%"),
    "mode_count": _W("intervals", "lengths around which the intervals gather", ""),
    "calmest_mad_ratio": _W("intervals", "change from interval to interval in the calmest stretch", "%"),
    "wildest_mad_ratio": _W("intervals", "change from interval to interval in the wildest stretch", "%"),
    "rr_second_shortest_ratio": _W("intervals", "the second shortest interval, against the usual one", "%"),
    "rr_second_longest_ratio": _W("intervals", "the second longest interval, against the usual one", "%"),
    "largest_step_ratio": _W("intervals", "the largest change from one interval to the next", "%"),
    "high_step_ratio": _W("intervals", "large changes from one interval to the next (the tenth part)", "%"),
    "all_rmssd_ratio": _W("intervals", "one interval differs from the next, doubtful beats included, by {}", "%"),
    "all_mad_ratio": _W(
        "intervals", "half of the intervals, doubtful beats included, differ from the next by at least {}", "%"
    ),
    "all_pnn10pct_share": _W("intervals", "intervals that differ by more than a tenth, doubtful beats included", "%"),
    "all_shortest_ratio": _W("intervals", "the shortest interval, doubtful beats included, against the usual one", "%"),
    "all_longest_ratio": _W("intervals", "the longest interval, doubtful beats included, against the usual one", "%"),
    "fastest_bpm": _W("rate", "heart rate where it is fastest", "/min"),
    "slowest_bpm": _W("rate", "heart rate where it is slowest", "/min"),
    "heart_rate_bpm": _W("rate", "heart rate", "/min", 1),
    "n_intervals": _W("signal", "intervals that could be measured", "", 3),
    "n_beats": _W("signal", "beats that were found", "", 3),
    "evidence_s": _W("signal", "time that these intervals cover", "s", 3),
    "signal_s": _W("signal", "signal that was looked at", "s", 3),
    "ectopy_index": _W("early", "how much single early beats disturb the rhythm", "", 3),
    "lorenz_premature_share": _W("early", "pairs of intervals like an early beat and its pause", "%"),
    "short_share": _W("early", "intervals cut short", "%", 1),
    "long_share": _W("early", "intervals drawn out", "%"),
    "compensated_share": _W("early", "early beats with a full pause after them", "%"),
    "interpolated_share": _W("early", "extra beats between two usual ones", "%"),
    "alternation_share": _W("early", "intervals that go to and fro between short and long", "%"),
    "premature_share": _W("early", "beats that came early", "%", 1),
    "compensatory_share": _W("early", "beats that end a pause after an early beat", "%"),
}
_CURVE = {
    "noise_suspect_share": _W("signal", "beats that may be noise", "%", 1),
    "unlike_share": _W("shapes", "beats unlike the usual one", "%", 1),
    "unlike_premature_share": _W("early", "early beats of another shape", "%"),
    "like_premature_share": _W("early", "early beats of the usual shape", "%"),
    "similarity_median": _W("shapes", "a typical beat is like the usual one to {}", "alike"),
    "similarity_low": _W("shapes", "the oddest tenth of the beats is like the usual one to {}", "alike"),
    "width_median_ms": _W("shapes", "QRS complexes last {}", "ms", 1),
    "width_high_ms": _W("shapes", "the widest tenth of the QRS complexes lasts {}", "ms"),
    "wide_share": _W("shapes", "beats wider than 120 ms", "%"),
    "amplitude_cv_ratio": _W("shapes", "the height of the beats varies by {}", "%"),
    "beat_quality_mean": _W("signal", "quality of the signal around the beats", "%"),
    "beat_quality_low": _W("signal", "quality around the worst tenth of the beats", "%"),
    "likeness_median": _W("shapes", "a typical beat is like the average beat to {}", "alike"),
    "likeness_low": _W("shapes", "the oddest tenth of the beats is like the average beat to {}", "alike"),
    "odd_share": _W("shapes", "beats of an odd shape", "%", 1),
    "odd_early_share": _W("early", "odd beats that came early", "%"),
    "odd_late_share": _W("shapes", "odd beats that came late", "%"),
    "early_like_share": _W("early", "early beats of the average shape", "%"),
    "odd_size_ratio": _W("shapes", "height of the odd beats, against the others", "%"),
    "early_p_likeness": _W(
        "early", "what comes before early beats is like what comes before the others to {}", "alike"
    ),
    "second_shape_share": _W("shapes", "odd beats that look like each other", "%"),
    "p_amplitude_ratio": _W("atria", "height of the P wave (of the QRS height)", "%", 1),
    "p_over_noise_ratio": _W("atria", "how clearly a P wave stands out", "", 3),
    "p_consistency": _W("atria", "the stretch before one beat is like that before the others to {}", "alike", 1),
    "p_to_r_ms": _W("atria", "time from the P wave to the R peak", "ms"),
    "p_inverted_ratio": _W("atria", "depth of a downward P wave (of the QRS height)", "%", 3),
    "pr_level_ratio": _W("atria", "slope of the line before the QRS complex", "%", 3),
    "t_amplitude_ratio": _W("shapes", "height of the T wave (of the QRS height)", "%"),
    "t_consistency": _W("shapes", "the T wave of one beat is like that of the others to {}", "alike"),
    "r_to_t_ms": _W("shapes", "time from the R peak to the T wave", "ms"),
    "st_level_ratio": _W("shapes", "height of the ST segment (of the QRS height)", "%"),
    "s_amplitude_ratio": _W("shapes", "depth of the S wave (of the QRS height)", "%", 3),
    "q_amplitude_ratio": _W("shapes", "depth of the Q wave (of the QRS height)", "%", 3),
    "average_width_ms": _W("shapes", "width of the average QRS complex", "ms"),
    "residual_ratio": _W("atria", "what is left between the beats (of the QRS height)", "%"),
    "residual_quiet_ratio": _W("atria", "what is left in quiet stretches (of the QRS height)", "%", 3),
    "fibrillatory_share": _W("atria", "flicker of 3.5-10 per second between the beats", "%", 1),
    "flutter_share": _W("atria", "saw-tooth waves of 3.5-6 per second between the beats", "%"),
    "residual_peak_hz": _W("atria", "the strongest waves between the beats come at {}", "per second"),
    "residual_peak_share": _W("atria", "how much these strongest waves stand out", "%", 3),
    "low_power_share": _W("signal", "slow part of the signal (wander and T waves)", "%"),
    "qrs_power_share": _W("signal", "part of the signal that beats are made of", "%"),
    "high_power_share": _W("signal", "quick part of the signal (muscle and mains)", "%"),
    "kurtosis": _W("signal", "how much peaks stand out of the signal", "", 3),
    "flat_share": _W("signal", "flat seconds", "%"),
    "large_share": _W("signal", "seconds with large swings", "%"),
    "r_over_residual_ratio": _W("signal", "height of the beats over the rest", "", 3),
    "quality_mean": _W("signal", "quality of the signal", "%", 1),
    "quality_low": _W("signal", "quality of its worst fifth", "%"),
    "unusable_share": _W("signal", "signal that could not be used", "%", 1),
}
FEATURE_WORDS = {**_BEAT, **_INTERVALS, **_CURVE}
"""How each known feature is said, by name."""
