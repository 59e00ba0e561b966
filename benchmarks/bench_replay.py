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
from ec57 import BEAT_SYMBOLS, Tally, gross, read_record, score

from edge.publishing.broker import MOSQUITTO, BrokerHandle, start_broker
from edge.publishing.listener import Listener

HEADER = (
    "| record | annotated | found | Se % | +P % | median HR error /min | HR known % | alerts | confirmed / committed | heard | × real time |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


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


async def row(record: Path, broker: BrokerHandle) -> tuple[str, Tally]:
    """Return the table row of one record, and its beats."""
    listener = Listener(broker.settings(f"bench-{record.name}-ear"), f"vitaledge/v1/home/bench-{record.name}/")
    assert await asyncio.to_thread(listener.start)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = await replayed(record, folder, broker.port)
        annotated = read_record(record)
        ours = wfdb.rdann(str(folder / record.name), "vte")
        found = [at for at, symbol in zip(ours.sample, ours.symbol, strict=True) if symbol in BEAT_SYMBOLS]
        tally = score(annotated.reference, found)
        error_bpm, known_pct = rate_error_bpm(folder / "numerics.csv", annotated.reference.beats, annotated.rate_hz)
    delivery = report["delivery"]
    heard = listener.n_heard
    await asyncio.to_thread(listener.stop)
    alerts = ", ".join(f"{name} {count}" for name, count in report["alerts"].items()) or "–"
    cells = (
        record.name,
        str(tally.n_beats),
        str(tally.n_matched + tally.n_invented),
        f"{tally.sensitivity_pct:.2f}",
        f"{tally.predictivity_pct:.2f}",
        f"{error_bpm:.2f}",
        f"{known_pct:.1f}",
        alerts,
        f"{delivery['confirmed']} / {delivery['committed']}",
        str(heard),
        f"{report['times_real_time']:.0f}",
    )
    return "| " + " | ".join(cells) + " |", tally


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
        tallies: list[Tally] = []
        try:
            for name in names:
                line, tally = await row(args.folder / name, broker)
                print(line, flush=True)
                if name not in args.paced:
                    tallies.append(tally)
        finally:
            await broker.stop()
    total = gross(tallies)
    print(
        f"| pooled, unpaced | {total.n_beats} | {total.n_matched + total.n_invented} "
        f"| {total.sensitivity_pct:.3f} | {total.predictivity_pct:.3f} | | | | | | |"
    )


if __name__ == "__main__":
    asyncio.run(main())
