"""PR, QRS and QT of virtual patients, whose beats the detector has to find first, against what they know of themselves."""

from __future__ import annotations

from statistics import median

import pytest

from edge.conditioning.quality import SignalQuality
from edge.features.delineation import Delineation
from edge.features.ecg_beats import EcgBeats
from edge.messages import SampleBlock, Tick
from firmware_bridge.virtual.patient import CHANNELS, VirtualPatient
from firmware_bridge.virtual.scenario import Conduction, PatientSettings, Premature, Rhythm, Scenario, Step

S = 1_000_000_000
DURATION_S = 66


def measured(seed, lead, **state):
    """The four estimates of the first minute in one lead, and the truth about its beats."""
    scenario = Scenario(patient=PatientSettings(seed=seed), steps=(Step(at_s=0.0, **state),))
    signals = VirtualPatient(scenario).take(DURATION_S)
    quality, detector, stage = SignalQuality(), EcgBeats(), Delineation()
    estimates, at_tick = [], S
    n_block = round(0.2 * signals.ecg_rate_hz)
    for at in range(0, len(signals.ecg_mv), n_block):
        block = SampleBlock(
            sensor="s",
            stream="ecg",
            channels=(CHANNELS["ecg"][lead],),
            values=signals.ecg_mv[at : at + n_block, [lead]].copy(),
            rate_hz=signals.ecg_rate_hz,
            start_ns=round(at * S / signals.ecg_rate_hz),
            sequence=at,
        )
        for item in (block, *quality.push(block), *detector.push(block)):
            stage.push(item)
        while at_tick <= block.end_ns:
            estimates += stage.push(Tick(at_ns=at_tick))
            at_tick += S
    beats = [beat.waves for beat in signals.truth.beats if 1 < beat.at_s < 60]
    return {estimate.measure: estimate for estimate in estimates}, beats


@pytest.mark.parametrize("lead", [0, 1], ids=["II", "V1"])
@pytest.mark.parametrize(
    ("seed", "bpm", "pr_ms", "qrs_ms", "qtc_ms"),
    [(1, 60, 160, 90, 400), (2, 48, 240, 75, 380), (3, 95, 130, 105, 420)],
)
def test_intervals_of_patients_are_within_ten_ms(lead, seed, bpm, pr_ms, qrs_ms, qtc_ms):
    """In a lead with a tall R and in one with a deep S and a P of two phases."""
    found, beats = measured(seed, lead, heart_rate_bpm=bpm, pr_ms=pr_ms, qrs_ms=qrs_ms, qtc_ms=qtc_ms)

    assert found["pr_ms"].value == pytest.approx(median(beat.pr_ms for beat in beats), abs=10)
    assert found["qrs_ms"].value == pytest.approx(median(beat.qrs_ms for beat in beats), abs=10)
    assert found["qt_ms"].value == pytest.approx(median(beat.qt_ms for beat in beats), abs=10)


def test_a_bundle_branch_block_is_wide_and_has_no_qtc():
    """PR and QRS stay."""
    found, beats = measured(4, 0, heart_rate_bpm=65, conduction=Conduction.BUNDLE_BRANCH_BLOCK)

    assert found["qrs_ms"].value == pytest.approx(median(beat.qrs_ms for beat in beats), abs=15)
    assert found["pr_ms"].value == pytest.approx(median(beat.pr_ms for beat in beats), abs=12)
    assert found["qtc_ms"].absent == "wide-qrs"


@pytest.mark.parametrize(
    ("state", "measure"),
    [
        ({"rhythm": Rhythm.ATRIAL_FIBRILLATION}, "pr_ms"),
        ({"rhythm": Rhythm.ATRIAL_FIBRILLATION}, "qtc_ms"),
        ({"rhythm": Rhythm.PACED}, "qrs_ms"),
        ({"rhythm": Rhythm.VENTRICULAR_TACHYCARDIA}, "qtc_ms"),
        ({"rhythm": Rhythm.JUNCTIONAL_ESCAPE}, "pr_ms"),
        ({"premature": Premature.BIGEMINY}, "qt_ms"),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else value,
)
def test_rhythms_without_the_interval_have_no_value(state, measure):
    """No P wave, no steady cycle, no conduction from above: a reason instead of a number."""
    found, _ = measured(5, 0, **state)

    assert found[measure].value is None
    assert found[measure].absent
