"""One move of one actor, and the fingerprint of the state behind it: what every search over states is made of.

A state is the packed words. A move is one step and, with the reduction, the choices behind it: a choice touches nothing
that another actor sees, so nobody need come between. The fingerprint is a sum over words, so that a move changes few
terms of it; it is the same for states that differ only in the names of the vCPUs or of the zappers: a term for each
vCPU, added up, and the least over all orders of the zappers (Murphi's scalarsets; 64-bit compaction as in TLC).

The step machines are called by address: compiled once, these functions serve all of them.
"""

from typing import NamedTuple

import numpy as np

from kernels.atomics import enter, words_at
from kernels.layout import OUTCOME_COUNTS, Actor
from kernels.outcomes import OUTCOMES
from kernels.rules import Flow
from kernels.words import PAGE_BLOCKED, TAG_BITS

TEARDOWN = int(Flow.TEARDOWN)

# By label: registers that name a vCPU or a zapper (a bit each, kept out of the sum), and which one holds what, from 1:
# a zapper's vCPU at hand and its set of vCPUs visited, a vCPU's word of a page and word of a stage.
NAMING, FIRST, SECOND, COLUMNS = range(4)
FACTOR_1, FACTOR_2, FACTOR_3 = -0x61C8864680B583EB, -0x4B47D0C5A1A2B3DB, -0x3D4D51C2D82B14B1


class Plan(NamedTuple):
    """What a search knows of the machine beside its layout: numbers, and flat arrays of int64.

    Actors count from 0, vCPUs first. A label's row is its number and 1, as DONE is -1. Compiled code takes it as one
    record with addresses in place of arrays; see `addressed`.
    """

    vcpus: int
    zappers: int
    pages: int
    fold_vcpus: int
    reduce: int
    tally: int
    most_moves: int  # of one state
    labels: int  # rows of a kind of actor in what follows
    orders: int  # permutations of the zappers
    vcpu_step: int  # addresses, see `kernels.build.Entered`
    vcpu_choices: int
    zapper_step: int
    zapper_choices: int
    begin: np.ndarray  # [actor] the first word of its block
    start: np.ndarray  # [actor] the first word that nobody else writes
    stop: np.ndarray  # [actor] the end of both
    pc: np.ndarray
    register: np.ndarray
    salt: np.ndarray  # [word] 0 where it has a place of its own in the fingerprint
    region: np.ndarray  # [word] part of the fingerprint: 0 shared, 1 + actor
    is_choice: np.ndarray  # [kind, label]
    counts: np.ndarray  # [kind, label] by how much the step changes the sum of the epoch's reference counts
    holds: np.ndarray  # [kind, label, column] registers that name others
    place: np.ndarray  # [order, zapper] the place that a zapper takes
    owner: np.ndarray  # [page] the oracle's word, of page-table pages too
    stages: np.ndarray  # [zapper]
    ipis: np.ndarray  # [vcpu]
    awaiting: np.ndarray  # [zapper] its first word


def mix(word):
    """A bijection of 64 bits that is not linear, so that a sum of its values tells whose part is whose."""
    word = (word ^ ((word >> 32) & 0xFFFFFFFF)) * FACTOR_2
    return word ^ ((word >> 29) & 0x7FFFFFFFF)


def term(salt, word):
    """What a word adds to the sum; nothing where it has no salt."""
    word = (word + salt) * FACTOR_1
    word = (word ^ ((word >> 32) & 0xFFFFFFFF)) * salt
    return word ^ ((word >> 31) & 0x1FFFFFFFF)


def page_with(plan, word, order):
    """The oracle's word of a page with its zapper's place in place of its index."""
    if word & 3 != PAGE_BLOCKED:
        return word
    return (word & ~(63 << 2)) | (words_at(plan.place)[order * plan.zappers + ((word >> 2) & 63)] << 2)


def stage_with(plan, word, order):
    """The same in a zapper's stage word."""
    if word == 0:
        return 0
    low = TAG_BITS + 2
    return (page_with(plan, word >> low, order) << low) | (word & ((1 << low) - 1))


def senders_with(plan, word, order):
    """The same for an IPI word, a bit each."""
    if word == 0 or order == 0:
        return word
    made = 0
    for zapper in range(plan.zappers):
        made |= ((word >> zapper) & 1) << words_at(plan.place)[order * plan.zappers + zapper]
    return made


def row_of(plan, td, actor):
    """The row of an actor's label in tables by kind and label."""
    return (0 if actor < plan.vcpus else plan.labels) + td[words_at(plan.pc)[actor]] + 1


def sum_own(plan, td, actor):
    """The part of the fingerprint that an actor's own words make, but for what names others."""
    total = 0
    for word in range(words_at(plan.begin)[actor], words_at(plan.register)[actor]):
        total += term(words_at(plan.salt)[word], td[word])
    at = words_at(plan.register)[actor]
    naming = words_at(plan.holds)[row_of(plan, td, actor) * COLUMNS + NAMING]
    for place in range(words_at(plan.stop)[actor] - at):
        total += term(words_at(plan.salt)[at + place] * (1 - (naming >> place & 1)), td[at + place])
    return total


def sum_shared(plan, td):
    """The part that the words which belong to nobody make."""
    total = 0
    for word in range(words_at(plan.begin)[0]):
        total += term(words_at(plan.salt)[word], td[word])
    return total


