"""The configuration of every stage, as frozen dataclasses: the one home of every default.

Each field's docstring is its help on the command line, which is built from these classes. The
faults of a configuration are all found when it is made and raised together.
"""

import copy
import dataclasses
import math
import numbers
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from cir.addresses import milvus_address
from cir.errors import ConfigError
from cir.spellings import candidates, curriculum, loss_weights
from cir.types import (
    Artefact,
    Band,
    Composition,
    MiningComposition,
    OtherTargets,
    Sampling,
    SamplingOption,
    Schedule,
    Scope,
    Split,
    Strategy,
    TripletForm,
    TripletReduction,
    Weighting,
)

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
Preprocess = Literal["targetpad", "squarepad", "clip"]
OnError = Literal["fail", "skip"]
OnStarved = Literal["nearest", "random", "drop", "fail"]
Index = Literal["auto", "flat", "faiss", "ivf", "hnsw", "ivfpq"]
CombinerName = Literal["gated-sum", "attention-fusion", "clip4cir", "sum"]
Tune = Literal["none", "text", "image", "both"]
Tracker = Literal["tensorboard", "wandb", "none"]
GalleryName = Literal["full", "val", "all"]
ReferenceRule = Literal["kept", "removed"]
CaptionRule = Literal["joined", "both-orders"]
LinkMode = Literal["hardlink", "symlink", "copy"]
EmbedEngine = Literal["local", "ray"]
MilvusKind = Literal["flat", "ivf", "hnsw"]
ExportFormat = Literal["triplet", "n-tuple", "labeled-pair"]

DATASET = Path("data/fashioniq")
EMBEDDINGS = Path("data/embeddings.h5")
MANIFEST = Path("data/manifest.parquet")
RUN = Path("runs/default")
RUN_FILE = "config.json"
"""The configuration in a run folder."""
REPORT_FILE = "report.html"
"""The page in a run folder."""
EXPORT_SUFFIXES = (".parquet", ".jsonl")
STORE_SUFFIX: Final = ".h5"
PROPOSED, PROPOSED_USES = 1000, 2
SEEDS: Final = 2**63
"""How many there are, from 0 on."""
APPROXIMATE_INDEXES: Final[tuple[Index, ...]] = ("ivf", "hnsw", "ivfpq")
SEARCH_INDEXES: Final[tuple[Index, ...]] = ("auto", "flat", *APPROXIMATE_INDEXES)
EXACT_PHOTOS: Final = 250_000
"""Photos up to which a search under `auto` compares every vector: some 20 ms of one core."""
_LARGEST_SEED: Final = SEEDS - 1
_LARGEST_DECAY = 1e6
TINY = "cir-tiny"
"""The bundled encoder's name."""


def option(
    default: Any, panel: str, *, argument: bool = False, writes: Artefact | None = None
) -> Any:
    """A field that the command line shows under the heading `panel`, or takes by position.

    A path that the command writes names its artefact with `writes`; every other path is an input.
    """
    return field(default=default, metadata={"panel": panel, "argument": argument, "writes": writes})


def required(panel: str, *, argument: bool = False, writes: Artefact | None = None) -> Any:
    """A field without a default."""
    return field(metadata={"panel": panel, "argument": argument, "writes": writes})


@dataclass(frozen=True, kw_only=True)
class Config:
    """What all stages share: every choice is checked, and `faults` adds what a stage forbids."""

    def __post_init__(self) -> None:
        wrong = dict(self._read_values())
        faults = [*wrong.values(), *self._wrong_choices(wrong), *self._other_faults(wrong)]
        if faults:
            raise ConfigError(faults)

    def faults(self) -> Iterator[str]:
        """Each fault of the values, as one clause."""
        yield from ()

    def written(self) -> dict[str, tuple[Path, Artefact]]:
        """What the command writes: each path and its artefact, by field."""
        return {
            item.name: (getattr(self, item.name), item.metadata["writes"])
            for item in dataclasses.fields(self)
            if item.metadata["writes"] and getattr(self, item.name) is not None
        }

    def read(self) -> dict[str, Path]:
        """What the command reads: each path that is given, by field."""
        values = {i.name: getattr(self, i.name) for i in dataclasses.fields(self)}
        written = {i.name for i in dataclasses.fields(self) if i.metadata["writes"]}
        return {n: v for n, v in values.items() if isinstance(v, Path) and n not in written}

    @property
    def goes_on(self) -> bool:
        """Whether what the command writes may be there already, to be gone on with."""
        return False

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values, paths as text."""
        return {name: _as_json(value) for name, value in dataclasses.asdict(self).items()}

    def _read_values(self) -> Iterator[tuple[str, str]]:
        """Turns each value into its field's type; yields the fields whose values are of another."""
        for name, hint in get_type_hints(type(self)).items():
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, _read_value(value, hint))
            except TypeError as fault:
                yield name, f"`{name}` is {_shown(value)}; expected {fault}"

    def _other_faults(self, wrong: Collection[str]) -> Iterator[str]:
        """The faults of the values that are of the right type."""
        stand_in = copy.copy(self)
        for item in dataclasses.fields(self):
            if item.name in wrong:
                default = Path() if item.default is dataclasses.MISSING else item.default
                object.__setattr__(stand_in, item.name, default)
        for fault in stand_in.faults():
            if not any(f"`{name}`" in fault for name in wrong):
                yield fault

    def _wrong_choices(self, wrong: Collection[str]) -> Iterator[str]:
        for name, hint in get_type_hints(type(self)).items():
            allowed, value = choices(hint) if name not in wrong else (), getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                known = one is None or (isinstance(one, str) and one in allowed)
                if allowed and not known:
                    yield f"`{name}` is {_shown(one)}; expected one of {', '.join(allowed)}"


def choices(hint: Any) -> tuple[str, ...]:
    """What a field of a type may be, or each of its items; nothing where that is not fixed."""
    literals = [part for part in (hint, *get_args(hint)) if get_origin(part) is Literal]
    return get_args(literals[0]) if literals else ()


def _read_value(value: Any, hint: Any) -> Any:
    """A value as its field holds it: texts become paths, lists tuples, NumPy's numbers Python's.

    Raises:
        TypeError: the value is of another type; says what was expected.
    """
    if get_origin(hint) is tuple:
        return _read_texts(value)
    kinds = [kind for kind in get_args(hint) or (hint,) if kind in _TYPES]
    if not kinds or (value is None and type(None) in get_args(hint)):
        return value  # a choice, which is checked as such
    accepted, words = _TYPES[kinds[0]]
    if not isinstance(value, accepted) or isinstance(value, bool) is not (kinds[0] is bool):
        raise TypeError(words)
    if kinds[0] is Path and "\0" in str(value):
        raise TypeError("a path, which holds no NUL")
    if kinds[0] is float and isinstance(value, int) and abs(value) > _LARGEST_NUMBER:
        raise TypeError("a finite number")
    # A whole number stays one where any number is taken: files record it as it was given.
    return value if isinstance(value, int | str) and kinds[0] is not Path else kinds[0](value)


