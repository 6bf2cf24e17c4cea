"""Locks that an ordering's steps take, mmu_lock or its own, and that vCPUs take around their look at requests and
around faults; and a BLOCK that is taken back where BUSY is handed up behind it.
"""

import functools

import pytest

from kernels.search.explore import explore
from kernels.search.schedule import Schedule
from kernels.story.events import Span
from kernels.story.narrate import Narrator
from kernels.story.waits import waits
from kernels.tdx.kvm.steps_left import after_failure, followed_by
from kernels.tdx.kvm.zap_locks import READ, WRITE, held_behind, how_held
from kernels.tdx.outcomes import FORBIDDEN
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.reads import reads
from kernels.tdx.rules import FIRST_LOCK_STEP, STEP_BITS, Busy, Fault, Flow, Lock, Rules, Step
from kernels.tests.orders import GATED, PAIR, PLAIN_EPT, REQUESTS, SPEC, busy, order, packed, two_levels
from kernels.tests.witnesses import ONE, shows

TWO_VCPUS, TWO_ZAPPERS, TWO_PAGES = Size(2, 1), Size(1, 2, 2), Size(1, 1, 2, 2)

# mmu_lock around some of the steps.
WHOLE = order("lock_mmu_lock block track kick remove unlock_mmu_lock")
TRACKED = order("block lock_mmu_lock track kick unlock_mmu_lock remove")
SHARED = order("lock_mmu_lock_read block track kick remove unlock_mmu_lock")
BOTH = order("lock_mmu_lock block unlock_mmu_lock lock_mmu_lock_read track kick unlock_mmu_lock remove")
BLOCKED = order("lock_mmu_lock block unlock_mmu_lock track kick remove")
ONE_TRY = {"track_busy_write": int(Busy.BUG), "track_busy_read": int(Busy.SPIN)}
test_mmu_lock_is_enough_around_track_and_kick_alone_and_not_for_read = shows({
    "around the whole": (WHOLE, TWO_ZAPPERS, "", 97_337),
    "serialized, which is the same": (SPEC, TWO_ZAPPERS, "", 97_337),
    "around TRACK and kick": (TRACKED, TWO_ZAPPERS, "", 238_055),
    "for read": (SHARED, TWO_ZAPPERS, "previous_epoch_busy", 262_038),
    "around a batch that yields, which lets it go": (WHOLE._replace(**PAIR, resched=1), TWO_PAGES, "", 12_537),
    "a policy for write is in force inside": (TRACKED._replace(**ONE_TRY), ONE, "busy_given_up", 1_861),
    "and not outside": (BLOCKED._replace(**ONE_TRY), ONE, "", 1_741),
})  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "written", "read"),
    [
        (WHOLE, {"block", "track", "remove"}, set()),
        (SHARED, set(), {"block", "track", "remove"}),
        (TRACKED, {"track"}, {"block", "remove"}),
        (BOTH, {"block"}, {"track", "remove"}),
    ],
)
def test_what_becomes_of_busy_is_said_for_the_mode_in_which_it_is_held_at_that_step(
    rules: Rules, written: set[str], read: set[str]
):
    looked = reads(rules).fields

    assert {name.split("_")[0] for name in looked if name.endswith("_busy_write")} == written
    assert {name.split("_")[0] for name in looked if name.endswith("_busy_read")} == read


# Zaps under mmu_lock held for read: which of the proposed locks are enough, by what is done about BUSY.
SEPT, TRACKS, FAULTS, NO_ENTRY = "sept_lock", "track_lock", "fault_lock", "no_entry_lock"
ALL = {SEPT, TRACKS, FAULTS, NO_ENTRY}


def with_locks(
    locks: set[str], policy: Busy, flow: Flow = Flow.SHOOTDOWN, *, blocks: str = "", removes: str = "_read"
) -> Rules:
    """The specification's order without mmu_lock, and these locks; REMOVE holds its own for read, as proposed."""
    block, track, remove = "block", "track kick", "remove"
    if SEPT in locks:
        block = f"lock_sept_lock{blocks} block unlock_sept_lock"
        remove = f"lock_sept_lock{removes} remove unlock_sept_lock"
    if TRACKS in locks:
        track = "lock_track_lock track kick unlock_track_lock"
    return order(
        f"{block} {track} {remove}",
        flow=int(flow),
        **busy(policy),
        entry_wait_for_sept_zap=1,
        fault_lock=int(FAULTS in locks),
        no_entry_lock=int(NO_ENTRY in locks),
    )


