"""How many threads encode a query, and compare it with photos."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from threadpoolctl import ThreadpoolController

from cir.encoding.encoder import Encoder
from cir.search.one_thread import threads_for, threads_to_compare
from tests.support.micro import micro_encoder

THREADS = 2


@pytest.fixture(autouse=True)
def _several_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return micro_encoder()


@pytest.mark.parametrize(
    ("photos", "texts", "expected"), [(1, 1, 1), (2, 8, 1), (3, 0, THREADS), (0, 9, THREADS)]
)
def test_little_is_encoded_in_one_thread(
    encoder: Encoder, photos: int, texts: int, expected: int
) -> None:
    with threads_for(encoder, photos, texts):
        assert torch.get_num_threads() == expected
    assert torch.get_num_threads() == THREADS


@pytest.mark.parametrize(
    ("queries", "rows", "one"), [(1, 9, True), (3, 9, False), (1, 10**6, False)]
)
def test_few_queries_are_compared_in_one_thread(queries: int, rows: int, one: bool) -> None:
    def threads() -> list[int]:
        return [torch.get_num_threads(), *(library["num_threads"] for library in blas.info())]

    blas = ThreadpoolController().select(user_api="blas")
    with blas.limit(limits=THREADS):
        before = threads()
        with threads_to_compare(queries, rows):
            assert threads() == ([1] * len(before) if one else before)
        assert threads() == before


def test_a_heavy_encoder_has_all_threads(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "image_weights", 87_000_000)
    monkeypatch.setattr(encoder, "image_size", 288)
    with threads_for(encoder, 1, 1):
        assert torch.get_num_threads() == THREADS


def test_the_last_of_several_queries_sets_the_threads_back(encoder: Encoder) -> None:
    together = Barrier(THREADS)

    def encode(_: int) -> int:
        with threads_for(encoder, 1, 1):
            together.wait(10)
            return torch.get_num_threads()

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(encode, range(THREADS))) == [1] * THREADS
    with threads_for(encoder, 1, 1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == THREADS
