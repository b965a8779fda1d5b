"""`cir data`: datasets are checked, made, extended and merged."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cir.config.base import Config, option, required
from cir.config.faults import below, outside, replaces_nothing, wrong_suffix
from cir.config.values import DATASET, LARGEST_SEED, STORE_SUFFIX, LinkMode
from cir.types import Artefact


@dataclass(frozen=True, kw_only=True)
class CheckConfig(Config):
    """Audit a dataset folder: missing, broken and duplicate images, unknown ids, counts."""

    dataset: Path = option(DATASET, "Input", argument=True)
    """Dataset folder: images/, captions/, image_splits/."""
    json: Path | None = option(None, "Output", writes="audit")
    """Write everything that was found to this JSON file."""
    without_missing: Path | None = option(None, "Output", writes="dataset")
    """Make a dataset folder without the images that are missing or broken, and what names them; the
    images of the whole are linked, and the whole stays as it is."""
    overwrite: bool = option(False, "Output")
    """Replace what exists in `json` and `without_missing`, where cir made it."""
    images: bool = option(True, "Input")
    """Open every image; `images=False` audits the annotations alone."""
    embeddings: Path | None = option(None, "Input")
    """Compare the bytes of every photo with those that this embedding store was made of."""
    workers: int | None = option(None, "Machine")
    """Processes that open images; one a core by default."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from below(self, 1, "workers")
        yield from replaces_nothing(self)
        if self.without_missing is not None and not self.images:
            yield "`without_missing` needs every image opened; leave out `images=False`"


@dataclass(frozen=True, kw_only=True)
class FolderConfig(Config):
    """Turn a folder of photos into a dataset: a gallery to search in, without captions."""

    photos: Path = required("Input", argument=True)
    """Folder of photos, in itself and in the folders below it, or an address at s3://. The first
    folder on a photo's path is its category; where every photo lies in train, validation or test,
    that folder is its split and the next one the category."""
    out: Path = required("Output", writes="dataset")
    """Dataset folder to make."""
    link: LinkMode = option("hardlink", "Output")
    """How photos enter the dataset; a hard link falls back to a copy across devices."""
    seed: int = option(0, "Splits")
    """Seed of the splits, which depend on it and on each photo's product alone."""
    limit: int | None = option(None, "Input")
    """Use a sample of this many photos."""
    overwrite: bool = option(False, "Output")
    """Replace a dataset folder that exists."""
    workers: int | None = option(None, "Machine")
    """Processes that read photos; one a core by default."""

    def faults(self) -> Iterator[str]:
        yield from below(self, 1, "limit", "workers")
        yield from outside(self, 0, LARGEST_SEED, "seed")


@dataclass(frozen=True, kw_only=True)
class CatalogConfig(Config):
    """Turn a catalogue of photos with attributes into a dataset of composed queries."""

    images: Path = required("Input")
    """Folder of photos, in itself and in the folders below it, or an address at s3://."""
    attributes: Path = required("Input")
    """CSV with a row a photo: a column that names the photo, and columns of attributes."""
    out: Path = required("Output", writes="dataset")
    """Dataset folder to make."""
    id_column: str | None = option(None, "Columns")
    """Column that names the photo: id, file name or path, with or without the ending. By default
    the one that names most photos."""
    category_column: str | None = option(None, "Columns")
    """Column whose values are the dataset's categories; "" for none, which takes folders. Guessed
    by default."""
    name_column: str | None = option(None, "Columns")
    """Column of free words ("Striped Polo") that are read as attributes; "" for none. Guessed by
    default."""
    attribute_columns: tuple[str, ...] = option((), "Columns")
    """Column that counts as an attribute beside the words of the name; given once for each, and ""
    for none. Guessed by default."""
    split_column: str | None = option(None, "Columns")
    """Column that says train, validation or test; "" for none, which takes folders so named, or a
    hash of each photo's product. Guessed by default."""
    delimiter: str | None = option(None, "Columns")
    """Character between the fields of the CSV; found by default."""
    encoding: str | None = option(None, "Columns")
    """Encoding of the CSV, such as utf-8 or cp1252; found by default."""
    queries_per_photo: int = option(2, "Queries")
    """Composed queries made for each reference photo, at most."""
    min_category: int | None = option(None, "Queries")
    """Photos a category needs for a gallery of its own; smaller ones share the category other. By
    default a twentieth of all photos, from 10 to 1000."""
    link: LinkMode = option("hardlink", "Output")
    """How photos enter the dataset; a hard link falls back to a copy across devices."""
    seed: int = option(0, "Queries")
    """Seed of splits, pairs and wording."""
    limit: int | None = option(None, "Input")
    """Use a sample of this many photos."""
    overwrite: bool = option(False, "Output")
    """Replace a dataset folder that exists."""
    workers: int | None = option(None, "Machine")
    """Processes that read photos; one a core by default."""

    def faults(self) -> Iterator[str]:
        yield from below(self, 1, "limit", "queries_per_photo", "min_category", "workers")
        yield from outside(self, 0, LARGEST_SEED, "seed")
        if self.id_column == "":
            yield "`id_column` is empty; expected the column that names the photos"


