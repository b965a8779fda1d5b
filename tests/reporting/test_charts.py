"""Bars drawn for manifests: their lengths, their names and their colours."""

import re
from collections.abc import Sequence

import numpy as np
import pytest

from cir.reporting.charts import grouped_bars, histograms, lying_bars
from cir.reporting.svg import C1, C2, C3


def boxes(svg: str, colour: str) -> list[tuple[float, float, float]]:
    """Left edge, width and height of each bar of a colour, in the order drawn, the legend last."""
    bars = re.findall(r'<path d="([^"]+)"[^>]*style="fill: var\(--' + colour, svg)
    corners = [np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", bar), float) for bar in bars]
    return [(c[:, 0].min(), np.ptp(c[:, 0]), np.ptp(c[:, 1])) for c in corners]


def ratios(lengths: Sequence[float]) -> list[float]:
    return [length / max(lengths) for length in lengths]


def test_grouped_bars_are_as_high_as_their_shares() -> None:
    shares = {"before": np.array([0.1, 0.4]), "after": np.array([0.3, 0.2])}
    svg = grouped_bars(["1", "2"], shares, (C1, C2), x_label="rank", described="ranks")
    high = [h for colour in ("c1", "c2") for _, _, h in boxes(svg, colour)[:2]]
    assert ratios(high) == pytest.approx([0.25, 1, 0.75, 0.5], abs=0.01)
    assert "before" in svg
    assert "after" in svg


def test_lying_bars_stack_from_left_to_right() -> None:
    parts = {"hard": [0.25, 0.5], "easy": [0.75, 0.5]}
    svg = lying_bars(["any", "same"], parts, (C3, C2), x_label="share", described="kinds")
    hard, easy = boxes(svg, "c3")[:2], boxes(svg, "c2")[:2]
    wide = [width for _, width, _ in (*hard, *easy)]
    assert ratios(wide) == pytest.approx([1 / 3, 2 / 3, 1, 2 / 3], abs=0.01)
    for (left, width, _), (start, _, _) in zip(hard, easy, strict=True):
        assert start == pytest.approx(left + width, abs=0.01)
    assert hard[0][0] == hard[1][0]


def test_many_lying_bars_take_more_room() -> None:
    def height(rows: int) -> float:
        names = [str(row) for row in range(rows)]
        svg = lying_bars(names, {"": [0.5] * rows}, (C1,), x_label="", described=f"{rows}")
        box = re.search(r'viewBox="([^"]+)"', svg)
        assert box
        return float(box[1].split()[-1])

    assert height(20) > 3 * height(3)


def test_bars_of_nothing_can_be_drawn() -> None:
    none = [0.0, 0.0]
    assert "<svg" in lying_bars(["a", "b"], {"": none}, (C1,), x_label="", described="")
    assert "<svg" in grouped_bars(["1"], {"a": np.zeros(1)}, (C1,), x_label="", described="")


def test_a_lone_panel_needs_no_title() -> None:
    sample = {"s": np.linspace(0, 1, 9)}
    (lone,) = histograms({"all of them": sample}, (C1,), x_label="x")
    pair = histograms({"first one": sample, "second one": sample}, (C1,), x_label="x")
    assert lone.count("all of them") == 1
    for svg, name in zip(pair, ("first one", "second one"), strict=True):
        assert svg.count(name) == 2


def test_a_dollar_in_a_name_is_no_formula() -> None:
    name = r"$\frac$"
    svg = lying_bars([name], {name: [1.0]}, (C1,), x_label=name, described=name)
    assert svg.count(name) >= 3