RETRY = Busy.RETRY_WITHOUT_VCPUS


@pytest.mark.parametrize(
    ("rules", "shown"),
    [
        # Where BUSY is tried again the lock around TRACK and kick is enough.
        (with_locks({TRACKS}, Busy.SPIN), set()),
        (with_locks({SEPT, FAULTS}, Busy.SPIN), {"previous_epoch_busy"}),
        # Where one more try without vCPUs must do it takes each of them.
        *((with_locks(ALL - {one}, RETRY), {"busy_given_up"}) for one in (SEPT, TRACKS, FAULTS)),
        (with_locks(ALL - {NO_ENTRY}, RETRY, Flow.POPULATE), {"busy_given_up"}),
        *((with_locks(ALL, RETRY, flow), set()) for flow in (Flow.SHOOTDOWN, Flow.POPULATE)),
        # REMOVE may hold its lock for write as well, and BLOCK not for read.
        (with_locks(ALL, RETRY, removes=""), set()),
        (with_locks(ALL, RETRY, blocks="_read", removes=""), {"busy_given_up"}),
    ],
)
def test_what_comes_first_with_these_locks(rules: Rules, shown: set[str]):
    found = explore(*of_flow(rules), TWO_ZAPPERS, liveness=False, until=FORBIDDEN)

    assert {*found.outcomes, *found.broken} & {*FORBIDDEN} == shown
    assert shown or found.complete


@pytest.mark.parametrize(
    ("taken", "left", "done"),
    [
        ("lock_sept_lock", "block gate_lower unlock_sept_lock", "unlock_sept_lock gate_lower"),
        ("lock_sept_lock unlock_sept_lock lock_track_lock_read", "track unlock_track_lock", "unlock_track_lock"),
        ("lock_sept_lock_read lock_track_lock", "track gate_raise gate_lower", "unlock_sept_lock unlock_track_lock"),
        ("lock_sept_lock unlock_sept_lock", "lock_sept_lock remove unlock_sept_lock", ""),
        (
            "lock_mmu_lock lock_sept_lock", "remove unlock_sept_lock unlock_mmu_lock",
            "unlock_sept_lock unlock_mmu_lock",
        ),
    ],
)  # fmt: skip
def test_a_zapper_that_fails_gives_back_what_it_holds(taken: str, left: str, done: str):
    held = functools.reduce(held_behind, (Step[name.upper()] for name in taken.split()), 0)

    assert after_failure(packed(left), held) >> STEP_BITS == packed(done)


@pytest.mark.parametrize("lock", Lock)
def test_a_lock_that_is_taken_for_read_is_held_so_until_it_is_given_back(lock: Lock):
    write, read, back = range(FIRST_LOCK_STEP + 3 * lock, FIRST_LOCK_STEP + 3 * lock + 3)
    other = held_behind(0, FIRST_LOCK_STEP + 3 * ((lock + 1) % len(Lock)))

    assert how_held(held_behind(other, write), lock) == WRITE
    assert how_held(held_behind(other, read), lock) == READ
    assert held_behind(held_behind(other, read), back) == other


def told(rules: Rules, *, somebody_tracks: bool = False) -> list[Span]:
    """What a zapper alone does; where `somebody_tracks` the epoch is locked until the zapper has unblocked its page."""
    narrator = Narrator(*of_flow(rules), ONE)
    while narrator.run.site("zapper 0") is not None:
        if somebody_tracks:
            held = not any("UNBLOCK" in span.name for span in narrator.story().spans)
            narrator.run.words[narrator.run.lay.epoch_lock] = held
        narrator.step("zapper 0", 0)
    return list(narrator.story().spans)


