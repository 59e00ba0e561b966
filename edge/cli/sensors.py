"""``vitaledge sensors``: what each link of the running service is doing."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from edge.cli.options import EXIT_DONE, EXIT_ENVIRONMENT, add_config_options, add_json_option, loaded_config
from edge.cli.tables import aligned, duration_words
from edge.clock import SystemClock
from edge.links_file import LinksFault, LinksFile, LinksFileError, LinkView, StreamView, links_path, read_links
from edge.messages import LinkState

_HEAD = ("sensor", "driver", "state", "for", "data", "lost", "corrupt", "connects", "failures", "silences", "battery")


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "sensors",
        help="what each link of the running service is doing",
        description="State, age of the data, losses and remedies of every sensor, from the file that the running "
        "service keeps beside its outbox.  Exit code 3 if no service runs with this configuration.",
    )
    add_config_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Tell what the links are doing; a service that does not run makes the exit code 3."""
    path = links_path(Path(loaded_config(args).config.outbox.path))
    wall_ns = SystemClock().wall_ns()
    try:
        file = read_links(path)
    except LinksFileError as error:
        return _tell_nothing(error, as_json=args.json)
    is_current = file.is_current(wall_ns)
    if args.json:
        print(json.dumps(_as_json(file, wall_ns, path)))
    else:
        print(_heading(file, wall_ns, path))
        _print_links(file)
    if is_current:
        return EXIT_DONE
    print(f"vitaledge: {_not_running(file.age_s(wall_ns))}", file=sys.stderr)
    print("  what to do: start it with: vitaledge run", file=sys.stderr)
    return EXIT_ENVIRONMENT


def _tell_nothing(error: LinksFileError, *, as_json: bool) -> int:
    """Say that nothing is known of any link, and what that means."""
    words = f"nothing is known of the links: {error}"
    print(f"vitaledge: {words}", file=sys.stderr)
    if error.hint:
        print(f"  what to do: {error.hint}", file=sys.stderr)
    if as_json:
        running = False if error.reason is LinksFault.MISSING else None
        body: dict[str, object] = {
            "running": running,
            "reason": error.reason.value,
            "error": words,
            "hint": error.hint,
            "sensors": [],
        }
        print(json.dumps(body))
    return EXIT_ENVIRONMENT


def _not_running(age_s: float) -> str:
    if age_s < 0:
        return (
            f"the service is not running: its file is {duration_words(-age_s)} ahead of the clock, which was set back"
        )
    return f"the service is not running: it last wrote {duration_words(age_s)} ago"


def _as_json(file: LinksFile, wall_ns: int, path: Path) -> dict[str, object]:
    return {
        "running": file.is_current(wall_ns),
        "age_s": round(file.age_s(wall_ns), 3),
        "file": str(path),
        "sensors": [asdict(link) for link in file.links],
    }


def _heading(file: LinksFile, wall_ns: int, path: Path) -> str:
    age_s = file.age_s(wall_ns)
    written = f"{path}, written {duration_words(age_s)} ago" if age_s >= 0 else str(path)
    return written if file.is_current(wall_ns) else f"{written}; THE SERVICE IS NOT RUNNING, this is how things were:"


def _print_links(file: LinksFile) -> None:
    if not file.links:
        print("no sensor is configured: see vitaledge scan")
        return
    lines = aligned([_HEAD, *(_row(link) for link in file.links)])
    print(lines[0])
    for line, link in zip(lines[1:], file.links, strict=True):
        print(line)
        for detail in _details(link):
            print(f"    {detail}")


def _row(link: LinkView) -> tuple[str, ...]:
    return (
        link.id,
        link.driver,
        f"{link.state}, late" if link.is_late and link.state == LinkState.CONNECTED else link.state,
        duration_words(link.in_state_s),
        "none yet" if link.data_age_s is None else f"{duration_words(link.data_age_s)} old",
        str(link.n_lost_samples),
        str(sum(link.n_corrupt.values())),
        str(link.n_connects),
        str(link.n_failures),
        str(link.n_silences),
        "-" if link.battery_pct is None else f"{link.battery_pct:.0f} %",
    )


def _details(link: LinkView) -> list[str]:
    """Return what stands below the row: the reason where something is wrong, and what only some links have."""
    says_link = link.link in link.reason  # as "connected" does
    lines = [each for each in ("" if says_link else link.link, link.reason) if each]
    if link.n_remedies:
        lines.append("tried: " + ", ".join(f"{name} {n} ×" for name, n in sorted(link.n_remedies.items())))
    if link.n_corrupt:
        lines.append("dropped: " + ", ".join(f"{reason} {n} ×" for reason, n in sorted(link.n_corrupt.items())))
    if link.n_dropped_bytes:
        lines.append(f"{link.n_dropped_bytes} bytes were not read in time by this machine")
    return lines + [_stream_words(stream) for stream in link.streams]


def _stream_words(stream: StreamView) -> str:
    if stream.true_rate_hz is None:
        return f"{stream.name}: {stream.nominal_rate_hz:g} Hz, not measured yet"
    drift = ""
    if stream.drift_ppm is not None:
        drift = f", its clock {abs(stream.drift_ppm):.0f} ppm {'slow' if stream.drift_ppm > 0 else 'fast'}"
    return f"{stream.name}: {stream.true_rate_hz:.3f} Hz measured, {stream.nominal_rate_hz:g} Hz nominal{drift}"
