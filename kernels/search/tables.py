"""What a search is given: the machine as a plan of flat tables, and the compiled code."""

import functools
import itertools
import math
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from kernels.language import compile as native
from kernels.language.machine import Machine
from kernels.language.naming import WORDS, Holds, OfMe, OneOf, SetOf
from kernels.language.syntax import LanguageError, Naming, Site
from kernels.layout import Actor, ActorKind, Layout, actors, count_of
from kernels.protocol import Protocol
from kernels.search import frontier as store
from kernels.search import liveness, moves, saying
from kernels.search import rounds as search
from kernels.search import transitions as memo
from kernels.search.fingerprint import RELATIONS, factor, term
from kernels.search.schedule import Schedule, machines

# What is compiled into a search as a sum over what a protocol says.
OPEN = (
    saying.in_shared, saying.of_ending, saying.of_endless, saying.held_by, saying.broken_by, saying.broken_in,
)  # fmt: skip
INT64_BITS = 63  # those that a shift may use and the number stays positive
FORMS = OneOf, SetOf  # in which an ending actor may name an endless one
_COMPILING = threading.RLock()
RECORDS: dict[str, tuple[str, ...]] = {
    "plan": moves.Plan._fields,
    "memo": memo.Memo._fields,
    "store": store.Store._fields,
    "graph": liveness.Graph._fields,
}


@functools.cache
def compile_search(protocol: Protocol, name: str, *entries: Any) -> Any:
    """These functions of a search and all that they call, with what the protocol says; kept on disk under the name.

    Where two threads build syntax trees, CPython up to 3.11.7 may count its own recursion wrong: a SystemError.
    """
    its = protocol.states
    said = {saying.normal: its.normal, saying.over: its.over, saying.rests: its.rests}
    with _COMPILING:
        source, values = _asked(protocol)
        made = {open_: open_.__name__ for open_ in OPEN if f"def {open_.__name__}(" in source}
        linked = {open_: own for open_, own in (*said.items(), *made.items()) if own}
        return native.compiled(name, entries, {**RECORDS, **protocol.records}, source, values, linked)


def _asked(protocol: Protocol) -> tuple[str, dict[str, Any]]:
    """Source of the functions of `OPEN`, each a sum over what the protocol says, and what the names in it mean."""
    values: dict[str, Any] = {"term": term, "factor": factor, "RELATIONS": RELATIONS}
    sums: dict[Any, list[str]] = {open_: [] for open_ in OPEN}
    for place, (where, function) in enumerate(protocol.states.renamed.items()):
        values[f"renamed_{place}"] = function
        of, first = protocol.words.row_of[where].per, f"plan.first_named[{place}]"
        whose: Any = saying.in_shared
        if isinstance(of, ActorKind):
            whose = saying.of_endless if of.endless else saying.of_ending
        at, salt = ("at", f" + 2 * (at - {first})") if whose is saying.in_shared else (f"{first} + actor", "")
        word = f"renamed_{place}(plan, row[plan.named[{at}]], order)"
        loop = f"for at in range({first}, plan.first_named[{place + 1}]):\n        " * (at == "at")
        sums[whose].append(f"{loop}total += term(factor({place}){salt}, {word})")
        word = f"renamed_{place}(plan, known[RELATIONS + {place}], order)"
        sums[saying.held_by].append(f"if {place} < plan.held:\n        total += term(factor({place}), {word})")
    for open_, functions in (
        (saying.broken_by, protocol.states.of_changes),
        (saying.broken_in, protocol.states.invariants),
    ):
        given = ", ".join(open_.__code__.co_varnames[: open_.__code__.co_argcount])
        for place, function in enumerate(functions.values()):
            values[f"{open_.__name__}_{place}"] = function
            sums[open_].append(f"total |= {open_.__name__}_{place}({given}) << {place}")
    source = ""
    for open_, lines in sums.items():
        given = ", ".join(open_.__code__.co_varnames[: open_.__code__.co_argcount])
        if lines:
            source += "\n    ".join([f"def {open_.__name__}({given}):", "total = 0", *lines, "return total"]) + "\n\n\n"
    return source, values


def compiled(protocol: Protocol) -> Any:
    """The search."""
    return compile_search(protocol, "search", search.search, store.plant, store.rehash)


def compiled_graph(protocol: Protocol) -> Any:
    """The graph of states."""
    return compile_search(protocol, "graph", liveness.draw_graph)


