"""How much of one core do four Bluetooth sensors and two serial ones take, and does anything get lost?

The sensors are virtual and run in processes of their own: four wearables behind the emulated BlueZ on a private D-Bus,
two boards on pseudo-terminals.  What is timed is ``vitaledge run`` alone, its broker apart, at real speed: processor
time of the process over wall time, once with the sensors and, as the baseline, once without any.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from machine import heading

KINDS = {"chest": "ecg_strap", "strap": "heart_rate_strap", "finger": "oximeter", "skin": "thermometer"}
DRIVERS = {"chest": "polar_pmd", "strap": "ble_heart_rate", "finger": "ble_oximeter", "skin": "ble_thermometer"}
ADDRESSES = re.compile(r"^  ((?:[0-9A-F]{2}:){5}[0-9A-F]{2})  .*\((\w+)\)$", re.MULTILINE)
VITALEDGE = [sys.executable, "-m", "edge"]
WARM_UP_S = 25.0
"""Connecting, loading the models, filling the first windows."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="length of each measurement (default 120)")
    args = parser.parse_args()
    print(heading(("numpy", "scipy", "bleak")))
    with tempfile.TemporaryDirectory() as folder:
        print("| sensors | of one core | samples lost | bytes dropped | frames damaged | silences |")
        print("|---|---|---|---|---|---|")
        with simulators(Path(folder)) as (address_of, environment):
            tell("none", *measured(Path(folder), {}, environment, args.seconds))
            tell("4 Bluetooth, 2 serial", *measured(Path(folder), address_of, environment, args.seconds))


def tell(name: str, share: float, links: list[Mapping[str, object]]) -> None:
    """Print one row."""
    lost, dropped, silences = (
        sum(link[key] for link in links) for key in ("n_lost_samples", "n_dropped_bytes", "n_silences")
    )
    damaged = sum(sum(link["n_corrupt"].values()) - link["n_corrupt"].get("no-hello", 0) for link in links)
    print(f"| {name} | {share:.1%} | {lost} | {dropped} | {damaged} | {silences} |", flush=True)


@contextmanager
def simulators(folder: Path) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Run the sensors; give the address of each Bluetooth one, and what a client of them needs in its environment."""
    kinds = ",".join(KINDS.values())
    bluez = subprocess.Popen([*VITALEDGE, "simulate", "--bluez", "--kind", kinds], stdout=subprocess.PIPE, text=True)
    boards = [
        subprocess.Popen([*VITALEDGE, "simulate", "--serial", str(folder / name)], stdout=subprocess.DEVNULL)
        for name in ("bed", "wrist")
    ]
    try:
        said = ""
        while "Ctrl-C" not in said:
            said += bluez.stdout.readline()
        bus = said.split("DBUS_SYSTEM_BUS_ADDRESS=", 1)[1].split("\n", 1)[0]
        kind_of = {kind: address for address, kind in ADDRESSES.findall(said)}
        yield {name: kind_of[kind] for name, kind in KINDS.items()}, {"DBUS_SYSTEM_BUS_ADDRESS": bus}
    finally:
        for process in (bluez, *boards):
            process.send_signal(signal.SIGINT)
            process.wait(20)


def measured(
    folder: Path, address_of: Mapping[str, str], environment: Mapping[str, str], seconds: float
) -> tuple[float, list[Mapping[str, object]]]:
    """Return the share of one core that the runtime takes, and what its links say at the end."""
    state = Path(tempfile.mkdtemp(dir=folder))
    (state / "config.toml").write_text(configuration(folder, state, address_of))
    with (state / "log").open("w") as log:
        runtime = subprocess.Popen(
            [*VITALEDGE, "run", "--config", str(state / "config.toml")],
            env=os.environ | environment,
            stdout=log,
            stderr=log,
        )
        try:
            time.sleep(WARM_UP_S)
            begun_s, used_s = time.monotonic(), processor_s(runtime.pid)
            time.sleep(seconds)
            share = (processor_s(runtime.pid) - used_s) / (time.monotonic() - begun_s)
            links = json.loads((state / "links.json").read_text())["links"]
        finally:
            runtime.send_signal(signal.SIGINT)
            runtime.wait(30)
    return share, links


def configuration(folder: Path, state: Path, address_of: Mapping[str, str]) -> str:
    """Return a configuration of six sensors on one person, or of none."""
    sections = [f'[outbox]\npath = "{state / "outbox.db"}"\n[mqtt]\nembedded = true\ntls = false\n']
    sections += [
        f'[[sensor]]\nid = "{name}"\ndriver = "{DRIVERS[name]}"\naddress = "{address}"\n'
        for name, address in address_of.items()
    ]
    if address_of:
        sections += [
            f'[[sensor]]\nid = "{name}"\ndriver = "bridge_serial"\nport = "{folder / name}"\n'
            for name in ("bed", "wrist")
        ]
        names = ", ".join(f'"{name}"' for name in (*address_of, "bed", "wrist"))
        sections.append(f'[[subject]]\nid = "p-1"\nsensors = [{names}]\n')
    return "\n".join(sections)


def processor_s(pid: int) -> float:
    """Return the processor time that a process and its threads have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
