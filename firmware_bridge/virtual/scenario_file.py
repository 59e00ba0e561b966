"""Scenario files (TOML) to `Scenario`, strictly: every mistake is reported at once, with its line.

::

    title = "Atrial fibrillation comes and goes"
    duration_s = 300

    [patient]                # fields of `PatientSettings`
    seed = 7

    [sensor]                 # fields of `SensorSettings`
    ecg_rate_hz = 250

    [[step]]                 # fields of `Step`; what is left out stays as it was
    at_s = 60
    rhythm = "atrial-fibrillation"

    [[fault]]                # kind, at_s, duration_s, stream and the parameters of its kind
    kind = "noise"
    at_s = 100
    duration_s = 20
    rms_mv = 0.2
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import fields
from enum import StrEnum
from importlib import resources
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, get_args, get_type_hints

from edge.errors import ConfigError, ConfigProblem
from firmware_bridge.virtual.scenario import (
    FAULT_PARAMETERS,
    FAULT_STREAMS,
    Fault,
    FaultKind,
    PatientSettings,
    Scenario,
    SensorSettings,
    Step,
)

RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "seed": (0, 2**63 - 1),
        "age_years": (0, 120),
        "duration_s": (0.001, 1e9),
        "at_s": (0, 1e9),
        "heart_rate_bpm": (0, 300),
        "premature_per_min": (0, 60),
        "premature_run_beats": (1, 100),
        "premature_run_bpm": (40, 300),
        "qrs_mv": (0.05, 5),
        "qrs_ms": (10, 200),
        "pr_ms": (60, 350),
        "qtc_ms": (250, 650),
        "t_mv": (-3, 3),
        "breath_ecg_ratio": (0, 0.5),
        "breath_baseline_mv": (0, 2),
        "breath_rr_ratio": (0, 0.3),
        "breath_pulse_ratio": (0, 0.9),
        "breath_light_ratio": (0, 0.1),
        "pulse_transit_ms": (50, 500),
        "dicrotic_ratio": (0, 0.9),
        "cardiac_impedance_ohm": (0, 2),
        "motion_light_ratio": (0, 1),
        "respiratory_rate_bpm": (0, 80),
        "respiratory_depth_ratio": (0, 2),
        "step_rate_hz": (0.5, 4),
        "spo2_pct": (50, 100),
        "perfusion_pct": (0, 20),
        "temperature_c": (25, 45),
        "systolic_mmhg": (20, 300),
        "diastolic_mmhg": (10, 200),
        "ecg_rate_hz": (50, 2000),
        "ppg_rate_hz": (10, 1000),
        "respiration_rate_hz": (1, 500),
        "acceleration_rate_hz": (1, 1000),
        "wrist_rate_hz": (10, 1000),
        "wrist_motion_rate_hz": (1, 1000),
        "packet_ms": (10, 1000),
        "reading_period_s": (0.1, 3600),
        "temperature_period_s": (0.1, 21600),
        "cuff_period_s": (0, 21600),
        "hello_period_s": (0, 3600),
        "storage_s": (0, 3600),
        "start_ticks_before_wrap_s": (0, 4294),
        "probability": (0, 1),
        "rms_mv": (0, 10),
        "amplitude_mv": (0, 10),
        "frequency_hz": (0, 500),
        "intensity_ratio": (0, 100),
        "battery_pct": (0, 100),
        "drift_ppm": (-100_000, 100_000),
        "restart_s": (0, 3600),
        "max_delay_s": (0, 60),
        "light_counts": (0, 262_143),
        "remedy_step": (1, 4),
        "att_error": (1, 255),
    }
)
"""Smallest and largest value of each number: what a body or a sensor can have, with room to spare."""

STREAMS = ("ecg", "ppg", "respiration", "acceleration", "wrist", "wrist-motion")
_SUFFIX = ".toml"


def bundled_scenarios() -> tuple[str, ...]:
    """Return the names of the scenarios that come with the package, sorted."""
    files = resources.files("firmware_bridge.virtual").joinpath("scenarios").iterdir()
    return tuple(sorted(file.name.removesuffix(_SUFFIX) for file in files if file.name.endswith(_SUFFIX)))


def load_scenario(name_or_path: str) -> Scenario:
    """Return a scenario by the name of a bundled one, else from a file.

    Raises
    ------
    ConfigError
        If there is no such scenario, or with everything that is wrong in the file.
    """
    if name_or_path in bundled_scenarios():
        file = resources.files("firmware_bridge.virtual").joinpath("scenarios", name_or_path + _SUFFIX)
        return parse_scenario(file.read_text(encoding="utf-8"), source=file.name, name=name_or_path)
    path = Path(name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = bundled_scenarios()
        message = f"expected a file or one of {', '.join(known)}, got {name_or_path!r}{_near(name_or_path, known)}"
        problem = ConfigProblem(source=name_or_path, line=None, key="scenario", message=f"{message} ({error})")
        raise ConfigError([problem], hint="give the name of a bundled scenario or the path of a TOML file") from error
    return parse_scenario(text, source=str(path), name=path.stem)


def parse_scenario(text: str, *, source: str = "scenario", name: str = "unnamed") -> Scenario:
    """Return the scenario that `text` describes.

    Parameters
    ----------
    text : str
        TOML.
    source : str
        Where it comes from, for the problems.
    name : str
        Name of the scenario.

    Raises
    ------
    ConfigError
        With all problems found, not only the first.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = int(found.group(1)) if found else None
        raise ConfigError([ConfigProblem(source=source, line=line, key="", message=f"no TOML: {error}")]) from error
    return _Reader(source, text).scenario(tree, name)


