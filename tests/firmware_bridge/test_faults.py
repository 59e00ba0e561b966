"""What spoils a signal before it is converted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.messages import StreamInfo
from firmware_bridge.virtual.faults import LIGHT_WITHOUT_FINGER, FrontEnd
from firmware_bridge.virtual.patient import CHANNELS
from firmware_bridge.virtual.scenario import Fault, FaultKind

RATES_HZ = {"ecg": 250.0, "ppg": 100.0, "respiration": 25.0, "acceleration": 50.0}
INFOS = {name: StreamInfo(name=name, channels=CHANNELS[name], nominal_rate_hz=rate) for name, rate in RATES_HZ.items()}
SIGNAL_FAULTS = ["noise", "baseline-wander", "motion", "lead-off", "saturation", "mains"]


def fault(kind, stream=None, at_s=2.0, duration_s=4.0, **parameters):
    return Fault(kind=FaultKind(kind), at_s=at_s, duration_s=duration_s, stream=stream, parameters=parameters)


def spoiled(stream, *faults, duration_s=10.0, level=0.0, seed=1):
    values = np.full((round(duration_s * RATES_HZ[stream]), len(CHANNELS[stream])), level)
    return FrontEnd(faults, seed).apply(INFOS[stream], 0, values)


def at_s(stream, duration_s=10.0):
    return np.arange(round(duration_s * RATES_HZ[stream])) / RATES_HZ[stream]


@pytest.mark.parametrize("stream", list(INFOS))
@pytest.mark.parametrize("kind", SIGNAL_FAULTS)
@settings(max_examples=8, deadline=None)
@given(sizes=st.lists(st.integers(1, 400), min_size=1, max_size=8))
def test_disturbance_does_not_depend_on_blocks(kind, stream, sizes):
    """Invariant: spoiling in any pieces gives the same samples as spoiling at once."""
    front_end = FrontEnd([fault(kind, at_s=0.5, duration_s=3.0)], 1)
    values = np.random.default_rng(1).standard_normal((sum(sizes), len(CHANNELS[stream])))
    borders = np.cumsum([0, *sizes])

    whole = front_end.apply(INFOS[stream], 0, values)
    pieces = [front_end.apply(INFOS[stream], int(borders[k]), values[borders[k] :][:n]) for k, n in enumerate(sizes)]

    assert np.allclose(np.concatenate(pieces), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", SIGNAL_FAULTS)
def test_outside_its_time_a_fault_changes_nothing(kind):
    """Before the start and from the end on the signal is as it was, and it is not modified in place."""
    for stream in INFOS:
        inside = (at_s(stream) >= 2.0) & (at_s(stream) < 6.0)
        level = 100_000.0 if stream == "ppg" else 0.0

        values = spoiled(stream, fault(kind), level=level)

        assert (values[~inside] == level).all()


def test_noise_has_the_ordered_strength():
    """Root mean square as ordered, on the ECG alone."""
    assert spoiled("ecg", fault("noise", rms_mv=0.2))[500:1500].std() == pytest.approx(0.2, rel=0.1)
    assert not spoiled("ppg", fault("noise", rms_mv=0.2)).any()


def test_mains_has_the_ordered_frequency():
    """The strongest line of the spectrum is at 60 Hz where 60 Hz were ordered."""
    values = spoiled("ecg", fault("mains", frequency_hz=60.0, amplitude_mv=0.5))[500:1500, 0]

    power = np.abs(np.fft.rfft(values))
    assert np.fft.rfftfreq(1000, 1 / 250)[power.argmax()] == pytest.approx(60.0, abs=0.3)
    assert np.abs(values).max() == pytest.approx(0.6, abs=0.12)


def test_wander_is_slow_and_large():
    """A millivolt of wander moves less than 0.05 mV from one sample to the next."""
    values = spoiled("ecg", fault("baseline-wander", amplitude_mv=1.0))[:, 0]

    assert np.ptp(values) > 1.2
    assert np.abs(np.diff(values)).max() < 0.05


def test_motion_is_seen_by_every_sensor_at_once():
    """Acceleration, ECG, breathing and light all move, so that a quality rule can blame motion."""
    for stream, least in (("acceleration", 1.0), ("ecg", 0.2), ("respiration", 0.2), ("ppg", 1000.0)):
        level = 100_000.0 if stream == "ppg" else 0.0
        values = spoiled(stream, fault("motion"), level=level)
        inside = (at_s(stream) >= 3.0) & (at_s(stream) < 5.0)
        assert values[inside].std(axis=0).min() > least


def test_an_open_electrode_is_at_the_rail():
    """ECG and breathing, measured through it, stand at the end of their range; the finger is not concerned."""
    assert (spoiled("ecg", fault("lead-off"))[500:1500] == CHANNELS["ecg"][0].maximum).all()
    assert (spoiled("respiration", fault("lead-off"))[50:150] == CHANNELS["respiration"][0].maximum).all()
    assert not spoiled("ppg", fault("lead-off")).any()


def test_a_clip_without_a_finger_sees_stray_light():
    """Little light and no pulse, the ECG is not concerned."""
    values = spoiled("ppg", fault("lead-off", stream="ppg"), level=100_000.0)[200:600]

    assert values.mean() == pytest.approx(LIGHT_WITHOUT_FINGER, rel=0.02)
    assert values.std() < 60.0
    assert not spoiled("ecg", fault("lead-off", stream="ppg")).any()


def test_saturation_cuts_the_tops_off():
    """A QRS of 1 mV no longer fits: it ends at the ceiling."""
    rng = np.random.default_rng(1)
    values = rng.uniform(-0.2, 1.0, size=(2500, 2))

    saturated = FrontEnd([fault("saturation")], 1).apply(INFOS["ecg"], 0, values)[500:1500]

    ceiling = CHANNELS["ecg"][0].maximum
    assert 0.3 < (saturated == ceiling).mean() < 0.9
    assert saturated.max() == ceiling


def test_the_converter_has_a_range():
    """Whatever the faults add, nothing leaves the channel's range."""
    values = spoiled("ecg", fault("baseline-wander", amplitude_mv=10.0), fault("noise", rms_mv=5.0))

    assert values.max() <= CHANNELS["ecg"][0].maximum
    assert values.min() >= CHANNELS["ecg"][0].minimum


def test_another_seed_is_another_noise():
    """The scenario's seed decides the noise, and two faults of one scenario differ."""
    one, same, other = (spoiled("ecg", fault("noise"), seed=seed) for seed in (1, 1, 2))
    twice = spoiled("ecg", fault("noise", duration_s=2.0), fault("noise", at_s=4.0, duration_s=2.0))

    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert not np.allclose(twice[500:1000], twice[1000:1500])


@pytest.mark.parametrize(
    ("kind", "stream", "parameters"),
    [
        ("noise", "ecg", {}),
        ("noise", None, {"rms_uv": 1.0}),
        ("lead-off", "respiration", {}),
        ("lead-off", None, {"x": 1}),
    ],
)
def test_a_senseless_fault_is_refused(kind, stream, parameters):
    """A parameter or a stream that the fault does not know is a mistake of the caller."""
    with pytest.raises(ValueError, match=kind):
        fault(kind, stream=stream, **parameters)
