"""The figures of a run as charts."""

from collections.abc import Sequence
from typing import Final

from cir.reporting.charts import Line, histograms, line_chart, stacked_bars
from cir.reporting.epoch_figures import TOTAL, series
from cir.reporting.mined_epochs import Spread
from cir.reporting.pages import Chart
from cir.reporting.run_record import RunRecord, mined_when
from cir.reporting.svg import C1, C2, C3, C4, C5, COLOURS
from cir.types import KINDS

_RECALLS: Final = {"R@1": C3, "R@10": C1, "R@50": C2}
"""The recalls that are drawn."""
_PARTS: Final = (C1, C5, C2, C3, C4)
"""Colours of what an epoch's time goes to; what is left over comes last."""


def run_charts(run: RunRecord) -> list[Chart]:
    """Every chart that the run has measurements for."""
    return [
        _recall_chart(run),
        *_active_chart(run),
        *_loss_chart(run),
        *_movement_chart(run),
        *_turnover_chart(run),
        _distance_chart(run),
        _kinds_chart(run),
        *_rate_chart(run),
        _time_chart(run),
        *_others_chart(run),
    ]


def _recall_chart(run: RunRecord) -> Chart:
    epochs = [one.epoch for one in run.epochs]
    trained = [
        Line(name, epochs, [one.dev[name] for one in run.epochs], colour)
        for name, colour in _RECALLS.items()
    ]
    ends = (epochs[0], epochs[-1])
    plain = [
        Line("", ends, (run.plain_sum[name],) * 2, colour, dashed=True)
        for name, colour in _RECALLS.items()
    ]
    described = ", ".join(
        f"{line.label} from {line.values[0]:.1f} to {line.values[-1]:.1f} percent "
        f"(plain sum {run.plain_sum[line.label]:.1f})"
        for line in trained
    )
    return Chart(
        "Recall on held-out queries",
        "Epoch 0 is the combiner before training. Dashed: the plain sum of image and text.",
        [line_chart([*trained, *plain], y_label="recall, %", described=described)],
    )


def _active_chart(run: RunRecord) -> list[Chart]:
    """Nothing where no triplet term is trained."""
    shares = {one.epoch: one.active_share for one in run.epochs if one.active_share is not None}
    if not shares:
        return []
    line = Line("active", list(shares), [100 * share for share in shares.values()], C1)
    described = f"active triplets, last epoch: {line.values[-1]:.0f} percent"
    return [
        Chart(
            "Active triplets",
            "Share of triplets that still break the margin, and so have a gradient.",
            [line_chart([line], y_label="share, %", described=described)],
        )
    ]


def _loss_chart(run: RunRecord) -> list[Chart]:
    """The total and each of its terms, on scales of their own; one alone is drawn large."""
    losses = series(run.epochs, "losses")
    others = [values for name, values in losses.items() if name != TOTAL]
    alone = len(others) == 1 and others[0] == losses.get(TOTAL)
    terms = [name for name in losses if name != TOTAL or not alone]
    if not terms:
        return []
    drawings = [
        line_chart(
            [Line(name, *losses[name], COLOURS[number % len(COLOURS)])],
            y_label="loss",
            title=name if len(terms) > 1 else "",
            described=f"{name} by epoch: {_listed(losses[name][1])}",
            from_zero=False,
            small=len(terms) > 1,
        )
        for number, name in enumerate(terms)
    ]
    scales = ", each on its own scale" if len(terms) > 1 else ""
    about = f"Mean over the training queries of an epoch{scales}."
    return [Chart("Loss", about, drawings, small=len(terms) > 1)]


def _movement_chart(run: RunRecord) -> list[Chart]:
    """Nothing where negatives were mined once."""
    mined = run.mined.epochs
    if len(mined) < 2:
        return []
    lines = [
        _spread_line(name, [(one.epoch, spread) for one, spread in spreads if spread], colour)
        for name, spreads, colour in (
            ("target", [(one, one.targets) for one in mined], C1),
            ("mined negatives", [(one, one.negatives) for one in mined], C2),
        )
    ]
    described = "; ".join(f"distance of {line.label}: {_listed(line.values)}" for line in lines)
    drawing = line_chart(lines, y_label="cosine distance", described=described, from_zero=False)
    return [
        Chart(
            "How distances move",
            "From the query, at each mining: the mean, and the middle half of all of them.",
            [drawing],
        )
    ]


