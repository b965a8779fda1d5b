"""Mining over an embedding store: queries, galleries and options become a manifest."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from cir import __version__
from cir.artefacts.manifest import SCHEMA_VERSION, Manifest
from cir.artefacts.manifest_metadata import ManifestCounts, ManifestMetadata, Pilot
from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import normalised
from cir.config import MiningOptions, OnStarved, scope_shares
from cir.data.queries import Query
from cir.errors import DatasetError, ManifestError, UsageError, some_of
from cir.machine.processes import ALONE, Processes
from cir.mining.approximate import mine_through
from cir.mining.exclusions.excluded import ExclusionCounts, Exclusions
from cir.mining.exclusions.rules import ExclusionRules, find_exclusions
from cir.mining.machine import Machine
from cir.mining.plan import Draw, Fill, Plan, draws_of
from cir.mining.problem import Mined, Problem
from cir.types import NO_ROW

_FILLS: Final[Mapping[OnStarved, Fill]] = {
    "nearest": "nearest",
    "random": "random",
    "drop": None,
    "fail": None,
}
_FILTERS: Final = (
    *("duplicate_threshold", "max_target_similarity", "exclude_siblings", "relative_margin"),
    *("max_similarity", "range_min"),
)
"""Options that may exclude every candidate; beyond `range_min`, `range_max` keeps one."""


@dataclass(frozen=True, eq=False)
class Gallery:
    """The images of a split, ordered by id, whatever categories they are of."""

    ids: tuple[str, ...]
    """Of all of them, also where this process holds the vectors of a part."""
    part: slice
    """The rows of that part."""
    vectors: Float32[np.ndarray, "gallery dim"]
    """Unit vectors."""
    categories: tuple[str, ...]
    members: Bool[np.ndarray, "categories gallery"]


@dataclass(frozen=True, eq=False)
class PreparedMining:
    """The gallery, targets and exclusions of queries: the same however queries are composed."""

    gallery: Gallery
    targets: Float32[np.ndarray, "targets dim"]
    """Unit vectors, each target's once."""
    target_rows: Int64[np.ndarray, " queries"]
    """The row of each query's target in `targets`."""
    categories: Int64[np.ndarray, " queries"]
    """The row of each query's category in `gallery.members`."""
    exclusions: Exclusions


@dataclass(frozen=True)
class ManifestRecord:
    """What a manifest tells of its making that mining does not find out by itself."""

    query: str
    """How the queries were composed."""
    split: str
    """The split that they are of."""
    epoch: int = 0
    """The epoch of training that they were mined after; 0 before it."""
    checkpoint_sha256: str | None = None
    """The checkpoint that composed them."""
    text_share: float | None = None
    """The share of the text in the sum that composed them."""
    pilot: Pilot | None = None
    """How the sampling was chosen; None where it was given."""
    left_out: int = 0
    """Queries of the split that `usable_queries` left out."""


def usable_queries(queries: Sequence[Query], embeddings: Embeddings) -> tuple[list[Query], int]:
    """The queries whose reference and target were embedded, and how many others there were.

    Raises:
        UsageError: the queries have no targets, as those of a test split.
    """
    untargeted = next((query for query in queries if not query.target_ids), None)
    if untargeted:
        raise UsageError(
            f"query {untargeted.id} has no target: pass the train or val split, whose queries do"
        )
    skipped = embeddings.skipped
    kept = [q for q in queries if q.reference_id not in skipped and q.target_id not in skipped]
    return kept, len(queries) - len(kept)


