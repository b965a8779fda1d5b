"""What is ranked against what: a Recall@K means nothing without these rules."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from cir.artefacts.store import Embeddings
from cir.config import CaptionRule, GalleryName, ReferenceRule
from cir.data.captions import both_orders, joined
from cir.data.forms import FormName
from cir.data.queries import Query
from cir.errors import DatasetError, UsageError
from cir.types import NO_ROW, Split


@dataclass(frozen=True)
class Protocol:
    """What a Recall@K means: without these four, two figures do not compare."""

    split: Split
    gallery: GalleryName = "full"
    """full: every image of the split's category; val: its references and targets only; all: every
    image of the dataset but the query's own reference."""
    reference: ReferenceRule = "kept"
    """Whether the reference image itself may be retrieved; from the gallery `all` it is removed."""
    captions: CaptionRule = "joined"
    """joined: "a and b"; both-orders: the mean of "a and b" and "b and a"."""

    def __post_init__(self) -> None:
        if self.gallery == "all" and self.reference == "kept":
            raise UsageError(
                "`gallery` is 'all', which holds no reference; expected `reference='removed'`"
            )

    def __str__(self) -> str:
        return f"split {self.split}, {self.rules}"

    @property
    def rules(self) -> str:
        """All but the split, in words."""
        orders = '"a and b"' if self.captions == "joined" else "in both orders, averaged"
        return f"{self.gallery} gallery, reference {self.reference}, captions {orders}"

    def of_queries(self, queries: Iterable[Query]) -> str:
        """The protocol in words; without its rule for captions where each query has but one."""
        if any(len(query.captions) > 1 for query in queries):
            return str(self)
        return f"split {self.split}, {self.gallery} gallery, reference {self.reference}"


def standard_protocol(form: FormName, split: Split) -> Protocol:
    """What published figures of a benchmark mean.

    FashionIQ's keep the reference in the gallery (Baldrati et al., 2022); CIRR's evaluation takes
    it out (Liu et al., ICCV 2021, whose test server is sent rankings without it).
    """
    return Protocol(split, reference="removed" if form == "CIRR" else "kept")


@dataclass(frozen=True, eq=False)
class RankingTask:
    """One category's queries that can be judged, and the gallery they rank."""

    category: str
    queries: tuple[Query, ...]
    gallery: tuple[str, ...]
    """Image ids, in the order that breaks ties: of `all`, the category's first."""
    gallery_expected: int
    """Images that the dataset names; more than the gallery's where embedding skipped some."""
    targets: tuple[Int[np.ndarray, " _"], ...]
    """Gallery rows of each query's targets, at least one where the queries are judged."""
    excluded: Int[np.ndarray, " queries"]
    """The gallery row that each query may not retrieve, or `NO_ROW`."""

    @property
    def gallery_sizes(self) -> Int[np.ndarray, " queries"]:
        """How many images each query may retrieve."""
        sizes: Int[np.ndarray, " queries"] = len(self.gallery) - (self.excluded != NO_ROW)
        return sizes


def ranking_tasks(
    queries: Sequence[Query],
    galleries: Mapping[str, Sequence[str]],
    embeddings: Embeddings,
    protocol: Protocol,
    *,
    every_image: Sequence[str] = (),
    judged: bool = True,
) -> list[RankingTask]:
    """The task of each category, without the queries whose reference or targets were skipped.

    Args:
        queries: Queries of one split.
        galleries: Image ids of the split by category.
        embeddings: What was embedded and what was skipped.
        protocol: The rules.
        every_image: The image ids of the whole dataset, which are the gallery `all`.
        judged: Whether each query must have a target that can be retrieved; a test split's rankings
            are submitted without.

    Raises:
        UsageError: the queries have no targets, as those of a test split, and shall be judged; or
            the gallery is `all` and `every_image` is empty.
        DatasetError: a target is in no gallery, or no query is left.
    """
    if judged:
        require_targets(queries, protocol.split)
    if protocol.gallery == "all" and not every_image:
        raise UsageError("`every_image` is empty; expected the images that the gallery 'all' holds")
    tasks = [
        _task(
            category,
            [q for q in queries if q.category == category],
            _gallery(category, queries, galleries, protocol.gallery, every_image),
            embeddings,
            protocol.reference,
            judged,
        )
        for category in sorted({q.category for q in queries})
    ]
    if not any(task.queries for task in tasks):
        raise DatasetError(
            f"none of the {len(queries)} queries of split {protocol.split} can be judged: "
            f"{embeddings.path} lacks their references or targets"
        )
    return [task for task in tasks if task.queries]


