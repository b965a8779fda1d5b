"""Photos and texts to vectors: the encoder, its weights, and whole datasets through it.

Begin with `loading.load_encoder` for vectors. (A trained model that encodes and composes is
`cir.search.retriever`; the door is `cir.load`.)

    clip               the network: the bundled encoder's own, and open_clip's
    weights            where its weights come from
    encoder            a CLIP model with its preprocessing and tokens
    loading            one by its name
    foreign            any other encoder, by two methods
    preprocess         a photo → pixels
    embedding, texts   files and texts → vectors, batch by batch (`batching`: of what size; `lanes`:
                       how many at once)
    job                a dataset → an embedding store
    origin             the encoder that a store or a checkpoint was made with (`sameness`: whatever
                       its weight file is called now)
    tuned, refresh     vectors encoded again where training has changed the encoder
"""
