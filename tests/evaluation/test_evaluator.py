"""Many protocols at once against one at a time, and what is looked up once."""

import dataclasses

import numpy as np
import pytest

from cir.data.dataset import Dataset
from cir.errors import UsageError, VectorError
from cir.evaluation.evaluator import Evaluator
from cir.evaluation.protocol import Protocol, standard_protocol
from cir.evaluation.recall import evaluate, recalls
from cir.models.combiner import ReferenceOnly, SumCombiner, build_combiner
from cir.types import NO_ROW
from tests.support.judged import CPU, PROTOCOLS, evaluator_of, ranks_of
from tests.support.progress import CountingProgress
from tests.support.worlds import random_embeddings


@pytest.mark.slow
@pytest.mark.parametrize("form", ["FashionIQ", "CIRR"])
def test_protocols_together_are_the_protocols_alone(dataset, cirr, form: str) -> None:
    made = cirr if form == "CIRR" else dataset
    embeddings = random_embeddings(made)
    together = evaluator_of(made, embeddings, *PROTOCOLS).judge(embeddings, SumCombiner())
    for protocol, ranks in zip(PROTOCOLS, together, strict=True):
        alone = evaluate(
            made.queries("val"),
            made.galleries("val"),
            embeddings,
            SumCombiner(),
            protocol,
            query="sum",
            device=CPU,
            every_image=made.image_ids(),
        )
        assert recalls(ranks, "sum") == alone


def test_the_gallery_all_is_every_image_of_every_split_and_category(dataset: Dataset) -> None:
    embeddings = random_embeddings(dataset)
    protocol = Protocol("val", "all", "removed")
    (ranks,) = evaluator_of(dataset, embeddings, protocol).judge(embeddings, SumCombiner())
    for category in ranks.categories:
        assert sorted(category.task.gallery) == dataset.image_ids()
        assert (category.task.gallery_sizes == len(dataset.image_ids()) - 1).all()
    assert not [note for note in recalls(ranks, "sum").notes() if "published" in note]


def test_the_gallery_all_needs_its_images_and_holds_no_reference(dataset: Dataset) -> None:
    embeddings, protocol = random_embeddings(dataset), Protocol("val", "all", "removed")
    queries, galleries = dataset.queries("val"), dataset.galleries("val")
    with pytest.raises(UsageError, match="`every_image` is empty"):
        Evaluator(queries, galleries, embeddings, [protocol], device=CPU)
    with pytest.raises(UsageError, match="`gallery` is 'all', which holds no reference"):
        Protocol("val", "all", "kept")


def test_other_vectors_are_looked_up_again(dataset: Dataset) -> None:
    one, other = random_embeddings(dataset), random_embeddings(dataset, seed=1)
    kept = evaluator_of(dataset, one, PROTOCOLS[0])
    figures = [
        recalls(kept.judge(vectors, SumCombiner())[0], "sum") for vectors in (one, other, one)
    ]
    assert figures[0] == figures[2]
    assert figures[0] != figures[1]


def test_subset_recall_is_that_of_a_loop(cirr: Dataset) -> None:
    """CIRR's: only the subset without its reference, whatever stands before in the gallery."""
    embeddings = random_embeddings(cirr)
    ranks = ranks_of(cirr, ReferenceOnly(), standard_protocol("CIRR", "val"))
    image = dict(zip(embeddings.images.keys, embeddings.images.vectors, strict=True))
    expected = []
    for query in cirr.queries("val"):
        own = image[query.reference_id]
        order = sorted(query.subset_ids, key=lambda i: -(image[i] @ own) / np.linalg.norm(image[i]))
        expected.append(order.index(query.target_id) + 1)
    found = recalls(ranks, "reference")
    assert ranks.categories[0].subsets is not None
    assert ranks.categories[0].subsets.ranks[0].tolist() == expected
    assert found.subset_mean[1] == pytest.approx(100 * np.mean(np.array(expected) <= 1))
    assert found.headline == pytest.approx((found.mean[5] + found.subset_mean[1]) / 2)
    assert found.chance_figures()["Rs@2"] == pytest.approx(40)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
