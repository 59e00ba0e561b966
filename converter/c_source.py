"""The text of the C files that `emit_c` writes: strict C99, every number exactly the one of the bundle."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converter.graph import Graph, TensorFacts
from edge.inference.bundle import Bundle
from edge.inference.card import FeatureCard, FeaturesInput, InputCard, OutputCard, SamplesInput
from edge.inference.interpreter import plain_name

_BYTES_A_LINE = 16
_LONGEST_STRING = 4000  # C99 promises 4095


@dataclass(frozen=True, slots=True, kw_only=True)
class Emission:
    """What is to be written."""

    symbol: str
    """Prefix of every name."""
    stem: str
    """Of the file names."""
    bundle: Bundle
    graph: Graph
    operators: tuple[str, ...]
    """Methods of TFLM's resolver that register what the model needs."""
    golden: Mapping[str, NDArray[np.int8]]
    micro: NDArray[np.int8] | None
    """TFLM's answers to the golden vectors."""
    arena_bytes: int

    @property
    def inputs(self) -> tuple[tuple[InputCard, int, TensorFacts], ...]:
        """Each input of the card with its position and its tensor in the model file."""
        place = {
            plain_name(self.graph.tensors[index].name): position for position, index in enumerate(self.graph.inputs)
        }
        return tuple(
            (each, place[each.name], self.graph.tensors[self.graph.inputs[place[each.name]]])
            for each in self.bundle.card.inputs
        )


def header(emission: Emission) -> str:
    """Return the header: one `fb_model_t`, its golden vectors, and the operators that it needs."""
    guard = f"{emission.symbol.upper()}_MODEL_H"
    macro = f"{emission.symbol.upper()}_ADD_OPERATORS"
    added = " && \\\n   ".join(f"(resolver).{method}() == kTfLiteOk" for method in emission.operators)
    return f"""{_title(emission)}#ifndef {guard}
#define {guard}

#include "fb_model.h"

#ifdef __cplusplus
extern "C" {{
#endif

extern const fb_model_t {emission.symbol}_model;

/*! Leave {emission.stem}_golden.c out of a build that does not test itself. */
#define {emission.symbol.upper()}_N_GOLDEN {len(emission.bundle.golden)}u
extern const fb_model_golden_t {emission.symbol}_golden[{emission.symbol.upper()}_N_GOLDEN];

/*! Working memory, measured with 64-bit pointers and rounded up; 0: not measured. */
#define {emission.symbol.upper()}_ARENA_BYTES {emission.arena_bytes}u

/*! For tflite::MicroMutableOpResolver<{emission.symbol.upper()}_N_OPERATORS>: true when all of them were taken. */
#define {emission.symbol.upper()}_N_OPERATORS {len(emission.operators)}
#define {macro}(resolver) \\
  ({added})

#ifdef __cplusplus
}}
#endif

#endif /* {guard} */
"""


def model_source(emission: Emission) -> str:
    """Return the model's bytes and the constants of its card."""
    bundle, symbol = emission.bundle, emission.symbol
    card, output = bundle.card, bundle.card.output
    answer = emission.graph.tensors[emission.graph.outputs[0]]
    labels = ", ".join(_string(label) for label in output.labels)
    preprocessing = json.dumps(dict(card.preprocessing), sort_keys=True)
    energy, outside = card.abstention.min_energy, card.abstention.max_outside
    lines = [
        _title(emission) + f'#include "{emission.stem}_model.h"\n',
        f"static const unsigned char data[{len(bundle.model)}] FB_MODEL_ALIGNED = {{",
        *_rows(f"0x{byte:02x}" for byte in bundle.model),
        "};\n",
        *_inputs(emission),
        f"static const char *const labels[] = {{{labels}}};",
        f"static const double biases[] = {{{_doubles(_biases(output))}}};",
        f"static const double thresholds[] = {{{_doubles(output.thresholds[label] for label in output.labels)}}};",
        *_long_string("preprocessing", preprocessing),
        "",
        f"const fb_model_t {symbol}_model = {{",
        f"    .name = {_string(card.name)},",
        f"    .version = {_string(card.version)},",
        f"    .release = UINT64_C({card.release}),",
        f"    .task = {_string(card.task)},",
        f"    .bundle_sha256 = {_string(bundle.sha256)},",
        f"    .model_sha256 = {_string(hashlib.sha256(bundle.model).hexdigest())},",
        "    .preprocessing = preprocessing,",
        "    .data = data,",
        "    .data_len = sizeof data,",
        f"    .n_inputs = {len(card.inputs)}u,",
        "    .inputs = inputs,",
        f"    .output_name = {_string(output.name)},",
        f"    .n_labels = {len(output.labels)}u,",
        "    .labels = labels,",
        f"    .output_scale = {_float(answer.scales[0])},",
        f"    .output_zero_point = {answer.zero_points[0]},",
        f"    .is_softmax = {_bool(output.activation == 'softmax')},",
        f"    .temperature = {_double(output.temperature)},",
        "    .biases = biases,",
        "    .thresholds = thresholds,",
        f"    .span_s = {_double(card.aggregation.span_s if card.aggregation else 0.0)},",
        f"    .has_min_energy = {_bool(energy is not None)},",
        f"    .min_energy = {_double(energy or 0.0)},",
        f"    .has_max_outside = {_bool(outside is not None)},",
        f"    .max_outside = {_double(outside or 0.0)},",
        f"    .arena_bytes = {emission.arena_bytes}u,",
        "};",
    ]
    return "\n".join(lines) + "\n"


