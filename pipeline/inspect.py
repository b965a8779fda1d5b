"""`cir inspect`: what is in a manifest, or how two differ, on the screen and as a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from cir import arguments
from cir.artefacts.manifest import Manifest, read_manifest
from cir.artefacts.manifest_comparison import compare_manifests
from cir.artefacts.manifest_statistics import hubness
from cir.config import InspectConfig
from cir.data.dataset import Dataset
from cir.errors import ManifestError
from cir.reporting.comparison_tables import comparison_notes, tables_of_comparison
from cir.reporting.manifest_tables import described, tables_of_manifest
from cir.reporting.pages import PageTable
from cir.types import Split
from pipeline.command.claims import claims_outputs
from pipeline.command.flags import command
from pipeline.screen import console

if TYPE_CHECKING:
    from cir.reporting.manifest_page import Shown

_MEGABYTE = 10**6


@claims_outputs
def run(config: InspectConfig) -> Path | None:
    """Prints the figures of one manifest, or of two; the path of the page where one is written."""
    arguments.instance("config", config, InspectConfig)
    dataset = Dataset(config.dataset) if config.dataset else None
    first = _opened(config.manifest, dataset)
    if config.other:
        _compare(config, first, _opened(config.other, dataset), config.other, dataset)
    else:
        _inspect(config, first, dataset)
    return config.html


def _opened(path: Path, dataset: Dataset | None) -> Manifest:
    """A manifest with negatives at distances, all of them images of the dataset."""
    manifest = read_manifest(path)
    if not manifest.negative_ids:
        raise ManifestError(f"{path} holds no negative, expected some: run cir mine again")
    every = np.concatenate([manifest.target_distances, manifest.negative_distances])
    if not np.isfinite(every).all():
        raise ManifestError(f"{path} holds a distance that is no number: run cir mine again")
    if dataset:
        _require_images(manifest, path, dataset)
    return manifest


def _require_images(manifest: Manifest, path: Path, dataset: Dataset) -> None:
    foreign = sorted(set(manifest.negative_ids) - _gallery(manifest, dataset))
    if foreign:
        raise ManifestError(
            f"{path} was not mined from {dataset.root}: {len(foreign):,} of its negatives are no "
            f"images of the split {manifest.metadata.split}, as {foreign[0]}; pass the `dataset` "
            f"it was mined from"
        )


def _gallery(manifest: Manifest, dataset: Dataset) -> set[str]:
    """The images that mining could choose from."""
    split = cast(Split, manifest.metadata.split)
    return {image_id for ids in dataset.galleries(split).values() for image_id in ids}


def _inspect(config: InspectConfig, manifest: Manifest, dataset: Dataset | None) -> None:
    size = len(_gallery(manifest, dataset)) if dataset else None
    hubs = hubness(manifest, size)
    console.note(f"{config.manifest}: {described(manifest)}")
    _print(tables_of_manifest(manifest, hubs))
    if config.html:
        # Drawing is imported where a page is written: without one the figures come at once.
        from cir.reporting.manifest_page import write_manifest_page

        name = config.manifest.name
        shown = write_manifest_page(
            config.html,
            manifest,
            hubs,
            dataset,
            name=name,
            rows=config.rows,
            command=command(InspectConfig, config.to_json()),
        )
        _print_page(config.html, shown, len(manifest))


def _compare(
    config: InspectConfig, first: Manifest, second: Manifest, other: Path, dataset: Dataset | None
) -> None:
    joined = compare_manifests(first, second)
    if not len(joined):
        raise ManifestError(
            f"{config.manifest} and {other} have no query in common, expected manifests of one "
            f"dataset and split: the first is of {_split_of(first)}, the second of "
            f"{_split_of(second)}"
        )
    console.note(f"before: {config.manifest}: {described(first)}")
    console.note(f"after: {other}: {described(second)}")
    for line in comparison_notes(first, second):
        console.note(line)
    _print(tables_of_comparison(first, second, joined))
    if config.html:
        from cir.reporting.manifest_page import write_comparison_page

        names = (config.manifest.name, other.name)
        shown = write_comparison_page(
            config.html,
            first,
            second,
            joined,
            dataset,
            names=names,
            rows=config.rows,
            command=command(InspectConfig, config.to_json()),
        )
        _print_page(config.html, shown, len(joined))


def _split_of(manifest: Manifest) -> str:
    return f"split {manifest.metadata.split} ({manifest.query_ids[0]})"


def _print(tables: Sequence[PageTable]) -> None:
    for table in tables:
        if table.rows:
            console.table(table.title, table.columns, table.rows)
        for line in table.notes:
            console.note(line)


def _print_page(path: Path, shown: "Shown", rows: int) -> None:
    if shown.note:
        console.note(shown.note)
    console.note(
        f"page: {path}, {path.stat().st_size / _MEGABYTE:.1f} MB, {shown.rows:,} of {rows:,} "
        f"queries, {shown.photos:,} photos"
    )
