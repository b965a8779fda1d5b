"""A manifest as training examples, in the columns of `cir.mining.export`."""

from collections.abc import Callable

from cir.artefacts.manifest import Manifest
from cir.config import ExportFormat
from cir.data.captions import joined
from cir.mining.export import ExampleColumns, TrainingExample, columns_of


def manifest_columns(
    manifest: Manifest,
    form: ExportFormat,
    num_negatives: int,
    image_name: Callable[[str], str] = str,
) -> ExampleColumns:
    """A manifest as columns of multimodal inputs: {"image": …, "text": …} and {"image": …}.

    The keys say what the values are, so that no encoder can take the name of a file for a text.

    Args:
        manifest: Of composed queries; both captions of one become "a and b".
        form: Which rows and columns.
        num_negatives: Negatives of a query, its nearest, at most; as an n-tuple exactly.
        image_name: From an image's id to what stands for it, its file for instance.
    """
    examples = (_example(manifest, row, image_name) for row in range(len(manifest)))
    return columns_of(examples, form, num_negatives)


def _example(manifest: Manifest, row: int, image_name: Callable[[str], str]) -> TrainingExample:
    def image(image_id: str) -> dict[str, str]:
        return {"image": image_name(image_id)}

    start = int(manifest.negative_starts[row])
    negatives = manifest.negative_ids[start : start + int(manifest.negative_counts[row])]
    return TrainingExample(
        anchor=image(manifest.reference_ids[row]) | {"text": joined(manifest.captions[row])},
        positives=[image(manifest.target_ids[row])],
        negatives=[image(image_id) for image_id in negatives],
    )
