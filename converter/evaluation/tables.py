"""A report for people (Markdown) and for programs (JSON, CSV)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from converter.evaluation.beats import BEAT_CLASSES
from converter.evaluation.bootstrap import LEVEL_PCT, Interval
from converter.evaluation.report import Report, Section, columns_of, coverage
from converter.evaluation.rhythms import RHYTHM_CLASSES
from edge.messages import Json

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "qrs_se_pct": "QRS Se",
        "qrs_p_pct": "QRS +P",
        "veb_se_pct": "VEB Se",
        "veb_p_pct": "VEB +P",
        "veb_fpr_pct": "VEB FPR",
        "sveb_se_pct": "SVEB Se",
        "sveb_p_pct": "SVEB +P",
        "f_se_pct": "F Se",
        "accuracy_pct": "accuracy",
        "challenge_score": "challenge score",
        "f1_normal": "F1 normal",
        "f1_af": "F1 AF",
        "f1_other": "F1 other",
        "f1_noise": "F1 noise",
        "af_se_pct": "AF Se",
        "af_sp_pct": "AF Sp",
        "af_p_pct": "AF +P",
        "answered_pct": "answered",
        "accuracy_answered_pct": "right of those answered",
        "af_episode_se_pct": "episode Se",
        "af_episode_p_pct": "episode +P",
        "af_duration_se_pct": "duration Se",
        "af_duration_p_pct": "duration +P",
    }
)
"""What a statistic is called in a table."""
_FIGURES = frozenset({"", "–", "(", *"0123456789"})
"""How a cell of a column of figures begins."""

_PER_RECORD = ("qrs_se_pct", "qrs_p_pct", "veb_se_pct", "veb_p_pct", "veb_fpr_pct", "sveb_se_pct", "sveb_p_pct")


def markdown(report: Report) -> str:
    """Return the whole report as Markdown."""
    return "\n".join(_lines(report)) + "\n"


def summary_lines(report: Report) -> Iterator[str]:
    """Yield the few lines that a terminal shows."""
    yield from report.warnings
    for section in (report.beats, report.labels, report.episodes):
        if section is not None:
            yield f"{section.title} ({_records(section)}):"
            width = max(len(NAMES[name]) for name in section.gross)
            for name, interval in section.gross.items():
                yield f"  {NAMES[name]:<{width}}  {_value(name, interval.value):>8}  {_range(name, interval)}".rstrip()
    yield f"{report.n_scored} of {len(report.results)} records scored"
    for result in report.failures:
        yield f"  not scored: {result.record}: {result.error}"


def as_json(report: Report) -> dict[str, Json]:
    """Return the whole report as one JSON object; what is not defined is null."""
    return {
        "heading": dict(report.heading),
        "n_records": len(report.results),
        "n_scored": report.n_scored,
        "warnings": list(report.warnings),
        "not_scored": {result.record: result.error for result in report.failures},
        "beats": _section_json(report.beats),
        "beats_of_paced_records": _section_json(report.paced),
        "beats_decided_by_model": _decided_json(report),
        "fibrillation_episodes": _section_json(report.episodes),
        "record_labels": _section_json(report.labels),
        "record_labels_certain": _section_json(report.certain),
        "predictions": {model: dict(said) for model, said in report.predictions.items()},
    }


def csv_text(report: Report) -> str:
    """Return one row a record, with every count; what is not defined is empty."""
    rows = [columns_of(result) for result in report.results]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row.get(name, "")) for name in names])
    return text.getvalue()


def _lines(report: Report) -> Iterator[str]:
    yield "# Evaluation\n"
    yield from _table(("", ""), [(name, text) for name, text in report.heading.items()])
    yield f"\n{report.n_scored} of {len(report.results)} records were scored."
    for warning in report.warnings:
        yield f"\n**{warning}**"
    for section in (report.beats, report.paced):
        if section is not None:
            yield from _beat_lines(section)
    if report.beats is not None and report.decided is not None:
        yield from _decided_lines(report.beats, report.decided)
    if report.labels is not None:
        yield from _label_lines(report.labels, report.certain)
    if report.episodes is not None:
        yield from _episode_lines(report.episodes)
    if report.predictions:
        yield "\n## What the models said\n"
        yield "In parentheses: why nothing was said.\n"
        rows = [
            (model, label, f"{n:,}", f"{100 * n / sum(said.values()):.1f}")
            for model, said in report.predictions.items()
            for label, n in said.items()
        ]
        yield from _table(("model", "label", "n", "%"), rows)
    if report.failures:
        yield "\n## Not scored\n"
        yield from _table(("record", "why"), [(result.record, result.error) for result in report.failures])


def _gross_lines(section: Section) -> Iterator[str]:
    yield f"\n## {section.title}\n"
    patients = len({result.patient for result in section.results})
    yield f"{_records(section)}, {_counted(patients, 'patient')}. In parentheses: {LEVEL_PCT:.0f} % interval over patients.\n"
    average = section.average
    rows = [
        (NAMES[name], _value(name, interval.value), _range(name, interval), _value(name, average[name]))
        for name, interval in section.gross.items()
    ]
    yield from _table(("", "all together", f"{LEVEL_PCT:.0f} %", "mean of records"), rows)


def _beat_lines(section: Section) -> Iterator[str]:
    yield from _gross_lines(section)
    yield "\nAnnotated class (row) against found class (column):\n"
    total = section.counts.sum(axis=0)
    rows = [(truth, *(f"{n:,}" for n in total[k].tolist())) for k, truth in enumerate((*BEAT_CLASSES, "no beat"))]
    yield from _table(("", *BEAT_CLASSES, "missed"), rows)
    yield ""
    by_record = []
    for result, counts, values in zip(section.results, section.counts, section.by_record, strict=True):
        annotated = counts.sum(axis=1).tolist()[: len(BEAT_CLASSES)]
        figures = (_value(name, values[name]) for name in _PER_RECORD)
        by_record.append((result.record, *(f"{n:,}" for n in annotated), *figures, _value("", result.usable_pct)))
    yield from _table(("record", *BEAT_CLASSES, *(NAMES[name] for name in _PER_RECORD), "usable"), by_record)


def _decided_lines(beats: Section, decided: Section) -> Iterator[str]:
    share_pct, error_pct = coverage(beats.counts.sum(axis=0), decided.counts.sum(axis=0))
    yield "\n## Beats that the model decided\n"
    yield (
        f"The model decided {share_pct:.1f} % of the beats that were found; {error_pct:.2f} % of those decisions are "
        "wrong. The other beats have the class that the rules give them."
    )


def _label_lines(section: Section, certain: Section | None) -> Iterator[str]:
    yield from _gross_lines(section)
    yield "\nAnnotated label (row) against answer (column):\n"
    total = section.counts.sum(axis=0)
    rows = [(truth, *(f"{n:,}" for n in total[k].tolist())) for k, truth in enumerate(RHYTHM_CLASSES)]
    yield from _table(("", *RHYTHM_CLASSES, "no answer"), rows)
    if certain is not None:
        share, right = certain.gross["answered_pct"], certain.gross["accuracy_answered_pct"]
        yield (
            f"\nThe model stands by its answer for {_value('', share.value)} % {_range('', share)} of the records; of "
            f"those answers {_value('', 100.0 - right.value)} % are wrong. The scores above count the likeliest label of "
            "every record, certain or not."
        )


def _episode_lines(section: Section) -> Iterator[str]:
    yield from _gross_lines(section)
    yield ""
    rows = [
        (
            result.record,
            *(f"{counts[k]:.0f}" for k in (0, 1, 2, 3)),
            *(f"{counts[k]:.0f}" for k in (4, 5, 6)),
        )
        for result, counts in zip(section.results, section.counts, strict=True)
        if counts.any()
    ]
    yield from _table(
        ("record", "annotated", "of them met", "found", "of them right", "annotated, s", "found, s", "both, s"), rows
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a Markdown table, padded so that it can be read as plain text too; columns of figures to the right."""
    cells = [[text.replace("|", "\\|").replace("\n", " ") for text in row] for row in (head, *rows)]
    widths = [max(3, *(len(row[k]) for row in cells)) for k in range(len(head))]
    is_right = [k > 0 and all(row[k][:1] in _FIGURES for row in cells[1:]) for k in range(len(head))]
    for number, row in enumerate(cells):
        columns = zip(row, widths, is_right, strict=True)
        yield "| " + " | ".join(text.rjust(n) if right else text.ljust(n) for text, n, right in columns) + " |"
        if number == 0:
            rules = ("-" * (n + 1) + (":" if right else "-") for n, right in zip(widths, is_right, strict=True))
            yield "|" + "|".join(rules) + "|"


