"""The line that what a user has written is refused with."""

from collections.abc import Callable

import pytest

from scenarios.loader import ScenarioError


def refused(call: Callable[..., object], *given: object, **options: object) -> str:
    """What is said where this call is refused."""
    with pytest.raises(ScenarioError) as refused:
        call(*given, **options)
    return str(refused.value)
