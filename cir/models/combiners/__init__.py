"""Combiners: a reference's and a text's features become one query vector, one class a file.

All have one signature: `forward(image, text)` takes the encoder's raw outputs and returns unit
vectors. Encoders differ in the length of their features, and a tuned one drifts; so every combiner
starts by giving each feature a root mean square of one, and only its direction counts.

    gated_sum         the plain sum, and a learned departure from it
    attention_fusion  a gate over both modalities
    clip4cir          the Combiner of Baldrati et al. (2022)
    summed            the plain sum
    single            one modality alone
    features          what all begin with

To add a combiner, add its class here, its name in `cir.models.combiner`, and its name and learning
rate in `cir.config.training`.
"""