def _records(section: Section) -> str:
    return _counted(len(section.results), "record")


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def _value(name: str, value: float) -> str:
    """Return a figure as tables show it: per cent with two places, shares of one with three, a dash for nothing."""
    if math.isnan(value):
        return "–"
    return f"{value:.3f}" if name.startswith(("f1_", "challenge")) else f"{value:.2f}"


def _range(name: str, interval: Interval) -> str:
    if math.isnan(interval.low):
        return ""
    return f"({_value(name, interval.low)} to {_value(name, interval.high)})"


def _cell(value: str | float) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def _section_json(section: Section | None) -> Json:
    if section is None:
        return None
    return {
        "n_records": len(section.results),
        "n_patients": len({result.patient for result in section.results}),
        "gross": {
            name: {"value": _number(each.value), "low": _number(each.low), "high": _number(each.high)}
            for name, each in section.gross.items()
        },
        "average": {name: _number(value) for name, value in section.average.items()},
        "counts": section.counts.sum(axis=0).tolist(),
        "records": {
            result.record: {name: _number(value) for name, value in values.items()}
            for result, values in zip(section.results, section.by_record, strict=True)
        },
    }


def _decided_json(report: Report) -> Json:
    if report.beats is None or report.decided is None:
        return None
    share_pct, error_pct = coverage(report.beats.counts.sum(axis=0), report.decided.counts.sum(axis=0))
    return {"decided_pct": _number(share_pct), "error_pct": _number(error_pct), **dict(_gross_only(report.decided))}


def _gross_only(section: Section) -> Iterator[tuple[str, Json]]:
    yield "gross", {name: _number(each.value) for name, each in section.gross.items()}
    yield "counts", section.counts.sum(axis=0).tolist()
