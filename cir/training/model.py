"""The model that a run trains: a combiner, and CLIP where a tower is tuned."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cir.artefacts.checkpoint import Checkpoint
from cir.artefacts.store import Embeddings
from cir.config import Tune
from cir.data.dataset import Dataset
from cir.encoding.encoder import Encoder
from cir.encoding.refresh import with_captions, with_images
from cir.errors import CheckpointError
from cir.machine.processes import ALONE, Processes
from cir.models.optim import ParameterGroup, layerwise_groups
from cir.progress import SILENT, Progress
from cir.training.features import FrozenTower, ImageTower, TextTower, Tower, Towers


@dataclass(eq=False)
class Model:
    """A combiner, and the encoder whose towers are tuned beside it, if any is."""

    combiner: nn.Module
    encoder: Encoder | None
    """None where no tower is tuned."""
    tunes_image: bool
    tunes_text: bool
    encode_batch: int | None = None
    """Images or texts that a tuned tower encodes at once; None encodes a step's all at once. A run
    that was not told finds it at its first step (`cir.training.encode_batch`)."""

    @property
    def tune(self) -> Tune:
        """The towers that are tuned, in one word."""
        if self.tunes_image:
            return "both" if self.tunes_text else "image"
        return "text" if self.tunes_text else "none"

    def clip_groups(self, learning_rate: float, layer_decay: float) -> list[ParameterGroup]:
        """Groups the parameters of the tuned towers by layer, and freezes all others of CLIP.

        Args:
            learning_rate: Peak rate of a tower's last layer.
            layer_decay: A layer's rate as a share of the next one's.
        """
        if self.encoder is None:
            return []
        self.encoder.clip.requires_grad_(False)
        towers = [self.encoder.image_parameters()] if self.tunes_image else []
        towers += [self.encoder.text_parameters()] if self.tunes_text else []
        groups = [
            group
            for tower in towers
            for group in layerwise_groups(tower, learning_rate, layer_decay)
        ]
        for group in groups:
            for parameter in group.parameters:
                parameter.requires_grad_(True)
        return groups

    def clip_parameters(self) -> list[nn.Parameter]:
        """The parameters of the tuned towers, those of images first, from the input on."""
        if self.encoder is None:
            return []
        images = self.encoder.image_parameters() if self.tunes_image else {}
        texts = self.encoder.text_parameters() if self.tunes_text else {}
        return [*images.values(), *texts.values()]

    def towers(
        self, embeddings: Embeddings, dataset: Dataset, *, device: torch.device, workers: int
    ) -> Towers:
        """The towers that give features by row of the store's images and captions.

        Args:
            embeddings: The store.
            dataset: Has the image files, which are read where the image tower is tuned.
            device: Where the run trains.
            workers: Processes that decode images.
        """
        images: Tower = FrozenTower(embeddings.images.vectors, device)
        texts: Tower = FrozenTower(embeddings.captions.vectors, device)
        if self.encoder is not None and self.tunes_image:
            files = [dataset.image_path(image_id) for image_id in embeddings.images.keys]
            images = ImageTower(self.encoder, files, workers, self.encode_batch)
        if self.encoder is not None and self.tunes_text:
            texts = TextTower(self.encoder, embeddings.captions.keys, self.encode_batch)
        return Towers(images, texts)

    def encoded_again(
        self,
        embeddings: Embeddings,
        dataset: Dataset,
        image_ids: Iterable[str],
        texts: Iterable[str],
        *,
        workers: int,
        progress: Progress = SILENT,
        processes: Processes = ALONE,
    ) -> Embeddings:
        """The vectors that the tuned towers give now; the store itself where none is tuned.

        Args:
            embeddings: The store that training began with.
            dataset: Has the image files.
            image_ids: The images to encode where the image tower is tuned; no others are left.
            texts: The captions to encode where the text tower is tuned; no others are left.
            workers: Processes that decode images.
            progress: Shows images and captions per second.
            processes: Those that encode a part each; all return the same.
        """
        now = embeddings
        if self.encoder is not None and self.tunes_image:
            now = with_images(
                now,
                self.encoder,
                dataset,
                image_ids,
                workers=workers,
                progress=progress,
                processes=processes,
            )
        if self.encoder is not None and self.tunes_text:
            now = with_captions(now, self.encoder, texts, progress=progress, processes=processes)
        return now

    def clip_state(self) -> Mapping[str, Tensor] | None:
        """The whole of CLIP where a tower is tuned."""
        return None if self.encoder is None else self.encoder.clip.state_dict()

    def load(self, checkpoint: Checkpoint) -> None:
        """Loads the weights of `checkpoint`.

        Raises:
            CheckpointError: they do not fit.
        """
        try:
            self.combiner.load_state_dict(checkpoint.combiner)
            if self.encoder is not None:
                self.encoder.clip.load_state_dict(checkpoint.clip or {})
        except RuntimeError as fault:
            raise CheckpointError(
                f"{checkpoint.folder} does not fit this run: {' '.join(str(fault).split())}"
            ) from fault
