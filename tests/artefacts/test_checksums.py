"""Tests of `cir.artefacts.checksums`."""

import hashlib
import io

import pytest

from cir.artefacts.checksums import PLACE, ChecksumError, seal, verified


def sealed(before: bytes = b"vectors", after: bytes = b"end") -> bytes:
    """A sealed content with something on both sides of its checksum."""
    file = io.BytesIO(before + PLACE + after)
    seal(file)
    return file.getvalue()


def test_a_sealed_file_is_accepted_with_the_digest_of_its_bytes() -> None:
    content = sealed()
    digest = verified(io.BytesIO(content))
    assert digest.sealed
    assert digest.sha256 == hashlib.sha256(content).hexdigest()


def test_every_changed_byte_is_noticed() -> None:
    content = sealed()
    label = range(content.index(b"cir-sha256:"), content.index(b"cir-sha256:") + 11)
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        if place in label:
            assert not verified(io.BytesIO(changed)).sealed
        else:
            with pytest.raises(ChecksumError):
                verified(io.BytesIO(changed))


@pytest.mark.parametrize("cut", [1, 4, 40, 66])
def test_a_file_that_is_cut_short_is_not_accepted_as_sealed(cut: int) -> None:
    with pytest.raises(ChecksumError):
        verified(io.BytesIO(sealed()[:-cut]))


def test_a_file_without_a_checksum_is_identified_alone() -> None:
    digest = verified(io.BytesIO(b"rows of somebody"))
    assert not digest.sealed
    assert digest.sha256 == hashlib.sha256(b"rows of somebody").hexdigest()


def test_the_last_place_counts_and_the_file_is_at_its_start_again() -> None:
    file = io.BytesIO(sealed(before=b"a caption of cir-sha256:" + b"0" * 64))
    verified(file)
    assert file.read(9) == b"a caption"


def test_a_large_file_is_hashed_in_parts() -> None:
    content = sealed(before=bytes(3 << 20))
    assert verified(io.BytesIO(content)).sha256 == hashlib.sha256(content).hexdigest()
    with pytest.raises(ChecksumError):
        verified(io.BytesIO(b"\1" + content[1:]))


@pytest.mark.parametrize("behind", [(1 << 20) - 70, (1 << 20) - 5, (1 << 20) + 7, 5 << 20])
def test_a_checksum_is_found_far_from_the_end(behind: int) -> None:
    """Parquet's metadata stand behind it as well, and some are long."""
    content = sealed(after=bytes(behind))
    assert verified(io.BytesIO(content)).sealed
    with pytest.raises(ChecksumError):
        verified(io.BytesIO(content[:-1] + b"\1"))


@pytest.mark.parametrize("content", [b"no place", b"cir-sha256:" + b"1" * 64])
def test_what_has_no_place_is_not_sealed(content: bytes) -> None:
    with pytest.raises(ValueError, match="no place for a checksum"):
        seal(io.BytesIO(content))
