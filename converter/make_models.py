"""Train the reference models from scratch, bundle and verify them, and hold their metrics against the shipped ones.

What ``make model`` runs; every step is a command of ``vitaledge-convert`` that anyone can run by hand.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from converter.cli import main as convert
from converter.console import EXIT_DONE, EXIT_FAILED, note, say
from edge.inference.bundle import builtin_bundle, load_bundle

MODELS = ("beat", "rhythm")
SPREADS = 2.0
"""How many standard deviations over the seeds a metric may be off and still be reproduced (95 % of a normal spread)."""
LEAST_SPREAD = 0.005
"""Where only one seed was trained there is no spread: half a point, the limit for the loss by int8."""


def steps(name: str, data: Path, out: Path, seeds: int, jobs: int) -> list[list[str]]:
    """Return the commands that make one model, in order."""
    work, bundle = str(out / f"{name}-work"), str(out / name)
    return [
        [
            "train",
            name,
            "--data",
            str(data),
            "--out",
            work,
            "--seeds",
            str(seeds),
            "--jobs",
            str(jobs),
            "--cross-validate",
        ],
        ["quantize", work],
        ["bundle", work, "--out", bundle, "--version", "0.0.0+local", "--release", "1"],
        ["verify", bundle, "--trained", work],
    ]


def differences(shipped: Mapping[str, float], made: Mapping[str, float]) -> list[str]:
    """Return in words where a metric was not reproduced within its spread; empty where all were.

    A metric ``group.x`` has its standard deviation over the seeds in ``group_sd.x``.
    """
    found = []
    for metric, value in shipped.items():
        group, _, which = metric.partition(".")
        if group.endswith("_sd") or metric not in made:
            continue
        spreads = [each.get(f"{group}_sd.{which}", 0.0) for each in (shipped, made)]
        allowed = max(LEAST_SPREAD, SPREADS * math.hypot(*spreads))
        if abs(made[metric] - value) > allowed:
            found.append(f"{metric}: shipped {value:.4f}, made {made[metric]:.4f}, allowed {allowed:.4f}")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Make both models; 0 when every step passed and every metric was reproduced."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with mitdb/ and cinc2017/ (and nstdb/)")
    parser.add_argument("--out", type=Path, required=True, help="folder for what is made")
    parser.add_argument("--seeds", type=int, default=1, help="networks per fold (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default %(default)s)")
    parser.add_argument("--only", choices=MODELS, action="append", help="one of them")
    args = parser.parse_args(argv)
    failed = 0
    for name in args.only or MODELS:
        began = time.monotonic()
        for step in steps(name, args.data, args.out, args.seeds, args.jobs):
            note(" ".join(["vitaledge-convert", *step]))
            code = convert(step)
            if code:
                return code
        made = load_bundle(args.out / name, allow_unsigned=True).card.metrics
        shipped = load_bundle(builtin_bundle(name)).card.metrics
        found = differences(shipped, made)
        failed += len(found)
        minutes = (time.monotonic() - began) / 60
        lines = [f"{name}: made in {minutes:.1f} min", *(f"  {metric} {value:.4f}" for metric, value in made.items())]
        lines += [f"  not reproduced: {each}" for each in found] or ["  every shipped metric was reproduced"]
        say("\n".join(lines), {"model": name, "minutes": minutes, "metrics": dict(made)}, as_json=False)
    return EXIT_FAILED if failed else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
