"""Texts that spell a sum of losses or a curriculum."""

import pytest

from cir.spellings import candidates, curriculum, loss_weights


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("triplet", {"triplet": 1}),
        ("triplet+contrastive", {"triplet": 1, "contrastive": 1}),
        (" 0.5*triplet + 2 * contrastive", {"triplet": 0.5, "contrastive": 2}),
        ("1e-1*contrastive", {"contrastive": 0.1}),
    ],
)
def test_a_sum_of_losses(text, weights):
    assert loss_weights(text) == weights


@pytest.mark.parametrize(
    "text", ["", "triple", "triplet+", "triplet+triplet", "0*triplet", "-1*triplet", "x*triplet",
             "nan*triplet", "inf*triplet", "triplet*2"]
)  # fmt: skip
def test_what_is_no_sum_of_losses(text):
    with pytest.raises(ValueError, match=r"expected a sum of triplet and contrastive"):
        loss_weights(text)


def test_a_curriculum_says_the_strategy_of_every_epoch():
    stages = curriculum("random:2, semi-hard:1,hard")
    assert [stages.strategy(epoch) for epoch in range(1, 7)] == [
        "random", "random", "semi-hard", "hard", "hard", "hard",
    ]  # fmt: skip
    assert [stages.first_epoch(stage) for stage in range(3)] == [1, 3, 4]


def test_the_last_stage_lasts_whatever_its_number():
    stages = curriculum("random:1,hard:2")
    assert [stages.strategy(epoch) for epoch in range(1, 6)] == ["random", *["hard"] * 4]


@pytest.mark.parametrize(
    "text", ["", "easy", "random,hard", "random:0,hard", "random:x", "hard:-1"]
)
def test_what_is_no_curriculum(text):
    with pytest.raises(ValueError, match="expected strategies"):
        curriculum(text)


def test_candidates_in_any_order():
    assert candidates("batch") == {"batch"}
    assert candidates("bank + batch+mined") == {"batch", "mined", "bank"}


@pytest.mark.parametrize("text", ["", "mined", "batch+batch", "batch+gallery", "batch+"])
def test_what_are_no_candidates(text):
    with pytest.raises(ValueError, match="expected batch alone or with mined, bank, reference"):
        candidates(text)
