"""Models as open_clip builds them.

open_clip loads torchvision, timm and transformers, which takes longer than loading torch: this is
imported where a model of open_clip's is wanted, and nowhere else.
"""

from collections.abc import Mapping
from typing import Any

import open_clip
from open_clip.coca_model import CoCa
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict
from torch import Tensor, nn

from cir.encoding.clip.architecture import Tokenizer
from cir.encoding.weights.published import require_model
from cir.errors import WeightsError


class OpenClipArchitecture:
    """An architecture that open_clip knows by name."""

    def __init__(self, model: str) -> None:
        """Looks it up.

        Raises:
            UsageError: there is none of that name; the message names close ones.
        """
        require_model(model)
        self._model = model
        self.config: Mapping[str, Any] = dict(open_clip.get_model_config(model))

    def build(self, *, quick_gelu: bool = False, drawn: bool = True) -> nn.Module:
        """The model with random weights, drawn from torch's global generator."""
        return build_clip(self.config, quick_gelu=quick_gelu)

    def renamed(self, clip: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights by the names that this version of open_clip gives them."""
        converted: dict[str, Tensor] = convert_state_dict(clip, dict(state))
        if "positional_embedding" in converted and not hasattr(clip, "positional_embedding"):
            converted = convert_to_custom_text_state_dict(converted)
        return converted

    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer.

        Raises:
            WeightsError: it is one of Hugging Face's and not on this machine.
        """
        try:
            tokenizer: Tokenizer = open_clip.get_tokenizer(self._model)
        except OSError as fault:
            raise WeightsError(
                f"the tokenizer of {self._model} is on the Hugging Face hub, which cannot be "
                f"reached: fill its cache first (HF_HOME)"
            ) from fault
        return tokenizer


def build_clip(config: Mapping[str, Any], *, quick_gelu: bool = False) -> nn.Module:
    """The architecture of a configuration, with random weights.

    Raises:
        WeightsError: a part of it (a Hugging Face text tower) is described on the network alone.
    """
    options = dict(config)
    custom = options.pop("custom_text", False) or "hf_model_name" in config["text_cfg"]
    if "hf_model_name" in config["text_cfg"]:
        options["text_cfg"] = {**config["text_cfg"], "hf_model_pretrained": False}
    architecture = (
        CoCa
        if "multimodal_cfg" in options
        else open_clip.CustomTextCLIP
        if custom
        else open_clip.CLIP
    )
    options["quick_gelu"] = quick_gelu or config.get("quick_gelu", False)
    try:
        built: nn.Module = architecture(**options)
    except OSError as fault:
        raise WeightsError(
            f"the text tower {config['text_cfg'].get('hf_model_name')} is described on the "
            f"Hugging Face hub, which cannot be reached: fill its cache first (HF_HOME)"
        ) from fault
    return built
