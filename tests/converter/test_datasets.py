"""Recordings, tables and judged alerts become examples; training sees what the device sees."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from converter.datasets.alerts import alert_examples
from converter.datasets.recordings import WindowTensors, beat_examples, label_beats, read_windows, record_examples
from converter.datasets.store import gather
from converter.datasets.tables import table_examples
from converter.evaluation.matching import reference_of
from converter.evaluation.truth import Truth
from converter.examples import Examples
from edge.acquisition.wfdb_file import load_wfdb, quiet
from edge.alert_archive import AlertArchive
from edge.alert_log import Verdict
from edge.clock import NS_PER_S
from edge.ecg_chain import EcgChainSettings
from edge.errors import EdgeError, RecordingError
from edge.features.beat_windows import FEATURES as BEAT_FEATURES
from edge.features.beat_windows import BeatWindowsSettings
from edge.features.rhythm_windows import FEATURES as RHYTHM_FEATURES
from edge.features.rhythm_windows import RhythmWindowsSettings
from edge.messages import Window
from edge.model_windows import ModelWindowsSettings
from edge.pipeline import PipelineSettings
from edge.replay import replay
from edge.signal_chain import SignalChainSettings
from tests.fakes.alert_records import NAMES, beat_window, decision, heart, record
from tests.fakes.tiny_model import FEATURES_INPUT, INPUT

RATE_HZ = 250.0
CHAIN = EcgChainSettings(models=ModelWindowsSettings(beat=BeatWindowsSettings(), rhythm=RhythmWindowsSettings()))
BEATS = WindowTensors(feature_names=BEAT_FEATURES)
RHYTHM = WindowTensors(feature_names=RHYTHM_FEATURES)
AAMI = ("N", "S", "V", "F", "Q")


def writer():
    """Return the package that writes records; loaded quietly, as its own warnings are none of ours."""
    if importlib.util.find_spec("wfdb") is None:
        pytest.skip("needs the records extra")
    return load_wfdb()


def annotate(folder, name, samples, symbols):
    with quiet():
        writer().wrann(name, "atr", samples, symbol=symbols, write_dir=str(folder))


def write_record(folder, name, *, odd=(), duration_s=60.0):
    """Write a WFDB record whose beats at the numbers in `odd` are upside down and annotated V; return the R peaks."""
    wfdb = writer()
    values, peaks = heart(duration_s, RATE_HZ, odd)
    values = values + np.random.default_rng(1).normal(0, 0.01, len(values))
    with quiet():
        wfdb.wrsamp(
            name,
            fs=RATE_HZ,
            units=["mV"],
            sig_name=["MLII"],
            p_signal=values[:, None],
            fmt=["16"],
            write_dir=str(folder),
        )
    samples = np.round(peaks * RATE_HZ).astype(int)
    symbols = ["V" if k in odd else "N" for k in range(len(peaks))]
    annotate(folder, name, samples, symbols)
    return peaks


def test_training_sees_the_windows_of_the_pipeline(tmp_path):
    """The same samples and features, bit for bit, as the whole runtime shows its models."""
    write_record(tmp_path, "r1", odd=(30, 31))
    shown = PipelineSettings(signal=SignalChainSettings(ecg=CHAIN))

    live = [each for each in replay(tmp_path / "r1", settings=shown) if isinstance(each, Window)]

    for model in ("beat", "rhythm"):
        read = read_windows(tmp_path / "r1", CHAIN, model)
        there = [window for window in live if window.model == model]
        assert len(read) == len(there) > 8
        for one, other in zip(read, there, strict=True):
            assert one.values.tobytes() == other.values.tobytes()
            assert one.features == pytest.approx(other.features, abs=0, rel=0, nan_ok=True)
            assert one.start_ns == other.start_ns


def test_beats_get_the_class_that_is_annotated(tmp_path):
    peaks = write_record(tmp_path, "r1", odd=(30, 45))

    examples = beat_examples(tmp_path, ["r1"], CHAIN, BEATS, AAMI, cache=None, jobs=1)
    windows = read_windows(tmp_path / "r1", CHAIN, "beat")

    assert examples.counts()["V"] == 2
    assert examples.counts()["N"] > 50
    ventricular = [windows[k].beats[0].at_ns / NS_PER_S for k in np.flatnonzero(examples.labels == 2)]
    assert ventricular == pytest.approx([peaks[30], peaks[45]], abs=0.15)
    assert set(examples.groups) == {"r1"}
    assert examples.inputs["features"].shape == (len(examples), len(BEAT_FEATURES))


def test_a_beat_found_late_keeps_its_own_class():
    """A search-back gives an early beat after later ones: labels go by its instant, not by the order of arrival."""
    windows = [beat_window(at_s) for at_s in (1.0, 3.0, 2.0, 4.0)]
    reference = reference_of([250, 500, 750, 1000], ["N", "V", "A", "F"], 250.0, 1250)

    labels = label_beats(windows, Truth(reference=reference), AAMI)

    assert [AAMI[label] for label in labels] == ["N", "S", "V", "F"]


def test_a_beat_that_nobody_annotated_is_unlabelled(tmp_path):
    """Half of the annotations are taken away: those beats teach nothing, the others keep their class."""
    peaks = write_record(tmp_path, "r1", odd=(40,))
    kept = np.round(peaks[: len(peaks) // 2] * RATE_HZ).astype(int)
    annotate(tmp_path, "r1", kept, ["N"] * len(kept))

    examples = beat_examples(tmp_path, [], CHAIN, BEATS, AAMI, cache=None, jobs=1)

    assert examples.counts()["V"] == 0
    assert (examples.labels == -1).sum() >= len(peaks) // 2 - 2


def test_classes_left_out_are_unlabelled(tmp_path):
    write_record(tmp_path, "r1", odd=(30,))

    examples = beat_examples(tmp_path, [], CHAIN, BEATS, ("S", "N"), cache=None, jobs=1)

    assert examples.classes == ("S", "N")
    assert examples.counts()["S"] == 0
    assert (examples.labels == -1).sum() == 1


def test_recordings_with_one_label_are_bags(tmp_path):
    write_record(tmp_path, "r1")
    write_record(tmp_path, "r2")
    (tmp_path / "REFERENCE.csv").write_text("r1,N\nr2,A\n")

    examples = record_examples(tmp_path, [], CHAIN, RHYTHM, ("N", "A", "O", "~"), cache=None, jobs=1)

    assert set(examples.bags) == {0, 1}
    for bag, name, label in ((0, "r1", 0), (1, "r2", 1)):
        mine = examples.bags == bag
        assert set(examples.groups[mine]) == {name}
        assert set(examples.labels[mine]) == {label}


def test_recordings_in_csv_files_are_read_too(tmp_path):
    """The same signal in a table of seconds and millivolts gives the same windows as in a WFDB record."""
    write_record(tmp_path, "r1")
    values = load_wfdb().rdrecord(str(tmp_path / "r1")).p_signal[:, 0]
    rows = [f"{k / RATE_HZ:.3f},{value:.6f}" for k, value in enumerate(values)]
    (tmp_path / "r2.csv").write_text("\n".join(["time,ecg", *rows]))
    (tmp_path / "REFERENCE.csv").write_text("r1,N\nr2,O\n")

    examples = record_examples(tmp_path, [], CHAIN, RHYTHM, ("N", "A", "O", "~"), cache=None, jobs=1)

    first, second = (examples.select(examples.groups == name) for name in ("r1", "r2"))
    assert set(second.labels) == {2}
    assert first.inputs["samples"] == pytest.approx(second.inputs["samples"], abs=2e-3)


def test_two_processes_give_the_same_examples(tmp_path):
    pytest.importorskip("joblib", reason="needs the convert extra")
    for name in ("r1", "r2"):
        write_record(tmp_path, name, odd=(30,), duration_s=20.0)

    one, two = (beat_examples(tmp_path, [], CHAIN, BEATS, AAMI, cache=None, jobs=jobs) for jobs in (1, 2))

    assert np.array_equal(one.labels, two.labels)
    assert np.array_equal(one.inputs["samples"], two.inputs["samples"])


def test_an_unknown_record_is_named(tmp_path):
    write_record(tmp_path, "r1", duration_s=5.0)

    with pytest.raises(RecordingError, match="has no record 999"):
        beat_examples(tmp_path, ["r1", "999"], CHAIN, BEATS, AAMI, cache=None, jobs=1)


def counted(path, *, factor):
    """Make one example of a file, and leave a mark that it was made."""
    with path.with_suffix(".made").open("a") as file:
        file.write("x")
    if path.read_text() == "none":
        return None
    return Examples(
        inputs={"x": np.array([[factor * float(path.read_text())]], np.float32)},
        labels=np.zeros(1, np.int64),
        classes=("N", "V"),
        groups=np.array([path.stem]),
        weights=np.ones(1, np.float32),
    )


class TestStore:
    @pytest.fixture
    def files(self, tmp_path):
        folder = tmp_path / "data"
        folder.mkdir()
        for name, text in (("a", "1"), ("b", "2"), ("c", "none")):
            (folder / f"{name}.txt").write_text(text)
        return sorted(folder.glob("*.txt"))

    def run(self, files, tmp_path, *, factor=1.0, depends=()):
        work = partial(counted, factor=factor)
        for mark in (tmp_path / "data").glob("*.made"):
            mark.unlink()
        examples = gather(files, work, cache=tmp_path / "cache", jobs=1, depends=depends)
        return examples.inputs["x"][:, 0].tolist(), sorted(mark.stem for mark in (tmp_path / "data").glob("*.made"))

    def test_nothing_is_done_twice(self, files, tmp_path):
        assert self.run(files, tmp_path) == ([1.0, 2.0], ["a", "b", "c"])
        assert self.run(files, tmp_path) == ([1.0, 2.0], [])

    def test_a_changed_file_is_read_again(self, files, tmp_path):
        self.run(files, tmp_path)
        files[1].write_text("5")

        assert self.run(files, tmp_path) == ([1.0, 5.0], ["b"])

    def test_other_settings_are_other_examples(self, files, tmp_path):
        self.run(files, tmp_path)

        assert self.run(files, tmp_path, factor=3.0) == ([3.0, 6.0], ["a", "b", "c"])

    def test_a_changed_list_of_labels_counts_for_all(self, files, tmp_path):
        labels = tmp_path / "labels.csv"
        labels.write_text("a,N")
        self.run(files, tmp_path, depends=[labels])
        labels.write_text("a,V")

        assert self.run(files, tmp_path, depends=[labels])[1] == ["a", "b", "c"]

    def test_a_damaged_file_of_the_cache_is_made_again(self, files, tmp_path):
        self.run(files, tmp_path)
        for kept in (tmp_path / "cache").rglob("*.npz"):
            kept.write_bytes(kept.read_bytes()[:100])

        assert self.run(files, tmp_path) == ([1.0, 2.0], ["a", "b"])

    def test_no_example_at_all_is_an_error(self, files, tmp_path):
        with pytest.raises(EdgeError, match="expected examples in 1 files"):
            self.run(files[2:], tmp_path)


class TestAlerts:
    TENSORS = WindowTensors(samples=INPUT, features=FEATURES_INPUT, feature_names=NAMES)
    CLASSES = ("N", "V")

    def archive(self, folder, verdicts):
        """Keep one alert for each verdict (None: nobody judged it); every second is of another bed."""
        archive = AlertArchive(folder)
        for number, verdict in enumerate(verdicts):
            kept = record(alert_id=f"a-{number}")
            archive.save(replace(kept, bed=f"p-{number % 2}"))
            if verdict is not None:
                archive.label(f"a-{number}", verdict, by="ward-3", wall_ns=5)
        return folder

    def examples(self, folder, **options):
        return alert_examples(folder, self.TENSORS, self.CLASSES, "beat", **options)

    def test_a_true_alert_confirms_its_windows(self, tmp_path):
        examples = self.examples(self.archive(tmp_path / "alerts", [Verdict.TRUE]))

        windows = record().windows
        assert examples.labels.tolist() == [1, 1, 1]
        assert np.array_equal(
            examples.inputs[INPUT], np.stack([window.values for window in windows]).astype(np.float32)
        )
        assert examples.inputs[FEATURES_INPUT][0] == pytest.approx([windows[0].features[name] for name in NAMES])
        assert set(examples.groups) == {"alert:p-0"}

    def test_a_false_alert_says_what_its_windows_were_not(self, tmp_path):
        """Unlabelled, unless whoever trains says what a false V is."""
        folder = self.archive(tmp_path / "alerts", [Verdict.FALSE])

        assert self.examples(folder).labels.tolist() == [-1, -1, -1]
        assert self.examples(folder, when_false={"V": "N"}).labels.tolist() == [0, 0, 0]

    def test_what_nobody_judged_or_could_judge_teaches_nothing(self, tmp_path):
        folder = self.archive(tmp_path / "alerts", [None, Verdict.UNCLEAR])

        assert self.examples(folder, when_false={"V": "N"}).labels.tolist() == [-1, -1, -1]
        assert self.examples(self.archive(tmp_path / "unjudged", [None])) is None

    def test_archives_of_several_gateways_are_read_together(self, tmp_path):
        for gateway in ("g1", "g2"):
            self.archive(tmp_path / gateway, [Verdict.TRUE, Verdict.TRUE])

        examples = self.examples(tmp_path, weight=0.5)

        assert len(examples) == 12
        assert set(examples.groups) == {"alert:p-0", "alert:p-1"}
        assert set(examples.weights) == {0.5}

    def test_only_the_windows_that_decided_are_taken(self, tmp_path):
        archive = AlertArchive(tmp_path)
        whole = record()
        archive.save(replace(whole, decision=decision([whole.windows[1].sequence])))
        archive.label("a-1", Verdict.TRUE, by="ward-3", wall_ns=5)

        assert len(self.examples(tmp_path)) == 1
        assert alert_examples(tmp_path, self.TENSORS, self.CLASSES, "rhythm") is None

    def test_wrong_names_are_refused(self, tmp_path):
        with pytest.raises(EdgeError, match="no such folder of alerts"):
            self.examples(tmp_path / "nowhere")
        with pytest.raises(EdgeError, match="expected classes among N, V, got X"):
            self.examples(tmp_path, when_false={"V": "X"})


class TestTable:
    def test_rows_become_examples(self, tmp_path):
        path = tmp_path / "t.csv"
        path.write_text("patient,a,b,label\np1,1,2.5,yes\np1,,nan,no\np2,-3,1e2,\n")

        examples = table_examples(path)

        assert examples.classes == ("no", "yes")
        assert examples.labels.tolist() == [1, 0, -1]
        assert examples.groups.tolist() == ["p1", "p1", "p2"]
        assert np.array_equal(
            examples.inputs["features"], np.array([[1, 2.5], [np.nan] * 2, [-3, 100]], np.float32), equal_nan=True
        )

    def test_rows_without_a_patient_stand_alone(self, tmp_path):
        path = tmp_path / "t.csv"
        path.write_text("a,label,weight\n1,x,2\n2,y,\n")

        examples = table_examples(path, classes=("y", "x"))

        assert len(set(examples.groups)) == 2
        assert examples.weights.tolist() == [2.0, 1.0]
        assert examples.labels.tolist() == [1, 0]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("a,b\n1,2\n", "a column 'label'"),
            ("a,label\n", "expected rows"),
            ("a,label\n1,x\nten,y\n", r"t\.csv:3: a: expected a number, got 'ten'"),
        ],
    )
    def test_what_is_wrong_is_named_with_its_line(self, tmp_path, text, said):
        path = tmp_path / "t.csv"
        path.write_text(text)

        with pytest.raises(EdgeError, match=said):
            table_examples(path)
