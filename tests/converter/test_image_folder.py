"""Nothing is bound to the ECG: a picture network is trained, quantized, bundled, verified, signed and run."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converter.datasets.images import image_examples, read_image
from edge.errors import EdgeError

ROOT = Path(__file__).parents[2]
N_CLASSES = 10
N_EACH = 6
SIZE_PX = 128


def draw(folder, *, size_px, seed=1):
    """Ten classes of stripes, each of its own direction and colour, with noise: eight lines of numpy, no data set."""
    image = pytest.importorskip("PIL.Image", reason="needs the convert extra")
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size_px, :size_px] / size_px
    for label in range(N_CLASSES):
        (folder / f"kind{label}").mkdir(parents=True)
        colour = 0.5 + 0.35 * np.cos(2 * np.pi * (label / N_CLASSES + np.array([0, 1, 2]) / 3))
        angle = np.pi * label / N_CLASSES
        for number in range(N_EACH):
            stripes = np.sin(2 * np.pi * (5 * (x * np.cos(angle) + y * np.sin(angle)) + rng.random()))
            values = np.clip(colour + 0.3 * stripes[:, :, None] + rng.normal(0, 0.03, (size_px, size_px, 3)), 0, 1)
            image.fromarray((255 * values).astype(np.uint8)).save(folder / f"kind{label}" / f"{number}.png")


def convert(*arguments):
    environment = os.environ | {"TF_NUM_INTRAOP_THREADS": "2", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from converter.cli import main; sys.exit(main(sys.argv[1:]))", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (arguments, done.stdout[-2000:], done.stderr[-2000:])
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The network this project began with, 32 - 64 - 128 - 10, on 128 x 128 x 3 for the sake of the test's time."""
    if importlib.util.find_spec("tensorflow") is None:  # not imported here: that takes seconds and is noisy
        pytest.skip("needs the convert extra")
    folder = tmp_path_factory.mktemp("images")
    draw(folder / "data", size_px=64)
    out = folder / "out"
    report = convert(
        "train", "image_folder", "--data", str(folder / "data"), "--out", str(out), "--json",
        "--set", "fit.epochs=5", "--set", "fit.learning_rate=0.003", "--set", f"data.size_px={SIZE_PX}",
    )  # fmt: skip
    return out, report


def test_it_learns_from_pictures(trained):
    """On pictures that it was not trained on: by chance it would be right in one of ten."""
    out, report = trained

    assert report["metrics"]["accuracy"] > 0.5
    settings = json.loads((out / "trained.json").read_text())["settings"]
    assert settings["data"]["size_px"] == SIZE_PX
    assert (settings["model"]["channels"], settings["model"]["hidden"]) == ([32, 64], 128)


def test_the_report_stands_alone(trained):
    """One page, every picture it names beside it, nothing from elsewhere."""
    out, _ = trained
    page = (out / "report" / "README.md").read_text()

    for name in ("learning.svg", "confusion.svg", "calibration.svg", "patients.svg"):
        assert f"]({name})" in page
        assert (out / "report" / name).read_text().startswith("<?xml")
    assert "| `fit.epochs` | 5 |" in page
    assert "| keras | 3." in page
    assert "http" not in page


def test_it_goes_the_whole_way_to_a_signed_bundle_that_runs(trained):
    """quantize, bundle, sign, verify; then the runtime's own predictor decides a picture as the trained network did."""
    from edge.inference.bundle import load_bundle
    from edge.inference.interpreter import Interpreter
    from edge.inference.predictor import Predictor
    from edge.inference.trust import TrustedKeys

    out, _ = trained
    bundle, key, trusted = out / "bundle", out / "key.pem", out / "trusted.json"
    made = convert("quantize", str(out), "--json")
    convert("bundle", str(out), "--out", str(bundle), "--version", "1.0.0", "--release", "1", "--json")
    trusted.write_text(
        json.dumps(convert("sign", "--new-key", str(key), "--owner", "a test", "--json")["trusted_keys"])
    )
    convert("sign", str(bundle), "--key", str(key), "--json")
    found = convert(
        "verify", str(bundle), "--trained", str(out), "--trust", str(trusted), "--backend", "litert", "--json"
    )

    assert made["n_bytes"] < 250_000
    assert found["passed"]
    assert found["signed"]
    assert found["floating"]["agreement"] > 0.95
    loaded = load_bundle(bundle, TrustedKeys.parse(trusted.read_bytes(), "here"))
    predictor = Predictor(loaded.card, Interpreter(loaded.model))
    data = out.parent / "data"
    right = 0
    for label in range(N_CLASSES):
        picture = read_image(data / f"kind{label}" / "0.png", size_px=SIZE_PX, n_colours=3).astype(np.float64)
        answer = predictor.answer({"image": picture})
        right += int(np.argmax(answer.output)) == label
    assert right >= 8


def test_folders_below_a_class_are_one_group(tmp_path):
    """Pictures of one animal never train and judge at once."""
    draw(tmp_path, size_px=8)
    (tmp_path / "kind0" / "rex").mkdir()
    for number in (0, 1):
        (tmp_path / "kind0" / f"{number}.png").rename(tmp_path / "kind0" / "rex" / f"{number}.png")

    examples = image_examples(tmp_path, size_px=4, jobs=1)

    assert len(examples) == N_CLASSES * N_EACH
    assert (examples.groups == "kind0/rex").sum() == 2
    assert len(set(examples.groups)) == N_CLASSES * N_EACH - 1
    assert examples.inputs["image"].shape == (60, 4, 4, 3)
    assert 0 <= examples.inputs["image"].min() < examples.inputs["image"].max() <= 1


def test_a_broken_picture_is_named(tmp_path):
    draw(tmp_path, size_px=8)
    (tmp_path / "kind3" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")

    with pytest.raises(EdgeError, match=r"kind3/0\.png: not a picture"):
        image_examples(tmp_path, size_px=4)


def test_arrays_are_pictures_too(tmp_path):
    pytest.importorskip("PIL.Image", reason="needs the convert extra")
    np.save(tmp_path / "whole.npy", np.full((6, 6), 51, np.uint8))
    np.save(tmp_path / "share.npy", np.full((6, 6, 3), 0.2))

    for name in ("whole.npy", "share.npy"):
        assert read_image(tmp_path / name, size_px=3, n_colours=3) == pytest.approx(np.full((3, 3, 3), 0.2), abs=0.003)
