"""Sketched similarities: the stated bound holds, and is of use."""

from collections.abc import Callable
from typing import Final

import numpy as np
import pytest
import torch

from cir.artefacts.vectors import normalised
from cir.mining.numerics.cosine import paired_distances, product_error
from cir.mining.sketch.cost_model import Width
from cir.mining.sketch.product import Sketch, Sketched, concatenated_sides, fastest_dtype
from tests.support.vectors import unit

DTYPES: Final = (torch.int16, torch.bfloat16, torch.float32)
DIM: Final = 72
ROWS: Final = 150


def low_rank(rows: int, dim: int, seed: int) -> np.ndarray:
    plane = np.random.default_rng(99).standard_normal((6, dim))
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, 6)) @ plane + 1e-3 * rng.standard_normal((rows, dim))


def clustered(rows: int, dim: int, seed: int) -> np.ndarray:
    centres = np.random.default_rng(98).standard_normal((4, dim))
    rng = np.random.default_rng(seed)
    return centres[rng.integers(0, 4, rows)] + 0.1 * rng.standard_normal((rows, dim))


def alike(rows: int, dim: int, seed: int) -> np.ndarray:
    return np.ones((rows, dim))


def one_hot(rows: int, dim: int, seed: int) -> np.ndarray:
    signs = np.random.default_rng(seed).choice([-1, 1], (rows, 1))
    return signs * np.eye(dim)[np.arange(seed, seed + rows) % dim]


def far_from_zero(rows: int, dim: int, seed: int) -> np.ndarray:
    return 50 + np.random.default_rng(seed).standard_normal((rows, dim))


def near_duplicates(rows: int, dim: int, seed: int) -> np.ndarray:
    return unit(1, dim) + 1e-5 * np.random.default_rng(seed).standard_normal((rows, dim))


def uneven(rows: int, dim: int, seed: int) -> np.ndarray:
    """Components of very different sizes, on which rounding bears unevenly."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, dim)) * 10.0 ** -rng.integers(0, 9, dim)


Make = Callable[[int, int, int], np.ndarray]
SHAPED: Final[tuple[Make, ...]] = (unit, low_rank, clustered, uneven)
WORLDS: Final = (*SHAPED, alike, one_hot, far_from_zero, near_duplicates)


def made(make: Make, rows: int, seed: int, dim: int = DIM) -> np.ndarray:
    return normalised(make(rows, dim, seed), "test")


def strayed(
    queries: np.ndarray, gallery: np.ndarray, sketch: Sketch, truth: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """How far the product is off for each pair, beyond the product's last rounding; the bound."""
    tile = sketch.tile(gallery)
    out = torch.empty(len(queries), len(gallery), dtype=sketch.dtype)
    sketched = sketch.multiply(slice(0, len(queries)), tile, out)
    if truth is None:
        truth = queries.astype(np.float64) @ gallery.T.astype(np.float64)
    truth = truth - sketched.offsets[:, None]
    product, bounds = numbers(out, sketched), sketched.errors[:, None]
    assert (last_rounded(truth - bounds, sketch) <= product).all()
    assert (product <= last_rounded(truth + bounds, sketch)).all()
    return np.abs(product - truth), bounds


def numbers(out: torch.Tensor, sketched: Sketched) -> np.ndarray:
    """What the products in memory stand for."""
    numbers = out.double().numpy()
    return numbers * sketched.steps[:, None] if out.dtype == torch.int16 else numbers


def last_rounded(values: np.ndarray, sketch: Sketch) -> np.ndarray:
    """Values with the last rounding of a floating-point product; integers state theirs."""
    if sketch.dtype == torch.int16:
        return values
    return torch.from_numpy(values).float().to(sketch.dtype).double().numpy()


def sketched(
    queries: np.ndarray, gallery: np.ndarray, dtype: torch.dtype, width: int | None, split: int = 0
) -> Sketch:
    borders = np.random.default_rng(5).uniform(-1, 1, (len(queries), 2)).astype(np.float32)
    kept = None if width is None else Width(width, split)
    return Sketch(queries, gallery, borders, dtype, kept)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("width", "split"), [(8, 8), (33, 0), (71, 16), (72, 0), (None, 0)])
@pytest.mark.parametrize("make", WORLDS)
def test_no_product_strays_beyond_the_bound(
    make: Make, width: int | None, split: int, dtype: torch.dtype
) -> None:
    queries, gallery = made(make, 40, 1), made(make, ROWS, 2)
    strayed(queries, gallery, sketched(queries, gallery, dtype, width, split))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("spread", [0, 1e-6, 1e-4, 1e-2])
@pytest.mark.parametrize("dim", [3, 16, 64, 640])
def test_the_bound_holds_for_the_cosine_that_decides(
    dim: int, spread: float, dtype: torch.dtype
) -> None:
    """Near-copies, with the offset at one of them: only the cosine's own roundings are left."""
    drawn = np.random.default_rng(dim).standard_normal((ROWS, dim))
    gallery = normalised(drawn[:1] + spread * drawn, "test")
    every = np.arange(ROWS)
    distances = [paired_distances(gallery[:6], 0 * every + q, gallery, every) for q in range(6)]
    decisive = np.float32(1) - np.array([own[q + 7] for q, own in enumerate(distances)])
    sketch = Sketch(gallery[:6], gallery, decisive[:, None], dtype)
    strayed(gallery[:6], gallery, sketch, 1.0 - np.array(distances).astype(np.float64))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [1, 8, 40, 72])
