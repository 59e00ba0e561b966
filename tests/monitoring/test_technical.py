"""Technical alarms: each names its sensor, lasts as long as its trouble, and does not flap."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.messages import (
    AlertKind,
    ChannelKind,
    ClockState,
    ClockSync,
    Corrupt,
    LinkChange,
    LinkState,
    Priority,
    Quality,
    SensorIdentity,
    SensorStatus,
    Tick,
)
from edge.monitoring.technical import TechnicalRules

S = 1_000_000_000


def status(condition, *, on=True, at_s=0.0, stream="ecg", detail=""):
    return SensorStatus(
        sensor="chest", stream=stream, condition=condition, is_active=on, at_ns=round(at_s * S), detail=detail
    )


def link(state, at_s, sensor="chest", reason="timeout"):
    return LinkChange(sensor=sensor, state=state, reason=reason, at_ns=round(at_s * S))


def quality(at_s, *reasons):
    return Quality(
        sensor="chest",
        stream="ecg",
        at_ns=round(at_s * S),
        index=0.1 if reasons else 0.9,
        is_usable=not reasons,
        reasons=reasons,
    )


def clock(sync):
    return ClockState(sync=sync, error_ms=None, epoch=0)


def identity(boot_id, at_s=0.0):
    return SensorIdentity(
        sensor="chest", device_id="d", model="m", firmware="1", boot_id=boot_id, streams=(), at_ns=round(at_s * S)
    )


def play(items, until_s, each_second=lambda _: ()):
    """Push `items` (seconds, item) with a tick a second; return what came of it."""
    rules = TechnicalRules()
    waiting = sorted(items, key=lambda pair: pair[0])
    outputs = []
    for second in range(until_s + 1):
        while waiting and waiting[0][0] <= second:
            outputs += rules.push(waiting.pop(0)[1])
        for item in each_second(second):
            outputs += rules.push(item)
        outputs += rules.push(Tick(at_ns=second * S))
    return outputs


def summary(outputs):
    return [(out.code, out.is_active, out.at_ns // S) for out in outputs]


def test_lead_off_is_confirmed_named_and_ended():
    """Five seconds off: a medium technical alarm that says which sensor; over when the lead is back."""
    outputs = play([(10, status("lead-off", at_s=10)), (30, status("lead-off", on=False, at_s=30))], 60)

    assert summary(outputs) == [("lead-off:chest/ecg", True, 15), ("lead-off:chest/ecg", False, 32)]
    assert outputs[0].priority is Priority.MEDIUM
    assert outputs[0].kind is AlertKind.TECHNICAL
    assert outputs[0].onset_at_ns == 10 * S
    assert "chest/ecg" in outputs[0].sentence
    assert outputs[0].evidence["reported_by"] == ["sensor"]


def test_a_short_loss_of_contact_is_nothing():
    """Four seconds are less than five."""
    assert play([(10, status("lead-off", at_s=10)), (14, status("lead-off", on=False, at_s=14))], 60) == []


def test_a_loose_contact_still_alarms():
    """Off three seconds, on one, again and again: it was never back for two seconds."""
    items = [(t, status("lead-off", on=t % 4 != 3, at_s=t)) for t in range(10, 40)]

    outputs = play(items, 45)

    assert summary(outputs)[0] == ("lead-off:chest/ecg", True, 16)


def test_lead_off_seen_in_the_signal_counts_too():
    """A device that cannot report its electrodes has a signal that tells."""
    outputs = play([], 60, lambda t: [quality(t, *(("lead-off", "flat") if 10 < t <= 30 else ()))])

    assert summary(outputs) == [("lead-off:chest/ecg", True, 16), ("lead-off:chest/ecg", False, 33)]


def test_either_witness_keeps_a_lead_off_alive():
    """The sensor says it is back, the signal does not: it is still off."""
    items = [(10, status("lead-off", at_s=10)), (30, status("lead-off", on=False, at_s=30))]

    outputs = play(items, 60, lambda t: [quality(t, *(("lead-off",) if 10 < t <= 50 else ()))])

    assert summary(outputs) == [("lead-off:chest/ecg", True, 15), ("lead-off:chest/ecg", False, 53)]


def test_the_signal_cannot_take_back_what_the_sensor_says():
    """The signal looks fine again, the sensor still reports the electrode off."""
    items = [(10, status("lead-off", at_s=10))]

    outputs = play(items, 60, lambda t: [quality(t, *(("lead-off",) if 10 < t <= 30 else ()))])

    assert summary(outputs) == [("lead-off:chest/ecg", True, 15)]


def test_a_flat_line_is_never_silent():
    """No ECG although no electrode is reported off: somebody has to look at the patient."""
    outputs = play([], 60, lambda t: [quality(t, *(("flat",) if t > 10 else ()))])

    assert summary(outputs) == [("flat:chest/ecg", True, 16)]
    assert "check the patient" in outputs[0].sentence


def test_a_lost_link_alarms_after_ten_seconds():
    """Cable pulled for 20 s: one alarm, over when the link has stood for five seconds."""
    items = [
        (0, link(LinkState.CONNECTED, 0)),
        (10, link(LinkState.LOST, 10)),
        (12, link(LinkState.CONNECTING, 12)),
        (30, link(LinkState.CONNECTED, 30)),
    ]

    outputs = play(items, 60)

    assert summary(outputs) == [("link-lost:chest", True, 20), ("link-lost:chest", False, 35)]
    assert "chest" in outputs[0].sentence


def test_a_silent_link_is_a_lost_one():
    """Connected without data: the same alarm."""
    items = [(0, link(LinkState.CONNECTED, 0)), (10, link(LinkState.SILENT, 10, reason="no data for 5 s"))]

    outputs = play(items, 60)

    assert summary(outputs) == [("link-lost:chest", True, 20)]
    assert outputs[0].evidence["detail"] == "no data for 5 s"


def test_a_sensor_that_never_connects_alarms():
    """A configured sensor that is not there is a lost link."""
    assert summary(play([(0, link(LinkState.CONNECTING, 0))], 30)) == [("link-lost:chest", True, 10)]


def test_a_link_that_breaks_every_few_seconds_alarms():
    """Connecting again for two seconds is no connection."""
    items = [(t, link(LinkState.CONNECTED if t % 6 == 0 else LinkState.LOST, t)) for t in range(60) if t % 6 in {0, 2}]

    assert summary(play(items, 60))[0] == ("link-lost:chest", True, 14)


def test_an_ordered_stop_raises_nothing_and_ends_what_was():
    """Somebody switched the sensor off on purpose."""
    silent = play([(0, link(LinkState.CONNECTED, 0)), (10, link(LinkState.STOPPED, 10))], 60)
    ended = play([(0, link(LinkState.LOST, 0)), (30, link(LinkState.STOPPED, 30))], 60)

    assert silent == []
    assert summary(ended) == [("link-lost:chest", True, 10), ("link-lost:chest", False, 30)]


def test_two_sensors_are_two_alarms():
    """Codes name the sensor, so that acknowledging one does not touch the other."""
    items = [(0, link(LinkState.LOST, 0)), (0, link(LinkState.LOST, 0, sensor="finger"))]

    assert {out.code for out in play(items, 30)} == {"link-lost:chest", "link-lost:finger"}


def test_a_poor_signal_alarms_after_a_minute():
    """Low priority, with the reasons; over after ten usable seconds."""
    outputs = play([], 150, lambda t: [quality(t, *(("motion",) if 10 < t <= 100 else ()))])

    assert summary(outputs) == [("signal-poor:chest/ecg", True, 70), ("signal-poor:chest/ecg", False, 110)]
    assert outputs[0].priority is Priority.LOW
    assert "motion" in outputs[0].sentence


def test_a_signal_that_is_poor_half_of_the_time_is_not_poor():
    """The other half is good enough to watch the patient."""
    assert play([], 600, lambda t: [quality(t, *(("motion",) if t % 2 else ()))]) == []


def test_a_signal_that_is_mostly_poor_alarms_in_the_end():
    """Two of three seconds unusable add up."""
    outputs = play([], 600, lambda t: [quality(t, *(("motion",) if t % 3 else ()))])

    assert [out.code for out in outputs] == ["signal-poor:chest/ecg"]


def breathing(at_s, *reasons):
    return replace(quality(at_s, *reasons), stream="respiration", kind=ChannelKind.RESPIRATION)


def test_one_loose_electrode_is_one_alarm():
    """Impedance is measured over the electrodes of the ECG: the nurse is called once, not twice, nor for poor signal."""
    off = [(5, status("lead-off", at_s=5.0))]

    outputs = play(off, 100, lambda at_s: [quality(at_s, "lead-off"), breathing(at_s, "lead-off")] if at_s > 5 else [])

    assert [condition.code for condition in outputs if condition.is_active] == ["lead-off:chest/ecg"]


def test_a_belt_without_an_ecg_alarms_for_itself():
    """Where no ECG tells it, the breathing signal's own detachment is told."""
    outputs = play([], 20, lambda at_s: [breathing(at_s, "lead-off")])

    assert [condition.code for condition in outputs] == ["lead-off:chest/respiration"]