# Locks that vCPUs take, interrupts on or off.
PLACE = int(Lock.PAGE_TABLE_LOCK)
TAKE, GIVE = "lock_page_table_lock", "unlock_page_table_lock"
AT_ENTRY, AT_FAULTS = {"entry_lock": PLACE + 1}, {"fault_lock": PLACE + 1}
SPIN, OFF = {"spin_locks": 1 << PLACE}, {"irq_locks": 1 << PLACE}
AT_PLAIN_ENTRY = {**PLAIN_EPT, **REQUESTS, **AT_ENTRY}
HELD = order(f"{TAKE} block kick remove {GIVE}", **AT_PLAIN_ENTRY)
LET_GO = order(f"{TAKE} block {GIVE} kick remove", **AT_PLAIN_ENTRY)
FAULTING = two_levels(order(f"{TAKE} block track kick remove {GIVE}", **AT_FAULTS, **SPIN), Flow.POPULATE)
INSIDE = order(f"gate_raise kick {TAKE} track {GIVE} gate_lower block remove", **GATED, **AT_ENTRY, **SPIN)
AROUND = order(f"{TAKE} gate_raise kick track gate_lower {GIVE} block remove", **GATED, **AT_ENTRY, **SPIN)
STUCK, EARLY = "no_progress", "tracking_not_done stale_after_done"  # a page that is blocked behind TRACK
test_somebody_waits_for_ever_where_he_answers_no_ipi_of_whoever_has_the_lock = shows({
    "spins with interrupts off": (HELD._replace(**SPIN, **OFF), ONE, STUCK, 1_620),
    "spins with interrupts off, two vCPUs": (HELD._replace(**SPIN, **OFF), TWO_VCPUS, STUCK, 47_174),
    "spins with interrupts off, two zappers": (HELD._replace(**SPIN, **OFF), TWO_ZAPPERS, STUCK, 71_048),
    "spins with interrupts on": (HELD._replace(**SPIN), ONE, "", 1_719),
    "spins with interrupts on, two vCPUs": (HELD._replace(**SPIN), TWO_VCPUS, "", 55_080),
    "spins with interrupts on, two zappers": (HELD._replace(**SPIN), TWO_ZAPPERS, "", 75_076),
    "let go before the kick": (LET_GO._replace(**SPIN, **OFF), ONE, "", 2_233),
    "reads with interrupts off": (HELD._replace(**OFF), ONE, STUCK, 1_793),
    "reads with interrupts on": (HELD, ONE, "", 1_838),
    "reads with interrupts on, two zappers": (HELD, TWO_ZAPPERS, "", 80_884),
    "let go by a reader": (LET_GO._replace(**OFF), ONE, "", 2_280),
    "a fault that spins with interrupts off": (FAULTING._replace(**OFF), Size(1, 1, 2), STUCK, 34_601),
    "a fault that spins with interrupts on": (FAULTING, Size(1, 1, 2), "", 34_927),
    "at a gate, shut by who wants the lock of who waits there": (INSIDE, ONE, f"{STUCK} {EARLY}", 2_442),
    "at a gate, shut by who has the lock": (AROUND, ONE, EARLY, 2_331),
}, liveness=1)  # fmt: skip


@pytest.mark.parametrize("kind", [SPIN, {}], ids=["spin", "rw"])
def test_a_witness_says_who_waits_for_whom(kind):
    rules = HELD._replace(**OFF, **kind)
    found = explore(*of_flow(rules), ONE)
    narrator = Narrator(*of_flow(rules), ONE)
    for move in found.outcomes["no_progress"]:
        narrator.step(move.actor, move.chosen)

    said = waits(narrator)
    assert any(line.startswith("vcpu 0 waits for zapper 0 at own_lock[page_table_lock] = exclusive") for line in said)
    assert "zapper 0 waits for vcpu 0 at ipi[vcpu 0] = zapper 0" in said


def test_a_lock_with_interrupts_off_is_a_barrier_as_that_which_is_lost():
    lost = {"faults": int(Fault.LOST_KICK)}

    assert reads(HELD._replace(**lost)).faults & Fault.LOST_KICK
    assert not reads(HELD._replace(**OFF, **lost)).faults & Fault.LOST_KICK


def test_locks_that_are_not_taken_cost_no_word():
    def words(rules: Rules) -> int:
        return Schedule(*of_flow(rules), ONE).lay.locks

    one = order("lock_sept_lock block unlock_sept_lock remove")
    assert [words(order("block remove")), words(one), words(HELD)] == [0, 1, 3]


