"""Recall against loops, chance against simulation, and what a protocol means."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from cir.artefacts.provenance import Provenance
from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import VectorTable
from cir.data.captions import both_orders, joined
from cir.data.dataset import Dataset
from cir.data.queries import Query
from cir.errors import DatasetError, UsageError
from cir.evaluation.protocol import Protocol
from cir.evaluation.recall import CUTOFFS, CategoryRecall, Evaluation, chance, evaluate, recalls
from cir.models.combiner import ReferenceOnly, SumCombiner
from tests.support.judged import CPU, PROTOCOLS, ranks_of
from tests.support.worlds import random_embeddings


def store(vectors: dict[str, list[float]], skipped: tuple[str, ...] = ()) -> Embeddings:
    """Images at hand-written places; every text used here is 'on'."""
    places = np.array(list(vectors.values()), dtype=np.float32)
    return Embeddings(
        images=VectorTable(tuple(vectors), places),
        captions=VectorTable(("on",), np.ones((1, places.shape[1]), np.float32)),
        image_sha256=tuple("0" * 64 for _ in vectors),
        provenance=Provenance("micro", "random", "0" * 64, "targetpad", places.shape[1]),
        skipped=dict.fromkeys(skipped, "broken"),
        path=Path("embeddings.h5"),
        sha256="e" * 64,
    )


def asked(number: int, reference: str, *targets: str) -> Query:
    return Query(f"shoe-val-{number:05d}", "shoe", reference, ("on",), targets)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.sqrt((vector**2).sum())


def naive_recall(
    dataset: Dataset, embeddings: Embeddings, protocol: Protocol, category: str, cutoff: int
) -> float:
    """Recall of the sum by sorting the gallery for one query after another."""
    image = dict(zip(embeddings.images.keys, embeddings.images.vectors, strict=True))
    text = dict(zip(embeddings.captions.keys, embeddings.captions.vectors, strict=True))
    own = [q for q in dataset.queries("val") if q.category == category]
    gallery = dataset.gallery("val", category)
    if protocol.gallery == "val":
        named = {q.reference_id for q in own} | {q.target_id for q in own}
        gallery = [i for i in gallery if i in named]
    if protocol.gallery == "all":
        gallery = dataset.image_ids()
    hits = []
    for query in own:
        wordings = [joined(query.captions)]
        if protocol.captions == "both-orders":
            wordings = list(both_orders(query.captions))
        excluded = query.reference_id if protocol.reference == "removed" else None
        for wording in wordings:
            composed = unit(image[query.reference_id]) + unit(text[wording])
            order = sorted(
                (i for i in gallery if i != excluded), key=lambda i: -(unit(image[i]) @ composed)
            )
            hits.append(query.target_id in order[:cutoff])
    return 100 * float(np.mean(hits))


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
def test_recall_agrees_with_loops(dataset: Dataset, protocol: Protocol) -> None:
    embeddings = random_embeddings(dataset)
    found = evaluate(
        dataset.queries("val"),
        dataset.galleries("val"),
        embeddings,
        SumCombiner(),
        protocol,
        query="sum",
        device=CPU,
        every_image=dataset.image_ids(),
    )
    assert [c.category for c in found.categories] == list(dataset.categories)
    for category in found.categories:
        for cutoff in CUTOFFS:
            expected = naive_recall(dataset, embeddings, protocol, category.category, cutoff)
            assert category.recall[cutoff] == pytest.approx(expected)
    assert found.headline == pytest.approx((found.mean[10] + found.mean[50]) / 2)
    assert json.loads(json.dumps(found.to_json()))["protocol"]["gallery"] == protocol.gallery


ROW = {f"i{n}": [float(np.cos(n / 9)), float(np.sin(n / 9))] for n in range(12)}
"""Images along an arc: the reference's neighbours are those with the nearest numbers."""


def recall_of_reference(queries: list[Query], embeddings: Embeddings, **rules: str) -> Evaluation:
    return evaluate(
        queries,
        {"shoe": list(ROW)},
        embeddings,
        ReferenceOnly(),
        Protocol("val", **rules),  # type: ignore[arg-type]
        query="reference",
        device=CPU,
    )


def test_recall_by_hand() -> None:
    """From i0 the order is i0, i1, ...; so i4 is fifth, and i11 twelfth."""
    queries = [asked(0, "i0", "i4"), asked(1, "i0", "i11"), asked(2, "i0", "i11", "i1")]
    found = recall_of_reference(queries, store(ROW)).categories[0]
    assert found.recall == pytest.approx({1: 0, 5: 200 / 3, 10: 200 / 3, 50: 100})
    assert (found.queries, found.gallery_size) == (3, 12)


def test_removing_the_reference_moves_the_others_up() -> None:
    assert recall_of_reference([asked(0, "i0", "i1")], store(ROW)).mean[1] == 0
    removed = recall_of_reference([asked(0, "i0", "i1")], store(ROW), reference="removed")
    assert removed.mean[1] == 100
    assert removed.categories[0].chance[1] == pytest.approx(100 / 11)


