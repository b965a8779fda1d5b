"""What the figures of photos share: colours, a framed photo, a title."""

from typing import Any, Final

import numpy as np
from PIL import Image

from cir.data.dataset import Dataset

INK: Final = "#1c2b33"
_FAINT: Final = "#5f6f78"
_FRAME: Final = "#d5dde1"
_TARGET: Final = "#1f8a5b"


def show_photo(axes: Any, dataset: Dataset, image_id: str, *, framed: bool) -> None:
    """Shows a photo, framed as a target is or as any other."""
    with Image.open(dataset.image_path(image_id)) as photo:
        axes.imshow(np.asarray(photo.convert("RGB")), interpolation="lanczos")
    axes.set(xticks=[], yticks=[], anchor="NW")
    for spine in axes.spines.values():
        spine.set(color=_TARGET if framed else _FRAME, linewidth=4 if framed else 1)


def add_title(axes: Any, text: str) -> None:
    """Writes above a panel, from its left edge on."""
    axes.set_title(text, loc="left", fontsize=10, color=_FAINT, pad=7)
