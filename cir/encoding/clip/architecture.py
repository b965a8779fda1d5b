"""What `cir.encoding.loading` asks of a model that it builds by name."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

Tokenizer = Callable[..., Tensor]
"""From texts, and a context length where it is not the model's own, to tokens, a row a text."""


@runtime_checkable
class Architecture(Protocol):
    """A model that can be built under its name."""

    @property
    def config(self) -> Mapping[str, Any]:
        """As open_clip's configurations describe a model."""

    def build(self, *, quick_gelu: bool = False, drawn: bool = True) -> nn.Module:
        """The model.

        Args:
            quick_gelu: Whether its weights were trained with QuickGELU.
            drawn: Whether its weights are drawn from torch's global generator; others may be
                whatever they are, because they will be replaced.
        """

    def renamed(self, clip: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights by the names that the model gives them.

        Args:
            clip: The model.
            state: Weights as a file has them.
        """

    def tokenizer(self) -> Tokenizer:
        """What turns texts into the model's tokens.

        Raises:
            WeightsError: it cannot be had on this machine.
        """
