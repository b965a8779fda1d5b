"""What each artefact is called: its files and folders, and the keys by which a file is known.

Who writes an artefact and who recognises it (`cir.disk.recognition`) take the names from here.
"""

from typing import Final

MANIFEST_KEY: Final = b"cir.manifest"
PAIRS_KEY: Final = b"cir.pairs"
EXAMPLES_KEY: Final = b"cir.export"
RANKS_KEY: Final = b"cir.evaluation"
TRAINED_KEY: Final = b"cir.trained"
"""Keys of the Parquet metadata of each artefact."""
MADE_BY_KEY: Final = "made_by"
PRETRAIN: Final = "cir pretrain"
"""What weights of cir-tiny say of themselves in their header."""

RUN_FILE: Final = "config.json"
"""The configuration in a run folder."""
METRICS_FILE: Final = "metrics.jsonl"
TIMES_FILE: Final = "times.jsonl"
TRAINED_FILE: Final = "trained.parquet"
REPORT_FILE: Final = "report.html"
"""The page in the folder of a run, or of a demo."""
EVALUATED_FILES: Final = ("val.json", "test.json")
"""Figures that are kept in a run folder."""
MANIFESTS: Final = "manifests"
CHECKPOINTS: Final = "checkpoints"
"""Folder of a run that holds its checkpoints."""
BEST: Final = "best"
LAST: Final = "last"
TENSORBOARD: Final = "tensorboard"
"""A tracker's name, and the folder of its events in a run."""
WANDB: Final = "wandb"
"""A tracker's name, and the folder of its files in a run."""
WANDB_ID: Final = "run-id"
"""The file that holds the id under which Weights & Biases goes on with a resumed run."""
RUN_NAMES: Final = (
    *(RUN_FILE, METRICS_FILE, TIMES_FILE, TRAINED_FILE, REPORT_FILE, *EVALUATED_FILES),
    *(MANIFESTS, CHECKPOINTS, TENSORBOARD, WANDB),
)
"""What a run folder holds."""

COMBINER_FILE: Final = "combiner.safetensors"
CLIP_FILE: Final = "clip.safetensors"
TRAINER_FILE: Final = "trainer.pt"
METADATA_FILE: Final = "metadata.json"
CHECKPOINT_NAMES: Final = (COMBINER_FILE, CLIP_FILE, TRAINER_FILE, METADATA_FILE)
"""What a checkpoint holds."""

CAPTIONS: Final = "captions"
IMAGE_SPLITS: Final = "image_splits"
IMAGES: Final = "images"
CATALOG_RECORDS: Final = "catalog.json"
SYNTHETIC_RECORDS: Final = "synthetic.json"
RECORD_FILES: Final = (CATALOG_RECORDS, SYNTHETIC_RECORDS)
"""The files of a dataset folder that hold each photo's title and attributes, of whoever made it."""
RECORD_KEY: Final = "photos"
"""Key of the records by photo in them."""
LEFT_OUT_FILE: Final = "left_out.json"
"""The file of a dataset without what was missing: what it was made from, and without what."""
ADDED_FILE: Final = "added.json"
"""The file of a dataset folder that says which queries were added, the latest addition last."""
MERGED_FILE: Final = "merged.json"
"""The file of a merged dataset that says what it was made of."""
POINTER_SUFFIX: Final = ".remote"
"""Ending of the name of a file that names photos elsewhere, in any case."""
POINTER: Final = f"photos{POINTER_SUFFIX}"
"""The name that cir gives one."""

DEMO_FILE: Final = "demo.json"
DEMO_DATASET: Final = "dataset"
DEMO_EMBEDDINGS: Final = "embeddings.h5"
DEMO_MANIFEST: Final = "manifest.parquet"
DEMO_RUN: Final = "run"
DEMO_NAMES: Final = (
    *(DEMO_FILE, DEMO_DATASET, DEMO_EMBEDDINGS, DEMO_MANIFEST, DEMO_RUN, REPORT_FILE),
)
"""What a demo's folder holds."""
