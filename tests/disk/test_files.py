"""Files and folders are moved into place whole, and a failure leaves what was there."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cir.disk import files
from cir.disk.files import (
    folder_written_aside,
    read_json,
    refuse_existing,
    settle,
    sweep,
    unwritable,
    write_json,
    written_aside,
)
from cir.disk.hidden import retired_of
from cir.disk.recognition import write_marker
from cir.errors import CirError, DatasetError, UsageError

Aside = Callable[[Path], AbstractContextManager[Path]]


def fill(aside: Path, text: str, how: Aside) -> None:
    (aside / "file" if how is folder_aside else aside).write_text(text)


def content(path: Path) -> str:
    return (path / "file" if path.is_dir() else path).read_text()


def fail_half_way(path: Path, how: Aside, fault: BaseException) -> None:
    with how(path) as aside:
        fill(aside, "half", how)
        raise fault


def folder_aside(path: Path) -> AbstractContextManager[Path]:
    return folder_written_aside(path, "dataset")


both = pytest.mark.parametrize("how", [written_aside, folder_aside])


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
    with folder_aside(path) as aside:
        fill(aside, "old", folder_aside)
    rename = Path.rename

    def second_fails(source: Path, target: Path) -> Path:
        if target == path and source != retired_of(path):
            raise OSError(5, "Input/output error")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    monkeypatch.setattr(files, "_exchanged", lambda *_: False)
    with pytest.raises(CirError, match="cannot write"), folder_aside(path) as aside:
        fill(aside, "new", folder_aside)
    monkeypatch.undo()
    assert content(path) == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("exchanged", [True, False])
def test_a_reader_meets_the_old_folder_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanged: bool
) -> None:
    path = tmp_path / "out"
    with folder_aside(path) as aside:
        fill(aside, "old", folder_aside)
    if not exchanged:
        monkeypatch.setattr(files, "_exchanged", lambda *_: False)
    with folder_aside(path) as aside:
        fill(aside, "new", folder_aside)
    assert content(path) == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_settle_ends_a_killed_replacement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_SETTLING", 0.02)
    path = tmp_path / "out"
    with folder_aside(path) as aside:
        fill(aside, "old", folder_aside)
    path.rename(retired_of(path))
    settle(path)
    assert content(path) == "old"
    path.rename(retired_of(path))
    with folder_aside(path) as aside:
        fill(aside, "new", folder_aside)
    sweep(path)
    assert content(path) == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_program_left_is_swept(tmp_path: Path) -> None:
    path = tmp_path / "store.h5"
    (tmp_path / ".store.cir-0123abcd.h5").write_text("half")
    half = tmp_path / ".world.cir-0123abcd"
    (half / "images").mkdir(parents=True)
    write_marker(half, "dataset", ())
    others = (".store-20260101.h5", ".store.cir-notes.h5", ".o.cir-0123abcd.h5", ".world-89abcdef")
    (tmp_path / others[-1]).mkdir()
    for name in others:
        (tmp_path / name / "mine" if "world" in name else tmp_path / name).write_text("mine")
    sweep(path)
    sweep(tmp_path / "world")
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(others)


def test_what_has_the_name_of_a_retired_folder_stays(tmp_path: Path) -> None:
    for name in ("file", "folder/mine", "link"):
        retired = retired_of(tmp_path / Path(name).parts[0])
        if name == "link":
            retired.symlink_to(tmp_path)
        else:
            place = retired / "mine" if "/" in name else retired
            place.parent.mkdir(exist_ok=True)
            place.write_text("mine")
    before = sorted(path.name for path in tmp_path.iterdir())
    for name in ("file", "folder", "link"):
        settle(tmp_path / name)
        sweep(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_what_comes_into_a_folder_while_another_is_made_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "made"
    with folder_aside(path) as aside:
        fill(aside, "old", folder_aside)
    with (  # noqa: PT012
        pytest.raises(UsageError, match=r"also holds mine\.txt"),
        folder_aside(path) as aside,
    ):
        fill(aside, "new", folder_aside)
        (path / "mine.txt").write_text("mine")
    assert content(path) == "old"
    assert (path / "mine.txt").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link, folder = tmp_path / "link.json", tmp_path / "made"
    link.symlink_to("there/file.json")
    folder.symlink_to("there/made")
    for value in (1, 2):
        write_json(link, value)
        with folder_aside(folder) as aside:
            fill(aside, str(value), folder_aside)
    assert link.is_symlink()
    assert folder.is_symlink()
    assert (tmp_path / "there/file.json").read_text() == "2\n"
    assert content(tmp_path / "there/made") == "2"
    assert sorted(file.name for file in (tmp_path / "there").iterdir()) == ["file.json", "made"]


def test_a_folder_of_others_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="does not read as a dataset folder of cir"):
        fail_half_way(tmp_path / "home", folder_aside, AssertionError())
    assert (tmp_path / "home/thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("how", [written_aside, folder_aside])
def test_a_folder_is_no_file(tmp_path: Path, how: Aside) -> None:
    path = tmp_path / "taken"
    path.write_text("mine") if how is folder_aside else path.mkdir()
    with pytest.raises(UsageError, match=r"it is a (file|folder), expected a (folder|file)"):
        fail_half_way(path, how, AssertionError())
    assert path.exists()


def test_an_output_that_exists_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out"
    refuse_existing(path, overwrite=False)
    path.write_text("here")
    refuse_existing(path, overwrite=True)
    with pytest.raises(UsageError, match="exists: pass `overwrite=True`"):
        refuse_existing(path, overwrite=False)
    with pytest.raises(UsageError, match="exists: pass `resume=True` to go on with it, `overwr"):
        refuse_existing(path, overwrite=False, resumes=True)


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


@pytest.mark.parametrize(("count", "flushed", "synced"), [(3, 5, 0), (50, 0, 1)])
def test_a_few_files_are_flushed_alone_and_many_by_one_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, flushed: int, synced: int
) -> None:
    """The folder itself and its marker are among them."""
    calls: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda _: calls.append("file"))
    monkeypatch.setattr(os, "sync", lambda: calls.append("everything"))
    with folder_written_aside(tmp_path / "made", "checkpoint") as aside:
        for number in range(count):
            (aside / str(number)).touch()
        calls.clear()
    assert (calls.count("file"), calls.count("everything")) == (flushed, synced)