def test_waves_without_beats_are_a_poor_signal_in_the_end():
    """They stay usable for the rule on fibrillation; when it says nothing for a minute, somebody must look."""
    waves = lambda at_s: [replace(quality(at_s), reasons=("motion", "waves"))]  # noqa: E731 - as short as it is

    assert [condition.code for condition in play([], 70, waves)] == ["signal-poor:chest/ecg"]


def test_lead_off_is_not_called_poor_as_well():
    """One trouble, one alarm."""
    outputs = play([], 300, lambda t: [quality(t, "lead-off")])

    assert [out.code for out in outputs] == ["lead-off:chest/ecg"]


def test_an_unsynchronised_clock_alarms_after_a_minute():
    """Low priority; over as soon as the clock is right."""
    sync = lambda t: ClockSync.UNSYNCHRONISED if 10 <= t < 100 else ClockSync.NTP  # noqa: E731 - clearest in place
    outputs = play([], 150, lambda t: [clock(sync(t))])

    assert [(code, on) for code, on, _ in summary(outputs)] == [
        ("clock-unsynchronised", True),
        ("clock-unsynchronised", False),
    ]
    assert 69 <= summary(outputs)[0][2] <= 71


@pytest.mark.parametrize("sync", [ClockSync.NTP, ClockSync.HOLDOVER, ClockSync.UNKNOWN])
def test_a_clock_that_nobody_calls_wrong_is_silent(sync):
    """Where the kernel says nothing, health says so; it is no alarm."""
    assert play([], 200, lambda _: [clock(sync)]) == []