# A BLOCK that is taken back.
BARE, BY_TRACK = {"undo": packed("unblock")}, {"undo": packed("track kick unblock")}
ONE_TRACK = "block lock_track_lock track kick unlock_track_lock remove"
TRACK_UP = order("block track kick remove", serialized=1, **busy(Busy.HAND_UP, "track"))
REMOVE_UP, BLOCK_UP = (order(ONE_TRACK, **busy(Busy.HAND_UP, seamcall)) for seamcall in ("remove", "block"))
UNMAP_UP = order("block kick remove", **REQUESTS, **PLAIN_EPT, **busy(Busy.HAND_UP, "remove"))
RANGE_UP = SPEC._replace(**PAIR, **PLAIN_EPT, **busy(Busy.HAND_UP, "block"), shootdowns=2)
test_without_a_module_a_block_is_taken_back_wherever_busy_is_handed_up = shows({
    "at TRACK": (TRACK_UP._replace(**PLAIN_EPT, **BARE), ONE, "", 2_316),
    "at REMOVE": (UNMAP_UP._replace(**BARE), TWO_ZAPPERS, "", 189_067),
    # Of a batch only those pages are taken back that have been blocked.
    "a batch that finds its pages blocked": (RANGE_UP, TWO_PAGES, "already_blocked", 20_535),
    "a batch": (RANGE_UP._replace(**BARE), TWO_PAGES, "", 24_213),
    # A BLOCK that is handed up itself has nothing to be taken back.
    "at BLOCK": (BLOCK_UP, TWO_ZAPPERS, "", 229_703),
    "at BLOCK, undone": (BLOCK_UP._replace(**BY_TRACK), TWO_ZAPPERS, "", 229_703),
})  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "size", "shown"),
    [
        (TRACK_UP, ONE, {"already_blocked"}),
        (REMOVE_UP, TWO_ZAPPERS, {"already_blocked"}),
        (UNMAP_UP, TWO_ZAPPERS, {"already_blocked"}),
        # Behind REMOVE it is tracked; behind TRACK the module refuses to take it back, unless that tracks itself.
        (REMOVE_UP._replace(**BARE), TWO_ZAPPERS, set()),
        (TRACK_UP._replace(**BARE), ONE, {"tracking_not_done"}),
        (TRACK_UP._replace(**BY_TRACK), ONE, set()),
    ],
)
def test_a_shootdown_that_begins_again_finds_its_page_blocked_unless_that_is_taken_back(rules, size, shown):
    """Each round is another epoch: there is no end of states, and some memory must do."""
    found = explore(*of_flow(rules), size, threads=1, liveness=False, until=FORBIDDEN, memory_bytes=64 << 20)

    assert {*found.outcomes, *found.broken} & {*FORBIDDEN} == shown
    assert shown or found.states > 200_000


@pytest.mark.parametrize("held", ["", "unlock_track_lock gate_lower "])
def test_locks_are_given_back_and_the_gate_is_lowered_before(held: str):
    left = packed(held) << STEP_BITS

    assert followed_by(left, BARE["undo"]) >> STEP_BITS == packed(held + "unblock")


@pytest.mark.parametrize(
    ("rules", "named", "said"),
    [
        (
            with_locks({SEPT, TRACKS}, Busy.SPIN), "_lock", [
                "takes sept_lock for write", "gives sept_lock back",
                "takes track_lock for write", "gives track_lock back",
                "takes sept_lock for read", "gives sept_lock back",
            ],
        ),
        (
            BOTH, "mmu_lock", [
                "takes mmu_lock for write", "gives mmu_lock back", "takes mmu_lock for read", "gives mmu_lock back",
            ],
        ),
    ],
    ids=["its own", "mmu_lock"],
)  # fmt: skip
def test_a_story_says_how_a_lock_is_taken(rules, named, said):
    assert [span.name for span in told(rules) if named in span.name][: len(said)] == said


def test_a_story_tells_how_a_block_is_taken_back_and_that_it_begins_again():
    spans = told(TRACK_UP._replace(**BARE, **PLAIN_EPT), somebody_tracks=True)

    assert [(span.name, span.status) for span in spans if span.name.startswith("TDH.MEM.")][:4] == [
        ("TDH.MEM.RANGE.BLOCK", "SUCCESS"),
        ("TDH.MEM.TRACK", "OPERAND_BUSY|TD_EPOCH"),
        ("TDH.MEM.RANGE.UNBLOCK", "SUCCESS"),
        ("TDH.MEM.RANGE.BLOCK", "SUCCESS"),
    ]
