"""PulseRate shows the rate of the pulses as an oximeter does, or says why not."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from edge.features.pulse_rate import PulseRate
from edge.features.pulse_signal import PulseSignal, PulseSignalSettings
from edge.messages import ChannelKind, Gap, Pulse, Quality, Tick

KIND = ChannelKind.PPG_INFRARED


def pulse(at_s: float, interval_s: float | None, *, amplitude: float = 2000.0, is_noise_suspect: bool = False) -> Pulse:
    return Pulse(
        sensor="finger",
        stream="ppg",
        channel="IR",
        at_ns=round(at_s * 1e9),
        sequence=round(at_s * 100),
        interval_ms=None if interval_s is None else 1000.0 * interval_s,
        amplitude=amplitude,
        baseline=100_000.0 - 0.5 * amplitude,
        quality=1.0,
        is_noise_suspect=is_noise_suspect,
    )


def verdict(second: int, *, is_usable: bool = True, reasons: tuple[str, ...] = (), kind: ChannelKind = KIND) -> Quality:
    return Quality(
        sensor="finger",
        stream="ppg",
        at_ns=second * 10**9,
        index=0.9 if is_usable else 0.2,
        is_usable=is_usable,
        reasons=reasons,
        channel="IR",
        kind=kind,
    )


def steady(interval_s: float, until_s: float, from_s: float = 0.0) -> list[Pulse]:
    at_s = np.arange(from_s, until_s, interval_s)
    return [pulse(float(at), interval_s if k or from_s else None) for k, at in enumerate(at_s)]


def told(items: list, at_s: int, measure: str = "pulse_rate_bpm"):
    """The estimate at `at_s` of everything that happened before."""
    stage = PulseRate()
    for item in sorted(items, key=lambda item: item.at_ns if not isinstance(item, Gap) else item.end_ns):
        if (item.end_ns if isinstance(item, Gap) else item.at_ns) <= at_s * 10**9:
            stage.push(item)
    return next(estimate for estimate in stage.push(Tick(at_ns=at_s * 10**9)) if estimate.measure == measure)


def used(items: list, at_s: int) -> list[Pulse]:
    """The pulses of which a number is made at `at_s`."""
    known = PulseSignal(PulseSignalSettings())
    for item in sorted(items, key=lambda item: item.at_ns):
        known.add(item)
    return known.pulses(at_s * 10**9)


@pytest.mark.parametrize("rate_bpm", [30, 60, 120, 240])
def test_a_steady_pulse_has_its_rate(rate_bpm):
    """The rate is exact and carries the quality of the signal."""
    found = told([*steady(60 / rate_bpm, 30.0), *map(verdict, range(1, 31))], 30)

    assert found.value == pytest.approx(rate_bpm)
    assert (found.unit, found.method, found.absent) == ("/min", "ppg", None)
    assert found.quality == pytest.approx(0.9)


def test_a_missed_and_an_invented_pulse_do_not_move_the_rate():
    """One interval of double length and one cut in two leave the median where it was."""
    pulses = steady(0.8, 30.0)
    at = next(k for k, item in enumerate(pulses) if item.at_ns > 22e9)
    pulses[at : at + 2] = [pulse(pulses[at + 1].at_ns / 1e9, 1.6)]
    pulses[at + 2 : at + 3] = [
        pulse(pulses[at + 2].at_ns / 1e9 - 0.4, 0.4),
        pulse(pulses[at + 2].at_ns / 1e9, 0.4),
    ]

    assert told([*pulses, *map(verdict, range(1, 31))], 30).value == pytest.approx(75.0)


@pytest.mark.parametrize("after_s", [0.5, 1.5])
def test_a_step_of_the_rate_shows_within_ten_seconds(after_s):
    """From 80 to 120 or 40 a minute: the new rate stands 10 s after the step."""
    items = [*steady(0.75, 30.0), *steady(after_s, 60.0, 30.0), *map(verdict, range(1, 61))]

    assert told(items, 40).value == pytest.approx(60 / after_s)


def test_no_pulses_in_good_signal_is_said():
    """Four seconds without a pulse, as far as is known, are none."""
    items = [*steady(0.8, 20.0), *map(verdict, range(1, 31))]

    assert told(items, 24).value is not None
    assert told(items, 27).absent == "no-pulses"


def test_too_few_pulses_at_the_start():
    """Two intervals are no rate."""
    assert told([*steady(0.8, 2.0), *map(verdict, range(1, 6))], 4).absent == "too-few-pulses"


@pytest.mark.parametrize(
    ("reasons", "absent"),
    [
        (("motion",), "motion"),
        (("noise",), "poor-signal"),
        (("low-perfusion",), "low-perfusion"),
        (("saturated", "motion"), "motion"),
    ],
)
def test_an_unusable_signal_gives_its_reason(reasons, absent):
    """More than half of the time unusable: no rate, and why."""
    items = [*steady(0.8, 30.0), *map(verdict, range(1, 20))]
    items += [verdict(second, is_usable=False, reasons=reasons) for second in range(20, 31)]

    found = told(items, 30)

    assert (found.value, found.absent, found.quality) == (None, absent, 0.0)


def test_a_detached_probe_is_said_at_once():
    """Lead-off is not averaged over."""
    items = [*steady(0.8, 30.0), *map(verdict, range(1, 30)), verdict(30, is_usable=False, reasons=("lead-off",))]

    assert told(items, 30).absent == "lead-off"


def test_a_silent_stream_has_no_signal():
    """Nothing came for seconds: the value is not held."""
    assert told([*steady(0.8, 30.0), *map(verdict, range(1, 31))], 35).absent == "no-signal"


def test_suspect_pulses_and_those_of_bad_seconds_do_not_count():
    """Only trusted intervals make the rate."""
    pulses = [
        pulse(item.at_ns / 1e9, 0.3, is_noise_suspect=True) if 20e9 < item.at_ns < 24e9 else item
        for item in steady(0.8, 30.0)
    ]
    items = [*pulses, *map(verdict, range(1, 26)), verdict(26, is_usable=False, reasons=("noise",))]
    items += [pulse(25.5, 0.1), *map(verdict, range(27, 31))]

    assert told(items, 30).value == pytest.approx(75.0)


def test_a_disturbance_is_believed_to_have_begun_a_second_earlier():
    """A verdict looks back over five seconds, so the pulses just before an unusable second do not count either."""
    wrong = [pulse(24.0 + 0.3 * k, 0.3) for k in range(1, 4)]
    items = [*steady(0.8, 24.0), *wrong, *map(verdict, range(1, 26)), *map(verdict, range(27, 28))]
    items += [verdict(26, is_usable=False, reasons=("motion",))]

    intervals = [item.interval_ms for item in used(items, 28)]

    assert intervals
    assert 300.0 not in intervals


def test_a_long_stretch_that_is_just_about_usable_is_not_believed():
    """With the mean index below the limit there is no rate, although most seconds are usable."""
    items = [*steady(0.8, 30.0), *map(verdict, range(1, 19))]
    items += [replace(verdict(second), index=0.62 if second % 3 else 0.3) for second in range(19, 31)]
    items = [replace(item, is_usable=item.index > 0.5) if isinstance(item, Quality) else item for item in items]

    assert told(items, 30).absent == "poor-signal"


def test_time_that_goes_back_begins_anew():
    """After a restart of the time line old pulses do not mix with new ones."""
    stage = PulseRate()
    for item in [*steady(0.8, 30.0), *map(verdict, range(1, 31)), *steady(0.5, 20.0), *map(verdict, range(1, 21))]:
        stage.push(item)

    rate = next(each for each in stage.push(Tick(at_ns=20 * 10**9)) if each.measure == "pulse_rate_bpm")

    assert rate.value == pytest.approx(120.0)


def test_an_incoherent_pulse_has_no_rate():
    """Intervals of which hardly any two agree are not averaged into a number."""
    rng = np.random.default_rng(0)
    at_s = np.cumsum(np.exp(rng.uniform(np.log(0.25), np.log(3.0), 40)))
    pulses = [pulse(float(b), float(b - a)) for a, b in itertools.pairwise(at_s)]

    found = [told([*pulses, *map(verdict, range(1, 31))], at_s).value for at_s in range(15, 31)]

    assert found.count(None) >= 8


def test_pulses_from_before_a_hole_do_not_count():
    """After a gap of a second or more the rate is learned anew."""
    gap = Gap(sensor="finger", stream="ppg", start_ns=20 * 10**9, end_ns=25 * 10**9, n_missing=None, reason="lost")
    items = [*steady(0.8, 20.0), gap, *steady(0.5, 40.0, 25.0), *map(verdict, [*range(1, 21), *range(26, 41)])]

    assert told(items, 27).value is None
    assert told(items, 31).value == pytest.approx(120.0)


def test_the_perfusion_index_is_the_pulse_in_percent_of_the_light():
    """2000 of 100,000 counts are 2 %."""
    found = told([*steady(0.8, 30.0), *map(verdict, range(1, 31))], 30, "perfusion_index_pct")

    assert found.value == pytest.approx(2.0, rel=0.01)
    assert found.unit == "%"


def test_a_plain_channel_has_no_perfusion_index():
    """A wave that the device may have normalised has no level to compare with."""
    items = [*steady(0.8, 30.0), *[verdict(second, kind=ChannelKind.PPG) for second in range(1, 31)]]

    assert told(items, 30, "perfusion_index_pct").absent == "not-raw-light"


def test_a_level_around_zero_is_no_light():
    """A pulse as large as the level is no perfusion index of 100 %."""
    pulses = [pulse(item.at_ns / 1e9, 0.8, amplitude=90_000.0) for item in steady(0.8, 30.0)]

    assert told([*pulses, *map(verdict, range(1, 31))], 30, "perfusion_index_pct").absent == "not-raw-light"


def test_an_ecg_verdict_makes_no_light_stream():
    """Only light streams have a pulse rate."""
    stage = PulseRate()
    stage.push(verdict(1, kind=ChannelKind.ECG))

    assert stage.push(Tick(at_ns=10**9)) == []
