"""`cir train`: a combiner, and the towers of CLIP, are trained on a manifest."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cir.config.base import Config, option
from cir.config.faults import below, empty, misspelled, not_positive, outside, unused
from cir.config.values import (
    DATASET,
    EMBEDDINGS,
    LARGEST_DECAY,
    LARGEST_SEED,
    MANIFEST,
    RUN,
    TINY,
    CombinerName,
    Device,
    Precision,
    Tracker,
    Tune,
)
from cir.spellings import candidates, curriculum, loss_weights
from cir.types import OtherTargets, Schedule, TripletForm, TripletReduction, Weighting

COLDEST: Final = 0.01
"""The least temperature that is learned, as in CLIP (Radford et al., ICML 2021, section 2.5)."""
_COMBINER_RATES: Final[dict[CombinerName, float]] = {
    "gated-sum": 2e-3,
    "attention-fusion": 1e-3,
    "clip4cir": 3e-4,
    "sum": 1e-3,
}
"""Of those tried on the photos, the peak learning rates that did best (tests/benchmarks/study.py);
with sum, that of a learned temperature alone."""
_TUNED: Final[dict[str, Tune]] = {TINY: "text"}
"""Towers that are tuned where no more is asked for: what published weights of CLIP gain or lose by
it was not measured, and their text tower takes hours on a CPU."""
_TOWER_RATES: Final = {TINY: 3e-5}
_TOWER_RATE: Final = 2e-6
"""Peak learning rates of tuned towers. The code of Baldrati et al. (2022) has the latter, for the
published weights of CLIP; an encoder as small as the bundled one hardly moves at it."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """Train a combiner, and CLIP's towers, on a manifest, mining again after each epoch."""

    manifest: Path = option(MANIFEST, "Files")
    """Manifest of `cir mine`."""
    dataset: Path = option(DATASET, "Files")
    """Dataset folder."""
    embeddings: Path = option(EMBEDDINGS, "Files")
    """Embedding store that the manifest was mined from."""
    stale_ok: bool = option(False, "Files")
    """Go on where photos have another size or time of change than when they were embedded."""
    out: Path = option(RUN, "Files", writes="run")
    """Run folder to make."""
    resume: bool = option(False, "Files")
    """Go on with the run in `out` from what it saved last."""
    overwrite: bool = option(False, "Files")
    """Replace a run folder that exists."""
    save_minutes: float = option(10.0, "Files")
    """Minutes from one saving to the next within an epoch; it is saved at its end, and when it is
    stopped, in any case."""
    combiner: CombinerName = option("gated-sum", "Model")
    """gated-sum (the plain sum and a learned departure from it), attention-fusion (the gate over
    both modalities), clip4cir (Baldrati et al.), or sum."""
    hidden: int | None = option(None, "Model")
    """Inner width of the combiner; by default 512, and for clip4cir eight times the length of the
    vectors (5120 for RN50x4)."""
    projection: int | None = option(None, "Model")
    """Width of clip4cir's projections; by default four times the length of the vectors (2560 for
    RN50x4)."""
    dropout: float = option(0.5, "Model")
    """Share of components that gated-sum drops while training; clip4cir always drops half."""
    text_share: float = option(0.5, "Model")
    """Share of the text in the sum that gated-sum starts as."""
    tune: Tune | None = option(None, "Model")
    """Towers of CLIP that are fine-tuned beside the combiner; by default text where the store is of
    the bundled cir-tiny (or of another cir-tiny whose `weights` are given), none for others."""
    weights: Path | None = option(None, "Model", either=True)
    """Encoder weights to fine-tune from, where the store was embedded with `weights`."""
    layer_decay: float = option(1.0, "Model")
    """Each layer of a tuned tower learns at this share of the next one's rate; 1 is one rate."""
    encode_batch: int | None = option(None, "Model")
    """Images or texts that a tuned tower encodes at once: memory is theirs, the gradient that of
    the whole batch (GradCache), each encoded twice. By default as many as a GPU's free memory
    takes, all of a batch where they fit; on a CPU all."""
    checkpoint_activations: bool = option(False, "Model")
    """Keep no activations inside a tuned tower's blocks, but compute them again: less memory, a
    third more arithmetic."""
    ema: float = option(0.0, "Optimisation")
    """Decay of a moving average of the weights, such as 0.999, which is judged, mined with and
    saved in their place; 0 is none."""
    loss: str = option("10*triplet+contrastive", "Loss")
    """Weighted sum of triplet and contrastive, such as 0.5*triplet+contrastive."""
    margin: float = option(0.2, "Loss")
    """Margin of the triplet loss, in cosine distance."""
    triplet_form: TripletForm = option("hinge", "Loss")
    """hinge: max(0, x); softplus: ln(1 + exp x); x is the margin and what the target is farther
    away than the negative."""
    triplet_reduction: TripletReduction = option("mean", "Loss")
    """mean over all triplets, or over each query's hardest alone."""
    contrast: str = option("batch+mined+bank+reference", "Loss")
    """What the contrastive term tells a target apart from, such as batch+mined: the other targets
    of the batch, the query's negatives (mined), every target of the training split (bank), the
    query's own reference (reference)."""
    other_targets: OtherTargets = option("positive", "Loss")
    """A query's other known targets in the contrastive term: ignored, or positive as well."""
    temperature: float = option(0.05, "Loss")
    """Temperature of the contrastive term."""
    learn_temperature: bool = option(False, "Loss")
    """Learn the temperature, from `temperature` on, down to 0.01."""
    guide_threshold: float | None = option(None, "Loss")
    """Leave out of the contrastive term the candidates whose cosine to the target, by the vectors
    of the store, is above this."""
    weighting: Weighting = option("none", "Loss")
    """What counts more: none; hardness, the harder negatives of the contrastive term; trust, the
    queries whose target is probably right, by its rank each time they are mined again."""
    hardness: float = option(0.5, "Loss")
    """With `weighting='hardness'`, how much more: a negative of cosine s weighs
    exp(this * s / temperature)."""
    remine: bool = option(True, "Negatives")
    """Mine again with the current model after every epoch."""
    curriculum: str | None = option(None, "Negatives")
    """Strategies to mine by, each with its epochs, in place of the manifest's: such as
    random:2,semi-hard:5,hard. With `remine=False`, a stage is mined once, when it begins."""
    row_negatives: int | None = option(None, "Negatives")
    """Negatives of a query that a step uses, drawn anew each epoch; all of them by default."""
    online_top_k: int | None = option(None, "Negatives")
    """Use, in place of the manifest's negatives, the K valid gallery images that are nearest to
    each query while training."""
    epochs: int = option(20, "Optimisation")
    """Passes over the manifest."""
    patience: int | None = option(None, "Optimisation")
    """End the run after so many epochs in a row without a better one on dev; by default it takes
    all of its epochs."""
    batch_size: int = option(256, "Optimisation")
    """Queries a step."""
    learning_rate: float | None = option(None, "Optimisation")
    """AdamW's peak learning rate of the combiner; by default 2e-3 for gated-sum, 1e-3 for
    attention-fusion, 3e-4 for clip4cir."""
    clip_learning_rate: float | None = option(None, "Optimisation")
    """AdamW's peak learning rate of tuned CLIP towers; by default 3e-5 for cir-tiny, 2e-6 for
    others."""
    weight_decay: float = option(0.01, "Optimisation")
    """AdamW's decoupled weight decay."""
    schedule: Schedule = option("cosine", "Optimisation")
    """cosine: rates rise for a twentieth of the run, then fall to zero; constant: they stay."""
    dev_fraction: float = option(0.1, "Optimisation")
    """Share of the training references held out to choose the best epoch."""
    seed: int = option(0, "Optimisation")
    """Seed of initial weights, batches, dropout and mining."""
    precision: Precision = option("fp32", "Machine")
    """Number format of the arithmetic; fp32 is float32 on a GPU too, tf32 is faster."""
    device: Device = option("auto", "Machine")
    """auto takes the GPU where there is one."""
    workers: int | None = option(None, "Machine")
    """Processes that decode images while CLIP is tuned; one a core by default, at most 8 where no
    GPU encodes."""
    tracker: tuple[Tracker, ...] = option(("tensorboard",), "Watching")
    """Where figures go beside metrics.jsonl; given twice, to both. wandb needs cir[wandb]."""
    log_every: int = option(10, "Watching")
    """Steps from one to the next whose losses, learning rate and gradient go to the trackers."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from self._tracker_faults()
        yield from below(self, 1, "epochs", "patience", "hidden", "projection")
        yield from below(self, 1, "online_top_k", "row_negatives")
        yield from below(self, 2, "batch_size")
        yield from below(self, 0, "workers", "save_minutes")
        yield from outside(self, 0, LARGEST_SEED, "seed")
        yield from outside(self, 0, LARGEST_DECAY, "weight_decay")
        yield from misspelled(self, "loss", loss_weights)
        yield from misspelled(self, "contrast", candidates)
        yield from self._curriculum_faults()
        yield from outside(self, 0, 2, "margin")
        yield from outside(self, 0.0, 0.9, "dev_fraction", "dropout")
        yield from outside(self, 0, 1, "text_share")
        if self.combiner != "gated-sum":
            other = f"of gated-sum, and `combiner` is {self.combiner!r}"
            yield from unused(self, other, "text_share", "dropout")
        if self.hidden is not None and self.combiner == "sum":
            yield "`hidden` is no width of the sum; leave it out with `combiner='sum'`"
        if self.projection is not None and self.combiner != "clip4cir":
            yield f"`projection` is of clip4cir; leave it out with `combiner={self.combiner!r}`"
        yield from self._tuning_faults()
        yield from self._loss_faults()
        yield from self._weighting_faults()
        yield from not_positive(self, "learning_rate", "clip_learning_rate", "temperature")
        if self.dev_fraction == 0:
            yield "`dev_fraction` is 0; the best epoch needs a dev split"
        if self.combiner == "sum" and self.tune == "none":
            yield "`combiner='sum'` has nothing to train unless `tune` is text, image or both"
        if self.online_top_k is not None:
            yield from self._online_faults()
        if self.resume and self.overwrite:
            yield "`resume` and `overwrite` exclude each other"

    def _online_faults(self) -> Iterator[str]:
        """What `online_top_k` leaves nothing to do."""
        if self.curriculum is not None:
            yield "`online_top_k` uses no manifest, so `curriculum` has nothing to choose"
        if self.row_negatives is not None:
            yield "`online_top_k` says how many negatives a step uses; leave out `row_negatives`"
        if not self.remine:
            yield "`online_top_k` never mines again: leave out `remine=False`"

    def _curriculum_faults(self) -> Iterator[str]:
        misspellings = list(misspelled(self, "curriculum", curriculum))
        yield from misspellings
        if self.curriculum is None or misspellings:
            return
        stages = curriculum(self.curriculum)
        strategy, last = stages.stages[-1][0], stages.first_epoch(len(stages.stages) - 1)
        if last > self.epochs:
            yield (
                f"`curriculum` begins {strategy!r} with epoch {last}, and `epochs` is {self.epochs}"
            )

    @property
    def goes_on(self) -> bool:
        """Whether the run may be there already, to be gone on with."""
        return self.resume

    @property
    def combiner_rate(self) -> float:
        """The combiner's peak learning rate, where none is given that which suits it."""
        if self.learning_rate is not None:
            return self.learning_rate
        return self.default_rate(self.combiner)

    @staticmethod
    def default_rate(combiner: CombinerName) -> float:
        """The peak learning rate that suits a combiner."""
        return _COMBINER_RATES[combiner]

    def towers(self, model: str, *, bundled: bool) -> Tune:
        """The towers of an encoder that are tuned, where none are named those that are worth it.

        Args:
            model: The encoder of the store.
            bundled: Whether its weights come with cir, so that no file has to be named.
        """
        if self.tune is not None:
            return self.tune
        return _TUNED.get(model, "none") if bundled or self.weights else "none"

    def clip_rate(self, model: str) -> float:
        """The peak learning rate of an encoder's towers, where none is given that which suits."""
        if self.clip_learning_rate is not None:
            return self.clip_learning_rate
        return _TOWER_RATES.get(model, _TOWER_RATE)

    def _tracker_faults(self) -> Iterator[str]:
        yield from below(self, 1, "log_every")
        yield from empty(self, "tracker")
        if self.tracker == ("none",):
            yield from unused(self, "of trackers, and `tracker` is none", "log_every")
        if "none" in self.tracker and len(set(self.tracker)) > 1:
            yield "`tracker='none'` excludes the others"

    def _loss_faults(self) -> Iterator[str]:
        yield from outside(self, -1, 1, "guide_threshold")
        if "contrastive" not in self.loss:
            of_contrast = ("temperature", "learn_temperature", "guide_threshold")
            of_candidates = ("contrast", "other_targets")
            lacks = "of the contrastive term, which `loss` lacks"
            yield from unused(self, lacks, *of_contrast, *of_candidates)
        if "triplet" not in self.loss:
            lacks = "of the triplet loss, which `loss` lacks"
            yield from unused(self, lacks, "margin", "triplet_form", "triplet_reduction")
            if "mined" not in self.contrast:
                idle = "of negatives, which neither `loss` nor `contrast` uses"
                yield from unused(self, idle, "online_top_k", "row_negatives")
        if self.learn_temperature and self.temperature < COLDEST:
            yield (
                f"`temperature` is {self.temperature:g}; one that is learned is at least "
                f"{COLDEST:g}"
            )

    def _weighting_faults(self) -> Iterator[str]:
        yield from not_positive(self, "hardness")
        if self.weighting != "hardness" and self.hardness != TrainConfig.hardness:
            yield f"`hardness` is of `weighting='hardness'`; it is {self.weighting!r}"
        if self.weighting == "hardness" and "contrastive" not in self.loss:
            yield "`weighting='hardness'` is of the contrastive term, which `loss` lacks"
        if self.weighting == "trust" and not (self.remine and self.online_top_k is None):
            yield "`weighting='trust'` goes by mining again: drop `remine=False` and `online_top_k`"
        if self.weighting == "trust" and self.epochs == 1:
            yield "`weighting='trust'` goes by mining again, after the first epoch: `epochs` is 1"

    def _tuning_faults(self) -> Iterator[str]:
        yield from below(self, 1, "encode_batch")
        if not 0 < self.layer_decay <= 1:
            yield f"`layer_decay` is {self.layer_decay}; expected more than 0, at most 1"
        if not 0 <= self.ema < 1:
            yield f"`ema` is {self.ema}; expected 0 or more, less than 1"
        if self.tune == "none":
            none = "of tuned towers, and none is (`tune` says which)"
            names = ("weights", "clip_learning_rate", "layer_decay")
            yield from unused(self, none, *names, "encode_batch", "checkpoint_activations")
