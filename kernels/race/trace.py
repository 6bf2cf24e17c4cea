"""Tracing: each labelled step of a traced actor goes into its ring, and so do statuses, outcomes and TLB fills.

A waiting loop of up to LONGEST_LOOP entries counts its turns in the entries of its first, else it would drive out what
led to it. An outcome of the mask FREEZE_ON freezes every ring, that of the actor that noted it at once, the others when
they next look: the entry of that outcome is the last of its ring. The guest's innermost loop has no labels: of its
reads only those leave something that fill, fault or are graded, and of the grading only the grade.
"""

from collections.abc import Callable
from typing import Any

from kernels.language.atomics import load_relaxed, own, set_own, settle, store_relaxed, store_release
from kernels.language.steps import harness
from kernels.language.syntax import out_of_line
from kernels.layout import ENTRY_WORDS, FREEZE_ON, FROZEN, TRACE_RING, TRACED
from kernels.race.ring import LABEL, MOST_REPEATS, OPERAND, REPEAT_SHIFT, SITE_BITS, TICKS, VALUE, Mark
from kernels.race.tally import now

LONGEST_LOOP = 3
SO_MANY = 10_000
_ONE_REPEAT = 1 << REPEAT_SHIFT
_FULL = MOST_REPEATS << REPEAT_SHIFT
_LABEL_MASK = _ONE_REPEAT - 1


KEPT: dict[Any, Any] = {}  # by function that is no step, what a traced line does besides each call of it


def kept(keeper: Any) -> Callable[[Any], Any]:
    """Say at a function that a traced line does this besides, before each call of it and with the same arguments."""

    def note(function: Any) -> Any:
        KEPT[function] = keeper
        return function

    return note


@out_of_line
@harness()
def keep(td, lay, rules, me, label, value, operand):
    """Append an entry to the actor's ring, unless rings are frozen; `label` is not 0, for that is an empty slot."""
    if load_relaxed(td, lay.control + FROZEN):
        return
    written = own(td, me.tally + TRACED)
    ring = own(td, me.tally + TRACE_RING)
    for back in range(1, LONGEST_LOOP + 1):
        at = ring + ((written - back) & (lay.trace_entries - 1)) * ENTRY_WORDS
        before = own(td, at + LABEL)
        if before & _LABEL_MASK == label and own(td, at + VALUE) == value and own(td, at + OPERAND) == operand:
            if before < _FULL:
                set_own(td, at + LABEL, before + _ONE_REPEAT)
            return
    settle()  # else the clock may be read before the step is over, and entries of two actors change places
    at = ring + (written & (lay.trace_entries - 1)) * ENTRY_WORDS
    set_own(td, at + TICKS, now(rules))
    set_own(td, at + LABEL, label)
    set_own(td, at + VALUE, value)
    set_own(td, at + OPERAND, operand)
    store_release(td, me.tally + TRACED, written + 1)


@harness()
def keep_status(td, lay, rules, me, leaf, status):
    """The status in which a SEAMCALL or TDCALL has ended."""
    keep(td, lay, rules, me, (leaf << SITE_BITS) | Mark.STATUS, status, 0)


@harness()
def keep_outcome(td, lay, rules, me, gpa, outcome):
    """An outcome; the rings freeze behind one for which they are to."""
    keep(td, lay, rules, me, (outcome << SITE_BITS) | Mark.OUTCOME, gpa, 0)
    if (load_relaxed(td, lay.control + FREEZE_ON) >> outcome) & 1:
        store_relaxed(td, lay.control + FROZEN, 1)


@harness()
def keep_own(td, lay, rules, me, word, value):
    """A word of an endless actor's own: a TLB fill, for example. Those of others are book-keeping."""
    if word < lay.ending:
        keep(td, lay, rules, me, (word << SITE_BITS) | Mark.OWN, value, 0)


@harness()
def keep_flush(td, lay, rules, me):
    """Every translation of the vCPU's TLB is dropped."""
    keep(td, lay, rules, me, Mark.FLUSHED, 0, 0)


@harness()
def keep_left(td, lay, rules, me, outside, leaving, why):
    """A stay in the guest is over, for this reason."""
    if leaving:
        keep(td, lay, rules, me, Mark.LEFT, why, 0)


kept(keep_own)(set_own)


@harness()
def ticks_of_entries(td, lay, rules, me):
    """What tracing costs: ticks of SO_MANY entries with nobody else about."""
    began = now(rules)
    for entry in range(SO_MANY):
        keep(td, lay, rules, me, (entry << SITE_BITS) | 1, entry, 0)
    return now(rules) - began
