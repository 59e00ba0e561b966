"""Alerts that clinicians have judged -> examples: the windows as the model saw them, with what they were.

::

    vitaledge alerts label ID true --by ward-3        on the gateway, beside the archive of alerts
    vitaledge-convert train rhythm --data … --out … --alerts /srv/alerts

A true alert says that its windows were what the model called them.  A false one says only what they were not: its
windows are unlabelled, unless the recipe says which class stands for "not that" (a false ventricular beat, say, is a
normal one in most wards).  An unclear one teaches nothing.  Whoever trains decides how much a judged alert counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from converter.datasets.recordings import WindowTensors
from converter.examples import UNLABELLED, Examples, concatenate
from converter.recipes.base import FeatureNames, InputPlan
from edge.alert_archive import AlertArchive, ArchivedAlert
from edge.alert_log import Verdict
from edge.errors import EdgeError
from edge.inference.card_inputs import SamplesInput

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
            f"{folder}: no such folder of alerts", hint="it is [alerts] path of the gateway's configuration"
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


def with_alerts(
    examples: Examples,
    folder: Path,
    plans: Sequence[InputPlan],
    model: str,
    *,
    when_false: Mapping[str, str] = _NO_FALSE,
    weight: float = 1.0,
) -> Examples:
    """Return `examples` and those of judged alerts; the parameters are those of `alert_examples`.

    Parameters
    ----------
    plans : sequence of InputPlan
        What the recipe says of its inputs: one of samples, one of features or none.

    Raises
    ------
    EdgeError
        If the recipe's inputs are not made of windows, or those of the alerts are of another shape.
    """
    samples = [plan.name for plan in plans if isinstance(plan, SamplesInput)]
    features = [plan for plan in plans if isinstance(plan, FeatureNames)]
    if len(samples) != 1 or len(features) > 1 or len(plans) != len(samples) + len(features):
        raise EdgeError(
            "this recipe does not learn from windows, so judged alerts are nothing to it", hint="no --alerts"
        )
    tensors = WindowTensors(
        samples=samples[0],
        features=features[0].name if features else "",
        feature_names=features[0].features if features else (),
    )
    judged = alert_examples(folder, tensors, examples.classes, model, when_false=when_false, weight=weight)
    if judged is None:
        return examples
    for name, values in judged.inputs.items():
        if values.shape[1:] != examples.inputs[name].shape[1:]:
            raise EdgeError(
                f"{folder}: {name}: expected shape {examples.inputs[name].shape[1:]}, got {values.shape[1:]}",
                hint="leave alerts out that were raised before the preprocessing changed",
            )
    return concatenate([examples, judged])


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
    try:
        inputs = tensors.stack(windows)
    except (KeyError, ValueError) as error:
        raise EdgeError(
            f"{judged.path}: its windows are of another preprocessing: {error}",
            hint="leave alerts out that were raised before the preprocessing changed",
        ) from error
    return Examples(
        inputs=inputs,
        labels=np.full(n, classes.index(was) if was in classes else UNLABELLED, np.int64),
        classes=classes,
        groups=np.array([f"alert:{judged.record.bed}"] * n),
        weights=np.full(n, weight, np.float32),
        bags=np.zeros(n, np.int64) if model == "rhythm" else None,
    )
