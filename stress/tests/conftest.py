"""What the tests of this room stand on."""

import pytest

from stress.tests.moments import Moments


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> Moments:
    """The clock by which progress is drawn."""
    from stress import canvas

    clock = Moments()
    monkeypatch.setattr(canvas, "time", clock)
    return clock
