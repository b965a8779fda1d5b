"""Whole runs on small worlds: what they write, what they move, and what they refuse."""

import dataclasses
import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch

from cir.artefacts.checkpoint import read_checkpoint, read_trainer
from cir.artefacts.manifest import read_manifest
from cir.artefacts.trained import write_trained
from cir.config import TINY
from cir.data.captions import joined, variants
from cir.disk import locks
from cir.disk.locks import held
from cir.disk.recognition import MARKER, is_marked
from cir.encoding.clip.bundled import BUNDLED
from cir.encoding.embedding import caption_vectors, image_vectors
from cir.errors import (
    CheckpointError,
    ConfigError,
    DatasetError,
    ImageError,
    ManifestError,
    StoreError,
    UsageError,
)
from cir.evaluation.evaluator import Evaluator
from cir.models.composer import load_composer
from cir.names import TRAINED_FILE
from cir.training import trainer
from cir.training.hold_out import hold_out
from cir.training.step import Learner
from cir.training.train import train
from tests.support.folders import contents
from tests.support.micro import micro_encoder
from tests.support.mined import random_manifest
from tests.support.runs import (
    EPOCHS,
    SETTINGS,
    assert_same,
    config_of,
    metrics,
    run,
    state,
    tower_rate,
    weights,
)


def test_writes_exactly_the_files_of_the_contract(straight):
    files = {str(file.relative_to(straight)) for file in straight.rglob("*") if file.is_file()}
    events = {file for file in files if file.startswith("tensorboard/events.out.tfevents")}
    checkpoint = (MARKER, "combiner.safetensors", "metadata.json", "trainer.pt")
    assert len(events) == 1
    assert files - events == {
        MARKER,
        "config.json",
        "metrics.jsonl",
        "times.jsonl",
        "trained.parquet",
        *(f"manifests/epoch-{epoch:03d}.parquet" for epoch in range(EPOCHS + 1)),
        *(f"checkpoints/{name}/{file}" for name in ("best", "last") for file in checkpoint),
    }
    assert list(straight.parent.iterdir()) == [straight]


def test_the_first_manifest_is_the_given_one_without_dev(straight, dataset, embeddings):
    given = random_manifest(dataset, embeddings)
    first = read_manifest(straight / "manifests/epoch-000.parquet")
    kept, dev = hold_out(dataset.queries("train"), 0.25, 0)
    assert set(first.query_ids) == {query.id for query in kept}
    assert not set(first.query_ids) & {query.id for query in dev}
    rows = [given.query_ids.index(query_id) for query_id in first.query_ids]
    assert first.negative_ids == given.subset(np.array(rows)).negative_ids
    later = read_manifest(straight / "manifests/epoch-002.parquet")
    assert (later.metadata.epoch, later.metadata.query) == (2, "combiner")
    again = {**given.metadata.options, "seed": given.metadata.seed + 2}
    assert later.metadata.options == again


@pytest.mark.slow
def test_every_epoch_is_told_as_it_is_written(tmp_path, dataset, embeddings):
    told = []
    out = run(tmp_path / "run", dataset, embeddings, on_epoch=told.append, epochs=1)
    times = [json.loads(line) for line in (out / "times.jsonl").read_text().splitlines()]
    assert told == [line | took for line, took in zip(metrics(out), times, strict=True)]
    assert [took["epoch"] for took in times] == [0, 1]
    for took in times:
        assert took["seconds"] >= sum(took["parts"].values()) - 1e-2
        assert set(took["parts"]) == {"train", "embed", "evaluate", "mine"}
    assert times[1]["parts"]["train"] > 0


def test_metrics_say_what_the_contract_says(straight):
    lines = metrics(straight)
    assert [line["epoch"] for line in lines] == list(range(EPOCHS + 1))
    recalls = {"R@1", "R@5", "R@10", "R@50", "headline"}
    kinds = {"hard", "semi-hard", "easy"}
    for line in lines:
        assert set(line["dev"]) == recalls
        assert set(line["manifest"]) == kinds | {"target_distance", "negative_distance", "starved"}
        assert sum(line["manifest"][kind] for kind in kinds) == pytest.approx(1)
        assert (line["loss"] is None) == (line["epoch"] == 0)
        assert ("sum" in line) == (line["epoch"] == 0)
    assert set(lines[0]["sum"]) == recalls
    last = lines[-1]
    assert last["loss"] == pytest.approx(10 * last["triplet"] + last["contrastive"])
    assert lines[-1]["learning_rate"] == pytest.approx(0)


