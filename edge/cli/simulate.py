"""``vitaledge simulate [SCENARIO]``: a virtual sensor on a serial line, for any client to connect to."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import signal
import sys
from pathlib import Path

from edge.acquisition.wfdb_file import open_record
from edge.cli.noise import add_noise_options, with_noise
from edge.cli.options import add_json_option, positive
from edge.clock import NS_PER_S, SystemClock
from firmware_bridge.virtual.device import VirtualSensor
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.playback import PlaybackPatient
from firmware_bridge.virtual.scenario_file import bundled_scenarios, load_scenario
from firmware_bridge.virtual.serial_link import serve
from firmware_bridge.virtual.source import Source

DEFAULT_LINK = Path("/tmp/vitaledge-sensor")  # noqa: S108 - a link to a pty for one's own use; --serial names another
_PLAYBACK_BLOCK_SAMPLES = 1000
_HISTORY_S = 60.0
_N_BOOT_IDS = 1 << 31
"""Half of the 32 bits of the wire: scripted resets count on from the first."""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "simulate",
        help="a virtual sensor on a pty with a stable link",
        description="Offers a virtual sensor that speaks firmware_bridge/PROTOCOL.md on a pseudo-terminal.",
    )
    parser.add_argument(
        "scenario",
        nargs="?",
        default="quiet",
        metavar="SCENARIO",
        help=f"a scenario file, or one of: {', '.join(bundled_scenarios())} (default: quiet)",
    )
    parser.add_argument(
        "--record", metavar="RECORD", help="play this WFDB, EDF or CSV recording instead of the generator"
    )
    parser.add_argument(
        "--serial", type=Path, default=DEFAULT_LINK, metavar="LINK", help="where the link to the pty goes"
    )
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help="times real time (default 1)")
    add_noise_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve the sensor until the scenario ends or Ctrl-C."""
    scenario, clock = load_scenario(args.scenario), SystemClock(positive(args.speed, "--speed"))

    def make_source() -> Source:
        if args.record:
            return PlaybackPatient(open_record(args.record).blocks(_PLAYBACK_BLOCK_SAMPLES))
        return VirtualPatient(scenario, history_s=_HISTORY_S, streams=scenario.sensor.streams)

    source = with_noise(make_source, args) if args.noise else make_source()
    # A new process is a device that was switched on again: its counters begin anew, and PROTOCOL.md asks it to say so.
    sensor = VirtualSensor(scenario, source, boot_id=secrets.randbelow(_N_BOOT_IDS))
    opening = (
        f"virtual sensor at {args.serial}: {args.record or scenario.title}, {args.speed:g} × real time; Ctrl-C ends it"
    )
    print(opening, file=sys.stderr if args.json else sys.stdout, flush=True)
    n_unread = asyncio.run(_serve(sensor, args.serial, clock))
    report = {"link": str(args.serial), "story_s": round(sensor.story_ns / NS_PER_S, 3), "unread_bytes": n_unread}
    print(json.dumps(report) if args.json else f"ended; {n_unread} bytes were sent while nobody read")
    return 0


async def _serve(sensor: VirtualSensor, link: Path, clock: SystemClock) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return await serve(sensor, link, clock, stop)
