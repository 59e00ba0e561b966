"""Apnoea: noticed in time, never from a detached electrode, a lost link or motion, never hidden by the heart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.conditioning.respiration_quality import RespirationQuality
from edge.features.breaths import BreathDetector
from edge.messages import (
    Activity,
    ActivityLevel,
    Beat,
    Breath,
    ChannelKind,
    Condition,
    Estimate,
    Priority,
    Quality,
    SensorIdentity,
    SensorStatus,
    Tick,
)
from edge.monitoring.apnoea import ApnoeaRule, ApnoeaSettings
from tests.features.respiration_signals import S, blocks, breathing, digital, heart, noise


def breath(at_s, interval_s=None, amplitude=1.0, quality=0.9, sensor="chest"):
    return Breath(
        sensor=sensor, stream="respiration", at_ns=round(at_s * S), interval_s=interval_s, amplitude=amplitude,
        quality=quality,
    )  # fmt: skip


def verdict(at_s, *, is_usable=True, sensor="chest"):
    return Quality(
        sensor=sensor, stream="respiration", at_ns=round(at_s * S), index=0.9 if is_usable else 0.1,
        is_usable=is_usable, reasons=() if is_usable else ("noise",), kind=ChannelKind.RESPIRATION,
    )  # fmt: skip


def beat(at_s, rr_s):
    return Beat(sensor="chest", stream="ecg", at_ns=round(at_s * S), sequence=0, rr_ms=1000 * rr_s, quality=0.9)


def status(condition, *, on, at_s, sensor="chest"):
    return SensorStatus(sensor=sensor, stream="ecg", condition=condition, is_active=on, at_ns=round(at_s * S))


def train(from_s, to_s, interval_s=4.0, **fields):
    at_s = np.arange(from_s, to_s, interval_s)
    return [breath(at, None if k == 0 else interval_s, **fields) for k, at in enumerate(at_s)]


def timeline(events, until_s, is_usable=lambda _: True, late_s=1.0):
    """Return events a second after they began, a verdict and a tick every second."""
    items, waiting = [], sorted(events, key=lambda event: event.at_ns)
    for second in range(1, until_s + 1):
        while waiting and waiting[0].at_ns + late_s * S <= second * S:
            items.append(waiting.pop(0))
        usable = is_usable(second)
        items += [*([] if usable is None else [verdict(second, is_usable=usable)]), Tick(at_ns=second * S)]
    return items


def run(items, settings=None):
    rule = ApnoeaRule(settings or ApnoeaSettings())
    return [out for item in items for out in rule.push(item)]


def summary(outputs):
    return [(out.code, out.is_active, out.at_ns / S) for out in outputs if isinstance(out, Condition)]


def chain(values, rate_hz=25.0, *, heart_bpm=None, extra=(), start_s=0.0):
    """Return what the whole chain says of a chest: quality, breaths and the rule, with a tick a second."""
    quality, detector, rule = RespirationQuality(), BreathDetector(), ApnoeaRule()
    waiting = sorted(extra, key=lambda event: event.at_ns)
    outputs, second = [], start_s + 1
    beats = [] if heart_bpm is None else list(np.arange(0.3, len(values) / rate_hz, 60.0 / heart_bpm))
    for block in blocks(digital(values), rate_hz, start_s=start_s):
        while waiting and waiting[0].at_ns <= block.start_ns:
            event = waiting.pop(0)
            quality.push(event)
            outputs += rule.push(event)
        for verdict_ in quality.push(block):
            detector.push(verdict_)
            outputs += rule.push(verdict_)
        for found in detector.push(block):
            outputs += rule.push(found)
        while beats and beats[0] + 0.5 <= block.end_ns / S:
            outputs += rule.push(beat(beats.pop(0), 60.0 / heart_bpm))
        while second * S <= block.end_ns:
            outputs += rule.push(Tick(at_ns=round(second * S)))
            second += 1
    return outputs


def stopping(from_s, to_s, until_s, bpm=15, rate_hz=25.0, depth=0.0):
    """Return breathing that rests at the end of an expiration between two instants."""
    values = breathing(bpm, until_s, rate_hz)
    part = slice(round(from_s * rate_hz), round(to_s * rate_hz))
    values[part] = values[part.start] + depth * values[part]
    return values


# --- the rule ---------------------------------------------------------------------------------------------


def test_regular_breathing_raises_nothing():
    """Half an hour at 15/min, and at 4/min."""
    assert run(timeline(train(1, 1800), 1800)) == []
    assert run(timeline(train(1, 1800, 15.0), 1800)) == []


@pytest.mark.parametrize("last_s", [61.05, 61.5, 61.95])
def test_apnoea_is_noticed_23_seconds_after_the_last_breath_began(last_s):
    """20 s, 2 s until a breath would be known, and at most a second until the tick: high and latching."""
    outputs = run(timeline(train(last_s - 56, last_s + 1), 120))

    assert len(outputs) == 1
    assert outputs[0].code == "apnoea"
    assert outputs[0].priority is Priority.HIGH
    assert outputs[0].is_latching
    assert outputs[0].onset_at_ns == round(last_s * S)
    assert last_s + 20 <= outputs[0].at_ns / S <= last_s + 23


@pytest.mark.parametrize("silence_s", [20.0, 20.5, 22.9])
def test_an_apnoea_that_a_breath_ends_before_a_tick_is_alarmed_all_the_same(silence_s):
    """Twenty seconds are twenty seconds, wherever the ticks fall."""
    outputs = run(timeline([*train(1, 62), *train(61 + silence_s, 130)], 130))

    assert [is_active for _, is_active, _ in summary(outputs)] == [True, False]


def test_a_pause_under_20_seconds_is_no_apnoea():
    """19.8 s."""
    assert run(timeline([*train(1, 62), *train(61 + 19.8, 150)], 150)) == []


@pytest.mark.parametrize("apnoea_s", [10.0, 30.0, 40.0])
def test_the_limit_can_be_set(apnoea_s):
    """From 10 to 40 s."""
    outputs = run(timeline(train(1, 62), 120), ApnoeaSettings(apnoea_s=apnoea_s))

    assert 61 + apnoea_s <= outputs[0].at_ns / S <= 61 + apnoea_s + 3


def test_a_limit_that_is_no_apnoea_is_refused():
    """5 s is a pause, a minute is too late."""
    for apnoea_s in (5.0, 60.0):
        with pytest.raises(ValueError, match="apnoea_s"):
            ApnoeaSettings(apnoea_s=apnoea_s)


def test_it_ends_with_the_third_breath_in_a_row():
    """A gasp every 20 s does not end it."""
    gasps = [breath(at_s, None) for at_s in (90.0, 110.0, 130.0)]

    outputs = run(timeline([*train(1, 62), *gasps, *train(150, 190)], 190))

    assert [is_active for _, is_active, _ in summary(outputs)] == [True, False]
    assert outputs[1].at_ns == 158 * S


def test_tiny_waves_do_not_end_it():
    """A tenth of the usual swing is no breath, whatever its rate."""
    outputs = run(timeline([*train(1, 62), *train(90, 200, amplitude=0.1)], 200))

    assert [is_active for _, is_active, _ in summary(outputs)] == [True]


def test_time_in_an_unusable_signal_does_not_count():
    """A minute without breaths and without signal raises nothing; nor does a minute without any verdict."""
    for what in (False, None):
        outputs = run(
            timeline([*train(1, 62), *train(122, 200)], 200, lambda s, what=what: what if 62 < s < 122 else True)
        )

        assert outputs == []


def test_a_signal_that_flickers_cannot_hide_an_apnoea():
    """Every second second unusable: noticed after twice the time."""
    outputs = run(timeline(train(1, 62), 200, lambda second: second < 62 or second % 2 == 0))

    assert summary(outputs)[0][2] == pytest.approx(61 + 42, abs=3)


def test_a_lead_off_report_counts_even_if_the_signal_looks_usable():
    """The device knows about its electrodes, and they are those of the ECG."""
    off = timeline(train(1, 62), 200)
    off.insert(0, status("lead-off", on=True, at_s=0))

    assert run(off) == []


def test_a_sensor_that_restarted_is_trusted_again():
    """It does not repeat the report, so it no longer holds: the apnoea is noticed half a minute later."""
    identity = lambda boot_id, at_s: SensorIdentity(  # noqa: E731 - used in this test alone
        sensor="chest", device_id="", model="", firmware="", boot_id=boot_id, streams=(), at_ns=at_s * S
    )
    rule = ApnoeaRule()
    items = [identity(1, 0), *timeline(train(1, 62), 65), status("lead-off", on=True, at_s=65), identity(2, 66)]

    outputs = [out for item in [*items, *timeline([], 120)[2 * 66 :]] for out in rule.push(item)]

    assert [code for code, _, _ in summary(outputs)] == ["apnoea"]


def test_someone_who_never_breathed_is_noticed_after_30_seconds():
    """A readable chest without any breath."""
    outputs = run(timeline([], 60))

    assert [code for code, _, _ in summary(outputs)] == ["apnoea"]
    assert summary(outputs)[0][2] == pytest.approx(33, abs=1)


def test_breaths_of_poor_quality_do_not_stop_the_clock():
    """They may be noise."""
    outputs = run(timeline([*train(1, 62), *train(63, 100, quality=0.2)], 100))

    assert [code for code, _, _ in summary(outputs)] == ["apnoea"]


def test_waves_at_the_heart_rate_do_not_stop_the_clock():
    """An obstructed airway: the heart moves the chest at 72/min with a third of a breath's swing."""
    beats = [beat(at_s, 0.833) for at_s in np.arange(1, 120, 0.833)]
    waves = [breath(at_s, 0.833, amplitude=0.33) for at_s in np.arange(63, 120, 0.833)]

    outputs = run(timeline([*train(1, 62), *beats, *waves], 120))

    assert [is_active for _, is_active, _ in summary(outputs)] == [True]
    assert summary(outputs)[0][2] <= 61 + 23


