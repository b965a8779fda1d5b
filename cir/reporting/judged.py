"""Recalls on val or test of the checkpoint that a report is about, where `cir evaluate` left them.

Its JSON files are written into the run folder. Each says which checkpoint and which store it is
of, so that figures of another are never shown as this one's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from cir.artefacts.store import Embeddings
from cir.data.dataset import SPLITS, Dataset
from cir.disk.files import read_json
from cir.errors import CirError, DatasetError, UsageError
from cir.evaluation.protocol import Protocol
from cir.evaluation.recall import Evaluation, evaluate
from cir.evaluation.recorded import (
    RecordedEvaluation,
    is_evaluation_of,
    is_run_evaluation,
    recorded_evaluation,
)
from cir.models.combiner import SumCombiner
from cir.names import RUN_FILE
from cir.reporting.pages import PageTable, percents

PLAIN_SUM: Final = "plain sum"


@dataclass(frozen=True)
class BeforeAfter:
    """A trained combiner beside the plain sum, under one protocol."""

    before: RecordedEvaluation
    after: RecordedEvaluation
    title: str
    """The protocol in words."""

    @property
    def name(self) -> str:
        """The split."""
        return self.after.protocol.split


def judged(evaluations: Sequence[Evaluation]) -> list[BeforeAfter]:
    """What was judged just now: the plain sum first, the trained combiner last; none for none."""
    if len(evaluations) < 2:
        return []
    before, after = (
        recorded_evaluation(each.to_json()) for each in (evaluations[0], evaluations[-1])
    )
    return [BeforeAfter(before, after, evaluations[0].title)]


def judged_in(
    run: Path, checkpoint_sha256: str, dataset: Dataset, store: Embeddings, device: torch.device
) -> tuple[list[BeforeAfter], list[str]]:
    """The evaluations that lie in a run folder, each beside that of the plain sum.

    Returns:
        Those of the checkpoint over the store, val before test, and a sentence for each file that
        is of another, or that cannot be read or compared.
    """
    found, others = [], []
    for file in sorted(run.glob("*.json")):
        if file.name == RUN_FILE:
            continue
        try:
            values = read_json(file, CirError)
        except CirError:
            others.append(f"{file.name} cannot be read, so it is passed over.")
            continue
        if not is_run_evaluation(values):
            continue
        pair = _beside_plain_sum(file, values, checkpoint_sha256, dataset, store, device)
        if isinstance(pair, BeforeAfter):
            found.append(pair)
        else:
            others.append(pair)
    return sorted(found, key=lambda pair: SPLITS.index(pair.after.protocol.split)), others


def _beside_plain_sum(
    file: Path,
    values: Mapping[str, Any],
    checkpoint_sha256: str,
    dataset: Dataset,
    store: Embeddings,
    device: torch.device,
) -> BeforeAfter | str:
    """What a file says, beside the plain sum; or a sentence that says why it is left out."""
    try:
        if not is_evaluation_of(values, checkpoint_sha256, store.sha256):
            return _left_out(file, "checkpoint or store")
        after = recorded_evaluation(values, "trained combiner")
        sizes = _sizes(after)
    except (KeyError, TypeError, UsageError):
        return f"{file.name} is not as this version of cir writes it, so it is passed over."
    try:
        before = _plain_sum(after.protocol, dataset, store, device)
    except (DatasetError, UsageError) as fault:
        return f"{file.name} is passed over, for its queries cannot be judged again: {fault}."
    plain = recorded_evaluation(before.to_json())
    if sizes != _sizes(plain):
        return _left_out(file, "dataset")
    return BeforeAfter(plain, after, before.title)


def _left_out(file: Path, what: str) -> str:
    return f"{file.name} is of another {what}, so its figures are left out: judge the run again."


def _sizes(of: RecordedEvaluation) -> dict[str, tuple[int, int]]:
    """Queries and gallery of each category: what tells a dataset from another."""
    return {
        name: (values["queries"], values["gallery_size"]) for name, values in of.categories.items()
    }


def _plain_sum(
    protocol: Protocol, dataset: Dataset, store: Embeddings, device: torch.device
) -> Evaluation:
    """What the plain sum reaches by the same rules."""
    return evaluate(
        dataset.queries(protocol.split),
        dataset.galleries(protocol.split),
        store,
        SumCombiner(),
        protocol,
        query=PLAIN_SUM,
        device=device,
        every_image=dataset.image_ids() if protocol.gallery == "all" else (),
    )


def judged_tables(pair: BeforeAfter) -> list[PageTable]:
    """The means of both, then the recalls of each category where there are several."""
    both = (pair.before, pair.after)
    columns = list(pair.after.figures)
    notes = list(dict.fromkeys(note for each in both for note in each.notes))
    several = len(pair.after.categories) > 1
    means = PageTable(
        f"Recall on {pair.name}",
        ["mean over categories" if several else "", *columns],
        [
            *([each.query, *percents(each.figures)] for each in both),
            ["chance", *percents(pair.after.chance)],
        ],
        [pair.title.capitalize() + ".", *notes],
    )
    return [means, _by_category(pair, columns)] if several else [means]


def _by_category(pair: BeforeAfter, columns: Sequence[str]) -> PageTable:
    rows = [
        [
            *(category, each.query, f"{values['queries']:,}", f"{values['gallery_size']:,}"),
            *percents(values["recall"]),
        ]
        for category in pair.after.categories
        for each in (pair.before, pair.after)
        for values in (each.categories[category],)
    ]
    heading = ["category", "query", "queries", "gallery", *columns]
    return PageTable(f"Recall on {pair.name} by category", heading, rows)
