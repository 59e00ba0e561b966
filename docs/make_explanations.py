"""Draw ``docs/explain-run.svg`` and ``docs/explain-af.svg``: two alerts on development recordings, explained.

Run it from anywhere in the project, with the extras ``records`` and ``litert`` installed and ``VITALEDGE_DATA`` set::

    .venv/bin/python docs/make_explanations.py

Everything is what the service does: the recording goes through the pipeline with the built-in models, the first alert of
the kind is kept with what it was decided from, and ``vitaledge alerts explain`` asks the model again and draws it.
"""

# ruff: noqa: INP001 - a script, not a package

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from edge.alert_archive import AlertArchive
from edge.alert_record import AlertRecord
from edge.alert_watch import AlertWatch
from edge.cli import main as vitaledge
from edge.replay import replay

# Each from the half of the MIT-BIH Arrhythmia Database that the models are developed on (DS1), so that no picture is
# drawn from a record that judges them.
PICTURES = {
    "explain-run.svg": ("mitdb/223", "ventricular-run"),
    "explain-af.svg": ("mitdb/203", "atrial-fibrillation"),
}
_EPOCH_NS = 1_767_225_600 * 10**9  # a recording has no date; this one is 2026-01-01


def first_alert(record: Path, condition: str) -> AlertRecord | None:
    """Return what was kept of the first alert of this kind that a model decided."""
    kept: dict[str, AlertRecord] = {}

    def save(given: AlertRecord) -> None:
        if given.alert.condition == condition and given.decision is not None:
            kept[given.alert.id] = given

    watch = AlertWatch(f"MIT-BIH {record.name}", lambda at_ns: at_ns + _EPOCH_NS, save)
    for finding in replay(record):
        watch.observe(finding)
        first = next(iter(kept.values()), None)
        if first is not None and finding_ns(finding) > first.alert.at_ns + 5 * 10**9:
            break
    watch.finish()
    return next(iter(kept.values()), None)


def finding_ns(finding: object) -> int:
    """Return the instant of a finding that has one."""
    at_ns = getattr(finding, "at_ns", 0)
    return at_ns if isinstance(at_ns, int) else 0


def main() -> int:
    """Draw both pictures beside this file."""
    data = Path(os.environ.get("VITALEDGE_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
    code = 0
    for name, (record, condition) in PICTURES.items():
        found = first_alert(data / record, condition)
        if found is None:
            sys.stderr.write(f"{record}: no {condition} that a model decided\n")
            code = 1
            continue
        out = Path(__file__).with_name(name)
        with tempfile.TemporaryDirectory(prefix="vitaledge-alerts-") as folder:
            AlertArchive(Path(folder)).save(found)
            code |= vitaledge(["alerts", "explain", found.alert.id, "--store", folder, "--svg", str(out)])
        sys.stdout.write(f"{out.name}: {out.stat().st_size} bytes\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
