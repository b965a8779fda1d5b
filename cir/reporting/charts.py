"""Charts for pages: lines over epochs, distributions, bars."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from cir.reporting.svg import INK, Size, drawn

_SIZE: Final = (4.8, 2.7)
"""Inches; the page scales the drawing to the width there is."""
_PHONE: Final = (3.3, 2.5)
"""Inches of the same drawing where the page is as narrow as a phone."""
_SMALL: Final = (3.2, 2.0)
"""Inches of a drawing that stands beside others of its kind."""
_MANY: Final = 25
"""Epochs that are drawn without marks, which would run into one another."""
_BINS: Final = 40
_BAR: Final = 0.8
"""Width of a group of bars, where groups are 1 apart."""
_FRAME, _ROW = 0.9, 0.3
"""Inches around lying bars, and of each of them."""
_LETTER, _HANDLE = 0.062, 0.42
"""Inches of a letter of a legend, and of the mark before it with what stands between entries."""


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
    best: int | None = None,
) -> Markup:
    """Values over epochs.

    Args:
        lines: What is drawn; a dashed line has no marks, one without a label no legend.
        y_label: The values' name and unit.
        described: What the chart shows, for those who do not see it.
        title: Stands above.
        from_zero: Whether the scale begins at zero, or near the least value.
        small: Whether it stands beside others of its kind.
        best: The epoch that is marked as the best.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for line in lines:
            _draw_line(axes, line)
        axes.set(xlabel="epoch", ylabel=y_label)
        axes.set_title(title, loc="left")
        if from_zero:
            axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.05)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _mark_best(axes, best, named=not title)
        _legend(figure, axes)

    return drawn(described, draw, _SMALL if small else _SIZE, None if small else _PHONE)


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


def _mark_best(axes: Axes, epoch: int | None, *, named: bool) -> None:
    """A thin line at the best epoch, with its name above the plot."""
    if epoch is None:
        return
    axes.axvline(epoch, color=INK, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0.5)
    if named:
        _name_above(axes, epoch, "best")


def distributions(
    samples: Mapping[str, Float[np.ndarray, " _"]],
    colours: Sequence[str],
    *,
    x_label: str,
    limits: tuple[float, float] | None = None,
    marks: Mapping[float, str] | None = None,
) -> Markup:
    """The distributions of samples as outlines on one scale, so that none hides another.

    Args:
        samples: Samples by name, none of them empty.
        colours: A colour for each name.
        x_label: The samples' name and unit.
        limits: Least and greatest value that are drawn; those of all samples by default.
        marks: Values that are marked by a line, with their names.
    """
    every = np.concatenate(list(samples.values()))
    edges = np.histogram_bin_edges(every, _BINS, limits)
    means = ", ".join(f"{name} {np.mean(sample):.3g}" for name, sample in samples.items())

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for (name, sample), colour in zip(samples.items(), colours, strict=True):
            shares = _shares(sample, edges)
            axes.stairs(shares, edges, fill=True, color=colour, alpha=0.14)
            axes.stairs(shares, edges, color=colour, linewidth=1.8, label=name)
        axes.set(xlabel=x_label, xlim=(edges[0], edges[-1]))
        axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.05)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_locator(_few_ticks())
        _mark_values(axes, marks or {})
        _legend(figure, axes)

    return drawn(f"{x_label}: mean of {means}", draw, _SIZE, _PHONE)


