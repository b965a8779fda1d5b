"""Statistics of the photos that encoders were trained on."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Colours:
    """Mean and standard deviation of each colour channel, values 0 to 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


OPENAI_COLOURS: Final = Colours(
    mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711)
)
"""Those of CLIP (Radford et al., Learning Transferable Visual Models, 2021)."""
