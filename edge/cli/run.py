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
from edge.cli.bed_screen import Show, run_with_screen
from edge.cli.config import run_show
from edge.cli.options import add_config_options, add_json_option, loaded_config
from edge.clock import SystemClock
from edge.config import Config, LoadedConfig
from edge.delivery import Delivery
from edge.drivers import link_words
from edge.errors import ConfigError, ConfigProblem
from edge.log import configure_logging
from edge.publishing.broker import SPOOL_ONLY, start_broker


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("run", help="the service: sensors in, alerts and summaries out")
    parser.add_argument(
        "--check", action="store_true", help="print the effective configuration, its hash and every error"
    )
    parser.add_argument(
        "--screen",
        action="store_true",
        help="show the first bed on this terminal; the log goes to run.log beside the outbox",
    )
    add_config_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    if args.check:
        return run_show(args)
    loaded = loaded_config(args)
    if args.screen:
        run_on_screen(loaded)
        return 0
    configure_logging(level=loaded.config.log.level, as_json=loaded.config.log.format == "json", environ=os.environ)
    for line in opening_lines(loaded):
        print(f"vitaledge: {line}", file=sys.stderr)
    asyncio.run(serve(loaded.config))
    if args.json:
        print(json.dumps({"stopped": True}))
    return 0


def run_on_screen(loaded: LoadedConfig) -> None:
    """Serve with the first bed on the terminal, and the log in a file.

    Raises
    ------
    ConfigError
        If there is no bed to be shown, no terminal, or the extra that draws is not installed.
    """
    config = loaded.config
    if not config.sensor or not sys.stdout.isatty():
        missing = "a sensor in the configuration" if not config.sensor else "a terminal"
        raise _no_screen(f"--screen needs {missing}")
    try:
        from edge.viewing.terminal import TerminalView
    except ImportError as error:
        raise _no_screen("--screen needs the extra terminal: pip install 'vitaledge[terminal]'") from error
    path = Path(config.outbox.path).parent / "run.log"
    try:
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise _no_screen(f"the log {path} cannot be written: {error.strerror}") from error
    with file, TerminalView() as view:
        configure_logging(level=config.log.level, as_json=config.log.format == "json", environ={}, stream=file)
        asyncio.run(serve(config, view.show))


def _no_screen(message: str) -> ConfigError:
    return ConfigError([ConfigProblem(source="command line", line=None, key="--screen", message=message)])


async def serve(config: Config, show: Show | None = None) -> None:
    """Run the service until the process is told to stop, with a screen if `show` draws one."""
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
            if show is None:
                print(f"vitaledge: {words}", file=sys.stderr)
        elif config.mqtt.embedded:
            print(f"vitaledge: {SPOOL_ONLY}", file=sys.stderr)
        delivery = Delivery(config, clock, mqtt=mqtt, broker=words)
        runtime = Runtime(config, clock, delivery)
        await (runtime.run(stop) if show is None else run_with_screen(runtime, delivery, clock, stop, show))
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