def test_what_is_listed_is_the_gallery_sorted(dataset: Dataset, protocol: Protocol) -> None:
    """Whole rankings, distances and best targets, against a sort for one query after another."""
    embeddings = random_embeddings(dataset)
    (ranks,) = evaluator_of(dataset, embeddings, protocol).judge(
        embeddings, ReferenceOnly(), listed=1000
    )
    image = {
        i: v / np.linalg.norm(v)
        for i, v in zip(embeddings.images.keys, embeddings.images.vectors, strict=True)
    }
    for category in ranks.categories:
        rankings = category.listed()
        for row, query in enumerate(category.task.queries):
            own = image[query.reference_id]
            allowed = set(category.task.gallery)
            if protocol.reference == "removed":
                allowed.discard(query.reference_id)
            order = sorted(allowed, key=lambda i: -float(image[i] @ own))
            for number in range(len(category.texts)):
                columns = rankings.nearest[number, row]
                assert category.image_ids(columns.tolist()) == order
                assert (columns[len(order) :] == NO_ROW).all()
                distances = rankings.distances[number, row]
                expected = [1 - image[i] @ own for i in order]
                np.testing.assert_allclose(distances[: len(order)], expected, atol=1e-6)
                assert np.isnan(distances[len(order) :]).all()
                best = next(i for i in order if i in query.target_ids)
                assert category.images[rankings.best_targets[number, row]] == best
                assert category.ranks[number, row] == order.index(best) + 1


def test_progress_counts_each_query_and_order_once(dataset: Dataset) -> None:
    embeddings, progress = random_embeddings(dataset), CountingProgress()
    evaluator = evaluator_of(dataset, embeddings, *PROTOCOLS)
    evaluator.judge(embeddings, SumCombiner(), progress=progress)
    orders = 2
    assert progress.totals == {"rank": orders * len(dataset.queries("val"))}
    assert progress.advanced == progress.totals


def test_nothing_is_listed_unless_asked_for(dataset: Dataset) -> None:
    embeddings = random_embeddings(dataset)
    (ranks,) = evaluator_of(dataset, embeddings, PROTOCOLS[0]).judge(embeddings, SumCombiner())
    with pytest.raises(ValueError, match="judged with `listed=0`"):
        ranks.categories[0].listed()


def test_a_subset_skipped_in_part_is_counted_as_short(cirr: Dataset) -> None:
    made = random_embeddings(cirr)
    gone = next(
        i
        for i in cirr.queries("val")[0].subset_ids
        if all(i not in (q.reference_id, *q.target_ids) for q in cirr.queries("val"))
    )
    table = made.images
    kept = [row for row, key in enumerate(table.keys) if key != gone]
    images = dataclasses.replace(
        table, keys=tuple(table.keys[row] for row in kept), vectors=table.vectors[kept]
    )
    made = dataclasses.replace(made, images=images, skipped={gone: "broken"})
    (ranks,) = evaluator_of(cirr, made, standard_protocol("CIRR", "val")).judge(made, SumCombiner())
    with_it = [gone in query.subset_ids for query in ranks.categories[0].task.queries]
    subsets = ranks.categories[0].subsets
    assert subsets is not None
    assert (subsets.expected - subsets.sizes).tolist() == [int(has) for has in with_it]
    assert any(
        f"{sum(with_it)} queries have a smaller subset" in n for n in recalls(ranks, "sum").notes()
    )


def test_queries_and_protocols_may_be_any_iterable(dataset: Dataset) -> None:
    embeddings, galleries = random_embeddings(dataset), dataset.galleries("val")
    from_generators = Evaluator(
        (query for query in dataset.queries("val")),
        galleries,
        embeddings,
        (protocol for protocol in PROTOCOLS[:2]),
        device="cpu",
    )
    expected = evaluator_of(dataset, embeddings, *PROTOCOLS[:2]).judge(embeddings, SumCombiner())
    for found, ranks in zip(
        from_generators.judge(embeddings, SumCombiner()), expected, strict=True
    ):
        assert recalls(found, "sum") == recalls(ranks, "sum")


def test_misuse_is_one_line(dataset: Dataset) -> None:
    embeddings = random_embeddings(dataset)
    with pytest.raises(UsageError, match="`protocols` is empty; expected at least one"):
        Evaluator(dataset.queries("val"), {}, embeddings, [], device=CPU)
    kept = evaluator_of(dataset, embeddings, PROTOCOLS[0])
    with pytest.raises(UsageError, match="`listed` is -1; expected at least 0"):
        kept.judge(embeddings, SumCombiner(), listed=-1)
    with pytest.raises(VectorError, match=r"the combiner takes 7-d vectors.* are 16-d"):
        kept.judge(embeddings, build_combiner("gated-sum", dim=7, hidden=3))


