"""Breadth-first search over the states of a small machine, in rounds that any number of threads share.

States are divided by their fingerprints among a fixed number of parts. In a round every part expands some states of its
frontier and keeps what the tables do not hold yet; then every part takes in what is its own, from all parts in turn.
Nothing depends on how many threads there are: one part after the other gives the same numbers and the same parents.

A table holds fingerprints, a link is the parent's number and the move. Only the frontier holds whole states: a row is
the words, then the parts of the fingerprint.
"""

from typing import NamedTuple

import numpy as np

from kernels.atomics import (
    address,
    at_word,
    fetch_add_seq_cst,
    load_acquire,
    monotonic_ns,
    pause,
    prefetch_read,
    store_release,
    words_at,
    yield_cpu,
)
from kernels.machine import DONE
from kernels.moves import (
    fingerprint,
    finish_print,
    move,
    noted,
    row_of,
    share_of,
    sum_own,
    sum_shared,
    term,
    total_of,
)
from kernels.outcomes import OUTCOMES
from kernels.words import epoch_of, refcount_of

PARTS = 16
CHUNK = 256  # states of one part in one round
BATCH = 32  # looked up together, so that the tables' lines are on their way
MOVE_BITS = 20  # of a link: the actor in the upper 8, the number of the move in the lower 12
NUMBERS = 1 << 12

# What `found` keeps the first of: each outcome, then these.
REFCOUNTS, EPOCH, DEADLOCK = OUTCOMES, OUTCOMES + 1, OUTCOMES + 2
FINDINGS = OUTCOMES + 3

# Control words, each on a line of its own.
COMMAND, ARRIVED, GENERATION, STAGE, DEADLINE, SIDE, DEPTH, WANTED = (16 * place for place in range(8))
CONTROL_WORDS = 8 * 16
GO, PAUSE, FINISHED, TABLE_FULL, LINKS_FULL, FRONTIER_FULL, STOP = range(7)
EXPAND, INSERT = 0, 1

# A candidate row: what a child is told by.
PRINT, PARENT, ROW, WORD, VALUE, ACTOR, HEAD = range(7)


class Store(NamedTuple):
    """The sizes and the arrays of a search: flat, of int64."""

    slots: int  # of each table, a power of two
    most_links: int
    most_rows: int
    columns: int  # of a row
    most_candidates: int
    breadth: int  # of a candidate
    tables: np.ndarray  # [part, slot] fingerprints, 0 where empty
    links: np.ndarray  # [part, state] parent * 2**MOVE_BITS + move; a state's number is state * PARTS + part
    frontier: np.ndarray  # [side, part, row, word]
    rows: np.ndarray  # [side, part] how many
    done: np.ndarray  # [part] rows expanded so far
    states: np.ndarray  # [part]
    first: np.ndarray  # [side, part] the state that row 0 is
    candidates: np.ndarray  # [part, candidate, column]
    order: np.ndarray  # [part, candidate] candidates by the part that they go to
    begins: np.ndarray  # [part, part they go to]
    transitions: np.ndarray  # [part, 16]
    deadlocks: np.ndarray  # [part, 16]
    seen: np.ndarray  # [part, finding] the link of the first in this round, 0 for none
    found: np.ndarray  # [finding] the link of the first
    control: np.ndarray


def part_of(print_):
    return (print_ >> 58) & (PARTS - 1)


def slot_of(print_, slots):
    return (print_ ^ (print_ >> 32)) & (slots - 1)


def holds(store, print_):
    """Whether the tables hold this fingerprint."""
    table = part_of(print_) * store.slots
    at = slot_of(print_, store.slots)
    while True:
        there = words_at(store.tables)[table + at]
        if there == print_:
            return True
        if there == 0:
            return False
        at = (at + 1) & (store.slots - 1)


def note_finding(store, part, finding, link):
    if words_at(store.seen)[part * FINDINGS + finding] == 0:
        words_at(store.seen)[part * FINDINGS + finding] = link


def check_epoch(plan, store, before, after, row, part, link):
    """The epoch never falls, and the references change only as vCPUs enter and leave: so they are those inside."""
    if epoch_of(after) < epoch_of(before):
        note_finding(store, part, EPOCH, link)
    more = refcount_of(after, 0) + refcount_of(after, 1) - refcount_of(before, 0) - refcount_of(before, 1)
    if more != words_at(plan.counts)[row]:
        note_finding(store, part, REFCOUNTS, link)


