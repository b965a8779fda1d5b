"""What a reader of a run's figures should doubt."""

from typing import Final

_FEW: Final = 100
"""Held-out queries below which one of them moves a recall by more than a point."""


def doubts(best_epoch: int, held_out: int) -> list[str]:
    """A sentence for each reason to take the best epoch with care.

    Args:
        best_epoch: The epoch whose weights are kept; 0 is the state before training.
        held_out: Queries by which it was chosen.
    """
    found = []
    if held_out < _FEW:
        found.append(
            f"The best epoch was chosen on {held_out:,} held-out queries, of which one moves a "
            f"recall by {100 / held_out:.1f} points: hold out a larger share, or use more queries."
        )
    if best_epoch == 0:
        found.append(
            "The best epoch is 0, the state before training: on the held-out queries no epoch was "
            "better, so what is kept is not trained."
        )
    return found
