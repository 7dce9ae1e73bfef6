"""What the contracts of packed steps share."""

import pytest

from tests.contract.steps import Step


@pytest.fixture(scope="module")
def padded() -> dict[str, Step]:
    """The padded step of each loss, by its name: computed by the first test that asks for it."""
    return {}