def get_ready(protocol: Protocol) -> None:
    """Compile all that a search takes, for one thread at a time."""
    with _COMPILING:
        compiled(protocol)
        compiled_graph(protocol)
        machines(protocol)


def is_a_choice(site: Site | None) -> bool:
    """Whether the step is one: a site that names no word."""
    return site is not None and " " not in site.text


def salts(count: int) -> np.ndarray:
    """Odd random numbers, the same in every run."""
    return np.random.SeedSequence(20240123).generate_state(count, np.uint64).view(np.int64) | 1


def check_numbers(protocol: Protocol, lay: Layout) -> None:
    """That findings and actors have a bit each, and the moves of one, two choices of so many ways, a number. Raises
    ValueError.
    """
    findings = len(protocol.outcomes) + len(protocol.states.of_changes) + 1 + len(protocol.states.invariants)
    if findings > INT64_BITS:
        raise ValueError(f"expected at most {INT64_BITS} outcomes, invariants and a deadlock, found {findings}")
    found = sum(getattr(lay, f"{kind.name}s") for kind in protocol.actors), _ways(protocol, lay)
    if found[0] >= INT64_BITS or found[1] ** 2 > store.NUMBERS:
        most = INT64_BITS - 1, math.isqrt(store.NUMBERS)
        named = " and ".join(protocol.states.ways)
        raise ValueError(f"expected at most {most[0]} actors, {most[1]} {named}, found {found[0]} and {found[1]}")


def _ways(protocol: Protocol, lay: Layout) -> int:
    """The most ways that a choice may have."""
    return max([2, *(getattr(lay, size) for size in protocol.states.ways.values())])


def make_plan(run: Schedule, *, symmetry: bool, reduction: bool) -> moves.Plan:
    """What a search must know about this machine beside its layout. `symmetry` is only for protocols that fold."""
    lay, protocol = run.lay, run.protocol
    kinds, made = list(protocol.actors), machines(protocol)
    everybody = list(actors(lay))
    kind_of, tally = [kinds.index(kind) for _, kind, _ in everybody], everybody[0][2].tally
    endless = sum(kind.endless for _, kind, _ in everybody)
    ending = len(everybody) - endless
    fold_endless = int(symmetry and endless > 1)
    orders = np.array([*itertools.permutations(range(ending))] if symmetry else [tuple(range(ending))], np.int64)
    fold_ending = len(orders) > 1
    folds = {kind: fold_endless if kind.endless else fold_ending for kind in kinds}
    renamed = list(protocol.states.renamed)

    for where, row in lay.declared.row_of.items():
        of = WORDS.get(where)
        if of and folds[of] and where not in renamed and row.words(lay._asdict()):
            raise LanguageError(f"{row.name} names a {of.name}, and `renamed` does not say what it is renamed")

    labels = 1 + max(len(one.machine.sites) for one in made)
    held = 1 + max((renamed.index(it) for one in made for it in _held_by(one.machine) & {*renamed}), default=-1)
    holding = moves.FIRST + max(held, 2)
    is_choice, of_label = np.zeros((len(kinds), labels), np.int64), np.zeros((len(kinds), labels), np.int64)
    holds = np.zeros((len(kinds), labels, holding), np.int64)
    for place, (kind, machine) in enumerate(zip(kinds, (one.machine for one in made), strict=True)):
        if protocol.states.of_label and kind.endless:
            of_label[place, 1 : 1 + len(machine.sites)] = protocol.states.of_label(machine)
        kept = {Holds[word]: moves.FIRST + how for how, word in enumerate(renamed)}
        if not kind.endless:
            kept = {form[one]: moves.FIRST + at for one in kinds if one.endless for at, form in enumerate(FORMS)}
        for label, site in enumerate(machine.sites):
            is_choice[place, 1 + label] = is_a_choice(site)
            holds[place, 1 + label] = _holds(kind, machine, label, folds, kept, holding)

    begins, starts, awaiting = _own_words(lay, kinds, everybody)
    ends = [*begins[1:], lay.state_words]
    random = salts((1 + len(kinds)) * lay.state_words)
    salt = random[: lay.state_words].copy()
    region = np.zeros(lay.state_words, np.int64)
    for actor, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        from_ = (1 + kind_of[actor]) * lay.state_words
        salt[begin:end] = random[from_ : from_ + end - begin]
        region[begin:end] = 1 + actor
    if fold_endless:
        for at in awaiting:
            salt[at : at + endless * (at >= 0)] = 0
    word, column_of = _columns(lay.state_words, starts, ends)
    named: list[list[int]] = [[] for _ in renamed]
    for places, where in zip(named, renamed if fold_ending else (), strict=False):
        row = lay.declared.row_of[where]
        places += [where(lay, index) if row.per else where(lay) for index in range(count_of(row.per, lay._asdict()))]
        salt[places] = 0

    return moves.Plan(
        endless=endless,
        ending=ending,
        fold_endless=fold_endless,
        reduce=int(reduction),
        tally=tally,
        most_moves=len(everybody) * _ways(protocol, lay) ** 2,
        outcomes=len(protocol.outcomes),
        deadlock=len(protocol.outcomes) + len(protocol.states.of_changes),
        findings=len(protocol.outcomes) + len(protocol.states.of_changes) + 1 + len(protocol.states.invariants),
        orders=len(orders),
        shared=len(word),
        columns=len(word) + 2 * len(everybody) + 1,
        held=held,
        holding=holding,
        word=word,
        column=column_of,
        salt_of=salt[word],
        region=region[word],
        salt=salt,
        me=np.array([me._replace(tally=tally) for _, _, me in everybody], np.int64),
        step=np.array([made[kind].step.address for kind in kind_of], np.int64),
        choices=np.array([made[kind].choices.address for kind in kind_of], np.int64),
        labels=np.array(kind_of, np.int64) * labels,
        start=np.array(starts, np.int64),
        stop=np.array(ends, np.int64),
        pc=np.array([me.pc for _, _, me in everybody], np.int64),
        register=np.array([me.register for _, _, me in everybody], np.int64),
        awaiting=np.array(awaiting, np.int64),
        is_choice=is_choice.ravel(),
        of_label=of_label.ravel(),
        holds=holds.ravel(),
        place=orders.ravel(),
        named=column_of[[at for places in named for at in places]].astype(np.int64),
        first_named=np.cumsum([0, *map(len, named)], dtype=np.int64),
    )


