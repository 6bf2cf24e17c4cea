"""The fingerprint of a state, from its row.

A sum over words, so that a move changes few terms of it; the same for states that differ only in the names of the vCPUs
or of the zappers: a term for each vCPU, added up, and the least over all orders of the zappers (Murphi's scalarsets;
64-bit compaction as in TLC). What an actor's own words add was summed up when they were first seen.
"""

from kernels.language.atomics import at_word, words_at
from kernels.language.syntax import out_of_line
from kernels.tdx.words import PAGE_BLOCKED, TAG_BITS

# What is known of an actor's own words, once for all states: whose they are, their part of the sum, the label, the
# references to an epoch that it has there (see `kernels/tdx/invariants.py`); then of a zapper what it has to say of
# each vCPU, of a vCPU the words of a page and of a stage that it has read. The words themselves stand behind that.
ACTOR, SUM, LABEL, REFERENCES, RELATIONS = range(5)
PAGE_SEEN, STAGE_SEEN = RELATIONS, RELATIONS + 1

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


def facts_of(plan, memo, row, actor):
    """What is known of an actor's own words."""
    return at_word(words_at(memo.locals), row[plan.shared + actor] * memo.width)


def sums_of(plan, row):
    """The parts of a row's fingerprint: shared, then each actor's."""
    return at_word(row, plan.shared + plan.vcpus + plan.zappers)


def share_of(plan, memo, row, actor):
    """What an actor adds to the fingerprint where zappers are not folded."""
    part = sums_of(plan, row)[1 + actor]
    if actor >= plan.vcpus:
        return mix(part + (actor - plan.vcpus + 1) * FACTOR_1)
    if not plan.fold_vcpus:
        return mix(part + actor * FACTOR_3)
    for zapper in range(plan.zappers):
        part += term(FACTOR_3 + 2 * zapper, facts_of(plan, memo, row, plan.vcpus + zapper)[RELATIONS + actor])
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
        for actor in range(plan.vcpus + plan.zappers):
            total += share_of(plan, memo, row, actor)
        return finish_print(total)
    least = 0
    for order in range(plan.orders):
        total = sums[0]
        for zapper in range(plan.zappers):
            part = sums[1 + plan.vcpus + zapper]
            place = words_at(plan.place)[order * plan.zappers + zapper]
            part += term(FACTOR_2, stage_with(plan, row[words_at(plan.stages)[zapper]], order))
            total += mix(part + (place + 1) * FACTOR_1)
        for vcpu in range(plan.vcpus):
            part = sums[1 + vcpu]
            part += term(FACTOR_3, senders_with(plan, row[words_at(plan.ipis)[vcpu]], order))
            known = facts_of(plan, memo, row, vcpu)
            part += term(FACTOR_1, page_with(plan, known[PAGE_SEEN], order))
            part += term(FACTOR_2, stage_with(plan, known[STAGE_SEEN], order))
            if plan.fold_vcpus:
                for zapper in range(plan.zappers):
                    word = facts_of(plan, memo, row, plan.vcpus + zapper)[RELATIONS + vcpu]
                    part += term(FACTOR_3 + 2 * words_at(plan.place)[order * plan.zappers + zapper], word)
                total += mix(part)
            else:
                total += mix(part + vcpu * FACTOR_3)
        for page in range(plan.pages):
            total += term(FACTOR_1 + 2 * page, page_with(plan, row[words_at(plan.owner)[page]], order))
        total = finish_print(total)
        if order == 0 or total < least:
            least = total
    return least
