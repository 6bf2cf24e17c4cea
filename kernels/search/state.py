"""An actor's own words, kept once under a number (COLLAPSE in Spin), and what is known of them for every state.

A row of a search has the number where the words would be twenty. Numbers differ between runs with several threads;
nothing that a search reports depends on them.
"""

from kernels.language.atomics import at_word, compare_exchange_seq_cst, pause, store_release
from kernels.language.syntax import out_of_line
from kernels.search.fingerprint import ACTOR, FACTOR_1, LABEL, OF_LABEL, RELATIONS, SUM, mix, sums_of, term
from kernels.search.moves import FIRST, NAMING, SECOND, row_of

# Words of `common`.
LOCK, INTERNED, SLOT_BITS, STATE, COMMON = range(5)
CROWDED, IMPOSSIBLE = 1, 2


def hash_of_words(actor, words, count):
    total = actor
    for place in range(count):
        total = mix(total + words[place] * FACTOR_1)
    return total


def relation(plan, td, actor, endless):
    """What an ending actor's words say about an endless one: awaited, visited, at hand."""
    at, awaiting = plan.register[actor], plan.awaiting[actor]
    row = row_of(plan, td, actor) * plan.holding
    word = td[awaiting + endless] if awaiting >= 0 else 0
    first, second = plan.holds[row + FIRST], plan.holds[row + SECOND]
    if first:
        word |= (td[at + first - 1] == endless) << 8
    if second:
        word |= ((td[at + second - 1] >> endless) & 1) << 9
    return word


@out_of_line
def describe(plan, memo, td, actor, facts):
    """Write down what is known of an actor's own words, which stand in `td`."""
    start, at, stop = plan.start[actor], plan.register[actor], plan.stop[actor]
    row = row_of(plan, td, actor)
    holds = at_word(plan.holds, row * plan.holding)
    naming = holds[NAMING]
    total = 0
    for word in range(start, at):
        total += term(plan.salt[word], td[word])
    for place in range(stop - at):
        total += term(plan.salt[at + place] * (1 - (naming >> place & 1)), td[at + place])
    facts[ACTOR], facts[SUM], facts[LABEL] = actor, total, td[plan.pc[actor]]
    facts[OF_LABEL] = plan.of_label[row]
    if actor >= plan.endless:
        for endless in range(plan.endless):
            facts[RELATIONS + endless] = relation(plan, td, actor, endless)
    else:
        for how in range(plan.held):
            register = holds[FIRST + how]
            facts[RELATIONS + how] = td[at + register - 1] if register else 0
    for word in range(start, stop):
        facts[memo.words + word - start] = td[word]


def place_of(plan, memo, td, actor):
    """Where an actor's own words stand among the slots, or the empty one where they belong."""
    start = plan.start[actor]
    count = plan.stop[actor] - start
    common, slots = memo.common, memo.slots
    mask = (1 << common[SLOT_BITS]) - 1
    at = hash_of_words(actor, at_word(td, start), count) & mask
    while True:
        there = slots[mask + 1 + at] - 1
        if there < 0:
            return mask + 1 + at
        known = at_word(memo.locals, there * memo.width)
        same = known[ACTOR] == actor
        place = 0
        while same and place < count:
            same = known[memo.words + place] == td[start + place]
            place += 1
        if same:
            return mask + 1 + at
        at = (at + 1) & mask


@out_of_line
def more_slots(plan, memo):
    """A table of twice the size, with all own words in it."""
    common, slots = memo.common, memo.slots
    common[SLOT_BITS] += 1
    mask = (1 << common[SLOT_BITS]) - 1
    for number in range(common[INTERNED]):
        known = at_word(memo.locals, number * memo.width)
        count = plan.stop[known[ACTOR]] - plan.start[known[ACTOR]]
        at = hash_of_words(known[ACTOR], at_word(known, memo.words), count) & mask
        while slots[mask + 1 + at] != 0:
            at = (at + 1) & mask
        slots[mask + 1 + at] = number + 1


@out_of_line
def number_of_own(plan, memo, td, actor):
    """The number of the own words that an actor has in `td`; one thread at a time."""
    common = memo.common
    while compare_exchange_seq_cst(common, LOCK, 0, 1) != 0:
        pause()
    at = place_of(plan, memo, td, actor)
    number = memo.slots[at] - 1
    if number < 0:
        number = common[INTERNED]
        if number == memo.most_locals:
            common[STATE] |= CROWDED
            number = 0
        else:
            describe(plan, memo, td, actor, at_word(memo.locals, number * memo.width))
            memo.slots[at] = number + 1
            common[INTERNED] += 1
            if 2 * common[INTERNED] > 1 << common[SLOT_BITS]:
                more_slots(plan, memo)
    store_release(common, LOCK, 0)
    return number


@out_of_line
def unpack(plan, memo, td, row):
    """The words of a row."""
    for column in range(plan.shared):
        td[plan.word[column]] = row[column]
    for actor in range(plan.endless + plan.ending):
        known = at_word(memo.locals, row[plan.shared + actor] * memo.width + memo.words)
        start = plan.start[actor]
        for word in range(start, plan.stop[actor]):
            td[word] = known[word - start]


@out_of_line
def pack(plan, memo, td, row):
    """The row of these words, with the parts of its fingerprint."""
    everybody = plan.endless + plan.ending
    sums = sums_of(plan, row)
    sums[0] = 0
    for actor in range(everybody):
        row[plan.shared + actor] = number_of_own(plan, memo, td, actor)
        sums[1 + actor] = memo.locals[row[plan.shared + actor] * memo.width + SUM]
    for column in range(plan.shared):
        row[column] = td[plan.word[column]]
        sums[plan.region[column]] += term(plan.salt_of[column], row[column])


def is_as_before(plan, memo, td, row, actor):
    """Whether an actor's own words in `td` are those of the row."""
    known = at_word(memo.locals, row[plan.shared + actor] * memo.width + memo.words)
    start = plan.start[actor]
    differing = 0
    for word in range(start, plan.stop[actor]):
        differing |= td[word] ^ known[word - start]
    return differing == 0
