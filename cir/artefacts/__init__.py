"""The files that stages hand on: each is written whole or not at all, and says where it is from.

Begin with `read_embeddings` (`store`) and `read_manifest` (`manifest`).

    store            embeddings.h5: vectors of images and captions, with their `provenance`
                     (`store_layout`: what stands where; `store_writing`: how it is written)
    embedding_store  the same as users of the library open it
    changes          what was added and removed while a store was served
    manifest         manifest.parquet: queries with their mined negatives (`manifest_metadata`)
    pairs            pairs of photos, proposed or worded
    checkpoint       a folder of weights
    trained          which queries a run was trained on
    query_ranks      per-query results of an evaluation
    columns          training examples for other libraries
    vector_parts     vectors as Parquet, part by part (`merged_parts`: parts → a store)

What they are made of:

    vectors                vectors by key
    rows                   vectors that need not be in memory (`file_rows`: in a file;
                           `gathered_rows`: as they come; `spool`, `sparse_file`: on the disk)
    photo_states           whether photos are still those that a store was made of
    manifest_statistics    arithmetic on a manifest
    manifest_comparison    arithmetic on two
    parquet                how Parquet files are written and read
    torch_file             how files of `torch.save` are read, without running code from them
    checksums              how a changed byte is noticed (`hdf5_trial`: in files without one)
"""
