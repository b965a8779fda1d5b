"""Where vectors come from: enough to notice those of another encoder."""

from dataclasses import asdict, dataclass
from typing import Final

from cir.errors import CirError

_SHOWN: Final = 12
"""Digits of a digest that messages show."""
_DIGEST: Final = 64


@dataclass(frozen=True)
class Provenance:
    """The encoder that made a set of vectors."""

    model: str
    pretrained: str
    """open_clip's tag, `bundled`, or a weight file's name, after its tag where that is known
    (`openai:RN50x4.pt`)."""
    weights_sha256: str
    """SHA-256 of the encoder's weights, whatever file they came from (`cir.encoding.weights`)."""
    preprocess: str
    """How images were prepared (`cir.encoding.preprocess`)."""
    embed_dim: int
    """Components of a vector."""

    def __str__(self) -> str:
        return f"{self.model} {self.pretrained} (weights {self.weights_sha256[:_SHOWN]}…)"

    def require_same(
        self, other: "Provenance", ours: str, theirs: str, error: type[CirError]
    ) -> None:
        """Raises `error`, naming each difference, unless `other` is the same encoder.

        Args:
            other: What to compare with.
            ours: What this provenance belongs to, as the message names it (a path).
            theirs: What `other` belongs to.
            error: The class to raise.
        """
        here, there = asdict(self), asdict(other)
        differing = [name for name in here if here[name] != there[name]]
        if differing:
            values = ", ".join(
                f"{name} {_shown(here[name])} here and {_shown(there[name])} there"
                for name in differing
            )
            raise error(f"{ours} and {theirs} come from different encoders: {values}")


def _shown(value: object) -> str:
    """A value, of a digest the beginning."""
    text = str(value)
    return f"{text[:_SHOWN]}…" if len(text) == _DIGEST else text
