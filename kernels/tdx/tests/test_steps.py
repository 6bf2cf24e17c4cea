"""Steps of an ordering beside BLOCK, TRACK, kick and REMOVE, and flushes that are not the module's: UNBLOCK, WBINVD, a
kick in its parts, a dirty log's protection, and a host without the module. What each order shows that is in no file.
"""

import pytest

from kernels.search.schedule import Schedule
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import Fault, Flow, FlushAt, Module, OnError, SeptFree, SharedFlush
from kernels.tests.driver import enter, finish, seen, start
from kernels.tests.orders import (
    GATED,
    NO_KICK,
    PAIR,
    PLAIN_EPT,
    REQUESTS,
    SHARED,
    SPEC,
    TRACK_THEN_BLOCK,
    UNSERIALIZED,
    V18,
    order,
    two_levels,
)
from kernels.tests.witnesses import HARMLESS, ONE, shows

TWO_VCPUS, TWO_ZAPPERS, TWO_PAGES = Size(2, 1), Size(1, 2, 2), Size(1, 1, 2, 2)
BY_TRACK = {"shared_flush": int(SharedFlush.TRACK)}
UNTRACKED, STALE = "tracking_not_done stale_after_done", "stale_after_done use_after_remove"

# UNBLOCK: the page is mapped again as it was, at the end or on the way.
UNDONE = order("block track kick unblock", serialized=1)
AT_ONCE = order("block unblock", serialized=1)
TWICE = order("block track kick unblock block track kick remove", serialized=1)
test_a_page_may_be_mapped_again_behind_a_block_that_is_tracked = shows({
    "one vCPU": (UNDONE, ONE, "", 1_339),
    "two vCPUs": (UNDONE, TWO_VCPUS, "", 57_049),
    "two zappers": (UNDONE, TWO_ZAPPERS, "", 33_906),
    "not tracked, which the module refuses": (AT_ONCE, ONE, "tracking_not_done", 766),
    "behind no flush at all without a module": (AT_ONCE._replace(**PLAIN_EPT), ONE, "", 830),
    "a page that is blocked again, and goes": (TWICE, ONE, "", 3_527),
    "each page of a batch": (UNDONE._replace(**PAIR), TWO_PAGES, "", 4_063),
    "a shared page by its SPTE, which TRACK flushes": (UNDONE._replace(**SHARED, **BY_TRACK), ONE, "", 783),
    "a shared page by its SPTE, which a request flushes": (UNDONE._replace(**SHARED, **REQUESTS), ONE, "", 861),
    "the mirror as well, serialized": (two_levels(UNDONE, Flow.POPULATE), TWO_VCPUS, "", 211_134),
    "the mirror as well": (two_levels(UNDONE._replace(serialized=0), Flow.POPULATE), TWO_VCPUS, "", 233_152),
})  # fmt: skip

# A flush that the handler of a request leaves to the next entry, which can fail.
UNMAP_AND_KICK = order("block kick remove", serialized=1, **REQUESTS)
DEFERRED = UNMAP_AND_KICK._replace(flush_at=int(FlushAt.ENTRY))
LOST = {"faults": int(Fault.DEFERRED_FLUSH_LOST)}
test_a_flush_that_is_left_to_the_entry_is_enough_where_a_failed_one_leaves_it_to_the_next = shows({
    "at once": (UNMAP_AND_KICK._replace(**PLAIN_EPT), ONE, "", 2_072),
    "left to the entry": (DEFERRED._replace(**PLAIN_EPT), ONE, "", 2_584),
    "of two vCPUs": (DEFERRED._replace(**PLAIN_EPT), TWO_VCPUS, "", 164_007),
    "of two zappers": (DEFERRED._replace(**PLAIN_EPT), Size(1, 2), "", 9_821),
    "of a shared page": (DEFERRED._replace(**SHARED), ONE, "", 1_219),
    "of a shared page and two vCPUs": (DEFERRED._replace(**SHARED), TWO_VCPUS, "", 122_967),
    "of a shared page and two zappers": (DEFERRED._replace(**SHARED), Size(1, 2), "", 4_125),
    "lost with an entry that fails": (DEFERRED._replace(**PLAIN_EPT, **LOST), ONE, STALE, 2_979),
    "of a shared page, lost": (DEFERRED._replace(**SHARED, **LOST), ONE, STALE, 1_390),
    "lost behind a TRACK, as a new epoch flushes too": (
        order("block track kick remove", serialized=1, **REQUESTS, **PLAIN_EPT, **LOST, flush_at=int(FlushAt.ENTRY)),
        ONE, "", 3_587,
    ),
})  # fmt: skip

