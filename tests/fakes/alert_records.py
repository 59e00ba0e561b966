"""Alerts, windows and a model small enough to know what must come out of an explanation."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from edge.alert_record import AlertRecord, Strip
from edge.inference.classifier import Classifier, ClassifierSettings
from edge.inference.interpreter import Interpreter
from edge.messages import (
    Alert,
    AlertKind,
    AlertState,
    Beat,
    BeatKind,
    Channel,
    ChannelKind,
    ClassifiedBeat,
    Priority,
    Quality,
    SampleBlock,
    Window,
)
from tests.fakes.tiny_model import (
    FEATURES_INPUT,
    INPUT,
    N_SAMPLES,
    RATE_HZ,
    card,
    two_input_model,
    write_bundle,
)

S = 10**9
NAMES = ("rr_to_level", "qrs_likeness", "p_likeness")
KNOTS = ((0.4, 1.0, 1.2), (-0.5, 0.97, 1.0), (-0.5, 0.9, 1.0))
PREPROCESSING = {
    "stage": "beat-windows/1",
    "rate_hz": RATE_HZ,
    "before_s": 0.8,
    "p_s": [-0.4, -0.16],
    "qrs_s": [-0.16, 0.16],
    "t_s": [0.2, 0.8],
}
"""Of a window of 2 s at 25 Hz with the R peak at sample 20."""


def beat_card(**changes):
    """Return what a card says of a model of beats: the earlier and the more unlike, the more ``V``."""
    features = [{"name": name, "knots": list(knots)} for name, knots in zip(NAMES, KNOTS, strict=True)]
    return {
        "task": "beat",
        "preprocessing": PREPROCESSING,
        "inputs": [
            {
                "kind": "samples",
                "name": INPUT,
                "n_samples": N_SAMPLES,
                "channels": ["ecg"],
                "rate_hz": RATE_HZ,
                "unit": "mV",
            },
            {"kind": "features", "name": FEATURES_INPUT, "features": features},
        ],
        "output": {
            "name": "logits",
            "labels": ["N", "V"],
            "thresholds": {"V": 0.6, "N": 0.6},
            "activation": "none",
            "temperature": 0.05,
        },
    } | changes


def write_beat_bundle(path, **changes):
    """Write such a bundle, unsigned, and return the hash that names it."""
    golden = [{"inputs": {INPUT: [[0.0]] * N_SAMPLES, FEATURES_INPUT: [1.0, 0.97, 0.9]}, "output": [0, 0]}]
    write_bundle(path, two_input_model(), golden=golden, key=None, **beat_card(**changes))
    return hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest()


def beat_classifier(sha256="ab" * 32, **changes):
    """Return a fresh classifier of it."""
    return Classifier(
        card(**beat_card(**changes)), sha256, Interpreter(two_input_model()), ClassifierSettings(min_quality=0.0)
    )


def beat(at_s, kind="N", rr_ms=800.0, **more):
    """Return a beat of the bed's ECG."""
    return Beat(
        sensor="bed", stream="ecg", at_ns=round(at_s * S), sequence=round(at_s * 250), rr_ms=rr_ms, quality=0.9,
        **{"kind": BeatKind(kind), "similarity": 0.98} | more,
    )  # fmt: skip


def classified(at_s, kind="N", source="model", **more):
    """Return a beat with its class."""
    return ClassifiedBeat(beat=beat(at_s, kind, **more), source=source)


def beat_window(at_s, *, early=1.0, like=0.98, p=0.95, values=None, **more):
    """Return the window of the beat at `at_s`."""
    values = np.zeros((N_SAMPLES, 1)) if values is None else values
    return Window(
        **{
            "sensor": "bed", "stream": "ecg", "model": "beat", "quality": 0.9, "channel": "II", "rate_hz": RATE_HZ,
            "start_ns": round((at_s - 0.8) * S), "sequence": round((at_s - 0.8) * RATE_HZ),
            "beats": (beat(at_s, rr_ms=800.0 * early),),
            "features": {"rr_to_level": early, "qrs_likeness": like, "p_likeness": p},
        } | more,
        values=values,
    )  # fmt: skip


