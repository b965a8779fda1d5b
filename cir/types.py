"""The words of the field and the axes of its arrays: the one glossary of this package.

Composed image retrieval: a reference image and a text that modifies it find a target image.

    query            a reference and its captions; composed, one vector
    reference        the image that a query starts from
    target           the image that a query is to find; a query may have several
    gallery          the images that may be retrieved
    encoder          CLIP, which turns images and texts into vectors
    combiner         the module that composes a reference's vector and a text's into a query's
    embedding store  the file of all vectors of a dataset, `embeddings.h5`
    Recall@K         the share of queries with a target among their K nearest images

Training pulls a query towards its target and pushes it away from negatives, which mining finds:

    positive         what answers a query: its target
    pair             a query and its target; right where the target answers it
    trust            the probability that a pair is right
    guide            vectors that mask false negatives in the loss, and never move
    candidate        a gallery image that may become a negative of a query
    exclusion        a gallery image that is no candidate: the reference, a target, their copies
    valid            said of a candidate that is not excluded
    eligible         valid, and left by every filter of a plan
    negative         a candidate that was chosen for a query
    margin           the distance by which a negative is to be farther than the target
    hard             nearer than the target
    semi-hard        farther than the target, by less than the margin
    easy             the rest
    band             the valid candidates of one kind: hard, semi-hard, easy, or any; or adaptive
    adaptive         between the two steepest drops of a query's scores behind its target
    scope            where a negative is drawn from: the query's category, the others, or anywhere
    draw             a share of each query's negatives, of one scope and band
    quota            how many negatives a draw gives a query
    starved          said of a query whose draws find fewer candidates than it is to get negatives
    fill             what a starved query gets from outside its bands
    manifest         the file of queries with their mined negatives, `manifest.parquet`
    proposed pair    a reference and a near negative of its query, that a text of its own shall
                     make a new query: the reference, the text, and the negative as its target

How mining scans a gallery:

    key              what candidates are ordered by: the pair of distance and gallery row; within a
                     pool a number that sampling makes of the distance, of chance, or of both
    threshold        a distance and gallery row below which candidates are counted
    pool             the best candidates kept of a scope and band, for a draw or a fill
    tile             the gallery rows that a block of queries is compared with at once
    shard            the part of a gallery that one of several processes holds
    sketch           shortened vectors, whose products tell most candidates apart

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

Strategy = Literal["random", "hard", "semi-hard", "category-aware", "adaptive"]
"""How negatives are mined, before training and between epochs. `cir.mining.online` finds negatives
at every step in their place."""

Kind = Literal["hard", "semi-hard", "easy"]
"""Where a candidate c lies for a query q with target t and margin m, d = cosine distance:
hard d(q,c) < d(q,t); semi-hard d(q,t) < d(q,c) < d(q,t) + m; easy otherwise."""

Band = Literal["hard", "semi-hard", "easy", "any", "adaptive"]
"""The kind that a draw asks for; `any` is every valid candidate, `adaptive` those between the two
steepest drops of the query's scores behind its target (`cir.mining.steep_drops`)."""

Scope = Literal["same-category", "other-category", "any"]
"""The part of the gallery that a negative was drawn from."""

Sampling = Literal["top", "random", "softmax"]
"""Which members of a band are drawn: the nearest, each equally likely, or nearer ones likelier."""

SamplingOption = Literal["auto", "top", "random", "softmax"]
"""A sampling, or that which a pilot finds best (`cir.training.pilot`)."""

Composition = Literal["reference", "text", "sum", "weighted-sum", "combiner"]
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

Weighting = Literal["none", "hardness", "trust"]
"""What counts more in the loss: nothing, harder negatives (`cir.models.hardness`), or pairs that
are probably right (`cir.models.trust`)."""

OtherTargets = Literal["ignored", "positive"]
"""What a query's other known targets are in its contrastive term."""

FolderArtefact = Literal["dataset", "run", "checkpoint", "demo", "submission"]
"""The folders that cir makes."""

FileArtefact = Literal[
    "store", "manifest", "pairs", "examples", "ranks", "figures", "audit", "page", "weights"
]
"""The files that cir writes."""

Artefact = FolderArtefact | FileArtefact

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""Kinds by code: arrays hold the position in this tuple as int8."""

SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
"""Scopes by code: arrays hold the position in this tuple as int8."""

NO_ROW: Final = -1
"""Stands for no row, where an array has more places than rows."""
