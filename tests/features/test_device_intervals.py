"""Variability from a strap's intervals: the same as from an ECG, without what is no normal beat, and no value without reason."""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path

import numpy as np
import pytest

from edge.acquisition.gatt.heart_rate import HeartRate, heart_rate_bytes
from edge.acquisition.gatt.plan import assigned
from edge.acquisition.gatt.profiles import ProfileDecoder, ProfileSettings
from edge.acquisition.wfdb_file import quiet
from edge.features.device_intervals import DeviceIntervals, DeviceIntervalsSettings
from edge.features.hrv import HrvSettings, HrvWindow
from edge.features.vitals import VitalsStage
from edge.messages import Beat, BeatKind, Chunk, RrIntervals, Tick

S = 1_000_000_000
DATA = Path(os.environ.get("VITALEDGE_DATA", Path(__file__).parents[2] / "../shared/data"))
MEASURES = {"rmssd_ms", "sdnn_ms", "pnn50_pct", "rmssd_5min_ms", "sdnn_1min_ms", "pnn50_1min_pct"}


def swinging(n=400):
    """Intervals of 800 ms that sway by 10 ms from beat to beat: RMSSD 10 ms."""
    return [800.0 + 10 * (k % 2) for k in range(n)]


def notifications(rr_ms, start_ns=S, per_notification=1, **fields):
    """What a strap sends: so many intervals at a time, as soon as the last of them is over."""
    out, at_ns = [], start_ns
    for k in range(0, len(rr_ms), per_notification):
        some = tuple(rr_ms[k : k + per_notification])
        at_ns += round(sum(some) * 1e6)
        out.append(RrIntervals(sensor="strap", intervals_ms=some, received_at_ns=at_ns, **fields))
    return out


def fed(items, stage=None, **settings):
    """The last estimates by measure."""
    stage = stage or DeviceIntervals(DeviceIntervalsSettings(**settings))
    out = []
    for item in items:
        out = stage.push(item)
    return {estimate.measure: estimate for estimate in out}


def test_every_notification_gives_every_measure():
    """Under the names that the variability of an ECG has."""
    found = fed(notifications(swinging()))

    assert set(found) == MEASURES
    assert {(item.sensor, item.stream, item.method) for item in found.values()} == {("strap", "rr", "device-intervals")}
    assert {item.unit for name, item in found.items() if name.endswith("_ms")} == {"ms"}
    assert found["rmssd_ms"].at_ns == notifications(swinging())[-1].received_at_ns
    assert found["rmssd_ms"].quality == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("mean_s", "depth_s", "at_hz", "sdnn_ms", "rmssd_ms"),
    [(0.8, 0.035, 0.25, 24.76, 29.07), (1.0, 0.07, 0.1, 49.53, 30.53)],
)
def test_patterns_of_the_standard(mean_s, depth_s, at_hz, sdnn_ms, rmssd_ms):
    """SDNN and RMSSD of rr = a + d sin(2 pi f t) (IEC 60601-2-47) within 1 %, through intervals of 1/1024 s."""
    rr_ms, at_s = [], 0.0
    while at_s < 310:
        rr_s = mean_s + depth_s * math.sin(2 * math.pi * at_hz * at_s)
        at_s += rr_s
        rr_ms.append(round(1024 * rr_s) * 1000 / 1024)

    found = fed(notifications(rr_ms))

    assert found["sdnn_ms"].value == pytest.approx(sdnn_ms, rel=0.01)
    assert found["rmssd_5min_ms"].value == pytest.approx(rmssd_ms, rel=0.01)


def test_same_as_from_the_beats_of_an_ecg():
    """To the last digit, where there is nothing to leave out."""
    rr_ms = [850.0 + 60 * math.sin(0.9 * k) + 40 * math.sin(0.11 * k) for k in range(400)]
    window = HrvWindow()
    at_ns = S
    for k, interval_ms in enumerate([None, *rr_ms]):
        at_ns += round((interval_ms or 0) * 1e6)
        window.add(Beat(sensor="s", stream="ecg", at_ns=at_ns, sequence=k, rr_ms=interval_ms, quality=1.0))

    found = fed(notifications(rr_ms))

    minute, five = window.values(at_ns)
    assert found["rmssd_ms"].value == minute.rmssd_ms
    assert found["sdnn_ms"].value == five.sdnn_ms