def test_a_reference_that_is_removed_is_no_target_either() -> None:
    queries = [asked(0, "i0", "i0"), asked(1, "i0", "i0", "i1")]
    assert recall_of_reference(queries, store(ROW)).mean[1] == 100
    removed = recall_of_reference(queries, store(ROW), reference="removed")
    assert (removed.dropped, removed.queries, removed.mean[1]) == (1, 1, 100)
    assert removed.categories[0].chance[1] == pytest.approx(100 / 11)


def test_skipped_images_shrink_the_gallery_and_drop_queries() -> None:
    """i3 is broken: as the reference or the only target it drops a query."""
    queries = [
        asked(0, "i3", "i4"),
        asked(1, "i0", "i3"),
        asked(2, "i0", "i3", "i4"),
        asked(3, "i0", "i1"),
    ]
    embeddings = store({i: v for i, v in ROW.items() if i != "i3"}, skipped=("i3",))
    found = recall_of_reference(queries, embeddings)
    assert (found.dropped, found.queries) == (2, 2)
    assert (found.categories[0].gallery_size, found.categories[0].gallery_expected) == (11, 12)
    assert found.mean[5] == 100
    assert "2 queries were left out" in found.notes()[0]
    assert "11 of the 12 images" in found.notes()[1]


def test_a_split_without_targets_cannot_be_evaluated(dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="32 of 32 queries of split test have no target"):
        evaluate(
            dataset.queries("test"),
            dataset.galleries("test"),
            random_embeddings(dataset),
            SumCombiner(),
            Protocol("test"),
            query="sum",
            device=CPU,
        )


def test_a_target_outside_the_gallery_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"shoe-val-00007 has the target x9, .* lacks"):
        recall_of_reference([asked(7, "i0", "x9")], store(ROW))


def test_nothing_left_to_evaluate_is_said() -> None:
    embeddings = store({i: v for i, v in ROW.items() if i != "i0"}, skipped=("i0",))
    with pytest.raises(DatasetError, match="none of the 1 queries"):
        recall_of_reference([asked(0, "i0", "i1")], embeddings)


@pytest.mark.parametrize(
    ("gallery", "targets", "cutoff"), [(7, 1, 1), (7, 1, 5), (9, 3, 2), (5, 4, 2), (6, 2, 50)]
)
def test_chance_agrees_with_drawing_rankings(gallery: int, targets: int, cutoff: int) -> None:
    rng = np.random.default_rng(0)
    orders = rng.permuted(np.tile(np.arange(gallery), (20_000, 1)), axis=1)
    simulated = (orders[:, :cutoff] < targets).any(axis=1).mean()
    assert chance(gallery, targets, cutoff) == pytest.approx(simulated, abs=0.02)


def test_chance_of_one_target_is_the_share_of_the_gallery() -> None:
    assert chance(3817, 1, 50) == pytest.approx(50 / 3817)


def test_galleries_of_other_sizes_than_the_published_are_told() -> None:
    sizes = {"dress": 3817, "shirt": 6346, "toptee": 5373}
    exact = Evaluation(
        Protocol("val"), "sum", tuple(map(category_of, *zip(*sizes.items(), strict=True))), 0
    )
    assert exact.notes() == ()
    smaller = dataclasses.replace(exact.categories[0], gallery_size=3000, gallery_expected=3000)
    other = dataclasses.replace(exact, categories=(smaller, *exact.categories[1:]))
    assert "not comparable with published FashionIQ figures" in other.notes()[0]
    on_train = dataclasses.replace(other, protocol=Protocol("train"))
    assert on_train.notes() == ()


def category_of(category: str, size: int) -> CategoryRecall:
    nothing = dict.fromkeys(CUTOFFS, 0.0)
    return CategoryRecall(category, 1, size, size, nothing, nothing)


@pytest.mark.parametrize("numbers", [(3, 4, 1), (3, -1, 1), (3, 1, -1)])
def test_impossible_chances_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="no more targets than images"):
        chance(*numbers)


def test_ranks_without_targets_have_no_recall(dataset: Dataset) -> None:
    ranks = ranks_of(dataset, SumCombiner(), Protocol("test"), judged=False)
    with pytest.raises(UsageError, match="split test have no target; recall needs one each"):
        recalls(ranks, "sum")


def test_chance_figures_are_averaged_over_categories_and_queries() -> None:
    """Two galleries of 12 and 6 images; one query of three in the first has two targets."""
    queries = [asked(0, "i0", "i4"), asked(1, "i0", "i11", "i1"), asked(2, "i1", "i4")]
    boot = Query("boot-val-00000", "boot", "i0", ("on",), ("i3",))
    found = evaluate(
        [*queries, boot],
        {"shoe": list(ROW), "boot": list(ROW)[:6]},
        store(ROW),
        ReferenceOnly(),
        Protocol("val"),
        query="reference",
        device="cpu",
    )
    boots, shoes = found.categories
    assert shoes.chance[5] == pytest.approx(100 * (2 * chance(12, 1, 5) + chance(12, 2, 5)) / 3)
    assert boots.chance[5] == pytest.approx(100 * 5 / 6)
    assert found.chance[5] == pytest.approx((shoes.chance[5] + boots.chance[5]) / 2)
    assert found.queries == 4
    assert found.to_json()["queries"] == 4
    assert found.to_json()["categories"]["boot"]["gallery_size"] == 6
