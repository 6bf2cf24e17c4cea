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
from typing import Any

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

Trace = Callable[[], Schedule]
Move = Callable[[Schedule], object] | tuple[Any, ...]  # or what `Schedule.until` takes


@dataclass(frozen=True, slots=True)
class Row:
    """An order, a machine that is large enough for it, and a written-out schedule for each forbidden outcome."""

    rules: Rules
    size: Size
    shows: dict[str, Trace]


def trace(rules: Rules, *moves: Move, several: int = 1) -> Trace:
    """One vCPU against so many zappers, with as many pages."""

    def run() -> Schedule:
        made = start(rules, zappers=several, pages=several)
        for move in moves:
            made.until(*move) if isinstance(move, tuple) else move(made)
        return made

    return run


def shown(outcome: str, actor: str = "zapper 0") -> Move:
    """Let one actor step until this outcome is seen, first ways. Raises RuntimeError after 200 steps."""

    def until(run: Schedule) -> None:
        for _ in range(200):
            if outcome in seen(run):
                return
            run.step(actor)
        raise RuntimeError(f"{actor} did not show {outcome} in 200 steps; it is at {run.site(actor)}")

    return until


def step(actor: str, chosen: int = 0) -> Move:
    """One step."""
    return lambda run: run.step(actor, chosen)


ENTRY_BLIND = V6_16._replace(entry_wait_for_sept_zap=0)
LET_IN_EARLY = V6_16._replace(faults=int(Fault.LET_IN_TOO_EARLY))
FREED_WITHOUT_KICK = NO_KICK._replace(on_error=int(OnError.FREE_PAGE))


def unfenced(rules: Rules) -> Rules:
    """The order, its vCPUs without the barrier behind the store of IN_GUEST_MODE."""
    return rules._replace(faults=int(Fault.LOST_KICK))


TRACK, FIRST_KICK = "mem_track.try_lock_exclusive_epoch_lock", "kick.next_vcpu"
PAGE_0, PAGE_1 = {"claim_page.any_page": 0}, {"claim_page.any_page": 1}
TO_BLOCK, TO_TRACK = ("zapper 0", "mem_range_block.try_lock_exclusive_tree_lock"), ("zapper 0", TRACK)
TO_REMOVE = "zapper 0", "mem_page_remove.try_lock_shared_tree_lock"
TO_UNLOCK = "zapper 0", "shootdown.write_unlock_mmu_lock"  # the page is freed although REMOVE failed
IN_STORE_BUFFER = "vcpu 0", "enter_unfenced.store_relaxed_mode"
HOLDS_EPOCH = "vcpu 0", "vp_enter.load_acquire_epoch_tracking"
REFUSED, GIVEN_UP = shown("tracking_not_done"), shown("busy_given_up")
# The page in v0's TLB; and out again: a kick finds it OUTSIDE and sends no IPI.
FILLED = enter, read
FILLED_AND_OUT = *FILLED, leave
# v0 enters, holds the epoch lock | BLOCK, TRACK: BUSY | kick | v0 leaves, is about to enter again.
BUSY_ONCE = (
    HOLDS_EPOCH, ("zapper 0", "kick.load_acquire_ipi"), enter, step("vcpu 0", 1), ("vcpu 0", "vcpu.store_seq_cst_mode"),
)  # fmt: skip


def entered_before_track(rules: Rules) -> dict[str, Trace]:
    """BLOCK | kick v0 (OUTSIDE) | v0 handles the request, enters at E=1, no INVEPT | TRACK E=2 | REMOVE. And v0, the
    page in its TLB, reads when tdx_track() has returned.
    """
    return {
        "tracking_not_done": trace(rules, TO_TRACK, enter, REFUSED),
        "stale_after_done": trace(rules, *FILLED_AND_OUT, TO_TRACK, enter, TO_REMOVE, read),
    }


def never_kicked(rules: Rules) -> dict[str, Trace]:
    """v0 in the guest at E=1, filled | BLOCK | TRACK E=2 | REMOVE. And it reads before REMOVE does."""
    return {
        "tracking_not_done": trace(rules, *FILLED, REFUSED),
        "stale_after_done": trace(rules, *FILLED, TO_REMOVE, read),
    }


def seen_late(rules: Rules) -> dict[str, Trace]:
    """v0 finds no request, its IN_GUEST_MODE in the store buffer | BLOCK, gate=1, the request, the kicker reads OUTSIDE
    and sends no IPI | v0 enters at E=1 | TRACK E=2 | REMOVE. And v0, the page in its TLB, reads before REMOVE does.
    """
    late = IN_STORE_BUFFER, TO_TRACK, enter
    return {
        "tracking_not_done": trace(rules, *late, REFUSED),
        "stale_after_done": trace(rules, *FILLED_AND_OUT, *late, TO_REMOVE, read),
    }


TINY, TWO_ZAPPERS = Size(1, 1), Size(1, 2, 2, 1)