def test_each_manifest_is_mined_with_the_checkpoint_it_names(straight):
    last = read_manifest(straight / f"manifests/epoch-{EPOCHS:03d}.parquet")
    assert last.metadata.checkpoint_sha256 == read_checkpoint(straight / "checkpoints/last").sha256


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"remine": False}, {"online_top_k": 5}])
def test_without_mining_again_there_is_one_manifest(tmp_path, dataset, embeddings, changes):
    out = run(tmp_path / "run", dataset, embeddings, epochs=1, **changes)
    assert [file.name for file in (out / "manifests").iterdir()] == ["epoch-000.parquet"]
    assert [line["manifest"] is None for line in metrics(out)] == [False, True]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "absent"), [("triplet", "contrastive"), ("contrastive", "triplet")]
)
def test_a_term_that_is_not_trained_is_null(tmp_path, dataset, embeddings, loss, absent):
    line = metrics(run(tmp_path / "run", dataset, embeddings, loss=loss, epochs=1))[-1]
    assert line[absent] is None
    assert line["loss"] == line[loss]


@pytest.mark.slow
def test_the_widths_of_the_combiner_are_asked_for_and_recorded(tmp_path, dataset, embeddings):
    asked = {"combiner": "clip4cir", "hidden": 6, "projection": None, "epochs": 1}
    out = run(tmp_path / "run", dataset, embeddings, **asked, remine=False, tracker=("none",))
    metadata = read_checkpoint(out / "checkpoints/last").metadata
    assert (metadata.hidden, metadata.projection) == (6, 4 * embeddings.provenance.embed_dim)
    assert load_composer(out).combiner.hidden == 6


def test_the_best_epoch_is_the_first_of_the_best(straight):
    standings = [(line["dev"]["headline"], line["dev"]["R@1"]) for line in metrics(straight)]
    best = read_checkpoint(straight / "checkpoints/best").metadata
    assert best.epoch == standings.index(max(standings))
    assert (best.dev["headline"], best.dev["R@1"]) == max(standings)


@pytest.mark.slow
def test_a_tie_keeps_the_earlier_epoch(tmp_path, dataset, embeddings):
    out = run(tmp_path / "run", dataset, embeddings, learning_rate=1e-30, weight_decay=0)
    assert len({line["dev"]["headline"] for line in metrics(out)}) == 1
    assert read_checkpoint(out / "checkpoints/best").metadata.epoch == 0
    assert read_checkpoint(out / "checkpoints/last").metadata.epoch == EPOCHS


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("combiner", ["attention-fusion", "clip4cir"])
def test_every_combiner_learns_its_triplets_in_every_precision(
    tmp_path, dataset, embeddings, combiner, precision
):
    changes = {"combiner": combiner, "precision": precision, "loss": "triplet", "epochs": 8}
    lines = metrics(run(tmp_path / "run", dataset, embeddings, remine=False, **changes))
    losses = [line["loss"] for line in lines[1:]]
    assert sum(losses[-3:]) < sum(losses[:3])


@pytest.mark.slow
def test_steps_compute_float32_on_the_way_back_too(tmp_path, dataset, embeddings, monkeypatch):
    """The gradient of a convolution is another one, after the block that computed it."""
    seen, backward = set(), Learner.backward

    def noted(*given):
        seen.add(torch.backends.cudnn.conv.fp32_precision)
        return backward(*given)

    monkeypatch.setattr(Learner, "backward", noted)
    run(tmp_path / "run", dataset, embeddings, remine=False, epochs=1)
    assert seen == {"ieee"}


def test_tf32_needs_a_gpu(tmp_path, dataset, embeddings):
    with pytest.raises(UsageError, match=r"`precision='tf32'` is arithmetic of .* not of cpu"):
        run(tmp_path / "run", dataset, embeddings, precision="tf32")
    assert not (tmp_path / "run").exists()


