"""A gallery and a retriever put together: photos and words in, the nearest photos out.

Begin with `cir.load(RUN).index(STORE)`, or with `cir.index(STORE)` where there is no run; then
`SearchIndex.search`.

    gallery    the photos that are searched: vectors, categories, titles, files
    living     what was added and removed since the store was made
    opening    a gallery from an embedding store, a dataset folder, or a folder of photos
    photo_folder  a folder of photos, embedded first, kept, and kept up to date
    query      what is searched for, checked
    composing  queries into vectors, many at once
    one_thread one thread for one query, where the encoder is light
    nearest    the nearest rows to a vector, exactly
    proposing  the likeliest rows of a large gallery, from whatever index has them
    approximate  such an index in memory, made with FAISS
    milvus     such an index in Milvus, and filling it
    recall     how much of the nearest an index proposes, on a sample
    rows       the vectors of a gallery, in memory or left in the store, and what is added
    scan       a gallery's rows compared with queries
    copies     the reference's copies left out, a result's copies folded into it
    index      a retriever over a gallery: `search`, and the ranks of known targets
    open_index an index, or several over one gallery, from paths
"""
