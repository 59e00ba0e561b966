"""`evaluate` gives the device's pipeline samples and nothing else, and counts what comes out against annotations."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest

from converter.cli import main
from converter.evaluate import EvaluateSettings, add_parser, evaluate, run
from converter.evaluation import parallel
from converter.evaluation.parallel import score_all
from converter.evaluation.tables import as_json, csv_text, markdown
from converter.evaluation.truth import Folder, open_folder, read_labels, read_patients
from converter.evaluation.work import Job, score_record
from edge.acquisition.wfdb_file import load_wfdb, quiet
from edge.annotation_file import AnnotationWriter
from edge.config import Config
from edge.config_sections import Model
from edge.errors import EdgeError, ModelContractError
from edge.features.rhythm_windows import RhythmWindows
from edge.messages import Beat, BeatKind, ClassifiedBeat, Quality, RhythmChange
from tests.fakes.record_files import real_recording, write_wfdb16
from tests.fakes.tiny_model import KEY, OUTPUT_CARD, SAMPLES_INPUT, classifier_model, linear_answer, write_bundle

pytest.importorskip("wfdb", reason="needs the records extra")

RATE_HZ = 250
RULES = Config(model={"beat": Model(bundle="none"), "rhythm": Model(bundle="none")})
"""The device without models."""


def ecg(kinds: str, *, rr_s: float = 0.8, seed: int = 1):
    """Return an ECG (µV) and the sample of each beat: N narrow, V early, wide and inverted with a pause after it."""
    at_s, beats_s = 1.0, []
    for kind in kinds:
        beats_s.append(at_s - 0.25 * (kind == "V"))
        at_s += rr_s
    times = np.arange(round((at_s + 1.0) * RATE_HZ)) / RATE_HZ
    signal = 5 * np.random.default_rng(seed).standard_normal(len(times))
    for kind, beat_s in zip(kinds, beats_s, strict=True):
        if kind == "N":
            signal += 1000 * np.exp(-0.5 * ((times - beat_s) / 0.012) ** 2)
            signal += 120 * np.exp(-0.5 * ((times - beat_s + 0.16) / 0.025) ** 2)
        else:
            signal -= 1400 * np.exp(-0.5 * ((times - beat_s) / 0.04) ** 2)
        signal += 250 * np.exp(-0.5 * ((times - beat_s - 0.28) / 0.05) ** 2)
    return np.round(signal).astype(int), np.round(np.array(beats_s) * RATE_HZ).astype(int)


def write_record(folder, name, kinds="N" * 40, *, rhythm="(N", seed=1):
    """Write an annotated record."""
    signal, beats = ecg(kinds, seed=seed)
    write_wfdb16(folder, name, signal[:, np.newaxis], names=["II"], rate=str(RATE_HZ), gains=["1000(0)/mV"])
    annotate(folder, name, [(5, "+", rhythm), *((at, kind, "") for at, kind in zip(beats, kinds, strict=True))])


def annotate(folder, name, marks):
    """Write (sample, symbol, note) as the reference annotations."""
    samples, symbols, notes = zip(*marks, strict=True)
    with quiet():
        load_wfdb().wrann(
            name,
            "atr",
            np.array(samples),
            symbol=list(symbols),
            aux_note=list(notes),
            fs=RATE_HZ,
            write_dir=str(folder),
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three records: sinus, premature beats, and one whose signal file is missing."""
    path = tmp_path_factory.mktemp("records")
    write_record(path, "a", "N" * 60)
    write_record(path, "b", "N" * 20 + "NNNV" * 10, seed=2)
    write_record(path, "broken", "N" * 10)
    (path / "broken.dat").unlink()
    return path


@pytest.fixture(scope="module")
def report(folder):
    return evaluate(EvaluateSettings(data=folder, n_draws=50))


def job(folder, record, **changes):
    return Job(record=record, patient=record, folder=open_folder(folder).only(record), config=RULES, **changes)


