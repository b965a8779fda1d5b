"""The scan of a gallery wholly on one device: what `cir.mining.scan` finds, bit for bit.

Vectors go to the device tile by tile, and only the result comes back. A float32 product says how
far each pair is within a proven error; whatever lies that near to a border, or near enough to enter
a pool, is then compared exactly. Begin with `stream`:

    stream      tiles of the gallery past blocks of queries
    uploads     the question, and a tile, as tensors on the device
    cells       one block and one tile: which pairs have to be compared exactly
    selection   bounds that rule out most of a pool's candidates
    pairs       those pairs compared exactly: counts, and what enters a pool
    pools       the best candidates so far
    near_pairs  near-duplicates, by the same means
    exact       the cosine by halving
    chance      hashes and Gumbel variates
    arithmetic  what is float32, whatever the program around it has set

All of it is operations of torch, none of them compiled with another: each rounds once, as IEEE
says, on a GPU as on the CPU. A block and a tile wait for the device once.
"""
