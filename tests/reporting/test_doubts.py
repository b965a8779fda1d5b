"""Reasons to take a best epoch with care."""

from cir.reporting.doubts import doubts


def test_few_queries_and_no_gain_are_told() -> None:
    few, untrained = doubts(best_epoch=0, held_out=8)
    assert "on 8 held-out queries" in few
    assert "12.5 points" in few
    assert "the state before training" in untrained


def test_a_sound_choice_raises_no_doubt() -> None:
    assert doubts(best_epoch=3, held_out=1324) == []