def command(*words):
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    return run(parser.parse_args(["evaluate", *map(str, words)]))


class TestPipeline:
    def test_beats_are_found_from_samples_and_classified_by_the_device(self, report):
        """All beats of both records; by rule alone the wide inverted early ones are ventricular."""
        assert report.beats is not None
        (sinus, ectopic) = report.beats.counts
        assert sinus[0].tolist() == [60, 0, 0, 0, 0, 0]
        assert sinus[1:].sum() == 0
        assert ectopic[0, 0] == 50
        assert ectopic[2, 2] == 10
        assert report.beats.gross["veb_se_pct"].value == 100

    def test_what_is_annotated_reaches_the_pipeline_in_no_way(self, folder, tmp_path, report):
        """With false annotations the runtime finds the same beats: only the counting differs."""
        for name in ("b.hea", "b.dat"):
            (tmp_path / name).write_bytes((folder / name).read_bytes())
        annotate(tmp_path, "b", [(300, "V", ""), (600, "V", "")])

        counts = score_record(job(tmp_path, "b")).beats

        assert report.beats is not None
        assert counts[:, :5].sum(axis=0).tolist() == report.beats.counts[1][:, :5].sum(axis=0).tolist()

    def test_a_record_that_cannot_be_read_is_named_and_counted_and_the_others_go_on(self, report):
        assert [result.record for result in report.failures] == ["broken"]
        assert "broken.dat is missing" in report.failures[0].error
        assert report.n_scored == 2
        assert "| broken |" in markdown(report)
        assert list(as_json(report)["not_scored"]) == ["broken"]

    def test_any_exception_of_one_record_is_its_own(self, folder):
        """Also one that nobody thought of."""
        wrong = replace(job(folder, "a"), config=None)

        result = score_record(wrong)

        assert result.beats is None
        assert result.error.startswith("AttributeError: ")

    def test_the_learning_period_is_left_out_on_request(self, folder):
        counts = score_record(job(folder, "a", from_s=25.0)).beats

        assert 0 < counts.sum() < 40

    def test_a_record_without_an_ecg_is_named_and_not_scored_as_all_missed(self, tmp_path):
        write_record(tmp_path, "light", "N" * 20)
        header = tmp_path / "light.hea"
        header.write_text(header.read_text().replace(" II", " PLETH"))

        assert "holds no ECG" in score_record(job(tmp_path, "light")).error

    def test_records_with_paced_beats_are_reported_apart(self, folder, tmp_path):
        write_record(tmp_path, "p", "N" * 30 + "/")
        write_record(tmp_path, "q", "N" * 30)

        report = evaluate(EvaluateSettings(data=tmp_path, n_draws=0))

        assert [result.record for result in report.paced.results] == ["p"]
        assert [result.record for result in report.beats.results] == ["q"]

    def test_episodes_of_fibrillation_are_compared(self, tmp_path):
        """Annotated as fibrillation all through; a regular heart beat is none to the runtime."""
        write_record(tmp_path, "f", "N" * 40, rhythm="(AFIB")

        report = evaluate(EvaluateSettings(data=tmp_path, n_draws=0))

        assert report.episodes.gross["af_episode_se_pct"].value == 0
        assert report.episodes.counts[0, 4] == pytest.approx(33, abs=1)

    def test_real_beats_are_found(self):
        """MIT-BIH 119: 444 ventricular premature beats of one form, which the rules alone find."""
        path = real_recording("mitdb/119")

        counts = score_record(job(path.parent, "119")).beats

        assert counts[2].sum() == 444
        assert counts[2, 2] > 435
        assert counts[:5, 5].sum() <= 2


