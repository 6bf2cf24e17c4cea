"""Whatever can be wrong with a file itself: one line, for orderings and for scenarios alike."""

import os
from pathlib import Path

import pytest

from scenarios.loader import ScenarioError, load_ordering, load_scenario


@pytest.fixture(params=[load_ordering, load_scenario], ids=["ordering", "scenario"])
def refusal(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The line that a path is refused with, after these bytes were written to it where there are any."""
    monkeypatch.chdir(tmp_path)

    def load(path: str, content: bytes | None = None) -> str:
        if content is not None:
            Path(path).write_bytes(content)
        with pytest.raises(ScenarioError) as refused:
            request.param(path)
        return str(refused.value)

    return load


def test_garbage_is_no_text(refusal) -> None:
    assert refusal("mine.toml", b"a = 1\n\xff\x00") == "mine.toml: line 2: expected UTF-8 text, found byte 0xff"


def test_bad_syntax_names_line_and_column(refusal) -> None:
    assert refusal("mine.toml", b"a = 1\nb 2\n") == (
        "mine.toml: line 2, column 3: expected TOML: expected '=' after a key in a key/value pair"
    )


def test_bad_syntax_at_the_end_says_so(refusal) -> None:
    assert refusal("mine.toml", b'a = "x').startswith("mine.toml: end of file: expected TOML: ")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"# nothing\n"])
def test_an_empty_file_says_nothing(refusal, content: bytes) -> None:
    assert refusal("mine.toml", content) == "mine.toml: expected TOML with at least one key, found an empty file"


def test_a_missing_file_is_not_found(refusal) -> None:
    assert refusal("none.toml") == "none.toml: expected a TOML file, found no such file"


def test_a_path_that_cannot_be_one_is_not_found(refusal) -> None:
    assert refusal("a\0b.toml") == "a\\x00b.toml: expected a TOML file, found no such file"


def test_a_directory_is_no_file(refusal) -> None:
    Path("mine.toml").mkdir()

    assert refusal("mine.toml") == "mine.toml: expected a TOML file, found a directory"


def test_a_file_that_may_not_be_read_says_why(refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    Path("mine.toml").write_text("")
    monkeypatch.setattr(os, "open", denied)

    assert refusal("mine.toml") == "mine.toml: cannot be read: permission denied"


def test_a_file_that_cannot_be_read_says_why(refusal) -> None:
    assert refusal("/proc/self/mem") == "/proc/self/mem: cannot be read: input/output error"


def test_a_file_without_end_is_not_read_to_its_end(refusal) -> None:
    assert refusal("/dev/zero") == "/dev/zero: expected a TOML file of at most 1 MiB, found more"


def test_lists_nested_without_end_are_refused(refusal) -> None:
    assert refusal("mine.toml", b"a = " + b"[" * 100_000) == (
        "mine.toml: expected TOML, found tables or lists nested too deeply"
    )


def test_an_integer_of_thousands_of_digits_is_refused(refusal) -> None:
    assert refusal("mine.toml", b"a = " + b"9" * 5000) == (
        "mine.toml: expected TOML, found an integer of thousands of digits"
    )


def test_a_table_nested_without_end_is_shown_in_part(refusal) -> None:
    assert refusal("mine.toml", b"title" + b".a" * 5000 + b" = 1").endswith(
        "title: expected text in quotes, found { a = { a = { a = { a = ... } } } }"
    )


def test_line_ends_in_a_path_do_not_break_the_line(refusal) -> None:
    assert refusal("a\nb\x85c\u2028.toml") == "a\\nb\\x85c\\u2028.toml: expected a TOML file, found no such file"
