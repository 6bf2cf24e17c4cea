"""Breadth-first search over the states of a small machine, in rounds that any number of threads share.

In a round every part expands some states of its frontier and sorts what comes out, a fingerprint and a link, by the
parts that they belong to; then every part takes in what is its own, from all parts in turn, and makes the states that
its table does not hold yet by taking the move once more. So a table is looked at by one thread at a time, a sixteenth
of all, while the processor's caches hold it.
Nothing depends on how many threads there are: one part after the other gives the same numbers and the same parents.
"""

from kernels.language.atomics import (
    at_word,
    fetch_add_seq_cst,
    load_acquire,
    pause,
    prefetch_read,
    store_release,
    yield_cpu,
)
from kernels.language.machine import DONE
from kernels.search.fingerprint import LABEL, facts_of, fingerprint, finish_print, share_of, sums_of
from kernels.search.frontier import (
    ARRIVED,
    CANDIDATE,
    CHUNK,
    COMMAND,
    EXPAND,
    GENERATION,
    GO,
    INSERT,
    LINK,
    MOVE_BITS,
    NUMBERS,
    PARTS,
    PRINT,
    SIDE,
    STAGE,
    copy,
    note_finding,
    part_of,
    room,
    settle,
    slot_of,
)
from kernels.search.saying import broken_in, over
from kernels.search.transitions import ABROAD, BROKEN, SHOWN, WAYS, apply, changes, effect_of, undo

AHEAD = 8  # candidates whose line of the table is fetched before it is looked at


def note_findings(store, part, shown, first, link):
    """Whatever a move or a state has shown: findings, a bit each, numbered from `first` on."""
    finding = first
    while shown:
        if shown & 1:
            note_finding(store, part, finding, link)
        shown >>= 1
        finding += 1


def expand(plan, memo, store, td, lay, rules, part):
    """Every move of the next states of this part; what may be new stays in its buckets, in the order of discovery."""
    side = store.control[SIDE]
    everybody = plan.endless + plan.ending
    filled = at_word(store.filled, part * PARTS)
    for to in range(PARTS):
        filled[to] = 0
    row = at_word(store.scratch, part * store.work)
    shares = at_word(row, store.columns)
    begin = store.done[part]
    end = min(store.rows[side * PARTS + part], begin + CHUNK)
    fullest, steps, stuck = 0, 0, 0
    for number_of_row in range(begin, end):
        if fullest + plan.most_moves > store.bucket:
            end = number_of_row
            break
        place = (side * PARTS + part) * store.most_rows + number_of_row
        state = at_word(store.frontier, place * store.columns)
        for column in range(0, store.columns, 8):  # the next row, while this one is worked on
            prefetch_read(state, store.columns + column)
        copy(row, state, 0, store.columns)
        whole = sums_of(plan, state)[0]
        for actor in range(everybody):
            shares[actor] = share_of(plan, memo, state, actor)
            whole += shares[actor]
        parent = (store.first[side * PARTS + part] + number_of_row) * PARTS + part
        broken = broken_in(plan, memo, lay, state)
        if broken:
            note_findings(store, part, broken, plan.deadlock + 1, (parent << MOVE_BITS) + 1)
        alive, moved = False, False
        for actor in range(everybody):
            if facts_of(plan, memo, state, actor)[LABEL] == DONE:
                continue
            alive |= actor >= plan.endless
            number, numbers = 0, 1
            while number < numbers:
                effect = effect_of(plan, memo, td, lay, rules, state, actor, number)
                at = at_word(memo.pool, effect)
                link = (((parent << 8) | actor) << 12) | number
                number += 1
                numbers = max(numbers, abs(at[WAYS]))
                if at[WAYS] > 0:
                    steps += 1
                    if at[SHOWN] | at[BROKEN]:
                        note_findings(store, part, at[SHOWN] | at[BROKEN] << plan.outcomes, 0, link + 1)
                    if changes(memo, state, plan.shared + actor, effect):
                        moved = True
                        apply(plan, memo, row, actor, effect)
                        if plan.orders == 1 and actor < plan.endless and not at[ABROAD]:
                            changed = sums_of(plan, row)[0] - sums_of(plan, state)[0]
                            changed += share_of(plan, memo, row, actor) - shares[actor]
                            print_ = finish_print(whole + changed)
                        else:
                            print_ = fingerprint(plan, memo, row)
                        undo(plan, memo, row, actor, effect, state)
                        to = part_of(print_)
                        candidate = ((part * PARTS + to) * store.bucket + filled[to]) * CANDIDATE
                        store.buckets[candidate + PRINT] = print_
                        store.buckets[candidate + LINK] = link
                        filled[to] += 1
                        fullest = max(fullest, filled[to])
        if alive and not moved and not over(plan, lay, state):
            stuck += 1
            note_finding(store, part, plan.deadlock, (parent << MOVE_BITS) + 1)
    store.done[part] = end
    store.transitions[part * 16] += steps
    store.deadlocks[part * 16] += stuck


