"""The API against its own description: schemathesis draws requests, none may end in a fault."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.openapi.loaders import from_asgi
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import positive_data_acceptance

from cir.artefacts.changes import Changes
from cir.search.index import SearchIndex
from cir.search.living import LivingGallery
from cir.search.opening import Source, open_gallery
from cir.serving.app import create_app
from cir.serving.engine import Engine, Served
from tests.support.galleries import plain_sum, small_photos, stored
from tests.support.micro import micro_encoder

EXAMPLES = 10
"""Requests drawn of each route."""
HOLDER = {"Authorization": "Bearer a-token-of-the-tests"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> BaseSchema:
    folder = tmp_path_factory.mktemp("drawn")
    dataset, encoder = small_photos(folder / "shop"), micro_encoder()
    source = Source(stored(dataset, encoder, folder / "shop.h5"), dataset)
    gallery = open_gallery(source)
    served = [Served("sum", "plain sum", False, SearchIndex(plain_sum(encoder), gallery))]
    living = LivingGallery(gallery, Changes(source.store), encoder)
    app = create_app(Engine(served, dataset, living), queue=8, token="a-token-of-the-tests")
    return from_asgi("/api/openapi.json", app)


@pytest.mark.slow
def test_no_request_ends_in_a_fault(api: BaseSchema) -> None:
    operations = [result.ok() for result in api.get_all_operations()]
    assert {operation.path for operation in operations} == set(api.raw_schema["paths"])
    for operation in operations:

        @given(operation.as_strategy())
        @settings(max_examples=EXAMPLES, derandomize=True, suppress_health_check=[*HealthCheck])
        def drawn(case: schemathesis.Case) -> None:
            # A search needs something to search for, a photo must be one: no schema says so.
            case.call_and_validate(headers=HOLDER, excluded_checks=[positive_data_acceptance])

        drawn()