class TestOneLabelARecord:
    @pytest.fixture
    def labelled(self, tmp_path):
        for name in ("r1", "r2", "r3"):
            write_record(tmp_path, name, "N" * 40)
            (tmp_path / f"{name}.atr").unlink()
        (tmp_path / "REFERENCE.csv").write_text("r1,N\nr2,A\nr4,O\n")
        return tmp_path

    def test_without_a_rhythm_model_no_answer_is_given_and_that_is_counted(self, labelled):
        """A listed record that is not there and one without a label are named, not skipped."""
        report = evaluate(EvaluateSettings(data=labelled, n_draws=0))

        assert report.labels.counts.sum(axis=0).tolist()[:2] == [[0, 0, 0, 0, 1], [0, 0, 0, 0, 1]]
        assert report.labels.gross["answered_pct"].value == 0
        assert [result.record for result in report.failures] == ["r3", "r4"]
        assert "no label" in report.failures[0].error
        assert "no such record" in report.failures[1].error
        assert report.beats is None

    def test_a_rhythm_model_answers_for_the_whole_record(self, labelled, tmp_path):
        """The model of the tests is biased to say A; it stands by that, and its bundle is named."""
        pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")
        bundle = rhythm_bundle(tmp_path / "bundle", bias={"A": 15.0})

        report = evaluate(
            EvaluateSettings(
                data=labelled, bundles=(str(bundle),), allow_unsigned=True, records=("r1", "r2"), n_draws=0
            )
        )

        assert report.failures == ()
        assert [result.answer for result in report.results] == ["A", "A"]
        assert report.labels.gross["af_se_pct"].value == 100
        assert report.labels.gross["af_sp_pct"].value == 0
        assert report.certain.gross["answered_pct"].value == 100
        assert report.predictions["rhythm"]["A"] > 4
        assert report.heading["rhythm model"].startswith("tiny 0.1.0, release 3")

    def test_an_answer_that_the_model_does_not_stand_by_counts_as_one_and_is_told_apart(self, labelled, tmp_path):
        """All four labels equally likely and thresholds above that: the likeliest is still an answer."""
        pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")
        bundle = rhythm_bundle(tmp_path / "bundle", bias={"A": 0.5}, temperature=100.0)

        report = evaluate(
            EvaluateSettings(data=labelled, bundles=(str(bundle),), allow_unsigned=True, records=("r2",), n_draws=0)
        )

        assert report.labels.gross["answered_pct"].value == 100
        assert report.certain.gross["answered_pct"].value == 0
        assert not report.results[0].is_certain

    def test_a_model_that_the_runtime_refuses_is_not_scored_as_rules(self, labelled, tmp_path):
        """Unsigned; altered; made for another preprocessing: each ends the evaluation, with the reason."""
        pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")
        bundle = rhythm_bundle(tmp_path / "bundle")
        settings = EvaluateSettings(data=labelled, bundles=(str(bundle),))
        other = rhythm_bundle(tmp_path / "other", preprocessing={**RhythmWindows().describe(), "hop_s": 2.5})

        with pytest.raises(ModelContractError, match="not signed"):
            evaluate(settings)
        with pytest.raises(EdgeError, match="hop_s"):
            evaluate(replace(settings, bundles=(str(other),), allow_unsigned=True))
        (bundle / "model.tflite").write_bytes(b"x" * (bundle / "model.tflite").stat().st_size)
        with pytest.raises(ModelContractError, match="altered"):
            evaluate(replace(settings, allow_unsigned=True))

    def test_a_model_that_answers_nothing_is_told_before_any_figure(self, labelled, tmp_path):
        """Its windows are longer than any record here gives: the report must not read as if it had been judged."""
        pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")
        bundle = rhythm_bundle(tmp_path / "bundle")
        short = tmp_path / "short"
        short.mkdir()
        write_record(short, "s", "N" * 2)
        (short / "REFERENCE.csv").write_text("s,N\n")

        report = evaluate(EvaluateSettings(data=short, bundles=(str(bundle),), allow_unsigned=True, n_draws=0))

        assert report.warnings == ("The rhythm model answered for no record.",)
        assert f"**{report.warnings[0]}**" in markdown(report)
        assert as_json(report)["warnings"] == list(report.warnings)

    def test_beats_cannot_be_asked_of_a_folder_that_has_none(self, labelled):
        with pytest.raises(EdgeError, match="no annotated beats"):
            evaluate(EvaluateSettings(data=labelled, tasks=("beat",)))

    def test_two_models_for_one_task_are_refused(self, labelled, tmp_path):
        pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")
        bundle = str(rhythm_bundle(tmp_path / "bundle"))

        with pytest.raises(EdgeError, match="both for rhythm"):
            evaluate(EvaluateSettings(data=labelled, bundles=(bundle, bundle), allow_unsigned=True))


