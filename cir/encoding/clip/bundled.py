"""`cir-tiny`: the encoder that the package brings along, for which open_clip is not loaded."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from cir.config import TINY
from cir.encoding.clip.image_tower import ModifiedResNet
from cir.encoding.clip.model import Clip
from cir.encoding.clip.tokens import BytePairTokenizer

ASSETS: Final = Path(__file__).parent / "assets"
"""Folder of `cir-tiny.json`, in open_clip's words, and of the weights."""
BUNDLED: Final = "bundled-60"
"""The tag of the weights that are taken where none are named."""
BUNDLED_FILES: Final[Mapping[str, Path]] = {
    BUNDLED: ASSETS / f"{TINY}-60.safetensors",
    "bundled": ASSETS / f"{TINY}.safetensors",
}
"""The weights that the package brings along, by their tags: trained for 60 epochs, and for 30. The
latter were the only ones once: stores that were made with them open and grow as before."""


class TinyArchitecture:
    """The architecture of `cir-tiny`."""

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """As open_clip's configurations describe a model."""
        config: dict[str, Any] = json.loads((ASSETS / f"{TINY}.json").read_text(encoding="utf-8"))
        return config

    def build(self, *, quick_gelu: bool = False, drawn: bool = True) -> Clip:
        """The model; with `drawn` its weights are random, from torch's global generator."""
        dim, text = self.config["embed_dim"], self.config["text_cfg"]
        return Clip(
            ModifiedResNet(dim=dim, **self.config["vision_cfg"]),
            dim=dim,
            context=text["context_length"],
            vocabulary=text["vocab_size"],
            width=text["width"],
            heads=text["heads"],
            layers=text["layers"],
            quick_gelu=quick_gelu,
            drawn=drawn,
        )

    def renamed(self, _: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights under their names, which are those of open_clip's."""
        return dict(state)

    def tokenizer(self) -> BytePairTokenizer:
        """What turns texts into the model's tokens."""
        return BytePairTokenizer(self.config["text_cfg"]["context_length"])
