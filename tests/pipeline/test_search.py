"""`cir search` and `cir serve`: what they print, write and refuse."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cir.data.dataset import Dataset
from pipeline.cli import app
from pipeline.command.faults import FAILED, MISUSED
from pipeline.screen.terminal_pictures import picture, shown_by
from tests.support.galleries import small_photos, stored
from tests.support.micro import micro_encoder
from tests.support.photo_folders import write_photos

runner = CliRunner()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("searched")
    dataset = small_photos(folder / "shop")
    stored(dataset, micro_encoder(), folder / "shop.h5")
    return dataset


@pytest.fixture
def search(shop: Dataset, monkeypatch: pytest.MonkeyPatch):
    """Runs `cir search` over the shop's store."""
    monkeypatch.setattr("cir.encoding.loading.load_encoder", lambda *_, **__: micro_encoder())
    store = str(shop.root.with_suffix(".h5"))
    return lambda *words: runner.invoke(app, ["search", "--store", store, *words])


def test_a_table_shows_what_was_found(search) -> None:
    done = search("--image", "s0", "--text", "is red", "--top", "3")
    assert done.exit_code == 0, done.output
    assert 's0 + "is red"' in done.stdout
    assert "<b>" in done.stdout
    assert "s0" not in done.stdout.split("┡")[1]


def test_a_long_id_loses_its_middle_on_the_terminal_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cir.encoding.loading.load_encoder", lambda *_, **__: micro_encoder())
    monkeypatch.setattr("cir.search.photo_folder.pick_workers", lambda *_: 0)
    long = f"a{'x' * 180}z"
    folder = write_photos(tmp_path / "photos", [f"{long}.png", "b.png"])
    words = ["search", "--store", str(folder), "--text", "is red", "--copies"]
    table = runner.invoke(app, words).stdout
    short = f"a{'x' * 18}…{'x' * 19}z"
    assert (len(short), short in table, "score" in table.splitlines()[2]) == (40, True, True)
    assert long in runner.invoke(app, [*words, "--json"]).stdout
    titled = runner.invoke(app, [*words[:3], "--image", long, "--copies"]).stdout
    assert short in titled.split("┏")[0].replace("\n", "")


def test_photos_that_are_left_out_are_told_beside_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cir.encoding.loading.load_encoder", lambda *_, **__: micro_encoder())
    monkeypatch.setattr("cir.search.photo_folder.pick_workers", lambda *_: 0)
    folder = write_photos(tmp_path / "photos", ["a.png", "a.webp", "b.png"])
    (folder / "broken.png").write_bytes(b"no photo")
    words = ["search", "--store", str(folder), "--text", "is red", "--json", "--copies"]
    first, again = runner.invoke(app, words), runner.invoke(app, words)
    assert len(json.loads(first.stdout)) == 2
    assert "Left out: 1 photos of one id (a.webp)\n" in first.stderr
    assert "Left out: 1 unreadable photos (" in first.stderr
    assert (json.loads(again.stdout), "Left out" in again.stderr) == (
        json.loads(first.stdout),
        False,
    )


def test_json_is_all_that_is_printed(search, shop: Dataset) -> None:
    done = search("--text", "is red", "--top", "2", "--json")
    results = json.loads(done.stdout)
    assert [result["rank"] for result in results] == [1, 2]
    assert results[0]["file"] == str(shop.image_path(results[0]["id"]))
    assert results[0]["categories"] == ["shoes"]


def test_a_page_holds_the_photos_and_shows_titles_as_text(search, tmp_path: Path) -> None:
    page = tmp_path / "found.html"
    done = search("--image", "s0", "--html", str(page))
    assert done.exit_code == 0, done.output
    html = page.read_text(encoding="utf-8")
    assert html.count("data:image/") >= 6
    assert "Shoe 1 &lt;b&gt;" in html
    assert search("--image", "s0", "--html", str(page)).exit_code == MISUSED


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_what_was_found_is_shown_where_the_page_cannot_be_written(
    search, tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "found.html"))

    shown = search("--text", "is red", "--top", "2", *words)
    monkeypatch.setattr("cir.reporting.search_page.write_page", full)
    page = str(tmp_path / "found.html")
    done = search("--text", "is red", "--top", "2", *words, "--html", page)
    assert (done.exit_code, done.stdout) == (FAILED, shown.stdout)
    assert "No space left on device" in done.stderr


