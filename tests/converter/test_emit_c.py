"""The C on a watch and the Python of the gateway make the same integers and the same decision."""

from __future__ import annotations

import ctypes
import hashlib
import math
import shutil
import subprocess
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from converter.backends import run_model
from converter.bundle_writer import write_bundle
from converter.c_source import _double, _string
from converter.emit_c import emit_c, golden_integers
from converter.graph import read_graph
from edge.errors import EdgeError
from edge.inference.bundle import load_bundle
from edge.inference.card import (
    AbstentionCard,
    AggregationCard,
    FeatureCard,
    FeaturesInput,
    OutputCard,
    SamplesInput,
)
from edge.inference.decision import Calibration, energy, logits_of
from edge.inference.interpreter import Interpreter
from edge.inference.predictor import z_score
from edge.inference.quantization import quantize
from edge.inference.scaling import FeatureScaler, scale_matrix
from tests.fakes import tiny_model

pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")

C_FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic", "-O2"]
API = Path(__file__).parent.parent / "fakes" / "tflm_api"
KNOTS = ((-3.0, -0.5, 0.25, 4.0), (0.1, 0.2, 0.7), tuple(np.geomspace(1e-3, 1e3, 33)))

HARNESS = """
#include "watch_model.h"
int put(size_t input, const double *values, size_t n, int8_t *out) {
  const fb_model_input_t *it = &fb_watch_model.inputs[input];
  return (int)(it->kind == FB_MODEL_FEATURES ? fb_model_put_features(it, values, n, out)
                                             : fb_model_put_samples(it, values, n, out));
}
int put_wrongly(size_t input, const double *values, size_t n, int8_t *out) {
  const fb_model_input_t *it = &fb_watch_model.inputs[input];
  return (int)(it->kind == FB_MODEL_FEATURES ? fb_model_put_samples(it, values, n, out)
                                             : fb_model_put_features(it, values, n, out));
}
double outside(size_t input, const double *values) { return fb_model_outside(&fb_watch_model.inputs[input], values); }
int decide(const int8_t *output, double outside_share, double *logits, double *found) {
  fb_model_logits(&fb_watch_model, output, logits);
  const fb_model_decision_t it = fb_model_decide(&fb_watch_model, logits, outside_share);
  found[0] = it.energy;
  for (size_t k = 0; k < fb_watch_model.n_labels; k++) {
    found[1 + k] = it.probabilities[k];
  }
  return it.label == FB_MODEL_NO_LABEL ? -1 : (int)it.label;
}
size_t data_at(void) { return (size_t)(uintptr_t)fb_watch_model.data; }
const unsigned char *data(size_t *n) { *n = fb_watch_model.data_len; return fb_watch_model.data; }
const char *text(int which) {
  const char *const found[] = {fb_watch_model.name, fb_watch_model.version, fb_watch_model.task,
    fb_watch_model.bundle_sha256, fb_watch_model.model_sha256, fb_watch_model.preprocessing,
    fb_watch_model.labels[1], fb_watch_model.inputs[0].unit};
  return found[which];
}
const int8_t *golden(size_t number, int which) {
  const fb_model_golden_t *it = &fb_watch_golden[number];
  return which < 2 ? it->inputs[which] : which == 2 ? it->gateway : it->micro;
}
"""


