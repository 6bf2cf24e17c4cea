"""One move of one actor on the words themselves: a step and, with the reduction, the choices behind it.

A choice touches nothing that another actor sees, so nobody need come between. The step machines are called by address:
compiled once, these functions serve all of them.
"""

from typing import NamedTuple

import numpy as np

from kernels.language.atomics import enter, words_at
from kernels.language.syntax import out_of_line
from kernels.layout import OUTCOME_COUNTS
from kernels.tdx.outcomes import OUTCOMES
from kernels.tdx.rules import Flow

TEARDOWN = int(Flow.TEARDOWN)

# By label: registers that name a vCPU or a zapper (a bit each, kept out of the sum), and which one holds what, from 1:
# a zapper's vCPU at hand and its set of vCPUs visited, a vCPU's word of a page and word of a stage.
NAMING, FIRST, SECOND, COLUMNS = range(4)


class Plan(NamedTuple):
    """What a search knows of the machine beside its layout: numbers, and flat arrays of int64.

    Actors count from 0, vCPUs first. A label's row is its number and 1, as DONE is -1. A *row* is a state as searches
    keep it: the words that several actors use, a column each; then for each actor the number of its own words, taken
    together (see `kernels/search/state.py`); then the parts of the fingerprint. Compiled code takes a plan as one
    record with addresses in place of arrays; see `addressed`.
    """

    vcpus: int
    zappers: int
    pages: int  # page-table pages among them
    guest_pages: int
    fold_vcpus: int
    reduce: int
    tally: int
    most_moves: int  # of one state
    labels: int  # rows of a kind of actor in what follows
    orders: int  # permutations of the zappers
    shared: int  # columns of words that several actors use
    columns: int  # of a row
    bugged: int  # the column of vm_bugged
    epoch: int  # of epoch_tracking
    mmu_lock: int
    in_step: int  # how many pages' mirror SPTEs and S-EPT entries are to be in step: all, or in some flows none
    vcpu_step: int  # addresses, see `kernels.language.entered.Entered`
    vcpu_choices: int
    zapper_step: int
    zapper_choices: int
    word: np.ndarray  # [column] which word it is
    column: np.ndarray  # [word] the column of what several use, else that of whose word it is
    salt_of: np.ndarray  # [column] 0 where it has a place of its own in the fingerprint
    region: np.ndarray  # [column] part of the fingerprint: 0 shared, 1 + actor
    salt: np.ndarray  # [word] of an actor's own words; 0 as above
    start: np.ndarray  # [actor] the first word that nobody else writes
    stop: np.ndarray  # [actor] the end of them
    pc: np.ndarray
    register: np.ndarray
    is_choice: np.ndarray  # [kind, label]
    references: np.ndarray  # [kind, label] to an epoch, that an actor has there; see `kernels/tdx/invariants.py`
    holds: np.ndarray  # [kind, label, column] registers that name others
    place: np.ndarray  # [order, zapper] the place that a zapper takes
    owner: np.ndarray  # [page] the column of the oracle's word, of page-table pages too
    mirror: np.ndarray  # [page] the column
    sept: np.ndarray  # [page] the column
    stages: np.ndarray  # [zapper] the column
    ipis: np.ndarray  # [vcpu] the column
    awaiting: np.ndarray  # [zapper] its first word


def row_of(plan, td, actor):
    """The row of an actor's label in tables by kind and label."""
    return (0 if actor < plan.vcpus else plan.labels) + td[words_at(plan.pc)[actor]] + 1


def enter_as(plan, place, td, lay, rules, actor, chosen):
    """Call a step function as this actor; all share one tally."""
    index = actor if actor < plan.vcpus else actor - plan.vcpus
    pc, register = words_at(plan.pc)[actor], words_at(plan.register)[actor]
    return enter(place, td, lay, rules, index, plan.tally, pc, register, chosen)


def choices_of(plan, td, lay, rules, actor):
    return enter_as(plan, plan.vcpu_choices if actor < plan.vcpus else plan.zapper_choices, td, lay, rules, actor, 0)


def step_of(plan, td, lay, rules, actor, chosen):
    return enter_as(plan, plan.vcpu_step if actor < plan.vcpus else plan.zapper_step, td, lay, rules, actor, chosen)


@out_of_line
def move(plan, td, lay, rules, actor, number):
    """Take the move with this number of an actor that has not returned.

    Readers that the module's locks refuse leave their count behind, and the release of the writer wipes it: nobody can
    tell the counts under a writer apart, and here they are none, or the states would have no end.

    Returns the word touched (-1 for none) and how many numbers there are: `number` is a digit for each choice on the
    way, the first lowest, and one that is too high for its way is no move: then the count comes back negative.
    """
    count = 1
    if words_at(plan.is_choice)[row_of(plan, td, actor)]:
        count = choices_of(plan, td, lay, rules, actor)
        chosen = number % count
        number //= count
    else:
        chosen = 0
    word = step_of(plan, td, lay, rules, actor, chosen) - 1
    tdr_lock = lay.tdr_lock if lay.flow == TEARDOWN else lay.tree_lock
    if (word == lay.epoch_lock or word == lay.tree_lock or word == tdr_lock) and td[word] & 1:
        td[word] = 1
    if plan.reduce:
        while words_at(plan.is_choice)[row_of(plan, td, actor)]:
            ways = choices_of(plan, td, lay, rules, actor)
            step_of(plan, td, lay, rules, actor, number % ways)
            number //= ways
            count *= ways
    return max(word, -1), -count if number else count


def noted(plan, td):
    """The outcomes that the last move showed, a bit each; forgets them."""
    at = plan.tally + OUTCOME_COUNTS
    shown = 0
    for outcome in range(OUTCOMES):
        shown |= td[at + outcome]
    bits, outcome = 0, 0
    while shown and outcome < OUTCOMES:
        bits |= (td[at + outcome] != 0) << outcome
        td[at + outcome] = 0
        outcome += 1
    return bits
