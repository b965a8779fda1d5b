"""The configuration of every stage, as frozen dataclasses: the one home of every default.

Each field's docstring is its help on the command line, which is built from these classes. The
faults of a configuration are all found when it is made and raised together.

    base    what every configuration does
    faults  the faults that they share
    values  what options may be; names, paths and limits of several stages
    data, embedding, mining, training, pretraining, evaluation, search, demo
            the configurations of the stages
"""

from cir.config.base import Config, choices, option, required
from cir.config.data import (
    AddQueriesConfig,
    CaptionPairsConfig,
    CatalogConfig,
    CheckConfig,
    FolderConfig,
    MergeConfig,
    SynthConfig,
)
from cir.config.demo import DemoConfig
from cir.config.embedding import EmbedConfig, EncoderConfig
from cir.config.evaluation import EvaluateConfig, InspectConfig, ReportConfig
from cir.config.mining import (
    ExportConfig,
    MineConfig,
    MiningOptions,
    scope_shares,
    unused_by_bands,
    unused_by_sampling,
)
from cir.config.pretraining import PretrainConfig
from cir.config.search import GalleryConfig, PushConfig, SearchConfig, ServeConfig
from cir.config.training import COLDEST, TrainConfig
from cir.config.values import (
    APPROXIMATE_INDEXES,
    DATASET,
    EMBEDDINGS,
    EXACT_PHOTOS,
    EXPORT_SUFFIXES,
    LARGEST_SEED,
    MANIFEST,
    MODEL,
    PREPROCESS,
    PROPOSED,
    PROPOSED_USES,
    RUN,
    SEARCH_INDEXES,
    SEEDS,
    STORE_SUFFIX,
    TINY,
    CaptionRule,
    CombinerName,
    Device,
    EmbedEngine,
    ExportFormat,
    GalleryName,
    Index,
    IndexKind,
    LinkMode,
    MilvusKind,
    OnError,
    OnStarved,
    Precision,
    Preprocess,
    ReferenceRule,
    SearchIndexName,
    Tracker,
    Tune,
)

__all__ = [
    "APPROXIMATE_INDEXES",
    "COLDEST",
    "DATASET",
    "EMBEDDINGS",
    "EXACT_PHOTOS",
    "EXPORT_SUFFIXES",
    "LARGEST_SEED",
    "MANIFEST",
    "MODEL",
    "PREPROCESS",
    "PROPOSED",
    "PROPOSED_USES",
    "RUN",
    "SEARCH_INDEXES",
    "SEEDS",
    "STORE_SUFFIX",
    "TINY",
    "AddQueriesConfig",
    "CaptionPairsConfig",
    "CaptionRule",
    "CatalogConfig",
    "CheckConfig",
    "CombinerName",
    "Config",
    "DemoConfig",
    "Device",
    "EmbedConfig",
    "EmbedEngine",
    "EncoderConfig",
    "EvaluateConfig",
    "ExportConfig",
    "ExportFormat",
    "FolderConfig",
    "GalleryConfig",
    "GalleryName",
    "Index",
    "IndexKind",
    "InspectConfig",
    "LinkMode",
    "MergeConfig",
    "MilvusKind",
    "MineConfig",
    "MiningOptions",
    "OnError",
    "OnStarved",
    "Precision",
    "Preprocess",
    "PretrainConfig",
    "PushConfig",
    "ReferenceRule",
    "ReportConfig",
    "SearchConfig",
    "SearchIndexName",
    "ServeConfig",
    "SynthConfig",
    "Tracker",
    "TrainConfig",
    "Tune",
    "choices",
    "option",
    "required",
    "scope_shares",
    "unused_by_bands",
    "unused_by_sampling",
]
