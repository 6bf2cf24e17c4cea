"""Tracing: what goes into a ring and what does not, when rings freeze, and that off is not there at all."""

import functools
import re
from typing import Any

import numpy as np
import pytest

from kernels import layout
from kernels.language.atomics import compare_exchange_seq_cst, fetch_add_seq_cst, load_acquire, store_release
from kernels.language.compile import passed
from kernels.language.parse import subs
from kernels.language.resolve import Names
from kernels.language.syntax import Steps, sites
from kernels.layout import ENTRY_WORDS, FREEZE_ON, FROZEN, TRACED, Actor
from kernels.race import lines as race
from kernels.race.ring import LABEL, MOST_REPEATS, OPERAND, REPEAT_SHIFT, SITE_BITS, TICKS, VALUE, Mark
from kernels.race.straight import BARE, Variant, answers, straight, straight_source
from kernels.race.trace import KEPT, keep, keep_outcome
from kernels.tdx.bits import ONE_EPOCH
from kernels.tdx.guest import guest, read_anew
from kernels.tdx.kvm.kick import acknowledge
from kernels.tdx.kvm.vcpu_run import vcpu
from kernels.tdx.kvm.zapper import claim, zapper
from kernels.tdx.module.locks import unlock_exclusive
from kernels.tdx.module.mem import mem_track, vp_enter
from kernels.tdx.outcomes import Outcome
from kernels.tdx.protocol import SHOOTDOWN
from kernels.tdx.words import plan, vcpu_actor, zapper_actor
from kernels.tests.orders import SPEC

TRACING = Variant(traced=True)
RING = 4
KEEPING = tuple(f"{one.__name__}(" for one in (keep, *KEPT.values()))
SHIPPED = list({one.name: one for one in (*subs(vcpu), *subs(zapper))}.values())


class Alone:
    """A machine of one vCPU, one zapper and one page, with rings of so many entries."""

    def __init__(self, trace: int = RING) -> None:
        self.lay = plan(1, 1, 1, 1, trace=trace)
        self.words = np.zeros(self.lay.total_words, np.int64)
        SHOOTDOWN.prepare(self.words, self.lay, SPEC, 1)
        self.vcpu, self.zapper = vcpu_actor(self.lay, 0), zapper_actor(self.lay, 0)

    def run(self, function: Any, me: Actor) -> None:
        """A straight line as this actor."""
        function(*passed(self.words, self.lay, SPEC, me))

    def keep(self, label: int, value: int = 0, operand: int = 0) -> None:
        """One entry of the zapper."""
        keep(self.words, self.lay, SPEC, self.zapper, label, value, operand)

    def ring(self, place: int = 1) -> list[list[int]]:
        """The slots of a ring: the vCPU's is 0, the zapper's 1."""
        start = self.lay.trace + place * self.lay.trace_stride
        return self.words[start : start + self.lay.trace_entries * ENTRY_WORDS].reshape(-1, ENTRY_WORDS).tolist()

    def labels(self, place: int = 1) -> list[int]:
        return [slot[LABEL] for slot in self.ring(place)]


@pytest.fixture
def alone() -> Alone:
    return Alone()


@functools.cache
def traced(function: Steps) -> Any:
    return straight(SHOOTDOWN, function, TRACING)


def told(machine: Alone, place: int) -> list[tuple[str, str, int]]:
    """Each entry: the step's text or the mark, the word's name, the value."""
    found = []
    for _, label, value, _ in (slot for slot in machine.ring(place) if slot[LABEL]):
        site, word = label & ((1 << SITE_BITS) - 1), label >> SITE_BITS
        if site <= len(sites()):
            found.append((sites()[site - 1].text.split()[0], layout.name_of(machine.lay, word), value))
        else:
            named = layout.name_of(machine.lay, word) if site == Mark.OWN else str(word)
            found.append((Mark(site).name, named, value))
    return found