def test_fp16_needs_cuda(tmp_path, dataset, embeddings):
    message = r"`precision='fp16'` trains on CUDA only, not on cpu; use bf16"
    with pytest.raises(UsageError, match=message):
        run(tmp_path / "run", dataset, embeddings, precision="fp16")
    assert not (tmp_path / "run").exists()


TOWERS = {"none": (), "text": ("text",), "image": ("image",), "both": ("image", "text")}


def tower_of(name: str) -> str:
    if not name.startswith("clip."):
        return "combiner"
    if name.startswith("clip.visual."):
        return "image"
    return "scale" if "logit_" in name else "text"


@pytest.mark.slow
def test_what_is_tuned_by_default_is_recorded_and_resumed(tmp_path, dataset, encoded, encoder):
    """Also a run of a version that tuned nothing by default goes on as it began."""
    origin = dataclasses.replace(encoded.provenance, model=TINY, pretrained=BUNDLED)
    encoder.provenance, store = origin, dataclasses.replace(encoded, provenance=origin)
    tuned = run(tmp_path / "tuned", dataset, store, epochs=1)
    frozen = run(tmp_path / "frozen", dataset, store, epochs=1, tune="none")
    for out, tune in ((tuned, "text"), (frozen, "none")):
        assert json.loads((out / "config.json").read_text())["tune"] == tune
        assert read_checkpoint(out / "checkpoints/best").metadata.tune == tune
        assert run(out, dataset, store, epochs=1, resume=True) == out
    with pytest.raises(ConfigError, match="`tune` is none, the run in"):
        run(tuned, dataset, store, epochs=1, tune="none", resume=True)
    with pytest.raises(ConfigError, match="`layer_decay` is of tuned towers, and none is"):
        run(tmp_path / "other", dataset, encoded, epochs=1, layer_decay=0.5)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("recorded", [{"tune": 7}, {"tune": None}, {}, []], ids=str)
def test_damaged_settings_of_a_run_are_told(tmp_path, straight, dataset, embeddings, recorded):
    out = shutil.copytree(straight, tmp_path / "run")
    whole = json.loads((out / "config.json").read_text())
    damaged = whole | recorded if recorded else recorded
    (out / "config.json").write_text(json.dumps(damaged))
    before = contents(out)
    with pytest.raises(CheckpointError, match=r"config\.json is damaged: "):
        run(out, dataset, embeddings, resume=True)
    with pytest.raises((CheckpointError, ConfigError)):
        run(out, dataset, embeddings, resume=True, tune="none")
    assert contents(out) == before


def test_a_store_without_some_captions_is_refused_before_anything_is_written(
    tmp_path, dataset, embeddings
):
    keys = embeddings.captions.keys[3:]
    captions = dataclasses.replace(
        embeddings.captions, keys=keys, vectors=embeddings.captions.vectors[3:]
    )
    lacking = dataclasses.replace(embeddings, captions=captions)
    with pytest.raises(StoreError, match=r"lacks \d of \d+ wanted rows"):
        run(tmp_path / "run", dataset, lacking)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("tune", TOWERS)
def test_a_step_moves_what_it_should_and_nothing_else(tmp_path, dataset, encoded, encoder, tune):
    before = {f"clip.{n}": t.clone() for n, t in encoder.clip.state_dict().items()}
    first = {}

    def keep(line):
        if line["epoch"] == 0:
            first.update(weights(tmp_path / "run"))

    out = run(
        tmp_path / "run", dataset, encoded, on_epoch=keep, tune=tune, epochs=1,
        **tower_rate(1e-2, tune),
    )  # fmt: skip
    after = before | weights(out)
    moved = {name for name in after if not torch.equal(after[name], (before | first)[name])}
    buffers = {f"clip.{name}" for name, _ in encoder.clip.named_buffers()}
    assert any("running_mean" in name for name in buffers)
    assert not moved & buffers
    assert {tower_of(name) for name in moved} == {"combiner", *TOWERS[tune]}
    parameters = {name for name in after if tower_of(name) in TOWERS[tune]} - buffers
    unmoved = {name for name in parameters - moved if after[name].numel() > 1}
    assert not {name for name in unmoved if "attnpool.k_proj.bias" not in name and
                "token_embedding" not in name and "attn.in_proj" not in name}  # fmt: skip


