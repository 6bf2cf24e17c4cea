"""Three translations of one source against one another, step by step: drawn programs, and every function that ships."""

import ast
import inspect
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels.language.atomics import own, set_own
from kernels.language.parse import flat
from kernels.language.resolve import Names
from kernels.language.syntax import DECLARED, Step, Steps, Sub, sites
from kernels.layout import OUTCOME_COUNTS, RNG
from kernels.race.straight import BARE, straight_source
from kernels.search.schedule import interpreted_machines
from kernels.tdx import bits, guest
from kernels.tdx.counters import SHOOTDOWNS
from kernels.tdx.kvm import kick as kvm
from kernels.tdx.kvm import shootdown, zapper
from kernels.tdx.kvm import vcpu_run as vcpu
from kernels.tdx.module import locks
from kernels.tdx.module import mem as module
from kernels.tdx.outcomes import OUTCOMES
from kernels.tdx.parts import batch
from kernels.tdx.parts import shared_ept as shared
from kernels.tdx.protocol import SHOOTDOWN, protocol_of
from kernels.tdx.rules import STEP_BITS, Busy, Flow, Rules
from kernels.tdx.statuses import Leaf
from kernels.tdx.words import plan, vcpu_actor, zapper_actor
from kernels.tests.orders import SAFE, WRONG, packed
from kernels.tests.programs import ACTOR, TOTAL_WORDS, WATCHED, Flags, Words, compiled, programs
from kernels.tests.three_translations import Case, Run, check

# Flows with words of their own are compared whole, in test_actors.py.
FILES = (locks, module, kvm, guest, vcpu, shootdown, zapper, batch, shared)
SHIPPED = {
    name: made
    for room in FILES
    for name, made in vars(room).items()
    if isinstance(made, Steps) and inspect.unwrap(made.source).__module__ == room.__name__
    if any(isinstance(one, Step | Sub) for one in flat(made.body))
}
ZAPPERS = (
    {name for room in (shootdown, zapper, batch, shared) for name in vars(room)}
    - vars(vcpu).keys()
    - vars(guest).keys()
)
LAY = plan(2, 2, 2, 2, locks=1, packed=True, vcpu_registers=48, zapper_registers=48)
STATES = (bits.Sept.FREE, bits.Sept.MAPPED | bits.RWX, bits.Sept.PENDING, bits.Sept.BLOCKED, bits.Sept.PENDING_BLOCKED)
ORDERS = {**SAFE, **WRONG}
LEAVES = (Leaf.TDH_MEM_RANGE_BLOCK, Leaf.TDH_MEM_TRACK, Leaf.TDH_MEM_PAGE_REMOVE, Leaf.TDH_PHYMEM_PAGE_WBINVD)
# Each drawn example is the same in every run: what is found here is found again.
REPEATED = {"derandomize": True, "deadline": None, "database": None}


@pytest.fixture(autouse=True)
def _drawn_sites_are_forgotten() -> Iterator[None]:
    """Drawn programs have sites too; a label has room for a few thousand."""
    known = len(DECLARED)
    yield
    del DECLARED[known:]


def goes_the_same_way(source: str, start: tuple[int, ...], choices: list[int]) -> Run:
    """Compare a drawn program's three translations; what the generator did."""
    known = len(DECLARED)
    td = np.zeros(TOTAL_WORDS, np.int64)
    td[:4] = start
    run = check(compiled(source, "program"), Case(td, WATCHED, Words(), Flags(), ACTOR, choices=tuple(choices)))
    del DECLARED[known:]
    return run


STARTS, CHOICES = st.tuples(*[st.integers(0, 7)] * 4), st.lists(st.integers(0, 5), max_size=40)


def test_a_drawn_program_goes_the_same_way_in_all_three():
    runs = []

    @settings(max_examples=90, **REPEATED)  # type: ignore[arg-type]
    @given(programs(), STARTS, CHOICES)
    def draw(source, start, choices):
        runs.append(goes_the_same_way(source, start, choices))

    draw()

    assert sum(len(run.taken) > 12 for run in runs) > 15
    assert sum(run.whole for run in runs) > 30


def test_an_argument_that_stands_at_two_places_of_what_it_is_put_into_is_the_same_at_both():
    """Put in place as one tree, its second place was renamed once more, to a local that nobody assigns."""
    source = """\
@steps
def program(td, lay, rules, me):
    seen = yield load_acquire(td, lay.a)
    yield store_release(td, lay.b, twice(seen & 3))
    return seen
"""

    assert goes_the_same_way(source, (5, 0, 0, 0), []).words[1] == 2


