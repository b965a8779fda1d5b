"""Evaluations in the JSON files of `cir evaluate`: how they are written, and how they are read."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, get_type_hints

from cir import __version__
from cir.artefacts.store import Embeddings
from cir.config import choices
from cir.evaluation.leaks import Leaks
from cir.evaluation.protocol import Protocol
from cir.evaluation.recall import Evaluation
from cir.models.combiner import SumCombiner
from cir.models.composer import Composer

_OF_EVERY_EVALUATION: Final = frozenset(
    ("query", "protocol", "mean", "headline", "chance", "categories", "embeddings")
)


def evaluation_json(
    evaluations: Sequence[Evaluation], composer: Composer, origin: Mapping[str, Any]
) -> dict[str, Any]:
    """Evaluations of one composer as JSON values: the first, then `protocols` with all of them.

    Args:
        evaluations: At least one, one a protocol.
        composer: What was judged.
        origin: As `origin_json` gives it.
    """
    every = {"protocols": [evaluation.to_json() for evaluation in evaluations]}
    return {**evaluations[0].to_json(), **every, **origin, **_text_share(composer)}


def origin_json(embeddings: Embeddings, composer: Composer, leaks: Leaks | None) -> dict[str, Any]:
    """Where the vectors and the weights come from, as JSON values.

    Args:
        embeddings: The store that was judged over.
        composer: What was judged.
        leaks: The judged queries that share photos with training; None where that is not known.
    """
    store = {
        "path": str(embeddings.path),
        "sha256": embeddings.sha256,
        "provenance": asdict(embeddings.provenance),
    }
    trained = {"trained_on": leaks.to_json()} if leaks else {}
    weights = _weights_json(composer)
    return {"cir_version": __version__, "embeddings": store, "checkpoint": weights, **trained}


def _weights_json(composer: Composer) -> dict[str, Any] | None:
    """The file or folder of the weights; None where there are none to learn."""
    if composer.published:
        published = asdict(composer.published) | {"path": str(composer.published.path)}
        return {"combiner": "clip4cir", **published}
    if composer.checkpoint is None:
        return None
    metadata = composer.checkpoint.metadata
    return {
        "path": str(composer.checkpoint.folder),
        "sha256": composer.checkpoint.sha256,
        "combiner": metadata.combiner,
        "tune": metadata.tune,
        "epoch": metadata.epoch,
        "embeddings_sha256": metadata.embeddings_sha256,
        "provenance": asdict(metadata.provenance),
    }


def _text_share(composer: Composer) -> dict[str, float]:
    """The share of the text in a sum, by its name."""
    combiner = composer.combiner
    return {"text_share": combiner.text_share} if isinstance(combiner, SumCombiner) else {}


@dataclass(frozen=True)
class RecordedEvaluation:
    """Recalls of one composition under one protocol, as a file holds them."""

    query: str
    protocol: Protocol
    figures: Mapping[str, float]
    """Means over categories, in percent, R@1 first and the headline last."""
    chance: Mapping[str, float]
    categories: Mapping[str, Mapping[str, Any]]
    notes: Sequence[str]


def recorded_evaluation(values: Mapping[str, Any], query: str | None = None) -> RecordedEvaluation:
    """Reads what `Evaluation.to_json` or `evaluation_json` gives.

    Args:
        values: The JSON values.
        query: Name of the composition; None for the recorded one.

    Raises:
        KeyError: something is missing.
        TypeError: something is of another type, or the protocol has a rule that is unknown.
        UsageError: the protocol's rules are at odds.
    """
    return RecordedEvaluation(
        query or values["query"],
        _protocol(values["protocol"]),
        {**values["mean"], "headline": values["headline"]},
        values["chance"],
        values["categories"],
        [*_trained_on(values.get("trained_on", {})), *values["notes"]],
    )


def _protocol(rules: Mapping[str, Any]) -> Protocol:
    """Reads a protocol's rules; raises TypeError where one of them is unknown."""
    for name, hint in get_type_hints(Protocol).items():
        if name in rules and rules[name] not in choices(hint):
            raise TypeError(f"`{name}` is {rules[name]!r}; expected one of {choices(hint)}")
    return Protocol(**rules)


def _trained_on(leaks: Mapping[str, int]) -> list[str]:
    """A sentence where queries were judged that training had seen."""
    seen = leaks.get("trained_on", 0)
    told = f"Trained on {seen:,} of the {leaks.get('queries', 0):,} judged queries."
    return [told] if seen else []


def is_run_evaluation(values: Any) -> bool:
    """Whether the values of a file are an evaluation of trained weights."""
    return (
        isinstance(values, dict)
        and set(values) >= _OF_EVERY_EVALUATION
        and bool(values.get("checkpoint"))
    )


def is_evaluation_of(
    values: Mapping[str, Any], checkpoint_sha256: str, embeddings_sha256: str
) -> bool:
    """Whether an evaluation is of this checkpoint over this store.

    Raises:
        KeyError: it does not say so.
        TypeError: what it says is of another type.
    """
    return bool(
        values["checkpoint"]["sha256"] == checkpoint_sha256
        and values["embeddings"]["sha256"] == embeddings_sha256
    )
