"""Rows of orders known right and known wrong, each wrong one with its trace written out as a schedule.

    R1   BLOCK TRACK KICK(wait) REMOVE under mmu_lock         nothing
    R1b  the same, BUSY tried again once without vCPUs        nothing
    R1c  R1b, entry does not look at wait_for_sept_zap        BUSY a second time: KVM_BUG_ON
    R1d  R1b, wait_for_sept_zap cleared before the retry      BUSY a second time: KVM_BUG_ON
    R2   v18: kick first behind a counter, under mmu_lock     nothing
    R2u  v18 without mmu_lock                                 nothing
    W1   BLOCK KICK TRACK REMOVE, no gate                     TLB_TRACKING_NOT_DONE
    W2   no kick                                              TLB_TRACKING_NOT_DONE, and PREVIOUS_TLB_EPOCH_BUSY
    W3   R1 without mmu_lock                                  PREVIOUS_TLB_EPOCH_BUSY
    W4   TRACK KICK BLOCK REMOVE                              TLB_TRACKING_NOT_DONE, in every run
    W6   R1, the kick does not wait                           TLB_TRACKING_NOT_DONE
    W7   IN_GUEST_MODE in the store buffer behind later loads
         in R1                                                nothing
         in R1b                                               BUSY a second time: KVM_BUG_ON
         in R2, and in W8s                                    TLB_TRACKING_NOT_DONE
    W8   v18 with a flag for a counter, without mmu_lock      TLB_TRACKING_NOT_DONE
    W8s  the same under mmu_lock                              nothing
    W10  v18, the gate lowered before TRACK                   TLB_TRACKING_NOT_DONE
    W11  W1, and the page is freed all the same               a stale read of someone else's page
    W12  W2, and the page is freed all the same               a stale read of someone else's page
    M1   R1 on a module that does not flush at entry          a stale read of someone else's page

Statuses and reads of another's page are these and no others. Reads are more: the table's models ask for a read of a
page that was given away, the oracle here also grades one that comes after tdx_track() has returned, and every order
that lets a vCPU keep its translation for so long shows that, too, whether REMOVE is refused or not.

W7 is what x86 may do: the store of IN_GUEST_MODE drains at TDH.VP.ENTER's first locked access at the latest. One that
stays behind for longer would break R1 as well; test_rows has such a vCPU by its source, which no CPU is.
"""

from collections.abc import Callable
from dataclasses import dataclass

from kernels.search.schedule import Schedule
from kernels.tdx.protocol import Size
from kernels.tdx.rules import Fault, OnError, Rules
from kernels.tests.driver import enter, leave, read, seen, start
from kernels.tests.orders import (
    FLAG_GATE,
    FLAG_UNSERIALIZED,
    FREE_DESPITE_ERROR,
    KICK_THEN_TRACK,
    LOWERED_EARLY,
    NO_FLUSH,
    NO_KICK,
    NO_WAIT,
    SPEC,
    TRACK_THEN_BLOCK,
    UNSERIALIZED,
    V6_16,
    V18,
)

TRACK = "mem_track.try_lock_exclusive_epoch_lock"
BLOCK = "mem_range_block.try_lock_exclusive_tree_lock"
REMOVE = "mem_page_remove.try_lock_shared_tree_lock"
FIRST_KICK = "kick.next_vcpu"
PAGE_0, PAGE_1 = {"claim_page.any_page": 0}, {"claim_page.any_page": 1}

Trace = Callable[[], Schedule]


@dataclass(frozen=True, slots=True)
class Row:
    """An order, a machine that is large enough for it, and a written-out schedule for each forbidden outcome."""

    rules: Rules
    size: Size
    shows: dict[str, Trace]


def until_shown(run: Schedule, actor: str, outcome: str) -> Schedule:
    """Let one actor step until this outcome is seen, first ways. Raises RuntimeError after 200 steps."""
    for _ in range(200):
        if outcome in seen(run):
            return run
        run.step(actor)
    raise RuntimeError(f"{actor} did not show {outcome} in 200 steps; it is at {run.site(actor)}")


