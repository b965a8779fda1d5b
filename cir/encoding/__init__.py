"""Photos and texts to vectors: the encoder, its weights, and whole datasets through it.

Begin with `encoder.load_encoder` for vectors, or with `retriever` (the door is `cir.load`) for a
trained model that encodes and composes.

    encoder            a CLIP model with its preprocessing and tokens
    preprocess         a photo → pixels
    weights, published where CLIP's weights are read from: local files, or open_clip's releases
    embedding          files and texts → vectors, batch by batch
    dataset_embedding  a dataset → an embedding store (blocks: what a killed run has saved)
    origin             the encoder that a store or a checkpoint was made with
    tuned, refresh     vectors encoded again where training has changed the encoder
    checkpointing      less memory for towers that are trained
    retriever, inputs  a trained model ready for use, and what it accepts
"""
