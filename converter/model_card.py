"""The card of a model for people: what it is for, what it says, how good it is, and what it does not know."""

from __future__ import annotations

from collections.abc import Iterator

from edge.inference.card import FeaturesInput, ModelCard, SamplesInput

_TASKS = {
    "beat": "Names the class of each heart beat in a single ECG lead (AAMI EC57).",
    "rhythm": "Names the rhythm of a single ECG lead from windows of the last seconds.",
    "other": "Not one of the runtime's own tasks.",
}
_MEANINGS = {
    "beat": {
        "N": "normal, or conducted with bundle branch block",
        "S": "supraventricular ectopic",
        "V": "ventricular ectopic",
        "F": "fusion of ventricular and normal",
        "Q": "paced, or not to be classified",
    },
    "rhythm": {
        "N": "normal sinus rhythm",
        "A": "atrial fibrillation",
        "O": "another rhythm",
        "~": "too noisy to tell",
    },
}
"""The labels of the runtime's own tasks in words (AAMI EC57; PhysioNet/CinC Challenge 2017)."""
_LEVELS = "Not a medical device. Its answers support a person; they never silence a rule."


def model_card_text(card: ModelCard, notes: str, *, n_model_bytes: int) -> str:
    """Return ``MODEL_CARD.md``.

    Parameters
    ----------
    card : ModelCard
        What the manifest says.
    notes : str
        Markdown of the author: intended use, limits, how it was measured.
    n_model_bytes : int
        Size of the model file.
    """
    parts = [
        f"# {card.title}",
        f"{_TASKS[card.task]} {_LEVELS}",
        f"Release {card.release}, made on {card.created.isoformat()}; {n_model_bytes / 1024:.1f} KiB, int8 throughout.",
        "## What it sees",
        "\n".join(_inputs(card)),
        "## What it says",
        "\n".join(_labels(card)),
        "\n".join(_decision(card)),
        "## How good it is",
        "\n".join(_metrics(card)),
        "## What it was trained on",
        card.training_data,
        "## Licence",
        card.licence,
    ]
    if notes.strip():
        parts += ["## Notes", notes.strip()]
    return "\n\n".join(parts) + "\n"


def _inputs(card: ModelCard) -> Iterator[str]:
    yield f"Made by the stage `{card.preprocessing['stage']}` of this software."
    yield ""
    for each in card.inputs:
        if isinstance(each, SamplesInput):
            duration_s = each.n_samples / each.rate_hz
            how = ", each channel to mean 0 and standard deviation 1" if each.normalise == "z-score" else ""
            channels = ", ".join(each.channels)
            yield f"- `{each.name}`: {duration_s:g} s of {channels} at {each.rate_hz:g} Hz in {each.unit}{how}"
        elif isinstance(each, FeaturesInput):
            yield f"- `{each.name}`: {len(each.features)} numbers"
            for feature in each.features:
                yield f"  - `{feature.name}`, from {feature.knots[0]:g} to {feature.knots[-1]:g} in training"
        else:
            yield f"- `{each.name}`: values of shape {' × '.join(map(str, each.shape))}"


def _labels(card: ModelCard) -> Iterator[str]:
    systems = sorted({system for codes in card.output.codes.values() for system in codes})
    meanings = _MEANINGS.get(card.task, {})
    head = ["label", *(["meaning"] if meanings else []), *systems, "said from probability"]
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for label in card.output.labels:
        codes = [card.output.codes.get(label, {}).get(system, "–") for system in systems]
        meaning = [meanings.get(label, "–")] if meanings else []
        yield "| " + " | ".join([f"`{label}`", *meaning, *codes, f"{card.output.thresholds[label]:g}"]) + " |"


def _decision(card: ModelCard) -> Iterator[str]:
    output, abstention = card.output, card.abstention
    if card.aggregation is not None:
        yield f"It decides on the mean over the windows of the last {card.aggregation.span_s:g} s."
    bias = ", ".join(f"{label} {value:+g}" for label, value in output.bias.items() if value)
    yield f"Probabilities are calibrated: temperature {output.temperature:g}" + (f", bias {bias}." if bias else ".")
    if abstention.min_energy is not None:
        yield f'It says "unfamiliar" below an energy of {abstention.min_energy:g}.'
    if abstention.max_outside is not None:
        yield f'It says "unfamiliar" where more than {100 * abstention.max_outside:g} % of its numbers lie outside training.'
    if abstention.judges_noise:
        yield "It is shown noisy signals too, and says itself that they are."


def _metrics(card: ModelCard) -> Iterator[str]:
    if not card.metrics:
        yield "Not measured."
        return
    yield "| figure | value |"
    yield "|---|---|"
    for name, value in card.metrics.items():
        yield f"| {name} | {value:.4g} |"
