"""Scenario files: strict, with every mistake named at once."""

from __future__ import annotations

import contextlib
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ConfigError
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.scenario import (
    FAULT_PARAMETERS,
    Fault,
    FaultKind,
    PatientSettings,
    Premature,
    Rhythm,
    SensorSettings,
    Step,
)
from firmware_bridge.virtual.scenario_file import RANGES, bundled_scenarios, load_scenario, parse_scenario


def problems(text):
    with pytest.raises(ConfigError) as caught:
        parse_scenario(text, source="s.toml")
    return caught.value.problems


def test_every_mistake_is_reported_at_once_with_its_line():
    """Unknown keys come with the nearest known one, wrong values with what was expected."""
    text = """
titel = "x"
[patient]
sead = 1
[[step]]
at_s = 5
rhythm = "sinnus"
[[step]]
at_s = 4
heart_rate_bpm = 900
[[fault]]
kind = "noise"
at_s = -1
stream = "ecg"
rms_uv = 3
"""

    found = {(problem.line, problem.key): problem.message for problem in problems(text)}

    assert set(found) == {
        (2, "titel"),
        (4, "patient.sead"),
        (7, "step[0].rhythm"),
        (9, "step[1].at_s"),
        (10, "step[1].heart_rate_bpm"),
        (13, "fault[0].at_s"),
        (14, "fault[0].stream"),
        (15, "fault[0].rms_uv"),
    }
    assert "did you mean 'title'?" in found[2, "titel"]
    assert "did you mean 'seed'?" in found[4, "patient.sead"]
    assert "did you mean 'sinus'?" in found[7, "step[0].rhythm"]
    assert "did you mean 'rms_mv'?" in found[15, "fault[0].rms_uv"]
    assert "expected 0 to 300, got 900" in found[10, "step[1].heart_rate_bpm"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("step = 5", "step"),
        ("patient = [1]", "patient"),
        ("[[step]]\nrhythm = 'sinus'", "step[0].at_s"),
        ("[[fault]]\nat_s = 1", "fault[0].kind"),
        ("[[fault]]\nkind = 'noise'", "fault[0].at_s"),
        ("[[step]]\nat_s = true", "step[0].at_s"),
        ("[[step]]\nat_s = nan", "step[0].at_s"),
        ("[patient]\nseed = 1.5", "patient.seed"),
        ("title = 5", "title"),
        ("duration_s = 0", "duration_s"),
        ("[sensor]\nstreams = 'ecg'", "sensor.streams"),
        ("[sensor]\nstreams = ['egc']", "sensor.streams"),
        ("[sensor]\nreading_period_s = 0", "sensor.reading_period_s"),
        ("[sensor]\ndevice_id = 'much too long for the wire'", "sensor.device_id"),
        ("[[fault]]\nkind = 'lead-off'\nat_s = 1\nstream = 'respiration'", "fault[0].stream"),
        ("[[fault]]\nkind = 'jitter'\nat_s = 1\nmax_delay_s = 'long'", "fault[0].max_delay_s"),
    ],
)
def test_wrong_values_are_named_by_their_key(text, key):
    """Each kind of mistake is told with the key it belongs to."""
    assert [problem.key for problem in problems(text)] == [key]


def test_broken_toml_names_the_line():
    """A syntax error is a problem like any other."""
    (problem,) = problems("title = 'x'\n[patient\n")

    assert problem.line == 2
    assert problem.source == "s.toml"


@given(st.text(max_size=200))
def test_any_text_is_a_scenario_or_a_configuration_error(text):
    """Invariant: no text makes the reader fail in any other way."""
    with contextlib.suppress(ConfigError):
        assert parse_scenario(text).states()


def test_a_step_inherits_what_it_does_not_name():
    """States carry on; a new rhythm without a rate takes its usual one."""
    scenario = parse_scenario(
        """
[[step]]
at_s = 10
heart_rate_bpm = 90
premature = "single"
[[step]]
at_s = 20
spo2_pct = 88
[[step]]
at_s = 30
rhythm = "ventricular-tachycardia"
"""
    )

    states = scenario.states()

    assert [state.at_s for state in states] == [0, 10, 20, 30]
    assert [state.heart_rate_bpm for state in states] == [70, 90, 90, 180]
    assert states[2].premature is Premature.SINGLE
    assert [state.spo2_pct for state in states] == [97, 97, 88, 88]
    assert scenario.state_at(25).spo2_pct == 88