def mine_manifest(
    queries: Sequence[Query],
    embeddings: Embeddings,
    galleries: Mapping[str, Sequence[str]],
    query_vectors: Float[np.ndarray, "queries dim"],
    options: MiningOptions,
    record: ManifestRecord,
    machine: Machine,
    prepared: PreparedMining | None = None,
) -> Manifest:
    """Mines negatives for every query; a query that gets none is dropped.

    Args:
        queries: Those of `usable_queries`.
        embeddings: Vectors of every image.
        galleries: Image ids by category; images that embedding skipped are left out.
        query_vectors: The composed query of each of `queries`.
        options: Which negatives.
        record: What else the manifest tells of its making.
        machine: How mining runs.
        prepared: What `prepare_mining` gave of the same arguments, where they are mined again.

    Raises:
        UsageError: the gallery holds fewer images than a query is to get negatives, more of them
            are too similar to a target than `cir.mining.exclusions.rules` can hold, or the index
            cannot serve the options.
        ManifestError: queries are starved and `options.on_starved` is fail.
        DatasetError: the gallery is empty, or has not the category of a query.
        StoreError: the store lacks an image.
        VectorError: a vector has no direction.
    """
    if prepared is None:
        prepared = prepare_mining(queries, embeddings, galleries, options, machine)
    gallery, exclusions = prepared.gallery, prepared.exclusions
    problem = Problem(
        queries=normalised(query_vectors, "composed queries"),
        targets=prepared.targets,
        target_rows=prepared.target_rows,
        gallery=gallery.vectors,
        exclusions=exclusions,
        categories=prepared.categories,
        members=gallery.members,
        first_row=gallery.part.start,
    )
    plan = plan_of(options)
    mined, approximation = mine_through(problem, plan, options.index, options.candidates, machine)
    kept = _kept(queries, mined, options)
    return _manifest(
        [queries[row] for row in kept],
        gallery,
        mined,
        kept,
        ManifestMetadata(
            schema_version=SCHEMA_VERSION,
            cir_version=__version__,
            strategy=options.strategy,
            margin=options.margin,
            seed=options.seed,
            epoch=record.epoch,
            query=record.query,
            split=record.split,
            options=options.to_json(),
            embeddings_sha256=embeddings.sha256,
            provenance=embeddings.provenance,
            checkpoint_sha256=record.checkpoint_sha256,
            text_share=record.text_share,
            pilot=record.pilot,
            counts=_counts(
                mined, kept, _all_counts(exclusions, machine.processes), record.left_out
            ),
            approximation=approximation,
        ),
    )


def prepare_mining(
    queries: Sequence[Query],
    embeddings: Embeddings,
    galleries: Mapping[str, Sequence[str]],
    options: MiningOptions,
    machine: Machine,
    *,
    excluded: Exclusions | None = None,
) -> PreparedMining:
    """Builds the gallery and each query's exclusions.

    Args and what it raises are those of `mine_manifest`. `excluded` is the result of
    `excluded_images` for the same queries, vectors and options; where it is None, the exclusions
    are found among the gallery.
    """
    _require_the_same(queries, galleries, embeddings, machine.processes)
    gallery = build_gallery(galleries, embeddings, machine.processes)
    _require_enough(gallery, options)
    if excluded is None:
        exclusions = _find_exclusions(queries, gallery, embeddings, options, machine)
    else:
        exclusions = excluded.in_gallery(_gallery_rows(embeddings, gallery))
    images = embeddings.images
    distinct, target_rows = np.unique(
        images.rows([query.target_id for query in queries]), return_inverse=True
    )
    return PreparedMining(
        gallery,
        normalised(images.vectors, "targets", distinct),
        target_rows,
        category_codes(queries, gallery),
        exclusions,
    )


def _find_exclusions(
    queries: Sequence[Query],
    gallery: Gallery,
    embeddings: Embeddings,
    options: MiningOptions,
    machine: Machine,
) -> Exclusions:
    """The exclusions of each query among this process's part of the gallery."""
    return find_exclusions(
        queries,
        gallery.ids[gallery.part],
        gallery.vectors,
        embeddings,
        ExclusionRules.of(options),
        device=machine.device,
    )


def _gallery_rows(embeddings: Embeddings, gallery: Gallery) -> Int64[np.ndarray, " images"]:
    """For each of the store's images its row in this process's part of the gallery, or `NO_ROW`."""
    rows = np.full(len(embeddings.images.keys), NO_ROW, dtype=np.int64)
    ids = gallery.ids[gallery.part]
    rows[embeddings.images.rows(ids)] = np.arange(len(ids))
    return rows


