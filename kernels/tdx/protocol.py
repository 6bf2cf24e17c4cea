"""The protocol that this project is about: the TLB shootdown of Intel TDX under KVM, a value for each flow.

A flow has actors of its own, with step machines and straight lines that are compiled when they are first wanted: what
one flow needs costs the others nothing, neither words of the state nor time. All else is said once, for every flow.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from kernels.language.atomics import words_at
from kernels.language.parse import flat
from kernels.language.syntax import Site, Step, Steps, number_first
from kernels.layout import Layout, Sizes
from kernels.protocol import BuiltIn, Protocol, States, Telling
from kernels.tdx.invariants import epoch_fell, mirror_lost, not_owned, references_lost, references_of
from kernels.tdx.kvm.shootdown import zapper
from kernels.tdx.kvm.vcpu_run import vcpu
from kernels.tdx.kvm.zap import zapping_zapper
from kernels.tdx.lock_contention import behind_call, behind_step
from kernels.tdx.outcomes import Outcome
from kernels.tdx.parts.batch import batch_zapper
from kernels.tdx.parts.flush_current import tracking_vcpu
from kernels.tdx.parts.migrate import migrating_vcpu
from kernels.tdx.parts.mmio import mmio_vcpu, mmio_zapper
from kernels.tdx.parts.mortal import mortal_vcpu
from kernels.tdx.parts.populate import faulting_vcpu
from kernels.tdx.parts.sept_pages import freeing_zapper
from kernels.tdx.parts.shared_ept import shared_zapper
from kernels.tdx.parts.teardown import destroying_zapper
from kernels.tdx.parts.zero_step import stepping_vcpu
from kernels.tdx.rooms import check, rooms
from kernels.tdx.rules import Flow, OnError, Rules
from kernels.tdx.symmetry import page_with, senders_with, stage_with
from kernels.tdx.telling import RETOLD, STATUSES_TOLD, says
from kernels.tdx.words import (
    FREE,
    HPA_SHIFT,
    LEFT_BEHIND,
    MAPPED,
    ONE_EPOCH,
    OUTSIDE_GUEST_MODE,
    PAGE_FREE,
    RWX,
    SLOT_NONE,
    SLOT_SETTLED,
    SPTE_NONPRESENT,
    SPTE_PRESENT,
    SVE,
    VCPU,
    WORDS,
    ZAPPER,
    ipi,
    mode,
    owner,
    sizes,
    stage,
)

TEARDOWN = int(Flow.TEARDOWN)


class Size(NamedTuple):
    """A machine to explore; how many shootdowns each zapper does stands in the rules."""

    vcpus: int
    zappers: int
    pages: int = 1
    tlb_entries: int = 1


def sizes_of(rules: Rules, size: Size) -> Sizes:
    """The sizes of a layout."""
    return sizes(*size, flow=rules.flow, lps=max(1, rules.lps))


def start(td: Any, lay: Layout, rules: Rules) -> None:
    """Every page mapped and accepted, or in a two-level flow none; epoch 1, nobody inside."""
    td[lay.epoch_tracking] = ONE_EPOCH
    for node in range(lay.pages + lay.tables):
        at = node * lay.page_stride
        if lay.tables:
            td[lay.sept + at] = FREE | SVE
            td[lay.owner + at] = 1 << 8 | PAGE_FREE
            td[lay.content + at] = LEFT_BEHIND
            continue
        td[lay.sept + at] = MAPPED | RWX | SVE | (1 << HPA_SHIFT)
        td[lay.owner + at] = 1 << 8
        td[lay.mirror + at] = SPTE_PRESENT
        if lay.flow == Flow.MMIO:
            td[lay.memslot + at] = SLOT_NONE | SLOT_SETTLED
            td[lay.shared_spte + at] = SPTE_NONPRESENT
            td[lay.shared_owner + at] = (1 << 8) | PAGE_FREE


def explored(rules: Rules) -> Rules:
    """The rules as a search follows them: no clock, and KVM_BUG_ON is the end of a zapper, as the VM is dead.

    A race goes on after it (`leak_page`) to count how often.
    """
    on_error = int(OnError.STOP) if rules.on_error == OnError.LEAK_PAGE else rules.on_error
    return rules._replace(on_error=on_error, tick=0, shared_cpus=0, gap=0, period=0)


def only_held(lay, word, value):
    """Readers that the module's locks refuse leave their count behind, and the release of the writer wipes it: nobody
    can tell the counts under a writer apart, and in a search they are none, or the states would have no end.
    """
    tdr_lock = lay.tdr_lock if lay.flow == TEARDOWN else lay.tree_lock
    if (word == lay.epoch_lock or word == lay.tree_lock or word == tdr_lock) and value & 1:
        return 1
    return value


def is_dead(plan, lay, row):
    """KVM_BUG_ON: the VM is dead."""
    return row[words_at(plan.column)[lay.vm_bugged]]


def has_left(lay, vcpu, word, value):
    """Whether a vCPU has just left the guest."""
    return word == mode(lay, vcpu) and value == OUTSIDE_GUEST_MODE


def _flow(which: Flow, on_vcpus: Steps, on_zappers: Steps, *, folds: bool = True, lasting: bool = True) -> Protocol:
    """What the flows share, with a flow's own actors."""
    return Protocol(
        WORDS,
        {VCPU: on_vcpus, ZAPPER: on_zappers},
        Outcome,
        rules=Rules,
        smallest=(Rules(*([0] * len(Rules._fields)))._replace(flow=int(which)), Size(1, 1)),
        sizes=sizes_of,
        start=start,
        searched=explored,
        states=States(
            normal=only_held,
            over=is_dead,
            rests=has_left,
            of_changes={"epoch_monotone": epoch_fell},
            invariants={"refcounts_add_up": references_lost, "mirror_in_step": mirror_lost, "one_owner": not_owned},
            of_label=references_of,
            lasting=lasting,
            ways=("vcpus", "pages"),
            folds=folds,
            renamed={owner: page_with, stage: stage_with, ipi: senders_with},
        ),
        built_in=BuiltIn(behind_step, behind_call),
        telling=Telling(STATUSES_TOLD, says, RETOLD),
    )


