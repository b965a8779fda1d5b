"""What a run measured, as charts."""

from cir.reporting.charts import C1, C2, C3, C4, Line, histograms, line_chart, stacked_bars
from cir.reporting.finished import FinishedRun, mined_when
from cir.reporting.pages import Chart
from cir.types import KINDS


def run_charts(run: FinishedRun) -> list[Chart]:
    """Every chart that the run has measurements for."""
    drawn = [_recall_chart(run), _loss_chart(run), _distance_chart(run), _kinds_chart(run)]
    return [*drawn, *_active_chart(run)]


def _recall_chart(run: FinishedRun) -> Chart:
    colours = {"R@1": C3, "R@10": C1, "R@50": C2}
    epochs = [line["epoch"] for line in run.epochs]
    trained = [
        Line(name, epochs, [e["dev"][name] for e in run.epochs], colour)
        for name, colour in colours.items()
    ]
    ends = (epochs[0], epochs[-1])
    plain = [
        Line("", ends, (run.plain_sum[name],) * 2, colour, dashed=True)
        for name, colour in colours.items()
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


def _loss_chart(run: FinishedRun) -> Chart:
    trained = run.epochs[1:]
    lines = [
        Line(name, [e["epoch"] for e in trained], [e[key] for e in trained], colour)
        for name, key, colour in (
            ("loss", "loss", C1),
            ("triplet", "triplet", C2),
            ("contrastive", "contrastive", C3),
        )
        if trained and all(e[key] is not None for e in trained)
    ]
    values = ", ".join(f"{value:.3f}" for value in lines[0].values) if lines else "none"
    return Chart(
        "Loss",
        "Mean over the training queries of an epoch.",
        [line_chart(lines, y_label="loss", described=f"loss by epoch: {values}")],
    )


def _distance_chart(run: FinishedRun) -> Chart:
    panels = {
        f"mined {mined_when(manifest)}": {
            "target": manifest.target_distances,
            "mined negatives": manifest.negative_distances,
        }
        for manifest in (run.first, run.last)
    }
    return Chart(
        "Distances before and after",
        "Share of all targets, and of all mined negatives, at each distance from the query.",
        histograms(panels, (C1, C2), x_label="cosine distance"),
    )


def _kinds_chart(run: FinishedRun) -> Chart:
    mined = [e for e in run.epochs if e["manifest"]]
    parts: dict[str, list[float]] = {k: [e["manifest"][k] for e in mined] for k in KINDS}
    shares = ", ".join(f"{kind} {values[-1]:.0%}" for kind, values in parts.items())
    return Chart(
        "Kinds of negatives",
        "What mining gave after each epoch; 0 is the manifest that training began with.",
        [
            stacked_bars(
                [e["epoch"] for e in mined],
                parts,
                (C3, C2, C4),
                described=f"kinds of negatives in the last mining: {shares}",
            )
        ],
    )


def _active_chart(run: FinishedRun) -> list[Chart]:
    """Nothing where no triplet term is trained."""
    trained = [e for e in run.epochs[1:] if e["active_share"] is not None]
    if not trained:
        return []
    line = Line(
        "active triplets",
        [e["epoch"] for e in trained],
        [100 * e["active_share"] for e in trained],
        C1,
    )
    return [
        Chart(
            "Active triplets",
            "Share of triplets that still break the margin, and so have a gradient.",
            [
                line_chart(
                    [line],
                    y_label="share, %",
                    described=f"active triplets, last epoch: {line.values[-1]:.0f} percent",
                )
            ],
        )
    ]
