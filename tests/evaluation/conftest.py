"""A small CIRR beside the small FashionIQ."""

import pytest

from cir.data.dataset import Dataset
from tests.support.cirr import cirr_dataset


@pytest.fixture(scope="session")
def cirr(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return cirr_dataset(tmp_path_factory.mktemp("cirr") / "data")