# Plain EPT: where nobody refuses a TRACK or a REMOVE. Every order there is in test_known_orders_elsewhere.
BELOW = Size(1, 1, 1, 2)
test_the_module_refuses_what_is_a_stale_read_or_nothing_without_it = shows({
    # A vCPU reads between the kick and BLOCK: the module counts it in and refuses REMOVE; nobody else would.
    "read before BLOCK": (TRACK_THEN_BLOCK, ONE, UNTRACKED, 1_525),
    "read before BLOCK, two vCPUs": (TRACK_THEN_BLOCK, TWO_VCPUS, UNTRACKED, 89_238),
    "read before BLOCK, two zappers": (TRACK_THEN_BLOCK, TWO_ZAPPERS, UNTRACKED, 28_632),
    "read before BLOCK, without it": (TRACK_THEN_BLOCK._replace(**PLAIN_EPT), ONE, STALE, 2_338),
    "read before BLOCK, two vCPUs without it": (TRACK_THEN_BLOCK._replace(**PLAIN_EPT), TWO_VCPUS, STALE, 112_971),
    "read before BLOCK, two zappers without it": (TRACK_THEN_BLOCK._replace(**PLAIN_EPT), TWO_ZAPPERS, STALE, 130_537),
    # Two zappers, each of which waits for every vCPU after its own TRACK; the module refuses the second TRACK.
    "tracks that overtake each other": (UNSERIALIZED._replace(**PLAIN_EPT), TWO_ZAPPERS, "", 227_269),
})  # fmt: skip
test_page_table_pages_of_a_plain_ept_go_by_a_right_order_and_by_a_wrong_one_beneath_a_walk = shows({
    name: (two_levels(rules, Flow.SEPT_PAGES, **PLAIN_EPT), BELOW, harm, states)
    for name, rules, harm, states in (
        ("spec", SPEC, "", 5_766),
        ("v18", V18, "", 10_178),
        ("unmap and kick", UNMAP_AND_KICK, "", 5_354),
        ("no kick", NO_KICK, f"{STALE} sept_use_after_free", 6_705),
        ("no wait", UNMAP_AND_KICK._replace(wait=0), f"{STALE} sept_use_after_free", 11_631),
    )
}, liveness=1)  # fmt: skip