_TYPES: Final[dict[Any, tuple[Any, str]]] = {
    bool: (bool, "True or False"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    str: (str, "a text"),
    Path: ((str, Path), "a path"),
}
"""What a field of each type accepts, and how that is called."""
_LARGEST_NUMBER: Final = sys.float_info.max
_LONGEST_SHOWN: Final = 60
"""Characters of a value that a fault repeats."""


def _read_texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise TypeError("a list of texts")
    return tuple(value)


def _shown(value: Any) -> str:
    """A value as short text on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _as_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _below(config: Config, least: float, *names: str) -> Iterator[str]:
    for name in names:
        value = getattr(config, name)
        if value is not None and not value >= least:
            yield f"`{name}` is {value}; expected at least {least:g}"


def _no_address(text: str, name: str, before: str = "") -> Iterator[str]:
    try:
        milvus_address(text)
    except ValueError as fault:
        yield f"`{name}` is {text!r}; expected {before}{fault}"


def _outside(config: Config, low: float, high: float, *names: str) -> Iterator[str]:
    for name in names:
        value = getattr(config, name)
        if value is not None and not low <= value <= high:
            yield f"`{name}` is {value}; expected {low:g} to {high:g}"


def _empty(config: Config, *names: str) -> Iterator[str]:
    for name in names:
        if not getattr(config, name):
            yield f"`{name}` is empty; expected at least one"


def _not_positive(config: Config, *names: str) -> Iterator[str]:
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 < value < math.inf:
            yield f"`{name}` is {value}; expected more than 0, and finite"


def _unused(config: Config, why: str, *names: str) -> Iterator[str]:
    """A fault where any of some settings is given, which another leaves nothing to do."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    given = [f"`{name}`" for name in names if getattr(config, name) != defaults[name]]
    if given:
        verb, them = ("is", "it") if len(given) == 1 else ("are", "them")
        yield f"{' and '.join(given)} {verb} {why}: leave {them} out"


def _wrong_suffix(config: Config, name: str) -> Iterator[str]:
    path: Path = getattr(config, name)
    if path.suffix not in EXPORT_SUFFIXES:
        yield f"`{name}` is {path}; expected a file ending in {' or '.join(EXPORT_SUFFIXES)}"


def _misspelled(config: Config, name: str, read: Callable[[str], object]) -> Iterator[str]:
    """What is wrong with a field that is spelled in one text, if it is given."""
    text = getattr(config, name)
    try:
        if text is not None:
            read(text)
    except ValueError as fault:
        yield f"`{name}` is {text!r}; {fault}"


# ------------------------------------------------------------------------------------- data


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
    """Replace what exists in --json and --without-missing, where cir made it."""
    images: bool = option(True, "Input")
    """Open every image; --no-images audits the annotations alone."""
    embeddings: Path | None = option(None, "Input")
    """Compare the bytes of every photo with those that this embedding store was made of."""
    workers: int | None = option(None, "Machine")
    """Processes that open images; one a core by default."""

    def faults(self) -> Iterator[str]:
        yield from _below(self, 1, "workers")
        if self.without_missing is not None and not self.images:
            yield "`without_missing` needs every image opened; leave out `images=False`"
        if self.overwrite and self.without_missing is None and self.json is None:
            yield "`overwrite` is of `json` and `without_missing`, which are missing"


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
    """Seed of the splits, which hang on it and on each photo's product alone."""
    limit: int | None = option(None, "Input")
    """Use a sample of this many photos."""
    overwrite: bool = option(False, "Output")
    """Replace a dataset folder that exists."""
    workers: int | None = option(None, "Machine")
    """Processes that read photos; one a core by default."""

    def faults(self) -> Iterator[str]:
        yield from _below(self, 1, "limit", "workers")
        yield from _outside(self, 0, _LARGEST_SEED, "seed")


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
        yield from _below(self, 1, "limit", "queries_per_photo", "min_category", "workers")
        yield from _outside(self, 0, _LARGEST_SEED, "seed")
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
        yield from _below(self, 0, "dress", "shirt", "toptee")
        yield from _outside(self, 32, 1024, "size")
        yield from _outside(self, 0, _LARGEST_SEED, "seed")
        yield from _below(self, 1, "workers")
        if self.dress + self.shirt + self.toptee == 0:
            yield "`dress`, `shirt` and `toptee` are all 0; expected at least one image"


@dataclass(frozen=True, kw_only=True)
class CaptionPairsConfig(Config):
    """Word pairs from the attributes of a catalogue: captions for cir data add-queries."""

    dataset: Path = required("Input", argument=True)
    """Dataset folder of `cir data from-catalog` or `cir data synth`."""
    pairs: Path = required("Input", argument=True)
    """Pairs of `cir mine --propose`, .parquet or .jsonl."""
    out: Path = required("Output", writes="pairs")
    """File of worded pairs to write, .parquet or .jsonl."""
    seed: int = option(0, "Wording")
    """Seed of the wording."""
    overwrite: bool = option(False, "Output")
    """Replace a file that exists."""

    def faults(self) -> Iterator[str]:
        yield from _outside(self, 0, _LARGEST_SEED, "seed")
        yield from _wrong_suffix(self, "out")


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

    Or make an embedding store of the Parquet parts that cir embed --engine ray has saved.
    """

    datasets: tuple[str, ...] = required("Input", argument=True)
    """Dataset folders in FashionIQ's form, two or more; they stay as they are. For a store, folders
    of parts (.NAME.h5.parts), one or more."""
    out: Path = required("Output", writes="dataset")
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
                f"dataset"
            )


# ----------------------------------------------------------------------------------- stages


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(Config):
    """Which encoder, and how it runs."""

    model: str = option("RN50x4", "Encoder")
    """open_clip model name, or cir-tiny, the bundled one."""
    pretrained: str | None = option(None, "Encoder")
    """open_clip's tag of the weights; by default that of the store that is added to, or openai.
    cir-tiny has bundled-60, the default, and bundled, which was trained for half as long."""
    weights: Path | None = option(None, "Encoder")
    """Weight file instead: open_clip state dict, safetensors, OpenAI archive, CLIP4Cir checkpoint,
    or the checkpoint folder of a run."""
    preprocess: Preprocess = option("targetpad", "Encoder")
    """targetpad (pad when the aspect ratio passes 1.25, as CLIP4Cir), squarepad, or clip."""
    precision: Precision = option("fp32", "Machine")
    """Number format of the encoder's arithmetic; fp32 is float32 on a GPU too, tf32 is faster."""
    device: Device = option("auto", "Machine")
    """auto takes the GPU where there is one."""
    batch_size: int = option(128, "Machine")
    """Images or captions encoded at once, at most; a CPU takes 32, of a heavy encoder 8 images."""
    workers: int | None = option(None, "Machine")
    """Processes that decode images; one a core by default, at most 8 where no GPU encodes."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from _below(self, 1, "batch_size")
        yield from _below(self, 0, "workers")


@dataclass(frozen=True, kw_only=True)
class EmbedConfig(EncoderConfig):
    """Encode every image and caption of a dataset into an embedding store.

    In a store that is there, what is new or changed is encoded, and the rest is kept.
    """

    dataset: Path = option(DATASET, "Files", argument=True)
    """Dataset folder."""
    out: Path = option(EMBEDDINGS, "Files", writes="store")
    """Embedding store to write, or to bring up to date."""
    check: bool = option(False, "Files")
    """Encode nothing: say what the store lacks, or has of another photo or of other --weights, and
    end with 1 if any."""
    list_models: bool = option(False, "Encoder")
    """List the encoders that there are, with the tags of their published weights, and end."""
    any_precision: bool = option(False, "Files")
    """Keep vectors of a store that were computed in another precision."""
    on_error: OnError = option("fail", "Files")
    """fail stops at the first broken image; skip leaves broken images out and lists them."""
    overwrite: bool = option(False, "Files")
    """Encode everything afresh, and replace a store that exists."""
    engine: EmbedEngine = option("local", "Machine")
    """local encodes in this process, and in those that a launcher starts beside it; ray has photos
    encoded by a Ray cluster: that of RAY_ADDRESS, or one of this machine while it takes."""
    actors: int | None = option(None, "Machine")
    """With --engine ray, processes that encode photos; one a GPU by default, or one a core where
    the cluster has no GPU."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from _below(self, 1, "actors")
        if self.actors is not None and self.engine != "ray":
            yield "`actors` are those of a Ray cluster; pass `engine='ray'` too"
        if self.check and self.overwrite:
            yield "`check` encodes nothing; leave out `overwrite=True`"

    @property
    def goes_on(self) -> bool:
        """Whether a store that is there is added to."""
        return not self.overwrite

    def written(self) -> dict[str, tuple[Path, Artefact]]:
        """The store, but where none is written."""
        return {} if self.check or self.list_models else super().written()


@dataclass(frozen=True, kw_only=True)
class _MiningRules(Config):
    """What decides which negatives a query gets, but for where in their band they are drawn."""

    strategy: Strategy = option("semi-hard", "Negatives")
    """random, hard, semi-hard, category-aware (shares of same, other and any category), or
    adaptive (between the two steepest drops of the query's scores behind its target)."""
    num_negatives: int = option(5, "Negatives")
    """Negatives a query."""
    margin: float = option(0.2, "Negatives")
    """Margin of the semi-hard band, in cosine distance."""
    drop_window: int = option(100, "Negatives")
    """With --strategy adaptive, the valid candidates behind the target that are looked at for the
    steepest drops."""
    temperature: float = option(0.05, "Negatives")
    """With --sampling softmax, a candidate at distance d weighs exp(-d / temperature)."""
    same_share: float = option(0.7, "Category-aware")
    """Share of negatives from the query's own category."""
    other_share: float = option(0.2, "Category-aware")
    """Share from another category."""
    any_share: float = option(0.1, "Category-aware")
    """Share from the whole gallery."""
    same_kind: Band = option("semi-hard", "Category-aware")
    """Kind wanted from the query's own category."""
    other_kind: Band = option("any", "Category-aware")
    """Kind wanted from another category."""
    any_kind: Band = option("any", "Category-aware")
    """Kind wanted from the whole gallery."""
    duplicate_threshold: float = option(0.99, "False negatives")
    """A candidate whose cosine to the target reaches this is a duplicate, never a negative."""
    max_target_similarity: float | None = option(None, "False negatives")
    """Exclude candidates whose cosine to the target image is above this."""
    exclude_siblings: bool = option(False, "False negatives")
    """Exclude the targets that the same reference has under other captions."""
    relative_margin: float | None = option(None, "False negatives")
    """Exclude candidates whose cosine to the query is above (1 - this) of the target's."""
    max_similarity: float | None = option(None, "False negatives")
    """Exclude candidates whose cosine to the query is above this."""
    range_min: int = option(0, "False negatives")
    """Exclude this many valid candidates, those nearest to the query."""
    range_max: int | None = option(None, "False negatives")
    """Exclude all but this many valid candidates, those nearest to the query."""
    on_starved: OnStarved = option("nearest", "Negatives")
    """When the band is too small: fill with the nearest that no filter excludes, fill with such
    at random, drop the query, or fail."""
    seed: int = option(0, "Negatives")
    """Seed of every random choice."""
    index: Index = option("auto", "Index")
    """flat compares every image, exactly, by cir's own scan; faiss gives the same: a flat FAISS
    index proposes the nearest, and that scan finishes what they leave open. ivf, hnsw and ivfpq of
    FAISS find most of the nearest, and say how many on a sample mined exactly. auto is flat up to a
    trillion pairs of query and image, then ivf where the negatives are the nearest of their
    band."""
    candidates: int = option(2048, "Index")
    """Images that an index of FAISS proposes for each query; with ivf, hnsw and ivfpq negatives,
    ranks and counts are those among them, and faiss proposes 2,048 at most."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from _below(self, 1, "num_negatives", "candidates")
        yield from _below(self, 3, "drop_window")
        fewest = self.num_negatives + self.range_min
        if self.index in APPROXIMATE_INDEXES and not self.candidates >= fewest:
            what = "`num_negatives` and `range_min` together"
            yield f"`candidates` is {self.candidates}; expected at least {fewest}, {what}"
        yield from _outside(self, 0, _LARGEST_SEED, "seed")
        yield from _outside(self, 0, 2, "margin")
        yield from _outside(self, 0, 1, "same_share", "other_share", "any_share")
        yield from _outside(self, 0, 1.01, "duplicate_threshold")
        yield from _outside(self, 0, 1, "relative_margin")
        yield from _outside(self, -1, 1, "max_similarity", "max_target_similarity")
        yield from _below(self, 0, "range_min")
        if self.range_max is not None and not self.range_max > self.range_min:
            least = f"more than `range_min`, {self.range_min}"
            yield f"`range_max` is {self.range_max}; expected {least}"
        yield from _not_positive(self, "temperature")
        total = self.same_share + self.other_share + self.any_share
        if not math.isclose(total, 1, abs_tol=1e-6):
            yield f"`same_share`, `other_share` and `any_share` add up to {total:g}; expected 1"


@dataclass(frozen=True, kw_only=True)
class MiningOptions(_MiningRules):
    """What decides which negatives a query gets; the manifest records it, to mine again by."""

    sampling: Sampling = option("top", "Negatives")
    """As `MineConfig.sampling`, but for `auto`, in whose place stands what it chose."""


@dataclass(frozen=True, kw_only=True)
class MineConfig(_MiningRules):
    """Mine negatives for every query of a split into a Parquet manifest."""

    sampling: SamplingOption = option("auto", "Negatives")
    """Where in the band to draw. top takes its nearest; random draws from all of it, each equally
    likely; softmax draws nearer ones more often; auto takes what of these a pilot finds best: short
    trainings on a part of the queries, judged by R@10 on others. Where top meets a band of any
    kind, it draws at random."""
    dataset: Path = option(DATASET, "Files")
    """Dataset folder."""
    embeddings: Path = option(EMBEDDINGS, "Files")
    """Embedding store of `cir embed`."""
    stale_ok: bool = option(False, "Files")
    """Go on where photos have another size or time of change than when they were embedded."""
    out: Path = option(MANIFEST, "Files", writes="manifest")
    """Manifest to write."""
    split: Split = option("train", "Query")
    """Split whose queries are mined; its images are the gallery."""
    query: MiningComposition = option("sum", "Query")
    """Composed query: reference (image only), sum (normalised image + text), or combiner."""
    text_share: float = option(0.5, "Query")
    """Share of the text in --query sum; cir evaluate --query weighted-sum says which is best."""
    checkpoint: Path | None = option(None, "Query")
    """Checkpoint folder of the combiner, with --query combiner."""
    propose: Path | None = option(None, "New queries", writes="pairs")
    """Also write the pairs of a reference and a near wrong image that would teach most as new
    queries, a .parquet or .jsonl whose captions are to be written: cir data add-queries."""
    propose_count: int = option(PROPOSED, "New queries")
    """Pairs to propose, at most."""
    propose_uses: int = option(PROPOSED_USES, "New queries")
    """Proposed pairs that a photo may be in as the reference, and as the target."""
    device: Device = option("auto", "Machine")
    """auto takes the GPU where there is one."""
    advise: bool = option(False, "Files")
    """Mine nothing: print what the store tells about its queries (ranks of targets, look-alikes,
    how many negatives would be answers), and which strategy and filters that speaks for."""
    block_size: int = option(512, "Machine")
    """Queries compared with the gallery at once; bounds the memory."""
    overwrite: bool = option(False, "Files")
    """Replace a manifest that exists."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from _below(self, 1, "block_size")
        yield from _outside(self, 0, 1, "text_share")
        if self.text_share != 0.5 and self.query != "sum":
            yield f"`text_share` is of `query='sum'`; leave it out with `query={self.query!r}`"
        if (self.query == "combiner") != (self.checkpoint is not None):
            yield "`query='combiner'` and `checkpoint` go together: pass both or neither"
        yield from self._faults_of_proposals()

    def _faults_of_proposals(self) -> Iterator[str]:
        yield from _below(self, 1, "propose_count", "propose_uses")
        if self.propose is None:
            if self.propose_count != PROPOSED:
                yield "`propose_count` is of `propose=FILE`: pass both or neither"
            if self.propose_uses != PROPOSED_USES:
                yield "`propose_uses` is of `propose=FILE`: pass both or neither"
            return
        yield from _wrong_suffix(self, "propose")
        if self.advise:
            yield "`advise` mines nothing, so `propose` has no pairs to list; leave one out"
        if self.split != "train":
            yield f"`propose` makes queries to train on; leave out `split={self.split!r}`"

    def written(self) -> dict[str, tuple[Path, Artefact]]:
        """What the command writes; advice writes nothing."""
        return {} if self.advise else super().written()

    def options(self) -> MiningOptions:
        """The part that decides which negatives a query gets; top stands for a sampling of auto."""
        names = [item.name for item in dataclasses.fields(MiningOptions)]
        values = {name: getattr(self, name) for name in names}
        return MiningOptions(**values | ({"sampling": "top"} if self.sampling == "auto" else {}))


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Config):
    """Write a manifest as training examples that datasets and sentence-transformers read."""

    manifest: Path = option(MANIFEST, "Files", argument=True)
    """Manifest of `cir mine`."""
    dataset: Path | None = option(None, "Files")
    """Dataset folder: write where its photos are; without it, images are named by their ids."""
    out: Path = option(Path("data/examples.parquet"), "Files", writes="examples")
    """File to write, .parquet or .jsonl."""
    overwrite: bool = option(False, "Files")
    """Replace a file that exists."""
    format: ExportFormat = option("triplet", "Rows")
    """triplet (anchor, positive, negative), n-tuple (anchor, positive, negative_1 to negative_n;
    queries with fewer negatives are left out), or labeled-pair (anchor, positive, label 1 or 0)."""
    num_negatives: int | None = option(None, "Rows")
    """Negatives a query, its nearest; by default as many as were mined for."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from _below(self, 1, "num_negatives")
        yield from _wrong_suffix(self, "out")


@dataclass(frozen=True, kw_only=True)
class InspectConfig(Config):
    """Look at a manifest, or compare two: figures on the screen, triplets as photos in a page."""

    manifest: Path = required("Input", argument=True)
    """Manifest of `cir mine`."""
    other: Path | None = option(None, "Input", argument=True)
    """A second manifest, to see what changed from the first to it."""
    dataset: Path | None = option(None, "Input")
    """Dataset folder that was mined: its photos enter the page, and its images that were never
    used as negatives are counted."""
    html: Path | None = option(None, "Page", writes="page")
    """Write a page that needs no network to this HTML file."""
    rows: int = option(200, "Page")
    """Queries shown in the page, drawn evenly over categories and kinds; the ten hardest, or of
    two manifests the ten most changed, always are."""
    overwrite: bool = option(False, "Page")
    """Replace an HTML file that exists."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from _outside(self, 10, 2000, "rows")


