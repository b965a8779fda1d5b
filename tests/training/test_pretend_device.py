"""Runs on a device that refuses to be mixed with the CPU, against runs on the CPU."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cir.data.dataset import Dataset
from tests.support.forked import CODE, forked

pytestmark = pytest.mark.slow

RUNS = (
    *("attention-fusion", "terms", "online", "trust", "hardness"),
    *("text", "image", "both", "in chunks"),
)
MIXED = """
import torch
from tests.support import pretend_device
with pretend_device.pretended() as device:
    away = torch.ones(3, 2, device=device)
    assert float(away.sum()) == 6 and pretend_device.WAITS == {"number": 1}
    assert len(away[away[:, 0] > 0]) == 3 and pretend_device.WAITS["mask"] == 1
    for wrong in (lambda: away + torch.ones(3, 2), lambda: torch.ones(3)[away[:, 0].long()]):
        try:
            wrong()
        except pretend_device.MixedDevicesError:
            print("refused")
    try:
        away.numpy()
    except (RuntimeError, TypeError):
        print("refused")
"""


AVERAGED = """
import torch
from cir.models.optim import WeightAverage
from tests.support import pretend_device
with pretend_device.pretended() as device, torch.no_grad():
    weights = torch.nn.Parameter(torch.zeros(2, device=device))
    average = WeightAverage([weights], 0.9)
    weights.fill_(11)
    average.update()
    with average.in_place():
        print(float(weights.sum()))
    print(float(weights.sum()))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> dict[str, Any]:
    """What the runs on both devices lost."""
    folder = tmp_path_factory.mktemp("pretend")
    process = forked("tests.support.pretend_training", [str(dataset.root), str(folder)])
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return json.loads((Path(folder) / "found.json").read_text())


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_the_same_on_both(found: dict[str, Any], name: str) -> None:
    here, away = found[name]["here"], found[name]["away"]["lines"]
    assert [loss for loss, _ in away[1:]] == pytest.approx([loss for loss, _ in here[1:]], rel=1e-5)
    assert [dev for _, dev in away] == [dev for _, dev in here]


@pytest.mark.parametrize("name", RUNS)
def test_a_step_waits_once(found: dict[str, Any], name: str) -> None:
    """For its losses; and where features are encoded in chunks, for the rows of each tower."""
    waits = found[name]["away"]["waits"]
    assert waits == [{"copy": 3 if name == "in chunks" else 1}] * len(waits)
    assert waits


def test_ranks_and_neighbours_are_the_same_on_both(found: dict[str, Any]) -> None:
    """Under every protocol."""
    assert found["evaluated"]["away"] == found["evaluated"]["here"]
    assert len(found["evaluated"]["here"]) == 8


@pytest.mark.parametrize("kind", ["images", "texts", "queries"])
def test_a_loaded_run_gives_the_same_vectors_on_both(found: dict[str, Any], kind: str) -> None:
    """`cir.load` of a run whose image tower is tuned."""
    here, away = (np.array(found["loaded"][where][kind]) for where in ("here", "away"))
    np.testing.assert_allclose(away, here, atol=1e-6)


def test_an_average_takes_the_place_of_weights_by_their_values() -> None:
    """Tensors that exchange their `data` keep what else belongs to them: losses were off by 0.01.

    After one update the average has moved by 1 - 2 / 11 of the way.
    """
    process = forked(CODE, [AVERAGED])
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert [float(line) for line in said.split()] == pytest.approx([18, 22])


def test_the_device_refuses_what_a_gpu_refuses() -> None:
    process = forked(CODE, [MIXED])
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert said.split() == ["refused"] * 3
