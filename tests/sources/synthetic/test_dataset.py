"""Drawn garments and the dataset made of them."""

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cir.config import SynthConfig
from cir.data.dataset import SPLITS, Dataset
from cir.data.images import read_image
from cir.errors import UsageError
from cir.sources.synthetic.dataset import draw_dataset
from cir.sources.synthetic.drawing import draw
from cir.sources.synthetic.garments import COLOURS, SHARES, draw_garments
from cir.sources.synthetic.textures import texture
from pipeline import synth as synth_stage
from tests.support.folders import contents

COUNTS = {"dress": 40, "shirt": 40}
PLAIN = {
    "colour": "red",
    "pattern": "solid",
    "sleeves": "short",
    "neck": "round",
    "length": "knee",
    "graphic": "none",
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drawn") / "dataset"
    draw_dataset(out, COUNTS, size=32, seed=3)
    return out


def pixels(category: str, attributes: dict[str, str], size: int) -> np.ndarray:
    image = Image.open(io.BytesIO(draw(category, attributes, size, (0, 1))))
    return np.asarray(image, dtype=np.int64)


# --------------------------------------------------------------------------------- the dataset


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_for_any_number_of_workers(
    drawn: Path, tmp_path: Path
) -> None:
    draw_dataset(tmp_path / "two", COUNTS, size=32, seed=3, workers=2)
    draw_dataset(tmp_path / "other", COUNTS, size=32, seed=4)
    assert contents(tmp_path / "two") == contents(drawn)
    assert contents(tmp_path / "other") != contents(drawn)


@pytest.mark.slow
def test_the_stage_shows_what_it_drew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = SynthConfig(out=tmp_path / "out", dress=0, shirt=0, toptee=30, size=32)
    assert synth_stage.run(config) == tmp_path / "out"
    assert "toptee" in capsys.readouterr().out
    with pytest.raises(UsageError, match="exists"):
        synth_stage.run(config)


@pytest.mark.slow
def test_it_has_the_shape_of_fashioniq(drawn: Path) -> None:
    dataset = Dataset(drawn)
    assert dataset.categories == ("dress", "shirt")
    assert [len(dataset.gallery(split, "dress")) for split in SPLITS] == [24, 8, 8]
    assert dataset.image_ids() == sorted(dataset.image_files)
    assert read_image(dataset.image_path("dress-00000")).size == (32, 32)
    for split in SPLITS:
        assert {query.category for query in dataset.queries(split)} == {"dress", "shirt"}


@pytest.mark.slow
def test_queries_are_as_many_as_fashioniqs_and_half_share_their_reference(tmp_path: Path) -> None:
    draw_dataset(tmp_path / "out", {"toptee": 200}, size=32)
    queries = Dataset(tmp_path / "out").queries("train")
    assert len(queries) == pytest.approx(0.8 * 120, rel=0.05)
    uses = Counter(query.reference_id for query in queries)
    shared = sum(uses[query.reference_id] > 1 for query in queries)
    assert shared == pytest.approx(len(queries) / 2, rel=0.25)


def test_targets_are_all_that_fit(drawn: Path) -> None:
    photos = json.loads((drawn / "synthetic.json").read_text(encoding="utf-8"))["photos"]
    dataset = Dataset(drawn)
    for split in SPLITS:
        for query in dataset.queries(split):
            old = photos[query.reference_id]["attributes"]
            new = photos[query.target_id]["attributes"]
            assert sum(old[facet] != new[facet] for facet in old) in (1, 2)
            gallery = dataset.gallery(split, query.category)
            assert set(query.target_ids) == {i for i in gallery if photos[i]["attributes"] == new}


def test_records_say_each_image_in_words(drawn: Path) -> None:
    photos = json.loads((drawn / "synthetic.json").read_text(encoding="utf-8"))["photos"]
    assert len(photos) == sum(COUNTS.values())
    for record in photos.values():
        assert record["attributes"]["colour"] in record["title"]
        assert record["category"] in record["title"]


@pytest.mark.parametrize("counts", [{"dress": 5}, {"sofa": 100}])
def test_what_cannot_be_drawn_is_refused(counts: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"at least 20|`counts` names sofa"):
        draw_dataset(tmp_path / "out", counts)
    assert not (tmp_path / "out").exists()


# --------------------------------------------------------------------------------- the garments


@pytest.mark.slow
def test_garments_take_every_value_there_is() -> None:
    for category, shares in SHARES.items():
        garments = draw_garments(category, 600, np.random.default_rng(0))
        for facet, values in shares.items():
            assert sum(values.values()) == pytest.approx(1)
            assert {garment[facet] for garment in garments} == set(values)


@pytest.mark.slow
@pytest.mark.parametrize("category", SHARES)
def test_every_value_can_be_drawn_and_shows(category: str) -> None:
    base = PLAIN | {"length": list(SHARES[category]["length"])[1]}
    before = pixels(category, base, 96)
    for facet, values in SHARES[category].items():
        for value in values:
            if value != base[facet]:
                changed = np.abs(pixels(category, base | {facet: value}, 96) - before).max(2)
                assert (changed > 30).sum() > 12, (facet, value)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_garment_has_its_colour(colour: str) -> None:
    """The chest is nearer to its own colour than to most others."""
    chest = pixels("shirt", PLAIN | {"length": "regular", "colour": colour}, 64)[30:44, 24:40]
    mean = chest.reshape(-1, 3).mean(0)
    apart = {name: float(np.linalg.norm(mean - np.array(rgb))) for name, rgb in COLOURS.items()}
    assert colour in sorted(apart, key=lambda name: apart[name])[:2]


@pytest.mark.parametrize(
    ("pattern", "across", "down"),
    [("horizontal stripes", 0, 1), ("vertical stripes", 1, 0), ("checked", 1, 1), ("solid", 0, 0)],
)
def test_stripes_run_the_way_they_are_called(pattern: str, across: int, down: int) -> None:
    weights = texture(pattern, 96, np.random.default_rng(0)).astype(int)
    assert bool(np.abs(np.diff(weights, axis=1)).sum()) == bool(across)
    assert bool(np.abs(np.diff(weights, axis=0)).sum()) == bool(down)


@pytest.mark.parametrize("pattern", ["dotted", "floral"])
def test_motifs_cover_a_part_of_the_cloth(pattern: str) -> None:
    shown = (texture(pattern, 96, np.random.default_rng(0)) > 127).mean()
    assert 0.1 < shown < 0.6