COLDEST: Final = 0.01
"""The least temperature that is learned, as in CLIP (Radford et al., ICML 2021, section 2.5)."""
_COMBINER_RATES: Final[dict[CombinerName, float]] = {
    "gated-sum": 2e-3,
    "attention-fusion": 1e-3,
    "clip4cir": 3e-4,
    "sum": 1e-3,
}
"""Of those tried on the photos, the peak learning rates that did best (tests/benchmarks/study.py);
with sum, that of a learned temperature alone."""
_TUNED: Final[dict[str, Tune]] = {TINY: "text"}
"""Towers that are tuned where no more is asked for: what published weights of CLIP gain or lose by
it was not measured, and their text tower takes hours on a CPU."""
_TOWER_RATES: Final = {TINY: 3e-5}
_TOWER_RATE: Final = 2e-6
"""Peak learning rates of tuned towers. The code of Baldrati et al. (2022) has the latter, for the
published weights of CLIP; an encoder as small as the bundled one hardly moves at it."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """Train a combiner, and CLIP's towers, on a manifest, mining again after each epoch."""

    manifest: Path = option(MANIFEST, "Files")
    """Manifest of `cir mine`."""
    dataset: Path = option(DATASET, "Files")
    """Dataset folder."""
    embeddings: Path = option(EMBEDDINGS, "Files")
    """Embedding store that the manifest was mined from."""
    stale_ok: bool = option(False, "Files")
    """Go on where photos have another size or time of change than when they were embedded."""
    out: Path = option(RUN, "Files", writes="run")
    """Run folder to make."""
    resume: bool = option(False, "Files")
    """Go on with the run in --out from what it saved last."""
    overwrite: bool = option(False, "Files")
    """Replace a run folder that exists."""
    save_minutes: float = option(10.0, "Files")
    """Minutes from one saving to the next within an epoch; it is saved at its end, and when it is
    stopped, in any case."""
    combiner: CombinerName = option("gated-sum", "Model")
    """gated-sum (the plain sum and a learned departure from it), attention-fusion (the gate over
    both modalities), clip4cir (Baldrati et al.), or sum."""
    hidden: int | None = option(None, "Model")
    """Inner width of the combiner; by default 512, and for clip4cir eight times the length of the
    vectors (5120 for RN50x4)."""
    projection: int | None = option(None, "Model")
    """Width of clip4cir's projections; by default four times the length of the vectors (2560 for
    RN50x4)."""
    dropout: float = option(0.5, "Model")
    """Share of components that gated-sum drops while training; clip4cir always drops half."""
    text_share: float = option(0.5, "Model")
    """Share of the text in the sum that gated-sum starts as."""
    tune: Tune | None = option(None, "Model")
    """Towers of CLIP that are fine-tuned beside the combiner; by default text where the store is of
    the bundled cir-tiny (or of another cir-tiny whose --weights are given), none for others."""
    weights: Path | None = option(None, "Model")
    """Encoder weights to fine-tune from, where the store was embedded with --weights."""
    layer_decay: float = option(1.0, "Model")
    """Each layer of a tuned tower learns at this share of the next one's rate; 1 is one rate."""
    encode_batch: int | None = option(None, "Model")
    """Images or texts that a tuned tower encodes at once: memory is theirs, the gradient that of
    the whole batch (GradCache), each encoded twice. By default as many as a GPU's free memory
    takes, all of a batch where they fit; on a CPU all."""
    checkpoint_activations: bool = option(False, "Model")
    """Keep no activations inside a tuned tower's blocks, but compute them again: less memory, a
    third more arithmetic."""
    ema: float = option(0.0, "Optimisation")
    """Decay of a moving average of the weights, such as 0.999, which is judged, mined with and
    saved in their place; 0 is none."""
    loss: str = option("10*triplet+contrastive", "Loss")
    """Weighted sum of triplet and contrastive, such as 0.5*triplet+contrastive."""
    margin: float = option(0.2, "Loss")
    """Margin of the triplet loss, in cosine distance."""
    triplet_form: TripletForm = option("hinge", "Loss")
    """hinge: max(0, x); softplus: ln(1 + exp x); x is the margin and what the target is farther
    away than the negative."""
    triplet_reduction: TripletReduction = option("mean", "Loss")
    """mean over all triplets, or over each query's hardest alone."""
    contrast: str = option("batch+mined+bank+reference", "Loss")
    """What the contrastive term tells a target apart from, such as batch+mined: the other targets
    of the batch, the query's negatives (mined), every target of the training split (bank), the
    query's own reference (reference)."""
    other_targets: OtherTargets = option("positive", "Loss")
    """A query's other known targets in the contrastive term: ignored, or positive as well."""
    temperature: float = option(0.05, "Loss")
    """Temperature of the contrastive term."""
    learn_temperature: bool = option(False, "Loss")
    """Learn the temperature, from --temperature on, down to 0.01."""
    guide_threshold: float | None = option(None, "Loss")
    """Leave out of the contrastive term the candidates whose cosine to the target, by the vectors
    of the store, is above this."""
    weighting: Weighting = option("none", "Loss")
    """What counts more: none; hardness, the harder negatives of the contrastive term; trust, the
    queries whose target is probably right, by its rank each time they are mined again."""
    hardness: float = option(0.5, "Loss")
    """With --weighting hardness, how much more: a negative of cosine s weighs
    exp(this * s / temperature)."""
    remine: bool = option(True, "Negatives")
    """Mine again with the current model after every epoch."""
    curriculum: str | None = option(None, "Negatives")
    """Strategies to mine by, each with its epochs, in place of the manifest's: such as
    random:2,semi-hard:5,hard. With --no-remine, a stage is mined once, when it begins."""
    row_negatives: int | None = option(None, "Negatives")
    """Negatives of a query that a step uses, drawn anew each epoch; all of them by default."""
    online_top_k: int | None = option(None, "Negatives")
    """Use, in place of the manifest's negatives, the K valid gallery images that are nearest to
    each query while training."""
    epochs: int = option(20, "Optimisation")
    """Passes over the manifest."""
    patience: int | None = option(None, "Optimisation")
    """End the run after so many epochs in a row without a better one on dev; by default it takes
    all of its epochs."""
    batch_size: int = option(256, "Optimisation")
    """Queries a step."""
    learning_rate: float | None = option(None, "Optimisation")
    """AdamW's peak learning rate of the combiner; by default 2e-3 for gated-sum, 1e-3 for
    attention-fusion, 3e-4 for clip4cir."""
    clip_learning_rate: float | None = option(None, "Optimisation")
    """AdamW's peak learning rate of tuned CLIP towers; by default 3e-5 for cir-tiny, 2e-6 for
    others."""
    weight_decay: float = option(0.01, "Optimisation")
    """AdamW's decoupled weight decay."""
    schedule: Schedule = option("cosine", "Optimisation")
    """cosine: rates rise for a twentieth of the run, then fall to zero; constant: they stay."""
    dev_fraction: float = option(0.1, "Optimisation")
    """Share of the training references held out to choose the best epoch."""
    seed: int = option(0, "Optimisation")
    """Seed of initial weights, batches, dropout and mining."""
    precision: Precision = option("fp32", "Machine")
    """Number format of the arithmetic; fp32 is float32 on a GPU too, tf32 is faster."""
    device: Device = option("auto", "Machine")
    """auto takes the GPU where there is one."""
    workers: int | None = option(None, "Machine")
    """Processes that decode images while CLIP is tuned; one a core by default, at most 8 where no
    GPU encodes."""
    tracker: tuple[Tracker, ...] = option(("tensorboard",), "Watching")
    """Where figures go beside metrics.jsonl; given twice, to both. wandb needs cir[wandb]."""
    log_every: int = option(10, "Watching")
    """Steps from one to the next whose losses, learning rate and gradient go to the trackers."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from _below(self, 1, "log_every")
        yield from _empty(self, "tracker")
        if "none" in self.tracker and len(set(self.tracker)) > 1:
            yield "`tracker='none'` excludes the others"
        yield from _below(self, 1, "epochs", "patience", "hidden", "projection")
        yield from _below(self, 1, "online_top_k", "row_negatives")
        yield from _below(self, 2, "batch_size")
        yield from _below(self, 0, "workers", "save_minutes")
        yield from _outside(self, 0, _LARGEST_SEED, "seed")
        yield from _outside(self, 0, _LARGEST_DECAY, "weight_decay")
        yield from _misspelled(self, "loss", loss_weights)
        yield from _misspelled(self, "contrast", candidates)
        yield from _misspelled(self, "curriculum", curriculum)
        yield from _outside(self, 0, 2, "margin")
        yield from _outside(self, 0.0, 0.9, "dev_fraction", "dropout")
        yield from _outside(self, 0, 1, "text_share")
        if self.combiner != "gated-sum":
            other = f"of gated-sum, and `combiner` is {self.combiner!r}"
            yield from _unused(self, other, "text_share", "dropout")
        if self.hidden is not None and self.combiner == "sum":
            yield "`hidden` is no width of the sum; leave it out with `combiner='sum'`"
        if self.projection is not None and self.combiner != "clip4cir":
            yield f"`projection` is of clip4cir; leave it out with `combiner={self.combiner!r}`"
        yield from self._tuning_faults()
        yield from self._loss_faults()
        yield from self._weighting_faults()
        yield from _not_positive(self, "learning_rate", "clip_learning_rate", "temperature")
        if self.dev_fraction == 0:
            yield "`dev_fraction` is 0; the best epoch needs a dev split"
        if self.combiner == "sum" and self.tune == "none":
            yield "`combiner='sum'` has nothing to train unless `tune` is text, image or both"
        if self.online_top_k is not None and self.curriculum is not None:
            yield "`online_top_k` uses no manifest, so `curriculum` has nothing to choose"
        if self.online_top_k is not None and self.row_negatives is not None:
            yield "`online_top_k` says how many negatives a step uses; leave out `row_negatives`"
        if self.resume and self.overwrite:
            yield "`resume` and `overwrite` exclude each other"

    @property
    def goes_on(self) -> bool:
        """Whether the run may be there already, to be gone on with."""
        return self.resume

    @property
    def combiner_rate(self) -> float:
        """The combiner's peak learning rate, where none is given that which suits it."""
        if self.learning_rate is not None:
            return self.learning_rate
        return self.default_rate(self.combiner)

    @staticmethod
    def default_rate(combiner: CombinerName) -> float:
        """The peak learning rate that suits a combiner."""
        return _COMBINER_RATES[combiner]

    def towers(self, model: str, *, bundled: bool) -> Tune:
        """The towers of an encoder that are tuned, where none are named those that are worth it.

        Args:
            model: The encoder of the store.
            bundled: Whether its weights come with cir, so that no file has to be named.
        """
        if self.tune is not None:
            return self.tune
        return _TUNED.get(model, "none") if bundled or self.weights else "none"

    def clip_rate(self, model: str) -> float:
        """The peak learning rate of an encoder's towers, where none is given that which suits."""
        if self.clip_learning_rate is not None:
            return self.clip_learning_rate
        return _TOWER_RATES.get(model, _TOWER_RATE)

    def _loss_faults(self) -> Iterator[str]:
        yield from _outside(self, -1, 1, "guide_threshold")
        if "contrastive" not in self.loss:
            of_contrast = ("temperature", "learn_temperature", "guide_threshold")
            of_candidates = ("contrast", "other_targets")
            lacks = "of the contrastive term, which `loss` lacks"
            yield from _unused(self, lacks, *of_contrast, *of_candidates)
        if "triplet" not in self.loss:
            lacks = "of the triplet loss, which `loss` lacks"
            yield from _unused(self, lacks, "triplet_form", "triplet_reduction")
            if "mined" not in self.contrast:
                unused = "of negatives, which neither `loss` nor `contrast` uses"
                yield from _unused(self, unused, "online_top_k", "row_negatives")
        if self.learn_temperature and self.temperature < COLDEST:
            yield (
                f"`temperature` is {self.temperature:g}; one that is learned is at least "
                f"{COLDEST:g}"
            )

    def _weighting_faults(self) -> Iterator[str]:
        yield from _not_positive(self, "hardness")
        if self.weighting != "hardness" and self.hardness != TrainConfig.hardness:
            yield f"`hardness` is of `weighting='hardness'`; it is {self.weighting!r}"
        if self.weighting == "hardness" and "contrastive" not in self.loss:
            yield "`weighting='hardness'` is of the contrastive term, which `loss` lacks"
        if self.weighting == "trust" and not (self.remine and self.online_top_k is None):
            yield "`weighting='trust'` goes by mining again: drop `remine=False` and `online_top_k`"

    def _tuning_faults(self) -> Iterator[str]:
        yield from _below(self, 1, "encode_batch")
        if not 0 < self.layer_decay <= 1:
            yield f"`layer_decay` is {self.layer_decay}; expected more than 0, at most 1"
        if not 0 <= self.ema < 1:
            yield f"`ema` is {self.ema}; expected 0 or more, less than 1"
        if self.tune == "none":
            none = "of tuned towers, and none is (`tune` says which)"
            names = ("weights", "clip_learning_rate", "layer_decay")
            yield from _unused(self, none, *names, "encode_batch", "checkpoint_activations")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Config):
    """Rank the gallery for every query of a split and report Recall@K, of one run or of two."""

    run: Path | None = option(None, "Query", argument=True)
    """Run folder, or one of its checkpoints; by default runs/default when --query is combiner."""
    other: Path | None = option(None, "Query", argument=True)
    """A second run, to see what changes from the first to it."""
    query: Composition = option("combiner", "Query")
    """Composed query: combiner, or a baseline: reference, text, sum, or weighted-sum, whose share
    of the text is that with the best R@10 on a tenth of the training references."""
    clip4cir_combiner: Path | None = option(None, "Query")
    """Composed query: CLIP4Cir's published Combiner in this file, in place of a run; with --compare
    and a run, what changes from it to the run."""
    weights: Path | None = option(None, "Query")
    """CLIP that --clip4cir-combiner was trained over, as `cir embed --weights` took it: evaluates
    only if the store was embedded with it."""
    dataset: Path = option(DATASET, "Files")
    """Dataset folder."""
    embeddings: Path = option(EMBEDDINGS, "Files")
    """Embedding store of `cir embed`."""
    stale_ok: bool = option(False, "Files")
    """Go on where photos have another size or time of change than when they were embedded."""
    split: Split = option("val", "Protocol")
    """Split that is reported."""
    gallery: tuple[GalleryName, ...] = option(("full",), "Protocol")
    """full: every image of the split's category; val: its references and targets only; all: every
    image of the dataset but the query's own reference. This and the next two can be given more than
    once: every combination is reported."""
    reference: tuple[ReferenceRule, ...] = option((), "Protocol")
    """Whether the reference image itself may be retrieved; by default as the benchmark has it:
    kept, and removed where the dataset is in CIRR's form."""
    captions: tuple[CaptionRule, ...] = option(("joined",), "Protocol")
    """joined: "a and b"; both-orders: the mean of "a and b" and "b and a"."""
    allow_trained: bool = option(False, "Protocol")
    """Judge also where the run was trained on references or targets of the judged queries; the
    figures are marked."""
    all_protocols: bool = option(False, "Protocol")
    """Report every combination of --gallery, --reference and --captions, the standard one first."""
    compare: bool = option(False, "Comparison")
    """Test what changes from the first run to the second, or from the baseline of --query to the
    run: a paired bootstrap over references. Two runs are compared with or without this."""
    resamples: int = option(10_000, "Comparison")
    """Draws of the bootstrap."""
    seed: int = option(0, "Comparison")
    """Seed of the draws."""
    json: Path | None = option(None, "Files", writes="figures")
    """Write the protocols and every figure to this JSON file."""
    per_query: Path | None = option(None, "Files", writes="ranks")
    """Write each query's rank and its nearest 50 images, under the first protocol, to this Parquet
    file."""
    submission: Path | None = option(None, "Files", writes="submission")
    """Write the split's rankings to this folder as FashionIQ's or CIRR's test server takes them."""
    overwrite: bool = option(False, "Files")
    """Replace files that exist."""
    device: Device = option("auto", "Machine")
    """auto takes the GPU where there is one."""
    workers: int | None = option(None, "Machine")
    """Processes that decode images where a tuned encoder re-embeds; one a core by default, at most
    8 where no GPU encodes."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from _below(self, 0, "workers")
        yield from _below(self, 100, "resamples")
        yield from _empty(self, "gallery", "captions")
        yield from _outside(self, 0, _LARGEST_SEED, "seed")
        yield from self._faults_of_runs()
        if not self.compares:
            yield from _unused(self, "of a comparison, and one run is judged", "resamples", "seed")
        if self.all_protocols and (self.gallery, self.reference, self.captions) != _ONE_PROTOCOL:
            yield "`all_protocols` takes no `gallery`, `reference` or `captions`"
        if "all" in self.gallery and "kept" in self.reference:
            yield "`gallery='all'` is every image but the reference; leave out `reference='kept'`"
        if self.submission and (self.gallery, self.captions) != (("full",), ("joined",)):
            yield "`submission` ranks the full gallery by joined captions"
        if self.submission and self.all_protocols:
            yield "`submission` is of one protocol and takes no `all_protocols`"

    @property
    def compares(self) -> bool:
        """Whether two ways to compose queries are compared."""
        return self.compare or self.other is not None

    @property
    def baseline(self) -> str | None:
        """What needs no run of ours, as faults name it; None where two runs are compared."""
        if self.clip4cir_combiner is not None:
            return "`clip4cir_combiner`"
        return None if self.query == "combiner" else f"`query={self.query!r}`"

    def _faults_of_runs(self) -> Iterator[str]:
        if self.clip4cir_combiner is not None and self.query != "combiner":
            yield f"`clip4cir_combiner` composes the query; leave out `query={self.query!r}`"
        if self.weights is not None and self.clip4cir_combiner is None:
            yield "`weights` are the CLIP of `clip4cir_combiner`, which is missing"
        if self.other is not None and self.baseline:
            yield f"two runs are compared with each other and take no {self.baseline}"
        elif self.compare and self.other is None and not self.baseline:
            yield "`compare` takes a second run, or a baseline such as `query='sum'`"
        elif self.run is not None and self.baseline and not self.compare:
            yield f"{self.baseline} is a baseline: it takes a run folder only with `compare`"
        for name in ("per_query", "submission"):
            if self.compares and getattr(self, name) is not None:
                yield f"`{name}` is of one run; a comparison has two"


_ONE_PROTOCOL = (("full",), (), ("joined",))
"""The defaults of `gallery`, `reference` and `captions`."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig(Config):
    """Write the illustrated page of a run, also of one that is still going or was stopped."""

    run: Path = option(RUN, "Files", argument=True)
    """Run folder of `cir train`, with one finished epoch at least."""
    dataset: Path | None = option(None, "Files")
    """Dataset folder; that of the run by default."""
    embeddings: Path | None = option(None, "Files")
    """Embedding store; that of the run by default."""
    out: Path | None = option(None, "Files", writes="page")
    """HTML file; report.html in the run folder, replacing any, by default."""
    overwrite: bool = option(False, "Files")
    """Replace a file in --out that exists."""
    device: Device = option("auto", "Machine")
    """auto takes the GPU where there is one."""
    workers: int | None = option(None, "Machine")
    """Processes that decode images where a tuned encoder re-embeds; one a core by default, at most
    8 where no GPU encodes."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from _below(self, 0, "workers")

    def written(self) -> dict[str, tuple[Path, Artefact]]:
        """What the command writes: by default the page in the run folder."""
        return {"out": (self.out or self.run / REPORT_FILE, "page")}

    @property
    def goes_on(self) -> bool:
        """Whether the page may be there already: that of the run folder is written again."""
        return self.out is None


@dataclass(frozen=True, kw_only=True)
class GalleryConfig(Config):
    """What is searched, and by what."""

    run: Path | None = option(None, "Input", argument=True)
    """Run folder of `cir train`, or one of its checkpoints; without one, the plain sum of image and
    text searches."""
    store: Path | None = option(None, "Input")
    """What is searched: an embedding store, a dataset folder with its store beside it, or a folder
    of photos, which is embedded first and kept; the store of the run by default."""
    dataset: Path | None = option(None, "Input")
    """Dataset folder of the store's photos, titles and categories; found beside the store, or
    named by the run, by default."""
    weights: Path | None = option(None, "Input")
    """Weight file that the store was embedded with, where it was one."""
    index: str = option("auto", "Input")
    """How the vectors are searched. flat compares with every one; ivf, hnsw and ivfpq are built
    first and compare with some, and their recall is measured and told; auto is flat up to 250,000
    photos, and beyond them ivf where more than one query is to come. The address of a collection
    that cir index push filled from the store searches in Milvus: milvus://HOST:PORT/COLLECTION, or
    milvus:///path/to/FILE.db/COLLECTION for Milvus Lite."""
    device: Device = option("auto", "Machine")
    """auto takes the GPU where there is one."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        if self.run is None and self.store is None:
            yield "nothing to search: pass `run`, or `store`, or both"
        if self.index not in SEARCH_INDEXES:
            yield from _no_address(self.index, "index", f"{', '.join(SEARCH_INDEXES)}, or ")


@dataclass(frozen=True, kw_only=True)
class SearchConfig(GalleryConfig):
    """Search a gallery by a photo, a text, or a photo changed by a text."""

    image: tuple[str, ...] = option((), "Query")
    """Reference: an image file, or the id of a photo of the gallery. Given more than once, their
    mean counts. It is no result, nor are its copies."""
    text: str = option("", "Query")
    """What to change of the reference, or what to find where there is none."""
    like: tuple[str, ...] = option((), "Query")
    """File or id of a photo that the results shall be more like; can be given more than once."""
    unlike: tuple[str, ...] = option((), "Query")
    """File or id of a photo that they shall be less like; can be given more than once."""
    less: tuple[str, ...] = option((), "Query")
    """Text that they shall be less like, such as stripes; can be given more than once."""
    weight: float | None = option(None, "Query")
    """Share of the text: 0 is the image alone, 1 the text alone, 0.5 and the default are what the
    retriever makes of both."""
    top: int = option(10, "Results")
    """How many results."""
    category: str | None = option(None, "Results")
    """Search this category alone."""
    without: tuple[str, ...] = option((), "Results")
    """Id that is never a result; can be given more than once."""
    copies: bool = option(False, "Results")
    """Show near-copies as results of their own, in place of folded into the better one."""
    html: Path | None = option(None, "Results", writes="page")
    """Write the results with their photos to this HTML file, which needs no network."""
    json: bool = option(False, "Results")
    """Print the results as JSON, and nothing else."""
    overwrite: bool = option(False, "Results")
    """Replace an HTML file that exists."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from _outside(self, 1, 1000, "top")
        yield from _outside(self, 0, 1, "weight")
        if not (self.image or self.text or self.like):
            yield "nothing to search for: pass `image`, `text`, or both"
        if self.weight is not None and not (self.image and self.text):
            yield "`weight` weighs `text` against `image`: pass both, or leave it out"


