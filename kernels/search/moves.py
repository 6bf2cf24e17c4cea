"""One move of one actor on the words themselves: a step and, with the reduction, the choices behind it.

A choice touches nothing that another actor sees, so nobody need come between. The step machines are called by address:
compiled once, these functions serve all of them.
"""

from typing import NamedTuple

import numpy as np

from kernels.language.atomics import at_word, enter
from kernels.language.syntax import out_of_line
from kernels.layout import OUTCOME_COUNTS, Actor
from kernels.search.saying import normal

# By label: registers that name an actor which may be renamed, a bit each, kept out of the sum; then which one holds
# what, from 1: an ending actor's endless one at hand and its set of endless ones, an endless actor's words that name an
# ending one.
NAMING, FIRST, SECOND = range(3)
ACTOR_WORDS = len(Actor._fields)


class Plan(NamedTuple):
    """What a search knows of the machine beside its layout: numbers, and flat arrays of int64.

    Actors count from 0, endless ones first, then those that come to an end. A label's row is its number and 1, as DONE
    is -1. A *row* is a state as searches keep it: the words that several actors use, a column each; then for each actor
    the number of its own words, taken together (see `kernels/search/state.py`); then the parts of the fingerprint.
    Findings are the outcomes, invariants that a move breaks, a deadlock, invariants that a state breaks. Compiled code
    takes a plan as one record with addresses in place of arrays; see `kernels.language.compile.words_of`.
    """

    endless: int
    ending: int
    fold_endless: int
    reduce: int
    tally: int
    most_moves: int  # of one state
    outcomes: int
    deadlock: int  # this finding's number; from here on it is a state that shows one, not a move
    findings: int
    orders: int  # permutations of the ending actors
    shared: int  # columns of words that several actors use
    columns: int  # of a row
    held: int  # kinds of words that name an ending actor and that an endless one may hold
    holding: int  # columns of `holds`
    word: np.ndarray  # [column] which word it is
    column: np.ndarray  # [word] the column of what several use, else that of whose word it is
    salt_of: np.ndarray  # [column] 0 where it has a place of its own in the fingerprint
    region: np.ndarray  # [column] part of the fingerprint: 0 shared, 1 + actor
    salt: np.ndarray  # [word] of an actor's own words; 0 as above
    me: np.ndarray  # [actor, field] as whom it takes steps; all share one tally
    step: np.ndarray  # [actor] addresses, see `kernels.language.entered.Entered`
    choices: np.ndarray  # [actor]
    labels: np.ndarray  # [actor] where the rows of its kind's labels begin
    start: np.ndarray  # [actor] the first word that nobody else writes
    stop: np.ndarray  # [actor] the end of them
    pc: np.ndarray  # [actor]
    register: np.ndarray  # [actor]
    awaiting: np.ndarray  # [actor] its first word of one for each endless actor, -1 for none
    is_choice: np.ndarray  # [label]
    of_label: np.ndarray  # [label] what the protocol's invariants know of an actor there
    holds: np.ndarray  # [label, column] registers that name others
    place: np.ndarray  # [order, ending actor] the place that it takes
    named: np.ndarray  # [place] columns of words that name ending actors, kind of word by kind of word
    first_named: np.ndarray  # [kind of word] its first place among these; one more at the end


def row_of(plan, td, actor):
    """The row of an actor's label in tables by label."""
    return plan.labels[actor] + td[plan.pc[actor]] + 1


def choices_of(plan, td, lay, rules, actor):
    return enter(plan.choices[actor], td, lay, rules, at_word(plan.me, actor * ACTOR_WORDS))


def step_of(plan, td, lay, rules, actor, chosen):
    return enter(plan.step[actor], td, lay, rules, at_word(plan.me, actor * ACTOR_WORDS), chosen)


@out_of_line
def move(plan, td, lay, rules, actor, number):
    """Take the move with this number of an actor that has not returned.

    Returns the word touched (-1 for none) and how many numbers there are: `number` is a digit for each choice on the
    way, the first lowest, and one that is too high for its way is no move: then the count comes back negative.
    """
    count = 1
    if plan.is_choice[row_of(plan, td, actor)]:
        count = choices_of(plan, td, lay, rules, actor)
        chosen = number % count
        number //= count
    else:
        chosen = 0
    word = step_of(plan, td, lay, rules, actor, chosen) - 1
    if word >= 0:
        td[word] = normal(lay, word, td[word])
    if plan.reduce:
        while plan.is_choice[row_of(plan, td, actor)]:
            ways = choices_of(plan, td, lay, rules, actor)
            step_of(plan, td, lay, rules, actor, number % ways)
            number //= ways
            count *= ways
    return max(word, -1), -count if number else count


def noted(plan, td):
    """The outcomes that the last move showed, a bit each; forgets them."""
    at = plan.tally + OUTCOME_COUNTS
    shown = 0
    for outcome in range(plan.outcomes):
        shown |= td[at + outcome]
    bits, outcome = 0, 0
    while shown and outcome < plan.outcomes:
        bits |= (td[at + outcome] != 0) << outcome
        td[at + outcome] = 0
        outcome += 1
    return bits
