"""The files that stages hand on: each is written whole or not at all, and says where it is from.

    store         embeddings.h5: vectors of images and captions, with their `provenance`
    manifest      manifest.parquet: queries with their mined negatives, and `manifest_metadata`
    checkpoint    a folder of weights
    query_ranks   per-query results of an evaluation
    columns       training examples for other libraries

Begin with `read_embeddings` and `read_manifest`. `vectors` holds vectors by key, `rows` those that
need not be in memory (`spool`: on the disk as they come), `manifest_statistics` and
`manifest_comparison` are arithmetic on manifests, `parquet` is how Parquet files are written,
`torch_file` how those of `torch.save` are read, `checksums` how a changed byte is noticed
(`hdf5_trial`: of files without one), `photo_states` whether photos are still those that a store was
made of.
"""
