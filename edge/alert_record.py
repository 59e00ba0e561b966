"""What is kept of one alert for whoever asks later why it was raised: the codec between `AlertRecord` and JSON.

Everything that the decision was made from is there exactly as it was, so that the same model gives the same answer
again, bit for bit.  The text is one JSON object::

    {"format": "vitaledge-alert/1",
     "sha256": "…",                       of the record as JSON with sorted keys and no blanks, in UTF-8
     "record": {
       "bed": "p-1",
       "wall_offset_ns": 17…,             add it to any instant ("…_ns") below to get nanoseconds since 1970
       "alert": {…},                      as `edge/alarm_memory.py` writes one, its own instants in wall time
       "decision": {…} or null,           what the rule says that decided: model, bundle, label, windows (see below)
       "windows": [                       oldest first; those that decided, and of a rhythm those that it rests on
         {"model": "beat" | "rhythm", "sensor": …, "stream": …, "channel": …, "sequence": …, "start_ns": …,
          "rate_hz": …, "quality": …, "features": {name: number or "nan" | "inf" | "-inf"}, "beats": [BEAT …],
          "shape": [n_samples, n_channels], "values": "base64 of little-endian float64, row by row"} …],
       "predictions": [{"model": …, "sequence": …, "label": … or null, "probabilities": {…}, …} …],
       "strip": {"sensor": …, "stream": …, "start_ns": …, "rate_hz": …, "channels": ["II" …],
                 "values_uv": [[of the first channel …] …]} or null,     whole µV; null where a sample is missing
       "usual": {…}  or null,             this patient's usual beat, the median of normal ones: as a strip, R at "r"
       "beats": [{"beat": BEAT, "source": "model" | "rule" | "sensor" | "pending", "probabilities": {…}, …} …],
       "qualities": [{"at_ns": …, "index": …, "is_usable": …, "reasons": […] …} …]}}

``decision`` is what the rhythm rules put into the alert's evidence: ``model`` (``beat`` or ``rhythm``),
``bundle_sha256``, ``window_sequences``, ``sensor``, ``stream``, ``label``, ``probabilities``, ``rule``.  It is null for
an alert that a rule raised without a model.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.alarm_memory import VERSION as MEMORY_VERSION
from edge.alarm_memory import recall, remember
from edge.errors import EdgeError
from edge.messages import (
    Alert,
    Beat,
    BeatKind,
    ChannelKind,
    ClassifiedBeat,
    Json,
    Prediction,
    Quality,
    Window,
)
from edge.publishing.json_values import clean

FORMAT = "vitaledge-alert/1"

_SPECIAL = ("nan", "inf", "-inf")


class AlertRecordError(EdgeError, ValueError):
    """The text is no alert record, or a damaged one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """A stretch of an ECG to draw: the clean signal in whole microvolts."""

    sensor: str
    stream: str
    start_ns: int
    """Of the first sample."""
    rate_hz: float
    channels: tuple[str, ...]
    values_uv: NDArray[np.float64]
    """Shape (n_samples, n_channels), µV; NaN where a sample is missing."""
    r: int = 0
    """Of a single beat: index of the sample at its R peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRecord:
    """One alert with all that its decision was made from."""

    bed: str
    wall_offset_ns: int
    """What to add to an instant of this record to get nanoseconds since 1970."""
    alert: Alert
    """As it was raised."""
    decision: Mapping[str, Json] | None = None
    """What the rule says of the model's decision; None where a rule decided alone."""
    windows: tuple[Window, ...] = ()
    """Oldest first."""
    predictions: tuple[Prediction, ...] = ()
    """What the model said of `windows` then."""
    strip: Strip | None = None
    usual: Strip | None = None
    """This patient's usual beat."""
    beats: tuple[ClassifiedBeat, ...] = ()
    qualities: tuple[Quality, ...] = ()