def test_battery_low_and_nearly_empty():
    """Low at once, medium when the sensor says 3 percent or less, over when it charges."""
    items = [
        (10, status("battery-low", at_s=10, stream=None, detail="9")),
        (20, status("battery-low", at_s=20, stream=None, detail="3")),
        (30, status("battery-low", on=False, at_s=30, stream=None)),
        (30, status("charging", at_s=30, stream=None)),
    ]

    outputs = play(items, 40)

    assert [(out.code, out.is_active, out.priority.value) for out in outputs] == [
        ("battery-low:chest", True, "low"),
        ("battery-critical:chest", True, "medium"),
        ("battery-low:chest", False, "low"),
        ("battery-critical:chest", False, "medium"),
    ]


def test_a_failed_self_test_is_urgent():
    """The sensor itself says that it cannot be trusted."""
    outputs = play([(10, status("self-test-failed", at_s=10, stream=None))], 20)

    assert summary(outputs) == [("self-test-failed:chest", True, 10)]
    assert outputs[0].priority is Priority.HIGH


def test_a_condition_without_a_name_here_is_not_swallowed():
    """A newer firmware reports something new: low priority, in its own words."""
    outputs = play([(10, status("device-condition-42", at_s=10, stream=None))], 20)

    assert summary(outputs) == [("device-condition-42:chest", True, 15)]
    assert "device condition 42" in outputs[0].sentence


