"""The conformance report of a device: what it is, one verdict per rule, what was measured; as text, Markdown and JSON.

Made by `firmware_check`; pure.  A vendor attaches the Markdown to a pull request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from edge.firmware.firmware_clock import ClockLine
from edge.firmware.firmware_rules import Outcome, Verdict
from edge.firmware.firmware_streams import StreamSummary

_SIGNS = {Outcome.PASSED: "passed", Outcome.FAILED: "FAILED", Outcome.NOT_SHOWN: "not shown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """Everything the check found."""

    device_id: str
    model: str
    firmware: str
    protocol_version: int
    vitaledge_version: str
    link: str
    """Port and speed."""
    duration_s: float
    verdicts: tuple[Verdict, ...]
    streams: tuple[StreamSummary, ...]
    clock: ClockLine | None
    """None where the device's clock could not be measured."""
    n_bytes: int
    n_frames: int
    n_frames_by_type: Mapping[str, int]
    n_lost_frames: int
    n_dropped: Mapping[str, int]
    """Broken pieces of the stream by reason."""
    longest_frame_bytes: int
    n_restarts: int
    notes: tuple[str, ...]

    @property
    def has_passed(self) -> bool:
        """Whether no rule was seen broken, and the device said who it is."""
        return bool(self.n_frames) and not any(each.outcome is Outcome.FAILED for each in self.verdicts)

    def count(self, outcome: Outcome) -> int:
        """Return how many rules ended so."""
        return sum(each.outcome is outcome for each in self.verdicts)

    @property
    def summary(self) -> str:
        """The result in one line."""
        parts = [f"{self.count(outcome)} {outcome.value}" for outcome in Outcome]
        return f"{'passed' if self.has_passed else 'FAILED'}: of {len(self.verdicts)} rules {', '.join(parts)}"


def as_text(report: CheckReport) -> str:
    """Return the report for a terminal: one line per rule, then what was measured."""
    lines = [f"{name:10} {value}" for name, value in _device(report)]
    lines.append("")
    for verdict in report.verdicts:
        lines.append(f"R{verdict.rule:<3} {_SIGNS[verdict.outcome]:9}  {verdict.title}: {verdict.detail}")
        lines += [f"{'':16}{each.evidence}" for each in verdict.failures if each.evidence]
    lines.append("")
    lines += [f"{name:22} {value}" for name, value in _measured(report)]
    lines += ["", *(f"note: {note}" for note in report.notes), report.summary]
    return "\n".join(lines)


def as_markdown(report: CheckReport) -> str:
    """Return the report as a file to be attached to a pull request."""
    lines = [f"# Conformance of {report.model or 'an unnamed device'}, firmware {report.firmware or 'unnamed'}", ""]
    lines += [f"**{report.summary}**", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in _device(report)]
    lines += ["", "## Rules", "", "| rule | result | what it asks | what was seen |", "|---|---|---|---|"]
    lines += [
        f"| R{each.rule} | {_SIGNS[each.outcome]} | {_cell(each.title)} | {_cell(each.detail)} |"
        for each in report.verdicts
    ]
    broken = [(each.rule, failure) for each in report.verdicts for failure in each.failures if failure.evidence]
    if broken:
        lines += ["", "## Bytes of the first time each", ""]
        lines += [f"- R{rule}, {failure.what}: `{failure.evidence}`" for rule, failure in broken]
    lines += ["", "## Measured", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in _measured(report)]
    if report.notes:
        lines += ["", "## Notes", "", *(f"- {note}" for note in report.notes)]
    lines += ["", "The rules are those of `firmware_bridge/PROTOCOL.md`. *Not shown* is not *passed*.", ""]
    return "\n".join(lines)


def as_json(report: CheckReport) -> dict[str, object]:
    """Return the report as plain values."""
    return {**asdict(report), "has_passed": report.has_passed, "summary": report.summary}


def _device(report: CheckReport) -> list[tuple[str, str]]:
    return [
        ("device", report.device_id or "unknown"),
        ("model", report.model or "unknown"),
        ("firmware", report.firmware or "unknown"),
        ("protocol", f"version {report.protocol_version}"),
        ("VitalEdge", report.vitaledge_version),
        ("link", report.link),
        ("duration", f"{report.duration_s:.0f} s"),
    ]


def _measured(report: CheckReport) -> list[tuple[str, str]]:
    per_s = report.n_bytes / report.duration_s if report.duration_s else 0.0
    types = ", ".join(f"{count} {name}" for name, count in sorted(report.n_frames_by_type.items()))
    rows = [
        ("bytes", f"{report.n_bytes} ({per_s:.0f}/s)"),
        ("frames", f"{report.n_frames}: {types}" if types else f"{report.n_frames}"),
        ("longest frame", f"{report.longest_frame_bytes} bytes"),
        ("lost frames", f"{report.n_lost_frames}"),
        ("broken pieces", ", ".join(f"{n} {why}" for why, n in sorted(report.n_dropped.items())) or "0"),
        ("restarts", f"{report.n_restarts}"),
    ]
    for stream in report.streams:
        true = "unknown" if stream.true_rate_hz is None else f"{stream.true_rate_hz:.3f} Hz"
        taken = f"{stream.n_samples} samples in {stream.n_packets} packets"
        lost = f"{stream.n_lost_samples} lost ({stream.loss_pct:.2f} %), {stream.n_backfilled_samples} back-filled"
        name = f"stream {_printable(stream.name)}"
        rows.append((name, f"{taken}, {true} (nominal {stream.nominal_rate_hz:g}), {lost}"))
    if report.clock is not None:
        clock = report.clock
        rows.append(("clock drift", f"{clock.drift_ppm:+.0f} ppm (± {clock.uncertainty_ppm:.0f})"))
        rows.append(("clock jitter", f"{clock.jitter_ms:.2f} ms"))
        if clock.least_round_trip_ms is not None and clock.usual_round_trip_ms is not None:
            rows.append(
                (
                    "time request",
                    f"{clock.least_round_trip_ms:.2f} ms at best, {clock.usual_round_trip_ms:.2f} ms usually",
                )
            )
    return rows


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
