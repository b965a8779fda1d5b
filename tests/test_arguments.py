"""What models, losses and `cir.load` refuse of any kind, in one line that names the argument."""

from typing import Final

import pytest

from tests.support.fresh import assert_refused, lines_of

SETUP: Final = """
import numpy as np, torch, cir
from cir.models.combiner import build_combiner
from cir.models.composition import baseline, compose
from cir.models.losses import ContrastCandidates, contrastive_loss, triplet_loss
from cir.artefacts.embedding_store import MappedVectors
from cir.artefacts.vectors import VectorTable
from tests.support.galleries import drawn_index
store = MappedVectors(VectorTable(tuple("abc"), np.eye(3, 5, dtype=np.float32)))
index = drawn_index()
vectors, rows, own = torch.eye(3, 5), np.eye(3, 5, dtype=np.float32), torch.eye(3) > 0
def combiner(**changed):
    return build_combiner(**dict(name="gated-sum", dim=5, hidden=4) | changed)
def composed(**changed):
    usual = dict(combiner=combiner(), reference=rows, text=rows, device="cpu")
    return compose(**usual | changed)
def triplets(**changed):
    usual = dict(query=vectors, target=vectors, negatives=torch.ones(3, 2, 5))
    usual |= dict(present=torch.ones(3, 2) > 0, margin=0.2)
    return triplet_loss(**usual | changed)
def candidates(**changed):
    return ContrastCandidates(**dict(vectors=vectors, excluded=~own, positive=own) | changed)
def contrast(**changed):
    usual = dict(query=vectors, groups=[candidates()], temperature=0.1)
    return contrastive_loss(**usual | changed)
"""
REFUSED: Final = {
    "combiner(dim='x')": "`dim` is 'x'; expected a whole number, at least 1",
    "combiner(hidden=2.5)": "`hidden` is 2.5; expected a whole number",
    "combiner(hidden=True)": "`hidden` is True; expected a whole number",
    "combiner(projection=4)": "`projection` is 4; expected None: gated-sum has no such width",
    "combiner(name='sum')": "`hidden` is 4; expected None: sum has no such width",
    "combiner(dim=torch.tensor(5))": "`dim` is a torch.int64 Tensor of shape ()",
    "combiner(dropout='x')": "`dropout` is 'x'; expected 0 to below 1",
    "combiner(name=[])": "`name` is a list; expected one of gated-sum",
    "baseline([])": "`query` is a list; expected one of reference",
    "composed(combiner='sum')": "`combiner` is 'sum'; expected a Module",
    "composed(reference=rows.tolist())": "`reference` is a list; expected a 2-d array of floats",
    "composed(text=rows[0])": "`text` is a float32 ndarray of shape (5,)",
    "composed(batch_size='x')": "`batch_size` is 'x'; expected a whole number",
    "triplets(query=None)": "`query` is None; expected a tensor of real numbers, (any, any)",
    "triplets(query=vectors[0])": "`query` is a torch.float32 Tensor of shape (5,)",
    "triplets(target=vectors[:2])": "`target` is a torch.float32 Tensor of shape (2, 5)",
    "triplets(negatives=vectors)": "expected a tensor of real numbers, (3, 2, 5)",
    "triplets(present=torch.ones(3, 2))": "`present` is a torch.float32 Tensor",
    "triplets(margin='x')": "`margin` is 'x'; expected -inf to inf",
    "triplets(form='square')": "`form` is 'square'; expected one of hinge, softplus",
    "triplets(reduction=None)": "`reduction` is None; expected one of mean, hardest",
    "contrast(groups=[])": "`groups` is a list; expected a list of `ContrastCandidates`",
    "contrast(groups=candidates())": "`groups` is a ContrastCandidates; expected a list",
    "contrast(groups=[vectors])": "`groups` is a torch.float32 Tensor of shape (3, 5)",
    "contrast(query=vectors[:2])": "`excluded` is a torch.bool Tensor of shape (3, 3)",
    "contrast(query=torch.eye(3, 6))": "`vectors` is a torch.float32 Tensor of shape (3, 5)",
    "contrast(temperature=0)": "`temperature` is 0; expected more than 0",
    "contrast(hardness=-1)": "`hardness` is -1; expected 0 to inf",
    "contrast(weights=torch.ones(2))": "`weights` is a torch.float32 Tensor of shape (2,)",
    "triplets(weights=[1, 1, 1])": "`weights` is a list; expected a tensor of real numbers, (3)",
    "candidates(excluded=None)": "`excluded` is None; expected a tensor of Booleans",
    "candidates(positive=own[:2])": "`positive` is a torch.bool Tensor of shape (2, 3)",
    "store[1.5]": "`key` is 1.5; expected keys or rows, and not both",
    "store[None]": "`key` is None; expected keys or rows, and not both",
    "store[[None]]": "`key` is None; expected keys or rows, and not both",
    "store[['a', 1]]": "`key` is a list; expected keys or rows, and not both",
    "store[np.arange(3) > 1]": (
        "`key` is a bool ndarray of shape (3,), which holds True and False; expected keys or rows: "
        "np.flatnonzero gives the rows of a mask"
    ),
    "index.search(text='a', category=['even'])": "`category` is a list; expected the name of a",
    "index.search(text='a', copies='no')": "`copies` is 'no'; expected True or False",
    "cir.load('x' * 300)": "File name too long (choose a shorter name)",
    "cir.load('a\\0b')": "expected a path",
}
ACCEPTED: Final = (
    "combiner(dim=np.int64(5))",
    "composed()",
    "store[np.array([0, 2])]",
    "store[np.int64(-1)]",
    "index.search(text='a', category='even', copies=True)",
    "triplets()",
    "contrast(temperature=torch.tensor(0.1))",
    "contrast(weights=torch.ones(3), hardness=1)",
)


@pytest.fixture(scope="module")
def told() -> dict[str, str]:
    calls = [*REFUSED, *ACCEPTED]
    return dict(zip(calls, lines_of(SETUP, calls), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("call", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(told: dict[str, str], call: str) -> None:
    assert_refused(told[call], REFUSED[call], "UsageError", "CheckpointError")


@pytest.mark.slow
@pytest.mark.parametrize("call", ACCEPTED)
def test_what_fits_is_accepted(told: dict[str, str], call: str) -> None:
    assert told[call] == "accepted"
