"""One image file: every format, every fault, and no more memory than it needs."""

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cir.data.images import MOST_EDGE, MOST_PIXELS, decode_image, read_image
from cir.encoding.preprocess import build_preprocess
from cir.errors import ImageError, UnreadImageError
from tests.support.photos import FORMATS, encoded, picture

HERE = Path("photo.jpg")


def test_a_photo_of_usual_size_is_left_alone_unless_its_decoder_makes_it_smaller() -> None:
    content = io.BytesIO()
    picture().resize((1200, 800)).save(content, "PNG")
    assert decode_image(content.getvalue(), HERE, least=50).size == (1200, 800)


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and little more."""
    content = io.BytesIO()
    Image.new("L", (1, 1)).save(content, "PNG")
    data = bytearray(content.getvalue())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_each_format_is_read_whatever_its_suffix(name: str) -> None:
    found = decode_image(encoded(name), HERE)
    assert found.mode == "RGB"
    difference = np.asarray(found, float) - np.asarray(picture(), float)
    assert np.sqrt(np.mean(difference**2)) < 15


@pytest.mark.parametrize("name", ["EPS", "PPM", "PCX", "SGI", "SPIDER", "ICO", "TGA"])
def test_no_other_decoder_is_tried(name: str) -> None:
    content = io.BytesIO()
    (picture().convert("F") if name == "SPIDER" else picture()).save(content, name)
    with pytest.raises(ImageError, match=r"photo.jpg is no image: expected JPEG, PNG, WebP"):
        decode_image(content.getvalue(), HERE)


@pytest.mark.parametrize("fault", [struct.error("x"), TypeError(), RuntimeError("y"), KeyError(3)])
def test_whatever_a_decoder_raises_is_the_photos_fault(
    monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise fault

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(ImageError, match=r"photo.jpg is damaged \(.*\): fetch it again"):
        decode_image(b"x", HERE)


def test_a_lack_of_memory_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(UnreadImageError, match="needs more memory than there is"):
        decode_image(b"x", HERE)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read_though_its_exif_cannot_be_written(orientation: int) -> None:
    """The resolution's denominator is zero, which Pillow reads and does not write."""
    entries = struct.pack("<HHII", 0x112, 3, 1, orientation)
    entries += struct.pack("<HHII", 0x11A, 5, 1, 8 + 2 + 24 + 4)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + struct.pack("<H", 2) + entries
    exif += struct.pack("<I", 0) + struct.pack("<II", 5, 0)
    content = io.BytesIO()
    picture().save(content, "PNG", exif=exif)
    found = decode_image(content.getvalue(), HERE)
    turned = {5, 6, 7, 8}
    assert found.size == (picture().size[::-1] if orientation in turned else picture().size)
    corners = [(0, 0), (-1, 0), (-1, -1), (0, -1)]
    across, down = (corners * 2)[orientation - 1]
    assert np.asarray(found)[down, across].tolist() == np.asarray(picture())[0, 0].tolist()


@pytest.mark.parametrize("name", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize(
    "block", [b"Exif\0\0hello", b"Exif\0\0MM\0*\0\0", b"MM\0*\xff\xff\xff\xff"]
)
def test_a_photo_whose_exif_cannot_be_read_is_upright(name: str, block: bytes) -> None:
    content = io.BytesIO()
    picture().save(content, name, exif=block)
    assert decode_image(content.getvalue(), HERE).size == picture().size


@pytest.mark.parametrize(
    ("width", "height"), [(20_000, 20_000), (MOST_EDGE + 1, 10), (2**31 - 1, 1), (12_001, 10_000)]
)
def test_too_many_pixels_are_refused_before_decoding(
    monkeypatch: pytest.MonkeyPatch, width: int, height: int
) -> None:
    header = png_header(width, height)
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("it was decoded"))
    with pytest.raises(ImageError, match=f"photo.jpg (is|has) .*{MOST_PIXELS:,}.*make it smaller"):
        decode_image(header, HERE)


