"""The report of `verify` as Markdown, for a person who decides whether a model may be shipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from converter.verify import BackendReport, FloatReport, VerifyReport


def report_text(report: VerifyReport) -> str:
    """Return the report: the verdict first, then what it rests on."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: VerifyReport) -> Iterator[str]:
    yield f"## {report.model} ({report.n_bytes:,} bytes, sha256 {report.sha256[:12]})"
    yield ""
    yield "**may be shipped: no limit is broken**" if report.passed else "**may not be shipped**"
    yield ""
    yield from (f"- broken: {each}" for each in report.failures)
    yield from (f"- not judged: {each}" for each in report.not_judged)
    unusable = f"; {report.n_unusable} could not be shown to the model" if report.n_unusable else ""
    yield f"- {report.n_examples} examples{unusable}"
    yield ""
    if report.floating is not None:
        yield from _float_lines(report.floating)
    yield "| runtime | version | same decision | same bytes | largest difference | p50 µs | p99 µs | arena |"
    yield "|---|---|---|---|---|---|---|---|"
    for each in report.backends:
        yield "| " + " | ".join(_cells(each)) + " |"
    yield ""
    yield "Operators: " + ", ".join(f"{name} × {count}" for name, count in sorted(report.operators.items()))


def _float_lines(report: FloatReport) -> Iterator[str]:
    yield f"int8 decides as float in {report.agreement:.2%} of the examples."
    worst = report.worst
    label = "" if worst.label is None else f", truly {worst.label}"
    yield (
        f"Farthest apart: example {worst.index} of {worst.group}{label}, by {worst.difference:.3g} "
        f"(float {_numbers(worst.float_logits)}, int8 {_numbers(worst.int8_logits)})."
    )
    yield ""
    if not report.scores_float:
        return
    yield "| | float | int8 | change, points |"
    yield "|---|---|---|---|"
    for name, before in report.scores_float.items():
        if name.startswith(("macro_f1", "f1_", "accuracy")):
            yield _row(name, before, report.scores_int8)
    if report.calibration_error_float is not None and report.calibration_error_int8 is not None:
        name = "calibration error"
        yield _row(name, report.calibration_error_float, {name: report.calibration_error_int8})
    yield ""


def _row(name: str, before: float, after: Mapping[str, float]) -> str:
    return f"| {name.replace('_', ' ')} | {before:.4f} | {after[name]:.4f} | {100 * (after[name] - before):+.2f} |"


def _cells(each: BackendReport) -> list[str]:
    if each.skipped is not None:
        return [each.backend, f"not run: {each.skipped}", *["–"] * 6]
    return [
        each.backend,
        each.version,
        "–" if each.agreement is None else f"{each.agreement:.2%}",
        "–" if each.exact is None else f"{each.exact:.1%}",
        "–" if each.largest_lsb is None else f"{each.largest_lsb} LSB",
        f"{each.p50_us:.1f}",
        f"{each.p99_us:.1f}",
        "–" if each.arena_bytes is None else f"{each.arena_bytes / 1024:.1f} KiB",
    ]


def _numbers(values: tuple[float, ...]) -> str:
    return "/".join(f"{value:.2f}" for value in values)
