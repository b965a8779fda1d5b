"""Which judged queries a run was trained on: their figures would be of answers it has seen.

A query leaks where its reference or a target was a reference or a target of a query that the run
trained on or chose its best epoch by. Photos are the same by id, or by the bytes of their files.

The queries that the run's own dataset held out when it was trained are no leaks: they are what the
run was meant to be judged by, and where a benchmark's splits share photos (248 of FashionIQ's 6,016
val queries have a photo that train has), published figures count them. They are told apart one by
one, by reference and targets, so that a dataset that was split anew hides nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cir.artefacts.store import Embeddings
from cir.artefacts.trained import TrainedRecord
from cir.data.queries import Query


@dataclass(frozen=True)
class Leaks:
    """Judged queries that share photos with a run's training."""

    queries: int
    """All that are judged."""
    leaked: tuple[Query, ...]
    """Those that the run's dataset did not hold out."""
    by_id_alone: int
    """Leaked ones whose photos have the ids, but not the bytes, of photos trained on."""
    own: int
    """Queries that share photos with training, and that the run's own dataset held out."""

    def to_json(self) -> dict[str, int]:
        """The numbers, by name."""
        return {
            "queries": self.queries,
            "trained_on": len(self.leaked),
            "by_id_alone": self.by_id_alone,
            "shared_by_own_splits": self.own,
        }


def find_leaks(queries: Iterable[Query], record: TrainedRecord, embeddings: Embeddings) -> Leaks:
    """Compares judged queries with what a run trained on.

    Args:
        queries: Those to be judged; without targets, the references are compared.
        record: Of the run.
        embeddings: Of the judged dataset; knows the SHA-256 of images.
    """
    every = tuple(queries)
    digests = dict(zip(embeddings.images.keys, embeddings.image_sha256, strict=True))
    touched = [query for query in every if _shares(query, record, digests)]
    leaked = tuple(query for query in touched if not _held_out(query, record))
    return Leaks(
        queries=len(every),
        leaked=leaked,
        by_id_alone=sum(not _shares_bytes(query, record, digests) for query in leaked),
        own=len(touched) - len(leaked),
    )


def _shares(query: Query, record: TrainedRecord, digests: Mapping[str, str]) -> bool:
    by_id = not record.image_ids.isdisjoint((query.reference_id, *query.target_ids))
    return by_id or _shares_bytes(query, record, digests)


def _shares_bytes(query: Query, record: TrainedRecord, digests: Mapping[str, str]) -> bool:
    photos = (query.reference_id, *query.target_ids)
    return any(digests.get(photo) in record.image_sha256 for photo in photos)


def _held_out(query: Query, record: TrainedRecord) -> bool:
    targets = record.held_out.get(query.reference_id)
    return targets is not None and targets.issuperset(query.target_ids)
