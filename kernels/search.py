"""Breadth-first search over the states of a small machine, in rounds that any number of threads share.

In a round every part expands some states of its frontier and sorts what comes out, a fingerprint and a link, by the
parts that they belong to; then every part takes in what is its own, from all parts in turn, and makes the states that
its table does not hold yet by taking the move once more. So a table is looked at by one thread at a time, a sixteenth
of all, while the processor's caches hold it.
Nothing depends on how many threads there are: one part after the other gives the same numbers and the same parents.
"""

from kernels.atomics import (
    address,
    at_word,
    fetch_add_seq_cst,
    load_acquire,
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
    term,
    total_of,
)
from kernels.outcomes import OUTCOMES
from kernels.store import (
    ARRIVED,
    CANDIDATE,
    CHUNK,
    COMMAND,
    DEADLOCK,
    EPOCH,
    EXPAND,
    GENERATION,
    GO,
    INSERT,
    LINK,
    MOVE_BITS,
    NUMBERS,
    PARTS,
    PRINT,
    REFCOUNTS,
    SIDE,
    STAGE,
    copy,
    note_finding,
    part_of,
    room,
    settle,
    slot_of,
)
from kernels.words import epoch_of, refcount_of

AHEAD = 8  # candidates whose line of the table is fetched before it is looked at


def check_epoch(plan, store, before, after, row, part, link):
    """The epoch never falls, and the references change only as vCPUs enter and leave: so they are those inside."""
    if epoch_of(after) < epoch_of(before):
        note_finding(store, part, EPOCH, link)
    more = refcount_of(after, 0) + refcount_of(after, 1) - refcount_of(before, 0) - refcount_of(before, 1)
    if more != words_at(plan.counts)[row]:
        note_finding(store, part, REFCOUNTS, link)


def differ(one, other, start, stop):
    differing = 0
    for word in range(start, stop):
        differing |= one[word] ^ other[word]
    return differing != 0


def expand(plan, store, td, lay, rules, part):
    """Every move of the next states of this part; what may be new stays in its buckets, in the order of discovery."""
    side = words_at(store.control)[SIDE]
    words = lay.state_words
    everybody = plan.vcpus + plan.zappers
    filled = at_word(words_at(store.filled), part * PARTS)
    for to in range(PARTS):
        filled[to] = 0
    begin = words_at(store.done)[part]
    end = min(words_at(store.rows)[side * PARTS + part], begin + CHUNK)
    fullest, steps, stuck = 0, 0, 0
    for row in range(begin, end):
        if fullest + plan.most_moves > store.bucket:
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
                        print_ = print_behind(plan, store, td, state, words, actor, word, whole, part)
                        to = part_of(print_)
                        at = ((part * PARTS + to) * store.bucket + filled[to]) * CANDIDATE
                        words_at(store.buckets)[at + PRINT] = print_
                        words_at(store.buckets)[at + LINK] = link
                        filled[to] += 1
                        fullest = max(fullest, filled[to])
                copy(td, state, start, stop)
                if word >= 0:
                    td[word] = state[word]
        if alive and not moved and not state[lay.vm_bugged]:
            stuck += 1
            note_finding(store, part, DEADLOCK, (parent << MOVE_BITS) + 1)
    words_at(store.done)[part] = end
    words_at(store.transitions)[part * 16] += steps
    words_at(store.deadlocks)[part * 16] += stuck


def print_behind(plan, store, td, state, words, actor, word, whole, part):
    """The fingerprint behind a move.

    `whole`: the sum over everybody before it, where zappers are not folded. A vCPU writes no other actor's word: its
    own share changes, and the shared words'.
    """
    before = at_word(state, words)
    sums = at_word(words_at(store.scratch), part * (1 + plan.vcpus + plan.zappers))
    if plan.orders == 1 and actor < plan.vcpus:
        sums[0], sums[1 + actor] = before[0], before[1 + actor]
        change_sums(plan, sums, td, state, actor, word)
        whole += sums[0] - before[0] + share_of(plan, td, sums, actor) - share_of(plan, state, before, actor)
        return finish_print(whole)
    copy(sums, before, 0, 1 + plan.vcpus + plan.zappers)
    change_sums(plan, sums, td, state, actor, word)
    return fingerprint(plan, td, sums)


def change_sums(plan, sums, td, state, actor, word):
    """The parts of the fingerprint as a move changes them."""
    if word >= 0 and words_at(plan.region)[word] != 1 + actor:
        salt = words_at(plan.salt)[word]
        sums[words_at(plan.region)[word]] += term(salt, td[word]) - term(salt, state[word])
    sums[1 + actor] = sum_own(plan, td, actor)


def look_up(store, part):
    """Enter this part's candidates, of all parts in turn, that its table does not hold; each gets a link."""
    table = at_word(words_at(store.tables), part << store.bits)
    links = at_word(words_at(store.links), part * store.most_links)
    last = (1 << store.bits) - 1
    states = words_at(store.states)[part]
    for source in range(PARTS):
        bucket = at_word(words_at(store.buckets), (source * PARTS + part) * store.bucket * CANDIDATE)
        count = words_at(store.filled)[source * PARTS + part]
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
    words_at(store.states)[part] = states


def row_at(store, side, link):
    """The row of a link's parent."""
    parent = link >> MOVE_BITS
    at = side * PARTS + parent % PARTS
    row = at * store.most_rows + parent // PARTS - words_at(store.first)[at]
    return at_word(words_at(store.frontier), row * store.columns)


def insert(plan, store, td, lay, rules, part):
    """Take in what is new of this part's candidates: their rows are made by taking the move once more."""
    side = words_at(store.control)[SIDE]
    to = (1 - side) * PARTS + part
    words = lay.state_words
    links = at_word(words_at(store.links), part * store.most_links)
    state = words_at(store.states)[part]
    look_up(store, part)
    states = words_at(store.states)[part]
    while state < states:
        parent = row_at(store, side, links[state])
        ahead = row_at(store, side, links[min(state + 1, states - 1)])
        for word in range(0, store.columns, 8):
            prefetch_read(ahead, word)
        row = to * store.most_rows + words_at(store.rows)[to]
        child = at_word(words_at(store.frontier), row * store.columns)
        actor = (links[state] >> 12) & 255
        copy(td, parent, 0, words)
        word, _ = move(plan, td, lay, rules, actor, links[state] & (NUMBERS - 1))
        noted(plan, td)
        copy(child, td, 0, words)
        sums = at_word(child, words)
        copy(sums, at_word(parent, words), 0, 1 + plan.vcpus + plan.zappers)
        change_sums(plan, sums, td, parent, actor, word)
        words_at(store.rows)[to] += 1
        state += 1


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


def search(plan, store, words_, lay, rules, thread, threads):
    """One thread's share of the search, until there is something for Python to do; returns the command that says what.

    `words_`: this thread's own copy of a state with a tally behind it.
    """
    td = address(words_)
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
            insert(plan, store, td, lay, rules, part)
        meet(control, threads)
        if thread == 0:
            control[STAGE] = EXPAND
            store_release(control, COMMAND, settle(store))
        meet(control, threads)
        command = load_acquire(control, COMMAND)
        if command != GO:
            return command


FUNCTIONS = (
    check_epoch,
    differ,
    change_sums,
    print_behind,
    expand,
    look_up,
    row_at,
    insert,
    meet,
    search,
)
