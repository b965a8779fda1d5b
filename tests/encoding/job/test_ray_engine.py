"""Photos encoded by a Ray cluster: the store is the plain engine's, whatever ends on the way."""

import os
import shutil
import socket
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from cir.artefacts.store import Embeddings, read_embeddings
from cir.artefacts.vector_parts import PART_KEY, read_part, write_part
from cir.config import EmbedConfig, MergeConfig
from cir.data.dataset import Dataset
from cir.encoding.encoder import Encoder
from cir.encoding.job import blocks, embedding_run, ray_engine
from cir.encoding.job import photo_batches as batches
from cir.encoding.job.blocks import Blocks
from cir.encoding.job.dataset_embedding import EmbedSummary, embed_dataset
from cir.encoding.job.photo_batches import EncodedBatch, PhotosToEncode
from cir.encoding.job.ray_engine import RayEngine
from cir.errors import CirError, ConfigError, ImageError, StoreError, UsageError
from cir.machine.processes import Processes
from pipeline import embed, merge
from tests.support.ray_actors import WORKERS, convolution
from tests.support.worlds import small_dataset

BATCH, IMAGES = 4, 30
BROKEN = "dtr003"


class InterruptedByTestError(Exception):
    """Stands for a kill."""


@dataclass(frozen=True)
class Here:
    """An engine of this process, which ends after some batches."""

    after: int = IMAGES

    def encoded(
        self,
        encoder: Encoder,
        photos: PhotosToEncode,
        files: Sequence[Path],
        *,
        batch_size: int,
        workers: int,
    ) -> Generator[EncodedBatch, None, None]:
        stream = batches.encoded_batches(encoder, photos, files, rows=batch_size, workers=workers)
        for number, batch in enumerate(stream):
            if number == self.after:
                raise InterruptedByTestError
            yield batch


@pytest.fixture(autouse=True)
def _saves_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "SECONDS", 0.0)


