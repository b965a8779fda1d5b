"""Addresses of collections: what is one, and what is refused."""

import pytest

from cir.addresses import milvus_address


@pytest.mark.parametrize(
    ("text", "uri", "collection", "written"),
    [
        ("milvus://db:19531/photos", "http://db:19531", "photos", None),
        ("milvus://db/photos", "http://db:19530", "photos", "milvus://db:19530/photos"),
        ("milvus://[::1]:1/photos", "http://[::1]:1", "photos", None),
        ("milvus+https://db:443/_p1", "https://db:443", "_p1", None),
        ("milvus:///data/shop.db/photos", "/data/shop.db", "photos", None),
    ],
)
def test_an_address_is_read_and_written(
    text: str, uri: str, collection: str, written: str | None
) -> None:
    address = milvus_address(text)
    assert (address.uri, address.collection) == (uri, collection)
    assert str(address) == (written or text)
    assert address.is_file is text.startswith("milvus:///")


@pytest.mark.parametrize(
    "text",
    [
        "flat",
        "http://db:19530/photos",
        "milvus://db",
        "milvus://db/",
        "milvus://db:port/photos",
        "milvus://db:99999/photos",
        "milvus://db/photos/more",
        "milvus://db/pho-tos",
        "milvus://user:password@db/photos",
        "milvus://db/photos?x=1",
        "milvus:///data/shop/photos",
        "milvus:///data/my shop.db/photos",
        "milvus:///data/a-name-that-is-too-long-for-milvus-lite.db/photos",
        "milvus+https:///data/shop.db/photos",
        "milvus://shop.db/photos/more",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^milvus://HOST:PORT/COLLECTION"):
        milvus_address(text)
