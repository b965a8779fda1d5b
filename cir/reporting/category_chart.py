"""Recall by category, before training and after, as a chart."""

from collections.abc import Mapping
from typing import Final

from cir.reporting.charts import paired_bars
from cir.reporting.judged import PLAIN_SUM
from cir.reporting.pages import Chart
from cir.reporting.svg import C1, C4

_SHOWN: Final = 12
"""Categories that are drawn: those in which recall rose or fell most."""


def category_chart(
    before: Mapping[str, float], after: Mapping[str, float], where: str
) -> list[Chart]:
    """R@10 of each category, in percent, gains first and losses last; nothing where there is one.

    Args:
        before: Of the plain sum, by category.
        after: Of the trained combiner, by category.
        where: What was judged, in words.
    """
    if len(after) < 2:
        return []
    gain = {name: after[name] - before[name] for name in after}
    moved_most = sorted(gain, key=lambda name: -abs(gain[name]))[:_SHOWN]
    names = sorted(moved_most, key=lambda name: -gain[name])
    described = "; ".join(f"{name} {before[name]:.1f} to {after[name]:.1f}" for name in names)
    drawing = paired_bars(
        [f"{name} {after[name]:.0f}" for name in names],
        {
            PLAIN_SUM: [before[name] / 100 for name in names],
            "trained": [after[name] / 100 for name in names],
        },
        (C4, C1),
        x_label="R@10",
        described=f"R@10 by category {where}: {described}",
    )
    some = f", the {len(names)} of {len(after)} that moved most" if len(names) < len(after) else ""
    return [Chart("Recall by category", f"R@10 {where}{some}.", [drawing])]