def bundle_of(folder, *, normalise="none", activation="none", **changes):
    """Return a bundle of a model with samples and three features, with everything that a card can say."""
    rng = np.random.default_rng(0)
    golden = {
        tiny_model.INPUT: np.linspace(-1, 1, 6)[:, None, None] + 0.2 * rng.normal(size=(6, tiny_model.N_SAMPLES, 1)),
        tiny_model.FEATURES_INPUT: rng.uniform(-1, 3, (6, 3)),
    }
    golden[tiny_model.FEATURES_INPUT][2, 1] = np.nan
    features = tuple(FeatureCard(name=f"f{k}", knots=knots) for k, knots in enumerate(KNOTS))
    write_bundle(
        folder,
        name="Watch",
        version='1.0 "beta"',
        release=2**40,
        task="other",
        created=date(2026, 11, 22),
        preprocessing={"stage": "watch/1", "note": "??/ µ \\ end", "long": "x" * 5000},
        inputs=[
            SamplesInput(
                name=tiny_model.INPUT,
                n_samples=tiny_model.N_SAMPLES,
                channels=("ecg",),
                rate_hz=25.0,
                unit="µV",
                normalise=normalise,
            ),
            FeaturesInput(name=tiny_model.FEATURES_INPUT, features=features),
        ],
        output=OutputCard(
            name="logits",
            labels=("N", "fröhlich"),
            thresholds={"N": 0.6, "fröhlich": 0.75},
            activation=activation,
            temperature=1.7,
            bias={"fröhlich": 0.35},
        ),
        training_data="made here",
        licence="Apache-2.0",
        metrics={},
        model=tiny_model.two_input_model(),
        golden=golden,
        aggregation=AggregationCard(span_s=30.0),
        abstention=AbstentionCard(min_energy=0.9, max_outside=0.5),
        **changes,
    )
    return load_bundle(folder, allow_unsigned=True)


class OnTheWatch:
    """The emitted C, compiled strictly and called."""

    def __init__(self, folder: Path, bundle) -> None:
        self.bundle = bundle
        self.report = emit_c(bundle, folder)
        (folder / "harness.c").write_text(HARNESS)
        sources = ["fb_model.c", "watch_model.c", "watch_golden.c", "harness.c"]
        subprocess.run(["cc", *C_FLAGS, "-shared", "-fPIC", *sources, "-o", "watch.so", "-lm"], cwd=folder, check=True)
        self.c = ctypes.CDLL(str(folder / "watch.so"))
        self.c.outside.restype = ctypes.c_double
        self.c.text.restype = ctypes.c_char_p
        self.c.data_at.restype = ctypes.c_size_t
        self.c.data.restype = ctypes.POINTER(ctypes.c_ubyte)
        self.c.golden.restype = ctypes.POINTER(ctypes.c_int8)

    def put(self, index, values, *, function="put"):
        """Return status and integers of one input."""
        given = np.ascontiguousarray(values, dtype=np.float64)
        out = np.full(given.size, 99, dtype=np.int8)
        status = getattr(self.c, function)(
            ctypes.c_size_t(index), given.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(given.size),
            out.ctypes.data_as(ctypes.c_void_p),
        )  # fmt: skip
        return status, out

    def outside(self, values):
        given = np.ascontiguousarray(values, dtype=np.float64)
        return self.c.outside(ctypes.c_size_t(1), given.ctypes.data_as(ctypes.c_void_p))

    def decide(self, output, outside=0.0):
        """Return label, logits, energy and probabilities."""
        given = np.ascontiguousarray(output, dtype=np.int8)
        logits, found = np.zeros(2), np.zeros(3)
        label = self.c.decide(
            given.ctypes.data_as(ctypes.c_void_p), ctypes.c_double(outside), logits.ctypes.data_as(ctypes.c_void_p),
            found.ctypes.data_as(ctypes.c_void_p),
        )  # fmt: skip
        return label, logits, found[0], found[1:]

    def golden(self, number, which, n):
        return list(self.c.golden(ctypes.c_size_t(number), which)[:n])


@pytest.fixture(scope="module")
def watch(tmp_path_factory):
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("watch")
    return OnTheWatch(folder / "c", bundle_of(folder / "bundle"))


@pytest.fixture(scope="module")
def normalising_watch(tmp_path_factory):
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("watch")
    return OnTheWatch(folder / "c", bundle_of(folder / "bundle", normalise="z-score", activation="softmax"))