@pytest.mark.parametrize("per_notification", [2, 3, 7])
def test_cut_into_notifications_does_not_matter(per_notification):
    """Straps put up to nine intervals into one."""
    n = 42 * 9

    together = fed(notifications(swinging(n), per_notification=per_notification))
    alone = fed(notifications(swinging(n)))

    assert {name: item.value for name, item in together.items()} == {name: item.value for name, item in alone.items()}


def test_too_few_intervals_have_no_value():
    """Half a minute is none, a minute is no five."""
    half = fed(notifications(swinging(37)))
    minute = fed(notifications(swinging(75)))

    assert {(item.value, item.absent, item.quality) for item in half.values()} == {(None, "coverage", 0.0)}
    assert minute["rmssd_ms"].value == pytest.approx(10.0)
    assert (minute["sdnn_ms"].value, minute["sdnn_ms"].absent) == (None, "coverage")


@pytest.mark.parametrize(
    "odd_ms",
    [
        pytest.param([500.0, 1105.0], id="early ectopic beat and its pause"),
        pytest.param([690.0, 920.0], id="ectopic beat within 20 per cent"),
        pytest.param([700.0], id="reset by an atrial beat"),
        pytest.param([1610.0], id="missed beat"),
        pytest.param([300.0, 505.0], id="extra beat"),
        pytest.param([930.0, 680.0], id="late beat"),
    ],
)
def test_what_is_no_normal_beat_is_left_out(odd_ms):
    """The RMSSD is that of the beats around it, and the hole it leaves is small."""
    rr_ms = swinging(400)
    rr_ms[360:360] = odd_ms

    found = fed(notifications(rr_ms))

    assert found["rmssd_ms"].value == pytest.approx(10.0, rel=0.01)
    assert found["rmssd_ms"].quality > 0.9


def test_even_steps_of_a_heart_are_its_own():
    """60 ms up and 60 ms down with every breath is sinus arrhythmia, not ectopy."""
    rr_ms = [800.0, 830.0, 860.0, 890.0, 860.0, 830.0] * 66
    alternating = [800.0, 860.0] * 200

    assert fed(notifications(rr_ms))["rmssd_ms"].value == pytest.approx(30.0, rel=0.01)
    assert fed(notifications(alternating))["rmssd_ms"].value == pytest.approx(60.0, rel=0.01)


def test_heart_that_speeds_up_has_no_ectopic_beat():
    """Two large steps in one direction are a change of rate; every interval counts, as from an ECG."""
    rr_ms = [*swinging(300), 730.0, 660.0, *(660.0 + 10 * (k % 2) for k in range(90))]
    window = HrvWindow()
    at_ns = S
    for k, interval_ms in enumerate([None, *rr_ms]):
        at_ns += round((interval_ms or 0) * 1e6)
        window.add(Beat(sensor="s", stream="ecg", at_ns=at_ns, sequence=k, rr_ms=interval_ms, quality=1.0))

    found = fed(notifications(rr_ms))

    assert found["rmssd_5min_ms"].value == window.values(at_ns)[1].rmssd_ms


@pytest.mark.parametrize("noise_ms", [(150.0, 155.0), (4000.0, 4010.0)])
def test_train_of_impossible_intervals_is_no_heart(noise_ms):
    """However regular: 400 a minute is noise, 15 a minute are missed beats."""
    found = fed(notifications(list(noise_ms) * 1000))

    assert {(item.value, item.absent) for item in found.values()} == {(None, "coverage")}


def test_fibrillation_has_no_variability():
    """Intervals without order have a reason, not a number."""
    rr_ms = np.random.default_rng(2).uniform(450, 1100, 500).tolist()

    found = fed(notifications(rr_ms))

    assert {(item.value, item.absent) for item in found.values()} == {(None, "irregular")}