def test_steps_in_the_place_of_their_call_go_the_same_way_and_are_no_function():
    source = """\
@steps
def store(td, lay, rules, me, seen):
    yield store_release(td, lay.b, seen)
    return seen + 1


@steps(in_place=True)
def other(td, lay, rules, me, seen):
    while seen < 3:
        seen += 1
        if seen == 2:
            continue
        yield store_release(td, lay.c, seen)
    more = yield from store(td, lay, rules, me, seen)
    return more + seen


@steps
def program(td, lay, rules, me):
    seen = yield load_acquire(td, lay.a)
    for _ in range(2):
        more = yield from other(td, lay, rules, me, seen)
        yield from other(td, lay, rules, me, more)
    return seen + more
"""
    line = straight_source(SHOOTDOWN, compiled(source, "program"), Names(), BARE)

    assert goes_the_same_way(source, (0, 0, 0, 0), []).value == 7
    assert line.count(" store(td,") == 2
    assert " other(" not in line


def test_a_step_machine_reads_no_local_further_up_than_its_text_first_assigns_one():
    """The compiler goes through the text once; what is assigned further down is not defined to it. The largest flow."""
    for made in interpreted_machines(protocol_of(Flow.TEARDOWN)):
        tree = ast.parse(made.machine.source).body[0]
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and re.search(r"_\d+$", node.id)]
        written: dict[str, int] = {}
        for node in names:
            if isinstance(node.ctx, ast.Store):
                written[node.id] = min(written.get(node.id, node.lineno), node.lineno)

        assert len(written) > 20
        assert [node.id for node in names if isinstance(node.ctx, ast.Load) and node.lineno <= written[node.id]] == []


PARAMETERS: dict[str, Any] = {
    "at": st.just(0),
    "drained": st.integers(0, 1),
    "ended": st.integers(0, guest.AGAIN),
    "entered": st.just(0),
    "entry": st.sampled_from(STATES),
    "gpa": st.integers(0, 1),
    "first": st.just(0),
    "page": st.integers(1, 3),
    "table": st.just(LAY.pages),
    "parts": st.sampled_from([1, 2, 4, 7]),
    "request": st.integers(0, 1),
    "wait": st.integers(0, 1),
    "stamped": st.just(0),
    "leaves": st.integers(0, 2),
    "leaving": st.just(0),
    "leaf": st.sampled_from([int(leaf) for leaf in LEAVES]),
    "what": st.sampled_from([packed(step) for step in ("block", "track", "remove")]),
    "lock": st.just(0),
    "policy": st.sampled_from([int(busy) for busy in Busy]),
    "quiet": st.integers(0, 1),
    "todo": st.sampled_from([rules.shootdown for rules in ORDERS.values()]),
    "left": st.sampled_from([rules.shootdown >> behind for rules in ORDERS.values() for behind in (0, STEP_BITS)]),
    "repair": st.integers(0, 1),
    "due": st.just(0),
    "filled": st.sampled_from([1 << 8, 2 << 8]),
    "held": st.sampled_from([bits.translation(0, 1 << 8), bits.translation(1, 2 << 8)]),
    "seen": st.sampled_from([1 << 8, 1 << 8 | 1, 1 << 8 | 5, 2 << 8, 2 << 8 | 2]),
}


def watched() -> np.ndarray:
    """The words of the state but the registers, and what `note` counts."""
    registers = {
        word
        for actor in (*(vcpu_actor(LAY, i) for i in range(2)), *(zapper_actor(LAY, i) for i in range(2)))
        for word in (actor.pc, *range(actor.register, actor.register + 48))
    }
    counts = [
        actor(LAY, i).tally + OUTCOME_COUNTS + outcome
        for actor in (vcpu_actor, zapper_actor)
        for i in range(2)
        for outcome in range(1, OUTCOMES)  # 0 is `fresh`, which only a race counts
    ]
    state = [word for word in range(LAY.state_words) if word not in registers]
    return np.array([*state, LAY.page_flags, LAY.page_flags + 1, *counts])


SEEN = watched()