def keep_new(store, part, kept, pending):
    """Of the candidates behind the first `kept`, keep those that no table holds; returns how many there are now."""
    first = part * store.most_candidates
    for row in range(kept, kept + pending):
        at = (first + row) * store.breadth
        if not holds(store, words_at(store.candidates)[at + PRINT]):
            if row != kept:
                to = (first + kept) * store.breadth
                for column in range(store.breadth):
                    words_at(store.candidates)[to + column] = words_at(store.candidates)[at + column]
            kept += 1
    return kept


def expand(plan, store, td, lay, rules, part):
    """Every move of the next states of this part; what is new stays as candidates, in the order of discovery."""
    side = words_at(store.control)[SIDE]
    words = lay.state_words
    everybody = plan.vcpus + plan.zappers
    begin = words_at(store.done)[part]
    end = min(words_at(store.rows)[side * PARTS + part], begin + CHUNK)
    kept, pending, steps, stuck = 0, 0, 0, 0
    for row in range(begin, end):
        if kept + pending + plan.most_moves > store.most_candidates:
            end = row
            break
        state = at_word(words_at(store.frontier), ((side * PARTS + part) * store.most_rows + row) * store.columns)
        for word in range(0, store.columns, 8):  # the next row, while this one is worked on
            prefetch_read(state, store.columns + word)
        copy(td, state, 0, words)
        whole = total_of(plan, td, at_word(state, words)) if plan.orders == 1 else 0
        parent = (words_at(store.first)[side * PARTS + part] + row) * PARTS + part
        alive, moved = False, False
        for actor in range(everybody):
            if state[words_at(plan.pc)[actor]] == DONE:
                continue
            alive |= actor >= plan.vcpus
            start, stop = words_at(plan.start)[actor], words_at(plan.stop)[actor]
            number, numbers = 0, 1
            while number < numbers:
                word, count = move(plan, td, lay, rules, actor, number)
                link = (((parent << 8) | actor) << 12) | number
                number += 1
                bits = noted(plan, td)
                numbers = max(numbers, abs(count))
                if count > 0:
                    steps += 1
                    if bits:
                        for outcome in range(OUTCOMES):
                            if (bits >> outcome) & 1:
                                note_finding(store, part, outcome, link + 1)
                    if (word >= 0 and td[word] != state[word]) or differ(td, state, start, stop):
                        moved = True
                        if word == lay.epoch_tracking:
                            check_epoch(plan, store, state[word], td[word], row_of(plan, state, actor), part, link + 1)
                        at = (part * store.most_candidates + kept + pending) * store.breadth
                        candidate = at_word(words_at(store.candidates), at)
                        tell(plan, candidate, td, state, words, actor, word, whole)
                        candidate[PARENT] = link
                        candidate[ROW] = row
                        print_ = candidate[PRINT]
                        prefetch_read(
                            words_at(store.tables), part_of(print_) * store.slots + slot_of(print_, store.slots)
                        )
                        pending += 1
                        if pending == BATCH:
                            kept = keep_new(store, part, kept, pending)
                            pending = 0
                copy(td, state, start, stop)
                if word >= 0:
                    td[word] = state[word]
        if alive and not moved and not state[lay.vm_bugged]:
            stuck += 1
            note_finding(store, part, DEADLOCK, (parent << MOVE_BITS) + 1)
    kept = keep_new(store, part, kept, pending)
    words_at(store.done)[part] = end
    words_at(store.transitions)[part * 16] += steps
    words_at(store.deadlocks)[part * 16] += stuck
    sort_candidates(store, part, kept)


def tell(plan, candidate, td, state, words, actor, word, whole):
    """Write what a move has changed, and the fingerprint, into a candidate's row.

    `whole`: the sum over everybody before the move, where zappers are not folded. A vCPU writes no other actor's word:
    its own share changes, and the shared words'.
    """
    for place in range(1 + plan.vcpus + plan.zappers):
        candidate[HEAD + place] = state[words + place]
    if word >= 0:
        salt = words_at(plan.salt)[word]
        candidate[HEAD + words_at(plan.region)[word]] += term(salt, td[word]) - term(salt, state[word])
        candidate[VALUE] = td[word]
    candidate[HEAD + 1 + actor] = sum_own(plan, td, actor)
    candidate[WORD] = word
    candidate[ACTOR] = actor
    sums = at_word(candidate, HEAD)
    if plan.orders == 1 and actor < plan.vcpus:
        before = at_word(state, words)
        whole += sums[0] - before[0] + share_of(plan, td, sums, actor) - share_of(plan, state, before, actor)
        candidate[PRINT] = finish_print(whole)
    else:
        candidate[PRINT] = fingerprint(plan, td, sums)
    start = words_at(plan.start)[actor]
    own = at_word(candidate, HEAD + 1 + plan.vcpus + plan.zappers - start)
    copy(own, td, start, words_at(plan.stop)[actor])


