"""What ``make model`` does: the steps in order, and whether the shipped figures come out again."""

from __future__ import annotations

from pathlib import Path

from converter.make_models import differences, steps


def test_a_model_is_trained_quantized_bundled_and_verified_in_that_order():
    made = steps("beat", Path("data"), Path("out"), 3, 2)

    assert [step[0] for step in made] == ["train", "quantize", "bundle", "verify"]
    assert made[0][made[0].index("--seeds") + 1] == "3"
    assert made[2][1] == made[1][1]  # what was quantized is what is bundled


def test_a_figure_within_its_spread_is_reproduced():
    """Two standard deviations of both together; without any, half a point."""
    shipped = {"oof.se_V": 0.90, "oof_sd.se_V": 0.01, "oof.se_S": 0.70}

    assert differences(shipped, {"oof.se_V": 0.885, "oof.se_S": 0.704}) == []


def test_a_figure_outside_its_spread_is_named():
    shipped = {"oof.se_V": 0.90, "oof_sd.se_V": 0.01, "oof.se_S": 0.70}

    found = differences(shipped, {"oof.se_V": 0.87, "oof.se_S": 0.71, "oof.other": 0.0})

    assert [each.split(":")[0] for each in found] == ["oof.se_V", "oof.se_S"]