# A dirty log that write-protects pages: a write that nobody hears of.
WRITES = {"flow": int(Flow.WRITES)}
LOG = {**WRITES, **PLAIN_EPT, "entry_requests": 1}
AGING, ELIDES = {"aging": 1}, {"elide_flush": 1}
DIRTY_LOG = order("protect flush", serialized=1, shootdowns=2, **LOG)
UNFLUSHED, UNAWAITED = (order(steps, serialized=1, wait=0, request=1, **LOG) for steps in ("protect", "protect kick"))
BESIDE_PRIVATE = {**SHARED, "flow": int(Flow.WRITES | Flow.SHARED_EPT), "module": int(Module.TDX)}
test_what_a_cpu_writes_through_its_tlb_is_lost_but_for_a_flush_that_is_awaited = shows({
    "protected and flushed": (DIRTY_LOG, ONE, "", 5_277),
    "without a flush": (UNFLUSHED, ONE, "write_lost", 677),
    "a flush that nobody waits for": (UNAWAITED, ONE, "write_lost", 3_001),
    # It may be left out where nothing was writable and nobody ages pages without one.
    "left out": (DIRTY_LOG._replace(**ELIDES), ONE, "", 5_168),
    "left out, aged": (DIRTY_LOG._replace(**ELIDES, **AGING), ONE, "write_lost", 6_631),
    "aged": (DIRTY_LOG._replace(**AGING), ONE, "", 7_207),
    "left out, another ages": (DIRTY_LOG._replace(**ELIDES, **AGING, shootdowns=1), Size(1, 2), "write_lost", 16_922),
    "another ages": (DIRTY_LOG._replace(**AGING, shootdowns=1), Size(1, 2), "", 16_877),
    # A guest that writes meets what one that reads does.
    "a page that goes": (order("block kick remove", serialized=1, **{**LOG, **REQUESTS}), ONE, "", 2_764),
    "a page that goes first": (order("block remove kick", serialized=1, **{**LOG, **REQUESTS}), ONE, STALE, 2_690),
    # Private pages of a TD are not protected, and shared ones are.
    "a shared page, aged": (DIRTY_LOG._replace(**BESIDE_PRIVATE, **AGING), ONE, "", 7_207),
    "a shared page, left out": (DIRTY_LOG._replace(**BESIDE_PRIVATE, **AGING, **ELIDES), ONE, "write_lost", 6_631),
    "a shared page without a flush": (UNFLUSHED._replace(**BESIDE_PRIVATE), ONE, "write_lost", 677),
}, liveness=1)  # fmt: skip