@pytest.mark.slow
def test_tuning_text_decodes_no_image(tmp_path, dataset, encoded, encoder, monkeypatch):
    def refuse(path):
        raise ImageError(f"{path} was decoded")

    monkeypatch.setattr("cir.data.image_batches.image_bytes", refuse)
    monkeypatch.setattr("cir.data.image_batches.decode_image", refuse)
    run(tmp_path / "run", dataset, encoded, tune="text", epochs=1)
    with pytest.raises(ImageError, match="was decoded"):
        run(tmp_path / "other", dataset, encoded, tune="image", epochs=1)


@pytest.mark.slow
def test_how_towers_are_encoded_changes_nothing_but_rounding(
    tmp_path, dataset, encoded, monkeypatch
):
    """The gradients of the first step agree; later weights need not, for Adam makes a whole step of
    a gradient that is nothing but rounding."""
    steps: list[list[torch.Tensor]] = []
    backward = Learner.backward

    def kept(learner: Learner, *given: object) -> torch.Tensor:
        length = backward(learner, *given)
        steps.append([p.grad * length.clamp(min=1) for p in learner.parameters])
        return length

    monkeypatch.setattr(Learner, "backward", kept)
    monkeypatch.setattr("cir.encoding.loading.load_encoder", lambda *_, **__: micro_encoder())
    plain = run(tmp_path / "plain", dataset, encoded, tune="both", epochs=1, remine=False)
    expected, steps = steps[0], []
    other = run(
        tmp_path / "other", dataset, encoded, tune="both", epochs=1, remine=False,
        encode_batch=5, checkpoint_activations=True,
    )  # fmt: skip
    longest = max(gradient.norm() for gradient in expected)
    assert sum(bool(gradient.any()) for gradient in expected) > 20
    for gradient, direct in zip(steps[0], expected, strict=True):
        assert (gradient - direct).norm() <= 1e-4 * longest
    assert metrics(other)[-1]["loss"] == pytest.approx(metrics(plain)[-1]["loss"], rel=1e-2)


@pytest.mark.slow
def test_a_layer_nearer_the_input_moves_less(tmp_path, dataset, encoded, monkeypatch):
    monkeypatch.setattr("cir.encoding.loading.load_encoder", lambda *_, **__: micro_encoder())
    changes = {"tune": "both", "epochs": 1, "clip_learning_rate": 1e-3, "layer_decay": 0.3}
    tuned = weights(run(tmp_path / "run", dataset, encoded, **changes))
    before = micro_encoder().clip.state_dict()
    towers = [
        ["visual.attnpool.c_proj.bias", "visual.layer4.0.bn3.weight", "visual.layer3.0.bn3.weight"],
        ["text_projection", "transformer.resblocks.0.mlp.c_fc.weight", "positional_embedding"],
    ]
    for names in towers:
        moved = [(tuned[f"clip.{name}"] - before[name]).abs().max().item() for name in names]
        for later, earlier in pairwise(moved):
            assert earlier == pytest.approx(0.3 * later, rel=0.5)


@pytest.mark.slow
def test_the_average_is_judged_and_saved(tmp_path, dataset, embeddings, monkeypatch):
    seen = []
    plain = Evaluator.judge

    def spy(evaluator, now, combiner):
        seen.append({name: t.clone() for name, t in combiner.state_dict().items()})
        return plain(evaluator, now, combiner)

    monkeypatch.setattr(Evaluator, "judge", spy)
    out = run(tmp_path / "run", dataset, embeddings, epochs=2, ema=0.99)
    saved = read_checkpoint(out / "checkpoints/last").combiner
    assert all(torch.equal(saved[name], seen[-1][name]) for name in saved)
    raw = read_trainer(out / "checkpoints/last")["average"]["others"]
    without = read_checkpoint(
        run(tmp_path / "other", dataset, embeddings, epochs=2, remine=False) / "checkpoints/last"
    ).combiner
    with_average = run(tmp_path / "same", dataset, embeddings, epochs=2, remine=False, ema=0.99)
    themselves = read_trainer(with_average / "checkpoints/last")["average"]["others"]
    assert len(raw) == len(saved)
    assert {t.sum().item() for t in themselves} == {t.sum().item() for t in without.values()}
    assert {t.sum().item() for t in raw} != {t.sum().item() for t in saved.values()}


