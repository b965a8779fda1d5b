"""Photos and texts to vectors: the encoder, its weights, and whole datasets through it.

Begin with `loading.load_encoder` for vectors, or with `retriever` (the door is `cir.load`) for a
trained model that encodes and composes.

    encoder            a CLIP model with its preprocessing and tokens
    loading            one by its name, of what builds its `architecture`: `bundled`, which is
                       ours (`clip`, `image_tower`, `attention`, `tokens`), or `open_clip_models`;
                       nothing else here loads open_clip, but `published` and `checkpointing`
    foreign            any other encoder, by two methods
    preprocess         a photo → pixels
    context            a text tower that computes no further than a text goes
    weights, published where CLIP's weights are read from: local files, or open_clip's releases
    embedding, texts   files and texts → vectors, batch by batch (`batching`: of what size; `lanes`:
                       how many at once)
    dataset_embedding  a dataset → an embedding store, or what is new into one that is there:
                       `known_images` what is to do, `embedding_run` doing it (`photo_batches`),
                       `ray_engine` doing it on a cluster, `blocks` what a killed run has saved
                       (`parquet_blocks`: as Parquet), `staleness` what a store lacks, `folding`
                       what was added and removed while it was served
    origin             the encoder that a store or a checkpoint was made with (`sameness`: whatever
                       its weight file is called now)
    tuned, refresh     vectors encoded again where training has changed the encoder
    checkpointing      less memory for towers that are trained
    retriever, inputs  a trained model ready for use, and what it accepts
"""