RIGHT = {
    "R1": SPEC,
    "R1b": V6_16,
    "R2": V18._replace(serialized=1),
    "R2u": V18,
    "W7, R1": unfenced(SPEC),
    "W8s": FLAG_GATE,
}
WRONG = {
    # BUSY once | v0 enters, the flag set all the while, and holds the epoch lock | TRACK: BUSY.
    "R1c": Row(ENTRY_BLIND, TINY, {"busy_given_up": trace(ENTRY_BLIND, *BUSY_ONCE, HOLDS_EPOCH, GIVEN_UP)}),
    # BUSY once | the flag is cleared | v0 enters, holds the epoch lock | TRACK: BUSY.
    "R1d": Row(LET_IN_EARLY, TINY, {"busy_given_up": trace(LET_IN_EARLY, *BUSY_ONCE, TO_TRACK, HOLDS_EPOCH, GIVEN_UP)}),
    "W1": Row(KICK_THEN_TRACK, TINY, entered_before_track(KICK_THEN_TRACK)),
    "W2": Row(NO_KICK, TINY, never_kicked(NO_KICK)),
    # As W2, REMOVE refused | a further TRACK: R[1] != 0.
    "W2, two zappers": Row(
        NO_KICK, TWO_ZAPPERS,
        never_kicked(NO_KICK) | {"previous_epoch_busy": trace(
            NO_KICK, *FILLED, ("zapper 0", "end", PAGE_0), ("zapper 1", TRACK, PAGE_1),
            shown("previous_epoch_busy", "zapper 1"), several=2,
        )},
    ),
    # v0 in the guest at E=1 | zA BLOCK, TRACK E=2 | zB BLOCK, TRACK: zA has not kicked yet.
    "W3": Row(UNSERIALIZED, TWO_ZAPPERS, {"previous_epoch_busy": trace(
        UNSERIALIZED, enter, ("zapper 0", FIRST_KICK, PAGE_0), ("zapper 1", TRACK, PAGE_1),
        shown("previous_epoch_busy", "zapper 1"), several=2,
    )}),
    # TRACK E=2 | kick | v0 enters at 2, fills | BLOCK bepoch=2 | REMOVE: bepoch == E. And v0 reads before REMOVE does.
    "W4": Row(TRACK_THEN_BLOCK, TINY, {
        "tracking_not_done": trace(TRACK_THEN_BLOCK, TO_BLOCK, *FILLED, REFUSED),
        "stale_after_done": trace(TRACK_THEN_BLOCK, TO_BLOCK, *FILLED, TO_REMOVE, read),
    }),
    # v0 in the guest | BLOCK TRACK E=2 | the kick sets EXITING, its IPI is under way, the kicker returns | REMOVE.
    "W6": Row(NO_WAIT, TINY, never_kicked(NO_WAIT)),
    # v0 holds the epoch lock | TRACK: BUSY | v0 leaves, finds the flag clear, its IN_GUEST_MODE in the store buffer |
    # the flag is set, the kicker reads OUTSIDE | v0 enters, holds the epoch lock | TRACK: BUSY.
    "W7, R1b": Row(unfenced(V6_16), TINY, {"busy_given_up": trace(
        unfenced(V6_16), HOLDS_EPOCH, ("zapper 0", "seamcall_until.store_seq_cst_wait_for_sept_zap"), enter, leave,
        IN_STORE_BUFFER, TO_TRACK, HOLDS_EPOCH, GIVEN_UP,
    )}),
    "W7, R2": Row(unfenced(V18), TINY, seen_late(unfenced(V18))),
    "W7, W8s": Row(unfenced(FLAG_GATE), TINY, seen_late(unfenced(FLAG_GATE))),
    # zA gate=1, kicks, TRACK E=2 | zB BLOCK, gate=1 (already 1) | zA gate=0 | zB kicks v0; v0 handles the request,
    # enters at E=2 | zB TRACK E=3 | zB REMOVE.
    "W8": Row(FLAG_UNSERIALIZED, TWO_ZAPPERS, {"tracking_not_done": trace(
        FLAG_UNSERIALIZED, ("zapper 0", "lower_gate.store_release_gate", PAGE_0), ("zapper 1", FIRST_KICK, PAGE_1),
        step("zapper 0"), ("zapper 1", TRACK), enter, shown("tracking_not_done", "zapper 1"), several=2,
    )}),
    "W10": Row(LOWERED_EARLY, TINY, entered_before_track(LOWERED_EARLY)),
    "W11": Row(FREE_DESPITE_ERROR, TINY, entered_before_track(FREE_DESPITE_ERROR) | {"use_after_remove": trace(
        FREE_DESPITE_ERROR, *FILLED_AND_OUT, TO_TRACK, enter, REFUSED, TO_UNLOCK, read,
    )}),
    "W12": Row(FREED_WITHOUT_KICK, TINY, never_kicked(FREED_WITHOUT_KICK) | {"use_after_remove": trace(
        FREED_WITHOUT_KICK, *FILLED, REFUSED, TO_UNLOCK, read,
    )}),
    # v0 filled at E=1, exits | BLOCK TRACK E=2 kick | v0 enters at 2, no INVEPT | REMOVE: R[1]==0 | v0 reads. And it
    # reads before REMOVE does.
    "M1": Row(NO_FLUSH, TINY, {
        "use_after_remove": trace(NO_FLUSH, *FILLED_AND_OUT, TO_REMOVE, enter, TO_UNLOCK, read),
        "stale_after_done": trace(NO_FLUSH, *FILLED_AND_OUT, TO_REMOVE, enter, read),
    }),
}  # fmt: skip
