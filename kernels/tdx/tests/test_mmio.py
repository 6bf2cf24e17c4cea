"""MMIO of a TD: the way of a shared SPTE, memslots that come and go beneath it, and SEPT_VE_DISABLE."""

import pytest

from kernels.language.syntax import sites
from kernels.search.schedule import Schedule
from kernels.tdx import bits
from kernels.tdx.protocol import Size
from kernels.tdx.rules import Fault, Flow, MemslotZap, Rules
from kernels.tdx.spans import CPU_WALK, GUEST_READ
from kernels.tests.driver import seen, stepped
from kernels.tests.orders import SPEC
from kernels.tests.witnesses import ONE, counted, shows
from kernels.tests.written_schedules import told

MMIO = SPEC._replace(flow=int(Flow.MMIO), memslot_zap=int(MemslotZap.MMIO))
AS_IT_IS = MMIO._replace(memslot_zap=int(MemslotZap.NONE))
PRIVATE, SHARED = 0, 1
CHANGES_MEMSLOT = {"may_change_memslot.private_or_shared": 1}
TOLD = {site.name for site in sites() if site.says in (CPU_WALK, GUEST_READ)}


def start(rules: Rules = MMIO, *, shootdowns: int = 1) -> Schedule:
    """A vCPU and a thread of the VMM, one private and one shared page, nothing compiled."""
    return stepped(rules._replace(shootdowns=shootdowns), Size(vcpus=1, zappers=1, tlb_entries=2))


def access(run: Schedule, page: int, until: str) -> None:
    """The guest turns to this page, wherever the vCPU is, and goes on to the step of this site name."""
    run.until("vcpu 0", until, {"guest.reads_before_tick": 1, "next_of_both.next_access": page})


def to_next_access(run: Schedule) -> None:
    """On, until the guest has an instruction behind it and is about to choose the next."""
    access(run, SHARED, "next_of_both.next_access")


def touch(run: Schedule, page: int) -> None:
    """The guest reads this page once, with all that it takes, and is about to choose the next instruction."""
    to_next_access(run)
    run.step("vcpu 0", page)
    to_next_access(run)


def change(run: Schedule, until: str = "end") -> None:
    """The VMM changes the memslot of the shared page."""
    run.until("zapper 0", until, CHANGES_MEMSLOT)


def spte(run: Schedule) -> int:
    return int(run.words[run.lay.shared_spte])


def test_a_first_touch_of_mmio_is_a_violation_then_a_ve_then_emulated() -> None:
    run = start()

    access(run, SHARED, "shared_fault.load_acquire_memslot")
    suppressed = spte(run)
    touched = seen(run)
    access(run, SHARED, "read_shared.load_acquire_memslot_2")
    installed = spte(run)
    to_next_access(run)

    assert (suppressed, touched) == (-1 << 63, {"fault"})
    assert installed == 1 << 12
    assert seen(run) == {"fault", "mmio_installed", "ve_in_guest", "mmio_emulated"}


@pytest.mark.parametrize(("rules", "caught"), [(MMIO, False), (AS_IT_IS, True)], ids=["zapped", "as it is"])
def test_an_mmio_spte_that_outlives_the_change_of_its_memslot_is_a_ve_for_ever(rules: Rules, caught: bool) -> None:
    run = start(rules)
    touch(run, SHARED)

    change(run)
    for _ in range(3):
        touch(run, SHARED)

    assert counted(run, "ve_on_memory") == (3 if caught else 0)
    assert counted(run, "mmio_emulated") == (4 if caught else 1)


def test_a_story_says_what_the_guest_read_of_a_private_and_of_a_shared_page() -> None:
    run = start()
    touch(run, PRIVATE)
    touch(run, PRIVATE)
    change(run)
    touch(run, SHARED)
    touch(run, SHARED)

    said = [event.says for event in told(run).events if event.name in TOLD]

    assert said == [
        "reads page 0: not in the TLB",
        "walks the S-EPT",
        "reads page 0: fresh",
        "reads page 0: fresh",
        "reads shared page 0: not in the TLB",
        "walks the shared EPT",
        "reads shared page 0: not in the TLB",
        "walks the shared EPT",
        "reads shared page 0: fresh",
        "reads shared page 0: fresh",
    ]


def test_a_change_of_memslots_waits_for_a_fault_that_has_the_old_ones() -> None:
    run = start()
    access(run, SHARED, "shared_fault.load_acquire_memslot")
    run.step("vcpu 0")

    change(run, "synchronize_srcu.load_acquire_srcu")
    for _ in range(9):
        run.step("zapper 0")

    site = run.site("zapper 0")
    assert site is not None and site.name == "synchronize_srcu.load_acquire_srcu"


@pytest.mark.parametrize(("disabled", "outcome"), [(0, "ve_in_guest"), (1, "access_before_accept")])
def test_a_pending_page_raises_ve_or_kills_the_vm_as_sept_ve_disable_says(disabled: int, outcome: str) -> None:
    run = start(MMIO._replace(sept_ve_disable=disabled))
    run.words[run.lay.sept] = bits.Sept.PENDING | bits.SVE | (1 << bits.HPA_SHIFT)

    access(run, PRIVATE, "next_of_both.next_access")
    run.step("vcpu 0", PRIVATE)
    access(run, PRIVATE, "acknowledge.load_acquire_ipi" if disabled else "next_of_both.next_access")
    access(run, PRIVATE, "vm_is_dead.load_acquire_vm_bugged" if disabled else "next_of_both.next_access")

    assert outcome in seen(run)
    assert bool(run.words[run.lay.vm_bugged]) == bool(disabled)


test_a_memslot_that_comes_or_goes_does_no_harm_where_its_page_is_zapped_behind_a_grace_period = shows({
    "one change": (MMIO, ONE, "", 14_184),
    "two": (MMIO._replace(shootdowns=2), ONE, "", 61_860),
    "as it is": (AS_IT_IS, ONE, "ve_on_memory", 13_682),
    "without a grace period": (MMIO._replace(faults=int(Fault.NO_GRACE_PERIOD)), ONE, "ve_on_memory", 14_000),
}, liveness=1)  # fmt: skip
