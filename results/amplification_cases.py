"""A search for amplifiers as test cases, one an ordering."""

from collections.abc import Mapping
from typing import Any

from results.amplification_verdict import unexpected_texts
from results.cases import Case
from results.wording import plural


def amplification_cases(document: Mapping[str, Any]) -> list[Case]:
    """A case an ordering, with what showed unexpectedly and who stood where."""
    return [_case(entry) for entry in document["orderings"]]


def _case(entry: Mapping[str, Any]) -> Case:
    notes = [note for one in entry["unexpected"] for note in one["notes"]]
    details = [*unexpected_texts(entry), plural(entry["races"], "race"), *dict.fromkeys(notes)]
    return Case(entry["ordering"], entry["verdict"], entry["reason"], entry["seconds"], details)
