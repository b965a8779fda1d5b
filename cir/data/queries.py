"""A composed query as every stage sees it, in whatever form its dataset is written."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Query:
    """A reference image and the captions that modify it."""

    id: str
    """`<category>-<split>-<row>`: stable while the captions file is. In CIRR's form the row is the
    pair's own number."""
    category: str
    reference_id: str
    captions: tuple[str, ...]
    target_ids: tuple[str, ...]
    """The targets that count as a hit; the first is the one trained on. Empty in a test split."""
    alike_ids: tuple[str, ...] = ()
    """Images that annotators hold to fit as well: never negatives, but no hits either."""
    subset_ids: tuple[str, ...] = ()
    """The images of CIRR's subset recall: those that looked alike when the query was made, without
    the reference. Empty where a dataset has no subsets."""

    @property
    def target_id(self) -> str:
        """The target that training pulls towards."""
        return self.target_ids[0]

    @property
    def known_ids(self) -> tuple[str, ...]:
        """Every image that is known to fit: none of them is a negative."""
        return (*self.target_ids, *self.alike_ids)
