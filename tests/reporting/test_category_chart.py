"""Which categories the chart of a report draws, and in which order."""

import re

from cir.reporting.category_chart import category_chart


def drawn_names(before: dict[str, float], after: dict[str, float]) -> tuple[list[str], str]:
    """The categories as they are told to who cannot see the chart, and what is said below it."""
    (chart,) = category_chart(before, after, "on val")
    told = re.search(r'aria-label="R@10 by category on val: ([^"]*)"', str(chart.drawings[0]))
    assert told
    return [each.split(" ")[0] for each in told[1].split("; ")], chart.caption


def test_categories_that_fell_most_are_among_those_that_moved_most() -> None:
    names = [f"c{number:02d}" for number in range(14)]
    before = dict.fromkeys(names, 50.0)
    after = {name: 50.0 + number for number, name in enumerate(names)}
    after["c03"], after["c04"] = 20.0, 49.5  # the largest change of all, and nearly none
    drawn, caption = drawn_names(before, after)
    assert drawn == [f"c{number:02d}" for number in (13, 12, 11, 10, 9, 8, 7, 6, 5, 2, 1, 3)]
    assert caption == "R@10 on val, the 12 of 14 that moved most."


def test_few_categories_are_all_drawn_gains_first() -> None:
    drawn, caption = drawn_names({"a": 9, "b": 9, "c": 9}, {"a": 4, "b": 12, "c": 9})
    assert drawn == ["b", "c", "a"]
    assert caption == "R@10 on val."


def test_one_category_needs_no_chart() -> None:
    assert category_chart({"a": 1}, {"a": 2}, "on val") == []
