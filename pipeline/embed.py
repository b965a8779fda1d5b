"""`cir embed`: every image and caption of a dataset into an embedding store."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from cir import arguments
from cir.artefacts.changes import Changes
from cir.artefacts.checkpoint import read_metadata
from cir.artefacts.checksums import shortened
from cir.artefacts.provenance import Provenance
from cir.artefacts.store import StoredEmbeddings, open_embeddings
from cir.config import MODEL, PREPROCESS, TINY, EmbedConfig
from cir.data.dataset import Dataset
from cir.data.image_files import outside_every_split
from cir.encoding.clip.bundled import BUNDLED_FILES
from cir.encoding.encoder import Encoder
from cir.encoding.job.dataset_embedding import EmbedSummary, embed_dataset
from cir.encoding.job.ray_engine import RayEngine, require_ray
from cir.encoding.job.staleness import Staleness, staleness
from cir.encoding.loading import known_tags, load_encoder, require_used
from cir.encoding.origin import require_loadable
from cir.encoding.sameness import family_of, named_as
from cir.encoding.weights.tags import UNTRAINED, tag_of
from cir.errors import StoreError, UsageError, VectorError, quoted, some_of
from cir.machine.kept_memory import keep_freed_memory
from cir.machine.processes import ALONE, Processes
from cir.machine.runtime import pick_device
from cir.machine.workers import pick_workers
from cir.names import BEST, CHECKPOINTS, METADATA_FILE
from cir.progress import SILENT
from pipeline.command.claims import claims_outputs
from pipeline.screen import console

_SHOWN = 10
"""Skipped images that are printed; the store lists them all."""
_NAMED = 3
"""Ids or captions that a line of what is stale names."""


@dataclass(frozen=True)
class _Architecture:
    """What turns weights into an encoder."""

    model: str
    preprocess: str
    pretrained: str | None
    """The tag of the weights, which QuickGELU and colours depend on; None where nothing says it."""
    run: Path | None = None
    """The run that says so; None where the configuration does, or its defaults."""

    @classmethod
    def of(cls, config: EmbedConfig) -> "_Architecture":
        """What is asked for, or what the run knows whose weights are taken.

        Raises:
            UsageError: the run is of another model or tag than is asked for, or of an encoder that
                no command can load.
            CheckpointError: its checkpoint is damaged.
        """
        folder = _checkpoint_of(config.weights)
        if config.weights is None or folder is None:
            model = config.model or MODEL
            return cls(model, config.preprocess or PREPROCESS, config.pretrained)
        origin = read_metadata(folder).provenance
        require_loadable(origin, folder)
        if config.model not in (None, origin.model):
            raise UsageError(
                f"`model` is {config.model!r}, and {config.weights} holds weights of a run over "
                f"{origin.model}: pass `model={origin.model!r}`, or leave it out"
            )
        pretrained = _tag_of_run(config.pretrained, config.weights, origin)
        told = config.model is not None and config.preprocess is not None
        preprocess = config.preprocess or origin.preprocess
        return cls(origin.model, preprocess, pretrained, None if told else config.weights)


def _tag_of_run(asked: str | None, weights: Path, origin: Provenance) -> str | None:
    """The tag that a run's weights derive from; the one that is asked for where it knows none.

    Raises:
        UsageError: another one is asked for.
    """
    known = family_of(origin)
    if known in ("", UNTRAINED):
        return asked
    if asked not in (None, weights.name) and tag_of(asked) != known:
        raise UsageError(
            f"`pretrained` is {asked!r}, and {weights} holds weights of a run over "
            f"{origin.model} {known}: leave it out"
        )
    return known


def _checkpoint_of(weights: Path | None) -> Path | None:
    """The checkpoint that weights are taken from, where they are a run's."""
    folders = () if weights is None else (weights, weights / CHECKPOINTS / BEST)
    return next((each for each in folders if (each / METADATA_FILE).is_file()), None)