@dataclass(frozen=True, kw_only=True)
class ServeConfig(GalleryConfig):
    """Serve a page and a JSON API that search a gallery."""

    other: Path | None = option(None, "Input", argument=True)
    """A second run, to compare with the first side by side."""
    host: str = option("127.0.0.1", "Server")
    """Address to listen at; only this machine reaches the default."""
    port: int = option(7860, "Server")
    """Port to listen at; 0 takes a free one."""
    hostname: tuple[str, ...] = option((), "Server")
    """A name that requests may be addressed to, as a proxy in front passes it on; can be given more
    than once. On the default address names of this machine are answered as well; on another address
    any name is, unless this names the only ones."""
    queue: int = option(256, "Server")
    """Requests that may wait; beyond them the answer is 503 with Retry-After."""
    writable: bool = option(False, "Server")
    """Let requests that carry the token add and remove photos."""
    token_file: Path | None = option(None, "Server")
    """File whose first line is the token; by default the environment variable CIR_TOKEN is."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from _outside(self, 0, 65535, "port")
        yield from _below(self, 1, "queue")
        for name in self.hostname:
            if not name or "*" in name:
                yield f"`hostname` is {name!r}; expected a name without wildcards"
        if self.token_file is not None and not self.writable:
            yield "`token_file` is of no use without `writable`"


@dataclass(frozen=True, kw_only=True)
class PushConfig(Config):
    """Fill a collection in Milvus with the vectors of a store, for search and serve to search."""

    store: Path = required("Input")
    """Embedding store, or a dataset folder with its store beside it."""
    to: str = required("Output")
    """Collection to fill: milvus://HOST:PORT/COLLECTION, or milvus:///path/to/FILE.db/COLLECTION
    for Milvus Lite, which keeps it in one file. It then holds the photos of the store and no
    others; one that cir did not make is refused."""
    dataset: Path | None = option(None, "Input")
    """Dataset folder that names the photos' categories; found beside the store by default."""
    kind: MilvusKind | None = option(None, "Output")
    """How Milvus searches the collection: flat compares with every vector, which is exact and the
    default; ivf and hnsw are for millions, and their recall is measured and told. Milvus Lite has
    no hnsw."""
    overwrite: bool = option(False, "Output")
    """Fill a collection that holds other photos, none of which is in the store."""

    def faults(self) -> Iterator[str]:
        yield from _no_address(self.to, "to")