@pytest.mark.parametrize("function", SHIPPED, ids=lambda one: one.name)
def test_a_bare_line_is_a_traced_line_without_what_tracing_adds(function):
    bare = straight_source(SHOOTDOWN, function, Names(), BARE)
    lines = straight_source(SHOOTDOWN, function, Names(), TRACING).splitlines()
    kept = [
        re.sub(r"(?<=\s)_seen = ", "", line) for line in lines if not line.strip().startswith((*KEEPING, "_operand ="))
    ]

    assert kept == bare.splitlines()


def test_a_bare_line_is_as_it_is_written_here():
    """The whole text of one, so that nothing is built in without a test that says so."""
    numbers = {site.name: site.number for site in sites()}

    assert (
        straight_source(SHOOTDOWN, acknowledge, Names(), BARE)
        == f"""\
def acknowledge(td, lay, rules, me):
    _lay_ipi = lay.ipi
    _lay_vcpu_stride = lay.vcpu_stride
    _word = _lay_ipi + me.index * _lay_vcpu_stride
    set_own(td, me.tally + LABEL, _word << 12 | {numbers["acknowledge.load_acquire_ipi"]})
    _t1 = load_acquire(td, _word)
    if _t1 != 0:
        _word = _lay_ipi + me.index * _lay_vcpu_stride
        set_own(td, me.tally + LABEL, _word << 12 | {numbers["acknowledge.exchange_seq_cst_ipi"]})
        exchange_seq_cst(td, _word, 0)
    return 0"""
    )


def test_a_traced_track_keeps_each_step_with_what_it_read_or_wrote(alone):
    alone.run(traced(mem_track), alone.zapper)

    assert told(alone, 1) == [
        ("try_lock_exclusive", "epoch_lock", 1),
        ("load_acquire", "epoch_tracking", ONE_EPOCH),
        ("fetch_add_seq_cst", "epoch_tracking", ONE_EPOCH),
        ("unlock_exclusive", "epoch_lock", 0),
    ]
    assert alone.ring()[2][OPERAND] == ONE_EPOCH


def test_a_traced_entry_keeps_the_epoch_that_the_vcpu_adopts_and_its_flush():
    alone = Alone(trace=8)

    alone.run(traced(vp_enter), alone.vcpu)

    assert told(alone, 0)[-2:] == [("FLUSHED", "0", 0), ("OWN", "vcpu_epoch[vcpu 0]", 1)]


def test_a_traced_line_leaves_the_state_as_a_bare_one_does(alone):
    bare = Alone()

    alone.run(traced(vp_enter), alone.vcpu)
    bare.run(straight(SHOOTDOWN, vp_enter), bare.vcpu)

    assert alone.words[: alone.lay.state_words].tolist() == bare.words[: bare.lay.state_words].tolist()


def test_what_tracing_keeps_beside_steps_stands_before_the_call_it_tells_of():
    """With the same arguments: a call changes what they are computed from."""
    lines = [line.strip() for line in straight_source(SHOOTDOWN, vcpu, Names(), TRACING).splitlines()]

    called = "(td, me, 4, _enter_guest_status)"
    assert lines[lines.index(f"count_status{called}") - 1] == "keep_status(td, lay, rules, me, 4, _enter_guest_status)"


def test_the_guest_keeps_a_fill_and_a_fault_and_no_fresh_read():
    lines = [
        line for one in (guest, read_anew) for line in straight_source(SHOOTDOWN, one, Names(), TRACING).splitlines()
    ]
    kept = [line.split("(")[0].strip() for line in lines if "keep" in line]

    assert kept == ["keep_outcome", "keep_own"]


# By what is shown: the entries, the labels that the ring of four holds with how often each was repeated, and how many
# entries were made.
SHOWN = {
    "the last entries": ([(label,) for label in range(1, 12)], [(9, 0), (10, 0), (11, 0), (8, 0)], 11),
    "a step taken again with the same result counts in its entry": (
        [(1, 8), (1, 7), (1, 7), (1, 7)], [(1, 0), (1, 2), (0, 0), (0, 0)], 2,
    ),
    "a loop of three steps counts its turns in the entries of the first": (
        [(1,), (2,), (3,)] * 5, [(1, 4), (2, 4), (3, 4), (0, 0)], 3,
    ),
    "a loop of four steps has an entry for each": (
        [(1,), (2,), (3,), (4,)] * 2, [(1, 0), (2, 0), (3, 0), (4, 0)], 8,
    ),
    **{
        f"a step that differs in anything has an entry of its own: {changed}": (
            [(1, 7, 9), changed], [(1, 0), (changed[0], 0), (0, 0), (0, 0)], 2,
        )
        for changed in ((2, 7, 9), (1, 8, 9), (1, 7, 8))
    },
}  # fmt: skip


