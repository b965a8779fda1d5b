"""The texts of pretraining, and the photos that each fits."""

from itertools import chain, combinations

import numpy as np
import pytest
import torch

from cir.pretraining.corpus import UNSTATED, Corpus
from cir.sources.annotations import PhotoRecord
from tests.support.pretraining import random_records


def test_codes_number_the_values_of_each_facet() -> None:
    corpus = Corpus(
        [
            PhotoRecord("a", "train", "t", {"colour": "red"}),
            PhotoRecord("a", "train", "t", {"colour": "blue", "gender": "men"}),
        ]
    )
    assert corpus.facets == ("colour", "gender")
    assert corpus.values == (("blue", "red"), ("men",))
    assert corpus.codes.tolist() == [[1, UNSTATED], [0, 0]]


@pytest.mark.parametrize("seed", range(5))
def test_a_text_fits_the_photos_that_share_what_it_states(seed: int) -> None:
    """Positives against sets of photos that agree with the text's own in some of its facets."""
    records = random_records(40, seed)
    pairs = Corpus(records).draw(np.arange(40), np.random.default_rng(seed))
    for own, text, fits in zip(records, pairs.texts, pairs.positives.tolist(), strict=True):
        facets = [] if text == own.title else list(own.attributes)
        some = chain.from_iterable(combinations(facets, n) for n in range(1, len(facets) + 1))
        allowed = [
            [all(other.attributes.get(f) == own.attributes[f] for f in chosen) for other in records]
            for chosen in some
        ]
        assert fits in (allowed or [[other is own for other in records]])


@pytest.mark.parametrize("seed", range(5))
def test_a_text_that_names_the_gender_alone_fits_that_gender(seed: int) -> None:
    records = [PhotoRecord("a", "train", str(n), {"gender": g}) for n, g in enumerate("mwmwm" * 4)]
    pairs = Corpus(records).draw(np.arange(20), np.random.default_rng(seed))
    for own, text, fits in zip(records, pairs.texts, pairs.positives.tolist(), strict=True):
        same = [other.attributes == own.attributes for other in records]
        assert fits == ([other is own for other in records] if text == own.title else same)


def test_texts_are_titles_and_sentences_of_attributes() -> None:
    corpus = Corpus(random_records(200))
    texts = corpus.draw(np.arange(200), np.random.default_rng(0)).texts
    titles = sum(text.startswith("Brand") for text in texts)
    assert 40 < titles < 100
    assert any("navy blue instead of" in text or "not navy blue" in text for text in texts)


def test_the_same_generator_draws_the_same_texts() -> None:
    corpus, rows = Corpus(random_records(30)), np.arange(30)
    one, other = (corpus.draw(rows, np.random.default_rng(4)) for _ in range(2))
    assert one.texts == other.texts
    assert torch.equal(one.positives, other.positives)
    assert one.texts != corpus.draw(rows, np.random.default_rng(5)).texts


def test_a_photo_without_attributes_is_named_by_its_title() -> None:
    corpus = Corpus([PhotoRecord("a", "train", "a title", {}), *random_records(3)])
    assert corpus.draw(np.array([0]), np.random.default_rng(0)).texts == ("a title",)
