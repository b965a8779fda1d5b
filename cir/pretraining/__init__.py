"""Pretraining of cir-tiny, the bundled encoder, from scratch.

Begin with `pretrain.pretrain`.

    pretrain      the loop of epochs
    corpus        the texts of a batch of photos
    photos        the photos, read
    augmentation  the photos, varied
    losses        what is minimised
    title_recall  the result, measured on photos that were held out
"""