def copy(to, source, start, stop):
    for word in range(start, stop):
        to[word] = source[word]


def differ(one, other, start, stop):
    differing = 0
    for word in range(start, stop):
        differing |= one[word] ^ other[word]
    return differing != 0


def sort_candidates(store, part, kept):
    """Order the candidates by the part that they go to, else as they are."""
    first = part * store.most_candidates
    begins = at_word(words_at(store.begins), part * (PARTS + 2))
    for to in range(PARTS + 2):
        begins[to] = 0
    for row in range(kept):
        begins[part_of(words_at(store.candidates)[(first + row) * store.breadth + PRINT]) + 2] += 1
    for to in range(PARTS):
        begins[to + 2] += begins[to + 1]
    for row in range(kept):  # begins[part + 1] runs from its begin to its end
        to = part_of(words_at(store.candidates)[(first + row) * store.breadth + PRINT])
        words_at(store.order)[first + begins[to + 1]] = row
        begins[to + 1] += 1


def insert(plan, store, lay, part):
    """Take in this part's candidates of all parts, in turn."""
    side = words_at(store.control)[SIDE]
    other = 1 - side
    words = lay.state_words
    everybody = plan.vcpus + plan.zappers
    table = part * store.slots
    for source in range(PARTS):
        first = source * store.most_candidates
        begin, end = (
            words_at(store.begins)[source * (PARTS + 2) + part],
            words_at(store.begins)[source * (PARTS + 2) + part + 1],
        )
        for number in range(begin, end):
            ahead = first + words_at(store.order)[first + min(number + 4, end - 1)]
            prefetch_read(
                words_at(store.tables),
                table + slot_of(words_at(store.candidates)[ahead * store.breadth + PRINT], store.slots),
            )
            candidate = at_word(
                words_at(store.candidates), (first + words_at(store.order)[first + number]) * store.breadth
            )
            print_ = candidate[PRINT]
            at = slot_of(print_, store.slots)
            while words_at(store.tables)[table + at] != 0 and words_at(store.tables)[table + at] != print_:
                at = (at + 1) & (store.slots - 1)
            if words_at(store.tables)[table + at] == print_:
                continue
            words_at(store.tables)[table + at] = print_
            words_at(store.links)[part * store.most_links + words_at(store.states)[part]] = candidate[PARENT]
            words_at(store.states)[part] += 1
            row = (side * PARTS + source) * store.most_rows + candidate[ROW]
            parent = at_word(words_at(store.frontier), row * store.columns)
            row = (other * PARTS + part) * store.most_rows + words_at(store.rows)[other * PARTS + part]
            child = at_word(words_at(store.frontier), row * store.columns)
            words_at(store.rows)[other * PARTS + part] += 1
            copy(child, parent, 0, words)
            if candidate[WORD] >= 0:
                child[candidate[WORD]] = candidate[VALUE]
            actor = candidate[ACTOR]
            start = words_at(plan.start)[actor]
            copy(child, at_word(candidate, HEAD + 1 + everybody - start), start, words_at(plan.stop)[actor])
            copy(at_word(child, words), at_word(candidate, HEAD), 0, 1 + everybody)


def room(store):
    """Whether every part can take in its candidates."""
    other = 1 - words_at(store.control)[SIDE]
    for part in range(PARTS):
        more = 0
        for source in range(PARTS):
            at = source * (PARTS + 2) + part
            more += words_at(store.begins)[at + 1] - words_at(store.begins)[at]
        after = words_at(store.states)[part] + more
        if after * 8 > store.slots * 5:
            return TABLE_FULL
        if after > store.most_links:
            return LINKS_FULL
        if words_at(store.rows)[other * PARTS + part] + more > store.most_rows:
            return FRONTIER_FULL
    return GO


