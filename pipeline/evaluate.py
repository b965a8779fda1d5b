"""`cir evaluate`: Recall@K under stated protocols, of a run, of a baseline, or of two compared."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain, product
from pathlib import Path
from typing import Any, get_args

import torch

from cir import arguments
from cir.artefacts.provenance import Provenance
from cir.artefacts.query_ranks import write_query_ranks
from cir.artefacts.store import Embeddings
from cir.artefacts.trained import read_trained
from cir.config import (
    DATASET,
    EMBEDDINGS,
    RUN,
    CaptionRule,
    EvaluateConfig,
    GalleryName,
    ReferenceRule,
    TrainConfig,
)
from cir.data.dataset import Dataset
from cir.data.queries import Query
from cir.disk.files import folder_written_aside, real, write_json
from cir.encoding.origin import require_embedded_with
from cir.encoding.tuned import as_tuned
from cir.errors import DatasetError
from cir.evaluation.comparison import compare
from cir.evaluation.evaluator import Evaluator
from cir.evaluation.leaks import Leaks, find_leaks
from cir.evaluation.protocol import Protocol, require_targets, standard_protocol
from cir.evaluation.query_rows import LISTED, query_rows
from cir.evaluation.ranks import Ranks
from cir.evaluation.recall import Evaluation, recalls
from cir.evaluation.recorded import evaluation_json, origin_json
from cir.evaluation.submission import SUBMITTED, submission
from cir.evaluation.text_share import choose_text_share
from cir.machine.runtime import pick_device
from cir.machine.workers import pick_workers
from cir.models.clip4cir_checkpoint import load_clip4cir_combiner
from cir.models.composer import Composer, load_composer, require_checkpoint, untrained_composer
from cir.names import TRAINED_FILE
from cir.run_settings import inputs_of
from cir.training.train_data import SPLIT, dev_cut
from cir.types import Split
from pipeline.command.claims import claims_outputs
from pipeline.command.stores import read_fresh
from pipeline.screen import console
from pipeline.screen.recall_tables import print_comparison, print_evaluations


@dataclass(frozen=True, eq=False)
class _Inputs:
    """What the figures are computed from."""

    dataset: Dataset
    queries: list[Query]
    galleries: dict[str, list[str]]
    store_file: Path
    store: Embeddings
    protocols: list[Protocol]
    device: torch.device

    def evaluator(self) -> Evaluator:
        """Judges under every protocol."""
        return Evaluator(
            self.queries,
            self.galleries,
            self.store,
            self.protocols,
            device=self.device,
            every_image=self.every_image,
        )

    @cached_property
    def every_image(self) -> list[str]:
        """The gallery `all`, where a protocol has it."""
        asked = any(protocol.gallery == "all" for protocol in self.protocols)
        return self.dataset.image_ids() if asked else []


@claims_outputs
def run(config: EvaluateConfig) -> Path:
    """Ranks, prints the figures, and returns where they were written to or come from."""
    arguments.instance("config", config, EvaluateConfig)
    for path in _runs(config):
        require_checkpoint(path, "pass a store as `embeddings`, its dataset folder as `dataset`")
    inputs = _open(config)
    if config.compares:
        return _compare(config, inputs)
    composer = _composers(config, inputs)[-1]
    leaks = _leaks(config, inputs, composer)
    vectors = _vectors(config, inputs, composer)
    if config.submission:
        _submit(config.submission, inputs, composer, vectors)
    if _has_targets(inputs) or not config.submission:
        _evaluate(config, inputs, composer, vectors, leaks)
    written = config.json or config.per_query or config.submission
    return written or (composer.checkpoint.folder if composer.checkpoint else inputs.store_file)


def _open(config: EvaluateConfig) -> _Inputs:
    """Reads everything, cheapest first, so that what cannot be evaluated is told at once."""
    folder, store_file = _files(config)
    dataset, device = Dataset(folder), pick_device(config.device)
    queries = dataset.queries(config.split)
    if not config.submission or config.json or config.per_query:
        require_targets(queries, config.split)
    return _Inputs(
        dataset=dataset,
        queries=queries,
        galleries=dataset.galleries(config.split),
        store_file=store_file,
        store=read_fresh(store_file, dataset, stale_ok=config.stale_ok),
        protocols=_protocols(config, dataset),
        device=device,
    )


def _files(config: EvaluateConfig) -> tuple[Path, Path]:
    """The dataset and the store: those that are named, of the first run, or the usual ones."""
    if config.dataset and config.embeddings:
        return config.dataset, config.embeddings
    runs = _runs(config)
    of_run = inputs_of(runs[0]) if runs else None
    dataset, embeddings = of_run or (DATASET, EMBEDDINGS)
    return config.dataset or dataset, config.embeddings or embeddings


def _runs(config: EvaluateConfig) -> list[Path]:
    """The runs that are judged, at their paths."""
    if config.baseline is not None and not config.compare:
        return []
    return [path for path in (config.run, config.other) if path is not None] or [RUN]


def _protocols(config: EvaluateConfig, dataset: Dataset) -> list[Protocol]:
    """Every combination that is asked for, the benchmark's own first."""
    standard = standard_protocol(dataset.form, config.split)
    rules = (config.gallery, config.reference or (standard.reference,), config.captions)
    if config.all_protocols:
        rules = (get_args(GalleryName), get_args(ReferenceRule), get_args(CaptionRule))
    asked = dict.fromkeys(_protocol(config.split, *each) for each in product(*rules))
    return sorted(asked, key=lambda protocol: protocol != standard)


