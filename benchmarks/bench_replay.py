"""Every record of a folder through `vitaledge replay --publish` to a real mosquitto, scored against its annotations.

For each record: beats found against annotated (150 ms, one to one, whole record), the median heart-rate error, alerts
raised, records confirmed by the broker and heard by a plain subscriber, and the ratio to real time.

    python benchmarks/bench_replay.py RECORDS_FOLDER > table.md

Run nothing else on the machine meanwhile: the last column is a timing.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import wfdb

from edge.publishing.broker import MOSQUITTO, BrokerHandle, start_broker
from edge.publishing.listener import Listener

BEATS = set("NLRBAaJSVrFejnE/fQ?")
WINDOW_S = 0.15
HEADER = (
    "| record | annotated | found | Se % | +P % | median HR error /min | HR known % | alerts | confirmed / committed | heard | × real time |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def matched(reference: np.ndarray, found: np.ndarray, window: float) -> int:
    """Return how many of `found` lie within `window` of a reference beat, each used once, in order of time."""
    n = i = j = 0
    while i < len(reference) and j < len(found):
        if abs(found[j] - reference[i]) <= window:
            # the nearer of two candidates for the same reference beat is taken
            if j + 1 < len(found) and abs(found[j + 1] - reference[i]) < abs(found[j] - reference[i]):
                j += 1
            n, i, j = n + 1, i + 1, j + 1
        elif found[j] < reference[i]:
            j += 1
        else:
            i += 1
    return n


def outside_flutter(annotation: wfdb.Annotation, samples: np.ndarray) -> np.ndarray:
    """Return `samples` without those in ventricular flutter (``[`` … ``]``), where no beats are annotated."""
    keep = np.ones(len(samples), dtype=bool)
    start = None
    for sample, symbol in zip(annotation.sample, annotation.symbol, strict=True):
        if symbol == "[":
            start = sample
        elif symbol == "]" and start is not None:
            keep &= (samples < start) | (samples > sample)
            start = None
    return samples[keep]


def rate_error_bpm(numerics: Path, reference: np.ndarray, rate_hz: float) -> tuple[float, float]:
    """Return the median |shown − reference| heart rate and the share of seconds with a rate, in per cent.

    The reference is 60 s over the mean of the last 12 annotated RR intervals (fewer at the start).
    """
    beats_s = reference / rate_hz
    errors, n_rows, n_known = [], 0, 0
    with numerics.open() as file:
        for row in csv.DictReader(file):
            n_rows += 1
            if not row["heart_rate_bpm"]:
                continue
            n_known += 1
            before = beats_s[beats_s <= float(row["time_s"])][-13:]
            if len(before) >= 3:
                errors.append(abs(float(row["heart_rate_bpm"]) - 60.0 / float(np.mean(np.diff(before)))))
    return statistics.median(errors) if errors else float("nan"), 100 * n_known / max(1, n_rows)


async def replayed(record: Path, folder: Path, port: int) -> dict:
    """Return the JSON of one replay in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge", "replay", str(record), "--publish", "--json"),
        *("--annotate", str(folder), "--numerics", str(folder / "numerics.csv")),
        *("--set", "mqtt.host=127.0.0.1", "--set", f"mqtt.port={port}", "--set", "mqtt.tls=false"),
        *("--set", f"gateway.id=bench-{record.name}", "--set", f"outbox.path={folder / 'outbox.db'}"),
        stdout=subprocess.PIPE,
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{record}: replay failed with exit code {process.returncode}")
    return json.loads(out)


async def row(record: Path, broker: BrokerHandle) -> tuple[str, tuple[int, int, int]]:
    """Return the table row of one record, and (annotated, found, matched)."""
    listener = Listener(broker.settings(f"bench-{record.name}-ear"), f"vitaledge/v1/home/bench-{record.name}/")
    assert await asyncio.to_thread(listener.start)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = await replayed(record, folder, broker.port)
        annotation = wfdb.rdann(str(record), "atr")
        ours = wfdb.rdann(str(folder / record.name), "vte")
        reference = np.array([s for s, k in zip(annotation.sample, annotation.symbol, strict=True) if k in BEATS])
        found = np.array([s for s, k in zip(ours.sample, ours.symbol, strict=True) if k in BEATS])
        rate_hz = wfdb.rdheader(str(record)).fs
        found = outside_flutter(annotation, found)
        reference = outside_flutter(annotation, reference)
        n = matched(reference, found, WINDOW_S * rate_hz)
        error_bpm, known_pct = rate_error_bpm(folder / "numerics.csv", reference, rate_hz)
    delivery = report["delivery"]
    heard = listener.n_heard
    await asyncio.to_thread(listener.stop)
    alerts = ", ".join(f"{name} {count}" for name, count in report["alerts"].items()) or "–"
    cells = (
        record.name,
        str(len(reference)),
        str(len(found)),
        f"{100 * n / len(reference):.2f}",
        f"{100 * n / len(found):.2f}",
        f"{error_bpm:.2f}",
        f"{known_pct:.1f}",
        alerts,
        f"{delivery['confirmed']} / {delivery['committed']}",
        str(heard),
        f"{report['times_real_time']:.0f}",
    )
    return "| " + " | ".join(cells) + " |", (len(reference), len(found), n)


async def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--records", nargs="+")
    parser.add_argument("--paced", nargs="*", default=["102", "104"], help="left out of the pooled line")
    args = parser.parse_args()
    names = args.records or sorted(path.stem for path in args.folder.glob("*.hea"))
    with tempfile.TemporaryDirectory() as directory:
        broker = await start_broker(Path(directory), kinds=(MOSQUITTO,))
        if broker is None:
            raise SystemExit("mosquitto is not installed")
        print(HEADER)
        totals = np.zeros(3, dtype=int)
        try:
            for name in names:
                line, counts = await row(args.folder / name, broker)
                print(line, flush=True)
                if name not in args.paced:
                    totals += counts
        finally:
            await broker.stop()
    reference, found, n = totals
    print(
        f"| pooled, unpaced | {reference} | {found} | {100 * n / reference:.3f} | {100 * n / found:.3f} | | | | | | |"
    )


if __name__ == "__main__":
    asyncio.run(main())