def test_strap_that_is_not_worn_has_no_value():
    """At once; and when it is worn again the intervals before do not join those after."""
    stage = DeviceIntervals()
    worn = notifications(swinging(90), is_worn=True)
    fed(worn, stage)
    off_ns = worn[-1].received_at_ns + S
    off = RrIntervals(sensor="strap", intervals_ms=(), received_at_ns=off_ns, is_worn=False)

    without = fed([off], stage)
    again = fed(notifications([1000.0 + 10 * (k % 2) for k in range(5)], start_ns=off_ns, is_worn=True), stage)

    assert {(item.value, item.absent) for item in without.values()} == {(None, "sensor-off")}
    assert again["rmssd_ms"].value == pytest.approx(10.0, rel=0.01)


def test_intervals_of_a_strap_that_is_not_worn_do_not_count():
    """Some straps go on counting the noise of cloth."""
    stage = DeviceIntervals()
    fed(notifications(swinging(90), is_worn=True), stage)
    noise = notifications([850.0, 780.0] * 3, start_ns=notifications(swinging(90))[-1].received_at_ns, is_worn=False)

    fed(noise, stage)
    after = fed(notifications(swinging(10), start_ns=noise[-1].received_at_ns, is_worn=True), stage)

    assert after["rmssd_ms"].value == pytest.approx(10.0, rel=0.01)


def test_lost_notifications_leave_a_hole():
    """Half a minute without a link is not covered, and no difference reaches over it."""
    rr_ms = [*swinging(60), *(1000.0 + 10 * (k % 2) for k in range(30))]
    all_of_them = notifications(rr_ms)
    lost = [*all_of_them[:40], *all_of_them[60:]]

    found = fed(lost, hrv=HrvSettings(min_coverage_ratio=0.5))

    assert found["rmssd_ms"].value == pytest.approx(10.0, rel=0.01)
    assert found["rmssd_ms"].quality == pytest.approx(1 - 16.1 / 60, abs=0.02)


def test_stalled_link_that_delivers_at_once_loses_little():
    """Ten seconds of notifications arrive together: the value stays, nothing before is forgotten."""
    items = notifications(swinging(200))
    late_ns = items[112].received_at_ns
    stalled = [
        item
        if not 100 <= k < 112
        else RrIntervals(sensor="strap", intervals_ms=item.intervals_ms, received_at_ns=late_ns)
        for k, item in enumerate(items)
    ]

    for n in range(101, 200, 10):
        found = fed(stalled[:n])
        assert found["rmssd_ms"].value == pytest.approx(10.0, rel=0.01)


def test_intervals_that_run_ahead_of_the_clock_begin_anew():
    """Stored ones, or another device's: a minute of them in one second is not the minute that ends now."""
    stage = DeviceIntervals()
    first = notifications(swinging(100))
    fed(first, stage)
    now_ns = first[-1].received_at_ns

    burst = [RrIntervals(sensor="strap", intervals_ms=(1000.0,) * 9, received_at_ns=now_ns + k) for k in range(1, 10)]
    found = fed(burst, stage)

    assert found["rmssd_ms"].absent == "coverage"


@pytest.mark.parametrize("bad_ms", [0.0, -5.0, 150.0, 5000.0, 63_999.0, math.nan, math.inf, -math.inf, 1e300])
def test_impossible_interval_is_no_interval(bad_ms):
    """It breaks the chain and counts for nothing."""
    rr_ms = swinging(400)
    items = notifications(rr_ms)
    odd = RrIntervals(sensor="strap", intervals_ms=(bad_ms,), received_at_ns=items[360].received_at_ns)

    found = fed([*items[:361], odd, *items[361:]])

    assert found["rmssd_ms"].value is None or found["rmssd_ms"].value == pytest.approx(10.0, rel=0.01)


def test_two_straps_are_two_hearts():
    """Each has its own train of beats."""
    stage = DeviceIntervals()
    steady, lively = notifications(swinging(100)), notifications([800.0 + 40 * (k % 2) for k in range(100)])
    for first, second in zip(steady, lively, strict=True):
        one = fed([first], stage)
        other = fed(
            [RrIntervals(sensor="other", intervals_ms=second.intervals_ms, received_at_ns=second.received_at_ns)], stage
        )

    assert one["rmssd_ms"].value == pytest.approx(10.0)
    assert other["rmssd_ms"].value == pytest.approx(40.0)
    assert {item.sensor for item in other.values()} == {"other"}


