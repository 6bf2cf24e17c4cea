"""Lock contention: when a try of a module lock fails, who holds it; how often, and how long, until the lock was got.

A lock word says that somebody holds it (`sharex_lock`: a bit and a count), not who. So each actor of a race keeps in a
word of its own the lock that it holds and the SEAMCALL that took it; nobody reads that but an actor whose try has
failed, at once, of every other actor. Whoever has let go by then is `GONE`: nobody is blamed by guess. A straight line
has this built in around the try-locks and unlocks of each SEAMCALL; a search and the language know nothing of it.
"""

import ast

from kernels.language.atomics import load_relaxed, own, set_own
from kernels.language.steps import harness
from kernels.language.syntax import Step, Steps, out_of_line
from kernels.race.straight import Line
from kernels.race.tally import now
from kernels.race.ticks import NS_SHIFT
from kernels.tdx.bits import HP
from kernels.tdx.counters import (
    COLUMNS,
    CONTENTION,
    GONE,
    HELD,
    HELD_ENTRY,
    HELD_TDR,
    HOST_PRIORITY,
    LEAVES,
    LONGEST_NS,
    MOST_TRIES,
    SEVERAL,
    TIMES,
    TRIES,
    WAIT_FIELDS,
    WAITED_NS,
    WAITING,
    WAITING_LOCKS,
    WAITS,
    ModuleLock,
)
from kernels.tdx.module.locks import try_lock_exclusive, try_lock_shared, unlock_entry, unlock_exclusive, unlock_shared
from kernels.tdx.spans import LEAF_OF
from kernels.tdx.statuses import SUCCESS, Leaf

# What is kept of a lock that is held: its word, whether nobody shares it, the leaf.
WORD_SHIFT, EXCLUSIVE = 9, 1 << 8
# What is packed for `contended`: the leaf, EXCLUSIVE, whether the lock was got, the lock.
GOT, LOCK_SHIFT = 1 << 9, 10
# A wait that goes on: word << WORD_SHIFT | leaf, when it began, its failed tries.
WHAT, SINCE, FAILED = range(3)

# The locks that a SEAMCALL tries by their field of the layout; an S-EPT entry's is tried by a function of steps.
BY_FIELD = {"epoch_lock": ModuleLock.EPOCH, "tree_lock": ModuleLock.TREE, "tdr_lock": ModuleLock.TDR}
# Where what is held of a lock is kept, if not in HELD: one of these is held beside another lock.
PLACES = {ModuleLock.ENTRY: HELD_ENTRY, ModuleLock.TDR: HELD_TDR}
# Whether what they return is success: the guest's try returns a status.
TRIES_OF_ENTRY = {"lock_entry": "{}", "lock_entry_as_guest": f"({{}} == {SUCCESS})"}


@harness()
def holder(td, lay, mine, word, exclusive, place):
    """The column of the SEAMCALL in which another actor than that of the tally `mine` holds the lock just now."""
    column = GONE
    for actor in range(lay.vcpus + lay.zappers):
        tally = lay.vcpu_tally + actor * lay.vcpu_tally_stride
        if actor >= lay.vcpus:
            tally = lay.zapper_tally + (actor - lay.vcpus) * lay.zapper_tally_stride
        held = load_relaxed(td, tally + place)
        if held >> WORD_SHIFT == word and tally != mine and (exclusive or held & EXCLUSIVE):
            leaf = held & EXCLUSIVE - 1
            column = leaf if column == GONE or column == leaf else SEVERAL
    return column


