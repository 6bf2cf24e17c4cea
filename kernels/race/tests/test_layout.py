"""Where words stand: apart where different actors write, together where that is meant, and named."""

import itertools
import re

import pytest

from kernels.layout import (
    CONTROL_WORDS,
    GO,
    HIST_WORDS,
    LINE_WORDS,
    MAX_SITES,
    OUTCOME_COUNTS,
    PERTURB_FIELDS,
    READY,
    STOP_ENDING,
    STOP_ENDLESS,
    Layout,
    name_of,
)
from kernels.tdx.counters import (
    AGE_BUCKETS,
    AGES,
    HEAD_WORDS,
    KICKS_MET,
    MET_BEFORE,
    OUTCOME_MET,
    OUTCOME_SHOOTDOWNS,
    SHOOTDOWNS_MET,
    STATUS_COUNTS,
    STATUSES,
    VCPU_HISTS,
    ZAPPER_HISTS,
)
from kernels.tdx.outcomes import OUTCOMES
from kernels.tdx.rules import Flow
from kernels.tdx.statuses import Leaf
from kernels.tdx.words import plan, vcpu_actor, zapper_actor

SIZES = [
    plan(1, 1, 1, 1),
    plan(3, 2, 5, 4),
    plan(512, 62, 3, 64),
    plan(2, 2, 2, 2, packed=True, vcpu_registers=3, zapper_registers=7),
    plan(64, 4, 64, 64, packed=True),
    plan(3, 2, 5, 4, trace=8),
]
SINGLE = ("epoch_tracking", "epoch_lock", "tree_lock", "mmu_lock", "gate", "wait_for_sept_zap", "vm_bugged")
OF_A_PAGE = ("sept", "owner", "bepoch", "mirror")
OF_A_VCPU = ("mode", "requests", "ipi", "vcpu_epoch", "vcpu_pc")
OF_A_ZAPPER = ("stage", "zapper_pc")


def state(lay: Layout, registers: tuple[int, int] = (0, 0)) -> list[tuple[str, int, int]]:
    """Every word or table of the state: what it is, its first word, how many."""
    page, vcpu, zapper = lay.page_stride, lay.vcpu_stride, lay.zapper_stride
    found = [(name, getattr(lay, name), 1) for name in SINGLE]
    for index in range(lay.pages):
        found += [(f"{name} {index}", getattr(lay, name) + index * page, 1) for name in OF_A_PAGE]
    for index in range(lay.vcpus):
        found += [(f"{name} {index}", getattr(lay, name) + index * vcpu, 1) for name in OF_A_VCPU]
        found.append((f"tlb {index}", lay.tlb + index * vcpu, lay.tlb_entries))
        found.append((f"vcpu_register {index}", lay.vcpu_register + index * vcpu, registers[0]))
    for index in range(lay.zappers):
        found += [(f"{name} {index}", getattr(lay, name) + index * zapper, 1) for name in OF_A_ZAPPER]
        found.append((f"awaiting {index}", lay.awaiting + index * zapper, lay.vcpus))
        found.append((f"zapper_register {index}", lay.zapper_register + index * zapper, registers[1]))
    return found


def whole(lay: Layout, registers: tuple[int, int] = (0, 0)) -> list[tuple[str, int, int]]:
    """The state and the tally."""
    tables = [
        ("control", lay.control, CONTROL_WORDS),
        ("page_flags", lay.page_flags, lay.pages),
        ("page_blocked_at", lay.page_blocked_at, lay.pages),
        ("threads", lay.threads, lay.vcpus),
        ("perturb", lay.perturb, PERTURB_FIELDS * MAX_SITES),
    ]
    heads = [(f"vcpu tally {i}", vcpu_actor(lay, i).tally, HEAD_WORDS + 2 * HIST_WORDS) for i in range(lay.vcpus)]
    heads += [
        (f"zapper tally {i}", zapper_actor(lay, i).tally, HEAD_WORDS + 11 * HIST_WORDS) for i in range(lay.zappers)
    ]
    rings = [
        (f"ring {i}", lay.trace + i * lay.trace_stride, 4 * lay.trace_entries) for i in range(lay.vcpus + lay.zappers)
    ]
    return [*state(lay, registers), *tables, *heads, *rings]


