"""Photos in tar shards are read where they are, and are what they would be as files."""

import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from cir.artefacts.photo_states import state_of
from cir.artefacts.store import read_embeddings
from cir.data.dataset import Dataset
from cir.data.image_files import list_images
from cir.data.images import read_image
from cir.data.shards import open_photo, photos_in, shard_of
from cir.encoding.job.dataset_embedding import EmbedSummary, embed_dataset
from cir.errors import DatasetError, UnreadImageError
from cir.sources.catalog.photos import folder_photos
from cir.sources.links import link_or_copy
from cir.sources.photo_folder import photo_id, read_photo_folder
from tests.support.micro import micro_encoder
from tests.support.shards import pack
from tests.support.worlds import small_dataset


def packed(root: Path, files: Iterable[Path], number: int) -> None:
    """Photos with what WebDataset keeps beside them, in place of the files."""
    samples = {f"some/{file.name}": file.read_bytes() for file in files}
    beside = {f"some/{file.stem}.json": b"{}" for file in files}
    pack(root / "images" / f"shop-{number:04d}.tar", samples | beside)
    for file in files:
        file.unlink()


def embedded(root: Path, out: Path) -> EmbedSummary:
    encoder = micro_encoder(dim=16)
    return embed_dataset(Dataset(root), encoder, out, batch_size=4, workers=0, on_error="fail")


@pytest.mark.slow
def test_a_dataset_in_shards_is_embedded_as_its_photos_are(tmp_path: Path) -> None:
    whole = small_dataset(tmp_path / "whole", categories=("dress",), images=4, queries=3, size=24)
    root = Path(shutil.copytree(whole.root, tmp_path / "sharded"))
    files = sorted(Dataset(root).image_files.values())
    packed(root, files[:5], 0)
    packed(root, files[5:-1], 1)  # one stays a file
    assert Dataset(root).image_ids() == whole.image_ids()
    embedded(whole.root, tmp_path / "whole.h5")
    embedded(root, tmp_path / "sharded.h5")
    expected, found = (read_embeddings(tmp_path / f"{n}.h5") for n in ("whole", "sharded"))
    np.testing.assert_array_equal(found.images.vectors, expected.images.vectors)
    assert found.image_sha256 == expected.image_sha256
    assert not embedded(root, tmp_path / "sharded.h5").written
    again = root / "images" / "shop-0000.tar"
    with tarfile.open(again) as tar:
        held = {m.name: tar.extractfile(m).read() for m in tar}
    pack(again, dict(reversed(held.items())))
    done = embedded(root, tmp_path / "sharded.h5")
    assert (done.encoded, done.kept) == (0, len(whole.image_ids()))


def test_names_that_lead_out_of_a_shard_are_passed_over_and_told(tmp_path: Path) -> None:
    shard = pack(tmp_path / "a.tar", {"../b.jpg": b"b", "/c.jpg": b"c", "./d.JPG": b"d"})
    found = list_images([tmp_path])
    assert found.paths == (str(shard / "d.JPG"),)
    assert found.faults == (
        f"2 names in {shard} lead out of it or are symbolic links: they are passed over",
    )
    with pytest.raises(FileNotFoundError):
        open_photo(shard / "b.jpg")


def test_names_of_one_photo_are_all_photos(tmp_path: Path) -> None:
    """Tar keeps a second name of a file as a hard link to the first."""
    for name in ("1.jpg", "blob"):
        (tmp_path / name).write_bytes(f"bytes of {name}".encode())
    (tmp_path / "2.jpg").hardlink_to(tmp_path / "1.jpg")
    (tmp_path / "3.jpg").hardlink_to(tmp_path / "blob")
    shard = tmp_path / "photos" / "a.tar"
    shard.parent.mkdir()
    with tarfile.open(shard, "w") as tar:
        for name in ("1.jpg", "2.jpg", "blob", "3.jpg"):
            tar.add(tmp_path / name, f"./{name}")
    assert list_images([shard.parent]).faults == ()
    held = {}
    for name in photos_in(shard):
        with open_photo(shard / name) as photo:
            held[name] = photo.read()
    one, blob = b"bytes of 1.jpg", b"bytes of blob"
    assert held == {"1.jpg": one, "2.jpg": one, "3.jpg": blob}


def test_links_in_a_shard_and_names_that_lead_out_are_told_by_a_folder(tmp_path: Path) -> None:
    shard = pack(tmp_path / "a.tar", {"../evil.jpg": b"b", "1.jpg": b"d", "../notes.txt": b""})
    with tarfile.open(shard, "a") as tar:
        for name, kind, leads_to in (
            ("soft.jpg", tarfile.SYMTYPE, "1.jpg"),
            ("hard.jpg", tarfile.LNKTYPE, "gone.jpg"),
        ):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, leads_to
            tar.addfile(link)
    folder = read_photo_folder(tmp_path)
    assert [str(photo) for photo in folder.photos] == ["1.jpg"]
    expected = ("a.tar/../evil.jpg", "a.tar/soft.jpg", "a.tar/hard.jpg")
    assert folder.outside_shards == expected
    assert folder_photos(folder)[1].photos_outside_their_shard == expected


@pytest.mark.parametrize("harm", ["compressed", "cut", "none"])
def test_a_shard_that_cannot_be_read_is_told(tmp_path: Path, harm: str) -> None:
    shard = tmp_path / "photos" / "a.tar"
    pack(shard, {"a.jpg": b"a" * 2000}, mode="w:gz" if harm == "compressed" else "w")
    if harm != "compressed":
        shard.write_bytes(shard.read_bytes()[:1000] if harm == "cut" else b"no tar at all")
    (fault,) = list_images([tmp_path]).faults
    assert fault.startswith(f"cannot look into {shard}: ")
    with pytest.raises(DatasetError, match="uncompressed tar file"):
        read_photo_folder(tmp_path)
    with pytest.raises(UnreadImageError, match="uncompressed tar file"):
        read_image(shard / "a.jpg")


def test_the_state_of_a_photo_is_its_size_and_its_shards_time(tmp_path: Path) -> None:
    shard = pack(tmp_path / "a.tar", {"a.jpg": b"abc", "b.jpg": b"defgh"})
    assert state_of(shard / "b.jpg") == (5, shard.stat().st_mtime_ns)
    with open_photo(shard / "b.jpg") as photo:
        assert photo.read() == b"defgh"
    assert state_of(shard / "c.jpg") == (-1, -1)
    assert (shard_of(shard / "b.jpg"), shard_of(shard)) == (shard, None)


@pytest.mark.parametrize("link", ["hardlink", "symlink", "copy"])
def test_a_folder_of_shards_is_as_if_they_were_unpacked(tmp_path: Path, link: str) -> None:
    root = tmp_path / "photos"
    pack(root / "a.tar", {"shoes/1.jpg": b"one", "2.jpg": b"two"})
    pack(root / "b.tar", {"shoes/1.jpg": b"another", "shoes/3.jpg": b"three"})
    folder = read_photo_folder(root)
    assert [photo_id(photo) for photo in folder.photos] == ["2", "shoes__1", "shoes__3"]
    assert folder.same_id == ("b.tar/shoes/1.jpg",)
    made = tmp_path / "made.jpg"
    link_or_copy(folder.file(PurePosixPath("shoes/1.jpg")), made, link)
    assert made.read_bytes() == b"one"
    assert not made.is_symlink()
