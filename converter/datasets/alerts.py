"""Alerts that clinicians have judged -> examples: the windows as the model saw them, with what they were.

::

    vitaledge alerts label ID true --by ward-3        on the gateway, beside the archive of alerts
    vitaledge-convert train rhythm --set data.alerts=/srv/alerts …

A true alert says that its windows were what the model called them.  A false one says only what they were not: its
windows are unlabelled, unless the recipe says which class stands for "not that" (a false ventricular beat, say, is a
normal one in most wards).  An unclear one teaches nothing.  Whoever trains decides how much a judged alert counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from converter.datasets.recordings import WindowTensors
from converter.examples import UNLABELLED, Examples, concatenate
from edge.alert_archive import AlertArchive, ArchivedAlert
from edge.alert_log import Verdict
from edge.errors import EdgeError

_NO_FALSE: Mapping[str, str] = {}


def alert_examples(
    folder: Path,
    tensors: WindowTensors,
    classes: tuple[str, ...],
    model: str,
    *,
    when_false: Mapping[str, str] = _NO_FALSE,
    weight: float = 1.0,
) -> Examples | None:
    """Return the windows of judged alerts that `model` decided; None where there are none.

    Parameters
    ----------
    folder : Path
        Archive of alerts, as a gateway keeps it (`edge.alert_archive`), or several of them below one folder.
    tensors : WindowTensors
        Which inputs the model has.
    classes : tuple of str
        Its classes.
    model : str
        ``beat`` or ``rhythm``; the windows of one alert of the rhythm model are one bag.
    when_false : mapping of str to str
        What a false alert's windows were, by what the model had called them; those not named are unlabelled.
    weight : float
        How much each example counts beside one of a recording.

    Raises
    ------
    EdgeError
        If the folder is not there, or `when_false` names a class that is none.
    """
    if not folder.is_dir():
        raise EdgeError(
            f"{folder}: no such folder of alerts", hint="it is [alerts] folder of the gateway's configuration"
        )
    unknown = (set(when_false) | set(when_false.values())) - set(classes)
    if unknown:
        raise EdgeError(f"expected classes among {', '.join(classes)}, got {', '.join(sorted(unknown))}")
    archives = sorted({path.parent for path in folder.rglob("*.json")})
    parts = []
    for archive in archives:
        for judged in AlertArchive(archive).labelled():
            part = _examples_of(judged, tensors, classes, model, when_false, weight)
            if part is not None:
                parts.append(part)
    return concatenate(parts) if parts else None


def _examples_of(
    judged: ArchivedAlert,
    tensors: WindowTensors,
    classes: tuple[str, ...],
    model: str,
    when_false: Mapping[str, str],
    weight: float,
) -> Examples | None:
    decision = judged.record.decision or {}
    decisive = decision.get("window_sequences")
    named = decisive if isinstance(decisive, list) else []
    windows = [each for each in judged.record.windows if each.model == model and each.sequence in named]
    if not windows or decision.get("model") != model or judged.label is None:
        return None
    said = str(decision.get("label", ""))
    match judged.label.verdict:
        case Verdict.TRUE:
            was: str | None = said
        case Verdict.FALSE:
            was = when_false.get(said)
        case _:
            was = None
    n = len(windows)
    return Examples(
        inputs=tensors.stack(windows),
        labels=np.full(n, classes.index(was) if was in classes else UNLABELLED, np.int64),
        classes=classes,
        groups=np.array([f"alert:{judged.record.bed}"] * n),
        weights=np.full(n, weight, np.float32),
        bags=np.zeros(n, np.int64) if model == "rhythm" else None,
    )
