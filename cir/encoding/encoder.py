"""Photos and texts to vectors: a CLIP model with its preprocessing and tokens.

`cir.encoding.loading` makes one by name. open_clip, which that takes, is not imported here: it
loads for seconds, and what works on stored vectors alone does without.
"""

import copy
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Final

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn

from cir.artefacts.provenance import Provenance
from cir.encoding.clip.architecture import Tokenizer
from cir.encoding.clip.context import encode_beginnings, text_ends
from cir.encoding.preprocess import PhotoTransform
from cir.machine.arithmetic import arithmetic, require_precision
from cir.machine.runtime import sent

SCALES: Final = frozenset({"logit_scale", "logit_bias"})
"""Parameters of CLIP that belong to neither tower."""
_VISUAL: Final = "visual."


class Encoder:
    """A CLIP model with what turns photos and texts into its input.

    Vectors come as the model gives them, not normalised, in float32. Gradients flow where the
    caller's context lets them; the module's mode (train or eval) is the caller's as well.
    """

    def __init__(
        self,
        clip: nn.Module,
        *,
        provenance: Provenance,
        preprocess: Callable[[Image.Image], Float[Tensor, "3 size size"]],
        tokenizer: Tokenizer,
        image_size: int,
        device: torch.device,
        precision: str,
    ) -> None:
        """Puts a model on a device.

        Args:
            clip: The bundled encoder's `Clip`, or open_clip's `CLIP` or `CustomTextCLIP`.
            provenance: What its vectors are to be compared with.
            preprocess: A photo to normalised pixels; picklable, for worker processes.
            tokenizer: Texts to tokens, a row a text; another context length may be asked for.
            image_size: Height and width of the pixels.
            device: Where it runs.
            precision: fp32, tf32, bf16 or fp16 (`cir.machine.arithmetic`); weights stay in float32.

        Raises:
            UsageError: the device has not that precision.
        """
        require_precision(precision, device)
        self.clip = laid_out_for(device, clip.to(device))
        self.provenance = provenance
        self.preprocess = preprocess
        self.image_size = image_size
        self.device = device
        self.precision = precision
        self._tokenizer = tokenizer

    def copy_on(self, device: torch.device) -> "Encoder":
        """The same encoder on a device, with weights of its own.

        Raises:
            UsageError: the device has not its precision.
        """
        require_precision(self.precision, device)
        other = copy.copy(self)
        other.clip = laid_out_for(device, copy.deepcopy(self.clip).to(device))
        other.device = device
        return other

    @property
    def dim(self) -> int:
        """Components of a vector."""
        return self.provenance.embed_dim

    @property
    def to_pixels(self) -> Callable[[Image.Image], Tensor]:
        """What worker processes apply to a photo: one byte a colour where `preprocess` has it."""
        own = self.preprocess
        return own.pixels if isinstance(own, PhotoTransform) else own

    def normalise(self, pixels: Tensor) -> Float[Tensor, "batch 3 size size"]:
        """What `to_pixels` gave for a batch, on `device`, as `encode_images` takes it."""
        there = sent(pixels, self.device) if pixels.is_cpu else pixels
        own = self.preprocess
        return own.normalised(there) if isinstance(own, PhotoTransform) else there

    def tokenize(self, texts: Sequence[str]) -> Int[Tensor, "texts context"]:
        """Tokens of each text, cut at the model's context length; on the CPU."""
        return self._tokenizer(list(texts))

    def text_ends(self, tokens: Int[Tensor, "texts context"]) -> Int[Tensor, " texts"]:
        """How many of its tokens each text's vector depends on."""
        return text_ends(self.clip, tokens)

    def cut_texts(self, texts: Sequence[str]) -> list[str]:
        """Those texts whose tokens do not fit the model's context: what follows it is lost."""
        context = self.tokenize([""]).shape[1]
        # A token stands for one byte at least, and two mark the beginning and the end.
        long = [text for text in texts if len(text.encode("utf-8", "replace")) + 2 > context]
        if not long:
            return []
        within, beyond = self.tokenize(long), self._tokenizer(long, context + 1)
        whole = (within == beyond[:, :context]).all(1)
        return [text for text, fits in zip(long, whole.tolist(), strict=True) if not fits]

    def encode_images(
        self, pixels: Float[Tensor, "batch 3 size size"]
    ) -> Float[Tensor, "batch dim"]:
        """The image tower's vectors of preprocessed photos on `device`."""
        # Convolutions run half again as fast over channels-last pixels, on the CPU as well.
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        with arithmetic(self.device, self.precision):
            encoded: Tensor = self.clip.encode_image(pixels)  # type: ignore[operator]
        return encoded.float()

    def encode_texts(self, tokens: Int[Tensor, "batch context"]) -> Float[Tensor, "batch dim"]:
        """The text tower's vectors of tokens on `device`, which may be cut at `text_ends`."""
        with arithmetic(self.device, self.precision):
            return encode_beginnings(self.clip, tokens).float()

    @cached_property
    def image_weights(self) -> int:
        """How many numbers the parameters of the image tower are."""
        return sum(parameter.numel() for parameter in self.image_parameters().values())

    def image_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters of the image tower by name."""
        return {n: p for n, p in self.clip.named_parameters() if n.startswith(_VISUAL)}

    def text_parameters(self) -> dict[str, nn.Parameter]:
        """Those of the text tower: all but the image tower's and the scale of logits."""
        return {
            name: parameter
            for name, parameter in self.clip.named_parameters()
            if not name.startswith(_VISUAL) and name not in SCALES
        }


def laid_out_for(device: torch.device, clip: nn.Module) -> nn.Module:
    """A model whose convolutions find their weights as they read them: channels last.

    cuDNN, and torch's own convolutions on a processor, would lay them out anew for every batch
    otherwise, for so are the pixels. Shapes and values stay, and files hold them as ever.
    """
    if device.type not in ("cpu", "cuda"):
        return clip
    return clip.to(memory_format=torch.channels_last)