def test_waves_of_a_heart_without_order_do_not_stop_the_clock():
    """In fibrillation every interval is another one; the first wave comes long after the last breath."""
    rng = np.random.default_rng(3)
    intervals_s = rng.uniform(0.5, 1.1, 150)
    at_s = 1 + np.cumsum(intervals_s)
    beats = [beat(at, rr_s) for at, rr_s in zip(at_s, intervals_s, strict=True)]
    waves = [
        breath(at + 0.2, 12.0 if k == 0 else rr_s, amplitude=0.3)
        for k, (at, rr_s) in enumerate((at, rr_s) for at, rr_s in zip(at_s, intervals_s, strict=True) if at > 73)
    ]

    outputs = run(timeline([*train(1, 62), *beats, *waves], 110))

    assert [is_active for _, is_active, _ in summary(outputs)] == [True]
    assert summary(outputs)[0][2] <= 61 + 24


@pytest.mark.parametrize("interval_s", [4.0, 12.0])
def test_small_breaths_apart_from_the_heart_are_breaths(interval_s):
    """At 30 % of the usual swing, with a heart at 72/min: nothing is raised."""
    beats = [beat(at_s, 0.833) for at_s in np.arange(1, 200, 0.833)]
    small = train(61 + interval_s, 200, interval_s, amplitude=0.3)

    assert run(timeline([*train(1, 62), *beats, *small], 200)) == []


