"""What a search is given: the machine as a plan of flat tables, and the compiled code."""

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
from kernels.search.fingerprint import factor
from kernels.search.schedule import Schedule, machines

INT64_BITS = 63  # those that a shift may use and the number stays positive
FORMS = OneOf, SetOf  # in which an ending actor may name an endless one
_COMPILING = threading.RLock()
_compiled: dict[Any, Any] = {}
RECORDS: dict[str, tuple[str, ...]] = {
    "plan": moves.Plan._fields,
    "memo": memo.Memo._fields,
    "store": store.Store._fields,
    "graph": liveness.Graph._fields,
}


def compile_search(protocol: Protocol, name: str, *entries: Any) -> Any:
    """These functions of a search and all that they call, with what the protocol says; once a process for protocols
    that say the same, and kept on disk under the name.

    Where two threads build syntax trees, CPython up to 3.11.7 may count its own recursion wrong: a SystemError.
    """
    said = [protocol.normal, protocol.over, protocol.rests]
    many = [list(one.values()) for one in (protocol.renamed, protocol.kept, protocol.invariants)]
    records = {**RECORDS, **protocol.records}
    key = name, *said, *map(tuple, many), tuple(records.items())
    with _COMPILING:
        if key not in _compiled:
            values = {f"said_{place}": one for place, one in enumerate(itertools.chain(*many))}
            linked: dict[Any, Any] = dict(zip((saying.normal, saying.over, saying.rests), said, strict=True))
            source, names = "", iter(values)
            for open_, functions in zip((saying.renamed, saying.broken_by, saying.broken_in), many, strict=True):
                linked[open_] = open_.__name__ if functions else None
                source += _asked(open_, [next(names) for _ in functions]) if functions else ""
            linked = {open_: its for open_, its in linked.items() if its}
            _compiled[key] = native.compiled(name, entries, records, source, values, linked)
        return _compiled[key]


def _asked(open_: Any, names: list[str]) -> str:
    """Source of a function that asks each of these: the one of the number `how`, or all, a bit each."""
    given = open_.__code__.co_varnames[: open_.__code__.co_argcount]
    arguments = ", ".join(one for one in given if one != "how")
    head = f"def {open_.__name__}({', '.join(given)}):\n"
    if open_ is saying.renamed:
        ways = [f"    if how == {place}:\n        return {name}({arguments})\n" for place, name in enumerate(names)]
        return head + "".join(ways) + "    return word\n"
    return (
        head + "    return " + " | ".join(f"{name}({arguments}) << {place}" for place, name in enumerate(names)) + "\n"
    )


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


def addressed(fields: moves.Plan | memo.Memo | store.Store | liveness.Graph) -> Any:
    """The fields as one record, addresses in place of arrays, which the caller keeps alive."""
    numbers = [it.ctypes.data if isinstance(it, np.ndarray) else it for it in fields]
    return np.array(tuple(numbers), [(name, np.int64) for name in fields._fields])[()]


def is_a_choice(site: Site | None) -> bool:
    """Whether the step is one: a site that names no word."""
    return site is not None and " " not in site.text


def salts(count: int) -> np.ndarray:
    """Odd random numbers, the same in every run."""
    return np.random.SeedSequence(20240123).generate_state(count, np.uint64).view(np.int64) | 1


def check_numbers(protocol: Protocol, lay: Layout) -> None:
    """That actors have a bit each and the moves of one, two choices of so many ways, a number. Raises ValueError."""
    found = sum(getattr(lay, f"{kind.name}s") for kind in protocol.actors), _ways(protocol, lay)
    if found[0] >= INT64_BITS or found[1] ** 2 > store.NUMBERS:
        most = INT64_BITS - 1, math.isqrt(store.NUMBERS)
        named = " and ".join(protocol.ways)
        raise ValueError(f"expected at most {most[0]} actors, {most[1]} {named}, found {found[0]} and {found[1]}")


def _ways(protocol: Protocol, lay: Layout) -> int:
    """The most ways that a choice may have."""
    return max([2, *(getattr(lay, size) for size in protocol.ways)])


def make_plan(run: Schedule, *, symmetry: bool, reduction: bool) -> moves.Plan:
    """What a search must know about this machine beside its layout. `symmetry` is only for protocols that fold."""
    lay, protocol = run.lay, run.protocol
    kinds, made = list(protocol.actors), machines(protocol)
    everybody = list(actors(lay))
    kind_of = [kinds.index(kind) for _, kind, _ in everybody]
    endless = sum(kind.endless for _, kind, _ in everybody)
    ending = len(everybody) - endless
    fold_endless = int(symmetry and endless > 1)
    orders = np.array([*itertools.permutations(range(ending))] if symmetry else [tuple(range(ending))], np.int64)
    fold_ending = len(orders) > 1
    folds = {kind: fold_endless if kind.endless else fold_ending for kind in kinds}
    renamed = list(protocol.renamed)

    labels = 1 + max(len(machine.sites) for machine, _ in made)
    held = 1 + max((renamed.index(word) for machine, _ in made for word in _held_by(machine) & {*renamed}), default=-1)
    holding = moves.FIRST + max(held, 2)
    is_choice, of_label = np.zeros((len(kinds), labels), np.int64), np.zeros((len(kinds), labels), np.int64)
    holds = np.zeros((len(kinds), labels, holding), np.int64)
    for place, (kind, (machine, _)) in enumerate(zip(kinds, made, strict=True)):
        if protocol.of_label and kind.endless:
            of_label[place, 1 : 1 + len(machine.sites)] = protocol.of_label(machine)
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
    named: list[tuple[int, int, int, int]] = []  # region, column, how, salt
    word, column_of = _columns(lay.state_words, starts, ends)
    for how, where in enumerate(renamed if fold_ending else ()):
        row = lay.declared.row_of[where]
        for index in range(count_of(row.per, lay._asdict())):
            at = where(lay, index) if row.per else where(lay)
            salt[at] = 0
            of = factor(how) + 2 * index * (region[at] == 0)
            named.append((int(region[at]), int(column_of[at]), how, int(of)))
    named.sort(key=lambda one: one[0])

    return moves.Plan(
        endless=endless,
        ending=ending,
        fold_endless=fold_endless,
        reduce=int(reduction),
        tally=everybody[0][2].tally,
        most_moves=len(everybody) * _ways(protocol, lay) ** 2,
        outcomes=len(protocol.outcomes),
        deadlock=len(protocol.outcomes) + len(protocol.kept),
        findings=len(protocol.outcomes) + len(protocol.kept) + 1 + len(protocol.invariants),
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
        index_of=np.array([me.index for _, _, me in everybody], np.int64),
        step=np.array([made[kind][1].step_at for kind in kind_of], np.int64),
        choices=np.array([made[kind][1].choices_at for kind in kind_of], np.int64),
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
        named=np.array([column for _, column, _, _ in named], np.int64),
        named_how=np.array([how for _, _, how, _ in named], np.int64),
        named_salt=np.array([of for _, _, _, of in named], np.int64),
        first_named=np.searchsorted([one[0] for one in named], range(len(everybody) + 2)).astype(np.int64),
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
