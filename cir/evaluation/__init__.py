"""Recall@K under a stated protocol, and whether two runs differ.

Begin with `recall.evaluate`: queries, galleries, vectors and a combiner in, figures out. The data
flow through these modules:

    protocol     queries and galleries → RankingTask: which rules a figure is measured by
    leaks        queries that were trained on, which are not to be judged by
    evaluator    tasks and vectors → Ranks: where each query's target stands
    retrieval    the arithmetic of ranks on plain arrays
    ranks        what an evaluator measures
    recall       Ranks → Recall@K, means, headline and chance level
    recorded     recalls → the JSON of `cir evaluate`, and back
    text_share   the weighted sum's best weight
    comparison   Ranks of two runs → differences with intervals (`bootstrap`: how they are drawn)
    query_rows   Ranks → one row per query, for anybody's own analysis
    submission   Ranks → the files that benchmarks' test servers take
"""
