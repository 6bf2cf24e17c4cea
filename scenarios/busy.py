"""What an ordering says of BUSY: a policy in a word, the words that stand for several, and what is in force for which
SEAMCALL, by how mmu_lock is held where it is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kernels.tdx.rules import MOST_TRIES, Busy, tries
from scenarios.wording import listed, problem, shown, unknown

if TYPE_CHECKING:
    from scenarios.models import Ordering

SEAMCALLS = ("block", "track", "remove", "aug", "sept_add")
OF_FAULTS = ("aug", "sept_add")
LOCK_MODES = ("write", "read")
# Of several tries the number stands in brackets.
TRIES = re.compile(r"tries(_exact)?\((\d{1,9})\)")
WORDS = ("spin", "spin_exact", "tries(16)", "retry_without_vcpus", "hand_up", "skip", "bug")
# Older words, and those that only print: what v18 makes of its BLOCK and AUG.
OLD, FULL = ("none", "spin_on_tree", "retry_on_tree"), ("tries_exact(17)", "hand_up_exact")
V18 = {"block": "tries_exact(17)", "track": "spin_exact", "remove": "spin_exact"}


def a_policy(word: str) -> str:
    """A policy in a word stays as it was written once it holds."""
    if found := TRIES.fullmatch(word):
        if not 1 <= int(found[2]) <= MOST_TRIES:
            raise problem(f"expected from 1 to {MOST_TRIES} tries, found {shown(word)}")
    elif word not in (*WORDS, *OLD, *FULL):
        raise problem(unknown("policy", word, WORDS))
    return word


A_POLICY = f"a policy ({listed(WORDS)})"
BY_LOCK = f'{A_POLICY}, or a table such as {{ read = "hand_up", write = "bug" }}'


def policy(word: str) -> int:
    """A policy in a word as kernels take it."""
    found = TRIES.fullmatch(word)
    return tries(int(found[2]), bool(found[1])) if found else int(Busy[word.upper()])


def said(ordering: Ordering) -> Iterator[tuple[str, str, str]]:
    """What an ordering says by SEAMCALL: the key, the SEAMCALL, the word."""
    for seamcall, found in ordering.busy or ():
        if isinstance(found, str):
            yield f"busy.{seamcall}", seamcall, found
        elif found is not None:
            yield from ((f"busy.{seamcall}.{mode}", seamcall, word) for mode, word in found if word is not None)


def in_force(ordering: Ordering) -> dict[str, dict[str, str]]:
    """By SEAMCALL and lock mode the policy, no shorthand any more."""
    return {seamcall: {mode: _of(ordering, seamcall, mode) for mode in LOCK_MODES} for seamcall in SEAMCALLS}


def _of(ordering: Ordering, seamcall: str, mode: str) -> str:
    own = ordering.busy and getattr(ordering.busy, seamcall)
    word = own if own is None or isinstance(own, str) else getattr(own, mode)
    if word is not None:
        return _meant(word, seamcall)
    word = ordering.track_busy if seamcall == "track" else _meant(ordering.sept_busy, seamcall)
    if seamcall not in OF_FAULTS or word in ("bug", "skip"):
        return _meant(word, seamcall)
    # A fault that is BUSY is RET_PF_RETRY, whatever a zapper does.
    return "hand_up_exact" if "_exact" in word else "hand_up"


def _meant(word: str, seamcall: str) -> str:
    """A word, or what an older one means for this SEAMCALL."""
    return {
        "none": "bug",
        "spin_on_tree": "spin_exact",
        "retry_on_tree": V18.get(seamcall, "hand_up_exact"),
    }.get(word, word)
