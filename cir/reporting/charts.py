"""Charts for pages: lines over epochs, histograms, bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from cir.reporting.svg import drawing

_SIZE: Final = (4.8, 2.7)
"""Inches; the page scales the drawing to the width there is."""
_SMALL: Final = (3.2, 2.0)
"""Inches of a drawing that stands beside others of its kind."""
_MANY: Final = 25
"""Epochs that are drawn without marks, which would run into one another."""
_BINS: Final = 40
_BAR: Final = 0.8
"""Width of a group of bars, where groups are 1 apart."""
_FRAME, _ROW = 0.9, 0.3
"""Inches around lying bars, and of each of them."""


@dataclass(frozen=True)
class Line:
    """One measured value over epochs."""

    label: str
    epochs: Sequence[int]
    values: Sequence[float]
    colour: str
    dashed: bool = False
    low: Sequence[float] = ()
    """With `high`, the borders of a band that is shaded."""
    high: Sequence[float] = ()


def line_chart(
    lines: Sequence[Line],
    *,
    y_label: str,
    described: str,
    title: str = "",
    from_zero: bool = True,
    small: bool = False,
) -> Markup:
    """Values over epochs.

    Args:
        lines: What is drawn; a dashed line has no marks, one without a label no legend.
        y_label: The values' name and unit.
        described: What the chart shows, for those who do not see it.
        title: Stands above.
        from_zero: Whether the scale begins at zero, or near the least value.
        small: Whether it stands beside others of its kind.
    """
    size = _SMALL if small else _SIZE
    with drawing(described, *size) as drawn:
        axes = drawn.figure.subplots()
        for line in lines:
            _draw_line(axes, line)
        axes.set(xlabel="epoch", ylabel=y_label)
        axes.set_title(title, loc="left")
        if from_zero:
            axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.05)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(lines) > 1:
            _legend(drawn.figure, axes)
    return drawn.svg()


def _draw_line(axes: Axes, line: Line) -> None:
    if line.low:
        axes.fill_between(line.epochs, line.low, line.high, color=line.colour, alpha=0.18, lw=0)
    axes.plot(
        line.epochs,
        line.values,
        color=line.colour,
        label=line.label or None,
        linewidth=1.4 if line.dashed else 1.8,
        linestyle=(0, (3, 3)) if line.dashed else "-",
        marker="" if line.dashed or len(line.epochs) > _MANY else "o",
        markersize=3.5,
    )


def histograms(
    panels: Mapping[str, Mapping[str, Float[np.ndarray, " _"]]],
    colours: Sequence[str],
    *,
    x_label: str,
) -> list[Markup]:
    """A drawing a panel, all on one scale.

    Args:
        panels: Samples by name, by title of the panel; the names are the same in every panel.
            The title of a lone panel is not drawn, and reaches only those who do not see it.
        colours: A colour for each name.
        x_label: The samples' name and unit.
    """
    every = np.concatenate([s for samples in panels.values() for s in samples.values()])
    edges = np.histogram_bin_edges(every, _BINS)
    highest = max(_shares(s, edges).max() for samples in panels.values() for s in samples.values())
    drawings = []
    for title, samples in panels.items():
        means = ", ".join(f"{name} {np.mean(sample):.2f}" for name, sample in samples.items())
        with drawing(f"{x_label}, {title}: mean of {means}", *_SIZE) as drawn:
            axes = drawn.figure.subplots()
            for (name, sample), colour in zip(samples.items(), colours, strict=True):
                axes.stairs(
                    _shares(sample, edges), edges, fill=True, color=colour, alpha=0.5, label=name
                )
            axes.set_title(title if len(panels) > 1 else "", loc="left")
            axes.set(xlabel=x_label, ylim=(0, highest * 1.05))
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            axes.yaxis.set_major_locator(_few_ticks())
            _legend(drawn.figure, axes)
        drawings.append(drawn.svg())
    return drawings


def _shares(
    sample: Float[np.ndarray, " _"], edges: Float[np.ndarray, " edges"]
) -> Float[np.ndarray, " bins"]:
    """The share of a sample in each bin."""
    shares: Float[np.ndarray, " bins"] = np.histogram(sample, edges)[0] / max(len(sample), 1)
    return shares


def stacked_bars(
    labels: Sequence[int],
    parts: Mapping[str, Sequence[float]],
    colours: Sequence[str],
    *,
    described: str,
    y_label: str = "",
) -> Markup:
    """Parts of a whole, a bar an epoch.

    Args:
        labels: Epochs.
        parts: Parts by name, one an epoch: shares in 0..1, or values where `y_label` names them.
        colours: A colour for each name.
        described: What the chart shows, for those who do not see it.
        y_label: The values' name and unit, where they are no shares.
    """
    with drawing(described, *_SIZE) as drawn:
        axes = drawn.figure.subplots()
        floor = np.zeros(len(labels))
        for (name, values), colour in zip(parts.items(), colours, strict=True):
            axes.bar(labels, values, bottom=floor, color=colour, label=name, width=0.62)
            floor += np.asarray(values)
        axes.set(xlabel="epoch", ylabel=y_label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if not y_label:
            axes.set_ylim(0, 1)
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        if len(parts) > 1:
            _legend(drawn.figure, axes)
    return drawn.svg()


def grouped_bars(
    labels: Sequence[str],
    groups: Mapping[str, Float[np.ndarray, " bins"]],
    colours: Sequence[str],
    *,
    x_label: str,
    described: str,
) -> Markup:
    """Shares in bins that have names; the bars of a bin stand side by side.

    Args:
        labels: A name for each bin.
        groups: Shares in 0..1 by name of the group, one a bin.
        colours: A colour for each group.
        x_label: What the bins are of.
        described: What the chart shows, for those who do not see it.
    """
    with drawing(described, *_SIZE) as drawn:
        axes = drawn.figure.subplots()
        bins, width = np.arange(len(labels)), _BAR / len(groups)
        for nth, ((name, shares), colour) in enumerate(zip(groups.items(), colours, strict=True)):
            left = bins - _BAR / 2 + nth * width
            axes.bar(left, shares, width, align="edge", color=colour, label=name)
        axes.set_xticks(bins, labels)
        axes.set(xlabel=x_label)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_locator(_few_ticks())
        if len(groups) > 1:
            _legend(drawn.figure, axes)
    return drawn.svg()


def lying_bars(
    labels: Sequence[str],
    parts: Mapping[str, Sequence[float]],
    colours: Sequence[str],
    *,
    x_label: str,
    described: str,
) -> Markup:
    """Shares of a whole as bars from left to right, a bar a name, the first on top.

    Args:
        labels: A name for each bar.
        parts: Shares in 0..1 by name of the part, one a bar.
        colours: A colour for each part.
        x_label: What the shares are of.
        described: What the chart shows, for those who do not see it.
    """
    with drawing(described, _SIZE[0], _FRAME + _ROW * len(labels)) as drawn:
        axes = drawn.figure.subplots()
        ends = np.zeros(len(labels))
        for (name, shares), colour in zip(parts.items(), colours, strict=True):
            axes.barh(labels, shares, left=ends, color=colour, label=name, height=0.62)
            ends += np.asarray(shares)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        axes.set(xlabel=x_label, xlim=(0, ends.max() or 1))
        axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g}%")
        axes.xaxis.set_major_locator(_few_ticks())
        if len(parts) > 1:
            _legend(drawn.figure, axes)
    return drawn.svg()


def _few_ticks() -> MaxNLocator:
    """Up to five marks at round numbers."""
    return MaxNLocator(5, steps=(1, 2, 5, 10))


def _legend(figure: Figure, axes: Axes) -> None:
    """Names the parts above the plot, where no line runs."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4)
