"""What `cir mine` says: figures of a manifest, of proposed pairs, and advice."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Shaped

from cir.artefacts.manifest import Manifest
from cir.artefacts.manifest_metadata import Approximation, ManifestCounts, PilotArm
from cir.config import MineConfig
from cir.data.pairs import ProposedPair
from cir.mining.advice import Advice
from cir.mining.arguments import mining_device
from cir.mining.manifest import plan_of
from cir.types import KINDS, SCOPES
from pipeline.command.flags import spelled
from pipeline.screen import console

_PERCENTILES = (5, 50, 95)


def print_manifest(
    manifest: Manifest,
    config: MineConfig,
    seconds: float,
    *,
    skipped: int,
    left_out: int,
    device: torch.device,
) -> None:
    """Everything about a manifest that was just mined.

    Args:
        manifest: What was mined.
        config: How.
        seconds: How long it took.
        skipped: Images of the galleries that the store left out.
        left_out: Queries that lack such an image; the manifest counts them as dropped.
        device: Where candidates were compared.
    """
    counts = manifest.metadata.counts
    counts = replace(counts, dropped=counts.dropped - left_out)
    _print_distances(manifest, config, seconds)
    _print_shares(manifest)
    _print_excluded(counts, config)
    if config.sampling == "auto":
        console.note(_sampling_line(manifest))
    console.note(_starved_line(manifest, counts, config))
    console.note(_searched_line(manifest.metadata.approximation, config, device))
    if skipped:
        console.note(f"{skipped:,} images are left out of the gallery: embedding skipped them")
    if left_out:
        console.note(
            f"{left_out:,} queries are left out: embedding skipped their reference or target"
        )


def _print_distances(manifest: Manifest, config: MineConfig, seconds: float) -> None:
    negatives = manifest.negative_distances
    console.table(
        f"{config.out}: {config.strategy} negatives of {len(manifest):,} queries ({config.query}) "
        f"in {seconds:.1f} s",
        ("", "mean", *(f"{p} %" for p in _PERCENTILES)),
        [
            _row("distance to target", manifest.target_distances, "{:.3f}"),
            _row("distance to negatives", negatives, "{:.3f}"),
            _row("rank of target", manifest.target_ranks, "{:,.0f}"),
            _row("candidates in band", manifest.candidates_in_band, "{:,.0f}"),
            _row("negatives a query", manifest.negative_counts, "{:,.1f}"),
        ],
    )


def _print_shares(manifest: Manifest) -> None:
    kinds, scopes = manifest.negative_kinds, manifest.negative_scopes
    rows = [
        (
            scope,
            *(_share((scopes == place) & (kinds == kind)) for kind in range(len(KINDS))),
            _share(scopes == place),
        )
        for place, scope in enumerate(SCOPES)
        if (scopes == place).any()
    ]
    whole = ("all", *(_share(kinds == kind) for kind in range(len(KINDS))), _share(kinds >= 0))
    console.table(
        "share of negatives, by the scope they were drawn from and their kind",
        ("scope", *KINDS, "all"),
        [*rows, whole] if len(rows) > 1 else rows,
    )


def _print_excluded(counts: ManifestCounts, config: MineConfig) -> None:
    mined = counts.queries + counts.dropped
    console.table(
        "candidates excluded, over all queries",
        ("filter", "candidates", "a query"),
        [
            (what, f"{count:,}", f"{count / mined:,.2f}")
            for what, count in _excluded(counts, config)
        ],
    )


def _excluded(counts: ManifestCounts, config: MineConfig) -> Iterator[tuple[str, int]]:
    """Each filter in use, and the candidates that it excluded."""
    yield "duplicates: same bytes as the target", counts.excluded_as_duplicate_bytes
    if config.duplicate_threshold <= 1:
        what = f"duplicates: cosine to the target at least {config.duplicate_threshold:g}"
        yield what, counts.excluded_as_duplicate_vectors
    if config.exclude_siblings:
        what = "siblings: targets of the reference's other captions"
        yield what, counts.excluded_as_siblings
    if config.max_target_similarity is not None:
        what = f"cosine to the target above {config.max_target_similarity:g}"
        yield what, counts.excluded_by_target_similarity
    if config.relative_margin is not None:
        what = f"cosine to the query above {1 - config.relative_margin:.4g} of the target's"
        yield what, counts.excluded_by_relative_margin
    if config.max_similarity is not None:
        what = f"cosine to the query above {config.max_similarity:g}"
        yield what, counts.excluded_by_max_similarity
    if config.range_min or config.range_max is not None:
        last = "the last" if config.range_max is None else f"{config.range_max:,}"
        yield f"rank not {config.range_min + 1:,} to {last}", counts.excluded_by_ranks


def _starved_line(manifest: Manifest, counts: ManifestCounts, config: MineConfig) -> str:
    """How many queries are starved, why, what they were filled with, and how many were dropped."""
    empty, short = counts.starved_empty, counts.starved - counts.starved_empty
    told = f"{counts.starved:,} of {counts.queries + counts.dropped:,} queries starved"
    why = f" ({empty:,} by an empty band, {short:,} by one too small)" if counts.starved else ""
    return f"{told}{why}{_filled_with(manifest, config)}; {counts.dropped:,} dropped"


def _sampling_line(manifest: Manifest) -> str:
    """What sampling was chosen, and why."""
    options, pilot = manifest.metadata.options, manifest.metadata.pilot
    if pilot is None:
        return f"sampling: {options['sampling']}, without a pilot"
    arms = ", ".join(f"{_arm(arm)} {arm.recall_at_10:.1f}" for arm in pilot.arms)
    return (
        f"sampling: {_arm(pilot.best)}, the best of a pilot of {pilot.epochs} epochs on "
        f"{pilot.queries:,} queries, by R@10 of {pilot.dev:,} others: {arms}"
    )


def _arm(arm: PilotArm) -> str:
    softmax = arm.sampling == "softmax"
    return f"softmax at {arm.temperature:g}" if softmax else arm.sampling


def _searched_line(measured: Approximation | None, config: MineConfig, device: torch.device) -> str:
    """What found the candidates, and how far an approximate index is off."""
    if measured is None:
        place = "the GPU" if mining_device(device).type == "cuda" else "the CPU"
        if config.index == "faiss":
            return f"exact: FAISS proposed the nearest images, cir's scan on {place} did the rest"
        return f"exact: cir's scan on {place} compared every image"
    return (
        f"approximate: {measured.index} proposed {measured.candidates:,} images a query; of "
        f"{measured.queries:,} queries mined exactly as well, it found "
        f"{100 * measured.negatives_found:.1f} % of the negatives, the same row for "
        f"{100 * measured.rows_identical:.1f} %, the target's rank within "
        f"{measured.target_rank_error:,.1f} and the candidates in band within "
        f"{measured.candidates_in_band_error:,.1f} on average"
    )


def _filled_with(manifest: Manifest, config: MineConfig) -> str:
    """The kinds that starved queries got in place of the wanted one; empty where none did."""
    if not manifest.metadata.counts.starved:
        return ""
    codes = manifest.negative_kinds[_fills(manifest, config)]
    kinds = [f"{_share(codes == code)} {KINDS[code]}" for code in np.unique(codes)]
    return f", filled with {', '.join(kinds)}" if kinds else ""


def _fills(manifest: Manifest, config: MineConfig) -> Bool[np.ndarray, " negatives"]:
    """Which negatives are of a kind that no draw from their scope wanted."""
    wanted = np.zeros((len(SCOPES), len(KINDS)), dtype=np.bool_)
    for draw in plan_of(config.options()).draws:
        if draw.share:
            # An adaptive band may hold any kind: by the kind no fill is told from what it gave.
            wanted[SCOPES.index(draw.scope)] |= [
                draw.band in ("any", "adaptive", kind) for kind in KINDS
            ]
    unwanted: Bool[np.ndarray, " negatives"] = ~wanted[
        manifest.negative_scopes, manifest.negative_kinds
    ]
    return unwanted


def _row(name: str, values: Shaped[np.ndarray, " values"], form: str) -> tuple[str, ...]:
    figures = (values.mean(), *np.percentile(values, _PERCENTILES))
    return (name, *(form.format(figure) for figure in figures))


def _share(chosen: Bool[np.ndarray, " negatives"]) -> str:
    return f"{100 * chosen.mean():.1f} %"


def print_pairs(pairs: Sequence[ProposedPair], config: MineConfig) -> None:
    """How many pairs were proposed, and how near they are."""
    nearer = np.array([(p.distance or 0) < (p.target_distance or 0) for p in pairs])
    console.note(
        f"{config.propose}: {len(pairs):,} pairs of {len({p.reference_id for p in pairs}):,} "
        f"references and {len({p.target_id for p in pairs}):,} new targets; {_share(nearer)} of "
        f"them are nearer to their query than its own target"
    )
    if len(pairs) < config.propose_count:
        console.note(
            f"{config.propose_count:,} were asked for: a wider `margin` or more `propose_uses` "
            f"give more"
        )


def print_advice(found: Advice, config: MineConfig) -> None:
    """The figures of a store, and what they speak for."""
    alike = found.look_alikes.items()
    console.table(
        f"{config.embeddings}: {found.queries:,} queries ({config.query})",
        ("", ""),
        [
            ("rank of target, median", f"{found.median_rank:,.0f}"),
            ("targets nearest of all", f"{found.nearest:.1f} %"),
            ("targets among the first 10", f"{found.in_first_ten:.1f} %"),
            ("queries whose semi-hard band is too small", f"{found.starved:.1f} %"),
            *((f"targets with a look-alike at {cos:g}", f"{share:.1f} %") for cos, share in alike),
            ("queries with several targets", f"{found.hiding:,}"),
        ],
    )
    if found.hidden:
        console.table(
            "negatives that are targets, all but the first of a query hidden",
            ("mined by", "share"),
            [(_option(name), f"{share:.2f} %") for name, share in found.hidden.items()],
        )
    for sentence in found.sentences:
        console.note(spelled(sentence, MineConfig))


def _option(way: str) -> str:
    """A way to mine by its words, a filter by its flag."""
    return spelled(f"`{way}`", MineConfig) if "=" in way else way