def texts_by_order(queries: Sequence[Query], rule: CaptionRule) -> list[list[str]]:
    """The text of every query, once for each order of captions that the rule wants."""
    if rule == "joined":
        return [[joined(q.captions) for q in queries]]
    orders = [both_orders(q.captions) for q in queries]
    return [[texts[0] for texts in orders], [texts[-1] for texts in orders]]


def require_targets(queries: Sequence[Query], split: str) -> None:
    """Raises UsageError unless every query has a target, as those of a test split have not."""
    without = sum(not q.target_ids for q in queries)
    if without:
        raise UsageError(
            f"{without} of {len(queries)} queries of split {split} have no target to be judged by "
            f"(benchmarks keep those of test secret): take another split, such as val, or write "
            f"the rankings for the test server with `submission=FOLDER` alone"
        )


def _task(
    category: str,
    queries: Sequence[Query],
    full_gallery: Sequence[str],
    embeddings: Embeddings,
    reference: ReferenceRule,
    judged: bool,
) -> RankingTask:
    """Finds the gallery rows of every target and reference; skipped images are left out."""
    _require_in_gallery(queries, set(full_gallery), category)
    gallery = tuple(i for i in full_gallery if i not in embeddings.skipped)
    row_of = {image_id: row for row, image_id in enumerate(gallery)}
    usable = [
        (query, rows)
        for query in queries
        if (len(rows := _target_rows(query, row_of, reference)) or not judged)
        and query.reference_id not in embeddings.skipped
    ]
    excluded = [
        row_of.get(query.reference_id, NO_ROW) if reference == "removed" else NO_ROW
        for query, _ in usable
    ]
    return RankingTask(
        category=category,
        queries=tuple(query for query, _ in usable),
        gallery=gallery,
        gallery_expected=len(full_gallery),
        targets=tuple(rows for _, rows in usable),
        excluded=np.array(excluded, dtype=np.int64),
    )


def _gallery(
    category: str,
    queries: Sequence[Query],
    galleries: Mapping[str, Sequence[str]],
    gallery: GalleryName,
    every_image: Sequence[str],
) -> list[str]:
    """The image ids that a category's queries are ranked against, each once."""
    if gallery == "full" and category not in galleries:
        raise DatasetError(
            f"category {category!r} has queries but no gallery: expected "
            f"image_splits/split.{category}.*.json of the same split, and there are those of "
            f"{', '.join(sorted(galleries)) or 'no category'}"
        )
    full = dict.fromkeys(galleries.get(category, ()))
    if gallery == "all":
        return [*full, *sorted(set(every_image) - set(full))]
    if gallery == "full":
        return list(full)
    members = [q for q in queries if q.category == category]
    named = {i for q in members for i in (q.reference_id, *q.target_ids)}
    # In the order of the full gallery, so that equal similarities are ordered as there.
    return [*(i for i in full if i in named), *sorted(named - set(full))]


def _target_rows(
    query: Query, row_of: Mapping[str, int], reference: ReferenceRule
) -> Int[np.ndarray, " _"]:
    """Gallery rows of the targets that can be retrieved."""
    excluded = query.reference_id if reference == "removed" else None
    rows = [row_of[t] for t in query.target_ids if t in row_of and t != excluded]
    return np.array(rows, dtype=np.int64)


def _require_in_gallery(queries: Sequence[Query], gallery: set[str], category: str) -> None:
    for query in queries:
        strays = [target for target in query.target_ids if target not in gallery]
        if strays:
            raise DatasetError(
                f"query {query.id} has the target {strays[0]}, which the gallery of {category} "
                f"lacks: expected every target in image_splits/split.{category}.*.json"
            )