@claims_outputs
def run(config: EmbedConfig, processes: Processes = ALONE) -> Path | bool:
    """Embeds a dataset and says what came of it.

    Of several processes, each encodes a part, and the main one writes and says.

    Returns:
        The path of the store; with `check`, whether it is up to date.
    """
    arguments.instance("config", config, EmbedConfig)
    if config.list_models:
        if processes.main:
            _list_models()
        return True
    asked = _Architecture.of(config)
    require_used(asked.model, config.pretrained, config.weights)
    engine = _engine(config, processes)
    dataset = Dataset(config.dataset)
    if config.check:
        return processes.broadcast_from_main(lambda: _check(config, asked, dataset))
    device = pick_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    encoder = load_encoder(
        asked.model,
        pretrained=_tag(config, asked),
        weights=config.weights,
        preprocess=asked.preprocess,
        device=device,
        precision=config.precision,
    )
    done = embed_dataset(
        dataset,
        encoder,
        config.out,
        batch_size=config.batch_size,
        workers=pick_workers(config.workers, device),
        on_error=config.on_error,
        overwrite=config.overwrite,
        any_precision=config.any_precision,
        progress=console.RichProgress() if processes.main else SILENT,
        processes=processes,
        engine=engine,
    )
    if not processes.main:
        return config.out
    _print(config.out, encoder, done)
    if asked.run:
        console.note(
            f"model and preprocessing are those of {asked.run}: {asked.model}, {asked.preprocess}"
        )
    _print_changes(Changes(config.out))
    return config.out


def _tag(config: EmbedConfig, asked: _Architecture) -> str | None:
    """The tag of the weights: where none is given, that of the store that the run adds to."""
    if asked.pretrained or config.weights or config.overwrite or not config.out.exists():
        return asked.pretrained
    try:
        held = open_embeddings(config.out).provenance
    except (StoreError, VectorError):
        return None  # embed_dataset says what is wrong with it
    kept = held.model == asked.model and held.pretrained in known_tags(asked.model)
    return held.pretrained if kept else None


def _engine(config: EmbedConfig, processes: Processes) -> RayEngine | None:
    """What encodes photos, unless it is this process and those beside it."""
    if config.engine == "local":
        return None
    if processes.count > 1:
        raise UsageError(
            f"`engine='ray'` starts its own processes, and a launcher started {processes.count}: "
            f"start it without the launcher"
        )
    require_ray()
    return RayEngine(config.actors, config.device)


def _list_models() -> None:
    """Prints a line for every architecture, with the tags of its weights; the bundled one first."""
    from cir.encoding.weights.published import model_names, published_tags

    tags_of = {TINY: list(BUNDLED_FILES)} | {name: published_tags(name) for name in model_names()}
    for name, tags in tags_of.items():
        console.note(f"{name}: {', '.join(tags) or 'no published weights; pass `weights=FILE`'}")


def _print_changes(changes: Changes) -> None:
    added, removed = len(changes.added()), len(changes.removed())
    if added or removed:
        console.note(
            f"{added:,} photos that were added and {removed:,} that were removed while the store "
            f"was served are folded in ({changes.path})"
        )


# --------------------------------------------------------------------------------- checking


def _check(config: EmbedConfig, asked: _Architecture, dataset: Dataset) -> bool:
    """Prints what is stale; whether nothing is."""
    store = open_embeddings(config.out)
    found = staleness(dataset, store, progress=console.RichProgress())
    lines = [*_differences(config, asked, store), *_stale(found)]
    if found.touched:
        console.note(f"{len(found.touched):,} photos were touched; their bytes are the same")
    for line in lines:
        console.note(line)
    if not lines:
        count = f"{len(store.images.keys):,} images and {len(store.captions.keys):,} captions"
        console.note(f"{config.out} is up to date: {count}")
    return not lines


