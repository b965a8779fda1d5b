"""Weights that open_clip publishes for a model: which there are, and how to get them.

A file that an earlier download left in Hugging Face's cache is taken as it is. Where the hub cannot
be reached, this ends at once, in one line, instead of in minutes of retries.
"""

import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import huggingface_hub
import open_clip
from huggingface_hub.constants import ENDPOINT, is_offline_mode
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.pretrained import download_pretrained, get_pretrained_cfg

from cir.encoding.weights.colours import OPENAI_COLOURS, Colours
from cir.encoding.weights.tags import DEFAULT_TAG, near_names, tag_of
from cir.errors import UsageError, WeightsError

_PATIENCE: Final = 5.0
"""Seconds to wait for the hub before it counts as out of reach."""


@dataclass(frozen=True)
class Published:
    """One set of weights that open_clip knows of."""

    model: str
    tag: str

    @property
    def quick_gelu(self) -> bool:
        """Whether it was trained with QuickGELU."""
        return bool(self._entry.get("quick_gelu", False))

    @property
    def colours(self) -> Colours:
        """The statistics its preprocessing uses."""
        return Colours(
            tuple(self._entry.get("mean", OPENAI_COLOURS.mean)),
            tuple(self._entry.get("std", OPENAI_COLOURS.std)),
        )

    def fetch(self) -> Path:
        """The weight file, from the cache or the network.

        Raises:
            WeightsError: it is not here and cannot be had; the message names the file.
        """
        cached = self._cached()
        if cached is not None:
            return cached
        if not within_reach(self._address):
            raise WeightsError(self._out_of_reach())
        try:
            return Path(download_pretrained(self._entry))
        except (OSError, RuntimeError, ValueError) as fault:
            raise WeightsError(self._out_of_reach()) from fault

    @property
    def _entry(self) -> dict[str, Any]:
        entry: dict[str, Any] = get_pretrained_cfg(self.model, self.tag)
        return entry

    @property
    def _repository(self) -> tuple[str, str]:
        """Repository on the hub and the file in it; both empty where a plain address serves."""
        return os.path.split(self._entry.get("hf_hub", ""))

    @property
    def _address(self) -> str:
        repository, file = self._repository
        if not repository:
            return str(self._entry.get("url", ENDPOINT))
        return f"{ENDPOINT}/{repository}/resolve/main/{file or HF_SAFE_WEIGHTS_NAME}"

    def _cached(self) -> Path | None:
        repository, file = self._repository
        names = [file] if file else [HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME]
        for name in names if repository else []:
            path = huggingface_hub.try_to_load_from_cache(repository, name)
            if isinstance(path, str):
                return Path(path)
        return None

    def _out_of_reach(self) -> str:
        return (
            f"the {self.tag} weights of {self.model} are not on this machine and cannot be "
            f"downloaded: fetch {self._address} and pass `model={self.model!r}` "
            f"`pretrained={self.tag!r}` `weights=FILE`"
        )


def model_names() -> list[str]:
    """Every architecture that open_clip knows."""
    names: list[str] = open_clip.list_models()
    return names


def published_tags(model: str) -> list[str]:
    """The tags of a model's published weights."""
    tags: list[str] = open_clip.list_pretrained_tags_by_model(model)
    return tags


def find_published(model: str, tag: str | None) -> Published:
    """The weights of a model that a tag names, openai's where there is no tag.

    Raises:
        UsageError: the model has no such tag; the message lists those it has.
    """
    tags = open_clip.list_pretrained_tags_by_model(model)
    if (tag or DEFAULT_TAG) not in tags:
        near = near_names(tag or DEFAULT_TAG, tags)
        raise UsageError(
            f"{model} has no weights called {tag or DEFAULT_TAG!r}; "
            f"expected `pretrained` {' or '.join(near) or 'with `weights=FILE`'}"
        )
    return Published(model, tag or DEFAULT_TAG)


def assumed_published(model: str, tag: str | None) -> Published | None:
    """Which published weights a local file of `model` is likely to hold, for what it cannot say.

    The tag decides; without one, the model's own where all its tags agree on QuickGELU.
    """
    tags = open_clip.list_pretrained_tags_by_model(model)
    if tag_of(tag) in tags:
        return Published(model, tag_of(tag))
    known = [Published(model, each) for each in tags]
    return known[0] if len({each.quick_gelu for each in known}) == 1 else None


def require_model(model: str) -> None:
    """Raises UsageError, naming close matches, unless open_clip has an architecture `model`."""
    names = open_clip.list_models()
    if model not in names:
        near = " or ".join(near_names(model, names))
        near = near or f"one of {len(names)} open_clip names or cir-tiny: pass `list_models=True`"
        raise UsageError(f"`model` is {model!r}, which open_clip does not know; expected {near}")


def within_reach(address: str) -> bool:
    """Whether the host of `address` answers soon; no is the answer in the hub's offline mode."""
    if is_offline_mode():
        return False
    try:
        request = urllib.request.Request(address, method="HEAD")  # noqa: S310, open_clip's own
        with urllib.request.urlopen(request, timeout=_PATIENCE):  # noqa: S310
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
