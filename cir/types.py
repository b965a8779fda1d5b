"""The words of the field and the axes of its arrays: the one glossary of this package.

Arrays are annotated with jaxtyping, and the tests check every annotated call at run time.
The axes, wherever they appear:

    queries     composed queries, one a row of a captions file
    gallery     images that may be retrieved
    negatives   negatives kept for one query (`num_negatives`)
    categories  categories of the dataset (dress, shirt, toptee)
    batch       rows of one training step
    dim         components of an embedding (640 for RN50x4)
    hidden      inner width of a combiner
    rows        rows of any table
"""

from typing import Final, Literal, get_args

Strategy = Literal["random", "hard", "semi-hard", "category-aware"]
"""How negatives are chosen. The fifth, `online`, happens while training (`cir.mining.online`)."""

Kind = Literal["hard", "semi-hard", "easy"]
"""Where a candidate c lies for a query q with target t and margin m, d = cosine distance:
hard d(q,c) < d(q,t); semi-hard d(q,t) < d(q,c) < d(q,t) + m; easy otherwise."""

Band = Literal["hard", "semi-hard", "easy", "any"]
"""The kind that is wanted; `any` is every valid candidate."""

Scope = Literal["same-category", "other-category", "any"]
"""The part of the gallery that a negative was drawn from."""

Sampling = Literal["top", "random", "softmax"]
"""Which members of a band are drawn: the nearest, any alike, or nearer ones more often."""

Composition = Literal["reference", "text", "sum", "combiner"]
"""How a query becomes one vector (`cir.models.composition`)."""

MiningComposition = Literal["reference", "sum", "combiner"]
"""The compositions that negatives are mined for."""

Split = Literal["train", "val", "test"]

LossTerm = Literal["triplet", "contrastive"]
"""The terms that a loss is a weighted sum of."""

TripletForm = Literal["hinge", "softplus"]
"""What a triplet loses: max(0, x), or ln(1 + exp x)."""

TripletReduction = Literal["mean", "hardest"]
"""Which triplets of a query count: all alike, or that of its nearest negative alone."""

Candidates = Literal["batch", "mined", "bank", "reference"]
"""What the contrastive term tells a target apart from: the batch's targets, the query's mined
negatives, all training targets, the query's own reference."""

Schedule = Literal["cosine", "constant"]
"""How learning rates change over a run."""

OtherTargets = Literal["ignored", "positive"]
"""What a query's other known targets are in its contrastive term."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""Kinds by code: arrays hold the position in this tuple as int8."""

SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
"""Scopes by code: arrays hold the position in this tuple as int8."""

NO_ROW: Final = -1
"""The row that stands for none, in every array of rows that is filled up."""