def relation(plan, td, zapper, vcpu):
    """What a zapper's words say about one vCPU: awaited, visited, at hand."""
    actor = plan.vcpus + zapper
    at = words_at(plan.register)[actor]
    row = row_of(plan, td, actor) * COLUMNS
    word = td[words_at(plan.awaiting)[zapper] + vcpu]
    first, second = words_at(plan.holds)[row + FIRST], words_at(plan.holds)[row + SECOND]
    if first:
        word |= (td[at + first - 1] == vcpu) << 8
    if second:
        word |= ((td[at + second - 1] >> vcpu) & 1) << 9
    return word


def share_of(plan, td, sums, actor):
    """What an actor adds to the fingerprint where zappers are not folded."""
    if actor >= plan.vcpus:
        return mix(sums[1 + actor] + (actor - plan.vcpus + 1) * FACTOR_1)
    part = sums[1 + actor]
    if not plan.fold_vcpus:
        return mix(part + actor * FACTOR_3)
    for zapper in range(plan.zappers):
        part += term(FACTOR_3 + 2 * zapper, relation(plan, td, zapper, actor))
    return mix(part)


def total_of(plan, td, sums):
    """The sum over everybody, from which `fingerprint` makes 64 bits, where zappers are not folded."""
    total = sums[0]
    for actor in range(plan.vcpus + plan.zappers):
        total += share_of(plan, td, sums, actor)
    return total


def finish_print(total):
    total = mix(mix(total))
    return total if total != 0 else 1


def fingerprint(plan, td, sums):
    """64 bits of the state, never 0; `sums` are its parts: shared, then each actor's."""
    if plan.orders == 1:
        return finish_print(total_of(plan, td, sums))
    least = 0
    for order in range(plan.orders):
        total = sums[0]
        for zapper in range(plan.zappers):
            actor = plan.vcpus + zapper
            part = sums[1 + actor]
            place = words_at(plan.place)[order * plan.zappers + zapper]
            part += term(FACTOR_2, stage_with(plan, td[words_at(plan.stages)[zapper]], order))
            total += mix(part + (place + 1) * FACTOR_1)
        for vcpu in range(plan.vcpus):
            part = sums[1 + vcpu]
            part += term(FACTOR_3, senders_with(plan, td[words_at(plan.ipis)[vcpu]], order))
            at = words_at(plan.register)[vcpu]
            row = row_of(plan, td, vcpu) * COLUMNS
            first, second = words_at(plan.holds)[row + FIRST], words_at(plan.holds)[row + SECOND]
            if first:
                part += term(FACTOR_1, page_with(plan, td[at + first - 1], order))
            if second:
                part += term(FACTOR_2, stage_with(plan, td[at + second - 1], order))
            if plan.fold_vcpus:
                for zapper in range(plan.zappers):
                    word = relation(plan, td, zapper, vcpu)
                    part += term(FACTOR_3 + 2 * words_at(plan.place)[order * plan.zappers + zapper], word)
                total += mix(part)
            else:
                total += mix(part + vcpu * FACTOR_3)
        for page in range(plan.pages):
            total += term(FACTOR_1 + 2 * page, page_with(plan, td[words_at(plan.owner)[page]], order))
        total = finish_print(total)
        if order == 0 or total < least:
            least = total
    return least


def choices_of(plan, td, lay, rules, actor, me):
    place = plan.vcpu_choices if actor < plan.vcpus else plan.zapper_choices
    return enter(place, td, lay, rules, me.index, me.tally, me.pc, me.register, 0)


def step_of(plan, td, lay, rules, actor, me, chosen):
    place = plan.vcpu_step if actor < plan.vcpus else plan.zapper_step
    return enter(place, td, lay, rules, me.index, me.tally, me.pc, me.register, chosen)


def as_actor(plan, actor):
    """The actor as its step functions take it; all share one tally."""
    index = actor if actor < plan.vcpus else actor - plan.vcpus
    return Actor(index, plan.tally, words_at(plan.pc)[actor], words_at(plan.register)[actor])


def move(plan, td, lay, rules, actor, number):
    """Take the move with this number of an actor that has not returned.

    Readers that the module's locks refuse leave their count behind, and the release of the writer wipes it: nobody can
    tell the counts under a writer apart, and here they are none, or the states would have no end.

    Returns the word touched (-1 for none) and how many numbers there are: `number` is a digit for each choice on the
    way, the first lowest, and one that is too high for its way is no move: then the count comes back negative.
    """
    me = as_actor(plan, actor)
    count = 1
    if words_at(plan.is_choice)[row_of(plan, td, actor)]:
        count = choices_of(plan, td, lay, rules, actor, me)
        chosen = number % count
        number //= count
    else:
        chosen = 0
    word = step_of(plan, td, lay, rules, actor, me, chosen) - 1
    tdr_lock = lay.tdr_lock if lay.flow == TEARDOWN else lay.tree_lock
    if (word == lay.epoch_lock or word == lay.tree_lock or word == tdr_lock) and td[word] & 1:
        td[word] = 1
    if plan.reduce:
        while words_at(plan.is_choice)[row_of(plan, td, actor)]:
            ways = choices_of(plan, td, lay, rules, actor, me)
            step_of(plan, td, lay, rules, actor, me, number % ways)
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


FUNCTIONS = (
    mix,
    term,
    page_with,
    stage_with,
    senders_with,
    row_of,
    sum_own,
    sum_shared,
    relation,
    share_of,
    total_of,
    finish_print,
    fingerprint,
    choices_of,
    step_of,
    as_actor,
    move,
    noted,
)