def filled(rules: Rules) -> Schedule:
    """v0 in the guest at E=1, the page in its TLB."""
    run = start(rules)
    enter(run)
    read(run)
    return run


def filled_and_out(rules: Rules) -> Schedule:
    """The same, and out again: a kick finds it OUTSIDE and sends no IPI."""
    run = filled(rules)
    leave(run)
    return run


ENTRY_BLIND = V6_16._replace(entry_wait_for_sept_zap=0)
LET_IN_EARLY = V6_16._replace(faults=int(Fault.LET_IN_TOO_EARLY))


def unfenced(rules: Rules) -> Rules:
    """The order, its vCPUs without the barrier behind the store of IN_GUEST_MODE."""
    return rules._replace(faults=int(Fault.LOST_KICK))


def busy_once(rules: Rules) -> Schedule:
    """v0 enters, holds the epoch lock | BLOCK, TRACK: BUSY | kick | v0 leaves, is about to enter again."""
    run = start(rules)
    run.until("vcpu 0", "vp_enter.load_acquire_epoch_tracking")
    run.until("zapper 0", "kick.load_acquire_ipi")
    enter(run)
    run.step("vcpu 0", 1)
    run.until("vcpu 0", "vcpu.store_seq_cst_mode")
    return run


def r1c() -> Schedule:
    """BUSY once | v0 enters, the flag set all the while, and holds the epoch lock | TRACK: BUSY."""
    run = busy_once(ENTRY_BLIND)
    run.until("vcpu 0", "vp_enter.load_acquire_epoch_tracking")
    return until_shown(run, "zapper 0", "busy_given_up")


def r1d() -> Schedule:
    """BUSY once | the flag is cleared | v0 enters, holds the epoch lock | TRACK: BUSY."""
    run = busy_once(LET_IN_EARLY)
    run.until("zapper 0", TRACK)
    run.until("vcpu 0", "vp_enter.load_acquire_epoch_tracking")
    return until_shown(run, "zapper 0", "busy_given_up")


def w1(rules: Rules = KICK_THEN_TRACK) -> Schedule:
    """BLOCK | kick v0 (OUTSIDE) | v0 handles the request, enters at E=1, no INVEPT | TRACK E=2 | REMOVE."""
    run = start(rules)
    run.until("zapper 0", TRACK)
    enter(run)
    return until_shown(run, "zapper 0", "tracking_not_done")


def w1_stale(rules: Rules = KICK_THEN_TRACK) -> Schedule:
    """The same with the page in v0's TLB, which reads when tdx_track() has returned."""
    run = filled_and_out(rules)
    run.until("zapper 0", TRACK)
    enter(run)
    run.until("zapper 0", REMOVE)
    read(run)
    return run


def w1_filled(rules: Rules) -> Schedule:
    """W1 with the page in v0's TLB, up to the refusal."""
    run = filled_and_out(rules)
    run.until("zapper 0", TRACK)
    enter(run)
    return until_shown(run, "zapper 0", "tracking_not_done")


def w2(rules: Rules = NO_KICK) -> Schedule:
    """v0 in the guest at E=1, filled | BLOCK | TRACK E=2 | REMOVE."""
    return until_shown(filled(rules), "zapper 0", "tracking_not_done")


def w2_stale(rules: Rules = NO_KICK) -> Schedule:
    """The same, but v0 reads before REMOVE does."""
    run = filled(rules)
    run.until("zapper 0", REMOVE)
    read(run)
    return run


def w2_twice() -> Schedule:
    """v0 in the guest at E=1, filled | BLOCK | TRACK E=2 | REMOVE refused | a further TRACK: R[1] != 0."""
    run = start(NO_KICK, zappers=2, pages=2)
    enter(run)
    read(run)
    run.until("zapper 0", "end", PAGE_0)
    run.until("zapper 1", TRACK, PAGE_1)
    return until_shown(run, "zapper 1", "previous_epoch_busy")


def w3() -> Schedule:
    """v0 in the guest at E=1 | zA BLOCK, TRACK E=2 | zB BLOCK, TRACK: zA has not kicked yet."""
    run = start(UNSERIALIZED, zappers=2, pages=2)
    enter(run)
    run.until("zapper 0", FIRST_KICK, PAGE_0)
    run.until("zapper 1", TRACK, PAGE_1)
    return until_shown(run, "zapper 1", "previous_epoch_busy")


