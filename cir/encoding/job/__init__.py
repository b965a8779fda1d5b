"""A dataset into an embedding store, as a job that may be killed and goes on.

Begin with `dataset_embedding`.

    dataset_embedding  a dataset → a store, or what is new into one that is there
    known_images       what was encoded before, and what is left to do
    embedding_run      doing it: `photo_batches` of photos, `gathered_texts` of captions
    ray_engine         doing it on a cluster
    blocks             what a killed run has saved (`parquet_blocks`: as Parquet)
    libraries          the versions that vectors depend on
    staleness          what of a store is no longer true of its dataset
    folding            what was added and removed while a store was served
"""
