"""The rules on the annotated beats of real hearts, so that only the rules are judged and not the beat detector.

MIT-BIH Arrhythmia Database (Moody and Mark 2001), the unpaced records at hand; skipped where they are not.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from edge.messages import Beat, BeatKind, Condition, Quality, RhythmChange, Tick
from edge.monitoring.alarms import Alarms, AlarmSettings
from edge.monitoring.beat_classes import BeatClasses
from edge.monitoring.rhythm import RhythmRules

S = 1_000_000_000
RATE_HZ = 360
DURATION_S = 1805
DATA = Path(os.environ.get("VITALEDGE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "mitdb"
PACED = {"102", "104", "107", "217"}
KINDS = {
    **dict.fromkeys("NLRBejn", BeatKind.NORMAL),
    **dict.fromkeys("AaJS", BeatKind.SUPRAVENTRICULAR),
    **dict.fromkeys("VEr", BeatKind.VENTRICULAR),
    "F": BeatKind.FUSION,
    **dict.fromkeys("Qf/?", BeatKind.UNKNOWN),
}

wfdb = pytest.importorskip("wfdb", reason="needs the extra 'records'")
pytestmark = pytest.mark.skipif(not any(DATA.glob("*.atr")), reason="needs recordings in $VITALEDGE_DATA/mitdb")


@cache
def record(name):
    """Return the beats of a record and its annotated rhythms as (start s, end s, name)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # wfdb 4.3 uses what pandas 3 is going to remove
        annotation = wfdb.rdann(str(DATA / name), "atr")
    beats, rhythms = [], []
    for sample, symbol, aux in zip(annotation.sample, annotation.symbol, annotation.aux_note, strict=True):
        at_ns = round(int(sample) * S / RATE_HZ)
        if symbol in KINDS:
            beats.append(
                Beat(
                    sensor="chest",
                    stream="ecg",
                    at_ns=at_ns,
                    sequence=int(sample),
                    rr_ms=(at_ns - beats[-1].at_ns) / 1e6 if beats else None,
                    quality=1.0,
                    kind=KINDS[symbol],
                )
            )
        if aux.startswith("("):
            rhythms.append((int(sample) / RATE_HZ, aux.strip("\0")[1:]))
    return beats, spans(rhythms)


def spans(starts):
    """Return (start, end, name) of a sequence of (start, name)."""
    ends = [start for start, _ in starts[1:]] + [DURATION_S]
    return [(start, end, name) for (start, name), end in zip(starts, ends, strict=True)]


@cache
def judged(name):
    """Return conditions, rhythm spans and alerts of a record with a clean signal."""
    beats = list(record(name)[0])
    rules, classes, alarms = (
        RhythmRules(),
        BeatClasses(),
        Alarms(AlarmSettings(), iter(map(str, range(10**6))).__next__),
    )
    outputs, alerts = [], []
    for second in range(1, DURATION_S + 1):
        items = []
        while beats and beats[0].at_ns + S // 2 <= second * S:
            items.append(beats.pop(0))
        clean = Quality(sensor="chest", stream="ecg", at_ns=second * S, index=1.0, is_usable=True, reasons=())
        for item in (*items, clean, Tick(at_ns=second * S)):
            found = [out for each in (item, *classes.push(item)) for out in rules.push(each)]
            outputs += found
            for out in found:
                if isinstance(out, Condition):
                    alerts += alarms.push(out)
        alerts += alarms.push(Tick(at_ns=second * S))
    names = spans([(out.at_ns / S, out.label) for out in outputs if isinstance(out, RhythmChange)])
    return [out for out in outputs if isinstance(out, Condition)], names, alerts


def records():
    return sorted({path.stem for path in DATA.glob("*.atr")} - PACED)


def common_s(one, other, names):
    return sum(
        max(0.0, min(end_a, end_b) - max(start_a, start_b))
        for start_a, end_a, _ in one
        for start_b, end_b, name in other
        if name in names
    )


def fibrillation(name):
    """Return annotated, found and common seconds of fibrillation (flutter counts as annotated)."""
    reference = [span for span in record(name)[1] if span[2] in {"AFIB", "AFL"}]
    found = [span for span in judged(name)[1] if span[2] == "AFIB"]
    annotated_s = sum(end - start for start, end, _ in reference)
    found_s = sum(end - start for start, end, _ in found)
    return annotated_s, found_s, common_s(found, reference, {"AFIB", "AFL"})


def test_fibrillation_is_found_by_time_and_not_elsewhere():
    """Over all records: sensitivity at least 95 %, specificity at least 99 % of the time."""
    annotated_s, found_s, common = map(sum, zip(*map(fibrillation, records()), strict=True))
    sensitivity = common / annotated_s
    specificity = 1 - (found_s - common) / (DURATION_S * len(records()) - annotated_s)

    assert sensitivity >= 0.95
    assert specificity >= 0.99


def test_a_fibrillation_alarm_means_fibrillation():
    """Exactly the people who have it get the alarm."""
    have_it = {name for name in records() if fibrillation(name)[0] > 60}

    alarmed = {name for name in records() if any(out.code == "atrial-fibrillation" for out in judged(name)[0])}

    assert alarmed == have_it


def test_asystole_is_raised_only_where_no_beat_is_annotated_for_four_seconds():
    """In these records that is ventricular flutter, whose waves are not annotated as beats."""
    for name in records():
        beats, _ = record(name)
        silent = {b.at_ns for a, b in pairwise(beats) if b.at_ns - a.at_ns >= 4 * S}
        n_raised = sum(out.code == "asystole" and out.is_active for out in judged(name)[0])

        assert bool(n_raised) == bool(silent), name
        assert n_raised <= len(silent), name


def test_every_long_fast_ventricular_run_is_alarmed():
    """Five or more consecutive ventricular beats above 100/min, counted independently of the rule."""
    for name in records():
        beats, _ = record(name)
        runs = 0
        at = 0
        while at < len(beats):
            end = at
            while end < len(beats) and beats[end].kind is BeatKind.VENTRICULAR:
                end += 1
            run = beats[at:end]
            runs += any(run[k + 4].at_ns - run[k].at_ns < 4 * 0.6 * S for k in range(len(run) - 4))
            at = max(end, at + 1)
        n_raised = sum(out.code == "ventricular-tachycardia" and out.is_active for out in judged(name)[0])

        assert bool(n_raised) == bool(runs), name


def test_nobody_is_flooded():
    """At most thirty alerts in half an hour for the sickest, none for the healthiest."""
    n_alerts = {name: sum(alert.revision == 1 for alert in judged(name)[2]) for name in records()}

    assert max(n_alerts.values()) <= 30
    assert Counter(n_alerts.values())[0] >= len(n_alerts) // 3
