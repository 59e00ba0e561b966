"""An archived alert and its explanation -> what is to be drawn of it."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from edge.alert_log import decided_by
from edge.alert_record import AlertRecord, Strip
from edge.inference.explain import Explanation
from edge.recent_signal import PENDING, integers
from edge.viewing.strip import BeatMark, Curve, Shade, StripPicture
from edge.viewing.strip_panels import Bar, Interval

_NS_PER_S = 1_000_000_000
_FIRST_DATED_NS = 30 * 86_400 * _NS_PER_S
"""A recording without a date begins at 0; no clock of a gateway says January 1970."""
_MOST_BARS = 4
_BAR_FROM = 0.1


def picture_of(
    record: AlertRecord, explanation: Explanation | None, sentences: tuple[str, ...], footer: str = ""
) -> StripPicture:
    """Return the picture of an alert.

    Parameters
    ----------
    record : AlertRecord
        What was kept of it.
    explanation : Explanation or None
        Why the model said so; None where a rule decided, or the model is not at hand.
    sentences : tuple of str
        The words beside the strip.
    footer : str
        Small print.
    """
    alert = record.alert
    decisive = _decisive(record)
    is_rhythm = (record.decision or {}).get("model") == "rhythm" or alert.condition == "atrial-fibrillation"
    marks = tuple(
        BeatMark(
            at_s=_seconds(item.beat.at_ns, alert.at_ns),
            kind="" if item.source == PENDING else item.beat.kind.value,
            rr_ms=item.beat.rr_ms,
            is_decisive=item.beat.at_ns in decisive,
        )
        for item in record.beats
    )
    intervals = tuple(
        Interval(at_s=_seconds(item.beat.at_ns, alert.at_ns), rr_ms=item.beat.rr_ms, kind=item.beat.kind.value)
        for item in record.beats
        if item.beat.rr_ms is not None and not item.beat.is_noise_suspect
    )
    return StripPicture(
        headline=alert.sentence,
        subtitle=_subtitle(record, explanation),
        curve=None if record.strip is None else _curve(record.strip, alert.at_ns),
        beats=marks,
        shades=() if explanation is None else _shades(explanation, alert.at_ns),
        judged_lead=record.windows[-1].channel if record.windows else None,
        usual=None if record.usual is None or is_rhythm else _curve(record.usual, round(_r_ns(record.usual))),
        intervals=intervals if is_rhythm else (),
        bars=() if explanation is None else _bars(explanation),
        sentences=sentences,
        footer=footer,
    )


def wall_words(wall_ns: int) -> str:
    """Return an instant as people read it, in UTC; of a recording without a date how far into it.

    Examples
    --------
    >>> wall_words(1_767_225_661_500_000_000)
    '2026-01-01 00:01:01 UTC'
    >>> wall_words(580_000_000_000)
    '0:09:40 into the recording'
    """
    if 0 <= wall_ns < _FIRST_DATED_NS:
        return f"{timedelta(seconds=wall_ns // _NS_PER_S)} into the recording"
    try:
        return f"{datetime.fromtimestamp(wall_ns // _NS_PER_S, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return "at an unknown time"


def _subtitle(record: AlertRecord, explanation: Explanation | None) -> str:
    alert = record.alert
    parts = [
        wall_words(alert.at_ns + record.wall_offset_ns),
        record.bed,
        f"priority {alert.priority.value}",
        f"decided by {_who(record, explanation)}",
    ]
    if record.qualities:
        parts.append(f"signal quality {min(quality.index for quality in record.qualities):.2f} of 1")
    return " \N{MIDDLE DOT} ".join(parts)


def _who(record: AlertRecord, explanation: Explanation | None) -> str:
    if explanation is None:
        return decided_by(record.decision)
    return f"{explanation.title} ({explanation.bundle_sha256[:12]})"


def _decisive(record: AlertRecord) -> frozenset[int]:
    """Return the instants of the beats that were decided on: named, or by their windows, or odd since the onset."""
    decision = record.decision or {}
    named = decision.get("beats_at_ns")
    if isinstance(named, list):
        return integers(named)
    if decision.get("model") == "beat":
        wanted = integers(decision.get("window_sequences"))
        return frozenset(beat.at_ns for window in record.windows if window.sequence in wanted for beat in window.beats)
    if decision:
        return frozenset()
    onset_ns, at_ns = record.alert.onset_at_ns, record.alert.at_ns
    return frozenset(
        item.beat.at_ns for item in record.beats if item.beat.kind.value != "N" and onset_ns <= item.beat.at_ns <= at_ns
    )


def _shades(explanation: Explanation, zero_ns: int) -> tuple[Shade, ...]:
    return tuple(
        Shade(
            start_s=_seconds(each.start_ns, zero_ns),
            end_s=_seconds(each.end_ns, zero_ns),
            weight=each.weight,
            is_interval=each.name == "timing",
        )
        for each in explanation.highlights
    )


def _bars(explanation: Explanation) -> tuple[Bar, ...]:
    sure = explanation.probability
    found = [each for each in explanation.contributions if abs(each.drop) >= _BAR_FROM]
    if len(found) > _MOST_BARS:  # the strongest for it, and the strongest against it where there is one
        against = [each for each in found[_MOST_BARS - 1 :] if each.drop < 0][-1:]
        found = found[: _MOST_BARS - len(against)] + against
    return tuple(
        Bar(
            words=each.words.split(" (")[0],
            drop=each.drop,
            text=f"{_percent(sure)} \N{RIGHTWARDS ARROW} {_percent(each.probability_without)}",
        )
        for each in found
    )


def _percent(share: float) -> str:
    return "<1 %" if share < 0.01 else ">99 %" if share > 0.99 else f"{100 * share:.0f} %"


def _curve(strip: Strip, zero_ns: int) -> Curve:
    return Curve(
        start_s=_seconds(strip.start_ns, zero_ns),
        rate_hz=strip.rate_hz,
        leads=strip.channels,
        values_mv=strip.values_uv / 1000.0,
    )


def _r_ns(usual: Strip) -> float:
    return usual.start_ns + usual.r * _NS_PER_S / usual.rate_hz if usual.rate_hz > 0 else 0.0


def _seconds(at_ns: int, zero_ns: int) -> float:
    seconds = (at_ns - zero_ns) / _NS_PER_S
    return seconds if math.isfinite(seconds) else 0.0
