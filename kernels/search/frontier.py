"""What a search keeps: tables of fingerprints, links to parents, the frontier; and what is done between two rounds.

States are divided by their fingerprints among a fixed number of parts, each with a table, links and rows of its own. A
table holds fingerprints, a link is the parent's number and the move. Only the frontier holds whole states, as rows (see
`kernels.search.moves.Plan`). Compiled together with `kernels/search/rounds.py`.
"""

from typing import NamedTuple

import numpy as np

from kernels.language.atomics import at_word, monotonic_ns
from kernels.search.fingerprint import fingerprint
from kernels.search.state import STATE, pack
from kernels.search.transitions import memory_of

PARTS = 16
CHUNK = 128  # states of one part in one round
MOVE_BITS = 20  # of a link: the actor in the upper 8, the number of the move in the lower 12
NUMBERS = 1 << 12

# Control words, each on a line of its own.
COMMAND, ARRIVED, GENERATION, STAGE, DEADLINE, SIDE, DEPTH, WANTED = (16 * place for place in range(8))
CONTROL_WORDS = 8 * 16
GO, PAUSE, FINISHED, TABLE_FULL, MEMORY_FULL, STOP = range(6)
EXPAND, INSERT = 0, 1
PRINT, LINK, CANDIDATE = 0, 1, 2  # a candidate's words, and how many


class Store(NamedTuple):
    """The sizes and the arrays of a search: flat, of int64."""

    slots: int  # of each table, a power of two
    bits: int  # its logarithm
    most_links: int
    most_rows: int
    most_words: int  # that tables, links, rows and what is remembered of moves may take together
    threads: int
    columns: int  # of a row
    work: int  # words of a part's scratch, whole lines
    bucket: int  # candidates of one part for another in one round
    findings: int  # see `kernels.search.moves.Plan`
    tables: np.ndarray  # [part, slot] fingerprints, 0 where empty
    links: np.ndarray  # [part, state] parent * 2**MOVE_BITS + move; a state's number is state * PARTS + part
    frontier: np.ndarray  # [side, part, row, word]
    rows: np.ndarray  # [side, part] how many
    touched: np.ndarray  # [side, part] the most that there ever were
    done: np.ndarray  # [part] rows expanded so far
    states: np.ndarray  # [part]
    first: np.ndarray  # [side, part] the state that row 0 is
    buckets: np.ndarray  # [part, part they go to, candidate, word]
    filled: np.ndarray  # [part, part they go to]
    scratch: np.ndarray  # [part, work place] the row at hand, then what each actor adds to its fingerprint
    transitions: np.ndarray  # [part, 16]
    deadlocks: np.ndarray  # [part, 16]
    seen: np.ndarray  # [part, finding] the link of the first in this round, 0 for none
    found: np.ndarray  # [finding] the link of the first
    control: np.ndarray


def part_of(print_):
    return (print_ >> 58) & (PARTS - 1)


def slot_of(print_, bits):
    """In the order of the fingerprints: a larger table holds them in the order in which the smaller one did."""
    return (print_ >> (58 - bits)) & ((1 << bits) - 1)


def note_finding(store, part, finding, link):
    if store.seen[part * store.findings + finding] == 0:
        store.seen[part * store.findings + finding] = link


def copy(to, source, start, stop):
    for word in range(start, stop):
        to[word] = source[word]


def room(store, memo):
    """Whether every part can take in its candidates."""
    if memo.common[STATE]:
        return MEMORY_FULL
    side = store.control[SIDE]
    other = 1 - side
    used = PARTS * store.slots + store.threads * memory_of(memo)
    for part in range(PARTS):
        more = 0
        for source in range(PARTS):
            more += store.filled[source * PARTS + part]
        after = store.states[part] + more
        rows = store.rows[other * PARTS + part] + more
        if after * 4 > store.slots * 3:
            return TABLE_FULL
        if after > store.most_links or rows > store.most_rows:
            return MEMORY_FULL
        rows = max(rows, store.touched[other * PARTS + part])
        used += after + (rows + store.touched[side * PARTS + part]) * store.columns
    return MEMORY_FULL if used > store.most_words else GO


def settle(store):
    """Between two rounds: what was found first, whether the level is over, whether to go on."""
    for finding in range(store.findings):
        for part in range(PARTS):
            if store.found[finding] == 0:
                store.found[finding] = store.seen[part * store.findings + finding]
            store.seen[part * store.findings + finding] = 0
    side = store.control[SIDE]
    left = 0
    for part in range(PARTS):
        left += store.rows[side * PARTS + part] - store.done[part]
    if left == 0:
        more = 0
        for part in range(PARTS):
            store.done[part] = 0
            at = (1 - side) * PARTS + part
            store.touched[at] = max(store.touched[at], store.rows[at])
            store.rows[side * PARTS + part] = 0
            more += store.rows[at]
            store.first[side * PARTS + part] = store.states[part]
        store.control[SIDE] = 1 - side
        if more == 0:
            return FINISHED
        store.control[DEPTH] += 1
    for finding in range(store.findings):
        if store.found[finding] != 0 and (store.control[WANTED] >> finding) & 1:
            return STOP
    return PAUSE if monotonic_ns() > store.control[DEADLINE] else GO


def plant(plan, memo, store, td, lay):
    """Put the state in `td` as the only one."""
    row = store.scratch
    pack(plan, memo, td, row)
    print_ = fingerprint(plan, memo, row)
    part = part_of(print_)
    copy(at_word(store.frontier, part * store.most_rows * store.columns), row, 0, store.columns)
    store.tables[part * store.slots + slot_of(print_, store.bits)] = print_
    store.links[part * store.most_links] = -1
    store.states[part] = 1
    store.rows[part] = 1
    store.first[PARTS + part] = 1  # the next level's states are numbered from here on


def rehash(old, new, bits, more):
    """Move the fingerprints of all parts into larger tables, of 2**more slots; in order, or nearly."""
    for part in range(PARTS):
        for place in range(1 << bits):
            print_ = old[(part << bits) + place]
            if print_ != 0:
                at = slot_of(print_, more)
                while new[(part << more) + at] != 0:
                    at = (at + 1) & ((1 << more) - 1)
                new[(part << more) + at] = print_