def w4() -> Schedule:
    """TRACK E=2 | kick | v0 enters at 2, fills | BLOCK bepoch=2 | REMOVE: bepoch == E."""
    run = start(TRACK_THEN_BLOCK)
    run.until("zapper 0", BLOCK)
    enter(run)
    read(run)
    return until_shown(run, "zapper 0", "tracking_not_done")


def w4_stale() -> Schedule:
    """The same, but v0 reads before REMOVE does."""
    run = start(TRACK_THEN_BLOCK)
    run.until("zapper 0", BLOCK)
    enter(run)
    read(run)
    run.until("zapper 0", REMOVE)
    read(run)
    return run


def w6() -> Schedule:
    """v0 in the guest | BLOCK TRACK E=2 | the kick sets EXITING, its IPI is under way, the kicker returns | REMOVE."""
    run = start(NO_WAIT)
    enter(run)
    return until_shown(run, "zapper 0", "tracking_not_done")


def w6_stale() -> Schedule:
    """The same with the page in v0's TLB, which reads on while the IPI is under way."""
    run = filled(NO_WAIT)
    run.until("zapper 0", REMOVE)
    read(run)
    return run


UNSEEN = "enter_unfenced.store_relaxed_mode"


def w7(rules: Rules) -> Schedule:
    """v0 finds no request, its IN_GUEST_MODE in the store buffer | BLOCK, gate=1, the request, the kicker reads OUTSIDE
    and sends no IPI | v0 enters at E=1 | TRACK E=2 | REMOVE.
    """
    run = start(rules)
    run.until("vcpu 0", UNSEEN)
    run.until("zapper 0", TRACK)
    enter(run)
    return until_shown(run, "zapper 0", "tracking_not_done")


def w7_stale(rules: Rules) -> Schedule:
    """The same with the page in v0's TLB, which reads before REMOVE does."""
    run = filled_and_out(rules)
    run.until("vcpu 0", UNSEEN)
    run.until("zapper 0", TRACK)
    enter(run)
    run.until("zapper 0", REMOVE)
    read(run)
    return run


def w7_busy() -> Schedule:
    """v0 holds the epoch lock | TRACK: BUSY | v0 leaves, finds the flag clear, its IN_GUEST_MODE in the store buffer |
    the flag is set, the kicker reads OUTSIDE | v0 enters, holds the epoch lock | TRACK: BUSY.
    """
    run = start(unfenced(V6_16))
    run.until("vcpu 0", "vp_enter.load_acquire_epoch_tracking")
    run.until("zapper 0", "seamcall_until.store_seq_cst_wait_for_sept_zap")
    enter(run)
    leave(run)
    run.until("vcpu 0", UNSEEN)
    run.until("zapper 0", TRACK)
    run.until("vcpu 0", "vp_enter.load_acquire_epoch_tracking")
    return until_shown(run, "zapper 0", "busy_given_up")


def w8() -> Schedule:
    """zA gate=1, kicks, TRACK E=2 | zB BLOCK, gate=1 (already 1) | zA gate=0 | zB kicks v0; v0 handles the request,
    enters at E=2 | zB TRACK E=3 | zB REMOVE.
    """
    run = start(FLAG_UNSERIALIZED, zappers=2, pages=2)
    run.until("zapper 0", "lower_gate.store_release_gate", PAGE_0)
    run.until("zapper 1", FIRST_KICK, PAGE_1)
    run.step("zapper 0")
    run.until("zapper 1", TRACK)
    enter(run)
    return until_shown(run, "zapper 1", "tracking_not_done")


def w11() -> Schedule:
    """W1 with the page in v0's TLB; the page is freed although REMOVE failed | v0 reads."""
    run = w1_filled(FREE_DESPITE_ERROR)
    run.until("zapper 0", "shootdown.write_unlock_mmu_lock")
    read(run)
    return run


FREED_WITHOUT_KICK = NO_KICK._replace(on_error=int(OnError.FREE_PAGE))


