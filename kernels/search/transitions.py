"""Moves remembered: what a move does depends on the actor's own words and on the one or two words that it looks at.

A move is remembered as a tree: which word is looked at first, then by its value which one next, at the end what the
move does; compiled step machines note what they look at, so nothing is assumed about them. In the states of a search
hardly a move in ten thousand is new. (Blom, van de Pol, Weber, LTSmin, CAV 2010, has transition caches by declared
dependencies; here they are seen.)
"""

from typing import NamedTuple

import numpy as np

from kernels.language.atomics import at_word
from kernels.language.llvm import SEEN_COUNT, SEEN_ROOM
from kernels.language.syntax import out_of_line
from kernels.search.fingerprint import FACTOR_1, SUM, mix, sums_of, term
from kernels.search.moves import move, noted
from kernels.search.saying import broken_by
from kernels.search.state import IMPOSSIBLE, INTERNED, SLOT_BITS, STATE, is_as_before, number_of_own, unpack

# A node: what it is, then the value seen first and the node behind it. Values seen later stand among the edges.
KIND, VALUE, CHILD, NODE_WORDS = range(4)
UNKNOWN, EFFECT = 0, -1  # else the column looked at, and 1; an effect's CHILD is its place
EDGE_WORDS = 3  # the node it leaves, or -1 - own words; the value, or the number of the move; the node behind it
# An effect, which stands in the pool once for all states that look the same to the move: how many numbers the move has
# (see `kernels.search.moves.move`), the outcomes it showed, the invariants it broke, the own words behind it and by how
# much they change the sum, whether it writes another's word; then each write.
WAYS, SHOWN, BROKEN, OWN, OWN_SUM, ABROAD, WRITES, EFFECT_WORDS = range(8)
COLUMN, WRITTEN, REGION, DIFFERENCE, WRITE_WORDS = range(5)
# Words of `counters`, a thread's own.
NODES, POOL, EDGES, BITS, STAMP, COUNTERS = range(6)


class Memo(NamedTuple):
    """Sizes, and flat arrays of int64; those before `root` are shared by all threads.

    A hash table of 2**bits places begins at place 2**bits: the larger one that follows it has its own.
    """

    width: int  # of a row of `locals`
    words: int  # where the own words stand in it
    most_locals: int
    most_nodes: int
    most_pool: int
    most_bits: int
    common: np.ndarray
    locals: np.ndarray  # [own words, fact or word]
    slots: np.ndarray  # [place] own words and 1
    root: np.ndarray  # [own words] the node of move 0
    nodes: np.ndarray
    edges: np.ndarray  # [place, word]
    pool: np.ndarray  # effects
    marks: np.ndarray  # [column] looked at already
    counters: np.ndarray


def changes(memo, row, place, effect):
    """Whether the effect changes the state; `place` is the column of the actor's own words."""
    at = at_word(memo.pool, effect)
    return at[WRITES] != 0 or at[OWN] != row[place]


def apply(plan, memo, row, actor, effect):
    """Change a row, and the parts of its fingerprint, as the effect says."""
    at = at_word(memo.pool, effect)
    sums = sums_of(plan, row)
    row[plan.shared + actor] = at[OWN]
    sums[1 + actor] += at[OWN_SUM]
    for place in range(at[WRITES]):
        write = at_word(at, EFFECT_WORDS + place * WRITE_WORDS)
        row[write[COLUMN]] = write[WRITTEN]
        sums[write[REGION]] += write[DIFFERENCE]


def undo(plan, memo, row, actor, effect, before):
    """Make of a row what it was before the effect."""
    at = at_word(memo.pool, effect)
    sums, then = sums_of(plan, row), sums_of(plan, before)
    row[plan.shared + actor] = before[plan.shared + actor]
    sums[1 + actor] = then[1 + actor]
    for place in range(at[WRITES]):
        write = at_word(at, EFFECT_WORDS + place * WRITE_WORDS)
        row[write[COLUMN]] = before[write[COLUMN]]
        sums[write[REGION]] = then[write[REGION]]


def hash_of(one, other):
    return mix(mix(one) + other * FACTOR_1)


def edge_place(memo, node, value):
    """Where the edge of this value stands, or the empty place where it belongs."""
    bits = memo.counters[BITS]
    mask = (1 << bits) - 1
    at = hash_of(node, value) & mask
    while True:
        edge = at_word(memo.edges, (mask + 1 + at) * EDGE_WORDS)
        if edge[0] == 0 or (edge[0] == node and edge[1] == value):
            return edge
        at = (at + 1) & mask


@out_of_line
def more_edges(memo):
    """A table of twice the size, with all edges in it."""
    counters = memo.counters
    counters[BITS] += 1
    half = 1 << (counters[BITS] - 1)
    for place in range(half):
        edge = at_word(memo.edges, (half + place) * EDGE_WORDS)
        if edge[0] != 0:
            to = edge_place(memo, edge[0], edge[1])
            to[0], to[1], to[2] = edge[0], edge[1], edge[2]


@out_of_line
def behind(memo, node, value):
    """The node behind one, by the value of its word; made where there is none."""
    counters = memo.counters
    edge = edge_place(memo, node, value)
    if edge[0] == 0:
        counters[NODES] += 1
        edge[0], edge[1], edge[2] = node, value, counters[NODES]
        counters[EDGES] += 1
        made = edge[2]
        if 2 * counters[EDGES] > 1 << counters[BITS]:
            more_edges(memo)
        return made
    return edge[2]


