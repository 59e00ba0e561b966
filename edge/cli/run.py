"""``vitaledge run``: the service, and ``--check`` for its configuration."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from edge.app import Runtime
from edge.assembly import broker_words, mqtt_settings
from edge.cli.config import run_show
from edge.cli.options import add_config_options, add_json_option, loaded_config
from edge.clock import SystemClock
from edge.config import Config, LoadedConfig
from edge.delivery import Delivery
from edge.drivers import link_words
from edge.log import configure_logging
from edge.publishing.broker import SPOOL_ONLY, start_broker


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("run", help="the service: sensors in, alerts and summaries out")
    parser.add_argument(
        "--check", action="store_true", help="print the effective configuration, its hash and every error"
    )
    add_config_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    if args.check:
        return run_show(args)
    loaded = loaded_config(args)
    configure_logging(level=loaded.config.log.level, as_json=loaded.config.log.format == "json", environ=os.environ)
    for line in opening_lines(loaded):
        print(f"vitaledge: {line}", file=sys.stderr)
    asyncio.run(serve(loaded.config))
    if args.json:
        print(json.dumps({"stopped": True}))
    return 0


async def serve(config: Config) -> None:
    """Run the service until the process is told to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    clock = SystemClock()
    broker = await start_broker(Path(config.outbox.path).parent / "broker") if config.mqtt.embedded else None
    try:
        mqtt, words = mqtt_settings(config, os.environ), broker_words(config)
        if broker is not None:
            mqtt = broker.settings(f"vitaledge-{config.gateway.id}")
            words = f"{broker.name} on {broker.host}:{broker.port}, started by this service"
            print(f"vitaledge: {words}", file=sys.stderr)
        elif config.mqtt.embedded:
            print(f"vitaledge: {SPOOL_ONLY}", file=sys.stderr)
        await Runtime(config, clock, Delivery(config, clock, mqtt=mqtt, broker=words)).run(stop)
    finally:
        if broker is not None:
            await broker.stop()


def opening_lines(loaded: LoadedConfig) -> list[str]:
    """Return what a person should know before the first sample."""
    config = loaded.config
    lines = ["research and engineering software, not a medical device", f"broker: {broker_words(config)}"]
    if not config.sensor:
        lines.append("no sensor is configured: nothing will be measured; see vitaledge config init")
    for sensor in config.sensor:
        subject = config.subject_of(sensor.id)
        whose = f"person {subject}" if subject else "nobody: its data is published without a subject"
        lines.append(f"sensor {sensor.id} on {link_words(sensor)} belongs to {whose}")
    return lines + [f"warning: {problem}" for problem in loaded.warnings]