def _turnover_chart(run: RunRecord) -> list[Chart]:
    """Nothing where no two manifests have a query in common."""
    turnovers = [(one.epoch, one.turnover) for one in run.mined.epochs if one.turnover]
    if not turnovers:
        return []
    line = _spread_line("turnover", turnovers, C1, scale=100)
    described = f"turnover of negatives, percent, by epoch: {_listed(line.values)}"
    return [
        Chart(
            "Turnover of negatives",
            "1 − Jaccard of a query's negatives in this mining and the one before: the mean, and "
            "the middle half of all queries.",
            [line_chart([line], y_label="turnover, %", described=described)],
        )
    ]


def _spread_line(
    label: str, spreads: Sequence[tuple[int, Spread]], colour: str, *, scale: float = 1
) -> Line:
    return Line(
        label,
        [epoch for epoch, _ in spreads],
        [scale * spread.mean for _, spread in spreads],
        colour,
        low=[scale * spread.low for _, spread in spreads],
        high=[scale * spread.high for _, spread in spreads],
    )


def _distance_chart(run: RunRecord) -> Chart:
    panels = {
        f"mined {mined_when(manifest)}": {
            "target": manifest.target_distances,
            "mined negatives": manifest.negative_distances,
        }
        for manifest in (run.first, run.last)
    }
    return Chart(
        "Distances before and after" if len(panels) > 1 else "Distances",
        "Share of all targets, and of all mined negatives, at each distance from the query.",
        histograms(panels, (C1, C2), x_label="cosine distance"),
    )


def _kinds_chart(run: RunRecord) -> Chart:
    mined = [(one.epoch, one.kinds) for one in run.epochs if one.kinds]
    parts: dict[str, list[float]] = {kind: [kinds[kind] for _, kinds in mined] for kind in KINDS}
    shares = ", ".join(f"{kind} {values[-1]:.0%}" for kind, values in parts.items())
    described = f"kinds of negatives in the last mining: {shares}"
    return Chart(
        "Kinds of negatives",
        "What mining gave after each epoch; 0 is the manifest that training began with.",
        [stacked_bars([epoch for epoch, _ in mined], parts, (C3, C2, C4), described=described)],
    )


def _rate_chart(run: RunRecord) -> list[Chart]:
    rates = series(run.epochs, "rates")
    if not rates:
        return []
    lines = [
        Line(name.replace("_", " "), *values, colour)
        for (name, values), colour in zip(rates.items(), COLOURS, strict=False)
    ]
    described = "; ".join(f"{line.label} by epoch: {_listed(line.values)}" for line in lines)
    return [
        Chart(
            "Learning rate",
            "At the last step of each epoch.",
            [line_chart(lines, y_label="learning rate", described=described)],
        )
    ]


def _time_chart(run: RunRecord) -> Chart:
    """Seconds by part where they are known, and what is left over."""
    names = list(series(run.epochs, "parts"))
    parts = {name: [one.parts.get(name, 0.0) for one in run.epochs] for name in names[:4]}
    rest = [
        max(one.seconds - sum(one.parts.get(name, 0.0) for name in parts), 0) for one in run.epochs
    ]
    parts["the rest" if parts else "epoch"] = rest
    total = sum(one.seconds for one in run.epochs)
    colours = (*_PARTS[: len(parts) - 1], C4 if len(parts) > 1 else C1)
    drawing = stacked_bars(
        [one.epoch for one in run.epochs],
        parts,
        colours,
        described=f"wall time: {total:.0f} seconds in all",
        y_label="seconds",
    )
    about = "Of each epoch, with evaluation, checkpoints and mining."
    return Chart("Wall time", about, [drawing])


def _others_chart(run: RunRecord) -> list[Chart]:
    """Every other figure that changed: a learned temperature, and figures unknown to this page."""
    drawings = [
        line_chart(
            [Line(name, *values, C1)],
            y_label="",
            title=name.replace("_", " "),
            described=f"{name} by epoch: {_listed(values[1])}",
            from_zero=False,
            small=True,
        )
        for name, values in series(run.epochs, "others").items()
        if len(set(values[1])) > 1
    ]
    if not drawings:
        return []
    return [Chart("Further figures", "Means of each epoch.", drawings, small=True)]


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