def _protocol(
    split: Split, gallery: GalleryName, reference: ReferenceRule, captions: CaptionRule
) -> Protocol:
    """The protocol of these rules; no reference is in the gallery `all`."""
    return Protocol(split, gallery, "removed" if gallery == "all" else reference, captions)


def _has_targets(inputs: _Inputs) -> bool:
    return all(query.target_ids for query in inputs.queries)


def _composers(config: EvaluateConfig, inputs: _Inputs) -> list[Composer]:
    """What is judged; of two, the one that the change is counted from stands first."""
    trained = [load_composer(path) for path in _runs(config)]
    return trained if config.baseline is None else [_baseline(config, inputs), *trained]


def _baseline(config: EvaluateConfig, inputs: _Inputs) -> Composer:
    """What needs no run of ours."""
    if config.clip4cir_combiner is not None:
        return _published_combiner(config.clip4cir_combiner, config, inputs)
    share = _chosen_text_share(inputs) if config.query == "weighted-sum" else 0.5
    return untrained_composer(config.query, share)


def _published_combiner(file: Path, config: EvaluateConfig, inputs: _Inputs) -> Composer:
    """CLIP4Cir's Combiner, over the vectors of the CLIP that it was trained with."""
    composer = load_clip4cir_combiner(file, inputs.store)
    if config.weights:
        require_embedded_with(inputs.store, config.weights, inputs.device)
    for line in _doubts(inputs.store.provenance, checked=config.weights is not None):
        console.note(f"{file}: {line}")
    return composer


def _doubts(origin: Provenance, *, checked: bool) -> Iterator[str]:
    """What may keep a published Combiner from its published figures on vectors of an encoder."""
    if not checked:
        yield (
            f"the file does not tell its CLIP; the figures are its own if that is the store's, "
            f"{origin.model} {origin.pretrained}, which `weights=FILE` checks"
        )
    if origin.preprocess != "targetpad":
        yield f"published figures are of targetpad photos, the store's are of {origin.preprocess}"


def _chosen_text_share(inputs: _Inputs) -> float:
    """The share of the text that is best on the dev split which training would hold out.

    Raises:
        DatasetError: the training split is missing, or too small to hold queries out.
    """
    try:
        _, dev = dev_cut(inputs.dataset, inputs.store, TrainConfig.dev_fraction, TrainConfig.seed)
    except DatasetError as fault:
        count = len(inputs.dataset.queries(SPLIT))  # which raises what else is wrong
        raise DatasetError(
            f"the {count:,} training queries of {inputs.dataset.root} are "
            f"too few to choose the weight of the weighted sum by; pass `query='sum'`"
        ) from fault
    share = choose_text_share(
        dev,
        inputs.dataset.galleries("train"),
        inputs.store,
        standard_protocol(inputs.dataset.form, "train"),
        device=inputs.device,
    )
    console.note(
        f"weighted sum: {share:g} of the text, chosen on {len(dev):,} queries of the training "
        f"split; cir mine and cir train take it as `text_share={share:g}`"
    )
    return share


def _vectors(config: EvaluateConfig, inputs: _Inputs, composer: Composer) -> Embeddings:
    """The store's vectors, as the encoder that the composer was trained with sees them."""
    return as_tuned(
        inputs.store,
        composer.checkpoint,
        inputs.dataset,
        inputs.queries,
        chain(inputs.every_image, *inputs.galleries.values()),
        device=inputs.device,
        workers=pick_workers(config.workers, inputs.device),
        progress=console.RichProgress(),
    )


# ------------------------------------------------------------------------- what was trained on


def _leaks(config: EvaluateConfig, inputs: _Inputs, composer: Composer) -> Leaks | None:
    """The judged queries that share photos with training; None where that is not known.

    Raises:
        DatasetError: there are some that the run's own dataset did not hold out, and
            `allow_trained` is off.
    """
    if composer.checkpoint is None:
        return None
    run = real(composer.checkpoint.folder).parent.parent
    record = read_trained(run / TRAINED_FILE)
    if record is None:
        console.note(
            f"{composer.checkpoint.folder}: {run / TRAINED_FILE} is missing, so whether judged "
            f"queries were trained on is not checked"
        )
        return None
    leaks = find_leaks(inputs.queries, record, inputs.store)
    if leaks.leaked and not config.allow_trained:
        raise DatasetError(_refusal(config.split, inputs.dataset.root, run, leaks))
    if leaks.own:
        console.note(
            f"{leaks.own:,} of {leaks.queries:,} queries share a photo with training, as the "
            f"splits of the run's own dataset have it; published figures count them"
        )
    return leaks