class _Reader:
    """Reads one tree and gathers what is wrong with it."""

    def __init__(self, source: str, text: str) -> None:
        self._source = source
        self._lines = _key_lines(text)
        self._problems: list[ConfigProblem] = []

    def scenario(self, tree: Mapping[str, object], name: str) -> Scenario:
        self._refuse_unknown("", tree, ("title", "duration_s", "patient", "sensor", "step", "fault"))
        top = {key: tree[key] for key in ("title", "duration_s") if key in tree}
        given = self._fields("", top, Scenario)
        patient = self._fields("patient", self._table(tree, "patient"), PatientSettings)
        sensor = self._fields("sensor", self._table(tree, "sensor"), SensorSettings)
        self._check_sensor(sensor)
        steps = [self._fields(f"step[{k}]", table, Step, required=("at_s",)) for k, table in self._tables(tree, "step")]
        self._check_order(steps)
        faults = [self._fault(f"fault[{k}]", table) for k, table in self._tables(tree, "fault")]
        if self._problems:
            raise ConfigError(self._problems, hint="correct the scenario file")
        return Scenario(
            name=name,
            patient=PatientSettings(**patient),
            sensor=SensorSettings(**sensor),
            steps=tuple(Step(**step) for step in steps),
            faults=tuple(Fault(**fault) for fault in faults),
            **given,
        )

    def _fault(self, where: str, table: Mapping[str, object]) -> dict[str, Any]:
        common = ("kind", "at_s", "duration_s", "stream")
        base = self._fields(
            where, {key: table[key] for key in common if key in table}, Fault, required=("kind", "at_s")
        )
        if "kind" not in base:
            return base
        kind: FaultKind = base["kind"]
        known = FAULT_PARAMETERS[kind]
        rest = {key: value for key, value in table.items() if key not in common}
        self._refuse_unknown(where, rest, (*common, *known))
        base["parameters"] = {
            key: number
            for key, value in rest.items()
            if key in known and (number := self._number(where, key, value, is_whole=False)) is not None
        }
        streams = FAULT_STREAMS.get(kind, ())
        if base.get("stream") is not None and base["stream"] not in streams:
            expected = f"expected one of {', '.join(streams)}" if streams else f"{kind} cannot be aimed at a stream"
            self._complain(where, "stream", f"{expected}, got {base['stream']!r}")
        return base

    def _fields(
        self, where: str, table: Mapping[str, object], cls: type, *, required: Collection[str] = ()
    ) -> dict[str, Any]:
        """Return the keyword arguments for `cls` that are right; the others are complained about."""
        hints = get_type_hints(cls)
        names = [field.name for field in fields(cls)]
        self._refuse_unknown(where, table, names)
        for name in required:
            if name not in table:
                self._complain(where, name, "is missing")
        read = {name: self._value(where, name, table[name], hints[name]) for name in names if name in table}
        return {name: value for name, value in read.items() if value is not None}

    def _value(self, where: str, key: str, value: object, hint: Any) -> object | None:
        """Return `value` as the annotated type wants it, or None after complaining."""
        if isinstance(hint, UnionType):  # a step's fields are optional: what counts is the other half
            hint = next(part for part in get_args(hint) if part is not NoneType)
        if hint in {int, float}:
            return self._number(where, key, value, is_whole=hint is int)
        if isinstance(hint, type) and issubclass(hint, StrEnum):
            known = [member.value for member in hint]
            if isinstance(value, str) and value in known:
                return hint(value)
            self._complain(where, key, f"expected one of {', '.join(known)}, got {value!r}{_near(value, known)}")
        elif hint is str:
            if isinstance(value, str):
                return value
            self._complain(where, key, f"expected a text, got {value!r}")
        elif isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        else:
            self._complain(where, key, f"expected a list of texts, got {value!r}")
        return None

    def _number(self, where: str, key: str, value: object, *, is_whole: bool) -> float | None:
        if isinstance(value, bool) or not isinstance(value, int | float) or (is_whole and not isinstance(value, int)):
            self._complain(where, key, f"expected a {'whole ' if is_whole else ''}number, got {value!r}")
            return None
        low, high = RANGES[key]
        if not low <= value <= high:
            self._complain(where, key, f"expected {low:g} to {high:g}, got {value!r}")
            return None
        return value if is_whole else float(value)

    def _check_sensor(self, sensor: Mapping[str, Any]) -> None:
        for stream in sensor.get("streams", ()):
            if stream not in STREAMS:
                message = f"expected some of {', '.join(STREAMS)}, got {stream!r}{_near(stream, STREAMS)}"
                self._complain("sensor", "streams", message)
        for key in ("reading_period_s", "temperature_period_s"):
            if sensor.get(key) == 0:
                self._complain("sensor", key, "expected more than 0")
        if len(str(sensor.get("device_id", "")).encode()) > 16:
            self._complain("sensor", "device_id", "expected at most 16 bytes of UTF-8")

    def _check_order(self, steps: list[dict[str, Any]]) -> None:
        for k in range(1, len(steps)):
            before_s, at_s = steps[k - 1].get("at_s"), steps[k].get("at_s")
            if before_s is not None and at_s is not None and at_s <= before_s:
                self._complain(
                    f"step[{k}]", "at_s", f"expected later than the step before ({before_s:g}), got {at_s:g}"
                )

    def _table(self, tree: Mapping[str, object], name: str) -> Mapping[str, object]:
        table = tree.get(name, {})
        if isinstance(table, dict):
            return table
        self._complain("", name, f"expected a table [{name}], got {table!r}")
        return {}

    def _tables(self, tree: Mapping[str, object], name: str) -> list[tuple[int, Mapping[str, object]]]:
        tables = tree.get(name, [])
        if isinstance(tables, list) and all(isinstance(table, dict) for table in tables):
            return list(enumerate(tables))
        self._complain("", name, f"expected tables [[{name}]], got {tables!r}")
        return []

    def _refuse_unknown(self, where: str, table: Mapping[str, object], known: Collection[str]) -> None:
        for key in table:
            if key not in known:
                self._complain(where, key, f"unknown key{_near(key, known)}")

    def _complain(self, where: str, key: str, message: str) -> None:
        line = self._lines.get((where, key), self._lines.get((where, "")))
        dotted = f"{where}.{key}" if where else key
        self._problems.append(ConfigProblem(source=self._source, line=line, key=dotted, message=message))


def _near(given: object, known: Collection[str]) -> str:
    """Return ``; did you mean 'x'?`` where one of the known words is near, else nothing."""
    near = difflib.get_close_matches(str(given), list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _key_lines(text: str) -> dict[tuple[str, str], int]:
    """Return the line of every table header, as (table, ""), and of every key, as (table, key)."""
    lines: dict[tuple[str, str], int] = {}
    where = ""
    n_tables: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[(\[?)\s*([\w-]+)\s*\]", line):
            where = header.group(2)
            if header.group(1):
                index = n_tables.get(where, 0)
                n_tables[where] = index + 1
                where = f"{where}[{index}]"
            lines.setdefault((where, ""), number)
        elif key := re.match(r"\s*([\w-]+)\s*=", line):
            lines.setdefault((where, key.group(1)), number)
    return lines
