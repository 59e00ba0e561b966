"""Fine-tuning and pruning are kept only where held-out examples say that they help."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converter.examples import Examples
from converter.finetune import Candidate, FineTuneSettings, _judged, fine_tune
from converter.graph import read_graph
from tests.fakes import keras_models

pytest.importorskip("tensorflow", reason="needs the convert extra")
pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")

ROOT = Path(__file__).parent.parent.parent
PLAIN = Candidate(
    way="plain", agreement=0.98, macro_f1=0.90, error=0.1, n_bytes=1000, n_compressed_bytes=800, is_kept=True, why=""
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    script = ROOT / "tests" / "fakes" / "keras_models.py"
    subprocess.run([sys.executable, "-W", "ignore", str(script), str(folder)], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    ("changes", "is_kept", "said"),
    [
        ({"macro_f1": 0.902}, True, "macro-F1 +0.20 points against plain"),
        ({"macro_f1": 0.9005}, False, "macro-F1 +0.05 points against plain"),
        ({"macro_f1": 0.90, "agreement": 1.0}, False, "0.1 wanted"),
        ({"macro_f1": None, "agreement": 0.99}, True, "agreement with float +1.00 points"),
    ],
)
def test_teaching_is_kept_when_the_score_rises(changes, is_kept, said):
    """Not when it merely decides more often as before, and not by a gain that any seed could bring."""
    best = replace(PLAIN, macro_f1=None) if changes["macro_f1"] is None else PLAIN

    kept, why = _judged(replace(PLAIN, way="quantization-aware", **changes), best, FineTuneSettings())

    assert kept is is_kept
    assert said in why


@pytest.mark.parametrize(
    ("changes", "is_kept"),
    [
        ({"n_compressed_bytes": 700}, True),
        ({"n_compressed_bytes": 700, "macro_f1": 0.8995}, True),
        ({"n_compressed_bytes": 700, "macro_f1": 0.898}, False),
        ({"n_compressed_bytes": 790, "macro_f1": 0.95}, False),
    ],
)
def test_pruning_is_kept_when_the_file_shrinks_and_nothing_is_lost(changes, is_kept):
    kept, why = _judged(replace(PLAIN, way="pruned", **changes), PLAIN, FineTuneSettings())

    assert kept is is_kept
    assert "compressed file" in why


def test_a_network_of_unequal_channels_learns_to_live_with_int8(models, tmp_path):
    """Its answers come nearer to the float ones; which way is kept is said with figures, and is the file returned."""
    train, _ = keras_models.waves(600, seed=1)
    values, labels = keras_models.waves(600, seed=5)
    noisy = values + np.random.default_rng(0).normal(0, 0.4, values.shape).astype(np.float32)
    held_out = Examples(
        inputs={"samples": noisy},
        labels=labels,
        classes=("a", "b", "c"),
        groups=np.array(["p"] * 600),
        weights=np.ones(600, dtype=np.float32),
    )
    settings = FineTuneSettings(epochs=15, batch_size=64, learning_rate=2e-3)

    chosen = fine_tune(
        models / "unequal.keras",
        {"samples": train},
        held_out,
        {"samples": train[:100]},
        settings=settings,
        keep_network=tmp_path / "kept.keras",
    )

    plain, taught = chosen.candidates
    assert taught.error < plain.error
    assert taught.agreement > 0.95
    assert chosen.way == ("quantization-aware" if taught.macro_f1 >= plain.macro_f1 + 0.001 else "plain")
    assert [each.is_kept for each in chosen.candidates] == [chosen.way == "plain", chosen.way == "quantization-aware"]
    assert read_graph(chosen.model).floats == ()
    assert read_graph(chosen.floating).floats
    assert (tmp_path / "kept.keras").stat().st_size > 1000
    assert "macro-F1" in chosen.text()
    assert len(chosen.text().splitlines()) == 2


@pytest.mark.long
def test_two_inputs_without_labels_are_judged_by_agreement(models):
    """Pruned by half, the compressed file is smaller; what is lost is in the figures."""
    rng = np.random.default_rng(0)
    inputs = {
        "samples": rng.normal(size=(128, 24, 2)).astype(np.float32),
        "features": rng.uniform(-1, 1, (128, 4)).astype(np.float32),
    }
    held_out = Examples(
        inputs=inputs,
        labels=np.full(128, -1),
        classes=("a", "b", "c"),
        groups=np.array(["p"] * 128),
        weights=np.ones(128, dtype=np.float32),
        bags=np.arange(128) // 2,
    )

    chosen = fine_tune(
        models / "beat.keras",
        inputs,
        held_out,
        inputs,
        settings=FineTuneSettings(epochs=1, batch_size=64, sparsity=0.5),
    )

    plain, taught, pruned = chosen.candidates
    assert plain.macro_f1 is None
    assert pruned.n_compressed_bytes < taught.n_compressed_bytes  # of 142 weights, half are zero
    assert "agreement with float" in pruned.why
    assert sum(each.is_kept for each in chosen.candidates) >= 1
    assert chosen.as_json()["way"] == chosen.way