def _differences(
    config: EmbedConfig, asked: _Architecture, store: StoredEmbeddings
) -> Iterator[str]:
    """How the encoder that is asked for differs from the store's, by name."""
    held = store.provenance
    yield from _named("model", held.model, asked.model)
    yield from _named("preprocess", held.preprocess, asked.preprocess)
    if config.weights:
        yield from _other_weights(config, asked, held)
    elif config.pretrained and tag_of(held.pretrained) != tag_of(config.pretrained):
        yield from _named("pretrained", held.pretrained, config.pretrained)
    if (store.precision or config.precision) != config.precision and not config.any_precision:
        yield from _named("precision", str(store.precision), config.precision)


def _named(field: str, held: str, asked: str) -> Iterator[str]:
    if held != asked:
        yield f"the store is of `{field}={held!r}`, and {asked} is asked for"


def _other_weights(config: EmbedConfig, asked: _Architecture, held: Provenance) -> Iterator[str]:
    """How the weights of a file differ from the store's: they are loaded, on the CPU."""
    loaded = load_encoder(
        asked.model,
        pretrained=asked.pretrained,
        weights=config.weights,
        preprocess=asked.preprocess,
        device=torch.device("cpu"),
    )
    found = named_as(loaded.provenance, held)
    if found.weights_sha256 != held.weights_sha256:
        yield (
            f"the store is of weights {shortened(held.weights_sha256)} ({held.pretrained}), and "
            f"those of `weights={str(config.weights)!r}` are {shortened(found.weights_sha256)}"
        )
    else:
        yield from _named("pretrained", held.pretrained, found.pretrained)


def _stale(found: Staleness) -> Iterator[str]:
    """A line for each kind of what is stale."""
    for names, what in (
        (found.new, "photos are new"),
        (found.changed, "photos are others under the same id"),
        (found.gone, "photos are gone"),
        (found.unlisted, "photos were removed while the store was served, which it does not list"),
        (found.new_captions, "captions are new"),
        (found.gone_captions, "captions are gone"),
    ):
        if names:
            shown = ", ".join(repr(name) for name in names[:_NAMED])
            more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
            yield f"{len(names):,} {what}: {shown}{more}"


# --------------------------------------------------------------------------------- telling


def _print(out: Path, encoder: Encoder, done: EmbedSummary) -> None:
    where = encoder.provenance
    console.table(
        str(out),
        ("model", "device", "images", "captions", "dim", "images/s", "seconds"),
        [
            (
                *(f"{where.model} ({where.pretrained})", f"{encoder.device} {encoder.precision}"),
                *(f"{done.images:,}", f"{done.captions:,}", where.embed_dim),
                *(f"{done.images_per_second:,.0f}", f"{done.seconds:.1f}"),
            )
        ],
    )
    _print_kept(out, done)
    if done.resumed:
        console.note(f"{done.resumed:,} of the images were done by an earlier run")
    if done.unlisted:
        console.note(outside_every_split(done.unlisted))
    if done.cut:
        console.note(
            f"{len(done.cut):,} texts are longer than the encoder's context and were cut there: "
            f"{some_of([quoted(text) for text in done.cut])}"
        )
    if done.skipped:
        _print_skipped(out, done)


def _print_kept(out: Path, done: EmbedSummary) -> None:
    """What of a store that was there has been kept."""
    if not done.written:
        console.note(f"{out} was up to date: it stays as it is, byte for byte")
    elif done.kept or done.dropped:
        console.note(
            f"{done.kept:,} images were kept as they were, {done.dropped:,} dropped; "
            f"{done.encoded:,} encoded, {done.changed:,} of them for a photo that had changed; "
            f"{done.captions_encoded:,} captions encoded"
        )


def _print_skipped(out: Path, done: EmbedSummary) -> None:
    console.note(f"{len(done.skipped):,} images were skipped:")
    for image_id, reason in list(done.skipped.items())[:_SHOWN]:
        console.note(f"  {image_id}: {reason}")
    if len(done.skipped) > _SHOWN:
        console.note(f"  and {len(done.skipped) - _SHOWN:,} more: see /skipped in {out}")
