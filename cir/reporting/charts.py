"""Charts as inline SVG that takes its colours and its font from the page around it.

Matplotlib draws with stand-in colours, each of which becomes a CSS variable in the finished text
(`--ink`, `--line`, `--c1` ...), so that one drawing suits a light and a dark page. What a browser
would fetch or does not need inside HTML (document type, name spaces, metadata) is left out.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

INK, LINE = "#010101", "#020202"
C1, C2, C3, C4, C5, C6 = "#030303", "#040404", "#050505", "#060606", "#070707", "#080808"
COLOURS: Final = (C1, C2, C3, C5, C6, C4)
"""For names that are not known beforehand, in turn."""
_VARIABLES: Final = {
    INK: "ink",
    LINE: "line",
    C1: "c1",
    C2: "c2",
    C3: "c3",
    C4: "c4",
    C5: "c5",
    C6: "c6",
}

_WIDTH, _HEIGHT = 4.8, 2.7
"""Inches; the page scales the drawing to the width there is."""
_SMALL_WIDTH, _SMALL_HEIGHT = 3.2, 2.0
"""Of a drawing that stands beside others of its kind."""
_MANY: Final = 25
"""Epochs that are drawn without marks, which would run into one another."""
_BINS = 40
_BAR: Final = 0.8
"""Width of a group of bars, where groups are 1 apart."""
_FRAME, _ROW = 0.9, 0.3
"""Inches around lying bars, and of each of them."""
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "font.size": 8.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "axes.titlesize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.columnspacing": 1.2,
}

_UNWANTED: Final = re.compile(
    r"<metadata>.*?</metadata>|<style.*?</style>|(?<=<g) id=\"[^\"]*\"|font-family: [^;\"]*;?",
    flags=re.DOTALL,
)
"""Metadata, styles that would leak into the page, ids that every chart repeats, font names."""


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
    size = (_SMALL_WIDTH, _SMALL_HEIGHT) if small else (_WIDTH, _HEIGHT)
    with _drawing(described, *size) as drawing:
        axes = drawing.figure.subplots()
        for line in lines:
            _draw(axes, line)
        axes.set(xlabel="epoch", ylabel=y_label)
        axes.set_title(title, loc="left")
        if from_zero:
            axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.05)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(lines) > 1:
            _legend(drawing.figure, axes)
    return drawing.svg()


def _draw(axes: Axes, line: Line) -> None:
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
            The title of a lone panel is only told to those who do not see it.
        colours: A colour for each name.
        x_label: The samples' name and unit.
    """
    every = np.concatenate([s for samples in panels.values() for s in samples.values()])
    edges = np.histogram_bin_edges(every, _BINS)
    highest = max(_shares(s, edges).max() for samples in panels.values() for s in samples.values())
    drawn = []
    for title, samples in panels.items():
        means = ", ".join(f"{name} {np.mean(sample):.2f}" for name, sample in samples.items())
        with _drawing(f"{x_label}, {title}: mean of {means}") as drawing:
            axes = drawing.figure.subplots()
            for (name, sample), colour in zip(samples.items(), colours, strict=True):
                axes.stairs(
                    _shares(sample, edges), edges, fill=True, color=colour, alpha=0.5, label=name
                )
            axes.set_title(title if len(panels) > 1 else "", loc="left")
            axes.set(xlabel=x_label, ylim=(0, highest * 1.05))
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
            _legend(drawing.figure, axes)
        drawn.append(drawing.svg())
    return drawn


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
    with _drawing(described) as drawing:
        axes = drawing.figure.subplots()
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
            _legend(drawing.figure, axes)
    return drawing.svg()


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
    with _drawing(described) as drawing:
        axes = drawing.figure.subplots()
        places, width = np.arange(len(labels)), _BAR / len(groups)
        for nth, ((name, shares), colour) in enumerate(zip(groups.items(), colours, strict=True)):
            left = places - _BAR / 2 + nth * width
            axes.bar(left, shares, width, align="edge", color=colour, label=name)
        axes.set_xticks(places, labels)
        axes.set(xlabel=x_label)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
        if len(groups) > 1:
            _legend(drawing.figure, axes)
    return drawing.svg()


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
    with _drawing(described, height=_FRAME + _ROW * len(labels)) as drawing:
        axes = drawing.figure.subplots()
        ends = np.zeros(len(labels))
        for (name, shares), colour in zip(parts.items(), colours, strict=True):
            axes.barh(labels, shares, left=ends, color=colour, label=name, height=0.62)
            ends += np.asarray(shares)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        axes.set(xlabel=x_label, xlim=(0, ends.max() or 1))
        axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g}%")
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
        if len(parts) > 1:
            _legend(drawing.figure, axes)
    return drawing.svg()


class _Drawing:
    def __init__(self, described: str, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width, height), layout="constrained")
        self._described = described
        self._text = ""

    def finish(self) -> None:
        """Draws while the style holds."""
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        self.figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
        self._text = buffer.getvalue()

    def svg(self) -> Markup:
        """The finished drawing as an element of HTML."""
        return _inline(self._text, self._described)


@contextmanager
def _drawing(described: str, width: float = _WIDTH, height: float = _HEIGHT) -> Iterator[_Drawing]:
    """A figure in this module's style; what it describes also makes its inner ids its own."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": described}):
        drawing = _Drawing(described, width, height)
        yield drawing
        drawing.finish()


def _legend(figure: Figure, axes: Axes) -> None:
    """Above the plot, where no line runs."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4)


def _inline(text: str, described: str) -> Markup:
    """An SVG document as an element: sized by the page, coloured by CSS variables."""
    box = re.search(r'viewBox="([^"]+)"', text)
    start = text.index(">", text.index("<svg")) + 1
    body = _UNWANTED.sub("", text[start:])
    for stand_in, name in _VARIABLES.items():
        body = body.replace(stand_in, f"var(--{name})")
    opening = f'<svg viewBox="{box[1] if box else ""}" role="img" aria-label="{escape(described)}">'
    return Markup(opening + body)  # noqa: S704 - drawn here, and its only text is escaped
