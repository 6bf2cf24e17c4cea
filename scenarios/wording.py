"""How a refused file or setting is put into one line: quoting, the nearest right word, where a value stands."""

import difflib
import enum
from collections.abc import Iterable
from typing import Any

LONGEST, DEEPEST = 60, 4
SHORTEST, MOST_ALIKE, ALIKE = 4, 3, 0.8  # of a beginning that is looked for, and of what begins so
LISTED, MOST_NAMED = ("fault", "outcome"), 8  # more are too many for a line


class ScenarioError(ValueError):
    """An ordering, a scenario or a setting that does not hold. `str()` is one line for the user."""

    exit_code = 2

    def __init__(self, line: str) -> None:
        super().__init__(printable(line))


def problem(text: str, key: str = "") -> Any:
    """An error of a model with our own words; `key` names the culprit where several keys are looked at together."""
    from pydantic_core import PydanticCustomError  # others have words and no models

    return PydanticCustomError("problem", "{problem}", {"problem": text, "key": key})


def printable(text: str) -> str:
    """The text on one line: whatever does not print (line ends, control characters, lone surrogates) is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shown(value: Any) -> str:
    """A value as TOML writes it, on one line, cut where it is long or deep."""
    text = _toml(value, DEEPEST)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _toml(value: Any, depth: int) -> str:
    if not depth:
        return "..."
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{printable(value)}"'
        case list() | tuple():
            return "[" + ", ".join(_toml(item, depth - 1) for item in value) + "]"
        case dict():
            pairs = (f"{printable(str(key))} = {_toml(item, depth - 1)}" for key, item in value.items())
            return "{ " + ", ".join(pairs) + " }" if value else "{}"
        case int() if value.bit_length() > 200:
            return "an integer of more than 60 digits"  # Python refuses to print thousands of digits
        case _:
            return printable(str(value))


def names(members: type[enum.Enum]) -> tuple[str, ...]:
    """The words that stand in TOML for an enum of the kernels: its names in lower case, in its order."""
    return tuple(name.lower() for name in members.__members__)


def listed(words: Iterable[str]) -> str:
    """`a, b or c`."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The right word that a mistyped one is closest to, whatever its case; None where none is close."""
    close = alike(word, words)
    return close[0] if close else None


def alike(word: str, words: Iterable[str]) -> list[str]:
    """The same, or up to three whose beginning it is close to."""
    typed, words = word.lower()[:LONGEST], list(words)
    if close := difflib.get_close_matches(typed, words, n=1):
        return close
    beginnings = [one[: len(typed) + 1].lower() for one in words]
    close = difflib.get_close_matches(typed, beginnings, n=len(words), cutoff=ALIKE) if len(typed) >= SHORTEST else []
    begin = [one for one, beginning in zip(words, beginnings, strict=True) if beginning in close]
    return begin if len(begin) <= MOST_ALIKE else []


def unknown(noun: str, word: str, words: tuple[str, ...]) -> str:
    """`unknown step "tracks"; did you mean "track"?`, or all the words where none is near, or what names them."""
    near = [f'"{one}"' for one in alike(word, words)]
    hint = (
        "`tdx-stress list` names them all"
        if noun in LISTED and len(words) > MOST_NAMED
        else f"expected {listed(words)}"
    )
    return f"unknown {noun} {shown(word)}; " + (f"did you mean {listed(near)}?" if near else hint)


def place(keys: Iterable[str | int]) -> str:
    """Where a value stands: `shootdown[2]`, `kick.wait`, `yields["kick.load_acquire_ipi"]`."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        elif key.replace("-", "_").isidentifier():
            text += f".{key}" if text else key
        else:
            text += f"[{shown(key)}]"
    return text