def test_the_constants_are_those_of_the_bundle(watch):
    """Every byte of the model, aligned; texts with quotes, umlauts, trigraphs and more than 4095 characters."""
    n = ctypes.c_size_t()
    model = bytes(watch.c.data(ctypes.byref(n))[: len(watch.bundle.model)])

    assert model == watch.bundle.model
    assert n.value == len(model)
    assert watch.c.data_at() % 16 == 0
    texts = [watch.c.text(which).decode() for which in range(8)]
    card = watch.bundle.card
    assert texts[:4] == [card.name, card.version, card.task, watch.bundle.sha256]
    assert texts[4] == hashlib.sha256(model).hexdigest()
    assert '"note": "??/ \\u00b5 \\\\ end"' in texts[5]
    assert "x" * 5000 in texts[5]
    assert texts[6:] == ["fröhlich", "µV"]


def test_golden_vectors_are_what_the_gateway_saw_and_answered(watch):
    bundle = watch.bundle
    seen = golden_integers(bundle, read_graph(bundle.model))

    for number, case in enumerate(bundle.golden):
        assert watch.golden(number, 0, tiny_model.N_SAMPLES) == seen[tiny_model.INPUT][number, :, 0].tolist()
        assert watch.golden(number, 1, 3) == seen[tiny_model.FEATURES_INPUT][number].tolist()
        assert watch.golden(number, 2, 2) == case.output.tolist()


