"""The API as its OpenAPI document describes it, fuzzed: nothing fails in another way than the document says."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

BOUNDED = settings(
    max_examples=10,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("server", ["address", "library_address"])
def test_the_description_holds(request, server):
    schema = schemathesis.openapi.from_url(f"{request.getfixturevalue(server)}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == 17, "an operation is missing"
    for operation in operations:
        hold(operation, GenerationMode.POSITIVE)
        if operation.body or "format" in operation.path:  # to the others nothing unsound can be said
            hold(operation, GenerationMode.NEGATIVE)


def hold(operation, mode):
    """Call an operation with sound or unsound values and check each answer against the document."""

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case):
        if isinstance(case.body, dict) and case.body.get("webhook") == []:
            return  # an empty list leaves no trace in a form
        case.call_and_validate(excluded_checks=[positive_data_acceptance])  # it may take noise for no clip

    check()
