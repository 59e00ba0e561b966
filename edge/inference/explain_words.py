"""Figures of a decision -> short sentences for a nurse: no word of the trade without what it means."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edge.inference.feature_words import value_words, words_of

LABEL_WORDS = {
    "beat": {
        "N": "normal (N: started where this patient's usual beats start)",
        "S": "supraventricular (S: an early beat from the upper chambers of the heart)",
        "V": "ventricular (V: a beat that starts in the lower chambers of the heart)",
        "F": "fusion (F: half a normal, half a ventricular beat)",
        "Q": "unclassifiable (Q)",
    },
    "rhythm": {
        "N": "a normal rhythm (N)",
        "A": "atrial fibrillation (A: the upper chambers flicker, so that the beats come irregularly)",
        "O": "another rhythm (O: neither normal nor atrial fibrillation)",
        "~": "too noisy to say (~)",
    },
}
"""What the labels of the models mean."""

RULE_WORDS = {
    "apnoea": "no breath for a long time, though the signal can be read",
    "asystole": "no heart beat for some seconds, though the signal can be read",
    "atrial-fibrillation": "intervals between beats that stay irregular for a minute, beats of another shape left out",
    "extreme-bradycardia": "the last few beats are extremely slow",
    "extreme-tachycardia": "the last beats are extremely fast",
    "fall-suspected": "a hard impact, and little movement after it",
    "frequent-ventricular-beats": "many ventricular beats within one minute",
    "pause": "one long interval without a beat",
    "ventricular-fibrillation": "large waves without a pattern of beats",
    "ventricular-run": "three or more ventricular beats in a row",
    "ventricular-tachycardia": "five or more ventricular beats in a row, fast",
}
"""What the rules look for, by the condition that they raise."""

CHECK_FIRST = "Look at the patient first; then check that the electrodes are firm."

_MEASURED = "Measured (and what is typical of the people whose recordings the model learned from)"
_SPEAKS = 0.1
_MAINLY = 0.7
_EARLY, _LATE = 0.9, 1.1
_UNLIKE = 0.6
_HARDLY = 0.1
_WIDE_MS, _WIDE_RATIO = 120.0, 1.2
"""As the rule on shape has it (`monitoring/beat_classes.py`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What there is to say of one decision."""

    task: str
    title: str
    label: str
    probability: float
    threshold: float
    n: int
    """Beats, or windows, that were decided on."""
    span_s: float
    contributions: Sequence[tuple[str, float, float]]
    """Words, fall of the logarithm of the probability, probability without; strongest first."""
    facts: Sequence[str]
    features: Mapping[str, float]
    condition: str = ""
    """Of the alert that it led to."""


def decision_sentences(said: Said) -> tuple[str, ...]:
    """Return the explanation of one decision, most important first."""
    return (
        _verdict(said),
        *_reasons(said),
        *([f"{_MEASURED}: {'; '.join(said.facts)}."] if said.facts else []),
        *_rule_of_thumb(said),
        *_fusion(said),
        _confidence(said),
        _blind_spots(said.task),
        CHECK_FIRST,
    )


def rule_sentences(rule: str, evidence: Mapping[str, object], condition: str = "") -> tuple[str, ...]:
    """Return the explanation of an alert that a rule raised without a model."""
    rule = RULE_WORDS.get(condition, rule)
    value, limit, unit = evidence.get("value"), evidence.get("limit"), str(evidence.get("unit", ""))
    sentences = [f"A fixed rule raised this alert, no model was asked: {rule or 'see the alert itself'}."]
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = f"Measured: {value:g}{_unit(unit)}"
        if isinstance(limit, int | float) and not isinstance(limit, bool):
            text += f"; the limit is {limit:g}{_unit(unit)}"
        sentences.append(f"{text}.")
    return (*sentences, CHECK_FIRST)


def fact_sentence(name: str, values: Mapping[str, float], typical: str) -> str:
    """Return one measured figure in words, beside what is typical.

    Parameters
    ----------
    name : str
        Of the feature.
    values : mapping
        All features: some sentences need two.
    typical : str
        The middle of the training population, in words.

    Examples
    --------
    >>> fact_sentence("rr_to_level", {"rr_to_level": 0.62, "rr_ms": 506.0}, "100 %")
    "it came 310 ms early, after 62 % of this patient's usual interval (typical: 100 %)"
    >>> fact_sentence("width_median_ms", {"width_median_ms": 98.0}, "92 ms")
    'QRS complexes last 98 ms (typical: 92 ms)'
    """
    special = _SPECIAL.get(name)
    value = values[name]
    text = special(values) if special is not None and math.isfinite(value) else None
    if text is None:
        words = words_of(name)
        # Unlike is unlike: nobody reads a negative likeness.
        said = value_words(max(0.0, value) if words.unit == "alike" else value, words.unit)
        text = words.text.replace("{}", said) if "{}" in words.text else f"{words.text}: {said}"
    return f"{text} (typical: {typical})"


def _unit(unit: str) -> str:
    return f" {unit}" if unit and not unit.startswith("/") else unit


def _verdict(said: Said) -> str:
    words = LABEL_WORDS.get(said.task, {}).get(said.label, said.label)
    if said.task == "beat":
        beats = "this beat" if said.n == 1 else f"these {said.n} beats"
        return f"The model calls {beats} {words}."
    return f"The model calls the last {said.span_s:.0f} s {words}."


def _reasons(said: Said) -> list[str]:
    sure = _percent(said.probability)
    for_it = [(words, drop, without) for words, drop, without in said.contributions if drop >= _SPEAKS]
    against = [words for words, drop, _ in said.contributions if drop <= -_SPEAKS]
    found = []
    if for_it:
        words, drop, without = for_it[0]
        rank = "mainly" if drop >= _MAINLY else "most"
        found.append(
            f"What spoke for it {rank}: {words}. Had that been as usual, the model would have been "
            f"{_percent(without)} sure instead of {sure}."
        )
        if len(for_it) > 1:
            found.append("Also: " + "; ".join(each for each, _, _ in for_it[1:3]) + ".")
    else:
        found.append("No single part carried it: the model would say the same with any one of them taken away.")
    if against:
        found.append("Against it spoke: " + "; ".join(reversed(against[-2:])) + ".")
    return found


def _rule_of_thumb(said: Said) -> list[str]:
    """Return the rule that people go by, and how far it fits what was measured."""
    features = said.features
    if said.task == "beat" and said.label == "V":
        answers = [
            _answer("early", features.get("rr_to_level"), lambda value: value < _EARLY),
            _wide(features),
            _answer("unlike the others", features.get("qrs_likeness"), lambda value: value < _UNLIKE),
        ]
        rule = (
            "Rule of thumb: a beat that is early, wide (120 ms or more, or a fifth wider than the patient's usual one) and "
            "unlike the others is ventricular."
        )
        return [f"{rule} Here: {', '.join(answers)}."]
    if said.task == "beat" and said.label == "S":
        answers = [
            _answer("early", features.get("rr_to_level"), lambda value: value < _EARLY),
            _answer("of the usual shape", features.get("qrs_likeness"), lambda value: value >= _UNLIKE),
        ]
        rule = "Rule of thumb: a beat that is early but of the usual shape comes from the upper chambers."
        return [f"{rule} Here: {', '.join(answers)}."]
    if said.task == "rhythm" and said.label == "A":
        rule = (
            "Rule of thumb: beats that come irregularly without a pattern for 30 s or more, and no P waves (the small "
            "waves before each beat), are atrial fibrillation."
        )
        varies, alike = (features.get(name, math.nan) for name in ("rr_cv_ratio", "p_consistency"))
        here = []
        if math.isfinite(varies):
            here.append(f"the intervals vary by {value_words(varies, '%')}")
        if math.isfinite(alike):
            shared = f"to {value_words(max(0.0, alike), '%')}" if alike >= _HARDLY else "hardly at all"
            here.append(f"what comes before one beat is like what comes before the others {shared}")
        return [f"{rule} Here: {'; '.join(here)}." if here else rule]
    return []


def _wide(features: Mapping[str, float]) -> str:
    width_ms, ratio = features.get("width_ms", math.nan), features.get("width_ratio", math.nan)
    if not (math.isfinite(width_ms) or math.isfinite(ratio)):
        return "wide: not known"
    is_wide = width_ms >= _WIDE_MS or ratio >= _WIDE_RATIO
    measured = f" ({value_words(width_ms, 'ms')})" if math.isfinite(width_ms) else ""
    return f"wide: {'yes' if is_wide else 'no'}{measured}"


def _fusion(said: Said) -> list[str]:
    """Return what rule and model each did for the alert."""
    rule = RULE_WORDS.get(said.condition)
    if rule is None:
        return []
    if said.task == "beat":
        return [
            f"The alert itself was raised by a fixed rule: {rule}. The model only said which beats are ventricular."
        ]
    return [f"The alert itself needed two that agree: the model, and a fixed rule: {rule}."]


def _answer(words: str, value: float | None, is_so: Callable[[float], bool]) -> str:
    if value is None or not math.isfinite(value):
        return f"{words}: not known"
    return f"{words}: {'yes' if is_so(value) else 'no'}"


def _confidence(said: Said) -> str:
    each = "beats" if said.task == "beat" else "stretches"
    n_right = round(100 * said.probability)
    right = f"about {n_right} are" if n_right < 100 else "nearly all are"
    return (
        f"The model is {_percent(said.probability)} sure and speaks from {_percent(said.threshold)} on: of 100 {each} "
        f"that it rates so, {right} right, as long as this patient is like those it learned from."
    )


def _blind_spots(task: str) -> str:
    if task == "beat":
        return (
            "What it cannot know: it sees one lead and nothing else - no symptoms, drugs, pacemaker or earlier ECG. An "
            "early beat from above that is conducted oddly can look the same."
        )
    return (
        "What it cannot know: it sees one lead and nothing else - no symptoms, drugs, pacemaker or earlier ECG. Many "
        "early beats, or a tremor, can look alike. Only a doctor with a 12-lead ECG can tell for certain."
    )


def _percent(share: float) -> str:
    percent = 100 * share
    if percent < 1:
        return "less than 1 %"
    return "more than 99 %" if percent > 99 else f"{percent:.0f} %"


# --- sentences that need more than a value ----------------------------------------------------------------


def _usual_interval(values: Mapping[str, float]) -> str | None:
    ratio, rr_ms = values["rr_to_level"], values.get("rr_ms", math.nan)
    if not ratio > 0 or _EARLY <= ratio <= _LATE:
        return None
    how = "early" if ratio < 1 else "late"
    if math.isfinite(rr_ms):
        how = f"{abs(rr_ms / ratio - rr_ms):.0f} ms {how}"
    return f"it came {how}, after {value_words(ratio, '%')} of this patient's usual interval"


def _below(name: str, text: str) -> Callable[[Mapping[str, float]], str | None]:
    """Return a sentence for a likeness that is low; None where it is not."""

    def say(values: Mapping[str, float]) -> str | None:
        return f"{text}: {value_words(max(0.0, values[name]), '%')} alike" if values[name] < _UNLIKE else None

    return say


def _yes_no(name: str, no: str, yes: str) -> Callable[[Mapping[str, float]], str | None]:
    return lambda values: yes if values[name] >= 0.5 else no


_SPECIAL: Mapping[str, Callable[[Mapping[str, float]], str | None]] = {
    "rr_to_level": _usual_interval,
    "qrs_likeness": _below("qrs_likeness", "its QRS complex is unlike this patient's usual one"),
    "p_likeness": _below("p_likeness", "no P wave before it like this patient's usual one"),
    "t_likeness": _below("t_likeness", "its T wave is unlike this patient's usual one"),
    "beat_likeness": _below("beat_likeness", "the whole beat is unlike this patient's usual one"),
    "p_consistency": _below("p_consistency", "no P wave that is the same before every beat"),
    "form_is_usual": _yes_no("form_is_usual", "it does not have this patient's usual shape", "it has the usual shape"),
}
