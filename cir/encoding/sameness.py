"""Encoders that are the same although their weight files have other names.

A file may be moved; its tag counts, since QuickGELU and the colours of preprocessing depend on it.
"""

import copy
from dataclasses import replace

from cir.artefacts.provenance import Provenance
from cir.encoding.encoder import Encoder
from cir.encoding.weights.tags import ADOPTED, UNTRAINED, tag_of
from cir.errors import UsageError


def family_of(provenance: Provenance) -> str:
    """The tag that an encoder's weights go by; empty where their file alone is known."""
    origin = provenance.pretrained
    if ":" in origin:
        return tag_of(origin)
    return origin if origin in (ADOPTED, UNTRAINED, *_tags(provenance.model)) else ""


def named_as(ours: Provenance, theirs: Provenance) -> Provenance:
    """`ours`, its weights called as those of `theirs` are, where they are the same.

    Args:
        ours: An encoder.
        theirs: What it is to be compared with.
    """
    if ours.pretrained == theirs.pretrained:
        return ours
    same = (ours.model, ours.weights_sha256) == (theirs.model, theirs.weights_sha256)
    if not same or family_of(ours) != family_of(theirs):
        return ours
    return replace(ours, pretrained=theirs.pretrained)


def encoder_named_as(encoder: Encoder, theirs: Provenance) -> Encoder:
    """An encoder under the name that `named_as` gives it."""
    named = copy.copy(encoder)
    named.provenance = named_as(encoder.provenance, theirs)
    return encoder if named.provenance == encoder.provenance else named


def _tags(model: str) -> list[str]:
    from cir.encoding.loading import known_tags  # what compares equal names loads no encoder

    try:
        return known_tags(model)
    except UsageError:
        return []
