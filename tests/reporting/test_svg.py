"""Drawings: what a page gets of them, and what nobody is told on the screen."""

import warnings

import pytest
from matplotlib.figure import Figure

from cir.reporting.svg import drawn


@pytest.mark.parametrize("name", ["シャツ", "鞋", "हिन्दी"])
def test_names_that_the_font_lacks_are_drawn_without_a_warning(name: str) -> None:
    """Warnings are errors here."""

    def draw(figure: Figure) -> None:
        figure.subplots().set_yticks([0], [name])

    assert f">{name}</text>" in drawn(name, draw, (3, 2))


def test_other_warnings_are_kept() -> None:
    def draw(figure: Figure) -> None:
        warnings.warn("of something else", UserWarning, stacklevel=1)

    with pytest.warns(UserWarning, match="of something else"):
        drawn("other", draw, (3, 2))
