"""Activation checkpointing: what a block computes is computed again on the way back, not kept.

Chen, Xu, Zhang and Guestrin, Training Deep Nets with Sublinear Memory Cost (2016), a block of the
tower at a time. open_clip does it in its transformers; in CLIP's ResNets it is done here.
"""

from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from cir.encoding.clip import image_tower
from cir.encoding.clip.model import Clip
from cir.errors import UsageError

_MEND = "pass `checkpoint_activations=False`, or `encode_batch` to need less memory"


def checkpoint_activations(clip: nn.Module) -> None:
    """Makes both towers of a model keep no more than what goes into each block.

    Args:
        clip: The bundled encoder's `Clip`, or open_clip's `CLIP` or `CustomTextCLIP`, in the mode
            (train or eval) it is used in.

    Raises:
        UsageError: a tower has no way to do so.
    """
    if isinstance(clip, Clip):
        clip.set_grad_checkpointing(True)
        _checkpoint_resnet(clip.visual, image_tower.Bottleneck)
    else:
        _checkpoint_of_open_clip(clip)


def _checkpoint_of_open_clip(clip: nn.Module) -> None:
    # It loads for seconds: what trains the bundled encoder does without.
    from open_clip.hf_model import HFTextEncoder
    from open_clip.modified_resnet import Bottleneck, ModifiedResNet
    from open_clip.timm_model import TimmModel

    visual: Any = clip.visual
    if isinstance(getattr(clip, "text", None), HFTextEncoder):
        raise UsageError(f"Hugging Face's text towers keep their activations in eval mode: {_MEND}")
    clip.set_grad_checkpointing(True)  # type: ignore[operator]
    if isinstance(visual, ModifiedResNet):
        _checkpoint_resnet(visual, Bottleneck)
    elif isinstance(visual, TimmModel):
        _checkpoint_timm(visual)


def _checkpoint_resnet(visual: Any, block_kind: type[nn.Module]) -> None:
    """The stem and every block, as the methods that compute them."""
    visual.stem = _computed_again(visual.stem)
    for block in visual.modules():
        if isinstance(block, block_kind):
            block.forward = _computed_again(block.forward)


def _checkpoint_timm(visual: Any) -> None:
    """open_clip only warns where a trunk cannot; here it is refused."""
    try:
        visual.trunk.set_grad_checkpointing(True)
    except (AssertionError, AttributeError) as fault:
        name = type(visual.trunk).__name__
        raise UsageError(
            f"the image tower {name} cannot checkpoint activations: {_MEND}"
        ) from fault


def _computed_again(method: Any) -> Any:
    return partial(checkpoint, method, use_reentrant=False, preserve_rng_state=False)