@pytest.mark.parametrize(("made", "held", "traced"), SHOWN.values(), ids=SHOWN)
def test_a_ring_keeps(alone, made, held, traced):
    for entry in made:
        alone.keep(*entry)

    labels = [(label & ((1 << REPEAT_SHIFT) - 1), label >> REPEAT_SHIFT) for label in alone.labels()]
    assert (labels, alone.words[alone.zapper.tally + TRACED]) == (held, traced)


def test_entries_stand_in_the_order_of_time_with_their_values(alone):
    for label in (1, 2, 3, 4):
        alone.keep(label, 10 * label)

    ticks = [slot[TICKS] for slot in alone.ring()]
    assert 0 < ticks[0] <= ticks[1] <= ticks[2] <= ticks[3]
    assert [slot[VALUE] for slot in alone.ring()] == [10, 20, 30, 40]


def test_repeats_are_counted_as_far_as_there_is_room(alone):
    alone.keep(1)
    alone.words[alone.lay.trace + alone.lay.trace_stride + LABEL] |= MOST_REPEATS << REPEAT_SHIFT
    alone.keep(1)

    assert alone.labels()[0] == MOST_REPEATS << REPEAT_SHIFT | 1


def test_frozen_rings_keep_nothing(alone):
    alone.keep(1)
    alone.words[alone.lay.control + FROZEN] = 1
    alone.keep(2)

    assert alone.labels() == [1, 0, 0, 0]


def test_an_outcome_of_the_mask_is_the_last_entry_before_rings_freeze(alone):
    alone.words[alone.lay.control + FREEZE_ON] = 1 << Outcome.tracking_not_done
    for outcome in (Outcome.operand_busy, Outcome.tracking_not_done, Outcome.use_after_remove):
        keep_outcome(alone.words, alone.lay, SPEC, alone.zapper, 0, outcome)

    assert alone.words[alone.lay.control + FROZEN] == 1
    assert told(alone, 1) == [
        ("OUTCOME", str(Outcome.operand_busy.value), 0),
        ("OUTCOME", str(Outcome.tracking_not_done.value), 0),
    ]


def test_a_freeze_is_seen_by_every_actor(alone):
    alone.words[alone.lay.control + FREEZE_ON] = 1 << Outcome.use_after_remove
    keep_outcome(alone.words, alone.lay, SPEC, alone.vcpu, 0, Outcome.use_after_remove)
    alone.keep(1)

    assert alone.labels() == [0, 0, 0, 0]


def test_traced_kernels_refuse_a_layout_without_rings():
    """They would write outside of it."""
    lay = plan(1, 1, 1, 1)
    words = np.zeros(lay.total_words, np.int64)

    with pytest.raises(ValueError, match="traced kernels need rings"):
        race.load_one(SHOOTDOWN, "zapper", TRACING)(words, lay, SPEC, zapper_actor(lay, 0))


def test_a_step_answers_where_its_access_returns_a_value():
    functions = load_acquire, fetch_add_seq_cst, compare_exchange_seq_cst, claim, store_release, unlock_exclusive

    assert [answers(function) for function in functions] == [True, True, True, True, False, False]


def test_a_perturbed_and_traced_line_looks_for_its_cpu_before_the_step_and_keeps_it_behind():
    lines = straight_source(SHOOTDOWN, acknowledge, Names(), Variant(perturbed=True, traced=True)).splitlines()
    first = next(number for number, line in enumerate(lines) if "load_acquire" in line)

    assert lines[first - 1].strip().startswith("perturb(td, _lay_perturb, ")
    assert lines[first + 1].strip().startswith("keep(td, lay, rules, me, _word << 12")
