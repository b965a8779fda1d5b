"""A gallery and a retriever put together: photos and words in, the nearest photos out.

Begin with `cir.load(RUN).index(STORE)`, or with `cir.index(STORE)` where there is no run; then
`SearchIndex.search`.

    gallery    the photos that are searched: vectors, categories, titles, files
    living     what was added and removed since the store was made
    opening    a gallery from an embedding store, a dataset folder, or a folder of photos
    photo_folder  a folder of photos, embedded first, kept, and kept up to date
    query      what is searched for, checked
    composing  queries into vectors, many at once
    nearest    the nearest rows to a vector, exactly
    scan       a gallery's rows compared with queries
    copies     the reference's copies left out, a result's copies folded into it
    index      a retriever over a gallery: `search`, and the ranks of known targets
    open_index an index, or several over one gallery, from paths
"""
