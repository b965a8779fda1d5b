"""Learning rates layer by layer: the nearer a layer is to the input, the slower it learns.

What the first layers of a pretrained encoder see (edges, words) serves every task; the last ones
have the most to change. A tower is cut into its embeddings or stem, its blocks (stages, where it
is convolutional), and what follows them.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from torch.nn import Parameter

_STEM: Final = re.compile(
    r"(conv|bn)\d|stem|patch_embed|(class|token|positional)_embedding|cls_token|cls_emb|pos_embed"
    r"|embeddings|shared|ln_pre|norm_pre"
)
"""Parts of a parameter's name that tell a layer before the first block."""
_BLOCKS: Final = re.compile(r"resblocks|blocks?|layers?|stages")
"""What holds numbered blocks, of open_clip's towers, timm's and Hugging Face's."""
_STAGE: Final = re.compile(r"layer([1-9])")
"""A stage of a ResNet."""
_HEAD: Final = re.compile(r"attn_?pool|head")
"""A layer after the last block whose own parts are named as if they stood before the first."""


@dataclass(frozen=True, eq=False)
class ParameterGroup:
    """Parameters that learn at the same pace."""

    parameters: Sequence[Parameter]
    scale: float
    """What their peak learning rate is multiplied by."""


def layerwise_groups(tower: Mapping[str, Parameter], decay: float) -> list[ParameterGroup]:
    """A tower's parameters by layer, from the input on.

    The last layer learns at the whole rate, each one before it at `decay` of the next one's (Clark
    et al., ELECTRA, ICLR 2020, appendix A; Bao et al., BEiT, ICLR 2022, appendix).

    Args:
        tower: The tower's parameters by name.
        decay: In (0, 1]; at 1 there is one group.
    """
    if decay == 1:
        return [ParameterGroup(list(tower.values()), 1.0)]
    places = {name: _block(name) for name in tower}
    last = 1 + max((place for place in places.values() if place is not None), default=0)
    layers: dict[int, list[Parameter]] = defaultdict(list)
    for name, parameter in tower.items():
        place = places[name]
        layers[last if place is None else place].append(parameter)
    return [ParameterGroup(layers[layer], decay ** (last - layer)) for layer in sorted(layers)]


def _block(name: str) -> int | None:
    """0 before the first block, 1 for the first one, and so on; None after the last."""
    parts = name.split(".")
    for part, following in pairwise(parts):
        if _HEAD.fullmatch(part):
            return None
        if _STEM.fullmatch(part):
            return 0
        if stage := _STAGE.fullmatch(part):
            return int(stage[1])
        if _BLOCKS.fullmatch(part) and following.isdigit():
            return int(following) + 1
    return 0 if _STEM.fullmatch(parts[-1]) else None
