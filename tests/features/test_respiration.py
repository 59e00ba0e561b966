"""The respiration rate: right from every source, from their fusion, and absent with the reason otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from edge.features.respiration import RespirationStage
from edge.messages import (
    Activity,
    ActivityLevel,
    Beat,
    Breath,
    ChannelKind,
    Pulse,
    Quality,
    SensorStatus,
    Tick,
)
from tests.features.respiration_signals import S


def counted(bpm, duration_s=120, *, jitter=0.0, depth=1.0, until_s=None, quality=0.9):
    """Return breaths at `bpm` and a verdict on every second."""
    rng = np.random.default_rng(1)
    step_s = 60.0 / bpm
    at_s = np.arange(0.5, until_s or duration_s, step_s)
    at_s = np.sort(at_s + jitter * step_s * rng.standard_normal(len(at_s)))
    breaths = [
        Breath(
            sensor="chest", stream="respiration", at_ns=round(at * S), interval_s=None if k == 0 else at - at_s[k - 1],
            amplitude=depth, quality=quality,
        )
        for k, at in enumerate(at_s)
    ]  # fmt: skip
    return [*breaths, *verdicts(duration_s)]


def verdicts(duration_s, *, is_usable=lambda _: True, reason="noise"):
    return [
        Quality(
            sensor="chest", stream="respiration", at_ns=second * S, index=0.9 if is_usable(second) else 0.0,
            is_usable=is_usable(second), reasons=() if is_usable(second) else (reason,), kind=ChannelKind.RESPIRATION,
        )
        for second in range(1, duration_s + 1)
    ]  # fmt: skip


def beats(
    breath_bpm, duration_s=120, *, heart_bpm=72, amplitude=0.1, rsa_ms=30.0, seed=0, noise=0.02, disorder=0.0, **fields
):
    """Return beats whose height and interval follow the breath."""
    rng = np.random.default_rng(seed)
    out, at_s, before_s = [], 0.4, None
    while at_s < duration_s:
        turn = np.sin(2 * np.pi * breath_bpm / 60.0 * at_s)
        out.append(
            Beat(
                sensor="chest", stream="ecg", channel="II", at_ns=round(at_s * S), sequence=0, quality=0.9,
                rr_ms=None if before_s is None else 1000 * (at_s - before_s),
                amplitude_mv=1.0 + amplitude * turn + noise * rng.standard_normal(), **fields,
            )
        )  # fmt: skip
        before_s = at_s
        at_s += max(0.35, 60.0 / heart_bpm * (1 + disorder * rng.standard_normal()) + rsa_ms / 1000 * turn)
    return out


def pulses(breath_bpm, duration_s=120, *, heart_bpm=72, depth=0.1, noise=0.02, seed=0, **fields):
    """Return pulses whose height and level follow the breath."""
    rng = np.random.default_rng(seed)
    at_s = np.arange(0.6, duration_s, 60.0 / heart_bpm)
    turn = np.sin(2 * np.pi * breath_bpm / 60.0 * at_s)
    return [
        Pulse(
            sensor="finger", stream="ppg", channel="IR", at_ns=round(at * S), sequence=0, quality=0.9,
            interval_ms=None if k == 0 else 1000 * (at - at_s[k - 1]),
            amplitude=1.0 + depth * turn[k] + noise * rng.standard_normal(),
            baseline=100.0 + depth * turn[k] + noise * rng.standard_normal(), **fields,
        )
        for k, at in enumerate(at_s)
    ]  # fmt: skip


def run(events, until_s=120, stage=None):
    """Return one estimate a second: every event is known half a second after it happened."""
    stage = RespirationStage() if stage is None else stage
    waiting = sorted(events, key=lambda event: event.at_ns)
    out = []
    for second in range(1, until_s + 1):
        while waiting and waiting[0].at_ns + S // 2 <= second * S:
            assert stage.push(waiting.pop(0)) == []
        out += stage.push(Tick(at_ns=second * S))
    return out


def last(events, **keywords):
    return run(events, **keywords)[-1]


def test_an_estimate_comes_with_every_tick_and_says_what_it_is():
    """Measure, unit, instant, method, age; a tick twice, or one in the past, gives nothing more."""
    stage = RespirationStage()

    estimates = run(counted(15), stage=stage)

    assert [item.at_ns for item in estimates] == [second * S for second in range(1, 121)]
    assert {(item.measure, item.unit) for item in estimates} == {("respiratory_rate_bpm", "/min")}
    assert estimates[-1].method == "fusion:impedance"
    assert (estimates[-1].sensor, estimates[-1].stream) == ("chest", "respiration")
    assert 1.0 < estimates[-1].valid_for_s <= 5.0
    assert stage.push(Tick(at_ns=120 * S)) == stage.push(Tick(at_ns=S)) == []


def test_without_any_source_there_is_nothing_to_say():
    """A person with a thermometer alone gets no line about breathing."""
    assert run([]) == []


@pytest.mark.parametrize("bpm", [4, 6, 12, 20, 35, 60])
def test_counted_breaths_give_the_rate(bpm):
    """Over half a minute, or a minute when they are slow."""
    estimate = last(counted(bpm))

    assert estimate.value == pytest.approx(bpm, rel=0.02)
    assert estimate.quality > 0.9
    assert estimate.absent is None


@pytest.mark.parametrize("bpm", [6, 9, 12, 16, 20, 25, 30])
@pytest.mark.parametrize("source", [beats, pulses])
def test_modulations_give_the_rate(bpm, source):
    """Of beats alone and of pulses alone, up to less than half the heart rate."""
    estimate = last(source(bpm))

    assert estimate.value == pytest.approx(bpm, abs=1.0)
    assert estimate.method == ("fusion:ecg" if source is beats else "fusion:ppg")


def test_beats_and_pulses_are_fused():
    """Where both are noisy, together they are sure."""
    noisy = [*beats(16, noise=0.1, rsa_ms=0.0), *pulses(16, noise=0.1, seed=3)]

    estimate = last(noisy)

    assert estimate.value == pytest.approx(16, abs=1.0)
    assert estimate.method == "fusion:ecg+ppg"


def test_agreeing_sources_are_named_and_surer_than_one():
    """Impedance and ECG at 15/min."""
    alone = last(counted(15, jitter=0.1))

    both = last([*counted(15, jitter=0.1), *beats(15)])

    assert both.method == "fusion:impedance+ecg"
    assert both.value == pytest.approx(15, abs=0.7)
    assert both.quality > alone.quality


def test_uneven_counting_against_sure_modulations_is_a_disagreement():
    """Half of the breaths invented by noise, while heart and vessels agree on 12/min: no value, and why."""
    estimate = last([*counted(19, jitter=0.25), *beats(12), *pulses(12)])

    assert estimate.value is None
    assert estimate.absent == "disagreement"
    assert estimate.quality == 0.0


def test_even_counting_stands_against_doubtful_modulations():
    """Breaths that come like clockwork are breaths; beats cannot show 45/min at a heart rate of 60."""
    estimate = last([*counted(45), *beats(45, heart_bpm=60, noise=0.05)])

    assert estimate.value == pytest.approx(45, abs=1)


def test_the_heart_counted_as_breath_is_no_rate():
    """A count within 5 % of the heart rate is the heart's; the beats' own modulation stands in."""
    estimate = last([*counted(70), *beats(14, heart_bpm=72)])

    assert estimate.value == pytest.approx(14, abs=1)
    assert estimate.method == "fusion:ecg"


def test_no_breath_is_no_rate_whatever_the_beats_still_show():
    """20 s after the last breath the half minute of the beats is still full of breathing."""
    events = [*counted(15, until_s=90), *beats(15)]

    estimates = run(events)

    assert estimates[88].value == pytest.approx(15, abs=1)
    assert {item.absent for item in estimates[112:]} == {"no-breaths"}
    assert all(item.value is None for item in estimates[112:])


def test_a_single_wave_after_an_apnoea_is_no_rate_either():
    """The chest is readable and says nothing yet: the older modulations do not speak for it."""
    events = [*[event for event in counted(15) if isinstance(event, Quality) or event.at_ns < 70 * S], *beats(15)]
    wave = Breath(
        sensor="chest", stream="respiration", at_ns=100 * S, interval_s=33.0, amplitude=0.3, quality=0.9
    )  # fmt: skip

    estimates = run([*events, wave], until_s=110)

    assert {item.absent for item in estimates[102:]} == {"too-few-breaths"}


def test_a_detached_electrode_is_not_no_breath():
    """The reason of the unusable seconds is given, at once."""
    events = [*counted(15, 60), *verdicts(120, is_usable=lambda second: second <= 60, reason="lead-off")[60:]]

    estimates = run(events)

    assert estimates[59].value == pytest.approx(15, abs=0.5)
    assert {item.absent for item in estimates[64:]} == {"lead-off"}


def test_without_impedance_the_beats_go_on():
    """The respiration signal is lost, the ECG is not."""
    events = [*counted(15, 60), *verdicts(120, is_usable=lambda second: second <= 60)[60:], *beats(15)]

    estimate = last(events)

    assert estimate.value == pytest.approx(15, abs=1)
    assert estimate.method == "fusion:ecg"


def test_a_stream_that_stopped_says_nothing():
    """No verdict and no beat for half a minute: nothing is held."""
    counts = [event for event in counted(15) if event.at_ns < 60 * S]
    alone = last(counts)
    stopped = last([event for event in beats(15) if event.at_ns < 90 * S])

    assert (alone.value, alone.absent) == (None, "no-signal")
    assert (stopped.value, stopped.absent) == (None, "too-few-beats")


def test_a_lead_off_report_silences_the_beats():
    """What still looks like beats on a loose electrode tells nothing of breathing."""
    off = SensorStatus(sensor="chest", stream="ecg", condition="lead-off", is_active=True, at_ns=100 * S)

    estimate = last([*beats(15), off])

    assert (estimate.value, estimate.absent) == (None, "lead-off")


def test_fibrillation_without_a_modulation_of_height_is_irregular():
    """RR intervals without order tell nothing of breathing."""
    estimate = last(beats(15, rsa_ms=0.0, amplitude=0.0, disorder=0.2))

    assert (estimate.value, estimate.absent) == (None, "irregular")


def test_fibrillation_leaves_the_height_of_the_beats():
    """The heart's axis still turns with the chest."""
    estimate = last(beats(15, rsa_ms=0.0, amplitude=0.15, disorder=0.2))

    assert estimate.value == pytest.approx(15, abs=1)