def _mark_values(axes: Axes, marks: Mapping[float, str]) -> None:
    for value, name in marks.items():
        axes.axvline(value, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
        _name_above(axes, value, name)


def _name_above(axes: Axes, value: float, name: str) -> None:
    """A name above the plot, over its value."""
    place = axes.get_xaxis_transform()
    axes.text(value, 1.01, name, transform=place, ha="center", va="bottom", fontsize=7.5)


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
    best: int | None = None,
) -> Markup:
    """Parts of a whole, a bar an epoch.

    Args:
        labels: Epochs.
        parts: Parts by name, one an epoch: shares in 0..1, or values where `y_label` names them.
        colours: A colour for each name.
        described: What the chart shows, for those who do not see it.
        y_label: The values' name and unit, where they are no shares.
        best: The epoch that is marked as the best.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        floor = np.zeros(len(labels))
        for (name, values), colour in zip(parts.items(), colours, strict=True):
            axes.bar(labels, values, bottom=floor, color=colour, label=name, width=0.62)
            floor += np.asarray(values)
        axes.set(xlabel="epoch", ylabel=y_label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if not y_label:
            axes.set_ylim(0, 1)
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        _mark_best(axes, best, named=True)
        _legend(figure, axes)

    return drawn(described, draw, _SIZE, _PHONE)


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

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        bins, width = np.arange(len(labels)), _BAR / len(groups)
        for nth, ((name, shares), colour) in enumerate(zip(groups.items(), colours, strict=True)):
            left = bins - _BAR / 2 + nth * width
            axes.bar(left, shares, width, align="edge", color=colour, label=name)
        axes.set_xticks(bins, labels)
        axes.set(xlabel=x_label)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_locator(_few_ticks())
        _legend(figure, axes)

    return drawn(described, draw, _SIZE, _PHONE)


def lying_bars(
    labels: Sequence[str],
    parts: Mapping[str, Sequence[float]],
    colours: Sequence[str],
    *,
    x_label: str,
    described: str,
    least_end: float = 0.0,
) -> Markup:
    """Shares of a whole as bars from left to right, a bar a name, the first on top.

    Args:
        labels: A name for each bar.
        parts: Shares in 0..1 by name of the part, one a bar.
        colours: A colour for each part.
        x_label: What the shares are of.
        described: What the chart shows, for those who do not see it.
        least_end: The scale ends here or later, so that a small share is drawn as one.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        ends = np.zeros(len(labels))
        for (name, shares), colour in zip(parts.items(), colours, strict=True):
            axes.barh(labels, shares, left=ends, color=colour, label=name, height=0.62)
            ends += np.asarray(shares)
        _lie_down(axes, x_label, max(float(ends.max()), least_end) or 1)
        _legend(figure, axes)

    return drawn(described, draw, *_lying_sizes(len(labels)))


def paired_bars(
    labels: Sequence[str],
    groups: Mapping[str, Sequence[float]],
    colours: Sequence[str],
    *,
    x_label: str,
    described: str,
) -> Markup:
    """Shares in 0..1 as lying bars, those of one name below each other.

    Args:
        labels: A name for each pair of bars, the first on top.
        groups: Shares by name of the group, one a label.
        colours: A colour for each group.
        x_label: What the shares are of.
        described: What the chart shows, for those who do not see it.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places, height = np.arange(len(labels)), _BAR / len(groups)
        for nth, ((name, shares), colour) in enumerate(zip(groups.items(), colours, strict=True)):
            top = places - _BAR / 2 + nth * height
            axes.barh(top, shares, height, align="edge", color=colour, label=name)
        axes.set_yticks(places, labels)
        _lie_down(axes, x_label, 1)
        _legend(figure, axes)

    return drawn(described, draw, *_lying_sizes(len(labels) * (1 + len(groups)) / 2))


def _lie_down(axes: Axes, x_label: str, end: float) -> None:
    """The scale of lying bars, the first of them on top."""
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.set(xlabel=x_label, xlim=(0, end))
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g}%")
    axes.xaxis.set_major_locator(_few_ticks())


def _lying_sizes(rows: float) -> tuple[Size, Size]:
    """The sizes of a drawing of so many lying bars."""
    height = max(_FRAME + _ROW * rows, _SIZE[1] if rows > _FEW else 0)
    return (_SIZE[0], height), (_PHONE[0], height)


_FEW: Final = 4
"""Lying bars that are drawn lower than other charts."""


def _few_ticks() -> MaxNLocator:
    """Up to five marks at round numbers."""
    return MaxNLocator(5, steps=(1, 2, 5, 10))


def _legend(figure: Figure, axes: Axes) -> None:
    """Names several parts above the plot, where no line runs, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        columns = _fitting(labels, figure.get_figwidth())
        figure.legend(handles, labels, loc="outside upper left", ncols=columns)


def _fitting(labels: Iterable[str], inches: float) -> int:
    """How many entries of a legend fit into a line."""
    longest = max(_HANDLE + _LETTER * len(label) for label in labels)
    return max(int(inches / longest), 1)