@pytest.mark.slow
def test_dev_and_mining_see_the_tuned_vectors(tmp_path, dataset, encoded, encoder, monkeypatch):
    seen = []
    plain = Evaluator.judge

    def spy(evaluator, now, combiner):
        seen.append(now)
        return plain(evaluator, now, combiner)

    monkeypatch.setattr(Evaluator, "judge", spy)
    run(tmp_path / "run", dataset, encoded, tune="both", epochs=1, clip_learning_rate=1e-2)
    now, (_, dev) = seen[-1], hold_out(dataset.queries("train"), SETTINGS["dev_fraction"], seed=0)
    image_id, text = dev[0].target_id, joined(dev[0].captions)
    with torch.inference_mode():
        image = image_vectors(encoder, [dataset.image_path(image_id)], batch_size=1, workers=0)
        caption = caption_vectors(encoder, [text], batch_size=1)
    np.testing.assert_allclose(now.images.take([image_id]), image, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(now.captions.take([text]), caption, rtol=1e-3, atol=1e-4)
    assert not np.allclose(encoded.images.take([image_id]), image, rtol=1e-3, atol=1e-4)
    assert not np.allclose(encoded.captions.take([text]), caption, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_only_texts_that_the_captions_stand_for_are_trained_on(
    tmp_path, dataset, encoded, encoder, monkeypatch
):
    drawn = []
    plain = trainer.draw_batches
    monkeypatch.setattr(
        trainer,
        "draw_batches",
        lambda *a, **k: drawn.append((a[0], plain(*a, **k))) or drawn[-1][1],
    )
    run(tmp_path / "run", dataset, encoded, epochs=2)
    by_id = {query.id: query for query in dataset.queries("train")}
    for rows, batches in drawn:
        for batch in batches:
            for query, text in zip(batch.queries, batch.text, strict=True):
                captions = by_id[rows.query_ids[query]].captions
                assert encoded.captions.keys[text] in variants(captions)


def test_the_encoder_to_tune_is_that_of_the_store(tmp_path, dataset, embeddings, encoder):
    with pytest.raises(StoreError, match=r"come from different encoders: model micro-resnet"):
        run(tmp_path / "run", dataset, embeddings, tune="text")
    assert not (tmp_path / "run").exists()


def test_other_settings_are_refused_all_at_once(straight, dataset, embeddings):
    with pytest.raises(ConfigError) as refused:
        run(straight, dataset, embeddings, epochs=9, margin=0.3, seed=1, resume=True)
    message = str(refused.value)
    assert "`epochs` is 9, the run in" in message
    assert "`margin` is 0.3" in message
    assert "`seed` is 1" in message
    assert "`hidden`" not in message


@pytest.mark.slow
def test_a_run_that_exists_is_kept_unless_it_may_be_replaced(
    tmp_path, straight, dataset, embeddings
):
    out = shutil.copytree(straight, tmp_path / "run")
    with pytest.raises(UsageError, match="exists: pass `resume=True` to go on with it"):
        run(out, dataset, embeddings, epochs=1)
    assert state(out) == state(straight)
    run(out, dataset, embeddings, epochs=1, overwrite=True)
    assert len(metrics(out)) == 2


def test_a_folder_that_is_no_run_is_never_replaced(tmp_path, dataset, embeddings):
    photo = tmp_path / "home" / "photo.jpg"
    photo.parent.mkdir()
    photo.touch()
    with pytest.raises(UsageError, match=r"does not read as a run folder of cir"):
        run(photo.parent, dataset, embeddings, overwrite=True)
    with pytest.raises(UsageError, match=r"does not read as a run folder of cir"):
        run(photo.parent, dataset, embeddings, resume=True)
    assert photo.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings_sha256": "a" * 64}, r"mined from a store with SHA-256 aaaaaaaaaaaa"),
        ({"split": "val"}, r"queries of split 'val', expected 'train'"),
    ],
)
def test_a_manifest_of_something_else_is_refused(tmp_path, dataset, embeddings, change, message):
    manifest = random_manifest(dataset, embeddings)
    other = dataclasses.replace(manifest, metadata=dataclasses.replace(manifest.metadata, **change))
    with pytest.raises(ManifestError, match=message):
        train(config_of(tmp_path / "run"), dataset, embeddings, other)
    assert not (tmp_path / "run").exists()