@st.composite
def small_states(draw: Any) -> np.ndarray:
    """Words of a machine of two of everything in any state, sensible or not."""
    td = np.zeros(LAY.total_words, np.int64)
    SHOOTDOWN.prepare(td, LAY, SAFE["spec"], 1)
    small = st.integers(0, 2)
    td[LAY.epoch_tracking] = draw(st.integers(1, 3)) << 24 | draw(small) << 12 | draw(small)
    td[LAY.epoch_lock], td[LAY.tree_lock] = draw(st.sampled_from([0, 0, 1, 2])), draw(st.sampled_from([0, 0, 1, 2]))
    td[LAY.mmu_lock], td[LAY.gate] = draw(st.sampled_from([0, 0, 1, 2])), draw(small)
    td[LAY.wait_for_sept_zap] = draw(st.integers(0, 1))
    td[LAY.own_lock] = draw(st.sampled_from([0, 0, 1, 2]))
    for gpa in range(2):
        page, flags = draw(st.integers(1, 2)), draw(st.sampled_from([0, 0, 0, bits.TDEL, bits.HP]))
        at = gpa * LAY.page_stride
        td[LAY.sept + at] = draw(st.sampled_from(STATES)) | bits.SVE | flags | page << bits.HPA_SHIFT
        td[LAY.owner + at] = page << 8 | draw(st.sampled_from([0, 1, 5, 2]))
        td[LAY.bepoch + at], td[LAY.mirror + at] = draw(st.integers(0, 3)), draw(st.integers(1, 2))
    for index in range(2):
        at = index * LAY.vcpu_stride
        td[LAY.mode + at], td[LAY.requests + at], td[LAY.ipi + at] = (
            draw(small),
            draw(st.integers(0, 1)),
            draw(st.integers(0, 3)),
        )
        td[LAY.vcpu_epoch + at] = draw(st.integers(0, 3))
        for gpa in range(2):
            td[LAY.tlb + at + gpa] = draw(
                st.sampled_from([0, bits.translation(gpa, 1 << 8), bits.translation(gpa, 2 << 8)])
            )
        stage = draw(st.sampled_from([0, bits.stage_word(0, 1 << 8 | 1, 1), bits.stage_word(1, 1 << 8 | 5, 2)]))
        td[LAY.stage + index * LAY.zapper_stride] = stage
    return td


def rules_of(draw: Any) -> Rules:
    rules: Rules = ORDERS[draw(st.sampled_from(sorted(ORDERS)))]
    flows = {"batch": draw(st.integers(1, 2)), "resched": draw(st.integers(0, 1)), "shared_pages": 1}
    flush = draw(st.integers(0, 1))
    flows |= {"spin_locks": draw(st.integers(0, 1)), "irq_locks": draw(st.integers(0, 1))}
    return rules._replace(shootdowns=2, on_error=draw(st.integers(0, 2)), shared_flush=flush, **flows)


@pytest.mark.parametrize("name", sorted(SHIPPED))
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], **REPEATED)  # type: ignore[arg-type]
@given(td=small_states(), data=st.data())
def test_a_function_that_ships_goes_the_same_way_in_all_three(name, td, data):
    function = SHIPPED[name]
    me = (zapper_actor if name in ZAPPERS else vcpu_actor)(LAY, data.draw(st.integers(0, 1)))
    td[me.tally + SHOOTDOWNS] = 1  # the first one is stamped in a race, and none in a search
    arguments = tuple(data.draw(PARAMETERS[parameter]) for parameter in function.parameters)
    choices = tuple(data.draw(st.lists(st.integers(0, 3), min_size=12, max_size=12)))

    check(function, Case(td, SEEN, LAY, rules_of(data.draw), me, arguments, choices, most=120))


def test_every_site_that_ships_stands_in_one_of_these_functions():
    rooms = {room.__name__ for room in FILES}
    of_kernels = {site.function for site in sites() if site.file.replace("/", ".").removesuffix(".py") in rooms}

    assert of_kernels <= set(SHIPPED)
    assert len(SHIPPED) == len({function.source for function in SHIPPED.values()})


def test_a_choice_in_a_straight_line_is_drawn_by_its_function_from_the_next_random_number():
    """The one thing that the comparison above replaces: there choices come from a list."""
    source = "@steps\ndef draws(td, lay, rules, me):\n    return (yield die(td, lay, rules, me, 2))\n"
    names = Names()
    line = straight_source(SHOOTDOWN, compiled(source, "draws"), names, BARE)
    td = np.zeros(TOTAL_WORDS, np.int64)
    td[ACTOR.tally + RNG] = 88172645463325252
    given = {"own": own, "set_own": set_own, "RNG": RNG, "xorshift": lambda random: random + 7}
    space = {**names.values, **given}
    exec(line, space)

    assert space["draws"](td, Words(), Flags(), ACTOR) == (88172645463325252 + 7) % 3
    assert td[ACTOR.tally + RNG] == 88172645463325252 + 7
