"""An encoder by name.

`cir-tiny` is the encoder that the package brings along (`cir.encoding.clip.bundled`); every other
one is an open_clip model by name (`cir.encoding.clip.open_clip_models`), with open_clip's published
weights (`cir.encoding.weights.published`) or those of a local file (`cir.encoding.weights.files`).
open_clip is loaded for these alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from cir.artefacts.provenance import Provenance
from cir.config import TINY
from cir.encoding.clip.architecture import Architecture
from cir.encoding.clip.bundled import BUNDLED, BUNDLED_FILES, TinyArchitecture
from cir.encoding.encoder import SCALES, Encoder
from cir.encoding.preprocess import build_preprocess
from cir.encoding.weights.colours import OPENAI_COLOURS, Colours
from cir.encoding.weights.files import ReadWeights, read_weights, weights_sha256
from cir.encoding.weights.tags import DEFAULT_TAG, UNTRAINED, near_names, tag_of
from cir.errors import UsageError, WeightsError

if TYPE_CHECKING:
    from cir.encoding.weights.published import Published

_DEFAULT_SIZE: Final = 224
"""open_clip's image size where a configuration states none."""
_COUNTER: Final = "num_batches_tracked"
"""BatchNorm's count of training steps: old archives lack it, and nothing here reads it."""


@dataclass(frozen=True)
class _Source:
    """Where weights are read from, and what is known of them beforehand."""

    file: Path
    published: "Published | None"
    """The published weights that they are or derive from; None where that is unknown."""
    tag: str | None
    """As it was asked for."""
    local: bool

    def origin(self, quick_gelu: bool | None) -> str:
        """`Provenance.pretrained`: the tag, the file, or `tag:file`.

        A local file's tag is kept, as QuickGELU depends on it: a tower tuned from the file, saved
        without it, is loaded again by this name.

        Args:
            quick_gelu: As the file's kind tells; only descendants of OpenAI's weights do.
        """
        if not self.local:
            return str(self.tag)
        given = self.published if self.tag and self.published else None
        if quick_gelu and not (given and given.quick_gelu):
            family: str | None = DEFAULT_TAG
        else:
            family = given.tag if given and given.tag == tag_of(self.tag) else None
        return f"{family}:{self.file.name}" if family else self.file.name


def load_encoder(
    model: str,
    *,
    pretrained: str | None,
    weights: Path | None,
    preprocess: str,
    device: torch.device,
    precision: str = "fp32",
) -> Encoder:
    """An encoder in eval mode.

    Args:
        model: open_clip's name of the architecture, or cir-tiny.
        pretrained: open_clip's tag of published weights; None takes openai's, and for cir-tiny
            `bundled-60`. Beside `weights`, it says which published weights the file holds or
            derives from; `Provenance.pretrained` of another encoder of the file will do.
        weights: A local weight file, or a run's checkpoint folder, instead.
        preprocess: targetpad, squarepad or clip.
        device: Where it runs.
        precision: fp32, tf32, bf16 or fp16.

    Raises:
        UsageError: there is no such model, tag or preprocessing, or the device has not that
            precision.
        WeightsError: the weights cannot be had, read, or fitted to the model.
    """
    architecture = _architecture(model)
    source = _source(model, pretrained, weights)
    read = read_weights(source.file)
    clip = _with_weights(model, architecture, source, read)
    colours = source.published.colours if source.published else OPENAI_COLOURS
    origin = source.origin(read.quick_gelu)
    return _assembled(model, architecture, clip, origin, preprocess, colours, device, precision)


def untrained_encoder(
    model: str, *, preprocess: str, device: torch.device, precision: str = "fp32"
) -> Encoder:
    """As `load_encoder`, with random weights drawn from torch's global generator."""
    architecture = _architecture(model)
    clip = architecture.build()
    return _assembled(
        model, architecture, clip, UNTRAINED, preprocess, OPENAI_COLOURS, device, precision
    )


def _architecture(model: str) -> Architecture:
    """What builds a model; raises UsageError, naming close ones, where there is no such model."""
    if model == TINY:
        return TinyArchitecture()
    from cir.encoding.clip.open_clip_models import OpenClipArchitecture

    return OpenClipArchitecture(model)


def _assembled(
    model: str,
    architecture: Architecture,
    clip: nn.Module,
    pretrained: str,
    preprocess: str,
    colours: Colours,
    device: torch.device,
    precision: str,
) -> Encoder:
    """The encoder of a model that has its weights."""
    size = _image_size(architecture.config)
    return Encoder(
        clip.eval(),
        provenance=Provenance(
            model=model,
            pretrained=pretrained,
            weights_sha256=weights_sha256(clip.state_dict()),
            preprocess=preprocess,
            embed_dim=architecture.config["embed_dim"],
        ),
        preprocess=build_preprocess(preprocess, size, colours.mean, colours.std),
        tokenizer=architecture.tokenizer(),
        image_size=size,
        device=device,
        precision=precision,
    )


