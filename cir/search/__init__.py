"""A gallery and a retriever put together: photos and words in, the nearest photos out.

Begin with `cir.load(RUN).index(STORE)`, or with `cir.index(STORE)` where there is no run; then
`SearchIndex.search`.

    index         a retriever over a gallery: `search`, and the ranks of known targets
    open_index    an index, or several over one gallery, from paths
    retriever     a trained model: photos and texts → vectors, both → a query
    inputs        what it accepts, checked one by one
    query         what is searched for, checked
    composing     queries into vectors, many at once
    one_thread    one thread for one query, where the encoder is light

    gallery       the photos that are searched: vectors, categories, titles, files
    opening       one from an embedding store, a dataset folder, or a folder of photos
    photo_folder  a folder of photos, embedded first, kept, and kept up to date
    living        what was added and removed since the store was made
    rows          the vectors of a gallery, in memory or left in the store, and what is added
    scan          those rows compared with queries
    nearest       the nearest rows to a vector, exactly
    copies        the reference's copies left out, a result's copies folded into it

    proposing     the likeliest rows of a large gallery, from whatever index has them
    approximate   such an index in memory, made with FAISS
    milvus        such an index in Milvus, and filling it
    recall        how much of the nearest an index proposes, on a sample
"""
