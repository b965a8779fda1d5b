"""The figures of a run as charts."""

from collections.abc import Mapping, Sequence
from typing import Final

from cir.artefacts.manifest_statistics import gaps
from cir.reporting.charts import Line, line_chart, stacked_bars
from cir.reporting.epoch_figures import FIXED, TOTAL, losses_by_name, series
from cir.reporting.gaps import gap_chart
from cir.reporting.mined_epochs import Spread
from cir.reporting.pages import Chart
from cir.reporting.run_record import RunRecord, mined_when
from cir.reporting.svg import C1, C2, C3, C4, C5, COLOURS
from cir.types import KINDS

_RECALLS: Final = {"R@1": C3, "R@10": C1, "R@50": C2}
"""The recalls that are drawn."""
_PARTS: Final = (C1, C5, C2, C3, C4)
"""Colours of what an epoch's time goes to; what is left over comes last."""
_SAME: Final = 0.005
"""Shares of kinds that differ by less are the same for a reader."""
_MINED_AGAIN: Final = (
    "Each mining makes the negatives harder, so this need not fall while recall rises."
)


def run_charts(
    run: RunRecord, chance: Mapping[str, float], by_category: Sequence[Chart] = ()
) -> list[Chart]:
    """Every chart that the run has measurements for, and in which something changes.

    Args:
        run: What is drawn.
        chance: Recalls of a random ranking of the held-out queries, in percent.
        by_category: Stands beside the recall of all.
    """
    return [
        _recall_chart(run, chance),
        *by_category,
        *_loss_chart(run),
        *_active_chart(run),
        _gap_chart(run),
        *_movement_chart(run),
        *_turnover_chart(run),
        *_kinds_chart(run),
        *_rate_chart(run),
        _time_chart(run),
        *_others_chart(run),
    ]


def _recall_chart(run: RunRecord, chance: Mapping[str, float]) -> Chart:
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
    by_chance = Line("chance, R@10", ends, (chance["R@10"],) * 2, C4, dashed=True)
    described = ", ".join(
        f"{line.label} from {line.values[0]:.1f} to {line.values[-1]:.1f} percent "
        f"(plain sum {run.plain_sum[line.label]:.1f})"
        for line in trained
    )
    return Chart(
        "Recall on held-out queries",
        "Epoch 0 is the combiner before training. Dashed: the plain sum of image and text, and a "
        "random ranking.",
        [
            line_chart(
                [*trained, *plain, by_chance],
                y_label="recall, %",
                described=described,
                best=run.best_epoch,
            )
        ],
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
            "Share of triplets that still break the margin, and so have a gradient. "
            + (_MINED_AGAIN if _mined_again(run) else ""),
            [line_chart([line], y_label="share, %", described=described, best=run.best_epoch)],
        )
    ]


def _loss_chart(run: RunRecord) -> list[Chart]:
    """The total and each of its terms, on scales of their own; one alone is drawn large."""
    losses = losses_by_name(run.epochs)
    others = [name for name in losses if name not in (TOTAL, FIXED)]
    alone = len(others) == 1 and losses[others[0]][1] == losses.get(TOTAL, ((), ()))[1]
    terms = [name for name in losses if name != TOTAL or not alone]
    if not set(terms) - {FIXED}:
        return []
    drawings = [
        line_chart(
            [Line(name, *losses[name], COLOURS[number % len(COLOURS)])],
            y_label="loss",
            title=name if len(terms) > 1 else "",
            described=f"{name} by epoch: {_listed(losses[name][1])}",
            from_zero=False,
            small=len(terms) > 1,
            best=run.best_epoch,
        )
        for number, name in enumerate(terms)
    ]
    return [Chart("Loss", _about_loss(run, terms), drawings, small=len(terms) > 1)]


def _about_loss(run: RunRecord, terms: Sequence[str]) -> str:
    """How the losses are to be read."""
    parts = ["Mean over the training queries of an epoch"]
    parts += [", each on its own scale"] * (len(terms) > 1) + ["."]
    if "triplet" in terms and _mined_again(run):
        parts.append(f" {_MINED_AGAIN}")
    if FIXED in terms:
        parts.append(" Fixed negatives: the triplet loss on those that the run began with.")
    return "".join(parts)


def _mined_again(run: RunRecord) -> bool:
    return len(run.mined.epochs) > 1


def _gap_chart(run: RunRecord) -> Chart:
    """Of the first manifest and the last, as lines; negatives lie on their target by design."""
    manifests = {mined_when(manifest): manifest for manifest in (run.first, run.last)}
    samples = {when: gaps(manifest) for when, manifest in manifests.items()}
    colours = (C4, C1) if len(samples) > 1 else (C1,)
    return gap_chart(
        samples, colours, run.first.metadata.margin, title="Negatives against their targets"
    )


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
    drawing = line_chart(
        lines,
        y_label="cosine distance",
        described=described,
        from_zero=False,
        best=run.best_epoch,
    )
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
            [line_chart([line], y_label="turnover, %", described=described, best=run.best_epoch)],
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


def _kinds_chart(run: RunRecord) -> list[Chart]:
    """Nothing where each mining gave the same kinds: a sentence says which."""
    mined = [(one.epoch, one.kinds) for one in run.epochs if one.kinds]
    parts: dict[str, list[float]] = {kind: [kinds[kind] for _, kinds in mined] for kind in KINDS}
    if max(max(values) - min(values) for values in parts.values()) < _SAME:
        return []
    shares = ", ".join(f"{kind} {values[-1]:.0%}" for kind, values in parts.items())
    return [
        Chart(
            "Kinds of negatives",
            "What mining gave after each epoch; 0 is the manifest that training began with.",
            [
                stacked_bars(
                    [epoch for epoch, _ in mined],
                    parts,
                    (C3, C2, C4),
                    described=f"kinds of negatives in the last mining: {shares}",
                    best=run.best_epoch,
                )
            ],
        )
    ]


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
            [line_chart(lines, y_label="learning rate", described=described, best=run.best_epoch)],
        )
    ]


def _time_chart(run: RunRecord) -> Chart:
    """Seconds by part where they are known, and what is left over."""
    parts_of = series(run.epochs, "parts")
    names = [name for name, (_, seconds) in parts_of.items() if any(seconds)]
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
        best=run.best_epoch,
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
            best=run.best_epoch,
        )
        for name, values in series(run.epochs, "others").items()
        if len(set(values[1])) > 1
    ]
    if not drawings:
        return []
    return [Chart("Further figures", "Means of each epoch.", drawings, small=True)]


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
