"""``vitaledge scan``: which sensors are in reach, over serial ports and over Bluetooth."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from edge.acquisition.recognition import KINDS
from edge.acquisition.serial_ports import parse_usb
from edge.acquisition.udev import BY_SOCKET
from edge.cli.options import EXIT_DONE, EXIT_ENVIRONMENT, add_json_option, option_error, positive
from edge.cli.scan_ble import BleFind, BleScan, scan_bluetooth
from edge.cli.scan_serial import PortFind, PortState, ProbeSettings, scan_ports
from edge.cli.tables import aligned
from edge.clock import Clock, SystemClock
from edge.errors import TransportError

_DEFAULT_S = 6.0
"""Most wearables advertise every second or oftener; a board that resets on opening speaks after two."""

_UNUSABLE = {PortState.IN_USE, PortState.NOT_PERMITTED, PortState.FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What was found; a half that was not asked for is None, one that could not be done is an error."""

    serial: Sequence[PortFind] | TransportError | None
    bluetooth: BleScan | TransportError | None


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "scan",
        help="which sensors are in reach, with the lines to put into the configuration",
        description="Lists serial ports and Bluetooth sensors in reach and says which driver reads them.  Ports are "
        "listened to, and nothing is written to what is not known, unless --ask; a port that another process uses is left "
        "alone.  "
        "Opening a port resets some boards, as it does for every program.",
    )
    parser.add_argument("--serial", action="store_true", help="serial ports (default: both)")
    parser.add_argument("--ble", action="store_true", help="Bluetooth sensors (default: both)")
    parser.add_argument(
        "--port", metavar="PORT", help="this port only: a path, a link or usb:VID:PID[:SERIAL]; implies --serial"
    )
    parser.add_argument("--list", action="store_true", help="list the ports without opening any; implies --serial")
    parser.add_argument("--baud", type=int, metavar="N", help="also look for our own firmware at this speed")
    parser.add_argument(
        "--ask", action="store_true", help="write a question to ports that say nothing; some devices need it"
    )
    parser.add_argument(
        "--duration",
        type=float,
        default=_DEFAULT_S,
        metavar="S",
        help=f"seconds to listen for Bluetooth sensors, and for the first byte of a port (default {_DEFAULT_S:g})",
    )
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Scan, print, and return 3 only if nothing of what was asked for could be done."""
    duration_s = positive(args.duration, "--duration")
    if args.baud is not None and args.baud <= 0:
        raise option_error("--baud", f"expected a number above 0, got {args.baud}")
    if args.port is not None:
        _check_port(args.port)
    says_serial = args.serial or args.list or args.port is not None
    wants_serial, wants_ble = says_serial or not args.ble, args.ble or not says_serial
    probe = ProbeSettings(opens=not args.list, patience_s=duration_s, asks=args.ask, extra_baud=args.baud)
    is_long = wants_ble or probe.opens
    if is_long and not args.json and sys.stderr.isatty():
        print(f"listening for {duration_s:g} s and longer where something speaks …", file=sys.stderr)
    found = asyncio.run(
        scan(
            SystemClock(),
            probe if wants_serial else None,
            duration_s if wants_ble else None,
            port=args.port,
        )
    )
    if args.json:
        print(json.dumps(as_json(found)))
    else:
        for line in as_text(found):
            print(line)
    for half, error in failures(found).items():
        print(f"vitaledge: {half}: {error}", file=sys.stderr)
        if error.hint:
            print(f"  what to do: {error.hint}", file=sys.stderr)
    return exit_code(found, port=args.port)


def _check_port(port: str) -> None:
    try:
        parse_usb(port)
    except ValueError as error:
        raise option_error("--port", str(error)) from error


async def scan(
    clock: Clock, probe: ProbeSettings | None, bluetooth_s: float | None, *, port: str | None = None
) -> Scan:
    """Return what is in reach; both halves at the same time, and neither hides the other.

    Parameters
    ----------
    clock : Clock
        All waiting.
    probe : ProbeSettings or None
        How ports are listened to; None for no serial half.
    bluetooth_s : float or None
        Seconds to listen for advertisements; None for no Bluetooth half.
    port : str, optional
        The only port to look at.
    """

    async def serial() -> Sequence[PortFind] | TransportError | None:
        try:
            return None if probe is None else await scan_ports(probe, clock, only=port)
        except TransportError as error:
            return error

    async def bluetooth() -> BleScan | TransportError | None:
        try:
            return None if bluetooth_s is None else await scan_bluetooth(clock, bluetooth_s)
        except TransportError as error:
            return error

    async with asyncio.TaskGroup() as tasks:
        ports = tasks.create_task(serial(), name="scan-serial")
        radio = tasks.create_task(bluetooth(), name="scan-bluetooth")
    return Scan(serial=ports.result(), bluetooth=radio.result())


def failures(found: Scan) -> dict[str, TransportError]:
    """Return what could not be done, by what it was."""
    halves = {"serial": found.serial, "Bluetooth": found.bluetooth}
    return {name: half for name, half in halves.items() if isinstance(half, TransportError)}


def exit_code(found: Scan, *, port: str | None = None) -> int:
    """Return 3 if every half that was asked for failed, or the one `port` that was named cannot be used; else 0."""
    asked = [half for half in (found.serial, found.bluetooth) if half is not None]
    if len(failures(found)) == len(asked):
        return EXIT_ENVIRONMENT
    if port is not None and isinstance(found.serial, Sequence):
        return EXIT_ENVIRONMENT if any(find.state in _UNUSABLE for find in found.serial) else EXIT_DONE
    return EXIT_DONE


# --- for people -------------------------------------------------------------------------------------------


def as_text(found: Scan) -> list[str]:
    """Return the lines for a person: what is there, and the configuration of what is of use."""
    lines: list[str] = []
    if isinstance(found.serial, Sequence):
        lines += _serial_lines(found.serial)
    if isinstance(found.bluetooth, BleScan):
        lines += ["", *_bluetooth_lines(found.bluetooth)] if lines else _bluetooth_lines(found.bluetooth)
    blocks = sections(found)
    if blocks:
        lines += ["", "for the configuration:", "", *"\n\n".join(blocks).split("\n")]
    return lines


def _serial_lines(finds: Sequence[PortFind]) -> list[str]:
    if not finds:
        return ["serial: no ports", "    is the adapter plugged in?  what the kernel says of it: sudo dmesg | tail"]
    head = ("serial port", "device", "adapter", "state")
    rows = [head, *((find.port.path, _device_words(find), find.port.words, find.state.value) for find in finds)]
    lines = aligned(rows)
    out = [lines[0]]
    for line, find in zip(lines[1:], finds, strict=True):
        out.append(line)
        details = [_name_words(find.name)] if find.name != find.port.path else []
        details += [find.detail] if find.state is not PortState.FOUND and find.detail else []
        details += [find.hint] if find.hint else []
        out += [f"    {detail}" for detail in details]
    return out


def _name_words(name: str) -> str:
    return f"name in this socket: {name}" if BY_SOCKET in name else f"name that stays: {name}"


def _device_words(find: PortFind) -> str:
    return "-" if find.device is None else find.device.words


def _bluetooth_lines(found: BleScan) -> list[str]:
    others = f"{found.n_others} other peripheral{'' if found.n_others == 1 else 's'} in reach that no driver reads"
    if not found.finds:
        return ["Bluetooth: no sensor in reach", f"    {others}", "    is it worn, switched on, and not on a phone?"]
    head = ("Bluetooth", "address", "signal", "offers", "driver")
    lines = aligned([head, *(_bluetooth_row(find) for find in found.finds)])
    return [*lines, f"    {others}"] if found.n_others else lines


def _bluetooth_row(find: BleFind) -> tuple[str, ...]:
    return (
        find.name or "(no name)",
        find.address,
        "-" if find.rssi_dbm is None else f"{find.rssi_dbm} dBm",
        ", ".join(find.services) or "-",
        " or ".join(find.drivers),
    )


def sections(found: Scan) -> list[str]:
    """Return a ``[[sensor]]`` section for every sensor that a driver reads, each with a name of its own."""
    named: Counter[str] = Counter()
    blocks = []
    for find in found.serial if isinstance(found.serial, Sequence) else ():
        if find.device is not None:
            usual = KINDS[find.device.driver].line
            baud = [] if find.device.line.baud == usual.baud else [f"baud = {find.device.line.baud}"]
            blocks.append(_section(find.device.driver, named, [f"port = {_quoted(find.name)}", *baud]))
    for heard in found.bluetooth.finds if isinstance(found.bluetooth, BleScan) else ():
        bond = ["bond = true"] if heard.needs_bond else []
        blocks.append(_section(heard.drivers[0], named, [f"address = {_quoted(heard.address)}", *bond]))
    return blocks


def _section(driver: str, named: Counter[str], rest: list[str]) -> str:
    name = driver.removeprefix("ble_").removesuffix("_serial").removesuffix("_ble").replace("_", "-")
    named[name] += 1
    sensor = name if named[name] == 1 else f"{name}-{named[name]}"
    return "\n".join(["[[sensor]]", f'id = "{sensor}"', f'driver = "{driver}"', *rest])


def _quoted(text: str) -> str:
    """Return `text` as a TOML string; a basic string of TOML is written like one of JSON."""
    return json.dumps(text, ensure_ascii=False)


# --- for scripts ------------------------------------------------------------------------------------------


def as_json(found: Scan) -> dict[str, object]:
    """Return everything as JSON values; a half that was not asked for is null."""
    return {
        "serial": _serial_json(found.serial),
        "bluetooth": _bluetooth_json(found.bluetooth),
        "toml": sections(found),
    }


def _serial_json(half: Sequence[PortFind] | TransportError | None) -> dict[str, object] | None:
    if half is None or isinstance(half, TransportError):
        return None if half is None else _error_json(half) | {"ports": []}
    return {"error": None, "ports": [_port_json(find) for find in half]}


def _bluetooth_json(half: BleScan | TransportError | None) -> dict[str, object] | None:
    if half is None or isinstance(half, TransportError):
        return None if half is None else _error_json(half) | {"sensors": [], "others": None}
    return {"error": None, "sensors": [asdict(find) for find in half.finds], "others": half.n_others}


def _error_json(error: TransportError) -> dict[str, object]:
    return {"error": str(error), "reason": error.reason.value, "hint": error.hint}


def _port_json(find: PortFind) -> dict[str, object]:
    port, device = find.port, find.device
    return {
        "path": port.path,
        "name": find.name,
        "links": list(port.links),
        "usb": None if port.usb is None else str(port.usb),
        "manufacturer": port.manufacturer,
        "product": port.product,
        "group": port.group,
        "permitted": port.is_permitted,
        "holders": list(port.holders),
        "state": find.state.value,
        "detail": find.detail,
        "hint": find.hint,
        "bytes": find.n_bytes,
        "device": None
        if device is None
        else {
            "driver": device.driver,
            "words": device.words,
            "share": round(device.share, 3),
            "line": device.line.name,
        },
    }
