"""Pretraining of cir-tiny, the bundled encoder, from scratch.

Begin with `pretrain.pretrain`, the loop of epochs. `corpus` draws the texts of a batch of photos,
`photos` reads the photos, `augmentation` varies them, `losses` holds what is minimised, and
`title_recall` measures the result on photos that were held out.
"""
