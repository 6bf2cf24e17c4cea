"""What a race counts of this protocol, by its place in an actor's tally: constants alone, for kernels and results."""

from enum import IntEnum

from kernels.layout import HIST_WORDS, LINE_WORDS, OUTCOME_COUNTS
from kernels.tdx.outcomes import OUTCOMES, Outcome
from kernels.tdx.rules import Flow
from kernels.tdx.statuses import Leaf, Status

# Between what every protocol has there (`kernels/layout.py`). Where a guest reads next, in order.
SEQUENCE = 5
# The module locks that the actor holds: of the epoch or the tree, of an entry, of the TDR; and those that it waits for,
# a bit each; see `kernels/tdx/lock_contention.py`.
HELD, HELD_ENTRY, WAITING_LOCKS, HELD_TDR = 8, 9, 10, 15
ENTRIES, EXITS, FLUSHES, FAULT_EXITS, TICKS, GATE_WAIT_NS, OUT_OF_GUEST_NS, READS = 16, 17, 18, 19, 20, 21, 22, 23
SHOOTDOWNS, BUG_ON, TRACK_RETRIES, TRACK_RETRIES_MAX, IPIS, REPAIRS, MOVES = 24, 25, 26, 27, 28, 29, 31
OUTCOME_SHOOTDOWNS = OUTCOME_COUNTS + OUTCOMES
# The same of the shootdowns that met a vCPU, then how many these were in all.
OUTCOME_MET = OUTCOME_SHOOTDOWNS + OUTCOMES
SHOOTDOWNS_MET = OUTCOME_MET + OUTCOMES
# vCPUs that kicks have found in the guest, in all and before the shootdown at hand.
KICKS_MET, MET_BEFORE = SHOOTDOWNS_MET + 1, SHOOTDOWNS_MET + 2
AGES, AGE_BUCKETS = SHOOTDOWNS_MET + 3, 16
STATUS_COUNTS, LEAVES, STATUSES = AGES + AGE_BUCKETS, 1 + max(Leaf), 1 + max(Status)


class ModuleLock(IntEnum):
    """The module's locks that are raced for."""

    EPOCH = 0
    TREE = 1
    ENTRY = 2
    TDR = 3


# Failed tries by lock, SEAMCALL and who held it: a SEAMCALL, several different ones, nobody any more, or nobody but the
# host's wish for priority.
CONTENTION = STATUS_COUNTS + LEAVES * STATUSES
SEVERAL, GONE, HOST_PRIORITY, COLUMNS = LEAVES, LEAVES + 1, LEAVES + 2, LEAVES + 3
# Waits that ended with the lock, by lock and SEAMCALL: how many, their failed tries, the most of one, nanoseconds, the
# most of one; and the one that goes on, by lock.
WAITING, WAIT_FIELDS = CONTENTION + len(ModuleLock) * LEAVES * COLUMNS, 5
TIMES, TRIES, MOST_TRIES, WAITED_NS, LONGEST_NS = range(WAIT_FIELDS)
WAITS = WAITING + len(ModuleLock) * LEAVES * WAIT_FIELDS
# The emulated access at hand: since when, and its reads before; when its #VE came.
TRIP_BEGAN, TRIP_READS, TRIP_CALLED = (WAITS + len(ModuleLock) * WAIT_FIELDS + place for place in range(3))
# What IPIS was when the kernel was last asked to interrupt all that had been sent one.
IPIS_BEFORE = TRIP_CALLED + 1
HEAD_WORDS = -(-(IPIS_BEFORE + 1) // LINE_WORDS) * LINE_WORDS


class ZapperHist(IntEnum):
    """The histograms of a zapper (ns), in this order behind the head."""

    shootdown = 0
    shootdown_met = 1
    response = 2
    lock = 3
    block = 4
    kick_send = 5
    kick_ack = 6
    kick = 7
    track = 8
    remove = 9
    stale_window = 10


ZAPPER_HISTS = tuple(one.name for one in ZapperHist)
# The same of a vCPU.
VCPU_HISTS = ("gate_wait", "out_of_guest")
# Those that a flow has beside them.
MORE_VCPU_HISTS: dict[Flow, tuple[str, ...]] = {Flow.MMIO: ("mmio_trip", "mmio_ve"), Flow.MIGRATE: ("move", "pin")}
# Behind the outcomes in the flags of a page: whether a kick of its shootdown found a vCPU in the guest.
MET = 1 << OUTCOMES
MET_OR_STALE = MET | (
    (1 << Outcome.stale_in_window)
    | (1 << Outcome.stale_after_kick)
    | (1 << Outcome.stale_after_done)
    | (1 << Outcome.use_after_remove)
    | (1 << Outcome.write_lost)
)
# One shootdown of so many stamps its phases, the others the whole: a stamp costs some 10 ns, a phase often no more.
PHASES_EVERY = 8


def vcpu_hists(flow: int) -> tuple[str, ...]:
    """The histograms of a vCPU under a flow, in the order in which they stand behind the head."""
    return VCPU_HISTS + sum((names for part, names in MORE_VCPU_HISTS.items() if flow & part), ())


def tally_words(histograms: tuple[str, ...]) -> int:
    """How many words the tally of an actor with these histograms has."""
    return HEAD_WORDS + len(histograms) * HIST_WORDS