# TDH.PHYMEM.PAGE.WBINVD: what caches hold of a private page that goes, and was written to.
REFUSED, LATE = "metadata_incorrect", "written_back_late"
AND_LATE = f"{UNTRACKED} {LATE}"
ASKS_NOT, FREES = {"faults": int(Fault.WBINVD_IGNORES_OWNER)}, {"on_error": int(OnError.FREE_PAGE)}
LIVE = {"sept_free": int(SeptFree.LIVE)}
BEHIND_REMOVE = order("block track kick remove wbinvd", serialized=1)
BEHIND_KICK = order("block track kick wbinvd remove", serialized=1)
BEFORE_KICK = order("block track wbinvd kick remove", serialized=1)
IN_GATE = order("block gate_raise kick wbinvd track gate_lower remove", **GATED)
UNGATED = order("block kick track remove wbinvd", serialized=1, **REQUESTS, **FREES)
test_lines_are_written_back_in_time_behind_remove_and_the_module_refuses_it_before = shows({
    "behind remove": (BEHIND_REMOVE._replace(**WRITES), ONE, "", 3_381),
    "behind remove, another turn": (BEHIND_REMOVE._replace(**WRITES, shootdowns=2), ONE, "", 8_677),
    "behind remove, another vCPU": (BEHIND_REMOVE._replace(**WRITES), TWO_VCPUS, "", 222_519),
    "behind remove, another zapper": (BEHIND_REMOVE._replace(**WRITES), Size(1, 2), "", 12_009),
    "before kick": (BEFORE_KICK, ONE, REFUSED, 705),
    "before kick, written": (BEFORE_KICK._replace(**WRITES), ONE, REFUSED, 1_383),
    "behind kick": (BEHIND_KICK, ONE, REFUSED, 908),
    "behind kick, written": (BEHIND_KICK._replace(**WRITES), ONE, REFUSED, 1_841),
    # A host that goes on gives a page away whose lines are dirty, and needs no other shootdown.
    "behind kick, written, goes on": (BEHIND_KICK._replace(**WRITES, **FREES), ONE, f"{REFUSED} {LATE}", 3_995),
    "behind kick, goes on": (BEHIND_KICK._replace(**FREES), ONE, REFUSED, 1_808),
    "behind a REMOVE that was refused": (UNGATED, ONE, f"tracking_not_done {REFUSED} {STALE}", 6_444),
    "an order that says nothing of caches is not judged": (SPEC._replace(**WRITES), ONE, "", 2_345),
    # Pages without a key of their own have no such lines.
    "plain EPT": (BEFORE_KICK._replace(**WRITES, **PLAIN_EPT, **REQUESTS), ONE, "", 3_645),
    "a shared page": (BEFORE_KICK._replace(**SHARED, **REQUESTS)._replace(flow=BESIDE_PRIVATE["flow"]), ONE, "", 1_302),
    "each page of a batch": (BEHIND_REMOVE._replace(**PAIR), TWO_PAGES, "", 5_677),
    "each page of a batch, and none at a yield": (BEHIND_REMOVE._replace(**PAIR, resched=1), TWO_PAGES, "", 12_761),
    "a page-table page": (two_levels(BEHIND_REMOVE, Flow.SEPT_PAGES, **LIVE), ONE, "", 5_919),
    "a page-table page before": (
        two_levels(BEHIND_KICK, Flow.SEPT_PAGES, **LIVE), ONE, f"{REFUSED} entry_state_incorrect", 2_740,
    ),
})  # fmt: skip
# There a guest writes again until every vCPU is out and comes in without translations.
test_where_the_module_does_not_ask_a_guest_writes_again_behind_what_came_too_early = shows({
    f"{name}, {size}": (rules._replace(**WRITES, **ASKS_NOT), size, harm, states)
    for name, rules, size, harm, states in (
        ("before block", order("wbinvd block track kick remove", serialized=1), ONE, LATE, 3_964),
        ("before kick", BEFORE_KICK, ONE, LATE, 4_038),
        ("before v18's kick", order("block gate_raise wbinvd kick track gate_lower remove", **GATED), ONE, LATE, 4_655),
        ("without a gate", order("block kick wbinvd track remove", serialized=1, **REQUESTS), ONE, AND_LATE, 6_536),
        ("behind a kick that nobody waits for", BEHIND_KICK._replace(wait=0), ONE, AND_LATE, 8_357),
        ("behind kick", BEHIND_KICK, ONE, "", 3_146),
        ("behind kick", BEHIND_KICK, TWO_VCPUS, "", 214_734),
        ("in v18's gate", IN_GATE, ONE, "", 3_464),
        ("in v18's gate", IN_GATE, TWO_VCPUS, "", 172_851),
    )
})  # fmt: skip


def turn(run: Schedule, *, writes: int) -> None:
    """One access of a guest, which stands before its look at the clock and comes back there."""
    run.step("vcpu 0", 1)
    run.until("vcpu 0", "guest.reads_before_tick", {"read_or_write.reads_or_writes": writes})


@pytest.mark.parametrize(
    ("before", "behind", "shown"),
    [(0, 0, set()), (1, 0, set()), (0, 1, {LATE}), (1, 1, {LATE})],
    ids=["read alone", "written before", "written behind", "written before and behind"],
)
def test_what_counts_is_a_write_behind_the_write_back(before, behind, shown):
    run = start(BEFORE_KICK._replace(**WRITES, **ASKS_NOT))
    enter(run)
    turn(run, writes=before)
    run.until("zapper 0", "kick.next_vcpu")
    turn(run, writes=behind)
    finish(run, "zapper 0", "vcpu 0")

    assert seen(run) - HARMLESS == shown


def test_a_machine_that_is_not_judged_has_no_word_for_dirty_lines():
    strides = [
        Schedule(*of_flow(rules._replace(**WRITES)), ONE).lay.page_stride
        for rules in (SPEC, BEHIND_REMOVE._replace(**PLAIN_EPT), BEHIND_REMOVE)
    ]

    assert strides[0] == strides[1] == strides[2] - 1