def _held_by(machine: Machine) -> set[Any]:
    """The words that locals of a step machine hold which name actors."""
    return {naming.of for naming in machine.naming.values() if naming.form == Holds.name}


def _own_words(
    lay: Layout, kinds: list[ActorKind], everybody: list[tuple[str, ActorKind, Actor]]
) -> tuple[list[int], list[int], list[int]]:
    """Of each actor the first of its words, the first that nobody else writes, and the first of those of which it has
    one for each endless actor, -1 for none.
    """
    begins, starts, awaiting = [], [], []
    for _, kind, me in everybody:
        rows = [row for row in lay.declared.state if row.per is kind]
        at = {row.name: getattr(lay, row.name) + me.index * getattr(lay, f"{kind.name}_stride") for row in rows}
        begins.append(min(at.values()))
        starts.append(next(at[row.name] for row in rows if row.private or row.place))
        awaiting.append(next((at[row.name] for row in rows if row.each and row.each.endless), -1))
    return begins, starts, awaiting


def _holds(
    kind: ActorKind, made: Machine, label: int, folds: Mapping[ActorKind, int], kept: Mapping[Naming, int], columns: int
) -> list[int]:
    """The row of `moves.Plan.holds` of a label. Raises LanguageError where it has no place for a local that names an
    actor.
    """
    row = [0] * columns
    for place, local in enumerate(made.held[label]):
        naming = made.naming.get(local or "")
        if naming is None or not folds[kind if naming == OfMe else WORDS.get(naming.of, naming.of)]:
            continue
        if place >= INT64_BITS:
            raise LanguageError(f"{made.sites[label]}: {local} is in register {place}, expected below {INT64_BITS}")
        row[moves.NAMING] |= 1 << place
        if naming != OfMe:
            column = kept.get(naming)
            if column is None or row[column]:
                what = f"{naming} beside another" if column else f"{naming}"
                raise LanguageError(
                    f"{made.sites[label]}: {local} is {what}: kernels/search/tables.py has no place for it"
                )
            row[column] = 1 + place
    return row


def _columns(words: int, starts: list[int], ends: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The words that have a column each, and the column of every word; see `kernels.search.moves.Plan`."""
    owned, column = np.zeros(words, bool), np.zeros(words, np.int64)
    for start, end in zip(starts, ends, strict=True):
        owned[start:end] = True
    shared = np.flatnonzero(~owned)
    column[shared] = np.arange(len(shared))
    for actor, (start, end) in enumerate(zip(starts, ends, strict=True)):
        column[start:end] = len(shared) + actor
    return shared, column