def test_features_become_the_same_integers(watch):
    """Anything from minus to plus infinity, on and beside every knot, unknown: bit for bit."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(4000, 3)) * np.exp(rng.normal(size=(4000, 1)) * 3)
    rows[:4] = [[np.nan] * 3, [np.inf] * 3, [-np.inf] * 3, [1e300, -1e300, 0.0]]
    at_knots = [[knots[k % len(knots)] for knots in KNOTS] for k in range(33)]
    beside = [np.nextafter(row, side) for row in at_knots for side in (-np.inf, np.inf)]
    rows = np.concatenate([rows, at_knots, beside])
    spec = Interpreter(watch.bundle.model).inputs[tiny_model.FEATURES_INPUT]

    expected = quantize(scale_matrix(rows, KNOTS), spec.quantization)

    scaler = FeatureScaler(watch.bundle.card.features)
    for row, integers in zip(rows, expected, strict=True):
        status, found = watch.put(1, row)
        assert status == 0
        assert found.tolist() == integers.tolist(), row
        named = {f"f{k}": value for k, value in enumerate(row)}
        assert watch.outside(row) == scaler.n_outside(named) / 3


def test_samples_become_the_same_integers(watch):
    """Halves, infinities and noise, without normalising: bit for bit."""
    spec = Interpreter(watch.bundle.model).inputs[tiny_model.INPUT]
    rng = np.random.default_rng(2)
    halves = (np.arange(50) - 25 + 0.5) * spec.quantization.scale
    rows = [rng.normal(size=50) * size for size in (0.01, 0.5, 5, 1e30, 1e300)]
    with np.errstate(over="ignore"):
        for row in [*rows, halves, np.nextafter(halves, 0), np.full(50, np.inf), np.full(50, -np.inf)]:
            status, found = watch.put(0, row)

            assert status == 0
            assert found.tolist() == quantize(row, spec.quantization).tolist()


def test_normalised_samples_are_at_most_one_step_apart(normalising_watch):
    """Sums are added in another order, so a value halfway between two integers may fall to the other side."""
    spec = Interpreter(normalising_watch.bundle.model).inputs[tiny_model.INPUT]
    rng = np.random.default_rng(3)
    differences = []
    for _ in range(400):
        row = rng.normal(size=50) * np.exp(rng.normal() * 5) + rng.normal() * 10
        status, found = normalising_watch.put(0, row)
        expected = quantize(z_score(row[:, None])[:, 0], spec.quantization)

        assert status == 0
        differences.append(np.abs(found.astype(int) - expected))
    assert np.max(differences) <= 1
    assert np.mean(np.array(differences) > 0) < 0.001


def test_what_cannot_be_shown_has_a_status(watch, normalising_watch):
    """Wrong length, unknown sample, flat line, wrong kind of input."""
    unknown = np.zeros(50)
    unknown[7] = np.nan

    assert watch.put(0, np.zeros(49))[0] == 1
    assert watch.put(1, np.zeros(4))[0] == 1
    assert watch.put(0, unknown)[0] == 2
    assert watch.put(0, np.zeros(50))[0] == 0
    assert normalising_watch.put(0, np.full(50, 3.7))[0] == 3
    assert normalising_watch.put(0, np.full(50, 1e200) * np.arange(50))[0] == 3  # its spread is no number
    assert watch.put(0, np.zeros(50), function="put_wrongly")[0] == 4
    assert watch.put(1, np.zeros(3), function="put_wrongly")[0] == 4


@pytest.mark.parametrize("name", ["watch", "normalising_watch"])
def test_the_decision_is_the_same(name, request):
    """Every pair of int8 outputs of a grid: logits, energy, probabilities, thresholds; logits and softmax outputs."""
    device = request.getfixturevalue(name)
    card, spec = device.bundle.card, Interpreter(device.bundle.model).output
    calibration = Calibration(card.output)
    labels = set()
    for first in range(-128, 128, 9):
        for second in range(-128, 128, 7):
            output = np.array([first, second], dtype=np.int8)
            logits = logits_of(output, spec.quantization, card.output.activation)
            shares = calibration.probabilities(logits.tolist())
            label, is_certain = calibration.verdict(shares)
            is_familiar = float(energy(logits)) >= card.abstention.min_energy

            found, given, power, probabilities = device.decide(output)

            assert given.tolist() == pytest.approx(logits.tolist(), rel=1e-12)
            assert power == pytest.approx(float(energy(logits)), rel=1e-9)
            assert probabilities.tolist() == pytest.approx(list(shares.values()), rel=1e-9)
            expected = card.output.labels.index(label) if is_certain and is_familiar else -1
            assert found == expected
            labels.add(found)
    assert labels >= ({-1, 0, 1} if name == "watch" else {-1})


def test_strange_features_silence_the_model(watch):
    output = np.array([100, -100], dtype=np.int8)

    assert watch.decide(output, outside=0.5)[0] == 0
    assert watch.decide(output, outside=0.51)[0] == -1


def test_numbers_and_texts_read_back(tmp_path):
    """The shortest decimal is the same double; a quote, a newline and a digit after an umlaut stay what they are."""
    assert all(float(_double(value)) == value for value in (0.1, 1.0, -0.0, 1e-300, 5e300, math.pi))
    assert _string('a"?\\\n') == '"a\\"\\?\\\\\\012"'
    assert _string("µ1") == '"\\302\\2651"'


def test_a_model_that_tflm_computes_otherwise_is_refused(watch, tmp_path, monkeypatch):
    """GELU has no kernel there."""
    bundle = watch.bundle
    strange = read_graph(bundle.model)
    strange.operators["GELU"] += 1
    monkeypatch.setattr("converter.emit_c.read_graph", lambda _: strange)

    with pytest.raises(EdgeError, match="not known to compute GELU"):
        emit_c(bundle, tmp_path / "none")

    assert not (tmp_path / "none").exists()


def test_too_many_labels_are_refused(watch, tmp_path):
    card = watch.bundle.card
    many = tuple(f"l{k}" for k in range(33))
    output = OutputCard(name="logits", labels=many, thresholds=dict.fromkeys(many, 0.0))

    with pytest.raises(EdgeError, match="at most 32 labels"):
        emit_c(replace(watch.bundle, card=replace(card, output=output)), tmp_path / "none")


def test_tflm_answers_the_golden_vectors_as_the_gateway(watch):
    """The report says how many are equal byte for byte, and the source holds TFLM's own answers."""
    if watch.report.skipped:
        pytest.skip(watch.report.skipped)
    bundle, report = watch.bundle, watch.report
    micro = run_model("tflm", bundle.model, golden_integers(bundle, read_graph(bundle.model))).output

    assert report.largest_lsb <= 1
    assert report.n_exact == sum(
        row.tolist() == case.output.tolist() for row, case in zip(micro, bundle.golden, strict=True)
    )
    assert [watch.golden(number, 3, 2) for number in range(6)] == micro.tolist()
    assert report.arena_bytes >= 2048


