"""The slow search is right: by the generators, by state spaces counted by hand, and no step touches two things."""

import functools
from typing import Any

import pytest

from kernels.language.atomics import PYTHON
from kernels.language.syntax import Steps
from kernels.language.worlds import World
from kernels.layout import name_of
from kernels.search.breadth_first import Move
from kernels.tdx.bits import Mirror
from kernels.tdx.kvm.vcpu_run import vcpu
from kernels.tdx.kvm.zapper import zapper
from kernels.tdx.protocol import Size
from kernels.tdx.rules import Rules
from kernels.tests.coarse_actors import BLIND_VCPU, BLIND_ZAPPER
from kernels.tests.generators import Generators
from kernels.tests.naive import Space, StepMachine, as_python, search
from kernels.tests.orders import BLOCK, KICK, LOCKS, REMOVE, SPEC, TRACK, V6_16, V18, order
from kernels.tests.symmetry import orders, renamed, representative

TINY = Size(1, 1)
TRACKED = order(TRACK, REMOVE)


@functools.cache
def space_of(rules: Rules) -> Space:
    """All of the smallest machine under these rules, searched once for all that is said of it."""
    return search(StepMachine(rules, TINY))


def projected(moving: Generators | StepMachine, space: Space) -> tuple[set[Any], dict[str, int], set[Any]]:
    """What is the same however an actor keeps its locals: shared words with everyone's step, outcomes, moves."""
    edges = {(moving.shared(state), move, moving.shared(after)) for state, move, after in space.edges}
    return {moving.shared(state) for state in space.depth}, space.outcomes, edges


@pytest.mark.parametrize("rules", [V18, V6_16])
def test_the_step_machine_goes_where_the_generators_go_and_nowhere_else(rules):
    by_generators = Generators(rules, TINY)
    reached, outcomes, edges = projected(StepMachine(rules, TINY), space_of(rules))

    assert len(reached) > 2000
    assert (reached, outcomes, edges) == projected(by_generators, search(by_generators))


def test_a_vcpu_left_alone_has_34_states():
    """No zapper moves, one page, nothing looked at before entry but the mode. Before its first entry the vCPU's epoch
    is 0: 6 steps, from the store of IN_GUEST_MODE to the release of the epoch lock. After it, once with the page in
    the TLB and once without, the same 6, TD exit, OUTSIDE_GUEST_MODE, the look for an IPI, and in the guest the tick,
    the IPI, the page, the page's word: 13 each. Without it also the S-EPT entry; with it the word behind the fill.
    Only the tick goes two ways.
    """
    alone = search(StepMachine(SPEC._replace(shootdowns=0), TINY))

    assert len(alone.depth) == 6 + 2 * 13 + 2
    assert len(alone.edges) == 34 + 2
    assert alone.outcomes == {}


def test_two_vcpus_left_alone_do_not_meet():
    """They share the epoch's lock and count by adding, so where both stand says what the words hold: 34 times 34; as
    pairs without order, 34 * 35 / 2.
    """
    machine = StepMachine(SPEC._replace(shootdowns=0), Size(2, 1))
    alone = search(machine)

    assert len(alone.depth) == 34 * 34
    assert len(alone.edges) == 2 * 34 * 36
    assert len({representative(machine, state) for state in alone.depth}) == 595


@pytest.mark.parametrize(("entries", "states", "ways"), [(2, 70, 8), (1, 54, 6)])
def test_a_vcpu_with_two_pages_has_a_state_for_each_content_of_its_tlb(entries, states, ways):
    """Never entered: 6. A TLB of two entries holds 4 sets of pages, of one entry 3. For each of them the 6 steps of
    entry, 3 behind TD exit, and the tick, the IPI, the page; the page's word, of either page: 14. A miss is a page
    not held (4; 4), the word behind the fill a page just filled (4; 2). The tick and the page go two ways.
    """
    alone = search(StepMachine(SPEC._replace(shootdowns=0), Size(1, 1, 2, entries)))

    assert len(alone.depth) == states
    assert len(alone.edges) == states + ways


def test_a_lone_remove_takes_nine_steps_whatever_the_vcpu_does():
    """It finds the page not blocked and stops: page, claim, tree lock, entry lock and its two words, two releases, and
    KVM_BUG_ON. The vCPU looks at neither lock, so its 34 states go with each of 10.
    """
    alone = search(StepMachine(order(REMOVE), TINY))

    assert len(alone.depth) == 34 * 10
    assert len(alone.edges) == 36 * 10 + 34 * 9
    assert alone.outcomes == {"not_blocked": 8}
    assert alone.deadlocks == alone.hopeless == set()