def w12() -> Schedule:
    """W2, and the page is freed although REMOVE failed | v0 reads."""
    run = w2(FREED_WITHOUT_KICK)
    run.until("zapper 0", "shootdown.write_unlock_mmu_lock")
    read(run)
    return run


def m1() -> Schedule:
    """v0 filled at E=1, exits | BLOCK TRACK E=2 kick | v0 enters at 2, no INVEPT | REMOVE: R[1]==0 | v0 reads."""
    run = filled_and_out(NO_FLUSH)
    run.until("zapper 0", REMOVE)
    enter(run)
    run.until("zapper 0", "shootdown.write_unlock_mmu_lock")
    read(run)
    return run


def m1_stale() -> Schedule:
    """The same, but v0 reads before REMOVE does."""
    run = filled_and_out(NO_FLUSH)
    run.until("zapper 0", REMOVE)
    enter(run)
    read(run)
    return run


TINY, TWO_ZAPPERS, TWO_OF_ALL = Size(1, 1), Size(1, 2, 2, 1), Size(2, 2, 2, 1)

RIGHT = {
    "R1": SPEC,
    "R1b": V6_16,
    "R2": V18._replace(serialized=1),
    "R2u": V18,
    "W7, R1": unfenced(SPEC),
    "W8s": FLAG_GATE,
}
WRONG = {
    "R1c": Row(ENTRY_BLIND, TINY, {"busy_given_up": r1c}),
    "R1d": Row(LET_IN_EARLY, TINY, {"busy_given_up": r1d}),
    "W1": Row(KICK_THEN_TRACK, TINY, {"tracking_not_done": w1, "stale_after_done": w1_stale}),
    "W2": Row(NO_KICK, TINY, {"tracking_not_done": w2, "stale_after_done": w2_stale}),
    "W2, two zappers": Row(
        NO_KICK, TWO_ZAPPERS,
        {"tracking_not_done": w2, "stale_after_done": w2_stale, "previous_epoch_busy": w2_twice},
    ),
    "W3": Row(UNSERIALIZED, TWO_ZAPPERS, {"previous_epoch_busy": w3}),
    "W4": Row(TRACK_THEN_BLOCK, TINY, {"tracking_not_done": w4, "stale_after_done": w4_stale}),
    "W6": Row(NO_WAIT, TINY, {"tracking_not_done": w6, "stale_after_done": w6_stale}),
    "W7, R1b": Row(unfenced(V6_16), TINY, {"busy_given_up": w7_busy}),
    "W7, R2": Row(
        unfenced(V18), TINY,
        {"tracking_not_done": lambda: w7(unfenced(V18)), "stale_after_done": lambda: w7_stale(unfenced(V18))},
    ),
    "W7, W8s": Row(
        unfenced(FLAG_GATE), TINY,
        {
            "tracking_not_done": lambda: w7(unfenced(FLAG_GATE)),
            "stale_after_done": lambda: w7_stale(unfenced(FLAG_GATE)),
        },
    ),
    "W8": Row(FLAG_UNSERIALIZED, TWO_ZAPPERS, {"tracking_not_done": w8}),
    "W10": Row(
        LOWERED_EARLY, TINY,
        {"tracking_not_done": lambda: w1(LOWERED_EARLY), "stale_after_done": lambda: w1_stale(LOWERED_EARLY)},
    ),
    "W11": Row(
        FREE_DESPITE_ERROR, TINY,
        {
            "tracking_not_done": lambda: w1(FREE_DESPITE_ERROR),
            "stale_after_done": lambda: w1_stale(FREE_DESPITE_ERROR),
            "use_after_remove": w11,
        },
    ),
    "W12": Row(
        FREED_WITHOUT_KICK, TINY,
        {
            "tracking_not_done": lambda: w2(FREED_WITHOUT_KICK),
            "stale_after_done": lambda: w2_stale(FREED_WITHOUT_KICK),
            "use_after_remove": w12,
        },
    ),
    "M1": Row(NO_FLUSH, TINY, {"use_after_remove": m1, "stale_after_done": m1_stale}),
}  # fmt: skip
