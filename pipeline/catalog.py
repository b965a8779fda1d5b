"""`cir data from-catalog`: photos and a CSV of attributes into a dataset folder."""

from pathlib import Path

from cir import arguments
from cir.config import CatalogConfig
from cir.sources.catalog import CatalogSummary, make_catalog
from cir.sources.catalog_photos import CatalogColumns, LeftOut
from cir.workers import pick_workers
from pipeline import console
from pipeline.claims import claims_outputs

_EXAMPLES = 3
"""Things that are named of those that a reason left out."""


@claims_outputs
def run(config: CatalogConfig) -> Path:
    """Makes the dataset folder and says what it holds and what was left out."""
    arguments.instance("config", config, CatalogConfig)
    summary = make_catalog(
        config.out,
        images=config.images,
        attributes=config.attributes,
        columns=CatalogColumns(
            id=config.id_column,
            category=config.category_column,
            name=config.name_column,
            attributes=config.attribute_columns,
        ),
        queries_per_photo=config.queries_per_photo,
        min_category=config.min_category,
        link=config.link,
        seed=config.seed,
        limit=config.limit,
        workers=pick_workers(config.workers),
        progress=console.RichProgress(),
    )
    _show(config, summary)
    return config.out


def _show(config: CatalogConfig, summary: CatalogSummary) -> None:
    console.table(
        f"Dataset {config.out}",
        ("category", "split", "photos", "queries", "targets a query"),
        [
            (c.category, c.split, f"{c.images:,}", f"{c.queries:,}", f"{c.targets:.1f}")
            for c in summary.splits
        ],
    )
    if summary.pooled:
        listed = ", ".join(f"{kind} {count}" for kind, count in summary.pooled.items())
        console.note(f"Fewer than {config.min_category} photos, so together as 'other': {listed}")
    if summary.lookalikes:
        console.note(f"{summary.lookalikes:,} photos share a shot with another and its split")
    for line in _left_out(summary.left_out):
        console.note(line)


def _left_out(left_out: LeftOut) -> list[str]:
    """A line for each reason that left something out."""
    return [
        f"Left out: {_with_examples(reason.replace('_', ' '), items)}"
        for reason, items in vars(left_out).items()
        if items
    ]


def _with_examples(reason: str, items: int | tuple[object, ...]) -> str:
    """How many things a reason left out, with the first of them where they are known."""
    if isinstance(items, int):
        return f"{items:,} {reason}"
    examples = ", ".join(str(item) for item in items[:_EXAMPLES])
    return f"{len(items):,} {reason} ({examples}{', ...' if len(items) > _EXAMPLES else ''})"