def test_fast_deep_breathing_at_the_heart_rate_is_breathing():
    """At 60/min with a heart at 62/min: as large as before, so it is no cardiac wave."""
    beats = [beat(at_s, 0.97) for at_s in np.arange(1, 120, 0.97)]

    assert run(timeline([*train(1, 60), *beats, *train(60, 120, 1.0)], 120)) == []


def test_a_rate_that_another_method_shows_is_no_breath():
    """An average over half a minute of beats goes on after the breathing stopped."""
    shown = [
        Estimate(
            sensor="chest", stream="ecg", measure="respiratory_rate_bpm", value=15.0, unit="/min", at_ns=second * S,
            quality=0.9, method="fusion:ecg",
        )
        for second in range(1, 120)
    ]  # fmt: skip

    outputs = run(timeline([*train(1, 62), *shown], 120))

    assert [code for code, _, _ in summary(outputs)] == ["apnoea"]


def test_a_second_chest_takes_over_when_the_first_is_lost():
    """Another sensor that sees the breathing speaks as soon as the first has been unusable for as long as an apnoea."""
    first = timeline(train(1, 62), 200, lambda second: second < 63)
    second = timeline(train(1, 100, sensor="belt"), 200)
    second = [
        verdict(item.at_ns / S, sensor="belt") if isinstance(item, Quality) else item
        for item in second
        if not isinstance(item, Tick)
    ]
    items = sorted([*first, *second], key=lambda item: (item.at_ns, isinstance(item, Tick)))

    outputs = run(items)

    assert [code for code, _, _ in summary(outputs)] == ["apnoea"]
    assert 100 + 16 <= summary(outputs)[0][2] <= 125


@settings(max_examples=60, deadline=None)
@given(
    intervals_s=st.lists(st.floats(1.0, 60.0), min_size=1, max_size=12),
    unusable=st.sets(st.integers(1, 300), max_size=80),
)
def test_it_begins_exactly_when_readable_time_without_breath_reaches_the_limit(intervals_s, unusable):
    """Against a count by hand, for any breathing and any seconds without a signal."""
    at_s = 1.0 + np.cumsum([0.0, 3.0, 3.0, *intervals_s])
    usable = [second not in unusable for second in range(302)]

    outputs = run(timeline([breath(at) for at in at_s], 301, lambda second: usable[second]))

    longest_s = 0.0
    for from_s, to_s in itertools.pairwise([*at_s, 299.0]):
        silent_s, lost_s = 0.0, 0
        for second in range(1, 300):
            overlap_s = min(second, to_s) - max(second - 1, from_s)
            if overlap_s > 0:
                lost_s = 0 if usable[second] else lost_s + 1
                silent_s = 0.0 if lost_s >= 20 else silent_s + overlap_s * usable[second]
            longest_s = max(longest_s, silent_s)
    if longest_s >= 21.5:
        assert outputs
    if longest_s < 19.5 and usable[1]:
        assert not outputs