def test_a_manifest_of_unknown_options_is_refused(tmp_path, dataset, embeddings):
    manifest = random_manifest(dataset, embeddings)
    options = manifest.metadata.options | {"sharpness": 3}
    metadata = dataclasses.replace(manifest.metadata, options=options)
    with pytest.raises(ManifestError, match=r"options that this cir does not know .*sharpness"):
        train(
            config_of(tmp_path / "run"),
            dataset,
            embeddings,
            dataclasses.replace(manifest, metadata=metadata),
        )


@pytest.mark.parametrize("field", ["query_ids", "categories", "reference_ids", "target_ids"])
def test_a_manifest_of_another_dataset_is_refused(tmp_path, dataset, embeddings, field):
    manifest = random_manifest(dataset, embeddings)
    values = ("somebody-else", *getattr(manifest, field)[1:])
    other = dataclasses.replace(manifest, **{field: values})
    with pytest.raises(ManifestError, match=r"1 of the manifest's 32 queries, the first .* train"):
        train(config_of(tmp_path / "run"), dataset, embeddings, other)


def without_last(straight, tmp_path, *others):
    """A copy of a run that has lost its last checkpoint, and more."""
    out = shutil.copytree(straight, tmp_path / "run")
    for name in ("checkpoints/last", *others):
        shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()
    (out / "notes.txt").write_text("mine")
    return out


def test_a_run_that_lost_its_last_checkpoint_is_not_begun_anew(
    tmp_path, straight, dataset, embeddings
):
    out = without_last(straight, tmp_path)
    before = contents(out)
    with pytest.raises(CheckpointError, match=r"checkpoints/last is missing, though .*best"):
        run(out, dataset, embeddings, resume=True)
    assert contents(out) == before


def test_a_run_goes_on_with_the_queries_that_it_began_with(tmp_path, straight, dataset, embeddings):
    out = shutil.copytree(straight, tmp_path / "run")
    write_trained(out / TRAINED_FILE, {"train": dataset.queries("train")}, embeddings, {})
    before = contents(out)
    with pytest.raises(DatasetError, match=r"is not what the run in .* began with"):
        run(out, dataset, embeddings, resume=True)
    assert contents(out) == before


@pytest.mark.slow
def test_a_run_killed_before_its_first_checkpoint_begins_in_place(
    tmp_path, straight, dataset, embeddings
):
    out = without_last(straight, tmp_path, "checkpoints/best", "metrics.jsonl", MARKER)
    run(out, dataset, embeddings, resume=True)
    assert (out / "notes.txt").read_text() == "mine"
    assert_same(straight, out)
    assert is_marked(out)


def test_a_run_is_replaced_only_where_it_holds_nothing_else(
    tmp_path, straight, dataset, embeddings
):
    out = shutil.copytree(straight, tmp_path / "run")
    (out / MARKER).unlink()
    (out / "notes.txt").write_text("mine")
    before = contents(out)
    with pytest.raises(UsageError, match=r"also holds notes\.txt, which cir did not make"):
        run(out, dataset, embeddings, overwrite=True, epochs=1)
    assert contents(out) == before


def test_the_second_training_of_a_run_is_refused(
    tmp_path, straight, dataset, embeddings, monkeypatch
):
    out = shutil.copytree(straight, tmp_path / "run")
    before = contents(out)
    with held(out):
        monkeypatch.setattr(locks, "_held", {})  # as another process sees it
        for how in ("resume", "overwrite"):
            with pytest.raises(UsageError, match="is being written by process"):
                run(out, dataset, embeddings, **{how: True})
    assert contents(out) == before