@out_of_line
@harness()
def contended(td, lay, rules, what, tally, word, place):
    """A try of the lock at this word that failed: who holds it now, and a wait that begins or goes on. One that was
    waited for in the same SEAMCALL and is got: the wait is over. `what` is packed, see above; `tally` the actor's;
    `place`: where each actor keeps what it holds of such a lock.

    Straight lines call it: compiled into them at each try it would be longer than the actors themselves.
    """
    leaf, exclusive, lock, got = what & 31, what & EXCLUSIVE, what >> LOCK_SHIFT & 3, what & GOT
    waits = tally + WAITS + lock * WAIT_FIELDS
    waiting = own(td, tally + WAITING_LOCKS)
    goes_on = waiting >> lock & 1 and own(td, waits + WHAT) == word << WORD_SHIFT | leaf
    if got:
        if goes_on:
            set_own(td, tally + WAITING_LOCKS, waiting & ~(1 << lock))
            tries = own(td, waits + FAILED)
            waited = (now(rules) - own(td, waits + SINCE)) * rules.ticks_to_ns >> NS_SHIFT
            at = tally + WAITING + (lock * LEAVES + leaf) * WAIT_FIELDS
            set_own(td, at + TIMES, own(td, at + TIMES) + 1)
            set_own(td, at + TRIES, own(td, at + TRIES) + tries)
            set_own(td, at + MOST_TRIES, max(own(td, at + MOST_TRIES), tries))
            set_own(td, at + WAITED_NS, own(td, at + WAITED_NS) + waited)
            set_own(td, at + LONGEST_NS, max(own(td, at + LONGEST_NS), waited))
        return 0
    column = holder(td, lay, tally, word, exclusive, place)
    if column == GONE and leaf == Leaf.TDG_MEM_PAGE_ACCEPT and load_relaxed(td, word) & HP:
        column = HOST_PRIORITY
    at = tally + CONTENTION + (lock * LEAVES + leaf) * COLUMNS + column
    set_own(td, at, own(td, at) + 1)
    if not goes_on:
        set_own(td, tally + WAITING_LOCKS, waiting | 1 << lock)
        set_own(td, waits + WHAT, word << WORD_SHIFT | leaf)
        set_own(td, waits + SINCE, now(rules))
        set_own(td, waits + FAILED, 0)
    set_own(td, waits + FAILED, own(td, waits + FAILED) + 1)
    return 0


def behind_step(line: Line, step: Step, got: str) -> list[str]:
    """What a SEAMCALL keeps behind a try of a lock that is no entry's, and what is kept behind a release; in a TD exit
    as well, as an entry may leave it a lock.
    """
    op, field = line.names.values[ast.unparse(step.call.func)], step.call.args[1]
    lock = BY_FIELD.get(field.attr) if isinstance(field, ast.Attribute) else None
    lock = ModuleLock.ENTRY if op is unlock_entry else lock
    if lock is not None and op in (unlock_entry, unlock_exclusive, unlock_shared):
        # Not before it: whoever's try has failed meanwhile has taken the lock's line away, and looks while the release
        # waits for it.
        return [f"set_own(td, me.tally + {PLACES.get(lock, HELD)}, 0)"]
    if lock is not None and op in (try_lock_exclusive, try_lock_shared):
        return _behind_try(line, lock, op is try_lock_exclusive, "_word", got)
    return []


def behind_call(line: Line, function: Steps, target: str | None, arguments: tuple[ast.expr, ...]) -> list[str]:
    """What a SEAMCALL keeps behind a try of an S-EPT entry's lock."""
    if function.name not in TRIES_OF_ENTRY:
        return []
    word = f"(lay.sept + ({line.text(arguments[0])}) * lay.page_stride)"
    return _behind_try(line, ModuleLock.ENTRY, True, word, TRIES_OF_ENTRY[function.name].format(target))


def _behind_try(line: Line, lock: ModuleLock, exclusive: bool, word: str, got: str) -> list[str]:
    """Lines of a SEAMCALL behind a try of a lock; `word` and `got`, whether it succeeded, as expressions there."""
    leaf = LEAF_OF.get(line.function.span)
    if leaf is None:
        return []
    line.names.add("contended", contended)
    place, held = PLACES.get(lock, HELD), exclusive * EXCLUSIVE
    what = f"{lock << LOCK_SHIFT | held} | {leaf} | ({GOT} if {got} else 0)"
    return [
        f"if {got}:",
        f"    set_own(td, me.tally + {place}, {word} << {WORD_SHIFT} | {held} | {leaf})",
        f"if not {got} or own(td, me.tally + {WAITING_LOCKS}):",
        f"    contended(td, lay, rules, {what}, me.tally, {word}, {place})",
    ]
