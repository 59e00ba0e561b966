"""``vitaledge record OUT``: the raw bytes of the configured sensors, byte-exact."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
from pathlib import Path
from random import Random

from edge.acquisition.recording import CapturingTransport, RawCaptureWriter
from edge.acquisition.sensor import Sensor
from edge.acquisition.transport import Transport
from edge.bluetooth import Bluetooth
from edge.cli.options import add_config_options, add_json_option, loaded_config
from edge.clock import SystemClock
from edge.config import Config
from edge.drivers import attached, link_words
from edge.errors import ConfigError, ConfigProblem
from edge.log import configure_logging


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("record", help="keep the raw bytes of the configured sensors, to be replayed")
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="folder for one SENSOR.vecap each; files are never overwritten"
    )
    add_config_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Record until SIGTERM or Ctrl-C."""
    config = loaded_config(args).config
    if not config.sensor:
        problem = ConfigProblem(source="configuration", line=None, key="sensor", message="no sensor to record")
        raise ConfigError([problem], hint="add a [[sensor]]; see vitaledge config init")
    configure_logging(level=config.log.level, as_json=config.log.format == "json", environ=os.environ)
    args.out.mkdir(parents=True, exist_ok=True)
    n_bytes = asyncio.run(record(config, args.out))
    if args.json:
        print(json.dumps({"bytes": n_bytes}))
    else:
        for sensor, count in n_bytes.items():
            print(f"{args.out / sensor}.vecap: {count} bytes")
    return 0


async def record(config: Config, folder: Path) -> dict[str, int]:
    """Capture every configured sensor and return the bytes received from each."""
    stop, clock = asyncio.Event(), SystemClock()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    links: dict[str, Sensor[object]] = {}
    bluetooth = Bluetooth(clock)
    writers: list[RawCaptureWriter] = []
    try:
        async with asyncio.TaskGroup() as tasks:
            jobs = []
            for section in config.sensor:
                writer = RawCaptureWriter(
                    folder / f"{section.id}.vecap",
                    sensor=section.id,
                    link=link_words(section),
                    clock=clock,
                    driver=section.driver,
                )
                writers.append(writer)

                def through(transport: Transport, writer: RawCaptureWriter = writer) -> CapturingTransport:
                    return CapturingTransport(transport, writer)

                links[section.id] = attached(section, clock, Random(), bluetooth, through=through).link
                jobs.append(tasks.create_task(links[section.id].run(lambda _: None), name=f"record-{section.id}"))
            await stop.wait()
            for job in jobs:
                job.cancel()
    finally:
        await bluetooth.close()
        for writer in writers:
            writer.close()
    return {sensor: link.counters.n_bytes for sensor, link in links.items()}