def rhythm_bundle(path, *, bias=None, temperature=1.0, preprocessing=None):
    """Write an unsigned bundle whose model fits the windows of the runtime's rhythm stage."""
    n_samples, labels = 1250, ["N", "A", "O", "~"]
    values = 0.01 * np.sin(np.arange(n_samples))[:, np.newaxis]
    from edge.inference.quantization import Quantization, quantize

    integers = quantize(values, Quantization(scale=0.02, zero_point=-3))[np.newaxis]
    golden = [{"inputs": {"window": values.tolist()}, "output": linear_answer(integers, 4)[0].tolist()}]
    return write_bundle(
        path,
        classifier_model(n_samples=n_samples, n_labels=4),
        golden=golden,
        key=None,
        inputs=[SAMPLES_INPUT | {"n_samples": n_samples, "rate_hz": 125.0}],
        output=OUTPUT_CARD
        | {
            "labels": labels,
            "thresholds": dict.fromkeys(labels, 0.5),
            "codes": {},
            "bias": bias or {},
            "temperature": temperature,
        },
        preprocessing=preprocessing or RhythmWindows().describe(),
    )


class TestWrittenAnnotations:
    def test_files_of_replay_are_scored_like_the_pipeline(self, folder, tmp_path, report):
        """What `vitaledge replay --annotate` writes gives the very same counts."""
        from edge.__main__ import main as vitaledge

        for name in ("a", "b"):
            words = ["--set", "model.beat.bundle=none", "--set", "model.rhythm.bundle=none"]
            assert vitaledge(["replay", str(folder / name), "--annotate", str(tmp_path), "--json", *words]) == 0

        scored = evaluate(EvaluateSettings(data=folder, annotations=tmp_path, records=("a", "b"), n_draws=0))

        assert scored.beats.counts.tolist() == report.beats.counts.tolist()
        assert scored.results[0].usable_pct == pytest.approx(report.results[0].usable_pct, abs=3)
        assert scored.heading["annotations"].startswith("*.vte")

    def test_classes_rhythms_and_noise_are_read(self, tmp_path):
        """A fibrillation of half a minute, the rest normal and shorter; nothing unreadable."""
        write_record(tmp_path, "a", "N" * 60)
        (tmp_path / "a.atr").unlink()
        (tmp_path / "REFERENCE.csv").write_text("a,A\n")
        with AnnotationWriter(tmp_path / "said", "a", RATE_HZ) as writer:
            beat = Beat(
                sensor="s", stream="ecg", at_ns=0, sequence=500, rr_ms=None, quality=1.0, kind=BeatKind.VENTRICULAR
            )
            writer.add(ClassifiedBeat(beat=beat, source="model"))
            writer.add(RhythmChange(at_ns=0, sequence=10, label="N"))
            writer.add(RhythmChange(at_ns=0, sequence=1000, label="AFIB"))
            writer.add(
                Quality(sensor="s", stream="ecg", at_ns=0, sequence=500, index=0, is_usable=False, reasons=("x",))
            )
            writer.add(Quality(sensor="s", stream="ecg", at_ns=0, sequence=1000, index=1, is_usable=True, reasons=()))

        result = score_record(job(tmp_path, "a", annotations=tmp_path / "said"))

        assert (result.error, result.answer, result.truth) == ("", "A", "A")
        assert result.usable_pct == pytest.approx(100 * (1 - 2 / result.duration_s))

    def test_a_missing_file_is_named(self, folder, tmp_path):
        result = score_record(job(folder, "a", annotations=tmp_path))

        assert "a.vte: no such annotation file" in result.error


