"""Where vectors come from: enough to notice those of another encoder."""

from dataclasses import asdict, dataclass

from cir.artefacts.checksums import shortened
from cir.errors import CirError


@dataclass(frozen=True)
class Provenance:
    """The encoder that made a set of vectors."""

    model: str
    pretrained: str
    """open_clip's tag, `bundled-60`, or a weight file's name, after its tag where that is known
    (`openai:RN50x4.pt`)."""
    weights_sha256: str
    """SHA-256 of the encoder's weights, whatever file they came from
    (`cir.encoding.weights.files`)."""
    preprocess: str
    """How images were prepared (`cir.encoding.preprocess`)."""
    embed_dim: int
    """Components of a vector."""

    def __str__(self) -> str:
        return f"{self.model} {self.pretrained} (weights {shortened(self.weights_sha256)})"

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
                f"{name} {shortened(here[name])} here and {shortened(there[name])} there"
                for name in differing
            )
            raise error(f"{ours} and {theirs} come from different encoders: {values}")
