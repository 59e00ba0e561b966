"""``vitaledge firmware check PORT``: whether a board keeps to the protocol, one line for each rule."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edge.acquisition.serial_port import SerialPort, SerialPortSettings
from edge.acquisition.transport import Transport
from edge.cli.options import (
    EXIT_DONE,
    EXIT_FAILED,
    add_json_option,
    option_error,
    positive,
)
from edge.clock import Clock, SystemClock
from edge.errors import TransportError, TransportFault
from edge.firmware.firmware_check import FirmwareCheck, FirmwareCheckSettings
from edge.firmware.firmware_report import CheckReport, as_json, as_markdown, as_text

_PERIOD_S = 0.01
"""How often the check is asked what to write: a command byte by byte goes out at this pace."""
_DEFAULT_DURATION_S = FirmwareCheckSettings().duration_s


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("firmware", help="for those who write a sensor's firmware: does it keep to the protocol?")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser(
        "check",
        help="talk to a board and report on every rule of firmware_bridge/PROTOCOL.md",
        description=(
            "Talks to a board over a serial port and reports on every rule of firmware_bridge/PROTOCOL.md. "
            "It stops and starts streams, changes a rate and back, and sends garbage: not for a board on a patient. "
            "Exit code 0: no rule was broken; 1: some were; 3: the port cannot be used."
        ),
    )
    check.add_argument("port", metavar="PORT", help="serial port, such as /dev/ttyACM0")
    check.add_argument("--baud", type=int, default=115_200, metavar="N", help="default 115200")
    check.add_argument(
        "--duration",
        type=float,
        default=_DEFAULT_DURATION_S,
        metavar="S",
        help=f"seconds to listen in all (default {_DEFAULT_DURATION_S:g}); the questions alone take up to 30",
    )
    check.add_argument("--report", type=Path, metavar="FILE.md", help="also write the report as Markdown")
    add_json_option(check)
    check.set_defaults(run=run_check)


def run_check(args: argparse.Namespace) -> int:
    """Check the board and print what was found."""
    positive(args.duration, "--duration")
    positive(args.baud, "--baud")
    if args.report is not None and not args.report.parent.is_dir():
        raise option_error("--report", f"there is no folder {args.report.parent}")
    clock = SystemClock()
    transport = SerialPort(SerialPortSettings(port=args.port, baud=args.baud), clock)
    print(f"vitaledge: checking {transport.describe()} for {args.duration:g} s", file=sys.stderr)
    report = asyncio.run(check(transport, clock, FirmwareCheckSettings(duration_s=args.duration)))
    if args.report is not None:
        args.report.write_text(as_markdown(report))
    print(json.dumps(as_json(report), ensure_ascii=False) if args.json else as_text(report))
    if not report.n_bytes and not report.has_passed:
        print("vitaledge: nothing came from the port: is it the right one, at the right speed?", file=sys.stderr)
    return EXIT_DONE if report.has_passed else EXIT_FAILED


async def check(transport: Transport, clock: Clock, settings: FirmwareCheckSettings) -> CheckReport:
    """Return what was found of the board behind `transport`.

    Raises
    ------
    TransportError
        If it cannot be opened.
    """
    firmware_check = FirmwareCheck(settings)
    await transport.open()
    try:
        async with asyncio.TaskGroup() as tasks:
            hearing = tasks.create_task(_hear(transport, firmware_check), name="firmware-check-hear")
            await _ask(transport, clock, firmware_check)
            hearing.cancel()
    finally:
        await transport.close()
    return firmware_check.report(link=transport.describe(), vitaledge_version=_version())


async def _hear(transport: Transport, firmware_check: FirmwareCheck) -> None:
    n_dropped_bytes = 0
    try:
        async for chunk in transport.chunks():
            if transport.n_dropped_bytes > n_dropped_bytes:
                firmware_check.lose(transport.n_dropped_bytes - n_dropped_bytes)
                n_dropped_bytes = transport.n_dropped_bytes
            firmware_check.push(chunk)
    except TransportError as error:
        firmware_check.hang_up(str(error))


async def _ask(transport: Transport, clock: Clock, firmware_check: FirmwareCheck) -> None:
    try:
        while not firmware_check.is_done:
            for line in firmware_check.advance(clock.monotonic_ns()):
                try:
                    await transport.write(line)
                except TransportError as error:
                    if error.reason is not TransportFault.TIMEOUT:
                        raise
                    # A device that takes no bytes gives no answer either, and that is judged.
            await clock.sleep(_PERIOD_S)
    except TransportError as error:
        firmware_check.hang_up(str(error))


def _version() -> str:
    try:
        return version("vitaledge")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+source"
