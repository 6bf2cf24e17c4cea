"""What a search is given: the machine as a plan of flat tables, and the compiled code."""

import functools
import itertools
from typing import Any

import numpy as np

from kernels import liveness, moves, search, store
from kernels.build import plain
from kernels.elsewhere import compiling_elsewhere
from kernels.flows import FLOWS
from kernels.language import Site
from kernels.layout import Layout
from kernels.rules import Flow, Rules
from kernels.schedule import Schedule, machine_of, machines

# What a register holds that names a vCPU or a zapper, by the local's name in the source.
HOLDS_VCPU = {"vcpu": moves.FIRST, "visited": moves.SECOND}
COUNTS = {
    "vp_enter.fetch_add_seq_cst_epoch_tracking": 1,
    "vp_enter_here.fetch_add_seq_cst_epoch_tracking": 1,
    "td_exit.fetch_add_seq_cst_epoch_tracking": -1,
}
HOLDS_ZAPPER = {"mine": moves.NAMING, "seen": moves.FIRST, "how_far": moves.SECOND}


RECORDS = {"plan": moves.Plan, "lay": Layout, "rules": Rules}


@functools.cache
def compiled() -> Any:
    """The search and the graph, for every flow; once a process."""
    entries = (search.search, store.plant, store.rehash, *liveness.ENTRIES)
    functions = (*moves.FUNCTIONS, *store.FUNCTIONS, *search.FUNCTIONS, *liveness.FUNCTIONS)
    return plain("search", functions, entries, {**RECORDS, "store": store.Store, "graph": liveness.Graph})


@functools.cache
def get_ready(flow: int) -> None:
    """Compile all that a search of this flow takes, or take it from the cache: two things at once, once a process."""
    name = FLOWS[Flow(flow)].vcpu.name
    code = f"from kernels.plans import compiled, machine_of; machine_of('vcpu', {int(flow)}); compiled()"
    with compiling_elsewhere((f"machine_{name}", "search"), code):
        machine_of("zapper", flow)
    machines(flow)
    compiled()


def addressed(fields: moves.Plan | store.Store | liveness.Graph) -> Any:
    """The fields as one record, addresses in place of arrays, which the caller keeps alive."""
    numbers = [it.ctypes.data if isinstance(it, np.ndarray) else it for it in fields]
    return np.array(tuple(numbers), [(name, np.int64) for name in fields._fields])[()]


def is_a_choice(site: Site | None) -> bool:
    """Whether the step is one: a site that names no word."""
    return site is not None and " " not in site.text


def salts(count: int) -> np.ndarray:
    """Odd random numbers, the same in every run."""
    return np.random.SeedSequence(20240123).generate_state(count, np.uint64).view(np.int64) | 1


def make_plan(run: Schedule, *, symmetry: bool, reduction: bool) -> moves.Plan:
    """What a search must know about this machine beside its layout."""
    lay = run.lay
    (for_vcpu, vcpu_code), (for_zapper, zapper_code) = machines(run.rules.flow)
    kinds = [for_vcpu, for_zapper]
    symmetry = symmetry and FLOWS[Flow(run.rules.flow)].folds
    actors = [run.actor(name) for name in run.actors]
    fold_vcpus = int(symmetry and lay.vcpus > 1)
    orders = np.array(
        [*itertools.permutations(range(lay.zappers))] if symmetry else [tuple(range(lay.zappers))], np.int64
    )
    fold_zappers = len(orders) > 1
    named = {**(HOLDS_VCPU if fold_vcpus else {}), **(HOLDS_ZAPPER if fold_zappers else {})}

    labels = 1 + max(len(kind.sites) for kind in kinds)
    is_choice, counts = np.zeros((2, labels), np.int64), np.zeros((2, labels), np.int64)
    holds = np.zeros((2, labels, moves.COLUMNS), np.int64)
    for kind, made in enumerate(kinds):
        for label, site in enumerate(made.sites):
            counts[kind, 1 + label] = COUNTS.get(site.name, 0) if site else 0
            is_choice[kind, 1 + label] = is_a_choice(site)
            for place, local in enumerate(made.held[label]):
                column = named.get((local or "").rpartition("_")[0])
                if column is not None:
                    holds[kind, 1 + label, moves.NAMING] |= 1 << place
                    if column != moves.NAMING:
                        holds[kind, 1 + label, column] = 1 + place

    begins = [lay.mode + i * lay.vcpu_stride for i in range(lay.vcpus)]
    begins += [lay.stage + i * lay.zapper_stride for i in range(lay.zappers)]
    starts = [lay.vcpu_epoch + i * lay.vcpu_stride for i in range(lay.vcpus)]
    starts += [lay.awaiting + i * lay.zapper_stride for i in range(lay.zappers)]
    ends = [*begins[1:], lay.state_words]
    pages = np.array([lay.owner + i * lay.page_stride for i in range(lay.pages + lay.tables)], np.int64)
    stages = np.array(begins[lay.vcpus :], np.int64)
    ipis = np.array([lay.ipi + i * lay.vcpu_stride for i in range(lay.vcpus)], np.int64)
    awaiting = np.array(starts[lay.vcpus :], np.int64)

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

    ways = max(2, lay.pages, lay.vcpus)
    return moves.Plan(
        vcpus=lay.vcpus,
        zappers=lay.zappers,
        pages=len(pages),
        fold_vcpus=fold_vcpus,
        reduce=int(reduction),
        tally=lay.vcpu_tally,
        most_moves=len(actors) * ways * ways,
        labels=labels,
        orders=len(orders),
        vcpu_step=vcpu_code.step_at,
        vcpu_choices=vcpu_code.choices_at,
        zapper_step=zapper_code.step_at,
        zapper_choices=zapper_code.choices_at,
        begin=np.array(begins, np.int64),
        start=np.array(starts, np.int64),
        stop=np.array(ends, np.int64),
        pc=np.array([actor.pc for actor in actors], np.int64),
        register=np.array([actor.register for actor in actors], np.int64),
        salt=salt,
        region=region,
        is_choice=is_choice.ravel(),
        counts=counts.ravel(),
        holds=holds.ravel(),
        place=orders.ravel(),
        owner=pages,
        stages=stages,
        ipis=ipis,
        awaiting=awaiting,
    )
