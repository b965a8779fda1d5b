"""cir-tiny, the bundled encoder, trained from scratch on titles, attributes and captions.

Contrastive training (Radford et al., CLIP, 2021, figure 3) with two changes that a small catalogue
asks for. A text that states only some attributes ("is navy blue") fits many photos of a batch: all
of them are its positives, so that no photo is pushed away for being right. And a linear classifier
a facet, dropped afterwards, reads the attributes from the image vector, so that a photo teaches
everything that is known of it at each step and not one sentence alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from cir.data.images import read_image
from cir.encoding.encoder import Encoder
from cir.encoding.preprocess import TARGET_RATIO, normalise, squared
from cir.encoding.published import Colours
from cir.errors import CirError
from cir.files import written_aside
from cir.parallel import in_order
from cir.pretraining.corpus import UNSTATED, Corpus
from cir.progress import SILENT, Progress, Task
from cir.runtime import autocast

_FLIP: Final = 0.5
"""Share of images that are mirrored."""
_SCALE: Final = (0.85, 1.1)
_STRETCH: Final = (0.94, 1.06)
_SHIFT: Final = 0.12
"""Furthest shift, of half the image's edge."""
_LIGHT: Final = (0.88, 1.12)
_LABEL_SMOOTHING: Final = 0.1
_FACET_WEIGHT: Final = 0.2
"""Weight of the classifiers' loss beside the contrastive one."""
_LARGEST_SCALE: Final = 100.0
"""Bound of the learned scale of logits (CLIP, section 2.5)."""
_BETAS: Final = (0.9, 0.98)
_LARGEST_GRADIENT: Final = 1.0
_WARM_UP: Final = 0.05
"""Share of the steps over which the learning rate rises."""
_PRECISION: Final = "bf16"


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    epochs: int
    batch_size: int
    learning_rate: float
    """AdamW's peak; it rises over 5 % of the steps, then falls as a cosine."""
    weight_decay: float
    """AdamW's, of matrices; gains and biases have none."""
    seed: int
    """Decides batches, texts and augmentation."""


@dataclass(frozen=True)
class Epoch:
    """What one pass over the images came to."""

    number: int
    """The first is 1."""
    loss: float
    """Mean over the steps."""


class FacetClassifier(nn.Module):
    """A linear read-out a facet, from the direction of the image vector."""

    def __init__(self, dim: int, sizes: Sequence[int]) -> None:
        """Makes the read-outs.

        Args:
            dim: Components of the image vectors.
            sizes: Values of each facet.
        """
        super().__init__()
        self.sizes = tuple(sizes)
        self.gain = dim**0.5
        self.read_out = nn.Linear(dim, sum(sizes))

    def forward(
        self, images: Float[Tensor, "batch dim"], codes: Int[Tensor, "batch facets"]
    ) -> Float[Tensor, ""]:
        """Cross entropy summed over the facets a photo states; mean over the photos."""
        logits = self.read_out(functional.normalize(images, dim=-1) * self.gain)
        losses = [
            functional.cross_entropy(
                of_facet,
                code,
                ignore_index=UNSTATED,
                reduction="sum",
                label_smoothing=_LABEL_SMOOTHING,
            )
            for of_facet, code in zip(logits.split(self.sizes, dim=1), codes.unbind(1), strict=True)
        ]
        return torch.stack(losses).sum() / len(images)