@dataclass(frozen=True)
class DeadlyFolder(Folder):
    """Ends the process that reads its truth, as a crash in a library does."""

    def truth(self, record):
        os._exit(3)


class TestParallel:
    def jobs(self, folder):
        return [job(folder, name) for name in ("a", "b", "broken")]

    def told(self, results):
        return [(each.record, each.error, None if each.beats is None else each.beats.tolist()) for each in results]

    def test_processes_give_what_one_gives_in_the_same_order(self, folder):
        alone, together = score_all(self.jobs(folder)), score_all(self.jobs(folder), n_processes=2)

        assert self.told(together) == self.told(alone)

    def test_a_record_that_kills_its_process_is_named_and_the_others_are_scored(self, folder):
        jobs = self.jobs(folder)
        deadly = replace(jobs[0], record="deadly", folder=DeadlyFolder(path=folder, records=()))

        results = score_all([jobs[0], deadly, jobs[1]], n_processes=2)

        assert [each.record for each in results] == ["a", "deadly", "b"]
        assert [bool(each.error) for each in results] == [False, True, False]
        assert "ended without an answer" in results[1].error
        assert results[2].beats.sum() > 50

    def test_a_cluster_without_its_package_says_what_to_install(self, folder, monkeypatch):
        monkeypatch.setitem(sys.modules, "distributed", None)

        with pytest.raises(EdgeError, match="needs the package distributed") as caught:
            score_all(self.jobs(folder), dask="tcp://127.0.0.1:1")

        assert "pip install distributed" in caught.value.hint

    def test_a_cluster_gives_what_one_process_gives(self, folder):
        distributed = pytest.importorskip("distributed", reason="needs distributed")
        with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
            over_cluster = score_all(self.jobs(folder), dask=cluster.scheduler_address)

        assert self.told(over_cluster) == self.told(score_all(self.jobs(folder)))

    def test_a_cluster_without_workers_is_an_error_and_does_not_wait_for_ever(self, folder, monkeypatch):
        distributed = pytest.importorskip("distributed", reason="needs distributed")
        monkeypatch.setattr(parallel, "_CONNECT_S", 1.0)
        with (
            distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster,
            pytest.raises(EdgeError, match="has no worker"),
        ):
            score_all(self.jobs(folder), dask=cluster.scheduler_address)

    def test_a_scheduler_that_is_not_there_is_an_error_with_a_remedy(self, folder, monkeypatch):
        pytest.importorskip("distributed", reason="needs distributed")
        monkeypatch.setattr(parallel, "_CONNECT_S", 1.0)

        with pytest.raises(EdgeError, match="no Dask scheduler answers"):
            score_all(self.jobs(folder), dask="tcp://127.0.0.1:1")


