"""A store's vectors in Milvus: filled by `cir index push`, searched in place of the store's own.

Begin with `pushing`.

    client     the only module that knows pymilvus
    record     what a collection says of itself: the encoder, the store that filled it, its recall
    pushing    a store into a collection
    searching  a collection as the index of a gallery
"""
