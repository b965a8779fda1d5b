"""cir-tiny, the bundled encoder, trained from scratch on titles, attributes and captions.

Contrastive training (Radford et al., CLIP, 2021, figure 3) with two changes that a small catalogue
asks for. A text that states only some attributes ("is navy blue") fits many photos of a batch: all
of them are its positives, so that no photo is pushed away for being right. And a linear classifier
for each facet, dropped afterwards, reads the attributes from the image vector, so that a photo
teaches everything that is known of it at each step and not one sentence alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from safetensors.torch import save
from torch import Tensor, nn

from cir.disk.files import written_aside
from cir.encoding.encoder import Encoder
from cir.encoding.preprocess import normalise
from cir.encoding.weights.colours import Colours
from cir.errors import CirError
from cir.machine.arithmetic import arithmetic
from cir.models.optim import MAX_GRADIENT_NORM, WARM_UP, decay_groups
from cir.names import MADE_BY_KEY, PRETRAIN
from cir.pretraining.augmentation import augmented
from cir.pretraining.corpus import Corpus
from cir.pretraining.losses import FacetClassifier, contrastive_loss
from cir.progress import SILENT, Progress, Task

_FACET_WEIGHT: Final = 0.2
"""Weight of the classifiers' loss beside the contrastive one."""
_LARGEST_SCALE: Final = 100.0
"""Bound of the learned scale of logits (CLIP, section 2.5)."""
_BETAS: Final = (0.9, 0.98)
_PRECISION: Final = "bf16"
_MADE_BY: Final = {MADE_BY_KEY: PRETRAIN}
"""What a weight file says of itself."""


@dataclass(frozen=True)
class PretrainingSchedule:
    """How long and how fast to train."""

    epochs: int
    batch_size: int
    learning_rate: float
    """AdamW's peak; it rises over the first `WARM_UP` of the steps, then falls as a cosine."""
    weight_decay: float
    """AdamW's, of matrices; gains and biases have none."""
    seed: int
    """Decides batches, texts and augmentation."""


@dataclass(frozen=True)
class Epoch:
    """The result of one pass over the images."""

    number: int
    """The first is 1."""
    loss: float
    """Mean over the steps."""


def pretrain(
    encoder: Encoder,
    corpus: Corpus,
    images: UInt8[Tensor, "photos 3 size size"],
    schedule: PretrainingSchedule,
    colours: Colours,
    *,
    progress: Progress = SILENT,
) -> Iterator[Epoch]:
    """Trains the encoder in place; yields after each epoch, so that the caller may save it.

    Args:
        encoder: Any weights; in train mode while an epoch runs, in eval mode when it is yielded.
        corpus: What is known of each image.
        images: The images, square, as bytes.
        schedule: How long and how fast.
        colours: Statistics that the image tower's input is normalised with.
        progress: Shows images per second and the loss.

    Raises:
        CirError: the loss is no number, or the images are fewer than a batch.
    """
    if len(images) < schedule.batch_size:
        raise CirError(
            f"{len(images)} training images are less than a batch; "
            f"expected `batch_size` up to {len(images)}, found {schedule.batch_size}"
        )
    trainer = _Trainer(encoder, corpus, images, schedule, colours)
    for number in range(1, schedule.epochs + 1):
        label = f"epoch {number}/{schedule.epochs}"
        encoder.clip.train()
        with progress.task(label, trainer.steps * schedule.batch_size, "images") as task:
            loss = trainer.epoch(number, task)
        encoder.clip.eval()
        yield Epoch(number, loss)


def save_half(encoder: Encoder, path: Path) -> None:
    """Writes the weights in 16 bits, aside and moved into place."""
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous().cpu()
        for name, value in encoder.clip.state_dict().items()
    }
    with written_aside(path) as aside:
        aside.write_bytes(save(state, _MADE_BY))  # save_file would hide the file from other users


class _Trainer:
    """The encoder, the facet classifier and their optimiser."""

    def __init__(
        self,
        encoder: Encoder,
        corpus: Corpus,
        images: UInt8[Tensor, "photos 3 size size"],
        schedule: PretrainingSchedule,
        colours: Colours,
    ) -> None:
        self.encoder, self.corpus, self.images = encoder, corpus, images
        self.schedule, self.colours = schedule, colours
        self.steps = len(images) // schedule.batch_size
        sizes = [len(values) for values in corpus.values]
        self.classifier = FacetClassifier(encoder.dim, sizes).to(encoder.device)
        self.parameters: list[nn.Parameter] = [
            *encoder.clip.parameters(),
            *self.classifier.parameters(),
        ]
        self.optimiser = torch.optim.AdamW(
            decay_groups(self.parameters),
            lr=schedule.learning_rate,
            weight_decay=schedule.weight_decay,
            betas=_BETAS,
        )
        self.rate = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser,
            schedule.learning_rate,
            total_steps=schedule.epochs * self.steps,
            pct_start=WARM_UP,
            cycle_momentum=False,
        )

    def epoch(self, number: int, task: Task) -> float:
        """One pass over the images in a new order; the mean loss."""
        rng = np.random.default_rng([self.schedule.seed, number])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        size, total = self.schedule.batch_size, 0.0
        order = rng.permutation(len(self.images))[: self.steps * size]
        for rows in order.reshape(self.steps, size):
            loss = self._loss(rows, rng, generator)
            self._step(loss, number)
            total += loss.item()
            task.advance(size, loss=loss.item(), rate=float(self.rate.get_last_lr()[0]))
        return total / self.steps

    def _loss(
        self, rows: Int[np.ndarray, " batch"], rng: np.random.Generator, generator: torch.Generator
    ) -> Float[Tensor, ""]:
        encoder, device = self.encoder, self.encoder.device
        pairs = self.corpus.draw(rows, rng)
        images = augmented(self.images[torch.from_numpy(rows)], generator)
        pixels = normalise(images, self.colours.mean, self.colours.std)
        with arithmetic(device, _PRECISION):
            seen = encoder.encode_images(pixels.to(device))
            read = encoder.encode_texts(encoder.tokenize(pairs.texts).to(device))
        scale = encoder.clip.logit_scale.exp().clamp(max=_LARGEST_SCALE)  # type: ignore[operator]
        codes = torch.from_numpy(self.corpus.codes[rows]).to(device)
        contrastive = contrastive_loss(seen, read, pairs.positives.to(device), scale)
        loss: Tensor = contrastive + _FACET_WEIGHT * self.classifier(seen, codes)
        return loss

    def _step(self, loss: Float[Tensor, ""], epoch: int) -> None:
        if not torch.isfinite(loss):
            raise CirError(f"the loss of epoch {epoch} is {loss.item()}: lower `learning_rate`")
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, MAX_GRADIENT_NORM)
        self.optimiser.step()
        self.rate.step()
