"""Reference and text to one query vector: combiners, what they are trained by, and trained ones.

Begin with `combiners`, one class a file; `combiner.build_combiner` makes one by its name. To add a
combiner, write its class in `combiners` and name it in `combiner`.

    composition           vectors of references and texts through a combiner → query vectors
    composer              a combiner with its origin: untrained, or read from a checkpoint
    clip4cir_checkpoint   the same of CLIP4Cir's published Combiner
    losses, dropout       what a combiner is trained by
    averaging, layerwise  averages of its weights, and learning rates by layer
"""