def encode(record: AlertRecord) -> str:
    """Return the record as one line of JSON; `decode` gives it back with every bit of its windows."""
    values = {
        "bed": record.bed,
        "wall_offset_ns": record.wall_offset_ns,
        "alert": json.loads(remember([record.alert], lambda at_ns: at_ns + record.wall_offset_ns))["alerts"][0],
        "decision": None if record.decision is None else dict(record.decision),
        "windows": [_of_window(window) for window in record.windows],
        "predictions": [_of_prediction(prediction) for prediction in record.predictions],
        "strip": None if record.strip is None else _of_strip(record.strip),
        "usual": None if record.usual is None else _of_strip(record.usual),
        "beats": [_of_classified(beat) for beat in record.beats],
        "qualities": [_plain(quality) for quality in record.qualities],
    }
    body = clean(values)
    return json.dumps({"format": FORMAT, "sha256": _hash(body), "record": body}, ensure_ascii=False)


def decode(text: str) -> AlertRecord:
    """Return the record that `encode` wrote.

    Raises
    ------
    AlertRecordError
        If the text is anything else, or was altered.
    """
    try:
        outer = json.loads(text)
        if outer["format"] != FORMAT:
            raise AlertRecordError(f"expected {FORMAT}, got {str(outer['format'])[:40]!r}")
        body = outer["record"]
        if _hash(body) != outer["sha256"]:
            raise AlertRecordError("its contents are not the ones that were written (the hash differs)")
        offset_ns = int(body["wall_offset_ns"])
        memory = json.dumps({"version": MEMORY_VERSION, "alerts": [body["alert"]]}).encode()
        (alert,) = recall(memory, lambda wall_ns: wall_ns - offset_ns)
        return AlertRecord(
            bed=str(body["bed"]),
            wall_offset_ns=offset_ns,
            alert=alert,
            decision=body["decision"],
            windows=tuple(_as_window(item) for item in body["windows"]),
            predictions=tuple(_as_prediction(item) for item in body["predictions"]),
            strip=None if body["strip"] is None else _as_strip(body["strip"]),
            usual=None if body["usual"] is None else _as_strip(body["usual"]),
            beats=tuple(_as_classified(item) for item in body["beats"]),
            qualities=tuple(_as_quality(item) for item in body["qualities"]),
        )
    except AlertRecordError:
        raise
    except (ValueError, KeyError, TypeError, OverflowError, AttributeError, OSError, RecursionError) as error:
        raise AlertRecordError(f"expected an alert record, got something else ({error!r:.120})") from error


def _hash(body: Json) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# --- numbers ----------------------------------------------------------------------------------------------


def _of_number(value: float) -> float | str:
    """Return a number that JSON keeps exactly: what is not finite by its name."""
    number = float(value)
    return number if math.isfinite(number) else str(number)


def _as_number(value: Any) -> float:
    if isinstance(value, str) and value not in _SPECIAL:
        raise AlertRecordError(f"expected a number, got {value[:20]!r}")
    return float(value)


def _of_floats(values: NDArray[np.float64]) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f8").tobytes()).decode("ascii")


