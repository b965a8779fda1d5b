"""Reference and text to one query vector: combiners, what they are trained by, and trained ones.

Begin with `combiners`, one class a file. To add one, write its class there and name it in
`combiner`.

    combiners            the combiners
    combiner             one by its name
    composition          vectors of references and texts through a combiner → query vectors
    composer             a combiner with its origin: untrained, or read from a checkpoint
    clip4cir_checkpoint  the same of CLIP4Cir's published Combiner
    losses               what a combiner is trained by (`hardness`: harder negatives count more)
    trust                which training pairs are probably right
    dropout              dropout that several processes share
    optim                AdamW, its rates over a run and by layer, and averages of the weights
"""
