"""What a run trains: a combiner, and CLIP where a tower is tuned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cir.artefacts.checkpoint import Checkpoint
from cir.artefacts.store import Embeddings
from cir.data.captions import joined
from cir.data.dataset import Dataset, Query
from cir.encoding.encoder import Encoder
from cir.encoding.refresh import with_captions, with_images
from cir.errors import CheckpointError
from cir.models.layerwise import ParameterGroup, layerwise_groups
from cir.progress import SILENT, Progress
from cir.training.towers import FrozenTower, ImageTower, TextTower, Tower


@dataclass(frozen=True)
class Model:
    """A combiner, and the encoder whose towers are tuned beside it, if any is."""

    combiner: nn.Module
    encoder: Encoder | None
    """None where no tower is tuned."""
    tunes_image: bool
    tunes_text: bool
    encode_batch: int | None = None
    """Images or texts that a tuned tower encodes at once; None encodes a step's all at once."""

    def clip_groups(self, layer_decay: float) -> list[ParameterGroup]:
        """The parameters of the tuned towers by layer; all others of CLIP are frozen by this.

        Args:
            layer_decay: What a layer's learning rate is multiplied by, seen from the one after it.
        """
        if self.encoder is None:
            return []
        self.encoder.clip.requires_grad_(False)
        towers = [self.encoder.image_parameters()] if self.tunes_image else []
        towers += [self.encoder.text_parameters()] if self.tunes_text else []
        groups = [group for tower in towers for group in layerwise_groups(tower, layer_decay)]
        for group in groups:
            for parameter in group.parameters:
                parameter.requires_grad_(True)
        return groups

    def image_tower(
        self, embeddings: Embeddings, dataset: Dataset, *, device: torch.device, workers: int
    ) -> Tower:
        """Gives images' features by row of the store's images."""
        if self.encoder is None or not self.tunes_image:
            return FrozenTower(embeddings.images.vectors, device)
        files = [dataset.image_path(image_id) for image_id in embeddings.images.keys]
        return ImageTower(self.encoder, files, workers, self.encode_batch)

    def text_tower(self, embeddings: Embeddings, device: torch.device) -> Tower:
        """Gives texts' features by row of the store's captions."""
        if self.encoder is None or not self.tunes_text:
            return FrozenTower(embeddings.captions.vectors, device)
        return TextTower(self.encoder, embeddings.captions.keys, self.encode_batch)

    def embedded(
        self,
        embeddings: Embeddings,
        dataset: Dataset,
        queries: Sequence[Query],
        galleries: Mapping[str, Sequence[str]],
        *,
        workers: int,
        progress: Progress = SILENT,
    ) -> Embeddings:
        """The vectors as the tuned towers give them now; the store itself where none is tuned.

        Args:
            embeddings: The store that training began with.
            dataset: Where the image files are.
            queries: Whose images and joined captions are wanted.
            galleries: Image ids that are wanted as well, by category.
            workers: Processes that decode.
            progress: Shows images and captions per second.
        """
        now = embeddings
        if self.encoder is not None and self.tunes_image:
            named = (i for q in queries for i in (q.reference_id, *q.target_ids))
            ids = {*named, *(i for gallery in galleries.values() for i in gallery)}
            now = with_images(now, self.encoder, dataset, ids, workers=workers, progress=progress)
        if self.encoder is not None and self.tunes_text:
            texts = [joined(query.captions) for query in queries]
            now = with_captions(now, self.encoder, texts, progress=progress)
        return now

    def clip_state(self) -> Mapping[str, Tensor] | None:
        """The whole of CLIP where a tower is tuned."""
        return None if self.encoder is None else self.encoder.clip.state_dict()

    def load(self, checkpoint: Checkpoint) -> None:
        """Takes the weights of `checkpoint`.

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
