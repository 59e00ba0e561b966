"""What the runtime decided can be read back by any WFDB program."""

from __future__ import annotations

import builtins
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.acquisition.wfdb_file import load_wfdb, quiet
from edge.annotation_file import AnnotationWriter
from edge.errors import EdgeError, RecordingError
from edge.messages import Beat, BeatKind, ClassifiedBeat, Pulse, Quality, RhythmChange


def beat(sequence: int, kind: BeatKind = BeatKind.NORMAL, stream: str = "ecg") -> ClassifiedBeat:
    found = Beat(sensor="s", stream=stream, at_ns=0, sequence=sequence, rr_ms=None, quality=1.0, kind=kind)
    return ClassifiedBeat(beat=found, source="rule")


def rhythm(sequence: int, label: str) -> RhythmChange:
    return RhythmChange(at_ns=0, sequence=sequence, label=label)


def quality(begin: int, *reasons: str) -> Quality:
    """The verdict on the second that begins at sample `begin`; it comes at the second's end."""
    return Quality(
        sensor="s", stream="ecg", at_ns=0, index=0.5, is_usable=not reasons, reasons=reasons, sequence=begin + 360
    )


def pulse(sequence: int) -> Pulse:
    return Pulse(
        sensor="s",
        stream="ppg",
        channel="PLETH",
        at_ns=0,
        sequence=sequence,
        interval_ms=None,
        amplitude=1.0,
        baseline=0.0,
        quality=1.0,
    )


def read_back(writer: AnnotationWriter):
    with quiet():
        read = load_wfdb().rdann(str(writer.path.with_suffix("")), "vte")
    return read, list(zip(read.sample.tolist(), read.symbol, read.aux_note, strict=True))


def test_findings_are_read_back_by_wfdb(tmp_path):
    """Beats, rhythm and quality changes come back at their samples with symbol, text and rate."""
    with AnnotationWriter(tmp_path, "101", 360.0) as writer:
        for finding in (quality(0), rhythm(5, "N"), beat(77), beat(370, BeatKind.VENTRICULAR), rhythm(400, "AFIB")):
            writer.add(finding)

    read, rows = read_back(writer)

    assert rows == [(0, "~", ""), (5, "+", "(N"), (77, "N", ""), (370, "V", ""), (400, "+", "(AFIB")]
    assert read.fs == 360


def test_findings_in_any_order_are_written_sorted(tmp_path):
    """A beat found late by search-back stands where it happened; a change stands before the beat of its sample."""
    with AnnotationWriter(tmp_path, "101", 360.0) as writer:
        for finding in (beat(900), beat(100), beat(500), rhythm(500, "VT"), quality(500, "noise")):
            writer.add(finding)

    _, rows = read_back(writer)

    assert [(sample, symbol) for sample, symbol, _ in rows] == [
        (100, "N"), (500, "~"), (500, "+"), (500, "N"), (900, "N"),
    ]  # fmt: skip


def test_only_changes_of_quality_are_written(tmp_path):
    """A quality a second becomes one annotation per change, unreadable with its reasons, then usable again."""
    with AnnotationWriter(tmp_path, "101", 360.0) as writer:
        for finding in (
            quality(0),
            quality(360),
            quality(720, "lead-off", "mains"),
            quality(1080, "lead-off", "mains"),
        ):
            writer.add(finding)
        writer.add(quality(1440))

    read, rows = read_back(writer)

    assert rows == [(0, "~", ""), (720, "~", "lead-off,mains"), (1440, "~", "")]
    assert [subtype & 0x30 == 0x30 for subtype in read.subtype.tolist()] == [False, True, False]


def test_the_pulses_of_a_recording_without_an_ecg_are_its_beats(tmp_path):
    """A comparer expects beats: where the annotated stream is light, its pulses are written, each at its foot."""
    with AnnotationWriter(tmp_path, "watch", 64.0, stream="ppg") as writer:
        for finding in (pulse(10), pulse(60)):
            writer.add(finding)

    assert read_back(writer)[1] == [(10, "N", ""), (60, "N", "")]


def test_one_stream_is_annotated(tmp_path):
    """Beats of the pulse wave do not stand between those of the ECG; the rhythm belongs to nobody's stream."""
    pulse_beat = beat(90, stream="ppg")
    pulse_quality = replace(quality(95, "motion"), stream="ppg")
    with AnnotationWriter(tmp_path, "101", 360.0, stream="ecg") as writer:
        for finding in (beat(77), pulse_beat, pulse_quality, rhythm(100, "N"), quality(120)):
            writer.add(finding)

    assert [(sample, symbol) for sample, symbol, _ in read_back(writer)[1]] == [(77, "N"), (100, "+"), (120, "~")]


