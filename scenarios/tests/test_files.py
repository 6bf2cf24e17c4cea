"""Whatever can be wrong with a file itself: one line, for orderings and for scenarios alike."""

import os
from pathlib import Path

import pytest

from scenarios.loader import load_ordering, load_scenario


@pytest.fixture(params=[load_ordering, load_scenario], ids=["ordering", "scenario"])
def load(request: pytest.FixtureRequest):
    """Who reads it."""
    return request.param


EMPTY, TOML = "mine.toml: expected TOML with at least one key, found an empty file", "mine.toml: expected TOML, found "


@pytest.mark.parametrize(
    ("path", "content", "line"),
    [
        ("mine.toml", b"a = 1\n\xff\x00", "mine.toml: line 2: expected UTF-8 text, found byte 0xff"),
        (
            "mine.toml",
            b"a = 1\nb 2\n",
            "mine.toml: line 2, column 3: expected TOML: expected '=' after a key in a key/value pair",
        ),
        *(("mine.toml", nothing, EMPTY) for nothing in (b"", b"\n \n", b"# nothing\n")),
        ("none.toml", None, "none.toml: expected a TOML file, found no such file"),
        ("a\0b.toml", None, "a\\x00b.toml: expected a TOML file, found no such file"),
        ("a\nb\x85c\u2028.toml", None, "a\\nb\\x85c\\u2028.toml: expected a TOML file, found no such file"),
        ("/proc/self/mem", None, "/proc/self/mem: cannot be read: input/output error"),
        ("/dev/zero", None, "/dev/zero: expected a TOML file of at most 1 MiB, found more"),
        ("mine.toml", b"a = " + b"[" * 100_000, f"{TOML}tables or lists nested too deeply"),
        ("mine.toml", b"a = " + b"9" * 5000, f"{TOML}an integer of thousands of digits"),
    ],
    ids=[
        *("no text", "bad syntax", "empty", "blank", "a comment", "missing", "no path", "line ends in a path"),
        *("cannot be read", "without end", "lists nested without end", "an integer of thousands of digits"),
    ],
)
def test_a_file_that_does_not_hold_is_refused_in_one_line(
    load, refusal, path: str, content: bytes | None, line: str
) -> None:
    assert refusal(load, content, path) == line


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b'a = 1\nb = [\n  "x",\nc = 2\n', "line 4, column 1: expected TOML: invalid value; it begins in line 2"),
        (b'a = 1\n\nb = ["x"\n', "end of file: expected TOML: unclosed array; it begins in line 3"),
        (b'a = """x\nb = 2\n', "end of file: expected TOML: unterminated string; it begins in line 1"),
    ],
)
def test_a_bracket_that_is_not_closed_is_told_where_it_was_opened(load, refusal, content: bytes, where: str) -> None:
    assert refusal(load, content) == f"mine.toml: {where}"


def test_bad_syntax_at_the_end_says_so(load, refusal) -> None:
    assert refusal(load, b'a = "x').startswith("mine.toml: end of file: expected TOML: ")


def test_a_directory_is_no_file(load, refusal) -> None:
    Path("mine.toml").mkdir()

    assert refusal(load) == "mine.toml: expected a TOML file, found a directory"


def test_a_file_that_may_not_be_read_says_why(load, refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    Path("mine.toml").write_text("")
    monkeypatch.setattr(os, "open", denied)

    assert refusal(load) == "mine.toml: cannot be read: permission denied"


def test_a_table_nested_without_end_is_shown_in_part(load, refusal) -> None:
    assert refusal(load, b"title" + b".a" * 900 + b" = 1").endswith(
        "title: expected text in quotes, found { a = { a = { a = { a = ... } } } }"
    )
