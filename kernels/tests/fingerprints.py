"""What a search holds of its states: the fingerprints in its tables, and what they have to be by the slow search.

A fingerprint is taken here of all the words of a state at once. The search adds up what a move changes.
"""

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from kernels.language.atomics import at_word
from kernels.search.breadth_first import Search
from kernels.search.fingerprint import fingerprint
from kernels.search.schedule import Schedule
from kernels.search.state import pack
from kernels.search.tables import compile_search, make_plan
from kernels.tdx.protocol import SHOOTDOWN, Size, of_flow, protocol_of
from kernels.tdx.rules import Flow, Rules
from kernels.tests.naive import Space, State, StepMachine, no_collector
from kernels.tests.symmetry import representative


def take_prints(plan, memo, td, states, row, found, many, count):
    """The fingerprint of each state in `states`, all of whose words stand one behind the other."""
    for number in range(many):
        state = at_word(states, number * count)
        for word in range(count):
            td[word] = state[word]
        pack(plan, memo, td, row)
        found[number] = fingerprint(plan, memo, row)


def compiled() -> Any:
    """`take_prints`, once a process."""
    return compile_search(SHOOTDOWN, "prints", take_prints)


def new_search(rules: Rules, size: Size, *, symmetry: bool, reduction: bool) -> Search:
    """A search that has not begun."""
    start, folds = Schedule(*of_flow(rules), size), protocol_of(Flow(rules.flow)).states.folds
    return Search(start, make_plan(start, symmetry=symmetry and folds, reduction=reduction), 1, 1 << 28)


def prints_of(it: Search, states: Collection[State]) -> list[int]:
    """The fingerprints with which this search would begin in these states."""
    found, row = np.zeros(len(states), np.int64), np.zeros(it.plan.columns, np.int64)
    words = np.array(list(states), np.int64).ravel()
    compiled().take_prints(it.plan, it.memos[0], it.words[0], words, row, found, len(found), len(words) // len(found))
    return [int(print_) for print_ in found]


def taken_together(machine: StepMachine, space: Space) -> dict[State, int]:
    """The states that are left where a choice is taken with the step before it, and how many moves each has."""
    ways: dict[State, list[tuple[str, State]]] = {}
    for state, move, after in space.edges:
        ways.setdefault(state, []).append((move.actor, after))

    def past_choices(actor: str, state: State) -> Iterable[State]:
        if not _chooses(machine, actor, state):
            return [state]
        return [last for who, after in ways[state] if who == actor for last in past_choices(actor, after)]

    found: dict[State, int] = {}
    waiting = [machine.start]
    while waiting:
        state = waiting.pop()
        if state not in found:
            reached = [last for who, after in ways.get(state, ()) for last in past_choices(who, after)]
            found[state] = len(reached)
            waiting += reached
    return found


def _chooses(machine: StepMachine, actor: str, state: State) -> bool:
    """Whether the actor's next step is a choice: its site names no word."""
    me, kind = machine.actors[actor]
    site = kind.machine.sites[state[me.pc]] if state[me.pc] >= 0 else None
    return site is not None and " " not in site.text


@no_collector()
def compare_states(machine: StepMachine, space: Space, rules: Rules, size: Size) -> None:
    """Hold the tables of each kind of search against the slow one's states: the same ones, each of them once. A flow
    that does not fold has them all where it is asked to.
    """
    every = dict.fromkeys(space.depth, 0)
    for state, _, _ in space.edges:
        every[state] += 1
    together = taken_together(machine, space)
    many = size.vcpus > 1 or size.zappers > 1
    folds = many and protocol_of(Flow(rules.flow)).states.folds
    known = {state: representative(machine, state) for state in space.depth} if folds else {}
    for reduction, expected in ((False, every), (True, together)):
        for symmetry in (False, True) if many else (False,):
            begun, it = (new_search(rules, size, symmetry=symmetry, reduction=reduction) for _ in range(2))
            names = map(known.__getitem__, expected) if symmetry and folds else expected
            pairs = set(zip(names, prints_of(begun, expected), strict=True))
            stopped_by = it.run(None)
            table = it.store.tables[it.store.tables != 0]

            assert stopped_by == ""
            assert set(map(int, table)) == {print_ for _, print_ in pairs}
            assert len(table) == len(pairs) == len({state for state, _ in pairs}) == it.progress().states
            if not (symmetry and folds):
                assert it.progress().transitions == sum(expected.values())
