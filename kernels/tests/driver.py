"""Driving a schedule in the protocol's words, for the tests."""

from kernels.language.syntax import Site
from kernels.layout import OUTCOME_COUNTS
from kernels.search.schedule import Schedule, interpreted_machines
from kernels.tdx import bits
from kernels.tdx.counters import STATUS_COUNTS, STATUSES
from kernels.tdx.outcomes import Outcome
from kernels.tdx.protocol import Size, of_flow, protocol_of
from kernels.tdx.rules import Flow, Rules
from kernels.tdx.statuses import Leaf, Status


def start(rules: Rules, vcpus: int = 1, zappers: int = 1, pages: int = 1) -> Schedule:
    """A machine of this size with a TLB that holds every page."""
    return Schedule(
        *of_flow(rules),
        Size(vcpus=vcpus, zappers=zappers, pages=pages, tlb_entries=max(1, 1 << (pages - 1).bit_length())),
    )


def stepped(rules: Rules, size: Size) -> Schedule:
    """A machine of the rules' flow whose steps are run by Python: nothing is compiled."""
    return Schedule(*of_flow(rules), size, made=interpreted_machines(protocol_of(Flow(rules.flow))))


def answered(run: Schedule, leaf: Leaf, status: Status, actor: str) -> int:
    """How often this call of an actor has ended so; only a machine that is `stepped` counts."""
    return int(run.words[run.actor(actor).tally + STATUS_COUNTS + leaf * STATUSES + status])


def enter(run: Schedule, vcpu: str = "vcpu 0") -> None:
    """From outside into the guest, up to its first look at the clock."""
    run.until(vcpu, "guest.reads_before_tick")


def read(run: Schedule, vcpu: str = "vcpu 0", page: int = 0) -> None:
    """One guest read; the vCPU stands in the guest before and, unless it faults or is kicked, after."""
    run.step(vcpu, 1)
    run.until(vcpu, "guest.reads_before_tick", {"next_instruction.next_page": page})


def leave(run: Schedule, vcpu: str = "vcpu 0") -> None:
    """The tick: out of the guest, the kick acknowledged, up to the next store of IN_GUEST_MODE or look at requests."""
    run.step(vcpu, 0)
    run.until(vcpu, "acknowledge.load_acquire_ipi")
    run.step(vcpu)
    while (site := run.site(vcpu)) and site.function == "acknowledge":
        run.step(vcpu)


def seen(run: Schedule) -> set[str]:
    """The names of all outcomes noted so far."""
    bases = [run.actor(name).tally for name in run.actors]
    return {outcome.name for outcome in Outcome for at in bases if run.words[at + OUTCOME_COUNTS + outcome]}


def page_state(run: Schedule, page: int = 0) -> int:
    """The state bits of a page's S-EPT entry."""
    return int(run.words[run.lay.sept + page * run.lay.page_stride]) & bits.STATE_MASK


def stands(run: Schedule, actor: str) -> Site:
    """The step that this actor is about to take."""
    site = run.site(actor)
    assert site is not None, f"{actor} has returned"
    return site


def finish(run: Schedule, zapper: str = "zapper 0", *helpers: str) -> None:
    """Let a zapper run to its end; vCPUs named as helpers take a step whenever it has taken one."""
    for _ in range(5000):
        if run.site(zapper) is None:
            return
        run.step(zapper)
        for helper in helpers:
            run.step(helper)
    raise RuntimeError(f"{zapper} is still at {run.site(zapper)}")
