"""What the engine found, as the answers that OpenAPI describes."""

from collections.abc import Iterable
from urllib.parse import quote

from cir.search.gallery import Gallery
from cir.search.index import PhotoRank, SearchResult
from cir.serving import schemas
from cir.serving.engine import Engine, Searched
from cir.serving.judging import QueryAnswers, RetrieverAnswer, SplitQuery

_MILLI = 1000


class Answers:
    """Turns ids and results into answers with titles and pictures."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._gallery: Gallery = engine.gallery

    def image(self, image_id: str) -> schemas.Image:
        """A photo; one that was removed meanwhile keeps what was known of it."""
        record = self._gallery.record(image_id)
        return schemas.Image(
            id=image_id,
            title=record.title,
            categories=list(record.categories),
            attributes=dict(record.attributes),
            picture=self._picture(image_id),
        )

    def results(self, found: Iterable[SearchResult]) -> list[schemas.Result]:
        """Results in their order."""
        return [
            schemas.Result(
                rank=each.rank,
                score=each.score,
                image=self.image(each.id),
                copies=list(each.copies),
            )
            for each in found
        ]

    def search(self, searched: Searched, retrievers: Iterable[str]) -> schemas.SearchResponse:
        """Each retriever's answer, in the order that they were asked for."""
        seconds = searched.seconds
        return schemas.SearchResponse(
            answers=[
                schemas.Answer(retriever=name, results=self.results(searched.answers[name]))
                for name in retrievers
            ],
            milliseconds=schemas.Milliseconds(
                waiting=searched.waiting * _MILLI,
                encode=seconds.encode * _MILLI,
                compose=seconds.compose * _MILLI,
                search=seconds.search * _MILLI,
            ),
        )

    def query(self, item: SplitQuery) -> schemas.DatasetQuery:
        """A query of the dataset."""
        return schemas.DatasetQuery(
            id=item.query.id,
            split=item.split,
            category=item.query.category,
            reference=self.image(item.query.reference_id),
            text=item.text,
            targets=list(item.query.target_ids),
        )

    def judged_query(self, judged: QueryAnswers) -> schemas.JudgedQuery:
        """A query of the dataset with the answers to it, in the order that they were asked for."""
        return schemas.JudgedQuery(
            query=self.query(judged.item),
            ranked=judged.ranked,
            reference_rule=judged.item.reference_rule,
            answers=[self._judged_answer(name, each) for name, each in judged.answers.items()],
        )

    def _judged_answer(self, name: str, answer: RetrieverAnswer) -> schemas.JudgedAnswer:
        return schemas.JudgedAnswer(
            retriever=name,
            targets=[self._target(target) for target in answer.targets],
            results=self.results(answer.results),
        )

    def _target(self, target: PhotoRank) -> schemas.Target:
        return schemas.Target(rank=target.rank, score=target.score, image=self.image(target.id))

    def _picture(self, image_id: str) -> str | None:
        if not self._engine.has_photo(image_id):
            return None
        return f"/api/pictures/{quote(image_id, safe='')}"
