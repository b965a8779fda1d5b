"""The photo catalogue as a dataset, and its vectors by cir-tiny.

Its splits are those by which cir-tiny was pretrained, before a split depended on a hash of the
product: `held_out.json` names the photos that the encoder has not been trained on.
"""

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cir.artefacts.store import open_embeddings
from cir.config import TINY, CatalogConfig, CheckConfig, EmbedConfig
from pipeline import catalog, check, embed

SHARED = Path(os.environ.get("CIR_SHARED", Path(__file__).parents[3] / "shared"))
"""Holds the catalogue (images/ and styles.csv) in fashion-products."""
_SPLIT: Final = "split"
_SMALLEST_CATEGORY: Final = 1000
_SMALLEST_OF_SAMPLE: Final = 300
"""Photos that a category has at least; smaller ones share one."""


def prepared(
    out: Path,
    attributes: Sequence[str] | None = None,
    pretrained: str | None = None,
    limit: int | None = None,
) -> tuple[Path, Path]:
    """The dataset folder and the embedding store, made where they are missing.

    Args:
        out: Where both lie.
        attributes: Columns of styles.csv whose values make the queries; by default those that
            `cir data from-catalog` finds: type, gender and colour.
        pretrained: The tag of cir-tiny's weights; by default that of `cir embed`.
        limit: Photos of a sample; by default all are taken.
    """
    dataset, embeddings = out / "dataset", out / "embeddings.h5"
    photos = SHARED / "fashion-products"
    if not dataset.exists():
        made = CatalogConfig(
            images=photos / "images",
            attributes=_with_splits(photos / "styles.csv", out / "styles.csv"),
            out=dataset,
            category_column="subCategory",
            name_column="productDisplayName",
            attribute_columns=tuple(attributes or ("articleType", "gender", "baseColour")),
            split_column=_SPLIT,
            limit=limit,
            min_category=_SMALLEST_CATEGORY if limit is None else _SMALLEST_OF_SAMPLE,
        )
        catalog.run(made)
    check.run(CheckConfig(dataset=dataset))
    if not embeddings.exists():
        embed.run(EmbedConfig(dataset=dataset, out=embeddings, model=TINY, pretrained=pretrained))
    held = open_embeddings(embeddings).provenance.pretrained
    if pretrained not in (None, held):
        raise SystemExit(f"{embeddings} is of {held}, not of {pretrained}: pass another --out")
    return dataset, embeddings


def _with_splits(styles: Path, out: Path) -> Path:
    """Writes the catalogue's CSV with a column more, each photo's split."""
    held_out = json.loads(Path(__file__).with_name("held_out.json").read_text(encoding="utf-8"))
    split_of = {str(photo): split for split, photos in held_out.items() for photo in photos}
    out.parent.mkdir(parents=True, exist_ok=True)
    with styles.open(encoding="utf-8", newline="") as old, out.open("w", newline="") as new:
        rows = csv.DictReader(old)
        written = csv.DictWriter(new, [*(rows.fieldnames or ()), _SPLIT])
        written.writeheader()
        for row in rows:
            written.writerow(row | {_SPLIT: split_of.get(row["id"], "train")})
    return out
