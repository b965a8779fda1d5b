"""What a manifest says of itself: how it was mined, what was counted, how exact it is."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from cir.artefacts.provenance import Provenance
from cir.types import Sampling

_ALSO_OPTIONS: Final = ("strategy", "margin", "seed")
"""Entries of the JSON object that are a field of the metadata and an option of mining."""


@dataclass(frozen=True)
class ManifestCounts:
    """How many queries were mined, and how many candidates each filter excluded of all queries.

    A manifest that an older cir wrote lacks the counts of newer filters: they are 0.
    """

    queries: int
    """Rows of the manifest."""
    starved: int
    """Queries whose band held fewer than the wanted number."""
    dropped: int
    """Queries left out: an image of theirs was skipped, or they were starved and dropped."""
    excluded_as_duplicates: int
    """Candidates that were excluded as duplicates of a target: the sum of the next two."""
    excluded_as_duplicate_bytes: int = 0
    """Candidates with the target's bytes."""
    excluded_as_duplicate_vectors: int = 0
    """Candidates near to the target, with other bytes."""
    excluded_as_siblings: int = 0
    """Candidates excluded as targets of the same reference under other captions."""
    excluded_by_target_similarity: int = 0
    """Candidates excluded as too similar to the target."""
    excluded_by_relative_margin: int = 0
    """Valid candidates excluded as too similar to the query beside its target."""
    excluded_by_max_similarity: int = 0
    """Valid candidates excluded as too similar to the query."""
    excluded_by_ranks: int = 0
    """Valid candidates excluded as outside the window of ranks."""
    starved_empty: int = 0
    """The starved queries whose band held nothing at all."""


@dataclass(frozen=True)
class Approximation:
    """How far mining through an approximate index is from exact, on a sample mined both ways."""

    index: str
    """As FAISS's `index_factory` names it."""
    candidates: int
    """Proposed for each query; ranks and counts of the manifest are those among them."""
    queries: int
    """In the sample."""
    negatives_found: float
    """Share of the exact negatives."""
    rows_identical: float
    """Share of the queries with exactly the exact negatives."""
    target_rank_error: float
    """Mean absolute error."""
    candidates_in_band_error: float
    """Mean absolute error."""


@dataclass(frozen=True)
class PilotArm:
    """One way to draw from the band, and how well a short training on it did."""

    sampling: Sampling
    temperature: float
    recall_at_10: float
    """On the pilot's held-out queries, in percent."""


@dataclass(frozen=True)
class Pilot:
    """How a sampling of `auto` was chosen: short trainings that differ in where they draw alone."""

    arms: tuple[PilotArm, ...]
    queries: int
    """Trained on, by each arm."""
    dev: int
    """Held-out queries that judged."""
    epochs: int

    @property
    def best(self) -> PilotArm:
        """The arm with the highest recall; of equal ones the first."""
        return max(self.arms, key=lambda arm: arm.recall_at_10)


@dataclass(frozen=True)
class ManifestMetadata:
    """How a manifest was mined: enough to mine it again, and to reject a store of other vectors."""

    schema_version: int
    cir_version: str
    strategy: str
    margin: float
    seed: int
    epoch: int
    query: str
    split: str
    options: dict[str, Any]
    """Every field of `cir.config.MiningOptions`, strategy, margin and seed among them."""
    embeddings_sha256: str
    provenance: Provenance
    checkpoint_sha256: str | None
    counts: ManifestCounts
    approximation: Approximation | None = None
    """None where mining was exact; a manifest that does not say was mined exactly."""
    curriculum: str | None = None
    """The curriculum of the training run that mined it; None where its strategy never changes."""
    pilot: Pilot | None = None
    """How the sampling was chosen; None where it was given."""
    text_share: float | None = None
    """The share of the text in a sum that composed the queries; None of another composition."""

    def to_json(self) -> dict[str, Any]:
        """One object, the options' entries beside the rest."""
        values = asdict(self)
        options: dict[str, Any] = values.pop("options")
        return options | values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ManifestMetadata":
        """What `to_json` gave; an entry that names no field here is an option of mining.

        Raises:
            KeyError: an entry is missing.
            TypeError: a nested object has an entry too many or too few.
        """
        names = {field.name for field in fields(cls)} - {"options"}
        options = {k: v for k, v in values.items() if k not in names or k in _ALSO_OPTIONS}
        approximation = values.get("approximation")
        nested = {
            "options": options,
            "approximation": None if approximation is None else Approximation(**approximation),
            "pilot": _pilot(values.get("pilot")),
            "provenance": Provenance(**values["provenance"]),
            "counts": ManifestCounts(**values["counts"]),
        }
        plain = {name: values[name] for name in names - set(nested) if name in values}
        return cls(**plain | nested)


def _pilot(values: dict[str, Any] | None) -> Pilot | None:
    """What `asdict` made of a pilot."""
    if values is None:
        return None
    return Pilot(**{**values, "arms": tuple(PilotArm(**arm) for arm in values["arms"])})
