"""Bars drawn for manifests: their lengths, their names and their colours."""

import re
from collections.abc import Sequence

import numpy as np
import pytest

from cir.reporting.charts import (
    Line,
    distributions,
    grouped_bars,
    line_chart,
    lying_bars,
    paired_bars,
)
from cir.reporting.gaps import gap_chart, limits
from cir.reporting.svg import C1, C2, C3


def boxes(svg: str, colour: str) -> list[tuple[float, float, float]]:
    """Left edge, width and height of each bar of a colour, in the order drawn, the legend last."""
    bars = re.findall(r'<path d="([^"]+)"[^>]*style="fill: var\(--' + colour, svg)
    corners = [np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", bar), float) for bar in bars]
    return [(c[:, 0].min(), np.ptp(c[:, 0]), np.ptp(c[:, 1])) for c in corners]


def ratios(lengths: Sequence[float]) -> list[float]:
    return [length / max(lengths) for length in lengths]


@pytest.mark.slow
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


@pytest.mark.slow
def test_many_lying_bars_take_more_room() -> None:
    def height(rows: int) -> float:
        names = [str(row) for row in range(rows)]
        svg = lying_bars(names, {"": [0.5] * rows}, (C1,), x_label="", described=f"{rows}")
        box = re.search(r'viewBox="([^"]+)"', svg)
        assert box
        return float(box[1].split()[-1])

    assert height(20) > 3 * height(3)


@pytest.mark.slow
def test_bars_of_nothing_can_be_drawn() -> None:
    none = [0.0, 0.0]
    assert "<svg" in lying_bars(["a", "b"], {"": none}, (C1,), x_label="", described="")
    assert "<svg" in grouped_bars(["1"], {"a": np.zeros(1)}, (C1,), x_label="", described="")


def test_a_dollar_in_a_name_is_no_formula() -> None:
    name = r"$\frac$"
    svg = lying_bars([name], {name: [1.0]}, (C1,), x_label=name, described=name)
    assert svg.count(name) >= 3


def test_pairs_of_bars_lie_below_each_other() -> None:
    groups = {"before": [0.25, 0.5], "after": [1.0, 0.75]}
    svg = paired_bars(["a", "b"], groups, (C1, C2), x_label="R@10", described="recall")
    wide = [width for colour in ("c1", "c2") for _, width, _ in boxes(svg, colour)[:2]]
    assert ratios(wide) == pytest.approx([0.25, 0.5, 1, 0.75], abs=0.01)


def test_a_small_share_is_drawn_as_one() -> None:
    svg = lying_bars(
        ["a"], {"starved": [0.001]}, (C3,), x_label="share", described="", least_end=0.1
    )
    axis = max(float(x) for x in re.findall(r"M (\d+\.\d+) ", svg))
    assert boxes(svg, "c3")[0][1] < axis / 50


def test_a_drawing_has_a_size_for_phones_of_its_own() -> None:
    svg = distributions({"s": np.linspace(0, 1, 9)}, (C1,), x_label="x")
    names = re.findall(r'<svg class="(\w+)" viewBox="0 0 ([\d.]+)', svg)
    assert [name for name, _ in names] == ["wide", "narrow"]
    assert float(names[1][1]) < 0.75 * float(names[0][1])
    # Ids of one page must differ.
    ids = re.findall(r' id="([^"]+)"', svg)
    assert len(ids) == len(set(ids))


@pytest.mark.slow
def test_the_best_epoch_is_marked() -> None:
    lines = [Line("a", [0, 1, 2], [1.0, 3.0, 2.0], C1)]
    drawn = [line_chart(lines, y_label="y", described="d", best=best) for best in (None, 1)]
    assert ["best</text>" in svg for svg in drawn] == [False, True]


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (np.linspace(0, 0.2, 100), (0, 0.2)),
        (np.append(np.linspace(0, 0.2, 1000), [-0.75, -0.7, 0.9]), (0, 0.2)),
        (np.linspace(-0.5, 0.5, 1001), (-0.495, 0.495)),
        (np.linspace(0.3, 0.5, 100), (0, 0.499)),
    ],
)
def test_outliers_do_not_flatten_a_chart_of_gaps(
    sample: np.ndarray, expected: tuple[float, float]
) -> None:
    assert limits(sample, 0.2) == pytest.approx(expected, abs=1e-3)


@pytest.mark.slow
def test_what_lies_outside_the_chart_is_counted() -> None:
    sample = np.append(np.linspace(0, 0.2, 997), [-0.75, -0.7, 0.9])
    chart = gap_chart({"negatives": sample}, (C2,), 0.2, title="t")
    assert "3 of 1,000 (0.3 %) lie outside the chart." in chart.caption
    whole = gap_chart({"negatives": sample[:997]}, (C2,), 0.2, title="t")
    assert "outside" not in whole.caption