@pytest.fixture
def world(tmp_path: Path) -> Dataset:
    """30 photos, one of them broken."""
    made = small_dataset(tmp_path / "dataset", ("dress",), IMAGES // 3, queries=6, size=40)
    (made.root / "images" / f"{BROKEN}.jpg").write_bytes(b"no photo")
    return made


def embedded(dataset: Dataset, out: Path, **how: Any) -> EmbedSummary:
    encoder = convolution(out.parent / "seen")
    given = {"batch_size": BATCH, "workers": 0, "on_error": "skip"} | how
    return embed_dataset(dataset, encoder, out, **given)


def require_same(one: Embeddings, other: Embeddings) -> None:
    assert one.images.keys == other.images.keys
    assert one.image_sha256 == other.image_sha256
    np.testing.assert_array_equal(one.image_states, other.image_states)
    assert one.images.vectors.tobytes() == other.images.vectors.tobytes()
    assert one.captions.keys == other.captions.keys
    assert one.captions.vectors.tobytes() == other.captions.vectors.tobytes()
    assert one.skipped == other.skipped
    made = one.provenance, one.precision, one.libraries
    assert made == (other.provenance, other.precision, other.libraries)


# ------------------------------------------------------------------------------------- two workers


@pytest.mark.slow
def test_a_job_of_two_workers_goes_on_and_makes_the_store_of_one_process(
    world: Dataset, tmp_path: Path
) -> None:
    plain, out = tmp_path / "plain.h5", tmp_path / "e.h5"
    embedded(world, plain)
    with pytest.raises(InterruptedByTestError):
        embedded(world, out, engine=Here(after=2))
    before = descendants()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ray\.")
        done = embedded(world, out, engine=RayEngine(WORKERS, "cpu"))
    require_same(read_embeddings(out), read_embeddings(plain))
    assert (done.resumed, done.encoded, list(done.skipped)) == (2 * BATCH, 21, [BROKEN])
    assert len(list((tmp_path / "seen").iterdir())) == WORKERS
    assert not list(tmp_path.glob(".*")), "parts are gone"
    assert descendants() <= before, "no process of Ray is left"


def descendants() -> set[int]:
    return ray_engine._descendants(os.getpid())


# ------------------------------------------------------------------------------------------- parts


@pytest.mark.slow
def test_what_a_killed_job_has_done_is_parquet_and_is_kept(world: Dataset, tmp_path: Path) -> None:
    out, plain = tmp_path / "e.h5", tmp_path / "plain.h5"
    with pytest.raises(InterruptedByTestError):
        embedded(world, out, engine=Here(after=3))
    parts = sorted((tmp_path / ".e.h5.parts").glob("images-*.parquet"))
    table = pq.read_table(parts[0])
    assert table.column_names == ["id", "sha256", "size", "mtime_ns", "embedding"]
    assert table["id"].to_pylist() == world.image_ids()[:BATCH]
    made = read_part(parts[0]).made
    assert (made["model"], made["precision"], made["embed_dim"]) == ("convolution", "fp32", 8)
    assert PART_KEY in table.schema.metadata
    parts[0].write_bytes(parts[0].read_bytes()[:-9])
    done = embedded(world, out, engine=Here())
    embedded(world, plain)
    # Of twelve photos, four are in the part that is damaged.
    assert (len(parts), done.resumed) == (3, 2 * BATCH)
    require_same(read_embeddings(out), read_embeddings(plain))


@pytest.mark.parametrize("engines", [(None, Here()), (Here(), None)])
def test_either_engine_goes_on_where_the_other_was(
    world: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engines: tuple[Here | None, Here | None],
) -> None:
    out, genuine = tmp_path / "e.h5", batches.encoded_batches

    def ended(*args: Any, **how: Any) -> Iterator[EncodedBatch]:
        yield from islice(genuine(*args, **how), 2)
        raise InterruptedByTestError

    for module in (embedding_run, batches):
        monkeypatch.setattr(module, "encoded_batches", ended)
    with pytest.raises(InterruptedByTestError):
        embedded(world, out, engine=engines[0])
    for module in (embedding_run, batches):
        monkeypatch.setattr(module, "encoded_batches", genuine)
    assert embedded(world, out, engine=engines[1]).resumed == 2 * BATCH


def test_a_broken_photo_ends_a_job_as_it_ends_a_plain_run(world: Dataset, tmp_path: Path) -> None:
    said = []
    for engine in (None, Here()):
        with pytest.raises(ImageError) as fault:
            embedded(world, tmp_path / "e.h5", engine=engine, on_error="fail")
        said.append(str(fault.value))
    assert said[0] == said[1]
    assert f"{BROKEN}.jpg is no image" in said[0]


# ------------------------------------------------------------------------------------------ merging


@pytest.fixture
def kept(world: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All parts of a job, as if it had been killed just before it made the store."""
    monkeypatch.setattr(Blocks, "remove", lambda self: None)
    embedded(world, tmp_path / "e.h5", engine=Here())
    return tmp_path / ".e.h5.parts"


def merged(*folders: Path, out: Path) -> Embeddings:
    merge.run(MergeConfig(datasets=tuple(map(str, folders)), out=out, overwrite=True))
    return read_embeddings(out)


def test_parts_become_the_store(kept: Path, tmp_path: Path) -> None:
    store, out = read_embeddings(tmp_path / "e.h5"), tmp_path / "m.h5"
    require_same(merged(kept, out=out), replace(store, skipped={}))
    for number, part in enumerate(sorted(kept.glob("*.parquet"))):
        other = tmp_path / f"half{number % 2}" / part.name
        other.parent.mkdir(exist_ok=True)
        shutil.copyfile(part, other)
    halves = merged(tmp_path / "half0", tmp_path / "half1", out=out)
    require_same(halves, replace(store, skipped={}))


def test_parts_that_make_no_store_are_told(kept: Path, tmp_path: Path) -> None:
    out, empty, other = (tmp_path / name for name in ("m.h5", "empty", "other"))
    empty.mkdir()
    with pytest.raises(StoreError, match="empty holds no parts: expected the Parquet files"):
        merged(kept, empty, out=out)
    first = min(kept.glob("images-*.parquet"))
    part = read_part(first)
    write_part(other / "1.parquet", replace(part, made={**part.made, "model": "another"}))
    with pytest.raises(StoreError, match=r"other.1.parquet is of model another, and .* convol"):
        merged(kept, other, out=out)
    digests = ["0" * 64 for _ in part.columns["sha256"]]
    write_part(other / "1.parquet", replace(part, columns={**part.columns, "sha256": digests}))
    with pytest.raises(StoreError, match="hold other photos under the id 'dte000'"):
        merged(kept, other, out=out)
    first.write_bytes(first.read_bytes()[:-9])
    with pytest.raises(StoreError, match="is damaged or no part"):
        merged(kept, out=out)
    assert not out.exists()


def test_prefixes_are_of_datasets() -> None:
    with pytest.raises(ConfigError, match="`prefixes` tell the ids of datasets apart"):
        MergeConfig(datasets=("a",), prefixes=("x",), out=Path("m.h5"))


# ---------------------------------------------------------------------------------------- refusals


def asked(world: Dataset, tmp_path: Path) -> EmbedConfig:
    return EmbedConfig(dataset=world.root, out=tmp_path / "e.h5", model="cir-tiny", engine="ray")


def test_without_ray_one_line_says_how_to_get_it(
    world: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"`engine='ray'` needs Ray: pip install 'cir\[ray\]'"):
        embed.run(asked(world, tmp_path))


def test_a_launcher_is_refused(world: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a launcher started 2: start it without the launcher"):
        embed.run(asked(world, tmp_path), Processes(0, 2))


def test_actors_are_those_of_a_cluster() -> None:
    with pytest.raises(ConfigError, match="pass `engine='ray'` too"):
        EmbedConfig(actors=2)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port at which nothing answers."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_a_cluster_that_does_not_answer_is_named(
    world: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed_port}")
    with pytest.raises(CirError, match=rf"no Ray cluster answers at 127.0.0.1:{closed_port} \(.*"):
        embedded(world, tmp_path / "e.h5", engine=RayEngine())


@pytest.mark.parametrize(
    ("resources", "actors", "device", "expected"),
    [
        ({"CPU": 6.0}, None, "auto", (6, False, "cpu")),
        ({"CPU": 6.0}, 3, "auto", (3, False, "cpu")),
        ({"CPU": 6.0, "GPU": 2.0}, None, "auto", (2, True, "cuda")),
        ({"CPU": 6.0, "GPU": 2.0}, None, "cpu", (6, False, "cpu")),
        ({"CPU": 6.0}, None, "cuda", "6 cores and 0 GPUs; expected at least one of each"),
        ({"GPU": 2.0}, None, "auto", "0 cores and 2 GPUs"),
        ({}, None, "cpu", "0 cores and 0 GPUs; expected at least one core"),
    ],
)
def test_actors_are_on_gpus_where_there_are_some(
    resources: dict[str, float], actors: int | None, device: str, expected: tuple[Any, ...] | str
) -> None:
    if isinstance(expected, str):
        with pytest.raises(UsageError, match=expected):
            ray_engine._Pool.of(resources, actors, device)
        return
    assert ray_engine._Pool.of(resources, actors, device) == ray_engine._Pool(*expected)


def test_other_libraries_on_another_machine_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine, "versions", lambda: {"torch": "2.0", "pillow": "9"})
    assert ray_engine._other_libraries({"torch": "2.0", "pillow": "9"}) is None
    fault = ray_engine._other_libraries({"torch": "2.1", "pillow": "9"})
    assert "has torch 2.0, and this one 2.1" in str(fault)