class TestCommand:
    def test_it_prints_figures_writes_three_files_and_says_that_records_are_missing(self, folder, tmp_path, capsys):
        """The exit code tells a complete evaluation from one with records that could not be scored."""
        code = command("rules", "--data", folder, "--out", tmp_path / "out", "--bootstrap", 20)

        shown = capsys.readouterr()
        assert code == 4
        assert "VEB Se" in shown.out
        assert "not scored: broken: " in shown.out
        assert shown.err.count("wrote ") == 3
        page = (tmp_path / "out" / "evaluation.md").read_text()
        assert "| b      |  50 |   0 |  10 |" in page
        rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "records.csv").read_text())))
        assert [row["record"] for row in rows] == ["a", "b", "broken"]
        assert (rows[1]["n_V_as_V"], rows[1]["veb_se_pct"], rows[0]["veb_se_pct"]) == ("10", "100", "")
        assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["n_scored"] == 2

    def test_json_is_one_object_without_nan(self, folder, capsys):
        assert command("rules", "--data", folder, "--records", "a", "--json") == 0

        facts = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
        assert facts["beats"]["gross"]["qrs_se_pct"]["value"] == 100
        assert facts["beats"]["gross"]["veb_se_pct"]["value"] is None

    def test_nothing_scored_is_a_failure(self, folder, capsys):
        assert command("rules", "--data", folder, "--records", "broken,nobody") == 1

        assert "0 of 2 records scored" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--data", "."], "nothing to evaluate"),
            (["rules", "builtin", "--data", "."], "means no model"),
            (["rules", "--data", "nowhere"], "no such folder"),
        ],
    )
    def test_what_cannot_be_meant_is_an_error(self, words, message):
        with pytest.raises(EdgeError, match=message):
            command(*words)

    def test_the_command_line_has_it_and_tells_its_errors(self, folder, tmp_path, capsys):
        assert main(["evaluate", "rules", "--data", str(folder), "--records", "a", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["n_scored"] == 1

        assert main(["evaluate", str(tmp_path / "nowhere"), "--data", str(folder), "--json"]) == 1

        captured = capsys.readouterr()
        assert "nowhere" in captured.err
        assert json.loads(captured.out)["error"]

    def test_every_second_record_only(self, folder, capsys):
        assert command("rules", "--data", folder, "--every", "2", "--json") == 4

        assert json.loads(capsys.readouterr().out)["n_records"] == 2


class TestTruthFiles:
    def test_a_folder_without_annotations_says_what_is_expected(self, tmp_path):
        with pytest.raises(EdgeError, match="none with annotations") as caught:
            open_folder(tmp_path)

        assert "REFERENCE.csv" in caught.value.hint

    @pytest.mark.parametrize(
        ("text", "message"),
        [("r1,X\n", ":1: expected one of"), ("r1\n", "two columns"), ("", "no label"), ("a,N\na,A\n", "two labels")],
    )
    def test_labels_that_mean_nothing_are_refused_with_their_line(self, tmp_path, text, message):
        (tmp_path / "REFERENCE.csv").write_text(text)

        with pytest.raises(EdgeError, match=message):
            read_labels(tmp_path / "REFERENCE.csv")

    def test_records_of_one_patient_widen_nothing_but_belong_together(self, folder, tmp_path):
        (tmp_path / "who.csv").write_text("a,anna\nb,anna\n")
        assert read_patients(tmp_path / "who.csv") == {"a": "anna", "b": "anna"}

        report = evaluate(EvaluateSettings(data=folder, records=("a", "b"), patients=tmp_path / "who.csv"))

        assert np.isnan(report.beats.gross["qrs_se_pct"].low)
        assert "2 records, 1 patient." in markdown(report)

    def test_a_damaged_annotation_file_is_that_records_error(self, folder, tmp_path):
        for name in ("a.hea", "a.dat"):
            (tmp_path / name).write_bytes((folder / name).read_bytes())
        (tmp_path / "a.atr").write_bytes(b"\xff\xfc\x03")

        assert "annotation file" in score_record(job(tmp_path, "a")).error


def test_the_key_of_the_tests_is_trusted_by_nobody_else(tmp_path, folder):
    """Signed by somebody unknown is not signed by somebody trusted, allowed unsigned or not."""
    pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")
    bundle = write_bundle(tmp_path / "b", key=KEY)

    with pytest.raises(ModelContractError):
        evaluate(EvaluateSettings(data=folder, bundles=(str(bundle),), allow_unsigned=True))


def test_the_table_of_records_is_readable_by_programs(report):
    """Every row has the same columns, whatever became of the record."""
    rows = list(csv.reader(io.StringIO(csv_text(report))))

    assert len({len(row) for row in rows}) == 1
    assert rows[3][0] == "broken"
