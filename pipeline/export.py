"""`cir export`: a manifest as training examples for other libraries."""

from collections.abc import Callable
from pathlib import Path

from cir import arguments
from cir.artefacts.columns import write_columns
from cir.artefacts.manifest import Manifest, read_manifest
from cir.config import ExportConfig
from cir.data.dataset import Dataset
from cir.data.shards import real_photo
from cir.errors import ManifestError, UsageError
from cir.mining.export import ExampleColumns
from cir.mining.manifest_export import manifest_columns
from pipeline.command.claims import claims_outputs
from pipeline.screen import console

_EXAMPLES = 3
"""Queries that are named of those that are left out."""


@claims_outputs
def run(config: ExportConfig) -> Path:
    """Writes the examples and says what they hold and what was left out; the file's path."""
    arguments.instance("config", config, ExportConfig)
    manifest = read_manifest(config.manifest)
    num_negatives = _num_negatives(manifest, config)
    left_out = _left_out(manifest, num_negatives) if config.format == "n-tuple" else []
    _require_rows(manifest, config, num_negatives, left_out)
    columns = manifest_columns(manifest, config.format, num_negatives, _image_name(config))
    write_columns(columns, config.out, _origin(manifest, config, num_negatives))
    _print(columns, manifest, config, left_out)
    return config.out


def _num_negatives(manifest: Manifest, config: ExportConfig) -> int:
    mined = int(manifest.metadata.options["num_negatives"])
    num_negatives = config.num_negatives or mined
    if num_negatives > mined:
        raise UsageError(
            f"`num_negatives` is {num_negatives}; {config.manifest} was mined for {mined} a query"
        )
    return num_negatives


def _left_out(manifest: Manifest, num_negatives: int) -> list[str]:
    """The queries that have too few negatives for an n-tuple."""
    counts = manifest.negative_counts.tolist()
    return [name for name, n in zip(manifest.query_ids, counts, strict=True) if n < num_negatives]


def _require_rows(
    manifest: Manifest, config: ExportConfig, num_negatives: int, left_out: list[str]
) -> None:
    if not len(manifest):
        raise ManifestError(f"{config.manifest} holds no queries: run cir mine again")
    if len(left_out) == len(manifest):
        most = int(manifest.negative_counts.max())
        raise ManifestError(
            f"no query of {config.manifest} has {num_negatives} negatives, the most is {most}: "
            f"pass `num_negatives={most}` or another `format`"
        )


def _image_name(config: ExportConfig) -> Callable[[str], str]:
    """From an image's id to its file, whatever the working folder; to itself without a dataset."""
    if config.dataset is None:
        return str
    dataset = Dataset(config.dataset.absolute())
    return lambda image_id: str(real_photo(dataset.image_path(image_id)))


def _origin(manifest: Manifest, config: ExportConfig, num_negatives: int) -> dict[str, object]:
    return {
        "format": config.format,
        "num_negatives": num_negatives,
        "manifest_sha256": manifest.sha256,
        "manifest": manifest.metadata.to_json(),
    }


def _print(
    columns: ExampleColumns, manifest: Manifest, config: ExportConfig, left_out: list[str]
) -> None:
    rows = len(columns["anchor"])
    console.note(
        f"{config.out}: {rows:,} rows of {', '.join(columns)} ({config.format}) from "
        f"{len(manifest) - len(left_out):,} of {len(manifest):,} queries"
    )
    if left_out:
        examples = ", ".join(left_out[:_EXAMPLES]) + (", ..." if len(left_out) > _EXAMPLES else "")
        console.note(f"{len(left_out):,} queries left out, of fewer negatives: {examples}")
    if config.dataset is None:
        console.note("images are named by their ids; `dataset=FOLDER` writes where they are")
