"""Photos at s3:// are read where they are, and are what they would be as files."""

import json
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from cir.artefacts.photo_states import UNKNOWN_STATE, state_of
from cir.artefacts.store import read_embeddings
from cir.data import image_batches, remote
from cir.data.dataset import Dataset
from cir.data.images import read_image
from cir.data.remote import RemotePath, remote_path
from cir.encoding.job.dataset_embedding import EmbedSummary, embed_dataset
from cir.errors import DatasetError, ImageError, StorageError, UnreadImageError, UsageError
from cir.names import POINTER
from cir.sources.catalog.dataset import make_catalog, make_gallery
from tests.support.ray_actors import convolution
from tests.support.s3 import BUCKET, forget, s3_server
from tests.support.shards import pack
from tests.support.worlds import blot

ADDRESS = f"s3://{BUCKET}/photos"


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with s3_server() as made:
        yield made


@pytest.fixture(autouse=True)
def _empty(client: Any) -> Iterator[None]:
    yield
    remote._states.clear()
    for held in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        client.delete_object(Bucket=BUCKET, Key=held["Key"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos in folders and one in a shard, on this machine."""
    rng, root = np.random.default_rng(0), tmp_path / "photos"
    for name in ("shoes/1.jpg", "shoes/2.jpg", "bags/1.png", "bags/3.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        blot(rng, 30).save(root / name)
    packed = root / "bags" / "3.jpg"
    pack(root / "bags" / "more.tar", {"3.jpg": packed.read_bytes(), "3.json": b"{}"})
    packed.unlink()
    return root


def put(client: Any, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        client.put_object(Bucket=BUCKET, Key=f"photos/{name}", Body=content)


def put_folder(client: Any, folder: Path) -> None:
    files = (file for file in folder.rglob("*") if file.is_file())
    put(client, {file.relative_to(folder).as_posix(): file.read_bytes() for file in files})


def embedded(root: Path, out: Path, **how: Any) -> EmbedSummary:
    given = {"batch_size": 2, "workers": 0, "on_error": "fail"} | how
    return embed_dataset(Dataset(root), convolution(out.parent / "seen"), out, **given)


@pytest.mark.slow
def test_a_gallery_at_s3_is_that_of_the_folder(client: Any, folder: Path, tmp_path: Path) -> None:
    put_folder(client, folder)
    make_gallery(tmp_path / "here", photos=folder)
    # A path has lost a slash, as pathlib writes it.
    make_gallery(tmp_path / "there", photos=Path(ADDRESS))
    pointer = tmp_path / "there" / "images" / POINTER
    assert json.loads(pointer.read_text())["photos"]["bags__3.jpg"] == "bags/more.tar/3.jpg"
    assert [path.name for path in pointer.parent.iterdir()] == [POINTER]
    embedded(tmp_path / "here", tmp_path / "here.h5")
    embedded(tmp_path / "there", tmp_path / "there.h5")
    here, there = (read_embeddings(tmp_path / f"{name}.h5") for name in ("here", "there"))
    assert there.images.keys == here.images.keys == ("bags__1", "bags__3", "shoes__1", "shoes__2")
    assert there.image_sha256 == here.image_sha256
    assert there.images.vectors.tobytes() == here.images.vectors.tobytes()
    np.testing.assert_array_equal(there.image_states[:, 0], here.image_states[:, 0])


@pytest.mark.slow
def test_what_changed_at_s3_is_encoded_and_nothing_else(
    client: Any, folder: Path, tmp_path: Path
) -> None:
    put_folder(client, folder)
    make_gallery(tmp_path / "d", photos=Path(ADDRESS))
    embedded(tmp_path / "d", tmp_path / "e.h5")
    same, other = (folder / name for name in ("shoes/1.jpg", "other.jpg"))
    blot(np.random.default_rng(9), 30).save(other)
    put(client, {"shoes/1.jpg": same.read_bytes(), "shoes/2.jpg": same.read_bytes()})
    done = embedded(tmp_path / "d", tmp_path / "e.h5")
    assert (done.kept, done.encoded) == (4, 0), "bytes that the store knows"
    put(client, {"shoes/2.jpg": other.read_bytes()})
    done = embedded(tmp_path / "d", tmp_path / "e.h5")
    assert (done.kept, done.encoded, done.changed) == (3, 1, 1)
    client.delete_object(Bucket=BUCKET, Key="photos/shoes/2.jpg")
    remote._states.clear()
    with pytest.raises(ImageError, match=rf"is missing \({ADDRESS}/shoes/2.jpg is gone\)"):
        embedded(tmp_path / "d", tmp_path / "e.h5", overwrite=True)
    done = embedded(tmp_path / "d", tmp_path / "e.h5", on_error="skip")
    assert list(done.skipped) == ["shoes__2"]


def test_another_object_of_the_same_second_and_size_has_another_state(client: Any) -> None:
    found = []
    for content in (b"one", b"two"):
        put(client, {"1.jpg": content})
        told = remote._storage().info(f"{BUCKET}/photos/1.jpg")
        found.append(remote._state(told | {"LastModified": datetime(2026, 1, 1, tzinfo=UTC)}))
    assert found[0] != found[1]
    assert {(size, changed // 10**9) for size, changed in found} == {(3, 1767225600)}


def test_a_catalogue_names_photos_at_s3(client: Any, folder: Path, tmp_path: Path) -> None:
    put_folder(client, folder)
    table = tmp_path / "shop.csv"
    table.write_text("photo,kind\nshoes/1.jpg,shoe\nshoes/2.jpg,shoe\nbags/1.png,bag\n")
    out = tmp_path / "d"
    summary = make_catalog(out, images=Path(ADDRESS), attributes=table, workers=2)
    assert summary.left_out.photos_without_row == ("bags/3.jpg",)
    assert Dataset(out).image_ids() == ["bags__1", "shoes__1", "shoes__2"]
    assert read_image(Dataset(out).image_path("bags__1")).size == (30, 30)


def test_a_pointer_may_be_written_by_hand(client: Any, folder: Path, tmp_path: Path) -> None:
    put_folder(client, folder / "shoes")
    pack(tmp_path / "s.tar", {"9.jpg": (folder / "shoes" / "1.jpg").read_bytes(), "e.jpg": b""})
    put(client, {"s.tar": (tmp_path / "s.tar").read_bytes(), "empty.jpg": b""})
    for name, address in (("all", ADDRESS), ("one", f"{ADDRESS}/s.tar")):
        root = tmp_path / name
        (root / "images").mkdir(parents=True)
        (root / "images" / "far.remote").write_text(json.dumps({"address": address}))
        splits = root / "image_splits" / "split.shoes.train.json"
        splits.parent.mkdir()
        splits.write_text('["9"]')
    files = Dataset(tmp_path / "all").image_files
    assert sorted(files) == ["1", "2", "9", "e", "empty"]
    assert read_image(files["2"]).size == read_image(files["9"]).size == (30, 30)
    for image_id in ("e", "empty"):
        with pytest.raises(ImageError, match="is empty"):
            read_image(files[image_id])
    files = Dataset(tmp_path / "one").image_files
    assert sorted(files) == ["9", "e"]
    assert read_image(files["9"]).size == (30, 30)
    assert state_of(files["9"].with_name("none.jpg")) == UNKNOWN_STATE


@pytest.mark.parametrize("text", ["", "[]", '{"address": "ftp://x"}', '{"address": 1}'])
def test_a_pointer_that_is_none_is_told(folder: Path, tmp_path: Path, text: str) -> None:
    make_gallery(tmp_path / "d", photos=folder)
    (tmp_path / "d" / "images" / "far.remote").write_text(text)
    (fault,) = Dataset(tmp_path / "d").image_listing.faults
    assert 'far.remote is no pointer: expected {"address": "s3://bucket/folder"}' in fault


# -------------------------------------------------------------------------- one line for each fault


def told(address: str = ADDRESS, kind: type[Exception] = StorageError) -> str:
    with pytest.raises(kind) as fault:
        make_gallery(Path("never"), photos=Path(address))
    line = str(fault.value)
    assert "\n" not in line
    return line


def test_a_bucket_that_is_not_there_is_named() -> None:
    assert told("s3://none/photos") == (
        "cannot list s3://none/photos: there is no bucket none; check its spelling"
    )


def test_an_address_without_photos_is_told() -> None:
    assert f"{ADDRESS} and the folders below it hold no photos" in told(kind=DatasetError)


@pytest.fixture
def _anew() -> Iterator[None]:
    """The storage is opened anew, and once more by the next test."""
    forget()
    yield
    forget()


@pytest.mark.slow
@pytest.mark.usefixtures("_anew")
def test_lacking_credentials_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in told()


@pytest.mark.usefixtures("_anew")
def test_an_endpoint_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*held.getsockname()))
        monkeypatch.setattr(remote, "_TRIES", 1)
        line = told()
    assert f"cannot read {ADDRESS}: Could not connect to the endpoint URL" in line
    assert "check the network and AWS_ENDPOINT_URL" in line


@pytest.mark.slow
@pytest.mark.usefixtures("_anew")
def test_an_endpoint_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_ANSWERING", 0.1)
    monkeypatch.setattr(remote, "_TRIES", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*silent.getsockname()))
        assert "check the network and AWS_ENDPOINT_URL" in told()


@pytest.mark.usefixtures("_anew")
def test_without_s3fs_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*args: Any, **how: Any) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", lacking)
    assert told(kind=UsageError) == "photos at s3:// need s3fs: pip install 'cir[s3]'"


def test_storage_that_fails_ends_a_run_that_skips_photos(
    client: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> bytes:
        raise StorageError(f"cannot read {path}: access denied")

    make_gallery(tmp_path / "d", photos=folder)
    monkeypatch.setattr(image_batches, "image_bytes", refused)
    with pytest.raises(StorageError, match=r"shoes__\d.jpg: access denied|bags__\d.*denied"):
        embedded(tmp_path / "d", tmp_path / "e.h5", on_error="skip")


def test_an_address_is_one_with_any_slashes() -> None:
    for text in ("s3://shop/a/b.jpg", "s3:/shop/a/b.jpg", Path("s3://shop/a/b.jpg")):
        assert str(remote_path(text)) == "s3://shop/a/b.jpg"
    assert str(RemotePath("s3:/shop") / "a") == "s3://shop/a"
    for text in ("photos/s3://x", "s3:", "/s3:/x", "gs://x/y"):
        assert remote_path(text) is None


@pytest.mark.slow
def test_a_photo_that_is_gone_is_unread(client: Any) -> None:
    with pytest.raises(UnreadImageError, match=f"{ADDRESS}/1.jpg is missing"):
        read_image(RemotePath("s3:/", BUCKET, "photos", "1.jpg"))