def registers_of(lay: Layout) -> tuple[int, int]:
    return (3, 7) if lay is SIZES[3] else (0, 0)


@pytest.mark.parametrize("lay", SIZES, ids=lambda lay: f"{lay.vcpus}-{lay.zappers}-{lay.pages}-{lay.tlb_entries}")
def test_no_two_words_stand_in_one_place_and_each_within_the_array_the_state_before_the_tally(lay):
    placed = sorted((start, count, name) for name, start, count in whole(lay, registers_of(lay)) if count)

    for (start, count, name), (following, _, other) in itertools.pairwise(placed):
        assert start + count <= following, f"{name} reaches into {other}"
    of_state = {name for name, _, _ in state(lay, registers_of(lay))}
    for name, start, count in whole(lay, registers_of(lay)):
        assert start >= 0
        assert start + count <= (lay.state_words if name in of_state else lay.total_words)
        assert name in of_state or start >= lay.state_words


@pytest.mark.parametrize("lay", SIZES[3:5], ids=["registers", "none"])
def test_a_packed_state_has_no_holes(lay):
    assert sum(count for _, _, count in state(lay, registers_of(lay))) == lay.state_words


def on_one_line(lay: Layout) -> set[frozenset[str]]:
    """The groups of words of the state that share a line of 128 bytes."""
    lines: dict[int, set[str]] = {}
    for name, start, count in state(lay):
        for line in range(start // LINE_WORDS, (start + max(count, 1) - 1) // LINE_WORDS + 1 if count else 0):
            lines.setdefault(line, set()).add(name)
    return {frozenset(names) for names in lines.values() if len(names) > 1}


def test_words_share_a_line_only_where_one_actor_goes_on_from_one_to_the_next():
    lay = plan(2, 2, 2, 64)

    assert on_one_line(lay) == {
        frozenset({"epoch_tracking", "epoch_lock"}),
        frozenset({"sept 0", "bepoch 0"}),
        frozenset({"sept 1", "bepoch 1"}),
    }


def test_tallies_and_the_words_that_start_and_stop_a_run_stand_on_lines_of_their_own():
    lay = plan(3, 3, 1, 1)
    starts = [vcpu_actor(lay, i).tally for i in range(3)] + [zapper_actor(lay, i).tally for i in range(3)]
    starts += [lay.control + offset for offset in (GO, STOP_ENDING, STOP_ENDLESS, READY)]

    assert all(start % LINE_WORDS == 0 for start in starts)
    assert len(set(starts)) == len(starts)


def test_the_head_of_a_tally_holds_every_counter():
    assert OUTCOME_SHOOTDOWNS == OUTCOME_COUNTS + OUTCOMES
    assert OUTCOME_SHOOTDOWNS + OUTCOMES == OUTCOME_MET
    assert OUTCOME_MET + OUTCOMES == SHOOTDOWNS_MET
    assert (SHOOTDOWNS_MET + 1, SHOOTDOWNS_MET + 2, SHOOTDOWNS_MET + 3) == (KICKS_MET, MET_BEFORE, AGES)
    assert AGES + AGE_BUCKETS == STATUS_COUNTS
    assert STATUS_COUNTS + len(Leaf) * STATUSES <= HEAD_WORDS
    assert (len(VCPU_HISTS), len(ZAPPER_HISTS)) == (2, 11)


def test_an_actor_knows_its_place_among_its_kind():
    lay = plan(2, 2, 1, 1, packed=True, vcpu_registers=3, zapper_registers=7)

    assert vcpu_actor(lay, 1) == (
        1,
        lay.vcpu_tally + lay.vcpu_tally_stride,
        lay.vcpu_pc + lay.vcpu_stride,
        lay.vcpu_register + lay.vcpu_stride,
    )
    assert zapper_actor(lay, 0) == (0, lay.zapper_tally, lay.zapper_pc, lay.zapper_register)


@pytest.mark.parametrize("lay", SIZES, ids=lambda lay: f"{lay.vcpus}-{lay.zappers}-{lay.pages}-{lay.tlb_entries}")
def test_a_name_is_that_of_the_word_that_stands_there(lay):
    kinds = {
        **dict.fromkeys(OF_A_PAGE, "page"),
        **dict.fromkeys(OF_A_VCPU, "vcpu"),
        **dict.fromkeys(OF_A_ZAPPER, "zapper"),
    }
    kinds |= {"tlb": "vcpu", "awaiting": "zapper", "vcpu_register": "vcpu", "zapper_register": "zapper"}

    for name, start, count in state(lay, registers_of(lay)):
        field, _, index = name.partition(" ")
        for offset in range(count):
            many = f"[{offset}]" if field in ("tlb", "awaiting", "vcpu_register", "zapper_register") else ""
            expected = f"{field}[{kinds[field]} {index}]{many}" if index else field
            assert name_of(lay, start + offset) == expected


def test_a_word_of_the_tally_has_only_a_number():
    lay = plan(1, 1, 1, 1)

    assert name_of(lay, lay.control) == f"word {lay.control}"


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ((0, 1, 1, 1), "vcpus: expected 1 to 512, found 0"),
        ((513, 1, 1, 1), "vcpus: expected 1 to 512, found 513"),
        ((1, 0, 1, 1), "zappers: expected 1 to 62, found 0"),
        ((1, 63, 1, 1), "zappers: expected 1 to 62, found 63"),
        ((1, 1, 0, 1), "pages: expected 1 to 65536, found 0"),
        ((1, 1, 65537, 1), "pages: expected 1 to 65536, found 65537"),
        ((1, 1, 1, 0), "tlb_entries: expected 1 to 4096, found 0"),
        ((1, 1, 1, 8192), "tlb_entries: expected 1 to 4096, found 8192"),
        ((1, 1, 1, 3), "tlb_entries: expected a power of two, found 3"),
        ((-1, 1, 1, 1), "vcpus: expected 1 to 512, found -1"),
    ],
)
def test_a_size_out_of_range_says_what_was_expected(sizes, said):
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        plan(*sizes)