def begin_of(memo, own, number):
    """The node at which the tree of this move begins, made where there is none."""
    if number:
        return behind(memo, -1 - own, number)
    roots = memo.root
    if roots[own] == 0:
        memo.counters[NODES] += 1
        roots[own] = memo.counters[NODES]
    return roots[own]


def node_behind(memo, node, value):
    """`behind` for a node whose first value stands in it."""
    at = at_word(memo.nodes, node * NODE_WORDS)
    if at[CHILD] == 0:
        memo.counters[NODES] += 1
        at[VALUE], at[CHILD] = value, memo.counters[NODES]
    if at[VALUE] == value:
        return at[CHILD]
    return behind(memo, node, value)


@out_of_line
def remember(plan, memo, td, lay, row, actor, number, effect):
    """Grow the tree of this move by what the step machines have looked at."""
    counters, marks, nodes = memo.counters, memo.marks, memo.nodes
    counters[STAMP] += 1
    marks[plan.shared + actor] = counters[STAMP]
    node = begin_of(memo, row[plan.shared + actor], number)
    for place in range(td[SEEN_COUNT]):
        word = td[SEEN_COUNT - 1 - place]
        if word >= lay.state_words:
            continue
        column = plan.column[word]
        if marks[column] == counters[STAMP]:
            continue
        marks[column] = counters[STAMP]
        at = at_word(nodes, node * NODE_WORDS)
        if at[KIND] == UNKNOWN:
            at[KIND] = column + 1
        if at[KIND] != column + 1:
            memo.common[STATE] |= IMPOSSIBLE
            return
        node = node_behind(memo, node, row[column])
    at = at_word(nodes, node * NODE_WORDS)
    at[KIND], at[CHILD] = EFFECT, effect


@out_of_line
def learn(plan, memo, td, lay, rules, row, actor, number):
    """Take a move on the words themselves, and remember it; returns the place of its effect in the pool."""
    unpack(plan, memo, td, row)
    td[SEEN_COUNT] = 0
    _, count = move(plan, td, lay, rules, actor, number)
    counters, common, pool = memo.counters, memo.common, memo.pool
    if td[SEEN_COUNT] >= SEEN_ROOM - 2:
        common[STATE] |= IMPOSSIBLE
    known = memo.locals
    own, mine = row[plan.shared + actor], number_of_own(plan, memo, td, actor)
    # The first effect is never remembered: it stands where there is no room for another.
    most = plan.shared + plan.endless + plan.ending + 2
    fits = counters[POOL] + EFFECT_WORDS + plan.shared * WRITE_WORDS < memo.most_pool
    fits = fits and counters[NODES] + most < memo.most_nodes
    fits = fits and (counters[EDGES] + most) * 2 < 1 << memo.most_bits
    effect = counters[POOL] if fits else 0
    at = at_word(pool, effect)
    at[WAYS], at[SHOWN], at[BROKEN] = count, noted(plan, td), 0
    at[OWN], at[OWN_SUM] = mine, known[mine * memo.width + SUM] - known[own * memo.width + SUM]
    at[ABROAD], at[WRITES] = 0, 0
    for column in range(plan.shared):
        before, after = row[column], td[plan.word[column]]
        if after != before:
            write = at_word(at, EFFECT_WORDS + at[WRITES] * WRITE_WORDS)
            salt, region = plan.salt_of[column], plan.region[column]
            write[COLUMN], write[WRITTEN], write[REGION] = column, after, region
            write[DIFFERENCE] = term(salt, after) - term(salt, before)
            at[WRITES] += 1
            at[ABROAD] |= region != 0 and region != 1 + actor
            at[BROKEN] |= broken_by(lay, plan.word[column], before, after)
    for other in range(plan.endless + plan.ending):
        if other != actor and not is_as_before(plan, memo, td, row, other):
            common[STATE] |= IMPOSSIBLE
    if fits:
        counters[POOL] += EFFECT_WORDS + at[WRITES] * WRITE_WORDS
        remember(plan, memo, td, lay, row, actor, number, effect)
    return effect


def effect_of(plan, memo, td, lay, rules, row, actor, number):
    """The place in the pool of what this move does in this state."""
    own = row[plan.shared + actor]
    node = memo.root[own] if number == 0 else edge_place(memo, -1 - own, number)[2]
    while node:
        at = at_word(memo.nodes, node * NODE_WORDS)
        if at[KIND] == EFFECT:
            return at[CHILD]
        if at[KIND] == UNKNOWN:
            break
        value = row[at[KIND] - 1]
        node = at[CHILD] if at[VALUE] == value else edge_place(memo, node, value)[2]
    return learn(plan, memo, td, lay, rules, row, actor, number)


def memory_of(memo):
    """Words that the memo has taken, a thread's own and what is shared."""
    counters, common = memo.counters, memo.common
    own = counters[NODES] * NODE_WORDS + counters[POOL] + (EDGE_WORDS << (counters[BITS] + 1))
    return own + common[INTERNED] * (memo.width + 1) + (1 << (common[SLOT_BITS] + 1))