def _refusal(split: Split, dataset: Path, run: Path, leaks: Leaks) -> str:
    first = leaks.leaked[0]
    by_id = (
        f" ({leaks.by_id_alone:,} by the ids of photos alone, whose bytes differ)"
        if leaks.by_id_alone
        else ""
    )
    return (
        f"{run} was trained or chosen on the reference or a target of {len(leaks.leaked):,} of the "
        f"{leaks.queries:,} queries of split {split} in {dataset}{by_id}, the first "
        f"{first.id}: expected queries that it has not seen; judge it on the dataset that it was "
        f"trained on, train it again on this one, or pass `allow_trained=True` for figures that "
        f"are marked"
    )


def _mark(leaks: Leaks | None) -> str:
    """What is written beside figures that training has had a part in."""
    if leaks is None or not leaks.leaked:
        return ""
    return f"; TRAINED ON {len(leaks.leaked):,} of {leaks.queries:,} queries"


# --------------------------------------------------------------------------------- one run


def _evaluate(
    config: EvaluateConfig,
    inputs: _Inputs,
    composer: Composer,
    vectors: Embeddings,
    leaks: Leaks | None,
) -> None:
    """Judges one way to compose queries, writes its figures and prints them."""
    ranks = _judge(inputs.evaluator(), composer, vectors, LISTED if config.per_query else 0)
    evaluations = [recalls(protocol_ranks, composer.name) for protocol_ranks in ranks]
    origin = origin_json(inputs.store, composer, leaks)
    _write(config, composer, ranks[0], evaluations, origin)
    console.note(str(composer))
    print_evaluations(evaluations, _mark(leaks))
    if config.per_query:
        console.note(f"{config.per_query}: each query's rank; {ranks[0].title}")


def _write(
    config: EvaluateConfig,
    composer: Composer,
    ranks: Ranks,
    evaluations: Sequence[Evaluation],
    origin: dict[str, Any],
) -> None:
    """Writes the figures, and the ranks under the first protocol, where they are asked for."""
    if config.json:
        write_json(config.json, evaluation_json(evaluations, composer, origin))
    if config.per_query:
        described = {"query": composer.name, "protocol": asdict(ranks.protocol), **origin}
        write_query_ranks(query_rows(ranks), config.per_query, described)


def _judge(
    evaluator: Evaluator, composer: Composer, vectors: Embeddings, listed: int = 0
) -> list[Ranks]:
    progress = console.RichProgress()
    return evaluator.judge(vectors, composer.combiner, listed=listed, progress=progress)


def _submit(folder: Path, inputs: _Inputs, composer: Composer, vectors: Embeddings) -> None:
    """Writes the rankings of the first protocol as a test server takes them."""
    evaluator = Evaluator(
        inputs.queries,
        inputs.galleries,
        inputs.store,
        inputs.protocols[:1],
        device=inputs.device,
        judged=False,
    )
    ranks = _judge(evaluator, composer, vectors, SUBMITTED)[0]
    files = submission(ranks, inputs.dataset.form)
    with folder_written_aside(folder, "submission") as aside:
        for name, value in files.items():
            write_json(aside / name, value)
    count = sum(len(category.task.queries) for category in ranks.categories)
    console.note(
        f"{folder}: {', '.join(files)} for {inputs.dataset.form}'s test server, "
        f"{count:,} queries; {ranks.title}"
    )


# -------------------------------------------------------------------------------- two runs


def _compare(config: EvaluateConfig, inputs: _Inputs) -> Path:
    """Prints and writes what changes from the first composer to the second."""
    composers = _composers(config, inputs)
    leaks = [_leaks(config, inputs, composer) for composer in composers]
    vectors = [_vectors(config, inputs, composer) for composer in composers]
    evaluator = inputs.evaluator()
    before, after = (
        _judge(evaluator, composer, of_composer)
        for composer, of_composer in zip(composers, vectors, strict=True)
    )
    comparisons = [
        compare(first, second, resamples=config.resamples, seed=config.seed)
        for first, second in zip(before, after, strict=True)
    ]
    if config.json:
        sides = zip(("before", "after"), composers, (before, after), leaks, strict=True)
        figures = {
            side: {
                "protocols": [recalls(each, composer.name).to_json() for each in ranks],
                **origin_json(inputs.store, composer, leaked),
            }
            for side, composer, ranks, leaked in sides
        }
        every = [comparison.to_json() for comparison in comparisons]
        write_json(config.json, {"comparisons": every, **figures})
    console.note(f"from {composers[0]} to {composers[1]}")
    mark = next((_mark(each) for each in leaks if each and each.leaked), "")
    for comparison, ranks in zip(comparisons, after, strict=True):
        print_comparison(comparison, f"{ranks.title}{mark}")
    return config.json or inputs.store_file