def look_up(store, part):
    """Enter this part's candidates, of all parts in turn, that its table does not hold; each gets a link."""
    table = at_word(store.tables, part << store.bits)
    links = at_word(store.links, part * store.most_links)
    last = (1 << store.bits) - 1
    states = store.states[part]
    for source in range(PARTS):
        bucket = at_word(store.buckets, (source * PARTS + part) * store.bucket * CANDIDATE)
        count = store.filled[source * PARTS + part]
        for number in range(min(AHEAD, count)):
            prefetch_read(table, slot_of(bucket[number * CANDIDATE + PRINT], store.bits))
        for number in range(count):
            ahead = min(number + AHEAD, count - 1)
            prefetch_read(table, slot_of(bucket[ahead * CANDIDATE + PRINT], store.bits))
            print_ = bucket[number * CANDIDATE + PRINT]
            at = slot_of(print_, store.bits)
            there = table[at]
            while there != 0 and there != print_:
                at = (at + 1) & last
                there = table[at]
            if there == 0:
                table[at] = print_
                links[states] = bucket[number * CANDIDATE + LINK]
                states += 1
    store.states[part] = states


def row_at(store, side, link):
    """The row of a link's parent."""
    parent = link >> MOVE_BITS
    at = side * PARTS + parent % PARTS
    row = at * store.most_rows + parent // PARTS - store.first[at]
    return at_word(store.frontier, row * store.columns)


def insert(plan, memo, store, td, lay, rules, part):
    """Take in what is new of this part's candidates: their rows are made by taking the move once more."""
    side = store.control[SIDE]
    to = (1 - side) * PARTS + part
    links = at_word(store.links, part * store.most_links)
    state = store.states[part]
    look_up(store, part)
    states = store.states[part]
    rows = store.rows[to]
    while state < states:
        parent = row_at(store, side, links[state])
        ahead = row_at(store, side, links[min(state + 1, states - 1)])
        for column in range(0, store.columns, 8):
            prefetch_read(ahead, column)
        child = at_word(store.frontier, (to * store.most_rows + rows) * store.columns)
        actor = (links[state] >> 12) & 255
        copy(child, parent, 0, store.columns)
        effect = effect_of(plan, memo, td, lay, rules, parent, actor, links[state] & (NUMBERS - 1))
        apply(plan, memo, child, actor, effect)
        rows += 1
        state += 1
    store.rows[to] = rows


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


def search(plan, memo, store, td, lay, rules, thread, threads):
    """One thread's share of the search, until there is something for Python to do; returns the command that says what.

    `td`: this thread's own copy of a state with a tally behind it, and room before it.
    """
    control = store.control
    while True:
        if control[STAGE] == EXPAND:
            for part in range(thread, PARTS, threads):
                expand(plan, memo, store, td, lay, rules, part)
            meet(control, threads)
            if thread == 0:
                control[STAGE] = INSERT
        if thread == 0:
            store_release(control, COMMAND, room(store, memo))
        meet(control, threads)
        command = load_acquire(control, COMMAND)
        if command != GO:
            return command
        for part in range(thread, PARTS, threads):
            insert(plan, memo, store, td, lay, rules, part)
        meet(control, threads)
        if thread == 0:
            control[STAGE] = EXPAND
            store_release(control, COMMAND, settle(store))
        meet(control, threads)
        command = load_acquire(control, COMMAND)
        if command != GO:
            return command
