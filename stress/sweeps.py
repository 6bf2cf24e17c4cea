"""What `--sweep` says: keys with their values, which may be ranges."""

import re

from scenarios.wording import shown
from stress.errors import UsageFault

MOST = 10_000
RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})(?:([*+])(\d{1,9}))?")


def axes(sweep: str) -> dict[str, list[str]]:
    """`vcpus=1..64*2,lps=1,2`: vcpus 1, 2, 4 to 64 with lps 1 and 2. Raises UsageFault."""
    found: dict[str, list[str]] = {}
    values: list[str] | None = None
    for part in sweep.split(","):
        key, equals, value = part.rpartition("=")
        if equals:
            values = found.setdefault(key.strip(), [])
        if values is None or not value.strip() or (equals and not key.strip()):
            raise UsageFault(f"--sweep: expected key=value,value,... such as vcpus=1,2,4,8, found {shown(sweep)}")
        values += _values(value.strip())
    for its in found.values():
        if len(set(its)) < len(its):
            twice = next(value for value in its if its.count(value) > 1)
            raise UsageFault(f"--sweep: expected each value once, found {shown(twice)} twice")
    return found


def _values(text: str) -> list[str]:
    """The numbers of a range, `1..8`, `1..9+2`, `1..64*2`; of anything else itself."""
    if (match := RANGE.fullmatch(text)) is None:
        return [text]
    at, last, by = int(match[1]), int(match[2]), int(match[4] or 1)
    times = match[3] == "*"
    if at > last or by < 1 + times or (times and at < 1):
        raise UsageFault(f"--sweep: expected a range that grows, such as 1..8 or 1..64*2, found {text}")
    values: list[str] = []
    while at <= last:
        values.append(str(at))
        if len(values) > MOST:
            raise UsageFault(f"--sweep: expected at most {MOST:,} values, found {text}")
        at = at * by if times else at + by
    return values
