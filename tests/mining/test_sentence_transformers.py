"""sentence-transformers itself as the judge: its miner, its data sets, its trainer and losses."""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cir.artefacts.manifest import Manifest, write_manifest
from cir.artefacts.vectors import normalised
from cir.config import ExportConfig, ExportFormat
from cir.data.dataset import Dataset
from cir.mining import as_columns, mine_negatives
from pipeline.export import run
from tests.support.accelerate_state import no_accelerate_state
from tests.support.mined import random_manifest
from tests.support.worlds import random_embeddings

pytestmark = pytest.mark.slow

DIM = 12
QUERIES = [f"q{number}" for number in range(40)]
CORPUS = [f"d{number}" for number in range(90)]
NEGATIVES = 5
FAR = 0.7
"""A margin beyond which some queries have too few."""
FORMS: tuple[ExportFormat, ...] = ("triplet", "n-tuple", "labeled-pair")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a test asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refused)


def vectors(seed: int = 51) -> tuple[np.ndarray, np.ndarray, list[list[int]]]:
    """Queries near their one to three answers, none at more than a right angle, among a corpus."""
    rng = np.random.default_rng(seed)
    corpus = rng.standard_normal((len(CORPUS), DIM))
    answers = [
        sorted(rng.choice(len(CORPUS), 1 + number % 3, replace=False).tolist())
        for number in range(len(QUERIES))
    ]
    near = np.stack([corpus[rows].mean(axis=0) for rows in answers])
    return near + rng.standard_normal(near.shape) / 2, corpus, answers


def encoder(words: Sequence[str], table: np.ndarray) -> Any:
    """A SentenceTransformer that knows a vector for each of some words."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    vocabulary = {word: row for row, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=words[0]))
    weights = torch.from_numpy(table.astype(np.float32))
    module = StaticEmbedding(tokenizer, embedding_weights=weights)
    return SentenceTransformer(modules=[module], device="cpu")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({}, {"strategy": "nearest"}),
        ({"absolute_margin": 0.1}, {"strategy": "easy", "margin": 0.1}),
        ({"absolute_margin": FAR}, {"strategy": "easy", "margin": FAR}),
        ({"relative_margin": 0.3}, {"strategy": "nearest", "relative_margin": 0.3}),
        ({"max_score": 0.2}, {"strategy": "nearest", "max_similarity": 0.2}),
        ({"range_min": 7}, {"strategy": "nearest", "range_min": 7}),
    ],
    ids=str,
)
def test_where_the_definitions_coincide_the_negatives_are_those_of_mine_hard_negatives(
    theirs: dict[str, Any], ours: dict[str, Any], form: ExportFormat
) -> None:
    from datasets import Dataset as Pairs
    from sentence_transformers.util import mine_hard_negatives

    queries, corpus, answers = vectors()
    pairs = {
        "anchor": [q for q, own in zip(QUERIES, answers, strict=True) for _ in own],
        "positive": [CORPUS[row] for own in answers for row in own],
    }
    expected = mine_hard_negatives(
        Pairs.from_dict(pairs),
        encoder(QUERIES + CORPUS, np.concatenate([queries, corpus])),
        corpus=CORPUS,
        range_max=len(CORPUS),
        num_negatives=NEGATIVES,
        output_format=form,
        verbose=False,
        **theirs,
    )
    mined = mine_negatives(
        queries, answers, corpus, num_negatives=NEGATIVES, duplicate_threshold=1.01, **ours
    )
    assert as_columns(mined, QUERIES, answers, CORPUS, form) == expected.to_dict()
    starving = theirs.get("absolute_margin") == FAR
    assert mined.starved.any() == starving, "the case does not show what it is here for"


@no_accelerate_state()
def trained(model: Any, examples: Any, name: str, folder: Path) -> list[float]:
    """The losses of two steps of the trainer, each over all examples."""
    from sentence_transformers import (
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer import losses

    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder / "run"),
        per_device_train_batch_size=len(examples),
        max_steps=2,
        learning_rate=0.01,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=examples, loss=getattr(losses, name)(model)
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def loss_by_hand(name: str, columns: dict[str, list[Any]], vector_of: dict[str, Any]) -> float:
    """Each loss from its own definition, with that library's default parameters."""
    named = {name: words for name, words in columns.items() if name != "label"}
    rows = {name: np.stack([vector_of[word] for word in words]) for name, words in named.items()}
    anchor, positive = rows.pop("anchor"), rows.pop("positive")
    if name == "TripletLoss":
        near = np.linalg.norm(anchor - positive, axis=1)
        far = np.linalg.norm(anchor - rows["negative"], axis=1)
        return float(np.maximum(near - far + 5, 0).mean())
    others = normalised(np.concatenate([positive, *rows.values()]), "others")
    cosines = normalised(anchor, "anchors") @ others.T
    if name == "MultipleNegativesRankingLoss":
        scores = torch.from_numpy(20 * cosines)
        return float(nn.functional.cross_entropy(scores, torch.arange(len(anchor))))
    distance, label = 1 - np.diag(cosines), np.array(columns["label"])
    squares = label * distance**2 + (1 - label) * np.maximum(0.5 - distance, 0) ** 2
    return float(squares.mean() / 2)


