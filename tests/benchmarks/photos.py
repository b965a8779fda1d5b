"""The photo catalogue as a dataset, and its vectors by cir-tiny."""

import os
from collections.abc import Sequence
from pathlib import Path

from cir.config import CatalogConfig, CheckConfig, EmbedConfig
from pipeline import catalog, check, embed

SHARED = Path(os.environ.get("CIR_SHARED", Path(__file__).parents[3] / "shared"))
"""Holds the catalogue (images/ and styles.csv) in fashion-products."""


def prepared(out: Path, attributes: Sequence[str] | None = None) -> tuple[Path, Path]:
    """The dataset folder and the embedding store, made where they are missing.

    Args:
        out: Where both lie.
        attributes: Columns of styles.csv whose values make the queries; by default those that
            `cir data from-catalog` finds: type, gender and colour.
    """
    dataset, embeddings = out / "dataset", out / "embeddings.h5"
    photos = SHARED / "fashion-products"
    if not dataset.exists():
        made = CatalogConfig(
            images=photos / "images",
            attributes=photos / "styles.csv",
            out=dataset,
            attribute_columns=tuple(attributes or ()),
            min_category=1000,
        )
        catalog.run(made)
    check.run(CheckConfig(dataset=dataset))
    if not embeddings.exists():
        embed.run(EmbedConfig(dataset=dataset, out=embeddings, model="cir-tiny"))
    return dataset, embeddings