@dataclass(frozen=True, kw_only=True)
class SynthConfig(Config):
    """Draw a FashionIQ-shaped dataset of synthetic garments; the same seed gives the same bytes."""

    out: Path = required("Output", writes="dataset")
    """Dataset folder to make."""
    dress: int = option(11_642, "Size")
    """Images of dresses."""
    shirt: int = option(13_918, "Size")
    """Images of shirts."""
    toptee: int = option(12_265, "Size")
    """Images of tops and tees."""
    size: int = option(128, "Size")
    """Height and width of an image in pixels."""
    seed: int = option(0, "Size")
    """Seed of every garment and query."""
    overwrite: bool = option(False, "Output")
    """Replace a dataset folder that exists."""
    workers: int | None = option(None, "Machine")
    """Processes that draw; one a core by default."""

    def faults(self) -> Iterator[str]:
        yield from below(self, 0, "dress", "shirt", "toptee")
        yield from outside(self, 32, 1024, "size")
        yield from outside(self, 0, LARGEST_SEED, "seed")
        yield from below(self, 1, "workers")
        if self.dress + self.shirt + self.toptee == 0:
            yield "`dress`, `shirt` and `toptee` are all 0; expected at least one image"


@dataclass(frozen=True, kw_only=True)
class CaptionPairsConfig(Config):
    """Word pairs from the attributes of a catalogue: captions for cir data add-queries."""

    dataset: Path = required("Input", argument=True)
    """Dataset folder of `cir data from-catalog` or `cir data synth`."""
    pairs: Path = required("Input", argument=True)
    """Pairs of `cir mine` with `propose`, .parquet or .jsonl."""
    out: Path = required("Output", writes="pairs")
    """File of worded pairs to write, .parquet or .jsonl."""
    seed: int = option(0, "Wording")
    """Seed of the wording."""
    overwrite: bool = option(False, "Output")
    """Replace a file that exists."""

    def faults(self) -> Iterator[str]:
        yield from outside(self, 0, LARGEST_SEED, "seed")
        yield from wrong_suffix(self, "out")


@dataclass(frozen=True, kw_only=True)
class AddQueriesConfig(Config):
    """Make a dataset with more queries to train on: those of a dataset, and worded pairs."""

    dataset: Path = required("Input", argument=True)
    """Dataset folder in FashionIQ's form; it stays as it is."""
    pairs: Path = required("Input", argument=True)
    """Pairs with captions, .parquet or .jsonl: reference_id, target_id, captions, and, where more
    photos fit, target_ids."""
    out: Path = required("Output", writes="dataset")
    """Dataset folder to make."""
    link: LinkMode = option("hardlink", "Output")
    """How photos enter the dataset; a hard link falls back to a copy across devices."""
    overwrite: bool = option(False, "Output")
    """Replace a dataset folder that exists."""


@dataclass(frozen=True, kw_only=True)
class MergeConfig(Config):
    """Make one dataset of several: photos keep their splits, equal categories become one.

    Or make an embedding store of the Parquet parts that cir embed with `engine='ray'` has saved.
    """

    datasets: tuple[str, ...] = required("Input", argument=True)
    """Dataset folders in FashionIQ's form, two or more; they stay as they are. For a store, folders
    of parts (.NAME.h5.parts), one or more."""
    out: Path = required("Output", writes="dataset", either=True)
    """Dataset folder to make, or store, whose name ends in .h5."""
    prefixes: tuple[str, ...] = option((), "Ids")
    """What stands before the ids of a dataset, given once for each, in order; an empty one leaves
    them as they are. Without prefixes, datasets that share an id are refused."""
    link: LinkMode = option("hardlink", "Output")
    """How photos enter the dataset; a hard link falls back to a copy across devices."""
    overwrite: bool = option(False, "Output")
    """Replace a dataset folder or a store that exists."""

    @property
    def makes_store(self) -> bool:
        """Whether parts become a store, and not datasets a dataset."""
        return self.out.suffix == STORE_SUFFIX

    def written(self) -> dict[str, tuple[Path, Artefact]]:
        """The dataset or the store."""
        return {"out": (self.out, "store")} if self.makes_store else super().written()

    def read(self) -> dict[str, Path]:
        """Every dataset, by its place among them."""
        return {f"datasets[{number}]": Path(each) for number, each in enumerate(self.datasets)}

    def faults(self) -> Iterator[str]:
        if self.makes_store and self.prefixes:
            yield "`prefixes` tell the ids of datasets apart; parts of a store keep theirs"
        if len(self.datasets) < 2 and not self.makes_store:
            yield f"`datasets` are {len(self.datasets)}; expected two or more"
        if self.prefixes and len(self.prefixes) != len(self.datasets):
            yield (
                f"`prefixes` are {len(self.prefixes)}; expected {len(self.datasets)}, one of each "
                f"of the `datasets`"
            )