def build_gallery(
    galleries: Mapping[str, Sequence[str]],
    embeddings: Embeddings,
    processes: Processes = ALONE,
) -> Gallery:
    """The union of the categories' galleries, without the images that embedding skipped.

    Of several processes, each holds the vectors of its part.

    Raises:
        DatasetError: no image is left.
        StoreError: the store lacks an image.
    """
    categories = tuple(sorted(galleries))
    ids = tuple(sorted(set().union(*galleries.values()) - set(embeddings.skipped)))
    if not ids:
        raise DatasetError("the gallery is empty: its image_splits name no image that was embedded")
    members = np.zeros((len(categories), len(ids)), dtype=np.bool_)
    row_of = {image_id: row for row, image_id in enumerate(ids)}
    for code, category in enumerate(categories):
        members[code, [row_of[i] for i in galleries[category] if i in row_of]] = True
    part = processes.part(len(ids))
    vectors = embeddings.images.unit(ids[part], "the gallery")
    return Gallery(ids, part, vectors, categories, members[:, part])


def category_codes(queries: Sequence[Query], gallery: Gallery) -> Int64[np.ndarray, " queries"]:
    """The row of each query's category in `gallery.members`.

    Raises:
        DatasetError: a category has no gallery.
    """
    code_of = {category: code for code, category in enumerate(gallery.categories)}
    unknown = sorted({query.category for query in queries} - set(code_of))
    if unknown:
        raise DatasetError(
            f"queries of category {unknown[0]!r} have no gallery: expected an image_splits file; "
            f"there are those of {', '.join(gallery.categories)}"
        )
    return np.array([code_of[query.category] for query in queries], dtype=np.int64)


def plan_of(options: MiningOptions) -> Plan:
    """The plan that mining options mean."""
    shares = [Draw(*share) for share in scope_shares(options)]
    return Plan(
        draws=draws_of(options.strategy, shares),
        num_negatives=options.num_negatives,
        margin=options.margin,
        sampling=options.sampling,
        temperature=options.temperature,
        relative_margin=options.relative_margin,
        max_similarity=options.max_similarity,
        range_min=options.range_min,
        range_max=options.range_max,
        drop_window=options.drop_window,
        fill=_FILLS[options.on_starved],
        seed=options.seed,
    )


def why_none(options: MiningOptions) -> str:
    """Why no query gets a negative, as a clause: names nothing that is not in force.

    Args:
        options: What was mined by.
    """
    unset = MiningOptions()
    filters = [
        f"`{name}={getattr(options, name)}`"
        for name in _FILTERS
        if getattr(options, name) != getattr(unset, name)
    ]
    if options.on_starved == "drop":
        ways = ["`on_starved='nearest'`"]
        if "semi-hard" in {draw.band for draw in plan_of(options).draws} and options.margin < 2:
            ways.append("a wider `margin`")
        weaker = f" or weaker filters than {some_of(filters)}" if filters else ""
        return f"starved queries are dropped: pass {', '.join(ways)}, fewer `num_negatives`{weaker}"
    if filters:
        return f"every candidate is excluded: pass weaker filters than {some_of(filters)}"
    return (
        "the gallery has no valid candidate: its images are the queries' references, their targets "
        "and duplicates of these; add other images"
    )


def _require_the_same(
    queries: Sequence[Query],
    galleries: Mapping[str, Sequence[str]],
    embeddings: Embeddings,
    processes: Processes,
) -> None:
    """Raises UsageError where hosts hold different data under the same names."""
    if processes.count == 1:
        return
    dataset = hashlib.sha256(repr((queries, sorted(galleries.items()))).encode())
    for what, digest in (("embeddings", embeddings.sha256), ("dataset", dataset.hexdigest())):
        digests = processes.all_gather_object(digest)
        if len(set(digests)) > 1:
            other = next(rank for rank, each in enumerate(digests) if each != digests[0])
            raise UsageError(
                f"process {other} has another `{what}` than process 0: give all hosts the same"
            )