PROTOCOLS = {
    Flow.SHOOTDOWN: _flow(Flow.SHOOTDOWN, vcpu, zapper),
    Flow.BATCH: _flow(Flow.BATCH, vcpu, batch_zapper),
    Flow.SHARED_EPT: _flow(Flow.SHARED_EPT, vcpu, shared_zapper),
    Flow.MIGRATE: _flow(Flow.MIGRATE, migrating_vcpu, zapper, folds=False),
    Flow.MMIO: _flow(Flow.MMIO, mmio_vcpu, mmio_zapper, folds=False),
    Flow.POPULATE: _flow(Flow.POPULATE, faulting_vcpu, zapping_zapper),
    Flow.SEPT_PAGES: _flow(Flow.SEPT_PAGES, faulting_vcpu, freeing_zapper),
    # A TD that goes takes its vCPUs with it.
    Flow.TEARDOWN: _flow(Flow.TEARDOWN, mortal_vcpu, destroying_zapper, folds=False, lasting=False),
    Flow.ZERO_STEP: _flow(Flow.ZERO_STEP, stepping_vcpu, zapping_zapper),
    Flow.FLUSH_CURRENT: _flow(Flow.FLUSH_CURRENT, tracking_vcpu, zapper, folds=False),
}
SHOOTDOWN = PROTOCOLS[Flow.SHOOTDOWN]


def of_flow(rules: Rules) -> tuple[Protocol, Rules]:
    """The protocol of the rules' flow, and the rules: what a schedule and a search begin with."""
    return PROTOCOLS[Flow(rules.flow)], rules


def sites() -> Iterator[Site]:
    """Those of every flow in turn; what two flows share comes twice."""
    for protocol in PROTOCOLS.values():
        for function in protocol.steps.values():
            yield from (statement.site for statement in flat(function.body) if isinstance(statement, Step))


number_first(sites())
check(rooms())
