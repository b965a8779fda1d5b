"""Random numbers in operations of torch, against the compiled ones."""

import numpy as np
import pytest
import torch

from cir.mining.device.sampling_keys import gumbel, hash_codes, hashes, nearly_gumbel
from cir.mining.scan.sampling_keys import gumbel as compiled_gumbel
from cir.mining.scan.sampling_keys import hash_of

EDGES = [0, 1, 2, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2, 2**32 - 1]
WORDS = np.array([*EDGES, *np.random.default_rng(0).integers(0, 2**32, 3000)], dtype=np.uint32)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_hashes_are_those_of_the_compiled_scan_and_in_their_order(device: str) -> None:
    first, second = WORDS[::-1].copy(), np.roll(WORDS, 5)
    given = [torch.from_numpy(words.view(np.int32)).to(device) for words in (WORDS, first, second)]
    codes = hash_codes(*given)
    found = hashes(codes).cpu().numpy()
    assert found.tolist() == [hash_of(*words) for words in zip(WORDS, first, second, strict=True)]
    assert (np.argsort(codes.cpu().numpy()) == np.argsort(found)).all()


def test_gumbel_variates_are_the_same_bits(device: str) -> None:
    words = torch.from_numpy(WORDS.astype(np.float64)).to(device)
    expected = np.array([compiled_gumbel(word) for word in WORDS])
    assert gumbel(words).cpu().numpy().tobytes() == expected.tobytes()
    assert np.abs(nearly_gumbel(words).cpu().numpy() - expected).max() < 1e-12
