"""Files and folders are moved into place whole, and a failure leaves what was there."""

import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cir import files
from cir.errors import CirError, DatasetError, UsageError
from cir.files import (
    folder_written_aside,
    read_json,
    refuse_existing,
    settle,
    sha256_of,
    unwritable,
    write_json,
    written_aside,
)

Aside = Callable[[Path], AbstractContextManager[Path]]


def fill(aside: Path, text: str, how: Aside) -> None:
    (aside / "file" if how is folder_written_aside else aside).write_text(text)


def content(path: Path) -> str:
    return (path / "file" if path.is_dir() else path).read_text()


def fail_half_way(path: Path, how: Aside, fault: BaseException) -> None:
    with how(path) as aside:
        fill(aside, "half", how)
        raise fault


both = pytest.mark.parametrize("how", [written_aside, folder_written_aside])


@both
def test_it_appears_when_the_block_ends(tmp_path: Path, how: Aside) -> None:
    path = tmp_path / "deep" / "er" / "out.bin"
    with how(path) as aside:
        fill(aside, "new", how)
        assert not path.exists()
        assert aside.parent == path.parent
    assert content(path) == "new"
    assert list(path.parent.iterdir()) == [path]


@both
def test_it_replaces_what_was_there(tmp_path: Path, how: Aside) -> None:
    path = tmp_path / "out"
    for text in ("old", "new"):
        with how(path) as aside:
            fill(aside, text, how)
    assert content(path) == "new"
    assert list(tmp_path.iterdir()) == [path]


@both
@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (OSError(28, "No space left on device"), CirError),
        (ValueError("a bug"), ValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_failure_leaves_what_was_there(
    tmp_path: Path, how: Aside, fault: BaseException, raised: type[BaseException]
) -> None:
    path = tmp_path / "out"
    with how(path) as aside:
        fill(aside, "old", how)
    with pytest.raises(raised) as caught:
        fail_half_way(path, how, fault)
    assert content(path) == "old"
    assert list(tmp_path.iterdir()) == [path]
    if raised is CirError:
        assert str(caught.value) == (
            f"cannot write {path}: No space left on device (free some space, or choose a path on "
            f"another disk); what stood there before is untouched"
        )


@both
def test_a_failure_leaves_nothing_where_nothing_was(tmp_path: Path, how: Aside) -> None:
    with pytest.raises(CirError):
        fail_half_way(tmp_path / "out", how, OSError(5, "Input/output error"))
    assert list(tmp_path.iterdir()) == []


@both
def test_a_parent_that_is_a_file_is_one_line(tmp_path: Path, how: Aside) -> None:
    (tmp_path / "taken").write_text("a file")
    with (
        pytest.raises(CirError, match=r"cannot write .*taken"),
        how(tmp_path / "taken" / "out") as aside,
    ):
        fill(aside, "never", how)


def test_a_folder_that_cannot_be_moved_in_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    with folder_written_aside(path) as aside:
        fill(aside, "old", folder_written_aside)
    replace = os.replace

    def second_fails(source: Path, target: Path) -> None:
        if target == path and source != files._retired(path):
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(CirError, match="cannot write"), folder_written_aside(path) as aside:
        fill(aside, "new", folder_written_aside)
    monkeypatch.undo()
    assert content(path) == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_settle_ends_a_killed_replacement(tmp_path: Path) -> None:
    path = tmp_path / "out"
    retired = files._retired(path)
    retired.mkdir()
    (retired / "file").write_text("old")
    settle(path)
    assert content(path) == "old"
    retired.mkdir()
    settle(path)
    assert list(tmp_path.iterdir()) == [path]


def test_an_output_that_exists_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out"
    refuse_existing(path, overwrite=False)
    path.write_text("here")
    refuse_existing(path, overwrite=True)
    with pytest.raises(UsageError, match="exists: pass `overwrite=True`"):
        refuse_existing(path, overwrite=False)


def test_json_is_read_back(tmp_path: Path) -> None:
    value = {"größe": [1, 2.5, None], "b": {"c": True}}
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json", DatasetError) == value
    assert "größe" in (tmp_path / "v.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_damaged_json_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.json").write_bytes(content)
    with pytest.raises(DatasetError, match=r"v\.json is not readable JSON") as caught:
        read_json(tmp_path / "v.json", DatasetError)
    assert "\n" not in str(caught.value)


def test_missing_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"v\.json is missing"):
        read_json(tmp_path / "v.json", DatasetError)


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_sha256_is_of_the_bytes(tmp_path: Path, size: int) -> None:
    data = bytes(number % 251 for number in range(size))
    (tmp_path / "f").write_bytes(data)
    assert sha256_of(tmp_path / "f") == hashlib.sha256(data).hexdigest()


@both
def test_a_pipe_or_device_is_not_replaced(tmp_path: Path, how: Aside) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="it is no regular file"), how(pipe):
        raise AssertionError
    assert pipe.is_fifo()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs Linux")
def test_a_folder_that_takes_no_files_is_said_to() -> None:
    line = unwritable(Path("/proc/x"), FileNotFoundError(2, "No such file or directory"))
    assert line.startswith("cannot write /proc/x: /proc takes no new files (choose another path)")