def test_a_judgement_after_another_is_that_of_a_new_evaluator(dataset: Dataset) -> None:
    """Other vectors, whose rows stand in another order: nothing of the first is left."""
    first, second = random_embeddings(dataset), random_embeddings(dataset, seed=1)
    table = second.images
    turned = dataclasses.replace(table, keys=table.keys[::-1], vectors=table.vectors[::-1].copy())
    second = dataclasses.replace(second, images=turned)
    kept = evaluator_of(dataset, first, PROTOCOLS[0])
    kept.judge(first, SumCombiner())
    (again,) = kept.judge(second, SumCombiner())
    (expected,) = evaluator_of(dataset, second, PROTOCOLS[0]).judge(second, SumCombiner())
    for ranks, its in zip(again.categories, expected.categories, strict=True):
        np.testing.assert_array_equal(ranks.ranks, its.ranks)


def test_protocols_that_keep_other_queries_are_judged_together(dataset: Dataset) -> None:
    """Where the reference is removed, a query whose only target it is cannot be judged."""
    embeddings = random_embeddings(dataset)
    queries = [
        dataclasses.replace(query, target_ids=(query.reference_id,)) if row % 3 == 0 else query
        for row, query in enumerate(dataset.queries("val"))
    ]
    protocols = [Protocol("val"), Protocol("val", reference="removed")]
    galleries = dataset.galleries("val")
    together = Evaluator(queries, galleries, embeddings, protocols, device=CPU).judge(
        embeddings, SumCombiner()
    )
    dropped = len(queries[::3])
    assert [ranks.dropped for ranks in together] == [0, dropped]
    for protocol, ranks in zip(protocols, together, strict=True):
        alone = evaluate(
            queries, galleries, embeddings, SumCombiner(), protocol, query="sum", device=CPU
        )
        assert recalls(ranks, "sum") == alone
        assert alone.dropped == ranks.dropped


def test_subsets_of_several_sizes_and_targets_are_ranked_as_by_a_loop(cirr: Dataset) -> None:
    """Padding of subsets meets padding of targets, and a target stands outside its subset."""
    embeddings = random_embeddings(cirr)
    image = dict(zip(embeddings.images.keys, embeddings.images.vectors, strict=True))
    queries = []
    for row, query in enumerate(cirr.queries("val")):
        outside = next(i for i in cirr.gallery("val", "rc2") if i not in query.subset_ids)
        targets = (query.target_id, outside) if row % 2 else (query.target_id,)
        cut = [i for i in query.subset_ids if i not in targets][: row % 4]
        subset = tuple(i for i in query.subset_ids if i not in cut)
        queries.append(dataclasses.replace(query, target_ids=targets, subset_ids=subset))
    expected = []
    for query in queries:
        own = image[query.reference_id]
        members = {*query.subset_ids, *query.target_ids}
        order = sorted(members, key=lambda i: -(image[i] @ own) / np.linalg.norm(image[i]))
        expected.append(1 + min(order.index(target) for target in query.target_ids))
    protocol = standard_protocol("CIRR", "val")
    (ranks,) = Evaluator(queries, cirr.galleries("val"), embeddings, [protocol], device=CPU).judge(
        embeddings, ReferenceOnly()
    )
    subsets = ranks.categories[0].subsets
    assert subsets is not None
    assert subsets.ranks[0].tolist() == expected
    sizes = [len({*query.subset_ids, *query.target_ids}) for query in queries]
    assert subsets.sizes.tolist() == subsets.expected.tolist() == sizes


@pytest.mark.slow
def test_unjudged_queries_have_rankings_and_no_target(dataset: Dataset) -> None:
    ranks = ranks_of(dataset, SumCombiner(), Protocol("test"), judged=False)
    for category in ranks.categories:
        rankings = category.listed()
        assert (category.ranks == 0).all()
        assert (rankings.best_targets == NO_ROW).all()
        assert np.isnan(rankings.best_distances).all()
        assert (rankings.nearest[:, :, 0] != NO_ROW).all()


def test_unjudged_queries_have_no_rank_in_their_subsets(cirr: Dataset) -> None:
    (category,) = ranks_of(
        cirr, SumCombiner(), standard_protocol("CIRR", "test"), judged=False
    ).categories
    assert category.subsets is not None
    assert (category.subsets.ranks == 0).all()
    assert (category.listed().subsets != NO_ROW).any()
