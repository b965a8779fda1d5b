"""Rankings as the test servers of the benchmarks take them.

* FashionIQ (challenge of 2019 and 2020): `<category>.predict.json` holds the rows of the captions
  file in its order, each with `ranking`, the 50 images nearest to the query, as the start kit's
  `eval.py` writes them; the server takes the files of all categories in one zip archive.
* CIRR: `<split>_pred_ranks_recall.json` maps each pair's number to its 50 nearest images and
  `<split>_pred_ranks_recall_subset.json` to the 3 nearest of its subset, beside the entries
  `version` and `metric` (`Test-split_server.md` of its repository).
"""

from typing import Any, Final

from cir.data.forms import CIRR, FormName
from cir.errors import DatasetError
from cir.evaluation.ranks import CategoryRanks, Ranks

SUBMITTED: Final = 50
"""Images that both servers read for each query."""
SUBSET_SUBMITTED: Final = 3
"""Images of its subset that CIRR's server reads for each query."""


def submission(ranks: Ranks, form: FormName) -> dict[str, Any]:
    """The files of a submission: the JSON value of each by its name.

    Args:
        ranks: Of every query of a split, judged with the 50 nearest images listed, captions joined.
        form: The benchmark.

    Raises:
        DatasetError: queries lack a ranking, because embedding skipped their reference.
        ValueError: the evaluator was asked to list no images.
    """
    if ranks.dropped:
        raise DatasetError(
            f"{ranks.dropped} queries of split {ranks.protocol.split} cannot be ranked, since "
            f"embedding skipped their reference: a submission needs them all; mend the images "
            f"that cir data check names and embed again"
        )
    return _cirr(ranks) if form == "CIRR" else _fashioniq(ranks)


def _fashioniq(ranks: Ranks) -> dict[str, Any]:
    return {
        f"{category.task.category}.predict.json": [
            {
                "candidate": query.reference_id,
                "captions": list(query.captions),
                "ranking": ranking,
            }
            for query, ranking in zip(category.task.queries, _nearest(category), strict=True)
        ]
        for category in ranks.categories
    }


def _cirr(ranks: Ranks) -> dict[str, Any]:
    """Both files; the category is the version."""
    split = CIRR.split_names[ranks.protocol.split]
    whole: dict[str, Any] = {}
    within: dict[str, Any] = {}
    for category in ranks.categories:
        whole |= {"version": category.task.category, "metric": "recall"}
        within |= {"version": category.task.category, "metric": "recall_subset"}
        pairs = [str(int(query.id.rpartition("-")[2])) for query in category.task.queries]
        whole |= dict(zip(pairs, _nearest(category), strict=True))
        within |= dict(zip(pairs, _nearest_of_subset(category), strict=True))
    name = f"{split}_pred_ranks_recall"
    return {f"{name}.json": whole, f"{name}_subset.json": within}


def _nearest(category: CategoryRanks) -> list[list[str]]:
    """The nearest images of each query."""
    columns = category.listed().nearest[0, :, :SUBMITTED]
    return [category.image_ids(row) for row in columns.tolist()]


def _nearest_of_subset(category: CategoryRanks) -> list[list[str]]:
    """The nearest images of each query's subset."""
    columns = category.listed().subsets[0, :, :SUBSET_SUBMITTED]
    return [category.image_ids(row) for row in columns.tolist()]
