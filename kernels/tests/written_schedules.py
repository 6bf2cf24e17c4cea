"""Schedules driven into a race and told, for the tests; nothing is compiled."""

import random

from kernels.search.schedule import Schedule
from kernels.story.events import Story
from kernels.story.narrate import narrate
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import Rules
from kernels.tests.driver import enter, leave, read, stepped
from kernels.tests.orders import FREE_DESPITE_ERROR, KICK_THEN_TRACK, UNSERIALIZED, V18

TRACK = "mem_track.try_lock_exclusive_epoch_lock"
KICK_IPI = "kick.load_acquire_ipi"


def quick(rules: Rules, *, vcpus: int = 1, zappers: int = 1, pages: int = 1) -> Schedule:
    """A machine whose steps are run by Python, with a TLB that holds every page."""
    entries = max(1, 1 << (pages - 1).bit_length())
    return stepped(rules, Size(vcpus=vcpus, zappers=zappers, pages=pages, tlb_entries=entries))


def told(run: Schedule) -> Story:
    """The story of what this schedule has done so far."""
    lay = run.lay
    size = {"vcpus": lay.vcpus, "zappers": lay.zappers, "pages": lay.pages, "tlb_entries": lay.tlb_entries}
    return narrate(*of_flow(run.rules), run.taken, Size(**size))


def refused() -> Schedule:
    """Row W1: a vCPU enters between the kick and TRACK, so REMOVE is refused. The last step shows it."""
    run = quick(KICK_THEN_TRACK)
    run.until("zapper 0", TRACK)
    enter(run)
    run.until("zapper 0", "shootdown.write_unlock_mmu_lock")
    return run


def stale() -> Schedule:
    """W11: the host frees the page despite the refusal, and the guest reads it. The last step shows it."""
    run = quick(FREE_DESPITE_ERROR)
    enter(run)
    read(run)
    leave(run)
    run.until("zapper 0", TRACK)
    enter(run)
    run.until("zapper 0", "shootdown.write_unlock_mmu_lock")
    run.step("vcpu 0", 1)
    run.until("vcpu 0", "access.load_relaxed_owner")
    run.step("vcpu 0")
    return run


def unserialized() -> Schedule:
    """W3, two of each: TRACK meets a vCPU that the other zapper has not kicked yet. The last step shows it."""
    run = quick(UNSERIALIZED, vcpus=2, zappers=2, pages=2)
    enter(run)
    run.until("zapper 0", "kick.exiting_guest_mode_mode", {"claim_page.any_page": 0})
    run.until("zapper 1", "mem_track.unlock_exclusive_epoch_lock", {"claim_page.any_page": 1})
    run.step("zapper 1")
    return run


def waiting() -> Schedule:
    """v18 in the middle: zapper 0 waits for the acknowledgement, vCPU 0 then waits at the gate."""
    run = quick(V18)
    enter(run)
    run.until("zapper 0", KICK_IPI)
    run.step("vcpu 0", 1)
    run.until("vcpu 0", "flush_tlb.load_acquire_gate")
    run.until("zapper 0", TRACK)
    for _ in range(4):
        run.step("vcpu 0")
    return run


def wander(run: Schedule, seed: object, steps: int) -> None:
    """Take up to so many steps of a seeded schedule; actors that have returned take none."""
    drawn = random.Random(repr(seed))
    for _ in range(steps):
        able = [name for name in run.actors if run.site(name)]
        if not able:
            return
        name = drawn.choice(able)
        run.step(name, drawn.randrange(run.choices(name)))