# --- from samples -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bpm", [6, 12, 20, 40])
@pytest.mark.parametrize("rate_hz", [10.0, 25.0, 125.0])
def test_apnoea_is_noticed_in_the_samples(bpm, rate_hz):
    """Within 20 s + 3 s after the last breath began; it ends once breathing is regular again."""
    values = stopping(90, 130, 180, bpm, rate_hz) + heart(66, 180, rate_hz, swing=0.1) + noise(180, rate_hz)

    outputs = summary(chain(values, rate_hz, heart_bpm=66))

    assert [is_active for _, is_active, _ in outputs] == [True, False]
    assert 90 - 60 / bpm + 20 <= outputs[0][2] <= 90 + 23
    assert outputs[1][2] <= 130 + 4 * 60 / bpm + 3


@pytest.mark.parametrize("heart_bpm", [45, 60, 90])
def test_a_large_cardiac_wave_does_not_hide_an_apnoea(heart_bpm):
    """Southall 1980: in apnoea with a slow heart its wave grows to two fifths of a breath."""
    values = stopping(90, 150, 180) + heart(heart_bpm, 180, swing=0.6) + noise(180)

    outputs = summary(chain(values, heart_bpm=heart_bpm))

    assert outputs[0][1]
    assert outputs[0][2] <= 90 + 23


@pytest.mark.parametrize("depth", [0.3, 0.5])
def test_shallow_breathing_is_no_apnoea(depth):
    """Two minutes at 30 % of the usual depth, with heart and noise."""
    values = stopping(60, 180, 240, depth=depth) + heart(70, 240, swing=0.1) + noise(240)

    assert chain(values, heart_bpm=70) == []


@pytest.mark.parametrize("gain", [0.15, 0.2, 6.0])
def test_another_gain_after_a_movement_is_no_apnoea(gain):
    """The person turned over: breaths are a sixth as large, or six times, from one to the next."""
    values = np.concatenate([breathing(15, 90), gain * breathing(15, 90)]) + noise(180, sigma=0.002)

    assert chain(values, heart_bpm=70) == []


def test_a_detached_electrode_is_no_apnoea():
    """A flat line, a rail, or noise with the device's word: nothing is raised here."""
    for value, told in ((0.0, False), (9.0, False), (0.3, True)):
        values = breathing(15, 180)
        values[60 * 25 :] = value
        if told:
            values += noise(180)
        extra = [status("lead-off", on=True, at_s=61)] if told else []

        assert chain(values, extra=extra) == []


def test_a_lost_link_is_no_apnoea():
    """A minute of samples is missing; the breathing goes on afterwards."""
    values = breathing(15, 180) + noise(180)
    before = chain(values[: 60 * 25])
    rule, detector, quality = ApnoeaRule(), BreathDetector(), RespirationQuality()
    outputs = []
    for part, start_s in ((values[: 60 * 25], 0), (values[120 * 25 :], 120)):
        for block in blocks(digital(part), start_s=start_s):
            for found in [*quality.push(block), *detector.push(block)]:
                outputs += rule.push(found)
            outputs += rule.push(Tick(at_ns=block.end_ns))
        for second in range(61, 120):
            outputs += rule.push(Tick(at_ns=second * S)) if start_s == 0 else []

    assert before == []
    assert outputs == []


@pytest.mark.parametrize("every_s", [3, 5, 9, 15])
@pytest.mark.parametrize("bpm", [5, 15])
def test_a_link_that_loses_packets_is_no_apnoea(bpm, every_s):
    """A tenth of a second is missing every few seconds, and every stage begins anew: nothing is raised."""
    values = digital(breathing(bpm, 180, pause=0.2) + noise(180))
    rule, detector, quality = ApnoeaRule(), BreathDetector(), RespirationQuality()
    outputs = []

    for second, block in enumerate(blocks(values, block_s=1.0)):
        if second % every_s == 0:
            for stage in (quality, detector):
                stage.reset("frame-loss")
        for found in [*quality.push(block), *detector.push(block)]:
            outputs += rule.push(found)
        outputs += rule.push(Tick(at_ns=block.end_ns))

    assert outputs == []


def test_motion_is_no_apnoea():
    """A minute of walking in which no breath can be seen."""
    values = stopping(60, 120, 180) + noise(180)
    extra = [
        Activity(
            sensor="chest", stream="acc", at_ns=second * S, level=ActivityLevel.WALKING, intensity_mps2=3.0
        )
        for second in range(60, 121)
    ]  # fmt: skip

    assert chain(values, extra=extra) == []