def golden_source(emission: Emission) -> str:
    """Return the golden vectors as the model sees them, with the answers of gateway and TFLM."""
    symbol = emission.symbol
    lines = [_title(emission) + f'#include "{emission.stem}_model.h"\n']
    rows = []
    for number, case in enumerate(emission.bundle.golden):
        names = []
        for position, (card, _, _) in enumerate(emission.inputs):
            name = f"golden_{number}_{position}"
            lines += [f"static const int8_t {name}[] = {{", *_rows(map(str, emission.golden[card.name][number].flat))]
            lines += ["};"]
            names.append(name)
        lines += [f"static const int8_t *const golden_{number}_inputs[] = {{{', '.join(names)}}};"]
        lines += [f"static const int8_t golden_{number}_gateway[] = {{{', '.join(map(str, case.output))}}};"]
        micro = "NULL"
        if emission.micro is not None:
            micro = f"golden_{number}_micro"
            lines += [f"static const int8_t {micro}[] = {{{', '.join(map(str, emission.micro[number]))}}};"]
        lines += [""]
        rows.append(f"    {{golden_{number}_inputs, golden_{number}_gateway, {micro}}},")
    lines += [f"const fb_model_golden_t {symbol}_golden[{symbol.upper()}_N_GOLDEN] = {{", *rows, "};"]
    return "\n".join(lines) + "\n"


# --- parts ------------------------------------------------------------------------------------------------


def _title(emission: Emission) -> str:
    card = emission.bundle.card
    return (
        f"/*! @file\n * {_comment(card.title)}: made by `vitaledge-convert emit-c` from the bundle\n"
        f" * {emission.bundle.sha256}; do not edit. */\n"
    )


def _inputs(emission: Emission) -> Iterator[str]:
    rows: list[str] = []
    for number, (card, position, tensor) in enumerate(emission.inputs):
        features = "NULL"
        if isinstance(card, FeaturesInput):
            features = f"features_{number}"
            yield from _features(number, card.features)
        samples = card if isinstance(card, SamplesInput) else None
        kind = "FEATURES" if isinstance(card, FeaturesInput) else "TENSOR" if samples is None else "SAMPLES"
        rows += [
            "    {",
            f"        .name = {_string(card.name)},",
            f"        .index = {position}u,",
            f"        .kind = FB_MODEL_{kind},",
            f"        .n_values = {math.prod(card.shape)}u,",
            f"        .scale = {_float(tensor.scales[0])},",
            f"        .zero_point = {tensor.zero_points[0]},",
            f"        .n_samples = {samples.n_samples if samples else 0}u,",
            f"        .n_channels = {len(samples.channels) if samples else 0}u,",
            f"        .rate_hz = {_double(samples.rate_hz if samples else 0.0)},",
            f"        .unit = {_string(samples.unit if samples else '')},",
            f"        .is_z_scored = {_bool(samples is not None and samples.normalise == 'z-score')},",
            f"        .n_features = {len(card.features) if isinstance(card, FeaturesInput) else 0}u,",
            f"        .features = {features},",
            "    },",
        ]
    yield from ("static const fb_model_input_t inputs[] = {", *rows, "};\n")


def _features(number: int, features: tuple[FeatureCard, ...]) -> Iterator[str]:
    rows = []
    for index, feature in enumerate(features):
        name = f"knots_{number}_{index}"
        yield from (f"static const double {name}[] = {{", *_rows(map(_double, feature.knots), each=4), "};")
        rows.append(f"    {{{_string(feature.name)}, {len(feature.knots)}u, {name}}},")
    yield from (f"static const fb_model_feature_t features_{number}[] = {{", *rows, "};\n")


def _biases(output: OutputCard) -> Iterator[float]:
    return (output.bias.get(label, 0.0) for label in output.labels)


def _rows(items: Iterable[str], *, each: int = _BYTES_A_LINE) -> Iterator[str]:
    listed = list(items)
    for begin in range(0, len(listed), each):
        yield "    " + ", ".join(listed[begin : begin + each]) + ","


def _long_string(name: str, text: str) -> Iterator[str]:
    if len(text.encode()) <= _LONGEST_STRING:
        yield f"static const char {name}[] = {_string(text)};"
        return
    yield from (f"static const char {name}[] = {{", *_rows(f"0x{byte:02x}" for byte in (*text.encode(), 0)), "};")


def _string(text: str) -> str:
    """Return a C string: what is not plain ASCII as octal, which unlike hexadecimal ends after three digits."""
    return '"' + "".join(map(_character, text.encode())) + '"'


def _character(byte: int) -> str:
    if chr(byte) in '"\\?':  # two question marks could begin a trigraph
        return f"\\{chr(byte)}"
    return chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"


def _comment(text: str) -> str:
    return text.replace("*/", "* /").replace("\n", " ")


def _doubles(values: Iterable[float]) -> str:
    return ", ".join(_double(value) for value in values)


def _double(value: float) -> str:
    """Return the shortest decimal that reads back as the same double."""
    text = repr(float(value))
    return text if any(mark in text for mark in ".e") else f"{text}.0"


def _float(value: float) -> str:
    return f"{_double(float(np.float32(value)))}f"


def _bool(value: bool) -> str:
    return "true" if value else "false"
