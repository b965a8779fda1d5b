"""What a store tells about mining from it, and which strategy and filters that speaks for.

Where queries list several targets, all but the first are hidden, as if nobody had labelled them,
and queries are mined in several ways. The share of negatives that are hidden targets is that of the
unlabelled ones, if those were labelled as chance had it: a lower bound where labellers were lazy.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float

from cir.artefacts.manifest import Manifest
from cir.artefacts.store import Embeddings
from cir.config import MiningOptions
from cir.data.queries import Query
from cir.errors import ConfigError, UsageError
from cir.mining.exclusions.near_duplicates import near_duplicates
from cir.mining.machine import Machine
from cir.mining.manifest import (
    ManifestRecord,
    PreparedMining,
    mine_manifest,
    prepare_mining,
    why_none,
)

TOP, WHOLE, HARD = "semi-hard, the top", "semi-hard, all of it", "hard"
WAYS: Final[Mapping[str, Mapping[str, Any]]] = {
    TOP: {"strategy": "semi-hard", "sampling": "top"},
    WHOLE: {"strategy": "semi-hard", "sampling": "random"},
    HARD: {"strategy": "hard", "sampling": "top"},
    "random": {"strategy": "random"},
}
"""Ways to mine, from options that change."""
FILTERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "relative_margin=0.05": {"relative_margin": 0.05},
    "max_target_similarity=0.9": {"max_target_similarity": 0.9},
    "range_min=10": {"range_min": 10},
}
"""Filters that are tried on the top of the semi-hard band."""
LOOK_ALIKES: Final = (0.99, 0.95, 0.9)
"""Cosines from which another image counts as a look-alike of a target."""
FEWEST_HIDDEN: Final = 100
"""Queries with a hidden target below which a share of them says nothing."""
_CROWDED: Final = 0.5
"""Percent of hidden targets from which a filter, or another place in the band, is worth it."""
_SOME: Final = 1.0
_MOST: Final = 50.0
"""Percent of queries or targets that are worth a sentence."""


@dataclass(frozen=True)
class Advice:
    """Figures of a store and its queries, and what they speak for."""

    queries: int
    median_rank: float
    """Of the targets, 1 where a target is nearer than every valid candidate."""
    nearest: float
    """Percent of the targets that are nearest of all: their hard band is empty."""
    in_first_ten: float
    """Percent of the targets that rank up to 10."""
    starved: float
    """Percent of the queries whose semi-hard band is too small."""
    look_alikes: Mapping[float, float]
    """By cosine, percent of the targets that have another image so near."""
    hiding: int
    """Queries with a target that could be hidden."""
    hidden: Mapping[str, float]
    """By way to mine and filter, percent of the negatives that are hidden targets; nothing where
    fewer than `FEWEST_HIDDEN` queries hide one."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the figures speak for, options in backticks as fields."""
        return tuple(_sentences(self))


def advise(
    queries: Sequence[Query],
    embeddings: Embeddings,
    galleries: Mapping[str, Sequence[str]],
    query_vectors: Float[np.ndarray, "queries dim"],
    options: MiningOptions,
    machine: Machine,
) -> Advice:
    """Mines in several ways and says what came of it; nothing is trained or written.

    Where the gallery has fewer images than a query gets negatives by default, it is mined for one.

    Args:
        queries: Those of `cir.mining.manifest.usable_queries`.
        embeddings: Vectors of every image.
        galleries: Image ids by category.
        query_vectors: The composed query of each of `queries`.
        options: How many negatives, the margin, and whatever no way to mine changes.
        machine: How mining runs.

    Raises:
        UsageError: filters leave no query a negative, or as `mine_manifest`.
        DatasetError, StoreError: as `mine_manifest`.
    """
    images = set().union(*galleries.values()).difference(embeddings.skipped)
    if len(images) < options.num_negatives == MiningOptions.num_negatives:
        options = dataclasses.replace(options, num_negatives=1)

    def mined(
        changes: Mapping[str, Any], asked: Sequence[Query], prepared: PreparedMining | None = None
    ) -> Manifest:
        return mine_manifest(
            asked,
            embeddings,
            galleries,
            query_vectors,
            dataclasses.replace(options, **{"on_starved": "nearest", **changes}),
            ManifestRecord("sum", "train"),
            machine,
            prepared,
        )

    usual = mined(WAYS[TOP], queries)
    if not len(usual):
        filled = dataclasses.replace(options, on_starved="nearest")
        raise UsageError(f"none of {len(queries)} queries gets a negative: {why_none(filled)}")
    shown, others = hide_targets(queries)
    hiding = sum(map(bool, others.values()))
    filters = {name: changes for name, changes in FILTERS.items() if _fits(options, changes)}
    tried = {**WAYS, **{name: {**WAYS[TOP], **changes} for name, changes in filters.items()}}
    hidden = {}
    if hiding >= FEWEST_HIDDEN:
        # Exclusions are the same for every way but the filter by the target's similarity.
        prepared = prepare_mining(shown, embeddings, galleries, options, machine)
        for name, changes in tried.items():
            alike = None if "max_target_similarity" in changes else prepared
            hidden[name] = _percent(hidden_targets(mined(changes, shown, alike), others))
    return Advice(
        queries=len(queries),
        median_rank=float(np.median(usual.target_ranks)),
        nearest=_percent(usual.target_ranks == 1),
        in_first_ten=_percent(usual.target_ranks <= 10),
        starved=100 * usual.metadata.counts.starved / len(queries),
        look_alikes={
            each: _look_alikes(queries, embeddings, each, machine.device) for each in LOOK_ALIKES
        },
        hiding=hiding,
        hidden=hidden,
    )