def test_a_restarted_device_has_to_say_again_what_holds():
    """It lost its state with its power: an old lead off must not stand for ever."""
    items = [(0, identity(1)), (10, status("lead-off", at_s=10)), (30, identity(2, 30))]

    outputs = play(items, 60)

    assert summary(outputs) == [("lead-off:chest/ecg", True, 15), ("lead-off:chest/ecg", False, 32)]


def test_reconnecting_without_a_restart_keeps_what_was_reported():
    """The same boot: the lead is still off."""
    items = [(0, identity(1)), (10, status("lead-off", at_s=10)), (30, identity(1, 30))]

    assert summary(play(items, 60)) == [("lead-off:chest/ecg", True, 15)]


def test_damaged_data_alarm_once_and_end_when_clean():
    """Two bad frames a second for two minutes: one alarm, over a minute after the last."""
    corrupt = Corrupt(reason="crc", offset=0, n_bytes=30)

    outputs = play([], 300, lambda t: [corrupt, corrupt] if t < 120 else [])

    assert [(code, on) for code, on, _ in summary(outputs)] == [("data-corrupt", True), ("data-corrupt", False)]
    assert outputs[0].evidence["detail"] == "crc"


def test_an_occasional_bad_frame_is_no_alarm():
    """One every ten seconds is counted elsewhere."""
    corrupt = Corrupt(reason="crc", offset=0, n_bytes=30)

    assert play([], 600, lambda t: [corrupt] if t % 10 == 0 else []) == []


def test_a_clock_state_before_any_time_is_not_counted_from():
    """Without a tick there is no instant to count from; it comes again within a second."""
    rules = TechnicalRules()

    assert rules.push(clock(ClockSync.UNSYNCHRONISED)) == []
    assert rules.push(Tick(at_ns=10**12)) == []


def test_a_new_session_knows_nothing_of_the_last():
    """After a reset an old trouble has to be reported again."""
    rules = TechnicalRules()
    rules.push(status("self-test-failed", stream=None))

    rules.reset("session")

    assert [out for t in range(60) for out in rules.push(Tick(at_ns=t * S))] == []
    assert [out.is_active for out in rules.push(status("self-test-failed", stream=None))] == [True]


def test_an_occasional_sensor_that_is_away_raises_nothing():
    """A cuff is switched on for each measurement; a loss that turns out to be its sleep ends."""
    asleep = play([(0, link(LinkState.ASLEEP, 0))], 120)
    ended = play([(0, link(LinkState.LOST, 0)), (30, link(LinkState.ASLEEP, 30))], 120)

    assert summary(asleep) == []
    assert [is_active for _, is_active, _ in summary(ended)] == [True, False]


def test_a_relay_that_repeats_everything_is_no_trouble():
    """Nothing is lost by a repetition; it is counted in health."""
    repeated = [(t, Corrupt(reason="duplicate", offset=t, n_bytes=20)) for t in range(120) for _ in range(5)]
    damaged = [(t, Corrupt(reason="crc", offset=t, n_bytes=20)) for t in range(120) for _ in range(5)]

    assert summary(play(repeated, 120)) == []
    assert summary(play(damaged, 120)) != []


@pytest.mark.parametrize("condition", ["demonstration", "session-stopped"])
def test_what_sensors_of_other_makers_report_has_a_sentence(condition):
    """An oximeter in its shop window, a glucose sensor at its end: said in words, at once."""
    status = SensorStatus(sensor="chest", stream=None, condition=condition, is_active=True, at_ns=0)

    (told,) = [item for item in play([(0, status)], 10) if item.is_active]

    assert "chest" in told.sentence
    assert "reports" not in told.sentence  # as it says of a condition that it does not know
