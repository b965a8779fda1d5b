"""The scan of a gallery wholly on one device: what `cir.mining.scan` finds, bit for bit.

Vectors go to the device tile by tile, and only the result comes back. A float32 product says how
far each pair is within a proven error; whatever lies that near to a threshold, or near enough to
enter a pool, is then compared exactly. Begin with `stream`. Modules are named as those that do the
same on the CPU:

    stream         tiles of the gallery past blocks of queries
    request        what is asked, and a tile, as tensors on the device
    tile_scan      one block and one tile: which pairs have to be compared exactly
    pool_bounds    bounds that rule out most of a pool's candidates
    pairs          those pairs compared exactly: counts, and what a pool is offered
    topk_pools     the best candidates so far
    near_pairs     near-duplicates, by the same means
    cosine         the cosine by halving
    sampling_keys  hashes and Gumbel variates
    arithmetic     what is float32, whatever the program around it has set

All of it is operations of torch, none of them compiled with another: each rounds once, as IEEE
says, on a GPU as on the CPU. A block and a tile wait for the device once.
"""