def _fits(options: MiningOptions, changes: Mapping[str, Any]) -> bool:
    """Whether a filter may stand beside what the options ask for, and takes no place of theirs."""
    try:
        dataclasses.replace(options, **changes)
    except ConfigError:
        return False
    unset = MiningOptions()
    return all(getattr(options, name) == getattr(unset, name) for name in changes)


def hide_targets(queries: Sequence[Query]) -> tuple[list[Query], dict[str, set[str]]]:
    """The queries with their first target alone, and the other targets of each by its id."""
    shown = [dataclasses.replace(q, target_ids=q.target_ids[:1]) for q in queries]
    return shown, {q.id: set(q.target_ids[1:]) for q in queries}


def hidden_targets(
    manifest: Manifest, others: Mapping[str, set[str]]
) -> Bool[np.ndarray, " negatives"]:
    """Which of the mined negatives are hidden targets of their query."""
    queries = np.repeat(np.array(manifest.query_ids, dtype=object), manifest.negative_counts)
    pairs = zip(queries, manifest.negative_ids, strict=True)
    return np.array([image_id in others[query] for query, image_id in pairs], dtype=np.bool_)


def _percent(chosen: Bool[np.ndarray, " values"]) -> float:
    return 100 * float(chosen.mean()) if len(chosen) else 0.0


def _look_alikes(
    queries: Sequence[Query], embeddings: Embeddings, cosine: float, device: torch.device
) -> float:
    """Percent of the targets that have another image at least so near, in the whole store."""
    targets = sorted({query.target_id for query in queries})
    rows = embeddings.images.rows(targets)
    unit = embeddings.images.unit(embeddings.images.keys, "the store")
    near, others = near_duplicates(unit[rows], unit, cosine, device=device)
    alike = np.zeros(len(targets), dtype=np.bool_)
    alike[near[others != rows[near]]] = True
    return _percent(alike)


def _sentences(found: Advice) -> Iterator[str]:
    """What the figures speak for."""
    yield _on_the_band(found)
    if found.hidden.get(HARD, 0.0) >= _CROWDED:
        yield (
            f"hard negatives are answers too often ({found.hidden[HARD]:.2f} %): "
            f"no `strategy='hard'`"
        )
    elif found.nearest > _MOST:
        yield (
            f"{found.nearest:.0f} % of the targets are nearest of all, so that their hard band is "
            f"empty: no `strategy='hard'`"
        )
    filters = {name: share for name, share in found.hidden.items() if name in FILTERS}
    if filters and found.hidden[TOP] >= _CROWDED:
        yield _on_filters(filters, found.hidden[TOP])
    yield from _on_look_alikes(found)
    if found.starved >= _SOME:
        yield f"{found.starved:.1f} % of the queries starve: a wider `margin`, or fewer negatives"


def _on_the_band(found: Advice) -> str:
    if not found.hidden:
        return (
            f"only {found.hiding} queries list several targets: how many negatives are answers "
            f"cannot be estimated; `sampling='auto'` tries out where to draw"
        )
    top, whole = found.hidden[TOP], found.hidden[WHOLE]
    if top >= max(_CROWDED, 3 * whole):
        return (
            f"the top of the semi-hard band holds answers ({top:.2f} % of its negatives, "
            f"{whole:.2f} % of those from all of it): `sampling='random'`, or `sampling='auto'`, "
            f"which tries it"
        )
    return f"the top of the semi-hard band holds few answers ({top:.2f} %): `sampling='auto'`"


def _on_filters(shares: Mapping[str, float], without: float) -> str:
    """Which filter leaves the least share of answers, in percent by its name."""
    best = min(shares, key=lambda name: shares[name])
    return (
        f"with `sampling='top'`, `{best}` excludes most answers: {shares[best]:.2f} % of the "
        f"negatives are some, of {without:.2f} % without it"
    )


def _on_look_alikes(found: Advice) -> Iterator[str]:
    closest, wider = LOOK_ALIKES[:2]
    if found.look_alikes[wider] - found.look_alikes[closest] >= _SOME:
        yield (
            f"{found.look_alikes[wider]:.1f} % of the targets have a look-alike at a cosine of "
            f"{wider:g}, {found.look_alikes[closest]:.1f} % at {closest:g}: where these show the "
            f"same, `duplicate_threshold={wider:g}` excludes them"
        )
