"""How weights are updated: AdamW's groups, learning rates over a run, and the moving average.

`layerwise_groups` cuts a tower into layers with a learning rate each. `build_optimiser` makes AdamW
of such groups, `set_learning_rates` moves their rates along a schedule, and `WeightAverage` follows
the weights.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import AdamW, Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from cir.types import Schedule

WARM_UP: Final = 0.05
"""Share of a run's steps over which learning rates rise to their peak."""
MAX_GRADIENT_NORM: Final = 1.0
"""Length that gradients are clipped to."""

_PEAK: Final = "peak"
"""Key of an optimiser's group for its learning rate at the end of the warm-up."""

_STEM: Final = re.compile(
    r"(conv|bn)\d|stem|patch_embed|(class|token|positional)_embedding|cls_token|cls_emb|pos_embed"
    r"|embeddings|shared|ln_pre|norm_pre"
)
"""Parts of a parameter's name that tell a layer before the first block."""
_BLOCKS: Final = re.compile(r"resblocks|blocks?|layers?|stages")
"""Names of what holds numbered blocks in the towers of open_clip, timm and Hugging Face."""
_STAGE: Final = re.compile(r"layer([1-9])")
"""A stage of a ResNet."""
_HEAD: Final = re.compile(r"attn_?pool|head")
"""A layer after the last block whose parts have names like those before the first."""


@dataclass(frozen=True, eq=False)
class ParameterGroup:
    """Parameters that share a learning rate."""

    parameters: Sequence[Parameter]
    learning_rate: float
    """At its peak."""


def layerwise_groups(
    tower: Mapping[str, Parameter], learning_rate: float, decay: float
) -> list[ParameterGroup]:
    """Groups a tower's parameters by layer, from the input on.

    A tower is its embeddings or stem, its blocks (stages of a convolutional tower), and the layers
    after them. The last layer learns at the whole rate, each earlier one at `decay` times the rate
    of the next (Clark et al., ELECTRA, ICLR 2020, appendix A; Bao et al., BEiT, ICLR 2022,
    appendix): the first layers of a pretrained encoder serve every task, the last ones have the
    most to change.

    Args:
        tower: The tower's parameters by name.
        learning_rate: Peak rate of the last layer.
        decay: In (0, 1]; at 1 there is one group.
    """
    if decay == 1:
        return [ParameterGroup(list(tower.values()), learning_rate)]
    depths = {name: _depth(name) for name in tower}
    last = 1 + max((depth for depth in depths.values() if depth is not None), default=0)
    layers: dict[int, list[Parameter]] = defaultdict(list)
    for name, parameter in tower.items():
        depth = depths[name]
        layers[last if depth is None else depth].append(parameter)
    return [
        ParameterGroup(layers[layer], decay ** (last - layer) * learning_rate)
        for layer in sorted(layers)
    ]


def decay_groups(parameters: Iterable[Parameter]) -> list[dict[str, Any]]:
    """Optimiser groups in which matrices decay, and vectors (biases, gains of norms) do not."""
    listed = list(parameters)
    matrices = {"params": [parameter for parameter in listed if parameter.ndim > 1]}
    vectors = {"params": [p for p in listed if p.ndim <= 1], "weight_decay": 0.0}
    return [group for group in (matrices, vectors) if group["params"]]


def build_optimiser(groups: Iterable[ParameterGroup], weight_decay: float) -> AdamW:
    """Makes AdamW for groups of parameters, each with its peak learning rate.

    Args:
        groups: The parameters; a group may be empty.
        weight_decay: Decoupled weight decay of matrices.
    """
    return AdamW(
        [
            decayed | {_PEAK: group.learning_rate}
            for group in groups
            for decayed in decay_groups(group.parameters)
        ],
        weight_decay=weight_decay,
        fused=True,
    )


def trained_parameters(optimiser: Optimizer) -> list[Parameter]:
    """All parameters that an optimiser updates, group after group."""
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def set_learning_rates(optimiser: Optimizer, factor: float) -> None:
    """Sets the learning rate of every group to `factor` times its peak."""
    for group in optimiser.param_groups:
        group["lr"] = factor * group[_PEAK]


def learning_rate_factor(done: float, schedule: Schedule = "cosine") -> float:
    """The factor that a schedule gives for the peak learning rate.

    cosine is a linear warm-up, then a cosine to zero: Loshchilov and Hutter, SGDR (ICLR 2017),
    equation 5, without restarts.

    Args:
        done: Share of the run's steps that are done, this one included, in [0, 1].
        schedule: cosine, or constant.
    """
    if schedule == "constant":
        return 1.0
    if done < WARM_UP:
        return done / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


class WeightAverage:
    """An exponential moving average of parameters, which can take their place for a while.

    After update n the average moves by 1 - min(decay, (1 + n) / (10 + n)) towards the weights
    (TensorFlow's `train.ExponentialMovingAverage` with `num_updates`), so that the first, untrained
    weights do not weigh on a short run.
    """

    def __init__(self, parameters: Iterable[Parameter], decay: float) -> None:
        """Begins at the weights as they are.

        Args:
            parameters: The parameters to average.
            decay: In [0, 1); at 0 nothing is averaged, and `in_place` changes nothing.
        """
        self._parameters = list(parameters) if decay else []
        self._others = [parameter.detach().clone() for parameter in self._parameters]
        """The average; the weights themselves while the average is in their place."""
        self._decay = decay
        self._updates = 0
        self._in_place = False

    def update(self) -> None:
        """Moves the average towards the weights, after a step."""
        self._updates += 1
        if self._parameters:
            decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
            move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            move(self._others, self._parameters, self._updates)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The parameters hold the average inside the block, and the weights again after it."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state(self) -> dict[str, Any]:
        """The tensors that the parameters do not hold now, and which of the two those are."""
        return {"others": self._others, "updates": self._updates, "in_place": self._in_place}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restores the result of `state`; the parameters must hold what they held then.

        Afterwards they hold the weights themselves, and not the average, in either case.
        """
        saved: list[Tensor] = state["others"]
        for other, tensor in zip(self._others, saved, strict=True):
            other.copy_(tensor)
        self._updates = state["updates"]
        self._in_place = state["in_place"]
        if self._in_place:
            self._swap()

    def _swap(self) -> None:
        with torch.no_grad():
            for parameter, other in zip(self._parameters, self._others, strict=True):
                held = parameter.clone()
                parameter.copy_(other)
                other.copy_(held)
        self._in_place = not self._in_place


def _depth(name: str) -> int | None:
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
