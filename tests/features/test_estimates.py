"""Several stages find the same measure: one is shown, and says which way it was found."""

from edge.features.estimates import Estimates
from edge.messages import Estimate

NS_PER_S = 1_000_000_000


def estimate(value: float | None, at_s: float = 10.0, **changes: object) -> Estimate:
    fields: dict[str, object] = {
        "sensor": "watch",
        "stream": "ppg",
        "measure": "pulse_rate_bpm",
        "unit": "/min",
        "quality": 0.8 if value is not None else 0.0,
        "method": "pulses",
        "absent": None if value is not None else "motion",
    } | changes
    return Estimate(value=value, at_ns=round(at_s * NS_PER_S), **fields)  # type: ignore[arg-type]


def shown(*items: Estimate, at_s: float = 10.0, measure: str = "pulse_rate_bpm"):
    board = Estimates()
    for item in items:
        board.add(item)
    return board.measurements(round(at_s * NS_PER_S))[measure]


def test_counted_pulses_come_before_a_spectrum():
    """Counted pulses are beat by beat: they stand even beside a spectrum that is surer of itself."""
    found = shown(estimate(71), estimate(73, method="spectral-motion", quality=0.99))

    assert (found.value, found.method) == (71, "pulses")


def test_the_spectrum_stands_in_when_pulses_cannot_be_counted():
    """While the wrist moves the spectrum is what there is, and the measurement says so."""
    found = shown(estimate(None), estimate(73, method="spectral-motion"))

    assert (found.value, found.method, found.absent) == (73, "spectral-motion", None)


def test_without_any_value_the_reason_of_the_direct_way_is_given():
    """Nothing is invented: the reason of the way that is followed stands in the place of the number."""
    found = shown(estimate(None), estimate(None, method="spectral-motion", absent="no-signal"))

    assert (found.value, found.absent) == (None, "motion")


def test_an_old_estimate_is_stale():
    """A stage that has fallen silent does not leave its last number standing."""
    assert shown(estimate(71), at_s=16).absent == "stale"


def test_a_fusion_whose_sources_change_is_one_way():
    """The old combination must not linger beside the new one."""
    old = estimate(14, 9, measure="respiratory_rate_bpm", method="fusion:impedance+ecg")
    new = estimate(None, 10, measure="respiratory_rate_bpm", method="fusion:ecg", absent="disagreement")

    assert shown(old, new, measure="respiratory_rate_bpm").absent == "disagreement"


def test_of_two_sensors_the_one_in_use_stays_unless_the_other_is_clearly_better():
    """A value must not hop between a finger and a wrist with every second."""
    board = Estimates()
    board.add(estimate(70, quality=0.8))
    board.measurements(10 * NS_PER_S)

    board.add(estimate(74, sensor="finger", quality=0.9))
    slightly = board.measurements(10 * NS_PER_S)["pulse_rate_bpm"].source
    board.add(estimate(70, 11, quality=0.5))
    board.add(estimate(74, 11, sensor="finger", quality=0.9))
    clearly = board.measurements(11 * NS_PER_S)["pulse_rate_bpm"].source

    assert (slightly, clearly) == ("watch/ppg", "finger/ppg")


def test_breathing_inferred_from_the_heart_is_shown_but_not_alarmed_on():
    """What an ECG says of breathing scatters by more than lies between a normal rate and the limit."""
    inferred = estimate(7, measure="respiratory_rate_bpm", method="fusion:ecg+ppg")
    seen = estimate(7, measure="respiratory_rate_bpm", method="fusion:impedance+ecg")

    assert shown(inferred, measure="respiratory_rate_bpm").is_alarmed is False
    assert shown(seen, measure="respiratory_rate_bpm").is_alarmed is True
    assert shown(estimate(170)).is_alarmed is True