def test_unknown_name_lists_the_bundled_ones():
    """A misspelt name is answered with what there is."""
    with pytest.raises(ConfigError, match="demo") as caught:
        load_scenario("dmeo")

    assert "did you mean 'demo'?" in str(caught.value)
    assert caught.value.hint


def test_a_file_is_read_by_its_path(tmp_path):
    """What is no bundled name is a path; the file's stem becomes the name."""
    path = tmp_path / "mine.toml"
    path.write_text("duration_s = 5\n[sensor]\nstreams = ['ecg', 'ppg']\n")

    scenario = load_scenario(str(path))

    assert (scenario.name, scenario.duration_s, scenario.sensor.streams) == ("mine", 5.0, ("ecg", "ppg"))


def test_the_bundled_scenarios_are_sound():
    """Every scenario that we ship can be read, and the four of the documentation are there."""
    names = bundled_scenarios()

    assert {"demo", "quiet", "arrhythmia", "faults"} <= set(names)
    for name in names:
        assert load_scenario(name).name == name


def test_the_demo_gives_every_rule_its_time():
    """The story has premature beats, runs, fibrillation, VT, asystole and a pulled cable, each long enough to alarm."""
    scenario = load_scenario("demo")
    truth = VirtualPatient(scenario).take(600.0).truth
    length_s = {}
    for span in truth.rhythms:
        length_s[span.label] = max(length_s.get(span.label, 0.0), span.end_s - span.start_s)

    n_runs = sum(span.label == "VT" and span.end_s < 135 for span in truth.rhythms)
    durations_s = {fault.kind: fault.duration_s for fault in scenario.faults}

    assert n_runs >= 2
    assert length_s["AFIB"] >= 120
    assert 20 <= length_s["VT"] <= 30
    assert 15 <= length_s["ASYS"] <= 20
    assert length_s["SBR"] >= 25
    assert durations_s[FaultKind.LEAD_OFF] >= 20
    assert durations_s[FaultKind.DISCONNECT] >= 20
    assert scenario.duration_s == 600


def test_the_arrhythmia_story_has_every_rhythm():
    """All rhythms and patterns occur, so that nothing the generator can do is left unheard."""
    scenario = load_scenario("arrhythmia")

    labels = {span.label for span in VirtualPatient(scenario).take(1020.0).truth.rhythms}

    assert labels == {"N", "B", "T", "VT", "AFIB", "SBR", "ST", "SVTA", "P", "VF", "ASYS", "NOD", "IVR"}
    assert {step.rhythm for step in scenario.steps if step.rhythm} | {Rhythm.SINUS} == set(Rhythm)


def test_the_faults_story_has_every_fault():
    """Each kind of fault occurs once at least."""
    assert {fault.kind for fault in load_scenario("faults").faults} == set(FaultKind)


def test_the_physiology_story_has_everything_that_moves_and_breathes():
    """Apnoea, shallow breathing, desaturation, walking, restlessness, a fall and a chair, each at least once."""
    truth = VirtualPatient(load_scenario("physiology")).take(600.0).truth

    assert len(truth.apnoeas) == 1
    assert {event.event.value for event in truth.events} == {"fall", "sit-down-hard"}
    assert {motion.activity.value for motion in truth.motions} == {"rest", "restless", "walking"}
    assert min(breath.depth_ratio for breath in truth.breaths) < 0.5
    assert min(pulse.spo2_pct for pulse in truth.pulses) < 85.0


def test_every_number_has_a_range():
    """A number without a range could not be read."""
    numbers = {name for parameters in FAULT_PARAMETERS.values() for name in parameters}
    for cls in (Step, Fault, PatientSettings, SensorSettings):
        numbers |= {field.name for field in fields(cls) if field.type.split(" | ")[0] in {"int", "float"}}

    assert numbers <= set(RANGES)
