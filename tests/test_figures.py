"""Scripts that draw the documentation's figures."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from cir.search.index import SearchIndex
from cir.search.opening import Source, open_gallery
from cir.search.query import SearchQuery
from tests.support.cirr import cirr_dataset
from tests.support.galleries import plain_sum, stored
from tests.support.micro import micro_encoder
from tests.support.worlds import small_dataset

FIGURES = Path(__file__).resolve().parents[1] / "docs/figures"


@pytest.mark.parametrize(
    ("make", "kept"), [(small_dataset, True), (cirr_dataset, False)], ids=["FashionIQ", "CIRR"]
)
def test_drawn_queries_are_ranked_by_the_protocol_of_their_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any, kept: bool
) -> None:
    monkeypatch.syspath_prepend(FIGURES)
    drawing = importlib.import_module("make_queries")
    dataset, encoder = make(tmp_path / "shop"), micro_encoder()
    source = Source(stored(dataset, encoder, tmp_path / "shop.h5"), dataset)
    index = SearchIndex(plain_sum(encoder), open_gallery(source))
    rows = drawing.judged_rows(index, dataset, seed=0)
    assert rows
    for row in rows:
        query, gallery = row.query, dataset.gallery("val", row.query.category)
        ranked = [each for each in gallery if kept or each != query.reference_id]
        asked = SearchQuery(images=(query.reference_id,), text=row.text)
        order = [each.id for each in index.ranked(asked, ranked)]
        assert (row.among, row.rank) == (
            len(ranked),
            min(order.index(target) + 1 for target in query.target_ids),
        )
        assert [found.id for found in row.results] == order[:5]