def _require_enough(gallery: Gallery, options: MiningOptions) -> None:
    """Raises UsageError where a query is to get more negatives than there are images."""
    images = len(gallery.ids)
    if options.num_negatives <= images:
        return
    if options.num_negatives == MiningOptions.num_negatives:
        raise UsageError(
            f"the gallery is of {images} images, too few for the {options.num_negatives} negatives "
            f"that a query gets by default: pass `num_negatives={images}` or less, or add images"
        )
    raise UsageError(
        f"`num_negatives` is {options.num_negatives}; expected at most {images}, the images of the "
        f"gallery: pass fewer"
    )


def _kept(
    queries: Sequence[Query], mined: Mined, options: MiningOptions
) -> Int64[np.ndarray, " kept"]:
    """The rows of the queries that enter the manifest."""
    starved = np.flatnonzero(mined.starved)
    if options.on_starved == "fail" and starved.size:
        raise ManifestError(
            f"{starved.size} of {len(queries)} queries are starved, the first "
            f"{queries[starved[0]].id}: fewer than {options.num_negatives} candidates are of the "
            f"band's kind ({_starved_empty(mined)} queries have none); "
            f"pass `on_starved='nearest'`, random or drop"
        )
    kept = mined.counts > 0
    if options.on_starved == "drop":
        kept &= ~mined.starved
    return np.flatnonzero(kept)


def _all_counts(exclusions: Exclusions, processes: Processes) -> ExclusionCounts:
    """Candidates excluded in the parts of all processes."""
    counts = np.array(astuple(exclusions.counts), dtype=np.int64)
    return ExclusionCounts(*processes.summed(counts).tolist())


def _counts(
    mined: Mined, kept: Int64[np.ndarray, " kept"], by_exclusions: ExclusionCounts, left_out: int
) -> ManifestCounts:
    by_filters = mined.excluded
    return ManifestCounts(
        queries=len(kept),
        starved=int(mined.starved.sum()),
        dropped=left_out + len(mined.starved) - len(kept),
        excluded_as_duplicates=by_exclusions.duplicates,
        excluded_as_duplicate_bytes=by_exclusions.duplicate_bytes,
        excluded_as_duplicate_vectors=by_exclusions.duplicate_vectors,
        excluded_as_siblings=by_exclusions.siblings,
        excluded_by_target_similarity=by_exclusions.target_similarity,
        excluded_by_relative_margin=by_filters.relative_margin,
        excluded_by_max_similarity=by_filters.max_similarity,
        excluded_by_ranks=by_filters.ranks,
        starved_empty=_starved_empty(mined),
    )


def _starved_empty(mined: Mined) -> int:
    """Starved queries of which not one candidate is of the band's kind."""
    return int((mined.starved & (mined.candidates_in_band == 0)).sum())


def _manifest(
    queries: Sequence[Query],
    gallery: Gallery,
    mined: Mined,
    kept: Int64[np.ndarray, " kept"],
    metadata: ManifestMetadata,
) -> Manifest:
    """The kept rows of what was mined, under the names of queries and images."""
    counts = mined.counts[kept]
    present = np.arange(mined.rows.shape[1]) < counts[:, None]
    return Manifest(
        query_ids=tuple(query.id for query in queries),
        categories=tuple(query.category for query in queries),
        reference_ids=tuple(query.reference_id for query in queries),
        target_ids=tuple(query.target_id for query in queries),
        captions=tuple(query.captions for query in queries),
        target_distances=mined.target_distances[kept],
        target_ranks=mined.target_ranks[kept],
        candidates_in_band=mined.candidates_in_band[kept],
        negative_counts=counts,
        negative_ids=tuple(gallery.ids[row] for row in mined.rows[kept][present].tolist()),
        negative_distances=mined.distances[kept][present],
        negative_kinds=mined.kinds[kept][present],
        negative_scopes=mined.scopes[kept][present],
        metadata=metadata,
        starved=mined.starved[kept],
    )