def contrastive_loss(
    images: Float[Tensor, "batch dim"],
    texts: Float[Tensor, "batch dim"],
    positives: Bool[Tensor, "batch batch"],
    scale: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """CLIP's symmetric cross entropy, all positives of a row sharing its target mass equally.

    Args:
        images: Image vectors.
        texts: Text vectors, one for each image.
        positives: [i, j]: text i fits image j; at least the diagonal.
        scale: What cosines are multiplied with.
    """
    logits = scale * functional.normalize(texts, dim=-1) @ functional.normalize(images, dim=-1).T
    wanted = positives.to(logits.dtype)
    by_text = functional.cross_entropy(logits, wanted / wanted.sum(dim=1, keepdim=True))
    by_image = functional.cross_entropy(logits.T, (wanted / wanted.sum(dim=0, keepdim=True)).T)
    return (by_text + by_image) / 2


def augmented(
    images: UInt8[Tensor, "batch 3 size size"], generator: torch.Generator
) -> Float[Tensor, "batch 3 size size"]:
    """Mirrors, shifts, scales and lights the images, in [0, 1]; colours keep their hue."""
    count = len(images)

    def drawn(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(count, *shape).uniform_(low, high, generator=generator)

    mirror = torch.where(drawn(0, 1) < _FLIP, -1.0, 1.0)
    scale, stretch = drawn(*_SCALE), drawn(*_STRETCH)
    pose = torch.zeros(count, 2, 3)
    pose[:, 0, 0], pose[:, 1, 1] = mirror * scale * stretch, scale / stretch
    pose[:, :, 2] = drawn(-_SHIFT, _SHIFT, 2)
    grid = functional.affine_grid(pose, list(images.shape), align_corners=False)
    moved = functional.grid_sample(
        images.float() / 255, grid, padding_mode="border", align_corners=False
    )
    return (moved * drawn(*_LIGHT, 1, 1, 1)).clamp_(0, 1)


def pretrain(
    encoder: Encoder,
    corpus: Corpus,
    images: UInt8[Tensor, "photos 3 size size"],
    schedule: Schedule,
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
            f"expected --batch-size up to {len(images)}, found {schedule.batch_size}"
        )
    trainer = _Trainer(encoder, corpus, images, schedule, colours)
    for number in range(1, schedule.epochs + 1):
        label = f"epoch {number}/{schedule.epochs}"
        encoder.clip.train()
        with progress.task(label, trainer.steps * schedule.batch_size, "images") as task:
            loss = trainer.epoch(number, task)
        encoder.clip.eval()
        yield Epoch(number, loss)


class _Trainer:
    """The encoder, the classifiers and their optimiser."""

    def __init__(
        self,
        encoder: Encoder,
        corpus: Corpus,
        images: UInt8[Tensor, "photos 3 size size"],
        schedule: Schedule,
        colours: Colours,
    ) -> None:
        self.encoder, self.corpus, self.images = encoder, corpus, images
        self.schedule, self.colours = schedule, colours
        self.steps = len(images) // schedule.batch_size
        sizes = [len(values) for values in corpus.values]
        self.classifier = FacetClassifier(encoder.dim, sizes).to(encoder.device)
        encoder.clip.to(memory_format=torch.channels_last)
        self.parameters: list[nn.Parameter] = [
            *encoder.clip.parameters(),
            *self.classifier.parameters(),
        ]
        self.optimizer = _optimizer(self.parameters, schedule)
        self.rate = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            schedule.learning_rate,
            total_steps=schedule.epochs * self.steps,
            pct_start=_WARM_UP,
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
        with autocast(device, _PRECISION):
            seen = encoder.encode_images(pixels.to(device))
            read = encoder.encode_texts(encoder.tokenize(pairs.texts).to(device))
        scale = encoder.clip.logit_scale.exp().clamp(max=_LARGEST_SCALE)  # type: ignore[operator]
        codes = torch.from_numpy(self.corpus.codes[rows]).to(device)
        contrastive = contrastive_loss(seen, read, pairs.positives.to(device), scale)
        loss: Tensor = contrastive + _FACET_WEIGHT * self.classifier(seen, codes)
        return loss

    def _step(self, loss: Float[Tensor, ""], epoch: int) -> None:
        if not torch.isfinite(loss):
            raise CirError(f"the loss of epoch {epoch} is {loss.item()}: lower --learning-rate")
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, _LARGEST_GRADIENT)
        self.optimizer.step()
        self.rate.step()


def _optimizer(parameters: Sequence[nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    """AdamW that decays matrices and leaves gains and biases alone."""
    matrices = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": schedule.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=_BETAS)


def read_squares(
    files: Sequence[Path], size: int, workers: int, progress: Progress = SILENT
) -> UInt8[Tensor, "photos 3 size size"]:
    """Every photo padded, resized and cropped as `targetpad` does, held in memory as bytes.

    Raises:
        ImageError: a photo is broken.
    """
    squares = np.empty((len(files), 3, size, size), dtype=np.uint8)
    with progress.task("photos", len(files), "photos") as task:
        for row, square in enumerate(in_order(partial(_square, size=size), files, workers)):
            squares[row] = square
            task.advance()
    return torch.from_numpy(squares)


def save_half(encoder: Encoder, path: Path) -> None:
    """Writes the weights in 16 bits, aside and moved into place."""
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous().cpu()
        for name, value in encoder.clip.state_dict().items()
    }
    with written_aside(path) as aside:
        aside.write_bytes(save(state))  # save_file would hide the file from other users


def _square(file: Path, *, size: int) -> UInt8[np.ndarray, "3 size size"]:
    return np.asarray(squared(read_image(file), TARGET_RATIO, size)).transpose(2, 0, 1)