STAND_IN = """
#include <cstdio>
#include <cstring>
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "watch_model.h"
static std::int8_t memory[kTensors + 1][4096];
void DescribeTensors(StandIn* it) {
  it->n_inputs = fb_watch_model.n_inputs;
  for (std::size_t k = 0; k < it->n_inputs; k++) {
    const fb_model_input_t& card = fb_watch_model.inputs[k];
    it->inputs[card.index] = {kTfLiteInt8, {memory[card.index]}, card.n_values + WRONG, {card.scale, card.zero_point}};
  }
  it->output = {kTfLiteInt8, {memory[kTensors]}, fb_watch_model.n_labels, {fb_watch_model.output_scale, 0}};
}
TfLiteStatus Answer(StandIn* it) {
  for (std::size_t k = 0; k < FB_WATCH_N_GOLDEN; k++) {
    bool same = true;
    for (std::size_t i = 0; i < it->n_inputs; i++) {
      const fb_model_input_t& card = fb_watch_model.inputs[i];
      same &= std::memcmp(it->inputs[card.index].data.int8, fb_watch_golden[k].inputs[i], card.n_values) == 0;
    }
    if (same) {
      for (std::size_t j = 0; j < fb_watch_model.n_labels; j++) {
        it->output.data.int8[j] = static_cast<std::int8_t>(fb_watch_golden[k].gateway[j] + STEPS);
      }
      return kTfLiteOk;
    }
  }
  return kTfLiteError;
}
"""


@pytest.mark.parametrize(
    ("steps", "wrong", "code", "said"),
    [
        (0, 0, 0, "golden vectors: 0 steps from the gateway"),
        (3, 0, 0, "golden vectors: 3 steps from the gateway"),
        (9, 0, 1, "refused: this device computes something else"),
        (0, 1, 1, "not started: status 3"),
    ],
)
def test_the_example_proves_itself_before_it_speaks(watch, tmp_path, steps, wrong, code, said):
    """Against a stand-in for TFLM: golden vectors are run, a device that differs too much or a model with other tensors
    is refused."""
    if shutil.which("c++") is None:
        pytest.skip("needs a C++ compiler")
    emit_c(watch.bundle, tmp_path)
    (tmp_path / "stand_in.cc").write_text(STAND_IN)
    for source in ("fb_model.c", "watch_model.c", "watch_golden.c"):
        subprocess.run(["cc", *C_FLAGS, "-c", source], cwd=tmp_path, check=True)
    flags = ["-std=c++17", "-fno-exceptions", "-fno-rtti", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic"]
    objects = ["fb_model.o", "watch_model.o", "watch_golden.o"]
    sources = ["example.cc", "fb_model_tflm.cc", "stand_in.cc"]
    macros = [f"-DSTEPS={steps}", f"-DWRONG={wrong}u", f"-I{API}"]
    header = tmp_path / "watch_model.h"
    header.write_text(header.read_text().replace("FB_WATCH_ARENA_BYTES 0u", "FB_WATCH_ARENA_BYTES 4096u"))
    subprocess.run(["c++", *flags, *macros, *sources, *objects, "-o", "example", "-lm"], cwd=tmp_path, check=True)

    done = subprocess.run(["./example"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert said in done.stdout
    assert done.returncode == code
    if code == 0:
        assert done.stdout.startswith('Watch 1.0 "beta", release 1099511627776, ')
        assert len(done.stdout.splitlines()) == 2 + 6