def test_a_photo_is_made_no_smaller_than_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cir.data.rgb._MANY_PIXELS", 50_000)
    large = picture().resize((1200, 800))
    for name in ("JPEG", "PNG"):
        content = io.BytesIO()
        large.save(content, name, quality=95)
        found = decode_image(content.getvalue(), HERE, least=150)
        assert 150 <= min(found.size) < 300
        expected = np.asarray(large.resize(found.size, Image.Resampling.BOX), float)
        np.testing.assert_allclose(np.asarray(found, float), expected, atol=6)
        assert decode_image(content.getvalue(), HERE, least=500).size == large.size


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white_strip_by_strip(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr("cir.data.rgb._STRIP_PIXELS", 100)
    image = picture().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size).point(lambda v: 255 * (v > 99)))
    content = io.BytesIO()
    (image if mode == "RGBA" else image.convert(mode)).save(content, "PNG")
    found = np.asarray(decode_image(content.getvalue(), HERE))
    assert (found[0] == 255).all()
    assert (found[-1] < 255).any()


@pytest.mark.parametrize(
    ("levels", "name"),
    [
        (lambda v: (v * 257).astype(np.uint16), "PNG"),
        (lambda v: (v * 257).astype(np.uint16), "TIFF"),
        (lambda v: (v * 1000).astype(np.int32), "TIFF"),
        (lambda v: (v / 255).astype(np.float32), "TIFF"),
        (lambda v: (v * 1e30).astype(np.float32), "TIFF"),
    ],
)
def test_wide_grey_looks_like_its_eight_bits(
    levels: Callable[[np.ndarray], np.ndarray], name: str
) -> None:
    grey = np.asarray(picture().convert("L"), dtype=np.float64)
    grey *= 255 / grey.max()
    content = io.BytesIO()
    Image.fromarray(levels(np.rint(grey))).save(content, name)
    found = np.asarray(decode_image(content.getvalue(), HERE), float)
    np.testing.assert_allclose(found, np.repeat(np.rint(grey)[..., None], 3, 2), atol=1)


def test_grey_that_is_no_number_is_black() -> None:
    content = io.BytesIO()
    values = np.full((4, 4), np.nan, np.float32)
    values[0] = 3
    Image.fromarray(values).save(content, "TIFF")
    found = np.asarray(decode_image(content.getvalue(), HERE))
    assert found[0].tolist() == [[255] * 3] * 4
    assert not found[1:].any()


def test_a_photo_without_a_number_is_damaged() -> None:
    content = io.BytesIO()
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(content, "TIFF")
    with pytest.raises(ImageError, match=r"damaged .none of its pixels is a finite number.: fetch"):
        decode_image(content.getvalue(), HERE)


def as_pipe(path: Path) -> None:
    os.mkfifo(path)


def as_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def as_folder(path: Path) -> None:
    path.mkdir()


def as_circle(path: Path) -> None:
    path.symlink_to(path)


def as_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (as_pipe, "cannot be read: it is a pipe; expected a file"),
        (as_socket, "cannot be read: it is a socket; expected a file"),
        (as_device, "cannot be read: it is a device; expected a file"),
        (as_folder, r"cannot read .*: Is a directory \(expected a file\)"),
        (as_circle, "symbolic links lead in a circle"),
        (lambda path: None, "is missing"),
    ],
)
def test_what_is_no_file_is_a_fault_and_nobody_waits(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / "p.jpg"
    make(path)
    with pytest.raises(UnreadImageError, match=said):
        read_image(path)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("shape", [(1, 65_500), (65_000, 1), (20_000, 100)])
@pytest.mark.parametrize("name", ["squarepad", "clip"])
def test_extreme_shapes_take_little_memory(shape: tuple[int, int], name: str) -> None:
    content = io.BytesIO()
    Image.new("RGB", shape, "red").save(content, "JPEG")
    transform = build_preprocess(name, 288, (0.5,) * 3, (0.5,) * 3)
    transform(decode_image(encoded("JPEG"), HERE))  # loads what every photo needs
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak()
    pixels = transform(decode_image(content.getvalue(), HERE, least=576))
    assert pixels.shape == (3, 288, 288)
    assert peak() - before < 100_000_000


def peak() -> int:
    """The most memory that this process has held, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