def block(start_s, values, *, rate_hz=250.0, names=("II",), kind=ChannelKind.ECG):
    """Return clean samples in mV, one column a name."""
    values = np.asarray(values, dtype=np.float64)
    values = values[:, np.newaxis] if values.ndim == 1 else values
    return SampleBlock(
        sensor="bed", stream="ecg", channels=tuple(Channel(name=name, kind=kind, unit="mV") for name in names),
        values=values, rate_hz=rate_hz, start_ns=round(start_s * S), sequence=round(start_s * rate_hz),
    )  # fmt: skip


def heart(duration_s, rate_hz=250.0, odd=(), every_s=0.8):
    """Return an ECG of one lead with a spike every `every_s`, upside down at the numbers in `odd`; and where."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    values = np.zeros(len(time_s))
    peaks = np.arange(0.4, duration_s - 0.3, every_s)
    for number, at_s in enumerate(peaks):
        turn = -1.0 if number in odd else 1.0
        values += turn * np.exp(-(((time_s - at_s) / 0.02) ** 2)) + 0.2 * np.exp(
            -(((time_s - at_s - 0.25) / 0.05) ** 2)
        )
    return values, peaks


def alert(
    at_s=20.0,
    condition="ventricular-run",
    *,
    alert_id="a-1",
    evidence=None,
    revision=1,
    state=AlertState.RAISED,
    **more,
):
    """Return an alert."""
    return Alert(
        **{
            "id": alert_id, "revision": revision, "episode": 1, "kind": AlertKind.PHYSIOLOGICAL, "priority": Priority.MEDIUM,
            "condition": condition, "sentence": "Run of 3 ventricular beats at 150/min.", "state": state,
            "is_latched": False, "onset_at_ns": round((at_s - 1) * S), "at_ns": round(at_s * S),
            "evidence": {"rule": "consecutive ventricular beats"} if evidence is None else evidence,
        } | more
    )  # fmt: skip


def decision(sequences, sha256="ab" * 32, **more):
    """Return what the rhythm rules say of a decision."""
    return {
        "model": "beat", "bundle_sha256": sha256, "sensor": "bed", "stream": "ecg", "window_sequences": list(sequences),
        "label": "V", "probabilities": {"V": 0.9, "N": 0.1},
    } | more  # fmt: skip


def record(at_s=20.0, *, sha256="ab" * 32, odd=(22, 23, 24), alert_id="a-1"):
    """Return the record of a run of ventricular beats: windows, the model's true answers to them, strip, usual beat."""
    classifier = beat_classifier(sha256)
    values, peaks = heart(22.0, odd=odd)
    windows = tuple(beat_window(peaks[k], early=0.6, like=0.1, p=0.1) for k in odd)
    predictions = tuple(each for window in windows for each in classifier.push(window))
    named = decision([window.sequence for window in windows], sha256)
    beats = tuple(
        classified(float(at_s), "V" if k in odd else "N", rr_ms=480.0 if k in odd else 800.0)
        for k, at_s in enumerate(peaks)
    )
    return AlertRecord(
        bed="p-1",
        wall_offset_ns=1_700_000_000 * S,
        alert=alert(at_s, alert_id=alert_id, evidence={"rule": "consecutive ventricular beats", "decision": named}),
        decision=named,
        windows=windows,
        predictions=predictions,
        strip=Strip(
            sensor="bed", stream="ecg", start_ns=8 * S, rate_hz=250.0, channels=("II",),
            values_uv=np.round(1000 * values[2000:, np.newaxis]),
        ),
        usual=Strip(
            sensor="bed", stream="ecg", start_ns=0, rate_hz=250.0, channels=("II",),
            values_uv=np.round(1000 * values[25:225, np.newaxis]), r=75,
        ),
        beats=beats,
        qualities=(Quality(sensor="bed", stream="ecg", at_ns=19 * S, index=0.93, is_usable=True, reasons=()),),
    )  # fmt: skip


def without_hash(text, **changes):
    """Return an encoded record with changed contents and the old hash: damage that JSON does not notice."""
    outer = json.loads(text)
    outer["record"] |= changes
    return json.dumps(outer)
