"""Numbers as integers: in the same order, and back."""

from collections.abc import Callable

import numpy as np
import pytest

from cir.mining.numerics.codes import BITS, MOST_STEPS, code_of, number_of, order_codes

SHIFTS = {16: np.int16, 0: np.int32}
SPECIAL = (0.0, -0.0, 1.0, -1.0, 2.0**-149, -(2.0**-149), 2.0**-126, -(2.0**-126), np.inf, -np.inf)


def every_bfloat16() -> np.ndarray:
    return np.arange(-(2**15), 2**15).astype(np.int16)


def many_float32() -> np.ndarray:
    rng = np.random.default_rng(0)
    drawn = rng.integers(-(2**31), 2**31, 20000).astype(np.int32)
    near = rng.uniform(-2, 2, 20000).astype(np.float32).view(np.int32)
    return np.concatenate([drawn, near, np.array(SPECIAL, np.float32).view(np.int32)])


def numbers(bits: np.ndarray) -> np.ndarray:
    """What the bits stand for; bfloat16 is the upper half of float32."""
    shift = 32 - 8 * bits.itemsize
    return (bits.astype(np.int64) << shift).astype(np.int32).view(np.float32)


def without_nan(bits: np.ndarray) -> np.ndarray:
    return bits[~np.isnan(numbers(bits))]


@pytest.mark.parametrize("draw", [every_bfloat16, many_float32])
def test_codes_ascend_with_the_numbers(draw: Callable[[], np.ndarray]) -> None:
    bits = without_nan(draw())
    codes = bits.copy()
    order_codes(codes)
    by_code = numbers(bits)[np.argsort(codes, kind="stable")]
    assert (by_code[1:] >= by_code[:-1]).all()
    assert len(np.unique(codes)) == len(np.unique(bits))
    zeros = codes[numbers(bits) == 0]
    assert set(zeros.tolist()) == {-1, 0}  # minus zero just before zero


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_what_no_product_gives_is_below_every_number(dtype: type) -> None:
    row = np.array([-1, np.float32(-np.inf).view(np.int32) >> (32 - 8 * dtype().itemsize)], dtype)
    order_codes(row)
    assert row[0] == np.iinfo(dtype).min < row[1]


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_number_has_the_code_of_its_bits(shift: int) -> None:
    bits = without_nan(every_bfloat16() if shift else many_float32()[:5000])
    bits = np.append(bits, np.array(SPECIAL, np.float32).view(np.int32) >> shift).astype(bits.dtype)
    codes, cell = bits.copy(), np.empty(1, np.float32)
    order_codes(codes)
    values = numbers(bits).tolist()
    assert [code_of(value, shift, BITS, cell) for value in values] == codes.tolist()
    back = np.array([number_of(code, shift, BITS, cell) for code in codes.tolist()])
    assert (
        back.astype(np.float32).view(np.int32) == np.array(values, np.float32).view(np.int32)
    ).all()


def test_numbers_between_two_codes_get_the_lower() -> None:
    cell = np.empty(1, np.float32)
    for number in numbers(without_nan(many_float32()))[::4].tolist():
        code = code_of(number, 16, BITS, cell)
        assert number_of(code, 16, BITS, cell) <= number
        if np.isfinite(number):
            assert number_of(code + 1, 16, BITS, cell) > number or number == 0


@pytest.mark.parametrize("step", [2.0**-15, 1e-4, 3.0])
def test_steps_are_counted_down_to_the_last_and_no_further(step: float) -> None:
    cell = np.empty(1, np.float32)
    for number in np.random.default_rng(0).uniform(-40_000, 40_000, 2000) * step:
        code = code_of(number, 16, step, cell)
        assert -MOST_STEPS <= code <= MOST_STEPS
        if abs(number) < (MOST_STEPS - 1) * step:
            assert number_of(code, 16, step, cell) <= number + 1e-9 * step
            assert number < number_of(code + 1, 16, step, cell) + 1e-9 * step
    assert code_of(1e30, 16, step, cell) == MOST_STEPS == -code_of(-1e30, 16, step, cell)
