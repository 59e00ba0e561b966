"""``vitaledge simulate [SCENARIO]``: virtual sensors for any client to connect to, on a serial line or over Bluetooth."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.acquisition.wfdb_file import open_record
from edge.cli.noise import add_noise_options, with_noise
from edge.cli.options import add_json_option, option_error, positive
from edge.clock import NS_PER_S, SystemClock
from edge.errors import TransportError, TransportFault
from firmware_bridge.virtual.device import VirtualSensor
from firmware_bridge.virtual.patient import VirtualPatient
from firmware_bridge.virtual.playback import PlaybackPatient
from firmware_bridge.virtual.scenario_file import bundled_scenarios, load_scenario
from firmware_bridge.virtual.serial_link import serve
from firmware_bridge.virtual.source import Source

if TYPE_CHECKING:
    from firmware_bridge.virtual.ble.wearable import Wearable

DEFAULT_LINK = Path("/tmp/vitaledge-sensor")  # noqa: S108 - a link to a pty for one's own use; --serial names another
BLUETOOTH_KINDS = (
    "heart_rate_strap",
    "oximeter",
    "thermometer",
    "blood_pressure",
    "ecg_strap",
    "bridge",
    "scale",
    "glucose_meter",
    "all",
)
"""Those of `firmware_bridge.virtual.ble.kinds`, which cannot be asked without bumble."""
_PLAYBACK_BLOCK_SAMPLES = 1000
_HISTORY_S = 60.0
_N_BOOT_IDS = 1 << 31
"""Half of the 32 bits of the wire: scripted resets count on from the first."""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "simulate",
        help="virtual sensors: on a pty with a stable link, or over Bluetooth",
        description="Offers a virtual sensor that speaks firmware_bridge/PROTOCOL.md on a pseudo-terminal, or, with --ble "
        "or --bluez, virtual Bluetooth wearables of the kinds " + ", ".join(BLUETOOTH_KINDS) + ".",
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
    parser.add_argument("--ble", action="store_true", help="virtual Bluetooth wearables on --transport, or on --bluez")
    parser.add_argument(
        "--bluez",
        action="store_true",
        help="wearables behind an emulated BlueZ on a private D-Bus: no radio, no root; prints what clients need to export",
    )
    parser.add_argument(
        "--kind",
        metavar="KIND[,KIND...]",
        help="which wearables (default: heart_rate_strap; all is one with everything)",
    )
    parser.add_argument(
        "--transport",
        metavar="T",
        help="bumble transport: usb:0 is a dongle, tcp-server:_:9000 lets other bumble programs connect",
    )
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help="times real time (default 1)")
    add_noise_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve the sensor until the scenario ends or Ctrl-C."""
    if args.ble or args.bluez:
        return _run_bluetooth(args)
    for option in ("kind", "transport"):
        if getattr(args, option) is not None:
            raise option_error(f"--{option}", "is for Bluetooth wearables", hint="add --ble, or --bluez")
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
    return await serve(sensor, link, clock, _stop_on_signal())


def _stop_on_signal() -> asyncio.Event:
    """Return an event that Ctrl-C and a service manager set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def _run_bluetooth(args: argparse.Namespace) -> int:
    """Serve wearables until the scenario ends or Ctrl-C."""
    kinds = _asked_kinds(args)
    try:
        from firmware_bridge.virtual.ble import kinds as ble_kinds
        from firmware_bridge.virtual.ble import serving
    except ImportError as error:
        raise TransportError(
            f"virtual Bluetooth needs a package that is not installed: {error.name}",
            reason=TransportFault.MISSING,
            hint="pip install 'vitaledge[simulate]'",
        ) from error
    boot_id = secrets.randbelow(_N_BOOT_IDS)
    settings = [
        ble_kinds.WearableSettings(kind=ble_kinds.Kind(kind), serial=number, boot_id=boot_id)
        for number, kind in enumerate(kinds, start=1)
    ]
    scenario, clock = load_scenario(args.scenario), SystemClock(positive(args.speed, "--speed"))

    def ready(wearables: Sequence[Wearable], where: str) -> None:
        if args.json:
            about = [
                {"kind": str(each.settings.kind), "name": each.name, "address": each.address} for each in wearables
            ]
            key = "dbus_system_bus_address" if args.bluez else "transport"
            print(json.dumps({key: where, "wearables": about}), flush=True)
            return
        if args.bluez:
            print(f"DBUS_SYSTEM_BUS_ADDRESS={where}", flush=True)
            print("export the line above where the client runs; any BlueZ client then finds:", flush=True)
        else:
            print(f"on the air through {where}:", flush=True)
        for each in wearables:
            print(f"  {each.address}  {each.name}  ({each.settings.kind})", flush=True)
        print(f"{scenario.title}, {args.speed:g} × real time; Ctrl-C ends it", flush=True)

    async def run_all() -> list[Wearable]:
        stop = _stop_on_signal()
        if args.bluez:
            return await serving.serve_on_bus(settings, scenario, clock, stop, ready)
        return await serving.serve_on_transport(settings, scenario, clock, stop, ready, transport=args.transport)

    _report_bluetooth(asyncio.run(run_all()), as_json=args.json)
    return 0


def _asked_kinds(args: argparse.Namespace) -> list[str]:
    """Return the kinds that were asked for.

    Raises
    ------
    ConfigError
        If options do not go together, or there is no such kind.
    """
    if args.bluez and args.transport:
        raise option_error("--transport", "does not go with --bluez, which needs no radio", hint="give one of the two")
    if not args.bluez and not args.transport:
        raise option_error(
            "--ble",
            "a wearable needs a radio to be heard",
            hint="give --transport usb:0 for a Bluetooth dongle, or --bluez, which needs none",
        )
    for option, value in (("--record", args.record), ("--noise", args.noise)):
        if value:
            raise option_error(option, "is for the serial sensor", hint="leave --ble and --bluez out")
    kinds = [kind.strip() for kind in (args.kind or BLUETOOTH_KINDS[0]).split(",")]
    for kind in kinds:
        if kind not in BLUETOOTH_KINDS:
            raise option_error("--kind", f"expected some of {', '.join(BLUETOOTH_KINDS)}, got {kind!r}")
    return kinds


def _report_bluetooth(wearables: Sequence[Wearable], *, as_json: bool) -> None:
    """Tell what every wearable sent."""
    for each in wearables:
        told = {fate: each.sent.count(fate) for fate in each.sent.fates}
        if as_json:
            print(
                json.dumps({"name": each.name, "links": each.n_connections, "story_s": round(each.story_s, 3), **told})
            )
        else:
            counts = ", ".join(f"{n} {fate}" for fate, n in told.items())
            print(f"ended; {each.name}: {each.n_connections} links, values: {counts}")