@pytest.mark.parametrize("trace", [3, -2, 1 << 17])
def test_rings_of_another_size_say_what_was_expected(trace):
    with pytest.raises(ValueError, match=f"^trace: expected 0 or a power of two up to 65536, found {trace}$"):
        plan(1, 1, 1, 1, trace=trace)


def test_rings_take_no_room_where_none_are_asked_for():
    without, rings = plan(3, 2, 5, 4), plan(3, 2, 5, 4, trace=8)

    assert rings.total_words == without.total_words + 5 * 8 * 4
    assert rings._replace(total_words=0, trace_stride=0, trace_entries=0) == without._replace(total_words=0)


def test_the_largest_machine_fits():
    lay = plan(512, 62, 65536, 4096)

    assert lay.total_words * 8 < 1 << 30


@pytest.mark.parametrize(
    ("flow", "of_vcpu"),
    [
        (Flow.MMIO, ["srcu"]),
        (Flow.TEARDOWN, ["assoc_lpid", "vcpu_mutex", "flush_ipi"]),
        (Flow.BUILD, ["assoc_lpid", "vcpu_mutex"]),
    ],
)
def test_a_word_that_few_flows_have_is_named_where_it_is_and_nowhere_else(flow, of_vcpu):
    lay = plan(2, 1, 1, 1, flow=flow, packed=True)

    names = {name_of(lay, word).partition("[")[0] for word in range(lay.state_words)}
    assert {*of_vcpu} == names & {"srcu", "assoc_lpid", "flush_ipi", "vcpu_mutex"}
    assert [name_of(lay, getattr(lay, name) + lay.vcpu_stride) for name in of_vcpu] == [f"{n}[vcpu 1]" for n in of_vcpu]