@pytest.mark.parametrize("make", WORLDS)
def test_no_similarity_is_above_its_ceiling(make: Make, width: int, dtype: torch.dtype) -> None:
    queries, gallery = made(make, 40, 1), made(make, ROWS, 2)
    borders = np.full((40, 1), 0.99, np.float32)
    sketch = Sketch(queries, gallery, borders, dtype, Width(width), ceiling=True)
    out = torch.empty(40, ROWS, dtype=dtype)
    sketched = sketch.multiply(slice(0, 40), sketch.tile(gallery), out)
    least = queries.astype(np.float64) @ gallery.T.astype(np.float64) - sketch.offsets[:, None]
    least = last_rounded(least - sketched.errors[:, None], sketch)
    assert (numbers(out, sketched) >= least).all()


def test_two_numbers_for_split_axes_take_most_of_the_rounding_away() -> None:
    queries, gallery = made(low_rank, 40, 1), made(low_rank, ROWS, 2)
    one, two = (
        strayed(queries, gallery, sketched(queries, gallery, torch.bfloat16, 16, split))[1]
        for split in (0, 16)
    )
    assert two.max() < 0.2 * one.max()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("others", SHAPED)
def test_the_bound_holds_for_rows_unlike_those_that_the_axes_were_fitted_to(
    others: Make, dtype: torch.dtype
) -> None:
    queries, gallery, strangers = (
        made(low_rank, 40, 1),
        made(low_rank, ROWS, 2),
        made(others, 90, 3),
    )
    strayed(queries, strangers, sketched(queries, gallery, dtype, 16))
    strayed(queries, -gallery, sketched(queries, gallery, dtype, 16))


@pytest.mark.parametrize(
    ("dtype", "times"), [(torch.int16, 30), (torch.bfloat16, 30), (torch.float32, 200)]
)
@pytest.mark.parametrize(("make", "width"), [(unit, 72), (unit, 40), (low_rank, 8), (clustered, 8)])
def test_the_bound_is_not_vacuous(make: Make, width: int, dtype: torch.dtype, times: float) -> None:
    queries, gallery = made(make, 200, 1), made(make, 400, 2)
    off, bounds = strayed(queries, gallery, sketched(queries, gallery, dtype, width))
    assert bounds.max() < times * off.max()
    assert bounds.max() < 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_few_axes_suffice_for_vectors_that_crowd_along_few(dtype: torch.dtype) -> None:
    queries, gallery = made(low_rank, 400, 1), made(low_rank, ROWS, 2)
    cut, whole = (
        strayed(queries, gallery, sketched(queries, gallery, dtype, w))[1] for w in (8, 72)
    )
    assert cut.max() < 2 * whole.max() + 1e-4


def chosen_width(make: Make, dtype: torch.dtype) -> int:
    queries, gallery = made(make, 3200, 1, dim=256), made(make, 3200, 2, dim=256)
    borders = np.full((3200, 1), 0.2, np.float32)
    return Sketch(queries, gallery, borders, dtype).width.axes


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_width_is_what_the_vectors_ask_for(dtype: torch.dtype) -> None:
    assert chosen_width(low_rank, dtype) == 16
    assert chosen_width(unit, dtype) == 256


def test_small_work_is_cut_nowhere() -> None:
    queries, gallery = made(low_rank, 100, 1, dim=256), made(low_rank, 100, 2, dim=256)
    tile = sketched(queries, gallery, torch.float32, None).tile(gallery)
    assert tile.columns.shape[1] == 256 + 2


@pytest.mark.parametrize("queries", [1, 2, 63, 64, 65, 129, 2047, 2048, 2049, 3000, 4097])
@pytest.mark.parametrize("gallery", [1, 65, 2049, 4200])
def test_any_number_of_rows_is_sampled(queries: int, gallery: int) -> None:
    asked, shown = made(low_rank, queries, 1, dim=65), made(low_rank, gallery, 2, dim=65)
    borders = np.zeros((queries, 1), np.float32)
    sketch = Sketch(asked, shown, borders, torch.float32, small_work=0)
    assert len(sketch.queries.columns) == queries
    strayed(asked, shown[:50], sketch)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sides_are_taken_apart_and_joined(dtype: torch.dtype) -> None:
    queries, gallery = made(uneven, 20, 1), made(uneven, ROWS, 2)
    sketch = sketched(queries, gallery, dtype, 40)
    whole = sketch.tile(gallery)
    parts = concatenated_sides([sketch.tile(gallery[:70]), sketch.tile(gallery[70:])])
    rows = np.random.default_rng(0).permutation(ROWS)[:31]
    for one, other in (
        (parts, whole),
        (whole.take(rows), sketch.tile(gallery[rows])),
        (whole.block(slice(9, 40)), sketch.tile(gallery[9:40])),
    ):
        # Products of other shapes add in another order.
        np.testing.assert_allclose(one.columns.float(), other.columns.float(), rtol=0.01, atol=1e-9)
        for mine, theirs in zip(one.lengths, other.lengths, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0.01, atol=1e-7)


def test_the_doubt_of_a_row_is_the_bound_that_it_alone_would_have() -> None:
    queries, gallery = made(clustered, 40, 1), np.concatenate([unit(20, DIM), unit(20, DIM)[::-1]])
    sketch = sketched(queries, gallery, torch.bfloat16, 24)
    tile = sketch.tile(gallery)
    alone = [sketch.errors(sketch.queries, tile.block(slice(i, i + 1))).mean() for i in range(40)]
    of_sums = 6 * product_error(tile.columns.shape[1])
    assert np.abs(sketch.doubt(tile) - alone).max() < of_sums < np.ptp(alone)


def test_the_quicker_arithmetic_is_found_and_kept() -> None:
    assert fastest_dtype() in DTYPES
    assert fastest_dtype() is fastest_dtype()