def test_a_zapper_that_waits_for_a_page_nobody_gives_back_is_not_waited_for_once_the_vm_is_dead():
    """One page, two zappers; REMOVE is refused, KVM_BUG_ON, the page kept. The other one tries to claim it for ever."""
    space = search(StepMachine(order(REMOVE), Size(1, 2)))

    assert space.deadlocks == space.hopeless == set()


def test_a_lock_that_its_holder_takes_again_is_tried_for_ever():
    """Which no file may say: every state is hopeless, and none a deadlock, as the zapper takes steps."""
    space = search(StepMachine(order(LOCKS[0], LOCKS[0]), TINY))

    assert space.hopeless == space.depth.keys()
    assert space.deadlocks == set()


@pytest.mark.parametrize(("rules", "size"), [(order(BLOCK, KICK, REMOVE), Size(1, 2)), (order(REMOVE), Size(2, 1))])
def test_renaming_actors_that_are_alike_leads_from_moves_to_moves(rules, size):
    machine = StepMachine(rules, size)
    space = search(machine)
    swap = orders(machine)[1]
    other = {state: renamed(machine, state, *swap) for state in space.depth}

    assert set(other.values()) == set(space.depth)
    assert {(other[state], other[after]) for state, _, after in space.edges} == {(s, a) for s, _, a in space.edges}


TOUCHED: list[tuple[str, int]] = []


def watched(name: str) -> Any:
    """The primitive, which also says what it touches."""

    def run(words: list[int], index: int, *values: int) -> int:
        TOUCHED.append((name, index))
        return PYTHON[name](words, index, *values)

    return run


WATCHING = World({name: watched(name) for name in PYTHON}, lambda bound: bound)


def two_at_once(rules: Rules, space: Space, for_vcpu: Steps = vcpu, for_zapper: Steps = zapper) -> list[str]:
    """Every step from these states that touches more than one word that others see, or a word other than it says; once
    each.

    Private are an actor's own words, and to a zapper the owner of a page whose mirror SPTE is frozen: no other one
    claims the page meanwhile.
    """
    machine = StepMachine(rules, TINY, as_python(for_vcpu, WATCHING), as_python(for_zapper, WATCHING))
    found = set()
    for state in space.depth:
        for move in machine.moves(state):
            TOUCHED.clear()
            actor, kind = machine.actors[move.actor]
            said = kind.step([*state, *machine.tally], machine.lay, rules, actor, move.chosen)
            touched = [(name, at) for name, at in TOUCHED if at < machine.lay.state_words]
            shared = [at for name, at in touched if name not in ("own", "set_own")]
            hidden = [
                at for name, at in touched if name in ("own", "set_own") and not _private(machine, state, move, at)
            ]
            if hidden or shared != [at for at in [said - 1] if at >= 0]:
                names = [name_of(machine.lay, at) for at in (*shared, *hidden)]
                found.add(f"{kind.made.sites[state[actor.pc]]}: {', '.join(names)}")
    return sorted(found)


def _private(machine: StepMachine, state: tuple[int, ...], move: Move, word: int) -> bool:
    name = name_of(machine.lay, word)
    frozen = move.actor.startswith("zapper") and state[machine.lay.mirror] == Mirror.FROZEN
    return f"[{move.actor}]" in name or (frozen and name == "owner[page 0]")


@pytest.mark.parametrize("rules", [V18, V6_16])
def test_no_step_touches_two_words_that_others_see(rules):
    assert two_at_once(rules, space_of(rules)) == []


BLIND = as_python(BLIND_VCPU), as_python(BLIND_ZAPPER)


def test_a_step_that_does_two_things_at_once_is_seen():
    found = two_at_once(TRACKED, search(StepMachine(TRACKED, TINY, *BLIND)), BLIND_VCPU, BLIND_ZAPPER)

    assert [line.partition(" ")[0] for line in found] == ["enter_at_once:", "track_at_once:"]
    assert found[1].endswith(": epoch_lock, epoch_tracking, epoch_tracking, epoch_lock")


def test_a_step_that_does_two_things_at_once_loses_states_and_an_outcome():
    """TRACK and entries that hold their lock for no time are never in each other's way. REMOVE finds the page not
    blocked and stops, and no other lock is in anybody's way.
    """
    moving, blind = StepMachine(TRACKED, TINY), StepMachine(TRACKED, TINY, *BLIND)
    reached, outcomes, _ = projected(moving, search(moving))
    fewer, without, _ = projected(blind, search(blind))

    assert len(fewer) < len(reached)
    assert set(outcomes) == {"operand_busy", "not_blocked"}
    assert set(without) == {"not_blocked"}
