"""CLIP's network: the bundled encoder's own, and what is asked of open_clip's.

Begin with `bundled`.

    architecture       what a model that is built by its name offers
    bundled            `cir-tiny`, which is built here: its configurations and `assets`
    model              CLIP with a ResNet (`image_tower`, `attention`)
    tokens             texts → byte pairs
    open_clip_models   every other model; with `activation_memory` all here that loads open_clip
    context            a text tower that computes no further than a text goes
    activation_memory  less memory for towers that are trained
"""
