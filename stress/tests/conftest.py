"""What the tests of this room stand on."""

import pytest

from stress.tests.moments import Moments


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> Moments:
    """The clock by which progress is drawn."""
    from stress import progress

    clock = Moments()
    monkeypatch.setattr(progress, "time", clock)
    return clock