def test_nothing_found_is_a_valid_empty_file(tmp_path):
    """A record without findings leaves a file that says so, not a missing one."""
    with AnnotationWriter(tmp_path / "new" / "folder", "101", 360.0) as writer:
        pass

    _, rows = read_back(writer)

    assert rows == []


@pytest.mark.parametrize(
    ("record", "file"),
    [("mitdb/101", "101.vte"), ("a/b/101.hea", "101.vte"), ("rec.2024.01", "rec.2024.01.vte"), ("x y.csv", "x y.vte")],
)
def test_file_is_named_after_the_record(tmp_path, record, file):
    """Folder and known extension are dropped; dots and blanks that belong to the name stay."""
    with AnnotationWriter(tmp_path, record, 360.0) as writer:
        writer.add(beat(10))

    assert [path.name for path in tmp_path.iterdir()] == [file]
    assert read_back(writer)[1] == [(10, "N", "")]


@given(
    findings=st.lists(
        st.tuples(st.integers(0, 2**33), st.sampled_from([*BeatKind, "AFIB", "VT", "SBR"])), min_size=1, max_size=40
    )
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_annotation_survives_the_file(tmp_path, findings):
    """Any number at any sample comes back complete, but for a rhythm that the next one replaces on its sample."""
    writer = AnnotationWriter(tmp_path, "r", 250.0)
    for sample, what in findings:
        writer.add(beat(sample, what) if isinstance(what, BeatKind) else rhythm(sample, what))
    writer.close()

    _, rows = read_back(writer)

    beats = [(s, w.value, "") for s, w in findings if isinstance(w, BeatKind)]
    rhythms = [(s, "+", f"({w}") for s, w in findings if not isinstance(w, BeatKind)]
    lasting = [now for now, after in pairwise([*rhythms, (-1,)]) if now[0] != after[0]]
    expected = [*beats, *lasting]
    assert sorted(rows) == sorted(expected)
    assert np.all(np.diff([row[0] for row in rows]) >= 0)


def test_finding_before_the_record_is_counted(tmp_path):
    """The format has no negative samples: such a finding is left out and counted."""
    with AnnotationWriter(tmp_path, "101", 360.0) as writer:
        writer.add(beat(-1))

    assert (writer.n_outside, writer.n_annotations) == (1, 0)


def test_long_and_foreign_text_is_cut_to_what_the_format_holds(tmp_path):
    """A text field holds 255 ASCII bytes: more is cut, other letters become question marks."""
    with AnnotationWriter(tmp_path, "101", 360.0) as writer:
        writer.add(quality(3, "ü" * 300))

    assert read_back(writer)[1] == [(3, "~", "?" * 255)]


def test_close_twice_is_harmless_and_add_after_close_is_misuse(tmp_path):
    """The file is final once closed."""
    writer = AnnotationWriter(tmp_path, "101", 360.0)
    writer.close()
    writer.close()

    with pytest.raises(ValueError, match="closed"):
        writer.add(beat(1))


def test_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    """A file in the way of the folder is named."""
    (tmp_path / "taken").write_text("")

    with pytest.raises(RecordingError, match="taken"):
        AnnotationWriter(tmp_path / "taken", "101", 360.0).close()


@pytest.mark.parametrize(("record", "rate_hz"), [("101", 0.0), ("101", float("nan")), ("", 360.0)])
def test_impossible_record_is_misuse(tmp_path, record, rate_hz):
    """A writer without a name or a rate cannot be made."""
    with pytest.raises(ValueError):
        AnnotationWriter(tmp_path, record, rate_hz)


def test_missing_package_is_named_before_the_work_begins(tmp_path, monkeypatch):
    """Without wfdb the writer cannot be made, and the hint names the extra."""
    real = builtins.__import__

    def without_wfdb(name, *args, **kwargs):
        if name == "wfdb":
            raise ImportError("No module named 'wfdb'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_wfdb)

    with pytest.raises(EdgeError) as caught:
        AnnotationWriter(tmp_path, "101", 360.0)

    assert "vitaledge[records]" in caught.value.hint


def test_of_two_rhythms_at_one_sample_the_later_word_stands(tmp_path):
    """``VT`` dated back onto a bigeminy: the file must not end its story with the older name, by alphabet or at all."""
    with AnnotationWriter(tmp_path, "119", 360.0) as writer:
        for finding in (
            rhythm(5, "N"),
            rhythm(400, "T"),
            beat(400),
            rhythm(400, "AFIB"),
            quality(9, "noise"),
            quality(9),
        ):
            writer.add(finding)

    _, rows = read_back(writer)

    assert rows == [(5, "+", "(N"), (9, "~", ""), (400, "+", "(AFIB"), (400, "N", "")]
