"""Which images are no negatives of which query.

`excluded` holds the result, `Exclusions`: gallery rows by query, each with its reason. Begin with
`rules.find_exclusions`, which applies every rule to a dataset's queries. `near_duplicates` finds
the pairs of vectors whose cosine reaches a threshold, and misses none.
"""