@dataclass(frozen=True, kw_only=True)
class DemoConfig(Config):
    """Run the whole pipeline on synthetic garments and write an illustrated report."""

    out: Path = option(Path("runs/demo"), "Files", writes="demo")
    """Folder of everything the demo makes."""
    images: int = option(3000, "Size")
    """Synthetic images, in FashionIQ's proportions of categories."""
    epochs: int = option(3, "Size")
    """Epochs, each followed by mining again."""
    seed: int = option(0, "Size")
    """Seed of data, mining and training."""
    overwrite: bool = option(False, "Files")
    """Replace a demo that exists."""

    @property
    def goes_on(self) -> bool:
        """Whether the demo may be there already, to be gone on with."""
        return not self.overwrite

    def faults(self) -> Iterator[str]:
        yield from _below(self, 300, "images")
        yield from _below(self, 1, "epochs")
        yield from _outside(self, 0, _LARGEST_SEED, "seed")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(Config):
    """Train cir-tiny, the bundled encoder, from scratch on a catalogue and synthetic garments."""

    catalog: Path = required("Files")
    """Dataset folder of `cir data from-catalog`; only its train split is seen."""
    synthetic: Path | None = option(None, "Files")
    """Dataset folder of `cir data synth`; only its train split is seen."""
    out: Path = required("Files", writes="weights")
    """16-bit safetensors file to write."""
    epochs: int = option(30, "Optimisation")
    """Passes over the images."""
    batch_size: int = option(256, "Optimisation")
    """Image-text pairs a step."""
    learning_rate: float = option(1e-3, "Optimisation")
    """AdamW's peak learning rate."""
    weight_decay: float = option(0.1, "Optimisation")
    """AdamW's decoupled weight decay."""
    seed: int = option(0, "Optimisation")
    """Seed of weights, batches and augmentation."""
    device: Device = option("auto", "Machine")
    """auto takes the GPU where there is one."""
    workers: int | None = option(None, "Machine")
    """Processes that decode images; one a core, at most 8, by default."""
    overwrite: bool = option(False, "Files")
    """Replace a weight file that exists."""

    def faults(self) -> Iterator[str]:
        yield from _below(self, 1, "epochs")
        yield from _below(self, 2, "batch_size")
        yield from _below(self, 0, "workers")
        yield from _outside(self, 0, _LARGEST_SEED, "seed")
        yield from _outside(self, 0, _LARGEST_DECAY, "weight_decay")
        yield from _not_positive(self, "learning_rate")


def scope_shares(options: MiningOptions) -> tuple[tuple[Scope, float, Band], ...]:
    """Category-aware mining's (scope, share, wanted kind), in the order they are filled."""
    return (
        ("same-category", options.same_share, options.same_kind),
        ("other-category", options.other_share, options.other_kind),
        ("any", options.any_share, options.any_kind),
    )
