"""The parts of a run that its configuration alone decides."""

from dataclasses import dataclass

import torch
from accelerate import Accelerator

from cir.artefacts.store import Embeddings
from cir.config import TrainConfig
from cir.encoding.checkpointing import checkpoint_activations
from cir.encoding.origin import encoder_of_store
from cir.models.combiner import build_combiner
from cir.processes import ALONE, Processes
from cir.runtime import pick_device, seed_all
from cir.spellings import candidates, loss_weights
from cir.training.machine import accelerator_for
from cir.training.model import Model
from cir.training.objective import ContrastiveTerm, Objective, TripletTerm
from cir.training.step import Learner, Optimisation
from cir.training.trackers import Trackers
from cir.workers import pick_workers


@dataclass(frozen=True, eq=False)
class Assembly:
    """What trains, and on what."""

    device: torch.device
    workers: int
    accelerator: Accelerator
    trackers: Trackers
    model: Model
    learner: Learner


def assemble(config: TrainConfig, embeddings: Embeddings, processes: Processes = ALONE) -> Assembly:
    """Builds the parts of a run, with initial weights by its seed; writes nothing.

    Args:
        config: The run's settings.
        embeddings: The store that it trains on.
        processes: Those that train together; the main one alone has trackers.

    Raises:
        UsageError: the device, the precision or a tracker is not to be had.
        WeightsError, StoreError: the encoder to tune cannot be had, or is not the store's.
    """
    device = pick_device(config.device)
    accelerator = accelerator_for(config.out, device, config.precision)
    trackers = [name for name in config.tracker if name != "none" and processes.main]
    model = _build_model(config, embeddings, device)
    return Assembly(
        device=device,
        workers=pick_workers(config.workers),
        accelerator=accelerator,
        trackers=Trackers(accelerator, trackers, config.log_every),
        model=model,
        learner=_build_learner(config, model, accelerator, processes),
    )


def _build_model(config: TrainConfig, embeddings: Embeddings, device: torch.device) -> Model:
    seed_all(config.seed)
    dim = embeddings.provenance.embed_dim
    combiner = build_combiner(
        config.combiner, dim=dim, hidden=config.hidden, dropout=config.dropout
    ).to(device)
    encoder = None
    if config.tune != "none":
        encoder = encoder_of_store(
            embeddings, weights=config.weights, device=device, precision=config.precision
        )
        if config.checkpoint_activations:
            checkpoint_activations(encoder.clip)
    return Model(
        combiner,
        encoder,
        tunes_image=config.tune in ("image", "both"),
        tunes_text=config.tune in ("text", "both"),
        encode_batch=config.encode_batch,
    )


def _build_learner(
    config: TrainConfig, model: Model, accelerator: Accelerator, processes: Processes
) -> Learner:
    return Learner(
        model.combiner,
        model.clip_groups(config.layer_decay),
        _objective(config).to(accelerator.device),
        Optimisation(
            learning_rate=config.combiner_rate,
            clip_learning_rate=config.clip_learning_rate,
            weight_decay=config.weight_decay,
            schedule=config.schedule,
        ),
        accelerator,
        ema=config.ema,
        processes=processes,
    )


def _objective(config: TrainConfig) -> Objective:
    weights, contrasted = loss_weights(config.loss), candidates(config.contrast)
    triplet = contrastive = None
    if "triplet" in weights:
        triplet = TripletTerm(
            weight=weights["triplet"],
            margin=config.margin,
            form=config.triplet_form,
            reduction=config.triplet_reduction,
        )
    if "contrastive" in weights:
        contrastive = ContrastiveTerm(
            weight=weights["contrastive"],
            temperature=config.temperature,
            learned=config.learn_temperature,
            mined="mined" in contrasted,
            bank="bank" in contrasted,
            reference="reference" in contrasted,
            other_targets=config.other_targets,
        )
    return Objective(triplet, contrastive)
