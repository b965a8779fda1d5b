"""Fixtures that every test may use, and what skips where there is no GPU."""

import gc
from collections.abc import Sequence
from functools import cache

import pytest
import torch
import typer.testing
from hypothesis import settings

from cir.data.dataset import Dataset
from tests.support.hearing import hear_signals
from tests.support.undrawn import undrawn as undrawn_chart
from tests.support.worlds import small_dataset

# A first example may compile what it calls.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# A runner builds the whole command line anew for every call, which takes longer than most commands.
typer.testing._get_command = cache(typer.main.get_command)


def pytest_configure() -> None:
    """Hears the signals that whoever started the tests had ignored."""
    hear_signals()


def pytest_collection_finish() -> None:
    """Keeps the collector of garbage from looking through all modules and tests again and again."""
    gc.freeze()


def pytest_unconfigure() -> None:
    """Lets modules be taken apart at the end as usual."""
    gc.unfreeze()


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Skips the tests marked `gpu` on a machine without CUDA."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device; this machine has none"))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts have names and no curves."""
    monkeypatch.setattr("cir.reporting.svg._drawn", undrawn_chart)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A small dataset folder that no test may change."""
    return small_dataset(tmp_path_factory.mktemp("world") / "dataset")
