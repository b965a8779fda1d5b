"""`cir embed`: a dataset becomes an embedding store."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cir.config.base import Config, option
from cir.config.faults import below
from cir.config.values import (
    DATASET,
    EMBEDDINGS,
    Device,
    EmbedEngine,
    OnError,
    Precision,
    Preprocess,
)
from cir.types import Artefact


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(Config):
    """Which encoder, and how it runs."""

    model: str | None = option(None, "Encoder")
    """open_clip model name, or cir-tiny, the bundled one; by default that of the run whose weights
    are taken, or RN50x4."""
    pretrained: str | None = option(None, "Encoder")
    """open_clip's tag of the weights; by default that of the run whose weights are taken, that of
    the store that is added to, or openai. cir-tiny has bundled-60, the default, and bundled, which
    was trained for half as long."""
    weights: Path | None = option(None, "Encoder", either=True)
    """Weight file instead: open_clip state dict, safetensors, OpenAI archive, CLIP4Cir checkpoint,
    or a run that tuned CLIP, or a checkpoint of one."""
    preprocess: Preprocess | None = option(None, "Encoder")
    """targetpad (pad when the aspect ratio passes 1.25, as CLIP4Cir), squarepad, or clip; by
    default that of the run whose weights are taken, or targetpad."""
    precision: Precision = option("fp32", "Machine")
    """Number format of the encoder's arithmetic; fp32 is float32 on a GPU too, tf32 is faster."""
    device: Device = option("auto", "Machine")
    """auto takes the GPU where there is one."""
    batch_size: int = option(128, "Machine")
    """Images or captions encoded at once, at most; a CPU takes 32, of a heavy encoder 8 images."""
    workers: int | None = option(None, "Machine")
    """Processes that decode images; one a core by default, at most 8 where no GPU encodes."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from below(self, 1, "batch_size")
        yield from below(self, 0, "workers")


@dataclass(frozen=True, kw_only=True)
class EmbedConfig(EncoderConfig):
    """Encode every image and caption of a dataset into an embedding store.

    In a store that is there, what is new or changed is encoded, and the rest is kept.
    """

    dataset: Path = option(DATASET, "Files", argument=True)
    """Dataset folder."""
    out: Path = option(EMBEDDINGS, "Files", writes="store")
    """Embedding store to write, or to bring up to date."""
    check: bool = option(False, "Files")
    """Encode nothing: say what the store lacks, or has of another photo or of other `weights`, and
    end with 1 if any."""
    list_models: bool = option(False, "Encoder")
    """List the encoders that there are, with the tags of their published weights, and end."""
    any_precision: bool = option(False, "Files")
    """Keep vectors of a store that were computed in another precision."""
    on_error: OnError = option("fail", "Files")
    """fail stops at the first broken image; skip leaves broken images out and lists them."""
    overwrite: bool = option(False, "Files")
    """Encode everything afresh, and replace a store that exists."""
    engine: EmbedEngine = option("local", "Machine")
    """local encodes in this process, and in those that a launcher starts beside it; ray has photos
    encoded by a Ray cluster: that of RAY_ADDRESS, or one of this machine while it takes."""
    actors: int | None = option(None, "Machine")
    """With `engine='ray'`, processes that encode photos; one a GPU by default, or one a core where
    the cluster has no GPU."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from below(self, 1, "actors")
        if self.actors is not None and self.engine != "ray":
            yield "`actors` are those of a Ray cluster; pass `engine='ray'` too"
        for name in ("check", "list_models"):
            if getattr(self, name) and self.overwrite:
                yield f"`{name}` encodes nothing; leave out `overwrite=True`"

    @property
    def goes_on(self) -> bool:
        """Whether a store that is there is added to."""
        return not self.overwrite

    def written(self) -> dict[str, tuple[Path, Artefact]]:
        """The store, but where none is written."""
        return {} if self.check or self.list_models else super().written()
