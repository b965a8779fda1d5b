"""Dropout whose mask does not depend on how many processes share a batch."""

import numpy as np
import pytest
import torch

from cir.machine.processes import Processes
from cir.models.dropout import Dropout, share_masks


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("number", [torch.float32, torch.bfloat16])
def test_masks_of_all_parts_are_that_of_the_whole(count, number):
    dropout, features = Dropout(0.4), torch.randn(11, 6).to(number)
    torch.manual_seed(3)
    whole = dropout(features)
    parts = []
    for rank in range(count):
        rows = Processes(rank, count).part(11)
        share_masks(dropout, 11, rows)
        torch.manual_seed(3)
        parts.append(dropout(features[rows]))
    assert torch.equal(torch.cat(parts), whole)


def test_dropout_drops_its_share_and_keeps_the_mean():
    dropout, ones = Dropout(0.3), torch.ones(400, 500)
    dropped = dropout(ones)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)
    assert set(np.unique(dropped)) == {0.0, np.float32(1 / np.float32(0.7))}
    assert dropout.eval()(ones) is ones
