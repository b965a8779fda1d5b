"""Photos added and removed: what is on the disk, whatever happens to who wrote it."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from cir.artefacts.changes import AddedPhoto, Changes, TakenIdError, changes_file
from cir.artefacts.provenance import Provenance
from cir.errors import StoreError

_NOBODY = 65534
"""A user who owns nothing."""
ORIGIN = Provenance("micro", "random", "0" * 64, "targetpad", 4)


def photo(image_id: str, value: float = 1.0) -> AddedPhoto:
    vector = np.full(4, value, np.float32)
    return AddedPhoto(image_id, "a" * 64, f"Title {image_id}", "shoes", vector, ORIGIN)


def test_what_is_added_is_read_back(tmp_path: Path) -> None:
    changes = Changes(tmp_path / "shop.h5")
    assert (changes.added(), changes.removed()) == ([], frozenset())
    changes.add(photo("a"), b"one")
    changes.add(photo("b", 2.0), b"two")
    read = Changes(tmp_path / "shop.h5").added()
    assert [(p.id, p.title, p.category, p.vector.tolist()) for p in read] == [
        ("a", "Title a", "shoes", [1.0] * 4),
        ("b", "Title b", "shoes", [2.0] * 4),
    ]
    assert read[0].provenance == ORIGIN
    assert changes.photo_bytes("b") == b"two"
    assert changes.photo_bytes("c") is None


def test_what_is_removed_stays_removed_until_it_is_added_again(tmp_path: Path) -> None:
    changes = Changes(tmp_path / "shop.h5")
    changes.add(photo("a"), b"one")
    changes.remove("a")
    changes.remove("of-the-store")
    assert (changes.added(), changes.removed()) == ([], {"a", "of-the-store"})
    changes.add(photo("a"), b"one")
    assert ([p.id for p in changes.added()], changes.removed()) == (["a"], {"of-the-store"})


def test_a_photo_of_another_server_is_never_replaced(tmp_path: Path) -> None:
    one, other = Changes(tmp_path / "shop.h5"), Changes(tmp_path / "shop.h5")
    one.add(photo("a"), b"one")
    with pytest.raises(TakenIdError, match=r"holds a photo 'a' already: pass another `id`"):
        other.add(photo("a"), b"other")
    assert one.photo_bytes("a") == b"one"


def test_nothing_is_written_by_looking(tmp_path: Path) -> None:
    changes = Changes(tmp_path / "shop.h5")
    assert not changes.added()
    assert not list(tmp_path.iterdir())


@pytest.fixture
def shut(tmp_path: Path) -> Iterator[Path]:
    """The store of changes in a folder that this process may read, and nobody but its owner."""
    folder = Path(tempfile.mkdtemp())
    store = folder / "shop 100%? #1.h5"
    Changes(store).add(photo("a"), b"one")
    changes_file(store).chmod(0o444)
    folder.chmod(0o555)
    if os.geteuid() == 0:
        os.setresuid(_NOBODY, _NOBODY, 0)
    yield store
    if os.geteuid() == _NOBODY:
        os.setresuid(0, 0, 0)
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_changes_are_read_where_nothing_can_be_written(shut: Path) -> None:
    changes = Changes(shut)
    assert [p.id for p in changes.added()] == ["a"]
    assert changes.photo_bytes("a") == b"one"
    assert [file.name for file in shut.parent.iterdir()] == [changes_file(shut).name]
    with pytest.raises(StoreError, match="cannot be read or written"):
        changes.remove("a")


def test_nothing_is_left_by_reading_and_what_is_being_written_is_read(tmp_path: Path) -> None:
    changes = Changes(tmp_path / "shop.h5")
    changes.add(photo("a"), b"one")
    assert [p.id for p in changes.added()] == ["a"]
    assert list(tmp_path.iterdir()) == [changes.path]
    with closing(sqlite3.connect(changes.path)) as writer:
        writer.execute("INSERT INTO removed VALUES ('b', '')")
        writer.commit()
        assert (tmp_path / f"{changes.path.name}-wal").stat().st_size
        assert Changes(tmp_path / "shop.h5").removed() == {"b"}


def test_a_file_that_a_killed_writer_left_empty_holds_nothing(tmp_path: Path) -> None:
    changes_file(tmp_path / "shop.h5").touch()
    changes = Changes(tmp_path / "shop.h5")
    assert (changes.added(), changes.removed()) == ([], frozenset())
    changes.add(photo("a"), b"one")
    assert [p.id for p in changes.added()] == ["a"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b"no database" * 100), "cannot be read or written"),
        (lambda path: sqlite3.connect(path).execute("PRAGMA user_version = 9"), "schema version 9"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, make, words: str) -> None:
    path = changes_file(tmp_path / "shop.h5")
    made = make(path)
    if isinstance(made, sqlite3.Cursor):
        made.connection.execute("CREATE TABLE other (id)")
        made.connection.close()
    with pytest.raises(StoreError, match=words):
        Changes(tmp_path / "shop.h5")


@pytest.mark.slow
def test_what_was_answered_outlives_a_kill(tmp_path: Path) -> None:
    script = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from cir.artefacts.changes import AddedPhoto, Changes\n"
        "from cir.artefacts.provenance import Provenance\n"
        "origin = Provenance('micro', 'random', '0' * 64, 'targetpad', 4)\n"
        "changes = Changes(Path(sys.argv[1]))\n"
        "for n in range(10**6):\n"
        "    photo = AddedPhoto(str(n), 'a' * 64, '', '', np.ones(4, np.float32), origin)\n"
        "    changes.add(photo, b'x' * 10_000)\n"
        "    print(n, flush=True)\n"
    )
    store = tmp_path / "shop.h5"
    command = [sys.executable, "-c", script, str(store)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        answered = [int(writer.stdout.readline()) for _ in range(20)]
        os.kill(writer.pid, signal.SIGKILL)
        answered += [int(line) for line in writer.stdout]
    kept = {int(p.id) for p in Changes(store).added()}
    assert set(answered) <= kept
    assert kept - set(answered) <= {max(answered) + 1}