def test_noise_without_breathing_is_a_poor_signal():
    """Nothing is invented from beats that carry no modulation."""
    estimates = run(beats(15, rsa_ms=0.0, amplitude=0.0, noise=0.05, disorder=0.01), until_s=120)

    assert sum(item.value is not None for item in estimates) <= 12
    assert "poor-signal" in {item.absent for item in estimates}


def test_walking_is_motion():
    """The steps are in every series."""
    events = [
        Activity(sensor="chest", stream="acc", at_ns=k * S, level=ActivityLevel.WALKING, intensity_mps2=3.0)
        for k in range(60, 121)
    ]

    estimate = last([*beats(15), *events])

    assert (estimate.value, estimate.absent) == (None, "motion")


def test_ectopic_beats_are_left_out():
    """Every eighth beat premature, tall and with a compensatory pause: the rate is that of the others."""
    events = []
    for k, item in enumerate(beats(15)):
        if k % 8 == 7:
            item = Beat(  # noqa: PLW2901 - the beat is another one
                sensor="chest", stream="ecg", channel="II", at_ns=item.at_ns - S // 4, sequence=0, rr_ms=580.0,
                quality=0.9, amplitude_mv=2.0, is_premature=True,
            )  # fmt: skip
        events.append(item)

    assert last(events).value == pytest.approx(15, abs=1)


