"""What options may be, and the names, paths and limits that several stages share."""

from pathlib import Path
from typing import Final, Literal, get_args

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
Preprocess = Literal["targetpad", "squarepad", "clip"]
OnError = Literal["fail", "skip"]
OnStarved = Literal["nearest", "random", "drop", "fail"]
IndexKind = Literal["ivf", "hnsw", "ivfpq"]
"""Inverted lists of vectors, a navigable graph, or inverted lists of short codes."""
Index = Literal["auto", "flat", "faiss", IndexKind]
"""Of mining."""
SearchIndexName = Literal["auto", "flat", IndexKind]
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
EXPORT_SUFFIXES = (".parquet", ".jsonl")
STORE_SUFFIX: Final = ".h5"
PROPOSED, PROPOSED_USES = 1000, 2
SEEDS: Final = 2**63
"""How many there are, from 0 on."""
APPROXIMATE_INDEXES: Final[tuple[IndexKind, ...]] = get_args(IndexKind)
SEARCH_INDEXES: Final[tuple[SearchIndexName, ...]] = get_args(SearchIndexName)
EXACT_PHOTOS: Final = 250_000
"""Photos up to which a search under `auto` compares every vector: some 20 ms of one core."""
LARGEST_SEED: Final = SEEDS - 1
LARGEST_DECAY = 1e6
TINY = "cir-tiny"
"""The bundled encoder's name."""
MODEL: Final = "RN50x4"
"""The encoder where none is named."""
PREPROCESS: Final[Preprocess] = "targetpad"
"""How photos are prepared where nothing is said."""
