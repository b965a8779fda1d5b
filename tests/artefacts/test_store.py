"""The embedding store: what is written is read back, and a bad file ends in one line."""

import dataclasses
import fcntl
import resource
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cir import __version__
from cir.artefacts import hdf5_trial
from cir.artefacts.provenance import Provenance
from cir.artefacts.store import Embeddings, read_embeddings
from cir.artefacts.store_writing import write_embeddings
from cir.artefacts.vectors import VectorTable
from cir.errors import CirError, StoreError, VectorError
from tests.support.digests import sha256_of

PROVENANCE = Provenance("RN50x4", "openai", "ab" * 32, "targetpad", 8)
TEXTS = ("", "is größer", "is red and is longer")


def vectors(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, 8)).astype(np.float32)


def written(path: Path, **changed: Any) -> Path:
    values: dict[str, Any] = {
        "images": VectorTable(("a", "b", "ç"), vectors(3, 0)),
        "captions": VectorTable(TEXTS, vectors(3, 1)),
        "image_sha256": ("0" * 64, "1" * 64, "2" * 64),
        "provenance": PROVENANCE,
        "skipped": {"x": "x.jpg is empty (0 bytes)"},
    }
    write_embeddings(path, **values | changed)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path / "embeddings.h5")


@pytest.fixture
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files without a checksum are read at once: what is tested is no danger to this process."""
    monkeypatch.setattr(hdf5_trial, "require_harmless", lambda file: None)


def test_what_is_written_is_read_back(path: Path) -> None:
    found = read_embeddings(path)
    assert found.images.keys == ("a", "b", "ç")
    assert found.captions.keys == TEXTS
    np.testing.assert_array_equal(found.images.vectors, vectors(3, 0))
    np.testing.assert_array_equal(found.captions.vectors, vectors(3, 1))
    assert found.image_sha256 == ("0" * 64, "1" * 64, "2" * 64)
    assert found.provenance == PROVENANCE
    assert found.skipped == {"x": "x.jpg is empty (0 bytes)"}
    assert found.sha256 == sha256_of(path)
    assert isinstance(found, Embeddings)


def test_the_file_follows_the_contract(path: Path) -> None:
    with h5py.File(path) as file:
        names: list[str] = []
        file.visititems(lambda name, at: names.append(name) if hasattr(at, "shape") else None)
        assert set(names) == {
            *("images/id", "images/embedding", "images/sha256"),
            *("captions/text", "captions/embedding", "skipped/id", "skipped/reason"),
        }
        for name in ("images/id", "images/sha256", "captions/text", "skipped/id", "skipped/reason"):
            assert h5py.check_string_dtype(file[name].dtype).encoding == "utf-8"
        for name in ("images/embedding", "captions/embedding"):
            assert file[name].dtype == np.float32
        attributes = dict(file.attrs)
    created = datetime.fromisoformat(attributes.pop("created"))
    assert created.utcoffset() is not None
    assert attributes == dataclasses.asdict(PROVENANCE) | {
        "schema_version": 1,
        "normalized": False,
        "cir_version": __version__,
    }


STATES = np.array([[10, 20], [2**40, -1], [0, 2**62]])


def test_the_files_precision_and_libraries_are_read_back(tmp_path: Path) -> None:
    libraries = {"torch": "2.15.0", "pillow": "13.0.0"}
    made = written(tmp_path / "e.h5", image_states=STATES, precision="bf16", libraries=libraries)
    found = read_embeddings(made)
    np.testing.assert_array_equal(found.image_states, STATES)
    assert found.precision == "bf16"
    assert found.libraries == libraries
    with h5py.File(made) as file:
        np.testing.assert_array_equal(file["images/size"], STATES[:, 0])
        np.testing.assert_array_equal(file["images/mtime_ns"], STATES[:, 1])
        assert file.attrs["precision"] == "bf16"


@pytest.mark.slow
def test_a_store_of_an_earlier_version_is_read(path: Path) -> None:
    """It has no checksum, no states of files and no precision."""
    with h5py.File(path, "r+") as file:
        for name in ("images/embedding", "captions/embedding"):
            del file[name].attrs["sha256"]
    found = read_embeddings(path)
    assert found.images.keys == ("a", "b", "ç")
    assert (found.image_states, found.precision, found.libraries) == (None, None, {})
    assert found.sha256 == sha256_of(path)


def test_a_store_without_captions_or_skipped_images(tmp_path: Path) -> None:
    path = written(tmp_path / "e.h5", captions=VectorTable((), vectors(0, 0)), skipped={})
    found = read_embeddings(path)
    assert found.captions.keys == ()
    assert found.captions.vectors.shape == (0, 8)
    assert found.skipped == {}


@pytest.mark.usefixtures("_in_this_process")
@pytest.mark.parametrize("utf8", [True, False])
def test_texts_of_fixed_length_read_too(path: Path, utf8: bool) -> None:
    with h5py.File(path, "r+") as file:
        for name, texts in (("images/id", ("a", "b", "ç")), ("captions/text", TEXTS)):
            del file[name]
            encoded = np.array([text.encode("utf-8") for text in texts])
            kind = h5py.string_dtype("utf-8", encoded.itemsize) if utf8 else encoded.dtype
            file.create_dataset(name, data=encoded.astype(kind), dtype=kind)
    found = read_embeddings(path)
    assert found.images.keys == ("a", "b", "ç")
    assert found.captions.keys == TEXTS


def replace(name: str, value: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[name]
        file[name] = value

    return change


def without(name: str) -> Callable[[Any], None]:
    return lambda file: file.__delitem__(name)


def attribute(name: str, value: Any) -> Callable[[Any], None]:
    return lambda file: file.attrs.__setitem__(name, value)


@pytest.mark.usefixtures("_in_this_process")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (attribute("schema_version", 2), "schema version 2, expected 1"),
        (attribute("normalized", True), "normalised"),
        (attribute("embed_dim", 640), r"\(3, 8\) float32, expected \(3, 640\)"),
        (
            lambda file: file.attrs.__delitem__("model"),
            "lacks the attribute model: .*; move it away",
        ),
        (without("images/embedding"), "lacks /images/embedding"),
        (without("captions"), "lacks /captions/text"),
        (without("skipped/reason"), "lacks /skipped/reason"),
        (replace("images/embedding", vectors(2, 0)), "expected"),
        (replace("images/embedding", vectors(3, 0).astype(np.float64)), "float64"),
        (replace("images/sha256", ["0" * 64]), "/images/sha256 holds 1 rows, expected 3"),
        (replace("images/id", ["a", "b", "a"]), "twice"),
        (replace("captions/text", np.arange(3)), "no column of texts"),
        (replace("captions/text", np.array([b"\xff\xfe", b"b", b"c"])), "damaged"),
    ],
)
def test_a_store_at_odds_with_itself_is_refused(
    path: Path, change: Callable[[Any], None], words: str
) -> None:
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(StoreError, match=words) as caught:
        read_embeddings(path)
    assert str(path) in str(caught.value)
    assert "run cir embed" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("_in_this_process")
@pytest.mark.parametrize("table", ["images", "captions"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_vectors_without_direction_are_refused(path: Path, table: str, value: float) -> None:
    with h5py.File(path, "r+") as file:
        file[f"{table}/embedding"][1] = value
    with pytest.raises(VectorError, match=f"1 of 3 vectors of .*{table}.*row 1") as caught:
        read_embeddings(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_store_is_one_line(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(StoreError) as caught:
        read_embeddings(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all", b"PK\x03\x04" + bytes(100)])
def test_another_kind_of_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "embeddings.h5"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged or no HDF5"):
        read_embeddings(path)


def test_a_missing_store_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no embedding store at .*cir embed"):
        read_embeddings(tmp_path / "embeddings.h5")


def test_vectors_without_direction_are_not_written(tmp_path: Path) -> None:
    wrong = vectors(3, 0)
    wrong[2] = 0
    with pytest.raises(VectorError, match="row 2 is all zero"):
        written(tmp_path / "e.h5", images=VectorTable(("a", "b", "c"), wrong))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_store(path: Path) -> None:
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(CirError, match=r"cannot write .*too large"):
            written(path, skipped={})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"image_sha256": ("0" * 64,)}, "`image_sha256` holds 1 digests"),
        ({"provenance": dataclasses.replace(PROVENANCE, embed_dim=9)}, "8-d vectors"),
    ],
)
def test_what_no_reader_would_accept_is_not_written(
    tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    with pytest.raises(StoreError, match=words):
        written(tmp_path / "e.h5", **changed)
    assert not list(tmp_path.iterdir())


def test_a_changed_byte_anywhere_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(StoreError, match="is damaged") as caught:
            read_embeddings(path)
        assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("_in_this_process")
def test_vectors_that_another_program_changed_are_noticed(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["captions/embedding"][1, 2] += 1
    with pytest.raises(StoreError, match="/captions/embedding do not agree with their checksum"):
        read_embeddings(path)


def test_the_digest_is_of_the_bytes_read_whatever_takes_their_place(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, genuine = sha256_of(path), h5py.File

    def replaced_meanwhile(file: Any, mode: str) -> Any:
        if mode == "r":
            monkeypatch.setattr(h5py, "File", genuine)
            written(path, images=VectorTable(("x", "y", "z"), vectors(3, 9)))
        return genuine(file, mode)

    monkeypatch.setattr(h5py, "File", replaced_meanwhile)
    found = read_embeddings(path)
    assert found.sha256 == digest != sha256_of(path)
    assert found.images.keys == ("a", "b", "ç")
    np.testing.assert_array_equal(found.images.vectors, vectors(3, 0))


@pytest.mark.usefixtures("_in_this_process")
def test_a_header_is_believed_as_far_as_the_file_goes(tmp_path: Path) -> None:
    path = written(tmp_path / "e.h5", captions=VectorTable((), vectors(0, 0)))
    with h5py.File(path, "r+") as file:
        del file["captions/text"]
        file.create_dataset(
            "captions/text", shape=(10**10,), dtype=h5py.string_dtype(), chunks=True
        )
    with pytest.raises(StoreError, match="10,000,000,000 values, more than the file has bytes"):
        read_embeddings(path)


def test_a_store_that_another_process_has_open_is_read(path: Path) -> None:
    with h5py.File(path, "r"), path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        assert read_embeddings(path).images.keys == ("a", "b", "ç")


def test_a_store_that_another_program_is_writing_is_not_called_damaged(path: Path) -> None:
    with path.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.truncate(2000)
        with pytest.raises(StoreError, match="open for writing in another process: wait"):
            read_embeddings(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ends in a crash"),
        ("while True: pass", "does not end"),
    ],
)
def test_a_file_that_hdf5_does_not_survive_is_one_line(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["note"] = "changed by another program"
    monkeypatch.setattr(hdf5_trial, "_CODE", code)
    monkeypatch.setattr(hdf5_trial, "_SECONDS", 0.3)
    with pytest.raises(StoreError, match=words):
        read_embeddings(path)


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder"):
        read_embeddings(tmp_path)
