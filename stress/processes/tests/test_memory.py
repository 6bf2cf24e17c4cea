from pathlib import Path

import psutil
import pytest

from stress.errors import UsageFault
from stress.processes import memory as sizes
from stress.processes.memory import chosen_memory, free_bytes, in_words


@pytest.mark.parametrize(
    ("text", "size"),
    [("100MB", 100_000_000), ("100 m", 100_000_000), ("128MiB", 128 << 20), ("200000000", 200_000_000)],
)
def test_an_amount_is_a_number_with_a_unit(text: str, size: int) -> None:
    assert chosen_memory(text) == size


@pytest.mark.parametrize("text", ["", "lots", "-1G", "8 pages", "nan", "1e9"])
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageFault, match=r"--memory: expected an amount such as 8G, 500MB or 2GiB, found"):
        chosen_memory(text)


@pytest.mark.parametrize("text", ["1000", "900000G"])
def test_too_little_and_more_than_there_is_are_refused(text: str) -> None:
    with pytest.raises(UsageFault, match=r"--memory: expected from 64.0 MiB to .*, what this machine has, found"):
        chosen_memory(text)


def test_without_a_word_it_is_three_quarters_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "free_bytes", lambda: 4 << 30)

    assert chosen_memory(None) == 3 << 30


def test_a_control_group_leaves_less_than_the_machine_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("300000000\n")
    (tmp_path / "memory.current").write_text("250000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 20000000\n")
    monkeypatch.setattr(sizes, "control_groups", lambda root: [str(tmp_path)])

    assert free_bytes() == 70_000_000


def test_a_control_group_without_a_limit_leaves_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(sizes, "control_groups", lambda root: [str(tmp_path), "/nowhere"])

    assert 0 < free_bytes() <= psutil.virtual_memory().total


def test_amounts_are_said_in_binary_units() -> None:
    assert in_words(3 << 29) == "1.5 GiB"
