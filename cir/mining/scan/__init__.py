"""The scan counts candidates below thresholds, and keeps the best candidates of each pool.

Begin with `request` and `result`.

    request           the question
    result            the answer
    stream            every query compared with the whole gallery, tile after tile
    candidate_lists   every query compared with the candidates that an index proposes
    nearest_first     the latter and, where need be, the former
    kernel            one query and a tile: what happens in which order
    code_bounds       distances as codes of sketched similarities
    threshold_counts  candidates below each threshold
    topk_pools        the candidates of least key in each pool
    sampling_keys     what that key is: the distance, a hash, or a mix of both
"""