def require_used(model: str, pretrained: str | None, weights: Path | None) -> None:
    """Requires that what somebody typed as `pretrained` means something.

    `load_encoder` itself takes whatever `Provenance.pretrained` of another encoder says.

    Args:
        model: As of `load_encoder`.
        pretrained: A tag of the model's published weights, alone or before a file's name.
        weights: A local weight file; its own name will do as well.

    Raises:
        UsageError: it names no weights of the model, or is beside a file of cir-tiny's weights, of
            which nothing depends on a tag: it would be passed over.
    """
    known = known_tags(model)
    if pretrained is None or (weights is not None and pretrained == weights.name):
        return
    if model == TINY and weights is not None:
        raise UsageError(
            f"`pretrained` is {pretrained!r}, and nothing of {model} depends on it where `weights` "
            f"is given, {weights}: leave one of them out"
        )
    if tag_of(pretrained) in known:
        return
    expected = " or ".join(near_names(pretrained, known)) or "none of it"
    raise UsageError(
        f"`pretrained` is {pretrained!r}, which is no tag of {model}'s weights; expected "
        f"{expected}, or leave it out"
    )


def known_tags(model: str) -> list[str]:
    """The tags of a model's weights; raises UsageError where there is no such model."""
    if model == TINY:
        return list(BUNDLED_FILES)
    from cir.encoding.weights.published import published_tags, require_model

    require_model(model)
    return published_tags(model)


def _source(model: str, tag: str | None, weights: Path | None) -> _Source:
    """Where to read the weights that were asked for; fetches published ones."""
    if model == TINY:
        if weights is not None:
            return _Source(weights, None, tag=tag, local=True)
        known = BUNDLED if tag is None or tag not in BUNDLED_FILES else tag
        return _Source(BUNDLED_FILES[known], None, tag=known, local=False)
    from cir.encoding.weights.published import assumed_published, find_published

    if weights is not None:
        return _Source(weights, assumed_published(model, tag), tag=tag, local=True)
    published = find_published(model, tag)
    return _Source(published.fetch(), published, tag=published.tag, local=False)


def _with_weights(
    model: str, architecture: Architecture, source: _Source, read: ReadWeights
) -> nn.Module:
    """The architecture with the weights that were read.

    The file's kind decides on QuickGELU where it tells, else what is known of the weights.
    """
    assumed = source.published.quick_gelu if source.published else False
    quick_gelu = assumed if read.quick_gelu is None else read.quick_gelu
    clip = architecture.build(quick_gelu=quick_gelu, drawn=False)
    expected = clip.state_dict()
    state = architecture.renamed(clip, read.state)
    for name in SCALES & state.keys() & expected.keys():
        state[name] = state[name].reshape(expected[name].shape)
    _require_fit(model, expected, state, source.file)
    clip.load_state_dict(state, strict=False)
    return clip


def _require_fit(
    model: str, expected: Mapping[str, Tensor], given: Mapping[str, Tensor], file: Path
) -> None:
    """Raises WeightsError, naming the first difference, unless names and shapes agree."""
    missing = [name for name in expected if name not in given and not name.endswith(_COUNTER)]
    unknown = [name for name in given if name not in expected]
    misshapen = [n for n in expected.keys() & given if expected[n].shape != given[n].shape]
    if not (missing or unknown or misshapen):
        return
    width, given_width = _width(expected), _width(given)
    if given_width is not None and given_width != width:
        raise WeightsError(
            f"{file} holds {given_width}-d weights of another architecture; "
            f"`model={model!r}` expects {width}-d"
        )
    differences = [
        *(f"it lacks {name}" for name in missing[:1]),
        *(f"{name} is unknown" for name in unknown[:1]),
        *(
            f"{name} is {tuple(given[name].shape)}, expected {tuple(expected[name].shape)}"
            for name in sorted(misshapen)[:1]
        ),
    ]
    count = len(missing) + len(unknown) + len(misshapen)
    raise WeightsError(
        f"{file} holds weights of another architecture than `model={model!r}` expects "
        f"({count} differences: {'; '.join(differences)}): pass the model it was made for"
    )


def _width(state: Mapping[str, Tensor]) -> int | None:
    """Components of the vectors that a state dict's text tower gives; None where it has none."""
    for name in ("text_projection", "text.text_projection"):
        if name in state:
            return int(state[name].shape[-1])
    return None


def _image_size(config: Mapping[str, Any]) -> int:
    size = config["vision_cfg"].get("image_size", _DEFAULT_SIZE)
    return int(size if isinstance(size, int) else size[0])
