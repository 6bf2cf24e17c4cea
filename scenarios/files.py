"""Reading TOML from disk: everything that can be wrong with a file, each in one line."""

import re
import tomllib
from pathlib import Path
from typing import Any

from kernels.files import Unreadable, contents
from scenarios.wording import ScenarioError, printable

HERE = Path(__file__).parent
LARGEST_BYTES = 1 << 20
MOST_LINES = 100  # above an error that are looked at for where it begins


def toml_table(path: Path, shown_as: str) -> dict[str, Any]:
    """The file's top-level table, never empty. Raises ScenarioError `shown_as: what is wrong`."""
    try:
        return parsed(contents(path, LARGEST_BYTES, "a TOML file", shown_as).decode(), shown_as)
    except Unreadable as error:
        raise ScenarioError(str(error)) from None
    except UnicodeDecodeError as error:
        line, byte = error.object.count(b"\n", 0, error.start) + 1, error.object[error.start]
        raise ScenarioError(f"{shown_as}: line {line}: expected UTF-8 text, found byte 0x{byte:02x}") from None


def parsed(text: str, shown_as: str) -> dict[str, Any]:
    """The TOML table of a text."""
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also integers of thousands of digits
        raise ScenarioError(f"{shown_as}: {_syntax(error, text)}") from None
    if not table:
        raise ScenarioError(f"{shown_as}: expected TOML with at least one key, found an empty file")
    return table


def is_file(text: str) -> bool:
    """Whether this names something on disk that is no directory; whatever cannot be a path does not."""
    try:
        return Path(text).exists() and not Path(text).is_dir()
    except (OSError, ValueError):
        return False


def shipped(folder: str, name: str) -> Path | None:
    """Where the shipped file of this name stands in a folder of this room; None where there is none."""
    path = HERE / folder / f"{name}.toml"
    return path if name in shipped_names(folder) else None


def shipped_names(folder: str) -> list[str]:
    """The names that are shipped in a folder of this room."""
    return sorted(path.stem for path in (HERE / folder).glob("*.toml"))


def name_of(path: Path) -> str:
    """The file's name as a word that a line of output can be searched for."""
    return re.sub(r"[^\w.+-]", "_", path.stem) or "_"


def _syntax(error: Exception, text: str) -> str:
    if isinstance(error, RecursionError):
        return "expected TOML, found tables or lists nested too deeply"
    if "integer string conversion" in str(error):
        return "expected TOML, found an integer of thousands of digits"
    where = re.fullmatch(
        r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", str(error), re.S
    )
    if not where:
        return f"expected TOML, found an error: {printable(str(error))}"
    at = f"line {where['line']}, column {where['column']}" if where["line"] else "end of file"
    begun = _begun(text, int(where["line"] or 0))
    return f"{at}: expected TOML: {where['what'][:1].lower()}{where['what'][1:]}{begun}"


def _begun(text: str, found_in: int) -> str:
    """Where what is wrong in this line, or at the end, was begun, if that is some lines above: a bracket that is not
    closed is found behind it.
    """
    lines = text.splitlines(keepends=True)
    last = (found_in or len(lines)) - 1
    for above in range(last, max(last - MOST_LINES, -1), -1):
        try:
            tomllib.loads("".join(lines[:above]))
        except (ValueError, RecursionError):
            continue
        return f"; it begins in line {above + 1}" if above < (found_in or len(lines) + 1) - 1 else ""
    return ""
