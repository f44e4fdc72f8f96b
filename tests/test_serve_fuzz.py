"""The API as its OpenAPI document describes it, fuzzed: nothing fails in another way than the document says."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from serving import client_of


@pytest.fixture(scope="module")
def description(tiny_bundle):
    """The document of a running application; its calls go to the application without a network."""
    with client_of(tiny_bundle) as client:
        yield schemathesis.openapi.from_asgi("/openapi.json", client.app, headers={"Host": "127.0.0.1"})


schema = schemathesis.pytest.from_fixture("description")


@schema.parametrize()
@settings(
    max_examples=8,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_description_holds(case):
    case.call_and_validate(headers={"Host": "127.0.0.1"})
