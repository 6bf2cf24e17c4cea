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
from kernels.layout import ActorKind
from kernels.search import frontier as store
from kernels.search import liveness, moves
from kernels.search import rounds as search
from kernels.search import transitions as memo
from kernels.search.schedule import Schedule, machines
from kernels.tdx import invariants
from kernels.tdx.flows import FLOWS
from kernels.tdx.rooms import INT64_BITS
from kernels.tdx.rules import Flow, Rules
from kernels.tdx.words import VCPU, ZAPPER, owner, stage
from kernels.tdx.words import WORDS as STATE

# Where a register goes that names a vCPU or a zapper, by kind of actor and what the local is declared to be.
KEPT: tuple[dict[Naming, int], ...] = (
    {Holds[owner]: moves.FIRST, Holds[stage]: moves.SECOND},
    {OneOf[VCPU]: moves.FIRST, SetOf[VCPU]: moves.SECOND},
)
_COMPILING = threading.RLock()
RECORDS: dict[str, tuple[str, ...]] = {
    "plan": moves.Plan._fields,
    "lay": STATE.layout._fields,
    "rules": Rules._fields,
    "memo": memo.Memo._fields,
    "store": store.Store._fields,
    "graph": liveness.Graph._fields,
}


def compile_search(name: str, *entries: Any) -> Any:
    """These functions of a search and all that they call, once a process; kept on disk under the name.

    Where two threads build syntax trees, CPython up to 3.11.7 may count its own recursion wrong: a SystemError.
    """
    with _COMPILING:
        return native.compiled(name, entries, RECORDS)


@functools.cache
def compiled() -> Any:
    """The search, for every flow; once a process."""
    return compile_search("search", search.search, store.plant, store.rehash)


@functools.cache
def compiled_graph() -> Any:
    """The graph of states, for every flow; once a process."""
    return compile_search("graph", liveness.draw_graph)


def get_ready(flow: int) -> None:
    """Compile all that a search of this flow takes, for one thread at a time."""
    with _COMPILING:
        compiled()
        compiled_graph()
        machines(flow)


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


def check_numbers(actors: int, ways: int) -> None:
    """That actors have a bit each and the moves of one, two choices of so many ways, a number. Raises ValueError."""
    if actors >= INT64_BITS or ways * ways > store.NUMBERS:
        most = INT64_BITS - 1, math.isqrt(store.NUMBERS)
        raise ValueError(f"expected at most {most[0]} actors, {most[1]} vCPUs and pages, found {actors} and {ways}")


