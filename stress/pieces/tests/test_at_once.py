"""Pieces that run side by side in threads."""

from collections.abc import Callable
from concurrent.futures import ALL_COMPLETED

import pytest

from stress.interrupts import Interrupts
from stress.pieces import run


def test_what_ended_well_beside_a_failure_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> str:
        raise RuntimeError("a crash")

    calls: dict[str, Callable[[], str]] = {name: name.upper for name in "abcdefgh"}
    calls["d"] = fails
    monkeypatch.setattr(run, "FIRST_COMPLETED", ALL_COMPLETED)
    got: list[tuple[str, str]] = []

    with pytest.raises(RuntimeError, match="a crash"):
        got.extend(run.at_once(calls, 2, Interrupts(), lambda: None))

    assert sorted(got) == [(name, name.upper()) for name in "abcefgh"]
