"""The fingerprint of a state, from its row.

A sum over words, so that a move changes few terms of it; the same for states that differ only in the names of actors
that are alike: a term for each endless actor, added up, and the least over all orders of those that come to an end
(Murphi's scalarsets; 64-bit compaction as in TLC). What an actor's own words add was summed up when they were first
seen.
"""

from kernels.language.atomics import at_word
from kernels.language.syntax import out_of_line
from kernels.search.saying import held_by, in_shared, of_ending, of_endless

# What is known of an actor's own words, once for all states: whose they are, their part of the sum, the label, what the
# protocol's invariants know of an actor there; then of an ending actor what it has to say of each endless one, of an
# endless one the words that name ending ones. The words themselves stand behind that.
ACTOR, SUM, LABEL, OF_LABEL, RELATIONS = range(5)

FACTOR_1, FACTOR_2, FACTOR_3 = -0x61C8864680B583EB, -0x4B47D0C5A1A2B3DB, -0x3D4D51C2D82B14B1


def mix(word):
    """A bijection of 64 bits that is not linear, so that a sum of its values tells whose part is whose."""
    word = (word ^ ((word >> 32) & 0xFFFFFFFF)) * FACTOR_2
    return word ^ ((word >> 29) & 0x7FFFFFFFF)


def term(salt, word):
    """What a word adds to the sum; nothing where it has no salt."""
    word = (word + salt) * FACTOR_1
    word = (word ^ ((word >> 32) & 0xFFFFFFFF)) * salt
    return word ^ ((word >> 31) & 0x1FFFFFFFF)


def factor(how):
    """The salt of words that are renamed in this way."""
    return FACTOR_1 if how == 0 else FACTOR_2 if how == 1 else FACTOR_3 + 2 * (how - 2)


def place_in(plan, order, actor):
    """The place that an ending actor takes in an order, both by number."""
    return plan.place[order * plan.ending + actor]


def facts_of(plan, memo, row, actor):
    """What is known of an actor's own words."""
    return at_word(memo.locals, row[plan.shared + actor] * memo.width)


def sums_of(plan, row):
    """The parts of a row's fingerprint: shared, then each actor's."""
    return at_word(row, plan.shared + plan.endless + plan.ending)


def share_of(plan, memo, row, actor):
    """What an actor adds to the fingerprint where ending ones are not folded."""
    part = sums_of(plan, row)[1 + actor]
    if actor >= plan.endless:
        return mix(part + (actor - plan.endless + 1) * FACTOR_1)
    if not plan.fold_endless:
        return mix(part + actor * FACTOR_3)
    for ending in range(plan.ending):
        part += term(FACTOR_3 + 2 * ending, facts_of(plan, memo, row, plan.endless + ending)[RELATIONS + actor])
    return mix(part)


def finish_print(total):
    """64 bits that are never 0."""
    total = mix(mix(total))
    return total if total != 0 else 1


@out_of_line
def fingerprint(plan, memo, row):
    """64 bits of the state, never 0."""
    sums = sums_of(plan, row)
    if plan.orders == 1:
        total = sums[0]
        for actor in range(plan.endless + plan.ending):
            total += share_of(plan, memo, row, actor)
        return finish_print(total)
    least = 0
    for order in range(plan.orders):
        total = sums[0] + in_shared(plan, row, order)
        for ending in range(plan.ending):
            part = sums[1 + plan.endless + ending] + of_ending(plan, row, ending, order)
            total += mix(part + (place_in(plan, order, ending) + 1) * FACTOR_1)
        for actor in range(plan.endless):
            part = sums[1 + actor] + of_endless(plan, row, actor, order)
            part += held_by(plan, facts_of(plan, memo, row, actor), order)
            if plan.fold_endless:
                for ending in range(plan.ending):
                    word = facts_of(plan, memo, row, plan.endless + ending)[RELATIONS + actor]
                    part += term(FACTOR_3 + 2 * place_in(plan, order, ending), word)
                total += mix(part)
            else:
                total += mix(part + actor * FACTOR_3)
        total = finish_print(total)
        if order == 0 or total < least:
            least = total
    return least
