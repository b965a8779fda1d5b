"""A moving average of the weights that are trained: smoother than the last step's own."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.nn import Parameter
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """An exponential moving average of parameters, which can stand in their place for a while.

    After update n the average moves by 1 - min(decay, (1 + n) / (10 + n)) towards the weights
    (TensorFlow's `train.ExponentialMovingAverage` with `num_updates`), so that the first, untrained
    weights do not weigh on a short run.
    """

    def __init__(self, parameters: Iterable[Parameter], decay: float) -> None:
        """Begins at the weights as they are.

        Args:
            parameters: What is averaged.
            decay: In [0, 1); at 0 nothing is averaged, and the weights stand for themselves.
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
        """What the parameters do not hold at the moment, and which of the two that is."""
        return {"others": self._others, "updates": self._updates, "in_place": self._in_place}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` gave; the parameters hold what they held then.

        Afterwards they hold the weights themselves, and not the average, in either case.
        """
        saved: list[Tensor] = state["others"]
        for other, found in zip(self._others, saved, strict=True):
            other.copy_(found)
        self._updates = state["updates"]
        self._in_place = state["in_place"]
        if self._in_place:
            self._swap()

    def _swap(self) -> None:
        for place, parameter in enumerate(self._parameters):
            parameter.data, self._others[place] = self._others[place], parameter.data
        self._in_place = not self._in_place
