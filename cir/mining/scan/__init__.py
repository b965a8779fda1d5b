"""The scan counts candidates below thresholds, and keeps the best candidates of each pool.

Begin with `request`, the question, and `result`, the answer. Either `stream` compares every query
with the whole gallery, tile after tile, or `candidate_lists` compares it with the candidates that
an index proposes, or `nearest_first` does this and, where need be, then that. All call `kernel` for
each query and tile:

    kernel            one query and a tile: what happens in which order
    code_bounds       distances as codes of sketched similarities
    threshold_counts  candidates below each threshold
    topk_pools        the candidates of least key in each pool
    sampling_keys     what that key is: the distance, a hash, or a mix of both
"""