def make_plan(run: Schedule, *, symmetry: bool, reduction: bool) -> moves.Plan:
    """What a search must know about this machine beside its layout. `symmetry` is only for flows that fold."""
    lay = run.lay
    ways, everybody = max(2, lay.pages, lay.vcpus), lay.vcpus + lay.zappers
    (for_vcpu, vcpu_code), (for_zapper, zapper_code) = machines(run.rules.flow)
    kinds = [for_vcpu, for_zapper]
    actors = [run.actor(name) for name in run.actors]
    fold_vcpus = int(symmetry and lay.vcpus > 1)
    orders = np.array(
        [*itertools.permutations(range(lay.zappers))] if symmetry else [tuple(range(lay.zappers))], np.int64
    )
    fold_zappers = len(orders) > 1
    folds = {VCPU: fold_vcpus, ZAPPER: fold_zappers}

    labels = 1 + max(len(kind.sites) for kind in kinds)
    is_choice, references = np.zeros((2, labels), np.int64), np.zeros((2, labels), np.int64)
    references[0, 1 : 1 + len(for_vcpu.sites)] = invariants.references_of(for_vcpu)
    holds = np.zeros((2, labels, moves.COLUMNS), np.int64)
    for kind, made in enumerate(kinds):
        for label, site in enumerate(made.sites):
            is_choice[kind, 1 + label] = is_a_choice(site)
            holds[kind, 1 + label] = _holds(kind, made, label, folds)

    begins = [lay.mode + i * lay.vcpu_stride for i in range(lay.vcpus)]
    begins += [lay.stage + i * lay.zapper_stride for i in range(lay.zappers)]
    starts = [lay.vcpu_epoch + i * lay.vcpu_stride for i in range(lay.vcpus)]
    starts += [lay.awaiting + i * lay.zapper_stride for i in range(lay.zappers)]
    ends = [*begins[1:], lay.state_words]
    pages = [lay.owner + i * lay.page_stride for i in range(lay.pages + lay.tables)]
    stages = begins[lay.vcpus :]
    ipis = [lay.ipi + i * lay.vcpu_stride for i in range(lay.vcpus)]
    awaiting = starts[lay.vcpus :]

    random = salts(3 * lay.state_words)
    salt = random[: lay.state_words].copy()
    region = np.zeros(lay.state_words, np.int64)
    for actor, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        kind = 1 if actor < lay.vcpus else 2
        salt[begin:end] = random[kind * lay.state_words : kind * lay.state_words + end - begin]
        region[begin:end] = 1 + actor
    if fold_vcpus:
        for at in awaiting:
            salt[at : at + lay.vcpus] = 0
    if fold_zappers:
        salt[pages] = salt[stages] = salt[ipis] = 0
    word, column_of = _columns(lay.state_words, starts, ends)

    return moves.Plan(
        vcpus=lay.vcpus,
        zappers=lay.zappers,
        pages=len(pages),
        guest_pages=lay.pages,
        fold_vcpus=fold_vcpus,
        reduce=int(reduction),
        tally=lay.vcpu_tally,
        most_moves=len(actors) * ways * ways,
        labels=labels,
        orders=len(orders),
        shared=len(word),
        columns=len(word) + 2 * everybody + 1,
        bugged=int(column_of[lay.vm_bugged]),
        epoch=int(column_of[lay.epoch_tracking]),
        mmu_lock=int(column_of[lay.mmu_lock]),
        in_step=len(pages) * FLOWS[Flow(run.rules.flow)].in_step,
        vcpu_step=vcpu_code.step_at,
        vcpu_choices=vcpu_code.choices_at,
        zapper_step=zapper_code.step_at,
        zapper_choices=zapper_code.choices_at,
        word=word,
        column=column_of,
        salt_of=salt[word],
        region=region[word],
        salt=salt,
        start=np.array(starts, np.int64),
        stop=np.array(ends, np.int64),
        pc=np.array([actor.pc for actor in actors], np.int64),
        register=np.array([actor.register for actor in actors], np.int64),
        is_choice=is_choice.ravel(),
        references=references.ravel(),
        holds=holds.ravel(),
        place=orders.ravel(),
        owner=column_of[pages],
        mirror=column_of[[at - lay.owner + lay.mirror for at in pages]],
        sept=column_of[[at - lay.owner + lay.sept for at in pages]],
        stages=column_of[stages],
        ipis=column_of[ipis],
        awaiting=np.array(awaiting, np.int64),
    )


def _holds(kind: int, made: Machine, label: int, folds: Mapping[ActorKind, int]) -> list[int]:
    """The row of `moves.Plan.holds` of a label. Raises LanguageError where it has no place for a local that names an
    actor.
    """
    row = [0] * moves.COLUMNS
    for place, local in enumerate(made.held[label]):
        naming = made.naming.get(local or "")
        if naming is None or not folds[_whom(kind, naming)]:
            continue
        if place >= INT64_BITS:
            raise LanguageError(f"{made.sites[label]}: {local} is in register {place}, expected below {INT64_BITS}")
        row[moves.NAMING] |= 1 << place
        if naming != OfMe:
            column = KEPT[kind].get(naming)
            if column is None or row[column]:
                what = f"{naming.form}[{naming.of}] beside another" if column else f"{naming.form}[{naming.of}]"
                raise LanguageError(
                    f"{made.sites[label]}: {local} is {what}: kernels/search/tables.py has no place for it"
                )
            row[column] = 1 + place
    return row


def _whom(kind: int, naming: Naming) -> ActorKind:
    """Which kind of actor a local of a kind of actor names."""
    if naming == OfMe:
        return (VCPU, ZAPPER)[kind]
    of: ActorKind = WORDS.get(naming.of, naming.of)
    return of


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