def settle(store):
    """Between two rounds: what was found first, whether the level is over, whether to go on."""
    for finding in range(FINDINGS):
        for part in range(PARTS):
            if words_at(store.found)[finding] == 0:
                words_at(store.found)[finding] = words_at(store.seen)[part * FINDINGS + finding]
            words_at(store.seen)[part * FINDINGS + finding] = 0
    side = words_at(store.control)[SIDE]
    left = 0
    for part in range(PARTS):
        left += words_at(store.rows)[side * PARTS + part] - words_at(store.done)[part]
    if left == 0:
        more = 0
        for part in range(PARTS):
            words_at(store.done)[part] = 0
            words_at(store.rows)[side * PARTS + part] = 0
            more += words_at(store.rows)[(1 - side) * PARTS + part]
            words_at(store.first)[side * PARTS + part] = words_at(store.states)[part]
        words_at(store.control)[SIDE] = 1 - side
        if more == 0:
            return FINISHED
        words_at(store.control)[DEPTH] += 1
    for finding in range(FINDINGS):
        if words_at(store.found)[finding] != 0 and (words_at(store.control)[WANTED] >> finding) & 1:
            return STOP
    return PAUSE if monotonic_ns() > words_at(store.control)[DEADLINE] else GO


def meet(control, threads):
    """Wait for the other threads."""
    if threads == 1:
        return
    generation = load_acquire(control, GENERATION)
    if fetch_add_seq_cst(control, ARRIVED, 1) == threads - 1:
        store_release(control, ARRIVED, 0)
        fetch_add_seq_cst(control, GENERATION, 1)
        return
    spins = 0
    while load_acquire(control, GENERATION) == generation:
        pause()
        spins += 1
        if spins & 1023 == 0:
            yield_cpu()


def search(plan, store, words, lay, rules, thread, threads):
    """One thread's share of the search, until there is something for Python to do; returns the command that says what.

    `words`: this thread's own copy of a state with a tally behind it.
    """
    td = address(words)
    control = words_at(store.control)
    while True:
        if control[STAGE] == EXPAND:
            for part in range(thread, PARTS, threads):
                expand(plan, store, td, lay, rules, part)
            meet(control, threads)
            if thread == 0:
                control[STAGE] = INSERT
        if thread == 0:
            store_release(control, COMMAND, room(store))
        meet(control, threads)
        command = load_acquire(control, COMMAND)
        if command != GO:
            return command
        for part in range(thread, PARTS, threads):
            insert(plan, store, lay, part)
        meet(control, threads)
        if thread == 0:
            control[STAGE] = EXPAND
            store_release(control, COMMAND, settle(store))
        meet(control, threads)
        command = load_acquire(control, COMMAND)
        if command != GO:
            return command


def plant(plan, store, words_, lay):
    """Put the state in `words_` as the only one."""
    td, words = address(words_), lay.state_words
    sums = at_word(words_at(store.candidates), 0)
    sums[0] = sum_shared(plan, td)
    for actor in range(plan.vcpus + plan.zappers):
        sums[1 + actor] = sum_own(plan, td, actor)
    print_ = fingerprint(plan, td, sums)
    part = part_of(print_)
    state = at_word(words_at(store.frontier), part * store.most_rows * store.columns)
    copy(state, td, 0, words)
    copy(at_word(state, words), sums, 0, 1 + plan.vcpus + plan.zappers)
    words_at(store.tables)[part * store.slots + slot_of(print_, store.slots)] = print_
    words_at(store.links)[part * store.most_links] = -1
    words_at(store.states)[part] = 1
    words_at(store.rows)[part] = 1
    words_at(store.first)[PARTS + part] = 1  # the next level's states are numbered from here on


def rehash(old, new, slots, more):
    """Move the fingerprints of all parts into larger tables."""
    for part in range(PARTS):
        for place in range(slots):
            print_ = old[part * slots + place]
            if print_ != 0:
                at = slot_of(print_, more)
                while new[part * more + at] != 0:
                    at = (at + 1) & (more - 1)
                new[part * more + at] = print_


FUNCTIONS = (
    part_of,
    slot_of,
    holds,
    note_finding,
    check_epoch,
    keep_new,
    copy,
    differ,
    tell,
    sort_candidates,
    expand,
    insert,
    room,
    settle,
    meet,
    search,
    plant,
    rehash,
)