@pytest.mark.parametrize(
    ("form", "loss"),
    [
        ("triplet", "TripletLoss"),
        ("n-tuple", "MultipleNegativesRankingLoss"),
        ("labeled-pair", "ContrastiveLoss"),
    ],
)
def test_its_trainer_takes_the_columns_for_what_they_are(
    form: ExportFormat, loss: str, tmp_path: Path
) -> None:
    from datasets import Dataset as Pairs

    queries, corpus, answers = vectors()
    mined = mine_negatives(queries, answers, corpus, margin=0.7, num_negatives=3)
    columns = as_columns(mined, QUERIES, answers, CORPUS, form)
    words, table = QUERIES + CORPUS, np.concatenate([queries, corpus]).astype(np.float32)
    model = encoder(words, table)
    first, second = trained(model, Pairs.from_dict(columns), loss, tmp_path)
    expected = loss_by_hand(loss, columns, dict(zip(words, table, strict=True)))
    assert first == pytest.approx(expected, rel=1e-3)
    assert np.isfinite(second)
    assert second < first
    moved = np.abs(model[0].embedding.weight.detach().numpy() - table).max(axis=1) > 0
    assert moved[[words.index(word) for word in columns["anchor"]]].all()


def seeing_encoder() -> Any:
    """A SentenceTransformer of photos, alone or with a text; it opens each photo."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules.input_module import InputModule

    class Seeing(InputModule):
        modalities = ("image", ("image", "text"))

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, DIM)

        def preprocess(self, inputs: Sequence[Any], **_: object) -> dict[str, torch.Tensor]:
            colours = [np.asarray(Image.open(one["image"]).resize((1, 1)))[0, 0] for one in inputs]
            lengths = [[len(one.get("text", ""))] for one in inputs]
            pixels = np.concatenate([np.stack(colours) / 255, lengths], axis=1)
            return {"pixel_values": torch.from_numpy(pixels.astype(np.float32))}

        def forward(self, features: dict[str, Any]) -> dict[str, Any]:
            return features | {"sentence_embedding": self.layer(features["pixel_values"])}

        def get_embedding_dimension(self) -> int:
            return DIM

        def save(self, *_: object, **__: object) -> None:
            raise NotImplementedError

    return SentenceTransformer(modules=[Seeing()], device="cpu")


@pytest.mark.parametrize(
    ("form", "loss"),
    [
        ("triplet", "TripletLoss"),
        ("n-tuple", "MultipleNegativesRankingLoss"),
        ("labeled-pair", "ContrastiveLoss"),
    ],
)
@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_an_exported_manifest_trains_an_encoder_of_photos_and_texts(
    dataset: Dataset, form: ExportFormat, loss: str, suffix: str, tmp_path: Path
) -> None:
    from datasets import Dataset as Examples
    from sentence_transformers.base.modality import infer_batch_modality

    manifest: Manifest = random_manifest(dataset, random_embeddings(dataset))
    write_manifest(manifest, tmp_path / "manifest.parquet")
    out = run(
        ExportConfig(
            manifest=tmp_path / "manifest.parquet",
            dataset=dataset.root,
            out=tmp_path / f"examples.{suffix}",
            format=form,
            num_negatives=2,
        )
    )
    read = Examples.from_parquet if suffix == "parquet" else Examples.from_json
    examples = read(str(out), cache_dir=str(tmp_path / "cache"))
    assert infer_batch_modality(examples["anchor"]) == ("image", "text")
    assert infer_batch_modality(examples["positive"]) == "image"
    model = seeing_encoder()
    before = model[0].layer.weight.detach().clone()
    losses = trained(model, examples, loss, tmp_path)
    assert len(losses) == 2
    assert np.isfinite(losses).all()
    assert not torch.equal(model[0].layer.weight, before)