def test_noise_suspects_do_not_count():
    """Beats found in bad signal are none."""
    of_ecg, of_ppg = last(beats(15, is_noise_suspect=True)), last(pulses(15, is_noise_suspect=True))

    assert (of_ecg.value, of_ecg.absent) == (None, "too-few-beats")
    assert (of_ppg.value, of_ppg.absent) == (None, "too-few-beats")


def test_a_change_of_the_rate_is_followed():
    """From 12 to 24/min: counted within 40 s, from beats within a minute; the old rate is not shown for as long."""
    count = [
        *[event for event in counted(12, 240) if event.at_ns < 120 * S],
        *[event for event in counted(24, 240) if event.at_ns >= 120 * S],
    ]
    modulated = [
        *[event for event in beats(12, 240) if event.at_ns < 120 * S],
        *[event for event in beats(24, 240) if event.at_ns >= 120 * S],
    ]

    indirect = run(modulated, until_s=240)
    assert run(count, until_s=240)[160].value == pytest.approx(24, abs=1)
    assert indirect[180].value == pytest.approx(24, abs=1)
    assert not [item.value for item in indirect[160:] if item.value is not None and item.value < 20]


def test_a_rate_that_climbs_is_followed():
    """From 10 to 22/min within two minutes, by beats alone: never wrong by more than 3/min on the way."""
    rng = np.random.default_rng(4)
    at_s = np.arange(0.4, 300, 60 / 72)
    rate_bpm = np.interp(at_s, [90, 210], [10, 22])
    turn = np.sin(2 * np.pi * np.cumsum(rate_bpm / 60 * 60 / 72))
    events = [
        Beat(
            sensor="chest", stream="ecg", channel="II", at_ns=round(at * S), sequence=0, quality=0.9,
            rr_ms=833.0 + rng.normal(0, 3), amplitude_mv=1 + 0.1 * turn[k] + 0.02 * rng.standard_normal(),
        )
        for k, at in enumerate(at_s)
    ]  # fmt: skip

    estimates = run(events, until_s=300)

    shown = [item for item in estimates if item.value is not None]
    wrong = [abs(item.value - np.interp(item.at_ns / S - 17, at_s, rate_bpm)) for item in shown]  # middle of the window
    assert max(wrong) < 3
    assert sum(item.at_ns >= 90 * S for item in shown) > 120


def test_what_happened_in_the_last_second_does_not_matter_yet():
    """Another stream's samples may still be missing: the estimate at 60 s is the same with and without them."""
    events = [*counted(15), *beats(15)]
    early, late = RespirationStage(), RespirationStage()
    for event in sorted(events, key=lambda event: event.at_ns):
        if event.at_ns <= 60 * S:
            early.push(event)
            if event.at_ns <= 59 * S:
                late.push(event)

    assert early.push(Tick(at_ns=60 * S)) == late.push(Tick(at_ns=60 * S))
