"""The parts of a run that its configuration and its store decide, each built by one function."""

from pathlib import Path
from typing import Final

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, is_initialized

from cir.artefacts.store import Embeddings
from cir.config import TrainConfig, Tune
from cir.encoding.clip.bundled import BUNDLED_FILES
from cir.encoding.origin import encoder_of_store
from cir.errors import UsageError
from cir.machine.arithmetic import require_precision
from cir.machine.processes import ALONE, Processes
from cir.machine.runtime import seed_all
from cir.models.combiner import build_combiner
from cir.models.optim import ParameterGroup, build_optimiser
from cir.spellings import candidates, loss_weights
from cir.training.model import Model
from cir.training.objective import Objective
from cir.training.step import Learner

_MIXED_PRECISION: Final = {"fp32": "no", "tf32": "no", "bf16": "bf16", "fp16": "fp16"}
_OWN: Final = "made_by_cir"
"""Attribute of accelerate's state where a run of ours has made it."""


def build_accelerator(run: Path, device: torch.device, precision: str) -> Accelerator:
    """Makes accelerate's Accelerator: the precision of the steps, and fp16's scaling.

    Args:
        run: The run folder.
        device: Where the run trains.
        precision: fp32, tf32, bf16 or fp16.

    Raises:
        UsageError: fp16 or tf32 is asked for where it would not train, or the caller's own
            Accelerator has another precision or device.
    """
    require_precision(precision, device)
    if precision == "fp16" and device.type != "cuda":
        raise UsageError(f"`precision='fp16'` trains on CUDA only, not on {device}; use bf16")
    mixed_precision = _MIXED_PRECISION[precision]
    shared = _shares_state(device, mixed_precision)
    accelerator = Accelerator(
        cpu=device.type == "cpu", mixed_precision=mixed_precision, project_dir=str(run)
    )
    if accelerator.device.type != device.type:  # as the caller's PartialState has it
        held = accelerator.device
        AcceleratorState._reset_state()
        raise _unlike(held, mixed_precision, device, mixed_precision)
    if not shared:
        setattr(accelerator.state, _OWN, True)
    return accelerator


def _shares_state(device: torch.device, mixed_precision: str) -> bool:
    """Whether a run shares accelerate's state, of which a process has one.

    That of an earlier run is shared where it is alike, and made anew where it is not.

    Raises:
        UsageError: the state is the caller's, and not alike.
    """
    if not is_initialized():
        return False
    state = AcceleratorState()
    if (state.device.type, state.mixed_precision) == (device.type, mixed_precision):
        return True
    if not getattr(state, _OWN, False):
        raise _unlike(state.device, state.mixed_precision, device, mixed_precision)
    AcceleratorState._reset_state(reset_partial_state=True)
    return False


def _unlike(
    held: torch.device, held_precision: str, asked: torch.device, asked_precision: str
) -> UsageError:
    return UsageError(
        f"this process has set up accelerate on {held.type} with "
        f"mixed_precision={held_precision!r}, and the run needs {asked.type} with "
        f"{asked_precision!r}: pass the `device` and `precision` that it has, or train in another "
        f"process"
    )


def build_model(config: TrainConfig, embeddings: Embeddings, device: torch.device) -> Model:
    """Makes the combiner with initial weights by the seed, and loads the encoder to tune.

    Raises:
        WeightsError, StoreError: the encoder cannot be had, or is not the store's.
    """
    seed_all(config.seed)
    dim = embeddings.provenance.embed_dim
    combiner = build_combiner(
        config.combiner,
        dim=dim,
        hidden=config.hidden,
        projection=config.projection,
        dropout=config.dropout,
        text_share=config.text_share,
    ).to(device)
    encoder, tune = None, towers_to_tune(config, embeddings)
    if tune != "none":
        encoder = encoder_of_store(
            embeddings, weights=config.weights, device=device, precision=config.precision
        )
        if config.checkpoint_activations:
            from cir.encoding.clip.activation_memory import checkpoint_activations

            checkpoint_activations(encoder.clip)
    return Model(
        combiner,
        encoder,
        tunes_image=tune in ("image", "both"),
        tunes_text=tune in ("text", "both"),
        encode_batch=config.encode_batch,
    )


def towers_to_tune(config: TrainConfig, embeddings: Embeddings) -> Tune:
    """The towers that a run on a store tunes: those asked for, or those that suit its encoder."""
    origin = embeddings.provenance
    return config.towers(origin.model, bundled=origin.pretrained in BUNDLED_FILES)


def build_objective(config: TrainConfig) -> Objective:
    """Makes the loss."""
    return Objective(
        loss_weights(config.loss),
        margin=config.margin,
        triplet_form=config.triplet_form,
        triplet_reduction=config.triplet_reduction,
        candidates=candidates(config.contrast),
        other_targets=config.other_targets,
        temperature=config.temperature,
        learn_temperature=config.learn_temperature,
        hardness=config.hardness if config.weighting == "hardness" else 0.0,
    )


def build_learner(
    config: TrainConfig, model: Model, accelerator: Accelerator, processes: Processes = ALONE
) -> Learner:
    """Makes the loss, and the optimiser of all that is trained."""
    objective = build_objective(config).to(accelerator.device)
    beside_clip = [*model.combiner.parameters(), *objective.parameters()]
    groups = [ParameterGroup(beside_clip, config.combiner_rate)]
    if model.encoder is not None:
        rate = config.clip_rate(model.encoder.provenance.model)
        groups += model.clip_groups(rate, config.layer_decay)
    return Learner(
        model.combiner,
        objective,
        build_optimiser(groups, config.weight_decay),
        accelerator,
        learning_rate=config.combiner_rate,
        schedule=config.schedule,
        ema=config.ema,
        processes=processes,
        forward_order=[*model.clip_parameters(), *beside_clip],
    )
