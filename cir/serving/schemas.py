"""What requests and answers hold: the types that OpenAPI describes."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from cir.config import ReferenceRule
from cir.serving import limits
from cir.serving.texts import Text, Words

ImageId = Annotated[str, StringConstraints(min_length=1, max_length=limits.ID)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=limits.ID)]
Examples = Annotated[list[ImageId], Field(max_length=limits.EXAMPLES)]
Photo = Annotated[str, StringConstraints(min_length=1, max_length=limits.BODY_BYTES)]
SplitName = Literal["train", "val", "test"]
Side = Literal["120", "240", "480", "1024"]
"""Longest sides of pictures in pixels."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Image(_Answer):
    """A photo of the gallery."""

    id: str
    title: str = Field(description="Empty where no file names one.")
    categories: list[str]
    attributes: dict[str, str] = Field(description='Such as {"colour": "red"}.')
    picture: str | None = Field(
        description="Path of the photo as a JPEG, to which ?side=120, 240, 480 or 1024 may be "
        "added; null where only its vector is known."
    )


class SearchRequest(BaseModel):
    """A query: a reference, a text that changes it, or both."""

    model_config = ConfigDict(extra="forbid", strict=True)

    images: Examples = Field([], description="Ids of the references; several count as their mean.")
    photo: Photo | None = Field(
        None,
        description="A reference of one's own: the bytes of an image file as base64. It is decoded "
        "in memory and forgotten.",
    )
    text: Text = Field("", description="What to change, or what to find without a reference.")
    like: Examples = Field([], description="Ids of photos to be more like.")
    unlike: Examples = Field([], description="Ids of photos to be less like.")
    less: list[Words] = Field(
        [], max_length=limits.EXAMPLES, description="Texts to be less like, such as stripes."
    )
    weight: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of the text: 0 the image alone, 1 the text alone, 0.5 and null what "
        "the retriever makes of both; refused where either is missing.",
    )
    top: int = Field(10, ge=1, le=limits.RESULTS, description="How many results.")
    category: Name | None = Field(None, description="Search this category alone.")
    without: list[ImageId] = Field(
        [], max_length=limits.LEFT_OUT, description="Ids that are never results."
    )
    copies: bool = Field(
        False, description="Near-copies as results of their own, in place of folded into one."
    )
    retrievers: list[Name] = Field(
        [],
        max_length=2,
        description="Whose answers: names of /api/info; the first of them by default. Two are "
        "answered side by side.",
    )


class Result(_Answer):
    """A photo that was found."""

    rank: int = Field(description="1 is the best.")
    score: float = Field(description="Cosine similarity to the query, -1 to 1.")
    image: Image
    copies: list[str] = Field(description="Ids of near-copies that this result stands for.")


class Answer(_Answer):
    """One retriever's results."""

    retriever: str
    results: list[Result]


class Milliseconds(_Answer):
    """Where the time went, of the batch that a request was part of."""

    waiting: float = Field(description="In the queue.")
    encode: float
    compose: float
    search: float


class SearchResponse(_Answer):
    """The answers, a retriever each, in the order that they were asked for."""

    answers: list[Answer]
    milliseconds: Milliseconds


class Images(_Answer):
    """A part of a listing."""

    total: int = Field(description="Of the whole listing.")
    images: list[Image]


class Neighbours(_Answer):
    """The photos nearest to one, by image alone."""

    image: Image
    results: list[Result]


class Category(_Answer):
    """A category of the gallery."""

    name: str
    images: int


class Word(_Answer):
    """A word of the catalogue that a change may name."""

    word: str
    images: int = Field(description="Photos that it is said of.")


class Attribute(_Answer):
    """An attribute of the catalogue with its words, the most frequent first."""

    name: str
    words: list[Word]


class RetrieverInfo(_Answer):
    """Something that can be asked."""

    name: str
    title: str = Field(description="In words, such as: plain sum, before training.")
    trained: bool


class Limits(_Answer):
    """The bounds of a request."""

    text: int = Field(description="Characters of a text.")
    top: int
    upload_bytes: int
    upload_pixels: int


class QuerySplit(_Answer):
    """A split of the dataset that has queries."""

    split: SplitName
    queries: int


class Info(_Answer):
    """What the server holds."""

    version: str
    images: int
    retrievers: list[RetrieverInfo]
    categories: list[Category]
    queries: list[QuerySplit]
    writable: bool = Field(description="Whether photos can be added and removed, with a token.")
    limits: Limits


class IndexInfo(_Answer):
    """How vectors are compared."""

    name: str = Field(description="flat compares with every one; else the index and where it is.")
    recall: float = Field(
        description="Share of the nearest that it finds, measured on a sample when it was made."
    )
    measured_on: int = Field(description="Queries of the sample; 0 where every vector is compared.")


class Health(_Answer):
    """That the server answers."""

    status: Literal["ok"]
    version: str
    images: int
    waiting: int = Field(description="Searches in the queue.")
    index: IndexInfo


class DatasetQuery(_Answer):
    """A query of the dataset, whose true targets are known."""

    id: str
    split: SplitName
    category: str
    reference: Image
    text: str = Field(description='The captions joined, "a and b": what evaluation searches for.')
    targets: list[str]


class DatasetQueries(_Answer):
    """A part of a split's queries."""

    total: int
    queries: list[DatasetQuery]


class Target(_Answer):
    """A true target of a query, and where it stands."""

    rank: int = Field(
        description="1 is the best, as cir evaluate counts. A target that is a result too has the "
        "same rank there."
    )
    score: float
    image: Image


class JudgedAnswer(_Answer):
    """One retriever's answer to a query of the dataset."""

    retriever: str
    targets: list[Target] = Field(description="The best first.")
    results: list[Result] = Field(
        description="The best of the ranked photos, near-copies as results of their own."
    )


class JudgedQuery(_Answer):
    """A query of the dataset with its answers."""

    query: DatasetQuery
    ranked: int = Field(
        description="Photos of the query's category and split: all ranks, of targets and of "
        "results, are among them."
    )
    reference_rule: ReferenceRule = Field(
        description="kept: the reference is ranked as well, as in FashionIQ; removed: it is not, "
        "as in CIRR."
    )
    answers: list[JudgedAnswer]


class Fault(_Answer):
    """Why a request was refused, as one line."""

    detail: str