def _as_floats(text: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    values = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f8").astype(np.float64).reshape(shape)
    values.setflags(write=False)
    return values


# --- parts ------------------------------------------------------------------------------------------------


def _plain(item: Any) -> dict[str, Any]:
    """Return a flat message as a dictionary, numbers kept exactly."""
    return {
        each.name: _of_number(value) if isinstance(value, float) else value
        for each in fields(item)
        for value in (getattr(item, each.name),)
    }


def _numbers(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return `values` with the named ones, where they are there, as numbers."""
    given = {name: values.get(name) for name in names}
    return {**values, **{name: _as_number(value) for name, value in given.items() if value is not None}}


def _as_beat(values: Mapping[str, Any]) -> Beat:
    known = {each.name for each in fields(Beat)}
    given = {name: value for name, value in values.items() if name in known}
    numbers = _numbers(given, "rr_ms", "quality", "amplitude_mv", "width_ms", "similarity")
    return Beat(**{**numbers, "kind": BeatKind(values["kind"])})


def _as_quality(values: Mapping[str, Any]) -> Quality:
    known = {each.name for each in fields(Quality)}
    given = _numbers({name: value for name, value in values.items() if name in known}, "index")
    return Quality(**{**given, "reasons": tuple(values["reasons"]), "kind": ChannelKind(values["kind"])})


def _of_classified(item: ClassifiedBeat) -> dict[str, Any]:
    return {
        "beat": _plain(item.beat),
        "source": item.source,
        "probabilities": {label: _of_number(value) for label, value in item.probabilities.items()},
        "bundle_sha256": item.bundle_sha256,
        "window_sequence": item.window_sequence,
    }


def _as_classified(values: Mapping[str, Any]) -> ClassifiedBeat:
    return ClassifiedBeat(
        beat=_as_beat(values["beat"]),
        source=str(values["source"]),
        probabilities={str(label): _as_number(value) for label, value in values["probabilities"].items()},
        bundle_sha256=values["bundle_sha256"],
        window_sequence=values["window_sequence"],
    )


def _of_window(window: Window) -> dict[str, Any]:
    return {
        "model": window.model,
        "sensor": window.sensor,
        "stream": window.stream,
        "channel": window.channel,
        "sequence": window.sequence,
        "start_ns": window.start_ns,
        "rate_hz": _of_number(window.rate_hz),
        "quality": _of_number(window.quality),
        "features": {name: _of_number(value) for name, value in window.features.items()},
        "beats": [_plain(beat) for beat in window.beats],
        "shape": list(window.values.shape),
        "values": _of_floats(np.asarray(window.values, dtype=np.float64)),
    }


def _as_window(values: Mapping[str, Any]) -> Window:
    n_samples, n_channels = (int(length) for length in values["shape"])
    return Window(
        model=str(values["model"]),
        sensor=str(values["sensor"]),
        stream=str(values["stream"]),
        channel=values["channel"],
        sequence=int(values["sequence"]),
        start_ns=int(values["start_ns"]),
        rate_hz=_as_number(values["rate_hz"]),
        quality=_as_number(values["quality"]),
        features={str(name): _as_number(value) for name, value in values["features"].items()},
        beats=tuple(_as_beat(beat) for beat in values["beats"]),
        values=_as_floats(values["values"], (n_samples, n_channels)),
    )


def _of_prediction(prediction: Prediction) -> dict[str, Any]:
    return {
        "model": prediction.model,
        "sensor": prediction.sensor,
        "stream": prediction.stream,
        "sequence": prediction.sequence,
        "at_ns": prediction.at_ns,
        "label": prediction.label,
        "absent": prediction.absent,
        "probabilities": {label: _of_number(value) for label, value in prediction.probabilities.items()},
        "bundle_sha256": prediction.bundle_sha256,
        "evidence": dict(prediction.evidence),
    }


def _as_prediction(values: Mapping[str, Any]) -> Prediction:
    return Prediction(
        model=str(values["model"]),
        sensor=str(values["sensor"]),
        stream=str(values["stream"]),
        sequence=int(values["sequence"]),
        at_ns=int(values["at_ns"]),
        label=values["label"],
        absent=values["absent"],
        probabilities={str(label): _as_number(value) for label, value in values["probabilities"].items()},
        bundle_sha256=str(values["bundle_sha256"]),
        evidence=dict(values["evidence"]),
    )


def _of_strip(strip: Strip) -> dict[str, Any]:
    columns = np.asarray(strip.values_uv, dtype=np.float64).T
    return {
        "sensor": strip.sensor,
        "stream": strip.stream,
        "start_ns": strip.start_ns,
        "rate_hz": strip.rate_hz,
        "channels": list(strip.channels),
        "r": strip.r,
        "values_uv": [
            [round(value) if math.isfinite(value) else None for value in column] for column in columns.tolist()
        ],
    }


def _as_strip(values: Mapping[str, Any]) -> Strip:
    columns = [[math.nan if value is None else float(value) for value in column] for column in values["values_uv"]]
    channels = tuple(str(name) for name in values["channels"])
    if len(columns) != len(channels) or len({len(column) for column in columns}) > 1:
        raise AlertRecordError(f"expected {len(channels)} columns of one length, got {[len(c) for c in columns]}")
    array = np.array(columns, dtype=np.float64).T
    return Strip(
        sensor=str(values["sensor"]),
        stream=str(values["stream"]),
        start_ns=int(values["start_ns"]),
        rate_hz=_as_number(values["rate_hz"]),
        channels=channels,
        values_uv=array,
        r=int(values["r"]),
    )
