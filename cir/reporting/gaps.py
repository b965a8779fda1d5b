"""How much farther negatives are than targets, as a chart that outliers do not flatten."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from jaxtyping import Float64

from cir.reporting.charts import distributions
from cir.reporting.pages import Chart

_INSIDE: Final = 0.95
"""Share of the gaps that lies within the margin where the chart shows nothing else."""
_OUTER: Final = 0.5
"""Percent of the gaps that are left out at either end of another chart."""
GAP: Final = "distance to negative minus distance to target"


def gap_chart(
    samples: Mapping[str, Float64[np.ndarray, " _"]],
    colours: Sequence[str],
    margin: float,
    *,
    title: str,
) -> Chart:
    """The gaps of some negatives, from 0 (as near as the target) to the margin.

    Args:
        samples: Gaps by name, as `cir.artefacts.manifest_statistics.gaps` gives them.
        colours: A colour for each name.
        margin: Where semi-hard negatives end.
        title: The chart's heading.
    """
    every = np.concatenate(list(samples.values()))
    low, high = limits(every, margin)
    outside = int(((every < low) | (every > high)).sum())
    share = f"{100 * outside / len(every):.2g} %"
    left_out = f" {outside:,} of {len(every):,} ({share}) lie outside the chart." if outside else ""
    marks = {at: name for at, name in ((0.0, "target"), (margin, "margin")) if low <= at <= high}
    drawing = distributions(samples, colours, x_label=GAP, limits=(low, high), marks=marks)
    about = (
        f"Left of the target a negative is hard, from there to the margin of {margin:g} semi-hard, "
        f"beyond it easy.{left_out}"
    )
    return Chart(title, about, [drawing])


def limits(gaps: Float64[np.ndarray, " _"], margin: float) -> tuple[float, float]:
    """From where to where a chart reaches: the semi-hard band where nearly all gaps lie in it."""
    inside = float(((gaps >= 0) & (gaps <= margin)).mean())
    if inside >= _INSIDE and margin > 0:
        return 0.0, margin
    low, high = np.percentile(gaps, (_OUTER, 100 - _OUTER))
    return min(float(low), 0.0), max(float(high), margin)
