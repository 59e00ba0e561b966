"""Training as a whole, with a recipe so simple that it needs no TensorFlow and its answers are known."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converter.bundling import bundle_trained
from converter.compare import Variant, compare, table
from converter.cross_validation import cross_validate, with_noise
from converter.examples import Examples, load_examples
from converter.fitting import Fitted
from converter.folds import ValidationSettings
from converter.inputs import learn_inputs, scale
from converter.recipes.base import FeatureNames, Recipe
from converter.recipes.settings import RecipeSettings
from converter.train import TrainJob, train
from converter.trained import read_trained
from edge.alert_archive import AlertArchive
from edge.alert_log import Verdict
from edge.errors import EdgeError
from edge.inference.card_inputs import SamplesInput
from tests.fakes.alert_records import beat_window, decision, record

RATE_HZ = 125.0
PLANS = (
    SamplesInput(name="wave", n_samples=20, channels=("ecg",), rate_hz=RATE_HZ, unit="mV", normalise="z-score"),
    FeatureNames(name="numbers", features=("early", "constant", "unknown")),
)


def population(n_patients=12, n_each=40, *, seed=1, bags=False):
    """Two classes told apart by one number; each patient has an offset of his own in the wave."""
    rng = np.random.default_rng(seed)
    n = n_patients * n_each
    labels = (rng.random(n) < 0.3).astype(np.int64)
    patients = np.repeat([f"p{k:02d}" for k in range(n_patients)], n_each)
    if bags:
        labels = np.repeat(labels[::4], 4)[:n]
    numbers = np.stack([rng.normal(2.0 * labels, 1.0), np.full(n, 5.0), np.full(n, np.nan)], axis=1)
    labels[::50] = -1 if not bags else labels[::50]
    return Examples(
        inputs={"wave": rng.normal(0, 1, (n, 20, 1)).astype(np.float32), "numbers": numbers.astype(np.float32)},
        labels=labels,
        classes=("N", "V"),
        groups=patients,
        weights=np.ones(n, np.float32),
        bags=np.arange(n) // 4 if bags else None,
    )


class Network:
    """What a trained network is to the trainer: something that can be saved."""

    def __init__(self, slope, seen):
        self.slope = slope
        self.seen = seen

    def save(self, path):
        Path(path).write_text(f"{self.slope}")


class Threshold(Recipe):
    """Logits are a line through the one feature that says something; the slope depends a little on the seed."""

    name = "threshold"

    def __init__(self, examples):
        self.given = examples
        self.fits = []

    def examples(self, data, settings, *, jobs):
        return self.given

    def inputs(self, settings, examples):
        return PLANS

    def build(self, settings, examples):
        raise NotImplementedError

    def card(self, settings):
        return {"preprocessing": {"stage": "none/1"}, "training_data": "drawn", "licence": "none"}

    def fit(self, settings, fold):
        self.fits.append(fold)
        values, labels = fold.train.inputs["numbers"][:, 0], fold.train.labels
        middle = (values[labels == 0].mean() + values[labels == 1].mean()) / 2
        network = Network((middle, 3.0 + fold.seed), set(fold.train.groups))
        return Fitted(model=network, history={"loss": (1.0, 0.5)}, best_epoch=2)

    def predict(self, fitted, inputs):
        middle, slope = fitted.model.slope
        logit = slope * (inputs["numbers"][:, 0] - middle)
        return np.stack([-logit, logit], axis=1).astype(np.float32)


def settings_of(**validation):
    return RecipeSettings(data={"folder": "x"}, validation=ValidationSettings(**{"n_folds": 4} | validation))


def test_no_network_ever_judges_a_patient_it_was_trained_on():
    recipe = Threshold(population())

    done = cross_validate(recipe, settings_of(), recipe.given, (1, 2), noise={})

    assert len(recipe.fits) == 8
    for fold, run in zip(recipe.fits, done.runs, strict=True):
        held = set(done.examples.groups[done.fold_of == run.fold])
        assert held
        assert not held & set(fold.train.groups)
    assert (done.examples.labels >= 0).all()


def test_predictions_come_back_to_their_own_examples():
    """Out of fold, the logit of each example is the line through its own feature."""
    recipe = Threshold(population())

    done = cross_validate(recipe, settings_of(), recipe.given, (1,), noise={})

    order = np.argsort(done.examples.inputs["numbers"][:, 0])
    for fold in range(4):
        mine = order[done.fold_of[order] == fold]
        assert np.all(np.diff(done.logits[1][mine, 1]) >= 0)
    assert done.metrics[1]["accuracy"] > 0.8


def test_metrics_have_mean_and_deviation_over_the_seeds():
    done = cross_validate(Threshold(population()), settings_of(), population(), (1, 2, 3), noise={})

    spread = done.spread()

    values = [done.metrics[seed]["macro_f1"] for seed in (1, 2, 3)]
    assert spread["macro_f1"] == pytest.approx((np.mean(values), np.std(values, ddof=1)))


def test_knots_come_from_the_training_part_alone():
    """A value that only a held-out patient has must not stretch the scale he is judged by."""
    examples = population()
    examples.inputs["numbers"][examples.groups == "p03", 0] += 100.0
    recipe = Threshold(examples)

    done = cross_validate(recipe, settings_of(), examples, (1,), noise={})

    is_odd = done.examples.groups == "p03"
    assert done.outside[is_odd].min() == pytest.approx(1 / 3)
    assert done.outside[~is_odd].mean() < 0.05


def test_features_and_samples_are_scaled_as_on_the_device():
    examples = population()

    cards = learn_inputs(PLANS, examples)
    scaled = scale(examples, cards)

    numbers = scaled.inputs["numbers"]
    assert np.abs(numbers).max() <= 1
    assert numbers[:, 0].std() == pytest.approx(1 / np.sqrt(3), rel=0.05)  # uniform on -1 to 1
    assert numbers[:, 1].tolist() == [0.0] * len(examples)  # constant: in the middle of its range
    assert numbers[:, 2].tolist() == [0.0] * len(examples)  # unknown
    assert scaled.inputs["wave"].mean(axis=1) == pytest.approx(np.zeros((len(examples), 1)), abs=1e-6)
    assert scaled.inputs["wave"].std(axis=1) == pytest.approx(np.ones((len(examples), 1)), abs=1e-5)


@pytest.mark.parametrize("bags", [False, True])
def test_everything_that_was_trained_is_written_and_read_back(tmp_path, bags):
    pytest.importorskip("matplotlib", reason="needs the convert extra")
    lines = []
    job = TrainJob(data=tmp_path, out=tmp_path / "out", seeds=(1, 2), is_cross_validated=True)
    recipe = Threshold(population(bags=bags))

    trained = train(recipe, settings_of(bias_metric="macro_f1"), job, told=lines.append)

    back = read_trained(tmp_path / "out")
    assert back == trained
    assert set(recipe.fits[-1].train.groups) == set(recipe.given.groups)  # the network that is kept saw all patients
    assert (tmp_path / "out" / "model.keras").exists()
    raw, shown = (load_examples(tmp_path / "out" / name) for name in ("examples.npz", "representative.npz"))
    assert np.array_equal(scale(raw, trained.inputs).inputs["numbers"], shown.inputs["numbers"])
    assert np.isnan(raw.inputs["numbers"][:, 2]).all()
    kept = np.load(tmp_path / "out" / "out_of_fold.npz")
    assert kept["logits"].shape == (2, len(kept["labels"]), 2)
    n_labelled = int((recipe.given.labels >= 0).sum())
    assert len(kept["labels"]) == (n_labelled // 4 if bags else n_labelled)
    assert sum(trained.label_shares.values()) == pytest.approx(1)
    assert lines[0].startswith(f"{n_labelled} examples of 12 patients")


def test_without_cross_validation_one_fold_is_judged(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the convert extra")
    recipe = Threshold(population())

    trained = train(recipe, settings_of(), TrainJob(data=tmp_path, out=tmp_path / "out"))

    assert trained.n_folds == 1
    assert len(recipe.fits) == 2
    assert trained.n_judged == pytest.approx(len(recipe.given) / 4, rel=0.2)


def test_the_report_names_what_matters_and_its_pictures_are_there(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the convert extra")
    job = TrainJob(data=tmp_path, out=tmp_path / "out", seeds=(1, 2), is_cross_validated=True)

    trained = train(Threshold(population()), settings_of(), job)

    folder = tmp_path / "out" / "report"
    page = (folder / "README.md").read_text()
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page)
    assert set(pictures) == {path.name for path in folder.glob("*.svg")} == {
        "learning.svg", "confusion.svg", "calibration.svg", "patients.svg", "worst.svg"
    }  # fmt: skip
    for picture in pictures:
        assert (folder / picture).read_text().rstrip().endswith("</svg>")
    assert f"| `macro_f1` | {trained.metrics['macro_f1']:.4f} | ± {trained.spread['macro_f1']:.4f} |" in page
    assert all(f"| p{k:02d} |" in page for k in range(12))
    assert "| `validation.n_folds` | 4 |" in page
    assert "seeds 1, 2" in page


def test_the_same_training_gives_the_same_report(tmp_path):
    """Date and duration apart, byte for byte: a difference is a difference of the model."""
    pytest.importorskip("matplotlib", reason="needs the convert extra")
    for name in ("a", "b"):
        train(Threshold(population()), settings_of(), TrainJob(data=tmp_path, out=tmp_path / name))

    for picture in ("confusion.svg", "calibration.svg", "patients.svg", "worst.svg"):
        one, other = ((tmp_path / name / "report" / picture).read_bytes() for name in ("a", "b"))
        assert one == other


def test_the_network_that_is_kept_stops_where_the_others_were_best(tmp_path):
    """Some patients decide when to stop while there is judging; the last network has all patients and their epoch."""
    pytest.importorskip("matplotlib", reason="needs the convert extra")
    recipe = Threshold(population())
    epochs = []
    fit = recipe.fit
    recipe.fit = lambda settings, fold: epochs.append(settings.fit.epochs) or fit(settings, fold)

    train(recipe, settings_of(stop_ratio=0.25), TrainJob(data=tmp_path, out=tmp_path / "out", is_cross_validated=True))

    for fold in recipe.fits[:-1]:
        assert fold.held is not None
        assert not set(fold.held.groups) & set(fold.train.groups)
    assert recipe.fits[-1].held is None
    assert set(recipe.fits[-1].train.groups) == set(recipe.given.groups)
    assert epochs == [30] * 4 + [2]


def test_judged_alerts_are_learned_from(tmp_path):
    """Their windows join those of the recordings, under the person they were raised for."""
    pytest.importorskip("matplotlib", reason="needs the convert extra")
    window = beat_window(3.0, values=np.ones((20, 1)), features={"early": 9.0, "constant": 5.0, "unknown": np.nan})
    kept = replace(record(), windows=(window,), decision=decision([window.sequence]))
    for number, verdict in enumerate([Verdict.TRUE, Verdict.FALSE, Verdict.UNCLEAR]):
        archive = AlertArchive(tmp_path / "alerts")
        archive.save(replace(kept, alert=replace(kept.alert, id=f"a-{number}"), bed=f"bed {number}"))
        archive.label(f"a-{number}", verdict, by="ward-3", wall_ns=5)
    recipe = Threshold(population())
    recipe.task = "beat"
    lines = []
    job = TrainJob(
        data=tmp_path, out=tmp_path / "out", alerts=tmp_path / "alerts", when_false={"V": "N"}, alert_weight=3.0
    )

    train(recipe, settings_of(), job, told=lines.append)

    seen = recipe.fits[-1].train
    is_alert = np.char.startswith(seen.groups, "alert:")
    assert seen.groups[is_alert].tolist() == ["alert:bed 0", "alert:bed 1"]
    assert seen.labels[is_alert].tolist() == [1, 0]
    assert set(seen.weights[is_alert]) == {3.0}
    assert "2 windows of judged alerts" in lines


def test_alerts_of_another_preprocessing_are_refused(tmp_path):
    archive = AlertArchive(tmp_path / "alerts")
    archive.save(record())
    archive.label("a-1", Verdict.TRUE, by="ward-3", wall_ns=5)
    recipe = Threshold(population())
    recipe.task = "beat"

    with pytest.raises(EdgeError, match="another preprocessing: 'early'"):
        train(recipe, settings_of(), TrainJob(data=tmp_path, out=tmp_path / "out", alerts=tmp_path / "alerts"))


def test_the_int8_file_of_an_earlier_training_is_taken_away(tmp_path):
    """Bundled with the new card it would answer otherwise than the card says."""
    pytest.importorskip("matplotlib", reason="needs the convert extra")
    out = tmp_path / "out"
    out.mkdir()
    (out / "model.tflite").write_bytes(b"an older network")

    train(Threshold(population()), settings_of(), TrainJob(data=tmp_path, out=out))

    with pytest.raises(EdgeError, match=r"model\.tflite: cannot be read") as caught:
        bundle_trained(out, tmp_path / "bundle", version="1", release=1)
    assert caught.value.hint == "run quantize first"


def test_fewer_patients_than_folds_are_told_in_a_sentence(tmp_path):
    with pytest.raises(EdgeError, match="at least 4 patients for 4 folds, got 3"):
        train(Threshold(population(3)), settings_of(), TrainJob(data=tmp_path, out=tmp_path / "out"))


def test_one_class_is_nothing_to_learn(tmp_path):
    examples = population()
    examples.labels[:] = 0

    with pytest.raises(EdgeError, match="at least two classes, got N 480, V 0"):
        train(Threshold(examples), settings_of(), TrainJob(data=tmp_path, out=tmp_path / "out"))


def test_a_metric_that_the_recipe_does_not_have_is_named(tmp_path):
    recipe = Threshold(population())

    with pytest.raises(EdgeError, match=r"bias_metric: expected one of macro_f1.*got 'f2'"):
        train(recipe, settings_of(bias_metric="f2"), TrainJob(data=tmp_path, out=tmp_path / "out"))

    assert not recipe.fits  # told before anything is trained


class Listening(Threshold):
    """Decides by the highest sample of the normalised wave: noise must disturb that."""

    def predict(self, fitted, inputs):
        peak = inputs["wave"][:, :, 0].max(axis=1)
        return np.stack([np.full(len(peak), 3.0), peak], axis=1).astype(np.float32)


def with_peaks(examples):
    """Give each example of class V one sample that stands out."""
    wave = examples.inputs["wave"] * 0.1
    wave[examples.labels == 1, 7] = 1.0
    wave[examples.labels != 1, ::2] += 0.3
    return examples.with_inputs({**examples.inputs, "wave": wave})


def test_a_comparison_judges_in_noise_too():
    """The held-out windows get noise of the level that is asked for; clean ones are judged as ever."""
    examples = with_peaks(population())
    recipe = Listening(examples)

    (only,) = compare(recipe, [("a", settings_of())], examples, (1, 2), Path(), stress_db=(30.0, 0.0))

    assert set(only.scores) == {"clean", "30 dB", "0 dB"}
    assert min(only.scores["clean"]) > 0.99
    assert min(only.scores["30 dB"]) > 0.9
    assert max(only.scores["0 dB"]) < min(only.scores["30 dB"]) - 0.1


def test_noise_for_judging_is_the_same_for_every_network_and_leaves_features_alone():
    examples = population()
    cards = learn_inputs(PLANS, examples)

    one, other, worse = (with_noise(examples, cards, snr_db, 3) for snr_db in (6.0, 6.0, 0.0))

    assert np.array_equal(one.inputs["wave"], other.inputs["wave"])
    assert one.inputs["numbers"] is examples.inputs["numbers"]
    added, more = (each.inputs["wave"] - examples.inputs["wave"] for each in (one, worse))
    assert more.std() == pytest.approx(2 * added.std(), rel=0.01)  # 6 dB are a factor of two


def test_a_difference_within_the_spread_of_the_seeds_is_called_chance():
    def variant(name, *scores):
        return Variant(name=name, metric="macro_f1", scores={"clean": scores})

    base = variant("base", 0.70, 0.80, 0.75)
    shown = table([base, variant("same", 0.80, 0.70, 0.77), variant("better", 0.73, 0.83, 0.79)])

    same, better = shown.splitlines()[-2:]
    assert "within chance" in same
    assert "(+0.0333)" in better
    assert "± 0.0500" in shown
    single = table([variant("base", 0.7), variant("other", 0.9)])
    assert "within chance" in single  # one seed is no evidence