def test_person_with_a_strap_alone_has_variability_and_loses_it_when_the_strap_falls_silent():
    """What the vital signs show: the value with its source, and ``stale`` after 15 s."""
    stage, vitals = DeviceIntervals(), VitalsStage()
    items = notifications(swinging(100))
    for item in items:
        for estimate in stage.push(item):
            vitals.push(estimate)
    end_ns = items[-1].received_at_ns

    (now,) = vitals.push(Tick(at_ns=end_ns + S))
    (later,) = vitals.push(Tick(at_ns=end_ns + 16 * S))

    assert now.measurements["rmssd_ms"].value == pytest.approx(10.0)
    assert now.measurements["rmssd_ms"].source == "strap/rr"
    assert (later.measurements["rmssd_ms"].value, later.measurements["rmssd_ms"].absent) == (None, "stale")


def test_notifications_of_a_strap_become_variability():
    """From the bytes of the heart-rate profile to the shown value, through intervals of 1/1024 s."""
    decoder = ProfileDecoder(ProfileSettings(sensor="strap", profiles=("heart_rate",)))
    stage, vitals = DeviceIntervals(), VitalsStage()
    at_ns = 0
    for k in range(100):
        rr_1024 = (820 if k % 2 else 860,)
        at_ns += rr_1024[0] * S // 1024
        data = heart_rate_bytes(HeartRate(heart_rate_bpm=73, is_contact=True, rr_1024=rr_1024))
        for item in decoder.push(Chunk(data=data, received_at_ns=at_ns, channel=assigned(0x2A37))):
            for each in stage.push(item) if isinstance(item, RrIntervals) else [item]:
                vitals.push(each)

    (shown,) = vitals.push(Tick(at_ns=at_ns))

    assert shown.measurements["heart_rate_bpm"].value == 73.0
    assert shown.measurements["rmssd_ms"].value == pytest.approx(40 * 1000 / 1024, abs=0.01)


@pytest.mark.parametrize(
    "settings",
    [{"shortest_ms": 0.0}, {"shortest_ms": 3000.0}, {"lag_s": 0.0}, {"lead_s": -1.0}, {"n_steps": 0}],
    ids=lambda settings: next(iter(settings)),
)
def test_impossible_settings_are_misuse(settings):
    """Said where they are made."""
    with pytest.raises(ValueError, match="expected"):
        DeviceIntervalsSettings(**settings)


@pytest.mark.parametrize("record", ["118", "223", "101", "220"])
def test_recorded_rhythms(record):
    """RMSSD of a strap that sends every annotated beat, against the normal ones among them: ectopy stays out."""
    with quiet():
        wfdb = pytest.importorskip("wfdb")
    path = DATA / "mitdb" / record
    if not path.with_suffix(".atr").is_file():
        pytest.skip("needs mitdb in VITALEDGE_DATA")
    with quiet():
        notes = wfdb.rdann(str(path), "atr")
    beats = [
        (sample / 360, symbol)
        for sample, symbol in zip(notes.sample, notes.symbol, strict=True)
        if symbol in "NLRAaJSVFejE"
    ]
    stage, truth = DeviceIntervals(), HrvWindow()
    off = []

    for k, ((before_s, _), (at_s, symbol)) in enumerate(itertools.pairwise(beats)):
        at_ns, rr_ms = round(at_s * S), 1000 * (at_s - before_s)
        kind = BeatKind.NORMAL if symbol in "NLR" else BeatKind.VENTRICULAR
        truth.add(Beat(sensor="s", stream="e", at_ns=at_ns, sequence=k, rr_ms=rr_ms, quality=1.0, kind=kind))
        found = fed([RrIntervals(sensor="strap", intervals_ms=(rr_ms,), received_at_ns=at_ns)], stage)
        expected = truth.values(at_ns)[0].rmssd_ms
        if k % 70 == 69 and expected is not None and found["rmssd_ms"].value is not None:
            off.append(abs(found["rmssd_ms"].value - expected) / expected)

    assert len(off) > 5
    assert np.median(off) < 0.1
