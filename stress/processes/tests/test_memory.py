import pytest

from stress.errors import UsageFault
from stress.processes import memory as sizes
from stress.processes.memory import chosen_memory, in_words


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
    monkeypatch.setattr(sizes, "memory_to_be_had", lambda: 4 << 30)

    assert chosen_memory(None) == 3 << 30


def test_amounts_are_said_in_binary_units() -> None:
    assert in_words(3 << 29) == "1.5 GiB"
