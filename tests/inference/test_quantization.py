"""The affine int8 map, against its definition and against the runtime's own operator."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.inference.quantization import (
    INT8_MAX,
    INT8_MIN,
    JointQuantizer,
    Quantization,
    TensorSpec,
    dequantize,
    quantize,
)
from tests.fakes.tiny_model import quantize_model

QUANTIZATIONS = st.builds(
    Quantization,
    scale=st.floats(2.0**-100, 2.0**100, width=32),
    zero_point=st.integers(INT8_MIN, INT8_MAX),
)
ALL = np.arange(-128, 128).astype(np.int8)


@given(QUANTIZATIONS)
def test_every_integer_survives_the_round_trip(quantization):
    """Invariant: quantize(dequantize(q)) == q for all 256 values."""
    assert np.array_equal(quantize(dequantize(ALL, quantization), quantization), ALL)


@given(QUANTIZATIONS, st.lists(st.floats(allow_nan=False), min_size=1, max_size=20))
def test_order_is_kept_and_nothing_leaves_the_range(quantization, values):
    """Invariant: a larger value never gives a smaller integer, infinities and overflow included."""
    integers = quantize(sorted(values), quantization)

    assert integers.dtype == np.int8
    assert np.all(np.diff(integers.astype(int)) >= 0)


@given(QUANTIZATIONS, st.floats(-200, 200, width=32))
def test_the_nearest_integer_is_taken(quantization, steps):
    """Invariant: inside the range the error is at most half a step, up to float32 rounding."""
    value = float(np.float32(steps) * np.float32(quantization.scale))

    integer = int(quantize([value], quantization)[0])

    exact = Fraction(value) / Fraction(float(np.float32(quantization.scale))) + quantization.zero_point
    clamped = min(max(exact, Fraction(INT8_MIN)), Fraction(INT8_MAX))
    assert abs(integer - clamped) <= Fraction(1, 2) + Fraction(1, 2**15)


@pytest.mark.parametrize(
    ("steps", "integer"),
    [
        (0.5, 1),
        (-0.5, -1),
        (1.5, 2),
        (2.5, 3),
        (-2.5, -3),
        (0.49999997, 0),
        (-0.49999997, 0),
        (126.5, 127),
        (-128.5, -128),
    ],
)
def test_halves_are_rounded_away_from_zero(steps, integer):
    """As in the reference kernel; the largest float32 below a half is not a half."""
    assert quantize([steps], Quantization(scale=1.0, zero_point=0)).tolist() == [integer]


@pytest.mark.parametrize(
    ("value", "integer"), [(np.inf, 127), (-np.inf, -128), (1e300, 127), (-1e300, -128), (3.4e38, 127), (0.0, -7)]
)
def test_values_beyond_the_range_saturate(value, integer):
    assert quantize([value], Quantization(scale=0.1, zero_point=-7)).tolist() == [integer]


@pytest.mark.parametrize("shape", [(0,), (3, 0, 1), (2, 5, 1)])
def test_the_shape_is_kept(shape):
    quantization = Quantization(scale=0.1, zero_point=0)

    assert quantize(np.zeros(shape), quantization).shape == shape
    assert dequantize(np.zeros(shape, dtype=np.int8), quantization).shape == shape


def test_unknown_has_no_integer():
    """NaN would become an arbitrary number."""
    with pytest.raises(ValueError, match="got NaN"):
        quantize([0.0, np.nan], Quantization(scale=1.0, zero_point=0))


@pytest.mark.parametrize(
    ("scale", "zero_point"),
    [(0.0, 0), (-1.0, 0), (float("nan"), 0), (float("inf"), 0), (1e-45, 0), (1e38, 0), (1.0, 128), (1.0, -129)],
)
def test_an_impossible_map_is_refused(scale, zero_point):
    with pytest.raises(ValueError, match="expected"):
        Quantization(scale=scale, zero_point=zero_point)


class TestSeveralInputs:
    @given(st.data(), st.lists(QUANTIZATIONS, min_size=1, max_size=3))
    def test_together_they_become_what_each_becomes_alone(self, data, quantizations):
        """Invariant: no value is judged by the scale of its neighbour."""
        specs, parts = [], []
        for number, quantization in enumerate(quantizations):
            shape = (1, data.draw(st.integers(1, 4)), data.draw(st.integers(1, 2)))
            reach = 200 * quantization.scale
            values = data.draw(st.lists(st.floats(-reach, reach), min_size=shape[1] * shape[2], max_size=8))
            specs.append(TensorSpec(name=str(number), shape=shape, quantization=quantization))
            parts.append(np.array(values[: shape[1] * shape[2]]).reshape(shape[1:]))

        together = JointQuantizer(specs).quantize(parts)

        for spec, part, integers in zip(specs, parts, together, strict=True):
            assert integers.shape == spec.shape
            assert np.array_equal(integers.ravel(), quantize(part, spec.quantization).ravel())

    @pytest.mark.parametrize("sizes", [(3, 2), (3, 3), (0, 6), (4, 3), (6,)])
    def test_an_input_of_another_size_is_misuse(self, sizes):
        """Else the rest of one input would be read as the next one."""
        quantization = Quantization(scale=1.0, zero_point=0)
        specs = [TensorSpec(name=n, shape=(1, k), quantization=quantization) for n, k in (("a", 4), ("b", 2))]

        with pytest.raises(ValueError, match="expected"):
            JointQuantizer(specs).quantize([np.zeros(size) for size in sizes])

    def test_unknown_has_no_integer_here_either(self):
        specs = [TensorSpec(name="a", shape=(1, 2), quantization=Quantization(scale=1.0, zero_point=0))] * 2

        with pytest.raises(ValueError, match="got NaN"):
            JointQuantizer(specs).quantize([np.zeros(2), np.array([0.0, np.nan])])


MAPS = pytest.mark.parametrize(("scale", "zero_point"), [(0.02, -3), (1 / 256, -128), (0.1, 127), (7.3, 0)])


def around_every_half_step(scale):
    """Return float32 values on, just above and just below every half step, and some at random."""
    halves = ((np.arange(-140, 140) + 0.5) * scale).astype(np.float32)
    above, below = np.nextafter(halves, np.float32(np.inf)), np.nextafter(halves, np.float32(-np.inf))
    spread = np.random.default_rng(8).normal(0, 60 * scale, 5000).astype(np.float32)
    return np.concatenate([halves, above, below, spread])


def runtime_quantize(values, scale, zero_point, resolver):
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")
    runtime = litert.Interpreter(
        model_content=quantize_model(n_values=len(values), scale=scale, zero_point=zero_point),
        experimental_op_resolver_type=getattr(litert.OpResolverType, resolver),
    )
    runtime.allocate_tensors()
    runtime.set_tensor(runtime.get_input_details()[0]["index"], values)
    runtime.invoke()
    return runtime.get_tensor(runtime.get_output_details()[0]["index"])


@MAPS
def test_the_reference_kernel_quantizes_alike(scale, zero_point):
    """Our map equals the runtime's QUANTIZE operator exactly, around every half step too."""
    values = around_every_half_step(scale)

    ours = quantize(values, Quantization(scale=scale, zero_point=zero_point))

    assert np.array_equal(ours, runtime_quantize(values, scale, zero_point, "BUILTIN_REF"))


@MAPS
def test_the_fast_kernels_differ_at_half_steps_only(scale, zero_point):
    """They round halves to even and multiply by the reciprocal: one step apart, and nowhere but at a half."""
    values = around_every_half_step(scale)

    ours = quantize(values, Quantization(scale=scale, zero_point=zero_point)).astype(int)

    theirs = runtime_quantize(values, scale, zero_point, "AUTO").astype(int)
    steps = values.astype(float) / np.float32(scale)
    is_half = np.abs(np.abs(steps - np.trunc(steps)) - 0.5) < 1e-4
    assert np.max(np.abs(ours - theirs)) <= 1
    assert np.array_equal(ours[~is_half], theirs[~is_half])
