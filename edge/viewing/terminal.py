"""The live bed in a terminal (the only file that imports rich)."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edge.messages import AlertState, LinkState, Measurement, Priority
from edge.viewing.bed import RHYTHM_NAMES, BedState, braille_trace, open_alert_words
from edge.viewing.gateway import GatewayView

DISCLAIMER = "Research and engineering software. Not a medical device."

_PRIORITY_STYLE = {
    Priority.HIGH: "bold white on red",
    Priority.MEDIUM: "black on yellow",
    Priority.LOW: "black on cyan",
}
_STARS = {Priority.HIGH: "***", Priority.MEDIUM: "** ", Priority.LOW: "*  "}
_LINK_STYLE = {
    LinkState.CONNECTED: "green",
    LinkState.CONNECTING: "yellow",
    LinkState.SILENT: "yellow",
    LinkState.LOST: "red",
    LinkState.STOPPED: "dim",
}
_LABELS = {
    "heart_rate_bpm": ("HR", "/min", "bright_green"),
    "spo2_pct": ("SpO2", "%", "bright_cyan"),
    "pulse_rate_bpm": ("Pulse", "/min", "cyan"),
    "respiratory_rate_bpm": ("Resp", "/min", "bright_yellow"),
    "body_temperature_c": ("Temp", "°C", "bright_magenta"),
    "systolic_mmhg": ("NIBP sys", "mmHg", "white"),
    "diastolic_mmhg": ("NIBP dia", "mmHg", "white"),
    "rmssd_ms": ("RMSSD", "ms", "dim green"),
    "sdnn_ms": ("SDNN", "ms", "dim green"),
}


def clock_text(at_s: float) -> str:
    """Return seconds as ``m:ss``."""
    return f"{int(at_s) // 60}:{int(at_s) % 60:02d}"


class TerminalView:
    """Draws one bed until it is closed; used as a context manager.

    Parameters
    ----------
    console : Console or None
        Where to draw; the terminal by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._live = Live(console=self._console, refresh_per_second=8, screen=self._console.is_terminal)

    def __enter__(self) -> Self:
        """Take over the terminal."""
        self._live.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the terminal back."""
        self._live.stop()

    def show(self, bed: BedState, gateway: GatewayView) -> None:
        """Draw the latest state."""
        self._live.update(render(bed, gateway, self._console.width))


def render(bed: BedState, gateway: GatewayView, width: int = 100) -> RenderableType:
    """Return the whole screen."""
    layout = Layout()
    layout.split_column(
        Layout(_header(bed, gateway), size=3),
        Layout(name="middle", size=13),
        Layout(_alerts(bed, gateway), name="alerts", minimum_size=9),
        Layout(_footer(bed, gateway), size=6),
    )
    layout["middle"].split_row(Layout(_vitals(bed), size=36), Layout(_trace(bed, width - 40)))
    return layout


def _header(bed: BedState, gateway: GatewayView) -> Panel:
    line = Text()
    line.append(f" {gateway.title} ", style="bold reverse")
    line.append(f"  person {bed.subject}   {clock_text(gateway.clock_s)}   ")
    if gateway.phase:
        line.append(f"scenario: {gateway.phase}", style="italic")
        line.append(f"  {gateway.phase_detail}", style="dim")
    return Panel(line, subtitle=DISCLAIMER, box=box.HORIZONTALS)


def _vitals(bed: BedState) -> Panel:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(justify="left")
    table.add_column(justify="right")
    table.add_column(justify="left")
    measurements = bed.vitals.measurements if bed.vitals else {}
    for measure, (label, unit, colour) in _LABELS.items():
        if measure in measurements:
            table.add_row(label, _value(measurements[measure], colour), Text(unit, style="dim"))
    rhythm = RHYTHM_NAMES.get(bed.rhythm, bed.rhythm) if bed.rhythm else "learning"
    table.add_row("Rhythm", Text(rhythm, style="bold"), "")
    return Panel(table, title="Vital signs", box=box.ROUNDED)


def _value(measurement: Measurement, colour: str) -> Text:
    if measurement.value is None:
        return Text(f"-- {measurement.absent}", style="dim")
    digits = 1 if measurement.unit == "Cel" else 0
    return Text(f"{measurement.value:.{digits}f}", style=f"bold {colour}")


def _trace(bed: BedState, width: int) -> Panel:
    lines = braille_trace(bed.trace(), max(10, width - 4), 8)
    quality = bed.quality
    if quality is None:
        words = Text("no signal", style="dim")
    else:
        words = Text(f"quality {quality.index:.2f} ", style="green" if quality.is_usable else "bold red")
        words.append(", ".join(quality.reasons) or "clean", style="dim")
    coverage = f"   coverage of the last minute {bed.vitals.coverage_pct:.0f} %" if bed.vitals else ""
    body = Group(Text("\n".join(lines), style="green", no_wrap=True), words.append(coverage))
    return Panel(body, title="ECG, last 6 s", box=box.ROUNDED)


def _alerts(bed: BedState, gateway: GatewayView) -> Panel:
    table = Table.grid(padding=(0, 1))
    now_s = gateway.clock_s
    for alert in bed.open_alerts()[:5]:
        words = f"{_STARS[alert.priority]} {alert.sentence}"
        state = "" if alert.state is AlertState.RAISED else f" [{alert.state.value.replace('_', ' ')}]"
        table.add_row(Text(words + state, style=_PRIORITY_STYLE[alert.priority]))
    table.add_row("")
    for line in list(bed.history)[-6:]:
        at = clock_text(line.at_ns / 1e9 - (bed.now_ns / 1e9 - now_s))
        table.add_row(Text(f"{at:>6} {line.state.value:<24} {line.sentence}", style="dim", no_wrap=True))
    return Panel(table, title=f"Alerts open: {open_alert_words(bed.open_alerts())}", box=box.ROUNDED)


def _footer(bed: BedState, gateway: GatewayView) -> Panel:
    links = Text("Links   ")
    for name, link in bed.links.items():
        links.append(f"{name} {link.state.value}", style=_LINK_STYLE[link.state])
        links.append(f" {link.reason}   ", style="dim")
    waiting = " ".join(f"{lane} {n}" for lane, n in gateway.n_waiting.items())
    outbox = Text(f"Outbox  waiting {waiting or '0'}   confirmed {gateway.n_sent}")
    if gateway.n_heard is not None:
        outbox.append(f"   heard by the subscriber {gateway.n_heard}")
    broker = Text("Broker  ")
    broker.append(gateway.broker, style="green" if gateway.is_connected else "red")
    losses = Text(
        f"Wire    corrupt {gateway.n_corrupt}   samples lost {gateway.n_lost_samples}   model {gateway.model}",
        style="dim",
    )
    return Panel(Group(links, outbox, broker, losses), box=box.ROUNDED)
