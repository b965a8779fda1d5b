"""Trains, evaluates and loads on the CPU and on the pretend device, and writes what each gave.

python -m tests.support.pretend_training DATASET FOLDER
"""

import dataclasses
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final, get_args
from unittest import mock

import torch
from accelerate import Accelerator

import cir
from cir.artefacts.store import Embeddings
from cir.config import CaptionRule, GalleryName, ReferenceRule
from cir.data.dataset import Dataset
from cir.encoding.encoder import Encoder
from cir.evaluation.evaluator import Evaluator
from cir.evaluation.protocol import Protocol
from cir.evaluation.query_rows import query_rows
from cir.models.composer import load_composer
from cir.training import builders, trainer
from cir.training.step import Learner
from cir.training.train import train
from tests.support import pretend_device
from tests.support.micro import micro_encoder
from tests.support.mined import random_manifest
from tests.support.runs import config_of, encoded_by, metrics, tower_rate

CPU = torch.device("cpu")
ASKED: Final[dict[str, dict[str, Any]]] = {
    "attention-fusion": {"combiner": "attention-fusion"},
    "terms": {
        "loss": "0.5*triplet+contrastive",
        "contrast": "batch+bank+mined+reference",
        "other_targets": "positive",
        "learn_temperature": True,
        "ema": 0.8,
        "batch_size": 8,
        "epochs": 2,
    },
    "online": {"online_top_k": 4},
    "trust": {"weighting": "trust", "epochs": 2},
    "hardness": {
        "weighting": "hardness",
        "loss": "contrastive",
        "contrast": "batch+mined",
        "guide_threshold": 0.2,
        "online_top_k": 3,
    },
    "text": {"tune": "text"},
    "image": {"tune": "image"},
    "both": {"tune": "both", "epochs": 2},
    "in chunks": {"tune": "both", "encode_batch": 8},
}
"""Settings by the name of the run that is trained with them."""


def main(dataset: Dataset, folder: Path) -> None:
    embeddings = encoded_by(micro_encoder(), dataset)
    found = {
        name: {
            "here": trained(dataset, embeddings, folder / name / "here", settings),
            "away": trained_away(dataset, embeddings, folder / name / "away", settings),
        }
        for name, settings in ASKED.items()
    }
    run = folder / "image" / "here"
    for name, work in (("evaluated", evaluated), ("loaded", loaded)):
        found[name] = {"here": work(dataset, embeddings, run, CPU)}
        with pretend_device.pretended() as device:
            found[name]["away"] = work(dataset, embeddings, run, device)
    (folder / "found.json").write_text(json.dumps(found))


def trained(
    dataset: Dataset, embeddings: Embeddings, out: Path, settings: dict[str, Any]
) -> list[Any]:
    """The loss and the recalls on dev of each epoch."""
    given = {"combiner": "gated-sum", "epochs": 1, "batch_size": 24}
    given |= tower_rate(1e-3, **settings) | settings
    with mock.patch("cir.encoding.loading.load_encoder", _micro):
        train(config_of(out, **given), dataset, embeddings, random_manifest(dataset, embeddings))
    return [[line["loss"], line["dev"]] for line in metrics(out)]


def trained_away(
    dataset: Dataset, embeddings: Embeddings, out: Path, settings: dict[str, Any]
) -> dict[str, Any]:
    """The same on the pretend device, and how often each step waited for it."""
    waits: list[Counter[str]] = []
    with (
        pretend_device.pretended() as device,
        mock.patch.object(trainer, "pick_device", return_value=device),
        mock.patch.object(trainer, "build_accelerator", _accelerator),
        mock.patch.object(Learner, "losses", _before(waits, Learner.losses)),
        mock.patch.object(Learner, "update", _after(waits, Learner.update)),
    ):
        lines = trained(dataset, embeddings, out, settings)
    return {"lines": lines, "waits": [dict(step) for step in waits]}


def evaluated(
    dataset: Dataset, embeddings: Embeddings, run: Path, device: torch.device
) -> list[Any]:
    """Every rank, and the images retrieved first, under each protocol; half the images are copies
    of others, so that there are ties."""
    vectors = embeddings.images.vectors.copy()
    vectors[1::2] = vectors[: len(vectors) // 2 * 2 : 2]
    images = dataclasses.replace(embeddings.images, vectors=vectors)
    embeddings = dataclasses.replace(embeddings, images=images)
    protocols = [
        Protocol("val", gallery, reference, captions)
        for gallery in get_args(GalleryName)
        if gallery != "all"
        for reference in get_args(ReferenceRule)
        for captions in get_args(CaptionRule)
    ]
    evaluator = Evaluator(
        dataset.queries("val"),
        dataset.galleries("val"),
        embeddings,
        protocols,
        device=device,
    )
    return [
        query_rows(ranks)
        for ranks in evaluator.judge(embeddings, load_composer(run).combiner, listed=5)
    ]


def loaded(
    dataset: Dataset, embeddings: Embeddings, run: Path, device: torch.device
) -> dict[str, Any]:
    """Vectors of photos, of texts and of queries by `cir.load`."""
    files = [dataset.image_path(image_id) for image_id in embeddings.images.keys[:5]]
    texts = ["is red", "has long sleeves and a collar", "is a", "b", "c"]
    with (
        mock.patch("cir.search.retriever.pick_device", return_value=device),
        mock.patch("cir.encoding.loading.load_encoder", _micro),
    ):
        retriever = cir.load(run)
    images, words = retriever.encode_images(files, workers=0), retriever.encode_texts(texts)
    given = {"images": images, "texts": words, "queries": retriever.compose(images, words)}
    return {name: vectors.tolist() for name, vectors in given.items()}


def _micro(*_: object, device: torch.device, **__: object) -> Encoder:
    return micro_encoder(device=device)


def _accelerator(run: Path, device: torch.device, precision: str) -> Accelerator:
    accelerator = builders.build_accelerator(run, torch.device("cpu"), precision)
    accelerator.state.device = device
    return accelerator


def _before(waits: list[Counter[str]], losses: Any) -> Any:
    def counted(*given: Any) -> Any:
        waits.append(Counter(pretend_device.WAITS))
        return losses(*given)

    return counted


def _after(waits: list[Counter[str]], update: Any) -> Any:
    def counted(*given: Any) -> Any:
        rate = update(*given)
        waits[-1] = pretend_device.WAITS - waits[-1]
        return rate

    return counted


if __name__ == "__main__":
    main(Dataset(Path(sys.argv[1])), Path(sys.argv[2]))
