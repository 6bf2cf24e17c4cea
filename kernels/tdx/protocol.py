"""The protocol that this project is about: the TLB shootdown of Intel TDX under KVM, a value for each flow.

A flow has actors of its own, with step machines and straight lines that are compiled when they are first wanted: what
one flow needs costs the others nothing, neither words of the state nor time. All else is said once, for every flow.
"""

import functools
from typing import Any, NamedTuple

from kernels.language.steps import composed
from kernels.language.syntax import sites
from kernels.layout import Layout, Sizes
from kernels.protocol import BuiltIn, Protocol, States, Telling
from kernels.search.fingerprint import place_in
from kernels.tdx.bits import HPA_SHIFT, ONE_EPOCH, RWX, SVE, TAG_BITS, Content, Mirror, Mode, Phase, Sept
from kernels.tdx.invariants import epoch_fell, mirror_lost, not_owned, references_lost, references_of
from kernels.tdx.kvm.vcpu_run import AS_VCPU, vcpu
from kernels.tdx.kvm.zapper import zapper
from kernels.tdx.lock_contention import behind_call, behind_step
from kernels.tdx.outcomes import Outcome
from kernels.tdx.part import parts, parts_of
from kernels.tdx.rooms import check, rooms
from kernels.tdx.rules import Flow, OnError, Rules, flow_name, own_locks, writes_back
from kernels.tdx.telling import RETOLD, STATUSES_TOLD, says
from kernels.tdx.words import VCPU, WORDS, ZAPPER, ipi, mode, owner, sizes, stage


class Size(NamedTuple):
    """A machine to explore; how many shootdowns each zapper does stands in the rules."""

    vcpus: int
    zappers: int
    pages: int = 1
    tlb_entries: int = 1


def sizes_of(rules: Rules, size: Size) -> Sizes:
    of_rules = {"lps": max(1, rules.lps), "locks": own_locks(rules), "wbinvd": writes_back(rules)}
    return sizes(*size, flow=rules.flow, **of_rules)


def start(td: Any, lay: Layout, rules: Rules) -> None:
    """Every page mapped and accepted, of a TD that is built every second one, in a two-level flow none; epoch 1, nobody
    inside.
    """
    td[lay.epoch_tracking] = ONE_EPOCH
    for node in range(lay.pages + lay.tables):
        at = node * lay.page_stride
        if lay.tables:
            td[lay.sept + at] = Sept.FREE | SVE
            td[lay.owner + at] = 1 << 8 | Phase.FREE
            td[lay.content + at] = Content.LEFT_BEHIND
            continue
        td[lay.sept + at] = Sept.MAPPED | RWX | SVE | (1 << HPA_SHIFT)
        td[lay.owner + at] = 1 << 8
        td[lay.mirror + at] = Mirror.PRESENT
    for part in parts_of(lay.flow).values() if lay.flow else ():
        if part.start is not None:
            part.start(td, lay)


def explored(rules: Rules) -> Rules:
    """The rules as a search follows them: no clock, and KVM_BUG_ON is the end of a zapper, as the VM is dead.

    A race goes on after it (`leak_page`) to count how often.
    """
    on_error = int(OnError.STOP) if rules.on_error == OnError.LEAK_PAGE else rules.on_error
    return rules._replace(on_error=on_error, tick=0, shared_cpus=0, gap=0, period=0, kick_by=0)


def only_held(lay, word, value):
    """Readers that the module's locks refuse leave their count behind, and the release of the writer wipes it: nobody
    can tell the counts under a writer apart, and in a search they are none, or the states would have no end.
    """
    tdr_lock = lay.tdr_lock if lay.flow & (Flow.TEARDOWN | Flow.BUILD) else lay.tree_lock
    if (word == lay.epoch_lock or word == lay.tree_lock or word == tdr_lock) and value & 1:
        return 1
    return value


def is_dead(plan, lay, row):
    """KVM_BUG_ON: the VM is dead."""
    return row[plan.column[lay.vm_bugged]]


def has_left(lay, vcpu, word, value):
    """Whether a vCPU has just left the guest."""
    return word == mode(lay, vcpu) and value == Mode.OUTSIDE_GUEST_MODE


def page_with(plan, word, order):
    """The oracle's word of a page that names a zapper, with its place in an order in place of its index."""
    if word & 3 != Phase.BLOCKED:
        return word
    return (word & ~(63 << 2)) | (place_in(plan, order, (word >> 2) & 63) << 2)


def stage_with(plan, word, order):
    """The same in a zapper's stage word."""
    if word == 0:
        return 0
    low = TAG_BITS + 2
    return (page_with(plan, word >> low, order) << low) | (word & ((1 << low) - 1))


def senders_with(plan, word, order):
    """The same for an IPI word, a bit each."""
    if word == 0 or order == 0:
        return word
    made = 0
    for index in range(plan.ending):
        made |= ((word >> index) & 1) << place_in(plan, order, index)
    return made


@functools.cache
def protocol_of(flow: Flow) -> Protocol:
    """The protocol of a machine with these parts; `contradiction` says which cannot be combined."""
    its = parts_of(flow).values()
    of_vcpus = [AS_VCPU, *({**part.fills, **part.of_vcpus} for part in its)]
    of_zappers = [part.fills for part in its]
    name = "".join(f"_{part}" for part in flow_name(flow).split("+")) if flow else ""
    return Protocol(
        WORDS,
        {VCPU: composed(vcpu, of_vcpus, f"vcpu{name}"), ZAPPER: composed(zapper, of_zappers, f"zapper{name}")},
        Outcome,
        rules=Rules,
        smallest=(Rules(*([0] * len(Rules._fields)))._replace(flow=int(flow)), Size(1, 1)),
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
            lasting=all(part.lasting for part in its),
            ways={"vCPUs": "vcpus", "pages": "pages"},
            folds=all(part.folds for part in its),
            renamed={owner: page_with, stage: stage_with, ipi: senders_with},
        ),
        built_in=BuiltIn(behind_step, behind_call),
        telling=Telling(STATUSES_TOLD, says, RETOLD),
    )


def barriers() -> dict[str, dict[str, list[str]]]:
    """By word of the state how it is accessed, each way with its memory order in the name, and the functions that do:
    what a release, an acquire or a full barrier of the one pairs with is an access of the other to the same word.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for site in sites():
        _, _, word = site.text.partition(" ")
        if site.access and word and site.file.startswith("kernels/tdx/") and "/tests/" not in site.file:
            functions = found.setdefault(word, {}).setdefault(site.access, [])
            functions += [site.function] if site.function not in functions else []
    return found


SHOOTDOWN = protocol_of(Flow.SHOOTDOWN)


def of_flow(rules: Rules) -> tuple[Protocol, Rules]:
    """The protocol of the rules' flow, and the rules: what a schedule and a search begin with."""
    return protocol_of(Flow(rules.flow)), rules


parts()  # their steps and words are known before any are counted
check(rooms())
