"""The photos of a page, each embedded once however often it is shown."""

from cir.data.dataset import Dataset
from cir.reporting.pictures import Pictures


class Album:
    """Names a CSS class for each photo that a page shows; equal photos share one."""

    def __init__(self, dataset: Dataset | None) -> None:
        """Opens an empty album.

        Args:
            dataset: Whose photos are shown; None where only ids are known.
        """
        self._pictures = Pictures(dataset) if dataset else None
        self._names: dict[str, str] = {}
        self._ids: set[str] = set()
        self._missing: set[str] = set()

    def name(self, image_id: str) -> str | None:
        """The class that shows a photo; None where it is gone or there is no dataset."""
        self._ids.add(image_id)
        uri = self._pictures.uri(image_id) if self._pictures else None
        if uri is None:
            self._missing.add(image_id)
            return None
        return self._names.setdefault(uri, f"p{len(self._names)}")

    @property
    def photos(self) -> dict[str, str]:
        """Class to data URI, of every photo named so far."""
        return {name: uri for uri, name in self._names.items()}

    @property
    def note(self) -> str | None:
        """What a reader should know of photos that are not shown; None where all are shown."""
        if self._pictures is None:
            return "Photos are left out, ids stand for them: showing them takes the dataset."
        if not self._missing:
            return None
        first = min(self._missing)
        return (
            f"{len(self._missing):,} of {len(self._ids):,} photos are missing or broken, their "
            f"ids stand for them; the first is {first}."
        )