def test_a_page_takes_file_names_that_are_no_utf_8(search, shop: Dataset, tmp_path: Path) -> None:
    own = tmp_path / "own-\udcff.png"
    shutil.copy(shop.image_path("s0"), own)
    page = tmp_path / "found.html"
    done = search("--image", str(own), "--text", "is red", "--html", str(page))
    assert done.exit_code == 0, done.output
    html = page.read_text(encoding="utf-8")
    assert "own-\\udcff.png + &#34;is red&#34;" in html
    refused = search("--text", "is \udcfe")
    assert (refused.exit_code, "--text: 'is \\udcfe' holds half" in refused.stderr) == (
        MISUSED,
        True,
    )


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        ([], MISUSED, "nothing to search for: pass --image, --text or --like,"),
        (["--text", "   "], MISUSED, "nothing to search for: pass --image, --text or --like,"),
        (
            ["--image", "s0", "--text", " ", "--weight", "0.5"],
            MISUSED,
            "--weight weighs --text against --image: pass both",
        ),
        (["--image", "s99"], MISUSED, "--image is 's99'; expected an id of the gallery's 6"),
        (["--image", ""], MISUSED, "--image is ''; expected a path\n"),
        (["--text", "x", "--category", "y"], MISUSED, "--category is 'y'; expected one of shoes"),
        (["--text", "x", "--without", "nope"], MISUSED, "--without is 'nope'; expected an id of"),
        (["--text", "x", "--less", " "], MISUSED, "--less is blank; expected a text that says"),
        (["--text", "x", "--top", "0"], MISUSED, "--top is 0; expected 1 to 1000"),
        (["--image", "cir"], FAILED, "cir"),
    ],
)
def test_a_refusal_is_one_line(search, words: list[str], code: int, expected: str) -> None:
    done = search(*words)
    assert (done.exit_code, expected in done.stderr) == (code, True), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_gallery_in_the_place_of_a_run_is_told_its_place(shop: Dataset) -> None:
    for path in (shop.root.with_suffix(".h5"), shop.root, shop.root / "images"):
        done = runner.invoke(app, ["search", str(path), "--text", "is red"])
        assert (done.exit_code, "not a run: pass it as --store" in done.stderr) == (FAILED, True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "nothing to search: pass RUN, or --store, or both"),
        (["--store", "s.h5", "--port", "70000"], "--port is 70000; expected 0 to 65535"),
        (["--store", "s.h5", "--hostname", "a*"], "--hostname is 'a*'; expected a name without"),
        (
            ["--store", "s.h5", "--writable"],
            "--writable takes a token of 16 ASCII characters",
        ),
        (["--store", "s.h5", "--token-file", "t"], "--token-file is of no use without --writable"),
    ],
)
def test_a_server_that_cannot_be_is_refused_in_one_line(
    words: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIR_TOKEN", "short")
    done = runner.invoke(app, ["serve", *words])
    assert (done.exit_code, expected in done.stderr) == (MISUSED, True), done.stderr


@pytest.mark.parametrize(
    ("environment", "protocol", "start"),
    [
        ({"TERM": "xterm-kitty"}, "kitty", "\x1b_Ga=T,f=100"),
        ({"TERM_PROGRAM": "iTerm.app"}, "iterm", "\x1b]1337;File=inline=1"),
        ({"TERM": "xterm-256color"}, None, ""),
    ],
)
def test_terminals_that_show_pictures_are_known(
    environment: dict[str, str], protocol: str | None, start: str, shop: Dataset
) -> None:
    assert shown_by(environment) == protocol
    if protocol:
        assert picture(shop.image_path("s0"), protocol).startswith(start)
