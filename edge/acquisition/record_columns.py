"""What a recording's column is: its name and unit -> channel kind and the unit the pipeline works in.

Pure.  Fed by `wfdb_file` and `csv_file`; `RecordSource` readers ask `describe` once per column.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge.messages import Channel, ChannelKind

STANDARD_GRAVITY_MPS2 = 9.80665
"""m/s² per g, exact by definition (CGPM 1901)."""

_LEADS = "i|ii|iii|avr|avl|avf|v|v[1-9]r?|ml?i{1,3}|ml[1-6]|mv[1-6]|mcl[1-6]?|cm[1-6]|cc5|ml5|d[1-4]"
_PATTERNS: tuple[tuple[ChannelKind, re.Pattern[str]], ...] = (
    (ChannelKind.ACCELERATION_X, re.compile(r"(acc\w*[ _-]?x|ax|x[ _-]?acc\w*)")),
    (ChannelKind.ACCELERATION_Y, re.compile(r"(acc\w*[ _-]?y|ay|y[ _-]?acc\w*)")),
    (ChannelKind.ACCELERATION_Z, re.compile(r"(acc\w*[ _-]?z|az|z[ _-]?acc\w*)")),
    (ChannelKind.PPG_RED, re.compile(r"((ppg|pleth)[ _-])?red")),
    (ChannelKind.PPG_INFRARED, re.compile(r"((ppg|pleth)[ _-])?(ir|infra[ _-]?red)")),
    (ChannelKind.PPG, re.compile(r"(ppg|pleth|plethysmogra\w+|bvp|pulse wave)\b.*")),
    (ChannelKind.RESPIRATION, re.compile(r"(resp|respiration|imp(edance)? resp|chest|thor\w*|abdo\w*|airflow)\b.*")),
    (ChannelKind.ECG, re.compile(rf"(((ecg|ekg)\w*|lead)[ _:-]*)?({_LEADS})|(ecg|ekg)\w*([ _:-].*)?")),
)
"""Usual names, matched whole and without regard to case or surrounding blanks, the first that fits.

