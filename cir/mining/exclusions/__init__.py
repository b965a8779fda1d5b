"""Which images are no negatives of which query.

Begin with `rules.find_exclusions`.

    rules            every rule, applied to a dataset's queries
    excluded         the result, `Exclusions`: gallery rows by query, each with its reason
    near_duplicates  the pairs of vectors whose cosine reaches a threshold, none missed
"""
