"""What the tests of this room stand on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scenarios.tests.refusals import refused


@pytest.fixture
def mine(tmp_path: Path) -> Callable[[str], str]:
    """The path of a file of one's own, `mine.toml`, in which this stands."""

    def of(text: str) -> str:
        (tmp_path / "mine.toml").write_text(text)
        return str(tmp_path / "mine.toml")

    return of


@pytest.fixture
def refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What is said of a file, `mine.toml` or another, once this stands in it."""
    monkeypatch.chdir(tmp_path)

    def of(load: Callable[[str], object], content: str | bytes | None = None, path: str = "mine.toml") -> str:
        if content is not None:
            Path(path).write_bytes(content.encode() if isinstance(content, str) else content)
        return refused(load, path)

    return of