The leads are those of the WFDB signal names (PhysioNet, "wfdbcal" and the MIT-BIH, MIMIC and CinC headers),
``PLETH``/``PPG`` those of bedside monitors, ``BVP`` and ``ACC`` those of the Empatica E4.
"""

_KIND_WORDS: Mapping[str, ChannelKind] = {
    **{kind.value: kind for kind in ChannelKind},
    "resp": ChannelKind.RESPIRATION,
    "acc_x": ChannelKind.ACCELERATION_X,
    "acc_y": ChannelKind.ACCELERATION_Y,
    "acc_z": ChannelKind.ACCELERATION_Z,
    "ppg_ir": ChannelKind.PPG_INFRARED,
}

_FAMILIES: Mapping[ChannelKind, str] = {
    ChannelKind.ECG: "ecg",
    ChannelKind.PPG: "ppg",
    ChannelKind.PPG_RED: "ppg",
    ChannelKind.PPG_INFRARED: "ppg",
    ChannelKind.RESPIRATION: "resp",
    ChannelKind.ACCELERATION_X: "acc",
    ChannelKind.ACCELERATION_Y: "acc",
    ChannelKind.ACCELERATION_Z: "acc",
    ChannelKind.OTHER: "other",
}
FAMILIES = ("ecg", "ppg", "resp", "acc", "other")
"""Stream names, the one that leads the others in time first."""

# Factors to millivolt; "mV" is compared with its case, since "MV" would be a millionth of a mistake.
_TO_MV: Mapping[str, float] = {"V": 1e3, "mV": 1.0, "uV": 1e-3, "µV": 1e-3, "μV": 1e-3, "nV": 1e-6}
_TO_MPS2: Mapping[str, float] = {
    "m/s2": 1.0,
    "m/s^2": 1.0,
    "m/s²": 1.0,
    "g": STANDARD_GRAVITY_MPS2,
    "G": STANDARD_GRAVITY_MPS2,
    "mg": STANDARD_GRAVITY_MPS2 / 1000,
    "1/64 g": STANDARD_GRAVITY_MPS2 / 64,
}
_UCUM: Mapping[str, str] = {
    "": "1",
    "nu": "1",
    "nd": "1",
    "au": "1",
    "a.u.": "1",
    "adu": "1",
    "mmhg": "mm[Hg]",
    "degc": "Cel",
    "°c": "Cel",
    "bpm": "/min",
    "us": "uS",
    "µs": "uS",
}


class ColumnError(ValueError):
    """The ``columns`` option cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column as the pipeline will see it."""

    channel: Channel
    factor: float
    """Physical value of the recording times this is the value in ``channel.unit``."""


def parse_kinds(columns: Mapping[str, str]) -> dict[str, ChannelKind]:
    """Return what ``{"II": "ecg", "AX": "acc_x"}`` says each column is.

    Raises
    ------
    ColumnError
        If a kind is unknown; the message lists those that are known.

    Examples
    --------
    >>> parse_kinds({" PLETH": "PPG"})
    {'PLETH': <ChannelKind.PPG: 'ppg'>}
    """
    kinds = {}
    for name, word in columns.items():
        kind = _KIND_WORDS.get(word.strip().casefold())
        if kind is None:
            raise ColumnError(f"unknown kind {word!r} for column {name!r}; known: {', '.join(sorted(_KIND_WORDS))}")
        kinds[name.strip()] = kind
    return kinds


def recognise(name: str) -> ChannelKind:
    """Return what a column of this name usually is; OTHER for a name that says nothing to us.

    Examples
    --------
    >>> recognise(" MLII ")
    <ChannelKind.ECG: 'ecg'>
    >>> recognise("ABP")
    <ChannelKind.OTHER: 'other'>
    """
    plain = " ".join(name.split()).casefold()
    for kind, pattern in _PATTERNS:
        if pattern.fullmatch(plain):
            return kind
    return ChannelKind.OTHER


def family(kind: ChannelKind) -> str:
    """Return the name of the stream that channels of this kind travel in."""
    return _FAMILIES[kind]


def choose(names: Iterable[str], columns: Mapping[str, ChannelKind]) -> list[ChannelKind]:
    """Return the kind of each column: as the option says, else as its name says.

    Raises
    ------
    ColumnError
        If the option names a column that is not there; the message lists those that are.
    """
    stripped = [name.strip() for name in names]
    by_folded = {name.strip().casefold(): kind for name, kind in columns.items()}
    unknown = [name for name in columns if name.strip().casefold() not in {known.casefold() for known in stripped}]
    if unknown:
        raise ColumnError(f"no column {', '.join(map(repr, unknown))}; there are {', '.join(map(repr, stripped))}")
    return [by_folded.get(name.casefold(), recognise(name)) for name in stripped]


def describe(
    name: str,
    kind: ChannelKind,
    unit: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    resolution: float | None = None,
) -> Column:
    """Return the channel in the pipeline's unit, and the factor that leads there.

    Parameters
    ----------
    name, unit : str
        As the recording has them; blanks around them are dropped.
    kind : ChannelKind
        From `choose`.
    minimum, maximum, resolution : float, optional
        Range and step of the converter in the recording's unit.

    Notes
    -----
    ECG without a unit is taken as mV, the unit of the field.  ECG in a unit that is no voltage (normalised
    recordings) keeps its values and is labelled ``1``.

    Examples
    --------
    >>> describe("II", ChannelKind.ECG, "uV", maximum=5000).channel.maximum
    5.0
    """
    unit = unit.strip()
    if kind is ChannelKind.ECG:
        factor = _TO_MV.get(unit or "mV", 1.0)
        code = "mV" if not unit or unit in _TO_MV else _UCUM.get(unit.casefold(), unit)
    elif family(kind) == "acc":
        factor = _TO_MPS2.get(unit, 1.0)
        code = "m/s2" if unit in _TO_MPS2 else _UCUM.get(unit.casefold(), unit)
    else:
        factor = 1.0
        code = _UCUM.get(unit.casefold(), unit)
    channel = Channel(
        name=name.strip(),
        kind=kind,
        unit=code,
        minimum=None if minimum is None else minimum * factor,
        maximum=None if maximum is None else maximum * factor,
        resolution=None if resolution is None else resolution * factor,
    )
    return Column(channel=channel, factor=factor)
